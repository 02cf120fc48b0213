// Windows as a platform: hints (hints.ts) and a poll say when to look, a look reads interfaces, devices, NETKVM's records and
// the original service, and what changed is told (world.ts). Bindings come from INetCfg in a process of its own and are read
// only when they may have changed: facts about a path never wait for them.
//
// A control device that cannot be opened for a moment changes nothing: the last records stand until it has been silent for
// a while and the virtio adapters are still there.
import { networkInterfaces } from 'node:os';
import { Observable, Subject } from 'rxjs';
import type { Adapter, Decision, DriverFacts, Observation } from '../../events/catalogue.ts';
import type { Clocks } from '../../events/envelope.ts';
import { type Ledger, type Outcome, type Platform, realTimer, type Sighting } from '../platform.ts';
import { NetCfg } from './bindings.ts';
import { bootId, ClockWatch, readClocks } from './clocks.ts';
import { networkDevices } from './devices.ts';
import { NoDevice, queryAdapters } from './driver.ts';
import { WindowsEffects } from './effects.ts';
import { Hints } from './hints.ts';
import { type Interface, interfaces } from './interfaces.ts';
import type { Bindings } from './netcfg.ts';
import { serviceState } from './scm.ts';
import { isStandbyDevice, type Look, ORIGINAL_SERVICE, World } from './world.ts';

type Aside = Pick<Look, 'devices' | 'original' | 'addresses'>;

export interface WindowsOptions {
  readonly surveyInterval_ms?: number;
}

const SURVEY_INTERVAL_MS = 60_000;
/** A look without a hint, as often as the original service polls; and the shortest time between two looks. */
const POLL_MS = 3000;
const REST_MS = 20;
const ASIDE_MS = 2500;
/** How soon bindings are asked for again while an adapter waits for them, and how long it waits. */
const BINDINGS_AGAIN_MS = 250;
const BINDINGS_LIMIT_MS = 5000;
/** How long the rest waits for bindings that somebody has changed. */
const REBOUND_LIMIT_MS = 1000;
const WITHHELD_MS = 15_000;
/** How long the last records stand although the control device does not answer. */
const SILENT_MS = 10_000;

const gap = (source: string, reason: string): Observation => ({
  type: 'gap.seen',
  data: { source: source.slice(0, 256), reason: reason.slice(0, 4096) },
});
const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** By the names that the interfaces have. */
const addressesOf = (names: ReadonlyMap<string, number>): Look['addresses'] =>
  Object.entries(networkInterfaces()).flatMap(([name, list]) => {
    const ifindex = names.get(name);
    return ifindex === undefined ? [] : (list ?? []).flatMap(({ cidr }) => (cidr === null ? [] : [{ ifindex, address: cidr }]));
  });

export class WindowsPlatform implements Platform {
  readonly name = 'windows';
  readonly sightings: Observable<Sighting>;
  readonly #out = new Subject<Sighting>();
  readonly #world = new World();
  readonly #netcfg = new NetCfg();
  readonly #effects: WindowsEffects;
  readonly #survey_ms: number;
  readonly #clocks = new ClockWatch();
  #hints: Hints | null = null;
  #loop: Promise<void> | null = null;
  #closed = false;
  #surveyed = false;
  #wanted: string | null = null;
  #turns = 0;
  /** What the last looks could read. */
  #records: readonly DriverFacts[] = [];
  #bindings: Bindings | null = null;
  #staleBindings = true;
  #reading: Promise<void> | null = null;
  #aside: (Aside & { readonly guids: string; readonly since_ms: number }) | null = null;
  #withheldSince_ms: number | null = null;
  #silentSince_ms: number | null = null;
  /** Failures that were told, so that each is told once while it lasts. */
  readonly #told = new Map<string, string>();
  /** What was seen before the first survey. */
  readonly #early: Observation[] = [];
  #looking: Promise<void> = Promise.resolve();

  constructor({ surveyInterval_ms = SURVEY_INTERVAL_MS }: WindowsOptions = {}) {
    this.#survey_ms = surveyInterval_ms;
    this.#effects = new WindowsEffects(this.#netcfg, { adapters: () => this.#adaptersNow(), refresh: () => this.#refresh() });
    this.sightings = new Observable<Sighting>((subscriber) => {
      const subscription = this.#out.subscribe(subscriber);
      this.survey(this.#loop === null ? 'started' : 'subscribed');
      this.#loop ??= this.#run();
      return subscription;
    });
  }

  survey(reason: string): void {
    this.#wanted ??= reason.slice(0, 256);
    this.#staleBindings = true;
    this.#hints?.wake();
  }

  perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    return this.#effects.perform(decision, signal, ledger);
  }

  now(): Clocks {
    return readClocks();
  }

  after(delay_ms: number, act: () => void): () => void {
    return realTimer(delay_ms, act);
  }

  bootId(): string {
    return bootId();
  }

  turns(): number {
    return this.#turns;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#hints?.wake();
    await this.#effects.close();
    this.#netcfg.close();
    await this.#loop;
    await this.#hints?.close();
    this.#out.complete();
  }

  async #run(): Promise<void> {
    // Not at once: whoever subscribes may not be ready for a sighting before subscribe() has returned.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      this.#hints = new Hints();
      for (const { name, reason } of this.#hints.lacking) this.#tell([gap(name, `no hints from it: ${reason}`)]);
      // Before the first survey nothing is told, so bindings are waited for.
      await this.#readBindings();
      let survey_ms = performance.now() + this.#survey_ms;
      while (!this.#closed) {
        this.#turns += 1;
        if (performance.now() >= survey_ms) this.survey('periodic');
        if (this.#wanted !== null) survey_ms = performance.now() + this.#survey_ms;
        await this.#refreshFrom(false);
        await this.#hear(this.#hints, this.#pause_ms(survey_ms));
        if (!this.#closed) await pause(REST_MS);
      }
    } catch (error) {
      this.#out.error(error instanceof Error ? error : new Error(textOf(error)));
    }
  }

  /** The poll does not depend on the thread that waits for hints. */
  async #hear(hints: Hints, limit_ms: number): Promise<void> {
    const { promise: polled, resolve } = Promise.withResolvers<null>();
    const timer = setTimeout(resolve, limit_ms, null);
    const heard = await Promise.race([hints.wait(), polled]);
    clearTimeout(timer);
    if (heard?.registry === true) this.#staleBindings = true;
  }

  #pause_ms(survey_ms: number): number {
    const soon = this.#withheldSince_ms !== null || this.#silentSince_ms !== null ? BINDINGS_AGAIN_MS : POLL_MS;
    return Math.max(0, Math.min(soon, survey_ms - performance.now()));
  }

  /** Looks again, bindings included: what an effect has changed. */
  async #refresh(): Promise<void> {
    this.#staleBindings = true;
    if (!this.#closed) await this.#refreshFrom(true);
  }

  /** One look after the other; a look that waits for bindings tells the rest at once. */
  #refreshFrom(waits: boolean): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look(waits));
    return this.#looking;
  }

  async #look(waits: boolean): Promise<void> {
    if (this.#closed) return;
    const { at, jumps } = this.#clocks.look();
    if (jumps.some(({ data }) => data.kind === 'suspended')) this.survey('suspended');
    const found: Observation[] = [...jumps];
    let look = await this.#read(found);
    if (look === null) return this.#tell(found, at);
    if (this.#world.wasRebound(look)) {
      this.#staleBindings = true;
      await Promise.race([this.#readBindings(), pause(REBOUND_LIMIT_MS)]);
      if (this.#closed) return;
      look = { ...look, ...this.#known() };
    }
    const lacks = this.#world.lacksBindings(look);
    this.#withheldSince_ms = lacks ? (this.#withheldSince_ms ?? performance.now()) : null;
    this.#take(look, found, at);
    if (!this.#staleBindings && !lacks && !(waits && this.#reading !== null)) return;
    const reading = this.#readBindings();
    if (!waits) return;
    await reading;
    // What was being read may be older than the change that is looked for.
    if (this.#staleBindings) await this.#readBindings();
    if (!this.#closed) this.#take({ ...look, ...this.#known() }, [], readClocks());
  }

  #take(look: Look, found: Observation[], at: Clocks): void {
    const reason = this.#wanted;
    this.#wanted = null;
    const seen = this.#world.take(look, reason ?? (this.#surveyed ? null : 'started'));
    const isFirst = !this.#surveyed;
    this.#surveyed = true;
    // The first thing that is told is the survey.
    this.#tell(isFirst ? [...seen, ...found] : [...found, ...seen], at);
  }

  #known(): Pick<Look, 'bindings' | 'withoutBindings'> {
    const since = this.#withheldSince_ms;
    return { bindings: this.#bindings, withoutBindings: since !== null && performance.now() - since > WITHHELD_MS };
  }

  /** Null when Windows itself did not answer: then nothing has changed. */
  async #read(found: Observation[]): Promise<Look | null> {
    try {
      const rows = interfaces();
      const aside = this.#readAside(rows, found);
      this.#records = await this.#readRecords(aside.devices.some(isStandbyDevice), found);
      this.#recovered('look');
      return { interfaces: rows, ...aside, records: this.#records, acting: this.#effects.isActing, ...this.#known() };
    } catch (error) {
      this.#failed('look', textOf(error), found);
      return null;
    }
  }

  /** What costs more and changes less: at most once in a while, unless there are other interfaces or a survey is wanted. */
  #readAside(rows: readonly Interface[], found: Observation[]): Aside {
    const guids = rows.map(({ guid }) => guid).join(' ');
    const isFresh = this.#aside?.guids === guids && performance.now() - this.#aside.since_ms < ASIDE_MS;
    if (this.#aside === null || !isFresh || this.#wanted !== null || this.#staleBindings) {
      const original = this.#readOriginal(found);
      const addresses = addressesOf(new Map(rows.map(({ alias, ifindex }) => [alias, ifindex])));
      this.#aside = { guids, since_ms: performance.now(), devices: networkDevices(), original, addresses };
    }
    return this.#aside;
  }

  /** Whether the original service runs; as it was known, where the service manager does not say. */
  #readOriginal(found: Observation[]): boolean {
    try {
      const running = serviceState(ORIGINAL_SERVICE) === 'running';
      this.#recovered('service manager');
      return running;
    } catch (error) {
      this.#failed('service manager', textOf(error), found);
      return this.#aside?.original ?? false;
    }
  }

  async #readRecords(hasStandby: boolean, found: Observation[]): Promise<readonly DriverFacts[]> {
    try {
      const records = await queryAdapters();
      this.#silentSince_ms = null;
      this.#recovered('NETKVMD');
      return records;
    } catch (error) {
      // No virtio adapter, no control device: that is how it should be.
      if (error instanceof NoDevice && !hasStandby) {
        this.#silentSince_ms = null;
        return [];
      }
      this.#silentSince_ms ??= performance.now();
      this.#failed('NETKVMD', textOf(error), found);
      return performance.now() - this.#silentSince_ms > SILENT_MS ? [] : this.#records;
    }
  }

  /** Asks INetCfg; one question at a time. */
  #readBindings(): Promise<void> {
    this.#reading ??= this.#askBindings().finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }

  async #askBindings(): Promise<void> {
    this.#staleBindings = false;
    const answer = await this.#netcfg.ask({ op: 'read' }, BINDINGS_LIMIT_MS);
    if (this.#closed) return;
    if (answer.ok) {
      const changed = JSON.stringify(this.#bindings) !== JSON.stringify(answer.bindings);
      this.#bindings = answer.bindings;
      this.#recovered('INetCfg');
      if (changed) this.#hints?.wake();
      return;
    }
    const found: Observation[] = [];
    this.#failed('INetCfg', answer.text, found);
    this.#tell(found);
  }

  #failed(what: string, reason: string, found: Observation[]): void {
    if (this.#told.get(what) === reason) return;
    this.#told.set(what, reason);
    found.push(gap(what, reason));
  }
  #recovered(what: string): void {
    this.#told.delete(what);
  }

  #tell(observations: readonly Observation[], at = readClocks()): void {
    if (this.#closed || observations.length === 0) return;
    // What failed before the first survey is told after it.
    if (!this.#surveyed) this.#early.push(...observations);
    else this.#out.next({ at, observations: [...observations, ...this.#early.splice(0)] });
  }

  /** As Windows has them at this moment, for an effect that compares before it acts. */
  #adaptersNow(): Adapter[] {
    const rows = new Map(interfaces().map((row) => [row.ifindex, row]));
    const devices = new Map(networkDevices().map((device) => [device.guid, device]));
    return [...rows.values()].flatMap((row) => {
      const known = this.#world.adapter(row.ifindex);
      const device = devices.get(row.guid);
      if (known === undefined || device === undefined) return [];
      return [
        {
          ...known,
          mac: row.mac,
          permMac: row.permMac,
          mtu: row.mtu,
          up: row.up,
          carrier: row.carrier,
          device: device.instanceId,
        },
      ];
    });
  }
}
