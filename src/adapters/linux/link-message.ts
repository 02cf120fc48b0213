// A link message, RTM_NEWLINK or RTM_DELLINK, and how it is read: struct ifinfomsg, then attributes, some of them nested.
// Pure. Whatever contradicts the format is thrown as Damage, which the decoder of the datagram catches.
// Sources: rtnetlink(7), linux/if_link.h, linux/if.h; rtnl_fill_ifinfo and bond_fill_info in the kernel.
import {
  align,
  attributeEnd,
  attributeType,
  ATTRIBUTE_BYTES,
  Damage,
  i32,
  mac,
  need,
  text,
  u16,
  u32,
  u64,
} from './netlink-bytes.ts';

/** What every message carries of its nlmsghdr. A dump reply has `multi`; a notification has not. */
export interface Header {
  readonly seq: number;
  readonly multi: boolean;
  /** NLM_F_DUMP_INTR: the dump that this belongs to changed while it was made, and may lack something. */
  readonly interrupted: boolean;
}

/** IFLA_STATS64, as decimal strings. */
export interface Counters {
  readonly rxPackets: string;
  readonly txPackets: string;
  readonly rxDropped: string;
  readonly txDropped: string;
}

/** RTM_NEWLINK or RTM_DELLINK of family AF_UNSPEC. A field that the message does not carry is undefined. */
export interface LinkMessage extends Header {
  readonly kind: 'link';
  readonly gone: boolean;
  readonly ifindex: number;
  /** IFF_UP. */
  readonly up: boolean;
  /** IFF_LOWER_UP: stands in for IFLA_CARRIER where that is missing. */
  readonly lowerUp: boolean;
  name: string | undefined;
  /** Null for a link-level address that is not six bytes long, or all zero. */
  mac: string | null | undefined;
  permMac: string | null | undefined;
  mtu: number | undefined;
  master: number | undefined;
  operState: number | undefined;
  carrier: boolean | undefined;
  /** IFLA_INFO_KIND. */
  linkKind: string | undefined;
  bond: { mode: number; activeSlave: number | null; allSlavesActive: boolean } | undefined;
  slaveKind: string | undefined;
  slave: { active: boolean; miiUp: boolean } | undefined;
  /** IFLA_LINK: ifindex of the device below, of a VLAN for instance. */
  lower: number | undefined;
  /** IFLA_TXQLEN. */
  queueLength: number | undefined;
  /** IFLA_INFO_DATA of a VLAN, as it is. */
  vlan: Uint8Array | undefined;
  /** IFLA_PARENT_DEV_BUS_NAME and IFLA_PARENT_DEV_NAME (Linux 5.14 and newer). */
  parentBus: string | undefined;
  parentDevice: string | undefined;
  /** IFLA_EVENT: 4 is NETDEV_NOTIFY_PEERS. */
  event: number | undefined;
  /** Only read from dump replies. */
  counters: Counters | undefined;
}

const IFF = { up: 0x1, lowerUp: 0x10000 } as const;
const IFLA = {
  address: 1,
  ifname: 3,
  mtu: 4,
  link: 5,
  master: 10,
  queueLength: 13,
  operState: 16,
  linkInfo: 18,
  stats64: 23,
  carrier: 33,
  event: 44,
  permAddress: 54,
  parentName: 56,
  parentBus: 57,
} as const;
const INFO = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const;
const BOND = { mode: 1, activeSlave: 2, allSlavesActive: 17 } as const;
const BOND_SLAVE = { state: 1, miiStatus: 2 } as const;
const AF_UNSPEC = 0;
const IFINFO_BYTES = 16;

/** IFLA_LINKINFO. Kind comes before data in every message the kernel makes, but the order is not relied on. */
const readLinkInfo = (link: LinkMessage, bytes: Uint8Array, from: number, to: number): void => {
  let data = 0;
  let slaveData = 0;
  for (let at = from, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    const type = attributeType(bytes, at);
    if (type === INFO.kind) link.linkKind = text(bytes, at + ATTRIBUTE_BYTES, end);
    else if (type === INFO.slaveKind) link.slaveKind = text(bytes, at + ATTRIBUTE_BYTES, end);
    else if (type === INFO.data) data = at;
    else if (type === INFO.slaveData) slaveData = at;
  }
  if (data !== 0 && link.linkKind === 'vlan') link.vlan = bytes.slice(data + ATTRIBUTE_BYTES, data + u16(bytes, data));
  if (data !== 0 && link.linkKind === 'bond') link.bond = readBond(bytes, data + ATTRIBUTE_BYTES, data + u16(bytes, data));
  if (slaveData !== 0 && link.slaveKind === 'bond')
    link.slave = readSlave(bytes, slaveData + ATTRIBUTE_BYTES, slaveData + u16(bytes, slaveData));
};

const readBond = (bytes: Uint8Array, from: number, to: number): NonNullable<LinkMessage['bond']> => {
  let mode = 0;
  let activeSlave: number | null = null;
  let allSlavesActive = false;
  for (let at = from, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    const value = at + ATTRIBUTE_BYTES;
    const type = attributeType(bytes, at);
    if (type === BOND.mode) {
      need(value, end, 1, 'IFLA_BOND_MODE');
      mode = bytes[value] ?? 0;
    } else if (type === BOND.activeSlave) {
      need(value, end, 4, 'IFLA_BOND_ACTIVE_SLAVE');
      activeSlave = u32(bytes, value) || null;
    } else if (type === BOND.allSlavesActive) {
      need(value, end, 1, 'IFLA_BOND_ALL_SLAVES_ACTIVE');
      allSlavesActive = bytes[value] === 1;
    }
  }
  return { mode, activeSlave, allSlavesActive };
};

/** BOND_STATE_ACTIVE and BOND_LINK_UP are both 0 (linux/if_bonding.h). */
const readSlave = (bytes: Uint8Array, from: number, to: number): NonNullable<LinkMessage['slave']> => {
  let active = false;
  let miiUp = false;
  for (let at = from, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    const type = attributeType(bytes, at);
    if (type !== BOND_SLAVE.state && type !== BOND_SLAVE.miiStatus) continue;
    need(at + ATTRIBUTE_BYTES, end, 1, 'the state of a bond slave');
    const good = bytes[at + ATTRIBUTE_BYTES] === 0;
    if (type === BOND_SLAVE.state) active = good;
    else miiUp = good;
  }
  return { active, miiUp };
};

/** struct rtnl_link_stats64: rx_packets, tx_packets, four others, rx_dropped, tx_dropped, and more. */
const readCounters = (bytes: Uint8Array, at: number): Counters => ({
  rxPackets: u64(bytes, at),
  txPackets: u64(bytes, at + 8),
  rxDropped: u64(bytes, at + 48),
  txDropped: u64(bytes, at + 56),
});

const readLinkAttribute = (link: LinkMessage, type: number, bytes: Uint8Array, from: number, to: number): void => {
  switch (type) {
    case IFLA.ifname:
      link.name = text(bytes, from, to);
      break;
    case IFLA.address:
      link.mac = mac(bytes, from, to);
      break;
    case IFLA.permAddress:
      link.permMac = mac(bytes, from, to);
      break;
    case IFLA.mtu:
      need(from, to, 4, 'IFLA_MTU');
      link.mtu = u32(bytes, from);
      break;
    case IFLA.master:
      need(from, to, 4, 'IFLA_MASTER');
      link.master = u32(bytes, from);
      break;
    case IFLA.link:
      need(from, to, 4, 'IFLA_LINK');
      link.lower = u32(bytes, from);
      break;
    case IFLA.queueLength:
      need(from, to, 4, 'IFLA_TXQLEN');
      link.queueLength = u32(bytes, from);
      break;
    case IFLA.operState:
      need(from, to, 1, 'IFLA_OPERSTATE');
      link.operState = bytes[from];
      break;
    case IFLA.carrier:
      need(from, to, 1, 'IFLA_CARRIER');
      link.carrier = bytes[from] === 1;
      break;
    case IFLA.linkInfo:
      readLinkInfo(link, bytes, from, to);
      break;
    case IFLA.parentName:
      link.parentDevice = text(bytes, from, to);
      break;
    case IFLA.parentBus:
      link.parentBus = text(bytes, from, to);
      break;
    case IFLA.event:
      need(from, to, 4, 'IFLA_EVENT');
      link.event = u32(bytes, from);
      break;
    case IFLA.stats64:
      // Every notification carries them, but only a survey samples them: the numbers cost more than all the rest.
      if (!link.multi) break;
      need(from, to, 64, 'IFLA_STATS64');
      link.counters = readCounters(bytes, from);
      break;
    default: // An attribute that this program has no use for.
  }
};

/** struct ifinfomsg: family, pad, type (16), index, flags, change. */
export const readLink = (header: Header, gone: boolean, bytes: Uint8Array, from: number, to: number): LinkMessage | null => {
  need(from, to, IFINFO_BYTES, 'an ifinfomsg');
  // AF_BRIDGE messages speak of bridge ports, AF_INET6 ones of addresses: a DELLINK of theirs deletes no link.
  if (bytes[from] !== AF_UNSPEC) return null;
  const ifindex = i32(bytes, from + 4);
  if (ifindex <= 0) throw new Damage(`a link has the index ${ifindex}`);
  const flags = u32(bytes, from + 8);
  const link: LinkMessage = {
    kind: 'link',
    seq: header.seq,
    multi: header.multi,
    interrupted: header.interrupted,
    gone,
    ifindex,
    up: (flags & IFF.up) !== 0,
    lowerUp: (flags & IFF.lowerUp) !== 0,
    name: undefined,
    mac: undefined,
    permMac: undefined,
    mtu: undefined,
    master: undefined,
    operState: undefined,
    carrier: undefined,
    linkKind: undefined,
    bond: undefined,
    slaveKind: undefined,
    slave: undefined,
    lower: undefined,
    queueLength: undefined,
    vlan: undefined,
    parentBus: undefined,
    parentDevice: undefined,
    event: undefined,
    counters: undefined,
  };
  for (let at = from + IFINFO_BYTES, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    readLinkAttribute(link, attributeType(bytes, at), bytes, at + ATTRIBUTE_BYTES, end);
  }
  return link;
};
