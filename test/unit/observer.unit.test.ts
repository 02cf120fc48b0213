import { describe, expect, test } from 'vitest';
import type { Observation } from '../../src/events/catalogue.ts';
import { dataProblem } from '../../src/events/check.ts';
import { observeEntry } from '../../src/adapters/linux/capture.ts';
import { Observer } from '../../src/adapters/linux/observer.ts';
import * as make from './netlink-make.ts';

const MAC = '52:54:00:11:22:33';
const SLOT = '/devices/pci0000:00/0000:00:05.0/0000:02:00.0';
const PCI = { SUBSYSTEM: 'pci', PCI_CLASS: '20000', PCI_ID: '8086:10D3', PCI_SLOT_NAME: '0000:02:00.0' };
const eth0 = make.joined(make.named('eth0'), make.attribute(54, make.mac(MAC)));
const kinds = (observations: readonly Observation[]): string[] => observations.map(({ type }) => type);

/** The last paragraph of what the guest itself said: name, index, MAC, master, PCI function and driver. */
const saidByGuest = (scenario: string): object[] => {
  const last =
    make
      .readText(`replay/recordings/raw/${scenario}/guest-state.txt`)
      .split(/^### .*$/m)
      .at(-1) ?? '';
  const lines = [...last.matchAll(/^(\S+) idx=(\d+) mac=(\S+) op=\S+ master=(\S*) dev=(\S+) drv=(\S*)$/gm)];
  return lines
    .map(([, name, index, mac, master, device = '', driver]) => ({
      name,
      ifindex: Number(index),
      mac: mac === '00:00:00:00:00:00' ? null : mac,
      master: master?.split('/').at(-1) || null,
      pci: device.split('/').findLast((part) => /^[0-9a-f]{4}:[0-9a-f]{2}:/.test(part)) ?? null,
      driver: driver || null,
    }))
    .toSorted((a, b) => a.ifindex - b.ifindex);
};
const told = (observer: Observer): object[] => {
  const { adapters } = observer.known();
  const nameOf = new Map(adapters.map(({ ifindex, name }) => [ifindex, name]));
  return adapters.map(({ name, ifindex, mac, master, pci, driver }) => {
    return { name, ifindex, mac, master: master === null ? null : nameOf.get(master), pci, driver };
  });
};

describe.each(make.SCENARIOS)('%s', (scenario) => {
  test('folded, it is what the guest itself said', () => {
    const observer = new Observer();
    const observations = make.recorded(scenario).flatMap((entry) => observeEntry(observer, entry));
    expect(told(observer)).toEqual(saidByGuest(scenario));
    for (const { type, data } of observations) expect(dataProblem(type, data)).toBeNull();
    expect(kinds(observations)).not.toContain('gap.seen');
  });

  test('every message twice changes nothing, but announces and removals are seen as often as they come', () => {
    const [once, twice] = [new Observer(), new Observer()];
    for (const entry of make.recorded(scenario)) {
      const expected = observeEntry(once, entry);
      expect(observeEntry(twice, entry)).toEqual(expected);
      const again = kinds(observeEntry(twice, entry));
      expect(again.filter((kind) => !['announce.seen', 'departure.signalled', 'pci.removed'].includes(kind))).toEqual([]);
    }
    expect(twice.known()).toEqual(once.known());
  });
});

test('a migration, observation by observation', () => {
  const observer = new Observer();
  const lines = make
    .recorded('b-migration')
    .flatMap((entry) => observeEntry(observer, entry).map((one) => ({ n: entry.n, one })));
  expect(lines.map(({ n, one }) => `${n} ${one.type} ${'ifindex' in one.data ? one.data.ifindex : ''}`.trim())).toEqual([
    '9 pci.added',
    '43 adapter.appeared 2',
    '47 adapter.appeared 3',
    '49 adapter.changed 2',
    '51 adapter.changed 2',
    '51 adapter.changed 3',
    '54 adapter.appeared 1',
    '59 adapter.appeared 4',
    '63 pci.bound',
    '63 adapter.changed 4',
    '64 adapter.changed 4',
    '66 adapter.changed 3',
    '68 adapter.changed 2',
    '70 adapter.changed 4',
    '72 departure.signalled',
    '73 adapter.changed 4',
    '76 adapter.gone 4',
    '80 pci.unbound',
    '82 pci.removed',
    '83 announce.seen 3',
    '86 pci.added',
    '87 announce.seen 3',
    '93 adapter.appeared 5',
    '94 adapter.changed 5',
    '98 announce.seen 3',
    '100 pci.bound',
    '100 adapter.changed 5',
    '103 announce.seen 3',
    '105 announce.seen 3',
    '107 adapter.changed 5',
  ]);
});

describe('links', () => {
  test('an unchanged message is silent, a changed one names only what changed', () => {
    const observer = new Observer();
    expect(kinds(observer.rtnetlink(make.link(2, {}, eth0)))).toEqual(['adapter.appeared']);
    expect(observer.rtnetlink(make.link(2, {}, eth0))).toEqual([]);
    expect(
      observer.rtnetlink(make.link(2, { up: true }, eth0, make.attribute(33, make.u8(1)), make.attribute(10, make.u32(9)))),
    ).toEqual([{ type: 'adapter.changed', data: { ifindex: 2, changed: { up: true, carrier: true, master: 9 } } }]);
    expect(observer.rtnetlink(make.link(2, { up: true }, eth0, make.attribute(33, make.u8(1))))).toEqual([
      { type: 'adapter.changed', data: { ifindex: 2, changed: { master: null } } },
    ]);
  });

  test('a partial message wipes nothing, and announces no adapter', () => {
    const observer = new Observer();
    const wireless = make.link(2, { up: true }, make.attribute(3, make.text('eth0')), make.attribute(11, new Uint8Array(8)));
    expect(observer.rtnetlink(wireless)).toEqual([]);
    observer.rtnetlink(make.link(2, {}, eth0, make.attribute(10, make.u32(9))));
    expect(observer.rtnetlink(wireless)).toEqual([{ type: 'adapter.changed', data: { ifindex: 2, changed: { up: true } } }]);
    expect(observer.known().adapters[0]).toMatchObject({ master: 9, permMac: MAC, mtu: 1500 });
  });

  test('one index, another device: the old one is gone, with its addresses', () => {
    const observer = new Observer();
    observer.rtnetlink(make.link(2, {}, eth0));
    observer.rtnetlink(make.address(2, [10, 0, 0, 1], 8));
    const other = make.joined(make.named('eth0'), make.attribute(54, make.mac('52:54:00:00:00:09')));
    expect(kinds(observer.rtnetlink(make.link(2, {}, other)))).toEqual(['address.removed', 'adapter.gone', 'adapter.appeared']);
    const veth = make.attribute(18, make.attribute(1, make.text('veth')));
    expect(kinds(observer.rtnetlink(make.link(2, {}, make.named('eth0'), veth)))).toEqual(['adapter.gone', 'adapter.appeared']);
    expect(kinds(observer.rtnetlink(make.link(2, { gone: true }, eth0)))).toEqual(['adapter.gone']);
    expect(observer.rtnetlink(make.link(2, { gone: true }, eth0))).toEqual([]);
  });

  test('a bridge port that goes is not a link that goes', () => {
    const observer = new Observer();
    observer.rtnetlink(make.link(2, {}, eth0));
    expect(observer.rtnetlink(make.link(2, { family: 7, gone: true }, eth0))).toEqual([]);
  });

  test('only NOTIFY_PEERS is an announce', () => {
    const observer = new Observer();
    observer.rtnetlink(make.link(2, {}, eth0));
    const heard = [2, 4, 5].flatMap((event) => observer.rtnetlink(make.link(2, {}, eth0, make.attribute(44, make.u32(event)))));
    expect(heard).toEqual([{ type: 'announce.seen', data: { ifindex: 2 } }]);
  });

  test('addresses come and go once', () => {
    const observer = new Observer();
    const data = { ifindex: 2, address: '10.77.0.2/24' };
    expect(observer.rtnetlink(make.address(2, [10, 77, 0, 2], 24))).toEqual([{ type: 'address.added', data }]);
    expect(observer.rtnetlink(make.address(2, [10, 77, 0, 2], 24))).toEqual([]);
    expect(observer.known().addresses).toEqual([data]);
    expect(observer.rtnetlink(make.address(2, [10, 77, 0, 2], 24, { gone: true }))).toEqual([{ type: 'address.removed', data }]);
    expect(observer.rtnetlink(make.address(2, [10, 77, 0, 2], 24, { gone: true }))).toEqual([]);
  });

  test('damage gives what was readable before it, then one gap', () => {
    const observer = new Observer();
    const bytes = make.joined(make.link(2, {}, eth0), make.link(3, {}, eth0).subarray(0, 20));
    expect(kinds(observer.rtnetlink(bytes))).toEqual(['adapter.appeared', 'gap.seen']);
    expect(observer.uevent(Uint8Array.of(1, 2, 3))).toMatchObject([{ type: 'gap.seen', data: { source: 'uevent' } }]);
    expect(kinds(observer.rtnetlink(make.message(4, 0, 0)))).toEqual(['gap.seen']);
  });
});

describe('devices', () => {
  const primary = make.link(4, {}, eth0, make.parent('pci', '0000:02:00.0'));
  const bind = make.uevent('bind', SLOT, { ...PCI, DRIVER: 'e1000e' });

  test('a driver that binds after the link, and one that binds before it', () => {
    const late = new Observer();
    expect(late.rtnetlink(primary)).toMatchObject([{ data: { pci: '0000:02:00.0', driver: null } }]);
    expect(late.uevent(bind)).toEqual([
      { type: 'pci.bound', data: { address: '0000:02:00.0', driver: 'e1000e' } },
      { type: 'adapter.changed', data: { ifindex: 4, changed: { driver: 'e1000e' } } },
    ]);
    const early = new Observer();
    early.uevent(bind);
    expect(early.rtnetlink(primary)).toMatchObject([{ data: { pci: '0000:02:00.0', driver: 'e1000e' } }]);
    expect(early.uevent(make.uevent('unbind', SLOT, PCI))).toEqual([
      { type: 'pci.unbound', data: { address: '0000:02:00.0' } },
      { type: 'adapter.changed', data: { ifindex: 4, changed: { driver: null } } },
    ]);
  });

  test('a virtio adapter: its PCI function from the path, its driver from the virtio device', () => {
    const observer = new Observer();
    const path = '/devices/pci0000:00/0000:00:04.0/0000:01:00.0/virtio1';
    observer.rtnetlink(make.link(2, {}, eth0, make.parent('virtio', 'virtio1')));
    expect(
      observer.uevent(make.uevent('add', `${path}/net/eth0`, { SUBSYSTEM: 'net', INTERFACE: 'eth0', IFINDEX: '2' })),
    ).toEqual([{ type: 'adapter.changed', data: { ifindex: 2, changed: { pci: '0000:01:00.0' } } }]);
    expect(observer.uevent(make.uevent('bind', path, { SUBSYSTEM: 'virtio', DRIVER: 'virtio_net' }))).toEqual([
      { type: 'adapter.changed', data: { ifindex: 2, changed: { driver: 'virtio_net' } } },
    ]);
  });

  test('a kernel that names no parents: the uevent alone places the adapter', () => {
    const observer = new Observer();
    observer.rtnetlink(make.link(4, {}, eth0));
    observer.uevent(make.uevent('add', `${SLOT}/net/eth0`, { SUBSYSTEM: 'net', INTERFACE: 'eth0', IFINDEX: '4' }));
    observer.uevent(bind);
    const placed = { bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0', driver: 'e1000e' };
    expect(observer.known().adapters[0]).toMatchObject(placed);
    expect(observer.rtnetlink(make.link(4, {}, eth0))).toEqual([]);
  });

  test('a PTP clock that goes is a sign only on a network function', () => {
    const observer = new Observer();
    const ptp = make.uevent('remove', `${SLOT}/ptp/ptp0`, { SUBSYSTEM: 'ptp', DEVNAME: 'ptp0' });
    expect(observer.uevent(ptp)).toEqual([]);
    observer.uevent(make.uevent('add', SLOT, PCI));
    const data = { address: '0000:02:00.0', sign: 'ptpRemoved' };
    expect(observer.uevent(ptp)).toEqual([{ type: 'departure.signalled', data }]);
  });

  test('functions of other classes are not reported, but their drivers are known', () => {
    const observer = new Observer();
    expect(observer.uevent(make.uevent('add', SLOT, { ...PCI, PCI_CLASS: '10802' }))).toEqual([]);
    expect(observer.known().functions).toEqual([]);
  });
});
