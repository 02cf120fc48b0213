// Raw captures: JSON Lines with the datagrams as the kernel sent them. The reader takes bytes as they come from a file or
// a pipe, in bounded memory, and answers damage with an entry of its own instead of an exception; observeEntry feeds an
// Observer, so that a capture gives what the live system gave. The writer is in capture-writer.ts.
//
// A line: {"t_ns":CLOCK_MONOTONIC,"rt_ns":CLOCK_REALTIME,"n":number,"source":"uevent"|"rtnetlink","pid":sender,"raw":base64}
// or, for a receive error, "error":"ENOBUFS" in place of pid and raw. Other keys are left alone.
import type { Observation } from '../../events/catalogue.ts';
import { isNanoseconds } from '../../events/check.ts';
import { type CutLine, LINE_LIMIT, LineCutter } from '../line-cutter.ts';
import type { Observer, Source } from './observer.ts';

interface Stamp {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly n: number;
  /** Nanoseconds as in the file, as decimal strings: they do not fit into a JavaScript number. */
  readonly mono_ns: string;
  readonly wall_ns: string;
}
export type CaptureEntry =
  /** One datagram; `pid` 0 is the kernel, and only the kernel's messages count. */
  | ({ readonly kind: 'datagram'; readonly source: Source; readonly pid: number; readonly bytes: Uint8Array } & Stamp)
  | ({ readonly kind: 'error'; readonly source: Source; readonly error: string } & Stamp)
  /** Lines are missing before this one: `n` should have been `expected`. The entry of the line itself follows. */
  | ({ readonly kind: 'break'; readonly expected: number } & Stamp)
  /** A line that says nothing; `torn` when it is the last one and was not written to its end. */
  | { readonly kind: 'damage'; readonly line: number; readonly damage: string; readonly torn: boolean };

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Pushes bytes in, gets entries out. */
export class CaptureReader {
  readonly #lines = new LineCutter();
  #expected: number | null = null;
  /** Damaged lines since the last good one: each of them explains one missing number. */
  #damaged = 0;

  push(chunk: Uint8Array): CaptureEntry[] {
    const out: CaptureEntry[] = [];
    for (const line of this.#lines.push(chunk)) this.#read(line, out);
    return out;
  }

  /** The end of the file: a last line without its newline counts if it is whole. */
  end(): CaptureEntry[] {
    const out: CaptureEntry[] = [];
    for (const line of this.#lines.end()) this.#read(line, out);
    return out;
  }

  #read({ line: number, bytes, unfinished }: CutLine, out: CaptureEntry[]): void {
    const entry = bytes === null ? `a line longer than ${LINE_LIMIT} bytes` : readLine(bytes, number);
    if (typeof entry === 'string') {
      this.#damaged += 1;
      out.push({ kind: 'damage', line: number, damage: entry, torn: unfinished });
      return;
    }
    const { line, n, mono_ns, wall_ns } = entry;
    const expected = this.#expected === null ? n : this.#expected + this.#damaged;
    if (n !== expected) out.push({ kind: 'break', line, n, mono_ns, wall_ns, expected });
    this.#expected = n + 1;
    this.#damaged = 0;
    out.push(entry);
  }
}

type Good = Extract<CaptureEntry, { kind: 'datagram' | 'error' }>;

const readLine = (bytes: Uint8Array, line: number): Good | string => {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
  } catch {
    return 'not a line of JSON';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not a JSON object';
  const { n, source, pid, raw, error } = value as Record<string, unknown>;
  const mono_ns = exact(text, 't_ns');
  const wall_ns = exact(text, 'rt_ns');
  if (mono_ns === null) return 'no t_ns in nanoseconds';
  if (wall_ns === null) return 'no rt_ns in nanoseconds';
  if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 0) return 'no running number n';
  if (source !== 'rtnetlink' && source !== 'uevent') return 'an unknown source';
  const stamp: Stamp = { line, n, mono_ns, wall_ns };
  if (typeof error === 'string') return { kind: 'error', ...stamp, source, error: error.slice(0, 256) };
  if (typeof raw !== 'string') return 'neither raw nor error';
  const datagram = fromBase64(raw);
  if (datagram === null) return 'bad base64';
  return { kind: 'datagram', ...stamp, source, pid: typeof pid === 'number' ? pid : 0, bytes: datagram };
};

/** The digits of a number as the line has them. A quote cannot stand unescaped inside a JSON string, so a key is a key. */
const exact = (text: string, key: 't_ns' | 'rt_ns'): string | null => {
  const digits = (key === 't_ns' ? /"t_ns"\s*:\s*(\d{1,20})\s*[,}]/ : /"rt_ns"\s*:\s*(\d{1,20})\s*[,}]/).exec(text)?.[1];
  return isNanoseconds(digits) ? digits : null;
};

const fromBase64 = (text: string): Uint8Array | null => {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  const { buffer, byteOffset, length } = Buffer.from(text, 'base64');
  return new Uint8Array(buffer, byteOffset, length); // Not a Buffer, whose slice() is no copy.
};

/** The entries of a whole stream. Errors of the stream itself (no such file) are thrown as they come. */
export async function* readCapture(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<CaptureEntry> {
  const reader = new CaptureReader();
  for await (const chunk of chunks) yield* reader.push(chunk);
  yield* reader.end();
}

/** What an entry changes. Messages that another process sent into the group do not count. */
export const observeEntry = (observer: Observer, entry: CaptureEntry): Observation[] => {
  switch (entry.kind) {
    case 'datagram':
      if (entry.pid !== 0) return [];
      return entry.source === 'rtnetlink' ? observer.rtnetlink(entry.bytes) : observer.uevent(entry.bytes);
    case 'error':
      return observer.lost(entry.source, entry.error);
    case 'break':
      return observer.lost('capture', `line ${entry.line} has number ${entry.n} instead of ${entry.expected}`);
    case 'damage':
      return observer.lost('capture', `line ${entry.line}: ${entry.damage}`);
  }
};
