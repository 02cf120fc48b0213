// The kernel's log as a source of early signs: on native PCIe hotplug the kernel writes, five seconds before it powers a
// slot off, that its button was pressed (which is how a hypervisor asks). Which function that concerns, sysfs says. Only
// what is written from now on counts. Reading may be forbidden (kernel.dmesg_restrict without CAP_SYSLOG): then the sign is
// missing, and nothing else. Sources: Documentation/ABI/testing/dev-kmsg, drivers/pci/hotplug/pciehp_ctrl.c.
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errno, ERRNO, libc } from './libc.ts';

const SEEK_END = 2;
/** CONSOLE_EXT_LOG_MAX: a record is never longer. */
const RECORD_BYTES = 8192;
/** Records that a turn reads; the rest waits in the kernel. */
const TURN_LIMIT = 1024;

/** The name of the slot that a record says is being powered off, or null. A record is `6,seq,time,-;message`. */
export const slotPoweringOff = (record: string): string | null => {
  const message = record.slice(record.indexOf(';') + 1).split('\n', 1)[0] ?? '';
  if (!message.includes('pciehp') || /cancel/i.test(message)) return null;
  return /Slot\(([^)\s/]{1,64})\): .*power(?:ing)? off/i.exec(message)?.[1] ?? null;
};

/** The PCI device in a slot, `0000:02:00` without its function; null if sysfs does not say. */
export const deviceInSlot = (slot: string, sysfs = '/sys'): string | null => {
  if (slot === '.' || slot === '..' || slot.includes('/')) return null;
  try {
    const address = readFileSync(join(sysfs, 'bus/pci/slots', slot, 'address'), 'utf8').trim();
    return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}$/.test(address) ? address : null;
  } catch {
    return null;
  }
};

export class KernelLog {
  readonly fd: number;
  readonly #buffer = new Uint8Array(RECORD_BYTES);

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Null where it may not be read. */
  static open(path = '/dev/kmsg'): KernelLog | null {
    try {
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      libc().lseek(fd, 0, SEEK_END);
      return new KernelLog(fd);
    } catch {
      return null;
    }
  }

  /** The slots that the records written since the last call say are being powered off. */
  read(): string[] {
    const slots: string[] = [];
    for (let records = 0; records < TURN_LIMIT; records += 1) {
      const length = libc().read(this.fd, this.#buffer, RECORD_BYTES);
      if (length < 0 && errno() === ERRNO.EPIPE) continue; // Some were overwritten before they were read.
      if (length <= 0) break;
      const slot = slotPoweringOff(Buffer.from(this.#buffer.buffer, 0, length).toString('latin1'));
      if (slot !== null) slots.push(slot);
    }
    return slots;
  }

  close(): void {
    closeSync(this.fd);
  }
}
