// Writes the log lines to a file descriptor, synchronously: a line that was handed over is not lost when the process ends
// at once. A reader that has gone, or does not read, must not stop the service: its lines are dropped, counted, and the
// count is written when there is room again.
import { writeSync } from 'node:fs';

/** How often a full pipe is tried again, one millisecond apart, before the line is dropped. */
const TRIES_MAX = 20;

const pause = new Int32Array(new SharedArrayBuffer(4));

export interface LineWriter {
  readonly write: (text: string) => void;
  /** Lines dropped since the start. */
  readonly lost: () => number;
  /** Whether the reader has gone (EPIPE) or the descriptor is of no use any more. */
  readonly closed: () => boolean;
}

export const lineWriter = (fd: number, lostLine: (lines: number) => string): LineWriter => {
  let lost = 0;
  let untold = 0;
  let closed = false;
  let torn = false;

  /** Whether all of it was written. */
  const put = (text: string): boolean => {
    let bytes = Buffer.from(text);
    for (let tries = 0; bytes.length > 0 && !closed;) {
      try {
        bytes = bytes.subarray(writeSync(fd, bytes));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'EAGAIN' && code !== 'EINTR') closed = true;
        else if (tries++ < TRIES_MAX) Atomics.wait(pause, 0, 0, 1);
        else break;
      }
    }
    if (bytes.length === 0) torn = false;
    else if (bytes.length < Buffer.byteLength(text)) torn = true;
    return bytes.length === 0;
  };

  const write = (text: string): void => {
    const news = untold > 0 ? lostLine(untold) : '';
    if (!closed && put((torn ? '\n' : '') + news + text)) {
      untold = 0;
    } else {
      lost += 1;
      untold += 1;
    }
  };
  return { write, lost: () => lost, closed: () => closed };
};
