// Verification of a log or a part of one: what it counts, and the first thing that is wrong.
import { expect, test } from 'vitest';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { checkpoint, decision, flap, flaps, outcome, recorded } from './log.samples.ts';

const verify = (events: readonly RecordedEvent[]) => verifyLog({ first: () => events[0]?.seq ?? 1, read: () => events });

test('a sound log is counted', () => {
  const events = recorded([flap(1), decision(2, 'd1.1', 1), decision(3, 'd1.2', 1), outcome(4, 'd1.1', 2), checkpoint(5)]);
  expect(verify(events)).toEqual({
    events: 5,
    first: 1,
    last: 5,
    decisions: 2,
    outcomes: 1,
    checkpoints: 1,
    open: 1,
    problem: null,
  });
  expect(verify([])).toEqual({ events: 0, first: 0, last: 0, decisions: 0, outcomes: 0, checkpoints: 0, open: 0, problem: null });
});

const flapped = recorded(flaps(1, 5));
test.each<[string, readonly RecordedEvent[], number, RegExp]>([
  ['a hole', [...flapped.slice(0, 2), ...flapped.slice(3)], 4, /does not follow 2/],
  ['a repetition', [...flapped, ...flapped.slice(4)], 5, /does not follow 5/],
  ['a cause that is not earlier', recorded([flap(1), { ...flap(2), cause: 2 }]), 2, /cause/],
  [
    'data that do not fit',
    recorded([flap(1), { ...flap(2), data: { ifindex: 1.5 } } as never]),
    2,
    /required properties changed/,
  ],
  [
    'a second outcome',
    recorded([flap(1), decision(2, 'd1.1', 1), outcome(3, 'd1.1', 2), outcome(4, 'd1.1', 2)]),
    4,
    /second outcome/,
  ],
  ['an outcome of nothing', recorded([flap(1), outcome(2, 'd1.1', 1)]), 2, /no decision/],
  ['a decision made twice', recorded([flap(1), decision(2, 'd1.1', 1), decision(3, 'd1.1', 1)]), 3, /made before/],
])('%s is named', (_, events, seq, text) => {
  const { problem } = verify(events);
  expect(problem?.seq).toBe(seq);
  expect(problem?.text).toMatch(text);
});

test('the outcome of a decision that retention dropped is no fault', () => {
  const events = recorded([checkpoint(1), outcome(2, 'd7.1', 9)], 10);
  expect(verify(events)).toMatchObject({ outcomes: 1, problem: null });
});
