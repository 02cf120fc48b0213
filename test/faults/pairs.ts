// Faults 16 to 24: who is paired with whom, and what is not paired at all.
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { add, at, FOREIGN_MAC, nic } from '../../src/adapters/simulated/script.ts';
import { WindowsKernel } from '../../src/adapters/simulated/windows-kernel.ts';
import { parseMac } from '../../src/events/mac.ts';
import { bondOnly, cli, type Fault, inFolder, LATE_BIND, live, plug, standby, trioOnly, windows } from './given.ts';
import { ParameterSession } from '../../src/host/parameters/orders.ts';
import { acting, adapter, appeared, bonded, MAC, surveyed, Teller } from '../given.ts';
import { ordered, Registry } from './parameters.ts';

export const PAIR_FAULTS: readonly Fault[] = [
  {
    number: 16,
    name: 'two-primaries',
    scenario: 'A second primary with the pair’s MAC comes; later the first leaves: Windows, bond, net_failover.',
    expectation: 'The first keeps its place, the second is left alone and reported, and adopted when the first has gone.',
    state: 'holds',
    check: async () => {
      const two = [plug(1000), plug(8000, { address: '0000:03:00.0' }, 'second'), at(20_000, { do: 'remove', id: 'primary' })];
      for (const told of [{ system: windows, before: standby }, { before: bondOnly }]) {
        const life = await live({ ...told, actions: [...told.before, ...two], until_ms: 40_000 });
        const bound = life.all('decision.made').filter(({ data: { kind } }) => kind === 'bindPrimary');
        deepEqual([bound[0]?.data.primary?.pci, bound.at(-1)?.data.primary?.pci], ['0000:02:00.0', '0000:03:00.0']);
        ok(bound.slice(1).every(({ mono_ns }) => Number(mono_ns) > 20e9));
        deepEqual([life.findings().includes('secondPrimary'), life.end], [true, 'onPrimary primary primary.carries']);
      }
      // net_failover itself adopts nobody: that is said.
      const kernel = await live({ actions: [...trioOnly, ...two], until_ms: 40_000 });
      match(kernel.at(30_000), / standby /);
      ok(kernel.findings().includes('attachFailed'));
    },
  },
  {
    number: 17,
    name: 'two-standbys',
    scenario: 'A second standby with the pair’s MAC comes, then a primary.',
    expectation: 'Nothing is done, and an error is reported.',
    state: 'holds',
    check: async () => {
      const twin = at(5000, add('twin', nic({ address: '0000:07:00.0' })));
      const life = await live({ system: windows, actions: [...standby, twin, plug(8000)], until_ms: 60_000 });
      deepEqual(life.decided, ['releaseLink succeeded']);
      deepEqual(
        life.findings('error').filter((code) => code === 'secondStandby'),
        ['secondStandby'],
      );
      const other = at(5000, add('twin', nic({ address: '0000:07:00.0', standby: false })));
      const bond = await live({ actions: [...bondOnly, other, plug(8000)], until_ms: 60_000 });
      deepEqual([bond.decided, bond.findings().includes('secondStandby')], [[], true]);
    },
  },
  {
    number: 18,
    name: 'primary-changes-mac',
    scenario:
      'The primary’s current MAC is changed while it is bound: Windows, where pairs go by it, and a bond, where they do not.',
    expectation: 'Windows: the pair ends, the standby carries, the VF is left alone. Linux: nothing changes.',
    state: 'holds',
    check: async () => {
      const change = at(8000, { do: 'mac', id: 'primary', value: FOREIGN_MAC });
      const life = await live({ system: windows, actions: [...standby, plug(500), change], until_ms: 60_000 });
      deepEqual(life.decided, LATE_BIND.slice(1));
      equal(life.end, 'fallback standby primary.absent');
      const bond = await live({ actions: [...bondOnly, plug(1000), change], until_ms: 60_000 });
      equal(bond.end, 'onPrimary primary primary.carries');
    },
  },
  {
    number: 19,
    name: 'standby-changes-mac',
    scenario: 'The standby gets another MAC (NetworkAddress and a restart).',
    expectation: 'The old pair is absent, the new one has no primary, and the VF of the old one gets its own bindings back.',
    state: 'modelled: Windows',
    check: async () => {
      const change = at(8000, { do: 'mac', id: 'standby', value: FOREIGN_MAC });
      const life = await live({
        system: windows,
        pairs: [MAC, FOREIGN_MAC],
        actions: [...standby, plug(500), change],
        until_ms: 60_000,
      });
      equal(life.end, 'absent none standby.absent');
      equal(life.at(Infinity, FOREIGN_MAC), 'fallback standby primary.absent');
      const later = life.all('decision.made').filter(({ mono_ns }) => Number(mono_ns) >= 8e9);
      deepEqual(
        [...new Set(later.map(({ data }) => `${data.pair} ${data.kind}`))].toSorted(),
        [`${MAC} giveBack`, `${FOREIGN_MAC} releaseLink`].toSorted(),
      );
      const session = new ParameterSession(new Registry());
      await rejects(ordered(session, 'setparam 0 NetworkAddress 525400000001'), /keeps the MAC 52:54:00:11:22:33/);
    },
  },
  {
    number: 20,
    name: 'rubbish-mac',
    scenario: 'A MAC that is none, a multicast one, and zero, in the configuration.',
    expectation: 'Refused, with the line and what a MAC looks like.',
    state: 'holds',
    check: async () => {
      for (const text of ['', 'abc', '52540011223', '52:54:00:11:22:3g', '52:54:00-11:22:33', '5254001122334455'])
        equal(parseMac(text), null);
      for (const mac of ['rubbish', '01:00:5e:00:00:01', '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff']) {
        const { code, err } = await inFolder((dir) => {
          const file = join(dir, 'config.toml');
          writeFileSync(file, `[[pairs]]\nmac = "${mac}"\n`);
          return cli('config', 'check', '--config', file);
        });
        equal(code, 6);
        match(err, /config\.toml:2: .*mac = .*unicast MAC/);
      }
      const session = new ParameterSession(new Registry());
      for (const mac of ['rubbish', '000000000000', '015400112233'])
        await rejects(ordered(session, `setparam 2 NetworkAddress ${mac}`), /is not a unicast MAC/);
    },
  },
  {
    number: 21,
    name: 'mtu-mismatch',
    scenario: '*JumboPacket of the standby, then of the primary, is changed while they are bound.',
    expectation:
      'Never SET_LINK on with unequal MTUs (it crashes the driver): the VF is unbound before, the standby carries; setparam asks for both.',
    state: 'modelled: Windows',
    check: async () => {
      for (const id of ['standby', 'primary']) {
        const change = at(8000, { do: 'mtu', id, value: 9000 });
        const life = await live({ system: windows, actions: [...standby, plug(500), change], until_ms: 60_000 });
        deepEqual([life.end, life.run.world.kernel.crashed()], ['fallback standby primary.incompatible', null]);
        ok(life.findings('error').includes('mtuMismatch'));
      }
      const registry = new Registry();
      const session = new ParameterSession(registry);
      await rejects(ordered(session, 'setparam 0 *JumboPacket 9014'), /has the MTU 1500, this would be 9000; --both writes both/);
      equal(registry.stored.size, 0);
    },
  },
  {
    number: 22,
    name: 'no-driver',
    scenario: 'The primary has no driver in this guest, so no adapter appears.',
    expectation: 'The standby keeps carrying, and a finding names the function.',
    state: 'holds',
    check: async () => {
      for (const before of [bondOnly, trioOnly]) {
        const life = await live({ actions: [...before, plug(1000, { driver: false })], until_ms: 60_000 });
        deepEqual([life.decided, life.end], [[], 'fallback standby primary.absent']);
        ok(life.texts.includes('0000:02:00.0 (no driver) shows no adapter, and it lasts'));
      }
    },
  },
  {
    number: 23,
    name: 'not-a-vf',
    scenario: 'Another card with the pair’s MAC is there, and the configuration names which adapter is the primary.',
    expectation:
      'Only the named one is taken. (A guest cannot see whether a card is a VF; without a name any PCI card with the MAC is.)',
    state: 'holds',
    check: async () => {
      const pairs = [{ mac: MAC, primaryName: 'vf0' }];
      const named = new Teller();
      const other = adapter(4, { ...bonded.primary, name: 'pf0', carrier: true, up: true });
      named.tell(acting({ pairs }), surveyed(bonded.bond, bonded.standby, other));
      deepEqual([named.decided, named.state], [[], 'fallback/noPrimary standby primary.absent']);
      named.tell(appeared({ ...bonded.primary, ifindex: 5, name: 'vf0', device: '0000:05:00.0', pci: '0000:05:00.0' }));
      deepEqual([named.decided, named.pair.pending?.primary?.ifindex], [['bindPrimary'], 5]);
      await Promise.resolve();
    },
  },
  {
    number: 24,
    name: 'pair-with-itself',
    scenario: 'VIOPROT is bound to the NETKVM adapter itself; the configuration names the standby as its own primary.',
    expectation: 'A standby is never its own primary: no decision names it as one.',
    state: 'holds',
    check: async () => {
      const own = new Teller();
      const pairs = [{ mac: MAC, standbyName: 'eth2', primaryName: 'eth2' }];
      own.tell(acting({ pairs }), surveyed(bonded.bond, bonded.standby));
      deepEqual([own.decided, own.pair.roles.primary], [[], null]);
      const life = await live({
        system: windows,
        actions: [...standby, plug(500)],
        looks: {
          5000: ({ world: { kernel } }) => {
            const nics = kernel.adapters().filter(({ bus }) => bus === 'virtio');
            if (kernel instanceof WindowsKernel) for (const { ifindex } of nics) kernel.setBindings(ifindex, { vioprot: true });
          },
        },
        until_ms: 20_000,
      });
      deepEqual([life.decided, life.end], [LATE_BIND.slice(1), 'onPrimary primary primary.carries']);
    },
  },
];
