// Netlink requests as bytes: the frame of a message and its attributes, and the link requests that steer a bond and its
// members. Pure. A message leaves here with the sequence number 0; the conversation numbers it when it is sent.
//
// Netlink uses the host's byte order; the targets (x86-64, arm64, riscv64) are little-endian, and so are these writes.
// Sources: netlink(7), rtnetlink(7), linux/netlink.h, linux/if_link.h, linux/if_bonding.h; bond_changelink in the kernel.
import type { Mac } from '../../../events/mac.ts';
import { align } from '../netlink-bytes.ts';

export const NLM_F = { request: 0x1, ack: 0x4, replace: 0x100, excl: 0x200, dump: 0x300, create: 0x400, append: 0x800 } as const;
export const NLA_F_NESTED = 0x8000;
const HEADER_BYTES = 16;
const ATTRIBUTE_MAX = 0xffff;
/** IFNAMSIZ without its NUL. */
const NAME_BYTES_MAX = 15;

const number = (bytes: 1 | 2 | 4, value: number): Uint8Array => {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * bytes))
    throw new RangeError(`${value} does not fit into ${bytes} bytes`);
  const out = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 1) out[at] = Math.floor(value / 2 ** (8 * at)) & 0xff;
  return out;
};
export const u8 = (value: number): Uint8Array => number(1, value);
export const u16 = (value: number): Uint8Array => number(2, value);
export const u32 = (value: number): Uint8Array => number(4, value);
/** With its NUL. */
export const text = (value: string): Uint8Array => {
  if (value.includes('\0')) throw new RangeError('a text with a NUL in it');
  return new TextEncoder().encode(`${value}\0`);
};
/** The name of an interface; throws RangeError for one that the kernel would not take (dev_valid_name). */
export const interfaceName = (name: string): Uint8Array => {
  const bytes = text(name);
  if (bytes.length < 2 || bytes.length > NAME_BYTES_MAX + 1 || name === '.' || name === '..' || /[/:\s]/.test(name))
    throw new RangeError(`'${name}' is no name of an interface`);
  return bytes;
};
export const macBytes = (mac: Mac): Uint8Array => {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) throw new RangeError(`'${mac}' is no MAC`);
  return Uint8Array.from(mac.split(':'), (pair) => Number.parseInt(pair, 16));
};

export const joined = (parts: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

/** struct nlattr: length, type, payload, padding to four bytes. Nested attributes are their parent's payload. */
export const attribute = (type: number, ...payload: readonly Uint8Array[]): Uint8Array => {
  const length = 4 + payload.reduce((sum, part) => sum + part.length, 0);
  if (length > ATTRIBUTE_MAX) throw new RangeError(`an attribute of ${length} bytes`);
  return joined([u16(length), u16(type), ...payload, new Uint8Array(align(length) - length)]);
};

/** struct nlmsghdr and body; NLM_F_REQUEST and NLM_F_ACK go without saying, for a dump only the former. */
export const message = (type: number, flags: number, ...body: readonly Uint8Array[]): Uint8Array => {
  const ack = flags === NLM_F.dump ? 0 : NLM_F.ack;
  const length = HEADER_BYTES + body.reduce((sum, part) => sum + part.length, 0);
  const padding = new Uint8Array(align(length) - length);
  return joined([u32(length), u16(type), u16(flags | NLM_F.request | ack), new Uint8Array(8), ...body, padding]);
};
/** Writes the sequence number into a message. */
export const numbered = (bytes: Uint8Array, seq: number): Uint8Array => {
  bytes.set(u32(seq), 8);
  return bytes;
};

const RTM = { newLink: 16, delLink: 17, getLink: 18 } as const;
const IFF_UP = 0x1;
const IFLA = { address: 1, ifname: 3, mtu: 4, link: 5, master: 10, queueLength: 13, linkInfo: 18, extMask: 29 } as const;
const INFO = { kind: 1, data: 2 } as const;
const BOND = {
  mode: 1,
  activeSlave: 2,
  miimon: 3,
  updelay: 4,
  allSlavesActive: 17,
} as const;
const ACTIVE_BACKUP = 1;

/** struct ifinfomsg: family, pad, type (16), index, flags, change. */
const linkHead = (ifindex: number, flags = 0, change = 0): Uint8Array =>
  joined([new Uint8Array(4), u32(ifindex), u32(flags), u32(change)]);

export interface LinkChange {
  readonly up?: boolean;
  /** ifindex of the master; null releases. */
  readonly master?: number | null;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly name?: string;
  /** IFLA_TXQLEN. */
  readonly queueLength?: number;
}

const changes = ({ master, mtu, mac, name, queueLength }: LinkChange): Uint8Array[] => [
  ...(master === undefined ? [] : [attribute(IFLA.master, u32(master ?? 0))]),
  ...(mtu === undefined ? [] : [attribute(IFLA.mtu, u32(mtu))]),
  ...(mac === undefined ? [] : [attribute(IFLA.address, macBytes(mac))]),
  ...(name === undefined ? [] : [attribute(IFLA.ifname, interfaceName(name))]),
  ...(queueLength === undefined ? [] : [attribute(IFLA.queueLength, u32(queueLength))]),
];
const upFlags = (up: boolean | undefined): [flags: number, change: number] =>
  up === undefined ? [0, 0] : [up ? IFF_UP : 0, IFF_UP];

/** RTM_NEWLINK of a link that exists. */
export const setLink = (ifindex: number, change: LinkChange): Uint8Array =>
  message(RTM.newLink, 0, linkHead(ifindex, ...upFlags(change.up)), ...changes(change));

const linkInfo = (kind: string, data: readonly Uint8Array[]): Uint8Array =>
  attribute(IFLA.linkInfo, attribute(INFO.kind, text(kind)), attribute(INFO.data, ...data));

/**
 * A new active-backup bond, up unless told otherwise. `primary` stays unset: it would override the active slave. Frames are
 * taken from any slave until it is told otherwise: a first one is there for a while before it is the active one.
 */
export const createBond = (name: string, miimon_ms: number, change: Omit<LinkChange, 'name' | 'master'>): Uint8Array =>
  message(
    RTM.newLink,
    NLM_F.create | NLM_F.excl,
    linkHead(0, ...upFlags(change.up ?? true)),
    ...changes({ ...change, name }),
    linkInfo('bond', [
      attribute(BOND.mode, u8(ACTIVE_BACKUP)),
      attribute(BOND.miimon, u32(miimon_ms)),
      attribute(BOND.allSlavesActive, u8(1)),
    ]),
  );

export interface BondChange {
  /** ifindex. */
  readonly activeSlave?: number;
  /** Whether frames that arrive on a slave that is not active are taken, too. */
  readonly allSlavesActive?: boolean;
  /** Whole multiples of miimon. */
  readonly updelay_ms?: number;
}
export const setBond = (ifindex: number, { activeSlave, allSlavesActive, updelay_ms }: BondChange): Uint8Array =>
  message(
    RTM.newLink,
    0,
    linkHead(ifindex),
    linkInfo('bond', [
      ...(activeSlave === undefined ? [] : [attribute(BOND.activeSlave, u32(activeSlave))]),
      ...(updelay_ms === undefined ? [] : [attribute(BOND.updelay, u32(updelay_ms))]),
      ...(allSlavesActive === undefined ? [] : [attribute(BOND.allSlavesActive, u8(allSlavesActive ? 1 : 0))]),
    ]),
  );

/** A VLAN above `lower`; `data` is IFLA_INFO_DATA as the kernel told it of the one that this is to be like. */
export const createVlan = (
  name: string,
  lower: number,
  data: Uint8Array,
  change: Omit<LinkChange, 'name' | 'master'>,
): Uint8Array =>
  message(
    RTM.newLink,
    NLM_F.create | NLM_F.excl,
    linkHead(0, ...upFlags(change.up)),
    ...changes({ ...change, name }),
    attribute(IFLA.link, u32(lower)),
    attribute(IFLA.linkInfo, attribute(INFO.kind, text('vlan')), attribute(INFO.data, data)),
  );

export const deleteLink = (ifindex: number): Uint8Array => message(RTM.delLink, 0, linkHead(ifindex));
/** One link, by index or by name; counters are left out (RTEXT_FILTER_SKIP_STATS). */
export const getLink = (which: number | string): Uint8Array =>
  typeof which === 'number'
    ? message(RTM.getLink, 0, linkHead(which), attribute(IFLA.extMask, u32(SKIP_STATS)))
    : message(
        RTM.getLink,
        0,
        linkHead(0),
        attribute(IFLA.ifname, interfaceName(which)),
        attribute(IFLA.extMask, u32(SKIP_STATS)),
      );
export const getLinks = (): Uint8Array => message(RTM.getLink, NLM_F.dump, linkHead(0), attribute(IFLA.extMask, u32(SKIP_STATS)));
const SKIP_STATS = 8;
