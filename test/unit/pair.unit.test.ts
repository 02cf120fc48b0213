// The pair's life cycle: given events, when one more comes, then stage, datapath, reason and decisions.
import { describe, expect, test } from 'vitest';
import type { DriverFacts, Happening } from '../../src/events/catalogue.ts';
import { acting, adapter, appeared, bonded, changed, gone, MAC, policy, surveyed, Teller, trio } from '../given.ts';

const sighted = (facts: Partial<DriverFacts>): Happening => ({
  type: 'driver.facts',
  data: {
    mac: MAC,
    virtio: true,
    isStandby: true,
    virtioLink: true,
    suppressLink: false,
    started: false,
    hasVf: false,
    vfIfIndex: 0,
    vfLink: false,
    ...facts,
  },
});
const windows: Happening = {
  type: 'service.started',
  data: { version: '0', machineVersion: 1, bootId: 'b', vmGeneration: null, platform: 'windows', host: {} },
};

describe('kernel mode: net_failover switches, we follow', () => {
  const paired = () => {
    const teller = new Teller();
    teller.tell(appeared(trio.master), appeared(trio.standby), appeared(trio.primary));
    return teller;
  };

  test('a trio in which the primary carries is on the primary', () => {
    const teller = paired();
    expect(teller.state).toBe('onPrimary primary primary.carries');
    expect(teller.pair.mode).toBe('kernel');
  });

  test('without a primary the standby carries', () => {
    const teller = new Teller();
    teller.tell(appeared(trio.master), appeared(trio.standby));
    expect(teller.state).toBe('fallback/noPrimary standby primary.absent');
  });

  test('a lone virtio NIC is not ours to fail over', () => {
    const teller = new Teller();
    teller.tell(appeared(adapter(3, { bus: 'virtio', device: 'virtio1', up: true, carrier: true })));
    expect(teller.state).toBe('standalone standby standby.unpaired');
  });

  test('a lone VF makes no pair', () => {
    const teller = new Teller();
    teller.tell(appeared(trio.primary));
    expect(teller.guest.pairs.size).toBe(0);
  });

  test('the primary goes down, then away: fallback, and its timers are disarmed', () => {
    const teller = paired();
    teller.tell(changed(4, { up: false }));
    expect(teller.state).toBe('fallback/noCarrier standby primary.noCarrier');
    teller.tell(gone(4));
    expect(teller.state).toBe('fallback/noPrimary standby primary.absent');
    expect(teller.timers.size).toBe(0);
  });

  test('a new primary without carrier is switching until it carries', () => {
    const teller = paired();
    teller.tell(gone(4), appeared({ ...trio.primary, ifindex: 5, carrier: false }));
    expect(teller.state).toBe('switching standby primary.noCarrier');
    teller.tell(changed(5, { carrier: true }));
    expect(teller.state).toBe('onPrimary primary primary.carries');
  });

  test('a primary that never gets carrier ends in fallback with a reason, and is taken when it carries after all', () => {
    const teller = paired();
    teller.tell(gone(4), appeared({ ...trio.primary, ifindex: 5, carrier: false }));
    teller.wait(10_000);
    expect(teller.state).toBe('fallback/noCarrier standby primary.noCarrier');
    teller.tell(changed(5, { carrier: true }));
    expect(teller.state).toBe('onPrimary primary primary.carries');
  });

  test('a primary that is not enslaved is attaching, then named as not attached', () => {
    const teller = new Teller();
    teller.tell(appeared(trio.master), appeared(trio.standby), appeared({ ...trio.primary, master: null }));
    expect(teller.state).toBe('attaching standby primary.found');
    teller.wait(5000);
    expect(teller.state).toBe('fallback/notAttached standby primary.notAttached');
    teller.wait(600_000);
    expect(teller.state).toBe('fallback/notAttached standby primary.notAttached');
    teller.tell(changed(4, { master: 2 }));
    expect(teller.state).toBe('onPrimary primary primary.carries');
  });

  test('a primary that is not enslaved yet must have the MTU of the master, not of the standby', () => {
    const teller = new Teller();
    teller.tell(appeared({ ...trio.master, mtu: 9000 }), appeared(trio.standby), appeared({ ...trio.primary, master: null }));
    expect(teller.state).toBe('fallback/incompatible standby primary.incompatible');
    teller.tell(changed(4, { mtu: 9000 }));
    expect(teller.state).toBe('attaching standby primary.found');
    // Afterwards the kernel sees to it.
    teller.tell(changed(4, { master: 2, mtu: 1500 }));
    expect(teller.state).toBe('onPrimary primary primary.carries');
  });

  test('a sign of departure is shown, and forgotten when nothing leaves', () => {
    const teller = paired();
    teller.tell({ type: 'departure.signalled', data: { address: '0000:02:00.0', sign: 'ptpRemoved' } });
    expect(teller.state).toBe('detaching primary primary.leaving');
    teller.wait(10_000);
    expect(teller.state).toBe('onPrimary primary primary.carries');
  });

  test('a second primary does not take the place of the first', () => {
    const teller = paired();
    teller.tell(appeared({ ...trio.primary, ifindex: 5, device: '0000:03:00.0', pci: '0000:03:00.0', master: null }));
    expect(teller.pair.roles.primary?.facts.ifindex).toBe(4);
    expect(teller.pair.roles.surplus.map(({ facts }) => facts.ifindex)).toEqual([5]);
    teller.tell(gone(4));
    expect(teller.pair.roles.primary?.facts.ifindex).toBe(5);
    expect(teller.state).toBe('attaching standby primary.found');
  });

  test('a rename changes nobody’s role, and forgets nothing', () => {
    const teller = paired();
    teller.tell(appeared({ ...trio.primary, ifindex: 5, device: '0000:03:00.0', pci: '0000:03:00.0', master: null }));
    teller.tell({ type: 'departure.signalled', data: { address: '0000:02:00.0', sign: 'ptpRemoved' } });
    const { state } = teller;
    const arrival = teller.pair.roles.primary?.arrival;
    teller.tell(changed(4, { name: 'enp2s0' }), changed(3, { name: 'enp1s0nsby' }), changed(2, { name: 'enp1s0' }));
    expect(teller.state).toBe(state);
    expect(teller.pair.leaving).toBe(true);
    expect(teller.pair.roles.primary?.facts.ifindex).toBe(4);
    expect(teller.pair.roles.primary?.arrival).toBe(arrival);
  });

  test('an ifindex that is used again is another device', () => {
    const teller = paired();
    const first = teller.pair.roles.primary?.arrival;
    teller.tell(gone(4), appeared(trio.primary));
    expect(teller.pair.roles.primary?.arrival).not.toBe(first);
  });

  test('never decides, whatever the configuration says', () => {
    const teller = new Teller();
    teller.tell(acting(), appeared(trio.master), appeared(trio.standby), appeared({ ...trio.primary, master: null }));
    teller.wait(100_000);
    teller.tell(gone(4));
    expect(teller.decided).toEqual([]);
  });

  test('a reboot forgets the adapters, a restart does not', () => {
    const teller = paired();
    const started = (bootId: string): Happening => ({
      type: 'service.started',
      data: { version: '0', machineVersion: 1, bootId, vmGeneration: null, platform: 'linux', host: {} },
    });
    teller.tell(started('one'));
    teller.tell(started('one'));
    expect(teller.state).toBe('onPrimary primary primary.carries');
    teller.tell(started('two'));
    expect(teller.state).toBe('absent none standby.absent');
  });
});

describe('bond mode', () => {
  const paired = (...first: Happening[]) => {
    const teller = new Teller();
    if (first.length > 0) teller.tell(...first);
    teller.tell(appeared(bonded.bond), appeared(bonded.standby), appeared(bonded.primary));
    return teller;
  };

  test('observing, it follows what others do to the bond', () => {
    const teller = paired();
    expect(teller.state).toBe('attaching standby primary.found');
    teller.tell(changed(4, { master: 9, up: true, carrier: false, slave: { active: false, miiUp: false } }));
    expect(teller.state).toBe('switching standby primary.noCarrier');
    teller.tell(changed(4, { carrier: true }));
    expect(teller.state).toBe('switching standby primary.notActive');
    teller.tell(changed(2, { slave: { active: false, miiUp: true } }), changed(4, { slave: { active: true, miiUp: true } }));
    expect(teller.state).toBe('onPrimary primary primary.carries');
    expect(teller.decided).toEqual([]);
  });

  test('a bond of a pair that is configured as the kernel’s is not touched', () => {
    const kernels = paired(acting({ pairs: [{ mac: MAC, mode: 'kernel' }] }));
    expect([kernels.state, kernels.decided]).toEqual(['attaching standby primary.found', []]);
    expect(paired(acting({ pairs: [{ mac: MAC, mode: 'auto' }] })).decided).toEqual(['bindPrimary']);
  });

  test('a bond in another mode than active-backup is not ours', () => {
    const teller = new Teller();
    teller.tell(appeared({ ...bonded.bond, bond: { mode: 4, activeSlave: null } }), appeared(bonded.standby));
    expect(teller.state).toBe('standalone standby standby.unpaired');
  });

  test('acting, it enslaves, waits for carrier and the bond’s own monitor, and activates', () => {
    const teller = paired(acting());
    expect(teller.decided).toEqual(['bindPrimary']);
    expect(teller.pair.pending?.primary).toEqual({
      ifindex: 4,
      mac: MAC,
      device: '0000:02:00.0',
      pci: '0000:02:00.0',
      arrival: teller.pair.roles.primary?.arrival,
    });
    teller.tell(changed(4, { master: 9, up: true, slave: { active: false, miiUp: false } }));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['bindPrimary']);
    teller.tell(changed(4, { carrier: true }));
    expect(teller.decided).toEqual(['bindPrimary']);
    teller.tell(changed(4, { slave: { active: false, miiUp: true } }));
    expect(teller.decided).toEqual(['bindPrimary', 'activatePrimary']);
    teller.tell(changed(2, { slave: { active: false, miiUp: true } }), changed(4, { slave: { active: true, miiUp: true } }));
    teller.conclude('succeeded');
    expect(teller.state).toBe('onPrimary primary primary.carries');
  });

  const carried = () => {
    const teller = new Teller();
    teller.tell(
      acting(),
      surveyed(
        { ...bonded.bond, bond: { mode: 1, activeSlave: 4 } },
        { ...bonded.standby, slave: { active: false, miiUp: true } },
        { ...bonded.primary, up: true, carrier: true, master: 9, slave: { active: true, miiUp: true } },
      ),
    );
    return teller;
  };

  test('a sign of departure moves traffic early and it does not go back while the primary lingers', () => {
    const teller = carried();
    expect(teller.decided).toEqual([]);
    teller.tell({ type: 'departure.signalled', data: { address: '0000:02:00.0', sign: 'prepare' } });
    expect(teller.decided).toEqual(['activateStandby']);
    teller.tell(changed(4, { slave: { active: false, miiUp: true } }), changed(2, { slave: { active: true, miiUp: true } }));
    teller.conclude('succeeded');
    expect(teller.state).toBe('fallback/departing standby primary.leaving');
    teller.tell(gone(4));
    expect(teller.state).toBe('fallback/noPrimary standby primary.absent');
    expect(teller.decided).toEqual(['activateStandby']);
  });

  test('lost carrier moves traffic at once', () => {
    const teller = carried();
    teller.tell(changed(4, { carrier: false }));
    expect(teller.state).toBe('fallback/noCarrier none primary.noCarrier');
    expect(teller.decided).toEqual(['activateStandby']);
  });

  test('a flapping primary is left alone until it has been quiet', () => {
    const teller = carried();
    for (let loss = 0; loss < 4; loss += 1) {
      teller.wait(100);
      teller.tell(changed(4, { carrier: false }));
      teller.tell(changed(2, { slave: { active: true, miiUp: true } }), changed(4, { slave: { active: false, miiUp: false } }));
      if (teller.pair.pending !== null) teller.conclude('succeeded');
      teller.tell(changed(4, { carrier: true, slave: { active: false, miiUp: true } }));
      if (loss === 3) break;
      teller.tell(changed(2, { slave: { active: false, miiUp: true } }), changed(4, { slave: { active: true, miiUp: true } }));
      if (teller.pair.pending !== null) teller.conclude('succeeded');
    }
    expect(teller.state).toBe('fallback/flapping standby primary.flapping');
    teller.wait(10_000);
    expect(teller.state).toBe('switching standby primary.notActive');
    expect(teller.decided.at(-1)).toBe('activatePrimary');
  });

  test('carrier losses long ago do not count as flapping', () => {
    const teller = carried();
    for (let loss = 0; loss < 10; loss += 1) {
      teller.wait(9000);
      teller.tell(changed(4, { carrier: false }));
      if (teller.pair.pending !== null) teller.conclude('succeeded');
      teller.tell(changed(4, { carrier: true }));
      expect(teller.state).toBe('onPrimary primary primary.carries');
    }
  });

  test('a failed effect is tried again after a pause, and only so often', () => {
    const teller = paired(acting({ attachLimit_ms: 3_600_000, blockedRetry_ms: 60_000 }));
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      expect(teller.pair.pending?.attempt).toBe(attempt);
      teller.conclude('failed', 'EBUSY');
      expect(teller.pair.configuration.effects).toBe('blocked');
      teller.wait(1000);
    }
    expect(teller.decided.length).toBe(5);
    teller.wait(30_000);
    expect(teller.decided.length).toBe(5);
    teller.wait(30_000);
    expect(teller.decided.length).toBe(6);
  });

  test('a dry run decides once for each change of facts', () => {
    const teller = paired(acting({ effects: 'dryRun' }));
    teller.conclude('void', 'dryRun');
    teller.wait(5000);
    expect(teller.decided).toEqual(['bindPrimary']);
    expect(teller.state).toBe('fallback/notAttached standby primary.notAttached');
  });

  test('a pair that is not listed is never touched', () => {
    const teller = paired(policy({ effects: 'on', pairs: [] }));
    teller.wait(100_000);
    expect(teller.decided).toEqual([]);
  });

  test('a late outcome of another decision changes nothing', () => {
    const teller = paired(acting());
    const before = JSON.stringify(teller.guest.snapshot());
    const data = { decision: 'd1.9', pair: MAC, result: 'failed', reason: null, observed: false } as const;
    teller.tell({ type: 'outcome.seen', data });
    expect(JSON.stringify(teller.guest.snapshot())).toBe(before);
  });
});

describe('netkvm mode (Windows)', () => {
  const vf = adapter(7, { bus: 'pci', device: 'PCI\\VEN_8086', up: true, carrier: true });
  const nic = adapter(3, { bus: 'virtio', device: 'PCI\\VEN_1AF4', up: true, carrier: true });
  const held = { suppressLink: true };

  test('late VF on a live standby: hold, bind, release, in this order', () => {
    const teller = new Teller();
    teller.tell(windows, acting(), appeared(nic), sighted({}));
    expect(teller.state).toBe('fallback/noPrimary standby primary.absent');
    teller.tell(appeared(vf));
    expect(teller.decided).toEqual(['holdLink']);
    teller.tell(sighted(held));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['holdLink', 'bindPrimary']);
    teller.tell(sighted({ ...held, hasVf: true, vfIfIndex: 7, vfLink: true }));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['holdLink', 'bindPrimary', 'releaseLink']);
    teller.tell(sighted({ started: true, hasVf: true, vfIfIndex: 7, vfLink: true }));
    teller.conclude('succeeded');
    expect(teller.state).toBe('onPrimary primary primary.carries');
    expect(teller.pair.configuration.effects).toBe('free');
  });

  test('a held standby without a VF is released after the grace time, not before', () => {
    const teller = new Teller();
    teller.tell(windows, acting(), appeared(nic), sighted(held));
    expect(teller.state).toBe('awaitingPrimary none primary.awaited');
    teller.wait(2999);
    expect(teller.decided).toEqual([]);
    teller.wait(1);
    expect(teller.decided).toEqual(['releaseLink']);
  });

  test('an MTU mismatch never leads to a bind', () => {
    const teller = new Teller();
    teller.tell(windows, acting(), appeared(nic), sighted({}), appeared({ ...vf, mtu: 9000 }));
    expect(teller.state).toBe('fallback/incompatible standby primary.incompatible');
    teller.wait(600_000);
    expect(teller.decided).toEqual([]);
  });

  test('a bound VF of another MTU is unbound before the link is released', () => {
    const teller = new Teller();
    teller.tell(windows, acting(), appeared(nic), appeared({ ...vf, mtu: 9000 }));
    teller.tell(sighted({ ...held, hasVf: true, vfIfIndex: 7, vfLink: true }));
    expect(teller.decided).toEqual(['unbindPrimary']);
  });

  test('carrier loss of the VF fails over, which the original does not', () => {
    const teller = new Teller();
    teller.tell(
      windows,
      acting(),
      appeared(nic),
      appeared(vf),
      sighted({ started: true, hasVf: true, vfIfIndex: 7, vfLink: true }),
    );
    expect(teller.state).toBe('onPrimary primary primary.carries');
    teller.tell(changed(7, { carrier: false }), sighted({ started: true, hasVf: true, vfIfIndex: 7, vfLink: false }));
    expect(teller.state).toBe('fallback/noCarrier none primary.noCarrier');
    expect(teller.decided).toEqual(['unbindPrimary']);
  });

  test('a VF without carrier does not make a live standby go silent', () => {
    const teller = new Teller();
    teller.tell(windows, acting(), appeared(nic), sighted({}), appeared({ ...vf, carrier: false }));
    expect(teller.state).toBe('fallback/noCarrier standby primary.noCarrier');
    expect(teller.decided).toEqual([]);
  });
});
