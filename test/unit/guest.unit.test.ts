// The fold itself, apart from what the chart says: whose time it takes for its timers, when it says that the log tells
// otherwise, what a checkpoint may lack, and that an event which concerns nobody does nothing.
import { describe, expect, test } from 'vitest';
import type { Happening, Policy } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { initialConfiguration, react } from '../../src/machines/chart-table.ts';
import { Guest } from '../../src/machines/guest.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import type { Step } from '../../src/machines/step.ts';
import { acting, adapter, appeared, bonded, changed, gone, MAC, policy, surveyed, Teller, trio } from '../given.ts';

const started = (bootId: string, platform = 'linux'): Happening => ({
  type: 'service.started',
  data: { version: '0', machineVersion: 3, bootId, vmGeneration: null, platform, host: {} },
});
const delays: Partial<Policy> = {
  grace_ms: 11,
  attachLimit_ms: 12,
  switchLimit_ms: 13,
  detachLimit_ms: 14,
  flapHold_ms: 15,
  retryDelay_ms: 16,
  blockedRetry_ms: 17,
};
const armed = ({ timers }: Step): string[] =>
  timers.map((one) => (one.op === 'arm' ? `${one.timer.split('.')[2]} ${one.delay_ms}` : 'cancel'));
const event = (happening: Happening, seq: number): Foldable => ({ ...happening, seq, mono_ns: String(seq * 1e9) });

describe('timers', () => {
  test('take their time from the policy, each its own', () => {
    const teller = new Teller();
    teller.tell(policy(delays), appeared(trio.master), appeared(trio.standby));
    const switching = teller.tell(appeared({ ...trio.primary, carrier: false }));
    expect(armed(switching)).toEqual(['switchLimit 13']);
    expect(armed(teller.tell(changed(4, { carrier: true })))).toEqual(['cancel']);
    const sign: Happening = { type: 'departure.signalled', data: { address: '0000:02:00.0', sign: 'ptpRemoved' } };
    expect(armed(teller.tell(sign))).toEqual(['detachLimit 14']);
    const free = new Teller();
    free.tell(acting(delays), appeared(bonded.bond), appeared(bonded.standby));
    expect(armed(free.tell(appeared(bonded.primary)))).toEqual(['attachLimit 12']);
    expect(armed(free.conclude('failed'))).toEqual(['retryDelay 16']);
    free.wait(20);
    expect(free.steps.flatMap(armed)).toContain('blockedRetry 17');
  });

  test('of a grace time, and of a pair that rests from flapping', () => {
    const record = {
      mac: MAC,
      virtio: true,
      isStandby: true,
      virtioLink: true,
      suppressLink: true,
      started: false,
      hasVf: false,
      vfIfIndex: 0,
      vfLink: false,
    };
    const windows = new Teller();
    windows.tell(policy(delays), appeared({ ...trio.standby, master: null }));
    expect(armed(windows.tell({ type: 'driver.facts', data: record }))).toEqual(['grace 11']);
    const bond = new Teller();
    const enslaved = { ...bonded.primary, up: true, carrier: true, master: 9, slave: { active: true, miiUp: true } };
    bond.tell(
      acting(delays),
      appeared(bonded.bond),
      appeared({ ...bonded.standby, slave: { active: false, miiUp: true } }),
      appeared(enslaved),
    );
    for (let flap = 0; flap < 8; flap += 1) bond.tell(changed(4, { carrier: flap % 2 === 1 }));
    expect(bond.steps.flatMap(armed)).toContain('flapHold 15');
  });

  test('are armed anew at a start, and one that is stale, or nobody’s, changes nothing', () => {
    const teller = new Teller();
    teller.tell(
      started('one'),
      policy(delays),
      appeared(trio.master),
      appeared(trio.standby),
      appeared({ ...trio.primary, carrier: false }),
    );
    const [timer, armedBy] = [...teller.pair.timers][0] ?? ['', 0];
    const again = teller.tell(started('one'));
    expect([armed(again), teller.pair.timers.get(timer)]).toEqual([['switchLimit 13'], teller.seq]);
    const before = JSON.stringify(teller.guest.snapshot());
    for (const data of [
      { pair: MAC, timer, armedBy },
      { pair: '52:54:00:00:00:01', timer, armedBy: teller.seq },
      { pair: MAC, timer: 'nobody’s', armedBy: teller.seq },
    ])
      expect(teller.tell({ type: 'timer.elapsed', data }).touched).toEqual([]);
    expect(JSON.stringify(teller.guest.snapshot())).toBe(before);
  });
});

describe('losses of carrier', () => {
  const losses = (...at_ms: number[]): number[] => {
    const teller = new Teller();
    const enslaved = { ...bonded.primary, up: true, carrier: true, master: 9, slave: { active: true, miiUp: true } };
    teller.tell(acting({ flapWindow_ms: 1000, flapLimit: 3 }), appeared(bonded.bond));
    teller.tell(appeared({ ...bonded.standby, slave: { active: false, miiUp: true } }), appeared(enslaved));
    for (const ms of at_ms) {
      teller.now_ms = 10_000 + ms;
      teller.tell(changed(4, { carrier: false }));
      teller.tell(changed(4, { carrier: true }));
    }
    return teller.pair.losses.map((ms) => ms - 10_000);
  };
  test('are counted within the window, the newest up to the limit', () => {
    expect(losses(0, 500)).toEqual([0, 500]);
    expect(losses(0, 999)).toEqual([0, 999]);
    expect(losses(0, 1000)).toEqual([1000]);
    expect(losses(0, 100, 1050)).toEqual([100, 1050]);
    expect(losses(0, 100, 200, 300).length).toBe(3);
  });
});

describe('the log tells otherwise', () => {
  /** A fold that has just decided something. */
  const decided = (): { guest: Guest; step: Step } => {
    const guest = new Guest();
    const told = [acting(), appeared(bonded.bond), appeared(bonded.standby), appeared(bonded.primary)];
    const steps = told.map((happening, at) => guest.apply(event(happening, at + 1)));
    return { guest, step: steps.at(-1) as Step };
  };
  test('a decision that is not in it', () => {
    const { guest, step } = decided();
    const [mine] = step.decisions;
    expect([mine?.kind, guest.isConfirmed]).toEqual(['bindPrimary', false]);
    const next = guest.apply(event({ type: 'gap.seen', data: { source: 's', reason: 'r' } }, 5));
    expect(next.divergence).toEqual({ seq: 5, expected: JSON.stringify(mine), recorded: 'gap.seen' });
    expect([guest.isConfirmed, next.touched, next.changes]).toEqual([true, [], []]);
    expect(guest.apply(event({ type: 'gap.seen', data: { source: 's', reason: 'r' } }, 6)).divergence).toBeNull();
  });

  test('another decision, or one that was not made', () => {
    const { guest, step } = decided();
    const [mine] = step.decisions;
    if (mine === undefined) throw new Error('nothing decided');
    const other = { ...mine, attempt: 7 };
    expect(guest.apply(event({ type: 'decision.made', data: other }, 5)).divergence).toEqual({
      seq: 5,
      expected: JSON.stringify(mine),
      recorded: JSON.stringify(other),
    });
    expect(guest.apply(event({ type: 'decision.made', data: mine }, 6)).divergence).toEqual({
      seq: 6,
      expected: 'null',
      recorded: JSON.stringify(mine),
    });
    const right = decided();
    expect(right.guest.apply(event({ type: 'decision.made', data: mine }, 5)).divergence).toBeNull();
    expect(right.guest.isConfirmed).toBe(true);
  });

  test('an outcome of something that is not under way concerns nobody', () => {
    const { guest, step } = decided();
    const [mine] = step.decisions;
    if (mine === undefined) throw new Error('nothing decided');
    guest.apply(event({ type: 'decision.made', data: mine }, 5));
    const outcome = (decision: string, pair = MAC): Happening => ({
      type: 'outcome.seen',
      data: { decision, pair, result: 'succeeded', reason: null, observed: false },
    });
    for (const happening of [outcome('d9.9'), outcome(mine.id, '52:54:00:00:00:01')])
      expect(guest.apply(event(happening, 6)).touched).toEqual([]);
    expect(guest.pairs.get(MAC)?.pending?.id).toBe(mine.id);
    expect(guest.apply(event(outcome(mine.id), 7)).touched.length).toBe(1);
    expect(guest.apply(event(outcome(mine.id), 8)).touched).toEqual([]);
  });
});

test('void after a crash is a failure; in a dry run it waits for a fact', () => {
  for (const [effects, expected] of [
    ['on', 'retrying'],
    ['dryRun', 'waiting'],
  ] as const) {
    const teller = new Teller();
    teller.tell(acting({ effects }), appeared(bonded.bond), appeared(bonded.standby), appeared(bonded.primary));
    teller.conclude('void');
    expect(teller.pair.configuration.value).toContain(expected);
  }
});

test('a chart that does not come to rest ends the fold, with the pair and the event', () => {
  let turn = 0;
  const restless = new Guest((from, name, bits) => {
    const { requests } = react(from, name, bits);
    // Two configurations by turns, each of which would decide.
    turn += 1;
    return {
      to: turn % 2 === 0 ? initialConfiguration : react(initialConfiguration, 'facts', bits).to,
      requests: requests.slice(0, 0),
    };
  });
  restless.apply(event(acting(), 1));
  restless.apply(event(appeared(bonded.bond), 2));
  expect(() => restless.apply(event(surveyed(bonded.bond, bonded.standby, bonded.primary), 3))).toThrow(
    `the chart of ${MAC} does not come to rest (event 3)`,
  );
});

describe('a checkpoint', () => {
  const told = (): Guest => {
    const guest = new Guest();
    const happenings = [started('one'), acting(), appeared(bonded.bond), appeared(bonded.standby)];
    for (const [at, happening] of happenings.entries()) guest.apply(event(happening, at + 1));
    return guest;
  };
  const checked = (guest: Guest, state: object) => guest.apply(event({ type: 'checkpoint.made', data: { state } }, 9)).divergence;

  test('is what the fold has, or an older machine’s way to say it', () => {
    const guest = told();
    expect(checked(guest, guest.snapshot())).toBeNull();
    const older = JSON.parse(JSON.stringify(guest.snapshot())) as { pairs: Record<string, unknown>[] };
    for (const pair of older.pairs) for (const name of ['obligations', 'released', 'hindrance', 'failures']) delete pair[name];
    expect(checked(guest, older)).toBeNull();
  });

  test('that says something else is a difference, and changes nothing', () => {
    const guest = told();
    const before = JSON.stringify(guest.snapshot());
    const other = { ...guest.snapshot(), bootId: 'another' };
    expect(checked(guest, other)).toEqual({ seq: 9, expected: before, recorded: JSON.stringify(other) });
    expect(JSON.stringify(guest.snapshot())).toBe(before);
  });

  test('begins a fresh fold, and no other: one that knows an adapter, or a pair, compares', () => {
    const whole = told().snapshot();
    const fresh = new Guest();
    expect([checked(fresh, whole), fresh.snapshot()]).toEqual([null, whole]);
    const adapters = new Guest();
    adapters.apply(event(appeared(adapter(20)), 1));
    expect(checked(adapters, whole)).not.toBeNull();
    const pairs = new Guest();
    for (const [at, happening] of [appeared(bonded.standby), gone(2)].entries()) pairs.apply(event(happening, at + 1));
    expect([pairs.adapters.size, checked(pairs, whole) === null]).toEqual([0, false]);
  });
});

test('what concerns no pair does nothing, and names no episode', () => {
  const guest = new Guest();
  const nothing = guest.apply(event({ type: 'gap.seen', data: { source: 's', reason: 'r' } }, 1));
  expect(nothing).toEqual({ touched: [], hosted: [], changes: [], decisions: [], timers: [], episode: null, divergence: null });
  expect(Object.isFrozen(nothing)).toBe(true);
  expect(guest.apply(event(appeared(adapter(20)), 2)).touched).toEqual([]);
  expect(guest.apply(event(changed(99, { up: true }), 3)).touched).toEqual([]);
  expect([guest.stateOf(MAC), guest.isConfirmed]).toEqual([undefined, true]);
});

test('an episode is named after the event that ended the rest, and ends with the next rest', () => {
  const teller = new Teller();
  teller.tell(appeared(trio.master), appeared(trio.standby), appeared(trio.primary));
  expect(teller.pair.episode).toBeNull();
  const lost = teller.tell(changed(4, { carrier: false }));
  expect([lost.episode, teller.pair.episode]).toEqual(['e4', 'e4']);
  expect(teller.tell(changed(3, { carrier: false })).episode).toBe('e4');
  const back = teller.tell(changed(4, { carrier: true }));
  expect([back.episode, teller.pair.episode]).toEqual(['e4', null]);
});

test('functions follow their drivers', () => {
  const guest = new Guest();
  const told: Happening[] = [
    { type: 'pci.added', data: { address: 'a', id: null, driver: null } },
    { type: 'pci.bound', data: { address: 'a', driver: 'ixgbevf' } },
  ];
  for (const [at, happening] of told.entries()) guest.apply(event(happening, at + 1));
  expect(guest.inventory.functions.get('a')?.driver).toBe('ixgbevf');
  guest.apply(event({ type: 'pci.unbound', data: { address: 'a' } }, 3));
  expect(guest.inventory.functions.get('a')?.driver).toBeNull();
  guest.apply(event({ type: 'pci.removed', data: { address: 'a' } }, 4));
  expect(guest.inventory.functions.size).toBe(0);
});

test('the boot and the system are those of the last start', () => {
  const guest = new Guest();
  expect(guest.policy).toBe(defaultPolicy);
  guest.apply(event(appeared(bonded.standby), 1));
  guest.apply(event(started('one', 'windows'), 2));
  // The first start that is seen says nothing of what was before it.
  expect([guest.bootId, guest.inventory.byCurrentMac, guest.adapters.size]).toEqual(['one', true, 1]);
  guest.apply(event(started('two'), 3));
  expect([guest.bootId, guest.inventory.byCurrentMac, guest.adapters.size]).toEqual(['two', false, 0]);
});
