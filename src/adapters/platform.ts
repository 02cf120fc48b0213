// The interface of the outside world, one per operating system (adapters/linux, adapters/windows, adapters/simulated).
// Hints stay inside the platform: it re-reads, compares with what it knew, and emits what changed.
import type { Observable } from 'rxjs';
import type { Decision, HappeningOf, Observation } from '../events/catalogue.ts';
import type { Clocks } from '../events/envelope.ts';

export type Outcome = Pick<HappeningOf<'outcome.seen'>['data'], 'result' | 'reason' | 'observed'>;

/** What one look at the world gave, with the instant at which the kernel's message was read. */
export interface Sighting {
  readonly at: Clocks;
  readonly observations: readonly Observation[];
}

export interface Platform {
  readonly name: string;
  /** Hot: the first sighting after subscription is a survey. Bounded: overflow is a gap, then a survey. */
  readonly sightings: Observable<Sighting>;
  /** Reads everything anew; the result comes as a sighting. */
  survey(reason: string): void;
  /** Acts, reads back, reports. Never throws for a refusal by the system; aborts when `signal` does. */
  perform(decision: Decision, signal: AbortSignal): Promise<Outcome>;
  now(): Clocks;
  /** Runs `act` after `delay_ms` of this platform's own time; calling the result cancels it. */
  after(delay_ms: number, act: () => void): () => void;
  bootId(): string;
  close(): Promise<void>;
}

/** The timers of a platform that lives in real time. They do not keep the process alive. */
export const realTimer = (delay_ms: number, act: () => void): (() => void) => {
  const timer = setTimeout(act, delay_ms);
  timer.unref();
  return () => clearTimeout(timer);
};
