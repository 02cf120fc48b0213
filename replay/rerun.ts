// Re-running a raw capture: entry by entry through the same observer as live messages, with timers on virtual time. Every
// happening goes to `tell` as an event, numbered here; what a user sees is the number of the capture's line instead.
import { type CaptureEntry, observeEntry } from '../src/adapters/linux/capture.ts';
import { Observer } from '../src/adapters/linux/observer.ts';
import type { Happening, Policy } from '../src/events/catalogue.ts';
import type { Foldable } from '../src/events/envelope.ts';
import type { Step } from '../src/machines/step.ts';
import type { Place } from '../src/machines/history.ts';
import { VirtualTimers } from './virtual-time.ts';

export class Rerun {
  /** Messages so far: datagrams and receive errors. */
  messages = 0;
  readonly #tell: (event: Foldable, place: Place) => Step;
  readonly #observer = new Observer();
  readonly #timers = new VirtualTimers();
  #seq = 0;
  #place: Place = { seq: 0, at_ns: '0' };

  constructor(tell: (event: Foldable, place: Place) => Step, policy?: Policy) {
    this.#tell = tell;
    if (policy !== undefined) this.#happen({ type: 'configuration.applied', data: { policy } }, this.#place);
  }

  take(entry: CaptureEntry): void {
    // A damaged line has no clock of its own: it stands where the line before it stood.
    if (entry.kind !== 'damage') {
      this.#fire(entry.mono_ns);
      this.#place = { seq: entry.n, at_ns: entry.mono_ns };
    }
    if (entry.kind === 'datagram' || entry.kind === 'error') this.messages += 1;
    for (const observation of observeEntry(this.#observer, entry)) this.#happen(observation, this.#place);
  }

  #fire(now_ns: string): void {
    for (;;) {
      const due = this.#timers.due(now_ns);
      if (due === null) return;
      this.#happen({ type: 'timer.elapsed', data: due.data }, { seq: this.#place.seq, at_ns: due.at_ns });
    }
  }

  #happen(happening: Happening, place: Place): void {
    this.#seq += 1;
    const step = this.#tell({ ...happening, seq: this.#seq, mono_ns: place.at_ns }, place);
    this.#timers.take(step, place.at_ns);
  }
}
