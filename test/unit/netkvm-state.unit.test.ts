// All 128 combinations of the seven facts, against a table that was worked out row by row, and known corner rows.
import { expect, test } from 'vitest';
import { NETKVM_STATES, netkvmState } from '../../src/machines/netkvm-state.ts';

/** Index as in the driver package: virtio 1, isStandby 2, virtioLink 4, suppressLink 8, started 16, hasVf 32, vfLink 64. */
const state = (index: number) =>
  netkvmState({
    virtio: (index & 1) !== 0,
    isStandby: (index & 2) !== 0,
    virtioLink: (index & 4) !== 0,
    suppressLink: (index & 8) !== 0,
    started: (index & 16) !== 0,
    hasVf: (index & 32) !== 0,
    vfLink: (index & 64) !== 0,
  });

/** One letter a row: u unknown, s standalone, a absent, - aloneInactive, + aloneActive, i boundInactive, I boundInitial, A boundActive. */
const TABLE = [
  'usu-usu+usu-usu+', // no VF, not started
  'usu-usu+usu-usu+', // no VF, started
  'asu-usu-usu-usu-', // VF without link, not started
  'usu-usu-usu-usui', // VF without link, started
  'uuuuuuuuuuuuuuuu', // link of a VF that is not there
  'uuuuuuuuuuuuuuuu',
  'asuiusuAusuiusuI', // VF with link, not started
  'asuiusuAusuiusuA', // VF with link, started
].join('');
const LETTER = {
  u: 'unknown',
  s: 'standalone',
  a: 'absent',
  '-': 'aloneInactive',
  '+': 'aloneActive',
  i: 'boundInactive',
  I: 'boundInitial',
  A: 'boundActive',
};

test.each(Array.from(TABLE, (letter, index) => [index, LETTER[letter as keyof typeof LETTER]]))(
  'row %i is %s',
  (index, expected) => {
    expect(state(index)).toBe(expected);
  },
);

test('each state occurs as often as in the original table', () => {
  const counts = Object.fromEntries(NETKVM_STATES.map((name) => [name, 0]));
  for (let index = 0; index < 128; index += 1) counts[state(index)]! += 1;
  expect(counts).toEqual({
    absent: 3,
    standalone: 24,
    aloneInactive: 11,
    aloneActive: 4,
    boundInactive: 5,
    boundInitial: 1,
    boundActive: 3,
    unknown: 77,
  });
});

test('the rows that a late VF passes through', () => {
  expect([103, 111, 119].map(state)).toEqual(['boundActive', 'boundInitial', 'boundActive']);
});
