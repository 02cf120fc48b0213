// What can still be read of a database that was set aside as damaged: the events from its newest readable checkpoint on, one
// by one, without those that cannot be read. For what must not be lost with a log (host/salvage.ts); nobody folds a
// history from this.
import type { DatabaseSync } from 'node:sqlite';
import { dataProblem, eventTypeOf, isNanoseconds, isSeq } from '../../events/check.ts';
import { SCHEMA_VERSION, type Foldable } from '../../events/envelope.ts';
import { lift } from '../../events/recording.ts';
import { sqlite } from './node-sqlite.ts';

/** Events that are looked through at most, the newest, and reads that may fail: a start must not wait for ever. */
const EVENTS_MAX = 200_000;
const FAILURES_MAX = 2000;
const PAGE_EVENTS = 512;
const CHECKPOINTS_MAX = 16;

const COLUMNS = 'seq, type, CAST(mono_ns AS TEXT) AS mono_ns, v, data';
type Row = Readonly<Record<string, unknown>>;

/**
 * Events in order, none for a file that is no database any more; `isUsable` says whether a checkpoint can be begun with.
 * Never throws.
 */
export function* readableEvents(path: string, isUsable: (checkpoint: Foldable) => boolean): Generator<Foldable> {
  const db = opened(path);
  if (db === null) return;
  try {
    // Where its end cannot be read, it is where nothing more comes.
    const head = numberOf(db, 'SELECT max(seq) AS n FROM events') ?? Infinity;
    const newest = head === Infinity ? 1 : head - EVENTS_MAX;
    const from = Math.max(1, newestCheckpoint(db, isUsable) ?? 1, newest);
    const left = { failures: FAILURES_MAX };
    for (let at = from; at <= Math.min(head, from + EVENTS_MAX) && left.failures > 0; at += PAGE_EVENTS) {
      const before = left.failures;
      const page = rows(db, at, Math.min(head, at + PAGE_EVENTS - 1), left);
      for (const row of page) {
        const event = eventOf(row);
        if (event !== null) yield event;
      }
      if (head === Infinity && page.length === 0 && left.failures === before) return;
    }
  } finally {
    db.close();
  }
}

const opened = (path: string): DatabaseSync | null => {
  try {
    const { DatabaseSync } = sqlite();
    const db = new DatabaseSync(path, { readOnly: true });
    db.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON');
    return db;
  } catch {
    return null;
  }
};

const numberOf = (db: DatabaseSync, sql: string, ...values: number[]): number | null => {
  try {
    const n = db.prepare(sql).get(...values)?.['n'];
    return isSeq(n) ? n : null;
  } catch {
    return null;
  }
};

/** Its number, where the row itself can be read and used. */
const newestCheckpoint = (db: DatabaseSync, isUsable: (checkpoint: Foldable) => boolean): number | null => {
  let below = Number.MAX_SAFE_INTEGER;
  for (let tried = 0; tried < CHECKPOINTS_MAX; tried++) {
    const seq = numberOf(db, `SELECT max(seq) AS n FROM events WHERE type = 'checkpoint.made' AND seq < ?`, below);
    if (seq === null) return null;
    const [row] = rows(db, seq, seq, { failures: 1 });
    const event = row === undefined ? null : eventOf(row);
    if (event !== null && isUsable(event)) return seq;
    below = seq;
  }
  return null;
};

/** The rows of a range; one that cannot be read is halved, down to single rows. */
const rows = (db: DatabaseSync, low: number, high: number, left: { failures: number }): Row[] => {
  if (left.failures <= 0) return [];
  try {
    return db.prepare(`SELECT ${COLUMNS} FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq`).all(low, high);
  } catch {
    left.failures -= 1;
    if (low === high) return [];
    const middle = Math.floor((low + high) / 2);
    return [...rows(db, low, middle, left), ...rows(db, middle + 1, high, left)];
  }
};

const eventOf = ({ seq, type: written, mono_ns, v, data: text }: Row): Foldable | null => {
  if (!isSeq(seq) || !isSeq(v) || v > SCHEMA_VERSION || !isNanoseconds(mono_ns) || typeof text !== 'string') return null;
  try {
    const { type, data } = lift({ type: String(written), data: JSON.parse(text) as unknown }, v);
    const known = eventTypeOf(String(type));
    if (known === undefined || dataProblem(known, data) !== null) return null;
    return { seq, type: known, mono_ns, data } as Foldable;
  } catch {
    return null;
  }
};
