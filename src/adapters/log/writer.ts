// Writing an SQLite log: the one process that holds the lock appends in transactions that are durable when they return,
// and drops old segments. Every event is checked before it is written. A failed append leaves the log as it was and the
// next one may succeed: the disk has space again.
import type { DatabaseSync } from 'node:sqlite';
import { eventProblem } from '../../events/check.ts';
import { SCHEMA_VERSION, type NewEvent, type RecordedEvent } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';
import type { EventLog } from '../../events/log.ts';
import { MAX_DATA_BYTES } from '../../events/recording.ts';
import type { WriterLock } from './lock.ts';
import { guarded, transaction } from './node-sqlite.ts';
import { type Forwarded, SqliteReader } from './reader.ts';

/** The most events of one append: a bound on memory and on the time that readers of the WAL's end wait. */
export const MAX_APPEND = 65_536;

/** Rows that one transaction of `prune` deletes. */
const SWEEP_EVENTS = 4096;

/** Who writes: the boot of the machine, and the machine itself, which another log id goes with when it is cloned. */
export interface Identity {
  readonly bootId: string;
  readonly machineId: string;
}

const INSERT = `INSERT INTO events(seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, v, run, data)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ${SCHEMA_VERSION}, ?, ?)`;

// Bytes of UTF-8 are at most three for each of a string's units.
const tooLong = (json: string): boolean => json.length > MAX_DATA_BYTES / 3 && Buffer.byteLength(json) > MAX_DATA_BYTES;

const attempt = (work: () => void): void => {
  try {
    work();
  } catch {
    // What is lost by it is found out anew.
  }
};

export class SqliteLog extends SqliteReader implements EventLog {
  /** Whether the machine's identity is another than that of the last run: the guest was cloned, and the log id is new. */
  readonly cloned: boolean;
  readonly #lock: WriterLock;
  readonly #identity: Identity;
  #run: number;
  /** To be written with the next append. */
  #forwarded: Forwarded | null = null;
  readonly #insert;
  readonly #saveForwarded;
  readonly #giveUp;
  readonly #lowest;
  readonly #sweep;

  constructor(db: DatabaseSync, path: string, identity: Identity, lock: WriterLock) {
    super(db, path);
    this.#lock = lock;
    this.#identity = identity;
    this.#insert = db.prepare(INSERT);
    this.#saveForwarded = db.prepare('INSERT OR REPLACE INTO forwarded(log_id, seq, revision) VALUES (?, ?, ?)');
    this.#giveUp = db.prepare('UPDATE retention SET first = ?');
    this.#lowest = db.prepare('SELECT min(seq) AS seq FROM events');
    this.#sweep = db.prepare('DELETE FROM events WHERE seq < ?');
    const last = this.lastRun();
    this.cloned = last !== undefined && last.machineId !== identity.machineId;
    if (last === undefined || this.cloned) this.logId = crypto.randomUUID();
    const same = last !== undefined && !this.cloned && last.bootId === identity.bootId;
    this.#run = same ? last.run : this.#beginRun();
  }

  append(events: readonly NewEvent[], expected: number): RecordedEvent[] {
    if (events.length === 0) return [];
    if (events.length > MAX_APPEND) throw new RangeError(`${events.length} events in one append, the limit is ${MAX_APPEND}`);
    const texts = events.map((event, index) => this.#checked(event, expected + index + 1));
    const recorded = guarded(this.path, () =>
      transaction(this.db, () => {
        const head = this.head();
        if (head !== expected) return this.#repeated(events, expected, head);
        this.#keepForwarded();
        return events.map((event, index) => this.#write(event, expected + index + 1, texts[index] as string));
      }),
    );
    this.wake();
    return recorded;
  }

  // First the log forgets the segments, in one small step; then their rows go, in steps that keep the WAL short. A death
  // in between leaves rows that nobody sees, and the next call goes on with them. The file keeps its size: the space is
  // used again.
  prune(seq: number): number {
    return guarded(this.path, () => {
      const before = this.first();
      const checkpoint = this.checkpoint(seq);
      const first = Math.max(before, checkpoint);
      if (first > before) transaction(this.db, () => this.#giveUp.run(first));
      for (let lowest = this.#lowestSeq(first); lowest < first; lowest = this.#lowestSeq(first))
        transaction(this.db, () => this.#sweep.run(Math.min(first, lowest + SWEEP_EVENTS)));
      return first - before;
    });
  }

  #lowestSeq(otherwise: number): number {
    return Number(this.#lowest.get()?.['seq'] ?? otherwise);
  }

  /**
   * Notes how far the copy on a server has come. Costs nothing now: it is written with the next append, or at the end.
   * Losing it is harmless, because the server knows better.
   */
  noteForwarded(forwarded: Forwarded): void {
    if (forwarded.logId === this.logId) this.#forwarded = forwarded;
  }

  /** A new log id from the next event on: the server has a log of this id that went on without this machine. */
  renew(): void {
    this.logId = crypto.randomUUID();
    this.#forwarded = null;
    this.#run = guarded(this.path, () => this.#beginRun());
  }

  override close(): void {
    // One row: a disk that has no room for it has been told of by the appends.
    if (this.db.isOpen && this.#forwarded !== null) attempt(() => transaction(this.db, () => this.#keepForwarded()));
    super.close();
    this.#lock.release(true);
  }

  #beginRun(): number {
    const { bootId, machineId } = this.#identity;
    const insert = this.db.prepare('INSERT INTO runs(log_id, boot_id, machine_id) VALUES (?, ?, ?)');
    return Number(insert.run(this.logId, bootId, machineId).lastInsertRowid);
  }

  #keepForwarded(): void {
    if (this.#forwarded === null) return;
    const { logId, seq, revision } = this.#forwarded;
    this.#saveForwarded.run(logId, seq, revision);
    this.#forwarded = null;
  }

  // The data of a valid event as JSON. What is not valid is a fault of ours: it must not get into the record.
  #checked(event: NewEvent, seq: number): string {
    const problem = eventProblem(event, seq);
    if (problem !== null) throw new TypeError(`event ${seq} is not valid: ${problem}`);
    const text = JSON.stringify(event.data);
    if (tooLong(text)) throw new RangeError(`event ${seq}: its data is longer than ${MAX_DATA_BYTES} bytes`);
    return text;
  }

  #write(event: NewEvent, seq: number, text: string): RecordedEvent {
    const { id, type, mono_ns, boot_ns, wall_ns, cause, episode } = event;
    // Bound as text, the nanoseconds keep all 64 bits: the columns are INTEGER, and SQLite converts without loss or refuses.
    this.#insert.run(seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, this.#run, text);
    return { ...event, seq, logId: this.logId, bootId: this.#identity.bootId, v: SCHEMA_VERSION };
  }

  // A write that was answered by an error may have succeeded all the same, and is then made again.
  #repeated(events: readonly NewEvent[], expected: number, head: number): RecordedEvent[] {
    const there: RecordedEvent[] = [];
    if (head >= expected + events.length) {
      for (const event of this.read(expected + 1)) {
        if (there.push(event) === events.length) break;
      }
    }
    if (
      there.length === events.length &&
      there.every(({ seq, id }, index) => seq === expected + 1 + index && id === events[index]?.id)
    )
      return there;
    throw new NetkvmError('log.conflict', `${this.path}: the log ends at ${head}, the writer believed in ${expected}`);
  }
}
