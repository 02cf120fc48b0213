import { expect, test } from 'vitest';
import { jumpsBetween, readClocks, type Instant, type Reading } from '../../src/adapters/linux/clocks.ts';

const at = (mono: number, slept: number, stepped: number): Reading => {
  const instant = (milliseconds: number): Instant => [Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1e6];
  return { mono: instant(mono), boot: instant(mono + slept), wall: instant(1_795_329_742_286 + mono + slept + stepped) };
};

test('time that passes is no jump, nor is a clock that is slewed', () => {
  expect(jumpsBetween(at(1000, 0, 0), at(61_000, 0, 30))).toEqual([]);
  expect(jumpsBetween(at(1999, 5, 0), at(2000, 5, 0))).toEqual([]);
});

test('a sleep is told once, as a sleep: the wall clock runs on meanwhile', () => {
  const data = { kind: 'suspended', delta_ns: '3600000000000' };
  expect(jumpsBetween(at(1000, 0, 0), at(1500, 3_600_000, 0))).toEqual([{ type: 'clock.jumped', data }]);
});

test('a step of the wall clock, forward and back', () => {
  const step = (stepped: number): unknown => jumpsBetween(at(1000, 0, 0), at(1001, 0, stepped)).map(({ data }) => data);
  expect(step(1500)).toEqual([{ kind: 'stepped', delta_ns: '1500000000' }]);
  expect(step(-86_400_000)).toEqual([{ kind: 'stepped', delta_ns: '-86400000000000' }]);
});

test.skipIf(process.platform !== 'linux')('real clocks: what Node says, to the nanosecond', () => {
  const before = process.hrtime.bigint();
  const { mono_ns, boot_ns, wall_ns } = readClocks();
  const after = process.hrtime.bigint();
  expect(BigInt(mono_ns)).toBeGreaterThanOrEqual(before);
  expect(BigInt(mono_ns)).toBeLessThanOrEqual(after);
  expect(BigInt(boot_ns)).toBeGreaterThanOrEqual(BigInt(mono_ns));
  expect(Math.abs(Number(BigInt(wall_ns) / 1_000_000n) - Date.now())).toBeLessThan(1000);
});
