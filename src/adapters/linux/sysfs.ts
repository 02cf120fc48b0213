// What sysfs adds to a netlink survey: PCI functions of the network class with their drivers, the virtio devices on them,
// and the place of each interface where the kernel's link messages do not name it (before Linux 5.14). Read
// synchronously, so that no message is handled in between; a few dozen small files. Whatever cannot be read is left out.
// Sources: Documentation/ABI/testing/sysfs-bus-pci, sysfs-class-net.
import { readFileSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Adapter, PciFunction } from '../../events/catalogue.ts';
import { macFromBytes } from '../../events/mac.ts';
import type { Inventory } from './observer.ts';
import { placeOf } from './uevent.ts';
import type { InterfacePlace, Parent } from './whereabouts.ts';

const attempt = <T>(read: () => T): T | null => {
  try {
    return read();
  } catch {
    return null; // Gone meanwhile, or not there on this machine: a uevent or the next survey will tell.
  }
};
const list = (path: string): string[] => attempt(() => readdirSync(path)) ?? [];
const file = (path: string): string | null => attempt(() => readFileSync(path, 'utf8').trim());
const target = (path: string): string | null => attempt(() => basename(readlinkSync(path)));

const pciFunctions = (root: string): PciFunction[] =>
  list(join(root, 'bus/pci/devices')).flatMap((address) => {
    const at = join(root, 'bus/pci/devices', address);
    if (!file(join(at, 'class'))?.startsWith('0x02')) return [];
    const [vendor, device] = [file(join(at, 'vendor')), file(join(at, 'device'))];
    const id = vendor === null || device === null ? null : `${vendor.slice(2)}:${device.slice(2)}`;
    return [{ address, id, driver: target(join(at, 'driver')) }];
  });

const virtioDevices = (root: string): Parent[] =>
  list(join(root, 'bus/virtio/devices')).flatMap((device) => {
    const at = join(root, 'bus/virtio/devices', device);
    const path = attempt(() => realpathSync(at));
    return path === null ? [] : [{ bus: 'virtio', device, pci: placeOf(path).pci, driver: target(join(at, 'driver')) }];
  });

/**
 * The place of an interface by its name. In a network namespace that still sees the sysfs of another one, the name may
 * be another interface there: index and MAC must agree.
 */
const interfacePlace = (root: string, { ifindex, name, mac }: Adapter): InterfacePlace | null => {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) return null;
  const at = join(root, 'class/net', name);
  if (file(join(at, 'ifindex')) !== String(ifindex)) return null;
  const bytes = (file(join(at, 'address')) ?? '').split(':').map((pair) => Number.parseInt(pair, 16));
  if (macFromBytes(Uint8Array.from(bytes)) !== mac) return null;
  const path = attempt(() => realpathSync(join(at, 'device')));
  if (path === null) return null;
  const place = placeOf(path);
  const bus = place.bus ?? target(join(at, 'device/subsystem'));
  return { ifindex, bus, device: basename(path), pci: place.pci, driver: target(join(at, 'device/driver')) };
};

/** `adapters` are those of the dump that this completes; `root` is `/sys`. */
export const readInventory = (adapters: readonly Adapter[], root = '/sys'): Inventory => {
  const functions = pciFunctions(root);
  // Once the kernel names one parent it names them all, and an adapter without one is virtual.
  const named = adapters.some(({ bus }) => bus !== null);
  return {
    functions,
    parents: [
      ...functions.map(({ address, driver }) => ({ bus: 'pci', device: address, pci: address, driver })),
      ...virtioDevices(root),
    ],
    // On pci and virtio the lists above say all; elsewhere (USB, Hyper-V) only the interface itself names the driver.
    places: adapters.flatMap((adapter) => {
      if (adapter.bus === 'pci' || adapter.bus === 'virtio' || (named && adapter.bus === null)) return [];
      return interfacePlace(root, adapter) ?? [];
    }),
  };
};
