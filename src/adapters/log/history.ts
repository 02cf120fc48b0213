// Opening a file that somebody says is a history: a recording, a raw capture, or a capture of QEMU's monitor. The first line
// tells; what was read to find out is handed on, so that standard input (`-`) works as well as a file.
import { createReadStream } from 'node:fs';
import { NetkvmError } from '../../events/errors.ts';
import { FORMAT, MAX_HEADER_BYTES, recognise } from '../../events/recording.ts';

const NEWLINE = 0x0a;
const CHUNK_BYTES = 1024 * 1024;

export interface History<K extends 'recording' | 'raw' | 'qmp' = 'recording' | 'raw'> {
  /** `raw` is a guest's messages, `qmp` a hypervisor's. */
  readonly kind: K;
  /** For messages. */
  readonly name: string;
  /** All bytes from the first on. To be iterated once, to its end or to an early `return`, which closes the file. */
  readonly chunks: AsyncIterable<Buffer>;
}

/** A guest's history. Throws as openAny does, and `recording.format` for a capture of QEMU's monitor. */
export const openHistory = async (path: string): Promise<History> => {
  const history = await openAny(path);
  const { kind, name } = history;
  if (kind !== 'qmp') return { ...history, kind };
  await history.chunks[Symbol.asyncIterator]().return?.();
  throw new NetkvmError('recording.format', `${name}: a capture of QEMU's monitor, not of a guest (netkvm timeline takes it)`);
};

/** Throws `recording.unreadable`, `recording.empty` (no byte, or not one whole line of ours) or `recording.format`. */
export const openAny = async (path: string): Promise<History<'recording' | 'raw' | 'qmp'>> => {
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
  try {
    return { kind: kindOf(line, Buffer.concat(seen).subarray(0, 256), name), name, chunks: resumed(seen, source) };
  } catch (error) {
    await source.return(undefined);
    throw error;
  }
};

// A file without one newline can only be a history that was cut in its first line.
const kindOf = (line: string | null, start: Buffer, name: string): 'recording' | 'raw' | 'qmp' => {
  if (start.length === 0) throw new NetkvmError('recording.empty', `${name}: empty`);
  const kind = line === null ? null : recognise(parsed(line));
  if (kind === 'newer' || kind === 'recording') return 'recording';
  if (kind === 'raw' || kind === 'qmp') return kind;
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
  const stream: AsyncIterable<Buffer> = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: CHUNK_BYTES });
  try {
    for await (const chunk of stream) yield chunk;
  } catch (error) {
    throw new NetkvmError('recording.unreadable', `${name}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
