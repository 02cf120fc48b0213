// From the bytes of one kernel uevent to what it says about network hardware: PCI functions, the devices on virtio, the
// place of a network interface, and the PTP clock whose removal is the first sign that a primary leaves. Pure; it never
// throws. uevents carry no MAC: they say where an adapter lives and who drives it, rtnetlink says what it is.
//
// SEQNUM is not checked for holes: the kernel counts it for all network namespaces together, so holes are normal.
// Source: lib/kobject_uevent.c (Linux), Documentation/ABI/testing/sysfs-uevent, drivers/pci/pci-driver.c (pci_uevent).

/** Where a network interface lives: bus and device as in sysfs, and the PCI function that is nearest to it. */
export interface Place {
  readonly bus: string | null;
  readonly device: string | null;
  readonly pci: string | null;
}

export type DriverAction = 'add' | 'remove' | 'bind' | 'unbind';
export type Uevent =
  | {
      readonly kind: 'pci';
      readonly action: DriverAction;
      readonly address: string;
      /** Whether the class is 0x02xxxx. */
      readonly network: boolean;
      /** `vendor:device`, lower case. */
      readonly id: string | null;
      readonly driver: string | null;
    }
  | {
      readonly kind: 'virtio';
      readonly action: DriverAction;
      readonly device: string;
      readonly pci: string | null;
      readonly driver: string | null;
    }
  | { readonly kind: 'net'; readonly action: 'add' | 'remove' | 'move'; readonly ifindex: number; readonly place: Place }
  | { readonly kind: 'ptpRemoved'; readonly pci: string }
  /** Well-formed, and of no use here. */
  | { readonly kind: 'ignored' }
  | { readonly kind: 'failed'; readonly failure: string };

const IGNORED: Uevent = { kind: 'ignored' };
const LONGEST = 256;
const PCI_ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

/** Reads a device path of sysfs, with or without its `/net/<name>` end: the last PCI address in it carries the device. */
export const placeOf = (path: string): Place => {
  const parts = path.replace(/\/net\/[^/]*$/, '').split('/');
  const device = (parts.at(-1) ?? '').slice(0, LONGEST);
  const pci = parts.findLast((part) => PCI_ADDRESS.test(part)) ?? null;
  if (device === pci) return { bus: 'pci', device, pci };
  return /^virtio\d+$/.test(device) ? { bus: 'virtio', device, pci } : { bus: null, device: null, pci };
};

type Fields = ReadonlyMap<string, string>;
const driverOf = (fields: Fields): string | null => fields.get('DRIVER')?.slice(0, LONGEST) || null;
const driverAction = (action: string): DriverAction | null =>
  action === 'add' || action === 'remove' || action === 'bind' || action === 'unbind' ? action : null;

const readPci = (fields: Fields, action: DriverAction): Uevent => {
  const address = fields.get('PCI_SLOT_NAME') ?? '';
  if (!PCI_ADDRESS.test(address)) return { kind: 'failed', failure: 'a PCI uevent without a PCI address' };
  const id = fields.get('PCI_ID')?.toLowerCase() ?? '';
  return {
    kind: 'pci',
    action,
    address,
    network: Number.parseInt(fields.get('PCI_CLASS') ?? '', 16) >>> 16 === 2,
    id: /^[0-9a-f]{4}:[0-9a-f]{4}$/.test(id) ? id : null,
    driver: driverOf(fields),
  };
};

const readNet = (fields: Fields, action: string, path: string): Uevent => {
  if (action !== 'add' && action !== 'remove' && action !== 'move') return IGNORED;
  const ifindex = Number(fields.get('IFINDEX'));
  if (!Number.isInteger(ifindex) || ifindex <= 0 || ifindex > 0x7fffffff)
    return { kind: 'failed', failure: 'a net uevent without an interface index' };
  return { kind: 'net', action, ifindex, place: placeOf(path) };
};

const read = (fields: Fields, action: string, path: string): Uevent => {
  // Written by a person into a `uevent` file (udevadm trigger): it repeats, it does not report.
  if (fields.has('SYNTH_UUID')) return IGNORED;
  const subsystem = fields.get('SUBSYSTEM');
  const change = driverAction(action);
  if (subsystem === 'net') return readNet(fields, action, path);
  if (subsystem === 'pci' && change !== null) return readPci(fields, change);
  if (subsystem === 'virtio' && change !== null) {
    const { device, pci } = placeOf(path);
    return device === null ? IGNORED : { kind: 'virtio', action: change, device, pci, driver: driverOf(fields) };
  }
  if (subsystem === 'ptp' && action === 'remove') {
    const { pci } = placeOf(path);
    return pci === null ? IGNORED : { kind: 'ptpRemoved', pci };
  }
  return IGNORED;
};

const latin1 = new TextDecoder('latin1');
const LIBUDEV = 'libudev';

/**
 * Reads `ACTION@DEVPATH`, then `KEY=value` strings, each ended by a NUL. A message that lacks its end, its SEQNUM (the
 * last key that the kernel writes) or agreement between its head and its keys was cut or is not from the kernel.
 */
export const decodeUevent = (bytes: Uint8Array): Uevent => {
  const all = latin1.decode(bytes);
  if (all.startsWith(LIBUDEV)) return IGNORED; // udev's own format, for its own listeners.
  const strings = all.split('\0');
  const [head = ''] = strings;
  if (strings.pop() !== '') return { kind: 'failed', failure: 'a uevent without its end' };
  const fields = new Map<string, string>();
  for (const pair of strings.slice(1)) {
    const equals = pair.indexOf('=');
    if (equals > 0) fields.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const action = fields.get('ACTION');
  const path = fields.get('DEVPATH');
  if (action === undefined || path === undefined || head !== `${action}@${path}` || !fields.has('SEQNUM'))
    return { kind: 'failed', failure: 'not a whole kernel uevent' };
  return read(fields, action, path);
};
