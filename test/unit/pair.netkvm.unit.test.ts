// What Windows adds to a pair: the administrator's own bindings are given back to a primary that is out of work, and while
// the driver package's own service runs, nothing is decided.
import { describe, expect, test } from 'vitest';
import type { DriverFacts, Happening, Obligation } from '../../src/events/catalogue.ts';
import { Guest } from '../../src/machines/guest.ts';
import { Story } from '../../src/machines/story.ts';
import { acting, adapter, appeared, changed, gone, MAC, surveyed, Teller } from '../given.ts';

const nic = adapter(3, { bus: 'virtio', device: 'PCI\\VEN_1AF4\\3', driver: 'netkvm', up: true, carrier: true });
const alone = { ms_tcpip: false, vioprot: true };
const vf = adapter(7, { bus: 'pci', device: 'PCI\\VEN_8086\\1', up: true, carrier: true, protocols: alone });
const carrying: DriverFacts = {
  mac: MAC,
  virtio: true,
  isStandby: true,
  virtioLink: true,
  suppressLink: false,
  started: true,
  hasVf: true,
  vfIfIndex: 7,
  vfLink: true,
};
const facts = (over: Partial<DriverFacts>): Happening => ({ type: 'driver.facts', data: { ...carrying, ...over } });
const started: Happening = {
  type: 'service.started',
  data: { version: '0', machineVersion: 0, bootId: 'b', vmGeneration: null, platform: 'windows', host: {} },
};
const controller = (running: boolean): Happening => ({ type: 'controller.seen', data: { name: 'netkvmp', running } });

const owing = (arrival: number): Obligation => ({
  id: 'd1.0.bindings',
  pair: MAC,
  kind: 'bindings',
  device: { ifindex: 7, mac: MAC, device: vf.device, pci: null, arrival },
  before: { protocols: { ms_tcpip: true, vioprot: true }, held: true },
});
const onPrimary = (): Teller => {
  const teller = new Teller();
  teller.tell(started, acting(), surveyed(nic, vf), facts({}));
  teller.tell({ type: 'obligation.opened', data: owing(3) });
  expect(teller.state).toBe('onPrimary primary primary.carries');
  return teller;
};

test('when the failover protocol is uninstalled while bound, the primary’s own bindings are given back', () => {
  const teller = onPrimary();
  teller.tell({ type: 'protocol.removed', data: { name: 'vioprot' } });
  teller.tell(
    changed(7, { protocols: { ms_tcpip: false } }),
    facts({ started: false, hasVf: false, vfIfIndex: 0, vfLink: false }),
  );
  expect(teller.decided).toEqual(['giveBack']);
  expect(teller.pair.pending).toMatchObject({ kind: 'giveBack', plan: { obligation: 'd1.0.bindings' } });
  teller.tell(facts({ started: false, hasVf: false, vfIfIndex: 0, vfLink: false, suppressLink: true }));
  teller.tell({ type: 'obligation.closed', data: { id: 'd1.0.bindings', pair: MAC, how: 'givenBack' } });
  teller.conclude('succeeded');
  // The standby was held for it; nothing will be bound any more, so it is let go.
  expect(teller.decided).toEqual(['giveBack', 'releaseLink']);
});

test('a primary whose carrier is back is not attached, where it cannot be bound any more', () => {
  const teller = new Teller();
  teller.tell(started, acting({ effects: 'off' }), surveyed(nic, vf), facts({}));
  teller.tell(changed(7, { carrier: false }), facts({ vfLink: false }));
  expect(teller.state).toBe('fallback/noCarrier none primary.noCarrier');
  teller.tell({ type: 'protocol.removed', data: { name: 'vioprot' } });
  teller.tell(facts({ started: false, hasVf: false, vfIfIndex: 0, vfLink: false }), changed(7, { carrier: true }));
  expect(teller.state).toBe('fallback/noCarrier standby primary.notAttached');
});

test('a lone primary gets its bindings back, and one that has left waits for its return', () => {
  const teller = onPrimary();
  teller.tell(gone(3), facts({ virtio: false, isStandby: false, virtioLink: false, started: false }));
  expect(teller.decided).toEqual(['giveBack']);
  const other = onPrimary();
  other.tell(gone(7), facts({ started: false, hasVf: false, vfIfIndex: 0, vfLink: false }));
  expect(other.decided).toEqual([]);
  expect(other.pair.obligations).toHaveLength(1);
  // The same instance at its place: still owed once, and put to work again.
  other.tell(appeared({ ...vf, ifindex: 8 }));
  expect(other.decided).toEqual(['holdLink']);
});

test('while another controller runs, nothing is decided; when it has ended, what is wanted is', () => {
  const teller = new Teller();
  teller.tell(started, acting(), controller(true), surveyed(nic));
  teller.tell(facts({ started: false, hasVf: false, vfIfIndex: 0, vfLink: false }), appeared(vf));
  expect(teller.decided).toEqual([]);
  const snapshot = teller.guest.snapshot();
  expect(snapshot.controllers).toEqual(['netkvmp']);
  const again = new Guest();
  again.restore(JSON.parse(JSON.stringify(snapshot)) as typeof snapshot);
  expect(again.snapshot()).toEqual(snapshot);
  teller.tell(controller(false));
  expect(teller.decided).toEqual(['holdLink']);
});

test('the finding names the other controller, and lasts as long as it runs', () => {
  const story = new Story();
  const happenings = [started, acting(), surveyed(nic), facts({}), controller(true), controller(false)];
  for (const [at, happening] of happenings.entries()) story.tell({ ...happening, seq: at + 1, mono_ns: String((at + 1) * 1e9) });
  const found = story.findings.list({ seq: 9, at_ns: '9000000000' }).filter(({ code }) => code === 'otherController');
  expect(found).toMatchObject([{ mac: MAC, severity: 'error', seq: 5, until_seq: 6 }]);
  expect(found[0]?.text).toContain('netkvmp switches this pair');
});

describe('another standby that comes in the very look in which the last one is missed', () => {
  const held = { ...carrying, suppressLink: true, started: false, hasVf: false, vfIfIndex: 0, vfLink: false };
  const other = { ...nic, ifindex: 4 };
  const look = (...adapters: (typeof nic)[]): Happening => {
    const survey = surveyed(...adapters);
    return survey.type === 'survey.taken' ? { ...survey, data: { ...survey.data, records: [held] } } : survey;
  };
  /** The grace time of the first one is over, and its link is to be let go. */
  const late = (): Teller => {
    const teller = new Teller();
    teller.tell(started, acting(), look(nic));
    expect(teller.state).toBe('awaitingPrimary none primary.awaited');
    teller.wait(3000);
    expect(teller.decided).toEqual(['releaseLink']);
    teller.conclude('void');
    return teller;
  };

  test('has a grace time of its own', () => {
    const teller = late();
    teller.tell(look(other));
    expect(teller.state).toBe('awaitingPrimary none primary.awaited');
    teller.wait(2999);
    expect(teller.decided).toEqual(['releaseLink']);
    teller.wait(1);
    expect(teller.decided).toEqual(['releaseLink', 'releaseLink']);
    expect(teller.pair.pending?.standby?.ifindex).toBe(4);
  });

  test('also where the one before was live, and the driver tells of the new one after it', () => {
    const teller = late();
    teller.tell({ type: 'driver.facts', data: { ...held, suppressLink: false } });
    teller.wait(5000);
    teller.tell(gone(3), appeared(other));
    expect(teller.state).toBe('fallback/noPrimary standby primary.absent');
    teller.tell({ type: 'driver.facts', data: held });
    expect(teller.state).toBe('awaitingPrimary none primary.awaited');
    // What is told later is not of its coming: a link that is held again is let go at once.
    teller.wait(1000);
    teller.tell({ type: 'driver.facts', data: { ...held, virtioLink: false } });
    teller.wait(2000);
    expect(teller.decided).toEqual(['releaseLink', 'releaseLink']);
  });

  test('the same one has not', () => {
    const teller = late();
    teller.tell(look(nic));
    expect(teller.state).toBe('fallback/noPrimary none primary.absent');
  });

  test('nor has the first that is seen when the driver has told of it before', () => {
    const teller = new Teller();
    teller.tell(started, acting(), { type: 'driver.facts', data: held });
    teller.wait(2000);
    teller.tell(appeared(nic));
    teller.wait(1000);
    expect(teller.decided).toEqual(['releaseLink']);
  });

  test('one that is missed for a moment, after a restart in that moment', () => {
    const teller = late();
    teller.tell(gone(3));
    const again = new Teller(new Guest());
    again.guest.restore(JSON.parse(JSON.stringify(teller.guest.snapshot())) as ReturnType<Guest['snapshot']>);
    again.seq = teller.seq;
    for (const one of [teller, again]) {
      one.tell(appeared(other));
      expect(one.state).toBe('awaitingPrimary none primary.awaited');
    }
    expect(again.guest.snapshot()).toEqual(teller.guest.snapshot());
  });

  test('a checkpoint of an older machine takes for shown what is there', () => {
    const snapshot = late().guest.snapshot();
    const pairs = snapshot.pairs.map(({ standby: _, ...rest }) => rest);
    const again = new Guest();
    again.restore({ ...snapshot, pairs });
    expect(again.snapshot()).toEqual(snapshot);
  });
});
