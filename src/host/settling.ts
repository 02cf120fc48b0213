// States settle by the passing of time alone, also when nothing more happens: this wakes the history when the oldest state
// that has not settled yet is due.
import type { Platform } from '../adapters/platform.ts';
import type { History } from '../machines/history.ts';

/** States settle this much after their time, so that one tick is enough. */
const MARGIN_MS = 1;

export class Settling {
  readonly #platform: Pick<Platform, 'after' | 'now'>;
  readonly #history: () => History;
  #cancel: (() => void) | null = null;
  #over = false;

  /** `history` is asked each time: the service may begin another one. */
  constructor(platform: Pick<Platform, 'after' | 'now'>, history: () => History) {
    this.#platform = platform;
    this.#history = history;
  }

  /** To be called after every event. */
  soon(): void {
    if (this.#cancel !== null) return;
    const history = this.#history();
    if (this.#over) history.end();
    const next = history.nextSettling_ms;
    if (next === null) return;
    const wait_ms = Math.max(0, next - Number(this.#platform.now().mono_ns) / 1e6) + MARGIN_MS;
    this.#cancel = this.#platform.after(wait_ms, () => {
      this.#cancel = null;
      this.#history().pass(this.#platform.now().mono_ns);
      this.soon();
    });
  }

  /** The platform has nothing more to say, and its clock may stand: from here on every state has lasted. */
  end(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#over = true;
    this.soon();
  }

  stop(): void {
    this.#cancel?.();
    this.#history().end();
  }
}
