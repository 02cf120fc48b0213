// Reading a recording: whole lines out of chunks of bytes, the hash chain over those bytes, and the events in pages. A file
// may be larger than memory: what is held is one chunk and one unfinished line, which has a limit. A last line without
// its newline is what a writer that died leaves: it is set aside and reported, never fatal. Anything else that is wrong
// ends the reading with an error that names the line.
import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import type { RecordedEvent } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';
import {
  BETWEEN_LINES,
  decodeEvent,
  decodeHeader,
  HASH_DIGITS,
  HASH_FIELD_BYTES,
  hashField,
  MAX_HEADER_BYTES,
  MAX_LINE_BYTES,
  recognise,
  runningFrom,
  type RecordingHeader,
  type Running,
} from '../../events/recording.ts';
import type { History } from './history.ts';

const NEWLINE = 0x0a;
/** Bytes before a line that its hash covers: the digits of the hash before it, a quotation mark, a brace, a newline. */
const CHAIN_BYTES = HASH_DIGITS + BETWEEN_LINES.length;

/** SHA-256 of the bytes, as many digits as a recording keeps. */
export const chainHash = (bytes: Uint8Array | string): string => hash('sha256', bytes, 'hex').slice(0, HASH_DIGITS);

/** Whole lines, `bytes` from `start` on, with the part of the line before that belongs to the chain in front of them. */
interface Block {
  readonly bytes: Buffer;
  readonly start: number;
}

export class RecordingReader {
  readonly name: string;
  readonly header: RecordingHeader;
  /** The last line had no newline and was set aside; known when the pages have ended. */
  torn = false;
  /** Events read so far. */
  events = 0;
  readonly #blocks: AsyncGenerator<Block, boolean>;
  readonly #running: Running;
  #rest: Block;
  #line = 1;

  private constructor(name: string, header: RecordingHeader, blocks: AsyncGenerator<Block, boolean>, rest: Block) {
    this.name = name;
    this.header = header;
    this.#running = runningFrom(header);
    this.#blocks = blocks;
    this.#rest = rest;
  }

  /** Reads the header. Throws `recording.format`, `recording.newer`, `recording.hash`, `recording.line`, `recording.empty`. */
  static async open(history: History): Promise<RecordingReader> {
    const { name } = history;
    const blocks = wholeLines(history.chunks, name);
    try {
      const first = await blocks.next();
      if (first.done === true) throw new NetkvmError('recording.empty', `${name}: not one whole line`);
      const { bytes } = first.value;
      const end = bytes.indexOf(NEWLINE);
      const header = headerOf(bytes.subarray(0, end), name);
      return new RecordingReader(name, header, blocks, { bytes, start: end + 1 });
    } catch (error) {
      await blocks.return(false);
      throw inFile(name, error);
    }
  }

  /** The events in order, in pages of what was read at once. To be iterated once. Throws `recording.*`. */
  async *pages(): AsyncGenerator<RecordedEvent[]> {
    try {
      for (let block: Block | null = this.#rest; block !== null; block = await this.#next()) {
        const page = this.#page(block);
        if (page.length > 0) yield page;
      }
      this.#end();
    } catch (error) {
      throw inFile(this.name, error);
    } finally {
      await this.#blocks.return(false);
    }
  }

  async #next(): Promise<Block | null> {
    this.#rest = NOTHING;
    const { value, done } = await this.#blocks.next();
    if (done !== true) return value;
    this.torn = value;
    return null;
  }

  #page({ bytes, start }: Block): RecordedEvent[] {
    const ends: number[] = [];
    for (let from = start; from < bytes.length;) {
      const end = bytes.indexOf(NEWLINE, from);
      this.#verify(bytes, from, end, this.#line + ends.length + 1);
      ends.push(end);
      from = end + 1;
    }
    const parsed = parsedAtOnce(bytes, start, ends.length);
    const page: RecordedEvent[] = [];
    let from = start;
    for (const [index, end] of ends.entries()) {
      this.#line++;
      const value = parsed === null ? parse(bytes.subarray(from, end), this.#line) : parsed[index];
      page.push(decodeEvent(value, this.#running, this.#line));
      from = end + 1;
    }
    this.events += page.length;
    return page;
  }

  #verify(bytes: Buffer, from: number, end: number, line: number): void {
    if (end - from > MAX_LINE_BYTES) throw tooLong(line);
    const hashed = bytes.subarray(Math.max(0, from - CHAIN_BYTES), Math.max(from, end - HASH_FIELD_BYTES));
    if (bytes.toString('latin1', end - HASH_FIELD_BYTES, end) !== hashField(chainHash(hashed)))
      throw new NetkvmError('recording.hash', `line ${line}: changed, or a line before it is missing or moved`);
  }

  #end(): void {
    if (this.torn) return;
    const { last } = this.header;
    const line = this.#line + 1;
    if (last !== undefined && (this.#running.seq ?? 0) !== last)
      throw new NetkvmError(
        'recording.hash',
        `line ${line}: missing: the file ends after event ${this.#running.seq ?? 0} of ${last}`,
      );
    if (this.events === 0) throw new NetkvmError('recording.empty', 'a header and no event');
  }
}

const NOTHING: Block = { bytes: Buffer.alloc(0), start: 0 };

const headerOf = (bytes: Buffer, name: string): RecordingHeader => {
  if (bytes.length > MAX_HEADER_BYTES) throw new NetkvmError('recording.format', `line 1: longer than ${MAX_HEADER_BYTES} bytes`);
  const value = isUtf8(bytes) ? parsedOrNull(bytes.toString('utf8')) : null;
  const kind = recognise(value);
  if (kind !== 'recording' && kind !== 'newer') throw new NetkvmError('recording.format', `line 1: ${name} is no recording`);
  // A newer version may chain its lines in another way.
  if (kind === 'recording') {
    const end = bytes.length - HASH_FIELD_BYTES;
    if (end < 0 || bytes.toString('latin1', end) !== hashField(chainHash(bytes.subarray(0, end))))
      throw new NetkvmError('recording.hash', 'line 1: changed');
  }
  return decodeHeader(value);
};

const parsedOrNull = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

/** All lines with one call of the parser, which is faster; null where they have to be looked at one by one to say which. */
const parsedAtOnce = (bytes: Buffer, start: number, lines: number): unknown[] | null => {
  const block = bytes.subarray(start, bytes.length - 1);
  if (!isUtf8(block)) return null;
  try {
    const all: unknown = JSON.parse(`[${block.toString('utf8').replaceAll('\n', ',')}]`);
    return Array.isArray(all) && all.length === lines ? all : null;
  } catch {
    return null;
  }
};

const parse = (bytes: Buffer, line: number): unknown => {
  if (!isUtf8(bytes)) throw new NetkvmError('recording.line', `line ${line}: not UTF-8`);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new NetkvmError('recording.line', `line ${line}: not JSON`);
  }
};

const tooLong = (line: number): NetkvmError =>
  new NetkvmError('recording.line', `line ${line}: longer than ${MAX_LINE_BYTES} bytes`);

// Which file it was, before which line.
const inFile = (name: string, error: unknown): unknown =>
  error instanceof NetkvmError && !error.message.startsWith(name)
    ? new NetkvmError(error.code, `${name}: ${error.message}`, { cause: error })
    : error;

// Small pieces of one long line are joined now and then: a sender of single bytes must not cost an object for each.
const PIECES_LIMIT = 256;

/** Cuts chunks into blocks of whole lines. Returns whether bytes without a newline were left at the end. */
async function* wholeLines(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<Block, boolean> {
  let pieces: Buffer[] = [];
  let start = 0;
  let unfinished = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    pieces.push(chunk.subarray(0, end === 0 ? chunk.length : end));
    if (end === 0) {
      unfinished += chunk.length;
      if (unfinished > MAX_LINE_BYTES)
        throw new NetkvmError('recording.line', `${name}: a line is longer than ${MAX_LINE_BYTES} bytes`);
      if (pieces.length > PIECES_LIMIT) pieces = [Buffer.concat(pieces)];
      continue;
    }
    const bytes = Buffer.concat(pieces);
    yield { bytes, start };
    const chained = bytes.subarray(Math.max(0, bytes.length - CHAIN_BYTES));
    const rest = chunk.subarray(end);
    start = chained.length;
    unfinished = rest.length;
    pieces = [chained, rest];
  }
  return unfinished > 0;
}
