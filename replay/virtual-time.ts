// Timers on virtual time: in a re-run the clock is that of the messages, and an armed timer fires when a message of its
// due time or later comes along. The firing is an event like any other.
import type { HappeningOf } from '../src/events/catalogue.ts';
import type { Step } from '../src/machines/step.ts';

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

  clear(): void {
    this.#armed.clear();
  }

  /**
   * The next timer that is due at or before `now_ns` (null: whenever that is), with its own due time; null when none is.
   * `shift` may say that a timer fires later than it is due, as one on a busy machine does.
   */
  due(
    now_ns: string | null,
    shift: (timer: { pair: string; timer: string }, due_ns: bigint) => bigint | null = () => null,
  ): { at_ns: string; data: HappeningOf<'timer.elapsed'>['data'] } | null {
    let next: { armed: Armed; at: bigint } | null = null;
    for (const armed of this.#armed.values()) {
      const at = shift(armed, armed.due_ns) ?? armed.due_ns;
      if (next === null || at < next.at) next = { armed, at };
    }
    if (next === null || (now_ns !== null && next.at > BigInt(now_ns))) return null;
    const { pair, timer, armedBy } = next.armed;
    this.#armed.delete(`${pair} ${timer}`);
    return { at_ns: next.at.toString(), data: { pair, timer, armedBy } };
  }
}
