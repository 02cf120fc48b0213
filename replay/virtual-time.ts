// Timers on virtual time: in a re-run the clock is that of the messages, and an armed timer fires when a message of its
// due time or later comes along. The firing is an event like any other.
import type { HappeningOf } from '../src/events/catalogue.ts';
import type { Step } from '../src/machines/guest.ts';

interface Armed {
  readonly pair: string;
  readonly timer: string;
  readonly armedBy: number;
  readonly due_ns: bigint;
}

export class VirtualTimers {
  readonly #armed = new Map<string, Armed>();

  /** Takes over the timers that a step armed or cancelled at `now_ns`. */
  take(step: Step, now_ns: string): void {
    for (const request of step.timers) {
      const key = `${request.pair} ${request.timer}`;
      if (request.op === 'cancel') this.#armed.delete(key);
      else {
        const due_ns = BigInt(now_ns) + BigInt(Math.round(request.delay_ms * 1e6));
        this.#armed.set(key, { pair: request.pair, timer: request.timer, armedBy: request.armedBy, due_ns });
      }
    }
  }

  /** The next timer that is due at or before `now_ns`, with its own due time; null when none is. */
  due(now_ns: string): { at_ns: string; data: HappeningOf<'timer.elapsed'>['data'] } | null {
    let next: Armed | null = null;
    for (const armed of this.#armed.values()) if (next === null || armed.due_ns < next.due_ns) next = armed;
    if (next === null || next.due_ns > BigInt(now_ns)) return null;
    this.#armed.delete(`${next.pair} ${next.timer}`);
    const { pair, timer, armedBy, due_ns } = next;
    return { at_ns: due_ns.toString(), data: { pair, timer, armedBy } };
  }
}
