// Real-time priority: a process that has it is scheduled at once, whoever else wants the CPU. Every thread of the process gets
// it, and later ones inherit it. Sources: sched(7), sched_setscheduler(2), Documentation/ABI/testing/sysfs-ptp.
import { existsSync, readdirSync } from 'node:fs';
import { errno, errnoName, libc } from './libc.ts';

const SCHED = { other: 0, fifo: 1 } as const;
/** The calling thread, to sched_setscheduler. */
const THIS_THREAD = 0;

let now = 0;
let calmed = false;

const schedule = (task: number, priority: number): number =>
  libc().sched_setscheduler(task, priority === 0 ? SCHED.other : SCHED.fifo, Uint32Array.of(priority));

/** `priority` is 1 to 99, or 0 for none. Null when it is so; otherwise why not, and then nothing is changed. */
export const setPriority = (priority: number): string | null => {
  for (const task of readdirSync('/proc/self/task')) {
    if (schedule(Number(task), priority) === 0) continue;
    const code = errnoName(errno());
    if (code === 'ESRCH') continue; // The thread has ended meanwhile.
    return `sched_setscheduler: ${code}${code === 'EPERM' ? ' (it takes CAP_SYS_NICE, or RLIMIT_RTPRIO)' : ''}`;
  }
  now = priority;
  return null;
};

/**
 * Lets the kernel's own work come first, until `urge`: a link that changed, other than a device that announces something, may
 * have lost its carrier, and a lone CPU is then the bond's monitor's.
 */
export const calm = (): void => {
  if (now > 0 && !calmed) calmed = schedule(THIS_THREAD, 0) === 0;
};
export const urge = (): void => {
  if (calmed) calmed = schedule(THIS_THREAD, now) !== 0;
};

/** Whether the PCI device (`0000:02:00.0`) has a PTP hardware clock. */
export const hasClock = (device: string, sysfs = '/sys'): boolean =>
  /^[0-9a-f:.]+$/.test(device) && existsSync(`${sysfs}/bus/pci/devices/${device}/ptp`);
