// A hypervisor as a platform: for every guest of the policy its QEMU, the port of its primary, and the channel to its service.
// It gives the same sightings, takes the same decisions and keeps the same ledger as the platform of a guest does, so that
// the service (host/service.ts), the log and the replay are the same.
import { readFileSync } from 'node:fs';
import { Observable, Subject } from 'rxjs';
import type { Decision, DecisionKind, Observation } from '../../events/catalogue.ts';
import type { VmPolicy } from '../../events/hosting.ts';
import type { Clocks } from '../../events/envelope.ts';
import { readClocks } from '../linux/clocks.ts';
import { Conversation } from '../linux/effects/conversation.ts';
import { type Ledger, type Outcome, type Platform, realTimer, type Sighting } from '../platform.ts';
import { Channel } from './channel.ts';
import { carryOut, type Hosting } from './effects.ts';
import { Port, type PortFacts } from './port.ts';
import { Qemu } from './qemu.ts';

/** Somebody else may change a VF, and no message is sent for that. */
const LOOK_MS = 2000;
/** What these changed is told before their outcome, so that nothing is decided from facts that they made old. */
const CHANGES_PORT: ReadonlySet<DecisionKind> = new Set([
  'parkMac',
  'restoreMac',
  'addForwarding',
  'removeForwarding',
  'giveBack',
]);

interface Hosted extends Hosting {
  facts: PortFacts | null;
}

export class HypervisorPlatform implements Platform {
  readonly name = 'hypervisor';
  readonly sightings: Observable<Sighting>;
  readonly #out = new Subject<Sighting>();
  readonly #conversation = new Conversation('route');
  readonly #hosted = new Map<string, Hosted>();
  readonly #last = new Map<string, Promise<unknown>>();
  #started = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #turns = 0;

  constructor(vms: readonly VmPolicy[]) {
    for (const vm of vms) {
      const say = (observations: readonly Observation[]): void => this.#tell(observations);
      const { channel, mac } = vm;
      this.#hosted.set(mac, {
        vm,
        qemu: new Qemu(vm, (observations) => {
          say(observations);
          // A cancellation, or a primary that is back, is what somebody else changes a VF for.
          void this.#look(mac);
        }),
        port: new Port(vm, this.#conversation),
        channel: channel === undefined ? null : new Channel(channel, mac, say),
        facts: null,
      });
    }
    this.sightings = new Observable<Sighting>((subscriber) => {
      const subscription = this.#out.subscribe(subscriber);
      void this.#start();
      return subscription;
    });
  }

  /** One survey first, when every QEMU was tried once; then what changes. */
  async #start(): Promise<void> {
    const hosted = [...this.#hosted.values()];
    await Promise.all(hosted.map(({ qemu }) => qemu.open()));
    await Promise.all(hosted.map((one) => this.#readPort(one)));
    if (this.#closed) return;
    this.#started = true;
    this.survey('started');
    for (const { channel } of hosted) channel?.open();
    this.#round();
  }

  #round(): void {
    this.#timer = setTimeout(() => {
      this.#turns += 1;
      void Promise.all([...this.#hosted.keys()].map((mac) => this.#look(mac))).finally(() => {
        if (!this.#closed) this.#round();
      });
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** What is known of every pair; as a survey, since what came before may be out of date. */
  survey(reason: string): void {
    if (!this.#started) return;
    const known = [...this.#hosted].flatMap(([pair, { qemu, facts, channel }]): Observation[] => [
      ...(facts === null ? [] : [{ type: 'port.facts', data: { pair, ...facts } } as const]),
      { type: 'channel.facts', data: { pair, guest: channel?.guest ?? null } },
      { type: 'monitor.facts', data: { pair, ...qemu.facts } },
    ]);
    const survey: Observation = {
      type: 'survey.taken',
      data: { reason: reason.slice(0, 256), adapters: [], functions: [], addresses: [] },
    };
    this.#out.next({ at: this.now(), observations: [...known, survey] });
  }

  #tell(observations: readonly Observation[]): void {
    if (this.#started && !this.#closed) this.#out.next({ at: this.now(), observations });
  }

  async #readPort(one: Hosted): Promise<PortFacts | null> {
    const facts = await one.port.read().catch(() => null);
    if (facts !== null) one.facts = facts;
    return facts;
  }

  async #look(mac: string): Promise<void> {
    const one = this.#hosted.get(mac);
    if (one === undefined || this.#closed) return;
    const before = JSON.stringify(one.facts);
    const facts = await this.#readPort(one);
    if (facts !== null && JSON.stringify(facts) !== before) this.#tell([{ type: 'port.facts', data: { pair: mac, ...facts } }]);
  }

  /** Effects of one pair one after the other: a retry may come while an undo still runs. What they changed is told first. */
  async perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const { pair } = decision;
    const hosted = this.#hosted.get(pair);
    if (hosted === undefined) return { result: 'refused', reason: 'the configuration has no such guest', observed: false };
    const before = this.#last.get(pair) ?? Promise.resolve();
    const mine = before.then(async () => {
      const outcome = await carryOut(decision, hosted, signal, ledger);
      if (CHANGES_PORT.has(decision.kind)) await this.#look(pair);
      return outcome;
    });
    this.#last.set(
      pair,
      mine.catch(() => {}),
    );
    return mine;
  }

  /** How far a migration is, as QEMU says (query-migrate); null where no QEMU answers. */
  async progress(mac: string): Promise<unknown> {
    return (
      (await this.#hosted
        .get(mac)
        ?.qemu.execute('query-migrate')
        .catch(() => null)) ?? null
    );
  }

  now(): Clocks {
    return readClocks();
  }

  after(delay_ms: number, act: () => void): () => void {
    return realTimer(delay_ms, act);
  }

  bootId(): string {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  }

  turns(): number {
    return this.#turns;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const { qemu, channel } of this.#hosted.values()) {
      qemu.close();
      channel?.close();
    }
    await Promise.all(this.#last.values());
    await this.#conversation.close();
    this.#out.complete();
  }
}
