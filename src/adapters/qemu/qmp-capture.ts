// Captures of QEMU's monitor, JSON Lines: either `{"t_ns":host clock,"dir":"event|in|out|note","qmp":{…}}` as a recorder
// writes them, or the monitor's own lines as they are. Bytes come as they are read, in bounded memory; a line that says
// nothing is an entry of its own, never an exception.
import { isNanoseconds } from '../../events/check.ts';
import { type CutLine, LINE_LIMIT, LineCutter } from '../line-cutter.ts';
import { isObject, type QmpMessage, readQmp } from './qmp.ts';

export type QmpEntry =
  /** `read_ns` is the recorder's clock when the line was read, null in a file without one. */
  | { readonly kind: 'message'; readonly line: number; readonly read_ns: bigint | null; readonly message: QmpMessage }
  | { readonly kind: 'damage'; readonly line: number; readonly damage: string; readonly torn: boolean };

const utf8 = new TextDecoder('utf-8', { fatal: true });

export class QmpReader {
  readonly #lines = new LineCutter();

  push(chunk: Uint8Array): QmpEntry[] {
    return this.#lines.push(chunk).flatMap(read);
  }

  end(): QmpEntry[] {
    return this.#lines.end().flatMap(read);
  }
}

const read = ({ line, bytes, unfinished }: CutLine): QmpEntry[] => {
  const entry = bytes === null ? `a line longer than ${LINE_LIMIT} bytes` : readLine(bytes, line);
  if (entry === null) return [];
  return [typeof entry === 'string' ? { kind: 'damage', line, damage: entry, torn: unfinished } : entry];
};

/** A message, what is wrong with the line, or null for a recorder's own note. */
const readLine = (bytes: Uint8Array, line: number): QmpEntry | string | null => {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
  } catch {
    return 'not a line of JSON';
  }
  if (!isObject(value)) return 'not a JSON object';
  if (!('dir' in value)) {
    const message = readQmp(value);
    return message === null ? 'no message of QMP' : { kind: 'message', line, read_ns: null, message };
  }
  if (value['dir'] === 'note') return null;
  const read_ns = exactTime(text);
  if (read_ns === null) return 'no t_ns in nanoseconds';
  const message = readQmp(value['qmp']);
  return message === null ? 'no message of QMP' : { kind: 'message', line, read_ns, message };
};

/** The digits as they stand there: a number would lose the last ones. A quote cannot stand unescaped in a JSON string. */
const exactTime = (text: string): bigint | null => {
  const digits = /"t_ns"\s*:\s*(\d{1,20})\s*[,}]/.exec(text)?.[1];
  return isNanoseconds(digits) ? BigInt(digits) : null;
};

/** The entries of a whole stream. Errors of the stream itself are thrown as they come. */
export async function* readQmpCapture(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<QmpEntry> {
  const reader = new QmpReader();
  for await (const chunk of chunks) yield* reader.push(chunk);
  yield* reader.end();
}
