// The platform of the simulated guest. On Linux every message carries a snapshot and comes in order, and only an overrun
// loses some: then a gap is seen and a survey follows. On Windows a message is only a hint to look again, and hints may be
// lost, doubled, late or in another order. A survey runs anyway, now and then.
//
// `retire` ends it as a killed process would: nothing more is heard, no timer fires, no effect reports back; but what an
// effect had already begun in the guest still takes place.
import { Observable, type Subscriber } from 'rxjs';
import type { Adapter, Decision, DriverFacts, Observation, PciFunction } from '../../events/catalogue.ts';
import type { Clocks } from '../../events/envelope.ts';
import { changesOf, isAnother } from '../linux/adapter.ts';
import type { Ledger, Outcome, Platform, Sighting } from '../platform.ts';
import { EFFECT_FAULTS, type Faults, HINT_FAULTS } from './faults.ts';
import type { Message } from './kernel.ts';
import { FAILOVER_PROTOCOL } from './windows-kernel.ts';
import type { World } from './world.ts';

const SURVEY_MS = 60_000;
/** How long a hint takes: the kernel's message is read in the next turn of the loop. */
const HINT_MS = 0.2;
/** How long a plain effect takes, and how late a late one comes. */
const EFFECT_MS = 3;
const LATE_MS = 20_000;

export class SimulatedPlatform implements Platform {
  readonly name: string;
  readonly sightings: Observable<Sighting>;
  readonly #world: World;
  readonly #faults: Faults;
  readonly #survey_ms: number;
  #out: Subscriber<Sighting> | null = null;
  #retired = false;
  /** What has been told so far, as the next look is compared with it. */
  #adapters = new Map<number, Adapter>();
  #functions = new Map<string, PciFunction>();
  #records = new Map<string, DriverFacts>();
  #protocol: boolean | null = null;
  /** Linux: messages that were not read yet, in their order; an overrun empties it. */
  #queue: Message[] = [];
  #isLate = false;
  #overrun = false;

  constructor(world: World, faults: Faults, survey_ms = SURVEY_MS) {
    this.#world = world;
    this.#faults = faults;
    this.#survey_ms = survey_ms;
    this.name = world.kernel.name;
    this.sightings = new Observable((subscriber) => {
      this.#out = subscriber;
      world.hear = (message) => this.#hear(message);
      world.jumped = (kind, ms) => {
        const delta_ns = String(Math.round(ms * 1e6));
        this.#later(HINT_MS, () => this.#tell([{ type: 'clock.jumped', data: { kind, delta_ns } }]));
        // Nobody was told what happened meanwhile (linux/platform.ts does the same).
        if (kind === 'suspended') this.survey('suspended');
      };
      this.survey('start');
      this.#surveyNowAndThen();
      return () => {
        this.#out = null;
      };
    });
  }

  survey(reason: string): void {
    this.#later(HINT_MS, () => this.#tell(this.#survey(reason)));
  }

  perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const fault = this.#faults.draw(EFFECT_FAULTS);
    return new Promise((resolve) => {
      const answer = (outcome: Outcome): void => {
        this.#later(EFFECT_MS, () => {
          // What was read back is an observation, too.
          if (outcome.result === 'succeeded' && fault !== 'effectPretended' && this.name === 'windows') this.#tell(this.#look());
          resolve(outcome);
        });
      };
      const isAlive = (): boolean => !this.#retired && !signal.aborted;
      const { boots } = this.#world;
      // A call may outlive its process, but nothing outlives a reboot.
      const act = (then: (outcome: Outcome) => void): void => {
        if (this.#world.boots === boots) this.#world.effects.begin(decision, then, ledger, isAlive);
      };
      switch (fault) {
        case null:
          this.#world.clock.after(EFFECT_MS, () => act(answer));
          return;
        case 'effectFailed':
          return answer({ result: 'failed', reason: 'simulated failure', observed: false });
        case 'effectRefused':
          return answer({ result: 'refused', reason: 'simulated refusal: access denied', observed: false });
        case 'effectHung':
          return;
        case 'effectLate':
          this.#world.clock.after(this.#faults.delay_ms(LATE_MS), () => act(answer));
          return;
        case 'effectDenied':
          this.#world.clock.after(EFFECT_MS, () => {
            act(() => answer({ result: 'failed', reason: 'simulated failure, after it was done', observed: false }));
          });
          return;
        case 'effectPretended':
          return answer({ result: 'succeeded', reason: null, observed: false });
      }
    });
  }

  now(): Clocks {
    return this.#world.clock.now();
  }

  after(delay_ms: number, act: () => void): () => void {
    return this.#later(delay_ms, act);
  }

  bootId(): string {
    return `boot-${this.#world.boots}`;
  }

  close(): Promise<void> {
    this.retire();
    return Promise.resolve();
  }

  get isRetired(): boolean {
    return this.#retired;
  }

  /** The process is no more. */
  retire(): void {
    this.#retired = true;
    this.#out = null;
  }

  #later(delay_ms: number, act: () => void): () => void {
    return this.#world.clock.after(delay_ms, () => {
      if (!this.#retired) act();
    });
  }

  #surveyNowAndThen(): void {
    this.#later(this.#survey_ms, () => {
      this.#tell(this.#survey('periodic'));
      this.#surveyNowAndThen();
    });
  }

  #tell(observations: readonly Observation[]): void {
    if (observations.length > 0) this.#out?.next({ at: this.now(), observations });
  }

  #hear(message: Message): void {
    if (this.#retired) return;
    const fault = this.#faults.draw(HINT_FAULTS);
    if (message.kind === 'changed') this.#hint(fault);
    else this.#read(message, fault);
  }

  // Windows: look again, and say what is new.

  #hint(fault: ReturnType<Faults['draw']>): void {
    if (fault === 'hintLost') return;
    const delay_ms = fault === 'hintDelayed' || fault === 'hintReordered' ? this.#faults.delay_ms(2000) : HINT_MS;
    const look = (): void => this.#tell(this.#look());
    this.#later(delay_ms, look);
    if (fault === 'hintDoubled') this.#later(delay_ms, look);
  }

  #look(): Observation[] {
    const { kernel } = this.#world;
    const found: Observation[] = [];
    const adapters = new Map(kernel.adapters().map((adapter) => [adapter.ifindex, adapter]));
    for (const ifindex of this.#adapters.keys())
      if (!adapters.has(ifindex)) found.push({ type: 'adapter.gone', data: { ifindex } });
    for (const adapter of adapters.values()) found.push(...this.#compare(adapter));
    this.#adapters = adapters;
    found.push(...this.#lookAtDriver());
    return found;
  }

  #lookAtDriver(): Observation[] {
    const { kernel } = this.#world;
    const found: Observation[] = [];
    const records = new Map<string, DriverFacts>();
    for (const record of kernel.records()) if (!records.has(record.mac)) records.set(record.mac, record);
    for (const mac of this.#records.keys()) if (!records.has(mac)) found.push({ type: 'driver.gone', data: { mac } });
    for (const [mac, data] of records) {
      if (JSON.stringify(this.#records.get(mac)) !== JSON.stringify(data)) found.push({ type: 'driver.facts', data });
    }
    this.#records = records;
    if (kernel.protocolInstalled() !== this.#protocol) {
      this.#protocol = kernel.protocolInstalled();
      found.push({ type: this.#protocol ? 'protocol.installed' : 'protocol.removed', data: { name: FAILOVER_PROTOCOL } });
    }
    return found;
  }

  #compare(adapter: Adapter): Observation[] {
    const known = this.#adapters.get(adapter.ifindex);
    const { ifindex } = adapter;
    if (known === undefined) return [{ type: 'adapter.appeared', data: adapter }];
    if (isAnother(known, adapter)) {
      return [
        { type: 'adapter.gone', data: { ifindex } },
        { type: 'adapter.appeared', data: adapter },
      ];
    }
    const protocols =
      JSON.stringify(known.protocols) === JSON.stringify(adapter.protocols) ? {} : { protocols: adapter.protocols };
    const changed = { ...changesOf(known, adapter), ...protocols };
    return Object.keys(changed).length === 0 ? [] : [{ type: 'adapter.changed', data: { ifindex, changed } }];
  }

  // Linux: messages in their order, each with all facts.

  #read(message: Message, fault: ReturnType<Faults['draw']>): void {
    if (fault === 'hintLost') this.#overrun = true;
    if (!this.#overrun) this.#queue.push(message);
    if (fault === 'hintDoubled') this.#queue.push(message);
    // uevents and rtnetlink are two sockets, so what comes from one may be read before what came from the other.
    if (fault === 'hintReordered') this.#reorder();
    if (this.#isLate) return;
    this.#isLate = true;
    this.#later(fault === 'hintDelayed' ? this.#faults.delay_ms(500) : HINT_MS, () => this.#drain());
  }

  #reorder(): void {
    const fromLinks = ({ kind }: Message): boolean =>
      kind === 'link' || kind === 'linkGone' || kind === 'address' || kind === 'announce';
    const links = this.#queue.filter(fromLinks);
    const others = this.#queue.filter((message) => !fromLinks(message));
    this.#queue = this.#faults.delay_ms(2) === 1 ? [...links, ...others] : [...others, ...links];
  }

  #drain(): void {
    this.#isLate = false;
    const queue = this.#queue;
    this.#queue = [];
    for (const message of queue) this.#tell(this.#observe(message));
    if (!this.#overrun) return;
    this.#overrun = false;
    this.#tell([{ type: 'gap.seen', data: { source: 'rtnetlink', reason: 'ENOBUFS (simulated)' } }]);
    this.survey('gap');
  }

  #observe(message: Message): Observation[] {
    switch (message.kind) {
      case 'link': {
        const found = this.#compare(message.adapter);
        this.#adapters.set(message.adapter.ifindex, message.adapter);
        return found;
      }
      case 'linkGone':
        return this.#adapters.delete(message.ifindex) ? [{ type: 'adapter.gone', data: { ifindex: message.ifindex } }] : [];
      case 'address': {
        const { ifindex, address, gone } = message;
        // The kernel says so before the link goes; what is said of one that is not known is not heard.
        if (!this.#adapters.has(ifindex)) return [];
        return [{ type: gone ? 'address.removed' : 'address.added', data: { ifindex, address } }];
      }
      case 'functionAdded': {
        if (this.#functions.has(message.function.address)) return [];
        this.#functions.set(message.function.address, message.function);
        return [{ type: 'pci.added', data: message.function }];
      }
      case 'functionBound':
        return [{ type: 'pci.bound', data: { address: message.address, driver: message.driver } }];
      case 'functionUnbound':
        return [{ type: 'pci.unbound', data: { address: message.address } }];
      case 'functionRemoved':
        return this.#functions.delete(message.address) ? [{ type: 'pci.removed', data: { address: message.address } }] : [];
      case 'announce':
        return [{ type: 'announce.seen', data: { ifindex: message.ifindex } }];
      case 'ptpRemoved':
        return [{ type: 'departure.signalled', data: { address: message.address, sign: 'ptpRemoved' } }];
      case 'changed':
        return [];
    }
  }

  #survey(reason: string): Observation[] {
    const { kernel } = this.#world;
    const adapters = kernel.adapters();
    const functions = kernel.functions();
    this.#adapters = new Map(adapters.map((adapter) => [adapter.ifindex, adapter]));
    this.#functions = new Map(functions.map((item) => [item.address, item]));
    // What is still waiting to be read is older than what was read just now.
    this.#queue = this.#queue.filter(({ kind }) => kind === 'announce' || kind === 'ptpRemoved');
    const taken: Observation = { type: 'survey.taken', data: { reason, adapters, functions, addresses: kernel.addresses() } };
    if (kernel.name !== 'windows') return [taken];
    const found = this.#lookAtDriver();
    taken.data.records = [...this.#records.values()];
    return [...found.filter(({ type }) => type.startsWith('protocol.')), taken];
  }
}
