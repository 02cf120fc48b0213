import { describe, expect, test } from 'vitest';
import { ipText } from '../../src/adapters/linux/ip-text.ts';
import type { LinkMessage } from '../../src/adapters/linux/link-message.ts';
import { decodeRtnetlink, type Message } from '../../src/adapters/linux/rtnetlink.ts';
import * as make from './netlink-make.ts';

const only = (bytes: Uint8Array): Message => {
  const { messages, failure } = decodeRtnetlink(bytes);
  expect(failure).toBeNull();
  expect(messages).toHaveLength(1);
  return messages[0] as Message;
};
const onlyLink = (bytes: Uint8Array): LinkMessage => {
  const message = only(bytes);
  if (message.kind !== 'link') throw new Error(`a ${message.kind}`);
  return message;
};
const firstOf = (scenario: string, source: string): Uint8Array => {
  const found = make.recorded(scenario).find((entry) => entry.source === source);
  if (found === undefined) throw new Error('no datagram');
  return found.bytes;
};

describe('links', () => {
  test('a real NEWLINK of a primary carries its master and its PCI device', () => {
    const all = make.recorded('b-migration').filter((entry) => entry.source === 'rtnetlink');
    const links = all.map(({ bytes }) => onlyLink(bytes));
    expect(links.find(({ ifindex }) => ifindex === 4)).toMatchObject({
      gone: false,
      name: 'eth2',
      mac: '52:54:00:11:22:33',
      permMac: '52:54:00:11:22:33',
      mtu: 1500,
      master: 2,
      parentBus: 'pci',
      parentDevice: '0000:02:00.0',
      up: false,
    });
    expect(links.filter(({ gone }) => gone).map(({ ifindex }) => ifindex)).toEqual([4]);
    // The announces after the migration: NOTIFY_PEERS, each with its IGMP_RESEND.
    expect(links.filter(({ event }) => event === 4)).toHaveLength(5);
    expect(links.filter(({ event }) => event === 5)).toHaveLength(5);
  });

  test('a real bond tells its mode and active slave, its slaves their state', () => {
    const links = make.datagrams('test/fixtures/bond-messages.jsonl').map(({ bytes }) => onlyLink(bytes));
    expect(
      links.map(({ name, master, linkKind, bond, slaveKind, slave }) => [name, master, linkKind ?? slaveKind, bond ?? slave]),
    ).toEqual([
      ['bond0', undefined, 'bond', { mode: 1, activeSlave: 2, allSlavesActive: false }],
      ['eth1', 4, 'bond', { active: false, miiUp: false }],
      ['eth0', 4, 'bond', { active: false, miiUp: true }],
      ['eth1', 4, 'bond', { active: true, miiUp: true }],
      ['bond0', undefined, 'bond', { mode: 1, activeSlave: 3, allSlavesActive: false }],
      ['eth1', 4, 'bond', { active: true, miiUp: true }],
      ['eth0', 4, 'bond', { active: true, miiUp: true }],
      ['bond0', undefined, 'bond', { mode: 1, activeSlave: 2, allSlavesActive: false }],
    ]);
  });

  test('messages of other families and types, and attributes nobody knows, are passed over', () => {
    const bytes = make.joined(
      make.link(2, { family: 7, gone: true }, make.named('br')),
      make.link(2, { family: 10 }, make.named('v6')),
      make.message(24, 0, 0, new Uint8Array(12)),
      make.link(3, { up: true }, make.attribute(999, make.text('?')), make.named('eth0')),
    );
    expect(only(bytes)).toMatchObject({ kind: 'link', ifindex: 3, name: 'eth0', up: true });
  });

  test('a MAC of another length or all zero is none; the longest name that is kept has 256 characters', () => {
    const zero = make.attribute(1, new Uint8Array(6));
    const infiniband = make.attribute(54, new Uint8Array(20).fill(1));
    expect(onlyLink(make.link(1, {}, zero, infiniband))).toMatchObject({ mac: null, permMac: null });
    expect(onlyLink(make.link(1, {}, make.named('x'.repeat(900)))).name).toHaveLength(256);
    expect(onlyLink(make.link(1, {}, make.named('ünï'))).name).toBe('ünï');
  });

  test('counters are read from dump replies only', () => {
    const stats = new Uint8Array(200);
    const view = new DataView(stats.buffer);
    [0, 8, 48, 56].forEach((at, index) => view.setBigUint64(at, 2n ** 64n - 1n - BigInt(index), true));
    const counters = make.attribute(23, stats);
    expect(onlyLink(make.link(1, { flags: make.MULTI }, counters)).counters).toEqual({
      rxPackets: '18446744073709551615',
      txPackets: '18446744073709551614',
      rxDropped: '18446744073709551613',
      txDropped: '18446744073709551612',
    });
    expect(onlyLink(make.link(1, {}, counters)).counters).toBeUndefined();
  });
});

describe('addresses', () => {
  test.each([
    [[10, 77, 0, 2], 24, '10.77.0.2/24'],
    [[0xfe, 0x80, ...Array.from({ length: 13 }, () => 0), 1], 64, 'fe80::1/64'],
    [Array.from({ length: 16 }, () => 0), 128, '::/128'],
  ])('%j/%i', (ip, prefix, address) => {
    expect(only(make.address(2, ip, prefix))).toMatchObject({ kind: 'address', gone: false, ifindex: 2, address });
    expect(only(make.address(2, ip, prefix, { gone: true }))).toMatchObject({ gone: true, address });
  });

  test('IPv6 is shortened as RFC 5952 says', () => {
    const words = (...groups: number[]): Uint8Array => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
    expect(ipText(words(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1))).toBe('2001:db8:0:1:1:1:1:1');
    expect(ipText(words(0x2001, 0, 0, 1, 0, 0, 0, 1))).toBe('2001:0:0:1::1');
    expect(ipText(words(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1))).toBe('2001:db8::1:0:0:1');
    expect(ipText(words(1, 2, 3, 4, 5, 6, 0, 0))).toBe('1:2:3:4:5:6::');
    expect(ipText(new Uint8Array(5))).toBeNull();
  });

  test('the own end of a point-to-point link counts, not the peer', () => {
    const head = Uint8Array.of(2, 32, 0, 0, 7, 0, 0, 0);
    const peer = make.attribute(1, Uint8Array.of(10, 0, 0, 2));
    const own = make.attribute(2, Uint8Array.of(10, 0, 0, 1));
    expect(only(make.message(20, 0, 0, head, peer, own))).toMatchObject({ address: '10.0.0.1/32' });
  });
});

test('the marks around a dump, errors with the reason the kernel gives, and overrun', () => {
  expect(only(make.done(7, make.MULTI | make.DUMP_INTR))).toMatchObject({ kind: 'done', seq: 7, errno: 0, interrupted: true });
  expect(only(make.message(3, 2, 7, make.u32(-16)))).toMatchObject({ kind: 'done', errno: 16 });
  const quoted = make.message(18, 0x301, 9);
  const why = make.attribute(1, make.text('not like this'));
  expect(only(make.message(2, 0x200, 9, make.u32(-22), quoted, why))).toMatchObject({
    kind: 'error',
    errno: 22,
    text: 'not like this',
  });
  expect(only(make.message(2, 0x100, 9, make.u32(0), quoted))).toMatchObject({ kind: 'error', errno: 0, text: null });
  expect(only(make.message(4, 0, 0))).toMatchObject({ kind: 'overrun' });
});

describe('damage', () => {
  test('what was readable before it is kept', () => {
    const good = make.link(3, {}, make.named('eth0'));
    const cut = make.link(4, {}, make.named('eth1')).subarray(0, 30);
    const { messages, failure } = decodeRtnetlink(make.joined(good, cut));
    expect(messages).toMatchObject([{ ifindex: 3 }]);
    expect(failure).toMatch(/^byte 52: a message says it is 52 bytes long, 30 are there$/);
  });

  test.each([
    ['nothing', new Uint8Array()],
    ['a header cut short', new Uint8Array(15)],
    ['a length below the header', make.message(16, 0, 0).fill(3, 0, 1)],
    ['a link without an ifinfomsg', make.message(16, 0, 0, new Uint8Array(8))],
    ['a link with index 0', make.link(0, {}, make.named('x'))],
    ['an attribute of length 0', make.link(1, {}, new Uint8Array(4))],
    ['an attribute past the end', make.link(1, {}, Uint8Array.of(200, 0, 3, 0))],
    ['an MTU of two bytes', make.link(1, {}, make.attribute(4, new Uint8Array(2)))],
    ['a nested attribute past its parent', make.link(1, {}, make.attribute(18, Uint8Array.of(64, 0, 1, 0)), make.named('eth0'))],
    ['an IPv4 prefix of 33', make.address(1, [10, 0, 0, 1], 33)],
    ['an address of five bytes', make.address(1, [1, 2, 3, 4, 5], 8)],
    ['an error that quotes more than it holds', make.message(2, 0x200, 1, make.u32(-1), make.u32(5000), new Uint8Array(12))],
  ])('%s', (_name, bytes) => {
    const { messages, failure } = decodeRtnetlink(bytes);
    expect(messages).toEqual([]);
    expect(failure).toEqual(expect.any(String));
  });

  test('a real datagram cut at every length fails, and nothing else happens', () => {
    const whole = firstOf('b-migration', 'rtnetlink');
    for (let length = 0; length < whole.length; length += 1) {
      const { messages, failure } = decodeRtnetlink(whole.slice(0, length));
      expect(messages).toEqual([]);
      expect(failure).not.toBeNull();
    }
  });

  test('reads stay inside the datagram when it lies in a larger buffer', () => {
    const whole = firstOf('b-migration', 'rtnetlink');
    const room = new Uint8Array(whole.length + 4096).fill(0x41);
    room.set(whole, 2048);
    expect(decodeRtnetlink(room.subarray(2048, 2048 + whole.length))).toEqual(decodeRtnetlink(whole));
    const cut = decodeRtnetlink(room.subarray(2048, 2048 + whole.length - 1));
    expect(cut).toMatchObject({ messages: [], failure: expect.any(String) });
  });
});
