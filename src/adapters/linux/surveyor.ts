// When the kernel is asked for everything, and what becomes of the answer: at the start, after every loss, when somebody
// asks, and every minute. Addresses are dumped first, links last; then sysfs is read and the observer compares. A dump
// that was interrupted or failed is repeated with growing pauses. Whole milliseconds of the monotonic clock come from the
// caller, so that this file needs no timer of its own.
import type { Adapter, Observation } from '../../events/catalogue.ts';
import { errnoName } from './libc.ts';
import type { NetlinkSockets } from './netlink.ts';
import type { Inventory, Observer } from './observer.ts';

export const SURVEY_INTERVAL_MS = 60_000;
const ANSWER_LIMIT_MS = 5000;
const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 2000;
/** After so many interrupted dumps in a row, one is taken for what it does list, and the next follows soon. */
const ATTEMPTS = 5;
const SOON_MS = 1000;
/** Counters are looked at so long after the path may have moved: the first look is what the others are compared with. */
const LOOKS_AFTER_MS = [500, 3000, 10_000] as const;
const LOOKS_APART_MS = 5000;

interface Running {
  /** Null: report the difference; a text: report a whole survey, with this reason. */
  reason: string | null;
  readonly since_ms: number;
}

export class Surveyor {
  readonly #sockets: NetlinkSockets;
  readonly #observer: Observer;
  readonly #inventory: (adapters: readonly Adapter[]) => Inventory;
  readonly #interval_ms: number;
  #wanted: { reason: string | null } | null = null;
  #running: Running | null = null;
  #attempts = 0;
  #notBefore_ms = 0;
  #periodic_ms = Infinity;
  /** When to look at the counters again, after the path may have moved. */
  #looks_ms: number[] = [];
  #moved_ms = -Infinity;

  constructor(
    sockets: NetlinkSockets,
    observer: Observer,
    inventory: (adapters: readonly Adapter[]) => Inventory,
    interval_ms: number,
  ) {
    this.#sockets = sockets;
    this.#observer = observer;
    this.#inventory = inventory;
    this.#interval_ms = interval_ms;
  }

  /** Wishes add up: a whole survey serves one that only wanted the difference. */
  want(reason: string | null): void {
    this.#wanted = { reason: this.#wanted?.reason ?? reason };
  }

  /**
   * The path may have moved: its counters are worth a few looks, which say whether anything comes back. At most one series in
   * LOOKS_APART_MS, however often it moves.
   */
  follow(now_ms: number): void {
    if (now_ms - this.#moved_ms < LOOKS_APART_MS) return;
    this.#moved_ms = now_ms;
    this.#looks_ms = LOOKS_AFTER_MS.map((after) => now_ms + after);
  }

  /** Milliseconds until `step` has something to do even if no message comes. */
  pause(now_ms: number): number {
    const wanted = this.#wanted === null ? Infinity : this.#notBefore_ms;
    const next =
      this.#running === null
        ? Math.min(wanted, this.#periodic_ms, this.#looks_ms[0] ?? Infinity)
        : this.#running.since_ms + ANSWER_LIMIT_MS;
    return Math.max(0, next - now_ms);
  }

  /**
   * Goes on with the survey, as far as the messages read so far allow. `drained` says that the socket is empty: after an
   * overrun the kernel drops everything until it is, so that a dump begun earlier would already be stale.
   */
  step(now_ms: number, drained: boolean): Observation[] {
    if (this.#running !== null) return this.#continue(this.#running, now_ms);
    if (now_ms >= this.#periodic_ms) this.want(null);
    if (now_ms >= (this.#looks_ms[0] ?? Infinity)) {
      this.#looks_ms.shift();
      this.want(null);
    }
    if (this.#wanted === null || !drained || now_ms < this.#notBefore_ms) return [];
    this.#running = { reason: this.#wanted.reason, since_ms: now_ms };
    this.#wanted = null;
    return this.#ask('addresses', now_ms);
  }

  #continue(running: Running, now_ms: number): Observation[] {
    switch (this.#observer.dumpState) {
      case 'addressesDone':
        return this.#ask('links', now_ms);
      case 'complete':
        return this.#finish(running, now_ms);
      case 'collecting':
        return now_ms - running.since_ms > ANSWER_LIMIT_MS ? this.#failed('no answer', now_ms) : [];
      case 'failed':
      case 'none':
        return this.#failed('the kernel refused it', now_ms);
    }
  }

  #ask(part: 'addresses' | 'links', now_ms: number): Observation[] {
    const seq = this.#sockets.requestDump(part);
    if (seq < 0) return this.#failed(errnoName(-seq), now_ms);
    this.#observer.expect(part, seq);
    return [];
  }

  #finish({ reason }: Running, now_ms: number): Observation[] {
    const interrupted = this.#observer.dumpInterrupted;
    if (interrupted && this.#attempts < ATTEMPTS) {
      this.#again(now_ms);
      return [];
    }
    this.#running = null;
    this.#attempts = 0;
    this.#notBefore_ms = now_ms + RETRY_FIRST_MS; // A stream of broken messages must not become a stream of surveys.
    this.#periodic_ms = now_ms + (interrupted ? SOON_MS : this.#interval_ms);
    return this.#observer.finish(this.#inventory(this.#observer.dumped()), reason, interrupted);
  }

  #failed(why: string, now_ms: number): Observation[] {
    this.#again(now_ms);
    return this.#observer.lost('rtnetlink', `a survey failed: ${why}`);
  }

  #again(now_ms: number): void {
    if (this.#running !== null) this.want(this.#running.reason);
    this.#running = null;
    this.#notBefore_ms = now_ms + Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this.#attempts);
    this.#attempts += 1;
  }
}
