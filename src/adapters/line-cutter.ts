// Cuts bytes into lines in bounded memory, whatever their chunks are: for files and pipes that somebody else wrote. A line
// that is too long is reported in its place and passed over.

/** A datagram has at most some 64 KiB, a QMP reply some hundred; a longer line than this is not from a recorder. */
export const LINE_LIMIT = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

export interface CutLine {
  /** From 1. */
  readonly line: number;
  /** Without the newline; null for a line longer than the limit. Valid until the next call unless copied. */
  readonly bytes: Uint8Array | null;
  /** The last line had no newline. */
  readonly unfinished: boolean;
}

/** Pushes bytes in, gets lines out. Empty lines are counted and passed over. */
export class LineCutter {
  readonly #limit: number;
  #parts: Uint8Array[] = [];
  #length = 0;
  #tooLong = false;
  #line = 0;

  constructor(limit_bytes = LINE_LIMIT) {
    this.#limit = limit_bytes;
  }

  push(chunk: Uint8Array): CutLine[] {
    const out: CutLine[] = [];
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      this.#keep(chunk.subarray(from, at));
      this.#finish(out, false);
      from = at + 1;
    }
    this.#keep(chunk.subarray(from), true);
    return out;
  }

  end(): CutLine[] {
    const out: CutLine[] = [];
    if (this.#length > 0 || this.#tooLong) this.#finish(out, true);
    return out;
  }

  /** A part that waits for the next chunk is copied: the caller may use its buffer again. */
  #keep(part: Uint8Array, waits = false): void {
    if (this.#tooLong || part.length === 0) return;
    if (this.#length + part.length > this.#limit) {
      this.#tooLong = true;
      this.#parts = [];
      this.#length = 0;
      return;
    }
    this.#parts.push(waits ? Uint8Array.from(part) : part);
    this.#length += part.length;
    // A sender of single bytes must not cost an object for each.
    if (this.#parts.length > PIECES_LIMIT) this.#parts = [Buffer.concat(this.#parts, this.#length)];
  }

  #finish(out: CutLine[], unfinished: boolean): void {
    this.#line += 1;
    const [first = new Uint8Array()] = this.#parts;
    const bytes = this.#parts.length > 1 ? Buffer.concat(this.#parts, this.#length) : first;
    const tooLong = this.#tooLong;
    this.#parts = [];
    this.#length = 0;
    this.#tooLong = false;
    if (tooLong || bytes.length > 0) out.push({ line: this.#line, bytes: tooLong ? null : bytes, unfinished });
  }
}

const PIECES_LIMIT = 256;
