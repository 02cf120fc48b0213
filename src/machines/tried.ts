// What was tried: decisions with what became of them, in the order in which they were made.
import type { Decision, HappeningOf } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import type { Place } from './history.ts';

export type Became = Pick<HappeningOf<'outcome.seen'>['data'], 'result' | 'reason' | 'observed'> & { readonly at: Place };

export interface Attempt {
  readonly decision: Decision;
  readonly at: Place;
  /** null while it is under way, and for one that the log ends in. */
  readonly outcome: Became | null;
}

export class Tried {
  readonly #attempts = new Map<string, Attempt>();
  readonly #limit: number;

  /** Keeps the newest `limit` decisions. */
  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  note(event: Foldable, at: Place): void {
    if (event.type === 'decision.made') {
      this.#attempts.set(event.data.id, { decision: event.data, at, outcome: null });
      if (this.#attempts.size > this.#limit)
        for (const oldest of this.#attempts.keys()) {
          this.#attempts.delete(oldest);
          break;
        }
    } else if (event.type === 'outcome.seen') {
      const attempt = this.#attempts.get(event.data.decision);
      const { result, reason, observed } = event.data;
      if (attempt !== undefined)
        this.#attempts.set(event.data.decision, { ...attempt, outcome: { result, reason, observed, at } });
    }
  }

  /** Oldest first; of one pair, or of all. */
  list(mac?: string): Attempt[] {
    return [...this.#attempts.values()].filter(({ decision }) => mac === undefined || decision.pair === mac);
  }
}
