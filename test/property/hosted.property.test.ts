// The hypervisor's side on random walks: whatever QEMU, the VF, the guest and the operator do, and whatever becomes of the
// effects, the VF is never parked while the guest has its primary, and never lacks the pair's MAC when we plug it.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Guest } from '../../src/machines/guest.ts';
import {
  askMigration,
  HOST_BIT,
  HOST_EVENTS,
  HOST_VIEW,
  type HostBit,
  initialHostConfiguration,
  reactHost,
} from '../../src/machines/migration.ts';
import { HOST_STAGES } from '../../src/machines/stages.ts';
import { HostedStory, MAC, PARKED, PORT } from '../hosted.given.ts';

const MIGRATIONS = ['none', 'setup', 'wait-unplug', 'active', 'device', 'completed', 'failed', 'cancelling', 'cancelled'];
const word = fc.constantFrom('prepared' as const, 'refused' as const);
const move = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('migration' as const), to: fc.constantFrom(...MIGRATIONS) }) },
  fc.record({ do: fc.constant('primary' as const), to: fc.boolean() }),
  fc.record({ do: fc.constant('running' as const), to: fc.boolean() }),
  fc.record({ do: fc.constant('connected' as const), to: fc.boolean() }),
  fc.record({ do: fc.constant('incoming' as const), to: fc.boolean() }),
  fc.record({ do: fc.constant('mac' as const), to: fc.constantFrom(MAC, PARKED, '02:00:00:00:00:09') }),
  fc.record({ do: fc.constant('guest' as const), to: fc.constantFrom(MAC, PARKED, null) }),
  fc.record({ do: fc.constant('moved' as const), to: fc.constantFrom('standby', 'primary') }),
  fc.record({ do: fc.constant('heard' as const), to: word }),
  fc.record({ do: fc.constant('event' as const), to: fc.constantFrom('UNPLUG_PRIMARY', 'DEVICE_UNPLUG_GUEST_ERROR') }),
  fc.record({
    do: fc.constant('order' as const),
    to: fc.constantFrom('prepare', 'migrate', 'cancel', 'reserve', 'reload' as const),
  }),
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('outcome' as const),
      to: fc.constantFrom('succeeded', 'failed', 'refused', 'void' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), to: fc.nat(3) }) },
  fc.record({ do: fc.constant('restart' as const), to: fc.constant(null) }),
);
type Move = typeof move extends fc.Arbitrary<infer T> ? T : never;

const make = (host: HostedStory, step: Move): void => {
  switch (step.do) {
    case 'migration':
      host.qemu({ migration: step.to });
      return;
    case 'primary':
    case 'running':
    case 'connected':
    case 'incoming':
      host.qemu({ [step.do]: step.to });
      return;
    case 'mac':
      host.port({ mac: step.to });
      return;
    case 'guest':
      host.guest(step.to);
      return;
    case 'moved':
      host.guest(MAC, step.to);
      return;
    case 'heard':
      host.tell('channel.heard', { pair: MAC, word: step.to, episode: host.pair.told?.episode ?? 'none', reason: null });
      return;
    case 'event':
      host.says(step.to, { 'device-id': 'vf0', device: 'vf0' });
      return;
    case 'order':
      host.tell('operator.commanded', { command: step.to, pair: MAC, by: 'chance', uri: 'tcp:b:1' });
      return;
    case 'outcome':
      if (host.pair.pending !== null) host.done(step.to);
      return;
    case 'time': {
      const timer = [...host.pair.timers].at(step.to);
      if (timer !== undefined) host.tell('timer.elapsed', { pair: MAC, timer: timer[0], armedBy: timer[1] });
      return;
    }
    case 'restart':
      if (host.pair.pending !== null) host.done('void');
      host.tell('service.started', { version: '0', machineVersion: 1, bootId: 'b', vmGeneration: null, platform: 'h', host: {} });
  }
};

/** What must hold of every decision in the instant in which it is made. */
const check = (host: HostedStory, kind: string): void => {
  const { hidden, monitor, port, shown, obligations, vm, answer, returning } = host.pair;
  // The guest does not see the entry of a port that we plug into, and a target's VF is not plugged yet.
  const isFree = monitor?.failover === false && (monitor.incoming || vm?.port !== undefined);
  const owes = (what: string): boolean => obligations.some((one) => one.kind === what);
  expect(monitor?.connected === true || kind === 'removeForwarding' || kind === 'giveBack', kind).toBe(true);
  switch (kind) {
    case 'parkMac':
      expect(hidden || isFree).toBe(true);
      if (hidden) expect(['hidden', 'parked']).toContain(shown.stage);
      // A guest that transmits on its primary has it.
      else if (monitor?.primary === true) expect([answer, returning]).toEqual(['prepared', false]);
      expect(port?.vf?.mac).not.toBe(PARKED);
      return;
    case 'restoreMac':
      expect(['hidden', 'parked', 'departed']).not.toContain(shown.stage);
      // Else it is for a primary that is to be plugged, or behind a port that is ours.
      expect(owes('vfMac') || owes('unplugged') || monitor?.incoming === true || monitor?.failover === false).toBe(true);
      expect(owes('forwarding')).toBe(false);
      return;
    case 'addForwarding':
      expect(port?.vf?.mac).toBe(PARKED);
      expect(shown.stage === 'parked' || isFree).toBe(true);
      return;
    case 'removeForwarding':
      expect(owes('forwarding')).toBe(true);
      return;
    case 'plugPrimary':
      expect(monitor?.primary).toBe(false);
      if (isFree) return;
      expect(port?.vf?.mac).toBe(MAC);
      expect(owes('forwarding')).toBe(false);
      return;
    case 'startMigration':
      expect(monitor?.failover === true || monitor?.primary === false).toBe(true);
      return;
    default:
      return;
  }
};

describe('random walks', () => {
  test.each([
    [true, {}],
    [false, {}],
    [true, PORT],
    [false, PORT],
  ])('decide nothing that harms, and replay to the same (failover %s, %o)', (failover, vm) => {
    fc.assert(
      fc.property(fc.array(move, { minLength: 5, maxLength: 60 }), (moves) => {
        const host = new HostedStory({ onOverdue: 'cancel', ...vm });
        host.port();
        host.qemu({ failover });
        for (const step of moves) {
          const before = host.decided.length;
          make(host, step);
          const made = host.decided.slice(before);
          expect(made.length).toBeLessThanOrEqual(2);
          const [last] = made.slice(-1);
          if (last !== undefined && host.pair.pending?.id === last.id) check(host, last.kind);
        }
        const again = new Guest();
        for (const event of host.events) expect(again.apply(event).divergence).toBeNull();
        expect(again.snapshot()).toEqual(host.story.guest.snapshot());
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    [true, {}],
    [false, {}],
    [false, PORT],
  ])(
    'whatever happened, a primary that is back and effects that succeed leave nothing owed (failover %s, %o)',
    (failover, vm) => {
      fc.assert(
        fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
          const host = new HostedStory(vm);
          host.port();
          host.qemu({ failover });
          for (const step of moves) make(host, step);
          if (host.pair.pending !== null) host.done('void');
          host.tell('operator.commanded', { command: 'cancel', pair: MAC, by: 'test' });
          host.tell('operator.commanded', { command: 'reload', pair: MAC, by: 'test' });
          host.qemu({ connected: false });
          host.qemu({ connected: true, incoming: false, running: true, migration: 'none', primary: true });
          host.guest(MAC);
          // A parking MAC that we did not give is not ours to take away.
          if (!host.pair.obligations.some(({ kind }) => kind === 'vfMac')) host.port({ mac: MAC });
          else if (host.pair.port?.vf?.mac !== PARKED) host.port({ mac: MAC });
          host.run();
          expect(host.stage).toBe('present');
          expect(host.pair.port?.vf?.mac).toBe(MAC);
          expect(host.pair.obligations.filter(({ kind }) => kind === 'forwarding')).toEqual([]);
        }),
        { numRuns: 300 },
      );
    },
  );
});

describe('the chart', () => {
  test('the table answers as xstate does, and the chart comes to rest whatever it is shown', () => {
    const stages = new Set<string>();
    const names = Object.keys(HOST_VIEW) as HostBit[];
    const bitsOf = (bits: readonly HostBit[]): number => bits.reduce((sum, name) => sum | HOST_BIT[name], HOST_BIT.watched);
    const some = fc.subarray(names, { maxLength: 5 }).map(bitsOf);
    const event = fc.constantFrom(...HOST_EVENTS, 'xstate.after.unplugLimit.migration.path.waitUnplug.inTime');
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.oneof(some, fc.constant(0))), { maxLength: 30 }), (steps) => {
        let at = initialHostConfiguration;
        for (const [name, bits] of steps) {
          const { to, requests } = reactHost(at, name, bits);
          expect({ to, requests }).toEqual(askMigration(at, name, bits));
          expect(requests.filter(({ op }) => op === 'decide').length).toBeLessThanOrEqual(1);
          at = to;
          stages.add(at.stage);
        }
      }),
      { numRuns: 500 },
    );
    expect([...stages].toSorted()).toEqual([...HOST_STAGES].toSorted());
  });
});
