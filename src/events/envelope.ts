// The envelope: what every event carries besides its type and data. A new event (made, not yet written) and a recorded
// event (written, numbered) are two types, so that nothing can be folded twice or appended twice by mistake.
import type { Happening } from './catalogue.ts';

/** Version of the event schema; a reader lifts older events one step at a time (recording.ts). */
export const SCHEMA_VERSION = 1;

/** Readings of one instant, nanoseconds as decimal strings. Order is the sequence number, never a clock. */
export interface Clocks {
  /** CLOCK_MONOTONIC: stands still while suspended. */
  readonly mono_ns: string;
  /** CLOCK_BOOTTIME: runs on while suspended. */
  readonly boot_ns: string;
  /** CLOCK_REALTIME: a label for people. */
  readonly wall_ns: string;
}

interface Envelope extends Clocks {
  /** UUID, fixed before the first attempt to write, so that a repeated write is recognised. */
  readonly id: string;
  /** Sequence number of the event that led to this one. */
  readonly cause: number | null;
  /** Failover episode that the event belongs to, `e<seq of its first event>`. */
  readonly episode: string | null;
}

export type NewEvent = Envelope & Happening;

export type RecordedEvent = NewEvent & {
  /** Position in its log, from 1, without holes. */
  readonly seq: number;
  /** The log: a cloned guest or a database that was set aside gets a new one. */
  readonly logId: string;
  /** Linux boot_id, or the boot time on Windows. */
  readonly bootId: string;
  readonly v: number;
};

/** What a fold reads of an event. Every recorded event is one. */
export type Foldable = Happening & { readonly seq: number; readonly mono_ns: string };
