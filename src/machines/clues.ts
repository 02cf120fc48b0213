// Findings that need a memory of their own, because the pair's present state does not show them: a sign that nothing
// followed, frames that leave and never come back, a lock that stands in the way, a function that returned with another MAC.
// Findings (findings.ts) keeps the spans; here is said whether one holds.
import type { EventData } from '../events/catalogue.ts';
import { LOCK_HELD, NOT_TOLD } from '../events/catalogue.ts';
import { globalsOf } from './duties.ts';
import type { Foldable } from '../events/envelope.ts';
import type { Guest } from './guest.ts';
import type { Place } from './history.ts';
import type { PairState } from './pair-state.ts';
import type { FindingCode } from './reasons.ts';
import { type Arrived, enslavedTo, type Identity, identityOf, isSame } from './roles.ts';
import { BIT } from './view.ts';

/** Something that lasts, and whether it does now; or (`point`) something that happened once. */
export interface Clue {
  readonly code: FindingCode;
  /** null for what concerns the whole guest. */
  readonly mac: string | null;
  readonly holds: boolean | 'point';
  /** It is a finding only when it has lasted for so long. */
  readonly after_ms: number;
  readonly text: (lasting: string) => string;
}

interface Memory {
  /** Where the primary sat, kept when it has left. */
  place: string | null;
  /** The primary that was said to leave. */
  leaving: { readonly primary: Identity; readonly at: Place; readonly name: string } | null;
  /** The adapter that the path leads over, and its counters when it began to, or when something last came back. */
  over: { readonly ifindex: number; readonly arrival: number } | null;
  base: (EventData<'counters.sampled'> & { readonly at_ns: string }) | null;
  /** What held at the last look, so that nothing is said again. */
  readonly held: Set<FindingCode>;
}

/** Addresses are on two devices while they are moved from one to the other. */
const MOVING_MS = 3000;
/** A primary that stays away for longer is missed. */
const MISSED_MS = 30_000;
/** Frames that must have left without one coming back, and the time between two looks, before anything is said. */
const UNANSWERED_FRAMES = 5n;
const UNANSWERED_NS = 1_000_000_000n;

const nameOf = ({ facts: { name, pci } }: Arrived): string => `${name}${pci === null ? '' : ` (${pci})`}`;

/** The member that the path leads over, null where there is none. */
const carrierOf = ({ shown: { datapath }, roles }: PairState): Arrived | null => (datapath === 'none' ? null : roles[datapath]);

const isNews = ({ held }: Memory, code: FindingCode, holds: boolean): boolean => {
  if (held.has(code) === holds) return false;
  if (holds) held.add(code);
  else held.delete(code);
  return true;
};

const hasFamily = (adapter: Arrived, isV6: boolean): boolean =>
  globalsOf(adapter).some((address) => address.includes(':') === isV6);

/** Devices of the pair that have addresses of a family which another of them has, too: they are on one wire. */
const doubleHolders = ({ roles: { master, standby, primary } }: PairState): Arrived[] => {
  const devices = [master, standby, primary].filter((device) => device !== null && device.addresses.size > 0) as Arrived[];
  if (devices.length < 2) return [];
  const families = [false, true].filter((isV6) => devices.filter((device) => hasFamily(device, isV6)).length > 1);
  return devices.filter((device) => families.some((isV6) => hasFamily(device, isV6)));
};

/** Members with addresses below a master without any: frames for them arrive on the master. */
const grabbed = ({ roles: { master, standby, primary } }: PairState): Arrived[] => {
  if (master === null || globalsOf(master).length > 0) return [];
  return [standby, primary].filter(
    (member): member is Arrived => member !== null && enslavedTo(member, master) && globalsOf(member).length > 0,
  );
};

export class Clues {
  readonly #memories = new Map<string, Memory>();

  /** Whether a pair's primary was at this PCI address when it was last there. */
  wasAt(mac: string, place: string | null): boolean {
    return place !== null && this.#memories.get(mac)?.place === place;
  }

  /** What this event says; to be called after it was folded, with the pairs that it touched. */
  *note(event: Foldable, touched: readonly PairState[], guest: Guest, at: Place): Generator<Clue> {
    for (const pair of touched) yield* this.#pair(pair, guest, at);
    switch (event.type) {
      case 'adapter.appeared':
      case 'adapter.changed':
      case 'adapter.gone':
      case 'survey.taken':
        for (const pair of guest.pairs.values()) yield this.#stranger(pair, guest);
        return;
      case 'outcome.seen':
        yield lockClue(event.data);
        if (event.data.reason?.includes(NOT_TOLD) === true) {
          const { pair, reason } = event.data;
          yield { code: 'managerNotTold', mac: pair, holds: 'point', after_ms: 0, text: () => reason };
        }
        return;
      case 'counters.sampled':
        for (const pair of guest.pairs.values()) yield* this.#counted(pair, event.data, at);
        return;
      case 'log.outage': {
        const { events, lost, reason } = event.data;
        const text = `${events} events were written late and ${lost} are lost: ${reason}`;
        yield { code: 'logOutage', mac: null, holds: 'point', after_ms: 0, text: () => text };
        return;
      }
      default:
        return;
    }
  }

  #memory(mac: string): Memory {
    let memory = this.#memories.get(mac);
    if (memory === undefined) {
      memory = { place: null, leaving: null, over: null, base: null, held: new Set() };
      this.#memories.set(mac, memory);
    }
    return memory;
  }

  *#pair(pair: PairState, guest: Guest, at: Place): Generator<Clue> {
    const { mac, mode, roles, bits } = pair;
    const memory = this.#memory(mac);
    const { primary } = roles;
    if (primary?.facts.pci != null) memory.place = primary.facts.pci;
    yield* this.#departure(pair, memory, at);
    const missed = memory.place !== null && primary === null && (bits & BIT.ours) !== 0;
    if (isNews(memory, 'primaryMissing', missed)) {
      const text = (lasting: string): string => `the primary that was at ${memory.place} left and did not come back, ${lasting}`;
      yield { code: 'primaryMissing', mac, holds: missed, after_ms: MISSED_MS, text };
    }
    const without = mode === 'netkvm' && guest.inventory.protocolMissing;
    if (isNews(memory, 'protocolMissing', without)) {
      const text = (lasting: string): string => `the failover protocol is not installed, so no primary can be bound, ${lasting}`;
      yield { code: 'protocolMissing', mac, holds: without, after_ms: 0, text };
    }
    const contested = (bits & BIT.ours) !== 0 && pair.contested;
    if (isNews(memory, 'otherController', contested)) {
      const names = [...guest.inventory.controllers].join(', ');
      const text = (lasting: string): string => `${names} switches this pair, so nothing is decided here, ${lasting}`;
      yield { code: 'otherController', mac, holds: contested, after_ms: 0, text };
    }
    const holders = doubleHolders(pair);
    if (isNews(memory, 'doubleAddresses', holders.length > 0)) {
      const names = holders.map((holder) => `${nameOf(holder)}: ${globalsOf(holder).join(', ')}`).join('; ');
      const words = (lasting: string): string => `more than one device of the pair has addresses (${names}), ${lasting}`;
      yield { code: 'doubleAddresses', mac, holds: holders.length > 0, after_ms: MOVING_MS, text: words };
    }
    const taken = grabbed(pair);
    if (isNews(memory, 'nameGrabbed', taken.length > 0)) {
      const names = taken.map((member) => `${nameOf(member)}: ${globalsOf(member).join(', ')}`).join('; ');
      const words = (lasting: string): string => `the addresses are on a member (${names}) and not on its master, ${lasting}`;
      yield { code: 'nameGrabbed', mac, holds: taken.length > 0, after_ms: MOVING_MS, text: words };
    }
    const over = carrierOf(pair);
    if (!isSame(over, memory.over)) {
      memory.over = identityOf(over);
      memory.base = null;
      yield this.#silence(pair, null);
    }
  }

  /** A sign that the primary is about to leave, and whether it did. */
  *#departure({ mac, leaving, roles: { primary } }: PairState, memory: Memory, at: Place): Generator<Clue> {
    const said = memory.leaving;
    if (leaving && primary !== null) {
      memory.leaving ??= { primary: { ifindex: primary.facts.ifindex, arrival: primary.arrival }, at, name: nameOf(primary) };
      return;
    }
    memory.leaving = null;
    if (said === null || !isSame(primary, said.primary)) return;
    const after = ((Number(at.at_ns) - Number(said.at.at_ns)) / 1e9).toFixed(1);
    const text = `${said.name} was said to leave (at ${said.at.seq}), and is still there ${after} s later`;
    yield { code: 'unplugNotDone', mac, holds: 'point', after_ms: 0, text: () => text };
  }

  /** An adapter with another MAC in the place where the primary was. */
  #stranger({ mac, roles, bits }: PairState, guest: Guest): Clue {
    const { place } = this.#memory(mac);
    const lacking = roles.primary === null && (bits & BIT.ours) !== 0 && place !== null;
    const stranger = lacking
      ? [...guest.adapters.values()].find(({ facts }) => facts.pci === place && facts.kind === null)
      : undefined;
    const has = stranger?.facts.permMac ?? stranger?.facts.mac ?? 'none';
    const name = stranger === undefined ? '' : nameOf(stranger);
    const text = (lasting: string): string => `${name} is where the primary was, but has MAC ${has}, ${lasting}`;
    return { code: 'wrongMac', mac, holds: stranger !== undefined && has !== mac, after_ms: 0, text };
  }

  /** Counters of an adapter: does anything come back to what is sent over it? */
  *#counted(pair: PairState, counters: EventData<'counters.sampled'>, at: Place): Generator<Clue> {
    const memory = this.#memory(pair.mac);
    if (memory.over?.ifindex !== counters.ifindex) return;
    const { base } = memory;
    // The first look is what the next ones are compared with; a counter that ran backwards was reset.
    const restarted =
      base === null ||
      BigInt(counters.rxPackets) !== BigInt(base.rxPackets) ||
      BigInt(counters.txPackets) < BigInt(base.txPackets);
    if (restarted) {
      memory.base = { ...counters, at_ns: at.at_ns };
      yield this.#silence(pair, null);
      return;
    }
    const sent = BigInt(counters.txPackets) - BigInt(base.txPackets);
    const passed = BigInt(at.at_ns) - BigInt(base.at_ns);
    if (sent >= UNANSWERED_FRAMES && passed >= UNANSWERED_NS) yield this.#silence(pair, sent);
  }

  #silence(pair: PairState, sent: bigint | null): Clue {
    const carrier = carrierOf(pair);
    const name = carrier === null ? 'the path' : nameOf(carrier);
    const text = (lasting: string): string => `${sent} packets left over ${name} and not one came back, ${lasting}`;
    return { code: 'nothingReturns', mac: pair.mac, holds: sent !== null, after_ms: 0, text };
  }
}

const lockClue = ({ pair, result, reason }: EventData<'outcome.seen'>): Clue => ({
  code: 'lockHeld',
  mac: pair,
  holds: result !== 'succeeded' && reason?.startsWith(LOCK_HELD) === true,
  after_ms: 0,
  text: (lasting) => `${reason ?? ''}, ${lasting}`,
});
