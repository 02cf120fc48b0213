// Who is who among adapters with one MAC: every rule of roles.ts by an example that only this rule decides.
import { describe, expect, test } from 'vitest';
import type { Adapter, AdapterChange } from '../../src/events/catalogue.ts';
import { type Arrived, hasStandby, type Identity, isSame, type NamedPair, rolesOf } from '../../src/machines/roles.ts';
import { adapter, bonded, MAC, trio } from '../given.ts';

const virtio = { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0' };
const nic = (ifindex: number, over: AdapterChange = {}): Adapter => adapter(ifindex, { ...virtio, ...over });
const vf = (ifindex: number, over: AdapterChange = {}): Adapter =>
  adapter(ifindex, { bus: 'pci', device: `vf${ifindex}`, ...over });
const pair = (over: Partial<NamedPair> = {}): NamedPair => ({ mac: MAC, ...over });
/** Adapters that arrived in the order in which they are listed, or all with one survey. */
const arrived = (list: readonly Adapter[], survey?: number): Arrived[] =>
  list.map((facts, at) => ({ facts, arrival: survey ?? at + 1, addresses: new Set() }));

interface Told {
  readonly named?: NamedPair;
  readonly current?: Identity;
  readonly survey?: number;
  readonly others?: readonly Adapter[];
}
/** The roles as ifindices. */
const roles = (list: readonly Adapter[], { named, current, survey, others = [] }: Told = {}) => {
  const members = arrived(list, survey);
  const all = new Map([...arrived(others), ...members].map((one) => [one.facts.ifindex, one]));
  const { mode, ...found } = rolesOf(members, (ifindex) => all.get(ifindex), named ?? null, current ?? null);
  const of = (one: Arrived | null): number | null => one?.facts.ifindex ?? null;
  const [standby, master, primary, rival] = [found.standby, found.master, found.primary, found.rival].map(of);
  return { mode, standby, master, primary, rival, surplus: found.surplus.map(({ facts }) => facts.ifindex) };
};
const nobody = { mode: 'none', standby: null, master: null, primary: null, rival: null, surplus: [] };

describe('the standby', () => {
  test('is the paravirtual NIC, or the one that is named, and then no other', () => {
    expect(roles([nic(2)])).toEqual({ ...nobody, standby: 2 });
    const veths = [vf(4, { name: 'a' }), nic(2, { name: 'b' }), vf(5, { name: 'c' })];
    expect(roles(veths, { named: pair({ standbyName: 'c' }) })).toMatchObject({ standby: 5, rival: null });
    expect(roles(veths, { named: pair({ primaryName: 'a' }) })).toMatchObject({ standby: 2, primary: 4 });
    expect(roles([vf(4)])).toEqual({ ...nobody, primary: 4 });
  });

  test('makes a pair of what has it', () => {
    expect([hasStandby(arrived([vf(4), nic(2)]), null), hasStandby(arrived([vf(4)]), null)]).toEqual([true, false]);
    const named = pair({ standbyName: 'eth4' });
    expect([hasStandby(arrived([vf(4)]), named), hasStandby(arrived([nic(2)]), named)]).toEqual([true, false]);
  });

  test('a second one is a rival, and neither standby nor primary', () => {
    expect(roles([nic(2), nic(3, { device: 'virtio2' })])).toEqual({ ...nobody, standby: 2, rival: 3 });
    // Also where each could be a primary, for its name.
    expect(roles([vf(2, { name: 's' }), vf(3, { name: 's' }), vf(4)], { named: pair({ standbyName: 's' }) })).toEqual({
      ...nobody,
      standby: 2,
      rival: 3,
      primary: 4,
    });
  });
});

describe('the mode', () => {
  const { master, standby, primary } = trio;
  test('is the kernel’s where the master shares the virtio device', () => {
    expect(roles([master, standby, primary])).toEqual({ ...nobody, mode: 'kernel', standby: 3, master: 2, primary: 4 });
  });

  test.each<[string, AdapterChange]>([
    ['another device', { device: 'virtio9' }],
    ['no virtio device', { bus: 'pci' }],
    ['a bridge', { kind: 'bridge', bus: null, device: null }],
    ['a bond that balances', { kind: 'bond', bond: { mode: 0, activeSlave: null } }],
    ['a bond that says nothing of itself', { kind: 'bond', bond: null }],
  ])('is none with %s above the standby', (_, over) => {
    const above = { ...master, mac: '52:54:00:00:00:99', permMac: null, ...over };
    expect(roles([standby], { others: [above] })).toEqual({ ...nobody, standby: 3, master: 2 });
  });

  test('is bond with an active-backup bond, and none where the master is not known', () => {
    expect(roles([bonded.standby], { others: [bonded.bond] })).toMatchObject({ mode: 'bond', master: 9 });
    expect(roles([bonded.standby])).toMatchObject({ mode: 'none', master: null });
  });
});

describe('the primary', () => {
  test.each<[string, Adapter]>([
    ['a VLAN', vf(5, { kind: 'vlan' })],
    ['a device on no bus', adapter(5)],
    ['a device on no bus, of a kind', adapter(5, { kind: 'macvlan' })],
    ['a second virtio NIC', nic(5, { device: 'virtio5' })],
  ])('is never %s', (_, other) => {
    expect(roles([nic(2), other])).toMatchObject({ primary: null, surplus: [] });
  });

  test('is never a third virtio NIC', () => {
    const list = [2, 3, 4].map((ifindex) => nic(ifindex, { device: `virtio${ifindex}` }));
    expect(roles(list)).toEqual({ ...nobody, standby: 2, rival: 3 });
  });

  test('is never the master', () => {
    const named = pair({ standbyName: 'stby' });
    const list = [vf(2, { name: 'bond0', kind: null }), vf(3, { name: 'stby', master: 2 }), vf(4, { name: 'vf' })];
    expect(roles(list, { named })).toMatchObject({ standby: 3, master: 2, primary: 4, surplus: [] });
  });

  test('is the named one, whatever it is', () => {
    const named = pair({ primaryName: 'odd' });
    expect(roles([nic(2), vf(4), adapter(5, { name: 'odd', kind: 'veth' })], { named })).toMatchObject({
      primary: 5,
      surplus: [],
    });
  });

  test('is the one that came first; the others are surplus', () => {
    const [first, second, third] = arrived([vf(6), vf(5), vf(4)]) as [Arrived, Arrived, Arrived];
    const found = rolesOf([third, first, second], () => undefined, null, null);
    expect([found.primary, ...found.surplus]).toEqual([first, second, third]);
  });

  test('stays who it is while no other one is enslaved', () => {
    expect(roles([nic(2), vf(4), vf(5)], { current: { ifindex: 5, arrival: 3 } })).toMatchObject({ primary: 5, surplus: [4] });
    // One that came later under its number is another one.
    expect(roles([nic(2), vf(4), vf(5)], { current: { ifindex: 5, arrival: 2 } })).toMatchObject({ primary: 4 });
    expect(roles([nic(2), vf(4), vf(5)], { current: { ifindex: 5, arrival: 7 }, survey: 7 })).toMatchObject({ primary: 5 });
    const enslaved = [bonded.standby, vf(4), vf(5, { master: 9 })];
    expect(roles(enslaved, { others: [bonded.bond], current: { ifindex: 4, arrival: 2 } })).toMatchObject({
      primary: 5,
      surplus: [4],
    });
  });

  test('is not the one that something else has enslaved, before one that is free', () => {
    const list = [bonded.standby, vf(4), vf(5, { master: 8 })];
    expect(roles(list, { others: [bonded.bond] })).toMatchObject({ primary: 4, surplus: [5] });
    // Without a master nobody is enslaved to it.
    expect(roles([nic(2), vf(4), vf(5, { master: 8 })])).toMatchObject({ primary: 4 });
  });
});

test('who is the same: number and arrival, both', () => {
  const [one = null] = arrived([vf(4)]);
  const all = [null, { ifindex: 4, arrival: 1 }, { ifindex: 4, arrival: 2 }, { ifindex: 5, arrival: 1 }];
  expect(all.map((identity) => isSame(one, identity))).toEqual([false, true, false, false]);
  expect([isSame(null, null), isSame(null, { ifindex: 4, arrival: 1 })]).toEqual([true, false]);
});
