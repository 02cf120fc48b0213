// The invariants of DESIGN.md, each by its number, checked on what a simulated run does: at every act in the world, after
// every step, when the world has been left in peace, and on the whole log at the end.
import { isStillThere, type Act } from '../../src/adapters/simulated/effects.ts';
import { DEFAULT_PARAMETERS, LinuxKernel } from '../../src/adapters/simulated/linux-kernel.ts';
import type { Platform } from '../../src/adapters/platform.ts';
import type { Decision, Target } from '../../src/events/catalogue.ts';
import { type Divergence, Guest } from '../../src/machines/guest.ts';
import { BIT } from '../../src/machines/view.ts';
import type { Run } from './harness.ts';

export type Number = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

export interface Violation {
  readonly invariant: Number;
  readonly text: string;
  readonly at_ms: number;
  readonly seq: number;
}

/** How long the standby of a pair has been held without a primary. */
interface Hold {
  readonly since_ms: number;
  hadPrimary: boolean;
}

const VIOLATIONS_MAX = 20;
/** The bond that a takeover makes. */
const BOND = 'fo112233';

export class Invariants {
  readonly violations: Violation[] = [];
  readonly #run: Run;
  readonly #performed = new Map<string, number>();
  /** All that was ever passed on: an effect may take place when the process that began it is dead. */
  readonly #passedOn = new Set<string>();
  readonly #holds = new Map<string, Hold>();
  /** Pairs whose standby was seen with its link up: its grace time is over, whatever holds it again. */
  readonly #live = new Set<string>();
  /** Decisions that were carried out while the log could not be written. */
  readonly #unrecorded = new Set<string>();
  /** Acknowledged appends: what the log held when the last process died. */
  #acknowledged = 0;
  #crashSaid = false;
  /** The disk has lost something, and what was owed with it. */
  #isCut = false;
  /** Addresses that the guest had before everything was given back. */
  #addressesBefore = new Set<string>();
  #restoredAt = 0;
  readonly #outSince = new Map<string, number>();
  /** The longest time that a pair was without traffic although its standby worked. */
  longest_ms = 0;

  constructor(run: Run) {
    this.#run = run;
    run.world.acted = (act) => this.#acted(act);
  }

  #violated(invariant: Number, text: string): void {
    if (this.violations.length >= VIOLATIONS_MAX) return;
    const { clock, disk } = this.#run;
    this.violations.push({ invariant, text, at_ms: clock.now_ms, seq: disk.head });
  }

  /** The service said that something is wrong inside. */
  fault(text: string): void {
    this.#violated(2, text);
  }

  /** The platform, watched: what it is told to perform must be recorded before, and told once. */
  watch(platform: Platform): Platform {
    return {
      name: platform.name,
      sightings: platform.sightings,
      survey: (reason) => platform.survey(reason),
      perform: (decision, signal, ledger) => {
        this.#beforePerforming(decision);
        return platform.perform(decision, signal, ledger);
      },
      now: () => platform.now(),
      after: (delay_ms, act) => platform.after(delay_ms, act),
      bootId: () => platform.bootId(),
      close: () => platform.close(),
    };
  }

  #beforePerforming(decision: Decision): void {
    const { disk, service, policy } = this.#run;
    if (!disk.has(decision.id)) {
      if (service?.outage == null) this.#violated(1, `${decision.kind} (${decision.id}) is carried out before it is recorded`);
      else this.#unrecorded.add(decision.id);
    }
    if (decision.kind === 'releaseLink') this.#fitsBound(decision);
    const key = `${decision.id} ${decision.kind} ${decision.pair}`;
    const times = (this.#performed.get(key) ?? 0) + 1;
    this.#performed.set(key, times);
    this.#passedOn.add(key);
    if (times > 1) this.#violated(9, `${decision.kind} (${decision.id}) is carried out ${times} times`);
    if (!policy.pairs.some(({ mac }) => mac === decision.pair)) this.#violated(3, `${decision.pair} is not listed`);
  }

  /** Whether the fold itself knows that releasing the link would start a primary of another MTU. */
  #fitsBound({ pair: mac, id }: Decision): void {
    const pair = this.#run.service?.story.guest.pairs.get(mac);
    const { standby, primary } = pair?.roles ?? {};
    const starts = pair?.driverFacts?.hasVf === true && !pair.driverFacts.started;
    if (starts && standby && primary && standby.facts.mtu !== primary.facts.mtu) {
      this.#violated(4, `the link is to be released (${id}) with a bound primary of MTU ${primary.facts.mtu}`);
    }
  }

  /** Something is about to be done to the guest. */
  #acted({ decision, target, what }: Act): void {
    const { kernel } = this.#run.world;
    if (!this.#passedOn.has(`${decision.id} ${decision.kind} ${decision.pair}`)) {
      this.#violated(1, `${what} without a decision that was passed on (${decision.id})`);
    }
    const isPrimary = target !== null && target.ifindex === decision.primary?.ifindex;
    if (isPrimary && !isStillThere(target, kernel.adapters())) {
      this.#violated(5, `${what}: the primary ${target.pci} at ${target.ifindex} is not there any more`);
    }
    const owed = decision.kind === 'takeOver' ? 'takeover' : decision.kind === 'alignParameters' ? 'parameters' : null;
    if (owed !== null && !this.#run.disk.owes(decision.pair, owed) && !this.#isCut)
      this.#violated(7, `${what}: before it is recorded what was before (${decision.id})`);
    if (decision.kind === 'bindPrimary') this.#bindsOne(decision, target);
    if (decision.kind === 'releaseLink') this.#releasesInTime(decision);
  }

  #bindsOne(decision: Decision, target: Target | null): void {
    const { kernel } = this.#run.world;
    const adapters = kernel.adapters();
    const mine = adapters.find(({ ifindex }) => ifindex === target?.ifindex);
    if (mine === undefined) return;
    if (mine.bus === 'virtio' || target?.ifindex === decision.standby?.ifindex) {
      this.#violated(3, `the pair ${decision.pair} would be bound to itself`);
    }
    const isOurs = mine.mac === decision.pair || mine.permMac === decision.pair;
    if (!isOurs) this.#violated(3, `${mine.name} (${mine.mac}) is not of the pair ${decision.pair}`);
    const enslaved = adapters.find(
      ({ ifindex, master, permMac }) =>
        ifindex !== mine.ifindex &&
        ifindex !== decision.standby?.ifindex &&
        permMac === decision.pair &&
        master !== null &&
        master === decision.master?.ifindex,
    );
    const record = kernel.records().find(({ mac }) => mac === decision.pair);
    const bound = record?.hasVf === true && record.vfIfIndex !== mine.ifindex;
    if (enslaved !== undefined || bound) this.#violated(3, `a second primary would be bound to ${decision.pair}`);
  }

  #releasesInTime(decision: Decision): void {
    const { clock, policy, world, disk } = this.#run;
    const hold = this.#holds.get(decision.pair);
    // A call that could not be broken off and comes after its outcome is not the controller's act any more.
    if (disk.isConcluded(decision.id) || hold === undefined || hold.hadPrimary || !policy.expectPrimary) return;
    const isThere = world.kernel.adapters().some(({ bus, mac }) => bus === 'pci' && mac === decision.pair);
    const waited_ms = clock.now_ms - hold.since_ms;
    if (!isThere && waited_ms < policy.grace_ms) this.#violated(4, `the held link is released after ${waited_ms} ms`);
  }

  /** How long frames find no way at the moment, although the standby's would be one. */
  #measure(): void {
    const { world, service, clock, policy } = this.#run;
    const listed = (mac: string): boolean => policy.pairs.some((pair) => pair.mac === mac);
    for (const { mac, bits } of service?.story.guest.pairs.values() ?? []) {
      const truth = world.kernel.truth(mac);
      const isOut = listed(mac) && (bits & BIT.ours) !== 0 && truth.datapath === 'none' && truth.standbyWorks;
      const since_ms = this.#outSince.get(mac);
      if (!isOut) this.#outSince.delete(mac);
      else if (since_ms === undefined) this.#outSince.set(mac, clock.now_ms);
      if (since_ms !== undefined) this.longest_ms = Math.max(this.longest_ms, clock.now_ms - since_ms);
    }
  }

  /** The process is gone; what it had been told to be durable must be there when the next one starts. */
  died(): void {
    // What memory alone knew is forgotten with the process; the numbers are given again.
    for (const key of this.#performed.keys()) if (!this.#run.disk.has(key.split(' ')[0] ?? '')) this.#performed.delete(key);
    this.#unrecorded.clear();
    this.#acknowledged = Math.max(this.#acknowledged, this.#run.disk.head);
  }

  /** The disk has lost its end, or all of it: that is not the service's fault. */
  cut(): void {
    this.#isCut = true;
    this.#acknowledged = this.#run.disk.head;
    for (const key of this.#performed.keys()) if (!this.#run.disk.has(key.split(' ')[0] ?? '')) this.#performed.delete(key);
  }

  afterStep(): void {
    const { world, service, clock, disk } = this.#run;
    const crash = world.kernel.crashed();
    if (crash !== null && !this.#crashSaid) {
      this.#crashSaid = true;
      this.#violated(4, crash);
    }
    if (disk.head < this.#acknowledged) this.#violated(9, `the log lost events: ${disk.head} of ${this.#acknowledged}`);
    this.#measure();
    if (service === null) return;
    for (const { mac, bits } of service.story.guest.pairs.values()) {
      const held = (bits & BIT.held) !== 0;
      const primary = (bits & BIT.primary) !== 0;
      const hold = this.#holds.get(mac);
      if ((bits & BIT.standby) === 0) this.#live.delete(mac);
      else if (!held) this.#live.add(mac);
      if (!held || this.#live.has(mac)) this.#holds.delete(mac);
      else if (hold === undefined) this.#holds.set(mac, { since_ms: clock.now_ms, hadPrimary: primary });
      else hold.hadPrimary ||= primary;
    }
  }

  /** The world has been left in peace for long: the fold knows it, and traffic flows where it can. */
  atRest(): void {
    const { service } = this.#run;
    if (service === null) return this.#violated(9, 'no service is running');
    if (service.outage !== null) this.#violated(9, `the log is still thought to be out: ${service.outage}`);
    this.#knowsTheWorld();
    for (const pair of service.story.guest.pairs.values()) this.#flows(pair.mac);
  }

  #knowsTheWorld(): void {
    const { service, world } = this.#run;
    if (service === null) return;
    const { guest } = service.story;
    const differ = (what: string, folded: unknown, real: unknown): void => {
      const [mine, theirs] = [JSON.stringify(folded), JSON.stringify(real)];
      if (mine !== theirs) this.#violated(8, `${what} are folded as ${mine}, and are ${theirs}`);
    };
    const byIndex = [...guest.adapters.values()].map(({ facts }) => sorted(facts)).toSorted((a, b) => a.ifindex - b.ifindex);
    differ('adapters', byIndex, world.kernel.adapters().map(sorted));
    const folded = [...guest.pairs.values()].flatMap(({ driverFacts }) => (driverFacts === null ? [] : [driverFacts]));
    const byMac = <T extends { mac: string }>(records: readonly T[]): T[] =>
      [...new Map(records.toReversed().map((record) => [record.mac, record])).values()].toSorted((a, b) =>
        a.mac < b.mac ? -1 : 1,
      );
    const addresses = [...guest.adapters.values()]
      .toSorted((a, b) => a.facts.ifindex - b.facts.ifindex)
      .flatMap(({ facts, addresses: own }) => [...own].toSorted().map((address) => `${facts.ifindex} ${address}`));
    const real = world.kernel.addresses().map(({ ifindex, address }) => `${ifindex} ${address}`);
    differ('addresses', addresses.toSorted(), real.toSorted());
    differ('records of the driver', byMac(folded), byMac(world.kernel.records()));
  }

  #flows(mac: string): void {
    const { service, world, policy } = this.#run;
    const pair = service?.story.guest.pairs.get(mac);
    if (pair === undefined) return;
    const truth = world.kernel.truth(mac);
    const { datapath, standbyWorks, primaryWorks, wrong } = truth;
    const state = `${pair.configuration.leaf} ${pair.configuration.effects}`;
    if (pair.shown.datapath !== datapath)
      this.#violated(6, `${mac} is shown on ${pair.shown.datapath}, and is on ${datapath} (${state})`);
    const driven = pair.mode === 'netkvm' || pair.mode === 'bond';
    if (!pair.released) this.#isTakenOver(mac);
    if (pair.released) return;
    if (policy.effects !== 'on' || !driven || (pair.bits & BIT.ours) === 0) return;
    if (!policy.pairs.some((listed) => listed.mac === mac) || pair.roles.rival !== null) return;
    if (datapath === 'none' && (standbyWorks || primaryWorks))
      this.#violated(6, `${mac} has no traffic, although a path works (${state})`);
    else if (datapath !== 'primary' && primaryWorks)
      this.#violated(6, `${mac} stays on ${datapath}, although its primary works (${state})`);
    for (const text of wrong) this.#violated(6, `${mac}: ${text} (${state})`);
  }

  /** A takeover that is wanted and possible was made. */
  #isTakenOver(mac: string): void {
    const { service, policy, world } = this.#run;
    const pair = service?.story.guest.pairs.get(mac);
    const wanted = policy.effects === 'on' && policy.pairs.some((one) => one.mac === mac && one.mode === 'bond');
    const standby = pair?.roles.standby ?? null;
    if (!wanted || pair === undefined || standby === null || pair.roles.rival !== null) return;
    const ready = standby.facts.master === null && standby.facts.up && standby.facts.carrier && standby.addresses.size > 0;
    const isNamed = world.kernel.adapters().some(({ name }) => name === BOND);
    const hasGlobal = [...standby.addresses].some((address) => !address.startsWith('fe80'));
    if (ready && hasGlobal && !isNamed && pair.failures < policy.retryLimit)
      this.#violated(6, `${mac} is not taken over, although it could be (${pair.configuration.leaf}, ${pair.hindrance})`);
    const owes = pair.obligations.some(({ kind }) => kind === 'takeover');
    if (isNamed && !owes && !this.#isCut) this.#violated(7, `${mac}: the bond is there, and nobody knows what was before it`);
    if (pair.unfinished) this.#violated(6, `${mac} is still being taken over (${pair.hindrance})`);
  }

  /** Whether there is anything to give back. */
  somethingOwed(): boolean {
    const { service, world } = this.#run;
    this.#restoredAt = this.#run.disk.head;
    this.#addressesBefore = new Set(world.kernel.addresses().map(({ address }) => address));
    return (
      [...(service?.story.guest.pairs.values() ?? [])].some(({ obligations }) => obligations.length > 0) ||
      this.#traces().length > 0
    );
  }

  /** What the service has left in the guest, in words. */
  #traces(): string[] {
    const { kernel } = this.#run.world;
    if (!(kernel instanceof LinuxKernel)) return [];
    return [...kernel.links.values()].flatMap((link) => [
      ...(link.name === BOND ? [`the bond ${link.name} is still there`] : []),
      ...(link.parameters === DEFAULT_PARAMETERS ? [] : [`${link.name} still has other parameters: ${link.parameters}`]),
    ]);
  }

  /** Everything was to be given back, and there was time; a bond waits for its standby. */
  givenBack(): void {
    const { service, world } = this.#run;
    if (this.#isCut || service === null) return;
    if (!world.kernel.adapters().some(({ bus }) => bus === 'virtio')) return;
    for (const { mac, obligations, hindrance } of service.story.guest.pairs.values())
      for (const { id } of obligations) this.#violated(7, `${mac}: ${id} is still owed (${hindrance})`);
    for (const trace of this.#traces()) this.#violated(7, trace);
    const left = new Set(world.kernel.addresses().map(({ address }) => address));
    // Where the NIC is gone that was taken over, there is nothing that its addresses could go back to.
    const isOnStandby = this.#run.disk
      .all()
      .some(
        (event) =>
          event.seq > this.#restoredAt &&
          event.type === 'obligation.closed' &&
          event.data.how === 'givenBack' &&
          event.data.id.endsWith('.takeover'),
      );
    for (const address of this.#addressesBefore)
      if (isOnStandby && !left.has(address)) this.#violated(7, `the address ${address} was lost`);
  }

  /** The service has ended: the log is judged as a whole. */
  atEnd(): void {
    const { disk, coverage } = this.#run;
    const events = disk.all();
    const outcomes = new Map<string, number>();
    const decisions = new Set<string>();
    const guest = new Guest(coverage?.chart);
    let divergence: Divergence | null = null;
    for (const event of events) {
      if (event.type === 'decision.made') decisions.add(event.data.id);
      if (event.type === 'outcome.seen') outcomes.set(event.data.decision, (outcomes.get(event.data.decision) ?? 0) + 1);
      if (event.type === 'decision.made') coverage?.add('decision', event.data.kind);
      divergence ??= guest.apply(event).divergence;
    }
    if (divergence !== null) {
      this.#violated(2, `replay differs at ${divergence.seq}: expected ${divergence.expected}, recorded ${divergence.recorded}`);
    }
    this.#sameSnapshot(guest);
    const open = new Set([...guest.pairs.values()].map(({ pending }) => pending?.id));
    for (const id of decisions) {
      const count = outcomes.get(id) ?? 0;
      if (count > 1) this.#violated(1, `decision ${id} has ${count} outcomes`);
      if (count === 0 && !open.has(id)) this.#violated(1, `decision ${id} has no outcome, and is not under way`);
    }
    for (const id of outcomes.keys()) if (!decisions.has(id)) this.#violated(1, `outcome of ${id}, which nobody decided`);
    for (const id of this.#unrecorded) {
      if (!decisions.has(id) && !events.some(({ type, data }) => type === 'log.outage' && (data as { lost: number }).lost > 0)) {
        this.#violated(1, `${id} was carried out in an outage and never recorded`);
      }
    }
  }

  #sameSnapshot(guest: Guest): void {
    const { service } = this.#run;
    if (service === null) return;
    const [live, again] = [JSON.stringify(service.story.guest.snapshot()), JSON.stringify(guest.snapshot())];
    if (live === again) return;
    let at = 0;
    while (live[at] === again[at]) at += 1;
    this.#violated(
      2,
      `folding the log gives another state: …${again.slice(Math.max(0, at - 60), at + 60)}… instead of …${live.slice(Math.max(0, at - 60), at + 60)}…`,
    );
  }
}

const sorted = <T extends object>(item: T): T =>
  Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1))) as T;
