// What a server of the inspector is given to show, and its limits.
import type { InspectedEvent, InspectorDocument } from './document.ts';

export const INSPECTOR_LIMITS = {
  /** Pages that follow at a time. */
  pages: 8,
  /** Peers of the xstate protocol at a time. */
  peers: 8,
  /** Connections of any kind. */
  connections: 64,
  /** How long a page may leave unread what was sent to it. */
  unread_ms: 30_000,
  /** A sign of life, so that a page notices a connection that is gone. */
  silence_ms: 15_000,
  /** Unsent bytes of a peer of the xstate protocol, beyond which it is dropped. */
  backlog_bytes: 8 * 1024 * 1024,
} as const;
export type InspectorLimits = { readonly [K in keyof typeof INSPECTOR_LIMITS]: number };

/** A history to show: what there is when the page is asked for, and what comes. */
export interface Subject {
  readonly document: () => Promise<InspectorDocument>;
  /**
   * The events behind the one with this id (`<log id>/<seq>`, null for all that are to be shown), each with its own id; ends
   * with `signal`, or, for a file, with its last event.
   */
  readonly events: (
    after: string | null,
    signal: AbortSignal,
  ) => AsyncIterable<{ readonly id: string; readonly event: InspectedEvent }>;
  /** The id of the newest event. */
  readonly head: () => Promise<string | null>;
}
