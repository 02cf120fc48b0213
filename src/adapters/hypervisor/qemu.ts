// One QEMU as the hypervisor's side sees it: a monitor of its own, connected again and again, what QEMU says on it, and what
// it answers when it is asked how it is. An event is a hint and leads to the questions; what it says for certain is taken from
// itself, because QEMU passes through a migration faster than it answers.
import type { Subscription } from 'rxjs';
import type { EventData, Observation } from '../../events/catalogue.ts';
import type { VmPolicy } from '../../events/hosting.ts';
import { Monitor, QmpError, type QmpEvent } from '../qemu/monitor.ts';
import { isObject } from '../qemu/qmp.ts';

export type MonitorFacts = Omit<EventData<'monitor.facts'>, 'pair'>;
export const UNCONNECTED: MonitorFacts = {
  connected: false,
  running: false,
  incoming: false,
  migration: 'none',
  primary: false,
  failover: false,
};

/** Events that say something about a pair or its migration; the rest is noise here. */
const TELLING = new Set([
  'FAILOVER_NEGOTIATED',
  'UNPLUG_PRIMARY',
  'DEVICE_DELETED',
  'DEVICE_UNPLUG_GUEST_ERROR',
  'MIGRATION',
  'STOP',
  'RESUME',
  'RESET',
  'SHUTDOWN',
  'NIC_RX_FILTER_CHANGED',
]);
const RECONNECT_MS = 500;
const CONNECT_LIMIT_MS = 2000;
/** A device that somebody else plugs has no event; a monitor without the capability `events` tells of no migration. */
const POLL_MS = 1000;
const POLL_MIGRATION_MS = 100;
const EVENT_FIELDS = 8;

type Say = (observations: readonly Observation[]) => void;

export class Qemu {
  readonly vm: VmPolicy;
  readonly #say: Say;
  #facts: MonitorFacts = UNCONNECTED;
  #monitor: Monitor | null = null;
  #events: Subscription | null = null;
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | null = null;
  #again = false;
  #hasEvents = false;
  #closed = false;

  constructor(vm: VmPolicy, say: Say) {
    this.vm = vm;
    this.#say = say;
  }

  get facts(): MonitorFacts {
    return this.#facts;
  }

  /** Resolves when the first attempt to connect has come to its end. Facts follow for as long as it is not closed. */
  async open(): Promise<void> {
    if (this.#closed) return;
    try {
      const monitor = await Monitor.connect(this.vm.qmp, CONNECT_LIMIT_MS);
      if (this.#isClosed()) return monitor.close();
      this.#monitor = monitor;
      this.#events = monitor.events.subscribe({ next: (event) => this.#hear(event), complete: () => this.#lost() });
      this.#hasEvents = await this.#wantEvents(monitor);
      await this.ask();
      this.#poll();
    } catch {
      this.#lost();
    }
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  /** The capability that makes QEMU tell of migrations; a monitor that is only listened to has it where libvirt set it. */
  async #wantEvents(monitor: Monitor): Promise<boolean> {
    const has = async (): Promise<boolean> => {
      const list: unknown = await monitor.execute('query-migrate-capabilities');
      return Array.isArray(list) && list.some((one) => isObject(one) && one['capability'] === 'events' && one['state'] === true);
    };
    if (await has()) return true;
    if (this.vm.readOnly === true) return false;
    await monitor
      .execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] })
      .catch(() => null);
    return has();
  }

  #lost(): void {
    this.#events?.unsubscribe();
    this.#monitor?.close();
    this.#monitor = null;
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#see(UNCONNECTED);
    this.#timer = setTimeout(() => void this.open(), RECONNECT_MS);
    this.#timer.unref();
  }

  #poll(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#monitor === null) return;
    this.#timer = setTimeout(
      () => {
        void this.ask().finally(() => this.#poll());
      },
      this.#hasEvents ? POLL_MS : POLL_MIGRATION_MS,
    );
    this.#timer.unref();
  }

  #hear({ name, fields, at_ns }: QmpEvent): void {
    if (!TELLING.has(name)) return;
    const told = Object.fromEntries(Object.entries(fields).slice(0, EVENT_FIELDS));
    const event: Observation = {
      type: 'monitor.event',
      data: { pair: this.vm.mac, name: name.slice(0, 256), fields: told, at_ns: at_ns?.toString() ?? null },
    };
    const changed = this.#changedBy(name, fields);
    this.#facts = { ...this.#facts, ...changed };
    const facts: Observation = { type: 'monitor.facts', data: { pair: this.vm.mac, ...this.#facts } };
    this.#say(changed === null ? [event] : [event, facts]);
    void this.ask();
  }

  /** What an event alone says for certain. On a target everything else is asked for. */
  #changedBy(name: string, { status, device }: QmpEvent['fields']): Partial<MonitorFacts> | null {
    if (this.#facts.incoming) return null;
    if (name === 'MIGRATION' && typeof status === 'string') return { migration: status.slice(0, 64) };
    if (name === 'STOP' || name === 'RESUME') return { running: name === 'RESUME' };
    return name === 'DEVICE_DELETED' && device === this.vm.primary ? { primary: false } : null;
  }

  /** QEMU took the primary. */
  plugged(): void {
    this.#see({ ...this.#facts, primary: true });
  }

  /** Asks QEMU how it is; what has changed is said. One round of questions at a time; a hint meanwhile leads to another. */
  ask(): Promise<void> {
    this.#again = true;
    this.#asking ??= this.#rounds().finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #rounds(): Promise<void> {
    while (this.#again && this.#monitor !== null) {
      this.#again = false;
      const facts = await this.#read(this.#monitor).catch(() => null);
      // Asked before the newest event, answered after it: the next round knows better.
      if (facts !== null && !this.#again && !this.#closed) this.#see(facts);
    }
  }

  async #read(monitor: Monitor): Promise<MonitorFacts> {
    const [status, migration, devices] = await Promise.all([
      monitor.execute('query-status'),
      monitor.execute('query-migrate'),
      monitor.execute('qom-list', { path: '/machine/peripheral' }),
    ]);
    const { standby, primary } = this.vm;
    const failover = await monitor
      .execute('qom-get', { path: `/machine/peripheral/${standby}`, property: 'failover' })
      .catch((error: unknown) => {
        if (error instanceof QmpError && error.refusal !== null) return false;
        throw error;
      });
    const state = isObject(status) ? status['status'] : null;
    return {
      connected: true,
      running: isObject(status) && status['running'] === true,
      incoming: state === 'inmigrate',
      migration: migrationOf(migration),
      primary: Array.isArray(devices) && devices.some((one) => isObject(one) && one['name'] === primary),
      failover: failover === true,
    };
  }

  #see(facts: MonitorFacts): void {
    if (JSON.stringify(facts) === JSON.stringify(this.#facts)) return;
    this.#facts = facts;
    this.#say([{ type: 'monitor.facts', data: { pair: this.vm.mac, ...facts } }]);
  }

  /** Errors: QmpError, also where no QEMU is connected. */
  execute(command: string, parameters: object = {}): Promise<unknown> {
    if (this.#monitor === null) return Promise.reject(new QmpError(`${command}: no QEMU answers at ${this.vm.qmp}`));
    return this.#monitor.execute(command, parameters);
  }

  close(): void {
    this.#closed = true;
    this.#lost();
  }
}

/**
 * query-migrate as the source has it. A QEMU that took a guest in tells the status of that, too, but without its figures;
 * it is nothing that this QEMU sends.
 */
const migrationOf = (answer: unknown): string => {
  if (!isObject(answer) || typeof answer['status'] !== 'string') return 'none';
  const { status } = answer;
  const isPlain = ['setup', 'wait-unplug', 'cancelling', 'cancelled', 'failed'].includes(status);
  return isPlain || 'total-time' in answer ? status.slice(0, 64) : 'none';
};
