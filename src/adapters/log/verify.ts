// Verifies a log from its first event to its last: every event readable and valid, numbers without holes, causes earlier
// than what they caused, at most one outcome for a decision. Memory is bounded by the decisions that are open at once.
import { envelopeProblem, dataProblem } from '../../events/check.ts';
import type { RecordedEvent } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';

export interface Verdict {
  readonly events: number;
  /** Sequence numbers of the first and last event that were read, 0 for none. */
  readonly first: number;
  readonly last: number;
  readonly decisions: number;
  readonly outcomes: number;
  readonly checkpoints: number;
  /** Decisions without an outcome: in effect, or of a service that died and has not started since. */
  readonly open: number;
  /** The first thing that is wrong; verification ends there. */
  readonly problem: { readonly seq: number; readonly text: string } | null;
}

/** What is verified: a log, or a part of one. */
export interface Verifiable {
  first(): number;
  read(from: number): Iterable<RecordedEvent>;
}

export const verifyLog = (log: Verifiable): Verdict => {
  const tally = new Tally();
  try {
    for (const event of log.read(log.first())) {
      const text = tally.add(event);
      if (text !== null) return tally.verdict({ seq: event.seq, text });
    }
  } catch (error) {
    if (!(error instanceof NetkvmError)) throw error;
    return tally.verdict({ seq: tally.last + 1, text: error.message });
  }
  return tally.verdict(null);
};

/** The rules that hold between events, for a log and for a recording alike. */
export class Tally {
  first = 0;
  last = 0;
  #decisions = 0;
  #outcomes = 0;
  #checkpoints = 0;
  readonly #open = new Set<string>();

  /** Counts an event; returns what is wrong with it, null for nothing. */
  add(event: RecordedEvent): string | null {
    const problem = envelopeProblem(event, event.seq) ?? dataProblem(event.type, event.data) ?? this.#numbered(event.seq);
    if (problem !== null) return problem;
    if (event.type === 'checkpoint.made') this.#checkpoints++;
    if (event.type === 'decision.made') return this.#decided(event.data.id);
    if (event.type === 'outcome.seen') return this.#settled(event.data.decision);
    return null;
  }

  verdict(problem: Verdict['problem']): Verdict {
    return {
      events: this.first === 0 ? 0 : this.last - this.first + 1,
      first: this.first,
      last: this.last,
      decisions: this.#decisions,
      outcomes: this.#outcomes,
      checkpoints: this.#checkpoints,
      open: this.#open.size,
      problem,
    };
  }

  #numbered(seq: number): string | null {
    if (this.first === 0) this.first = seq;
    else if (seq !== this.last + 1) return `does not follow ${this.last}`;
    this.last = seq;
    return null;
  }

  #decided(id: string): string | null {
    if (this.#open.has(id)) return `decision ${id} was made before`;
    this.#decisions++;
    this.#open.add(id);
    return null;
  }

  // `d<seq of its cause>.<ordinal>`: a decision whose cause retention has dropped may have been dropped with it.
  #settled(id: string): string | null {
    const cause = Number(/^d([0-9]+)[.]/.exec(id)?.[1] ?? 0);
    if (!this.#open.delete(id) && cause >= this.first)
      return `decision ${id} has no open effect: a second outcome, or no decision`;
    this.#outcomes++;
    return null;
  }
}
