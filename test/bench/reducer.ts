// The yardstick of the fold: what somebody would write by hand for the same job, without a statechart. Same events in; stage,
// datapath, reason, timers and episodes out, for net_failover trios and bonds while the service observes only (no effects,
// no NETKVM). fold.ts compares it with the Guest event by event before anything is timed.
import type { Adapter, AdapterChange, Policy } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';

import {
  becauseOf,
  carrying,
  type Datapath,
  datapathOf,
  type Facts,
  type Known,
  newPair,
  type Pair,
  sort,
  type Stage,
  STAGE,
  type State,
  stepOf,
  under,
} from './reducer-rules.ts';

export interface Change {
  readonly pair: Pair;
  readonly stage: Stage;
  readonly datapath: Datapath;
  readonly because: string;
}
export interface Timer {
  readonly pair: string;
  readonly state: State;
  /** Null cancels. */
  readonly delay_ms: number | null;
  readonly armedBy: number;
}
export interface Output {
  readonly changes: Change[];
  readonly timers: Timer[];
  episode: string | null;
}

const macOf = ({ permMac, mac }: Adapter): string | null => permMac ?? mac;

export class Reducer {
  readonly adapters = new Map<number, Known>();
  readonly pairs = new Map<string, Pair>();
  readonly functions = new Map<string, { address: string; driver: string | null }>();
  policy: Policy = defaultPolicy;

  apply(event: Foldable): Output {
    const output: Output = { changes: [], timers: [], episode: null };
    switch (event.type) {
      case 'adapter.changed':
        this.#change(event.data.ifindex, event.data.changed, event, output);
        break;
      case 'adapter.appeared':
        this.#put(event.data, event.seq);
        this.#regroup(macOf(event.data), event, output);
        break;
      case 'adapter.gone': {
        const known = this.adapters.get(event.data.ifindex);
        if (known === undefined) break;
        this.adapters.delete(event.data.ifindex);
        this.#regroup(macOf(known.facts), event, output);
        break;
      }
      case 'survey.taken':
        this.#survey(event.data.adapters, event, output);
        this.functions.clear();
        for (const one of event.data.functions) this.functions.set(one.address, one);
        break;
      case 'pci.added':
        this.functions.set(event.data.address, event.data);
        break;
      case 'pci.bound':
      case 'pci.unbound': {
        const known = this.functions.get(event.data.address);
        const driver = event.type === 'pci.bound' ? event.data.driver : null;
        if (known !== undefined) this.functions.set(known.address, { ...known, driver });
        break;
      }
      case 'pci.removed':
        this.functions.delete(event.data.address);
        this.#sign(event.data.address, false, event, output);
        break;
      case 'departure.signalled':
        this.#sign(event.data.address, true, event, output);
        break;
      case 'timer.elapsed':
        this.#elapse(event.data.pair, event.data.armedBy, event, output);
        break;
      case 'configuration.applied':
        this.policy = event.data.policy;
        for (const pair of this.pairs.values()) this.#settle(pair, event, output);
        break;
      default: // Nothing that this job depends on.
        break;
    }
    return output;
  }

  #put(facts: Adapter, arrival: number): void {
    this.adapters.set(facts.ifindex, { facts: { ...facts }, arrival });
  }

  #change(ifindex: number, changed: AdapterChange, event: Foldable, output: Output): void {
    const known = this.adapters.get(ifindex);
    if (known === undefined) return;
    const before = macOf(known.facts);
    Object.assign(known.facts, changed);
    const mac = macOf(known.facts);
    if ('master' in changed || 'mac' in changed || 'permMac' in changed || 'bond' in changed || 'kind' in changed) {
      if (before !== mac) this.#regroup(before, event, output);
      this.#regroup(mac, event, output);
      return;
    }
    const pair = mac === null ? undefined : this.pairs.get(mac);
    if (pair !== undefined) this.#settle(pair, event, output);
  }

  #survey(adapters: readonly Adapter[], event: Foldable, output: Output): void {
    const listed = new Set<number>();
    const macs = new Set<string | null>();
    for (const facts of adapters) {
      listed.add(facts.ifindex);
      macs.add(macOf(facts));
      const known = this.adapters.get(facts.ifindex);
      if (known !== undefined && macOf(known.facts) === macOf(facts) && known.facts.device === facts.device)
        Object.assign(known.facts, facts);
      else this.#put(facts, event.seq);
    }
    for (const [ifindex, { facts }] of this.adapters) {
      if (listed.has(ifindex)) continue;
      macs.add(macOf(facts));
      this.adapters.delete(ifindex);
    }
    for (const mac of macs) this.#regroup(mac, event, output);
  }

  /** Finds the roles anew: who of this MAC is the standby, its master, its primary. */
  #regroup(mac: string | null, event: Foldable, output: Output): void {
    if (mac === null) return;
    const members: Known[] = [];
    for (const known of this.adapters.values()) if (macOf(known.facts) === mac) members.push(known);
    let pair = this.pairs.get(mac);
    if (pair === undefined) {
      if (!members.some(({ facts }) => facts.bus === 'virtio')) return;
      pair = newPair(mac);
      this.pairs.set(mac, pair);
    }
    const isMaster = (one: Known) =>
      members.some(({ facts }) => facts.master === one.facts.ifindex && facts.device === one.facts.device);
    pair.standby = members.find((one) => one.facts.bus === 'virtio' && !isMaster(one)) ?? null;
    const above = pair.standby?.facts.master ?? null;
    const master = above === null ? null : (this.adapters.get(above) ?? null);
    pair.master = master;
    const candidates = members.filter(({ facts }) => facts.kind === null && facts.bus === 'pci');
    const before = pair.primary;
    pair.primary =
      candidates.find((one) => under(one, master)) ??
      candidates.find((one) => one === before) ??
      candidates.toSorted((a, b) => a.arrival - b.arrival)[0] ??
      null;
    if (pair.primary?.arrival !== before?.arrival) {
      pair.leaving = false;
      pair.losses = [];
    }
    if (master === null) pair.mode = 'none';
    else if (master.facts.kind === 'bond') pair.mode = master.facts.bond?.mode === 1 ? 'bond' : 'none';
    else pair.mode = master.facts.device === pair.standby?.facts.device ? 'kernel' : 'none';
    this.#settle(pair, event, output);
  }

  #sign(pci: string, leaving: boolean, event: Foldable, output: Output): void {
    for (const pair of this.pairs.values()) {
      if (pair.primary?.facts.pci !== pci || (!leaving && !pair.leaving)) continue;
      pair.leaving = leaving;
      this.#settle(pair, event, output);
    }
  }

  #elapse(mac: string, armedBy: number, event: Foldable, output: Output): void {
    const pair = this.pairs.get(mac);
    if (pair === undefined || pair.armedBy !== armedBy) return;
    pair.armedBy = 0;
    const { state } = pair;
    const facts = this.#facts(pair);
    if (state === 'attaching') this.#enter(pair, 'notAttached', event, output);
    else if (state === 'switching') this.#enter(pair, 'noCarrier', event, output);
    else if (state === 'flapping') pair.losses = [];
    else if (state === 'notAttached') this.#enter(pair, state, event, output);
    else if (state === 'departing') pair.leaving = false;
    else if (state === 'detaching' && facts.leaving) {
      // Another round in the same state, now without the sign.
      this.#enter(pair, state, event, output);
      pair.leaving = false;
    } else if (state === 'detaching') this.#enter(pair, facts.primary ? sort(facts) : 'noPrimary', event, output);
    this.#settle(pair, event, output);
  }

  #facts(pair: Pair): Facts {
    const { mode, master, standby, primary, leaving, losses } = pair;
    const datapath = datapathOf(pair);
    const bound = under(primary, master);
    pair.datapath = datapath;
    return {
      primary: primary !== null,
      compatible: mode !== 'kernel' || bound || primary === null || primary.facts.mtu === (master ?? standby)?.facts.mtu,
      bound,
      carrier: carrying(primary),
      carries: primary !== null && datapath === 'primary' && !leaving,
      viaPrimary: datapath === 'primary',
      viaStandby: datapath === 'standby',
      leaving: primary !== null && leaving,
      flapping: mode !== 'kernel' && losses.length >= this.policy.flapLimit,
    };
  }

  #settle(pair: Pair, event: Foldable, output: Output): void {
    const { stage, datapath, because, episode } = pair;
    let facts = this.#facts(pair);
    for (let round = 0; ; round += 1) {
      if (round === 16) throw new Error('no rest');
      const next = pair.standby === null ? 'absent' : pair.mode === 'none' ? 'standalone' : stepOf(pair.state, facts);
      if (next === pair.state) break;
      if (pair.state === 'onPrimary' && next === 'noCarrier') {
        this.#countLoss(pair, event);
        facts = this.#facts(pair);
      }
      this.#enter(pair, next, event, output);
    }
    pair.stage = STAGE[pair.state];
    pair.because = becauseOf(pair, facts);
    if (pair.stage !== stage || pair.datapath !== datapath || pair.because !== because)
      output.changes.push({ pair, stage, datapath, because });
    const resting = pair.stage === 'onPrimary' || pair.stage === 'standalone' || pair.stage === 'absent';
    pair.episode = resting ? null : (episode ?? `e${event.seq}`);
    output.episode ??= episode ?? pair.episode;
  }

  #enter(pair: Pair, next: State, event: Foldable, output: Output): void {
    if (pair.armedBy !== 0) output.timers.push({ pair: pair.mac, state: pair.state, delay_ms: null, armedBy: pair.armedBy });
    pair.armedBy = 0;
    pair.state = next;
    const delay_ms = this.#delay(next);
    if (delay_ms === null) return;
    pair.armedBy = event.seq;
    output.timers.push({ pair: pair.mac, state: next, delay_ms, armedBy: event.seq });
  }

  #delay(state: State): number | null {
    switch (state) {
      case 'attaching':
        return this.policy.attachLimit_ms;
      case 'switching':
        return this.policy.switchLimit_ms;
      case 'detaching':
      case 'departing':
        return this.policy.detachLimit_ms;
      case 'flapping':
        return this.policy.flapHold_ms;
      case 'notAttached':
        return this.policy.blockedRetry_ms;
      default:
        return null;
    }
  }

  #countLoss(pair: Pair, event: Foldable): void {
    const now_ms = Number(event.mono_ns) / 1e6;
    pair.losses = [...pair.losses.filter((at) => now_ms - at < this.policy.flapWindow_ms), now_ms].slice(-this.policy.flapLimit);
  }
}
