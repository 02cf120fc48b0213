// The checks of the invariants, each held against a planted bug that it must find in some simulated life; and what becomes of
// a violation: it is shrunk to a short recording.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { map } from 'rxjs';
import { describe, expect, test } from 'vitest';
import type { Ledger, Platform } from '../../src/adapters/platform.ts';
import { LinuxKernel } from '../../src/adapters/simulated/linux-kernel.ts';
import { WindowsKernel } from '../../src/adapters/simulated/windows-kernel.ts';
import { Service } from '../../src/host/service.ts';
import { replayFile } from '../../replay/replay.ts';
import type { Sabotage } from '../simulation/harness.ts';
import { record, scriptOf, shrink, simulate } from '../simulation/simulate.ts';

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
