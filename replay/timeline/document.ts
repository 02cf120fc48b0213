// The document of `netkvm timeline`: what --json prints, what the text and the inspector's page show. Its shape is a promise to
// scripts. Times are nanoseconds since the axis' zero, as decimal text. Nothing here reads or computes, so that the page can
// share it.
import type { Datapath } from '../../src/machines/stages.ts';
import type { FindingCode, Severity } from '../../src/machines/reasons.ts';

/** The steps of an episode, in the order in which they are expected. */
export const STEPS = [
  'requested',
  'asked',
  'signalled',
  'unplugged',
  'active',
  'stopped',
  'resumed',
  'returned',
  'attached',
  'carrier',
] as const;
export type StepName = (typeof STEPS)[number];

export const STEP_MEANINGS: Readonly<Record<StepName, string>> = {
  requested: 'the migration, or the removal of the primary, was ordered',
  asked: 'QEMU asked the guest to let its primary go',
  signalled: 'first sign of it in the guest',
  unplugged: 'the primary was gone in the guest',
  active: 'the memory began to be copied',
  stopped: 'the source stopped the guest',
  resumed: 'a host ran the guest again',
  returned: 'a primary was there again',
  attached: 'it was bound or enslaved',
  carrier: 'it carried the traffic',
};

export type Ending = 'completed' | 'cancelled' | 'failed' | 'unfinished' | 'none';

export interface SegmentFigures {
  readonly host: string;
  /** null: open. */
  readonly from_ns: string | null;
  readonly until_ns: string | null;
  /** Axis = guest's CLOCK_MONOTONIC + this; the true one lies between offset + low and offset + high, null where unbounded. */
  readonly offset_ns: string;
  readonly low_ns: string | null;
  readonly high_ns: string | null;
  /** Events that both sides saw; 0: the guest's own wall clock was used. */
  readonly anchors: number;
}

export interface LaneItem {
  readonly at_ns: string;
  /** null: a point. */
  readonly until_ns: string | null;
  /** The same instant on the first guest's CLOCK_MONOTONIC; null without a guest. */
  readonly guest_ns: string | null;
  readonly label: string;
  readonly text: string;
  readonly tone: 'plain' | 'good' | 'bad' | 'idle';
  /** Number of the guest's event, or line of the host's file. */
  readonly seq: number | null;
  readonly line: number | null;
}
export interface Lane {
  readonly id: string;
  readonly title: string;
  readonly group: 'host' | 'guest';
  readonly items: readonly LaneItem[];
}

export interface Episode {
  readonly guest: string;
  readonly mac: string;
  readonly source: string | null;
  readonly target: string | null;
  readonly ending: Ending;
  /** `guest_ns`: the same instant on the guest's own CLOCK_MONOTONIC. */
  readonly steps: Readonly<Partial<Record<StepName, { readonly at_ns: string; readonly guest_ns: string; readonly by: string }>>>;
  readonly carried_ns: Readonly<Record<Datapath, string>>;
  readonly stopped_ns: string;
  /** Packets that were missing in it, by direction; null where nobody measured. */
  readonly lost: Readonly<Record<Direction, number | null>>;
}

/** Into the guest, or out of it. */
export const DIRECTIONS = ['in', 'out'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** A run of packets that were sent one after the other and did not arrive. */
export interface Hole {
  readonly from_ns: string;
  readonly until_ns: string;
  /** The same on the first guest's CLOCK_MONOTONIC; null without a guest. */
  readonly guest: { readonly from_ns: string; readonly until_ns: string } | null;
  readonly lost: number;
}

/** What a meter found missing in one direction. */
export interface LossFigures {
  readonly name: string;
  readonly file: string;
  readonly direction: Direction;
  /** A packet was sent this often. */
  readonly period_us: number;
  readonly lost: number;
  /** null: the meter did not come to its end. */
  readonly received: number | null;
  readonly holes: readonly Hole[];
}

export interface TimelineFinding {
  readonly code: FindingCode;
  readonly severity: Severity;
  readonly at_ns: string;
  readonly until_ns: string | null;
  readonly by: string;
  readonly text: string;
}

export interface TimelineDocument {
  readonly schemaVersion: 1;
  /** Zero on the first host's realtime clock (without a host: on the first guest's). */
  readonly axis: { readonly zero_ns: string; readonly end_ns: string; readonly host: string | null };
  readonly hosts: readonly { readonly name: string; readonly file: string; readonly role: 'source' | 'target' | 'host' }[];
  readonly guests: readonly { readonly name: string; readonly file: string; readonly segments: readonly SegmentFigures[] }[];
  readonly lanes: readonly Lane[];
  readonly episodes: readonly Episode[];
  /** Migrations by the name that source, target and guest have recorded, and who has it. */
  readonly migrations: readonly { readonly name: string; readonly by: readonly string[] }[];
  readonly losses: readonly LossFigures[];
  readonly findings: readonly TimelineFinding[];
}
