// The fold together with what people read of it: history, findings and counts. The live service, the replayer and every
// command that looks at a log tell the same story, so that they cannot disagree.
import type { Foldable } from '../events/envelope.ts';
import { Findings, type Finding } from './findings.ts';
import { Guest } from './guest.ts';
import type { Divergence, Step } from './step.ts';
import { History, type Place, type SettledEntry } from './history.ts';
import { defaultPolicy } from './policy.ts';
import { Tried } from './tried.ts';

export interface Listener {
  /** A state of a pair has lasted for the settling time. */
  readonly settled?: (entry: SettledEntry) => void;
  /** A finding has ended, or is a point. */
  readonly found?: (finding: Finding) => void;
}

/** Bounds for a process that runs for years; a replay keeps everything. */
export interface Limits {
  readonly entries?: number;
  readonly findings?: number;
}

export class Story {
  readonly guest = new Guest();
  readonly history: History;
  readonly findings: Findings;
  readonly tried: Tried;
  decisions = 0;
  gaps = 0;
  /** The first place at which the fold and the log disagree. */
  divergence: Divergence | null = null;
  end: Place = { seq: 0, at_ns: '0' };

  constructor({ settled, found }: Listener = {}, { entries, findings }: Limits = {}) {
    this.history = new History(defaultPolicy.settle_ms, entries, settled);
    this.findings = new Findings(findings, found);
    this.tried = new Tried(findings);
  }

  /** Folds one event. `place` is what the user knows it by where that is not its sequence number (raw captures). */
  tell(event: Foldable, place: Place = { seq: event.seq, at_ns: event.mono_ns }): Step {
    const step = this.guest.apply(event);
    this.end = place;
    if (event.type === 'gap.seen') this.gaps += 1;
    if (event.type === 'configuration.applied') this.history.settle_ms = event.data.policy.settle_ms;
    this.decisions += step.decisions.length;
    this.divergence ??= step.divergence;
    this.history.pass(place.at_ns);
    for (const change of step.changes) this.history.note(change, place);
    this.findings.note(event, this.guest, step, place);
    this.tried.note(event, place);
    return step;
  }
}
