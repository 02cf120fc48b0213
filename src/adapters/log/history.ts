// Opening a file that somebody says is a history: a recording, a raw capture, a capture of QEMU's monitor, or what a packet
// meter found missing. The first line tells; what was read to find out is handed on, so that standard input (`-`) works as well as a file.
import { createReadStream, type ReadStream } from 'node:fs';
import { NetkvmError } from '../../events/errors.ts';
import { FORMAT, MAX_HEADER_BYTES, recognise } from '../../events/recording.ts';

const NEWLINE = 0x0a;
const CHUNK_BYTES = 1024 * 1024;

export type HistoryKind = 'recording' | 'raw' | 'qmp' | 'losses';
export interface History<K extends HistoryKind = 'recording' | 'raw'> {
  /** `raw` is a guest's messages, `qmp` a hypervisor's, `losses` those of a packet meter. */
  readonly kind: K;
  /** For messages. */
  readonly name: string;
  /** All bytes from the first on. To be iterated once, to its end or to an early `return`, which closes the file. */
  readonly chunks: AsyncIterable<Buffer>;
  /** Closes the file before anything was iterated. */
  readonly close: () => Promise<void>;
}

const IS_NO_GUEST = { qmp: "a capture of QEMU's monitor", losses: 'losses of packets' } as const;

/** A guest's history. Throws as openAny does, and `recording.format` for what is not a guest's. */
export const openHistory = async (path: string): Promise<History> => guestOf(await openAny(path));

/** The same of a file that is open already; one that is not a guest's is closed. */
export const guestOf = async (history: History<HistoryKind>): Promise<History> => {
  const { kind, name } = history;
  if (kind === 'recording' || kind === 'raw') return { ...history, kind };
  await history.close();
  throw new NetkvmError('recording.format', `${name}: ${IS_NO_GUEST[kind]}, not of a guest (netkvm timeline takes it)`);
};

/** Throws `recording.unreadable`, `recording.empty` (no byte, or not one whole line of ours) or `recording.format`. */
export const openAny = async (path: string): Promise<History<HistoryKind>> => {
  const name = path === '-' ? 'standard input' : path;
  const source = bytesOf(path, name);
  const seen: Buffer[] = [];
  let length = 0;
  let line: string | null = null;
  for (;;) {
    const { value, done } = await source.next();
    if (done === true) break;
    seen.push(value);
    const end = value.indexOf(NEWLINE);
    if (end >= 0) {
      line = Buffer.concat([...seen.slice(0, -1), value.subarray(0, end)]).toString('utf8');
      break;
    }
    length += value.length;
    if (length > MAX_HEADER_BYTES) break;
    if (seen.length > 64) seen.splice(0, seen.length, Buffer.concat(seen));
  }
  const close = async (): Promise<void> => void (await source.return(undefined));
  try {
    return { kind: kindOf(line, Buffer.concat(seen).subarray(0, 256), name), name, chunks: resumed(seen, source), close };
  } catch (error) {
    await close();
    throw error;
  }
};

// A file without one newline can only be a history that was cut in its first line.
const kindOf = (line: string | null, start: Buffer, name: string): HistoryKind => {
  if (start.length === 0) throw new NetkvmError('recording.empty', `${name}: empty`);
  const kind = line === null ? null : recognise(parsed(line));
  if (kind === 'newer' || kind === 'recording') return 'recording';
  if (kind === 'raw' || kind === 'qmp' || kind === 'losses') return kind;
  if (line === null && start.toString('latin1').startsWith(`{"format":"${FORMAT}"`))
    throw new NetkvmError('recording.empty', `${name}: cut within its first line`);
  throw new NetkvmError('recording.format', `${name}: the first line is neither a recording's header nor a captured message`);
};

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
};

async function* resumed(seen: readonly Buffer[], rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* seen;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}

async function* bytesOf(path: string, name: string): AsyncGenerator<Buffer> {
  const file = path === '-' ? null : createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const stream: AsyncIterable<Buffer> = file ?? process.stdin;
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new NetkvmError('recording.unreadable', `${name}: ${TROUBLES[code] ?? message}`, { cause: error });
  } finally {
    if (file !== null) await closed(file);
  }
}

/** A stream closes its file a moment after it is told to; until then Windows lets nobody replace it. */
const closed = (stream: ReadStream): Promise<void> =>
  new Promise((resolve) => {
    if (stream.closed) return resolve();
    stream.once('close', resolve);
    stream.destroy();
  });

const TROUBLES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'not permitted',
  EISDIR: 'a folder, not a file',
};
