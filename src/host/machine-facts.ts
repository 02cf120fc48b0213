// What the record says about the machine it was made on, and what tells a clone from its original.
import { readFileSync } from 'node:fs';
import { arch, hostname, release, type, version } from 'node:os';

const textOf = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8').trim() || null;
  } catch {
    return null;
  }
};

/** Loaded there only: it needs native code. */
const windows = process.platform === 'win32' ? await import('../adapters/windows/clocks.ts') : null;

/** Facts for `service.started` and the headers of recordings. */
export const hostFacts = (): Record<string, string> => ({
  name: hostname(),
  system: type(),
  kernel: release(),
  kernelVersion: version(),
  arch: arch(),
  node: process.versions.node,
});

/**
 * What a clone does not share with its original: machine-id(5), and the product UUID of DMI where it can be read (root
 * only); on Windows MachineGuid. A machine without either is always itself.
 */
export const machineId = (): string =>
  windows?.machineGuid() ??
  ([textOf('/etc/machine-id'), textOf('/sys/class/dmi/id/product_uuid')].filter((part) => part !== null).join('+') || 'unknown');

/** /proc/sys/kernel/random/boot_id, random(4). */
export const bootId = (): string => windows?.bootId() ?? textOf('/proc/sys/kernel/random/boot_id') ?? 'unknown';
