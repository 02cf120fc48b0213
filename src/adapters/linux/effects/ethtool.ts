// Parameters of a network driver over ethtool netlink: rings, channels, coalescing, features, each with the range that the
// kernel tells. Reading needs no right, writing CAP_NET_ADMIN. Sources: Documentation/networking/ethtool-netlink.rst,
// linux/ethtool_netlink.h, linux/genetlink.h.
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
import { type Answer, Conversation } from './conversation.ts';
import { attribute, message, NLA_F_NESTED, text, u32, u8 } from './requests.ts';
import { Stop, stopOf } from './standing.ts';

const GENL_ID_CTRL = 16;
const CTRL = { getFamily: 3, familyId: 1, familyName: 2 } as const;
const MSG = {
  featuresGet: 11,
  featuresSet: 12,
  ringsGet: 15,
  ringsSet: 16,
  channelsGet: 17,
  channelsSet: 18,
  coalesceGet: 19,
  coalesceSet: 20,
} as const;
const HEADER = 1;
const DEV_INDEX = 1;
const FEATURES = { hardware: 2, wanted: 3, active: 4, fixed: 5 } as const;
const BITSET = { bits: 3, bit: 1, index: 1, name: 2, value: 3 } as const;
const NLMSG_AND_GENL_BYTES = 20;

/** The sizes that a driver has, and the largest that it takes. What it does not have is missing. */
export type Sizes<N extends string> = { readonly [K in N]?: { readonly now: number; readonly max: number } };
const RINGS = { rx: { now: 6, max: 2 }, tx: { now: 9, max: 5 } } as const;
const CHANNELS = { rx: { now: 6, max: 2 }, tx: { now: 7, max: 3 }, combined: { now: 9, max: 5 } } as const;
/** ETHTOOL_A_COALESCE_*, and the bytes that each takes. A driver's reply has those that it supports. */
const COALESCING = {
  rxUsecs: { type: 2, bytes: 4 },
  rxFrames: { type: 3, bytes: 4 },
  txUsecs: { type: 6, bytes: 4 },
  txFrames: { type: 7, bytes: 4 },
  adaptiveRx: { type: 11, bytes: 1 },
  adaptiveTx: { type: 12, bytes: 1 },
} as const;
export type Coalescing = keyof typeof COALESCING;
type Places<N extends string> = { readonly [K in N]: { readonly now: number; readonly max: number } };

export interface Feature {
  readonly wanted: boolean;
  readonly active: boolean;
  /** Whether the driver lets it be changed. */
  readonly changeable: boolean;
}

/** struct genlmsghdr: command, version, reserved (16). */
const generic = (family: number, command: number, ...attributes: readonly Uint8Array[]): Uint8Array =>
  message(family, 0, Uint8Array.of(command, 1, 0, 0), ...attributes);
const device = (ifindex: number): Uint8Array => attribute(HEADER | NLA_F_NESTED, attribute(DEV_INDEX, u32(ifindex)));

/** Calls back for each attribute between `from` and `to`. Throws Damage. */
const each = (bytes: Uint8Array, from: number, to: number, read: (type: number, from: number, to: number) => void): void => {
  for (let at = from, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    read(attributeType(bytes, at), at + ATTRIBUTE_BYTES, end);
  }
};

export class Ethtool {
  readonly #conversation: Conversation;
  #family: number | null = null;

  /** Throws `platform.netlink` if the kernel refuses a socket. */
  constructor(conversation = new Conversation('generic')) {
    this.#conversation = conversation;
  }

  close(): Promise<void> {
    return this.#conversation.close();
  }

  rings(ifindex: number): Promise<Sizes<'rx' | 'tx'>> {
    return this.#sizes(MSG.ringsGet, ifindex, RINGS);
  }
  setRings(ifindex: number, wanted: { readonly [K in 'rx' | 'tx']?: number }): Promise<void> {
    return this.#setSizes(MSG.ringsSet, ifindex, RINGS, wanted, 'rings');
  }
  channels(ifindex: number): Promise<Sizes<'rx' | 'tx' | 'combined'>> {
    return this.#sizes(MSG.channelsGet, ifindex, CHANNELS);
  }
  setChannels(ifindex: number, wanted: { readonly [K in 'rx' | 'tx' | 'combined']?: number }): Promise<void> {
    return this.#setSizes(MSG.channelsSet, ifindex, CHANNELS, wanted, 'channels');
  }

  /** Microseconds and frames to wait before an interrupt, and whether the driver adapts them (1) or not (0). */
  async coalescing(ifindex: number): Promise<{ readonly [K in Coalescing]?: number }> {
    const reply = await this.#ask(MSG.coalesceGet, ifindex, 'coalescing');
    const out: { [K in Coalescing]?: number } = {};
    if (reply === null) return out;
    each(reply, NLMSG_AND_GENL_BYTES, reply.length, (type, from, to) => {
      for (const name of Object.keys(COALESCING) as Coalescing[]) {
        const place = COALESCING[name];
        if (type === place.type && to - from === place.bytes)
          out[name] = place.bytes === 4 ? readU32(reply, from) : (reply[from] ?? 0);
      }
    });
    return out;
  }
  setCoalescing(ifindex: number, name: Coalescing, value: number): Promise<void> {
    const { type, bytes } = COALESCING[name];
    return this.#tell(MSG.coalesceSet, ifindex, 'coalescing', attribute(type, bytes === 4 ? u32(value) : u8(value)));
  }

  /** Every feature that the kernel names, `tx-tcp-segmentation` for instance. */
  async features(ifindex: number): Promise<ReadonlyMap<string, Feature>> {
    const reply = await this.#ask(MSG.featuresGet, ifindex, 'features');
    if (reply === null) return new Map();
    const sets = new Map<number, ReadonlySet<string>>();
    each(reply, NLMSG_AND_GENL_BYTES, reply.length, (type, from, to) => {
      if (type !== HEADER) sets.set(type, readNames(reply, from, to));
    });
    const of = (type: number): ReadonlySet<string> => sets.get(type) ?? new Set();
    const [hardware, wanted, active, fixed] = [
      of(FEATURES.hardware),
      of(FEATURES.wanted),
      of(FEATURES.active),
      of(FEATURES.fixed),
    ];
    const names = [...new Set([...hardware, ...wanted, ...active, ...fixed])].toSorted();
    return new Map(
      names.map((name) => [
        name,
        { wanted: wanted.has(name), active: active.has(name), changeable: hardware.has(name) && !fixed.has(name) },
      ]),
    );
  }

  /** Wishes: what came of them is read back, the kernel may hold one back because of another. */
  async setFeatures(ifindex: number, wanted: ReadonlyMap<string, boolean>): Promise<void> {
    const bits = [...wanted].map(([name, on]) =>
      attribute(BITSET.bit | NLA_F_NESTED, attribute(BITSET.name, text(name)), ...(on ? [attribute(BITSET.value)] : [])),
    );
    await this.#tell(
      MSG.featuresSet,
      ifindex,
      'features',
      attribute(FEATURES.wanted | NLA_F_NESTED, attribute(BITSET.bits | NLA_F_NESTED, ...bits)),
    );
  }

  async #sizes<N extends string>(command: number, ifindex: number, places: Places<N>): Promise<Sizes<N>> {
    const reply = await this.#ask(command, ifindex, 'sizes');
    const values = new Map<number, number>();
    if (reply !== null)
      each(reply, NLMSG_AND_GENL_BYTES, reply.length, (type, from, to) => {
        if (type !== HEADER && to - from === 4) values.set(type, readU32(reply, from));
      });
    const out: { [K in N]?: { now: number; max: number } } = {};
    for (const name of Object.keys(places) as N[]) {
      const now = values.get(places[name].now);
      const max = values.get(places[name].max);
      if (now !== undefined && max !== undefined && max > 0) out[name] = { now, max };
    }
    return out;
  }

  async #setSizes<N extends string>(
    command: number,
    ifindex: number,
    places: Places<N>,
    wanted: { readonly [K in N]?: number },
    what: string,
  ): Promise<void> {
    const attributes = (Object.keys(places) as N[]).flatMap((name) => {
      const value = wanted[name];
      return value === undefined ? [] : [attribute(places[name].now, u32(value))];
    });
    await this.#tell(command, ifindex, what, ...attributes);
  }

  /** The reply about a device; null where its driver has no such thing (EOPNOTSUPP). Throws Stop. */
  async #ask(command: number, ifindex: number, what: string): Promise<Uint8Array | null> {
    const { answers, replies } = await this.#conversation.ask(generic(await this.#id(), command, device(ifindex)));
    const [answer] = answers;
    if (answer !== undefined && isUnsupported(answer)) return null;
    if (answer === undefined || answer.errno !== 0) throw stopOf(what, answer ?? { errno: 5, text: 'no answer' });
    const [reply] = replies;
    if (reply === undefined || reply.length < NLMSG_AND_GENL_BYTES) throw new Stop('failed', `${what}: an empty reply`);
    return reply;
  }

  async #tell(command: number, ifindex: number, what: string, ...attributes: readonly Uint8Array[]): Promise<void> {
    const { answers } = await this.#conversation.ask(generic(await this.#id(), command, device(ifindex), ...attributes));
    const bad = answers.find(({ errno }) => errno !== 0);
    if (bad !== undefined) throw stopOf(what, bad);
  }

  /** The number that the family has on this kernel (CTRL_CMD_GETFAMILY); Linux 5.6 and newer have it. */
  async #id(): Promise<number> {
    if (this.#family !== null) return this.#family;
    const { replies } = await this.#conversation.ask(
      generic(GENL_ID_CTRL, CTRL.getFamily, attribute(CTRL.familyName, text('ethtool'))),
    );
    const [reply] = replies;
    let id = 0;
    if (reply !== undefined)
      each(reply, NLMSG_AND_GENL_BYTES, reply.length, (type, from, to) => {
        if (type !== CTRL.familyId) return;
        need(from, to, 2, 'CTRL_ATTR_FAMILY_ID');
        id = readU16(reply, from);
      });
    if (id === 0) throw new Stop('refused', 'this kernel has no ethtool over netlink (Linux 5.6)');
    this.#family = id;
    return id;
  }
}

const EOPNOTSUPP = 95;
const isUnsupported = ({ errno }: Answer): boolean => errno === EOPNOTSUPP;

/** The names in a bitset of the long form, those that are set. */
const readNames = (bytes: Uint8Array, from: number, to: number): ReadonlySet<string> => {
  const names = new Set<string>();
  let masked = true;
  each(bytes, from, to, (type) => (masked &&= type !== NOMASK));
  each(bytes, from, to, (type, bitsFrom, bitsTo) => {
    if (type !== BITSET.bits) return;
    each(bytes, bitsFrom, bitsTo, (_bit, bitFrom, bitTo) => {
      let name: string | null = null;
      let on = false;
      each(bytes, bitFrom, bitTo, (field, at, end) => {
        if (field === BITSET.name) name = readText(bytes, at, end);
        else if (field === BITSET.value) on = true;
      });
      if (name === null) throw new Damage('a bit without a name');
      if (on || !masked) names.add(name);
    });
  });
  return names;
};
/** ETHTOOL_A_BITSET_NOMASK: a list of what is set, without values. */
const NOMASK = 1;
