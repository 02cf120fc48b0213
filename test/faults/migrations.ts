// Faults 41 to 52: what the hypervisor does, or fails to do, around a migration: the guest's part beside a simulated
// hypervisor, the host role's part in hosts.ts.
import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Migration } from '../../src/adapters/simulated/hypervisor.ts';
import { add, at, FOREIGN_MAC, migration, nic, OTHER_MAC } from '../../src/adapters/simulated/script.ts';
import { bondOnly, type Fault, GUESTS, type Life, live, plug, standby, trioOnly, truths } from './given.ts';
import {
  endlessIsTold,
  macIsReadBack,
  macStaysUntilHidden,
  pausedIsTold,
  refusalCancels,
  staleEntriesGo,
  takenBackInReverse,
  wrongMacIsMended,
} from './hosts.ts';
import { MAC } from '../given.ts';

const back = { carrierDelay_ms: 200 };
const migrate = (at_ms: number, over: Partial<Migration> = {}) =>
  at(at_ms, { do: 'migrate', how: migration({ primary: back, ...over }) });
const ON_PRIMARY = 'onPrimary primary primary.carries';

/** Whatever becomes of the migration, the primary never left: nothing changed in the guest. */
const stays = async (how: Partial<Migration>): Promise<void> => {
  for (const told of GUESTS) {
    const stuck = at(7000, { do: 'stick', id: 'primary', on: true });
    const found = {};
    const actions = [...told.before, plug(1000), stuck, migrate(8000, how)];
    const life = await live({ ...told, actions, looks: truths(found, 9000, 60_000, 90_000), until_ms: 91_000 });
    deepEqual(found, { 9000: 'primary', 60000: 'primary', 90000: 'primary' });
    equal(life.at(90_000), ON_PRIMARY);
    equal(life.all('adapter.gone').length, 0);
    const vfs = life.run.world.kernel.adapters().filter(({ bus }) => bus === 'pci');
    deepEqual(
      vfs.map(({ permMac }) => permMac),
      [MAC],
    );
  }
};
/** The primary left and comes back to the pair. */
const returns = async (how: Partial<Migration>, announced: boolean): Promise<void> => {
  for (const told of GUESTS) {
    const found = {};
    const actions = [...told.before, plug(1000), migrate(8000, how)];
    const life = await live({ ...told, actions, looks: truths(found, 8200, 30_000), until_ms: 31_000 });
    deepEqual(found, { 8200: 'standby', 30000: 'primary' });
    equal(life.end, ON_PRIMARY);
    const text = announced ? 'with an announce since' : 'without an announce since';
    if (told.system === undefined)
      ok(
        life.texts.some((one) => one.includes(text)),
        life.texts.join('\n'),
      );
  }
};
const unpaired = async (mac: string): Promise<Life> => {
  const life = await live({ actions: [...bondOnly, plug(1000), migrate(8000, { primary: { ...back, mac } })], until_ms: 60_000 });
  match(life, mac);
  return life;
};
const match = (life: Life, mac: string): void => {
  ok(life.at(50_000).startsWith('fallback standby'));
  ok(life.findings().includes('wrongMac') && life.texts.some((text) => text.includes(mac)));
  const vf = life.run.world.kernel.adapters().find((one) => one.mac === mac);
  deepEqual([vf?.master, vf?.up], [null, false]);
};

export const MIGRATION_FAULTS: readonly Fault[] = [
  {
    number: 41,
    name: 'guest-paused',
    scenario: 'A migration begins while the guest is paused, so that it cannot give the primary up; QEMU gives up after 30 s.',
    expectation: 'The guest stays on its primary all the time, and the host says at once that it is paused.',
    state: 'modelled: host',
    check: async () => {
      await stays({});
      pausedIsTold();
    },
  },
  {
    number: 42,
    name: 'no-answer-to-the-unplug',
    scenario: 'The guest never answers the unplug (no driver, still booting), and the migration is cancelled.',
    expectation:
      'The primary is untouched and has its MAC; after a limit an alarm, and the migration is cancelled if the policy says so.',
    state: 'modelled: host',
    check: async () => {
      await stays({ ends: 'cancelledWhileWaiting' });
      endlessIsTold();
    },
  },
  {
    number: 43,
    name: 'unplug-refused',
    scenario: 'The guest refuses the unplug, and the migration fails.',
    expectation: 'The primary is kept; the guest decides nothing, and the host cancels if the policy says so.',
    state: 'modelled: host',
    check: async () => {
      await stays({ ends: 'fails' });
      refusalCancels();
    },
  },
  {
    number: 44,
    name: 'unplug-requested-not-done',
    scenario: 'The primary is asked to leave and is still there for 70 ms.',
    expectation: 'A sign shows as detaching; that the primary is gone is said only when it is, and its MAC stays until then.',
    state: 'modelled: host',
    check: async () => {
      macStaysUntilHidden();
      let there: unknown;
      const life = await live({
        actions: [...trioOnly, plug(1000), migrate(8000)],
        looks: { 8060: ({ world }) => (there = world.kernel.adapters().find(({ bus }) => bus === 'pci')?.permMac) },
        until_ms: 20_000,
      });
      deepEqual([there, life.at(8060)], [MAC, 'detaching primary primary.leaving']);
      ok(life.at(8200).startsWith('fallback standby'));
      const gone = life.all('adapter.gone')[0];
      ok(Number(gone?.mono_ns) > 8.06e9);
    },
  },
  {
    number: 45,
    name: 'cancelled-while-waiting',
    scenario: 'The migration is cancelled while it waits for the unplug, and QEMU plugs the primary in again.',
    expectation: 'The guest takes it back, and says that it was not migrated.',
    state: 'modelled: host',
    check: async () => {
      await returns({ ends: 'cancelledWhileWaiting' }, false);
      takenBackInReverse('cancelling');
    },
  },
  {
    number: 46,
    name: 'failed-late',
    scenario: 'The migration fails after the primary has left.',
    expectation: 'The guest takes it back, and says that it was not migrated.',
    state: 'modelled: host',
    check: async () => {
      await returns({ ends: 'fails', takes_ms: 3000 }, false);
      takenBackInReverse('failed');
    },
  },
  {
    number: 47,
    name: 'returned-without-mac',
    scenario: 'The primary comes back with MAC zero.',
    expectation: 'It is not paired and not touched; a finding names it, and the standby carries.',
    state: 'modelled: host',
    check: async () => {
      await unpaired('00:00:00:00:00:00');
      wrongMacIsMended();
    },
  },
  {
    number: 48,
    name: 'mac-not-set',
    scenario: 'The host’s attempt to set the VF’s MAC was ignored; it is plugged in with a foreign one, and later rightly.',
    expectation: 'The foreign one is left alone and named; the right one is paired.',
    state: 'modelled: host',
    check: async () => {
      macIsReadBack();
      await unpaired(FOREIGN_MAC);
      const repaired = [at(20_000, { do: 'remove', id: 'primary' }), plug(21_000)];
      const actions = [...bondOnly, plug(1000), migrate(8000, { primary: { ...back, mac: FOREIGN_MAC } }), ...repaired];
      const life = await live({ actions, until_ms: 40_000 });
      equal(life.end, ON_PRIMARY);
    },
  },
  {
    number: 49,
    name: 'stale-fdb-entries',
    scenario: 'The host’s agent dies between adding FDB entries and removing them.',
    expectation: 'Its next run lists its own entries from the log and removes those whose migration is over.',
    state: 'modelled: host',
    check: () => Promise.resolve(staleEntriesGo()),
  },
  {
    number: 50,
    name: 'no-vf-on-the-target',
    scenario: 'The target host has no VF.',
    expectation: 'The guest stays on its standby and says that it has no primary.',
    state: 'modelled: host',
    missing: 'trying again with a limit',
    check: async () => {
      for (const told of GUESTS) {
        const actions = [...told.before, plug(1000), migrate(8000, { primary: null })];
        const life = await live({ ...told, actions, until_ms: 300_000 });
        ok(life.end.startsWith('fallback standby'));
        const late = life.all('decision.made').filter(({ mono_ns }) => Number(mono_ns) > 10e9);
        deepEqual(late, []);
      }
    },
  },
  {
    number: 51,
    name: 'migrated-again-at-once',
    scenario: 'A second migration begins before the primary is back from the first, and a third right after.',
    expectation: 'There is no primary, so nothing is waited for; the guest ends on its primary.',
    state: 'modelled: host',
    check: async () => {
      const again = [migrate(8000, { plugAfter_ms: 5000 }), migrate(10_000), migrate(14_500)];
      for (const before of [bondOnly, trioOnly]) {
        const life = await live({ actions: [...before, plug(1000), ...again], until_ms: 40_000 });
        deepEqual([life.end, life.all('adapter.gone').length], [ON_PRIMARY, 2]);
      }
    },
  },
  {
    number: 52,
    name: 'one-of-two-stays',
    scenario: 'Two pairs; one primary does not leave, so the migration waits and is given up.',
    expectation: 'The other pair is on its standby meanwhile and gets its primary back; the stuck one never moves.',
    state: 'modelled: host',
    check: async () => {
      const second = [
        at(100, add('standby-b', nic({ mac: OTHER_MAC, address: '0000:07:00.0' }))),
        plug(1000, { mac: OTHER_MAC, address: '0000:08:00.0' }, 'primary-b'),
        at(7000, { do: 'stick', id: 'primary-b', on: true }),
      ] as const;
      const pairs = [MAC, OTHER_MAC];
      const life = await live({
        system: 'windows',
        pairs,
        actions: [...standby, plug(1000), ...second, migrate(8000)],
        until_ms: 90_000,
      });
      deepEqual([life.at(10_000), life.at(10_000, OTHER_MAC)], ['fallback standby primary.absent', ON_PRIMARY]);
      deepEqual(
        pairs.map((mac) => life.at(80_000, mac)),
        [ON_PRIMARY, ON_PRIMARY],
      );
      equal(life.path(OTHER_MAC).filter((state) => state === 'onPrimary primary').length, 1);
    },
  },
];
