// Who waits for something to become true of the story: asked after every event, given up after a while.
import type { Platform } from '../adapters/platform.ts';

export class Waiters {
  readonly #looks = new Set<() => void>();
  readonly #clock: Pick<Platform, 'after'>;

  constructor(clock: Pick<Platform, 'after'>) {
    this.#clock = clock;
  }

  /** To be called after every event. */
  look(): void {
    for (const look of this.#looks) look();
  }

  /** Resolves with true when `isMet` holds, with false when it does not within `limit_ms`. */
  until(isMet: () => boolean, limit_ms: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const look = (): void => {
      if (isMet()) resolve(true);
    };
    const cancel = this.#clock.after(limit_ms, () => resolve(false));
    this.#looks.add(look);
    look();
    return promise.finally(() => {
      cancel();
      this.#looks.delete(look);
    });
  }
}
