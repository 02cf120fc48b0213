// When the service wants real-time priority, and what it does where it may not have it.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { calm, hasClock, setPriority, urge } from '../../src/adapters/linux/priority.ts';
import { Urgency } from '../../src/host/urgency.ts';
import { acting, bonded, surveyed, Teller } from '../given.ts';
import { cleanUp, folder } from './service.given.ts';

afterEach(cleanUp);

const pairOn = (active: 'standby' | 'primary') => {
  const teller = new Teller();
  const slave = (name: string) => ({ active: name === active, miiUp: true });
  teller.tell(
    acting(),
    surveyed(
      { ...bonded.bond, bond: { mode: 1, activeSlave: active === 'primary' ? 4 : 2 } },
      { ...bonded.standby, slave: slave('standby') },
      { ...bonded.primary, up: true, carrier: true, master: 9, slave: slave('primary') },
    ),
  );
  return [teller.pair];
};

test('only while a primary with a PTP clock carries', () => {
  const set: number[] = [];
  const asked: string[] = [];
  const clocks = new Set(['0000:02:00.0']);
  const hasOne = (device: string): boolean => asked.push(device) > 0 && clocks.has(device);
  const setTo = (priority: number): null => {
    set.push(priority);
    return null;
  };
  const urgency = new Urgency(20, { setPriority: setTo, hasClock: hasOne }, { degraded: () => {} });
  urgency.shows([]);
  urgency.shows(pairOn('standby'));
  expect([set, asked]).toEqual([[], []]);
  urgency.shows(pairOn('primary'));
  urgency.shows(pairOn('primary'));
  urgency.shows(pairOn('standby'));
  expect(set).toEqual([20, 0]);
  clocks.clear();
  urgency.shows(pairOn('primary'));
  expect(set).toEqual([20, 0]);
});

test('where it is not allowed that is said once, and not tried again', () => {
  const said: object[] = [];
  const scheduling = { setPriority: () => 'EPERM', hasClock: () => true };
  const urgency = new Urgency(20, scheduling, { degraded: (fields) => said.push(fields) });
  urgency.shows(pairOn('primary'));
  urgency.shows(pairOn('standby'));
  urgency.shows(pairOn('primary'));
  expect(said).toEqual([{ part: 'priority', reason: 'EPERM' }]);
});

test('a clock is looked for below the PCI device', () => {
  const sysfs = folder();
  mkdirSync(join(sysfs, 'bus/pci/devices/0000:02:00.0/ptp'), { recursive: true });
  expect(hasClock('0000:02:00.0', sysfs)).toBe(true);
  expect(hasClock('0000:03:00.0', sysfs)).toBe(false);
  expect(hasClock('../devices/0000:02:00.0', sysfs)).toBe(false);
});

/** proc_pid_stat(5): rt_priority and policy, fields 40 and 41; the name in the second may hold blanks. */
const scheduled = (): number[] =>
  readFileSync('/proc/thread-self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
    .slice(37, 39)
    .map(Number);

test('a change of links is left to the kernel until it has been read', ({ skip }) => {
  const before = scheduled();
  calm();
  urge();
  expect(scheduled()).toEqual(before);
  const refused = setPriority(1);
  if (refused !== null) skip(refused);
  try {
    expect(scheduled()).toEqual([1, 1]);
    calm();
    calm();
    expect(scheduled()).toEqual([0, 0]);
    urge();
    expect(scheduled()).toEqual([1, 1]);
    calm();
  } finally {
    expect(setPriority(0)).toBeNull();
  }
  urge();
  expect(scheduled()).toEqual([0, 0]);
});
