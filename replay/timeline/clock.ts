// Puts a guest's clock on its hosts' axis. Nothing tells the offset between the two, but cause comes before effect: what
// follows in the guest from something on the host gives a lower bound of the offset, what follows on the host from
// something in the guest an upper one. Between STOP and RESUME a guest's clock may stand still (kvmclock does) or run on, so
// that each segment in which it ran has an offset of its own, and the bounds of one limit those of the next.
//
// The estimate assumes a clock that stands still and the quickest chain of cause and effect; the bounds assume neither.
import type { Sight, SightKind } from './guest.ts';
import { type Host, type HostEvent, isCommand, isEvent } from './host.ts';

/** A time in which a host ran the guest, on the axis. Open ends are null. */
export interface Running {
  readonly host: string;
  readonly from_ns: bigint | null;
  readonly until_ns: bigint | null;
}

export interface Segment extends Running {
  /** Axis = guest's CLOCK_MONOTONIC + this. */
  readonly offset_ns: bigint;
  /** The true offset lies between these; null where nothing limits it. */
  readonly low_ns: bigint | null;
  readonly high_ns: bigint | null;
  /** Events that both sides saw. */
  readonly anchors: number;
}

export interface Axis {
  readonly segments: readonly Segment[];
  /** By how much the bounds contradict each other; 0 unless a clock drifted or was stepped, or the files do not fit. */
  readonly contradiction_ns: bigint;
}

type CueKind = 'negotiated' | 'filterChanged' | 'plugged' | 'asked' | 'resumed' | 'gone';
export interface Cue {
  readonly kind: CueKind;
  readonly at_ns: bigint;
}

/** What the guest sees of each cue, and whether before or after the host. */
const COUNTERPARTS: Readonly<Record<CueKind, { readonly sight: SightKind; readonly guest: 'after' | 'before' }>> = {
  // The driver accepts the features and then registers its adapter.
  negotiated: { sight: 'standbyAppeared', guest: 'after' },
  // The receive mode is set while an adapter is set up, and then the kernel says that it is up.
  filterChanged: { sight: 'standbyUp', guest: 'after' },
  plugged: { sight: 'functionAdded', guest: 'after' },
  asked: { sight: 'primaryLeaving', guest: 'after' },
  resumed: { sight: 'announced', guest: 'after' },
  // The guest removes the function and then lets the slot go.
  gone: { sight: 'functionRemoved', guest: 'before' },
};

/** A reader may stamp a message late: a guest's time is an upper bound only with this much grace. */
const READING = 50e6;
const READING_NS = BigInt(READING);
/** How far apart a cause and its effect may be. */
const REACH = 2000e6;
const CUES_MAX = 64;
const SIGHTS_MAX = 500;

/** What a host's events say that a guest sees, too, in the order of time. */
export const cuesOf = (hosts: readonly Host[]): Cue[] => {
  const cues = hosts.flatMap(({ events }) => {
    let waiting = false;
    return events.flatMap((event): Cue[] => {
      const left = waiting && isEvent(event, 'MIGRATION') && event.fields['status'] === 'active';
      if (isEvent(event, 'MIGRATION')) waiting = event.fields['status'] === 'wait-unplug';
      const kind = left ? 'gone' : cueKindOf(event);
      return kind === null ? [] : [{ kind, at_ns: event.at_ns }];
    });
  });
  return cues.toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : 1));
};

const cueKindOf = (event: HostEvent): CueKind | null => {
  if (isEvent(event, 'FAILOVER_NEGOTIATED')) return 'negotiated';
  if (isEvent(event, 'NIC_RX_FILTER_CHANGED')) return 'filterChanged';
  if (isEvent(event, 'UNPLUG_PRIMARY') || isCommand(event, 'device_del')) return 'asked';
  if (isEvent(event, 'DEVICE_DELETED')) return 'gone';
  if (isEvent(event, 'RESUME')) return 'resumed';
  return isCommand(event, 'device_add') ? 'plugged' : null;
};

/** When which host ran the guest, from STOP, RESUME and SHUTDOWN. Two hosts' clocks are taken to agree. */
export const runningOf = (hosts: readonly Host[]): Running[] => {
  const turns = hosts
    .flatMap(({ name, events }) => events.map((event) => ({ name, event })))
    .filter(({ event }) => isEvent(event, 'STOP') || isEvent(event, 'RESUME') || isEvent(event, 'SHUTDOWN'))
    .toSorted((a, b) => (a.event.at_ns < b.event.at_ns ? -1 : 1));
  const out: Running[] = [];
  let open: { host: string; from_ns: bigint | null } | null = { host: turns[0]?.name ?? hosts[0]?.name ?? '', from_ns: null };
  for (const { name, event } of turns) {
    if (event.name !== 'RESUME') {
      // The source of a migration is shut down when the guest runs elsewhere.
      if (open === null || (event.name === 'SHUTDOWN' && name !== open.host)) continue;
      out.push({ ...open, until_ns: event.at_ns });
      open = null;
    } else if (open === null) open = { host: name, from_ns: event.at_ns };
    // A guest that was started paused: nothing ran before its first RESUME.
    else if (open.from_ns === null && out.length === 0) open = { host: name, from_ns: event.at_ns };
  }
  if (open !== null || out.length === 0) out.push({ ...(open ?? { host: '', from_ns: null }), until_ns: null });
  return out;
};

/** How long the guest had stood still before each segment. */
const stoppedBefore = (running: readonly Running[]): bigint[] => {
  let sum = 0n;
  return running.map(({ from_ns }, index) => {
    const stop_ns = index === 0 ? null : (running[index - 1]?.until_ns ?? null);
    if (stop_ns !== null && from_ns !== null) sum += from_ns - stop_ns;
    return sum;
  });
};

const segmentAt = (running: readonly Running[], at_ns: bigint): number => {
  const index = running.findIndex(({ until_ns }) => until_ns === null || at_ns < until_ns);
  return index === -1 ? running.length - 1 : index;
};

interface Match {
  readonly segment: number;
  readonly guest: 'after' | 'before';
  /** Host minus guest. */
  readonly difference_ns: bigint;
}

/** Times within the matcher are nanoseconds since the first cue (host) and the first sight (guest), as plain numbers. */
class Matcher {
  readonly #cues: readonly (Cue & { readonly segment: number; readonly ran: number })[];
  readonly #sights = new Map<SightKind, { readonly times: readonly number[]; readonly all: readonly Sight[] }>();

  /** Of many sights those are taken that the guest's own idea of the time (`wall_ns`) puts nearest to the cues. */
  constructor(running: readonly Running[], all: readonly Cue[], sights: readonly Sight[], wall_ns: bigint) {
    const still = stoppedBefore(running);
    const cues = all.slice(0, CUES_MAX);
    const zero = cues[0]?.at_ns ?? 0n;
    this.#cues = cues.map((cue) => {
      const segment = segmentAt(running, cue.at_ns);
      return { ...cue, segment, ran: Number(cue.at_ns - (still[segment] ?? 0n) - zero) };
    });
    const awayFrom = ({ at_ns }: Sight): number => Math.abs(Number(at_ns + wall_ns - zero));
    const start = sights[0]?.at_ns ?? 0n;
    for (const { sight } of Object.values(COUNTERPARTS)) {
      const nearest = sights.filter(({ kind }) => kind === sight).toSorted((a, b) => awayFrom(a) - awayFrom(b));
      const kept = nearest.slice(0, SIGHTS_MAX).toSorted((a, b) => a.seq - b.seq);
      this.#sights.set(sight, { all: kept, times: kept.map(({ at_ns }) => Number(at_ns - start)) });
    }
  }

  /** Pairs of what both sides saw, under the offset with which most of them have a counterpart. */
  matches(): Match[] {
    let best: { offset: number; score: number; slack: number } | null = null;
    for (const offset of this.#candidates()) {
      let [score, slack] = [0, 0];
      for (const cue of this.#cues) {
        const found = this.#counterpart(cue, offset);
        if (found === null) continue;
        score += 1;
        slack += Math.abs(found.slack);
      }
      if (best === null || score > best.score || (score === best.score && slack < best.slack)) best = { offset, score, slack };
    }
    if (best === null) return [];
    const { offset } = best;
    return this.#cues.flatMap((cue) => {
      const found = this.#counterpart(cue, offset);
      if (found === null) return [];
      const { guest } = COUNTERPARTS[cue.kind];
      return [{ segment: cue.segment, guest, difference_ns: cue.at_ns - found.sight.at_ns }];
    });
  }

  #candidates(): Set<number> {
    const found = new Set<number>();
    for (const { kind, ran } of this.#cues)
      for (const time of this.#sights.get(COUNTERPARTS[kind].sight)?.times ?? []) found.add(ran - time);
    return found;
  }

  /** The nearest sight that can be the cue's effect (or cause), and how much later (earlier) it was. */
  #counterpart({ kind, ran }: Cue & { ran: number }, offset: number): { sight: Sight; slack: number } | null {
    const { sight: wanted, guest } = COUNTERPARTS[kind];
    const { times = [], all = [] } = this.#sights.get(wanted) ?? {};
    const at = ran - offset;
    // After: the first one from a little before on. Before: the last one up to a little after.
    const index = guest === 'after' ? firstFrom(times, at - READING) : firstFrom(times, at + READING + 1) - 1;
    const [sight, time] = [all[index], times[index]];
    if (sight === undefined || time === undefined) return null;
    const slack = guest === 'after' ? time - at : at - time;
    return slack > REACH ? null : { sight, slack };
  }
}

/** Index of the first of the sorted `times` that is `from` or later. */
const firstFrom = (times: readonly number[], from: number): number => {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] ?? 0) < from) low = middle + 1;
    else high = middle;
  }
  return low;
};

interface Bounds {
  low: bigint | null;
  high: bigint | null;
  anchors: number;
}
const larger = (a: bigint | null, b: bigint | null): bigint | null => (a === null ? b : b === null || a > b ? a : b);
const smaller = (a: bigint | null, b: bigint | null): bigint | null => (a === null ? b : b === null || a < b ? a : b);
const plus = (a: bigint | null, b: bigint): bigint | null => (a === null ? null : a + b);

/** While it is stopped a clock stands still or runs on: the next offset is as large, or larger by the pause. */
const propagate = (bounds: Bounds[], still: readonly bigint[]): void => {
  for (let index = 1; index < bounds.length; index += 1) {
    const [before, after] = [bounds[index - 1] as Bounds, bounds[index] as Bounds];
    const pause = (still[index] ?? 0n) - (still[index - 1] ?? 0n);
    after.low = larger(after.low, before.low);
    after.high = smaller(after.high, plus(before.high, pause));
  }
  for (let index = bounds.length - 1; index > 0; index -= 1) {
    const [before, after] = [bounds[index - 1] as Bounds, bounds[index] as Bounds];
    const pause = (still[index] ?? 0n) - (still[index - 1] ?? 0n);
    before.low = larger(before.low, plus(after.low, -pause));
    before.high = smaller(before.high, after.high);
  }
};

/**
 * The guest's offset in each segment. `last_ns` is its last word, which is not said after its end. `fallback_ns` is used where no event was seen by both sides: the guest's own idea of
 * the time, without bounds.
 */
export const axisOf = (
  running: readonly Running[],
  cues: readonly Cue[],
  sights: readonly Sight[],
  fallback_ns: bigint,
  last_ns: bigint,
): Axis => {
  const still = stoppedBefore(running);
  const matches = new Matcher(running, cues, sights, fallback_ns).matches();
  if (matches.length === 0) {
    const segments = running.map((one) => ({ ...one, offset_ns: fallback_ns, low_ns: null, high_ns: null, anchors: 0 }));
    return { segments, contradiction_ns: 0n };
  }
  const bounds: Bounds[] = running.map(() => ({ low: null, high: null, anchors: 0 }));
  for (const { segment, guest, difference_ns } of matches) {
    const bound = bounds[segment] as Bounds;
    bound.anchors += 1;
    if (guest === 'after') bound.low = larger(bound.low, difference_ns);
    else bound.high = smaller(bound.high, difference_ns + READING_NS);
  }
  const [end, lastBound] = [running.at(-1)?.until_ns ?? null, bounds.at(-1)];
  if (end !== null && lastBound !== undefined) lastBound.high = smaller(lastBound.high, end + READING_NS - last_ns);
  // The quickest chain of all segments, on a clock that stands still.
  const quickest = bounds.reduce<bigint | null>((most, { low }, index) => larger(most, plus(low, -(still[index] ?? 0n))), null);
  propagate(bounds, still);
  let contradiction_ns = 0n;
  const segments = running.map((one, index): Segment => {
    const { low, high, anchors } = bounds[index] as Bounds;
    const wanted = (quickest ?? high ?? 0n) + (quickest === null ? 0n : (still[index] ?? 0n));
    if (low !== null && high !== null && low > high) {
      if (low - high > contradiction_ns) contradiction_ns = low - high;
      return { ...one, offset_ns: (low + high) / 2n, low_ns: high, high_ns: low, anchors };
    }
    return { ...one, offset_ns: smaller(larger(wanted, low), high) ?? wanted, low_ns: low, high_ns: high, anchors };
  });
  return { segments, contradiction_ns };
};

/** The segment that a guest's time lies in: the first whose end it does not reach. */
export const segmentOf = ({ segments }: Axis, guest_ns: bigint): Segment | null =>
  segments.find(({ until_ns, offset_ns }) => until_ns === null || guest_ns + offset_ns < until_ns) ?? segments.at(-1) ?? null;

/** A guest's time on the axis. What the estimate puts into a pause is put at its end. */
export const onAxis = (axis: Axis, guest_ns: bigint): bigint => {
  const segment = segmentOf(axis, guest_ns);
  if (segment === null) return guest_ns;
  const at_ns = guest_ns + segment.offset_ns;
  return segment.from_ns !== null && at_ns < segment.from_ns ? segment.from_ns : at_ns;
};

/** An instant of the axis on the guest's clock, which stands still between two segments. */
export const onGuest = ({ segments }: Axis, at_ns: bigint): bigint => {
  let last = 0n;
  for (const { from_ns, until_ns, offset_ns } of segments) {
    if (from_ns !== null && at_ns < from_ns) return last;
    if (until_ns === null || at_ns < until_ns) return at_ns - offset_ns;
    last = until_ns - offset_ns;
  }
  return last;
};
