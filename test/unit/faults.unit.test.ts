// Each fault of docs/faults.md, tried: the lists and their checks are in test/faults.
import { describe, expect, test } from 'vitest';
import { STATES } from '../faults/given.ts';
import { FAULTS } from '../faults/list.ts';

test('the list has every number once, and leaves nothing to try only where nothing is written', () => {
  expect(FAULTS.map(({ number }) => number)).toEqual(Array.from({ length: 64 }, (_, index) => index + 1));
  expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(64);
  for (const { number, state, check } of FAULTS) {
    expect(STATES, String(number)).toContain(state);
    expect(check === null, String(number)).toBe(state === 'not written');
  }
});

describe('fault', () => {
  for (const { number, name, check } of FAULTS) {
    // oxlint-disable-next-line vitest/expect-expect, vitest/no-disabled-tests -- a check rejects; what is not written is shown as such
    test.skipIf(check === null)(`${number}, ${name}${check === null ? ': not written' : ''}`, () => check?.());
  }
});
