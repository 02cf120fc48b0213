// What the inspector's page is given: where the events come from, the events, and what the timeline worked out of them. The
// server writes it, the page reads it; both share this file, the timeline's document, and nothing else but the pure rooms.
import type { Episode, LossFigures, SegmentFigures } from '../../../replay/timeline/document.ts';
import type { Foldable } from '../../events/envelope.ts';

/** An event as the page gets it. A raw capture's events have no envelope, but the number of the line that they came from. */
export type InspectedEvent = Foldable & {
  readonly id?: string;
  readonly cause?: number | null;
  readonly episode?: string | null;
  readonly boot_ns?: string;
  readonly wall_ns?: string;
  readonly logId?: string;
  /** Raw captures: the line's `n`, by which a user knows the event. */
  readonly line?: number;
};

export interface InspectedSource {
  /** `live`: the page asks for events that come later, too. */
  readonly kind: 'recording' | 'raw' | 'live';
  readonly name: string;
}

/** What one hypervisor did, on the guest's monotonic clock. Texts are those of its log: show them as text. */
export interface HostLane {
  readonly name: string;
  readonly role: 'source' | 'target' | 'host';
  /** How far the true places may be from these; null where nothing bounds it. */
  readonly uncertainty_ns: string | null;
  /** When it ran the guest; null: from before, or beyond, what is known. */
  readonly running: readonly { readonly from_ns: string | null; readonly until_ns: string | null }[];
  readonly items: readonly {
    readonly at_ns: string;
    readonly label: string;
    readonly text: string;
    readonly tone: 'plain' | 'good' | 'bad' | 'idle';
    /** Line of the host's file. */
    readonly line: number | null;
  }[];
}

/** What `netkvm timeline` makes of the files that are shown. */
export interface InspectedTimeline {
  readonly hosts: readonly HostLane[];
  /** In which segments the guest ran, and how well its clock is known in each. */
  readonly segments: readonly SegmentFigures[];
  readonly episodes: readonly Episode[];
  readonly losses: readonly LossFigures[];
}

/** Of a live log: it has not ended. */
export const NO_TIMELINE: InspectedTimeline = { hosts: [], segments: [], episodes: [], losses: [] };

export interface InspectorDocument {
  readonly schemaVersion: 1;
  readonly source: InspectedSource;
  /** Whether a server is there that the page may ask (for events, and for actors of other programs). */
  readonly served: boolean;
  /** What was wrong with the file although it could be read. */
  readonly complaints: readonly string[];
  readonly events: readonly InspectedEvent[];
  readonly timeline: InspectedTimeline;
}
