// What stands on a link and is moved with it: addresses, routes, rules and neighbours, as rtnetlink says them and as plain
// JSON, in both directions and without loss. One table a kind says where each field lies; an attribute that has no name
// here is carried along in `other`, as hexadecimal digits. Pure. Sources: rtnetlink(7), linux/if_addr.h,
// linux/rtnetlink.h, linux/neighbour.h, linux/fib_rules.h, linux/if_link.h.
import { ipBytes, ipText } from '../ip-text.ts';
import {
  align,
  attributeEnd,
  attributeType,
  ATTRIBUTE_BYTES,
  Damage,
  need,
  text as readText,
  u16 as readU16,
  u32 as readU32,
} from '../netlink-bytes.ts';
import { attribute, joined, message, NLM_F, text, u16, u32, u8 } from './requests.ts';

/** How the value of an attribute is written in JSON. `u32s` is an array, `hex` whatever bytes they are. */
type Format = 'ip' | 'u8' | 'u16' | 'u32' | 'u32s' | 'text' | 'hex';
type ValueOf<F extends Format> = F extends 'u8' | 'u16' | 'u32' ? number : F extends 'u32s' ? readonly number[] : string;

interface Table {
  readonly what: string;
  readonly types: { readonly new: number; readonly del: number; readonly get: number };
  /** Length of the fixed part. */
  readonly bytes: number;
  /** Offset and size of each of its fields. */
  readonly head: Readonly<Record<string, readonly [at: number, size: 1 | 2 | 4]>>;
  readonly attributes: Readonly<Record<string, readonly [type: number, format: Format]>>;
}
type EntryOf<T extends Table> = { readonly [H in keyof T['head']]: number } & {
  readonly [A in keyof T['attributes']]?: ValueOf<T['attributes'][A][1]>;
} & { readonly other?: Readonly<Record<string, string>> };

export const AF = { inet: 2, inet6: 10 } as const;

/** struct ifaddrmsg. `cacheInfo` is preferred and valid lifetime in seconds, then two stamps. */
export const ADDRESS = {
  what: 'an ifaddrmsg',
  types: { new: 20, del: 21, get: 22 },
  bytes: 8,
  head: { family: [0, 1], prefixLength: [1, 1], headFlags: [2, 1], scope: [3, 1], ifindex: [4, 4] },
  attributes: {
    address: [1, 'ip'],
    local: [2, 'ip'],
    label: [3, 'text'],
    broadcast: [4, 'ip'],
    cacheInfo: [6, 'u32s'],
    flags: [8, 'u32'],
    priority: [9, 'u32'],
    proto: [11, 'u8'],
  },
} as const satisfies Table;
export type AddressEntry = EntryOf<typeof ADDRESS>;

/** struct rtmsg. `gateway` is of the route's own family; one of the other is RTA_VIA. */
export const ROUTE = {
  what: 'an rtmsg',
  types: { new: 24, del: 25, get: 26 },
  bytes: 12,
  head: {
    family: [0, 1],
    dstLength: [1, 1],
    srcLength: [2, 1],
    tos: [3, 1],
    headTable: [4, 1],
    protocol: [5, 1],
    scope: [6, 1],
    type: [7, 1],
    headFlags: [8, 4],
  },
  attributes: {
    dst: [1, 'ip'],
    src: [2, 'ip'],
    iif: [3, 'u32'],
    oif: [4, 'u32'],
    gateway: [5, 'ip'],
    priority: [6, 'u32'],
    prefSrc: [7, 'ip'],
    metrics: [8, 'hex'],
    multipath: [9, 'hex'],
    cacheInfo: [12, 'u32s'],
    table: [15, 'u32'],
    via: [18, 'hex'],
    pref: [20, 'u8'],
    expires: [23, 'u32'],
    nexthop: [30, 'u32'],
  },
} as const satisfies Table;
export type RouteEntry = EntryOf<typeof ROUTE>;

/** struct fib_rule_hdr. Rules name interfaces, not indices. */
export const RULE = {
  what: 'a fib_rule_hdr',
  types: { new: 32, del: 33, get: 34 },
  bytes: 12,
  head: {
    family: [0, 1],
    dstLength: [1, 1],
    srcLength: [2, 1],
    tos: [3, 1],
    headTable: [4, 1],
    action: [7, 1],
    headFlags: [8, 4],
  },
  attributes: {
    dst: [1, 'ip'],
    src: [2, 'ip'],
    iifName: [3, 'text'],
    priority: [6, 'u32'],
    mark: [10, 'u32'],
    table: [15, 'u32'],
    mask: [16, 'u32'],
    oifName: [17, 'text'],
    protocol: [21, 'u8'],
  },
} as const satisfies Table;
export type RuleEntry = EntryOf<typeof RULE>;

/** struct ndmsg. `state` is NUD_*, `headFlags` NTF_*. */
export const NEIGHBOUR = {
  what: 'an ndmsg',
  types: { new: 28, del: 29, get: 30 },
  bytes: 12,
  head: { family: [0, 1], ifindex: [4, 4], state: [8, 2], headFlags: [10, 1], type: [11, 1] },
  attributes: {
    dst: [1, 'ip'],
    lladdr: [2, 'hex'],
    cacheInfo: [3, 'u32s'],
    probes: [4, 'u32'],
    filter: [8, 'u32'],
    protocol: [12, 'u8'],
  },
} as const satisfies Table;
export type NeighbourEntry = EntryOf<typeof NEIGHBOUR>;

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** Throws RangeError for a text that is not made of pairs of hexadecimal digits. */
export const unhex = (digits: string): Uint8Array => {
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new RangeError(`'${digits.slice(0, 40)}' is not hexadecimal`);
  return new Uint8Array(Buffer.from(digits, 'hex'));
};

const FIXED = { u8: 1, u16: 2, u32: 4 } as const;
const read = (format: Format, bytes: Uint8Array, from: number, to: number): ValueOf<Format> => {
  switch (format) {
    case 'u8':
    case 'u16':
    case 'u32':
      need(from, to, FIXED[format], `a value of ${format}`);
      return format === 'u8' ? (bytes[from] ?? 0) : format === 'u16' ? readU16(bytes, from) : readU32(bytes, from);
    case 'u32s':
      return Array.from({ length: (to - from) >> 2 }, (_, index) => readU32(bytes, from + 4 * index));
    case 'ip': {
      const ip = ipText(bytes.subarray(from, to));
      if (ip === null) throw new Damage(`an address of ${to - from} bytes`);
      return ip;
    }
    case 'text':
      return readText(bytes, from, to);
    case 'hex':
      return hex(bytes.subarray(from, to));
  }
};

const written = (format: Format, value: ValueOf<Format>): Uint8Array => {
  switch (format) {
    case 'u8':
      return u8(value as number);
    case 'u16':
      return u16(value as number);
    case 'u32':
      return u32(value as number);
    case 'u32s':
      return joined((value as readonly number[]).map((one) => u32(one)));
    case 'ip': {
      const bytes = ipBytes(value as string);
      if (bytes === null) throw new RangeError(`'${value as string}' is no IP address`);
      return bytes;
    }
    case 'text':
      return text(value as string);
    case 'hex':
      return unhex(value as string);
  }
};

const write = (head: Uint8Array, [at, size]: readonly [number, 1 | 2 | 4], value: number): void =>
  head.set(size === 1 ? u8(value) : size === 2 ? u16(value) : u32(value), at);

/** The fixed part and the attributes of an entry, in the order of the table. Throws RangeError for what does not fit. */
const body = <T extends Table>(table: T, entry: EntryOf<T>): Uint8Array[] => {
  const values = entry as Readonly<Record<string, ValueOf<Format> | undefined>>;
  const head = new Uint8Array(table.bytes);
  for (const [name, place] of Object.entries(table.head)) write(head, place, values[name] as number);
  const parts: Uint8Array[] = [head];
  for (const [name, [type, format]] of Object.entries(table.attributes)) {
    const value = values[name];
    if (value !== undefined) parts.push(attribute(type, written(format, value)));
  }
  for (const [type, digits] of Object.entries(entry.other ?? {})) parts.push(attribute(Number(type), unhex(digits)));
  return parts;
};

type Add = 'create' | 'exclusive' | 'replace' | 'append';
const HOW: Readonly<Record<Add, number>> = {
  create: NLM_F.create,
  exclusive: NLM_F.create | NLM_F.excl,
  replace: NLM_F.create | NLM_F.replace,
  append: NLM_F.create | NLM_F.append,
};
export const add = <T extends Table>(table: T, entry: EntryOf<T>, how: Add): Uint8Array =>
  message(table.types.new, HOW[how], ...body(table, entry));
export const remove = <T extends Table>(table: T, entry: EntryOf<T>): Uint8Array =>
  message(table.types.del, 0, ...body(table, entry));
/** Asks for every entry that is like `filter` (with NETLINK_GET_STRICT_CHK), of both families unless it names one. */
export const dump = <T extends Table>(table: T, filter: Partial<EntryOf<T>> = {}): Uint8Array => {
  const zero = Object.fromEntries(Object.keys(table.head).map((name) => [name, 0]));
  return message(table.types.get, NLM_F.dump, ...body(table, { ...zero, ...filter }));
};
/** Asks for one: how the kernel would route, or which neighbour it knows. */
export const ask = <T extends Table>(table: T, entry: Partial<EntryOf<T>>): Uint8Array => {
  const zero = Object.fromEntries(Object.keys(table.head).map((name) => [name, 0]));
  return message(table.types.get, 0, ...body(table, { ...zero, ...entry }));
};

const HEADER_BYTES = 16;

/**
 * The entry in the message that stands at `start` and ends at `to`; null if the message is of another type or family than
 * the table knows. Throws Damage for bytes that contradict the format.
 */
export const readEntry = <T extends Table>(table: T, bytes: Uint8Array, start: number, to: number): EntryOf<T> | null => {
  if (readU16(bytes, start + 4) !== table.types.new) return null;
  const from = start + HEADER_BYTES;
  need(from, to, table.bytes, table.what);
  const entry: Record<string, unknown> = {};
  for (const [name, [at, size]] of Object.entries(table.head))
    entry[name] = size === 1 ? bytes[from + at] : size === 2 ? readU16(bytes, from + at) : readU32(bytes, from + at);
  if (entry['family'] !== AF.inet && entry['family'] !== AF.inet6) return null;
  const other: Record<string, string> = {};
  for (let at = from + align(table.bytes), end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    const type = attributeType(bytes, at);
    const known = namesOf(table).get(type);
    if (known === undefined) other[readU16(bytes, at + 2)] = hex(bytes.subarray(at + ATTRIBUTE_BYTES, end));
    else entry[known[0]] = read(known[1], bytes, at + ATTRIBUTE_BYTES, end);
  }
  if (Object.keys(other).length > 0) entry['other'] = other;
  return entry as EntryOf<T>;
};

const indexed = new Map<Table, ReadonlyMap<number, readonly [string, Format]>>();
const namesOf = (table: Table): ReadonlyMap<number, readonly [string, Format]> => {
  let names = indexed.get(table);
  if (names === undefined) {
    names = new Map(Object.entries(table.attributes).map(([name, [type, format]]) => [type, [name, format] as const]));
    indexed.set(table, names);
  }
  return names;
};
