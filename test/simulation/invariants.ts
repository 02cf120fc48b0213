// The nine invariants (docs/simulation.md), each by its number, checked on what a simulated run does: at every act in the
// world, after every step, when the world has been left in peace, and on the whole log at the end.
import { type Act, isStillThere } from '../../src/adapters/simulated/act.ts';
import { DEFAULT_PARAMETERS } from '../../src/adapters/simulated/link.ts';
import { LinuxKernel } from '../../src/adapters/simulated/linux-kernel.ts';
import type { WindowsKernel } from '../../src/adapters/simulated/windows-kernel.ts';
import type { SimulatedClock } from '../../src/adapters/simulated/clock.ts';
import type { World } from '../../src/adapters/simulated/world.ts';
import type { Platform } from '../../src/adapters/platform.ts';
import type { Decision, ObligationKind, Policy, Target } from '../../src/events/catalogue.ts';
import type { Service } from '../../src/host/service.ts';
import { Guest } from '../../src/machines/guest.ts';
import type { PairState } from '../../src/machines/pair-state.ts';
import type { Divergence } from '../../src/machines/step.ts';
import { BIT } from '../../src/machines/view.ts';
import { BOND, type InvariantNumber, wrongAtRest } from './at-rest.ts';
import type { Coverage } from './coverage.ts';
import type { SimulatedDisk } from './memory-log.ts';

export interface Violation {
  readonly invariant: InvariantNumber;
  readonly text: string;
  readonly at_ms: number;
  readonly seq: number;
}

/** The run that is watched. */
interface Watched {
  readonly clock: SimulatedClock;
  readonly world: World;
  readonly disk: SimulatedDisk;
  readonly policy: Policy;
  readonly service: Service | null;
  readonly coverage: Coverage | undefined;
}

/** How long the standby of a pair has been held without a primary. */
interface Hold {
  readonly since_ms: number;
  readonly ifindex: number | null;
  hadPrimary: boolean;
}

const VIOLATIONS_MAX = 20;
/** What an effect changes only when it is written down what was there. */
const OWED: Readonly<Record<string, ObligationKind>> = {
  'bond takeOver': 'takeover',
  'bond alignParameters': 'parameters',
  'kernel alignParameters': 'parameters',
  'bond tuneStandby': 'parameters',
  'kernel tuneStandby': 'parameters',
  'netkvm alignParameters': 'driverParameters',
  'netkvm bindPrimary': 'bindings',
  'netkvm unbindPrimary': 'bindings',
};

export class Invariants {
  readonly violations: Violation[] = [];
  readonly #run: Watched;
  readonly #performed = new Map<string, number>();
  /** All that was ever passed on: an effect may take place when the process that began it is dead. */
  readonly #passedOn = new Set<string>();
  readonly #holds = new Map<string, Hold>();
  /** Pairs whose standby (this one) was seen with its link up: its grace time is over, whatever holds it again. */
  readonly #live = new Map<string, number | null>();
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

  constructor(run: Watched) {
    this.#run = run;
    run.world.acted = (act) => this.#acted(act);
  }

  #violated(invariant: InvariantNumber, text: string): void {
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
    const owed = OWED[`${decision.mode} ${decision.kind}`] ?? null;
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
    // Given back, a pair is nobody's to keep on a path.
    if (this.#restoredAt > 0) return;
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
    // That a primary was there since the standby waited its time is among what may be lost: the log says that it is over.
    for (const hold of this.#holds.values()) hold.hadPrimary = true;
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
    for (const pair of service.story.guest.pairs.values()) this.#noteHold(pair, clock.now_ms);
  }

  #noteHold({ mac, bits, roles }: PairState, now_ms: number): void {
    const held = (bits & BIT.held) !== 0;
    const hadPrimary = (bits & BIT.primary) !== 0;
    const ifindex = roles.standby?.facts.ifindex ?? null;
    const hold = this.#holds.get(mac);
    if ((bits & BIT.standby) === 0 || this.#live.get(mac) !== ifindex) this.#live.delete(mac);
    if ((bits & BIT.standby) !== 0 && !held) this.#live.set(mac, ifindex);
    if (!held || this.#live.has(mac)) this.#holds.delete(mac);
    else if (hold?.ifindex === ifindex) hold.hadPrimary ||= hadPrimary;
    else this.#holds.set(mac, { since_ms: now_ms, ifindex, hadPrimary });
  }

  /** The world has been left in peace for long: the fold knows it, and traffic flows where it can. */
  atRest(): void {
    const { service, world, policy } = this.#run;
    if (service === null) return this.#violated(9, 'no service is running');
    if (service.outage !== null) this.#violated(9, `the log is still thought to be out: ${service.outage}`);
    for (const [invariant, text] of wrongAtRest({ service, world, policy }, this.#isCut)) this.#violated(invariant, text);
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
    if (!(kernel instanceof LinuxKernel)) return this.#bindings(kernel);
    return [...kernel.links.values()].flatMap((link) => [
      ...(link.name === BOND ? [`the bond ${link.name} is still there`] : []),
      ...(link.parameters === DEFAULT_PARAMETERS ? [] : [`${link.name} still has other parameters: ${link.parameters}`]),
    ]);
  }

  /** Adapters whose bindings are not those that the administrator gave them, where they are owed to nobody who waits. */
  #bindings(kernel: WindowsKernel): string[] {
    const pairs = [...(this.#run.service?.story.guest.pairs.values() ?? [])];
    const waiting = new Set(pairs.flatMap(({ obligations }) => obligations.map(({ device }) => device?.device)));
    const own = kernel.administrators();
    return kernel
      .adapters()
      .filter(({ bus, device }) => bus === 'pci' && !waiting.has(device))
      .filter(({ protocols }) => Object.entries(own).some(([name, on]) => protocols?.[name] !== on))
      .map(({ name, protocols }) => `${name} has other bindings than it had: ${JSON.stringify(protocols)}`);
  }

  /** Everything was to be given back, and there was time; a bond waits for its standby, bindings for their device. */
  givenBack(): void {
    const { service, world } = this.#run;
    if (this.#isCut || service === null) return;
    if (!world.kernel.adapters().some(({ bus }) => bus === 'virtio')) return;
    for (const { mac, obligations, hindrance, roles } of service.story.guest.pairs.values()) {
      const present = [roles.primary, ...roles.surplus].map((one) => one?.facts.device);
      for (const { id, kind, device } of obligations)
        if ((kind !== 'bindings' && kind !== 'driverParameters') || present.includes(device?.device))
          this.#violated(7, `${mac}: ${id} is still owed (${hindrance})`);
    }
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
      // Every outage here is one that memory gets over.
      if (event.type === 'log.outage' && event.data.lost > 0)
        this.#violated(9, `${event.data.lost} events were lost in an outage`);
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
    for (const id of this.#unrecorded)
      if (!decisions.has(id)) this.#violated(1, `${id} was carried out in an outage and never recorded`);
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
