// The way of every event through the service: fold, write, and only then act. Events of one turn are folded one after the
// other and written in one durable step; what the fold asked for is passed on when the log has them.
//
// When the log cannot be written, memory takes over up to a bound and the log gets the events later, in their order, and
// then the outage. If memory does not hold them either, or trying again cannot help, they are lost: the fold has then gone
// further than the log, this recorder takes nothing more, and `lost` starts anew.
import { randomUUID } from 'node:crypto';
import { GroupCommit } from '../adapters/log/group-commit.ts';
import type { Platform } from '../adapters/platform.ts';
import type { Decision, Happening } from '../events/catalogue.ts';
import type { Clocks, Foldable, NewEvent } from '../events/envelope.ts';
import { NetkvmError } from '../events/errors.ts';
import type { EventLog } from '../events/log.ts';
import type { Step } from '../machines/step.ts';
import type { Story } from '../machines/story.ts';
import type { Lines } from './lines.ts';

/** What memory holds for a log that cannot be written: events, and characters of their data. */
export const BACKLOG = { events: 20_000, chars: 67_108_864 };
export type Backlog = typeof BACKLOG;
const RETRY_MS = 1000;
/** Events that one attempt writes at a time: on a disk that is still full only the first of these is wasted. */
const CHUNK = 512;

/** What the log will never have. */
export interface Loss {
  readonly events: number;
  /** Monotonic time at which the log could no longer be written. */
  readonly since_ns: string;
  readonly reason: string;
  /** What the log answered last. */
  readonly error: unknown;
}

export interface RecorderEvents {
  /** After folding, before writing: timers are armed here. */
  readonly folded: (event: Foldable, step: Step) => void;
  /** After writing (or, in an outage, after folding): decisions may be carried out. */
  readonly decided: (decision: Decision, outage: boolean) => void;
  /** After that: what is said of an event is what the log has, or memory in its place. */
  readonly recorded: (event: Foldable, step: Step) => void;
  /** The fold is ahead of the log by events that are lost. Told once; nothing is taken or decided afterwards. */
  readonly lost: (loss: Loss) => void;
}

interface Outage {
  readonly since: Clocks;
  readonly reason: string;
  /** Ends the waiting for the next attempt. */
  cancel: () => void;
  readonly backlog: NewEvent[];
  error: unknown;
  /** Where the log ends, as far as we know: the first event of the backlog comes next. */
  head: number;
  chars: number;
  /** Events of this outage that the log has by now. */
  late: number;
}

interface Folded {
  readonly event: Foldable;
  readonly step: Step;
}

/** Whether the place is at fault, not the events: then the next attempt may succeed. */
const mayPass = (error: unknown): boolean => error instanceof NetkvmError && error.code === 'log.unwritable';
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Recorder {
  readonly #log: EventLog;
  readonly #story: Story;
  readonly #lines: Lines;
  readonly #clock: Pick<Platform, 'now' | 'after'>;
  readonly #events: RecorderEvents;
  readonly #limit: Backlog;
  /** By decision, until its outcome: at most one for each pair. */
  readonly #episodes = new Map<string, string | null>();
  #group: GroupCommit;
  #seq: number;
  #outage: Outage | null = null;
  #takes = true;
  #lost = false;

  constructor(
    log: EventLog,
    story: Story,
    lines: Lines,
    clock: Pick<Platform, 'now' | 'after'>,
    events: RecorderEvents,
    limit = BACKLOG,
  ) {
    this.#log = log;
    this.#group = this.#newGroup();
    this.#story = story;
    this.#lines = lines;
    this.#clock = clock;
    this.#events = events;
    this.#limit = limit;
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
    if (this.#takes && happenings.length > 0) this.#record(happenings, at, cause).catch(() => {});
  }

  /** The same, resolved when the log has it and all that came before; rejects when it has not (yet): memory may still have it. */
  async takeSurely(happenings: readonly Happening[], at: Clocks, cause: number | null): Promise<void> {
    if (!this.#takes) throw new Error('nothing is recorded any more');
    const written = this.#record(happenings, at, cause);
    if (this.#outage !== null) throw new Error(`the log cannot be written: ${this.#outage.reason}`);
    await written;
  }

  /** Takes nothing more and writes what is queued. Returns how many events are not in the log. */
  async close(): Promise<number> {
    this.#takes = false;
    const last = this.#group.add([]);
    this.#group.flush();
    // By then everybody whose events were refused in the same group has been told.
    await last.catch(() => null);
    if (this.#outage === null || this.#lost) return 0;
    this.#outage.cancel();
    const { backlog } = this.#outage;
    this.#catchUp(this.#outage);
    this.#group.flush();
    return backlog.length;
  }

  // No limit on a group: were one committed halfway through a turn and refused, the rest of the turn would be numbered wrong.
  #newGroup(): GroupCommit {
    return new GroupCommit(this.#log, Infinity);
  }

  #record(happenings: readonly Happening[], at: Clocks, cause: number | null): Promise<void> {
    const events: NewEvent[] = [];
    const folded: Folded[] = [];
    for (const happening of happenings) this.#fold(happening, at, cause, events, folded);
    return this.#write(events, folded);
  }

  #fold(happening: Happening, at: Clocks, cause: number | null, events: NewEvent[], folded: Folded[]): void {
    this.#seq += 1;
    const seq = this.#seq;
    const event: Foldable = { ...happening, seq, mono_ns: at.mono_ns };
    const step = this.#story.tell(event);
    const { mono_ns, boot_ns, wall_ns } = at;
    const episode = this.#episodeOf(happening, step);
    events.push({ ...happening, id: randomUUID(), mono_ns, boot_ns, wall_ns, cause, episode });
    folded.push({ event, step });
    this.#events.folded(event, step);
    for (const decision of step.decisions) this.#fold({ type: 'decision.made', data: decision }, at, seq, events, folded);
  }

  /** A decision belongs to the episode of its pair, and its outcome does, too, even when the pair has come to rest by then. */
  #episodeOf(happening: Happening, { episode }: Step): string | null {
    if (happening.type === 'decision.made') {
      const own = this.#story.guest.stateOf(happening.data.pair)?.episode ?? null;
      this.#episodes.set(happening.data.id, own);
      return own;
    }
    if (happening.type !== 'outcome.seen') return episode;
    const own = this.#episodes.get(happening.data.decision) ?? episode;
    this.#episodes.delete(happening.data.decision);
    return own;
  }

  /** Rejects when the events are kept in memory only. */
  async #write(events: NewEvent[], folded: readonly Folded[]): Promise<void> {
    if (this.#outage !== null) {
      this.#keep(this.#outage, events, folded);
      return;
    }
    try {
      const written = this.#group.add(events);
      // What is to be done is not kept waiting for others' events.
      if (folded.some(({ step }) => step.decisions.length > 0)) this.#group.flush();
      await written;
    } catch (error) {
      if (!this.#lost) this.#keep(this.#outage ?? this.#begin(error), events, folded);
      throw error;
    }
    this.#pass(folded, false);
  }

  #pass(folded: readonly Folded[], outage: boolean): void {
    for (const { event, step } of folded) {
      if (this.#lost) return;
      for (const decision of step.decisions) this.#events.decided(decision, outage);
      this.#events.recorded(event, step);
    }
  }

  // Log outages.

  #begin(error: unknown): Outage {
    const reason = textOf(error).slice(0, 4096);
    this.#lines.outage({ reason });
    const { head } = this.#group;
    this.#outage = { since: this.#clock.now(), reason, cancel: this.#retrySoon(), backlog: [], error, head, chars: 0, late: 0 };
    return this.#outage;
  }

  #keep(outage: Outage, events: readonly NewEvent[], folded: readonly Folded[]): void {
    for (const event of events) {
      outage.backlog.push(event);
      outage.chars += JSON.stringify(event.data).length;
    }
    const { backlog, chars } = outage;
    if (backlog.length > this.#limit.events || chars > this.#limit.chars)
      this.#lose(outage, 'memory could not hold what the log did not take');
    else this.#pass(folded, true);
  }

  #lose(outage: Outage, why: string): void {
    outage.cancel();
    this.#takes = false;
    this.#lost = true;
    // What was lost before, and is lost again with the event that said so.
    const earlier = outage.backlog.filter((event) => event.type === 'log.outage');
    const events = earlier.reduce((sum, { data }) => sum + data.lost, this.#seq - outage.head);
    const since_ns = earlier[0]?.data.since_ns ?? outage.since.mono_ns;
    this.#events.lost({ events, since_ns, reason: `${why} (${outage.reason})`.slice(0, 4096), error: outage.error });
  }

  #retrySoon(): () => void {
    return this.#clock.after(RETRY_MS, () => this.#retry());
  }

  #retry(): void {
    const outage = this.#outage;
    if (outage === null || this.#lost || this.#catchUp(outage)) return;
    if (mayPass(outage.error)) outage.cancel = this.#retrySoon();
    else this.#lose(outage, 'the log does not take these events');
  }

  /** Writes the backlog, as far as the log takes it; ends the outage when it took all. */
  #catchUp(outage: Outage): boolean {
    const { backlog } = outage;
    try {
      while (backlog.length > 0) {
        // What was answered by an error may be there all the same: the log recognises it, if it is offered just that.
        const there = this.#log.head() - outage.head;
        const events = backlog.slice(0, there > 0 ? Math.min(there, CHUNK) : CHUNK);
        this.#log.append(events, outage.head);
        backlog.splice(0, events.length);
        outage.head += events.length;
        outage.late += events.length;
      }
      this.#group = this.#newGroup();
    } catch (error) {
      outage.error = error;
      return false;
    }
    this.#end(outage);
    return true;
  }

  #end({ cancel, since, reason, late }: Outage): void {
    cancel();
    this.#outage = null;
    const now = this.#clock.now();
    const after_ms = Number(BigInt(now.mono_ns) - BigInt(since.mono_ns)) / 1e6;
    this.#lines.outageEnded({ events: late, lost: 0, after_ms });
    const told: Happening = { type: 'log.outage', data: { since_ns: since.mono_ns, events: late, lost: 0, reason } };
    this.#record([told], now, null).catch(() => {});
  }
}
