// The way of every event through the service: fold, write, and only then act. Events of one turn are folded one after the
// other and written in one durable step; what the fold asked for is passed on when the log has them.
//
// When the log cannot be written, memory takes over up to a bound and the log gets the events later, with the outage. If
// memory does not hold them either, they are lost: the fold has then gone further than the log, and `onLost` starts anew.
import { randomUUID } from 'node:crypto';
import { GroupCommit } from '../adapters/log/group-commit.ts';
import type { Decision, Happening } from '../events/catalogue.ts';
import type { Clocks, Foldable, NewEvent } from '../events/envelope.ts';
import type { EventLog } from '../events/log.ts';
import type { Step } from '../machines/guest.ts';
import type { Story } from '../machines/story.ts';
import type { Lines } from './lines.ts';

/** Events that memory holds for a log that cannot be written. */
export const BACKLOG_LIMIT = 20_000;
const RETRY_MS = 1000;

export interface RecorderEvents {
  /** After folding, before writing: timers are armed here, lines are written. */
  readonly folded: (event: Foldable, step: Step) => void;
  /** After writing (or, in an outage, after folding): decisions may be carried out. */
  readonly decided: (decision: Decision, outage: boolean) => void;
  /** The fold is ahead of the log by events that are lost. */
  readonly lost: (events: number) => void;
}

interface Outage {
  readonly since: Clocks;
  readonly reason: string;
  readonly backlog: NewEvent[];
  readonly timer: NodeJS.Timeout;
}

export class Recorder {
  readonly #group: GroupCommit;
  readonly #story: Story;
  readonly #lines: Lines;
  readonly #now: () => Clocks;
  readonly #events: RecorderEvents;
  #seq: number;
  #outage: Outage | null = null;
  #open = true;

  constructor(log: EventLog, story: Story, lines: Lines, now: () => Clocks, events: RecorderEvents) {
    // No limit on a group: were one committed halfway through a turn and refused, the rest of the turn would be numbered wrong.
    this.#group = new GroupCommit(log, Infinity);
    this.#story = story;
    this.#lines = lines;
    this.#now = now;
    this.#events = events;
    this.#seq = log.head();
  }

  /** Sequence number of the event that was folded last. */
  get seq(): number {
    return this.#seq;
  }
  /** Why the log cannot be written, null while it can. */
  get outage(): string | null {
    return this.#outage?.reason ?? null;
  }

  /** Folds happenings that were seen at one instant and queues them for the log. `cause` is the event that led to them. */
  take(happenings: readonly Happening[], at: Clocks, cause: number | null = null): void {
    if (!this.#open || happenings.length === 0) return;
    const events: NewEvent[] = [];
    const decisions: Decision[] = [];
    for (const happening of happenings) this.#fold(happening, at, cause, events, decisions);
    this.#write(events, decisions);
  }

  /** Writes what is queued; nothing is taken afterwards. Returns how many events are not in the log. */
  close(): number {
    this.#group.flush();
    this.#open = false;
    if (this.#outage === null) return 0;
    clearInterval(this.#outage.timer);
    this.#retry();
    this.#group.flush();
    return this.#outage?.backlog.length ?? 0;
  }

  #fold(happening: Happening, at: Clocks, cause: number | null, events: NewEvent[], decisions: Decision[]): void {
    this.#seq += 1;
    const seq = this.#seq;
    const folded: Foldable = { ...happening, seq, mono_ns: at.mono_ns };
    const step = this.#story.tell(folded);
    const { mono_ns, boot_ns, wall_ns } = at;
    events.push({ ...happening, id: randomUUID(), mono_ns, boot_ns, wall_ns, cause, episode: step.episode });
    this.#events.folded(folded, step);
    for (const decision of step.decisions) {
      decisions.push(decision);
      this.#fold({ type: 'decision.made', data: decision }, at, seq, events, decisions);
    }
  }

  #write(events: NewEvent[], decisions: readonly Decision[]): void {
    if (this.#outage !== null) {
      this.#keep(this.#outage, events);
      for (const decision of decisions) this.#events.decided(decision, true);
      return;
    }
    void this.#group.add(events).then(
      () => decisions.forEach((decision) => this.#events.decided(decision, false)),
      (error: unknown) => {
        this.#keep(this.#outage ?? this.#begin(error), events);
        for (const decision of decisions) this.#events.decided(decision, true);
      },
    );
  }

  #begin(error: unknown): Outage {
    const reason = error instanceof Error ? error.message : String(error);
    this.#lines.outage({ reason });
    const timer = setInterval(() => this.#retry(), RETRY_MS);
    timer.unref();
    this.#outage = { since: this.#now(), reason, backlog: [], timer };
    return this.#outage;
  }

  #keep(outage: Outage, events: readonly NewEvent[]): void {
    if (outage.backlog.length + events.length <= BACKLOG_LIMIT) {
      outage.backlog.push(...events);
      return;
    }
    clearInterval(outage.timer);
    this.#open = false;
    this.#events.lost(outage.backlog.length + events.length);
  }

  #retry(): void {
    const outage = this.#outage;
    if (outage === null) return;
    const events = [...outage.backlog];
    const done = this.#group.add(events);
    this.#group.flush();
    void done.then(
      () => this.#end(outage, events.length),
      () => null,
    );
  }

  #end(outage: Outage, events: number): void {
    if (this.#outage !== outage) return;
    clearInterval(outage.timer);
    this.#outage = null;
    const now = this.#now();
    const after_ms = Number(BigInt(now.mono_ns) - BigInt(outage.since.mono_ns)) / 1e6;
    this.#lines.outageEnded({ events, lost: 0, after_ms });
    const late = outage.backlog.slice(events);
    if (late.length > 0) void this.#group.add(late).catch((error: unknown) => this.#keep(this.#begin(error), late));
    this.take([{ type: 'log.outage', data: { since_ns: outage.since.mono_ns, events, lost: 0, reason: outage.reason } }], now);
  }
}
