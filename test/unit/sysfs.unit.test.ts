import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Adapter } from '../../src/events/catalogue.ts';
import { readInventory } from '../../src/adapters/linux/sysfs.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'netkvm-sysfs-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const file = (path: string, text: string): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), `${text}\n`);
};
const link = (path: string, target: string): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  mkdirSync(join(root, target), { recursive: true });
  symlinkSync(join(root, target), join(root, path));
};
const pci = (address: string, kind: string, driver: string | null): void => {
  const at = `devices/pci0000:00/${address}`;
  file(`${at}/class`, kind);
  file(`${at}/vendor`, '0x8086');
  file(`${at}/device`, '0x10d3');
  if (driver !== null) link(`${at}/driver`, `bus/pci/drivers/${driver}`);
  link(`bus/pci/devices/${address}`, at);
};
const adapter = (ifindex: number, name: string, bus: string | null = null): Adapter => ({
  ifindex,
  name,
  mac: '52:54:00:11:22:33',
  permMac: null,
  bus,
  device: null,
  pci: null,
  driver: null,
  mtu: 1500,
  up: true,
  carrier: true,
  master: null,
  kind: null,
  bond: null,
  slave: null,
  protocols: null,
});
const netdev = (name: string, ifindex: number, device: string): void => {
  file(`class/net/${name}/ifindex`, String(ifindex));
  file(`class/net/${name}/address`, '52:54:00:11:22:33');
  link(`class/net/${name}/device`, device);
};

test('PCI functions of the network class, with and without a driver, and virtio devices', () => {
  pci('0000:02:00.0', '0x020000', 'e1000e');
  pci('0000:03:00.0', '0x020000', null);
  pci('0000:04:00.0', '0x010802', 'nvme');
  link('bus/virtio/devices/virtio1', 'devices/pci0000:00/0000:01:00.0/virtio1');
  link('devices/pci0000:00/0000:01:00.0/virtio1/driver', 'bus/virtio/drivers/virtio_net');
  const { functions, parents, places } = readInventory([], root);
  expect(functions).toEqual([
    { address: '0000:02:00.0', id: '8086:10d3', driver: 'e1000e' },
    { address: '0000:03:00.0', id: '8086:10d3', driver: null },
  ]);
  expect(parents).toContainEqual({ bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0', driver: 'virtio_net' });
  expect(parents).toContainEqual({ bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0', driver: 'e1000e' });
  expect(places).toEqual([]);
});

test('an adapter whose parent netlink does not name is looked up by name, index and MAC', () => {
  pci('0000:02:00.0', '0x020000', 'e1000e');
  netdev('eth0', 2, 'devices/pci0000:00/0000:02:00.0');
  expect(readInventory([adapter(2, 'eth0')], root).places).toEqual([
    { ifindex: 2, bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0', driver: 'e1000e' },
  ]);
  // The sysfs of another network namespace: same name, another interface.
  expect(readInventory([adapter(3, 'eth0')], root).places).toEqual([]);
  expect(readInventory([{ ...adapter(2, 'eth0'), mac: null }], root).places).toEqual([]);
  // Once one parent is named, an adapter without one is virtual.
  expect(readInventory([adapter(2, 'eth0'), adapter(9, 'eth9', 'pci')], root).places).toEqual([]);
});

test('no sysfs, half a sysfs and hostile names give what can be read', () => {
  expect(readInventory([adapter(1, '../../etc'), adapter(2, '..'), adapter(3, '')], root)).toEqual({
    functions: [],
    parents: [],
    places: [],
  });
  file('bus/pci/devices/0000:02:00.0/class', '0x020000');
  expect(readInventory([], root).functions).toEqual([{ address: '0000:02:00.0', id: null, driver: null }]);
});
