// How long an effect may take, and what a decision about parameters is in words.
import { expect, test } from 'vitest';
import type { Decision, DecisionOf } from '../../src/events/catalogue.ts';
import { wordsOf } from '../../src/host/decision-words.ts';
import { carryOut } from '../../src/host/effects.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import { MAC } from '../given.ts';

const target = (ifindex: number) => ({ ifindex, mac: MAC, device: null, pci: null, arrival: 1 });
const made = {
  id: 'd1.0',
  pair: MAC,
  mode: 'bond',
  attempt: 1,
  master: target(9),
  standby: target(2),
  primary: target(4),
} as const;
const tune = (parameters: DecisionOf<'tuneStandby'>['plan']['parameters'], stage: 'fallback' | 'onPrimary' = 'fallback') =>
  ({ ...made, kind: 'tuneStandby', plan: { stage, parameters, elsewhere: {} } }) as const;

/** The limit that an effect is given, in milliseconds. */
const limitOf = async (decision: Decision, effectLimit_ms: number): Promise<number> => {
  let limit = 0;
  const platform = {
    perform: () => Promise.resolve({ result: 'succeeded', reason: null, observed: false } as const),
    after: (delay_ms: number) => {
      limit = delay_ms;
      return () => {};
    },
  };
  const ledger = { open: [], owe: () => Promise.reject(new Error('nothing')), settle: () => {} };
  await carryOut(
    decision,
    platform,
    { ...defaultPolicy, effects: 'on', effectLimit_ms },
    false,
    new AbortController().signal,
    ledger,
  );
  return limit;
};

test('a parameter of the standby keeps a switch waiting for two seconds at most; other effects have their limit', async () => {
  expect(await limitOf(tune({ txQueue: 5 }), 15_000)).toBe(2000);
  expect(await limitOf(tune({ txQueue: 5 }), 500)).toBe(500);
  expect(await limitOf({ ...made, kind: 'activateStandby' }, 15_000)).toBe(15_000);
});

test('decisions about parameters in words', () => {
  const words = (decision: Decision): string => wordsOf(decision, (ifindex) => ({ 2: 'eth0', 4: 'eth1' })[ifindex]);
  expect(words(tune({ txQueue: 5, features: { 'rx-gro': false } }))).toBe(
    'give eth0 what it has in fallback: txQueue 5, rx-gro off',
  );
  expect(words(tune({}, 'onPrimary'))).toBe('give eth0 back the parameters that it had');
  const plan = { parameters: { mtu: 1500, inf: { '*RSS': '0' } } };
  expect(words({ ...made, kind: 'alignParameters', plan })).toBe('give eth1 its parameters: mtu 1500, *RSS 0');
});
