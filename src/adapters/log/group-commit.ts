// Group commit: appends that come in one turn of the event loop share one transaction, and so one sync of the disk. The
// log is synchronous, so nothing can arrive while a commit runs; what the kernel sent meanwhile is read, added and
// committed together in the next turn. Nothing is kept after a failure: every append of the group is rejected, and its
// caller, who still holds the events, decides. So is every later one: what came after it must not get into the log before
// what was refused, of which nobody knows whether it is there. Whoever has found out begins a new group.
import type { NewEvent, RecordedEvent } from '../../events/envelope.ts';
import type { EventLog } from '../../events/log.ts';

/** Events that one group may hold; more are committed at once, without waiting for the end of the turn. */
export const GROUP_LIMIT = 4096;

interface Waiting {
  readonly events: readonly NewEvent[];
  readonly resolve: (recorded: readonly RecordedEvent[]) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #log: EventLog;
  readonly #limit: number;
  #head: number;
  #group: Waiting[] = [];
  #size = 0;
  #timer: NodeJS.Immediate | null = null;
  #failure: { readonly error: unknown } | null = null;

  constructor(log: EventLog, limit = GROUP_LIMIT) {
    this.#log = log;
    this.#limit = limit;
    this.#head = log.head();
  }

  /** The sequence number of the last event that the log is known to have. */
  get head(): number {
    return this.#head;
  }

  /** Queues events; the promise is kept once they are durable, broken with the log's error if they (or earlier ones) are not. */
  add(events: readonly NewEvent[]): Promise<readonly RecordedEvent[]> {
    return new Promise((resolve, reject) => {
      if (this.#size + events.length > this.#limit) this.flush();
      if (this.#failure !== null) {
        reject(this.#failure.error);
        return;
      }
      this.#group.push({ events, resolve, reject });
      this.#size += events.length;
      this.#timer ??= setImmediate(() => {
        this.flush();
      });
    });
  }

  /** Commits what is queued now. Never throws: each caller of `add` gets the result of its own events. */
  flush(): void {
    if (this.#timer !== null) clearImmediate(this.#timer);
    this.#timer = null;
    const group = this.#group;
    if (group.length === 0) return;
    this.#group = [];
    this.#size = 0;
    try {
      const events = group.length === 1 && group[0] ? group[0].events : group.flatMap((waiting) => waiting.events);
      const recorded = this.#log.append(events, this.#head);
      this.#head += recorded.length;
      let from = 0;
      for (const { events: own, resolve } of group) resolve(recorded.slice(from, (from += own.length)));
    } catch (error) {
      this.#failure = { error };
      for (const { reject } of group) reject(error);
    }
  }
}
