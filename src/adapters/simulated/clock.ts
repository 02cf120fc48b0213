// Virtual time: three clocks that only move when something is due, and the queue of what is due. Nothing here knows real
// time, so a simulated hour costs what happens in it. Times are whole microseconds inside, nanoseconds in text outside.
import type { Clocks } from '../../events/envelope.ts';

interface Entry {
  readonly due_us: number;
  readonly order: number;
  readonly act: () => void;
  cancelled: boolean;
}

/** More than this waiting at once means that something feeds itself. */
const MAX_WAITING = 100_000;
/** Where the wall clock stands at the beginning: 2026-01-01, as a label for people. */
const WALL_ORIGIN_US = 1_767_225_600_000_000;

const isEarlier = (one: Entry, other: Entry): boolean =>
  one.due_us < other.due_us || (one.due_us === other.due_us && one.order < other.order);

export class SimulatedClock {
  #mono_us = 0;
  #slept_us = 0;
  #wall_us = WALL_ORIGIN_US;
  #order = 0;
  /** A binary heap, the next entry first. */
  readonly #heap: Entry[] = [];

  now(): Clocks {
    return {
      mono_ns: `${this.#mono_us}000`.replace(/^0+(?=\d)/, ''),
      boot_ns: `${this.#mono_us + this.#slept_us}000`.replace(/^0+(?=\d)/, ''),
      wall_ns: `${this.#wall_us + this.#mono_us}000`,
    };
  }

  get now_ms(): number {
    return this.#mono_us / 1000;
  }

  /** Runs `act` when `delay_ms` of monotonic time have passed; calling the result cancels it. */
  after(delay_ms: number, act: () => void): () => void {
    if (this.#heap.length >= MAX_WAITING) throw new Error('too much is waiting for its time');
    const due_us = this.#mono_us + Math.max(0, Math.round(delay_ms * 1000));
    const entry: Entry = { due_us, order: (this.#order += 1), act, cancelled: false };
    this.#push(entry);
    return () => {
      entry.cancelled = true;
    };
  }

  /** When the next thing is due, in monotonic ms; null when nothing is. */
  nextAt(): number | null {
    while (this.#heap[0]?.cancelled === true) this.#pop();
    const [next] = this.#heap;
    return next === undefined ? null : next.due_us / 1000;
  }

  /** Lets time pass until the next thing is due, and does it. False when nothing is waiting. */
  runNext(): boolean {
    if (this.nextAt() === null) return false;
    const next = this.#pop();
    if (next === undefined) return false;
    this.#mono_us = Math.max(this.#mono_us, next.due_us);
    next.act();
    return true;
  }

  /** Lets time pass up to a moment at which nothing is due before; never back. */
  reach(ms: number): void {
    this.#mono_us = Math.max(this.#mono_us, Math.round(ms * 1000));
  }

  /** The machine was suspended: monotonic time stood still, the others did not. */
  suspend(ms: number): void {
    this.#slept_us += Math.round(ms * 1000);
    this.#wall_us += Math.round(ms * 1000);
  }

  /** The wall clock was set, forward or back. */
  step(ms: number): void {
    this.#wall_us += Math.round(ms * 1000);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isEarlier(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isEarlier(right, left)) child += 1;
      const below = heap[child];
      if (below === undefined || !isEarlier(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
