// The log's interface: SQLite (adapters/log/sqlite.ts), and KurrentDB (adapters/kurrentdb/remote-log.ts). A contract test
// runs over every implementation.
import type { Foldable, NewEvent, RecordedEvent } from './envelope.ts';

export interface LogReader {
  readonly logId: string;
  /** Where it is, for messages. */
  readonly path: string;
  /** Sequence number of the last event, 0 for an empty log. */
  head(): number;
  /** Sequence number of the first event that retention has kept, 1 unless pruned; head + 1 when nothing is left. */
  first(): number;
  /** Sequence number of the newest checkpoint, 0 when there is none: where a fold may begin. */
  checkpoint(): number;
  /** Whole events from `from` on, in order, up to the head at the time of the call. */
  read(from: number): Iterable<RecordedEvent>;
  /** The same events, only what a fold needs of them, in pages: several times faster. */
  fold(from: number): Iterable<readonly Foldable[]>;
  /** Events from `from` on, then new ones as they are appended (also by another process), until `signal` aborts. */
  follow(from: number, signal: AbortSignal): AsyncIterable<RecordedEvent>;
  close(): void;
}

export interface EventLog extends LogReader {
  /**
   * Appends all of `events` in one durable step, or none. `expected` is the head that the caller believes in: another
   * head means another writer and is an error (`log.conflict`), except where the events at that place have these very
   * ids, which is a repeated write and succeeds.
   */
  append(events: readonly NewEvent[], expected: number): RecordedEvent[];
  /** Drops whole segments before the newest checkpoint at or below `seq`. Returns how many events went. */
  prune(seq: number): number;
}
