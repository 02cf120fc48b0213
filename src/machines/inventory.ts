// What exists, as the events tell it, and the pairs that it makes: adapters by ifindex, grouped by MAC, sorted into roles.
// Every method takes one fact and returns the pairs that it may concern; what follows from it is for the chart (guest.ts).
import type {
  Adapter,
  Address,
  DriverFacts,
  EventData,
  Obligation,
  ObligationKind,
  PciFunction,
  Policy,
} from '../events/catalogue.ts';
import { newPair, type PairState } from './pair-state.ts';
import { type Arrived, hasStandby, type Identity, identityOf, isSame, rolesOf } from './roles.ts';

/** Bonds and parameters are gone with the kernel that had them; what is in the registry is kept there. */
const OUTLIVES_BOOT: Readonly<Record<ObligationKind, boolean>> = {
  takeover: false,
  parameters: false,
  bindings: true,
  driverParameters: true,
  vfMac: true,
  forwarding: true,
  unplugged: true,
  service: false,
};

const keepOnly = (pair: PairState, keeps: (obligation: Obligation) => boolean): void => {
  pair.obligations = pair.obligations.filter(keeps);
  pair.unfinished &&= pair.obligations.some(({ kind }) => kind === 'takeover');
};

export class Inventory {
  readonly adapters = new Map<number, Arrived>();
  readonly functions = new Map<string, PciFunction>();
  readonly pairs = new Map<string, PairState>();
  /** Installed failover protocols (Windows). */
  readonly protocols = new Set<string>();
  /** The failover protocol was seen to be missing (Windows); not merely not seen. */
  protocolMissing = false;
  /** Other programs that run and switch the same pairs (Windows: the driver package's own service). */
  readonly controllers = new Set<string>();
  /** Windows pairs by current MAC, Linux by permanent MAC. */
  byCurrentMac = false;
  readonly #members = new Map<string, Arrived[]>();
  #named = new Map<string, Policy['pairs'][number]>();

  #key({ permMac, mac }: Adapter): string | null {
    return this.byCurrentMac ? mac : (permMac ?? mac);
  }

  /** Sorts the adapters with this MAC into roles anew; makes the pair when a standby is first seen. */
  #regroup(key: string | null): PairState[] {
    if (key === null) return [];
    const members = this.#members.get(key) ?? [];
    const named = this.#named.get(key) ?? null;
    let pair = this.pairs.get(key);
    if (pair === undefined) {
      if (!hasStandby(members, named)) return [];
      pair = newPair(key, named);
      this.pairs.set(key, pair);
    }
    const before = identityOf(pair.roles.primary);
    const standby = identityOf(pair.roles.standby);
    pair.roles = rolesOf(members, (ifindex) => this.adapters.get(ifindex), named, this.#taken(pair, members) ?? before);
    pair.mode = pair.driverFacts === null ? pair.roles.mode : 'netkvm';
    if (!isSame(pair.roles.primary, before)) {
      pair.leaving = false;
      pair.losses = [];
    }
    if (!isSame(pair.roles.standby, standby)) {
      pair.failures = 0;
      pair.paused = false;
    }
    return [pair];
  }

  /** NETKVM: the primary that the driver itself has taken, where it says so. */
  #taken({ driverFacts }: PairState, members: readonly Arrived[]): Identity | null {
    if (driverFacts?.hasVf !== true) return null;
    return identityOf(members.find(({ facts }) => facts.ifindex === driverFacts.vfIfIndex) ?? null);
  }

  /** Pairs that have this adapter as their master although its MAC is another one. */
  #mastered(ifindex: number, except: string | null): PairState[] {
    const found: PairState[] = [];
    for (const pair of this.pairs.values()) {
      if (pair.mac === except) continue;
      const { standby, master } = pair.roles;
      if (master?.facts.ifindex === ifindex || standby?.facts.master === ifindex) found.push(...this.#regroup(pair.mac));
    }
    return found;
  }

  #join(arrived: Arrived): PairState[] {
    const key = this.#key(arrived.facts);
    this.adapters.set(arrived.facts.ifindex, arrived);
    if (key !== null) this.#members.set(key, [...(this.#members.get(key) ?? []), arrived]);
    return [...this.#regroup(key), ...this.#mastered(arrived.facts.ifindex, key)];
  }

  #leave(arrived: Arrived): PairState[] {
    const key = this.#key(arrived.facts);
    this.adapters.delete(arrived.facts.ifindex);
    if (key !== null) {
      const rest = (this.#members.get(key) ?? []).filter((member) => member !== arrived);
      if (rest.length === 0) this.#members.delete(key);
      else this.#members.set(key, rest);
    }
    return [...this.#regroup(key), ...this.#mastered(arrived.facts.ifindex, key)];
  }

  /** The parameters that a device was given are gone with it: nothing is owed to what does not exist any more. */
  #lapse({ facts, arrival }: Arrived): void {
    for (const pair of this.pairs.values()) {
      if (pair.obligations.length === 0) continue;
      keepOnly(
        pair,
        ({ kind, device }) => kind !== 'parameters' || device?.ifindex !== facts.ifindex || device.arrival !== arrival,
      );
    }
  }

  addAdapter(facts: Adapter, seq: number): PairState[] {
    const known = this.adapters.get(facts.ifindex);
    if (known !== undefined) this.#lapse(known);
    const left = known === undefined ? [] : this.#leave(known);
    return [...new Set([...left, ...this.#join({ facts: { ...facts }, arrival: seq, addresses: new Set() })])];
  }

  removeAdapter(ifindex: number): PairState[] | null {
    const known = this.adapters.get(ifindex);
    if (known === undefined) return null;
    this.#lapse(known);
    return this.#leave(known);
  }

  /** The common case, so the cheap one: link state changes keep every role. */
  changeAdapter(known: Arrived, changed: Partial<Adapter>): PairState[] {
    const { facts } = known;
    const key = this.#key(facts);
    let structural = false;
    for (const name in changed) {
      if (name !== 'up' && name !== 'carrier' && name !== 'slave' && name !== 'mtu') structural = true;
    }
    if (structural) {
      // Leaving and joining would make another primary of it: its sign, its losses and its place before a second one are lost.
      if (this.#key({ ...facts, ...changed }) === key) {
        Object.assign(facts, changed);
        return [...new Set([...this.#regroup(key), ...this.#mastered(facts.ifindex, key)])];
      }
      const left = this.#leave(known);
      Object.assign(facts, changed);
      return [...new Set([...left, ...this.#join(known)])];
    }
    Object.assign(facts, changed);
    const pair = key === null ? undefined : this.pairs.get(key);
    if (pair !== undefined) return [pair];
    return facts.kind === null ? [] : this.#mastered(facts.ifindex, key);
  }

  /** An address came or went. */
  address({ ifindex, address }: Address, isThere: boolean): PairState[] | null {
    const known = this.adapters.get(ifindex);
    if (known === undefined) return null;
    if (isThere) known.addresses.add(address);
    else known.addresses.delete(address);
    return this.#around(known);
  }

  /** The pairs that have this adapter as a member or as their master. */
  #around(known: Arrived): PairState[] {
    return [...this.pairs.values()].filter(
      ({ roles: { standby, master, primary, surplus } }) =>
        known === standby || known === master || known === primary || surplus.includes(known),
    );
  }

  survey({ adapters, functions, addresses, records }: EventData<'survey.taken'>, seq: number) {
    const touched = new Set<PairState>();
    const note = (pairs: readonly PairState[] | null) => pairs?.forEach((pair) => touched.add(pair));
    const listed = new Set(adapters.map(({ ifindex }) => ifindex));
    for (const ifindex of this.adapters.keys()) if (!listed.has(ifindex)) note(this.removeAdapter(ifindex));
    for (const facts of adapters) {
      const known = this.adapters.get(facts.ifindex);
      const same = known !== undefined && this.#key(known.facts) === this.#key(facts) && known.facts.device === facts.device;
      note(same ? this.changeAdapter(known, facts) : this.addAdapter(facts, seq));
    }
    this.#surveyAddresses(addresses, note);
    this.functions.clear();
    for (const item of functions) this.functions.set(item.address, item);
    if (records !== undefined) {
      const known = [...this.pairs.values()].filter(({ driverFacts }) => driverFacts !== null).map(({ mac }) => mac);
      const reported = new Map(records.toReversed().map((record) => [record.mac, record]));
      for (const mac of new Set([...known, ...reported.keys()])) note(this.takeDriverFacts(mac, reported.get(mac) ?? null));
    }
    return [...touched];
  }

  #surveyAddresses(addresses: readonly Address[], note: (pairs: readonly PairState[]) => void): void {
    const found = new Map<number, string[]>();
    for (const { ifindex, address } of addresses) found.set(ifindex, [...(found.get(ifindex) ?? []), address]);
    for (const known of this.adapters.values()) {
      const now = found.get(known.facts.ifindex) ?? [];
      const isSameSet = now.length === known.addresses.size && now.every((address) => known.addresses.has(address));
      if (isSameSet) continue;
      known.addresses.clear();
      for (const address of now) known.addresses.add(address);
      note(this.#around(known));
    }
  }

  takeDriverFacts(mac: string, facts: DriverFacts | null): PairState[] {
    let pair = this.pairs.get(mac);
    if (pair === undefined) {
      if (facts === null) return [];
      pair = newPair(mac, this.#named.get(mac) ?? null);
      this.pairs.set(mac, pair);
    }
    pair.driverFacts = facts;
    return this.#regroup(mac);
  }

  open(obligation: Obligation): PairState[] {
    let pair = this.pairs.get(obligation.pair);
    if (pair === undefined) {
      pair = newPair(obligation.pair, this.#named.get(obligation.pair) ?? null);
      this.pairs.set(pair.mac, pair);
    }
    const isOpen = pair.obligations.some(({ id }) => id === obligation.id);
    if (!isOpen) pair.obligations = [...pair.obligations, obligation];
    if (obligation.kind === 'takeover') pair.unfinished = true;
    return [pair];
  }

  close({ pair: mac, id }: { readonly pair: string; readonly id: string }): PairState[] | null {
    const pair = this.pairs.get(mac);
    if (pair === undefined) return null;
    keepOnly(pair, (one) => one.id !== id);
    return [pair];
  }

  signal(address: string): PairState[] | null {
    for (const pair of this.pairs.values()) {
      if (pair.roles.primary?.facts.pci !== address) continue;
      pair.leaving = true;
      return [pair];
    }
    return null;
  }

  /** An operator (or the host) says that the primary is about to leave; null means every pair. */
  prepare(mac: string | null): PairState[] {
    const meant = [...this.pairs.values()].filter((pair) => (mac === null || pair.mac === mac) && pair.roles.primary !== null);
    for (const pair of meant) pair.leaving = true;
    return meant;
  }

  /** Whoever said that the primary is about to leave says that it stays, or that another one is coming. */
  stay(mac: string): PairState[] | null {
    const pair = this.pairs.get(mac);
    if (pair?.leaving !== true) return null;
    pair.leaving = false;
    return [pair];
  }

  /** An operator takes pairs out of our hands (restore), or a reload puts them back. */
  release(mac: string | null, released: boolean): PairState[] {
    const meant = [...this.pairs.values()].filter((pair) => mac === null || pair.mac === mac);
    for (const pair of meant) {
      pair.released = released;
      pair.attempts = 0;
      pair.failures = 0;
      if (released) continue;
      pair.paused = false;
      pair.aligned = null;
      pair.tuned = null;
    }
    return meant;
  }

  forgetSign(address: string): PairState[] | null {
    for (const pair of this.pairs.values()) {
      if (!pair.leaving || pair.roles.primary?.facts.pci !== address) continue;
      pair.leaving = false;
      return [pair];
    }
    return null;
  }

  setPciDriver(address: string, driver: string | null): void {
    const known = this.functions.get(address);
    if (known !== undefined) this.functions.set(address, { ...known, driver });
  }

  setProtocol(name: string, installed: boolean): PairState[] {
    if (installed) this.protocols.add(name);
    else this.protocols.delete(name);
    this.protocolMissing = !installed;
    return [...this.pairs.values()];
  }

  setController({ name, running }: EventData<'controller.seen'>): PairState[] {
    if (running) this.controllers.add(name);
    else this.controllers.delete(name);
    return [...this.pairs.values()];
  }

  /** The pairs that the policy names; those that it no longer names are still pairs, but not to be touched. */
  list(named: Policy['pairs']): PairState[] {
    this.#named = new Map(named.map((pair) => [pair.mac, pair]));
    for (const pair of this.pairs.values()) pair.named = this.#named.get(pair.mac) ?? null;
    const keys = new Set([...this.pairs.keys(), ...this.#named.keys()]);
    return [...keys].flatMap((key) => this.#regroup(key));
  }

  /** After a reboot nothing that was known holds. */
  forget(): void {
    for (const known of this.adapters.values()) this.#leave(known);
    for (const pair of this.pairs.values()) {
      pair.driverFacts = null;
      keepOnly(pair, ({ kind }) => OUTLIVES_BOOT[kind]);
      pair.released = false;
    }
    this.functions.clear();
    this.controllers.clear();
  }

  /** Takes over what a snapshot lists: pairs with their primaries, then the adapters. */
  restore(
    adapters: readonly (Omit<Arrived, 'addresses'> & { readonly addresses?: readonly string[] })[],
    pairs: readonly { mac: string; driverFacts: DriverFacts | null; primary: Identity | null }[],
  ) {
    for (const { mac, driverFacts } of pairs) this.pairs.set(mac, { ...newPair(mac, this.#named.get(mac) ?? null), driverFacts });
    for (const { facts, arrival, addresses } of adapters)
      this.#join({ facts: { ...facts }, arrival, addresses: new Set(addresses) });
    for (const { mac, primary } of pairs) {
      const pair = this.pairs.get(mac);
      if (pair === undefined) continue;
      this.#regroup(mac);
      const members = this.#members.get(mac) ?? [];
      pair.roles = rolesOf(members, (ifindex) => this.adapters.get(ifindex), this.#named.get(mac) ?? null, primary);
    }
  }
}
