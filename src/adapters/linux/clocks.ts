// The three clocks of Linux, exactly, and whether they jumped. Date.now() has milliseconds only, and Node has no boot-time
// clock at all. Seconds and nanoseconds are kept apart, as plain numbers: together they would need big integers, which
// cost more than the rest of a turn. Source: clock_gettime(2).
import type { HappeningOf } from '../../events/catalogue.ts';
import type { Clocks } from '../../events/envelope.ts';
import { libc } from './libc.ts';

const REALTIME = 0;
const BOOTTIME = 7;

/** struct timespec, 64 bits each. */
export type Instant = readonly [seconds: number, nanoseconds: number];
export interface Reading {
  readonly mono: Instant;
  readonly boot: Instant;
  readonly wall: Instant;
}

const timespec = new Uint32Array(4);
const read = (clock: number): Instant => {
  libc().clock_gettime(clock, timespec);
  return [(timespec[1] ?? 0) * 2 ** 32 + (timespec[0] ?? 0), timespec[2] ?? 0];
};
/** process.hrtime is CLOCK_MONOTONIC on Linux, and the quicker call. */
const reading = (): Reading => ({ mono: process.hrtime(), boot: read(BOOTTIME), wall: read(REALTIME) });

const textOf = ([seconds, nanoseconds]: Instant): string =>
  seconds === 0 ? `${nanoseconds}` : `${seconds}${`${nanoseconds}`.padStart(9, '0')}`;
const clocksOf = ({ mono, boot, wall }: Reading): Clocks => ({
  mono_ns: textOf(mono),
  boot_ns: textOf(boot),
  wall_ns: textOf(wall),
});
export const readClocks = (): Clocks => clocksOf(reading());

/** The boot-time clock runs on while the machine sleeps. Less than this is the time between two calls. */
const SLEPT_NS = 100_000_000;
const STEPPED_NS = 1_000_000_000;

export type Jump = HappeningOf<'clock.jumped'>;

/** How far `one` has moved against `other` from the first reading to the second, in nanoseconds. */
const drift_ns = (one: readonly [Instant, Instant], other: readonly [Instant, Instant]): number =>
  (one[1][0] - one[0][0] - (other[1][0] - other[0][0])) * 1e9 + (one[1][1] - one[0][1] - (other[1][1] - other[0][1]));

/** What two readings of the clocks say about the time between them. A sleep moves the wall clock, too: that is no step. */
export const jumpsBetween = (before: Reading, after: Reading): Jump[] => {
  const slept = drift_ns([before.boot, after.boot], [before.mono, after.mono]);
  const stepped = drift_ns([before.wall, after.wall], [before.boot, after.boot]);
  const out: Jump[] = [];
  if (slept > SLEPT_NS) out.push({ type: 'clock.jumped', data: { kind: 'suspended', delta_ns: `${slept}` } });
  if (Math.abs(stepped) > STEPPED_NS) out.push({ type: 'clock.jumped', data: { kind: 'stepped', delta_ns: `${stepped}` } });
  return out;
};

export class ClockWatch {
  #last = reading();

  /** Reads the clocks, and says whether they jumped since the last reading. */
  look(): { at: Clocks; jumps: readonly Jump[] } {
    let now = reading();
    let jumps = jumpsBetween(this.#last, now);
    if (jumps.length > 0) {
      // The three are read one after the other; a pause in between looks like a jump, but not twice.
      now = reading();
      jumps = jumpsBetween(this.#last, now);
    }
    this.#last = now;
    return { at: clocksOf(now), jumps };
  }
}
