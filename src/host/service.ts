// The guest service: a platform's sightings go through the recorder, the fold's timers and decisions come out of it, and
// what people want to know is answered from the same story. It ends cleanly within a second, and reloads its configuration.
//
// What the log says of the world may be long out of date: after a start effects stay off until the first look, and
// decisions that an earlier run left open are void.
import type { Subscription } from 'rxjs';
import type { OpenedLog } from '../adapters/log/sqlite.ts';
import type { Platform } from '../adapters/platform.ts';
import type { Decision, Happening, Obligation, Observation, Policy } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import { NetkvmError } from '../events/errors.ts';
import type { Step } from '../machines/step.ts';
import type { SettledEntry } from '../machines/history.ts';
import { isOvertaken } from '../machines/pair.ts';
import { Story } from '../machines/story.ts';
import { applied, lossOf, setAsideOf, startOf, voidOf } from './beginning.ts';
import { wordsOf } from './decision-words.ts';
import { carryOut, concluded, seqOf, voided } from './effects.ts';
import { ledgerOf } from './ledger.ts';
import type { Lines } from './lines.ts';
import type { Meters } from './metrics.ts';
import type { Order } from './operator.ts';
import { type Backlog, type Loss, Recorder } from './recorder.ts';
import { keepFrom } from './retention.ts';
import { carriedOver, owedIn, tellSound } from './salvage.ts';
import { differing, type Settings } from './settings.ts';
import { Settling } from './settling.ts';
import type { Supervision } from './supervision.ts';
import type { Urgency } from './urgency.ts';
import { Timers } from './timers.ts';
import { Waiters } from './waiters.ts';

/** What a process that runs for years keeps of its story; the log has the rest. */
const LIMITS = { entries: 1000, findings: 1000 };
/** How long the platform may take to close: the service ends within a second whatever the system does. */
const CLOSE_LIMIT_MS = 500;

type Retention = Pick<Settings, 'checkpointEvents' | 'retentionEvents' | 'retentionDays'>;

export interface ServiceOptions {
  readonly platform: Platform;
  readonly opened: OpenedLog;
  /** Sets the log aside for this reason and opens a new one; without it a damaged log is an error. */
  readonly reopen?: (distrust: string) => OpenedLog;
  readonly settings: Retention;
  readonly policy: Policy;
  readonly lines: Lines;
  /** Counts what is folded. */
  readonly meters?: Meters;
  readonly version: string;
  /** Facts about this machine for the record: kernel, system, host name. */
  readonly host: Readonly<Record<string, string>>;
  /** Tells the service manager, where there is one. */
  readonly supervision?: Supervision;
  readonly urgency?: Urgency | null;
  /** Who copies the log elsewhere: told to end when the last event is in the log and before the log is closed. */
  readonly copying?: { stop(): Promise<void> } | null;
  /** What memory may hold for a log that cannot be written. */
  readonly backlog?: Backlog;
}

const isDamage = (error: unknown): error is NetkvmError => error instanceof NetkvmError && error.code === 'log.damaged';
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Service {
  readonly #options: ServiceOptions;
  readonly #lines: Lines;
  readonly #platform: Platform;
  readonly #began = performance.now();
  readonly #settling: Settling;
  readonly #waiters: Waiters;
  #opened: OpenedLog;
  #settings: Retention;
  #policy: Policy;
  #story: Story;
  #recorder: Recorder;
  #timers: Timers;
  /** Ends the effects that are under way when nobody can conclude them any more: at the end, and after a loss. */
  #run = new AbortController();
  #sightings: Subscription | null = null;
  #ended: (error: Error | null) => void = () => {};
  #sinceCheckpoint = 0;
  #shown = new Map<string, { stage: string; datapath: string }>();
  #watching = false;
  /** Effects wait for the first look at the world. */
  #withheld = false;
  /** What a damaged log owed, until the first look says which devices there are now. */
  #owed: readonly Obligation[] = [];
  #stopped = false;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#lines = options.lines;
    this.#platform = options.platform;
    this.#policy = options.policy;
    this.#settings = options.settings;
    this.#opened = options.opened;
    this.#waiters = new Waiters(this.#platform);
    this.#settling = new Settling(this.#platform, () => this.#story.history);
    this.#saySetAside();
    [this.#story, this.#recorder, this.#timers] = this.#beginOnSound();
  }

  get story(): Story {
    return this.#story;
  }
  get policy(): Policy {
    return this.#policy;
  }
  /** It has looked at the world, and hears of every change. */
  get isWatching(): boolean {
    return this.#watching;
  }
  get outage(): string | null {
    return this.#recorder.outage;
  }
  get seq(): number {
    return this.#recorder.seq;
  }

  /** Records the start and begins to watch. `ended` is called when the platform has nothing more to say, or fails. */
  start(ended: (error: Error | null) => void = () => {}): void {
    this.#ended = ended;
    this.#recordStart(null);
    this.#sightings = this.#platform.sightings.subscribe({
      next: ({ at, observations }) => {
        const recorder = this.#recorder;
        recorder.take(observations, at);
        // They may have been lost, and everything begun anew.
        if (recorder !== this.#recorder) return;
        if (!this.#watching || observations.some(({ type }) => type === 'survey.taken')) this.#afterLook();
        if (!this.#watching) this.#sayWatching();
      },
      error: (error: Error) => ended(error),
      complete: () => {
        this.#settling.end();
        ended(null);
      },
    });
  }

  /** A new policy (and retention) from here on; returns the names of what changed. */
  reload(policy: Policy, settings: Retention = this.#settings): string[] {
    const { checkpointEvents, retentionEvents, retentionDays } = settings;
    const retention = { checkpointEvents, retentionEvents, retentionDays };
    const changed = differing(policy, this.#policy);
    const kept = differing(retention, this.#settings);
    this.#settings = retention;
    this.#policy = policy;
    this.obey('reload', null, 'SIGHUP');
    if (changed.length > 0) this.#recorder.take([this.#configuration()], this.#platform.now());
    return [...changed, ...kept];
  }

  /** Drops whole segments of the log that are not among the newest `keep` events; returns how many events went. */
  prune(keep: number): number {
    const { log } = this.#opened;
    return log.prune(log.head() - keep);
  }

  /** Records what somebody else than the platform has seen: a word of the hypervisor. */
  note(happenings: readonly Observation[]): void {
    this.#recorder.take(happenings, this.#platform.now());
  }

  /** Records what an operator asked for; what follows from it is the fold’s. */
  obey(
    command: Order,
    pair: string | null,
    by: string,
    more: { readonly episode?: string; readonly uri?: string; readonly what?: string } = {},
  ): void {
    this.#recorder.take([{ type: 'operator.commanded', data: { command, pair, by, ...more } }], this.#platform.now());
  }

  survey(by: string): void {
    this.obey('survey', null, by);
    this.#platform.survey('operator');
  }

  /** Whether `isMet` comes to hold within `limit_ms`. */
  until(isMet: (story: Story) => boolean, limit_ms: number): Promise<boolean> {
    return this.#waiters.until(() => isMet(this.#story), limit_ms);
  }

  /** Ends the service; everything that was folded is in the log, or is said to be lost. */
  async stop(reason: string): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.supervision?.ends();
    this.#sightings?.unsubscribe();
    this.#run.abort();
    this.#timers.clear();
    this.#settling.stop();
    this.#recorder.take([{ type: 'service.stopped', data: { reason: reason.slice(0, 256) } }], this.#platform.now());
    const missing = await this.#recorder.close();
    if (missing > 0) this.#lines.degraded({ part: 'log', reason: `${missing} events could not be written and are lost` });
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_LIMIT_MS).unref());
    await Promise.race([this.#platform.close(), late]).catch((error: unknown) => this.#lines.fault({ text: textOf(error) }));
    await this.#options.copying?.stop();
    try {
      this.#opened.log.close();
    } catch (error) {
      this.#lines.degraded({ part: 'log', reason: textOf(error) });
    }
    this.#lines.stopped({ reason, events: this.#recorder.seq, after_ms: performance.now() - this.#began });
  }

  /** Begins; a log that turns out to be damaged while it is read is set aside, and the service goes on with a new one. */
  #beginOnSound(): [Story, Recorder, Timers] {
    try {
      return this.#begin();
    } catch (error) {
      if (!isDamage(error) || this.#options.reopen === undefined) throw error;
      this.#reopen(error.message);
      return this.#begin();
    }
  }

  #reopen(distrust: string): void {
    if (this.#options.reopen === undefined) return;
    this.#opened.log.close();
    this.#opened = this.#options.reopen(distrust);
    this.#saySetAside();
  }

  /** Folds what the log has, from its newest checkpoint on, and makes what continues it. */
  #begin(): [Story, Recorder, Timers] {
    const { log } = this.#opened;
    let live = false;
    const story = new Story(
      {
        settled: (entry) => {
          if (live) this.#sayTransition(entry);
          this.#shown.set(entry.mac, entry);
        },
        found: ({ mac, code, severity, seq, until_seq, text }) => {
          if (live) this.#lines.finding({ mac, code, severity, seq, until_seq, text });
        },
      },
      LIMITS,
    );
    for (const page of log.fold(Math.max(log.checkpoint(), log.first())))
      for (const event of page) tellSound(story, event, log.path);
    // Counted over restarts: a service that never lives long would write none, and nothing could be pruned.
    this.#sinceCheckpoint = log.head() - log.checkpoint();
    story.history.end();
    live = true;
    const now = () => this.#platform.now();
    const { signal } = this.#run;
    const perform = async (decision: Decision, outage: boolean): Promise<void> => {
      if (signal.aborted) return;
      const pair = story.guest.stateOf(decision.pair);
      // What was seen at one instant is folded event by event, so the first may lead to what the last makes wrong.
      const overtaken = pair !== undefined && pair.pending?.id === decision.id && isOvertaken(pair);
      // Awaited in any case: other groups of the same turn may still have to be told that the log refused them.
      const outcome = await (overtaken
        ? Promise.resolve(voided('facts changed before it was carried out'))
        : carryOut(decision, this.#platform, this.#policy, outage, signal, ledgerOf(decision, story, recorder, now)));
      if (!signal.aborted) recorder.take([concluded(decision, outcome)], now(), seqOf(decision));
    };
    const recorder = new Recorder(
      log,
      story,
      this.#lines,
      this.#platform,
      {
        folded: (event, step) => this.#folded(event, step),
        // Saying takes longer than beginning to act.
        recorded: (event, step) => void setImmediate(() => this.#say(event, step)),
        decided: (decision, outage) => void perform(decision, outage),
        lost: (loss) => this.#startAnew(loss),
      },
      this.#options.backlog,
    );
    const timers = new Timers(this.#platform, (elapsed) => recorder.take([elapsed], now(), elapsed.data.armedBy));
    return [story, recorder, timers];
  }

  /** Records what every run begins with (beginning.ts). */
  #recordStart(lost: Loss | null): void {
    const { version, host } = this.#options;
    const { guest } = this.#story;
    const now = this.#platform.now();
    const recorder = this.#recorder;
    const open = [...guest.pairs.values(), ...guest.hosted.pairs.values()].flatMap(({ pending }) =>
      pending === null ? [] : [pending],
    );
    const aside = recorder.seq === 0 ? this.#opened.setAside : null;
    const started = startOf({ version, bootId: this.#platform.bootId(), platform: this.#platform.name, host });
    if (aside !== null) this.#owed = owedIn(aside.path, started);
    const isKnown = guest.adapters.size + guest.hosted.pairs.size > 0;
    this.#withheld = this.#policy.effects !== 'off' && (isKnown || this.#owed.length > 0);
    recorder.take([...lossOf(lost), ...setAsideOf(aside, this.#owed.length), started, this.#configuration()], now);
    for (const decision of open) recorder.take([voidOf(decision)], now, seqOf(decision));
  }

  /** The policy that holds now, as an event. */
  #configuration(): Happening {
    return applied(this.#withheld ? { ...this.#policy, effects: 'off' } : this.#policy);
  }

  /** The first look says what there is: what a damaged log owed has its devices again, and effects may begin. */
  #afterLook(): void {
    const owed = carriedOver(this.#owed, this.#story.guest);
    this.#owed = [];
    this.#recorder.take(owed, this.#platform.now());
    if (!this.#withheld) return;
    this.#withheld = false;
    if (this.#policy.effects === 'on') this.#platform.resume?.(this.#policy.pairs.map(({ mac }) => mac));
    this.#recorder.take([this.#configuration()], this.#platform.now());
  }

  /** The fold has gone further than the log: forget it, fold the log again, and look at the world afresh. */
  #startAnew(loss: Loss): void {
    this.#run.abort();
    this.#timers.clear();
    this.#lines.outageEnded({ events: 0, lost: loss.events, after_ms: this.#msSince(loss.since_ns) });
    if (this.#stopped) return;
    this.#run = new AbortController();
    try {
      if (isDamage(loss.error)) this.#reopen(loss.error.message);
      [this.#story, this.#recorder, this.#timers] = this.#beginOnSound();
      this.#recordStart(loss);
      this.#platform.survey('outage');
    } catch (error) {
      this.#ended(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #msSince(mono_ns: string): number {
    return Number(BigInt(this.#platform.now().mono_ns) - BigInt(mono_ns)) / 1e6;
  }

  #folded(event: Foldable, step: Step): void {
    this.#options.meters?.note(event, step);
    this.#timers.take(step);
    if (step.divergence !== null) this.#lines.fault({ text: `the fold disagrees with itself at ${event.seq}` });
    this.#settling.soon();
    this.#waiters.look();
    this.#sinceCheckpoint += 1;
    if (this.#sinceCheckpoint >= this.#settings.checkpointEvents && this.#story.guest.isConfirmed) {
      this.#sinceCheckpoint = 0;
      setImmediate(() => this.#checkpoint());
    }
  }

  #say(event: Foldable, { decisions }: Step): void {
    const nameOf = (ifindex: number): string | undefined => this.#story.guest.adapters.get(ifindex)?.facts.name;
    for (const decision of decisions) this.#lines.decision({ ...decision, seq: event.seq, what: wordsOf(decision, nameOf) });
    if (event.type === 'outcome.seen') this.#lines.outcome({ ...event.data, seq: event.seq });
    if (event.type === 'gap.seen') this.#lines.gap({ ...event.data, seq: event.seq });
    if (event.type === 'clock.jumped') this.#lines.clockJumped({ ...event.data, seq: event.seq });
  }

  #checkpoint(): void {
    if (this.#stopped) return;
    const now = this.#platform.now();
    this.#recorder.take([{ type: 'checkpoint.made', data: { state: this.#story.guest.snapshot() } }], now);
    if (this.#recorder.outage !== null) return;
    const { log } = this.#opened;
    try {
      const events = log.prune(keepFrom(log, this.#settings, now.wall_ns));
      if (events > 0) this.#lines.pruned({ events, first: log.first() });
    } catch (error) {
      this.#lines.degraded({ part: 'retention', reason: textOf(error) });
    }
  }

  #saySetAside(): void {
    const { setAside, log } = this.#opened;
    if (setAside !== null) this.#lines.setAside({ path: log.path, to: setAside.path, reason: setAside.reason });
  }

  #sayWatching(): void {
    this.#watching = true;
    const { adapters, pairs, hosted } = this.#story.guest;
    const { log } = this.#opened;
    // Since the process began: what somebody who starts the service waits for.
    this.#lines.watching({
      adapters: adapters.size,
      pairs: pairs.size + hosted.pairs.size,
      after_ms: performance.now(),
      log: log.path,
      head: this.#recorder.seq,
    });
    this.#waiters.look();
    this.#showPairs();
  }

  #sayTransition(entry: SettledEntry): void {
    const before = this.#shown.get(entry.mac);
    const previous = before === undefined ? null : { stage: before.stage, datapath: before.datapath };
    this.#lines.transition({ ...entry, previous });
    if (this.#watching) this.#showPairs();
  }

  #showPairs(): void {
    const { pairs: own, hosted } = this.#story.guest;
    const pairs = [...own.values(), ...hosted.pairs.values()].map(({ mac, shown: { stage, datapath } }) => ({
      mac,
      stage,
      datapath,
    }));
    this.#options.supervision?.shows(pairs);
    this.#options.urgency?.shows(this.#story.guest.pairs.values());
  }
}
