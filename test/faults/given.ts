// Words for the faults: one life of the service in a simulated guest, told by a script, and what can be asked of it
// afterwards. Every life is held against the invariants; a fault's own check comes on top.
import { deepEqual } from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { NO_FAULTS, type Rates } from '../../src/adapters/simulated/faults.ts';
import { type Action, add, at, nic, vf } from '../../src/adapters/simulated/script.ts';
import type { Act } from '../../src/adapters/simulated/act.ts';
import type { Card, Truth } from '../../src/adapters/simulated/kernel.ts';
import type { WorldOptions } from '../../src/adapters/simulated/world.ts';
import type { Outcome, Platform } from '../../src/adapters/platform.ts';
import type { Decision, EventType, HappeningOf, Policy } from '../../src/events/catalogue.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import type { Entry } from '../../src/machines/history.ts';
import type { Finding } from '../../src/machines/findings.ts';
import { Story } from '../../src/machines/story.ts';
import { runCli } from '../../src/host/cli.ts';
import { AT_THE_END, Run } from '../simulation/harness.ts';
import { MAC } from '../given.ts';

export const STATES = ['holds', 'modelled: Windows', 'modelled: host'] as const;
export const STATE_MEANINGS: Readonly<Record<(typeof STATES)[number], string>> = {
  holds: 'The code that is shipped does it, in a simulated guest or by itself.',
  'modelled: Windows':
    'The machine and the service do it in a simulated Windows guest; the adapter for Windows is tried under Wine.',
  'modelled: host':
    'Each side is tried by its own fold: the guest’s beside a simulated hypervisor, the host’s told what QEMU, VF and guest say.',
};

export interface Fault {
  readonly number: number;
  readonly name: string;
  /** What happens, and what must come of it. */
  readonly scenario: string;
  readonly expectation: string;
  readonly state: (typeof STATES)[number];
  /** The part of the right behaviour that no code does yet. */
  readonly missing?: string;
  /** Rejects when the expectation is not met. */
  readonly check: () => Promise<void>;
}

export interface Told {
  readonly system?: WorldOptions['system'];
  readonly world?: Partial<WorldOptions>;
  readonly actions: readonly Action[];
  readonly rates?: Partial<Rates>;
  readonly effects?: 'on' | 'dryRun' | 'off';
  readonly pairs?: readonly string[];
  readonly policy?: Partial<Policy>;
  /** Stands between the service and its platform; undefined lets the platform do it. */
  readonly perform?: (decision: Decision, run: Run, go: () => Promise<Outcome>) => Promise<Outcome> | undefined;
  /** Until when (ms) nothing is put in order: later than the last action. */
  readonly until_ms?: number;
  /** Told of every act in the guest, just before it. */
  readonly acts?: (act: Act, run: Run) => void;
  /** Called at these moments (ms). */
  readonly looks?: Readonly<Record<number, (run: Run) => void>>;
}

/** The standby in a bond that exists, and nothing else: what a steered Linux guest begins with. */
export const bondOnly: readonly Action[] = [
  at(100, add('standby', nic({ standby: false }))),
  at(400, { do: 'bond' }),
  at(500, { do: 'enslave', id: 'standby' }),
  at(510, { do: 'bondUp', on: true }),
];
export const trioOnly: readonly Action[] = [at(100, add('standby', nic())), at(400, { do: 'masterUp', id: 'standby', on: true })];
/** A standby of NETKVM, its link held down. */
export const standby: readonly Action[] = [at(100, add('standby', nic()))];
/** The three guests that a pair may live in, before its primary comes. */
export const GUESTS: readonly { readonly system?: 'windows'; readonly before: readonly Action[] }[] = [
  { system: 'windows', before: standby },
  { before: bondOnly },
  { before: trioOnly },
];
/** A primary that gets carrier quickly. */
export const quick = (over: Partial<Card> = {}): Card => vf({ carrierDelay_ms: 200, ...over });
export const plug = (at_ms: number, over: Partial<Card> = {}, id = 'primary'): Action => at(at_ms, add(id, quick(over)));

export const windows = 'windows' as const;
/** What becomes of a primary that comes while the standby's link is up: off, bound alone, on. */
export const LATE_BIND = ['holdLink succeeded', 'bindPrimary succeeded', 'releaseLink succeeded'];

export class Life {
  readonly run: Run;
  readonly story = new Story();
  readonly events: readonly RecordedEvent[];
  /** What was wrong in the guest at the end, before everything was given back. */
  readonly wrong: readonly string[];

  constructor(run: Run, wrong: readonly string[]) {
    this.run = run;
    this.wrong = wrong;
    const all = run.disk.all();
    // At its end every life is asked to give everything back: that is no part of its story.
    const end = all.findIndex(({ type, data }) => type === 'operator.commanded' && data.by === AT_THE_END);
    this.events = end === -1 ? all : all.slice(0, end);
    for (const event of this.events) this.story.tell(event);
    this.story.history.end();
  }

  all<T extends EventType>(type: T): (RecordedEvent & HappeningOf<T>)[] {
    return this.events.filter((event): event is RecordedEvent & HappeningOf<T> => event.type === type);
  }
  /** Decisions with what became of them: `bindPrimary succeeded`. */
  get decided(): string[] {
    const results = new Map(this.all('outcome.seen').map(({ data }) => [data.decision, data.result]));
    return this.all('decision.made').map(({ data }) => `${data.kind} ${results.get(data.id) ?? 'open'}`);
  }
  history(mac = MAC): readonly Entry[] {
    return this.story.history.of(mac);
  }
  /** `stage datapath because`, in their order. */
  path(mac = MAC): string[] {
    return this.history(mac).map(({ stage, datapath }) => `${stage} ${datapath}`);
  }
  /** The state that held at this moment. */
  at(ms: number, mac = MAC): string {
    const entry = this.history(mac).findLast(({ at_ns }) => Number(at_ns) <= ms * 1e6);
    return entry === undefined ? 'nothing' : `${entry.stage} ${entry.datapath} ${entry.because}`;
  }
  get end(): string {
    return this.at(Infinity);
  }
  findings(severity?: Finding['severity']): string[] {
    const list = this.story.findings.list(this.story.end).filter((one) => severity === undefined || one.severity === severity);
    return [...new Set(list.map(({ code }) => code))].toSorted();
  }
  get texts(): string[] {
    return this.story.findings.list(this.story.end).map(({ text }) => text);
  }
}

/** Lets it all happen, and rejects when an invariant (docs/simulation.md) was violated on the way. */
export const live = async ({ system = 'linux', world, actions, rates, effects = 'on', ...told }: Told): Promise<Life> => {
  const script = {
    world: { system, ...world },
    rates: { ...NO_FAULTS, ...rates },
    effects,
    pairs: told.pairs ?? [MAC],
    checkpointEvents: 1_000_000,
    actions: [...actions, ...(told.until_ms === undefined ? [] : [at(told.until_ms, { do: 'stick', id: '', on: false })])],
  };
  const platform = (inner: Platform): Platform => ({
    name: inner.name,
    sightings: inner.sightings,
    survey: (reason) => inner.survey(reason),
    perform: (decision, signal, ledger) => {
      const go = (): Promise<Outcome> => inner.perform(decision, signal, ledger);
      return told.perform?.(decision, run, go) ?? go();
    },
    now: () => inner.now(),
    after: (delay_ms, act) => inner.after(delay_ms, act),
    bootId: () => inner.bootId(),
    close: () => inner.close(),
  });
  let wrong: readonly string[] = [];
  const run: Run = new Run(script, 1, {
    atEnd: ({ world: { kernel } }) => (wrong = kernel.truth(MAC).wrong),
    ...(told.perform === undefined ? {} : { platform }),
    ...(told.policy === undefined ? {} : { policy: told.policy }),
  });
  const { acts } = told;
  if (acts !== undefined) {
    const { acted } = run.world;
    run.world.acted = (act) => {
      acts(act, run);
      acted(act);
    };
  }
  for (const [ms, look] of Object.entries(told.looks ?? {})) run.clock.after(Number(ms), () => look(run));
  const { violations } = await run.run();
  deepEqual(violations, []);
  return new Life(run, wrong);
};

/** Calls with a folder that is gone afterwards. */
export const inFolder = async <T>(act: (dir: string) => Promise<T> | T): Promise<T> => {
  const dir = mkdtempSync(join(tmpdir(), 'netkvm-fault-'));
  try {
    return await act(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

/** A command line in this process: exit code, and what it said. */
export const cli = async (...words: string[]): Promise<{ code: number; out: string; err: string }> => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCli(words, { stdin: Readable.from([]), stdout, stderr });
  return { code, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
};

/** Which way frames go in truth, at these moments. */
export const truths = (into: Record<number, Truth['datapath']>, ...moments: number[]): NonNullable<Told['looks']> =>
  Object.fromEntries(moments.map((ms) => [ms, (run: Run) => void (into[ms] = run.world.kernel.truth(MAC).datapath)]));
