// The guest service: a platform's sightings go through the recorder, the fold's timers and decisions come out of it, and
// what people want to know is answered from the same story. It ends cleanly within a second, and reloads its configuration.
import type { Subscription } from 'rxjs';
import type { OpenedLog } from '../adapters/log/sqlite.ts';
import type { Platform } from '../adapters/platform.ts';
import type { Happening, Policy } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import { MACHINE_VERSION, type Step } from '../machines/guest.ts';
import type { SettledEntry } from '../machines/history.ts';
import { Story } from '../machines/story.ts';
import { carryOut, concluded } from './effects.ts';
import type { Lines } from './lines.ts';
import { Recorder } from './recorder.ts';
import type { Settings } from './settings.ts';
import { Timers } from './timers.ts';

/** What a process that runs for years keeps of its story; the log has the rest. */
const LIMITS = { entries: 1000, findings: 1000 };
/** States settle this much after their time, so that one tick is enough. */
const SETTLE_MARGIN_MS = 1;

export interface ServiceOptions {
  readonly platform: Platform;
  readonly opened: OpenedLog;
  readonly settings: Pick<Settings, 'checkpointEvents' | 'retentionEvents' | 'retentionDays'>;
  readonly policy: Policy;
  readonly lines: Lines;
  readonly version: string;
  /** Facts about this machine for the record: kernel, system, host name. */
  readonly host: Readonly<Record<string, string>>;
}

export class Service {
  readonly #options: ServiceOptions;
  readonly #lines: Lines;
  readonly #platform: Platform;
  readonly #began = performance.now();
  #policy: Policy;
  #story: Story;
  #recorder: Recorder;
  #timers: Timers;
  #sightings: Subscription | null = null;
  #settling: NodeJS.Timeout | null = null;
  #sinceCheckpoint = 0;
  #shown = new Map<string, { stage: string; datapath: string }>();
  #watching = false;
  #stopped = false;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#lines = options.lines;
    this.#platform = options.platform;
    this.#policy = options.policy;
    [this.#story, this.#recorder, this.#timers] = this.#begin();
  }

  get story(): Story {
    return this.#story;
  }
  get outage(): string | null {
    return this.#recorder.outage;
  }
  get seq(): number {
    return this.#recorder.seq;
  }

  /** Records the start and begins to watch. `ended` is called when the platform has nothing more to say. */
  start(ended: (error: Error | null) => void = () => {}): void {
    this.#recordStart(null);
    this.#sightings = this.#platform.sightings.subscribe({
      next: ({ at, observations }) => {
        this.#recorder.take(observations, at);
        if (!this.#watching) this.#sayWatching();
      },
      error: (error: Error) => ended(error),
      complete: () => ended(null),
    });
  }

  /** A new policy from here on; returns the names of what changed. */
  reload(policy: Policy): string[] {
    const names = Object.keys(policy) as (keyof Policy)[];
    const changed = names.filter((name) => JSON.stringify(policy[name]) !== JSON.stringify(this.#policy[name]));
    if (changed.length > 0) {
      this.#policy = policy;
      this.#recorder.take([{ type: 'configuration.applied', data: { policy } }], this.#platform.now());
    }
    return changed;
  }

  /** Drops whole segments of the log that are not among the newest `keep` events; returns how many events went. */
  prune(keep: number): number {
    const { log } = this.#options.opened;
    return log.prune(log.head() - keep);
  }

  /** Records what an operator asked for, and does it. */
  survey(by: string): void {
    this.#recorder.take([{ type: 'operator.commanded', data: { command: 'survey', pair: null, by } }], this.#platform.now());
    this.#platform.survey('operator');
  }

  /** Ends the service; everything that was folded is in the log, or is said to be lost. */
  async stop(reason: string): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#sightings?.unsubscribe();
    this.#timers.clear();
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#story.history.end();
    this.#recorder.take([{ type: 'service.stopped', data: { reason } }], this.#platform.now());
    const missing = this.#recorder.close();
    if (missing > 0) this.#lines.degraded({ part: 'log', reason: `${missing} events could not be written and are lost` });
    this.#lines.stopped({ reason, events: this.#recorder.seq, after_ms: performance.now() - this.#began });
    await this.#platform.close();
    this.#options.opened.log.close();
  }

  /** Folds what the log has, from its newest checkpoint on, and makes what continues it. */
  #begin(): [Story, Recorder, Timers] {
    const { log } = this.#options.opened;
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
    for (const page of log.fold(Math.max(log.checkpoint(), log.first()))) for (const event of page) story.tell(event);
    story.history.end();
    live = true;
    const timers = new Timers(this.#platform, (elapsed) =>
      this.#recorder.take([elapsed], this.#platform.now(), elapsed.data.armedBy),
    );
    const recorder = new Recorder(log, story, this.#lines, () => this.#platform.now(), {
      folded: (event, step) => this.#folded(event, step),
      decided: (decision, outage) => {
        const perform = async (): Promise<void> => {
          const outcome = await carryOut(decision, this.#platform, this.#policy, outage);
          this.#recorder.take([concluded(decision, outcome)], this.#platform.now(), Number(decision.id.slice(1).split('.')[0]));
        };
        void perform();
      },
      lost: (events) => this.#startAnew(events),
    });
    return [story, recorder, timers];
  }

  /** What every run begins with. Decisions that an earlier run left open are void: they are decided anew from fresh facts. */
  #recordStart(lost: Extract<Happening, { type: 'log.outage' }> | null): void {
    const { version, host, opened } = this.#options;
    const happenings: Happening[] = lost === null ? [] : [lost];
    if (opened.setAside !== null && this.#recorder.seq === 0) {
      const reason = `the log before this one was damaged (${opened.setAside.reason}) and is kept as ${opened.setAside.path}`;
      happenings.push({ type: 'log.outage', data: { since_ns: '0', events: 0, lost: 0, reason: reason.slice(0, 4096) } });
    }
    const bootId = this.#platform.bootId();
    const data = { version, machineVersion: MACHINE_VERSION, bootId, vmGeneration: null, platform: this.#platform.name, host };
    happenings.push({ type: 'service.started', data: { ...data, host: { ...host } } });
    happenings.push({ type: 'configuration.applied', data: { policy: this.#policy } });
    for (const { pending } of this.#story.guest.pairs.values()) {
      if (pending === null) continue;
      happenings.push(
        concluded(pending, { result: 'void', reason: 'the service ended before the outcome was known', observed: false }),
      );
    }
    this.#recorder.take(happenings, this.#platform.now());
  }

  /** The fold has gone further than the log: forget it, fold the log again, and look at the world afresh. */
  #startAnew(lost: number): void {
    this.#lines.outageEnded({ events: 0, lost, after_ms: 0 });
    this.#timers.clear();
    [this.#story, this.#recorder, this.#timers] = this.#begin();
    const now = this.#platform.now();
    const reason = 'memory could not hold what the log did not take';
    this.#recordStart({ type: 'log.outage', data: { since_ns: now.mono_ns, events: 0, lost, reason } });
    this.#platform.survey('outage');
  }

  #folded(event: Foldable, step: Step): void {
    this.#timers.take(step);
    for (const decision of step.decisions) this.#lines.decision({ ...decision, seq: event.seq });
    if (event.type === 'outcome.seen') this.#lines.outcome({ ...event.data, seq: event.seq });
    if (event.type === 'gap.seen') this.#lines.gap({ ...event.data, seq: event.seq });
    if (event.type === 'clock.jumped') this.#lines.clockJumped({ ...event.data, seq: event.seq });
    if (step.divergence !== null) this.#lines.fault({ text: `the fold disagrees with itself at ${event.seq}` });
    this.#settleSoon();
    this.#sinceCheckpoint += 1;
    if (this.#sinceCheckpoint >= this.#options.settings.checkpointEvents && this.#story.guest.unconfirmed.length === 0) {
      this.#sinceCheckpoint = 0;
      setImmediate(() => this.#checkpoint());
    }
  }

  #checkpoint(): void {
    if (this.#stopped) return;
    const { opened, settings } = this.#options;
    this.#recorder.take([{ type: 'checkpoint.made', data: { state: this.#story.guest.snapshot() } }], this.#platform.now());
    const { log } = opened;
    const keepFrom = log.head() - settings.retentionEvents;
    if (keepFrom <= log.first()) return;
    try {
      const events = log.prune(keepFrom);
      if (events > 0) this.#lines.pruned({ events, first: log.first() });
    } catch (error) {
      this.#lines.degraded({ part: 'retention', reason: error instanceof Error ? error.message : String(error) });
    }
  }

  /** States settle by the passing of time alone, also when nothing more happens. */
  #settleSoon(): void {
    if (this.#settling !== null) return;
    const next = this.#story.history.nextSettling_ms;
    if (next === null) return;
    const wait_ms = Math.max(0, next - Number(this.#platform.now().mono_ns) / 1e6) + SETTLE_MARGIN_MS;
    this.#settling = setTimeout(() => {
      this.#settling = null;
      this.#story.history.pass(this.#platform.now().mono_ns);
      this.#settleSoon();
    }, wait_ms);
    this.#settling.unref();
  }

  #sayWatching(): void {
    this.#watching = true;
    const { adapters, pairs } = this.#story.guest;
    const { log } = this.#options.opened;
    // Since the process began: what somebody who starts the service waits for.
    this.#lines.watching({ adapters: adapters.size, pairs: pairs.size, after_ms: performance.now(), log: log.path, head: this.#recorder.seq });
  }

  #sayTransition(entry: SettledEntry): void {
    const before = this.#shown.get(entry.mac);
    const previous = before === undefined ? null : { stage: before.stage, datapath: before.datapath };
    this.#lines.transition({ ...entry, previous });
  }
}
