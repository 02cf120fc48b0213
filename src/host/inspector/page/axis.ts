// The time axis: distances grow with the logarithm of the time between two events, so that a burst of messages can be told
// apart and an hour without any takes no more room than it deserves. Where a gap is drawn much shorter than it was, it
// carries its length.

export interface Gap {
  readonly x: number;
  readonly width: number;
  readonly ms: number;
}

export interface Tick {
  readonly x: number;
  readonly at_ms: number;
}

export interface Axis {
  readonly from: number;
  readonly to: number;
  readonly width: number;
  /** The place of an event of the window; one outside it is at the edge. */
  readonly xOf: (index: number) => number;
  /** The place of an instant between two events of the window; null outside of it. */
  readonly xAt: (at_ms: number) => number | null;
  /** The place of an instant; one outside the window is at the edge. */
  readonly clipped: (at_ms: number) => number;
  /** Whether something of a time is within the window. */
  readonly shows: (from_ms: number, until_ms: number) => boolean;
  /** The event of the window that is nearest to a place. */
  readonly indexAt: (x: number) => number;
  readonly gaps: readonly Gap[];
  readonly ticks: readonly Tick[];
}

/** A gap from this length on carries it, where there is room. */
const GAP_MS = 1000;
const GAP_ROOM_PX = 56;
const TICK_ROOM_PX = 96;
/** Events of one instant stand beside each other. */
const STEP = 0.35;

const lengthOf = (ms: number): number => STEP + Math.log2(1 + Math.max(0, ms));

/** `times` are the milliseconds of all events, `from` and `to` the first and last index that is shown. */
export const axisOf = (times: readonly number[], from: number, to: number, width: number): Axis => {
  const lengths = [0];
  for (let index = from + 1; index <= to; index += 1) {
    lengths.push((lengths.at(-1) ?? 0) + lengthOf((times[index] ?? 0) - (times[index - 1] ?? 0)));
  }
  const whole = lengths.at(-1) || 1;
  const xs = lengths.map((length) => (length / whole) * width);
  const xOf = (index: number): number => xs[Math.min(Math.max(index - from, 0), xs.length - 1)] ?? 0;
  const indexAt = (x: number): number => {
    let [low, high] = [0, xs.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((xs[middle]! + xs[middle + 1]!) / 2 < x) low = middle + 1;
      else high = middle;
    }
    return from + low;
  };
  const xAt = (at_ms: number): number | null => {
    if (at_ms < (times[from] ?? 0) || at_ms > (times[to] ?? 0)) return null;
    let [low, high] = [from, to];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((times[middle] ?? 0) <= at_ms) low = middle;
      else high = middle - 1;
    }
    const [before, after] = [times[low] ?? 0, times[low + 1] ?? times[low] ?? 0];
    const share = after > before ? (lengthOf(at_ms - before) - STEP) / (lengthOf(after - before) - STEP) : 0;
    return xOf(low) + (xOf(low + 1) - xOf(low)) * Math.min(1, share);
  };
  const clipped = (at_ms: number): number => xAt(at_ms) ?? (at_ms < (times[from] ?? 0) ? 0 : width);
  const shows = (from_ms: number, until_ms: number): boolean => until_ms >= (times[from] ?? 0) && from_ms <= (times[to] ?? 0);
  const gaps: Gap[] = [];
  const ticks: Tick[] = [];
  for (let index = from; index <= to; index += 1) {
    const x = xOf(index);
    const ms = (times[index] ?? 0) - (times[index - 1] ?? 0);
    const room = x - xOf(index - 1);
    if (index > from && ms >= GAP_MS && room >= GAP_ROOM_PX) gaps.push({ x: x - room, width: room, ms });
    const last = ticks.at(-1);
    if (last === undefined || (x - last.x >= TICK_ROOM_PX && x <= width - TICK_ROOM_PX / 2))
      ticks.push({ x, at_ms: times[index] ?? 0 });
  }
  return { from, to, width, xOf, xAt, clipped, shows, indexAt, gaps, ticks };
};
