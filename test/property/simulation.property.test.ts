// The service in its simulated world: thousands of lives, each from a seed, in which the nine invariants hold
// (docs/simulation.md); and the models, held against the recorded captures.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/adapters/simulated/random.ts';
import { NO_FAULTS } from '../../src/adapters/simulated/faults.ts';
import { CHANCE_NAMES, FOLLOWED_NAMES, SCENARIOS } from '../../src/adapters/simulated/scenarios.ts';
import { type Action, add, at, isBefalling, MAC, nic, type Script, vf } from '../../src/adapters/simulated/script.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { Guest } from '../../src/machines/guest.ts';
import type { Step } from '../../src/machines/step.ts';
import { Story } from '../../src/machines/story.ts';
import { tellFile } from '../../replay/replay.ts';
import { type Report, reportOf } from '../../replay/report.ts';
import { Coverage } from '../simulation/coverage.ts';
import { AT_THE_END, Run } from '../simulation/harness.ts';
import { lineOf, nameFor, scriptOf, simulate } from '../simulation/simulate.ts';
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
const common = { rates: NO_FAULTS, effects: 'on', pairs: [MAC], checkpointEvents: 1_000_000 } as const;
/** After the last action no process stays dead, and nothing is hindered any more. */
const atLast = at(60_000, { do: 'survey' });
const taken = (actions: readonly Action[]): Script => ({
  ...common,
  world: { system: 'linux', linux: { managed: '192.0.2.7/24' } },
  wishes: { mode: 'bond' },
  actions: [at(100, add('standby', nic({ standby: false }))), ...actions, atLast],
});
const onWindows = (actions: readonly Action[]): Script => ({
  ...common,
  world: { system: 'windows' },
  actions: [at(100, add('standby', nic())), ...actions, atLast],
});
/** The process is killed in the middle of the takeover. */
const killed = at(426, { do: 'kill', when: 'now', down_ms: 1000 });
/** The standby is exchanged for another one, which is held. */
const exchanged = (at_ms: number): Action[] => [
  at(at_ms, { do: 'remove', id: 'standby', surprise: true }),
  at(at_ms + 100, add('standby', nic())),
];
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
  {
    // What was queued meanwhile was counted as written: events were lost, or written twice.
    name: 'the log does not answer when a primary leaves, and is told more in the same turn',
    script: taken([
      at(3000, add('primary', vf({ ptp: false }))),
      at(20_000, { do: 'logUnanswered' }),
      at(20_001, { do: 'remove', id: 'primary' }),
    ]),
  },
  {
    // It was taken for the one before, whose grace time was over, and let go at once.
    name: 'another standby comes while the process is dead',
    script: onWindows([
      at(200, { do: 'fault', fault: 'effectHung' }),
      at(5000, { do: 'kill', when: 'now', down_ms: 2000 }),
      ...exchanged(6000),
    ]),
  },
  {
    // What the driver told of it came after it, and was taken for news of the one before, which was live.
    name: 'another standby is seen in the look in which the last one is missed',
    script: onWindows([
      at(20_000, { do: 'fault', fault: 'hintLost' }),
      at(20_001, { do: 'remove', id: 'standby', surprise: true }),
      at(20_002, { do: 'fault', fault: 'hintLost' }),
      at(20_003, add('standby', nic())),
    ]),
  },
  {
    // The command goes by the MAC.
    name: 'the link is let go late, and reaches another standby',
    script: onWindows([
      at(200, { do: 'fault', fault: 'effectLate' }),
      ...[4000, 6000, 8000, 10_000, 12_000, 14_000, 16_000, 18_000, 20_000, 22_000].flatMap(exchanged),
    ]),
  },
  {
    // A fault of the model: the child that calls INetCfg ends with its process.
    name: 'the bindings are given back while a dead process was setting them',
    script: onWindows([
      at(300, add('primary', vf())),
      at(19_999, { do: 'fault', fault: 'effectLate' }),
      at(20_000, { do: 'prepare' }),
      at(20_500, { do: 'kill', when: 'now', down_ms: 100 }),
      at(21_000, { do: 'restore' }),
    ]),
  },
  {
    // Everything went into going on with it, and the pair was not switched.
    name: 'the standby is put into another bond while a takeover is not done',
    script: taken([
      killed,
      at(500, { do: 'unbond' }),
      at(600, { do: 'bond' }),
      at(700, { do: 'enslave', id: 'standby' }),
      at(800, { do: 'bondUp', on: true }),
      at(3000, add('primary', vf())),
    ]),
  },
  {
    // There is nothing left that could be taken over: a fault of the check.
    name: 'somebody deletes the bond while a takeover is not done',
    script: taken([killed, at(500, { do: 'unbond' })]),
  },
];

describe('what once went wrong', () => {
  test.each(REGRESSIONS)('$name', async ({ script }) => {
    const run = new Run(script, 1);
    const { violations, disk } = await run.run();
    expect(violations).toEqual([]);
    expect(disk.all().filter(({ type }) => type === 'decision.made').length).toBeLessThan(15);
  });
});

describe('what somebody sees who looks on', () => {
  test.each([
    ['failover', 'bindPrimary activatePrimary activateStandby bindPrimary activatePrimary'],
    ['failover-windows', 'bindPrimary releaseLink unbindPrimary holdLink bindPrimary releaseLink'],
  ])('%s', async (name, expected) => {
    const { disk, violations } = await new Run(scriptOf(name, 1), 1).run();
    const all = disk.all();
    const end = all.findIndex(({ type, data }) => type === 'operator.commanded' && data.by === AT_THE_END);
    const events = end === -1 ? all : all.slice(0, end);
    const decided = events.flatMap(({ type, data }) => (type === 'decision.made' ? [data.kind] : []));
    expect([violations, decided.join(' ')]).toEqual([[], expected]);
    const story = new Story();
    for (const event of events) story.tell(event);
    story.history.end();
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
