// Each fault of docs/faults.md, tried: the lists and their checks are in test/faults.
import { describe, expect, test } from 'vitest';
import { STATES } from '../faults/given.ts';
import { FAULTS } from '../faults/list.ts';

test('the list has every number once', () => {
  expect(FAULTS.map(({ number }) => number)).toEqual(Array.from({ length: 64 }, (_, index) => index + 1));
  expect(new Set(FAULTS.map(({ name }) => name)).size).toBe(64);
  for (const { number, state } of FAULTS) expect(STATES, String(number)).toContain(state);
});

describe('fault', () => {
  for (const { number, name, check } of FAULTS) {
    // oxlint-disable-next-line vitest/expect-expect -- a check rejects
    test(`${number}, ${name}`, () => check());
  }
});
