// The same log under another policy. What was observed is observed again, timers run on the log's own clock with the other
// policy's delays, and decisions are made anew. That is certain only while they are the recorded ones: an outcome that was
// recorded says nothing of a decision that never was made, and facts that followed from a recorded decision say nothing of a
// world in which it was not. So for each pair:
//
// - Made as recorded: the recorded outcome is its outcome, and the run goes on.
// - Recorded, and not made at that place: from there on no observation is used and only time passes, until the other policy
//   makes the same decision (it was later), makes another one, or has no timer left.
// - Made, and not recorded at that place: whether the same one was recorded later says that it was earlier. There it ends.
import type { Decision, DecisionKind, EventData, Policy } from '../src/events/catalogue.ts';
import type { Foldable } from '../src/events/envelope.ts';
import type { Step } from '../src/machines/step.ts';
import type { Place } from '../src/machines/history.ts';
import { defaultPolicy } from '../src/machines/policy.ts';
import { Story } from '../src/machines/story.ts';
import { VirtualTimers } from './virtual-time.ts';

/** Where a pair's decisions stop being the recorded ones. */
export interface Deviation {
  readonly change: 'later' | 'earlier' | 'instead' | 'new' | 'never';
  /** What was recorded there (or next), null where nothing is left of it. */
  readonly recorded: { readonly kind: DecisionKind; readonly at: Place } | null;
  readonly made: { readonly kind: DecisionKind; readonly at: Place } | null;
}

export interface Otherwise {
  readonly story: Story;
  /** null: the whole log is certain. */
  readonly deviation: Deviation | null;
}

/** Timers of the service fire some milliseconds after they are due: a recorded firing this late is that of the same timer. */
const LATE_NS = 1_000_000_000n;
type Firing = EventData<'timer.elapsed'>;
/** Firings with nothing new observed; a machine that needs more is going round in circles. */
const IDLE_FIRINGS_MAX = 1000;

/** What a first pass over the log notes. */
export class Recorded {
  readonly #firings = new Map<string, bigint[]>();
  readonly decisions: { readonly decision: Decision; readonly at: Place }[] = [];

  note(event: Foldable, at: Place): void {
    if (event.type === 'timer.elapsed') {
      const key = `${event.data.pair} ${event.data.timer}`;
      const known = this.#firings.get(key);
      if (known === undefined) this.#firings.set(key, [BigInt(event.mono_ns)]);
      else known.push(BigInt(event.mono_ns));
    } else if (event.type === 'decision.made') this.decisions.push({ decision: event.data, at });
  }

  /** When the log has a firing of this timer at or soon after it is due: that is when it fires. */
  firing(pair: string, timer: string, due_ns: bigint): bigint | null {
    return this.#firings.get(`${pair} ${timer}`)?.find((at) => at >= due_ns && at <= due_ns + LATE_NS) ?? null;
  }

  /** The next decision for a pair from a place on. */
  after(pair: string, seq: number): { kind: DecisionKind; at: Place } | null {
    const found = this.decisions.find(({ decision, at }) => decision.pair === pair && at.seq >= seq);
    return found === undefined ? null : { kind: found.decision.kind, at: found.at };
  }
}

/** One run, which looks at one pair: it ends where that pair deviates. `null` looks at none, and never ends. */
export class OtherRun {
  readonly story = new Story();
  deviation: Deviation | null = null;
  readonly #recorded: Recorded;
  readonly #mac: string | null;
  readonly #change: Partial<Policy>;
  readonly #timers = new VirtualTimers();
  /** Decisions made at the present place that no recorded one has confirmed yet, by pair. */
  readonly #open = new Map<string, { readonly decision: Decision; readonly at: Place }>();
  /** Ids of this run's decisions by those in the log. */
  readonly #ids = new Map<string, string>();
  /** The recorded decision that this run has not made. */
  #missing: { readonly kind: DecisionKind; readonly at: Place } | null = null;
  #seq = 0;
  #ended = false;

  constructor(recorded: Recorded, change: Partial<Policy>, mac: string | null) {
    this.#recorded = recorded;
    this.#change = change;
    this.#mac = mac;
  }

  take(event: Foldable, at: Place): void {
    if (this.#ended) return;
    if (this.#seq === 0 && event.type !== 'checkpoint.made') this.#configure(defaultPolicy, at);
    if (event.type === 'decision.made') return this.#confirm(event.data, at);
    this.#settleOpen();
    // A new process arms its timers anew; what was due before it began never fired.
    if (event.type === 'service.started') this.#timers.clear();
    this.#fire(at, event.type === 'timer.elapsed' ? event.data : null);
    // It may have ended with a timer.
    if (this.#isOver() || this.#missing !== null) return;
    switch (event.type) {
      case 'timer.elapsed':
        return;
      case 'outcome.seen': {
        const decision = this.#ids.get(event.data.decision);
        if (decision !== undefined) this.#tell({ type: 'outcome.seen', data: { ...event.data, decision } }, at);
        return;
      }
      case 'obligation.opened': {
        // A device is known by the event in which it came, which has another number here.
        const { device } = event.data;
        const arrival = device && this.story.guest.adapters.get(device.ifindex)?.arrival;
        const known = device && { ...device, arrival: arrival ?? device.arrival };
        this.#tell({ type: 'obligation.opened', data: { ...event.data, device: known } }, at);
        return;
      }
      case 'configuration.applied':
        return this.#configure(event.data.policy, at);
      case 'checkpoint.made':
        // It holds the other policy's state only where a log begins with it.
        if (this.#seq > 0) return;
        this.#tell(event, at);
        return this.#configure(this.story.guest.policy, at);
      default:
        this.#tell(event, at);
    }
  }

  /** The log has ended: with a decision missing, time goes on until it is made or nothing is to come. */
  end(): Otherwise {
    this.#settleOpen();
    for (let left = IDLE_FIRINGS_MAX; this.#missing !== null && !this.#isOver() && left > 0; left -= 1)
      if (!this.#fireNext(null, null)) break;
    if (this.#missing !== null && this.deviation === null)
      this.#deviate({ change: 'never', recorded: this.#missing, made: null });
    return { story: this.story, deviation: this.deviation };
  }

  /** Ends are reached inside of calls, which the compiler does not see. */
  #isOver(): boolean {
    return this.#ended;
  }

  #configure(policy: Policy, at: Place): void {
    this.#tell({ type: 'configuration.applied', data: { policy: { ...policy, ...this.#change } } }, at);
  }

  #fire(now: Place, firing: Firing | null): void {
    while (!this.#ended && this.#fireNext(now, firing));
  }

  /**
   * Fires the next timer that is due by `now` (null: whenever it is); false when there is none. One that the log saw fire
   * waits for that event, which may be one of several at one instant.
   */
  #fireNext(now: Place | null, firing: Firing | null): boolean {
    const due = this.#timers.due(now?.at_ns ?? null, ({ pair, timer }, due_ns) => {
      const fired = this.#missing === null ? this.#recorded.firing(pair, timer, due_ns) : null;
      if (fired === null) return null;
      return firing?.pair === pair && firing.timer === timer ? fired : fired + 1n;
    });
    if (due === null) return false;
    this.#tell({ type: 'timer.elapsed', data: due.data }, { seq: now?.seq ?? this.story.end.seq, at_ns: due.at_ns });
    // What it leads to is confirmed by the decisions that follow in the log, if it fired there.
    const isRecorded = firing?.pair === due.data.pair && firing.timer === due.data.timer && due.at_ns === now?.at_ns;
    if (!isRecorded) this.#settleOpen();
    return true;
  }

  #tell(event: Omit<Foldable, 'seq' | 'mono_ns'>, at: Place): Step {
    this.#seq += 1;
    const step = this.story.tell({ ...event, seq: this.#seq, mono_ns: at.at_ns } as Foldable, at);
    this.#timers.take(step, at.at_ns);
    for (const decision of step.decisions) {
      this.#tell({ type: 'decision.made', data: decision }, at);
      if (decision.pair === this.#mac && this.#missing !== null) {
        const change = decision.kind === this.#missing.kind ? 'later' : 'instead';
        this.#deviate({ change, recorded: this.#missing, made: { kind: decision.kind, at } });
      } else this.#open.set(decision.pair, { decision, at });
    }
    return step;
  }

  #confirm(recorded: Decision, at: Place): void {
    if (this.#missing !== null) return;
    const made = this.#open.get(recorded.pair);
    this.#open.delete(recorded.pair);
    if (made !== undefined && made.decision.kind === recorded.kind) this.#ids.set(recorded.id, made.decision.id);
    else if (recorded.pair !== this.#mac) return;
    else if (made === undefined) this.#missing = { kind: recorded.kind, at };
    else
      this.#deviate({
        change: 'instead',
        recorded: { kind: recorded.kind, at },
        made: { kind: made.decision.kind, at: made.at },
      });
  }

  /** What was made and not confirmed by now was not recorded. */
  #settleOpen(): void {
    const made = this.#mac === null ? undefined : this.#open.get(this.#mac);
    this.#open.clear();
    if (made === undefined || this.#mac === null) return;
    const next = this.#recorded.after(this.#mac, made.at.seq);
    const earlier = next?.kind === made.decision.kind;
    this.#deviate({
      change: earlier ? 'earlier' : 'new',
      recorded: earlier ? next : null,
      made: { kind: made.decision.kind, at: made.at },
    });
  }

  #deviate(deviation: Deviation): void {
    this.deviation = deviation;
    this.#ended = true;
  }
}
