// What the page knows of a log: every event folded once, in order, by the same fold as everywhere else, with what it did
// to each pair. Looking at one position folds again from the nearest kept snapshot (moment.ts), so time travel is folding.
import type { Decision, EventData } from '../../../events/catalogue.ts';
import type { Configuration } from '../../../machines/chart-table.ts';
import type { Finding } from '../../../machines/findings.ts';
import type { Step } from '../../../machines/step.ts';
import type { PairState, Shown } from '../../../machines/pair-state.ts';
import type { Arrived, Mode } from '../../../machines/roles.ts';
import type { GuestSnapshot } from '../../../machines/snapshot.ts';
import { Story } from '../../../machines/story.ts';
import type { InspectedEvent } from '../document.ts';

/** Whether an adapter is there, and whether it is up with carrier. */
export type Presence = 'gone' | 'present' | 'carrying';

/** A pair from one event on, until its next point. */
export interface Point extends Shown {
  /** Index of the event. */
  readonly index: number;
  readonly mode: Mode;
  readonly configuration: Configuration;
  readonly bits: number;
  readonly standby: Presence;
  readonly primary: Presence;
  /** The primary's PCI function exists. */
  readonly plugged: boolean;
}

export type Outcome = EventData<'outcome.seen'>;
export interface Effort {
  readonly decision: Decision;
  readonly index: number;
  outcome: Outcome | null;
  /** Index of the outcome's event. */
  until: number | null;
}

export interface PairTrack {
  readonly mac: string;
  readonly points: Point[];
  readonly efforts: Effort[];
}

export interface Row {
  readonly index: number;
  readonly event: InspectedEvent;
  /** Milliseconds of the monotonic clock since the first event. */
  readonly at_ms: number;
  /** Pairs whose facts the event may have changed. */
  readonly touched: readonly string[];
  readonly changes: readonly { readonly mac: string; readonly before: Shown; readonly after: Shown }[];
  /** The adapter's name, where the event is about one. */
  readonly subject: string | null;
  /** The ifindex of the adapter that the event is about, its MACs and role are looked up by. */
  readonly roles: readonly { readonly mac: string; readonly role: Role }[];
}
export type Role = 'standby' | 'master' | 'primary' | 'surplus';

export interface Keyframe {
  /** The snapshot holds all events before this index. */
  readonly index: number;
  readonly snapshot: GuestSnapshot;
}

/** A snapshot is kept every so many events. */
const KEYFRAME_EVENTS = 256;

const presenceOf = (adapter: Arrived | null): Presence => {
  if (adapter === null) return 'gone';
  return adapter.facts.up && adapter.facts.carrier ? 'carrying' : 'present';
};

const isSamePoint = (a: Point, b: Point): boolean =>
  a.configuration === b.configuration &&
  a.bits === b.bits &&
  a.datapath === b.datapath &&
  a.because === b.because &&
  a.mode === b.mode &&
  a.standby === b.standby &&
  a.primary === b.primary &&
  a.plugged === b.plugged;

/** The place of an event as a user knows it: its sequence number, or the line of a raw capture. */
export const placeOf = (event: InspectedEvent): number => event.line ?? event.seq;

export class Tracks {
  readonly rows: Row[] = [];
  readonly pairs = new Map<string, PairTrack>();
  readonly keyframes: Keyframe[] = [];
  readonly story = new Story();
  readonly #efforts = new Map<string, Effort>();

  /** Folds further events. */
  append(events: readonly InspectedEvent[]): void {
    for (const event of events) this.#take(event);
  }

  get findings(): readonly Finding[] {
    return this.story.findings.list(this.story.end);
  }

  /** Milliseconds since the first event of an instant of the guest's monotonic clock. */
  sinceStart(mono_ns: string): number {
    const first = this.rows[0]?.event.mono_ns ?? mono_ns;
    return Number(BigInt(mono_ns) - BigInt(first)) / 1e6;
  }

  /** The index of the first event at or after a place; the last one when there is none. */
  indexOf(place: number): number {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (placeOf(this.rows[middle]!.event) < place) low = middle + 1;
      else high = middle;
    }
    return Math.min(low, this.rows.length - 1);
  }

  /** The index of the last event at or before an instant of the guest's monotonic clock; the first one when there is none. */
  indexAt(mono_ns: string): number {
    const at_ms = this.sinceStart(mono_ns);
    return Math.max(
      0,
      this.rows.findLastIndex((row) => row.at_ms <= at_ms),
    );
  }

  /** How a pair is after the event with this index; undefined before it is known. */
  pointAt(mac: string, index: number): Point | undefined {
    const points = this.pairs.get(mac)?.points ?? [];
    let [low, high] = [0, points.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle]!.index <= index) low = middle + 1;
      else high = middle;
    }
    return points[low - 1];
  }

  #take(event: InspectedEvent): void {
    const { rows, story } = this;
    const index = rows.length;
    if (index % KEYFRAME_EVENTS === 0) this.keyframes.push({ index, snapshot: story.guest.snapshot() });
    // What leaves is asked about before it has left.
    const before = this.#about(event);
    const step = story.tell(event, { seq: placeOf(event), at_ns: event.mono_ns });
    const about = before.subject === null ? this.#about(event) : before;
    rows.push({
      index,
      event,
      at_ms: this.sinceStart(event.mono_ns),
      touched: step.touched.map(({ mac }) => mac),
      changes: step.changes.map(({ pair, before: was }) => ({ mac: pair.mac, before: was, after: { ...pair.shown } })),
      ...about,
    });
    this.#note(index, step);
    this.#pursue(event, index);
  }

  #note(index: number, step: Step): void {
    const { pairs } = this.story.guest;
    // An adapter or a function that concerns no chart still shows in the lanes.
    const concerned = step.touched.length > 0 ? step.touched : pairs.values();
    for (const pair of concerned) {
      const track = this.#track(pair.mac);
      const point = this.#pointOf(pair, index);
      const last = track.points.at(-1);
      if (last === undefined || !isSamePoint(last, point)) track.points.push(point);
    }
  }

  #track(mac: string): PairTrack {
    let track = this.pairs.get(mac);
    if (track === undefined) {
      track = { mac, points: [], efforts: [] };
      this.pairs.set(mac, track);
    }
    return track;
  }

  #pointOf({ shown, mode, configuration, bits, roles, driverFacts }: PairState, index: number): Point {
    const { standby, primary } = roles;
    const { functions } = this.story.guest.inventory;
    const address = primary?.facts.pci ?? null;
    return {
      index,
      ...shown,
      mode,
      configuration,
      bits,
      standby: presenceOf(standby),
      primary:
        primary === null && driverFacts?.hasVf === true ? (driverFacts.vfLink ? 'carrying' : 'present') : presenceOf(primary),
      plugged: primary !== null && (address === null || functions.size === 0 || functions.has(address)),
    };
  }

  /** Joins decisions with their outcomes. */
  #pursue(event: InspectedEvent, index: number): void {
    if (event.type === 'decision.made') {
      const effort: Effort = { decision: event.data, index, outcome: null, until: null };
      this.#efforts.set(event.data.id, effort);
      this.#track(event.data.pair).efforts.push(effort);
    } else if (event.type === 'outcome.seen') {
      const effort = this.#efforts.get(event.data.decision);
      if (effort === undefined) return;
      effort.outcome = event.data;
      effort.until = index;
      this.#efforts.delete(event.data.decision);
    }
  }

  /** The adapter that an event is about, and its role in each pair. */
  #about(event: InspectedEvent): Pick<Row, 'subject' | 'roles'> {
    const { data } = event;
    if (typeof data !== 'object' || !('ifindex' in data)) return { subject: null, roles: [] };
    const adapter = this.story.guest.adapters.get(data.ifindex);
    if (adapter === undefined) return { subject: null, roles: [] };
    const roles: { mac: string; role: Role }[] = [];
    for (const { mac, roles: of } of this.story.guest.pairs.values()) {
      if (of.standby === adapter) roles.push({ mac, role: 'standby' });
      else if (of.master === adapter) roles.push({ mac, role: 'master' });
      else if (of.primary === adapter) roles.push({ mac, role: 'primary' });
      else if (of.surplus.includes(adapter)) roles.push({ mac, role: 'surplus' });
    }
    return { subject: adapter.facts.name, roles };
  }
}
