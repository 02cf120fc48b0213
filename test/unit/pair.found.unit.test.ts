// Situations that the simulation found and the fold once got wrong, each as the shortest story that shows it.
import { describe, expect, test } from 'vitest';
import type { DriverFacts, Happening } from '../../src/events/catalogue.ts';
import { acting, adapter, appeared, bonded, changed, gone, MAC, surveyed, Teller } from '../given.ts';

const windows: Happening = {
  type: 'service.started',
  data: { version: '0', machineVersion: 1, bootId: 'b', vmGeneration: null, platform: 'windows', host: {} },
};
const record = (over: Partial<DriverFacts>): DriverFacts => ({
  mac: MAC,
  virtio: true,
  isStandby: true,
  virtioLink: true,
  suppressLink: false,
  started: false,
  hasVf: false,
  vfIfIndex: 0,
  vfLink: false,
  ...over,
});
const sighted = (over: Partial<DriverFacts>): Happening => ({ type: 'driver.facts', data: record(over) });
const nic = adapter(3, { bus: 'virtio', device: 'PCI\\VEN_1AF4', up: true, carrier: true });
const alone = { vioprot: true, ms_tcpip: false };
const vf = adapter(7, {
  bus: 'pci',
  device: 'PCI\\VEN_8086',
  up: true,
  carrier: true,
  protocols: { vioprot: true, ms_tcpip: true },
});
const taken = { hasVf: true, vfIfIndex: 7, vfLink: true };

const live = (): Teller => {
  const teller = new Teller();
  teller.tell(windows, acting(), appeared(nic), sighted({}));
  return teller;
};
const held = (): Teller => {
  const teller = new Teller();
  teller.tell(windows, acting(), appeared(nic), sighted({ suppressLink: true }));
  return teller;
};

describe('NETKVM', () => {
  test('a VF that the driver has taken, but that other protocols hold, too, is bound before the link is released', () => {
    const teller = live();
    teller.tell(appeared(vf), sighted(taken));
    expect(teller.decided).toEqual(['holdLink']);
    teller.tell(sighted({ ...taken, suppressLink: true }));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['holdLink', 'bindPrimary']);
    teller.tell(changed(7, { protocols: alone }));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['holdLink', 'bindPrimary', 'releaseLink']);
  });

  test('a VF that was started with other protocols still bound loses them', () => {
    const teller = live();
    teller.tell(appeared(vf), sighted({ ...taken, started: true }));
    teller.conclude('void');
    teller.wait(1000);
    expect(teller.state).toBe('onPrimary primary primary.carries');
    expect(teller.decided.at(-1)).toBe('bindPrimary');
  });

  test('a VF that comes bound as it was left, while the standby is live, is switched off and on', () => {
    const teller = live();
    teller.tell(appeared({ ...vf, protocols: alone }), sighted(taken));
    expect(teller.decided).toEqual(['holdLink']);
    teller.tell(sighted({ ...taken, suppressLink: true }));
    teller.conclude('succeeded');
    expect(teller.decided).toEqual(['holdLink', 'releaseLink']);
  });

  test('a link that is held although traffic was started carries nothing, and is released', () => {
    const teller = live();
    teller.tell(appeared({ ...vf, protocols: alone }), sighted({ ...taken, started: true }));
    teller.conclude('succeeded');
    expect(teller.pair.shown.datapath).toBe('primary');
    teller.tell(sighted({ ...taken, started: true, suppressLink: true }));
    expect(teller.pair.shown.datapath).toBe('none');
    expect(teller.decided.at(-1)).toBe('releaseLink');
  });

  test('attempts at a bind that fails do not count against the release that follows', () => {
    const teller = held();
    teller.tell(appeared(vf));
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      expect(teller.decided.at(-1)).toBe('bindPrimary');
      teller.conclude(attempt === 5 ? 'refused' : 'failed');
      teller.wait(900);
      if (attempt < 5) teller.wait(100);
    }
    teller.wait(5000);
    expect(teller.state).toBe('fallback/notAttached none primary.notAttached');
    expect(teller.decided.at(-1)).toBe('releaseLink');
  });

  test('without the failover protocol nothing is bound, and the link is released after the grace time', () => {
    const teller = held();
    teller.tell({ type: 'protocol.removed', data: { name: 'vioprot' } }, appeared(vf));
    expect(teller.state).toBe('awaitingPrimary none primary.awaited');
    teller.wait(3000);
    expect(teller.decided).toEqual(['releaseLink']);
    teller.tell(sighted({}));
    teller.conclude('succeeded');
    teller.wait(600_000);
    expect(teller.decided).toEqual(['releaseLink']);
  });

  test('what was refused because of facts that came after the decision is decided anew at once', () => {
    const teller = held();
    teller.tell(appeared({ ...vf, mtu: 9000 }));
    expect(teller.decided).toEqual(['releaseLink']);
    teller.tell(sighted({ ...taken, suppressLink: true }));
    teller.conclude('refused', 'the bound primary has another MTU');
    expect(teller.decided).toEqual(['releaseLink', 'unbindPrimary']);
  });

  test('of two VFs the primary is the one that the driver has taken', () => {
    const teller = live();
    teller.tell(appeared({ ...vf, carrier: false }), appeared({ ...vf, ifindex: 8, device: 'PCI\\VEN_8086&2' }));
    expect(teller.pair.roles.primary?.facts.ifindex).toBe(7);
    teller.tell(sighted({ ...taken, vfIfIndex: 8 }));
    expect(teller.pair.roles.primary?.facts.ifindex).toBe(8);
    expect(teller.pair.roles.surplus.map(({ facts }) => facts.ifindex)).toEqual([7]);
  });

  test('a survey that lists no record ends the pair, and one that says nothing of records does not', () => {
    const teller = live();
    teller.tell(surveyed(nic));
    expect(teller.pair.driverFacts).not.toBeNull();
    const data = { reason: 'test', adapters: [], functions: [], addresses: [], records: [] };
    teller.tell({ type: 'survey.taken', data });
    expect(teller.state).toBe('absent none standby.absent');
  });
});

describe('a bond', () => {
  test('that lost its primary’s carrier takes another primary when the first one leaves', () => {
    const teller = new Teller();
    const { bond, standby, primary } = bonded;
    const member = { ...primary, up: true, carrier: true, master: 9, slave: { active: true, miiUp: true } };
    const idle = { ...standby, slave: { active: false, miiUp: true } };
    teller.tell(acting(), surveyed({ ...bond, bond: { mode: 1, activeSlave: 4 } }, idle, member));
    teller.tell(
      appeared({ ...primary, ifindex: 5, device: '0000:03:00.0', pci: '0000:03:00.0' }),
      changed(4, { carrier: false }),
    );
    teller.tell(changed(2, { slave: { active: true, miiUp: true } }), changed(4, { slave: { active: false, miiUp: false } }));
    teller.conclude('succeeded');
    expect(teller.state).toBe('fallback/noCarrier standby primary.noCarrier');
    teller.tell(gone(4));
    expect(teller.decided.at(-1)).toBe('bindPrimary');
    expect(teller.pair.pending?.primary?.ifindex).toBe(5);
  });

  test('that is down calls for no effect', () => {
    const teller = new Teller();
    teller.tell(acting(), surveyed({ ...bonded.bond, up: false }, bonded.standby));
    expect(teller.decided).toEqual([]);
  });
});
