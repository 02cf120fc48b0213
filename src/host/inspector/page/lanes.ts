// What each lane shows of one pair within a window of the log: spans (a state that lasts) and marks (an event). Pure; the
// drawing is in Lanes.tsx.
import type { Finding } from '../../../machines/findings.ts';
import type { Severity } from '../../../machines/reasons.ts';
import type { Datapath } from '../../../machines/stages.ts';
import { type PairTrack, type Point, placeOf, type Presence, type Row, type Tracks } from './tracks.ts';

export const LANES = ['hypervisor', 'pci', 'primary', 'standby', 'controller', 'effects'] as const;
export type Lane = (typeof LANES)[number];

export interface Span<K extends string = string> {
  readonly from: number;
  /** Index of the event that ended it; the last event of the window while it lasts. */
  readonly to: number;
  readonly kind: K;
  readonly label: string;
}

/** The lane in which an event belongs for a pair; null when it is about something else. */
export const laneOf = ({ event, roles }: Row, mac: string): Lane | null => {
  const { type, data } = event;
  switch (type) {
    case 'announce.seen':
    case 'clock.jumped':
      return 'hypervisor';
    case 'pci.added':
    case 'pci.bound':
    case 'pci.unbound':
    case 'pci.removed':
    case 'departure.signalled':
      return 'pci';
    case 'adapter.appeared':
    case 'adapter.changed':
    case 'adapter.gone':
    case 'address.added':
    case 'address.removed':
    case 'counters.sampled': {
      const role = roles.find((one) => one.mac === mac)?.role;
      if (role === undefined) return null;
      return role === 'primary' || role === 'surplus' ? 'primary' : 'standby';
    }
    case 'driver.facts':
    case 'driver.gone':
      return data.mac === mac ? 'standby' : null;
    case 'decision.made':
    case 'outcome.seen':
    case 'obligation.opened':
    case 'obligation.closed':
      return data.pair === mac ? 'effects' : null;
    case 'monitor.facts':
    case 'monitor.event':
    case 'port.facts':
    case 'channel.facts':
    case 'channel.heard':
      return data.pair === mac ? 'hypervisor' : null;
    case 'timer.elapsed':
      return data.pair === mac ? 'controller' : null;
    case 'protocol.installed':
    case 'protocol.removed':
    case 'controller.seen':
    case 'gap.seen':
    case 'survey.taken':
    case 'service.started':
    case 'service.stopped':
    case 'configuration.applied':
    case 'checkpoint.made':
    case 'log.outage':
    case 'operator.commanded':
      return 'controller';
  }
};

/** The points of a pair as spans of one property; what equals `nothing` is left out. */
const spansOf = <K extends string>(
  track: PairTrack | undefined,
  [from, to]: readonly [number, number],
  kindOf: (point: Point) => K | null,
  labelOf: (kind: K, point: Point) => string,
): Span<K>[] => {
  const spans: Span<K>[] = [];
  let open: { from: number; kind: K; label: string } | null = null;
  const close = (at: number): void => {
    if (open !== null && at >= from) spans.push({ ...open, from: Math.max(open.from, from), to: Math.min(at, to) });
    open = null;
  };
  for (const point of track?.points ?? []) {
    if (point.index > to) break;
    const kind = kindOf(point);
    if (kind === (open as { kind: K } | null)?.kind) continue;
    close(point.index);
    if (kind !== null) open = { from: point.index, kind, label: labelOf(kind, point) };
  }
  close(to);
  return spans;
};

type Window = readonly [from: number, to: number];

export const datapathSpans = (track: PairTrack | undefined, window: Window): Span<Datapath>[] =>
  spansOf(
    track,
    window,
    ({ datapath, stage }) => (stage === 'absent' ? null : datapath),
    (kind) => (kind === 'none' ? 'no path' : kind),
  );

export const stageSpans = (track: PairTrack | undefined, window: Window): Span[] =>
  spansOf(
    track,
    window,
    ({ stage }) => stage,
    (kind) => kind,
  );

export const presenceSpans = (track: PairTrack | undefined, window: Window, role: 'standby' | 'primary'): Span<Presence>[] =>
  spansOf(
    track,
    window,
    (point) => (point[role] === 'gone' ? null : point[role]),
    (kind) => (kind === 'carrying' ? 'up, carrier' : 'no carrier'),
  );

export const pluggedSpans = (track: PairTrack | undefined, window: Window): Span<'plugged'>[] =>
  spansOf(
    track,
    window,
    ({ plugged }) => (plugged ? 'plugged' : null),
    () => 'plugged',
  );

/** Decisions with their outcomes: the span lasts from one to the other. */
export const effectSpans = (track: PairTrack | undefined, [from, to]: Window): Span[] =>
  (track?.efforts ?? [])
    .filter((effort) => effort.index <= to && (effort.until ?? to) >= from)
    .map(({ decision, index, until, outcome }) => ({
      from: Math.max(index, from),
      to: Math.min(until ?? to, to),
      kind: outcome?.result ?? 'open',
      label: outcome === null || outcome.result === 'succeeded' ? decision.kind : `${decision.kind}: ${outcome.result}`,
    }));

export interface FindingSpan extends Span<Severity> {
  readonly finding: Finding;
}

export const findingSpans = (tracks: Tracks, findings: readonly Finding[], mac: string, [from, to]: Window): FindingSpan[] =>
  findings
    .filter((finding) => finding.mac === null || finding.mac === mac)
    .map((finding) => ({
      finding,
      from: tracks.indexOf(finding.seq),
      to: finding.until_seq === null ? to : tracks.indexOf(finding.until_seq),
      kind: finding.severity,
      label: finding.code,
    }))
    .filter((span) => span.from <= to && span.to >= from)
    .map((span) => ({ ...span, from: Math.max(span.from, from), to: Math.min(span.to, to) }));

export interface Mark {
  readonly index: number;
  readonly lane: Lane;
  /** How many events are drawn as this one mark. */
  readonly count: number;
}

/** The events of a window by lane; those that would be drawn within one pixel are one mark. */
export const marksOf = (tracks: Tracks, mac: string, [from, to]: Window, xOf: (index: number) => number): Mark[] => {
  const last = new Map<Lane, { index: number; lane: Lane; count: number; pixel: number }>();
  const marks: { index: number; lane: Lane; count: number; pixel: number }[] = [];
  for (let index = from; index <= to; index += 1) {
    const row = tracks.rows[index];
    const lane = row === undefined ? null : laneOf(row, mac);
    if (lane === null) continue;
    const pixel = Math.round(xOf(index));
    const before = last.get(lane);
    if (before !== undefined && before.pixel === pixel) before.count += 1;
    else {
      const mark = { index, lane, count: 1, pixel };
      last.set(lane, mark);
      marks.push(mark);
    }
  }
  return marks;
};

/** For `aria-valuetext` and titles: where an event is. */
export const placeText = (row: Row): string => `event ${placeOf(row.event)}, ${row.event.type}`;
