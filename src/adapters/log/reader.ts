// Reading an SQLite log, whether its writer runs, another process writes it, or nobody does. Events come in pages: no
// statement stays open between two of them, so that a slow consumer never holds the WAL back, and memory is bounded by
// one page. `read` checks every event against its schema (the other half of the check before writing); `fold` is the
// fast path and only checks what costs nothing. Holes and unreadable rows are `log.damaged`, never skipped.
import { statSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { dataProblem, envelopeProblem, eventTypeOf } from '../../events/check.ts';
import { SCHEMA_VERSION, type Foldable, type RecordedEvent } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';
import type { LogReader } from '../../events/log.ts';
import { lift } from '../../events/recording.ts';
import { CODE, guarded, sqliteCode } from './node-sqlite.ts';
import { LARGE_BYTES } from './schema.ts';
import { isWantedBack } from './set-aside.ts';

/** Events in a page. More gain nothing; one large event (a survey of thousands of adapters) is a page of its own. */
export const PAGE_EVENTS = 512;
/** How many parsed data are kept for further events with the same text, and how long such a text may be. */
const SHARED_LIMIT = 4096;
const SHARED_CHARS = 512;
/** How often a follower looks for events of another process. One look costs some microseconds. */
const POLL_MS = 50;

interface Run {
  readonly logId: string;
  readonly bootId: string;
}
/** The last event of a log that its copy on a server has, and that event's place in the copy's stream. */
export interface Forwarded {
  readonly logId: string;
  readonly seq: number;
  readonly revision: number;
}
/** The newest row of `runs`. */
interface LastRun extends Run {
  readonly run: number;
  readonly machineId: string;
}
type Row = readonly unknown[];

const inArrays = (statement: StatementSync): StatementSync => {
  statement.setReturnArrays(true);
  return statement;
};

const prepare = (db: DatabaseSync) => {
  const one = (sql: string) => inArrays(db.prepare(sql));
  const range = 'FROM events WHERE seq >= ? AND seq < ? ORDER BY seq';
  return {
    head: one('SELECT max(seq) FROM events'),
    first: one('SELECT first FROM retention'),
    checkpoint: one(`SELECT max(seq) FROM events WHERE type = 'checkpoint.made' AND seq <= ?`),
    runOf: one('SELECT run FROM events WHERE seq = ?'),
    forwarded: one('SELECT seq, revision FROM forwarded WHERE log_id = ?'),
    large: one(`SELECT min(seq) FROM events WHERE seq >= ? AND octet_length(data) > ${LARGE_BYTES}`),
    run: one('SELECT log_id, boot_id FROM runs WHERE run = ?'),
    lastRun: one('SELECT run, log_id, boot_id, machine_id FROM runs ORDER BY run DESC LIMIT 1'),
    events: one(`SELECT seq, id, type, CAST(mono_ns AS TEXT), CAST(boot_ns AS TEXT), CAST(wall_ns AS TEXT),
                        cause, episode, v, run, data ${range}`),
    foldables: one(`SELECT seq, type, CAST(mono_ns AS TEXT), v, data ${range}`),
  };
};

// Our statements are fixed: one that does not compile has met another layout than ours.
const ours = <T>(path: string, compile: () => T): T => {
  try {
    return compile();
  } catch (error) {
    if (sqliteCode(error) !== CODE.error) throw error;
    throw new NetkvmError('log.damaged', `${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
};

const frozen = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
};

export class SqliteReader implements LogReader {
  readonly path: string;
  logId: string;
  protected readonly db: DatabaseSync;
  protected readonly statements: ReturnType<typeof prepare>;
  readonly #runs = new Map<number, Run>();
  /** Parsed data by its text (#parseShared). */
  readonly #shared = new Map<string, unknown>();
  readonly #waiting = new Set<() => void>();
  readonly #inode: number;
  #open = true;

  constructor(db: DatabaseSync, path: string) {
    this.db = db;
    this.path = path;
    this.#inode = statSync(path).ino;
    this.statements = guarded(path, () => ours(path, () => prepare(db)));
    this.logId = this.lastRun()?.logId ?? '';
  }

  head(): number {
    return this.#number(this.statements.head) ?? 0;
  }

  first(): number {
    return this.#number(this.statements.first) ?? this.head() + 1;
  }

  /** Of those at or below `upTo`, where that is given. */
  checkpoint(upTo: number = Number.MAX_SAFE_INTEGER): number {
    return this.#number(this.statements.checkpoint, upTo) ?? 0;
  }

  /** Sequence number of the first event under the present log id; head + 1 before there is one. Earlier ones are inherited. */
  begins(): number {
    let low = this.first();
    let high = this.head() + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const run = this.#number(this.statements.runOf, middle);
      if (run !== null && this.#run(middle, run).logId === this.logId) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** How far the copy of the present log on a server has come, as far as this log knows; null for not at all. */
  forwarded(): Forwarded | null {
    const row = guarded(this.path, () => this.statements.forwarded.get(this.logId)) as [number, number] | undefined;
    return row === undefined ? null : { logId: this.logId, seq: row[0], revision: row[1] };
  }

  read(from: number): Iterable<RecordedEvent> {
    return this.#events(from, this.head());
  }

  fold(from: number): Iterable<readonly Foldable[]> {
    return this.#pages(this.statements.foldables, from, this.head(), (rows) => this.#foldables(rows));
  }

  async *follow(from: number, signal: AbortSignal): AsyncGenerator<RecordedEvent> {
    let next = from;
    while (this.#open && !signal.aborted) {
      for (const event of this.#events(next, this.head())) {
        yield event;
        if (signal.aborted || !this.#open) return;
        next = event.seq + 1;
      }
      await this.#news(signal);
      if (this.#open) this.#refuseReplaced();
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.wake();
    this.db.close();
  }

  /** Tells followers in this process that there are new events, or that the log is closing. */
  protected wake(): void {
    for (const wake of this.#waiting) wake();
  }

  protected lastRun(): LastRun | undefined {
    const row = guarded(this.path, () => this.statements.lastRun.get()) as [number, string, string, string] | undefined;
    return row && { run: row[0], logId: row[1], bootId: row[2], machineId: row[3] };
  }

  protected damaged(seq: number, problem: string): NetkvmError {
    return new NetkvmError('log.damaged', `${this.path}: event ${seq}: ${problem}`);
  }

  #number(statement: StatementSync, ...parameters: number[]): number | null {
    const row = guarded(this.path, () => statement.get(...parameters)) as Row | undefined;
    return (row?.[0] as number | null | undefined) ?? null;
  }

  *#events(from: number, to: number): Generator<RecordedEvent> {
    for (const page of this.#pages(this.statements.events, from, to, (rows) => rows)) {
      for (const row of page) yield this.#event(row);
    }
  }

  // Pages of rows from `from` up to and including `to`. What retention takes away meanwhile is passed over: what is left
  // then begins with a checkpoint.
  *#pages<T>(statement: StatementSync, from: number, to: number, convert: (rows: Row[]) => T): Generator<T> {
    let next = Math.max(from, this.first());
    while (next <= to && this.#open) {
      const rows = this.#rows(statement, next, to);
      if (rows[0]?.[0] !== next) {
        const first = this.first();
        if (first <= next) throw this.damaged(next, 'missing');
        next = first;
        continue;
      }
      for (const [index, row] of rows.entries()) if (row[0] !== next + index) throw this.damaged(next + index, 'missing');
      next += rows.length;
      yield convert(rows);
    }
  }

  #rows(statement: StatementSync, next: number, to: number): Row[] {
    const large = this.#number(this.statements.large, next) ?? Infinity;
    const end = large === next ? next + 1 : Math.min(next + PAGE_EVENTS, large, to + 1);
    return guarded(this.path, () => statement.all(next, end)) as unknown as Row[];
  }

  #event(row: Row): RecordedEvent {
    const [seq, id, writtenType, mono_ns, boot_ns, wall_ns, cause, episode, v, run, text] = row as readonly [
      ...[number, string, string, string, string, string, number | null, string | null, number, number, string],
    ];
    const { logId, bootId } = this.#run(seq, run);
    const { type, data } = this.#lifted(seq, writtenType, v, this.#parse(seq, text));
    const event = { seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, v: SCHEMA_VERSION, logId, bootId, data };
    const problem = envelopeProblem(event, seq) ?? dataProblem(type, data);
    if (problem !== null) throw this.damaged(seq, problem);
    return event as RecordedEvent;
  }

  #foldables(rows: readonly Row[]): Foldable[] {
    return rows.map((row) => {
      const [seq, written, mono_ns, v, text] = row as readonly [number, string, string, number, string];
      const data = this.#shared.get(text) ?? this.#parseShared(seq, text);
      const type = eventTypeOf(written);
      if (v === SCHEMA_VERSION && type !== undefined) return { seq, type, mono_ns, data } as Foldable;
      return { seq, mono_ns, ...this.#lifted(seq, written, v, data) } as Foldable;
    });
  }

  // A link that goes up and down says the same again and again: what was parsed once serves every event with that text.
  // It is frozen, so that nobody changes it for all of them.
  #parseShared(seq: number, text: string): unknown {
    const data = this.#parse(seq, text);
    if (text.length > SHARED_CHARS) return data;
    if (this.#shared.size >= SHARED_LIMIT) this.#shared.clear();
    this.#shared.set(text, frozen(data));
    return data;
  }

  #parse(seq: number, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.damaged(seq, 'data is not JSON');
    }
  }

  #lifted(seq: number, written: string, v: number, data: unknown): { type: string; data: unknown } {
    if (v > SCHEMA_VERSION)
      throw new NetkvmError('log.newer', `${this.path}: event ${seq}: schema version ${v}, this program knows ${SCHEMA_VERSION}`);
    const event = lift({ type: written, data }, v);
    const type = eventTypeOf(String(event.type));
    if (type === undefined) throw this.damaged(seq, 'unknown event type');
    return { type, data: event.data };
  }

  #run(seq: number, run: number): Run {
    const known = this.#runs.get(run);
    if (known !== undefined) return known;
    const row = guarded(this.path, () => this.statements.run.get(run)) as [string, string] | undefined;
    if (row === undefined) throw this.damaged(seq, `belongs to run ${run}, which is not recorded`);
    const found = { logId: row[0], bootId: row[1] };
    this.#runs.set(run, found);
    return found;
  }

  // Waits for an append in this process, the time at which to look for one of another process, or the end.
  #news(signal: AbortSignal): Promise<void> {
    if (signal.aborted || !this.#open) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, POLL_MS);
      signal.addEventListener('abort', done, { once: true });
      this.#waiting.add(done);
    });
  }

  // A writer that found this database damaged has renamed it: a follower would wait for ever for what goes elsewhere.
  #refuseReplaced(): void {
    if (statSync(this.path, { throwIfNoEntry: false })?.ino !== this.#inode)
      throw new NetkvmError('log.damaged', `${this.path}: the log was replaced while it was followed`);
    if (!isWantedBack(this.path)) return;
    this.close();
    throw new NetkvmError('log.damaged', `${this.path}: the log is being replaced while it is followed`);
  }
}
