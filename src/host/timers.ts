// The chart's timers in real life: armed and cancelled as the fold asks, on the platform's clock. A firing is only reported;
// whether it still counts is for the fold to say.
import type { Platform } from '../adapters/platform.ts';
import type { HappeningOf } from '../events/catalogue.ts';
import type { Step } from '../machines/step.ts';

export class Timers {
  readonly #running = new Map<string, () => void>();
  readonly #platform: Pick<Platform, 'after'>;
  readonly #fire: (elapsed: HappeningOf<'timer.elapsed'>) => void;

  constructor(platform: Pick<Platform, 'after'>, fire: (elapsed: HappeningOf<'timer.elapsed'>) => void) {
    this.#platform = platform;
    this.#fire = fire;
  }

  take(step: Step): void {
    for (const request of step.timers) {
      const key = `${request.pair} ${request.timer}`;
      this.#running.get(key)?.();
      this.#running.delete(key);
      if (request.op === 'cancel') continue;
      const { pair, timer, armedBy } = request;
      const cancel = this.#platform.after(request.delay_ms, () => {
        this.#running.delete(key);
        this.#fire({ type: 'timer.elapsed', data: { pair, timer, armedBy } });
      });
      this.#running.set(key, cancel);
    }
  }

  clear(): void {
    for (const cancel of this.#running.values()) cancel();
    this.#running.clear();
  }
}
