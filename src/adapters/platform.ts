// The interface of the outside world, one per operating system (adapters/linux, adapters/windows, adapters/simulated).
// Hints stay inside the platform: it re-reads, compares with what it knew, and emits what changed.
import type { Observable } from 'rxjs';
import type { Decision, HappeningOf, Obligation, Observation, Settlement } from '../events/catalogue.ts';
import type { Clocks } from '../events/envelope.ts';

export type Outcome = Pick<HappeningOf<'outcome.seen'>['data'], 'result' | 'reason' | 'observed'>;

/** What one look at the world gave, with the instant at which the kernel's message was read. */
export interface Sighting {
  readonly at: Clocks;
  readonly observations: readonly Observation[];
}

/** What is owed to the pair of a decision, and the only door through which the platform says that it owes something. */
export interface Ledger {
  /** The open obligations of the pair, oldest first, as they are now. */
  readonly open: readonly Obligation[];
  /**
   * To be called BEFORE the first thing is changed. Resolves, when it is durably in the log, with the obligation that is
   * open from then on; if one of this kind for this device instance is open already, with that one: what it says was before
   * is never overwritten. Rejects when it cannot be recorded: then nothing may be changed. `before` is plain JSON of at most
   * BEFORE_CHARS_MAX characters.
   */
  owe(owed: Pick<Obligation, 'kind' | 'device' | 'before'>): Promise<Obligation>;
  /** To be called when the facts, read back, show that nothing is owed any more. An id that is not open is ignored. */
  settle(id: string, how: Settlement): void;
}

export interface Platform {
  readonly name: string;
  /** Hot: the first sighting after subscription is a survey. Bounded: overflow is a gap, then a survey. */
  readonly sightings: Observable<Sighting>;
  /** Reads everything anew; the result comes as a sighting. */
  survey(reason: string): void;
  /**
   * Acts, reads back, reports. Never throws for a refusal by the system; aborts when `signal` does, and then puts back what
   * is half done. A decision may be one that an earlier process had begun: compare before acting.
   */
  perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome>;
  /**
   * Before the first effect on these pairs (MACs): ends what an earlier process opened for a moment only and did not close.
   * Nothing that was decided is changed by it.
   */
  resume?(pairs: readonly string[]): void;
  now(): Clocks;
  /** Runs `act` after `delay_ms` of this platform's own time; calling the result cancels it. */
  after(delay_ms: number, act: () => void): () => void;
  bootId(): string;
  /** Rises with every turn of the loop that reads the system; a platform without such a loop has none. */
  turns?(): number;
  close(): Promise<void>;
}

/** The timers of a platform that lives in real time. They do not keep the process alive. */
export const realTimer = (delay_ms: number, act: () => void): (() => void) => {
  const timer = setTimeout(act, delay_ms);
  timer.unref();
  return () => clearTimeout(timer);
};
