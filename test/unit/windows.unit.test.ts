// The pure half of the Windows adapter: what bytes of Windows and of NETKVM mean, and what a look tells when it is compared
// with the one before. It runs on every system; what calls Win32 is tried under Wine (test/e2e/wine).
import { describe, expect, test } from 'vitest';
import { NetCfg } from '../../src/adapters/windows/bindings.ts';
import { pciAddress, pciIdOf, type NetworkDevice } from '../../src/adapters/windows/devices.ts';
import { decodeRecords, encodeSetLink, recordOf } from '../../src/adapters/windows/driver.ts';
import { decodeRow, type Interface } from '../../src/adapters/windows/interfaces.ts';
import { WindowsEffects } from '../../src/adapters/windows/effects.ts';
import { guidBytes, guidText } from '../../src/adapters/windows/win32.ts';
import { type Look, World } from '../../src/adapters/windows/world.ts';
import type { DriverFacts } from '../../src/events/catalogue.ts';
import { netkvmState } from '../../src/machines/netkvm-state.ts';
import { adapter } from '../given.ts';

const MAC = '52:54:00:11:22:33';

/** Index as in the driver package: virtio 1, isStandby 2, virtioLink 4, suppressLink 8, started 16, hasVf 32, vfLink 64. */
const row = (index: number): Buffer => {
  const bytes = Buffer.alloc(64);
  Buffer.from(MAC.replaceAll(':', ''), 'hex').copy(bytes);
  for (const [at, bit] of [1, 2, 4, 8, 16, 32].entries()) bytes[6 + at] = (index & bit) === 0 ? 0 : 1;
  bytes.writeUInt32LE(0xfffffffe, 12);
  bytes[16] = (index & 64) === 0 ? 0 : 1;
  return bytes;
};

describe('records of NETKVMD', () => {
  test('each of the 128 combinations reads back as it was written', () => {
    for (let index = 0; index < 128; index += 1) {
      const [facts] = decodeRecords(row(index));
      const { virtio, isStandby, virtioLink, suppressLink, started, hasVf, vfLink } = facts!;
      const flags = [virtio, isStandby, virtioLink, suppressLink, started, hasVf, vfLink];
      expect(flags.reduce((sum, flag, at) => sum + (flag ? 1 << at : 0), 0)).toBe(index);
      expect([facts!.mac, facts!.vfIfIndex]).toEqual([MAC, 0xfffffffe]);
    }
    expect(netkvmState(decodeRecords(row(111))[0]!)).toBe('boundInitial');
  });

  test('an answer that is no whole number of records is none', () => {
    expect(() => decodeRecords(Buffer.alloc(127))).toThrow('127 bytes, which is no multiple of the 64');
    expect(decodeRecords(Buffer.alloc(0))).toEqual([]);
  });

  test('of two records with one MAC the one with a virtio adapter counts', () => {
    const [lone, pair] = [row(32), row(1)].flatMap(decodeRecords) as [DriverFacts, DriverFacts];
    expect(recordOf([lone, pair], MAC)).toBe(pair);
    expect(recordOf([lone], MAC)).toBe(lone);
    expect(recordOf([pair], '52:54:00:00:00:00')).toBeUndefined();
  });

  test('SET_LINK is seven bytes', () => {
    expect(encodeSetLink(MAC, true).toString('hex')).toBe('52540011223301');
    expect(encodeSetLink(MAC, false).toString('hex')).toBe('52540011223300');
  });
});

describe('MIB_IF_ROW2', () => {
  const bytes = (over: (row: Buffer) => void = () => {}): Buffer => {
    const out = Buffer.alloc(1352);
    out.writeUInt32LE(12, 8);
    guidBytes('{01234567-89ab-cdef-0123-456789abcdef}').copy(out, 12);
    out.write('Ethernet 2\0', 28, 'utf16le');
    out.writeUInt32LE(6, 1056);
    Buffer.from('525400112233', 'hex').copy(out, 1060);
    Buffer.from('525400112234', 'hex').copy(out, 1092);
    for (const [at, value] of [
      [1124, 1500],
      [1128, 6],
      [1160, 1],
      [1164, 1],
    ] as const)
      out.writeUInt32LE(value, at);
    // InUcastPkts, InNUcastPkts, InDiscards, OutUcastPkts, OutNUcastPkts, OutDiscards.
    [1216, 1224, 1232, 1288, 1296, 1304].forEach((at, n) => out.writeBigUInt64LE(10n ** BigInt(n), at));
    over(out);
    return out;
  };

  test('an Ethernet adapter', () => {
    expect(decodeRow(bytes())).toEqual({
      ifindex: 12,
      guid: '{01234567-89ab-cdef-0123-456789abcdef}',
      alias: 'Ethernet 2',
      mac: MAC,
      permMac: '52:54:00:11:22:34',
      mtu: 1500,
      up: true,
      carrier: true,
      counters: { rxPackets: '11', rxDropped: '100', txPackets: '11000', txDropped: '100000' },
    });
  });

  test('a filter above an adapter, a loopback, and one without MAC', () => {
    expect(decodeRow(bytes((out) => out.writeUInt8(2, 1152)))).toBeNull();
    expect(decodeRow(bytes((out) => out.writeUInt32LE(24, 1128)))).toBeNull();
    expect(decodeRow(bytes((out) => out.writeUInt32LE(0, 1056)))?.mac).toBeNull();
    expect(decodeRow(bytes((out) => out.writeUInt32LE(2, 1164)))?.carrier).toBe(false);
  });
});

test('GUIDs keep their order of bytes', () => {
  const text = '{4d36e972-e325-11ce-bfc1-08002be10318}';
  expect(guidBytes(text).toString('hex')).toBe('72e9364d25e3ce11bfc108002be10318');
  expect(guidText(guidBytes(text.toUpperCase()))).toBe(text);
  expect(() => guidBytes('{4d36e972}')).toThrow('is no GUID');
});

test('where a PCI device sits, by its bus or by its location in any language', () => {
  const id = 'PCI\\VEN_8086&DEV_1889&SUBSYS_00008086&REV_02\\3&11583659&0&10';
  expect(pciAddress(id, 3, (16 << 16) | 1, null)).toBe('0000:03:10.1');
  expect(pciAddress(id, null, null, 'PCI-Bus 3, Gerät 16, Funktion 1')).toBe('0000:03:10.1');
  expect(pciAddress(id, null, null, '@System32\\drivers\\pci.sys,#65536;PCI bus %1, device %2, function %3;(3,16,1)')).toBe(
    '0000:03:10.1',
  );
  expect(pciAddress(id, null, null, 'somewhere')).toBeNull();
  expect(pciAddress('ROOT\\NET\\0000', 0, 0, null)).toBeNull();
  expect(pciIdOf(id)).toBe('8086:1889');
});

describe('looks', () => {
  const still = { rxPackets: '0', rxDropped: '0', txPackets: '0', txDropped: '0' };
  const one = (ifindex: number, guid: string): Interface => ({
    ifindex,
    guid,
    alias: `Ethernet ${ifindex}`,
    mac: MAC,
    permMac: MAC,
    mtu: 1500,
    up: true,
    carrier: true,
    counters: still,
  });
  const device = (guid: string, service: string, slot: number): NetworkDevice => ({
    instanceId: `PCI\\VEN_8086&DEV_1889\\${slot}`,
    description: service,
    friendlyName: null,
    location: null,
    uiNumber: null,
    service,
    softwareKey: null,
    guid,
    pci: `0000:00:0${slot}.0`,
    pciId: '8086:1889',
  });
  const record = (over: Partial<DriverFacts> = {}): DriverFacts => ({
    mac: MAC,
    virtio: true,
    isStandby: true,
    virtioLink: true,
    suppressLink: true,
    started: false,
    hasVf: false,
    vfIfIndex: 0,
    vfLink: false,
    ...over,
  });
  const nothing: Look = {
    interfaces: [],
    devices: [],
    records: [],
    bindings: { installed: true, adapters: {} },
    original: false,
    addresses: [],
    withoutBindings: false,
    acting: false,
  };
  const alone: Look = { ...nothing, interfaces: [one(3, '{a}')], devices: [device('{a}', 'netkvm', 3)], records: [record()] };
  const taken = record({ hasVf: true, vfIfIndex: 4, vfLink: true });
  const both: Look = {
    ...alone,
    interfaces: [one(3, '{a}'), one(4, '{b}')],
    devices: [device('{a}', 'netkvm', 3), device('{b}', 'iavf', 4)],
    records: [taken],
  };
  const known = { installed: true, adapters: { 'PCI\\VEN_8086&DEV_1889\\4': { vioprot: true, ms_tcpip: false } } };

  test('the first look is a survey, after what a survey does not carry; the next one tells what differs', () => {
    const world = new World();
    expect(world.take(alone, 'started').map(({ type }) => type)).toEqual([
      'protocol.installed',
      'controller.seen',
      'survey.taken',
      'counters.sampled',
    ]);
    expect(world.take(alone, null)).toEqual([]);
    const now = { ...alone, original: true, records: [record({ suppressLink: false })] };
    expect(world.take(now, null)).toEqual([
      { type: 'controller.seen', data: { name: 'netkvmp', running: true } },
      { type: 'driver.facts', data: record({ suppressLink: false }) },
    ]);
  });

  test('counters of cards are told with a survey, where they moved', () => {
    const world = new World();
    const bridge = one(9, '{none}');
    const counted = (tx: string): Look => ({
      ...alone,
      interfaces: [{ ...one(3, '{a}'), counters: { ...still, txPackets: tx } }, bridge],
    });
    const told = (look: Look, reason: string | null): unknown[] =>
      world.take(look, reason).filter(({ type }) => type === 'counters.sampled');
    const data = { ifindex: 3, ...still };
    expect(told(counted('1'), 'started')).toEqual([{ type: 'counters.sampled', data: { ...data, txPackets: '1' } }]);
    expect(told(counted('2'), null)).toEqual([]);
    expect(told(counted('3'), 'periodic')).toEqual([{ type: 'counters.sampled', data: { ...data, txPackets: '3' } }]);
    expect(told(counted('3'), 'periodic')).toEqual([]);
  });

  test('a VF is told with its bindings, and the record that speaks of it not before', () => {
    const world = new World();
    world.take(alone, 'started');
    expect(world.lacksBindings(both)).toBe(true);
    expect(world.take(both, null).map(({ type }) => type)).toEqual(['pci.added']);
    const told = world.take({ ...both, bindings: known }, null);
    expect(told.map(({ type }) => type)).toEqual(['adapter.appeared', 'driver.facts']);
    expect(told[0]?.data).toMatchObject({ ifindex: 4, bus: 'pci', protocols: { vioprot: true, ms_tcpip: false } });
    expect(world.lacksBindings({ ...both, bindings: known })).toBe(false);
  });

  test('when INetCfg does not answer for long, it is told without them', () => {
    const world = new World();
    world.take(alone, 'started');
    const told = world.take({ ...both, withoutBindings: true }, null);
    expect(told.map(({ type }) => type)).toEqual(['adapter.appeared', 'pci.added', 'driver.facts']);
  });

  test('a NIC that shares its MAC with no standby waits for nothing', () => {
    const world = new World();
    world.take({ ...nothing, bindings: null }, 'started');
    const look = { ...nothing, bindings: null, interfaces: [one(4, '{b}')], devices: [device('{b}', 'iavf', 4)] };
    expect(world.take(look, null).map(({ type }) => type)).toEqual(['adapter.appeared', 'pci.added']);
  });

  test('a device that leaves SetupAPI before its interface goes is told as it was, then gone', () => {
    const world = new World();
    world.take({ ...both, bindings: known }, 'started');
    const leaving = { ...both, bindings: known, devices: alone.devices, records: [record({ suppressLink: false })] };
    expect(world.take(leaving, null).map(({ type }) => type)).toEqual(['pci.removed', 'departure.signalled', 'driver.facts']);
    expect(world.take({ ...leaving, interfaces: alone.interfaces }, null)).toEqual([
      { type: 'adapter.gone', data: { ifindex: 4 } },
    ]);
  });

  test('a VF that the driver lets go although it is bound is about to leave; one that somebody has unbound is not', () => {
    const letGo = { ...both, records: [record({ suppressLink: false })] };
    const tell = (look: Look): string[] => {
      const world = new World();
      world.take({ ...both, bindings: known }, 'started');
      expect(world.wasRebound(look)).toBe(true);
      return world.take(look, null).map(({ type }) => type);
    };
    const unbound = { installed: true, adapters: { 'PCI\\VEN_8086&DEV_1889\\4': { vioprot: false, ms_tcpip: false } } };
    expect(tell({ ...letGo, bindings: known })).toEqual(['departure.signalled', 'driver.facts']);
    expect(tell({ ...letGo, bindings: { installed: true, adapters: {} } })).toContain('departure.signalled');
    expect(tell({ ...letGo, bindings: unbound })).not.toContain('departure.signalled');
    expect(tell({ ...letGo, bindings: known, acting: true })).toEqual(['driver.facts']);
    expect(tell({ ...letGo, bindings: { installed: false, adapters: {} } })).not.toContain('departure.signalled');
  });

  test('another card at a known index is another adapter', () => {
    const world = new World();
    world.take({ ...both, bindings: known }, 'started');
    const other = { ...device('{c}', 'iavf', 4), instanceId: 'PCI\\VEN_15B3&DEV_101E\\4' };
    const look = { ...both, interfaces: [one(3, '{a}'), one(4, '{c}')], devices: [alone.devices[0]!, other] };
    const bindings = { installed: true, adapters: { 'PCI\\VEN_15B3&DEV_101E\\4': { vioprot: true } } };
    const told = world.take({ ...look, bindings }, null).map(({ type }) => type);
    expect(told.slice(0, 2)).toEqual(['adapter.gone', 'adapter.appeared']);
  });
});

test.each(['holdLink', 'releaseLink'] as const)('%s for a standby whose place another one has taken is void', async (kind) => {
  const there = adapter(12, { mac: MAC, bus: 'virtio', device: 'PCI\\1' });
  const standby = { ifindex: 11, mac: MAC, device: 'PCI\\1', pci: null, arrival: 3 };
  const none = { primary: null, master: null, attempt: 1, mode: 'netkvm' } as const;
  const effects = new WindowsEffects(new NetCfg(), { adapters: () => [there], refresh: () => Promise.resolve() });
  const ledger = { open: [], owe: () => Promise.reject(new Error()), settle: () => {} };
  const { signal } = new AbortController();
  expect(await effects.perform({ id: 'd1.0', pair: MAC, kind, standby, ...none }, signal, ledger)).toEqual({
    result: 'void',
    reason: 'the standby is gone',
    observed: false,
  });
});

describe.skipIf(process.platform === 'win32')('INetCfg in a process of its own, on a system that has none', () => {
  test('a process that ends is an answer, and so are a deadline and an interruption; the next request gets a new one', async () => {
    const netcfg = new NetCfg();
    const [ended, late] = [netcfg.ask({ op: 'read' }, 20_000), netcfg.ask({ op: 'read' }, 1)];
    expect(await ended).toEqual({ ok: false, why: 'failed', text: 'the process that calls INetCfg has ended' });
    expect(await late).toEqual({ ok: false, why: 'failed', text: 'timeout: INetCfg did not answer read in 1 ms' });
    expect(await netcfg.ask({ op: 'read' }, 20_000, AbortSignal.timeout(1))).toMatchObject({ text: 'interrupted' });
    netcfg.close();
    expect(await netcfg.ask({ op: 'read' }, 20_000)).toMatchObject({ text: 'the adapter is closed' });
  });

  test('more requests than may wait are refused', async () => {
    const netcfg = new NetCfg();
    const asked = Array.from({ length: 66 }, () => netcfg.ask({ op: 'read' }, 1));
    netcfg.close();
    const texts = (await Promise.all(asked)).map((answer) => (answer.ok ? '' : answer.text));
    expect(texts.filter((text) => text.endsWith('are waiting already'))).toHaveLength(2);
    expect(texts.filter((text) => text === 'interrupted before it began')).toHaveLength(64);
  });
});
