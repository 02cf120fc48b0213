// The fold looks transitions up in a table that it fills itself; xstate is the oracle. Long random walks through every
// kind of event must give the same steps, decisions with their payloads, timers and states, whichever is asked.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AdapterChange, Decision, DriverFacts, Happening, Policy } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { askChart } from '../../src/machines/chart-table.ts';
import { Guest } from '../../src/machines/guest.ts';
import type { Step } from '../../src/machines/step.ts';
import { acting, adapter, appeared, changed, gone, MAC, surveyed } from '../given.ts';

const OTHER = '52:54:00:99:99:99';
const ifindex = fc.integer({ min: 2, max: 6 });
const device = fc.constantFrom<AdapterChange>(
  { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0' },
  { bus: 'virtio', device: 'virtio2', pci: '0000:01:01.0' },
  { bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0' },
  { bus: 'pci', device: '0000:03:00.0', pci: '0000:03:00.0' },
  { kind: 'bond', permMac: null, bond: { mode: 1, activeSlave: 3 } },
  { kind: 'vlan' },
);
const change: fc.Arbitrary<AdapterChange> = fc.record(
  {
    up: fc.boolean(),
    carrier: fc.boolean(),
    mtu: fc.constantFrom(1500, 9000),
    master: fc.option(ifindex, { nil: null }),
    slave: fc.option(fc.record({ active: fc.boolean(), miiUp: fc.boolean() }), { nil: null }),
    mac: fc.constantFrom(MAC, OTHER),
    permMac: fc.constantFrom(MAC, OTHER, null),
  },
  { requiredKeys: [] },
);
const someAdapter = fc.tuple(ifindex, device, change).map(([index, where, over]) => adapter(index, { ...where, ...over }));
const facts: fc.Arbitrary<DriverFacts> = fc.record({
  mac: fc.constant(MAC),
  virtio: fc.boolean(),
  isStandby: fc.boolean(),
  virtioLink: fc.boolean(),
  suppressLink: fc.boolean(),
  started: fc.boolean(),
  hasVf: fc.boolean(),
  vfIfIndex: ifindex,
  vfLink: fc.boolean(),
});
const effects = fc.constantFrom<Policy['effects']>('on', 'on', 'on', 'on', 'dryRun', 'off');

/** What happens next; timers and outcomes refer to what the walk itself has armed and decided. */
type Move =
  | { kind: 'tell'; what: Happening }
  | { kind: 'fire'; which: number }
  | { kind: 'conclude'; result: 'succeeded' | 'failed' | 'refused' | 'void' };
const tell = (what: Happening): Move => ({ kind: 'tell', what });
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(ifindex, change).map(([index, what]) => tell(changed(index, what))) },
  { weight: 3, arbitrary: someAdapter.map((what) => tell(appeared(what))) },
  { weight: 2, arbitrary: ifindex.map((index) => tell(gone(index))) },
  { weight: 1, arbitrary: fc.array(someAdapter, { maxLength: 4 }).map((all) => tell(surveyed(...all))) },
  { weight: 3, arbitrary: facts.map((data) => tell({ type: 'driver.facts', data })) },
  { weight: 2, arbitrary: fc.constant(tell({ type: 'driver.gone', data: { mac: MAC } })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('0000:02:00.0', '0000:03:00.0')
      .map((address) => tell({ type: 'departure.signalled', data: { address, sign: 'ptpRemoved' } })),
  },
  { weight: 1, arbitrary: effects.map((value) => tell(acting({ effects: value }))) },
  { weight: 4, arbitrary: fc.nat(7).map((which): Move => ({ kind: 'fire', which })) },
  {
    weight: 4,
    arbitrary: fc.constantFrom('succeeded', 'failed', 'refused', 'void').map((result): Move => ({ kind: 'conclude', result })),
  },
);

const plain = ({ changes, touched, ...rest }: Step) => ({
  ...rest,
  touched: touched.map(({ mac }) => mac),
  changes: changes.map(({ pair, before }) => ({ mac: pair.mac, now: { ...pair.shown }, before })),
});

class Walk {
  seq = 0;
  readonly guest: Guest;
  readonly armed: { pair: string; timer: string; armedBy: number }[] = [];
  readonly steps: ReturnType<typeof plain>[] = [];
  readonly outstanding = new Map<string, Decision>();
  readonly decisions: { decision: Decision; others: Decision[]; policy: Policy }[] = [];
  constructor(guest: Guest) {
    this.guest = guest;
  }
  #fold(what: Happening): void {
    this.seq += 1;
    const event: Foldable = { ...what, seq: this.seq, mono_ns: String(this.seq * 1_000_000) };
    if (what.type === 'outcome.seen') this.outstanding.delete(what.data.decision);
    const step = this.guest.apply(event);
    this.steps.push(plain(step));
    for (const request of step.timers) if (request.op === 'arm') this.armed.push(request);
    for (const decision of step.decisions) {
      this.decisions.push({ decision, others: [...this.outstanding.values()], policy: this.guest.policy });
      this.outstanding.set(decision.id, decision);
      this.#fold({ type: 'decision.made', data: decision });
    }
  }
  make(next: Move): void {
    if (next.kind === 'tell') this.#fold(next.what);
    else if (next.kind === 'fire') {
      const timer = this.armed.at(-1 - next.which);
      if (timer !== undefined) {
        const { pair, timer: name, armedBy } = timer;
        this.#fold({ type: 'timer.elapsed', data: { pair, timer: name, armedBy } });
      }
    } else {
      for (const { pending } of this.guest.pairs.values()) {
        if (pending === null) continue;
        const data = { decision: pending.id, pair: pending.pair, result: next.result, reason: null, observed: false };
        this.#fold({ type: 'outcome.seen', data });
      }
    }
  }
}

/** A walk starts in a world where there is something to do: a bond, a trio, or a NETKVM record, each with a VF. */
const virtio = { bus: 'virtio', device: 'virtio1', up: true, carrier: true };
const vf = adapter(4, { bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0', up: true, carrier: true });
const bond = adapter(5, { kind: 'bond', permMac: null, up: true, bond: { mode: 1, activeSlave: 3 } });
const record = {
  isStandby: true,
  virtioLink: true,
  suppressLink: false,
  started: false,
  hasVf: false,
  vfIfIndex: 4,
  vfLink: false,
};
const worlds: Happening[][] = [
  [surveyed(bond, adapter(3, { ...virtio, master: 5, slave: { active: true, miiUp: true } }), vf)],
  [surveyed(adapter(2, virtio), adapter(3, { ...virtio, master: 2 }), vf)],
  [surveyed(adapter(3, virtio), vf), { type: 'driver.facts', data: { mac: MAC, virtio: true, ...record } }],
];
const walks = fc
  .tuple(fc.constantFrom(...worlds), fc.array(move, { minLength: 50, maxLength: 300 }))
  .map(([world, moves]) => [tell(acting()), ...world.map(tell), ...moves]);

test('the table and xstate agree on every step of long random walks', () => {
  const seen = { decisions: 0, timers: 0, stages: new Set<string>() };
  fc.assert(
    fc.property(walks, (moves) => {
      const [table, oracle] = [new Walk(new Guest()), new Walk(new Guest(askChart))];
      for (const next of moves) {
        table.make(next);
        oracle.make(next);
      }
      expect(table.steps).toEqual(oracle.steps);
      expect(table.guest.snapshot()).toEqual(oracle.guest.snapshot());
      for (const step of table.steps) {
        seen.decisions += step.decisions.length;
        seen.timers += step.timers.length;
        for (const { now } of step.changes) seen.stages.add(now.stage);
      }
    }),
    { numRuns: 100, endOnFailure: true },
  );
  // A walk that never got anywhere would prove nothing.
  expect(seen.decisions).toBeGreaterThan(50);
  expect(seen.timers).toBeGreaterThan(50);
  expect([...seen.stages].toSorted()).toEqual([
    'absent',
    'attaching',
    'awaitingPrimary',
    'detaching',
    'fallback',
    'onPrimary',
    'standalone',
    'switching',
  ]);
});

test('folding is a function of the events alone, and a restored snapshot goes on like the original', () => {
  fc.assert(
    fc.property(walks, walks, (first, second) => {
      const [one, two] = [new Walk(new Guest()), new Walk(new Guest())];
      for (const next of first) {
        one.make(next);
        two.make(next);
      }
      expect(one.guest.snapshot()).toEqual(two.guest.snapshot());
      const restored = new Guest();
      restored.restore(structuredClone(one.guest.snapshot()));
      expect(restored.snapshot()).toEqual(one.guest.snapshot());
      const three = new Walk(restored);
      three.seq = one.seq;
      three.armed.push(...one.armed);
      const from = one.steps.length;
      for (const next of second) {
        one.make(next);
        three.make(next);
      }
      expect(three.steps).toEqual(one.steps.slice(from));
      expect(three.guest.snapshot()).toEqual(one.guest.snapshot());
    }),
    { numRuns: 60 },
  );
});

test('no decision touches a pair that is not listed, binds a pair to itself, or is made while another is under way', () => {
  fc.assert(
    fc.property(walks, (moves) => {
      const walk = new Walk(new Guest());
      for (const next of moves) walk.make(next);
      for (const { decision, others, policy } of walk.decisions) {
        expect(policy.pairs.map(({ mac }) => mac)).toContain(decision.pair);
        expect(policy.effects).not.toBe('off');
        expect(others.filter(({ pair }) => pair === decision.pair)).toEqual([]);
        if (decision.kind !== 'bindPrimary' && decision.kind !== 'activatePrimary') continue;
        expect(decision.primary).not.toBeNull();
        expect(decision.standby?.ifindex).not.toBe(decision.primary?.ifindex);
      }
    }),
    { numRuns: 100 },
  );
});
