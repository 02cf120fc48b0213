// The events that are folded, read and written in the measurements: a small data centre guest with two net_failover trios
// and two active-backup bonds. Mostly links that flap, counters and addresses; now and then a migration (a primary is
// unplugged and plugged again) and a survey. The same count gives the same events. Timers of the fold fire in their time.
import type { Adapter, AdapterChange, Happening, PciFunction } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { Guest } from '../../src/machines/guest.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';

/** An adapter of which nothing is known that matters here. */
export const nobody: Omit<Adapter, 'ifindex' | 'name'> = {
  mac: null,
  permMac: null,
  bus: null,
  device: null,
  pci: null,
  driver: null,
  mtu: 1500,
  up: true,
  carrier: true,
  master: null,
  kind: null,
  bond: null,
  slave: null,
  protocols: null,
};

interface Pair {
  readonly mode: 'kernel' | 'bond';
  readonly master: Adapter;
  readonly standby: Adapter;
  readonly primary: Adapter;
  readonly pci: string;
}

const hex = (number: number, digits: number): string => number.toString(16).padStart(digits, '0');
const pairOf = (number: number, mode: Pair['mode']): Pair => {
  const mac = `52:54:00:00:${hex(number >> 8, 2)}:${hex(number & 255, 2)}`;
  const ifindex = number * 10;
  const pci = `${hex(number >> 8, 4)}:${hex(number & 255, 2)}:00.0`;
  const virtio = {
    mac,
    permMac: mac,
    bus: 'virtio',
    device: `virtio${number}`,
    pci: `${hex(number >> 5, 4)}:00:${hex(number & 31, 2)}.0`,
    driver: 'virtio_net',
  };
  const slave = (active: boolean) => (mode === 'bond' ? { active, miiUp: true } : null);
  return {
    mode,
    pci,
    master:
      mode === 'bond'
        ? { ...nobody, ifindex, name: `bond${number}`, mac, kind: 'bond', bond: { mode: 1, activeSlave: ifindex + 2 } }
        : { ...nobody, ...virtio, ifindex, name: `eth${number}` },
    standby: { ...nobody, ...virtio, ifindex: ifindex + 1, name: `eth${number}nsby`, master: ifindex, slave: slave(false) },
    primary: {
      ...nobody,
      ifindex: ifindex + 2,
      name: `enp${number}s0`,
      mac,
      permMac: mac,
      bus: 'pci',
      device: pci,
      pci,
      driver: 'iavf',
      master: ifindex,
      slave: slave(true),
    },
  };
};

const PAIRS: readonly Pair[] = [pairOf(1, 'kernel'), pairOf(2, 'bond'), pairOf(3, 'kernel'), pairOf(4, 'bond')];

const changed = (ifindex: number, change: AdapterChange): Happening => ({
  type: 'adapter.changed',
  data: { ifindex, changed: change },
});
const functionOf = ({ pci }: Pair): PciFunction => ({ address: pci, id: '8086:1889', driver: 'iavf' });

const counters = ({ standby }: Pair): Happening => ({
  type: 'counters.sampled',
  data: { ifindex: standby.ifindex, rxPackets: '123456789', rxDropped: '0', txPackets: '987654321', txDropped: '0' },
});
const address = ({ master }: Pair, type: 'address.added' | 'address.removed'): Happening => ({
  type,
  data: { ifindex: master.ifindex, address: '192.0.2.17/24' },
});

/** A bond's members change places with the carrier of the primary; net_failover's do so by themselves. */
const taken = ({ mode, primary, standby }: Pair, byPrimary: boolean): Happening[] =>
  mode === 'kernel'
    ? []
    : [
        changed(primary.ifindex, { slave: { active: byPrimary, miiUp: byPrimary } }),
        changed(standby.ifindex, { slave: { active: !byPrimary, miiUp: true } }),
      ];

const flap = (pair: Pair, round: number): Happening[] => {
  const { ifindex } = pair.primary;
  const field = round % 3 === 0 ? 'up' : 'carrier';
  return [changed(ifindex, { [field]: false }), ...taken(pair, false), changed(ifindex, { [field]: true }), ...taken(pair, true)];
};
const standbyFlap = ({ standby }: Pair): Happening[] => [
  changed(standby.ifindex, { carrier: false }),
  changed(standby.ifindex, { carrier: true }),
];

const sign = ({ pci }: Pair): Happening => ({ type: 'departure.signalled', data: { address: pci, sign: 'ptpRemoved' } });
const unplug = (pair: Pair): Happening[] => [
  changed(pair.primary.ifindex, { up: false }),
  ...taken(pair, false).slice(1),
  changed(pair.primary.ifindex, { master: null }),
  sign(pair),
  { type: 'adapter.gone', data: { ifindex: pair.primary.ifindex } },
  { type: 'pci.unbound', data: { address: pair.pci } },
  { type: 'pci.removed', data: { address: pair.pci } },
  { type: 'announce.seen', data: { ifindex: pair.standby.ifindex } },
];
const plug = (pair: Pair): Happening[] => [
  { type: 'pci.added', data: { ...functionOf(pair), driver: null } },
  { type: 'pci.bound', data: { address: pair.pci, driver: 'iavf' } },
  { type: 'adapter.appeared', data: { ...pair.primary, up: false, carrier: false, master: null, slave: null } },
  changed(pair.primary.ifindex, { master: pair.primary.master }),
  changed(pair.primary.ifindex, { up: true }),
  changed(pair.primary.ifindex, { carrier: true }),
  ...taken(pair, true),
];

const survey = (pairs: readonly Pair[] = PAIRS): Happening => ({
  type: 'survey.taken',
  data: {
    reason: 'periodic',
    adapters: pairs.flatMap(({ master, standby, primary }) => [master, standby, primary]),
    functions: pairs.map(functionOf),
    addresses: [],
  },
});

/** One round, some 900 events: flaps of every pair again and again, two migrations, one survey. */
const round = (number: number): Happening[] => {
  const happenings: Happening[] = [];
  const [first, second] = [PAIRS[number % 4] as Pair, PAIRS[(number + 1) % 4] as Pair];
  for (let index = 0; index < 40; index += 1) {
    for (const pair of PAIRS) {
      happenings.push(...flap(pair, index));
      if (index % 8 === 0) happenings.push(counters(pair));
    }
    if (index % 10 === 0)
      happenings.push(...standbyFlap(first), address(first, 'address.removed'), address(first, 'address.added'));
    if (index === 10) happenings.push(...unplug(first), counters(second), ...plug(first));
    // A migration that is cancelled: the sign is not followed by anything, and forgotten in time.
    if (index === 20) happenings.push(sign(second));
    if (index === 30) happenings.push(...unplug(second), ...unplug(first), ...plug(second), ...plug(first));
  }
  happenings.push(survey());
  return happenings;
};

const ROUNDS = [0, 1, 2, 3].map(round);

const opening = (pairs: readonly Pair[] = PAIRS): Happening[] => [
  {
    type: 'service.started',
    data: { version: '0', machineVersion: 1, bootId: 'bench', vmGeneration: null, platform: 'linux', host: {} },
  },
  { type: 'configuration.applied', data: { policy: defaultPolicy } },
  survey(pairs),
];

/** Time between two events: a primary is lost every ten seconds or so, which is not yet flapping. */
const STEP_MS = 700;
/** Now and then nothing happens for a while, so that timers fire. */
const QUIET_MS = 12_000;
const QUIET_EVERY = 97;

/** The first `count` events of this world, numbered, with timers that fire when they are due. */
export function* story(count: number): Generator<Foldable> {
  const guest = new Guest();
  const timers = new Map<string, { pair: string; timer: string; armedBy: number; due_ms: number }>();
  let now_ms = 1_000_000;
  let seq = 0;
  const next = (happening: Happening): Foldable => {
    seq += 1;
    const event: Foldable = { ...happening, seq, mono_ns: `${now_ms}000000` };
    for (const request of guest.apply(event).timers) {
      const key = `${request.pair} ${request.timer}`;
      if (request.op === 'cancel') timers.delete(key);
      else timers.set(key, { ...request, due_ms: now_ms + request.delay_ms });
    }
    return event;
  };
  for (const happening of opening()) yield next(happening);
  for (let number = 0; ; number += 1) {
    if (seq >= count) return;
    for (const happening of ROUNDS[number % ROUNDS.length] ?? []) {
      now_ms += seq % QUIET_EVERY === 0 ? QUIET_MS : STEP_MS;
      for (const [key, { pair, timer, armedBy, due_ms }] of timers) {
        if (due_ms > now_ms) continue;
        timers.delete(key);
        if (seq < count) yield next({ type: 'timer.elapsed', data: { pair, timer, armedBy } });
      }
      if (seq < count) yield next(happening);
    }
  }
}

/** Events between two checkpoints, as the service writes them unless told otherwise. */
const CHECKPOINT_EVERY = 20_000;

/** The first `count` events of a guest with so many pairs: their primaries flap in turn; with the service's checkpoints. */
export function* crowd(count: number, size: number): Generator<Foldable> {
  const pairs = Array.from({ length: size }, (_, index) => pairOf(index + 1, 'kernel'));
  const guest = new Guest();
  let seq = 0;
  const next = (happening: Happening): Foldable => {
    seq += 1;
    const event: Foldable = { ...happening, seq, mono_ns: `${1_000_000 + seq * STEP_MS}000000` };
    guest.apply(event);
    return event;
  };
  for (const happening of opening(pairs)) yield next(happening);
  for (let number = 0; ; number += 1)
    for (const pair of pairs)
      for (const happening of flap(pair, number)) {
        if (seq >= count) return;
        yield next(
          seq % CHECKPOINT_EVERY === CHECKPOINT_EVERY - 1
            ? { type: 'checkpoint.made', data: { state: guest.snapshot() } }
            : happening,
        );
      }
}
