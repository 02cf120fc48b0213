import { describe, expect, test } from 'vitest';
import { decodeUevent, placeOf } from '../../src/adapters/linux/uevent.ts';
import { recorded, SCENARIOS, uevent } from './netlink-make.ts';

const SLOT = '/devices/pci0000:00/0000:00:05.0/0000:02:00.0';
const pci = { SUBSYSTEM: 'pci', PCI_CLASS: '20000', PCI_ID: '8086:10D3', PCI_SLOT_NAME: '0000:02:00.0' };

describe('real uevents', () => {
  test('of a migration: the life of the primary, function by function', () => {
    const events = recorded('b-migration').flatMap(({ source, bytes }) => (source === 'uevent' ? [decodeUevent(bytes)] : []));
    const told = events.flatMap((event) => {
      if (event.kind === 'pci') return [`${event.action} ${event.address} ${event.id} ${event.driver} ${event.network}`];
      if (event.kind === 'net')
        return [`${event.action} #${event.ifindex} on ${event.place.bus} ${event.place.device} ${event.place.pci}`];
      if (event.kind === 'virtio') return [`${event.action} ${event.device} ${event.pci} ${event.driver}`];
      return event.kind === 'ptpRemoved' ? [`ptp ${event.pci}`] : [];
    });
    expect(told).toEqual([
      'add 0000:02:00.0 8086:10d3 null true',
      'add #2 on virtio virtio1 0000:01:00.0',
      'add #3 on virtio virtio1 0000:01:00.0',
      'bind virtio1 0000:01:00.0 virtio_net',
      'add #4 on pci 0000:02:00.0 0000:02:00.0',
      'bind 0000:02:00.0 8086:10d3 e1000e true',
      'ptp 0000:02:00.0',
      'remove #4 on pci 0000:02:00.0 0000:02:00.0',
      'unbind 0000:02:00.0 8086:10d3 null true',
      'remove 0000:02:00.0 8086:10d3 null true',
      'add 0000:02:00.0 8086:10d3 null true',
      'add #5 on pci 0000:02:00.0 0000:02:00.0',
      'bind 0000:02:00.0 8086:10d3 e1000e true',
    ]);
    expect(events.filter(({ kind }) => kind === 'failed')).toEqual([]);
  });

  test('cut at every length, or with any byte changed, they never throw', () => {
    for (const scenario of SCENARIOS) {
      const whole = recorded(scenario).find(
        ({ source, bytes }) => source === 'uevent' && decodeUevent(bytes).kind === 'pci',
      )?.bytes;
      if (whole === undefined) continue;
      for (let at = 0; at < whole.length; at += 1) {
        expect(decodeUevent(whole.slice(0, at)).kind).toBe('failed');
        const changed = whole.slice();
        changed[at] = (changed[at] ?? 0) ^ 0xff;
        decodeUevent(changed);
      }
    }
  });
});

test.each<[string, Uint8Array]>([
  ["udev's own format", new TextEncoder().encode('libudev\0\xfe\xed\xca\xfe')],
  ['a repetition that a person asked for', uevent('remove', SLOT, { ...pci, SYNTH_UUID: '0' })],
  ['another subsystem', uevent('add', '/devices/x', { SUBSYSTEM: 'block' })],
  ['another action', uevent('change', SLOT, pci)],
  ['a virtual PTP clock', uevent('remove', '/devices/virtual/ptp/ptp0', { SUBSYSTEM: 'ptp' })],
  ['a PTP clock that comes', uevent('add', `${SLOT}/ptp/ptp0`, { SUBSYSTEM: 'ptp' })],
])('%s is ignored', (_name, bytes) => {
  expect(decodeUevent(bytes)).toEqual({ kind: 'ignored' });
});

test.each<[string, Uint8Array]>([
  ['nothing', new Uint8Array()],
  ['noise', Uint8Array.from({ length: 300 }, (_, index) => (index * 7919) & 255)],
  ['a head that disagrees with its keys', uevent('add', SLOT, { ...pci, ACTION: 'remove' })],
  ['a PCI event without an address', uevent('add', SLOT, { SUBSYSTEM: 'pci', PCI_CLASS: '20000' })],
  ['a PCI event with a path for an address', uevent('add', SLOT, { ...pci, PCI_SLOT_NAME: '../../etc' })],
  ['an interface without an index', uevent('add', `${SLOT}/net/eth0`, { SUBSYSTEM: 'net', INTERFACE: 'eth0' })],
  ['an interface with a fraction', uevent('add', `${SLOT}/net/eth0`, { SUBSYSTEM: 'net', IFINDEX: '1.5' })],
])('%s is a failure', (_name, bytes) => {
  expect(decodeUevent(bytes)).toMatchObject({ kind: 'failed' });
});

test('only class 02xxxx is a network function', () => {
  const network = (PCI_CLASS: string): unknown => ({ ...decodeUevent(uevent('add', SLOT, { ...pci, PCI_CLASS })) });
  expect(network('20000')).toMatchObject({ network: true });
  expect(network('28000')).toMatchObject({ network: true });
  expect(network('120000')).toMatchObject({ network: false });
  expect(network('10802')).toMatchObject({ network: false });
  expect(network('')).toMatchObject({ network: false });
});

test('the place of a device is its last PCI address', () => {
  const virtio = { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0' };
  expect(placeOf('/devices/pci0000:00/0000:00:04.0/0000:01:00.0/virtio1/net/eth0')).toEqual(virtio);
  expect(placeOf(`${SLOT}/net/eth2`)).toEqual({ bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0' });
  expect(placeOf('/devices/virtual/net/lo')).toEqual({ bus: null, device: null, pci: null });
});
