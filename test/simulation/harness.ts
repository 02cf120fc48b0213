// One simulated run: the real service on a simulated platform and a log in memory, driven event by event through a script.
// The service is the shipped one; what is simulated is everything around it. A kill drops it between two steps: its
// platform falls silent and its log is shut, and a new one begins on the same disk and the same world.
import { Faults, NO_FAULTS } from '../../src/adapters/simulated/faults.ts';
import { SimulatedClock } from '../../src/adapters/simulated/clock.ts';
import { SimulatedPlatform } from '../../src/adapters/simulated/platform.ts';
import { Random } from '../../src/adapters/simulated/random.ts';
import { type Action, type Befalls, isBefalling, type Script } from '../../src/adapters/simulated/script.ts';
import { type Happens, World } from '../../src/adapters/simulated/world.ts';
import type { Platform } from '../../src/adapters/platform.ts';
import type { OpenedLog } from '../../src/adapters/log/sqlite.ts';
import type { Policy } from '../../src/events/catalogue.ts';
import { LINE_NAMES, type Lines } from '../../src/host/lines.ts';
import { Service, type ServiceOptions } from '../../src/host/service.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import type { Coverage } from './coverage.ts';
import { MemoryLog, SimulatedDisk } from './memory-log.ts';
import { Invariants, type Violation } from './invariants.ts';

/** How long the world is left in peace at the end before it must be in order: longer than every delay of the policy. */
const CALM_MS = 400_000;
/** How long an operator may have to wait until everything is given back: longer than the pause after failures. */
const RESTORE_MS = 100_000;
/** Who asks for it. */
export const AT_THE_END = 'end of the simulation';
/** Events that one run may take; a run that needs more feeds itself. */
const STEP_LIMIT = 20_000;

/** Where a test plants a fault of its own, to see that the invariants find it. */
export interface Sabotage {
  readonly platform?: (platform: SimulatedPlatform, world: World) => Platform;
  readonly service?: (options: ServiceOptions) => Service;
  readonly policy?: Partial<Policy>;
  /** Called when the world has come to rest, before everything is given back. */
  readonly atEnd?: (run: Run) => void;
}

export interface Result {
  readonly violations: readonly Violation[];
  readonly steps: number;
  readonly disk: SimulatedDisk;
  readonly faults: ReadonlyMap<string, number>;
}

export class Run {
  readonly clock = new SimulatedClock();
  readonly world: World;
  readonly disk = new SimulatedDisk();
  readonly faults: Faults;
  readonly invariants: Invariants;
  readonly script: Script;
  policy: Policy;
  service: Service | null = null;
  steps = 0;
  readonly coverage: Coverage | undefined;
  readonly #sabotage: Sabotage;
  readonly #lines: Lines;
  readonly #befell = new Map<string, number>();
  #platform: SimulatedPlatform | null = null;
  #log: MemoryLog | null = null;

  constructor(script: Script, seed: number, sabotage: Sabotage = {}, coverage?: Coverage) {
    this.script = script;
    this.#sabotage = sabotage;
    this.coverage = coverage;
    this.world = new World(this.clock, script.world);
    this.faults = new Faults(script.rates, new Random(seed, 'faults'));
    const pairs = script.pairs.map((mac) => ({ mac, ...script.wishes }));
    this.policy = { ...defaultPolicy, effects: script.effects, pairs, ...sabotage.policy };
    this.invariants = new Invariants(this);
    this.disk.died = () => this.kill();
    const quiet = Object.fromEntries(LINE_NAMES.map((name) => [name, () => {}]));
    this.#lines = {
      ...quiet,
      lost: () => 0,
      fault: ({ text }: { text: string }) => this.invariants.fault(text),
    } as unknown as Lines;
  }

  async run(): Promise<Result> {
    this.start();
    for (const action of this.script.actions) this.clock.after(action.at_ms, () => this.#take(action));
    const last_ms = Math.max(0, ...this.script.actions.map(({ at_ms }) => at_ms));
    await this.#until(last_ms + 1);
    this.#calm();
    await this.#until(this.clock.now_ms + CALM_MS);
    this.#sabotage.atEnd?.(this);
    this.invariants.atRest();
    await this.#giveBack();
    await this.service?.stop(AT_THE_END);
    await this.#drain();
    this.invariants.atEnd();
    const faults = this.#faultsSeen();
    for (const [name, times] of faults) this.coverage?.add('fault', name, times);
    return { violations: this.invariants.violations, steps: this.steps, disk: this.disk, faults };
  }

  /** Starts the service: the process begins. */
  start(): void {
    if (this.service !== null) return;
    const platform = new SimulatedPlatform(this.world, this.faults);
    const log = new MemoryLog(this.disk);
    this.disk.bootId = platform.bootId();
    this.#platform = platform;
    this.#log = log;
    const watched = this.invariants.watch(this.#sabotage.platform?.(platform, this.world) ?? platform);
    const options: ServiceOptions = {
      platform: watched,
      opened: { log, setAside: this.disk.head === 0 ? this.#aside() : null, unclean: false },
      settings: { checkpointEvents: this.script.checkpointEvents, retentionEvents: 1_000_000_000, retentionDays: 36_500 },
      policy: this.policy,
      lines: this.#lines,
      version: 'simulated',
      host: {},
    };
    this.service = this.#sabotage.service?.(options) ?? new Service(options);
    this.service.start((error) => {
      if (error !== null) this.invariants.fault(`the service gave up: ${error.message}`);
    });
  }

  /** SIGKILL: nothing of the process is left but its log, and the effects that it had begun. */
  kill(): void {
    this.#platform?.retire();
    this.#log?.close();
    this.service = null;
    this.invariants.died();
  }

  #aside(): OpenedLog['setAside'] {
    return (this.disk.seen.get('logSetAside') ?? 0) > 0 ? { path: 'memory.damaged', reason: 'cut' } : null;
  }

  #take(action: Action): void {
    const { what } = action;
    if (!isBefalling(action)) {
      this.world.happen(what as Happens);
      this.coverage?.add('happening', what.do);
      // A reboot takes the service along.
      if (what.do === 'reboot') this.#killFor(5000);
      return;
    }
    this.#befall(what as Befalls);
  }

  #befall(what: Befalls): void {
    if (this.service === null) return;
    const name = what.do === 'kill' ? `kill:${what.when}` : what.do;
    // What the disk and the faults count themselves is not counted twice.
    if (what.do !== 'fault' && what.do !== 'logCut') this.#befell.set(name, (this.#befell.get(name) ?? 0) + 1);
    switch (what.do) {
      case 'kill':
        if (what.when === 'commitLost' || what.when === 'commitUnanswered') {
          this.disk.next = what.when;
          this.clock.after(what.down_ms, () => this.#restartAfterDeath());
          // Something to be committed, so that it does not wait for the next event.
          this.service.survey('simulation');
        } else if (what.when === 'beforeCommit') {
          this.service.survey('simulation');
          this.#killFor(what.down_ms);
        } else this.#killFor(what.down_ms);
        return;
      case 'logCut':
        this.kill();
        if (what.setAside) this.disk.setAside();
        else this.disk.cutAt(what.at);
        this.invariants.cut();
        this.clock.after(what.down_ms, () => this.start());
        return;
      case 'restore':
      case 'prepare':
        this.service.obey(what.do, null, 'simulation');
        return;
      case 'fault':
        this.faults.force(what.fault);
        return;
      case 'restart': {
        const { service } = this;
        this.service = null;
        void this.#restart(service);
        return;
      }
      case 'logOutage':
        this.disk.refuses = true;
        this.clock.after(what.ms, () => {
          this.disk.refuses = false;
        });
        return;
      case 'logUnanswered':
        this.disk.next = 'logUnanswered';
        return;
      case 'survey':
        this.service.survey('simulation');
        return;
      case 'policy':
        this.policy = { ...this.policy, effects: what.effects };
        this.service.reload(this.policy);
        return;
    }
  }

  async #restart(service: Service): Promise<void> {
    await service.stop('restart');
    this.invariants.died();
    this.clock.after(1, () => this.start());
  }

  #killFor(down_ms: number): void {
    this.kill();
    this.clock.after(down_ms, () => this.start());
  }

  #restartAfterDeath(): void {
    if (this.service === null) this.start();
  }

  /** An operator wants everything back; at the end it must be as if nobody had ever touched anything. */
  async #giveBack(): Promise<void> {
    if (this.service === null || !this.invariants.somethingOwed()) return;
    if (this.policy.effects === 'dryRun') this.policy = { ...this.policy, effects: 'off' };
    this.service.reload(this.policy);
    this.service.obey('restore', null, AT_THE_END);
    await this.#until(this.clock.now_ms + RESTORE_MS);
    this.invariants.givenBack();
  }

  /** Faults stop, obstacles are taken away: from here on there is no excuse. */
  #calm(): void {
    this.faults.rates = NO_FAULTS;
    this.disk.refuses = false;
    this.disk.next = null;
    this.world.happen({ do: 'lock', by: null });
    this.world.happen({ do: 'gateway', on: true });
    this.start();
  }

  async #until(ms: number): Promise<void> {
    const reached = new AbortController();
    this.clock.after(ms - this.clock.now_ms, () => reached.abort());
    while (!reached.signal.aborted) {
      if (this.steps >= STEP_LIMIT) throw new Error(`more than ${STEP_LIMIT} steps: something feeds itself`);
      this.steps += 1;
      this.clock.runNext();
      await this.#drain();
      this.invariants.afterStep();
      this.#noteWorld();
    }
  }

  /** What the world was like at some time, for the coverage. */
  #noteWorld(): void {
    if (this.coverage === undefined || this.service === null) return;
    const pairs = [...this.service.story.guest.pairs.values()];
    if (pairs.filter(({ roles }) => roles.standby !== null).length > 1) this.coverage.add('situation', 'several pairs');
    if (pairs.some(({ roles }) => roles.surplus.length > 0)) this.coverage.add('situation', 'several primaries with one MAC');
  }

  /** Lets the service do everything that it does without time passing: commits come at the end of a turn. */
  async #drain(): Promise<void> {
    for (let turn = 0, head = -1; turn < 3 || head !== this.disk.head; turn += 1) {
      head = this.disk.head;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #faultsSeen(): ReadonlyMap<string, number> {
    return new Map<string, number>([...this.faults.seen, ...this.disk.seen, ...this.#befell]);
  }
}
