// Real-time priority, where the configuration asks for it and the system allows it: an early sign of a departure is a race
// with the driver's own removal, and only a process that is scheduled at once wins it. Every thread of the process gets it;
// later ones inherit it. Sources: sched(7), sched_setscheduler(2).
import { readdirSync } from 'node:fs';
import { errno, errnoName, libc } from './libc.ts';

const SCHED_FIFO = 1;

/** `priority` is 1 to 99. Null when it is so; otherwise why not, and then nothing is changed. */
export const takeRealTimePriority = (priority: number): string | null => {
  const parameter = Uint32Array.of(priority);
  for (const task of readdirSync('/proc/self/task')) {
    if (libc().sched_setscheduler(Number(task), SCHED_FIFO, parameter) === 0) continue;
    const code = errnoName(errno());
    if (code === 'ESRCH') continue; // The thread has ended meanwhile.
    return `sched_setscheduler: ${code}${code === 'EPERM' ? ' (it takes CAP_SYS_NICE, or RLIMIT_RTPRIO)' : ''}`;
  }
  return null;
};
