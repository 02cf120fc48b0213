// Dumps: the replies that the kernel gives when it is asked for everything, asked for or found in a capture.
import { describe, expect, test } from 'vitest';
import type { Observation } from '../../src/events/catalogue.ts';
import { Observer, type Inventory } from '../../src/adapters/linux/observer.ts';
import { Surveyor } from '../../src/adapters/linux/surveyor.ts';
import * as make from './netlink-make.ts';

const reply = (seq: number, flags = make.MULTI): make.LinkOptions => ({ seq, flags });
const linkReply = (seq: number, ifindex: number, name: string, flags?: number): Uint8Array =>
  make.link(ifindex, reply(seq, flags), make.named(name), make.parent('pci', `0000:0${ifindex}:00.0`), counters(ifindex));
const counters = (packets: number): Uint8Array => {
  const stats = new Uint8Array(64);
  new DataView(stats.buffer).setBigUint64(0, BigInt(packets), true);
  return make.attribute(23, stats);
};
const addressReply = (seq: number, ifindex: number, last: number): Uint8Array =>
  make.address(ifindex, [10, 0, 0, last], 24, reply(seq));
const kinds = (observations: readonly Observation[]): string[] => observations.map(({ type }) => type);
const feed = (observer: Observer, ...datagrams: readonly Uint8Array[]): Observation[] =>
  datagrams.flatMap((bytes) => observer.rtnetlink(bytes));
const live = (ifindex: number, name: string): Uint8Array =>
  make.link(ifindex, {}, make.named(name), make.parent('pci', `0000:0${ifindex}:00.0`));
const inventory: Inventory = {
  functions: [{ address: '0000:02:00.0', id: '8086:10d3', driver: 'e1000e' }],
  parents: [{ bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0', driver: 'e1000e' }],
  places: [],
};
/** Addresses 1 then links 2, both asked for. */
const asked = (observer: Observer, addresses: readonly Uint8Array[], links: readonly Uint8Array[]): Observation[] => {
  observer.expect('addresses', 1);
  const first = feed(observer, ...addresses, make.done(1));
  expect(observer.dumpState).toBe('addressesDone');
  observer.expect('links', 2);
  const second = feed(observer, ...links, make.done(2));
  expect(observer.dumpState).toBe('complete');
  return [...first, ...second];
};

describe('in a capture', () => {
  test('the first one is a survey, the next ones are differences', () => {
    const observer = new Observer();
    expect(feed(observer, addressReply(1, 2, 1), make.done(1))).toEqual([]);
    const first = feed(observer, make.joined(linkReply(2, 2, 'a'), linkReply(2, 3, 'b')), make.done(2));
    expect(kinds(first)).toEqual(['survey.taken', 'counters.sampled', 'counters.sampled']);
    expect(first[0]).toMatchObject({
      data: {
        reason: 'captured',
        adapters: [{ ifindex: 2 }, { ifindex: 3 }],
        addresses: [{ ifindex: 2, address: '10.0.0.1/24' }],
      },
    });
    expect(feed(observer, addressReply(3, 2, 9), make.done(3))).toEqual([
      { type: 'address.removed', data: { ifindex: 2, address: '10.0.0.1/24' } },
      { type: 'address.added', data: { ifindex: 2, address: '10.0.0.9/24' } },
    ]);
    const second = feed(observer, linkReply(4, 3, 'c'), linkReply(4, 4, 'd'), make.done(4));
    expect(kinds(second)).toEqual(['address.removed', 'adapter.gone', 'adapter.changed', 'adapter.appeared', 'counters.sampled']);
  });

  test('one that was interrupted, cut off or never begun counts for nothing', () => {
    const observer = new Observer();
    feed(observer, live(2, 'a'), live(3, 'b'));
    expect(feed(observer, linkReply(1, 2, 'a', make.MULTI | make.DUMP_INTR), make.done(1))).toEqual([]);
    expect(feed(observer, linkReply(2, 2, 'a'), linkReply(3, 2, 'a'), make.done(2))).toEqual([]);
    expect(feed(observer, make.done(99))).toEqual([]);
    feed(observer, linkReply(4, 2, 'a'));
    observer.lost('rtnetlink', 'ENOBUFS');
    expect(feed(observer, make.done(4))).toEqual([]);
    expect(observer.known().adapters).toHaveLength(2);
  });
});

describe('asked for', () => {
  test('with a reason it is one whole survey, with what sysfs adds', () => {
    const observer = new Observer();
    expect(asked(observer, [addressReply(1, 2, 1)], [linkReply(2, 2, 'a')])).toEqual([]);
    expect(observer.dumped()).toMatchObject([{ ifindex: 2, driver: null }]);
    const [survey] = observer.finish(inventory, 'started');
    const adapters = [{ ifindex: 2, driver: 'e1000e' }];
    expect(survey).toMatchObject({ type: 'survey.taken', data: { reason: 'started', adapters, functions: inventory.functions } });
    expect(observer.dumpState).toBe('none');
  });

  test('without a reason it is the difference, and nothing when there is none', () => {
    const observer = new Observer();
    asked(observer, [], [linkReply(2, 2, 'a'), linkReply(2, 3, 'b')]);
    observer.finish(inventory, 'started');
    asked(observer, [], [linkReply(2, 2, 'a'), linkReply(2, 3, 'b')]);
    expect(observer.finish(inventory, null)).toEqual([]);
    asked(observer, [], [linkReply(2, 2, 'a')]);
    expect(observer.finish({ functions: [], parents: [], places: [] }, null)).toEqual([
      { type: 'pci.removed', data: { address: '0000:02:00.0' } },
      { type: 'adapter.gone', data: { ifindex: 3 } },
    ]);
  });

  test('messages that arrive meanwhile are newer than what was already collected', () => {
    const observer = new Observer();
    feed(observer, live(2, 'a'), live(3, 'b'));
    const goneAndNew = [make.link(3, { gone: true }, make.named('b')), live(4, 'd'), live(2, 'renamed')];
    const meanwhile = asked(
      observer,
      [addressReply(1, 2, 1), make.address(2, [10, 0, 0, 1], 24, { gone: true })],
      [linkReply(2, 2, 'a'), linkReply(2, 3, 'b'), ...goneAndNew],
    );
    expect(kinds(meanwhile)).toEqual(['adapter.gone', 'adapter.appeared', 'adapter.changed']);
    expect(observer.finish(null, null).filter(({ type }) => type !== 'counters.sampled')).toEqual([]);
    expect(observer.known()).toMatchObject({ adapters: [{ name: 'renamed' }, { name: 'd' }], addresses: [] });
  });

  test('an interruption is told, and taking it all the same keeps what it does not list', () => {
    const observer = new Observer();
    feed(observer, live(2, 'a'), live(3, 'b'));
    asked(observer, [], [linkReply(2, 2, 'x', make.MULTI | make.DUMP_INTR)]);
    expect(observer.dumpInterrupted).toBe(true);
    expect(kinds(observer.finish(null, null, true))).toEqual(['adapter.changed', 'counters.sampled']);
    expect(observer.known().adapters.map(({ name }) => name)).toEqual(['x', 'b']);
  });

  test('a loss meanwhile is an interruption; a refusal ends it; answers to others do not count', () => {
    const observer = new Observer();
    observer.expect('addresses', 1);
    observer.lost('rtnetlink', 'ENOBUFS');
    feed(observer, linkReply(77, 9, 'other'), make.done(77));
    expect(observer.dumpState).toBe('collecting');
    feed(observer, make.done(1));
    expect(observer.dumpInterrupted).toBe(true);
    observer.expect('addresses', 3);
    expect(observer.dumpInterrupted).toBe(false);
    feed(observer, make.message(2, 0, 3, make.u32(-16), make.message(22, 0x301, 3)));
    expect(observer.dumpState).toBe('failed');
    expect(observer.known().adapters).toEqual([]);
  });
});

describe('after the path may have moved', () => {
  // Nothing is asked of the kernel here, so no socket is used.
  const surveyor = () => new Surveyor(null as never, new Observer(), () => inventory, 60_000);

  test('the counters are looked at three times, and a storm does not make it more', () => {
    const one = surveyor();
    expect(one.pause(0)).toBe(Infinity);
    one.follow(0);
    expect(one.pause(0)).toBe(500);
    for (let now = 1; now < 400; now += 1) one.follow(now);
    expect(one.pause(400)).toBe(100);
    one.follow(5000);
    expect(one.pause(5000)).toBe(500);
  });

  test('that is: when hardware comes, goes or changes its state, and not for anything else', () => {
    const observer = new Observer();
    const [nic] = feed(observer, live(2, 'a'));
    const [veth] = feed(observer, make.link(3, {}, make.named('v')));
    expect([nic, veth].map((one) => one && observer.movesPath(one))).toEqual([true, false]);
    const changed = (ifindex: number, change: object): Observation => ({
      type: 'adapter.changed',
      data: { ifindex, changed: change },
    });
    expect(observer.movesPath(changed(2, { carrier: false }))).toBe(true);
    expect(observer.movesPath(changed(2, { name: 'b' }))).toBe(false);
    expect(observer.movesPath(changed(3, { carrier: false }))).toBe(false);
    expect(observer.movesPath({ type: 'pci.removed', data: { address: '0000:02:00.0' } })).toBe(true);
  });
});
