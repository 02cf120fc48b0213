// Real-time priority, where the configuration asks for it, while a primary with a PTP clock carries: the removal of that clock
// announces the primary's own, and moving the traffic in time is a race with the driver, which only a process that is
// scheduled at once wins. At no other time: where nothing is announced it would only keep a lone CPU from the kernel's own
// failover, and what starts, looks around or takes over works for long.
import type { PairState } from '../machines/pair-state.ts';
import type { Lines } from './lines.ts';

export interface Scheduling {
  /** Null, or why it cannot be; 0 is none. */
  readonly setPriority: (priority: number) => string | null;
  /** Whether a device has a PTP clock; `device` as in Adapter. */
  readonly hasClock: (device: string) => boolean;
}

export class Urgency {
  readonly #priority: number;
  readonly #scheduling: Scheduling;
  readonly #lines: Pick<Lines, 'degraded'>;
  #now = 0;
  #refused = false;

  constructor(priority: number, scheduling: Scheduling, lines: Pick<Lines, 'degraded'>) {
    this.#priority = priority;
    this.#scheduling = scheduling;
    this.#lines = lines;
  }

  /** The pairs have come to rest somewhere. */
  shows(pairs: Iterable<Pick<PairState, 'shown' | 'roles'>>): void {
    const wanted = [...pairs].some((pair) => this.#isAnnounced(pair)) ? this.#priority : 0;
    if (wanted === this.#now || this.#refused) return;
    const reason = this.#scheduling.setPriority(wanted);
    if (reason === null) this.#now = wanted;
    else {
      this.#refused = true;
      this.#lines.degraded({ part: 'priority', reason });
    }
  }

  #isAnnounced({ shown, roles: { primary } }: Pick<PairState, 'shown' | 'roles'>): boolean {
    const device = shown.datapath === 'primary' ? primary?.facts.device : null;
    return device != null && this.#scheduling.hasClock(device);
  }
}
