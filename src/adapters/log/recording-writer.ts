// Writing a recording: to a file, which appears whole under its name or not at all (written beside it, synced, renamed),
// or to a stream. Lines are gathered to large writes; a slow stream is waited for.
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { RecordedEvent } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';
import { Pseudonyms } from '../../events/pseudonyms.ts';
import {
  BETWEEN_LINES,
  encodeEvent,
  encodeHeader,
  hashField,
  MAX_LINE_BYTES,
  runningFrom,
  type RecordingHeader,
} from '../../events/recording.ts';
import { chainHash } from './recording-reader.ts';
import { rename, syncFolder } from './files.ts';

const WRITE_CHARS = 512 * 1024;

export interface WriteOptions {
  /** Replaces MACs, addresses and names, the same way throughout. */
  readonly pseudonyms?: boolean;
}

interface Sink {
  write(text: string): Promise<void> | void;
  /** Makes what was written durable, under its name. */
  finish(): Promise<void> | void;
  /** Leaves nothing behind. */
  abandon(): void;
}

/**
 * Writes a recording of `events` (numbered without holes) to a path or a stream; returns how many there were. Throws
 * `recording.empty` for none and `recording.unwritable` where the system refuses; a file of that name is then untouched.
 */
export const writeRecording = async (
  target: string | Writable,
  header: RecordingHeader,
  events: Iterable<RecordedEvent> | AsyncIterable<RecordedEvent>,
  options: WriteOptions = {},
): Promise<number> => {
  const name = typeof target === 'string' ? target : 'output';
  const sink = await named<Sink>(name, () => (typeof target === 'string' ? fileSink(target) : streamSink(target)));
  try {
    const count = await writeLines(sink, name, header, events, options.pseudonyms === true ? new Pseudonyms() : null);
    if (count === 0) throw new NetkvmError('recording.empty', `${name}: there is no event to record`);
    return count;
  } catch (error) {
    sink.abandon();
    throw error;
  }
};

const writeLines = async (
  sink: Sink,
  name: string,
  header: RecordingHeader,
  events: Iterable<RecordedEvent> | AsyncIterable<RecordedEvent>,
  pseudonyms: Pseudonyms | null,
): Promise<number> => {
  const first = pseudonyms === null ? header : pseudonyms.header(header);
  const running = runningFrom(first);
  let line = encodeHeader(first);
  let digits = chainHash(line);
  let text = `${line}${hashField(digits)}\n`;
  let count = 0;
  for await (const event of events) {
    line = encodeEvent(pseudonyms === null ? event : pseudonyms.event(event), running);
    if (isTooLong(line)) throw new RangeError(`event ${event.seq}: its line is longer than ${MAX_LINE_BYTES} bytes`);
    digits = chainHash(digits + BETWEEN_LINES + line);
    text += `${line}${hashField(digits)}\n`;
    count++;
    if (text.length < WRITE_CHARS) continue;
    await named(name, () => sink.write(text));
    text = '';
  }
  if (count === 0) return 0;
  await named(name, () => sink.write(text));
  await named(name, () => sink.finish());
  return count;
};

// Bytes of UTF-8 are at most three for each of a string's units.
const isTooLong = (line: string): boolean => line.length > MAX_LINE_BYTES / 4 && Buffer.byteLength(line) > MAX_LINE_BYTES - 64;

const refused = (name: string, error: unknown): unknown =>
  error instanceof NetkvmError || !(error instanceof Error && 'code' in error)
    ? error
    : new NetkvmError('recording.unwritable', `${name}: ${error.message}`, { cause: error });

const named = async <T>(name: string, work: () => Promise<T> | T): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw refused(name, error);
  }
};

const fileSink = (path: string): Sink => {
  const final = resolve(path);
  const temporary = join(dirname(final), `.${basename(final)}.${process.pid}.tmp`);
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, 'wx', 0o600);
  let open = true;
  const close = () => {
    if (open) closeSync(fd);
    open = false;
  };
  return {
    write: (text) => {
      const bytes = Buffer.from(text);
      for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
    },
    finish: () => {
      fsyncSync(fd);
      close();
      rename(temporary, final);
      syncFolder(dirname(final));
    },
    abandon: () => {
      close();
      rmSync(temporary, { force: true });
    },
  };
};

// Standard output is not ours to end.
const streamSink = (stream: Writable): Sink => {
  const standard = stream === process.stdout || stream === process.stderr;
  // The callback of the write says what went wrong; without a listener the same error would end the process.
  stream.on('error', () => undefined);
  return {
    write: (text) =>
      new Promise((done, fail) => {
        stream.write(text, (error) => {
          if (error) fail(error);
          else done();
        });
      }),
    finish: async () => {
      if (standard) return;
      stream.end();
      await finished(stream);
    },
    abandon: () => {
      if (!standard) stream.destroy();
    },
  };
};
