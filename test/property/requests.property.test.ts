// Requests to the kernel: what is encoded is what the project's own decoders read, whatever the values; what does not fit
// is refused before it is sent; and whatever comes back, reading an answer ends in an answer or in one kind of error.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readAnswers } from '../../src/adapters/linux/effects/conversation.ts';
import {
  add,
  ADDRESS,
  type AddressEntry,
  NEIGHBOUR,
  readEntry,
  ROUTE,
  type RouteEntry,
  RULE,
} from '../../src/adapters/linux/effects/entries.ts';
import { addAddresses, addRoutes, ownRoutes } from '../../src/adapters/linux/effects/moving.ts';
import { createBond, createVlan, deleteLink, numbered, setBond, setLink } from '../../src/adapters/linux/effects/requests.ts';
import { ipBytes, ipText } from '../../src/adapters/linux/ip-text.ts';
import { Damage } from '../../src/adapters/linux/netlink-bytes.ts';
import { decodeRtnetlink } from '../../src/adapters/linux/rtnetlink.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { datagrams } from '../unit/netlink-make.ts';

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const ifindex = fc.integer({ min: 1, max: 0x7fffffff });
const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .filter((bytes) => bytes.some((byte) => byte !== 0))
  .map((bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':'));
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,14}$/);
const ip = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => ipText(bytes) ?? '');
const hexadecimal = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const formats = { ip, u8, u16, u32, u32s: fc.array(u32, { maxLength: 8 }), text: name, hex: hexadecimal } as const;

const tables = { ADDRESS, ROUTE, RULE, NEIGHBOUR } as const;
const entryOf = (table: (typeof tables)[keyof typeof tables]): fc.Arbitrary<Record<string, unknown>> => {
  const sizes = { 1: u8, 2: u16, 4: u32 } as const;
  const head = Object.fromEntries(Object.entries(table.head).map(([field, [, size]]) => [field, sizes[size as 1 | 2 | 4]]));
  const attributes: Record<string, fc.Arbitrary<unknown>> = Object.fromEntries(
    Object.entries(table.attributes).map(([field, [, format]]) => [
      field,
      fc.oneof<fc.Arbitrary<unknown>[]>(formats[format as keyof typeof formats], fc.constant(undefined)),
    ]),
  );
  const other = fc.option(fc.dictionary(fc.constantFrom('40', '41', '32810'), hexadecimal, { minKeys: 1 }), { nil: undefined });
  return fc
    .record({ ...head, family: fc.constantFrom(2, 10), ...attributes, other })
    .map((entry) =>
      Object.fromEntries(Object.entries(entry as Record<string, unknown>).filter(([, value]) => value !== undefined)),
    );
};

const linkIn = (bytes: Uint8Array) => {
  const { messages, failure } = decodeRtnetlink(bytes);
  expect(failure).toBeNull();
  expect(messages).toHaveLength(1);
  const [message] = messages;
  if (message?.kind !== 'link') throw new Error('not a link message');
  return message;
};

/** What a call throws, or null. */
const thrown = (call: () => unknown): unknown => {
  try {
    call();
    return null;
  } catch (error) {
    return error;
  }
};

describe('requests', () => {
  test('a link request is read as what it asks for', () => {
    const change = fc.record(
      { up: fc.boolean(), master: fc.option(ifindex), mtu: u32, mac, name, queueLength: u32 },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(ifindex, change, u32, (index, wanted, seq) => {
        const message = linkIn(numbered(setLink(index, wanted), seq));
        expect(message).toMatchObject({ gone: false, ifindex: index, seq, up: wanted.up ?? false });
        expect([message.mtu, message.mac, message.name, message.queueLength]).toEqual([
          wanted.mtu,
          wanted.mac,
          wanted.name,
          wanted.queueLength,
        ]);
        expect(message.master).toBe(wanted.master === null ? 0 : wanted.master);
      }),
    );
  });

  test('a bond, its active slave, a VLAN, a deletion', () => {
    fc.assert(
      fc.property(ifindex, name, mac, fc.boolean(), fc.uint8Array({ maxLength: 40 }), (index, named, address, all, data) => {
        // A new link has no index yet, which the decoder of announcements takes for damage: one is written in.
        const at = (bytes: Uint8Array): Uint8Array =>
          Uint8Array.from([...bytes.subarray(0, 20), index & 0xff, (index >> 8) & 0xff, 1, 0, ...bytes.subarray(24)]);
        expect(linkIn(at(createBond(named, 20, { mac: address, mtu: 1500 })))).toMatchObject({
          up: true,
          name: named,
          mac: address,
          mtu: 1500,
          linkKind: 'bond',
          bond: { mode: 1 },
        });
        expect(linkIn(setBond(index, { activeSlave: 7, allSlavesActive: all }))).toMatchObject({
          ifindex: index,
          bond: { activeSlave: 7, allSlavesActive: all },
        });
        expect(linkIn(at(createVlan(named, 9, data, { up: false })))).toMatchObject({
          up: false,
          lower: 9,
          linkKind: 'vlan',
          vlan: data,
        });
        expect(linkIn(deleteLink(index))).toMatchObject({ gone: true, ifindex: index });
      }),
    );
  });

  test.each(Object.keys(tables) as (keyof typeof tables)[])('%s: what is written is what is read', (which) => {
    fc.assert(
      fc.property(entryOf(tables[which]), (entry) => {
        const bytes = add(tables[which], entry as never, 'create');
        expect(bytes.length % 4).toBe(0);
        expect(readEntry(tables[which], bytes, 0, bytes.length)).toEqual(entry);
      }),
    );
  });

  test('what does not fit is refused, by name', () => {
    expect(() => setLink(1, { mtu: 2 ** 32 })).toThrow(RangeError);
    expect(() => setLink(1, { mtu: -1 })).toThrow(RangeError);
    expect(() => setLink(1, { mac: '52:54:00' })).toThrow(RangeError);
    for (const bad of ['', 'a name', 'a/b', '..', 'sixteen-letters-', 'a\0b'])
      expect(() => setLink(1, { name: bad })).toThrow(RangeError);
    expect(() => createVlan('v', 1, new Uint8Array(70_000), {})).toThrow(RangeError);
    expect(() =>
      add(ADDRESS, { family: 2, prefixLength: 24, headFlags: 0, scope: 0, ifindex: 1, local: '10.0.0.256' }, 'create'),
    ).toThrow(RangeError);
  });
});

describe('addresses as text', () => {
  test('bytes, text and bytes again', () => {
    fc.assert(
      fc.property(ip, (text) => {
        expect(ipText(ipBytes(text) ?? new Uint8Array())).toBe(text);
      }),
    );
  });
  test('other spellings, and what is no address', () => {
    const spelled = (text: string): string | null => {
      const bytes = ipBytes(text);
      return bytes === null ? null : ipText(bytes);
    };
    expect(['FE80:0:0:0:0:0:0:1', '::ffff:10.77.0.2', '1::', '::', '::1'].map(spelled)).toEqual([
      'fe80::1',
      '::ffff:a4d:2',
      '1::',
      '::',
      '::1',
    ]);
    expect(['10.0.0', '10.0.0.256', 'fe80::1%eth0', '1:2', '', 'x'].map(spelled)).toEqual([null, null, null, null, null, null]);
  });
});

describe('answers', () => {
  const real = datagrams('test/fixtures/bond-messages.jsonl').map(({ bytes }) => bytes);
  test('whatever comes: answers, or one kind of error', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(fc.constantFrom(...real), fc.nat(4000), u8).map(([bytes, at, value]) => {
        const out = bytes.slice();
        out[at % out.length] = value;
        return out;
      }),
    );
    fc.assert(
      fc.property(anything, u32, (bytes, first) => {
        const read = () => readAnswers(bytes, first, first + 3, { replies: [], whole: true });
        expect(thrown(read)).toSatisfy((error) => error === null || error instanceof NetkvmError);
      }),
    );
  });

  test('entries that are damaged are damage, never a crash', () => {
    fc.assert(
      fc.property(entryOf(ROUTE), fc.nat(400), u8, fc.nat(400), (entry, at, value, cut) => {
        const bytes = add(ROUTE, entry as RouteEntry, 'create');
        bytes[at % bytes.length] = value;
        const end = bytes.length - (cut % 8 === 0 ? cut % bytes.length : 0);
        expect(thrown(() => readEntry(ROUTE, bytes, 0, end))).toSatisfy((error) => error === null || error instanceof Damage);
      }),
    );
  });
});

describe('moving', () => {
  const ends = { from: { ifindex: 2, name: 'eth0' }, to: { ifindex: 9, name: 'fo112233' } };
  const there = (bytes: Uint8Array | undefined): AddressEntry | null =>
    bytes === undefined ? null : readEntry(ADDRESS, bytes, 0, bytes.length);
  const base: AddressEntry = {
    family: 2,
    prefixLength: 24,
    headFlags: 0x80,
    scope: 0,
    ifindex: 2,
    address: '10.77.0.2',
    local: '10.77.0.2',
  };

  test('lifetimes go along, permanence is not said, labels are renamed where they fit', () => {
    const [leased, forever, labelled, tooLong] = addAddresses(
      [
        { ...base, label: 'eth0', cacheInfo: [300, 600, 5, 6] },
        { ...base, cacheInfo: [0xffffffff, 0xffffffff, 1, 2] },
        { ...base, label: 'eth0:1' },
        { ...base, label: 'eth0:12345678' },
      ],
      ends,
    ).map(there);
    expect(leased).toEqual({ ...base, headFlags: 0, flags: 0, ifindex: 9, cacheInfo: [300, 600, 0, 0] });
    expect(forever).toEqual({ ...base, headFlags: 0, flags: 0, ifindex: 9 });
    expect([labelled?.label, tooLong?.label]).toEqual(['fo112233:1', undefined]);
  });

  test('IPv6 addresses are not checked for duplicates again, and keep the flags that may be set', () => {
    const v6 = {
      family: 10,
      prefixLength: 64,
      headFlags: 0xc0,
      scope: 0,
      ifindex: 2,
      address: 'fd00::2',
      flags: 0x800 | 0x200 | 0x100 | 0x80 | 0x01,
    };
    expect(there(addAddresses([v6], ends)[0])).toEqual({ ...v6, headFlags: 0, flags: 0x302, ifindex: 9 });
  });

  const route = (more: Partial<RouteEntry>): RouteEntry => ({
    family: 2,
    dstLength: 24,
    srcLength: 0,
    tos: 0,
    headTable: 254,
    protocol: 3,
    scope: 0,
    type: 1,
    headFlags: 0,
    oif: 2,
    ...more,
  });
  test('routes that the kernel makes for an address are left to it, except where the address says that it has none', () => {
    const connected = route({ protocol: 2, dst: '10.77.0.0', scope: 253 });
    const local = route({ protocol: 2, type: 2, headTable: 255, dst: '10.77.0.2', dstLength: 32 });
    const gateway = route({ dstLength: 0, gateway: '10.77.0.1' });
    expect(ownRoutes({ addresses: [base], routes: [connected, local, gateway] })).toEqual([gateway]);
    expect(ownRoutes({ addresses: [{ ...base, flags: 0x200 }], routes: [connected, local] })).toEqual([connected]);
  });

  test('metrics are kept; announced routes get one of their own and keep their lifetime; networks come before gateways', () => {
    const gateway = route({ dstLength: 0, gateway: '10.77.0.1', priority: 50, headFlags: 0x10 | 4 });
    const network = route({ dst: '10.9.0.0' });
    const announced = route({
      family: 10,
      dstLength: 0,
      gateway: 'fe80::1',
      protocol: 9,
      priority: 1024,
      cacheInfo: [0, 0, 180_000, 0, 0, 0, 0, 0],
    });
    const read = (bytes: Uint8Array): RouteEntry | null => readEntry(ROUTE, bytes, 0, bytes.length);
    expect(addRoutes([gateway, network], 9).map(read)).toEqual([
      { ...network, oif: 9 },
      { ...gateway, headFlags: 4, oif: 9 },
    ]);
    expect(addRoutes([announced], 9, 1000).map(read)).toEqual([
      { ...route({}), ...announced, oif: 9, cacheInfo: undefined, priority: 2025, expires: 1800 },
    ]);
  });
});
