// What exists and the pairs that it makes: every method by what it changes and by the pairs that it says are concerned. A
// pair that is concerned and not said is a pair that nobody looks at again.
import { beforeEach, describe, expect, test } from 'vitest';
import type { Adapter, AdapterChange, DriverFacts, Obligation, PciFunction } from '../../src/events/catalogue.ts';
import { Inventory } from '../../src/machines/inventory.ts';
import type { PairState } from '../../src/machines/pair-state.ts';
import { adapter, bonded, MAC } from '../given.ts';

const OTHER = '52:54:00:00:00:99';
const own = (mac: string): AdapterChange => ({ mac, permMac: mac });
const vf = (ifindex: number, over: AdapterChange = {}): Adapter =>
  adapter(ifindex, { bus: 'pci', device: `vf${ifindex}`, pci: `0000:0${ifindex}:00.0`, ...over });
const other = {
  standby: {
    ...bonded.standby,
    ifindex: 12,
    name: 'eth12',
    device: 'virtio12',
    pci: '0000:0c:00.0',
    master: null,
    ...own(OTHER),
  },
  primary: vf(14, { ...own(OTHER), pci: '0000:0e:00.0' }),
};
const record = (over: Partial<DriverFacts> = {}): DriverFacts => {
  const flags = {
    virtio: true,
    isStandby: true,
    virtioLink: true,
    suppressLink: false,
    started: false,
    hasVf: false,
    vfLink: false,
  };
  return { mac: MAC, vfIfIndex: 0, ...flags, ...over };
};
const owed = (kind: Obligation['kind'], over: Partial<Obligation> = {}): Obligation => ({
  id: `d1.0.${kind}`,
  pair: MAC,
  kind,
  device: null,
  before: {},
  ...over,
});

let inventory: Inventory;
let seq: number;
const add = (...list: Adapter[]): string[] => [...new Set(list.flatMap((one) => macs(inventory.addAdapter(one, (seq += 1)))))];
const macs = (pairs: readonly PairState[] | null): string[] => (pairs ?? []).map(({ mac }) => mac);
const pairOf = (mac = MAC): PairState => {
  const found = inventory.pairs.get(mac);
  if (found === undefined) throw new Error(`no pair ${mac}`);
  return found;
};
const primaryOf = (mac = MAC): number | null => pairOf(mac).roles.primary?.facts.ifindex ?? null;
const change = (ifindex: number, changed: AdapterChange): string[] => {
  const known = inventory.adapters.get(ifindex);
  if (known === undefined) throw new Error(`no adapter ${ifindex}`);
  return macs(inventory.changeAdapter(known, changed));
};
beforeEach(() => {
  inventory = new Inventory();
  seq = 0;
});

describe('adapters', () => {
  test('a pair is made when its standby is first seen, and stays', () => {
    expect([add(vf(4)), inventory.pairs.size]).toEqual([[], 0]);
    expect(add(bonded.standby)).toEqual([MAC]);
    expect(primaryOf()).toBe(4);
    expect(macs(inventory.removeAdapter(2))).toEqual([MAC]);
    expect([pairOf().roles.standby, primaryOf()]).toEqual([null, 4]);
    expect([inventory.removeAdapter(2), inventory.adapters.size]).toEqual([null, 1]);
  });

  test('what has no MAC, or nobody’s, concerns nobody', () => {
    add(bonded.standby);
    expect([add(adapter(20, { mac: null, permMac: null })), add(vf(21, own(OTHER)))]).toEqual([[], []]);
    expect(change(20, { up: true })).toEqual([]);
    expect(macs(inventory.removeAdapter(20))).toEqual([]);
  });

  test('a master concerns the pair that it joins, with its own MAC or another', () => {
    expect(add(bonded.standby)).toEqual([MAC]);
    const bond = { ...bonded.bond, ...own('7a:00:00:00:00:01') };
    expect(add(bond)).toEqual([MAC]);
    expect([pairOf().mode, pairOf().roles.master?.facts.ifindex]).toEqual(['bond', 9]);
    expect(change(9, { up: false })).toEqual([MAC]);
    expect(change(9, { name: 'uplink' })).toEqual([MAC]);
    expect(macs(inventory.removeAdapter(9))).toEqual([MAC]);
    expect([pairOf().mode, pairOf().roles.master]).toEqual(['none', null]);
    // One that is above nobody of them.
    add(other.standby);
    expect(add({ ...bond, ifindex: 19 })).toEqual([]);
    expect(add(bond)).toEqual([MAC]);
  });

  test('a link that changes is the cheap case, and only says its pair', () => {
    add(bonded.standby, vf(4), other.standby);
    pairOf().roles = { ...pairOf().roles };
    const before = pairOf().roles;
    for (const changed of [{ up: false }, { carrier: false }, { slave: null }, { mtu: 1400 }]) {
      expect(change(2, changed)).toEqual([MAC]);
      expect(pairOf().roles).toBe(before);
    }
    expect(change(2, { name: 'renamed' })).toEqual([MAC]);
    expect(pairOf().roles).not.toBe(before);
    // No pair and no kind: not even looked for. A kind may be a master’s.
    add(vf(21, own('52:54:00:00:00:01')), adapter(8, { kind: 'bridge', ...own('52:54:00:00:00:02') }));
    expect([change(21, { up: true }), change(8, { up: true })]).toEqual([[], []]);
    change(2, { master: 8 });
    expect(change(8, { up: false })).toEqual([MAC]);
  });

  test('another MAC takes it from one pair to another, or out of both', () => {
    add(bonded.standby, vf(4), other.standby);
    expect(change(4, own(OTHER)).toSorted()).toEqual([MAC, OTHER].toSorted());
    expect([primaryOf(), primaryOf(OTHER)]).toEqual([null, 4]);
    expect(change(4, { mac: MAC })).toEqual([OTHER]);
    inventory.byCurrentMac = true;
    expect(add(vf(5, { mac: MAC, permMac: OTHER }))).toEqual([MAC]);
  });

  test('a change that keeps its MAC keeps its losses, its sign and its place; another one has none', () => {
    add(bonded.standby, vf(4), vf(5));
    pairOf().leaving = true;
    pairOf().losses = [1];
    change(4, { name: 'x', master: null });
    expect([primaryOf(), pairOf().leaving, pairOf().losses]).toEqual([4, true, [1]]);
    inventory.removeAdapter(4);
    expect([primaryOf(), pairOf().leaving, pairOf().losses]).toEqual([5, false, []]);
  });

  test('another standby has failed at nothing yet', () => {
    add(bonded.standby);
    Object.assign(pairOf(), { failures: 3, paused: true });
    change(2, { name: 'x' });
    expect([pairOf().failures, pairOf().paused]).toEqual([3, true]);
    add(bonded.standby);
    expect([pairOf().failures, pairOf().paused]).toEqual([0, false]);
  });

  test('one that comes under a number that was taken is another one', () => {
    expect(add(bonded.standby, vf(4), other.standby)).toEqual([MAC, OTHER]);
    expect(add(vf(4, own(OTHER))).toSorted()).toEqual([MAC, OTHER].toSorted());
    expect([primaryOf(), primaryOf(OTHER), inventory.adapters.get(4)?.arrival]).toEqual([null, 4, 4]);
  });
});

describe('addresses', () => {
  const concerned = (ifindex: number, address = '192.0.2.7/24', isThere = true): string[] | null => {
    const pairs = inventory.address({ ifindex, address }, isThere);
    return pairs === null ? null : macs(pairs);
  };
  test('concern the pairs that the device is a member, a surplus one or the master of', () => {
    add(bonded.bond, bonded.standby, vf(4), vf(5), other.standby, adapter(20, { mac: null, permMac: null }));
    expect([9, 2, 4, 5, 20, 99].map((ifindex) => concerned(ifindex))).toEqual([[MAC], [MAC], [MAC], [MAC], [], null]);
    expect([...(inventory.adapters.get(2)?.addresses ?? [])]).toEqual(['192.0.2.7/24']);
    expect(concerned(2, '192.0.2.7/24', false)).toEqual([MAC]);
    expect([...(inventory.adapters.get(2)?.addresses ?? [])]).toEqual([]);
  });
});

describe('a survey', () => {
  const survey = (
    adapters: Adapter[],
    more: { functions?: PciFunction[]; addresses?: [number, string][]; records?: DriverFacts[] } = {},
  ): string[] => {
    const { functions = [], addresses = [], records } = more;
    const listed = addresses.map(([ifindex, address]) => ({ ifindex, address }));
    const data = { reason: 'test', adapters, functions, addresses: listed, ...(records === undefined ? {} : { records }) };
    return macs(inventory.survey(data, (seq += 1)));
  };
  const nic = { ...bonded.standby, master: null };

  test('adds, changes and removes; each pair is concerned once', () => {
    expect(survey([nic, vf(4), other.standby])).toEqual([MAC, OTHER]);
    expect(inventory.adapters.get(4)?.arrival).toBe(1);
    // What it knows already arrived when it did.
    expect(survey([{ ...nic, up: false }, vf(4), other.standby])).toEqual([MAC, OTHER]);
    expect([inventory.adapters.get(4)?.arrival, inventory.adapters.get(2)?.facts.up]).toEqual([1, false]);
    expect(survey([nic, other.standby])).toEqual([MAC, OTHER]);
    expect([primaryOf(), inventory.adapters.has(4)]).toEqual([null, false]);
  });

  test('another device or another MAC under the same number is another one', () => {
    survey([nic, vf(4)]);
    survey([nic, vf(4, { device: 'another' })]);
    expect(inventory.adapters.get(4)?.arrival).toBe(2);
    survey([nic, vf(4, { device: 'another', ...own(OTHER) })]);
    expect([inventory.adapters.get(4)?.arrival, primaryOf()]).toEqual([3, null]);
  });

  test('lists all addresses: what it does not list is gone, what is as it was concerns nobody', () => {
    survey([nic, other.standby], {
      addresses: [
        [2, '192.0.2.7/24'],
        [2, '192.0.2.8/24'],
        [12, '192.0.2.9/24'],
      ],
    });
    const seen = (ifindex: number): string[] => [...(inventory.adapters.get(ifindex)?.addresses ?? [])];
    expect([seen(2), seen(12)]).toEqual([['192.0.2.7/24', '192.0.2.8/24'], ['192.0.2.9/24']]);
    // The same set in another order is the same set.
    survey([nic, other.standby], {
      addresses: [
        [2, '192.0.2.8/24'],
        [2, '192.0.2.7/24'],
        [12, '192.0.2.9/24'],
      ],
    });
    expect(seen(2)).toEqual(['192.0.2.7/24', '192.0.2.8/24']);
    survey([nic, other.standby], {
      addresses: [
        [2, '192.0.2.7/24'],
        [2, '192.0.2.1/24'],
      ],
    });
    expect([seen(2), seen(12)]).toEqual([['192.0.2.7/24', '192.0.2.1/24'], []]);
    survey([nic, other.standby], {
      addresses: [
        [2, '192.0.2.7/24'],
        [2, '192.0.2.1/24'],
        [2, '192.0.2.2/24'],
      ],
    });
    expect(seen(2).length).toBe(3);
    survey([nic, other.standby]);
    expect(seen(2)).toEqual([]);
  });

  test('lists all functions', () => {
    const item = (address: string): PciFunction => ({ address, id: null, driver: null });
    survey([nic], { functions: [item('a'), item('b')] });
    survey([nic], { functions: [item('b')] });
    expect([...inventory.functions.keys()]).toEqual(['b']);
  });

  test('with records tells of all of the driver’s; without it tells nothing of them', () => {
    survey([nic, other.standby], { records: [record(), record({ started: true }), record({ mac: OTHER })] });
    // Of two with one MAC the first counts.
    expect([pairOf().driverFacts?.started, pairOf().mode, pairOf(OTHER).mode]).toEqual([false, 'netkvm', 'netkvm']);
    survey([nic, other.standby]);
    expect(pairOf().driverFacts).not.toBeNull();
    expect(survey([nic, other.standby], { records: [record()] })).toEqual([MAC, OTHER]);
    expect([pairOf().mode, pairOf(OTHER).mode, pairOf(OTHER).driverFacts]).toEqual(['netkvm', 'none', null]);
    survey([nic, other.standby], { records: [] });
    expect(pairOf().driverFacts).toBeNull();
  });
});

describe('NETKVM', () => {
  test('a record makes a pair, and its end does not', () => {
    expect([macs(inventory.takeDriverFacts(OTHER, null)), inventory.pairs.size]).toEqual([[], 0]);
    inventory.list([{ mac: MAC }]);
    expect(macs(inventory.takeDriverFacts(MAC, record()))).toEqual([MAC]);
    expect([pairOf().mode, pairOf().named]).toEqual(['netkvm', { mac: MAC }]);
    inventory.takeDriverFacts(MAC, null);
    expect(pairOf().mode).toBe('none');
    inventory.takeDriverFacts(OTHER, record({ mac: OTHER }));
    expect(pairOf(OTHER).named).toBeNull();
  });

  test('the primary is the one that the driver has taken, where it has one and says which', () => {
    add(bonded.standby, vf(4), vf(5));
    expect(primaryOf()).toBe(4);
    inventory.takeDriverFacts(MAC, record({ vfIfIndex: 5 }));
    expect(primaryOf()).toBe(4);
    inventory.takeDriverFacts(MAC, record({ hasVf: true, vfIfIndex: 5 }));
    expect(primaryOf()).toBe(5);
    inventory.takeDriverFacts(MAC, record({ hasVf: true, vfIfIndex: 77 }));
    expect(primaryOf()).toBe(5);
  });

  test('protocols and other controllers concern every pair', () => {
    add(bonded.standby, other.standby);
    expect(macs(inventory.setProtocol('vioprot', true))).toEqual([MAC, OTHER]);
    expect([[...inventory.protocols], inventory.protocolMissing]).toEqual([['vioprot'], false]);
    expect(macs(inventory.setProtocol('vioprot', false))).toEqual([MAC, OTHER]);
    expect([[...inventory.protocols], inventory.protocolMissing]).toEqual([[], true]);
    expect(macs(inventory.setController({ name: 'netkvmp', running: true }))).toEqual([MAC, OTHER]);
    expect([...inventory.controllers]).toEqual(['netkvmp']);
    inventory.setController({ name: 'netkvmp', running: false });
    expect([...inventory.controllers]).toEqual([]);
  });
});

describe('what is owed', () => {
  test('opens once, also for a pair that nobody has seen, and makes a takeover unfinished', () => {
    inventory.list([{ mac: MAC }]);
    expect(macs(inventory.open(owed('parameters')))).toEqual([MAC]);
    expect([pairOf().named, pairOf().unfinished]).toEqual([{ mac: MAC }, false]);
    inventory.open(owed('takeover'));
    inventory.open(owed('takeover'));
    expect([pairOf().obligations.map(({ kind }) => kind), pairOf().unfinished]).toEqual([['parameters', 'takeover'], true]);
    inventory.open(owed('service', { pair: OTHER }));
    expect(pairOf(OTHER).named).toBeNull();
  });

  test('closes by its id; a takeover that is not owed any more is not unfinished', () => {
    for (const kind of ['takeover', 'parameters'] as const) inventory.open(owed(kind));
    expect(macs(inventory.close({ pair: MAC, id: 'd1.0.parameters' }))).toEqual([MAC]);
    expect([pairOf().obligations.length, pairOf().unfinished]).toEqual([1, true]);
    inventory.close({ pair: MAC, id: 'd1.0.takeover' });
    expect([pairOf().obligations, pairOf().unfinished]).toEqual([[], false]);
    expect(inventory.close({ pair: OTHER, id: 'x' })).toBeNull();
    pairOf().unfinished = false;
    inventory.open(owed('takeover'));
    pairOf().unfinished = false;
    inventory.close({ pair: MAC, id: 'nothing' });
    expect(pairOf().unfinished).toBe(false);
  });

  test('parameters lapse with their device, and nothing else does', () => {
    add(bonded.standby, vf(4));
    const device = (ifindex: number, arrival: number) => ({ ifindex, mac: MAC, device: null, pci: null, arrival });
    const list = [
      owed('parameters', { id: 'this', device: device(4, 2) }),
      owed('parameters', { id: 'an older one', device: device(4, 1) }),
      owed('parameters', { id: 'another', device: device(2, 2) }),
      owed('parameters', { id: 'nobody' }),
      owed('takeover', { id: 'takeover', device: device(4, 2) }),
    ];
    for (const one of list) inventory.open(one);
    const ids = (): string[] => pairOf().obligations.map(({ id }) => id);
    inventory.removeAdapter(4);
    expect(ids()).toEqual(['an older one', 'another', 'nobody', 'takeover']);
    inventory.open(owed('parameters', { id: 'the standby’s', device: device(2, 1) }));
    add(bonded.standby);
    expect(ids()).toEqual(['an older one', 'another', 'nobody', 'takeover']);
  });

  test('after a reboot bindings and a hypervisor’s things are owed on, and everything else is as if never seen', () => {
    add(bonded.standby, vf(4));
    inventory.takeDriverFacts(MAC, record());
    inventory.functions.set('a', { address: 'a', id: null, driver: null });
    inventory.setController({ name: 'netkvmp', running: true });
    const kinds = ['takeover', 'parameters', 'bindings', 'vfMac', 'forwarding', 'unplugged', 'service'] as const;
    for (const kind of kinds) inventory.open(owed(kind));
    pairOf().released = true;
    inventory.forget();
    const { obligations, driverFacts, released, unfinished, roles } = pairOf();
    expect(obligations.map(({ kind }) => kind)).toEqual(['bindings', 'vfMac', 'forwarding', 'unplugged']);
    expect([driverFacts, released, unfinished, roles.standby, roles.primary]).toEqual([null, false, false, null, null]);
    expect([inventory.adapters.size, inventory.functions.size, inventory.controllers.size]).toEqual([0, 0, 0]);
  });
});

describe('signs and orders', () => {
  beforeEach(() => {
    add(bonded.standby, vf(4), other.standby, other.primary);
  });
  const leaving = (): boolean[] => [pairOf().leaving, pairOf(OTHER).leaving];

  test('a sign concerns the pair whose primary is at that address', () => {
    expect([macs(inventory.signal('0000:0e:00.0')), leaving()]).toEqual([[OTHER], [false, true]]);
    expect(inventory.signal('0000:07:00.0')).toBeNull();
    inventory.removeAdapter(14);
    expect(inventory.signal('0000:0e:00.0')).toBeNull();
  });

  test('a sign is forgotten where one was given', () => {
    inventory.signal('0000:04:00.0');
    inventory.signal('0000:0e:00.0');
    expect([macs(inventory.forgetSign('0000:0e:00.0')), leaving()]).toEqual([[OTHER], [true, false]]);
    expect([inventory.forgetSign('0000:0e:00.0'), inventory.forgetSign('0000:01:00.0')]).toEqual([null, null]);
    expect([macs(inventory.stay(MAC)), leaving()]).toEqual([[MAC], [false, false]]);
    expect([inventory.stay(MAC), inventory.stay('52:54:00:00:00:01')]).toEqual([null, null]);
  });

  test('prepare concerns one pair, or all that have a primary', () => {
    expect([macs(inventory.prepare(OTHER)), leaving()]).toEqual([[OTHER], [false, true]]);
    expect([macs(inventory.prepare(null)), leaving()]).toEqual([
      [MAC, OTHER],
      [true, true],
    ]);
    inventory.removeAdapter(14);
    expect([macs(inventory.prepare(OTHER)), macs(inventory.prepare(null))]).toEqual([[], [MAC]]);
  });

  test('release takes pairs out of our hands, and puts them back with a clean slate', () => {
    const tried = { attempts: 3, failures: 2, paused: true, aligned: { ifindex: 4, arrival: 2 } };
    const state = ({ released, attempts, failures, paused, aligned }: PairState) => ({
      released,
      attempts,
      failures,
      paused,
      aligned,
    });
    for (const mac of [MAC, OTHER]) Object.assign(pairOf(mac), tried);
    expect(macs(inventory.release(MAC, true))).toEqual([MAC]);
    expect(state(pairOf())).toEqual({ ...tried, released: true, attempts: 0, failures: 0 });
    expect(state(pairOf(OTHER))).toEqual({ ...tried, released: false });
    expect(macs(inventory.release(null, false))).toEqual([MAC, OTHER]);
    expect(state(pairOf())).toEqual({ released: false, attempts: 0, failures: 0, paused: false, aligned: null });
  });

  test('the policy names pairs, and forgets those that it does not name', () => {
    expect(macs(inventory.list([{ mac: MAC, mode: 'bond' }])).toSorted()).toEqual([MAC, OTHER].toSorted());
    expect([pairOf().named?.mode, pairOf(OTHER).named]).toEqual(['bond', null]);
    inventory.list([{ mac: OTHER }]);
    expect([pairOf().named, pairOf(OTHER).named]).toEqual([null, { mac: OTHER }]);
    // A name makes a pair of what is there.
    add(vf(20, own('52:54:00:00:00:01')));
    expect(macs(inventory.list([{ mac: '52:54:00:00:00:01', standbyName: 'eth20' }]))).toContain('52:54:00:00:00:01');
  });

  test('a driver is a function’s, where the function is known', () => {
    inventory.functions.set('a', { address: 'a', id: 'i', driver: null });
    inventory.setPciDriver('a', 'ixgbevf');
    inventory.setPciDriver('b', 'ixgbevf');
    expect([...inventory.functions.values()]).toEqual([{ address: 'a', id: 'i', driver: 'ixgbevf' }]);
  });
});

test('what a snapshot lists is taken over: copies, addresses, roles with the primary that it names', () => {
  const facts = { ...bonded.standby, master: null };
  const list = [
    { facts, arrival: 1, addresses: ['192.0.2.7/24'] },
    { facts: vf(4), arrival: 2 },
    { facts: vf(5), arrival: 2 },
  ];
  inventory.list([{ mac: MAC, mode: 'bond' }]);
  inventory.restore(list, [
    { mac: MAC, driverFacts: null, primary: { ifindex: 5, arrival: 2 } },
    { mac: OTHER, driverFacts: record({ mac: OTHER }), primary: null },
  ]);
  expect([primaryOf(), pairOf().named?.mode, pairOf(OTHER).driverFacts?.mac, pairOf(OTHER).mode]).toEqual([
    5,
    'bond',
    OTHER,
    'netkvm',
  ]);
  expect([...(inventory.adapters.get(2)?.addresses ?? [])]).toEqual(['192.0.2.7/24']);
  expect(inventory.adapters.get(4)?.addresses.size).toBe(0);
  change(2, { mtu: 9000 });
  expect(facts.mtu).toBe(1500);
});
