// What a pair wants besides switching, question by question: each clause by a pair that differs from one that wants it in
// nothing else.
import { describe, expect, test } from 'vitest';
import type { Adapter, AdapterChange, Decision, Obligation, Policy } from '../../src/events/catalogue.ts';
import {
  alignPlan,
  changesItsOwnFacts,
  CONFIRM_MS,
  globalsOf,
  heardAs,
  isGlobal,
  isUnjoined,
  learn,
  mayTouch,
  owedBack,
  takeOverPlan,
  tunePlan,
  wantsAddresses,
  wantsParameters,
  wantsTakeOver,
  wantsTuning,
} from '../../src/machines/duties.ts';
import { configurationOf } from '../../src/machines/chart-table.ts';
import { newPair, type PairState } from '../../src/machines/pair-state.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import type { Arrived, Roles } from '../../src/machines/roles.ts';
import { bonded, MAC } from '../given.ts';

const on: Policy = { ...defaultPolicy, effects: 'on' };
const arrived = (facts: Adapter, over: AdapterChange = {}, ...addresses: string[]): Arrived => ({
  facts: { ...facts, ...over },
  arrival: facts.ifindex,
  addresses: new Set(addresses),
});
const bond = arrived(bonded.bond);
const primary = arrived(bonded.primary, { master: null });
const roles = (over: Partial<Roles> = {}): Roles => ({
  mode: 'none',
  standby: arrived(bonded.standby, { master: null, up: true, carrier: true }, '192.0.2.7/24'),
  master: null,
  primary: null,
  rival: null,
  surplus: [],
  ...over,
});
const owed = (kind: Obligation['kind'], id = `d1.0.${kind}`): Obligation => ({ id, pair: MAC, kind, device: null, before: {} });
const pair = (over: Partial<PairState> = {}): PairState => ({
  ...newPair(MAC, { mac: MAC, mode: 'bond' }),
  roles: roles(),
  ...over,
});
const joined = (over: Partial<PairState> = {}): PairState =>
  pair({
    mode: 'bond',
    roles: roles({ mode: 'bond', master: bond, standby: arrived(bonded.standby, {}, '192.0.2.7/24'), primary }),
    obligations: [owed('takeover')],
    ...over,
  });

test('an address that a takeover is about: not link-local, not of the loopback', () => {
  const local = [
    'fe80::1/64',
    'FE80::1/64',
    'fe90::1/64',
    'feaf::1/64',
    'febf::1/64',
    '169.254.1.2/16',
    '127.0.0.1/8',
    '::1/128',
  ];
  const global = [
    '192.0.2.7/24',
    '2001:db8::1/64',
    'fec0::1/64',
    'fe70::1/64',
    '1169.254.1.2/16',
    '16.9.254.1/24',
    '1127.0.0.1/8',
    '::1:2/64',
    'dfe80::1/64',
    '169.25.4.1/24',
  ];
  expect(local.filter(isGlobal)).toEqual([]);
  expect(global.filter((address) => !isGlobal(address))).toEqual([]);
  expect(globalsOf(arrived(bonded.standby, {}, 'fe80::1/64', '192.0.2.7/24'))).toEqual(['192.0.2.7/24']);
  expect(globalsOf(null)).toEqual([]);
});

test('who may be touched: what is listed, is one pair, and was not released, with effects on or dry', () => {
  expect([mayTouch(pair(), on), mayTouch(pair(), { ...on, effects: 'dryRun' })]).toEqual([true, true]);
  const not: readonly [Partial<PairState>, Policy][] = [
    [{ named: null }, on],
    [{ roles: roles({ rival: bond }) }, on],
    [{ released: true }, on],
    [{ contested: true }, on],
    [{}, { ...on, effects: 'off' }],
  ];
  expect(not.filter(([over, policy]) => mayTouch(pair(over), policy))).toEqual([]);
});

test('unjoined: a bond is asked for, nothing joins the two, and there is a standby', () => {
  const not: readonly Partial<PairState>[] = [
    { named: null },
    { named: { mac: MAC } },
    { named: { mac: MAC, mode: 'kernel' } },
    { mode: 'bond' },
    { mode: 'kernel' },
    { roles: roles({ standby: null }) },
  ];
  expect([isUnjoined(pair()), ...not.map((over) => isUnjoined(pair(over)))]).toEqual([
    true,
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});

describe('a takeover is wanted', () => {
  const inBond = (name: string): Partial<PairState> => ({
    roles: roles({ mode: 'bond', master: arrived(bonded.bond, { name }) }),
  });
  const standby = (over: AdapterChange, ...addresses: string[]): Partial<PairState> => ({
    roles: roles({ standby: arrived(bonded.standby, { master: null, up: true, carrier: true, ...over }, ...addresses) }),
  });
  test.each<[string, boolean, Partial<PairState>]>([
    ['of a standby that carries an address', true, {}],
    ['also after failures below the limit', true, { failures: 4 }],
    ['of one whose addresses may be on the bond that it has lost', true, { ...standby({}), obligations: [owed('takeover')] }],
    [
      'while one was begun: over its bond',
      true,
      { unfinished: true, mode: 'bond', ...inBond('fo112233'), paused: true, failures: 9 },
    ],
    ['not in another bond, although one was begun', false, { unfinished: true, mode: 'bond', ...inBond('bond0') }],
    ['not over what cannot be seen', false, { unfinished: true, mode: 'bond' }],
    ['while one was begun: without a bond', true, { unfinished: true, ...standby({ up: false }) }],
    ['not of a trio, although one was begun', false, { unfinished: true, mode: 'kernel' }],
    ['not of NETKVM, although one was begun', false, { unfinished: true, mode: 'netkvm' }],
    ['not where nothing may be touched', false, { released: true }],
    ['not where no bond is asked for', false, { named: { mac: MAC }, unfinished: true }],
    ['not without a standby', false, { roles: roles({ standby: null }), unfinished: true }],
    ['not where something joins the two', false, { mode: 'bond' }],
    ['not of a standby in something else', false, standby({ master: 8 }, '192.0.2.7/24')],
    ['not in a pause', false, { paused: true }],
    ['not after as many failures as the limit', false, { failures: 5 }],
    ['not without carrier', false, standby({ carrier: false }, '192.0.2.7/24')],
    ['not of one that is down', false, standby({ up: false }, '192.0.2.7/24')],
    ['not without an address', false, standby({}, 'fe80::1/64')],
    ['not because parameters are owed', false, { ...standby({}), obligations: [owed('parameters')] }],
  ])('%s', (_, expected, over) => expect(wantsTakeOver(pair(over), on)).toBe(expected));
});

test('what is owed back: the newest, where an operator wants it, it is no dry run, and a bond has its standby', () => {
  const both = [owed('takeover'), owed('parameters')];
  expect(owedBack(pair({ released: true, obligations: both }), on)).toBe(both[1]);
  expect(owedBack(pair({ released: true, obligations: both.slice(0, 1) }), { ...on, effects: 'off' })).toBe(both[0]);
  expect(owedBack(pair({ obligations: both }), on)).toBeNull();
  expect(owedBack(pair({ released: true, obligations: both }), { ...on, effects: 'dryRun' })).toBeNull();
  expect(owedBack(pair({ released: true }), on)).toBeNull();
  const away = roles({ standby: null });
  expect(owedBack(pair({ released: true, roles: away, obligations: both.slice(0, 1) }), on)).toBeNull();
  expect(owedBack(pair({ released: true, roles: away, obligations: both }), on)).toBe(both[1]);
});

test('bindings are owed back to a primary that is out of work, and to no device that is away', () => {
  const nic = arrived(bonded.primary, { device: 'vf', master: null });
  const bindings: Obligation = { ...owed('bindings'), device: { ifindex: 4, mac: MAC, device: 'vf', pci: null, arrival: 4 } };
  const windows = (over: Partial<PairState> = {}): PairState =>
    pair({ mode: 'netkvm', roles: roles({ standby: null, primary: nic }), obligations: [bindings], ...over });
  const here = roles({ primary: nic });
  expect(owedBack(windows(), on)).toBe(bindings);
  expect(owedBack(windows({ roles: here, protocolMissing: true }), on)).toBe(bindings);
  const not: readonly [Partial<PairState>, Policy][] = [
    [{ roles: here }, on],
    [{ roles: roles({ standby: null }) }, on],
    [{ roles: roles({ standby: null, primary: arrived(bonded.primary, { device: 'another' }) }) }, on],
    [{ obligations: [{ ...bindings, kind: 'parameters' }] }, on],
    [{ named: null }, on],
    [{}, { ...on, effects: 'dryRun' }],
    [{}, { ...on, effects: 'off' }],
  ];
  expect(not.filter(([over, policy]) => owedBack(windows(over), policy) !== null)).toEqual([]);
  // Restored, they wait for their device: also for one that is no primary any more.
  const stored: Obligation = { ...bindings, kind: 'driverParameters' };
  expect(owedBack(windows({ released: true, roles: here, obligations: [stored] }), on)).toBe(stored);
  expect(owedBack(windows({ released: true, roles: roles(), obligations: [stored] }), on)).toBeNull();
  // What NETKVM's primary was given stays with it while it is in work, and out of work.
  expect(owedBack(windows({ obligations: [stored] }), on)).toBeNull();
  const older = owed('parameters');
  const restored = (over: Partial<Roles>): Obligation | null =>
    owedBack(windows({ released: true, roles: roles(over), obligations: [older, bindings] }), on);
  expect([restored({ primary: nic }), restored({ surplus: [nic] }), restored({})]).toEqual([bindings, bindings, older]);
});

describe('parameters are wanted', () => {
  const named = { mac: MAC, mode: 'bond', parameters: { rxRing: 1024 } } as const;
  const enslaved = arrived(bonded.primary, { master: 9 });
  const shown = { stage: 'attaching', datapath: 'standby', because: 'primary.found' } as const;
  const inTrio = { mode: 'kernel', named, shown: { ...shown } } as const;
  const onWindows = {
    named,
    mode: 'netkvm',
    shown: { ...shown },
    roles: roles({ primary: arrived(bonded.primary, { device: 'vf' }) }),
  } as const;
  test.each<[string, boolean, Partial<PairState>]>([
    ['in a bond, before the primary is enslaved', true, { named }],
    [
      'under net_failover, when the kernel has enslaved it',
      true,
      { ...inTrio, roles: roles({ master: bond, primary: enslaved }) },
    ],
    ['for another one than the one that has them', true, { named, aligned: { ifindex: 4, arrival: 3 } }],
    ['not in a bond that has it', false, { named, roles: roles({ mode: 'bond', master: bond, primary: enslaved }) }],
    ['not under net_failover before', false, { ...inTrio, roles: roles({ master: bond, primary }) }],
    ['not where nothing joins them', false, { named, mode: 'none' }],
    ['on Windows while the standby carries', true, { named, mode: 'netkvm', shown: { ...shown } }],
    ['not on Windows while it does not', false, { named, mode: 'netkvm', shown: { ...shown, datapath: 'none' } }],
    ['not on Windows without the protocol', false, { named, mode: 'netkvm', shown: { ...shown }, protocolMissing: true }],
    ['not on Windows twice', false, { ...onWindows, aligned: { ifindex: 1, arrival: 1, device: 'vf', mtu: null } }],
    ['on Windows for another device', true, { ...onWindows, aligned: { ifindex: 4, arrival: 4, device: 'other', mtu: null } }],
    ['on Windows for another MTU', true, { ...onWindows, aligned: { ifindex: 4, arrival: 4, device: 'vf', mtu: 1400 } }],
    ['not where none are configured', false, { named: { ...named, parameters: {} } }],
    ['not where the pair is not listed', false, { named: null }],
    ['not where nothing may be touched', false, { named, released: true }],
    ['not without a primary', false, { named, roles: roles({ mode: 'bond', master: bond }) }],
    ['not for one that leaves', false, { named, leaving: true }],
    ['not twice', false, { named, aligned: { ifindex: 4, arrival: 4 } }],
    ['not for one that carries', false, { named, shown: { ...shown, datapath: 'primary' } }],
  ])('%s', (_, expected, over) => expect(wantsParameters(joined(over), on)).toBe(expected));
});

test('the parameters that are asked for: "standby" is the MTU that it has now', () => {
  const plan = (parameters: NonNullable<PairState['named']>['parameters'], over: Partial<PairState> = {}) =>
    alignPlan(pair({ named: { mac: MAC, ...(parameters === undefined ? {} : { parameters }) }, ...over }));
  expect(plan({ mtu: 9000, rxRing: 8 })).toEqual({ mtu: 9000, rxRing: 8 });
  expect(plan({ mtu: 'standby', rxRing: 8 })).toEqual({ mtu: bonded.standby.mtu, rxRing: 8 });
  expect(plan({ mtu: 'standby' }, { roles: roles({ standby: null }) })).toEqual({});
  expect(plan(undefined)).toEqual({});
  expect(alignPlan(pair({ named: null }))).toEqual({});
});

describe('the standby is tuned', () => {
  const standbyParameters = { fallback: { rxRing: 1024 }, onPrimary: {} };
  const named = { mac: MAC, standbyParameters } as const;
  const at = (stage: 'fallback' | 'onPrimary' | 'switching'): Partial<PairState> => ({
    configuration: configurationOf(JSON.stringify({ path: { failover: stage }, effects: 'free' })),
  });
  const tuned = { ifindex: 2, arrival: 2, stage: 'fallback', left: 0 } as const;
  const debt = (ifindex: number, arrival: number): Partial<PairState> => ({
    obligations: [{ ...owed('parameters'), device: { ifindex, mac: MAC, device: null, pci: null, arrival } }],
  });
  test.each<[string, boolean, Partial<PairState>]>([
    ['in a stage that has parameters', true, {}],
    ['under net_failover, too', true, { mode: 'kernel' }],
    ['not in a stage that has none', false, at('onPrimary')],
    ['not on the way', false, at('switching')],
    ['there, when what another stage had is owed', true, { ...at('onPrimary'), ...debt(2, 2) }],
    ['not when it is owed to another device', false, { ...at('onPrimary'), ...debt(4, 2) }],
    ['not when it is owed to one before it', false, { ...at('onPrimary'), ...debt(2, 1) }],
    [
      'not for what else is owed',
      false,
      { ...at('onPrimary'), obligations: [{ ...debt(2, 2).obligations![0]!, kind: 'takeover' }] },
    ],
    ['not twice', false, { tuned }],
    ['again in another stage', true, { ...at('onPrimary'), ...debt(2, 2), tuned }],
    ['again after a failure', true, { tuned: { ...tuned, left: 1 } }],
    ['again for another standby', true, { tuned: { ...tuned, arrival: 1 } }],
    ['not where none is configured', false, { named: { mac: MAC } }],
    ['not where the pair is not listed', false, { named: null }],
    ['not in a bond that is left alone', false, { named: { ...named, mode: 'kernel' } }],
    ['not on Windows', false, { mode: 'netkvm' }],
    ['not where nothing joins them', false, { mode: 'none' }],
    ['not without a standby', false, { roles: roles({ standby: null, master: bond }) }],
    ['not for one that is in nothing', false, { roles: roles({ master: bond }) }],
    ['not while a takeover is not done', false, { unfinished: true }],
    ['while the primary lost its carrier now and then', true, { losses: Array.from({ length: on.flapLimit - 1 }, () => 1) }],
    ['not while it flaps', false, { losses: Array.from({ length: on.flapLimit }, () => 1) }],
    ['not where nothing may be touched', false, { released: true }],
  ])('%s', (_, expected, over) => expect(wantsTuning(joined({ named, ...at('fallback'), ...over }), on)).toBe(expected));

  test('with what the stage has; what others have is named, to be written down', () => {
    const both = { fallback: { rxRing: 1024 }, onPrimary: { txQueue: 50 } };
    const plan = (stage: 'fallback' | 'onPrimary', listed: PairState['named']) => tunePlan(pair({ named: listed, ...at(stage) }));
    expect(plan('fallback', { mac: MAC, standbyParameters: both })).toEqual({
      stage: 'fallback',
      parameters: { rxRing: 1024 },
      elsewhere: { txQueue: 50 },
    });
    expect(plan('onPrimary', { mac: MAC, standbyParameters: both })).toEqual({
      stage: 'onPrimary',
      parameters: { txQueue: 50 },
      elsewhere: { rxRing: 1024 },
    });
    expect(plan('onPrimary', null)).toEqual({ stage: 'onPrimary', parameters: {}, elsewhere: {} });
    expect(plan('fallback', { mac: MAC, standbyParameters: {} })).toEqual({ stage: 'fallback', parameters: {}, elsewhere: {} });
  });

  test('tries are counted for one standby in one stage; a refusal is final, and what is given up hinders nothing', () => {
    const target = { ifindex: 2, mac: MAC, device: null, pci: null, arrival: 2 };
    const plan = { stage: 'fallback', parameters: {}, elsewhere: {} };
    const tried = (result: 'succeeded' | 'failed' | 'refused' | 'void', before: PairState['tuned'] = null, policy = on) => {
      const one = pair({ tuned: before });
      const made = decision('tuneStandby', { standby: target, plan });
      learn(one, made, result, 'EBUSY', policy);
      return [one.tuned, heardAs(one, made, result, policy)];
    };
    const left = (tries: number) => ({ ...tuned, left: tries });
    expect(tried('succeeded')).toEqual([left(0), 'succeeded']);
    expect(tried('refused')).toEqual([left(0), 'succeeded']);
    expect(tried('void')).toEqual([null, 'void']);
    expect(tried('void', null, { ...on, effects: 'dryRun' })).toEqual([left(0), 'void']);
    expect(tried('failed')).toEqual([left(on.retryLimit - 1), 'refused']);
    expect(tried('failed', left(2))).toEqual([left(1), 'refused']);
    expect(tried('failed', left(1))).toEqual([left(0), 'succeeded']);
    for (const other of [{ stage: 'onPrimary' as const }, { arrival: 1 }, { ifindex: 3 }])
      expect(tried('failed', { ...left(1), ...other })).toEqual([left(on.retryLimit - 1), 'refused']);
    const one = pair({ tuned });
    learn(one, decision('tuneStandby', { plan }), 'succeeded', null, on);
    expect(one.tuned).toBeNull();
  });
});

describe('stray addresses are wanted on the bond', () => {
  const free = arrived(bonded.standby, { master: null }, '192.0.2.7/24');
  const clean = arrived(bonded.standby, {}, 'fe80::1/64');
  const bare = arrived(bonded.primary, { master: 9 }, '192.0.2.8/24');
  const inBond = (over: Partial<Roles>): Partial<PairState> => ({
    roles: roles({ mode: 'bond', master: bond, standby: clean, ...over }),
  });
  test.each<[string, boolean, Partial<PairState>]>([
    ['from the standby', true, {}],
    ['from the primary', true, inBond({ primary: bare })],
    ['also where other things are owed, too', true, { obligations: [owed('parameters'), owed('takeover')] }],
    ['not where there are none', false, inBond({})],
    [
      'not from a member that is in nothing',
      false,
      inBond({ standby: free, primary: arrived(bonded.primary, { master: null }, '192.0.2.8/24') }),
    ],
    ['not in a mode that is none', false, { mode: 'none' }],
    ['not under net_failover', false, { mode: 'kernel' }],
    ['not while a takeover is not done', false, { unfinished: true }],
    ['not where nothing may be touched', false, { released: true }],
    ['not in a bond that is not ours', false, { obligations: [] }],
    ['not because parameters are owed', false, { obligations: [owed('parameters')] }],
  ])('%s', (_, expected, over) => expect(wantsAddresses(joined(over), on)).toBe(expected));
});

const decision = (kind: Decision['kind'], over: object = {}): Decision =>
  ({ id: 'd1.0', pair: MAC, kind, mode: 'bond', attempt: 1, master: null, standby: null, primary: null, ...over }) as Decision;

test('what the chart hears of an outcome', () => {
  const hear = (kind: Decision['kind'], result: 'succeeded' | 'failed' | 'refused' | 'void', failures = 0): string =>
    heardAs(pair({ failures }), decision(kind), result, on);
  const results = ['succeeded', 'failed', 'refused', 'void'] as const;
  expect(results.map((result) => hear('bindPrimary', result, 9))).toEqual([...results]);
  expect(results.map((result) => hear('alignParameters', result))).toEqual(['succeeded', 'succeeded', 'succeeded', 'void']);
  expect(results.map((result) => hear('moveAddresses', result))).toEqual(['succeeded', 'refused', 'refused', 'void']);
  for (const kind of ['takeOver', 'giveBack'] as const)
    expect([4, 5, 6].map((failures) => hear(kind, 'failed', failures))).toEqual(['failed', 'refused', 'refused']);
  expect(hear('takeOver', 'void', 9)).toBe('void');
  expect((['takeOver', 'giveBack', 'bindPrimary', 'moveAddresses'] as const).map(changesItsOwnFacts)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

describe('what the pair remembers of an effect', () => {
  const after = (
    kind: Decision['kind'],
    result: 'succeeded' | 'failed' | 'refused' | 'void',
    over: Partial<PairState> = {},
    policy = on,
  ): PairState => {
    const one = pair(over);
    const target = { ifindex: 4, mac: MAC, device: null, pci: null, arrival: 7 };
    learn(one, decision(kind, { primary: target }), result, result === 'succeeded' ? null : 'EPERM', policy);
    return one;
  };
  test('what stood in the way', () => {
    expect(after('bindPrimary', 'succeeded', { hindrance: 'old' }).hindrance).toBeNull();
    expect(after('bindPrimary', 'failed').hindrance).toBe('bindPrimary failed: EPERM');
    const one = pair();
    learn(one, decision('bindPrimary'), 'refused', null, on);
    expect(one.hindrance).toBe('bindPrimary refused: no reason given');
  });

  test('failures, of a takeover and of giving back alone', () => {
    const counts = (kind: Decision['kind']) =>
      (['succeeded', 'failed', 'refused', 'void'] as const).map((result) => after(kind, result, { failures: 2 }).failures);
    expect([counts('takeOver'), counts('giveBack'), counts('bindPrimary')]).toEqual([
      [0, 3, 2, 2],
      [0, 3, 2, 2],
      [2, 2, 2, 2],
    ]);
  });

  test('whether a takeover is done, and whether to pause', () => {
    const state = (result: 'succeeded' | 'failed' | 'refused' | 'void', unfinished: boolean) => {
      const { unfinished: still, paused } = after('takeOver', result, { unfinished });
      return [still, paused];
    };
    expect((['succeeded', 'failed', 'refused', 'void'] as const).map((result) => state(result, true))).toEqual([
      [false, false],
      [true, false],
      [true, false],
      [true, false],
    ]);
    expect((['succeeded', 'failed', 'refused', 'void'] as const).map((result) => state(result, false))).toEqual([
      [false, false],
      [false, true],
      [false, true],
      [false, false],
    ]);
    expect(after('giveBack', 'failed', { unfinished: true })).toMatchObject({ unfinished: true, paused: false });
    expect(after('giveBack', 'succeeded', { unfinished: true }).unfinished).toBe(true);
  });

  test('who was given parameters', () => {
    const identity = { ifindex: 4, arrival: 7 };
    const aligned = (result: 'succeeded' | 'failed' | 'refused' | 'void', policy = on) =>
      after('alignParameters', result, {}, policy).aligned;
    expect([aligned('succeeded'), aligned('failed'), aligned('refused'), aligned('void')]).toEqual([
      identity,
      identity,
      identity,
      null,
    ]);
    expect(aligned('void', { ...on, effects: 'dryRun' })).toEqual(identity);
    expect(after('bindPrimary', 'succeeded').aligned).toBeNull();
    expect(after('bindPrimary', 'succeeded').tuned).toBeNull();
    const target = { ifindex: 4, mac: MAC, device: 'vf', pci: null, arrival: 7 };
    const byDevice = (parameters: object) => {
      const nic = pair();
      learn(nic, decision('alignParameters', { mode: 'netkvm', primary: target, plan: { parameters } }), 'succeeded', null, on);
      return nic.aligned;
    };
    expect(byDevice({ mtu: 9000 })).toEqual({ ...identity, device: 'vf', mtu: 9000 });
    expect(byDevice({})).toEqual({ ...identity, device: 'vf', mtu: null });
    const one = pair({ aligned: identity });
    learn(one, decision('alignParameters'), 'succeeded', null, on);
    expect(one.aligned).toBeNull();
  });
});

test('the plan of a takeover: as configured, else a name from the MAC, the gateways, and the default time', () => {
  expect(takeOverPlan(pair())).toEqual({ bond: 'fo112233', probe: [], confirm_ms: CONFIRM_MS });
  expect(takeOverPlan(pair({ named: null }))).toEqual({ bond: 'fo112233', probe: [], confirm_ms: 5000 });
  const named = { mac: MAC, mode: 'bond', bond: 'uplink', probe: ['192.0.2.1'], confirm_ms: 700 } as const;
  expect(takeOverPlan(pair({ named: { ...named, probe: ['192.0.2.1'] } }))).toEqual({
    bond: 'uplink',
    probe: ['192.0.2.1'],
    confirm_ms: 700,
  });
});
