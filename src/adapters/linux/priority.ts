// Real-time priority: a process that has it is scheduled at once, whoever else wants the CPU. Every thread of the process gets
// it, and later ones inherit it. Sources: sched(7), sched_setscheduler(2), Documentation/ABI/testing/sysfs-ptp.
import { existsSync, readdirSync } from 'node:fs';
import { errno, errnoName, libc } from './libc.ts';

const SCHED = { other: 0, fifo: 1 } as const;

/** `priority` is 1 to 99, or 0 for none. Null when it is so; otherwise why not, and then nothing is changed. */
export const setPriority = (priority: number): string | null => {
  const policy = priority === 0 ? SCHED.other : SCHED.fifo;
  const parameter = Uint32Array.of(priority);
  for (const task of readdirSync('/proc/self/task')) {
    if (libc().sched_setscheduler(Number(task), policy, parameter) === 0) continue;
    const code = errnoName(errno());
    if (code === 'ESRCH') continue; // The thread has ended meanwhile.
    return `sched_setscheduler: ${code}${code === 'EPERM' ? ' (it takes CAP_SYS_NICE, or RLIMIT_RTPRIO)' : ''}`;
  }
  return null;
};

/** Whether the PCI device (`0000:02:00.0`) has a PTP hardware clock. */
export const hasClock = (device: string, sysfs = '/sys'): boolean =>
  /^[0-9a-f:.]+$/.test(device) && existsSync(`${sysfs}/bus/pci/devices/${device}/ptp`);
