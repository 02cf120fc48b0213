// What a pair wants besides switching: takeovers, parameters, stray addresses, and giving back. Given events, when one
// more comes, then what is decided, remembered and owed.
import { describe, expect, test } from 'vitest';
import type { DecisionOf, Happening, Obligation, Policy } from '../../src/events/catalogue.ts';
import { Guest } from '../../src/machines/guest.ts';
import { acting, adapter, appeared, bonded, changed, gone, MAC, policy, Teller, trio } from '../given.ts';

const virtio = { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0', driver: 'virtio_net' };
const alone = adapter(2, { ...virtio, up: true, carrier: true });
const has = (ifindex: number, address: string): Happening => ({ type: 'address.added', data: { ifindex, address } });
const lost = (ifindex: number, address: string): Happening => ({ type: 'address.removed', data: { ifindex, address } });
const asked = (command: 'restore' | 'reload' | 'prepare', pair: string | null = MAC): Happening => ({
  type: 'operator.commanded',
  data: { command, pair, by: 'test' },
});
type Wish = Partial<Policy['pairs'][number]>;
const bond = (wish: Wish = {}, over: Partial<Policy> = {}) => acting({ pairs: [{ mac: MAC, mode: 'bond', ...wish }], ...over });
const owing = (kind: Obligation['kind'], id = `d9.0.${kind}`, device: Obligation['device'] = null): Happening => ({
  type: 'obligation.opened',
  data: { id, pair: MAC, kind, device, before: { addresses: ['192.0.2.7/24'] } },
});
const closed = (id: string): Happening => ({ type: 'obligation.closed', data: { id, pair: MAC, how: 'givenBack' } });

/** The takeover as the platform does it, and what the kernel then says. */
const taken = (teller: Teller): void => {
  teller.tell(owing('takeover'), appeared({ ...bonded.bond, carrier: true }));
  teller.tell(changed(2, { master: 9, slave: { active: true, miiUp: true } }), lost(2, '192.0.2.7/24'), has(9, '192.0.2.7/24'));
  teller.conclude('succeeded');
};
const started = (bootId: string): Happening => ({
  type: 'service.started',
  data: { version: '0', machineVersion: 2, bootId, vmGeneration: null, platform: 'linux', host: {} },
});

describe('taking over', () => {
  const wanting = (...first: Happening[]) => {
    const teller = new Teller();
    teller.tell(...(first.length > 0 ? first : [bond()]), appeared(alone));
    return teller;
  };

  test('a standby that is to be in a bond is ours, and waits for its address', () => {
    const teller = wanting();
    expect(teller.state).toBe('fallback/unjoined standby bond.missing');
    teller.tell(has(2, 'fe80::1/64'), has(2, '169.254.3.4/16'));
    expect(teller.decided).toEqual([]);
    teller.tell(has(2, '192.0.2.7/24'));
    expect(teller.decided).toEqual(['takeOver']);
  });

  test('the decision names the standby, the bond, and how it is confirmed', () => {
    const teller = wanting(bond({ probe: ['192.0.2.1'], confirm_ms: 900 }));
    teller.tell(has(2, '192.0.2.7/24'));
    const { mode, standby, master, plan } = teller.pair.pending as DecisionOf<'takeOver'>;
    expect({ mode, master, ifindex: standby?.ifindex }).toEqual({ mode: 'bond', master: null, ifindex: 2 });
    expect(plan).toEqual({ bond: 'fo112233', probe: ['192.0.2.1'], confirm_ms: 900 });
  });

  test.each<[string, Happening]>([
    ['effects are off', policy({ effects: 'off', pairs: [{ mac: MAC, mode: 'bond' }] })],
    ['the pair is not listed', acting({ pairs: [] })],
    ['no bond is asked for', acting()],
    ['the kernel’s way is asked for', bond({ mode: 'kernel' })],
  ])('nothing is taken over when %s', (_, settings) => {
    const teller = wanting(settings);
    teller.tell(has(2, '192.0.2.7/24'));
    teller.wait(1_000_000);
    expect(teller.decided).toEqual([]);
    expect(teller.pair.shown.datapath).toBe('standby');
  });

  test('a standby without carrier, or in somebody’s bridge, is left alone', () => {
    const teller = wanting();
    teller.tell(changed(2, { carrier: false }), has(2, '192.0.2.7/24'));
    expect(teller.decided).toEqual([]);
    teller.tell(appeared(adapter(5, { kind: 'bridge', permMac: null })), changed(2, { carrier: true, master: 5 }));
    expect(teller.decided).toEqual([]);
  });

  test('done, the bond is steered: a primary joins when it is there', () => {
    const teller = wanting();
    teller.tell(has(2, '192.0.2.7/24'), appeared(bonded.primary));
    expect(teller.state).toBe('fallback/unjoined standby bond.missing');
    taken(teller);
    expect(teller.decided).toEqual(['takeOver', 'bindPrimary']);
    expect(teller.state).toBe('attaching standby primary.found');
    expect(teller.pair.obligations.map(({ id }) => id)).toEqual(['d9.0.takeover']);
  });

  test('failed and undone, it is tried again after a pause, and given up after the limit', () => {
    const teller = wanting();
    teller.tell(has(2, '192.0.2.7/24'));
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      expect(teller.decided.length).toBe(attempt);
      teller.tell(owing('takeover', `d${attempt}.0.takeover`), closed(`d${attempt}.0.takeover`));
      teller.conclude('failed', 'the gateway did not answer');
      expect(teller.pair.hindrance).toBe('takeOver failed: the gateway did not answer');
      // Facts change, as they do when a bond is made and unmade: that is no reason to hurry.
      teller.tell(changed(2, { carrier: false }), changed(2, { carrier: true }));
      teller.wait(2000);
      expect(teller.decided.length).toBe(attempt);
      teller.wait(60_000);
    }
    teller.wait(10_000_000);
    expect(teller.decided.length).toBe(5);
    expect(teller.state).toBe('fallback/unjoined standby bond.missing');
    teller.tell(asked('reload'));
    expect(teller.decided.length).toBe(6);
  });

  test('a refusal changed nothing, so it does not count, and is asked again now and then', () => {
    const teller = wanting();
    teller.tell(has(2, '192.0.2.7/24'));
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      expect(teller.decided.length).toBe(attempt);
      teller.conclude('refused', 'the gateway does not answer now');
      teller.wait(120_000);
    }
  });

  test('another standby is another takeover', () => {
    const teller = wanting();
    teller.tell(has(2, '192.0.2.7/24'));
    teller.conclude('failed');
    teller.tell(gone(2), appeared({ ...alone, ifindex: 3 }), has(3, '192.0.2.7/24'));
    teller.wait(1000);
    expect(teller.decided).toEqual(['takeOver', 'takeOver']);
  });

  test('one that a crash broke off is wanted until it has come to its end', () => {
    const teller = wanting();
    const ours = { ...bonded.bond, name: 'fo112233' };
    teller.tell(has(2, '192.0.2.7/24'), owing('takeover'), appeared(ours), changed(2, { master: 9 }));
    teller.tell(started('one'));
    teller.conclude('void', 'the service ended before the outcome was known');
    teller.wait(1000);
    expect(teller.decided).toEqual(['takeOver', 'takeOver']);
    teller.tell(lost(2, '192.0.2.7/24'), has(9, '192.0.2.7/24'));
    teller.conclude('succeeded');
    expect(teller.pair.unfinished).toBe(false);
    expect(teller.decided).toEqual(['takeOver', 'takeOver']);
  });

  test('one that does not come to its end is not tried for ever without a pause', () => {
    const teller = wanting();
    teller.tell(has(2, '192.0.2.7/24'), owing('takeover'));
    for (let second = 0; second < 30; second += 1) {
      if (teller.pair.pending !== null) {
        teller.tell(changed(2, { mtu: 1400 + second }));
        teller.conclude('failed');
      }
      teller.wait(1000);
    }
    expect(teller.decided.length).toBe(5);
    teller.wait(60_000);
    expect(teller.decided.length).toBe(6);
  });
});

describe('a bond that the service made', () => {
  const made = (wish: Wish = {}) => {
    const teller = new Teller();
    teller.tell(started('one'), bond(wish), appeared(alone), has(2, '192.0.2.7/24'));
    taken(teller);
    return teller;
  };

  test('addresses that come to a member follow', () => {
    const teller = made();
    teller.tell(has(2, 'fe80::5/64'));
    expect(teller.decided).toEqual(['takeOver']);
    teller.tell(has(2, '192.0.2.9/24'));
    expect(teller.decided).toEqual(['takeOver', 'moveAddresses']);
    teller.tell(lost(2, '192.0.2.9/24'), has(9, '192.0.2.9/24'));
    teller.conclude('succeeded');
    teller.wait(100_000);
    expect(teller.decided).toEqual(['takeOver', 'moveAddresses']);
  });

  test('addresses that do not move do not delay a switch', () => {
    const teller = made();
    teller.tell(has(2, '192.0.2.9/24'));
    teller.conclude('failed');
    teller.tell(appeared(bonded.primary));
    expect(teller.decided).toEqual(['takeOver', 'moveAddresses', 'bindPrimary']);
  });

  test('restore gives back what is owed, newest first, and then leaves the pair alone', () => {
    const teller = made();
    teller.tell(owing('parameters'), asked('restore'));
    expect(teller.decided).toEqual(['takeOver', 'giveBack']);
    expect((teller.pair.pending as DecisionOf<'giveBack'>).plan).toEqual({ obligation: 'd9.0.parameters' });
    teller.tell(closed('d9.0.parameters'));
    teller.conclude('succeeded');
    expect((teller.pair.pending as DecisionOf<'giveBack'>).plan).toEqual({ obligation: 'd9.0.takeover' });
    teller.tell(changed(2, { master: null, slave: null }), gone(9), has(2, '192.0.2.7/24'), closed('d9.0.takeover'));
    teller.conclude('succeeded');
    teller.wait(1_000_000);
    teller.tell(started('one'), bond(), appeared(bonded.primary));
    teller.wait(1_000_000);
    expect(teller.decided).toEqual(['takeOver', 'giveBack', 'giveBack']);
    expect(teller.pair.obligations).toEqual([]);
    teller.tell(asked('reload'));
    expect(teller.decided.at(-1)).toBe('takeOver');
  });

  test('restore works with effects off, and not in a dry run', () => {
    const off = made();
    off.tell(policy({ effects: 'off', pairs: [{ mac: MAC, mode: 'bond' }] }), asked('restore', null));
    expect(off.decided).toEqual(['takeOver', 'giveBack']);
    const dry = made();
    dry.tell(policy({ effects: 'dryRun', pairs: [{ mac: MAC, mode: 'bond' }] }), asked('restore', null));
    expect(dry.decided).toEqual(['takeOver']);
  });

  test('what cannot be given back is tried with the limits', () => {
    const teller = made();
    teller.tell(asked('restore'));
    for (let second = 0; second < 30; second += 1) {
      if (teller.pair.pending !== null) {
        teller.tell(changed(9, { mtu: 1400 + second }));
        teller.conclude('failed', 'EBUSY');
      }
      teller.wait(1000);
    }
    expect(teller.decided.filter((kind) => kind === 'giveBack').length).toBe(5);
    teller.wait(60_000);
    expect(teller.decided.filter((kind) => kind === 'giveBack').length).toBe(6);
  });

  test('a restart keeps what is owed, a reboot ends it', () => {
    const teller = made();
    teller.tell(asked('restore'));
    teller.tell(started('one'));
    expect(teller.pair.obligations.length).toBe(1);
    teller.tell(started('two'));
    expect(teller.pair.obligations).toEqual([]);
    expect(teller.pair.released).toBe(false);
  });

  test('a checkpoint holds what is owed, and a fold that begins there goes on the same way', () => {
    const teller = made();
    const again = new Teller(new Guest());
    again.guest.restore(teller.guest.snapshot());
    expect(again.guest.snapshot()).toEqual(teller.guest.snapshot());
    for (const one of [teller, again]) {
      one.seq = 1000;
      one.tell(asked('restore'));
      expect(one.pair.pending?.kind).toBe('giveBack');
    }
  });

  test('a checkpoint of a machine that owed nothing is taken as it is', () => {
    const teller = new Teller();
    teller.tell(appeared(alone));
    const snapshot = teller.guest.snapshot();
    const { mac, driverFacts, primary, configuration, bits, timers, pending, attempts, leaving, losses, episode } =
      snapshot.pairs[0]!;
    const pair = { mac, driverFacts, primary, configuration, bits, timers, pending, attempts, leaving, losses, episode };
    const adapters = snapshot.adapters.map(({ facts, arrival }) => ({ facts, arrival }));
    const old = { ...snapshot, adapters, pairs: [pair] };
    expect(teller.tell({ type: 'checkpoint.made', data: { state: old } }).divergence).toBeNull();
    expect(new Teller().tell({ type: 'checkpoint.made', data: { state: old } }).divergence).toBeNull();
  });

  test('an obligation that is told twice is one', () => {
    const teller = made();
    teller.tell(owing('takeover'));
    expect(teller.pair.obligations.length).toBe(1);
  });
});

describe('parameters of a new primary', () => {
  const parameters = { rxRing: 2048, features: { 'rx-gro': false } };

  test('in a bond before it is enslaved, once', () => {
    const teller = new Teller();
    teller.tell(acting({ pairs: [{ mac: MAC, parameters }] }), appeared(bonded.bond), appeared(bonded.standby));
    teller.tell(appeared(bonded.primary));
    expect(teller.decided).toEqual(['alignParameters']);
    expect((teller.pair.pending as DecisionOf<'alignParameters'>).plan).toEqual({ parameters });
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['alignParameters', 'bindPrimary']);
    teller.tell(gone(4), appeared({ ...bonded.primary, ifindex: 5 }));
    teller.conclude('void');
    expect(teller.decided.at(-1)).toBe('alignParameters');
  });

  test('a refused one does not keep the primary from being used', () => {
    const teller = new Teller();
    teller.tell(acting({ pairs: [{ mac: MAC, parameters }] }), appeared(bonded.bond), appeared(bonded.standby));
    teller.tell(appeared(bonded.primary));
    teller.conclude('refused', 'EOPNOTSUPP');
    expect(teller.decided).toEqual(['alignParameters', 'bindPrimary']);
  });

  test('under net_failover while it does not carry yet; one that carries is left alone', () => {
    const teller = new Teller();
    teller.tell(acting({ pairs: [{ mac: MAC, parameters }] }), appeared(trio.master), appeared(trio.standby));
    teller.tell(appeared(trio.primary));
    expect(teller.decided).toEqual([]);
    teller.tell(gone(4), appeared({ ...trio.primary, ifindex: 5, up: false, carrier: true }));
    expect(teller.decided).toEqual(['alignParameters']);
    expect(teller.pair.pending?.mode).toBe('kernel');
    teller.conclude('failed', 'EINVAL');
    teller.wait(1_000_000);
    expect(teller.decided).toEqual(['alignParameters']);
  });
});

describe('parameters of the standby in a stage', () => {
  const standbyParameters = { fallback: { rxRing: 1024 }, onPrimary: { txQueue: 50 } };
  const listed = (over: Partial<Policy> = {}) => acting({ pairs: [{ mac: MAC, standbyParameters }], ...over });
  const idle = { active: false, miiUp: true };
  const active = { active: true, miiUp: true };
  const onStandby = (settings = listed()): Teller => {
    const teller = new Teller();
    teller.tell(settings, appeared(bonded.bond), appeared({ ...bonded.standby, slave: active }));
    expect(teller.state).toBe('fallback/noPrimary standby primary.absent');
    return teller;
  };
  const plan = (teller: Teller) => (teller.pair.pending as DecisionOf<'tuneStandby'>).plan;
  const carry = (teller: Teller): void => {
    teller.tell(changed(2, { slave: idle }), changed(4, { slave: active }));
  };

  test('given where the pair rests, and other ones, or none, in the next stage', () => {
    const teller = onStandby();
    expect(teller.decided).toEqual(['tuneStandby']);
    expect(plan(teller)).toEqual({ stage: 'fallback', parameters: { rxRing: 1024 }, elsewhere: { txQueue: 50 } });
    teller.conclude('succeeded');
    teller.tell(appeared({ ...bonded.primary, master: 9, up: true, carrier: true, slave: idle }));
    expect(teller.decided).toEqual(['tuneStandby', 'activatePrimary']);
    carry(teller);
    teller.conclude('succeeded');
    expect(teller.state).toBe('onPrimary primary primary.carries');
    expect(teller.decided.slice(2)).toEqual(['tuneStandby']);
    expect(plan(teller)).toEqual({ stage: 'onPrimary', parameters: { txQueue: 50 }, elsewhere: { rxRing: 1024 } });
    teller.conclude('succeeded');
    teller.wait(1_000_000);
    expect(teller.decided.length).toBe(3);
  });

  test('what leads to a path comes first', () => {
    const teller = new Teller();
    const nobody = { mode: 1, activeSlave: null };
    teller.tell(listed(), appeared({ ...bonded.bond, bond: nobody }), appeared({ ...bonded.standby, slave: idle }));
    expect(teller.decided).toEqual(['activateStandby']);
    teller.tell(changed(2, { slave: active }));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['activateStandby', 'tuneStandby']);
  });

  test('a failed one is tried again after a while, and given up; a switch never waits for it', () => {
    const teller = onStandby();
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      expect(teller.decided.length).toBe(attempt);
      teller.conclude('failed', 'EBUSY');
      expect(teller.pair.configuration.effects).toBe('blocked');
      teller.wait(59_000);
      expect(teller.decided.length).toBe(attempt);
      teller.wait(1000);
    }
    // A primary comes while it waits for the next try.
    teller.conclude('failed', 'EBUSY');
    expect(teller.pair.configuration.effects).toBe('free');
    teller.tell(appeared({ ...bonded.primary, master: 9, up: true, carrier: true, slave: idle }));
    expect(teller.decided.at(-1)).toBe('activatePrimary');
    const waiting = onStandby();
    waiting.conclude('failed', 'EBUSY');
    waiting.tell(appeared({ ...bonded.primary, master: 9, up: true, carrier: true, slave: idle }));
    expect(waiting.decided).toEqual(['tuneStandby', 'activatePrimary']);
  });

  test('a refused one is over for this stage, and a reload asks for it anew', () => {
    const teller = onStandby();
    teller.conclude('refused', 'the driver has no rxRing');
    teller.wait(1_000_000);
    expect(teller.decided).toEqual(['tuneStandby']);
    expect(teller.pair.hindrance).toBe('tuneStandby refused: the driver has no rxRing');
    teller.tell(asked('reload'));
    expect(teller.decided).toEqual(['tuneStandby', 'tuneStandby']);
  });

  test('what a policy does not name any more is given back', () => {
    const teller = onStandby();
    const { arrival } = teller.pair.roles.standby!;
    const device = { ifindex: 2, mac: MAC, device: null, pci: null, arrival };
    teller.tell(owing('parameters', 'd5.0.parameters', device));
    teller.conclude('succeeded');
    teller.tell(acting(), asked('reload'));
    expect(plan(teller)).toEqual({ stage: 'fallback', parameters: {}, elsewhere: {} });
    teller.tell(closed('d5.0.parameters'));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['tuneStandby', 'tuneStandby']);
  });

  test('a checkpoint keeps what was given', () => {
    const teller = onStandby();
    teller.conclude('succeeded');
    const again = new Teller(new Guest());
    again.guest.restore(teller.guest.snapshot());
    expect(again.guest.snapshot()).toEqual(teller.guest.snapshot());
    again.seq = teller.seq;
    again.tell(changed(2, { mtu: 1400 }));
    expect(again.decided).toEqual([]);
  });
});

describe('prepare', () => {
  test('moves the traffic, and the primary is not used again until it has left or the limit is over', () => {
    const teller = new Teller();
    const active = { active: true, miiUp: true };
    const idle = { active: false, miiUp: true };
    teller.tell(acting(), appeared(bonded.bond), appeared({ ...bonded.standby, slave: idle }));
    teller.tell(appeared({ ...bonded.primary, master: 9, up: true, carrier: true, slave: active }));
    expect(teller.state).toBe('onPrimary primary primary.carries');
    teller.tell(asked('prepare'));
    expect(teller.decided).toEqual(['activateStandby']);
    teller.tell(changed(4, { slave: idle }), changed(2, { slave: active }));
    teller.conclude('succeeded');
    expect(teller.state).toBe('fallback/departing standby primary.leaving');
    teller.wait(9000);
    expect(teller.decided).toEqual(['activateStandby']);
    teller.wait(2000);
    expect(teller.decided).toEqual(['activateStandby', 'activatePrimary']);
  });
});

test('parameters are owed to a device only while it exists; a takeover is owed on', () => {
  const teller = new Teller();
  teller.tell(acting(), appeared(bonded.bond), appeared(bonded.standby), appeared(bonded.primary));
  const arrival = teller.guest.adapters.get(4)?.arrival ?? 0;
  const device = { ifindex: 4, mac: MAC, device: null, pci: null, arrival };
  teller.tell(owing('parameters', 'd1.0.parameters', device), owing('parameters', 'd2.0.parameters', { ...device, arrival: 0 }));
  teller.tell(owing('takeover', 'd3.0.takeover', device));
  const owed = (): string[] => teller.pair.obligations.map(({ id }) => id);
  expect(owed()).toEqual(['d1.0.parameters', 'd2.0.parameters', 'd3.0.takeover']);
  teller.tell(changed(4, { name: 'renamed', mac: '52:54:00:99:99:99' }));
  expect(owed().length).toBe(3);
  teller.tell(gone(4));
  expect(owed()).toEqual(['d2.0.parameters', 'd3.0.takeover']);
});
