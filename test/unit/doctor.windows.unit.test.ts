// The checks of `netkvm doctor` for Windows, each on what it is meant to find in a made-up machine. test/e2e/wine/doctor has
// them on one that runs.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { NetworkDevice } from '../../src/adapters/windows/devices.ts';
import type { Interface } from '../../src/adapters/windows/interfaces.ts';
import type { ServiceInfo } from '../../src/adapters/windows/scm.ts';
import type { DriverFacts } from '../../src/events/catalogue.ts';
import { loadConfig, type Overrides } from '../../src/host/config.ts';
import { type Check, runChecks } from '../../src/host/doctor-checks.ts';
import { type Machine, windowsChecks } from '../../src/host/doctor-windows.ts';

const MAC = '52:54:00:11:22:33';
const device = (number: number, service: string): NetworkDevice => ({
  instanceId: `PCI\\VEN_1AF4&DEV_104${number}\\3&1&0&${number}`,
  description: 'Adapter',
  friendlyName: `Adapter #${number}`,
  location: null,
  uiNumber: null,
  service,
  softwareKey: null,
  guid: `{${number}}`,
  pci: `0000:00:0${number}.0`,
  pciId: null,
});
const row = (number: number, over: Partial<Interface> = {}): Interface => ({
  ifindex: number,
  guid: `{${number}}`,
  alias: `Ethernet ${number}`,
  mac: MAC,
  permMac: MAC,
  mtu: 1500,
  up: true,
  carrier: true,
  counters: { rxPackets: '0', rxDropped: '0', txPackets: '0', txDropped: '0' },
  ...over,
});
const record = (over: Partial<DriverFacts> = {}): DriverFacts => ({
  mac: MAC,
  virtio: true,
  isStandby: true,
  virtioLink: true,
  suppressLink: false,
  started: true,
  hasVf: true,
  vfIfIndex: 4,
  vfLink: true,
  ...over,
});
const bound = (vf: Record<string, boolean>, installed = true) => ({
  installed,
  adapters: { 'PCI\\VEN_1AF4&DEV_1043\\3&1&0&3': { ms_tcpip: true }, 'PCI\\VEN_1AF4&DEV_1044\\3&1&0&4': vf },
});
const serviceInfo = (over: Partial<ServiceInfo> = {}): ServiceInfo => ({
  state: 'running',
  pid: 4,
  exit: 0,
  startType: 'auto',
  command: 'node',
  displayName: 'service',
  failure: { restarts_ms: [1000, 5000], resetAfter_s: 60 },
  ...over,
});
/** A pair on its primary, with everything as it should be. */
const well: Machine = {
  lacking: async () => [],
  mayAdministrate: async () => true,
  devices: async () => [device(3, 'netkvm'), device(4, 'iavf')],
  driverVersion: async () => '100.95.0.1',
  interfaces: async () => [row(3), row(4)],
  records: async () => [record()],
  bindings: async () => bound({ vioprot: true, ms_tcpip: false }),
  ours: async () => serviceInfo(),
  original: async () => null,
};

const stateDir = join(tmpdir(), 'netkvm-doctor-nowhere');
const look = async (over: Partial<Machine>, overrides: Overrides = {}): Promise<Record<string, Check>> => {
  const configuration = loadConfig(null, { 'service.stateDir': stateDir, 'policy.effects': 'on', ...overrides });
  // Its adapters are for Windows.
  const checks = Object.fromEntries(
    Object.entries(windowsChecks({ ...well, ...over })).filter(([name]) => name !== 'foreignCalls'),
  );
  const made = await runChecks(checks, { configuration, thorough_bytes: 1 });
  return Object.fromEntries(made.map((one) => [one.name, one]));
};
const untouched = { 'policy.effects': 'off' };

test('where everything is right only the service itself is missing, and each check says what it saw', async () => {
  const all = await look({});
  expect(Object.values(all).filter(({ result }) => result !== 'ok')).toMatchObject([{ name: 'service', result: 'warning' }]);
  expect(Object.entries(all).map(([name, { text }]) => `${name}: ${text}`)).toEqual(
    expect.arrayContaining([
      'driver: Adapter #3, driver 100.95.0.1',
      `controlDevice: ${MAC} boundActive`,
      'protocol: VIOPROT is installed',
      `pairs: ${MAC}: primary Ethernet 4 (0000:00:04.0)`,
      'bindings: bound to VIOPROT alone: Ethernet 4 (0000:00:04.0)',
      'installed: the service is running; after a failure it is started again, after 1, 5 s',
    ]),
  );
});

const wrong: readonly (readonly [string, Partial<Machine>, string, 'warning' | 'failed', string])[] = [
  ['rights are missing', { mayAdministrate: async () => false }, 'permissions', 'failed', 'no administrator'],
  ['hints are missing', { lacking: async () => [{ name: 'X', reason: 'y' }] }, 'hints', 'warning', 'no word from X: y'],
  ['there is no NetKVM', { devices: async () => [device(4, 'iavf')] }, 'driver', 'warning', 'no network device is driven'],
  ['the driver has no control device', { records: async () => null }, 'controlDevice', 'failed', 'NETKVMD is not there'],
  ['no STANDBY feature', { records: async () => [record({ isStandby: false })] }, 'controlDevice', 'warning', 'STANDBY'],
  ['no VIOPROT', { bindings: async () => bound({ ms_tcpip: true }, false) }, 'protocol', 'failed', 'not installed'],
  ['a lock is held', { bindings: () => Promise.reject(new Error('locked by X')) }, 'protocol', 'failed', 'locked by X'],
  ['the standby is disabled', { interfaces: async () => [row(3, { up: false })] }, 'pairs', 'warning', 'is disabled'],
  ['the standby is not listed', { interfaces: async () => [row(4)] }, 'pairs', 'warning', 'no interface of the standby'],
  ['another MTU', { interfaces: async () => [row(3), row(4, { mtu: 9000 })] }, 'pairs', 'warning', 'has MTU 9000, '],
  [
    'two primaries',
    {
      devices: async () => [3, 4, 5].map((n) => device(n, n === 3 ? 'netkvm' : 'iavf')),
      interfaces: async () => [3, 4, 5].map((n) => row(n)),
    },
    'pairs',
    'warning',
    'two primaries, Ethernet 4 (0000:00:04.0) and Ethernet 5',
  ],
  ['VIOPROT is off', { bindings: async () => bound({ vioprot: false }) }, 'bindings', 'warning', 'is not bound to VIOPROT'],
  [
    'more is bound',
    { bindings: async () => bound({ vioprot: true, ms_tcpip: true, ms_pacer: false }) },
    'bindings',
    'warning',
    'and to ms_tcpip as well',
  ],
  [
    'a team has the primary',
    { bindings: async () => bound({ ms_implat: true }) },
    'bindings',
    'warning',
    'a NIC team (ms_implat)',
  ],
  ['nothing is installed', { ours: async () => null }, 'installed', 'warning', 'no service of ours'],
  ['it is disabled', { ours: async () => serviceInfo({ startType: 'disabled' }) }, 'installed', 'warning', 'is disabled'],
  [
    'nothing starts it again',
    { ours: async () => serviceInfo({ failure: { restarts_ms: [], resetAfter_s: 0 } }) },
    'installed',
    'warning',
    'after a failure nothing',
  ],
  ['netkvmp runs', { original: async () => serviceInfo() }, 'original', 'failed', 'it switches the same pairs'],
  ['netkvmp will run', { original: async () => serviceInfo({ state: 'stopped' }) }, 'original', 'warning', 'stopped, auto'],
];
test.each(wrong)('%s', async (_, over, name, result, text) => {
  const found = (await look(over))[name]!;
  expect(found).toMatchObject({ result, text: expect.stringContaining(text), todo: expect.stringMatching(/\.$/) });
});

test('what matters only when something is touched is no trouble otherwise', async () => {
  const { permissions, original, protocol } = await look(
    {
      mayAdministrate: async () => false,
      original: async () => serviceInfo(),
      bindings: async () => bound({ ms_tcpip: true }, false),
    },
    untouched,
  );
  expect([permissions!.result, original!.result, protocol!.result]).toEqual(['ok', 'ok', 'warning']);
  expect(
    (await look({ original: async () => serviceInfo({ state: 'stopped', startType: 'disabled' }) }))['original']!.result,
  ).toBe('ok');
});

test('a machine without a virtio adapter has no pair, and needs no control device', async () => {
  const { controlDevice, pairs, bindings } = await look({ devices: async () => [], records: async () => null });
  expect([controlDevice!.result, pairs!.text, bindings!.text]).toEqual([
    'ok',
    'there is no standby, and so no pair',
    'no primary is there',
  ]);
});
