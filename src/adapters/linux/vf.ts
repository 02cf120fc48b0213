// VFs of a physical function and entries of a forwarding table, as rtnetlink tells and takes them. Pure: bytes in, bytes out.
// Sources: linux/if_link.h (IFLA_VFINFO_LIST, struct ifla_vf_*), linux/neighbour.h (struct ndmsg), bridge(8), rtnl_fdb_add and
// ndo_dflt_fdb_add in the kernel (an entry of the device itself must be permanent).
import type { VfFacts } from '../../events/hosting.ts';
import { macFromBytes, type Mac } from '../../events/mac.ts';
import {
  align,
  attributeEnd,
  attributeType,
  ATTRIBUTE_BYTES,
  Damage,
  i32,
  mac as macAt,
  need,
  u32 as u32At,
} from './netlink-bytes.ts';
import { attribute, joined, macBytes, message, NLM_F, u16, u32 } from './effects/requests.ts';

const RTM = { newLink: 16, getLink: 18, newNeigh: 28, delNeigh: 29, getNeigh: 30 } as const;
const IFLA = { vfInfoList: 22, extMask: 29 } as const;
const VF_INFO = 1;
const VF = { mac: 1, vlan: 2, spoofchk: 4, trust: 9 } as const;
/** RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS */
const WITH_VFS = 1 | 8;
const HEADER_BYTES = 16;
const LINK_HEAD_BYTES = 16;
/** What a driver that does not know leaves in a setting: -1. */
const UNKNOWN = 0xffff_ffff;
const NO_MAC = '00:00:00:00:00:00';

const linkHead = (ifindex: number): Uint8Array => joined([new Uint8Array(4), u32(ifindex), new Uint8Array(8)]);

/** RTM_GETLINK of a physical function with its VFs. */
export const getVfs = (ifindex: number): Uint8Array =>
  message(RTM.getLink, 0, linkHead(ifindex), attribute(IFLA.extMask, u32(WITH_VFS)));

export type VfChange = Partial<Omit<VfFacts, 'vlan' | 'qos'>> & { readonly vlan?: Pick<VfFacts, 'vlan' | 'qos'> };

/** RTM_NEWLINK that changes one VF. Settings that are null are not told. */
export const setVf = (ifindex: number, vf: number, { mac, vlan, spoofchk, trust }: VfChange): Uint8Array => {
  const flag = (type: number, on: boolean | null | undefined): Uint8Array[] =>
    on === undefined || on === null ? [] : [attribute(type, u32(vf), u32(on ? 1 : 0))];
  const parts = [
    // struct ifla_vf_mac: the VF's number, and 32 bytes for any address.
    ...(mac === undefined ? [] : [attribute(VF.mac, u32(vf), macBytes(mac), new Uint8Array(26))]),
    ...(vlan === undefined ? [] : [attribute(VF.vlan, u32(vf), u32(vlan.vlan), u32(vlan.qos))]),
    ...flag(VF.spoofchk, spoofchk),
    ...flag(VF.trust, trust),
  ];
  return message(RTM.newLink, 0, linkHead(ifindex), attribute(IFLA.vfInfoList, attribute(VF_INFO, ...parts)));
};

type Visit = (type: number, from: number, to: number) => void;
const attributes = (bytes: Uint8Array, from: number, to: number, visit: Visit): void => {
  for (let at = from, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    visit(attributeType(bytes, at), at + ATTRIBUTE_BYTES, end);
  }
};

interface Numbered extends VfFacts {
  readonly vf: number;
}

const factsOf = ({ vf: _vf, ...facts }: Numbered): VfFacts => facts;

const readVf = (bytes: Uint8Array, from: number, to: number): Numbered | null => {
  const found = { vf: -1, mac: NO_MAC, vlan: 0, qos: 0, spoofchk: null as boolean | null, trust: null as boolean | null };
  attributes(bytes, from, to, (type, at, end) => {
    if (type === VF.mac) {
      need(at, end, 10, 'an ifla_vf_mac');
      found.vf = u32At(bytes, at);
      found.mac = macFromBytes(bytes.subarray(at + 4, at + 10)) ?? NO_MAC;
    } else if (type === VF.vlan) {
      need(at, end, 12, 'an ifla_vf_vlan');
      found.vlan = u32At(bytes, at + 4);
      found.qos = u32At(bytes, at + 8);
    } else if (type === VF.spoofchk || type === VF.trust) {
      need(at, end, 8, 'a setting of a VF');
      const value = u32At(bytes, at + 4);
      const known = value === UNKNOWN ? null : value !== 0;
      if (type === VF.spoofchk) found.spoofchk = known;
      else found.trust = known;
    }
  });
  return found.vf < 0 ? null : found;
};

/** One VF out of the kernel's answer to `getVfs`, a message from its header on; null where there is none. Throws Damage. */
export const vfIn = (bytes: Uint8Array, vf: number): VfFacts | null => {
  let found: VfFacts | null = null;
  attributes(bytes, HEADER_BYTES + LINK_HEAD_BYTES, bytes.length, (type, from, to) => {
    if (type !== IFLA.vfInfoList) return;
    attributes(bytes, from, to, (inner, start, end) => {
      const one = inner === VF_INFO ? readVf(bytes, start, end) : null;
      if (one?.vf === vf) found = factsOf(one);
    });
  });
  return found;
};

// Forwarding entries.

const AF_BRIDGE = 7;
const NUD = { reachable: 0x02, noArp: 0x40, permanent: 0x80 } as const;
const NTF = { self: 0x02, master: 0x04 } as const;
const NTF_STICKY = 0x40;
const NDA = { lladdr: 2, master: 9 } as const;
const NEIGH_HEAD_BYTES = 12;

/** `self`: the device's own table (a PF's embedded switch). `master`: the table of the bridge that it is a port of. */
export type Table = keyof typeof NTF;
export interface FdbEntry {
  readonly ifindex: number;
  readonly mac: Mac;
  readonly table: Table;
  /** ifindex of the bridge, in whose table it is. */
  readonly master: number | null;
  /** Not learnt. A bridge moves it all the same when the MAC is seen at another port. */
  readonly fixed: boolean;
}

const neighHead = (ifindex: number, state: number, flags: number): Uint8Array =>
  joined([Uint8Array.of(AF_BRIDGE, 0, 0, 0), u32(ifindex), u16(state), Uint8Array.of(flags, 0)]);

/**
 * RTM_NEWNEIGH: `bridge fdb replace MAC dev IFACE self permanent`, or `… master static`. A bridge moves even a static entry to
 * the port where the MAC is seen, unless it is sticky.
 */
export const addFdb = (ifindex: number, mac: Mac, table: Table, sticky = false): Uint8Array => {
  const state = table === 'self' ? NUD.permanent : NUD.noArp | NUD.reachable;
  const flags = table === 'self' ? NLM_F.create : NLM_F.create | NLM_F.replace;
  return message(
    RTM.newNeigh,
    flags,
    neighHead(ifindex, state, NTF[table] | (sticky ? NTF_STICKY : 0)),
    attribute(NDA.lladdr, macBytes(mac)),
  );
};
/** An entry of the device itself must be named as the permanent one that it is (ndo_dflt_fdb_del). */
export const deleteFdb = (ifindex: number, mac: Mac, table: Table): Uint8Array =>
  message(
    RTM.delNeigh,
    0,
    neighHead(ifindex, table === 'self' ? NUD.permanent : 0, NTF[table]),
    attribute(NDA.lladdr, macBytes(mac)),
  );
/**
 * RTM_GETNEIGH: the entries of one device, its own and those that a bridge has for it as a port. A kernel before 4.20 does not
 * look at the number and tells of all (rtnl_fdb_dump).
 */
export const getFdb = (ifindex: number): Uint8Array => message(RTM.getNeigh, NLM_F.dump, neighHead(ifindex, 0, 0));
/** The same for a bridge: the entries of all its ports. */
export const getFdbOfBridge = (ifindex: number): Uint8Array =>
  message(RTM.getNeigh, NLM_F.dump, neighHead(0, 0, 0), attribute(NDA.master, u32(ifindex)));

/** An entry out of the answer to `getFdb`; null for a message of another family or without a MAC. Throws Damage. */
export const fdbIn = (bytes: Uint8Array): FdbEntry | null => {
  need(HEADER_BYTES, bytes.length, NEIGH_HEAD_BYTES, 'an ndmsg');
  if (bytes[HEADER_BYTES] !== AF_BRIDGE) return null;
  const ifindex = i32(bytes, HEADER_BYTES + 4);
  const state = (bytes[HEADER_BYTES + 8] ?? 0) | ((bytes[HEADER_BYTES + 9] ?? 0) << 8);
  const flags = bytes[HEADER_BYTES + 10] ?? 0;
  let mac: Mac | null = null;
  let master: number | null = null;
  attributes(bytes, HEADER_BYTES + NEIGH_HEAD_BYTES, bytes.length, (type, from, to) => {
    if (type === NDA.lladdr) mac = macAt(bytes, from, to);
    if (type === NDA.master && to - from >= 4) master = u32At(bytes, from);
  });
  if (mac === null) return null;
  const fixed = (state & (NUD.permanent | NUD.noArp)) !== 0;
  const isMasters = (flags & NTF.self) === 0 && (master !== null || (flags & NTF.master) !== 0);
  return { ifindex, mac, table: isMasters ? 'master' : 'self', master, fixed };
};

export { Damage };
