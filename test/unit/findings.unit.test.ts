// What is found wrong, clause by clause: each finding with its words, when it begins and ends, and what looks like it and is
// none. Every list is the whole list, so that nothing else is found beside it.
import { describe, expect, test } from 'vitest';
import type { AdapterChange, DriverFacts, Happening, PciFunction } from '../../src/events/catalogue.ts';
import { LOCK_HELD } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { Findings, type Finding } from '../../src/machines/findings.ts';
import { Story } from '../../src/machines/story.ts';
import { acting, adapter, appeared, bonded, changed, gone, MAC, policy, surveyed, trio } from '../given.ts';

type Moment = readonly [ms: number, ...happenings: Happening[]];

/** Tells it, and gives what is found at `end_ms`: `code seq-until: text`. Decisions are recorded as they are made. */
const found = (end_ms: number, ...moments: readonly Moment[]): string[] => {
  const story = new Story();
  let seq = 0;
  const tell = (ms: number, happening: Happening): void => {
    const { decisions } = story.tell({ ...happening, seq: (seq += 1), mono_ns: String(Math.round(ms * 1e6)) });
    for (const decision of decisions) tell(ms, { type: 'decision.made', data: decision });
  };
  for (const [ms, ...happenings] of moments) for (const happening of happenings) tell(ms, happening);
  return story.findings
    .list({ seq, at_ns: String(end_ms * 1e6) })
    .map(({ code, seq: from, until_seq, text }) => `${code} ${from}-${until_seq ?? ''}: ${text}`);
};
const { master, standby, primary } = trio;
const kernel: Moment = [0, appeared(master), appeared(standby), appeared(primary)];
const bond: Moment = [0, appeared(bonded.bond), appeared(bonded.standby)];
const vf = { bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0' } as const;
const FOREIGN = '52:54:00:99:99:99';

describe('spans of a pair', () => {
  test('no path: once it had one, or its master is up; and only where it is ours', () => {
    const down: Moment = [1000, changed(3, { carrier: false }), changed(4, { carrier: false })];
    expect(found(9000, kernel, down, [2000, changed(3, { carrier: true })]).toSorted()).toEqual([
      'carrierLost 5-: eth4 (0000:02:00.0) did not carry and it lasts',
      'inboundHole 6-: everything that arrived on the standby was dropped and it lasts: eth4 (0000:02:00.0) is registered, but does not carry',
      'noPath 5-6: no path for 1000 ms',
    ]);
    const dead = { carrier: false };
    const never: Moment = [0, appeared({ ...master, ...dead }), appeared({ ...standby, ...dead })];
    expect(found(9000, never)).toEqual(['noPath 2-: no path and it lasts']);
    expect(found(9000, [0, appeared({ ...master, up: false }), appeared({ ...standby, ...dead })])).toEqual([]);
    // Nothing joins it: not ours.
    expect(found(9000, [0, appeared({ ...standby, ...dead, master: null })])).toEqual([]);
  });

  test('shorter than the settling time is nothing; as long is something', () => {
    const flap = (ms: number): string[] =>
      found(9000, bond, [1000, changed(9, { up: false })], [1000 + ms, changed(9, { up: true })]);
    expect([flap(19.9), flap(20)]).toEqual([[], ['noPath 3-4: no path for 20 ms']]);
    expect(
      found(9000, [0, policy({ settle_ms: 5 })], bond, [1000, changed(9, { up: false })], [1009.94, changed(9, { up: true })]),
    ).toEqual(['noPath 4-5: no path for 9.9 ms']);
    expect(found(1019, bond, [1000, changed(9, { up: false })])).toEqual([]);
  });

  test('a primary that does not carry, in a trio: an inbound hole beside it; in a bond: none', () => {
    expect(found(9000, kernel, [1000, changed(4, { carrier: false })], [1500, changed(4, { carrier: true })])).toEqual([
      'inboundHole 4-5: everything that arrived on the standby was dropped for 500 ms: eth4 (0000:02:00.0) is registered, but does not carry',
      'carrierLost 4-5: eth4 (0000:02:00.0) did not carry for 500 ms',
    ]);
    const enslaved = { ...bonded.primary, up: true, carrier: true, master: 9, slave: { active: true, miiUp: true } };
    const whole: Moment = [
      0,
      appeared(bonded.bond),
      appeared({ ...bonded.standby, slave: { active: false, miiUp: true } }),
      appeared(enslaved),
    ];
    const switched = [
      changed(4, { carrier: false, slave: { active: false, miiUp: false } }),
      changed(2, { slave: { active: true, miiUp: true } }),
    ];
    expect(found(9000, whole, [1000, ...switched], [1500, gone(4)])).toEqual([
      'carrierLost 4-6: eth4 (0000:02:00.0) did not carry for 500 ms',
    ]);
  });

  test('another MTU: against the master, else the standby; never where it is not ours', () => {
    expect(found(9000, kernel, [1000, changed(4, { mtu: 1400 })])).toEqual([
      'mtuMismatch 4-: eth4 (0000:02:00.0) has MTU 1400, the pair 1500, and it lasts',
    ]);
    expect(found(9000, kernel, [1000, changed(3, { mtu: 1400 })])).toEqual([]);
    const loose: Moment = [0, appeared({ ...standby, master: null }), appeared({ ...primary, master: null, mtu: 1400 })];
    expect(found(9000, loose)).toEqual([]);
    const wanted = policy({ pairs: [{ mac: MAC, mode: 'bond' }] });
    expect(found(4000, [0, wanted], loose)).toEqual([
      'mtuMismatch 3-: eth4 (0000:02:00.0) has MTU 1400, the pair 1500, and it lasts',
    ]);
  });

  test('a second primary, a second standby', () => {
    const second = { ...primary, ifindex: 5, name: 'eth5', pci: '0000:03:00.0', device: '0000:03:00.0', master: null };
    const third = { ...second, ifindex: 6, name: 'eth6', pci: null };
    expect(found(9000, kernel, [1000, appeared(second)], [1500, gone(5)])).toEqual([
      'secondPrimary 4-5: eth5 (0000:03:00.0) has this MAC too, beside eth4 (0000:02:00.0), for 500 ms',
    ]);
    expect(found(9000, kernel, [1000, surveyed(master, standby, primary, second, third)])).toEqual([
      'secondPrimary 4-: eth5 (0000:03:00.0), eth6 has this MAC too, beside eth4 (0000:02:00.0), and it lasts',
    ]);
    const rival = { ...standby, ifindex: 7, name: 'eth7', device: 'virtio9', pci: '0000:09:00.0', master: null };
    expect(found(9000, [0, appeared(master), appeared(standby)], [1000, appeared(rival)], [2500, gone(7)])).toEqual([
      'secondStandby 3-4: eth3 (0000:01:00.0) and eth7 (0000:09:00.0) are both standbys with this MAC, for 1500 ms',
    ]);
  });

  test('not attached: at once in a trio, after the limit in a bond; and where it is not ours, never', () => {
    const free = { ...primary, master: null };
    expect(found(1100, [0, appeared(master), appeared(standby)], [1000, appeared(free)], [1030, gone(4)])).toEqual([
      'attachFailed 3-4: eth4 (0000:02:00.0) is not enslaved, for 30 ms',
    ]);
    expect(found(5900, bond, [1000, appeared(bonded.primary)])).toEqual([]);
    expect(found(6000, bond, [1000, appeared(bonded.primary)])).toEqual([
      'attachFailed 3-: eth4 (0000:02:00.0) is not enslaved, and it lasts',
    ]);
    expect(found(9000, [0, appeared({ ...standby, master: null }), appeared(free)])).toEqual([]);
  });

  test('a member that something else has taken', () => {
    const bridge = adapter(8, { kind: 'bridge', mac: FOREIGN, permMac: null, name: 'br0' });
    const taken = { ...standby, master: 8 };
    expect(found(9000, [0, acting(), appeared(bridge), appeared(taken)], [1000, changed(3, { master: null })])).toEqual([
      'wrongMaster 3-4: eth3 (0000:01:00.0) is enslaved to another device, for 1000 ms',
    ]);
    // Not listed, and not ours: nobody asked.
    expect(found(9000, [0, appeared(bridge), appeared(taken)])).toEqual([]);
    expect(found(4000, bond, [0, appeared(bridge), appeared({ ...bonded.primary, master: 8 })])).toEqual([
      'wrongMaster 4-: eth4 (0000:02:00.0) is enslaved to another device, and it lasts',
    ]);
    // What is in the pair’s own master is where it belongs.
    expect(found(9000, [0, acting()], kernel)).toEqual([]);
  });

  test('owed, and nobody may touch it', () => {
    const owed: Happening = {
      type: 'obligation.opened',
      data: { id: 'd1.0.parameters', pair: MAC, kind: 'parameters', device: null, before: {} },
    };
    const told = (...applied: Happening[]): string[] =>
      found(9000, [0, acting(), appeared(bonded.bond), appeared(bonded.standby), owed], [1000, ...applied]);
    const text = 'obligationOpen 5-: owed, with effects off: parameters (d1.0.parameters), and it lasts';
    expect(told()).toEqual([]);
    expect(told(acting({ effects: 'off' }))).toEqual([text]);
    expect(told(acting({ pairs: [] }))).toEqual([text]);
    expect(told(acting({ effects: 'dryRun' }))).toEqual([]);
    const restored: Happening = { type: 'operator.commanded', data: { command: 'restore', pair: null, by: 'test' } };
    expect(told(acting({ effects: 'dryRun' }), restored, acting({ effects: 'off' }))).toEqual([]);
  });

  test('a storm of losses is one point', () => {
    const flaps = Array.from({ length: 10 }, (_, at): Moment => [1000 + at * 100, changed(4, { carrier: at % 2 === 1 })]);
    const points = found(3000, kernel, ...flaps).filter((text) => text.startsWith('flapping'));
    expect(points).toEqual(['flapping 10-10: eth4 (0000:02:00.0) lost its carrier 4 times within the window']);
  });
});

describe('points', () => {
  test('gaps, clocks, effects', () => {
    const outcome = (result: 'failed' | 'refused' | 'void' | 'succeeded', reason: string | null): Happening => ({
      type: 'outcome.seen',
      data: { decision: 'd9.0', pair: MAC, result, reason, observed: false },
    });
    const told = [
      { type: 'gap.seen', data: { source: 'rtnetlink', reason: 'ENOBUFS' } } as const,
      { type: 'clock.jumped', data: { kind: 'suspended', delta_ns: '9940000' } } as const,
      { type: 'clock.jumped', data: { kind: 'stepped', delta_ns: '-20000000000' } } as const,
      outcome('failed', 'EPERM'),
      outcome('refused', null),
      outcome('void', 'x'),
      outcome('succeeded', null),
    ];
    expect(found(9000, [0, ...told])).toEqual([
      'gap 1-1: rtnetlink: ENOBUFS',
      'clockJumped 2-2: clock suspended by 9.9 ms',
      'clockJumped 3-3: clock stepped by -20000.0 ms',
      'effectFailed 4-4: decision d9.0 failed: EPERM',
      'effectFailed 5-5: decision d9.0 refused: no reason given',
    ]);
  });

  test('an announce is said once for its rounds, and of the standby alone', () => {
    const announce = (ifindex: number): Happening => ({ type: 'announce.seen', data: { ifindex } });
    const text = 'eth3 (0000:01:00.0) was told to announce its address';
    expect(
      found(
        9000,
        kernel,
        [1000, announce(3)],
        [2499, announce(3)],
        [3998, announce(3)],
        [5498, announce(3)],
        [6000, announce(4)],
      ),
    ).toEqual([`announceSeen 4-4: ${text}`, `announceSeen 7-7: ${text}`]);
  });

  test('a return says how long it was away, and whether the guest was migrated', () => {
    const announce: Happening = { type: 'announce.seen', data: { ifindex: 3 } };
    const back = { ...primary, ifindex: 5, name: 'eth5' };
    const returned = (...between: Moment[]): string[] => found(9000, kernel, [1000, gone(4)], ...between, [3500, appeared(back)]);
    expect(returned().at(-1)).toBe(
      'primaryReturned 5-5: eth5 (0000:02:00.0) is back after 2500 ms, without an announce since (not migrated)',
    );
    expect(returned([2000, announce]).at(-1)).toBe(
      'primaryReturned 6-6: eth5 (0000:02:00.0) is back after 2500 ms, with an announce since (migrated)',
    );
    // An announce before it left is of another story; and the first primary has not returned.
    expect(found(9000, kernel, [500, announce], [1000, gone(4)], [3500, appeared(back)]).at(-1)).toContain('not migrated');
    expect(found(9000, kernel)).toEqual([]);
  });

  test('a stranger: a network function with a MAC of its own, while the pair lacks its primary', () => {
    const stranger = (over: AdapterChange = {}): Happening =>
      appeared(adapter(6, { ...vf, pci: '0000:05:00.0', mac: FOREIGN, permMac: FOREIGN, ...over }));
    const told = (happening: Happening, before: Moment = bond): string[] => found(9000, before, [1000, happening]);
    const text = `foreignMac 3-3: eth6 (0000:05:00.0) came with MAC ${FOREIGN} while this pair lacked its primary`;
    expect(told(stranger())).toEqual([text]);
    expect(told(stranger({ permMac: null }))).toEqual([text]);
    expect(told(stranger({ permMac: null, mac: null }))).toEqual([]);
    expect(told(stranger({ kind: 'vlan' }))).toEqual([]);
    expect(told(stranger({ bus: 'usb' }))).toEqual([]);
    // It has its primary; nothing joins it; the other MAC is a pair’s own.
    expect(told(stranger(), kernel)).toEqual([]);
    expect(told(stranger(), [0, appeared({ ...standby, master: null })])).toEqual([]);
    const other = adapter(12, { bus: 'virtio', device: 'virtio7', pci: '0000:0c:00.0', mac: FOREIGN, permMac: FOREIGN });
    expect(told(stranger(), [0, ...(bond.slice(1) as Happening[]), appeared(other)])).toEqual([]);
  });
});

describe('functions without an adapter', () => {
  const item = (address: string, driver: string | null): PciFunction => ({ address, id: '8086:1520', driver });
  const plugged = (...functions: PciFunction[]): Happening[] => functions.map((data) => ({ type: 'pci.added', data }));

  test('while the pair lacks its primary, after the limit', () => {
    const told = (end_ms: number, before: Moment = bond): string[] =>
      found(end_ms, before, [1000, ...plugged(item('0000:02:00.0', null), item('0000:03:00.0', 'vfio-pci'))]);
    expect(told(5999)).toEqual([]);
    expect(told(6000)).toEqual(['noAdapter 3-: 0000:02:00.0 (no driver) shows no adapter, and it lasts']);
    // Not with a primary, nor where nothing joins the two.
    const two: Moment = [0, appeared(master), appeared(standby), appeared({ ...primary, pci: '0000:0e:00.0' })];
    expect(told(9000, two)).toEqual([]);
    expect(told(9000, [0, appeared({ ...standby, master: null })])).toEqual([]);
  });

  test.each<[string, Happening]>([
    ['it gets its adapter', appeared(adapter(6, { ...vf, mac: FOREIGN, permMac: FOREIGN, kind: 'vlan' }))],
    ['it goes', { type: 'pci.removed', data: { address: '0000:02:00.0' } }],
    ['a survey does not list it', { ...surveyed(bonded.bond, bonded.standby) }],
    ['the primary comes', appeared(bonded.primary)],
  ])('ends when %s', (_, happening) => {
    const list = found(7500, bond, [1000, ...plugged(item('0000:02:00.0', null))], [7000, happening]);
    expect(list).toEqual(['noAdapter 3-4: 0000:02:00.0 (no driver) shows no adapter, for 6000 ms']);
  });

  test('names them all as they are when it begins, and begins when an adapter goes', () => {
    const functions = plugged(item('0000:01:00.0', 'virtio-pci'), item('0000:05:00.0', 'vfio-pci'), item('0000:06:00.0', null));
    const left = adapter(6, { ...vf, pci: '0000:05:00.0', mac: FOREIGN, permMac: FOREIGN, kind: 'vlan' });
    const list = found(
      9000,
      [0, ...(bond.slice(1) as Happening[]), appeared(left)],
      [1000, ...functions.slice(0, 2)],
      [2000, gone(6)],
    );
    expect(list).toEqual(['noAdapter 6-: 0000:05:00.0 (vfio-pci) shows no adapter, and it lasts']);
    const bound: Happening = { type: 'pci.bound', data: { address: '0000:06:00.0', driver: 'vfio-pci' } };
    expect(found(9000, bond, [1000, ...functions.slice(2), bound]).at(0)).toContain('0000:06:00.0 (no driver)');
    const survey: Happening = {
      type: 'survey.taken',
      data: {
        reason: 'test',
        adapters: [bonded.bond, bonded.standby],
        functions: [item('0000:05:00.0', 'vfio-pci'), item('0000:06:00.0', null)],
        addresses: [],
      },
    };
    expect(found(9000, bond, [1000, survey])).toEqual([
      'noAdapter 3-: 0000:05:00.0 (vfio-pci), 0000:06:00.0 (no driver) shows no adapter, and it lasts',
    ]);
  });
});

describe('clues', () => {
  const address = (ifindex: number, text: string): Happening => ({ type: 'address.added', data: { ifindex, address: text } });
  const withdrawn = (ifindex: number, text: string): Happening => ({ type: 'address.removed', data: { ifindex, address: text } });

  test('addresses of one family on two devices, for longer than it takes to move them', () => {
    const v4 = [address(9, '192.0.2.7/24'), address(2, '192.0.2.8/24'), address(2, 'fe80::1/64')];
    const text = 'more than one device of the pair has addresses (eth9: 192.0.2.7/24; eth2 (0000:01:00.0): 192.0.2.8/24)';
    expect(found(3999, bond, [1000, ...v4])).toEqual([]);
    expect(found(4000, bond, [1000, ...v4])).toEqual([`doubleAddresses 4-: ${text}, and it lasts`]);
    expect(found(9000, bond, [1000, ...v4], [5000, withdrawn(2, '192.0.2.8/24')])).toEqual([
      `doubleAddresses 4-6: ${text}, for 4000 ms`,
    ]);
    // One of each family, or link-local ones, are no two.
    expect(found(9000, bond, [1000, address(9, '192.0.2.7/24'), address(2, '2001:db8::2/64'), address(9, 'fe80::1/64')])).toEqual(
      [],
    );
    const v6 = [address(9, '2001:db8::1/64'), address(2, '2001:db8::2/64'), address(2, '2001:db8::3/64')];
    expect(found(9000, bond, [1000, ...v6])).toEqual([
      'doubleAddresses 4-: more than one device of the pair has addresses (eth9: 2001:db8::1/64; eth2 (0000:01:00.0): 2001:db8::2/64), and it lasts',
    ]);
    const alone = found(9000, bond, [1000, address(2, '192.0.2.8/24'), address(2, '192.0.2.9/24')]);
    expect(alone.map((one) => one.split(' ')[0])).toEqual(['nameGrabbed']);
  });

  test('a primary that stays away is missed', () => {
    const left: Moment = [1000, gone(4)];
    expect(found(30_999, kernel, left)).toEqual([]);
    const text = 'the primary that was at 0000:02:00.0 left and did not come back';
    expect(found(31_000, kernel, left)).toEqual([`primaryMissing 4-: ${text}, and it lasts`]);
    expect(found(50_000, kernel, left, [41_000, appeared(primary)]).at(0)).toBe(`primaryMissing 4-5: ${text}, for 40000 ms`);
    expect(found(50_000, [0, appeared(master), appeared(standby)])).toEqual([]);
  });

  test('a function in the primary’s place with another MAC', () => {
    const wrong = (over: AdapterChange = {}): Happening =>
      appeared(adapter(6, { ...vf, mac: FOREIGN, permMac: FOREIGN, ...over }));
    const told = (happening: Happening, ...then: Moment[]): string[] =>
      found(9000, kernel, [1000, gone(4)], [2000, happening], ...then);
    const text = (has: string): string => `eth6 (0000:02:00.0) is where the primary was, but has MAC ${has}`;
    expect(told(wrong())).toEqual([`wrongMac 5-: ${text(FOREIGN)}, and it lasts`]);
    expect(told(wrong({ permMac: null }))).toEqual([`wrongMac 5-: ${text(FOREIGN)}, and it lasts`]);
    expect(told(wrong({ permMac: null, mac: null }))).toEqual([`wrongMac 5-: ${text('none')}, and it lasts`]);
    expect(told(wrong(), [3000, gone(6)])).toEqual([`wrongMac 5-6: ${text(FOREIGN)}, for 1000 ms`]);
    expect(told(wrong({ kind: 'vlan' }))).toEqual([]);
    // Elsewhere it is a stranger, and in another place than the primary’s.
    expect(told(wrong({ pci: '0000:05:00.0' }))[0]).toMatch(/^foreignMac/);
  });

  test('a sign that nothing follows', () => {
    const sign: Happening = { type: 'departure.signalled', data: { address: '0000:02:00.0', sign: 'ptpRemoved' } };
    const forgotten: Happening = { type: 'pci.removed', data: { address: '0000:02:00.0' } };
    expect(found(9000, kernel, [1000, sign], [3500, forgotten])).toEqual([
      'unplugNotDone 5-5: eth4 (0000:02:00.0) was said to leave (at 4), and is still there 2.5 s later',
    ]);
    expect(found(9000, kernel, [1000, sign], [1500, gone(4)])).toEqual([]);
    // A second sign does not make it younger.
    expect(found(9000, kernel, [1000, sign], [2000, sign], [3500, forgotten])[0]).toContain('(at 4), and is still there 2.5 s');
  });

  const counted = (ifindex: number, rxPackets: number, txPackets: number): Happening => ({
    type: 'counters.sampled',
    data: { ifindex, rxPackets: String(rxPackets), txPackets: String(txPackets), rxDropped: '0', rxErrors: '0' } as never,
  });
  test('frames that leave, and not one that comes back', () => {
    const text = (sent: number, name = 'eth4 (0000:02:00.0)'): string =>
      `${sent} packets left over ${name} and not one came back`;
    const told = (...samples: readonly [ms: number, rx: number, tx: number][]): string[] =>
      found(9000, kernel, ...samples.map(([ms, rx, tx]): Moment => [ms, counted(4, rx, tx)]));
    expect(told([1000, 7, 10], [2000, 7, 15])).toEqual([`nothingReturns 5-: ${text(5)}, and it lasts`]);
    expect(told([1000, 7, 10], [2000, 7, 14])).toEqual([]);
    expect(told([1000, 7, 10], [1999, 7, 99])).toEqual([]);
    expect(told([1000, 7, 10], [2000, 8, 99])).toEqual([]);
    // Counters that ran backwards were reset: the next look is a first one.
    expect(told([1000, 7, 10], [2000, 7, 9], [3000, 7, 13])).toEqual([]);
    expect(told([1000, 7, 10], [2000, 7, 9], [3000, 7, 14])).toEqual([`nothingReturns 6-: ${text(5)}, and it lasts`]);
    expect(told([1000, 7, 10], [2000, 7, 10], [3000, 7, 15])).toEqual([`nothingReturns 6-: ${text(5)}, and it lasts`]);
    expect(told([1000, 7, 10], [2000, 7, 15], [3000, 8, 16])).toEqual([`nothingReturns 5-6: ${text(5)}, for 1000 ms`]);
    // Another adapter than the one that the path leads over says nothing; nor does one where there is no path.
    expect(found(9000, kernel, [1000, counted(3, 7, 10)], [2000, counted(3, 7, 99)])).toEqual([]);
    // With another carrier it is another story.
    const over = [1000, counted(4, 7, 10)] as const;
    expect(
      found(
        9000,
        kernel,
        over,
        [2000, counted(4, 7, 20)],
        [3000, changed(4, { carrier: false }), changed(4, { carrier: true })],
        [4000, counted(4, 7, 40)],
      ),
    ).toEqual([`nothingReturns 5-6: ${text(10)}, for 1000 ms`]);
  });

  const record: DriverFacts = {
    mac: MAC,
    virtio: true,
    isStandby: true,
    virtioLink: true,
    suppressLink: false,
    started: false,
    hasVf: false,
    vfIfIndex: 0,
    vfLink: false,
  };
  const windows: Moment = [0, acting(), appeared({ ...standby, master: null }), { type: 'driver.facts', data: record }];

  test('the failover protocol is missing, on Windows', () => {
    const removed: Happening = { type: 'protocol.removed', data: { name: 'vioprot' } };
    const installed: Happening = { type: 'protocol.installed', data: { name: 'vioprot' } };
    const text = 'the failover protocol is not installed, so no primary can be bound';
    expect(found(9000, windows, [1000, removed])).toEqual([`protocolMissing 4-: ${text}, and it lasts`]);
    expect(found(9000, windows, [1000, removed], [3000, installed])).toEqual([`protocolMissing 4-5: ${text}, for 2000 ms`]);
    expect(found(9000, windows, [1000, installed])).toEqual([]);
    expect(found(9000, bond, [1000, removed])).toEqual([]);
  });

  test('a lock that somebody else holds, until an effect is done', () => {
    const outcome = (result: 'failed' | 'succeeded', reason: string | null): Happening => ({
      type: 'outcome.seen',
      data: { decision: 'd9.0', pair: MAC, result, reason, observed: false },
    });
    const held = outcome('failed', `${LOCK_HELD}Network Connections`);
    const locks = (...moments: Moment[]): string[] =>
      found(9000, windows, ...moments).filter((text) => text.startsWith('lockHeld'));
    expect(locks([1000, held])).toEqual([`lockHeld 4-: ${LOCK_HELD}Network Connections, and it lasts`]);
    expect(locks([1000, held], [2000, outcome('succeeded', null)])).toEqual([
      `lockHeld 4-5: ${LOCK_HELD}Network Connections, for 1000 ms`,
    ]);
    expect(locks([1000, outcome('failed', 'EPERM')], [1500, outcome('failed', null)])).toEqual([]);
    expect(locks([1000, outcome('succeeded', `${LOCK_HELD}x`)])).toEqual([]);
  });
});

test('the newest findings are kept, what lasts is no matter of the limit, and somebody is told of each', () => {
  const told: Finding[] = [];
  const findings = new Findings(2, (finding) => told.push(finding));
  const { guest } = new Story();
  for (let seq = 1; seq <= 4; seq += 1) {
    const event: Foldable = { type: 'gap.seen', seq, mono_ns: String(seq), data: { source: 's', reason: String(seq) } };
    findings.note(event, guest, guest.apply(event), { seq, at_ns: String(seq) });
  }
  expect(findings.list({ seq: 4, at_ns: '4' }).map(({ text }) => text)).toEqual(['s: 3', 's: 4']);
  expect([findings.dropped, told.map(({ text }) => text)]).toEqual([2, ['s: 1', 's: 2', 's: 3', 's: 4']]);
  expect(told[0]).toEqual({
    code: 'gap',
    severity: 'warning',
    mac: null,
    seq: 1,
    at_ns: '1',
    until_seq: 1,
    until_ns: '1',
    text: 's: 1',
  });
});
