// The fold: a guest is the set of its pairs, and every event goes through `apply`, live and in replay alike.
//
// `apply` is a function of the state and the event alone (no clock, no random, no I/O). The state is updated in place,
// because one owner folds it and a copy per event would cost more than the fold; `snapshot` gives a copy for a
// checkpoint. What a step asks for (decisions, timers) is returned, never executed.
import type { Decision, EventData, Policy } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import { type DelayName, delayOf, react, type TimerId } from './chart-table.ts';
import { changesItsOwnFacts, heardAs, learn } from './duties.ts';
import { becauseOf, decide, isOvertaken, lookAgain, lookAt, MAY_DECIDE } from './pair.ts';
import type { PairState } from './pair-state.ts';
import type { Growing, Step } from './step.ts';
import type { HostedPair } from './hosted-pair.ts';
import { Hosted } from './hosted.ts';
import { Inventory } from './inventory.ts';
import { defaultPolicy } from './policy.ts';
import { type Arrived, identityOf, isSame } from './roles.ts';
import { type GuestSnapshot, restoreInto, snapshotOf } from './snapshot.ts';
import { BIT } from './view.ts';

/** Raised whenever the same log could fold to other decisions than before; written into `service.started`. */
export const MACHINE_VERSION = 7;

const NOTHING: Step = Object.freeze({
  touched: [],
  hosted: [],
  changes: [],
  decisions: [],
  timers: [],
  episode: null,
  divergence: null,
});

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
  readonly inventory = new Inventory();
  readonly adapters: ReadonlyMap<number, Arrived> = this.inventory.adapters;
  readonly pairs: ReadonlyMap<string, PairState> = this.inventory.pairs;
  policy: Policy = defaultPolicy;
  bootId: string | null = null;
  /** Decisions that this fold has made and that the log has not confirmed yet. */
  readonly unconfirmed: Decision[] = [];
  /** The pairs of other machines, on a hypervisor. */
  readonly hosted = new Hosted();
  readonly #chart: typeof react;

  /** `chart` is the look-up table, or xstate itself (askChart) where a test wants the oracle. */
  constructor(chart: typeof react = react) {
    this.#chart = chart;
  }

  /** Folds one event. Events come in the order of their sequence numbers, each exactly once. */
  apply(event: Foldable): Step {
    const step: Growing = { ...NOTHING, changes: [], decisions: [], timers: [] };
    if (this.hosted.owns(event)) {
      this.hosted.apply(event, this.policy, this.bootId, step);
      return step;
    }
    if (event.type !== 'decision.made' && this.unconfirmed.length > 0) {
      const [missing] = this.unconfirmed.splice(0);
      step.divergence = { seq: event.seq, expected: JSON.stringify(missing), recorded: event.type };
    }
    const touched = this.#take(event, step);
    if (this.hosted.concerns(event)) this.hosted.apply(event, this.policy, this.bootId, step);
    else if (touched === null || touched.length === 0) return step.divergence === null ? NOTHING : step;
    step.touched = touched ?? [];
    for (const pair of step.touched) {
      const before = pair.episode;
      this.#settle(pair, event, step);
      step.episode ??= before ?? pair.episode;
    }
    return step;
  }

  /** Takes the facts out of an event; returns the pairs whose facts may have changed, null when no pair is concerned. */
  #take(event: Foldable, step: Growing): readonly PairState[] | null {
    const { inventory } = this;
    switch (event.type) {
      case 'adapter.changed': {
        const known = this.adapters.get(event.data.ifindex);
        return known === undefined ? null : inventory.changeAdapter(known, event.data.changed);
      }
      case 'adapter.appeared':
        return inventory.addAdapter(event.data, event.seq);
      case 'adapter.gone':
        return inventory.removeAdapter(event.data.ifindex);
      case 'survey.taken':
        return inventory.survey(event.data, event.seq);
      case 'pci.added':
        inventory.functions.set(event.data.address, event.data);
        return null;
      case 'pci.bound':
        inventory.setPciDriver(event.data.address, event.data.driver);
        return null;
      case 'pci.unbound':
        inventory.setPciDriver(event.data.address, null);
        return null;
      case 'pci.removed':
        inventory.functions.delete(event.data.address);
        return inventory.forgetSign(event.data.address);
      case 'driver.facts':
        return inventory.takeDriverFacts(event.data.mac, event.data);
      case 'driver.gone':
        return inventory.takeDriverFacts(event.data.mac, null);
      case 'protocol.installed':
      case 'protocol.removed':
        return inventory.setProtocol(event.data.name, event.type === 'protocol.installed');
      case 'controller.seen':
        return inventory.setController(event.data);
      case 'departure.signalled':
        return inventory.signal(event.data.address);
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
      case 'obligation.opened':
        return inventory.open(event.data);
      case 'obligation.closed':
        return inventory.close(event.data);
      case 'address.added':
      case 'address.removed':
        return inventory.address(event.data, event.type === 'address.added');
      case 'operator.commanded':
        return this.#obey(event.data);
      // A primary that is said to come does not leave. That it leaves is an order, and follows.
      case 'channel.heard':
        return event.data.word === 'arriving' ? inventory.stay(event.data.pair) : null;
      // The hypervisor's side has its own fold.
      case 'monitor.facts':
      case 'monitor.event':
      case 'port.facts':
      case 'channel.facts':
      case 'counters.sampled':
      case 'announce.seen':
      case 'gap.seen':
      case 'clock.jumped':
      case 'service.stopped':
      case 'log.outage':
        return null;
    }
  }

  // The service's own life, its decisions and its timers.

  #configure(policy: Policy): PairState[] {
    this.policy = policy;
    return this.inventory.list(policy.pairs);
  }

  #obey({ command, pair }: EventData<'operator.commanded'>): PairState[] | null {
    switch (command) {
      case 'prepare':
        return this.inventory.prepare(pair);
      case 'restore':
        return this.inventory.release(pair, true);
      case 'reload':
        return this.inventory.release(pair, false);
      case 'survey':
      case 'reserve':
      case 'migrate':
      case 'cancel':
      case 'setParameter':
      case 'restartDevice':
        return null;
    }
  }

  /** Whether the log has every decision that this fold has made. */
  get isConfirmed(): boolean {
    return this.unconfirmed.length + this.hosted.unconfirmed.length === 0;
  }

  /** The pair with this MAC, of this guest or of the hypervisor's side. */
  stateOf(mac: string): PairState | HostedPair | undefined {
    return this.pairs.get(mac) ?? this.hosted.pairs.get(mac);
  }

  /** After a reboot nothing that was known holds; after a restart timers are armed anew. */
  #begin(event: Extract<Foldable, { type: 'service.started' }>, step: Growing): PairState[] {
    const { bootId, platform } = event.data;
    if (this.bootId !== null && this.bootId !== bootId) {
      this.inventory.forget();
    }
    this.bootId = bootId;
    this.inventory.byCurrentMac = platform === 'windows';
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
    { pair: mac, decision, result, reason }: EventData<'outcome.seen'>,
    event: Foldable,
    step: Growing,
  ): PairState[] | null {
    const pair = this.pairs.get(mac);
    const { pending } = pair ?? {};
    if (pair === undefined || pending?.id !== decision) return null;
    // Facts that came after the decision are news for what has just been refused.
    const overtaken = isOvertaken(pair) && !changesItsOwnFacts(pending.kind);
    pair.pending = null;
    learn(pair, pending, result, reason, this.policy);
    // A void decision is latched in a dry run only; after a crash it is decided anew.
    const latched = result === 'void' && !overtaken && this.policy.effects !== 'dryRun' ? 'failed' : result;
    const { leaf } = pair.configuration;
    this.#react(pair, `outcome.${heardAs(pair, pending, latched, this.policy)}`, event, step);
    if (overtaken || pair.configuration.leaf !== leaf) this.#react(pair, 'facts', event, step);
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
          const decision = decide(pair, request.kind, this.policy, event.seq, step.decisions.length);
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
        case 'forgetPause':
          pair.paused = false;
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
    let bits = lookAt(pair, this.policy, this.inventory);
    if (this.#isAnother(pair, event)) this.#renew(pair, event, step);
    if (((bits ^ pair.bits) & ~BIT.exhausted) !== 0) {
      pair.attempts = 0;
      bits = lookAgain(bits, pair, this.policy);
    }
    for (let round = 0; ; round += 1) {
      if (round === MAX_ROUNDS) throw new Error(`the chart of ${pair.mac} does not come to rest (event ${event.seq})`);
      if (bits !== pair.bits) {
        pair.bits = bits;
        this.#react(pair, 'facts', event, step);
      } else if (pair.configuration.effects === 'free' && (bits & MAY_DECIDE) !== 0) {
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

  /** The standby is not the one that the chart was shown, or the driver's record of it has come only now. */
  #isAnother({ roles: { standby }, shownStandby, renewedAt_ns }: PairState, { type, mono_ns }: Foldable): boolean {
    return standby !== null && (!isSame(standby, shownStandby) || (type === 'driver.facts' && mono_ns === renewedAt_ns));
  }

  /** Another standby may come in the very look in which the last one is missed: whatever the pair waits for begins anew. */
  #renew(pair: PairState, event: Foldable, step: Growing): void {
    const isFirst = pair.shownStandby === null;
    pair.shownStandby = identityOf(pair.roles.standby);
    if (isFirst) return;
    pair.renewedAt_ns = event.mono_ns;
    // As if everything were gone: what there is is shown next.
    pair.bits = 0;
    this.#react(pair, 'facts', event, step);
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
    const { hosted } = this;
    const snapshot = snapshotOf(this.inventory, this.policy, this.bootId);
    return hosted.pairs.size === 0 ? snapshot : { ...snapshot, hosted: hosted.snapshot() };
  }

  /** Takes over a snapshot; only a fresh fold may. */
  restore(snapshot: GuestSnapshot): void {
    this.bootId = snapshot.bootId;
    this.policy = snapshot.policy;
    restoreInto(this.inventory, snapshot);
    if (snapshot.hosted !== undefined) this.hosted.restore(snapshot.hosted, snapshot.policy);
  }

  #check(state: unknown, seq: number, step: Growing): void {
    if (this.adapters.size === 0 && this.pairs.size === 0 && this.hosted.pairs.size === 0) {
      this.restore(state as GuestSnapshot);
      return;
    }
    const mine = JSON.stringify(this.snapshot());
    if (mine === JSON.stringify(state)) return;
    // A checkpoint of an older machine lacks what was added since; read as it would be now, it must be the same.
    const read = new Guest();
    read.restore(state as GuestSnapshot);
    const theirs = JSON.stringify(read.snapshot());
    if (mine !== theirs) step.divergence = { seq, expected: mine, recorded: JSON.stringify(state) };
  }
}
