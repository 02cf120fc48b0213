// The fold: a guest is the set of its pairs, and every event goes through `apply`, live and in replay alike.
//
// `apply` is a function of the state and the event alone (no clock, no random, no I/O). The state is updated in place,
// because one owner folds it and a copy per event would cost more than the fold; `snapshot` gives a copy for a
// checkpoint. What a step asks for (decisions, timers) is returned, never executed.
import type { Adapter, Decision, DriverFacts, EventData, PciFunction, Policy } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import { configurationOf, type DelayName, delayOf, react, type TimerId } from './chart-table.ts';
import { becauseOf, decide, isOvertaken, lookAgain, lookAt, newPair, type PairState, type Shown } from './pair.ts';
import { defaultPolicy } from './policy.ts';
import { type Arrived, hasStandby, type Identity, identityOf, isSame, rolesOf } from './roles.ts';
import { BIT } from './view.ts';

/** Raised whenever the same log could fold to other decisions than before; written into `service.started`. */
export const MACHINE_VERSION = 1;

export interface ArmTimer {
  readonly op: 'arm';
  readonly pair: string;
  readonly timer: TimerId;
  readonly delay_ms: number;
  readonly armedBy: number;
}
export interface CancelTimer {
  readonly op: 'cancel';
  readonly pair: string;
  readonly timer: TimerId;
}

/** A pair whose stage, datapath or reason is another than before the event. */
export interface Change {
  readonly pair: PairState;
  readonly before: Shown;
}

export interface Divergence {
  readonly seq: number;
  readonly expected: string;
  readonly recorded: string;
}

/** What one event led to. */
export interface Step {
  /** Pairs whose facts may have changed. */
  readonly touched: readonly PairState[];
  readonly changes: readonly Change[];
  readonly decisions: readonly Decision[];
  readonly timers: readonly (ArmTimer | CancelTimer)[];
  /** The failover episode that the event belongs to. */
  readonly episode: string | null;
  readonly divergence: Divergence | null;
}
interface Growing extends Step {
  touched: readonly PairState[];
  readonly changes: Change[];
  readonly decisions: Decision[];
  readonly timers: (ArmTimer | CancelTimer)[];
  episode: string | null;
  divergence: Divergence | null;
}

const NOTHING: Step = Object.freeze({ touched: [], changes: [], decisions: [], timers: [], episode: null, divergence: null });

const POLICY_KEY: Readonly<Record<DelayName, keyof Policy>> = {
  grace: 'grace_ms',
  attachLimit: 'attachLimit_ms',
  switchLimit: 'switchLimit_ms',
  detachLimit: 'detachLimit_ms',
  flapHold: 'flapHold_ms',
  retryDelay: 'retryDelay_ms',
  blockedRetry: 'blockedRetry_ms',
};

/** A chart that does not come to rest after so many steps is broken: better to stop than to spin. */
const MAX_ROUNDS = 16;

export class Guest {
  readonly adapters = new Map<number, Arrived>();
  readonly functions = new Map<string, PciFunction>();
  readonly pairs = new Map<string, PairState>();
  policy: Policy = defaultPolicy;
  bootId: string | null = null;
  /** Installed failover protocols (Windows). */
  readonly protocols = new Set<string>();
  /** The failover protocol was seen to be missing (Windows); not merely not seen. */
  protocolMissing = false;
  /** Decisions that this fold has made and that the log has not confirmed yet. */
  readonly unconfirmed: Decision[] = [];
  readonly #members = new Map<string, Arrived[]>();
  #named = new Map<string, Policy['pairs'][number]>();
  #byCurrentMac = false;
  readonly #chart: typeof react;

  /** `chart` is the look-up table, or xstate itself (askChart) where a test wants the oracle. */
  constructor(chart: typeof react = react) {
    this.#chart = chart;
  }

  /** Folds one event. Events come in the order of their sequence numbers, each exactly once. */
  apply(event: Foldable): Step {
    const step: Growing = { touched: NOTHING.touched, changes: [], decisions: [], timers: [], episode: null, divergence: null };
    if (event.type !== 'decision.made' && this.unconfirmed.length > 0) {
      const [missing] = this.unconfirmed.splice(0);
      step.divergence = { seq: event.seq, expected: JSON.stringify(missing), recorded: event.type };
    }
    const touched = this.#take(event, step);
    if (touched === null || touched.length === 0) return step.divergence === null ? NOTHING : step;
    step.touched = touched;
    for (const pair of touched) {
      const before = pair.episode;
      this.#settle(pair, event, step);
      step.episode ??= before ?? pair.episode;
    }
    return step;
  }

  /** Takes the facts out of an event; returns the pairs whose facts may have changed, null when no pair is concerned. */
  #take(event: Foldable, step: Growing): readonly PairState[] | null {
    switch (event.type) {
      case 'adapter.changed': {
        const known = this.adapters.get(event.data.ifindex);
        return known === undefined ? null : this.#changeAdapter(known, event.data.changed);
      }
      case 'adapter.appeared':
        return this.#addAdapter(event.data, event.seq);
      case 'adapter.gone':
        return this.#removeAdapter(event.data.ifindex);
      case 'survey.taken':
        return this.#survey(event.data, event.seq);
      case 'pci.added':
        this.functions.set(event.data.address, event.data);
        return null;
      case 'pci.bound':
      case 'pci.unbound': {
        const known = this.functions.get(event.data.address);
        if (known !== undefined) {
          this.functions.set(known.address, { ...known, driver: event.type === 'pci.bound' ? event.data.driver : null });
        }
        return null;
      }
      case 'pci.removed':
        this.functions.delete(event.data.address);
        return this.#forgetSign(event.data.address);
      case 'driver.facts':
        return this.#takeDriverFacts(event.data.mac, event.data);
      case 'driver.gone':
        return this.#takeDriverFacts(event.data.mac, null);
      case 'protocol.installed':
        this.protocols.add(event.data.name);
        this.protocolMissing = false;
        return [...this.pairs.values()];
      case 'protocol.removed':
        this.protocols.delete(event.data.name);
        this.protocolMissing = true;
        return [...this.pairs.values()];
      case 'departure.signalled':
        return this.#signal(event.data.address);
      case 'timer.elapsed':
        return this.#elapse(event.data, event, step);
      case 'outcome.seen':
        return this.#conclude(event.data, event, step);
      case 'decision.made':
        this.#confirm(event.data, event.seq, step);
        return null;
      case 'configuration.applied':
        return this.#configure(event.data.policy);
      case 'service.started':
        return this.#begin(event, step);
      case 'checkpoint.made':
        this.#check(event.data.state, event.seq, step);
        return null;
      case 'address.added':
      case 'address.removed':
      case 'counters.sampled':
      case 'announce.seen':
      case 'gap.seen':
      case 'clock.jumped':
      case 'service.stopped':
      case 'log.outage':
      case 'operator.commanded':
        return null;
    }
  }

  // Adapters and the pairs that they make.

  #key({ permMac, mac }: Adapter): string | null {
    return this.#byCurrentMac ? mac : (permMac ?? mac);
  }

  /** Sorts the adapters with this MAC into roles anew; makes the pair when a standby is first seen. */
  #regroup(key: string | null): PairState[] {
    if (key === null) return [];
    const members = this.#members.get(key) ?? [];
    const named = this.#named.get(key);
    let pair = this.pairs.get(key);
    if (pair === undefined) {
      if (!hasStandby(members, named)) return [];
      pair = newPair(key, this.#named.has(key));
      this.pairs.set(key, pair);
    }
    const before = identityOf(pair.roles.primary);
    pair.roles = rolesOf(members, (ifindex) => this.adapters.get(ifindex), named, this.#taken(pair, members) ?? before);
    pair.mode = pair.driverFacts === null ? pair.roles.mode : 'netkvm';
    if (!isSame(pair.roles.primary, before)) {
      pair.leaving = false;
      pair.losses = [];
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

  #addAdapter(facts: Adapter, seq: number): PairState[] {
    const known = this.adapters.get(facts.ifindex);
    const left = known === undefined ? [] : this.#leave(known);
    return [...new Set([...left, ...this.#join({ facts: { ...facts }, arrival: seq })])];
  }

  #removeAdapter(ifindex: number): PairState[] | null {
    const known = this.adapters.get(ifindex);
    return known === undefined ? null : this.#leave(known);
  }

  /** The common case, so the cheap one: link state changes keep every role. */
  #changeAdapter(known: Arrived, changed: Partial<Adapter>): PairState[] {
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

  #survey({ adapters, functions, records }: EventData<'survey.taken'>, seq: number) {
    const touched = new Set<PairState>();
    const note = (pairs: readonly PairState[] | null) => pairs?.forEach((pair) => touched.add(pair));
    const listed = new Set(adapters.map(({ ifindex }) => ifindex));
    for (const ifindex of this.adapters.keys()) if (!listed.has(ifindex)) note(this.#removeAdapter(ifindex));
    for (const facts of adapters) {
      const known = this.adapters.get(facts.ifindex);
      const same = known !== undefined && this.#key(known.facts) === this.#key(facts) && known.facts.device === facts.device;
      note(same ? this.#changeAdapter(known, facts) : this.#addAdapter(facts, seq));
    }
    this.functions.clear();
    for (const item of functions) this.functions.set(item.address, item);
    if (records !== undefined) {
      const known = [...this.pairs.values()].filter(({ driverFacts }) => driverFacts !== null).map(({ mac }) => mac);
      const reported = new Map(records.toReversed().map((record) => [record.mac, record]));
      for (const mac of new Set([...known, ...reported.keys()])) note(this.#takeDriverFacts(mac, reported.get(mac) ?? null));
    }
    return [...touched];
  }

  #takeDriverFacts(mac: string, facts: DriverFacts | null): PairState[] {
    let pair = this.pairs.get(mac);
    if (pair === undefined) {
      if (facts === null) return [];
      pair = newPair(mac, this.#named.has(mac));
      this.pairs.set(mac, pair);
    }
    pair.driverFacts = facts;
    return this.#regroup(mac);
  }

  #signal(address: string): PairState[] | null {
    for (const pair of this.pairs.values()) {
      if (pair.roles.primary?.facts.pci !== address) continue;
      pair.leaving = true;
      return [pair];
    }
    return null;
  }

  #forgetSign(address: string): PairState[] | null {
    for (const pair of this.pairs.values()) {
      if (!pair.leaving || pair.roles.primary?.facts.pci !== address) continue;
      pair.leaving = false;
      return [pair];
    }
    return null;
  }

  // The service's own life, its decisions and its timers.

  #configure(policy: Policy): PairState[] {
    this.policy = policy;
    this.#named = new Map(policy.pairs.map((pair) => [pair.mac, pair]));
    for (const pair of this.pairs.values()) pair.listed = this.#named.has(pair.mac);
    const keys = new Set([...this.pairs.keys(), ...this.#named.keys()]);
    return [...keys].flatMap((key) => this.#regroup(key));
  }

  /** After a reboot nothing that was known holds; after a restart timers are armed anew. */
  #begin(event: Extract<Foldable, { type: 'service.started' }>, step: Growing): PairState[] {
    const { bootId, platform } = event.data;
    if (this.bootId !== null && this.bootId !== bootId) {
      for (const known of this.adapters.values()) this.#leave(known);
      for (const pair of this.pairs.values()) pair.driverFacts = null;
      this.functions.clear();
    }
    this.bootId = bootId;
    this.#byCurrentMac = platform === 'windows';
    for (const pair of this.pairs.values()) {
      for (const timer of pair.timers.keys()) this.#arm(pair, timer, delayOf(timer), event.seq, step);
    }
    return [...this.pairs.values()];
  }

  #elapse(
    { pair: mac, timer, armedBy }: { pair: string; timer: string; armedBy: number },
    event: Foldable,
    step: Growing,
  ): PairState[] | null {
    const pair = this.pairs.get(mac);
    if (pair?.timers.get(timer) !== armedBy) return null;
    pair.timers.delete(timer);
    const { leaf } = pair.configuration;
    this.#react(pair, timer, event, step);
    // A path that time has moved is news for an effect that waits for some: what is wanted now may be another one.
    if (pair.configuration.leaf !== leaf) this.#react(pair, 'facts', event, step);
    return [pair];
  }

  #conclude(
    { pair: mac, decision, result }: { pair: string; decision: string; result: 'succeeded' | 'failed' | 'refused' | 'void' },
    event: Foldable,
    step: Growing,
  ): PairState[] | null {
    const pair = this.pairs.get(mac);
    if (pair?.pending?.id !== decision) return null;
    // Facts that came after the decision are news for what has just been refused.
    const overtaken = isOvertaken(pair);
    pair.pending = null;
    // A void decision is latched in a dry run only; after a crash it is decided anew.
    const latched = result === 'void' && !overtaken && this.policy.effects !== 'dryRun' ? 'failed' : result;
    this.#react(pair, `outcome.${latched}`, event, step);
    if (overtaken) this.#react(pair, 'facts', event, step);
    return [pair];
  }

  #confirm(recorded: Decision, seq: number, step: Growing): void {
    const expected = this.unconfirmed.shift();
    const [mine, theirs] = [JSON.stringify(expected ?? null), JSON.stringify(recorded)];
    if (mine !== theirs) step.divergence = { seq, expected: mine, recorded: theirs };
  }

  // The chart.

  #arm(pair: PairState, timer: TimerId, delay: DelayName, seq: number, step: Growing): void {
    pair.timers.set(timer, seq);
    const delay_ms = this.policy[POLICY_KEY[delay]] as number;
    step.timers.push({ op: 'arm', pair: pair.mac, timer, delay_ms, armedBy: seq });
  }

  #react(pair: PairState, name: string, event: Foldable, step: Growing): void {
    const from = pair.configuration;
    const { to, requests } = this.#chart(from, name, pair.bits);
    pair.configuration = to;
    if (from.leaf === 'onPrimary' && (to.leaf === 'noCarrier' || to.leaf === 'flapping')) this.#countLoss(pair, event);
    // Elsewhere another effect is wanted, which was not tried yet.
    if (from.leaf !== to.leaf) pair.attempts = 0;
    for (const request of requests) {
      switch (request.op) {
        case 'arm':
          this.#arm(pair, request.timer, request.delay, event.seq, step);
          break;
        case 'cancel':
          if (pair.timers.delete(request.timer)) step.timers.push({ op: 'cancel', pair: pair.mac, timer: request.timer });
          break;
        case 'decide': {
          const decision = decide(pair, request.kind, event.seq, step.decisions.length);
          pair.pending = decision;
          pair.attempts += 1;
          step.decisions.push(decision);
          this.unconfirmed.push(decision);
          break;
        }
        case 'forgetSign':
          pair.leaving = false;
          break;
        case 'forgetFlaps':
          pair.losses = [];
          break;
        case 'forgetAttempts':
          pair.attempts = 0;
          break;
      }
    }
  }

  /** Shows the chart the facts until it has nothing more to say, and notes what changed. */
  #settle(pair: PairState, event: Foldable, step: Growing): void {
    const { shown } = pair;
    const { stage, datapath, because } = shown;
    // While it is left alone for flapping, only the hold time forgets.
    if (pair.losses.length > 0 && pair.configuration.leaf !== 'flapping') this.#forgetOldLosses(pair, event);
    let bits = lookAt(pair, this.policy, this.protocolMissing);
    if (((bits ^ pair.bits) & ~BIT.exhausted) !== 0) {
      pair.attempts = 0;
      bits = lookAgain(bits, pair, this.policy);
    }
    for (let round = 0; ; round += 1) {
      if (round === MAX_ROUNDS) throw new Error(`the chart of ${pair.mac} does not come to rest (event ${event.seq})`);
      if (bits !== pair.bits) {
        pair.bits = bits;
        this.#react(pair, 'facts', event, step);
      } else if (pair.configuration.effects === 'free' && (bits & BIT.mayAct) !== 0) {
        const { configuration } = pair;
        this.#react(pair, 'act', event, step);
        if (pair.configuration === configuration) break;
      } else break;
      bits = lookAgain(bits, pair, this.policy);
    }
    shown.stage = pair.configuration.stage;
    shown.because = becauseOf(pair);
    if (shown.stage !== stage || shown.datapath !== datapath || shown.because !== because)
      step.changes.push({ pair, before: { stage, datapath, because } });
    const resting = shown.stage === 'onPrimary' || shown.stage === 'standalone' || shown.stage === 'absent';
    pair.episode = resting ? null : (pair.episode ?? `e${event.seq}`);
  }

  #countLoss(pair: PairState, event: Foldable): void {
    this.#forgetOldLosses(pair, event);
    pair.losses = [...pair.losses, Number(event.mono_ns) / 1e6].slice(-this.policy.flapLimit);
  }

  #forgetOldLosses(pair: PairState, event: Foldable): void {
    const since_ms = Number(event.mono_ns) / 1e6 - this.policy.flapWindow_ms;
    if ((pair.losses[0] ?? Infinity) <= since_ms) pair.losses = pair.losses.filter((at) => at > since_ms);
  }

  // Checkpoints.

  /** Everything that the fold knows, as plain data. Two folds of the same events give equal snapshots. */
  snapshot(): GuestSnapshot {
    return {
      bootId: this.bootId,
      policy: this.policy,
      byCurrentMac: this.#byCurrentMac,
      protocols: [...this.protocols],
      protocolMissing: this.protocolMissing,
      adapters: [...this.adapters.values()].map(({ facts, arrival }) => ({ facts: { ...facts }, arrival })),
      functions: [...this.functions.values()],
      pairs: [...this.pairs.values()].map((pair) => ({
        mac: pair.mac,
        driverFacts: pair.driverFacts,
        primary: identityOf(pair.roles.primary),
        configuration: pair.configuration.value,
        bits: pair.bits,
        timers: [...pair.timers],
        pending: pair.pending,
        attempts: pair.attempts,
        leaving: pair.leaving,
        losses: pair.losses,
        episode: pair.episode,
      })),
    };
  }

  /** Takes over a snapshot; only a fresh fold may. */
  restore(snapshot: GuestSnapshot): void {
    this.bootId = snapshot.bootId;
    this.#byCurrentMac = snapshot.byCurrentMac;
    for (const name of snapshot.protocols) this.protocols.add(name);
    this.protocolMissing = snapshot.protocolMissing;
    for (const item of snapshot.functions) this.functions.set(item.address, item);
    this.#configure(snapshot.policy);
    for (const saved of snapshot.pairs)
      this.pairs.set(saved.mac, { ...newPair(saved.mac, this.#named.has(saved.mac)), driverFacts: saved.driverFacts });
    for (const { facts, arrival } of snapshot.adapters) this.#join({ facts: { ...facts }, arrival });
    for (const saved of snapshot.pairs) {
      const pair = this.pairs.get(saved.mac);
      if (pair === undefined) continue;
      this.#regroup(saved.mac);
      pair.roles = rolesOf(
        this.#members.get(saved.mac) ?? [],
        (ifindex) => this.adapters.get(ifindex),
        this.#named.get(saved.mac),
        saved.primary,
      );
      for (const [timer, armedBy] of saved.timers) pair.timers.set(timer, armedBy);
      pair.configuration = configurationOf(saved.configuration);
      pair.bits = saved.bits;
      pair.pending = saved.pending;
      pair.attempts = saved.attempts;
      pair.leaving = saved.leaving;
      pair.losses = saved.losses;
      pair.episode = saved.episode;
      pair.shown.stage = pair.configuration.stage;
      lookAt(pair, this.policy, this.protocolMissing);
      pair.shown.because = becauseOf(pair);
    }
  }

  #check(state: unknown, seq: number, step: Growing): void {
    if (this.adapters.size === 0 && this.pairs.size === 0) {
      this.restore(state as GuestSnapshot);
      return;
    }
    const [mine, theirs] = [JSON.stringify(this.snapshot()), JSON.stringify(state)];
    if (mine !== theirs) step.divergence = { seq, expected: mine, recorded: theirs };
  }
}

export interface GuestSnapshot {
  readonly bootId: string | null;
  readonly policy: Policy;
  readonly byCurrentMac: boolean;
  readonly protocols: readonly string[];
  readonly protocolMissing: boolean;
  readonly adapters: readonly Arrived[];
  readonly functions: readonly PciFunction[];
  readonly pairs: readonly {
    readonly mac: string;
    readonly driverFacts: DriverFacts | null;
    readonly primary: Identity | null;
    readonly configuration: string;
    readonly bits: number;
    readonly timers: readonly (readonly [TimerId, number])[];
    readonly pending: Decision | null;
    readonly attempts: number;
    readonly leaving: boolean;
    readonly losses: number[];
    readonly episode: string | null;
  }[];
}
