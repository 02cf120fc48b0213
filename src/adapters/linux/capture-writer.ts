// Writes a raw capture, for `netkvm record --raw`: a line a datagram, in the format that capture.ts reads. A slow disk or
// pipe must not make memory grow: past a bound, datagrams are counted instead of written, and the hole is shown as an
// error line when there is room again.
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Clocks } from '../../events/envelope.ts';
import type { Source } from './observer.ts';

/** A datagram, or why one could not be received. The bytes are only good until the listener returns. */
export type RawMessage =
  | { readonly source: Source; readonly at: Clocks; readonly pid: number; readonly bytes: Uint8Array }
  | { readonly source: Source; readonly at: Clocks; readonly error: string };

/** One line, without its newline. The clocks stay decimal strings all the way: they do not fit into a number. */
export const captureLine = (message: RawMessage, n: number): string => {
  const head = `{"t_ns":${message.at.mono_ns},"rt_ns":${message.at.wall_ns},"n":${n},"source":"${message.source}"`;
  if ('error' in message) return `${head},"error":${JSON.stringify(message.error)}}`;
  const { buffer, byteOffset, byteLength } = message.bytes;
  return `${head},"pid":${message.pid},"raw":"${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}"}`;
};

const BUFFER_LIMIT = 16 * 1024 * 1024;

export class CaptureWriter {
  readonly #stream: Writable;
  readonly #limit: number;
  #n = 0;
  #dropped = 0;

  /** `limit` is how many bytes may wait for the stream. The owner of the stream handles its errors. */
  constructor(stream: Writable, limit = BUFFER_LIMIT) {
    this.#stream = stream;
    this.#limit = limit;
  }

  /** Lines written. */
  get lines(): number {
    return this.#n;
  }

  write(message: RawMessage): void {
    if (this.#stream.writableLength > this.#limit) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) {
      const error = `${this.#dropped} messages dropped by the recorder`;
      this.#dropped = 0;
      this.#put({ source: message.source, at: message.at, error });
    }
    this.#put(message);
  }

  /** Ends the stream, and waits until everything is written. */
  async close(): Promise<void> {
    this.#stream.end();
    if (!this.#stream.writableFinished) await once(this.#stream, 'finish');
  }

  #put(message: RawMessage): void {
    this.#stream.write(`${captureLine(message, this.#n)}\n`);
    this.#n += 1;
  }
}
