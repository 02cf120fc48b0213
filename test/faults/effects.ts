// Faults 25 to 40: effects that cannot be carried out, drivers that do not follow, and the service itself.
import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { add, at, FOREIGN_MAC, migration, vf } from '../../src/adapters/simulated/script.ts';
import { WindowsKernel } from '../../src/adapters/simulated/windows-kernel.ts';
import { decodeRecords, RECORD_BYTES } from '../../src/adapters/windows/driver.ts';
import type { DriverFacts } from '../../src/events/catalogue.ts';
import { readArguments } from '../../src/host/arguments.ts';
import { bondOnly, type Fault, LATE_BIND, live, plug, standby, trioOnly, truths, windows } from './given.ts';
import { acting, adapter, bonded, MAC, surveyed, Teller } from '../given.ts';
import type { Run } from '../simulation/harness.ts';
import { NETKVM } from '../unit/service.given.ts';

const refused = (reason: string) => Promise.resolve({ result: 'refused' as const, reason, observed: false });

export const EFFECT_FAULTS: readonly Fault[] = [
  {
    number: 25,
    name: 'protocol-uninstalled',
    scenario: 'VIOPROT is uninstalled while the primary is bound.',
    expectation: 'The standby carries; the VF gets its own bindings back, and nothing is tried that cannot succeed.',
    state: 'modelled: Windows',
    check: async () => {
      const found = {};
      const life = await live({
        system: windows,
        actions: [...standby, plug(500), at(8000, { do: 'protocol', installed: false })],
        looks: truths(found, 9000, 300_000),
        until_ms: 301_000,
      });
      deepEqual(found, { 9000: 'standby', 300000: 'standby' });
      equal(life.end, 'fallback standby primary.notAttached');
      deepEqual(life.decided.slice(2), ['holdLink void', 'giveBack succeeded', 'releaseLink succeeded']);
    },
  },
  {
    number: 26,
    name: 'lock-held',
    scenario: 'Another program holds INetCfg’s write lock for 20 s.',
    expectation: 'The bind waits, fails with the holder’s name, and is tried again; the protocol is not taken for uninstalled.',
    state: 'modelled: Windows',
    check: async () => {
      const lock = [at(200, { do: 'lock', by: 'Network Connections' }), at(20_000, { do: 'lock', by: null })];
      const life = await live({ system: windows, actions: [...standby, ...lock, plug(500)], until_ms: 60_000 });
      ok(life.texts.some((text) => text.includes('the write lock is held by Network Connections')));
      deepEqual([life.all('protocol.removed').length, life.decided.at(-1)], [0, 'bindPrimary succeeded']);
      equal(life.end, 'onPrimary primary primary.carries');
      deepEqual(life.wrong, []);
    },
  },
  {
    number: 27,
    name: 'access-denied',
    scenario: 'Every effect is refused for five minutes.',
    expectation: 'An outcome of its own (refused), at most one attempt a minute, and the standby keeps carrying.',
    state: 'holds',
    check: async () => {
      const found = {};
      const life = await live({
        actions: [...bondOnly, plug(1000)],
        rates: { effectRefused: 1 },
        looks: truths(found, 30_000, 300_000),
        until_ms: 301_000,
      });
      deepEqual(found, { 30000: 'standby', 300000: 'standby' });
      const early = life.all('outcome.seen').filter(({ mono_ns }) => Number(mono_ns) < 301e9);
      ok(early.length <= 6 && early.every(({ data: { result } }) => result === 'refused'));
      ok(life.findings().includes('effectFailed'));
    },
  },
  {
    number: 28,
    name: 'reboot-required',
    scenario: 'The bind answers that a reboot is required.',
    expectation: 'That is recorded as the reason, and the old path is kept: the standby is released at once.',
    state: 'modelled: Windows',
    check: async () => {
      const life = await live({
        system: windows,
        actions: [...standby, plug(8000)],
        perform: ({ kind }, { clock }) =>
          kind === 'bindPrimary' && clock.now_ms < 100_000 ? refused('reboot required') : undefined,
        until_ms: 100_000,
      });
      equal(life.at(60_000), 'fallback standby primary.absent');
      ok(life.texts.some((text) => text.includes('refused: reboot required')));
      equal(life.texts.filter((text) => text.startsWith('no path')).length, 1);
    },
  },
  {
    number: 29,
    name: 'one-protocol-fails',
    scenario: 'TCP/IP cannot be taken off the primary, again and again.',
    expectation: 'It is tried within limits and reported; the link is released rather than leaving the guest without a path.',
    state: 'modelled: Windows',
    missing: 'keeping such a VF out of use, so that the standby is the only one with an address',
    check: async () => {
      const life = await live({
        system: windows,
        actions: [...standby, plug(500)],
        looks: {
          400: ({ world: { kernel }, clock }) => {
            if (!(kernel instanceof WindowsKernel)) return;
            const set = kernel.setBindings.bind(kernel);
            kernel.setBindings = (ifindex, wanted) => {
              if (clock.now_ms > 100_000) return set(ifindex, wanted);
              return set(ifindex, { ...wanted, ms_tcpip: true }) ?? 'ms_tcpip: the binding path was not disabled';
            };
          },
        },
        until_ms: 100_000,
      });
      ok(life.all('outcome.seen').filter(({ mono_ns }) => Number(mono_ns) < 100e9).length < 20);
      match(life.at(20_000), / primary /);
      deepEqual([life.decided.at(-1), life.wrong], ['bindPrimary succeeded', []]);
    },
  },
  {
    number: 30,
    name: 'two-addresses',
    scenario: 'A DHCP client gives a member of a bond that the service has made an address of its own.',
    expectation: 'The address is decided to move to the bond, once; link-local ones are the kernel’s and stay.',
    state: 'holds',
    missing: 'a finding where the bond is not ours, and Windows, where the VF would lose its address',
    check: async () => {
      const teller = new Teller();
      const address = (ifindex: number, text: string) => teller.tell({ type: 'address.added', data: { ifindex, address: text } });
      teller.tell(acting({ pairs: [{ mac: MAC, mode: 'bond', bond: bonded.bond.name }] }), surveyed(bonded.bond, bonded.standby));
      const owed = { id: 'd1.0.takeover', pair: MAC, kind: 'takeover' as const, device: null, before: {} };
      teller.tell({ type: 'obligation.opened', data: owed });
      if (teller.pair.pending !== null) teller.conclude('succeeded');
      const before = teller.decided.length;
      address(9, '192.0.2.7/24');
      address(2, 'fe80::1/64');
      equal(teller.decided.length, before);
      address(2, '192.0.2.8/24');
      deepEqual([teller.decided.slice(before), teller.pair.pending?.standby?.ifindex], [['moveAddresses'], 2]);
      teller.conclude('failed');
      teller.wait(10_000);
      equal(teller.decided.length, before + 1);
      await Promise.resolve();
    },
  },
  {
    number: 31,
    name: 'address-already-exists',
    scenario: 'DHCP would answer “address already exists” after a switch, where both NICs of a pair have TCP/IP and a link.',
    expectation: 'After every switch TCP/IP has a link on one of the two alone: a late primary, a migration.',
    state: 'modelled: Windows',
    missing: 'once VIOPROT is uninstalled both have it: the standby’s is pulsed, and DHCP may answer so all the same',
    check: async () => {
      const holders: Record<number, number> = {};
      const look =
        (ms: number) =>
        ({ world }: Run) => {
          const held = world.kernel.adapters().filter(({ carrier, protocols }) => carrier && protocols?.['ms_tcpip'] === true);
          holders[ms] = held.length;
        };
      const moments = [7000, 10_000, 21_000, 30_000, 39_000];
      const life = await live({
        system: windows,
        actions: [...standby, plug(8000), at(20_000, { do: 'migrate', how: migration({ plugAfter_ms: 3000 }) })],
        looks: Object.fromEntries(moments.map((ms) => [ms, look(ms)])),
        until_ms: 40_000,
      });
      deepEqual(holders, Object.fromEntries(moments.map((ms) => [ms, 1])));
      deepEqual([life.at(15_000), life.at(39_000)], Array(2).fill('onPrimary primary primary.carries'));
    },
  },
  {
    number: 32,
    name: 'renamed-while-enslaved',
    scenario: 'udev renames the primary while it is being enslaved: bond and net_failover.',
    expectation: 'ifindex and MAC count, not the name: nothing else happens.',
    state: 'holds',
    check: async () => {
      for (const before of [bondOnly, trioOnly]) {
        const actions = [...before, plug(1000)];
        const plain = await live({ actions });
        const renamed = await live({ actions, world: { linux: { rename: true } } });
        ok(renamed.all('adapter.changed').some(({ data }) => data.changed.name !== undefined));
        deepEqual([renamed.decided, renamed.path()], [plain.decided, plain.path()]);
      }
    },
  },
  {
    number: 33,
    name: 'ifindex-reused',
    scenario: 'An enslavement comes 10 s late, when a foreign card has the ifindex of the primary that was meant.',
    expectation: 'The foreign card is not touched.',
    state: 'holds',
    check: async () => {
      let foreign: object | undefined;
      const life = await live({
        world: { linux: { reuseIndex: true } },
        policy: { effectLimit_ms: 1000 },
        actions: [
          ...bondOnly,
          at(900, { do: 'fault', fault: 'effectLate' }),
          plug(1000),
          at(1200, { do: 'remove', id: 'primary' }),
          at(1600, add('foreign', vf({ mac: FOREIGN_MAC }))),
        ],
        looks: { 40_000: ({ world }) => (foreign = world.kernel.adapters().find(({ mac }) => mac === FOREIGN_MAC)) },
        until_ms: 41_000,
      });
      const [bind] = life.all('decision.made');
      deepEqual([foreign], [{ ...foreign, ifindex: bind?.data.primary?.ifindex, master: null, up: false }]);
      deepEqual([life.decided, life.findings().includes('wrongMac')], [['bindPrimary failed'], true]);
    },
  },
  {
    number: 34,
    name: 'other-pci-address',
    scenario: 'The primary of the target host sits at another PCI address.',
    expectation: 'It is paired by its MAC, and the log has the new address.',
    state: 'holds',
    check: async () => {
      const primary = { address: '0000:05:00.0', carrierDelay_ms: 200 };
      const life = await live({
        actions: [...bondOnly, plug(1000), at(8000, { do: 'migrate', how: migration({ primary }) })],
        until_ms: 20_000,
      });
      equal(life.end, 'onPrimary primary primary.carries');
      const addresses = life.all('adapter.appeared').flatMap(({ data: { bus, pci } }) => (bus === 'pci' ? [pci] : []));
      deepEqual(addresses, ['0000:02:00.0', '0000:05:00.0']);
    },
  },
  {
    number: 35,
    name: 'driver-not-readable',
    scenario: 'NETKVM’s records cannot be read for a while: surveys come without them.',
    expectation: 'What was known of the driver stays, and nothing is unbound.',
    state: 'modelled: Windows',
    check: async () => {
      const teller = new Teller();
      const vfNic = adapter(4, {
        bus: 'pci',
        device: 'vf',
        pci: '0000:02:00.0',
        up: true,
        carrier: true,
        protocols: { vioprot: true },
      });
      const nicOf = adapter(2, { bus: 'virtio', device: 'nic', up: true, carrier: true });
      const record = { mac: MAC, virtio: true, isStandby: true, virtioLink: true, suppressLink: false, started: true };
      teller.tell(acting(), surveyed(nicOf, vfNic));
      teller.tell({ type: 'driver.facts', data: { ...record, hasVf: true, vfIfIndex: 4, vfLink: true } });
      const before = teller.state;
      for (let survey = 0; survey < 3; survey += 1) {
        teller.tell(surveyed(nicOf, vfNic));
        teller.wait(60_000);
      }
      deepEqual([before, teller.state, teller.decided], ['onPrimary primary primary.carries', before, []]);
      await Promise.resolve();
    },
  },
  {
    number: 36,
    name: 'short-record',
    scenario: 'The driver answers with a record that is too short, alone or behind a whole one.',
    expectation: 'An error that says so, nothing is read of it, and what was known stays.',
    state: 'modelled: Windows',
    check: async () => {
      const whole = Buffer.alloc(RECORD_BYTES);
      Buffer.from(MAC.replaceAll(':', ''), 'hex').copy(whole);
      whole.fill(1, 6, 8);
      deepEqual(
        decodeRecords(whole).map(({ mac, virtio, isStandby, hasVf }) => [mac, virtio, isStandby, hasVf]),
        [[MAC, true, true, false]],
      );
      for (const bytes of [whole.subarray(1), whole.subarray(0, 16), Buffer.concat([whole, whole.subarray(0, 63)])])
        throws(
          () => decodeRecords(bytes),
          new RegExp(`answered ${bytes.length} bytes, which is no multiple of the ${RECORD_BYTES}`),
        );
      const teller = new Teller();
      const nicOf = adapter(2, { bus: 'virtio', device: 'nic', up: true, carrier: true });
      teller.tell(acting(), surveyed(nicOf), { type: 'driver.facts', data: decodeRecords(whole)[0] as DriverFacts });
      const before = teller.state;
      teller.tell({ type: 'gap.seen', data: { source: 'NETKVMD', reason: 'a short record' } }, surveyed(nicOf));
      deepEqual([teller.state, teller.pair.driverFacts?.isStandby], [before, true]);
      await Promise.resolve();
    },
  },
  {
    number: 37,
    name: 'success-without-effect',
    scenario: 'SET_LINK says that it succeeded, and the link stays held.',
    expectation: 'The facts are believed, not the answer: it is decided again.',
    state: 'modelled: Windows',
    check: async () => {
      const life = await live({
        system: windows,
        actions: [...standby, at(2000, { do: 'fault', fault: 'effectPretended' })],
        until_ms: 10_000,
      });
      deepEqual(life.decided, ['releaseLink succeeded', 'releaseLink succeeded']);
      equal(life.end, 'fallback standby primary.absent');
    },
  },
  {
    number: 38,
    name: 'driver-restarted',
    scenario: 'NETKVM is restarted while the primary is bound (setparam and restart): the standby comes back held.',
    expectation: 'The primary is still bound alone, so the link is released, and the primary carries again.',
    state: 'modelled: Windows',
    check: async () => {
      const actions = [...standby, plug(500), at(8000, { do: 'mtu', id: 'standby', value: 1500 })];
      const life = await live({ system: windows, actions, until_ms: 20_000 });
      deepEqual(life.decided, [...LATE_BIND.slice(1), 'releaseLink succeeded']);
      equal(life.end, 'onPrimary primary primary.carries');
    },
  },
  {
    number: 39,
    name: 'stop-during-an-effect',
    scenario: 'The service is told to stop while an effect hangs.',
    expectation: 'It ends without waiting for the effect, and the next run ends the decision as void.',
    state: 'holds',
    missing: 'the update of a running service',
    check: async () => {
      const hang = at(900, { do: 'fault', fault: 'effectHung' });
      const life = await live({ actions: [...bondOnly, hang, plug(1000), at(3000, { do: 'restart' })], until_ms: 20_000 });
      equal(life.all('service.stopped')[0]?.mono_ns, '3000000000');
      deepEqual(life.decided, ['bindPrimary void', 'bindPrimary succeeded', 'activatePrimary succeeded']);
    },
  },
  {
    number: 40,
    name: 'no-session',
    scenario: 'A command is run by an agent: no terminal, no standard input, no environment, a session of its own.',
    expectation: 'It does its work and ends; only the word “run” makes a service of it.',
    state: 'holds',
    check: async () => {
      for (const [words, expected] of [
        [['version'], 0],
        [[], 0],
        [['status', '--state-dir', '/nonexistent/netkvm'], 5],
      ] as const) {
        const { status, stdout, stderr } = spawnSync(process.execPath, [NETKVM, ...words], {
          env: {},
          stdio: ['ignore', 'pipe', 'pipe'],
          encoding: 'utf8',
          timeout: 20_000,
        });
        ok(status !== null && (status === expected || stderr.startsWith('netkvm: ')), `${words.join(' ')}: ${status} ${stderr}`);
        ok(stdout.length + stderr.length > 0);
      }
      ok(readArguments([]).kind !== 'command');
      await Promise.resolve();
    },
  },
];
