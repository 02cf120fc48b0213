// The fold of the hypervisor's side: one `HostedPair` for every guest that the policy names. The guest's fold (guest.ts) owns
// it and hands it the events that are its own, so that both sides have one log, one replay and one way of deciding.
import { type Decision, type EventData, HOST_KINDS, type Policy } from '../events/catalogue.ts';
import { type VmPolicy } from '../events/hosting.ts';
import type { Foldable } from '../events/envelope.ts';
import { type HostedPair, type Monitor, newHosted } from './hosted-pair.ts';
import { becauseOf, DATAPATH, decide, hasMoved, hear, remember } from './hosted-words.ts';
import { isMigrating, isOwedBack, isPluggedIntoPort, lookAtHosted, SENDING, wordFor } from './hosted-view.ts';
import { HOST_BIT, type HostDelay, hostConfigurationOf, hostDelayOf, reactHost } from './migration.ts';
import type { Growing } from './step.ts';

const UNDONE = new Set(['cancelled', 'failed']);
const DELAYS: Readonly<Record<HostDelay, (vm: VmPolicy | null, policy: Policy) => number>> = {
  unplugLimit: (vm) => vm?.unplugLimit_ms ?? 30_000,
  prepareLimit: (vm) => vm?.prepareLimit_ms ?? 5000,
  returnLimit: (vm) => vm?.returnLimit_ms ?? 10_000,
  retryDelay: (_, { retryDelay_ms }) => retryDelay_ms,
  blockedRetry: (_, { blockedRetry_ms }) => blockedRetry_ms,
};

const isHostKind = (kind: string): boolean => (HOST_KINDS as readonly string[]).includes(kind);
const MAX_ROUNDS = 24;
/** An order's pair says more than its numbers: what a checkpoint need not hold because it is derived. */
const DERIVED = ['mode', 'shown', 'vm', 'configuration', 'timers'] as const;
type Kept = Omit<HostedPair, (typeof DERIVED)[number]>;
export type HostedSnapshot = readonly (Kept & {
  readonly configuration: string;
  readonly timers: readonly (readonly [string, number])[];
})[];

export class Hosted {
  readonly pairs = new Map<string, HostedPair>();
  /** Decisions of this side that the log has not confirmed yet. */
  readonly unconfirmed: Decision[] = [];

  /** Whether an event is this side's alone. */
  owns({ type, data }: Foldable): boolean {
    switch (type) {
      case 'monitor.facts':
      case 'monitor.event':
      case 'port.facts':
      case 'channel.facts':
        return true;
      case 'decision.made':
        return isHostKind(data.kind) || this.pairs.has(data.pair);
      case 'channel.heard':
      case 'timer.elapsed':
      case 'outcome.seen':
      case 'obligation.opened':
      case 'obligation.closed':
        return this.pairs.has(data.pair);
      default:
        return false;
    }
  }

  /** Whether an event that is everybody's concerns this side, too. */
  concerns({ type, data }: Foldable): boolean {
    if (type === 'configuration.applied' && data.policy.vms !== undefined) return true;
    return (
      this.pairs.size > 0 && (type === 'configuration.applied' || type === 'service.started' || type === 'operator.commanded')
    );
  }

  /** Folds an event that `owns` or `concerns` says is ours. */
  apply(event: Foldable, policy: Policy, bootId: string | null, step: Growing): void {
    this.#miss(event, step);
    const touched = this.#take(event, policy, step);
    step.hosted = touched;
    for (const pair of touched) {
      const before = pair.episode;
      this.#settle(pair, event, policy, bootId, step);
      step.episode ??= before ?? pair.episode;
    }
  }

  #take(event: Foldable, policy: Policy, step: Growing): HostedPair[] {
    switch (event.type) {
      case 'configuration.applied':
        return this.#configure(policy);
      case 'service.started':
        return this.#begin(event.seq, policy, step);
      case 'operator.commanded':
        return this.#obey(event.data, event.seq);
      case 'decision.made':
        this.#confirm(event.data, event.seq, step);
        return [];
      case 'monitor.facts':
      case 'monitor.event':
      case 'port.facts':
      case 'channel.facts':
      case 'channel.heard':
      case 'timer.elapsed':
      case 'outcome.seen':
      case 'obligation.opened':
      case 'obligation.closed': {
        const pair = this.pairs.get(event.data.pair);
        if (pair === undefined || this.#learn(pair, event, policy, step) === false) return [];
        return [pair];
      }
      default:
        return [];
    }
  }

  /** What one event says of a pair; false where it says nothing. */
  #learn(pair: HostedPair, event: Foldable, policy: Policy, step: Growing): boolean | void {
    switch (event.type) {
      case 'monitor.facts':
        return this.#see(pair, withoutPair(event.data));
      case 'monitor.event':
        return hear(pair, event.data);
      case 'port.facts':
        pair.port = withoutPair(event.data);
        // Nobody says so, but the bridge has moved the entry to where the guest transmits.
        if (pair.guest === null && isPluggedIntoPort(pair) && pair.port.vf?.mac === pair.mac) pair.returning = false;
        return;
      case 'channel.facts':
        pair.guest = event.data.guest;
        if (hasMoved(pair)) pair.answer = 'prepared';
        if (pair.guest?.primary === pair.mac && (!isPluggedIntoPort(pair) || pair.guest.datapath === 'primary'))
          pair.returning = false;
        return;
      case 'channel.heard':
        if (event.data.episode !== pair.told?.episode) return false;
        if (event.data.word === 'prepared' || event.data.word === 'refused') pair.answer = event.data.word;
        return;
      case 'timer.elapsed':
        return this.#elapse(pair, event.data, event.seq, policy, step);
      case 'outcome.seen':
        return this.#conclude(pair, event.data, event.seq, policy, step);
      case 'obligation.opened':
        if (!pair.obligations.some(({ id }) => id === event.data.id)) pair.obligations = [...pair.obligations, event.data];
        return;
      case 'obligation.closed':
        pair.obligations = pair.obligations.filter(({ id }) => id !== event.data.id);
        return;
      default:
        return;
    }
  }

  /** QEMU's own state. That a primary is really gone follows from the migration's status, or from the device itself. */
  #see(pair: HostedPair, facts: Monitor): void {
    const before = pair.monitor;
    pair.monitor = facts;
    const { connected, migration, primary, failover, incoming } = facts;
    if (!connected || incoming) {
      Object.assign(pair, { hidden: false, asked: false, refused: false, returning: false, order: null, cancelOrdered: false });
      return;
    }
    if (primary && before !== null && before.connected && !before.primary && !SENDING.has(migration)) {
      Object.assign(pair, { hidden: false, asked: false, refused: false, returning: isPluggedIntoPort(pair) });
    }
    if (before?.connected === true && before.primary && !primary) Object.assign(pair, { hidden: true, asked: false });
    if (SENDING.has(migration)) pair.reserved = false;
    if (SENDING.has(migration) && (failover || !primary)) Object.assign(pair, { hidden: true, asked: false, refused: false });
    if (migration === 'wait-unplug') pair.asked = true;
    if (migration !== before?.migration && UNDONE.has(migration)) this.#undo(pair, failover);
    if (migration === 'completed') Object.assign(pair, { order: null, cancelOrdered: false });
  }

  /** A migration was cancelled, or failed: QEMU has plugged a primary again that it had hidden. */
  #undo(pair: HostedPair, failover: boolean): void {
    if (failover) Object.assign(pair, { returning: pair.hidden || pair.asked, hidden: false });
    Object.assign(pair, { asked: false, refused: false, order: null, cancelOrdered: false });
  }

  #configure(policy: Policy): HostedPair[] {
    const named = new Map((policy.vms ?? []).map((vm) => [vm.mac, vm]));
    for (const pair of this.pairs.values()) pair.vm = named.get(pair.mac) ?? null;
    for (const [mac, vm] of named) if (!this.pairs.has(mac)) this.pairs.set(mac, newHosted(vm));
    return [...this.pairs.values()];
  }

  /** Timers are armed anew. */
  #begin(seq: number, policy: Policy, step: Growing): HostedPair[] {
    for (const pair of this.pairs.values()) {
      for (const timer of pair.timers.keys()) this.#arm(pair, timer, hostDelayOf(timer), seq, policy, step);
    }
    return [...this.pairs.values()];
  }

  #obey({ command, pair: mac, episode, uri }: EventData<'operator.commanded'>, seq: number): HostedPair[] {
    const meant = [...this.pairs.values()].filter((pair) => mac === null || pair.mac === mac);
    for (const pair of meant) {
      switch (command) {
        case 'prepare':
        case 'migrate':
          pair.order = { episode: episode ?? `e${seq}`, uri: uri ?? null, started: false };
          if (pair.joined !== pair.order.episode) pair.answer = null;
          pair.joined = pair.order.episode;
          break;
        case 'reserve':
          Object.assign(pair, { reserved: true, released: false, joined: episode ?? pair.joined });
          break;
        case 'cancel':
          pair.cancelOrdered = isMigrating(pair);
          // It transmits on its standby, and has to move back first.
          if (pair.order !== null && pair.answer === 'prepared' && isPluggedIntoPort(pair)) pair.returning = true;
          pair.order = null;
          break;
        case 'restore':
        case 'reload':
          Object.assign(pair, { released: command === 'restore', reserved: false, attempts: 0 });
          break;
        case 'survey':
        case 'setParameter':
        case 'restartDevice':
          break;
      }
    }
    return meant;
  }

  #elapse(
    pair: HostedPair,
    { timer, armedBy }: { timer: string; armedBy: number },
    seq: number,
    policy: Policy,
    step: Growing,
  ): boolean {
    if (pair.timers.get(timer) !== armedBy) return false;
    pair.timers.delete(timer);
    this.#react(pair, timer, seq, policy, step);
    return true;
  }

  #conclude(
    pair: HostedPair,
    { decision, result, reason }: EventData<'outcome.seen'>,
    seq: number,
    policy: Policy,
    step: Growing,
  ): boolean {
    const { pending } = pair;
    if (pending?.id !== decision) return false;
    const overtaken = pair.attempts === 0;
    pair.pending = null;
    pair.hindrance = result === 'succeeded' ? null : `${pending.kind} ${result}: ${reason ?? 'no reason given'}`;
    if (result === 'succeeded') remember(pair, pending);
    // What cannot be begun is over: nothing of it is tried again behind the operator's back.
    else if (pending.kind === 'startMigration' && result !== 'void') pair.order = null;
    else if (pending.kind === 'cancelMigration') pair.cancelOrdered = false;
    // A void decision is latched in a dry run only; after a crash it is decided anew.
    const latched = result === 'void' && !overtaken && policy.effects !== 'dryRun' ? 'failed' : result;
    this.#react(pair, `outcome.${latched}`, seq, policy, step);
    if (overtaken) this.#react(pair, 'facts', seq, policy, step);
    return true;
  }

  /** What the log should have recorded by now, and has not. */
  #miss(event: Foldable, step: Growing): void {
    if (event.type === 'decision.made' || this.unconfirmed.length === 0) return;
    const [missing] = this.unconfirmed.splice(0);
    step.divergence = { seq: event.seq, expected: JSON.stringify(missing), recorded: event.type };
  }

  #confirm(recorded: Decision, seq: number, step: Growing): void {
    const expected = this.unconfirmed.shift();
    const [mine, theirs] = [JSON.stringify(expected ?? null), JSON.stringify(recorded)];
    if (mine !== theirs) step.divergence = { seq, expected: mine, recorded: theirs };
  }

  // The chart.

  #arm(pair: HostedPair, timer: string, delay: HostDelay, seq: number, policy: Policy, step: Growing): void {
    pair.timers.set(timer, seq);
    step.timers.push({ op: 'arm', pair: pair.mac, timer, delay_ms: DELAYS[delay](pair.vm, policy), armedBy: seq });
  }

  #react(pair: HostedPair, name: string, seq: number, policy: Policy, step: Growing): void {
    const from = pair.configuration;
    const { to, requests } = reactHost(from, name, pair.bits);
    pair.configuration = to;
    if (from.leaf !== to.leaf) pair.attempts = 0;
    for (const request of requests) {
      switch (request.op) {
        case 'arm':
          this.#arm(pair, request.timer, request.delay, seq, policy, step);
          break;
        case 'cancel':
          if (pair.timers.delete(request.timer)) step.timers.push({ op: 'cancel', pair: pair.mac, timer: request.timer });
          break;
        case 'decide': {
          const decision = decide(pair, request.kind, `d${seq}.${step.decisions.length}`);
          pair.pending = decision;
          pair.attempts += 1;
          step.decisions.push(decision);
          this.unconfirmed.push(decision);
          break;
        }
        case 'goOn':
          pair.answer = 'none';
          break;
        case 'assumeBack':
          pair.returning = false;
          break;
        case 'forgetAttempts':
          pair.attempts = 0;
          break;
      }
    }
  }

  /** Shows the chart the facts until it has nothing more to say, and notes what changed. */
  #settle(pair: HostedPair, { seq }: Foldable, policy: Policy, bootId: string | null, step: Growing): void {
    const { stage, datapath, because } = pair.shown;
    // What we unplugged ourselves, and nobody needs away any more, comes back: it is not parked again.
    if (pair.hidden && isOwedBack(pair)) pair.hidden = false;
    const leaving = pair.order !== null || pair.asked || isMigrating(pair);
    if (leaving || pair.reserved) pair.episode ??= `e${seq}`;
    // A migration that nobody announced gets a name that no other log has.
    if (leaving) pair.joined ??= `${(bootId ?? '').slice(0, 8)}-${seq}`;
    let bits = lookAtHosted(pair, policy);
    if (((bits ^ pair.bits) & ~HOST_BIT.exhausted) !== 0) pair.attempts = 0;
    for (let round = 0; ; round += 1) {
      if (round === MAX_ROUNDS) throw new Error(`the chart of ${pair.mac} does not come to rest (event ${seq})`);
      bits = lookAtHosted(pair, policy);
      if (bits !== pair.bits) {
        pair.bits = bits;
        this.#react(pair, 'facts', seq, policy, step);
      } else if (pair.configuration.effects === 'free') {
        const { configuration } = pair;
        this.#react(pair, 'act', seq, policy, step);
        if (pair.configuration === configuration) break;
      } else break;
    }
    pair.shown.stage = pair.configuration.stage;
    pair.shown.datapath = DATAPATH[pair.shown.stage];
    pair.shown.because = becauseOf(pair);
    const { shown } = pair;
    if (shown.stage !== stage || shown.datapath !== datapath || shown.because !== because)
      step.changes.push({ pair, before: { stage, datapath, because } });
    this.#rest(pair, leaving);
  }

  /** It is over when the primary is back, or the guest is elsewhere, and nothing is left to be said or done. */
  #rest(pair: HostedPair, leaving: boolean): void {
    const { stage } = pair.shown;
    const isTold = pair.guest === null || wordFor(pair) === null || wordFor(pair) === pair.told?.word;
    if (stage === 'present' && (pair.vm?.channel === undefined || pair.told?.word === 'arriving')) pair.reserved = false;
    const resting = stage === 'present' || stage === 'absent' || stage === 'unwatched' || stage === 'departed';
    if (!resting || leaving || pair.reserved || !isTold || pair.pending !== null) return;
    Object.assign(pair, { episode: null, joined: null, told: null, answer: null });
  }

  // Checkpoints.

  snapshot(): HostedSnapshot {
    return [...this.pairs.values()].map(({ mode: _m, shown: _s, vm: _v, configuration, timers, ...kept }) => ({
      ...kept,
      configuration: configuration.value,
      timers: [...timers],
    }));
  }

  restore(snapshot: HostedSnapshot, policy: Policy): void {
    this.#configure(policy);
    for (const { configuration, timers, ...kept } of snapshot) {
      const pair = this.pairs.get(kept.mac) ?? newHosted({ mac: kept.mac, qmp: '', standby: '', primary: '' });
      if (!this.pairs.has(kept.mac)) pair.vm = null;
      Object.assign(pair, kept, { configuration: hostConfigurationOf(configuration) });
      for (const [timer, armedBy] of timers) pair.timers.set(timer, armedBy);
      pair.shown.stage = pair.configuration.stage;
      pair.shown.datapath = DATAPATH[pair.shown.stage];
      pair.shown.because = becauseOf(pair);
      this.pairs.set(kept.mac, pair);
    }
  }
}

const withoutPair = <T extends { readonly pair: string }>({ pair: _pair, ...facts }: T): Omit<T, 'pair'> => facts;
