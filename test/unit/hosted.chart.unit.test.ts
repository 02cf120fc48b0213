// What the hypervisor's chart sees of a pair, and what it makes of that: each fact of its view, where the facts put the pair,
// what each decision needs, and what its timers bring.
import { describe, expect, test } from 'vitest';
import type { Policy } from '../../src/events/catalogue.ts';
import type { VmPolicy } from '../../src/events/hosting.ts';
import { type HostedPair, newHosted } from '../../src/machines/hosted-pair.ts';
import { lookAtHosted, wordFor } from '../../src/machines/hosted-view.ts';
import {
  HOST_BIT,
  type HostBit,
  type HostConfiguration,
  hostFactsOf,
  type HostRequest,
  initialHostConfiguration,
  reactHost,
} from '../../src/machines/migration.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import type { HostStage } from '../../src/machines/stages.ts';
import { MAC, PARKED, RUNNING, VM } from '../hosted.given.ts';

/** What every configuration of a guest says. */
const BARE: VmPolicy = { mac: MAC, qmp: VM.qmp, standby: VM.standby, primary: VM.primary };
const VF = { mac: MAC, vlan: 7, qos: 0, spoofchk: true, trust: false };
const PORT = { vf: VF, pfEntry: false, tapEntry: false };
const ORDER = { episode: 'b-1', uri: 'tcp:b:1', started: false };
const GUEST = { version: '0', stage: 'onPrimary', datapath: 'primary', primary: MAC, episode: null, findings: [] };
const owing = (...kinds: ('vfMac' | 'forwarding' | 'unplugged')[]): HostedPair['obligations'] =>
  kinds.map((kind) => ({ id: `d1.0.${kind}`, pair: MAC, kind, device: null, before: {} }));
const at = (mac: string) => ({ port: { ...PORT, vf: { ...VF, mac } } });

interface Given extends Omit<Partial<HostedPair>, 'monitor' | 'vm'> {
  readonly monitor?: Partial<NonNullable<HostedPair['monitor']>> | null;
  readonly vm?: Partial<VmPolicy> | null;
  readonly policy?: Partial<Policy>;
}
/** The pair of a running guest that has its primary, but for what is given. */
const pairOf = ({ monitor = {}, vm = {}, policy: _policy, ...over }: Given): HostedPair => ({
  ...newHosted(VM),
  port: PORT,
  ...over,
  monitor: monitor === null ? null : { ...RUNNING, ...monitor },
  vm: vm === null ? null : { ...VM, ...vm },
});
const see = (given: Given): Set<HostBit> =>
  new Set(hostFactsOf(lookAtHosted(pairOf(given), { ...defaultPolicy, effects: 'on', ...given.policy })));
const USUAL = see({});
/** The facts that come and go with what is given. */
const differing = (given: Given): string => {
  const seen = see(given);
  const came = [...seen].filter((fact) => !USUAL.has(fact)).map((fact) => `+${fact}`);
  const went = [...USUAL].filter((fact) => !seen.has(fact)).map((fact) => `-${fact}`);
  return [...came, ...went].join(' ');
};

describe('the view', () => {
  test('of a guest that has its primary', () =>
    expect([...USUAL]).toEqual(['watched', 'plugged', 'prepared', 'vfOurs', 'unforwarded', 'mayAct']));

  test.each<[Given, string]>([
    // QEMU.
    [{ monitor: null }, '-watched -plugged'],
    [{ monitor: { connected: false } }, '-watched -plugged'],
    [{ monitor: { connected: false, incoming: true } }, '-watched -plugged'],
    [{ monitor: { connected: false, running: false, migration: 'completed' } }, '-watched -plugged'],
    [{ monitor: { connected: false, migration: 'cancelling' } }, '-watched -plugged'],
    [{ monitor: { connected: false, migration: 'wait-unplug' } }, '-watched -plugged'],
    [{ monitor: { primary: false } }, '-plugged'],
    [{ monitor: { incoming: true } }, '+incoming'],
    [{ monitor: { migration: 'completed', running: false } }, '+departed'],
    [{ monitor: { migration: 'completed' } }, ''],
    [{ monitor: { running: false } }, ''],
    [{ monitor: { migration: 'cancelling' } }, '+ending'],
    [{ monitor: { migration: 'wait-unplug' } }, '+waiting'],
    [{ hidden: true }, '+hidden'],
    [{ asked: true }, '+asked'],
    [{ refused: true }, '+refused'],
    [{ returning: true }, '+returning'],
    // The VF and its entries.
    [{ port: null }, '-vfOurs -unforwarded'],
    [{ port: { ...PORT, vf: null } }, '-vfOurs'],
    [at('02:00:00:00:00:09'), '-vfOurs'],
    [at(PARKED), '+vfParked -vfOurs'],
    [{ ...at(PARKED), vm: { parking: '02:00:00:00:00:09' } }, '-vfOurs'],
    [{ ...at('02:00:00:00:00:09'), vm: { parking: '02:00:00:00:00:09' } }, '+vfParked -vfOurs'],
    [{ ...at(PARKED), vm: null }, '-vfOurs -mayAct'],
    [{ ...at(PARKED), obligations: owing('vfMac') }, '+vfParked +misplaced -vfOurs'],
    [{ ...at(PARKED), obligations: owing('unplugged') }, '+vfParked -vfOurs'],
    [{ ...at('02:00:00:00:00:09'), obligations: owing('vfMac') }, '-vfOurs'],
    [{ obligations: owing('vfMac') }, ''],
    [{ ...at('02:00:00:00:00:09'), monitor: { incoming: true } }, '+incoming +misplaced -vfOurs'],
    [{ monitor: { incoming: true }, port: { ...PORT, vf: null } }, '+incoming -vfOurs'],
    [{ port: { ...PORT, pfEntry: true } }, ''],
    [{ port: { ...PORT, tapEntry: true } }, ''],
    [{ port: { ...PORT, pfEntry: true, tapEntry: true } }, '-unforwarded'],
    [{ port: { ...PORT, pfEntry: null, tapEntry: null } }, '-unforwarded'],
    [{ obligations: owing('forwarding') }, '+forwarded'],
    // The guest.
    [{ guest: GUEST }, '-prepared'],
    [{ guest: GUEST, answer: 'refused' }, ''],
    [{ guest: GUEST, monitor: { primary: false } }, '-plugged'],
    [{ guest: GUEST, monitor: null }, '-watched -plugged'],
    [{ guest: GUEST, asked: true }, '+asked +untold -prepared'],
    [{ guest: GUEST, asked: true, told: { word: 'prepare', episode: 'b-1' } }, '+asked -prepared'],
    [{ guest: GUEST, asked: true, told: { word: 'arriving', episode: 'b-1' } }, '+asked +untold -prepared'],
    // What was ordered.
    [{ order: ORDER }, '+ordered +ready'],
    [{ order: { ...ORDER, uri: null } }, '+ordered'],
    [{ order: { ...ORDER, started: true } }, '+ordered'],
    [{ order: ORDER, monitor: { migration: 'setup' } }, '+ordered'],
    [{ order: ORDER, guest: GUEST }, '+ordered +untold -prepared'],
    [{ order: ORDER, guest: GUEST, answer: 'prepared' }, '+ordered +untold +ready'],
    [{ order: ORDER, monitor: { failover: false } }, '+ordered +unplugging'],
    [{ order: ORDER, monitor: { failover: false }, asked: true }, '+asked +ordered'],
    [{ order: ORDER, monitor: { failover: false }, hidden: true }, '+hidden +ordered'],
    [{ order: ORDER, monitor: { failover: false, migration: 'setup' } }, '+ordered'],
    [{ order: { ...ORDER, uri: null }, monitor: { failover: false } }, '+ordered'],
    [{ order: ORDER, monitor: { failover: false }, guest: GUEST }, '+ordered +untold -prepared'],
    [{ order: ORDER, monitor: { failover: false, primary: false } }, '+ordered +ready -plugged'],
    [{ order: ORDER, vm: { readOnly: true } }, '+ordered'],
    [{ order: ORDER, monitor: { connected: false } }, '+ordered -watched -plugged'],
    [{ order: ORDER, monitor: { incoming: true } }, '+incoming +ordered'],
    [{ order: ORDER, vm: null }, '+ordered -mayAct'],
    [{ cancelOrdered: true }, ''],
    [{ cancelOrdered: true, monitor: { migration: 'active' } }, '+cancelOrdered'],
    [{ cancelOrdered: true, monitor: { migration: 'active' }, vm: { readOnly: true } }, ''],
    [{ vm: { onOverdue: 'cancel' } }, ''],
    [{ vm: { onOverdue: 'cancel' }, monitor: { migration: 'active' } }, '+cancels'],
    [{ vm: { onOverdue: 'cancel', readOnly: true }, monitor: { migration: 'active' } }, ''],
    [{ vm: { onOverdue: 'alarm' }, monitor: { migration: 'active' } }, ''],
    // A guest that saw another MAC on its primary has to see it again, where it can be plugged again.
    [{ guest: { ...GUEST, primary: PARKED } }, '+unplugging -prepared'],
    [{ guest: { ...GUEST, primary: PARKED }, vm: { readOnly: true } }, '-prepared'],
    [{ guest: { ...GUEST, primary: PARKED }, ...at(PARKED) }, '+vfParked -prepared -vfOurs'],
    [{ guest: { ...GUEST, primary: PARKED }, port: null }, '-prepared -vfOurs -unforwarded'],
    [{ guest: { ...GUEST, primary: null } }, '-prepared'],
    // A primary that is to come back.
    [{ monitor: { primary: false }, obligations: owing('unplugged') }, '+plugging -plugged'],
    [{ monitor: { primary: false }, obligations: owing('forwarding') }, '+forwarded -plugged'],
    [{ obligations: owing('unplugged') }, ''],
    [{ monitor: { primary: false, migration: 'active' }, obligations: owing('unplugged') }, '-plugged'],
    [{ monitor: { primary: false, migration: 'completed' }, obligations: owing('unplugged') }, '-plugged'],
    [{ monitor: { primary: false }, obligations: owing('unplugged'), vm: { readOnly: true } }, '-plugged'],
    [{ monitor: { primary: false }, obligations: owing('unplugged'), order: { ...ORDER, uri: null } }, '+ordered -plugged'],
    [{ monitor: { primary: false, incoming: true }, obligations: owing('unplugged') }, '+incoming -plugged'],
    [{ monitor: null, obligations: owing('unplugged') }, '-watched -plugged'],
    [{ monitor: { primary: false, failover: false }, reserved: true }, '+plugging -plugged'],
    [{ monitor: { primary: false }, reserved: true }, '-plugged'],
    [{ monitor: { primary: false, failover: false } }, '-plugged'],
    [{ monitor: { failover: false }, reserved: true }, ''],
    [{ monitor: { primary: false, failover: false, running: false }, reserved: true }, '-plugged'],
    [{ monitor: null, reserved: true }, '-watched -plugged'],
    // What may be done.
    [{ vm: null }, '-mayAct'],
    [{ policy: { effects: 'off' } }, '-mayAct'],
    [{ policy: { effects: 'dryRun' } }, ''],
    [{ released: true }, '-mayAct'],
    [{ released: true, obligations: owing('vfMac') }, '+restoring -mayAct'],
    [{ released: true, obligations: owing('vfMac'), policy: { effects: 'dryRun' } }, '-mayAct'],
    [{ attempts: defaultPolicy.retryLimit - 1 }, ''],
    [{ attempts: defaultPolicy.retryLimit }, '+exhausted'],
  ])('given %j: %s', (given, expected) => expect(differing(given)).toBe(expected));

  test('without arguments for device_add nothing is unplugged or plugged by us', () => {
    const bitsOf = (given: Given) =>
      hostFactsOf(lookAtHosted({ ...pairOf(given), vm: BARE }, { ...defaultPolicy, effects: 'on' }));
    expect(bitsOf({ guest: { ...GUEST, primary: PARKED } })).not.toContain('unplugging');
    expect(bitsOf({ monitor: { primary: false }, obligations: owing('unplugged') })).not.toContain('plugging');
  });

  test('a configuration without a parking MAC means the one that follows from the pair’s', () => {
    expect(hostFactsOf(lookAtHosted({ ...pairOf(at(PARKED)), vm: BARE }, defaultPolicy))).toContain('vfParked');
  });

  test.each([
    ...['setup', 'wait-unplug', 'active', 'pre-switchover', 'device', 'postcopy-active', 'postcopy-paused'].map((is) => [
      is,
      true,
    ]),
    ...['postcopy-recover', 'colo', 'cancelling'].map((is) => [is, true]),
    ...['none', 'completed', 'failed', 'cancelled'].map((is) => [is, false]),
  ] as [string, boolean][])('a migration that is %s goes on: %s', (migration, goesOn) =>
    expect(see({ cancelOrdered: true, monitor: { migration } }).has('cancelOrdered')).toBe(goesOn),
  );
});

describe('the word to the guest', () => {
  const told = { told: { word: 'prepare', episode: 'b-1' } } as const;
  test.each<[Given, string | null]>([
    [{}, null],
    [{ order: ORDER }, 'prepare'],
    [{ asked: true }, 'prepare'],
    [{ order: ORDER, monitor: null }, null],
    [{ order: ORDER, monitor: { connected: false } }, null],
    [{ order: ORDER, monitor: { incoming: true } }, null],
    [{ order: ORDER, hidden: true }, null],
    [{ order: ORDER, monitor: { primary: false } }, null],
    [told, 'arriving'],
    [{ ...told, port: null }, null],
    [{ ...told, port: { ...PORT, vf: null } }, null],
    [{ ...told, ...at(PARKED) }, null],
    [{ ...told, monitor: { migration: 'active' } }, null],
    [{ ...told, monitor: { running: false } }, 'arriving'],
    [{ told: { word: 'arriving', episode: 'b-1' } }, null],
    [{ reserved: true }, 'arriving'],
    [{ reserved: true, monitor: { running: false } }, null],
  ])('given %j: %s', (given, word) => expect(wordFor(pairOf(given))).toBe(word));
});

/** The chart by itself, shown facts. */
class Chart {
  at: HostConfiguration = initialHostConfiguration;
  bits = 0;
  readonly timers = new Set<string>();
  readonly done: string[] = [];

  #take(event: string): readonly HostRequest[] {
    const { to, requests } = reactHost(this.at, event, this.bits);
    this.at = to;
    for (const request of requests) {
      if (request.op === 'arm') this.timers.add(request.timer);
      else if (request.op === 'cancel') this.timers.delete(request.timer);
      else this.done.push(request.op === 'decide' ? request.kind : request.op);
    }
    return requests;
  }
  show(facts: readonly HostBit[]): this {
    this.bits = facts.reduce((sum, fact) => sum | HOST_BIT[fact], 0);
    this.#take('facts');
    return this.tell('act');
  }
  tell(event: string): this {
    this.#take(event);
    return this;
  }
  /** The one armed timer of this delay fires. */
  fire(delay: string): this {
    const [due, ...others] = [...this.timers].filter((timer) => timer.split('.')[2] === delay);
    if (due === undefined || others.length > 0) throw new Error(`not one timer ${delay}: ${this.armed.join(' ')}`);
    this.timers.delete(due);
    return this.tell(due);
  }
  get armed(): string[] {
    return [...this.timers].map((timer) => timer.split('.')[2] ?? '');
  }
}

describe('where the facts put the pair', () => {
  /** In the order in which they are asked: each holds whatever of the later ones is true, too. */
  const PLACES: readonly (readonly [HostStage, readonly HostBit[]])[] = [
    ['awaited', ['watched', 'incoming']],
    ['departed', ['watched', 'departed']],
    ['cancelling', ['watched', 'ending']],
    ['hidden', ['watched', 'hidden']],
    ['waitUnplug', ['watched', 'waiting']],
    ['unplugRequested', ['watched', 'asked', 'plugged']],
    ['returning', ['watched', 'returning']],
    ['preparing', ['watched', 'plugged', 'ordered']],
    ['present', ['watched', 'plugged']],
    ['absent', ['watched']],
  ];
  const more: (readonly [HostStage, readonly HostBit[]])[] = [
    ['unwatched', ['incoming', 'departed', 'ending', 'hidden', 'waiting', 'asked', 'plugged', 'returning', 'ordered']],
    ['parked', ['watched', 'hidden', 'vfParked']],
    ['present', ['watched', 'plugged', 'ordered', 'prepared']],
    ['absent', ['watched', 'asked']],
    ['absent', ['watched', 'ordered']],
  ];
  const all = [...PLACES, ...more];

  test.each(all)('%s: %j, whatever it was before', (stage, facts) => {
    for (const [from, before] of all) {
      const { at: place } = new Chart().show(before).show(facts);
      expect(place.stage, `after ${from}`).toBe(stage);
      expect(place.leaf, `after ${from}`).not.toBe('sorting');
    }
  });

  test.each(PLACES.map(([stage, facts], place) => [stage, facts, PLACES.slice(place).flatMap(([, later]) => later)] as const))(
    '%s goes before what is asked later',
    (stage, facts, later) => expect(new Chart().show([...new Set([...facts, ...later])]).at.stage).toBe(stage),
  );
});

const P = ['watched', 'plugged'] as const;
describe('what a decision needs', () => {
  const decided = (facts: readonly HostBit[]): string | undefined => new Chart().show(facts).done[0];

  /** Facts that must all hold; facts of which none may. */
  test.each<[string, readonly HostBit[], readonly HostBit[], readonly HostBit[]]>([
    ['giveBack', P, ['restoring'], ['exhausted']],
    ['removeForwarding', P, ['mayAct', 'forwarded'], ['exhausted', 'hidden', 'restoring']],
    ['restoreMac', ['plugged'], ['watched', 'mayAct', 'misplaced'], ['forwarded', 'hidden', 'departed']],
    ['restoreMac', ['watched', 'incoming'], ['mayAct', 'misplaced'], ['forwarded']],
    ['parkMac', ['watched'], ['hidden', 'mayAct', 'vfOurs'], ['departed', 'ending', 'incoming']],
    ['addForwarding', ['watched'], ['hidden', 'mayAct', 'vfParked', 'unforwarded'], ['ending', 'vfOurs']],
    ['cancelMigration', ['watched', 'waiting'], ['refused', 'mayAct', 'cancels'], ['hidden']],
    ['cancelMigration', ['watched', 'asked', 'plugged'], ['refused', 'mayAct', 'cancels'], ['hidden']],
    ['cancelMigration', ['watched', 'waiting'], ['mayAct', 'cancelOrdered'], ['exhausted']],
    ['tellGuest', P, ['mayAct', 'untold'], ['exhausted']],
    ['unplugPrimary', P, ['mayAct', 'unplugging'], ['exhausted']],
    ['startMigration', P, ['mayAct', 'ready'], ['exhausted']],
    ['plugPrimary', ['watched'], ['mayAct', 'plugging', 'vfOurs'], ['forwarded']],
  ])('%s', (kind, stage, needed, forbidden) => {
    expect(decided([...stage, ...needed])).toBe(kind);
    expect(new Chart().show([...stage, ...needed]).at.effects).toBe('pending');
    for (const one of needed) expect(decided([...stage, ...needed.filter((fact) => fact !== one)]), `no ${one}`).not.toBe(kind);
    for (const one of forbidden) expect(decided([...stage, ...needed, one]), one).not.toBe(kind);
  });

  test('one after the other, first what a primary needs that comes back', () => {
    const order: [string, HostBit][] = [
      ['giveBack', 'restoring'],
      ['removeForwarding', 'forwarded'],
      ['restoreMac', 'misplaced'],
      ['cancelMigration', 'cancelOrdered'],
      ['tellGuest', 'untold'],
      ['unplugPrimary', 'unplugging'],
      ['startMigration', 'ready'],
      ['plugPrimary', 'plugging'],
    ];
    for (const [place, [kind]] of order.entries())
      expect(decided([...P, 'mayAct', 'vfOurs', ...order.slice(place).map(([, fact]) => fact)])).toBe(kind);
    const away = ['watched', 'hidden', 'mayAct', 'unforwarded', 'cancelOrdered'] as const;
    expect(decided([...away, 'vfOurs', 'vfParked'])).toBe('parkMac');
    expect(decided([...away, 'vfParked'])).toBe('addForwarding');
    expect(decided(away)).toBe('cancelMigration');
  });
});

describe('time', () => {
  test.each<[string, readonly HostBit[]]>([
    ['waitUnplug', ['watched', 'waiting']],
    ['unplugRequested', ['watched', 'asked', 'plugged']],
  ])('%s is overdue after its limit, or when the guest refuses', (stage, facts) => {
    const chart = new Chart().show(facts);
    expect([chart.at.leaf, chart.armed]).toEqual(['inTime', ['unplugLimit']]);
    expect(chart.fire('unplugLimit').at).toMatchObject({ stage, leaf: 'overdue' });
    expect(chart.armed).toEqual([]);
    expect(new Chart().show([...facts, 'refused']).at).toMatchObject({ stage, leaf: 'overdue' });
    expect(new Chart().show(facts).show(P).armed).toEqual([]);
  });

  test('a guest that does not answer is not waited for, and a primary that nobody shows is taken for back', () => {
    expect(new Chart().show([...P, 'ordered']).fire('prepareLimit').done).toEqual(['goOn']);
    expect(new Chart().show(['watched', 'returning']).fire('returnLimit').done).toEqual(['assumeBack']);
  });

  const wanting = [...P, 'mayAct', 'ready'] as const;
  const pending = () => new Chart().show(wanting);
  test('a decision under way is the only one', () => {
    const chart = pending().show([...wanting, 'untold']);
    expect([chart.done, chart.at.effects]).toEqual([['startMigration'], 'pending']);
    expect(chart.tell('outcome.succeeded').tell('act').done).toEqual(['startMigration', 'tellGuest']);
  });

  test('what failed is tried again after a pause, or when a fact has changed', () => {
    const failed = pending().tell('outcome.failed');
    expect([failed.at.effects, failed.at.leaf, failed.armed]).toEqual(['blocked', 'present', ['retryDelay']]);
    expect(failed.tell('act').done).toHaveLength(1);
    expect(failed.fire('retryDelay').tell('act').done).toEqual(['startMigration', 'startMigration']);
    const changed = pending().tell('outcome.failed').show(wanting);
    expect([changed.done, changed.armed]).toEqual([['startMigration', 'startMigration'], []]);
  });

  test.each(['outcome.refused', 'outcome.void'])('%s waits for a fact, or long', (outcome) => {
    const refused = pending().tell(outcome);
    expect([refused.at.effects, refused.armed]).toEqual(['blocked', ['blockedRetry']]);
    expect(refused.fire('blockedRetry').done).toEqual(['startMigration', 'forgetAttempts']);
    expect(refused.at.effects).toBe('free');
    expect(pending().tell(outcome).show(wanting).done).toEqual(['startMigration', 'startMigration']);
  });

  test('what was tried too often waits as well', () => {
    const exhausted = new Chart().show([...wanting, 'exhausted']);
    expect([exhausted.done, exhausted.armed]).toEqual([[], ['blockedRetry']]);
  });
});
