// The service in its simulated world: thousands of lives, each from a seed, in which the invariants of DESIGN.md must hold;
// the models, held against the recorded captures; and for each invariant a planted bug that its check must find.
import { readFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { map } from 'rxjs';
import { describe, expect, test } from 'vitest';
import type { Ledger, Platform } from '../../src/adapters/platform.ts';
import { Random } from '../../src/adapters/simulated/random.ts';
import { NO_FAULTS } from '../../src/adapters/simulated/faults.ts';
import { CHANCE_NAMES, FOLLOWED_NAMES, SCENARIOS } from '../../src/adapters/simulated/scenarios.ts';
import { type Action, add, at, isBefalling, MAC, nic, type Script, vf } from '../../src/adapters/simulated/script.ts';
import { LinuxKernel } from '../../src/adapters/simulated/linux-kernel.ts';
import { WindowsKernel } from '../../src/adapters/simulated/windows-kernel.ts';
import { Service } from '../../src/host/service.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { Guest } from '../../src/machines/guest.ts';
import type { Step } from '../../src/machines/step.ts';
import { Story } from '../../src/machines/story.ts';
import { replayFile, tellFile } from '../../replay/replay.ts';
import { type Report, reportOf } from '../../replay/report.ts';
import { Coverage } from '../simulation/coverage.ts';
import { Run, type Sabotage } from '../simulation/harness.ts';
import { lineOf, nameFor, record, scriptOf, shrink, simulate } from '../simulation/simulate.ts';
import { RECORDINGS } from '../recordings.ts';

/** What makes an effect impossible for as long as it lasts, or takes the service away. */
const HINDRANCES = new Set(['lock', 'protocol', 'reboot', 'stick']);
const SEEDS = Number(process.env['SIMULATION_SEEDS'] ?? 4000);
const START = Number(process.env['SIMULATION_SEED'] ?? 1);

test(`the invariants hold in ${SEEDS} simulated lives, which pass through everything`, async () => {
  const coverage = new Coverage();
  const violations: string[] = [];
  for (let seed = START; seed < START + SEEDS && violations.length < 5; seed += 1) {
    const result = await simulate(nameFor(seed), seed, coverage);
    if (result.violations.length > 0) violations.push(lineOf(nameFor(seed), seed, result));
  }
  expect(violations).toEqual([]);
  const never = [...coverage.report()].filter(([, times]) => times === 0).map(([what]) => what);
  expect(never).toEqual([]);
  expect(coverage.unforeseen()).toEqual([]);
}, 300_000);

test('without faults nobody whose standby works is without traffic for longer than the grace time and a little', async () => {
  const worst = { ms: 0, where: '' };
  for (const name of ['windows', 'bond']) {
    for (let seed = START; seed < START + 300; seed += 1) {
      const script = scriptOf(name, seed);
      const actions = script.actions.filter((action) => !isBefalling(action) && !HINDRANCES.has(action.what.do));
      const run = new Run({ ...script, rates: NO_FAULTS, effects: 'on', pairs: [MAC], actions }, seed);
      await run.run();
      if (run.invariants.longest_ms > worst.ms) Object.assign(worst, { ms: run.invariants.longest_ms, where: `${name} ${seed}` });
    }
  }
  expect(worst.ms, worst.where).toBeLessThan(5000);
  // A held standby does wait for its primary, so the measure measures something.
  expect(worst.ms, worst.where).toBeGreaterThanOrEqual(3000);
});

/** Lives in which an invariant once did not hold, shrunk to what it needed. */
const taken = (actions: readonly Action[]): Script => ({
  world: { system: 'linux', linux: { managed: '192.0.2.7/24' } },
  rates: NO_FAULTS,
  effects: 'on',
  pairs: [MAC],
  wishes: { mode: 'bond' },
  checkpointEvents: 1_000_000,
  actions: [at(100, add('standby', nic({ standby: false }))), ...actions],
});
const stray = (at_ms: number, id: string): Action => at(at_ms, { do: 'address', id, address: '192.0.2.8/24', on: true });
const lost = (where: number, setAside: boolean): Action => at(4700, { do: 'logCut', at: where, setAside, down_ms: 3000 });
const REGRESSIONS: readonly { readonly name: string; readonly script: Script }[] = [
  {
    // The primary was made the active slave again and again, in vain, and nothing else was decided meanwhile.
    name: 'a stray address comes while the bond is set down',
    script: taken([at(2500, add('primary', vf())), at(8000, { do: 'bondUp', on: false }), stray(54_000, 'primary')]),
  },
  // The bond is like one made by hand then: the address stays where it is, and is told.
  { name: 'a stray address comes when the end of the log is lost', script: taken([lost(0.5, false), stray(27_000, 'standby')]) },
  { name: 'a stray address comes when the whole log is lost', script: taken([lost(0.2, true), stray(27_000, 'standby')]) },
];

describe('what once went wrong', () => {
  test.each(REGRESSIONS)('$name', async ({ script }) => {
    const run = new Run(script, 1);
    const { violations, disk } = await run.run();
    expect(violations).toEqual([]);
    expect(disk.all().filter(({ type }) => type === 'decision.made').length).toBeLessThan(10);
  });
});

describe('what somebody sees who looks on', () => {
  test.each([
    ['failover', 'bindPrimary activatePrimary activateStandby bindPrimary activatePrimary'],
    ['failover-windows', 'bindPrimary releaseLink unbindPrimary holdLink bindPrimary releaseLink'],
  ])('%s', async (name, expected) => {
    const { disk, violations } = await new Run(scriptOf(name, 1), 1).run();
    const decided = disk.all().flatMap(({ type, data }) => (type === 'decision.made' ? [data.kind] : []));
    expect([violations, decided.join(' ')]).toEqual([[], expected]);
    const story = new Story();
    for (const event of disk.all()) story.tell(event);
    expect(story.history.of(MAC).at(-1)).toMatchObject({ stage: 'onPrimary', datapath: 'primary' });
  });
});

describe('a run is a function of its seed', () => {
  test.each(CHANCE_NAMES)('%s', async (name) => {
    const [one, two] = [await simulate(name, 17), await simulate(name, 17)];
    const plain = ({ disk }: typeof one) => disk.all().map(({ id: _, ...event }) => event);
    expect(plain(two)).toEqual(plain(one));
    expect(one.disk.head).toBeGreaterThan(10);
  });
});

const states = ({ pairs }: Pick<Report, 'pairs'>) =>
  pairs.map(({ mac, mode, history }) => [mac, mode, ...history.map(({ stage, datapath }) => `${stage} ${datapath}`)]);

/** What becomes of each member of the pair, as facts that a simulated kernel has, too: up, carrier, enslaved, MTU. */
class Members {
  readonly #guest = new Guest();
  readonly told: Record<'master' | 'standby' | 'primary', string[]> = { master: [], standby: [], primary: [] };

  tell(event: Foldable): Step {
    const step = this.#guest.apply(event);
    const roles = this.#guest.pairs.get(MAC)?.roles;
    for (const role of ['master', 'standby', 'primary'] as const) {
      const { up = false, carrier = false, master = null, mtu } = roles?.[role]?.facts ?? {};
      const now = mtu === undefined ? 'gone' : `${up} ${up && carrier} ${master !== null} ${mtu}`;
      if (now !== (this.told[role].at(-1) ?? 'gone')) this.told[role].push(now);
    }
    return step;
  }
}

describe('the model goes through the states and facts of the recorded guest', () => {
  const followed = SCENARIOS.filter(({ name }) => FOLLOWED_NAMES.includes(name));
  test('every capture has its scenario', () => expect(followed.length).toBe(12));
  test.each(followed)('$name', async ({ name, script }) => {
    const { disk, violations } = await new Run(script(new Random(1)), 1).run();
    const story = new Story();
    for (const event of disk.all()) story.tell(event);
    const expected = JSON.parse(readFileSync(join(RECORDINGS, 'raw', name, 'expected.json'), 'utf8')) as Report;
    expect(states(reportOf(story, disk.head))).toEqual(states(expected));
    const [modelled, recorded] = [new Members(), new Members()];
    for (const event of disk.all()) modelled.tell(event);
    await tellFile(join(RECORDINGS, 'raw', name, 'guest.jsonl'), (event) => recorded.tell(event));
    expect(modelled.told).toEqual(recorded.told);
    expect(recorded.told.standby.length).toBeGreaterThan(2);
    expect(violations).toEqual([]);
  });
});

/** A platform with some of its parts replaced. */
const over = (platform: Platform, parts: Partial<Platform>): Platform => ({
  name: platform.name,
  sightings: platform.sightings,
  survey: (reason) => platform.survey(reason),
  perform: (decision, signal, ledger) => platform.perform(decision, signal, ledger),
  now: () => platform.now(),
  after: (delay_ms, act) => platform.after(delay_ms, act),
  bootId: () => platform.bootId(),
  close: () => platform.close(),
  ...parts,
});

/** Plants a bug and looks for a violation of `invariant` in up to `seeds` lives. */
const found = async (invariant: number, scenario: string, sabotage: Sabotage, seeds = 60): Promise<string | null> => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const { violations } = await simulate(scenario, seed, undefined, sabotage);
    const violation = violations.find((one) => one.invariant === invariant);
    if (violation !== undefined) return violation.text;
  }
  return null;
};

describe('the check of each invariant can fail', () => {
  test('1: an effect that nobody decided', async () => {
    const platform: Sabotage['platform'] = (inner, world) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          inner.after(50, () =>
            world.effects.begin(
              { ...decision, id: 'd1.0' },
              () => {},
              ledger,
              () => true,
            ),
          );
          return inner.perform(decision, signal, ledger);
        },
      });
    expect(await found(1, 'bond', { platform })).toContain('without a decision');
  });

  test('1: an effect before its decision is recorded', async () => {
    const service: Sabotage['service'] = (options) => {
      const one = new Service(options);
      options.platform.after(3000, () => {
        const [pair] = one.story.guest.pairs.values();
        if (pair === undefined) return;
        const none = { master: null, standby: null, primary: null, attempt: 1 } as const;
        const decision = { id: 'd99999.0', pair: pair.mac, kind: 'releaseLink', mode: 'netkvm', ...none } as const;
        void options.platform.perform(decision, new AbortController().signal, {
          open: [],
          owe: () => Promise.reject(new Error()),
          settle: () => {},
        });
      });
      return one;
    };
    expect(await found(1, 'windows', { service })).toContain('before it is recorded');
  });

  test('2: a fold that knows something that is not in the log', async () => {
    const atEnd: Sabotage['atEnd'] = ({ service }) => void service?.story.guest.inventory.protocols.add('ghost');
    expect(await found(2, 'trio', { atEnd })).toContain('another state');
  });

  test('2: a log that says something else than what was folded', async () => {
    const atEnd: Sabotage['atEnd'] = ({ disk }) => disk.tamper('decision.made', (data) => ({ ...data, attempt: 9 }));
    expect(await found(2, 'bond', { atEnd })).toContain('replay differs');
  });

  test('3: a bind of another pair’s primary', async () => {
    const platform: Sabotage['platform'] = (inner, world) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          const other = world.kernel.adapters().find(({ bus, mac }) => bus === 'pci' && mac !== decision.pair);
          if (other === undefined || decision.kind !== 'bindPrimary') return inner.perform(decision, signal, ledger);
          const { ifindex, mac, device, pci } = other;
          return inner.perform({ ...decision, primary: { ifindex, mac, device, pci, arrival: 1 } }, signal, ledger);
        },
      });
    expect(await found(3, 'windows-two-pairs', { platform })).toContain('is not of the pair');
  });

  test('4: a grace time that ends too early', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, { after: (delay_ms, act) => inner.after(delay_ms === 3000 ? 300 : delay_ms, act) });
    expect(await found(4, 'windows', { platform })).toContain('released after');
  });

  test('4: SET_LINK without a look at the MTU', async () => {
    const platform: Sabotage['platform'] = (inner, { kernel }) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          if (decision.kind !== 'unbindPrimary' || !(kernel instanceof WindowsKernel))
            return inner.perform(decision, signal, ledger);
          kernel.setLinkOf(decision.pair, true);
          return Promise.resolve({ result: 'succeeded', reason: null, observed: false });
        },
      });
    expect(await found(4, 'windows', { platform }, 300)).toContain('null pointer');
  });

  test('5: a command for a primary that has left', async () => {
    const platform: Sabotage['platform'] = (inner, world) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          const target = decision.primary;
          if (target !== null) inner.after(3000, () => world.acted({ decision, target, what: 'a late command' }));
          return inner.perform(decision, signal, ledger);
        },
      });
    expect(await found(5, 'bond', { platform })).toContain('not there any more');
  });

  test('6: effects that never take place', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, { perform: () => Promise.resolve({ result: 'refused', reason: 'sabotage', observed: false }) });
    expect(await found(6, 'windows', { platform })).toContain('no traffic, although a path works');
  });

  test('7: a change before what was there is recorded', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          const owe: Ledger['owe'] = (owed) => Promise.resolve({ ...owed, id: 'd1.0.takeover', pair: decision.pair });
          return inner.perform(decision, signal, { ...ledger, owe });
        },
      });
    expect(await found(7, 'takeover', { platform })).toContain('before it is recorded');
  });

  test('7: a bond that is said to be given back, and is not', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          if (decision.kind !== 'giveBack') return inner.perform(decision, signal, ledger);
          ledger.settle(decision.plan.obligation, 'givenBack');
          return Promise.resolve({ result: 'succeeded', reason: null, observed: false });
        },
      });
    expect(await found(7, 'takeover', { platform })).toMatch(/is still there|nobody knows/);
  });

  test('7: an address that is lost on the way back', async () => {
    const platform: Sabotage['platform'] = (inner, { kernel }) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          const bond = kernel instanceof LinuxKernel ? kernel.named('fo112233') : undefined;
          if (decision.kind === 'giveBack') bond?.addresses.clear();
          return inner.perform(decision, signal, ledger);
        },
      });
    expect(await found(7, 'takeover', { platform })).toContain('was lost');
  });

  test('7: parameters that are left as they are', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          const open = ledger.open.map((one) => ({ ...one, before: '{"rxRing":1}' }));
          return inner.perform(decision, signal, { ...ledger, open, owe: (owed) => ledger.owe(owed) });
        },
      });
    expect(await found(7, 'trio', { platform })).toContain('other parameters');
  });

  test('7: bindings that are said to be given back, and are not', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, {
        perform: (decision, signal, ledger) => {
          if (decision.kind !== 'giveBack') return inner.perform(decision, signal, ledger);
          ledger.settle(decision.plan.obligation, 'givenBack');
          return Promise.resolve({ result: 'succeeded', reason: null, observed: false });
        },
      });
    expect(await found(7, 'windows', { platform })).toContain('other bindings than it had');
  });

  test('8: messages and surveys that get lost for ever', async () => {
    const platform: Sabotage['platform'] = (inner) =>
      over(inner, {
        sightings: inner.sightings.pipe(
          map((sighting) => ({
            ...sighting,
            observations: sighting.observations.filter(({ type }) => type !== 'adapter.gone' && type !== 'survey.taken'),
          })),
        ),
      });
    expect(await found(8, 'trio', { platform })).toContain('adapters are folded as');
  });

  test('9: an effect that is carried out twice', async () => {
    const service: Sabotage['service'] = (options) => {
      const { platform } = options;
      const perform: Platform['perform'] = async (decision, signal, ledger) => {
        await platform.perform(decision, signal, ledger);
        return platform.perform(decision, signal, ledger);
      };
      return new Service({ ...options, platform: over(platform, { perform }) });
    };
    expect(await found(9, 'bond', { service })).toContain('carried out 2 times');
  });

  test('9: a log that forgets what it had taken', async () => {
    const service: Sabotage['service'] = (options) => new Service(options);
    let cut = false;
    const platform: Sabotage['platform'] = (inner) => inner;
    const atEnd: Sabotage['atEnd'] = (run) => {
      run.kill();
      run.disk.cut(run.disk.head - 1);
      cut = true;
      run.start();
      run.invariants.afterStep();
    };
    expect(await found(9, 'trio', { service, platform, atEnd })).toContain('the log lost events');
    expect(cut).toBe(true);
  });
});

test('a violation is shrunk to a short recording that can be replayed', async () => {
  const sabotage: Sabotage = {
    platform: (inner) =>
      over(inner, { perform: () => Promise.resolve({ result: 'refused', reason: 'sabotage', observed: false }) }),
  };
  let seed = 1;
  while ((await simulate('windows', seed, undefined, sabotage)).violations.every(({ invariant }) => invariant !== 6)) seed += 1;
  const script = scriptOf('windows', seed);
  const shrunk = await shrink(script, seed, 6, sabotage);
  expect(shrunk.script.actions.length).toBeLessThanOrEqual(2);
  const dir = mkdtempSync(join(tmpdir(), 'netkvm-test-'));
  try {
    const { report } = await replayFile(await record(shrunk.result, 'windows', seed, dir));
    expect(report.divergence).toBeNull();
    expect(report.pairs.length).toBeGreaterThan(0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
