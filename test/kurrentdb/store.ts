// What a KurrentDB server keeps, in memory, with the documented rules: expected revisions and what counts as a repeated
// write, soft delete and tombstone, $maxCount, $maxAge and $tb, one order over all streams, and the category's links. No
// network here; server.ts speaks the protocol. Rules: docs.kurrent.io, "Appending events" (idempotence), "Streams"
// (deletion, metadata), "System projections" ($by_category).

export interface Stored {
  readonly id: string;
  readonly type: string;
  readonly json: boolean;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
  readonly stream: string;
  readonly revision: number;
  /** Commit and prepare position: the same, as for a single write. */
  readonly position: number;
  readonly created_ms: number;
}
export type Proposed = Pick<Stored, 'id' | 'type' | 'json' | 'data' | 'metadata'>;

export type Expected = number | 'any' | 'none' | 'exists';

export type Answer =
  | { readonly kind: 'done'; readonly revision: number; readonly position: number }
  /** `current` is the last revision, -1 for no stream. */
  | { readonly kind: 'wrong'; readonly current: number }
  | { readonly kind: 'tombstoned' }
  | { readonly kind: 'tooLarge' };

interface Stream {
  /** The event of revision r is at r - base. */
  events: Stored[];
  base: number;
  last: number;
  tombstoned: boolean;
}

interface Limits {
  readonly $maxCount?: number;
  readonly $maxAge?: number;
  readonly $tb?: number;
}

/** The server's default MaxAppendSize. */
export const MAX_APPEND_BYTES = 1024 * 1024;
/** What soft deletion writes as $tb: more than any revision. */
const DELETED = Number.MAX_SAFE_INTEGER;
const LINK = '$>';

export const sizeOf = (event: Proposed): number => event.data.length + event.metadata.length + event.type.length + 16;

export class Store {
  readonly all: Stored[] = [];
  readonly #streams = new Map<string, Stream>();
  readonly #limits = new Map<string, Limits>();
  readonly #heard = new Set<() => void>();
  readonly #projections: boolean;
  #position = 0;

  /** `projections`: whether the category projection runs, as a server may be set up or not. */
  constructor(projections = true) {
    this.#projections = projections;
  }

  /** Calls `hear` after every change; returns how to end that. */
  subscribe(hear: () => void): () => void {
    this.#heard.add(hear);
    return () => this.#heard.delete(hear);
  }

  append(name: string, expected: Expected, events: readonly Proposed[]): Answer {
    const stream = this.#streams.get(name);
    if (stream?.tombstoned) return { kind: 'tombstoned' };
    if (events.reduce((sum, event) => sum + sizeOf(event), 0) > MAX_APPEND_BYTES) return { kind: 'tooLarge' };
    const current = stream?.last ?? -1;
    const deleted = this.#isDeleted(name);
    if (expected === 'any') {
      const there = this.#places(stream, events);
      if (there !== null && events.length > 0) return this.#done(stream, there);
    } else if (expected === 'exists') {
      if (current < 0 || deleted) return { kind: 'wrong', current: -1 };
    } else {
      const after = expected === 'none' ? -1 : expected;
      const isNew = expected === 'none' && deleted;
      if (!isNew && after > current) return { kind: 'wrong', current: deleted ? -1 : current };
      // Behind the head: a repeated write if these very events stand there, all of them, in this order.
      if (!isNew && after < current) {
        const same = events.every(({ id }, index) => stream?.events[after + 1 + index - stream.base]?.id === id);
        return same && events.length > 0
          ? this.#done(stream, after + events.length)
          : { kind: 'wrong', current: deleted ? -1 : current };
      }
    }
    // A stream that was deleted softly begins again behind its last event.
    if (deleted) this.#setLimits(name, { ...this.#limits.get(name), $tb: current + 1 });
    for (const event of events) this.#write(name, event);
    this.#tell();
    return this.#done(this.#streams.get(name), this.#streams.get(name)?.last ?? -1);
  }

  /** Soft deletion: what was there is gone for readers, and the name may be used again. Null when expectation fails. */
  delete(name: string, expected: Expected): Answer {
    const stream = this.#streams.get(name);
    if (stream?.tombstoned) return { kind: 'tombstoned' };
    const current = stream?.last ?? -1;
    if (typeof expected === 'number' && expected !== current) return { kind: 'wrong', current };
    if (expected === 'exists' && current < 0) return { kind: 'wrong', current };
    this.#setLimits(name, { ...this.#limits.get(name), $tb: DELETED });
    return { kind: 'done', revision: current, position: this.#position };
  }

  tombstone(name: string): Answer {
    const stream = this.#streamOf(name);
    stream.tombstoned = true;
    stream.base = stream.last + 1;
    stream.events = [];
    return { kind: 'done', revision: stream.last, position: this.#position };
  }

  /** The revisions that a reader sees, first and last; `missing` for no stream. */
  range(name: string): { first: number; last: number } | 'missing' | 'tombstoned' {
    const stream = this.#streams.get(name);
    if (stream?.tombstoned) return 'tombstoned';
    if (stream === undefined || stream.last < 0 || this.#isDeleted(name)) return 'missing';
    const { $maxCount, $maxAge, $tb } = this.#limits.get(name) ?? {};
    let first = Math.max(stream.base, $tb ?? 0, $maxCount === undefined ? 0 : stream.last - $maxCount + 1);
    if ($maxAge !== undefined) {
      const oldest = Date.now() - $maxAge * 1000;
      while (first <= stream.last && (stream.events[first - stream.base]?.created_ms ?? 0) < oldest) first++;
    }
    return { first, last: stream.last };
  }

  lastOf(name: string): Stored | undefined {
    return this.#streams.get(name)?.events.at(-1);
  }

  at(name: string, revision: number): Stored | undefined {
    const stream = this.#streams.get(name);
    return stream?.events[revision - stream.base];
  }

  /** Index in `all` of the first event at or behind a position. */
  indexOf(position: number): number {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.all[middle]?.position ?? 0) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether $all shows the event: not what its stream's limits, a deletion or a tombstone have taken away. */
  isVisible({ stream, revision }: Stored): boolean {
    const range = this.range(stream);
    return typeof range === 'object' && revision >= range.first;
  }

  /** The event behind a link of a category, undefined where it is gone. */
  target(link: Stored): Stored | undefined {
    const [revision, stream] = Buffer.from(link.data).toString().split(/@(.*)/s);
    const found = this.at(stream ?? '', Number(revision));
    return found !== undefined && this.isVisible(found) ? found : undefined;
  }

  isLink({ type }: Stored): boolean {
    return type === LINK;
  }

  #streamOf(name: string): Stream {
    let stream = this.#streams.get(name);
    if (stream === undefined) this.#streams.set(name, (stream = { events: [], base: 0, last: -1, tombstoned: false }));
    return stream;
  }

  #write(name: string, event: Proposed): Stored {
    const stream = this.#streamOf(name);
    this.#position += 64 + sizeOf(event);
    const { id, type, json, data, metadata } = event;
    const [revision, position, created_ms] = [stream.last + 1, this.#position, Date.now()];
    const stored: Stored = { id, type, json, data, metadata, stream: name, revision, position, created_ms };
    stream.events.push(stored);
    stream.last = stored.revision;
    this.all.push(stored);
    if (name.startsWith('$$')) this.#limits.set(name.slice(2), JSON.parse(Buffer.from(data).toString()) as Limits);
    else if (this.#projections && !name.startsWith('$') && name.includes('-')) this.#link(stored);
    return stored;
  }

  #link({ stream, revision }: Stored): void {
    const data = Buffer.from(`${revision}@${stream}`);
    const category = `$ce-${stream.slice(0, stream.indexOf('-'))}`;
    this.#write(category, { id: crypto.randomUUID(), type: LINK, json: false, data, metadata: new Uint8Array() });
  }

  #setLimits(name: string, limits: Limits): void {
    const data = Buffer.from(JSON.stringify(limits));
    this.#write(`$$${name}`, { id: crypto.randomUUID(), type: '$metadata', json: true, data, metadata: new Uint8Array() });
    this.#tell();
  }

  #isDeleted(name: string): boolean {
    return this.#limits.get(name)?.$tb === DELETED;
  }

  // With any expectation the server knows recent ids only; this one knows the last 1024.
  #places(stream: Stream | undefined, events: readonly Proposed[]): number | null {
    if (stream === undefined) return null;
    const from = Math.max(0, stream.events.length - 1024);
    const first = stream.events.findIndex(({ id }, index) => index >= from && id === events[0]?.id);
    if (first < 0 || !events.every(({ id }, index) => stream.events[first + index]?.id === id)) return null;
    return stream.base + first + events.length - 1;
  }

  #done(stream: Stream | undefined, revision: number): Answer {
    const position = stream?.events[revision - stream.base]?.position ?? this.#position;
    return { kind: 'done', revision, position };
  }

  #tell(): void {
    for (const hear of Array.from(this.#heard)) hear();
  }
}
