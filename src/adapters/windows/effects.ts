// Decisions become changes of a Windows guest here: the standby's link is held or let go (SET_LINK), bindings of the primary
// are set (INetCfg), its driver is given parameters (driver-parameters.ts), and what was there before is given back. Each effect
// compares, acts, and reads back.
//
// The driver crashes when the link is asked for while the bound VF has another MTU (ParaNdis_Protocol.cpp, OnAdapterFound), so
// that is compared right before. INetCfg's write lock held by another program is waited for, and that program named.
import {
  type Adapter,
  type Decision,
  type DecisionOf,
  type DriverFacts,
  isHosts,
  LOCK_HELD,
  type Obligation,
  type Target,
} from '../../events/catalogue.ts';
import type { Ledger, Outcome } from '../platform.ts';
import type { NetCfg } from './bindings.ts';
import { queryAdapters, recordOf, setLink } from './driver.ts';
import { alignDriver, giveDriverBack, type Surroundings } from './driver-parameters.ts';
import { type Answer, FAILOVER_PROTOCOL, type Protocols, type Request } from './netcfg.ts';
import { WindowsParameters } from './parameters.ts';

/** How long the write lock is waited for, and how long a call to INetCfg may take in all. */
const LOCK_WAIT_MS = 5000;
const CALL_LIMIT_MS = 12_000;
/** NDIS binds in threads of its own: how long the driver is given to follow, and how often it is asked. */
const FOLLOW_MS = 3000;
const FOLLOW_PAUSE_MS = 50;
/** A restarted device has to be there again, with its MTU. */
const RETURN_MS = 8000;
const TCPIP = ['ms_tcpip', 'ms_tcpip6'];

const SUCCEEDED: Outcome = { result: 'succeeded', reason: null, observed: false };
const ALREADY: Outcome = { result: 'succeeded', reason: null, observed: true };

/** Ends an effect early with this outcome. */
class Stop extends Error {
  readonly result: Outcome['result'];
  constructor(result: Outcome['result'], reason: string) {
    super(reason);
    this.result = result;
  }
}

/** What is remembered of a primary before its bindings are changed. */
interface Before {
  readonly protocols: Protocols;
  /** The standby’s link was held down. */
  readonly held: boolean;
}

const isFlags = (value: unknown): value is Protocols =>
  typeof value === 'object' && value !== null && Object.values(value).every((on) => typeof on === 'boolean');

const beforeOf = ({ before }: Obligation): Before => {
  const { protocols, held } = (before ?? {}) as { protocols?: unknown; held?: unknown };
  if (!isFlags(protocols) || typeof held !== 'boolean') throw new Stop('refused', 'what is remembered cannot be read');
  return { protocols, held };
};

/** The world as the effects see it: read anew at every question. */
export interface Sight {
  /** All adapters as they are at this moment. */
  adapters(): Adapter[];
  /** Looks at everything again, bindings included, and tells what changed. */
  refresh(): Promise<void>;
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

/** Bindings with which a primary serves the pair, and those with which it is kept out of it. */
const only = (protocols: Protocols, on: boolean): Protocols => ({
  ...Object.fromEntries(Object.keys(protocols).map((name) => [name, false])),
  [FAILOVER_PROTOCOL]: on,
});
const isSet = (protocols: Protocols, wanted: Protocols): boolean =>
  Object.entries(protocols).every(([name, on]) => (wanted[name] ?? on) === on);

export class WindowsEffects {
  readonly #netcfg: NetCfg;
  readonly #sight: Sight;
  readonly #last = new Map<string, Promise<unknown>>();
  /** Standbys whose link this process has held to give back bindings, and whose TCP/IP it has not pulsed yet. */
  readonly #unpulsed = new Set<string>();

  constructor(netcfg: NetCfg, sight: Sight) {
    this.#netcfg = netcfg;
    this.#sight = sight;
  }

  /** Never rejects. One effect of a pair after the other. */
  async perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const before = this.#last.get(decision.pair) ?? Promise.resolve();
    const mine = before.then(() => this.#perform(decision, signal, ledger));
    this.#last.set(decision.pair, mine);
    const outcome = await mine;
    if (this.#last.get(decision.pair) === mine) this.#last.delete(decision.pair);
    return outcome;
  }

  get isActing(): boolean {
    return this.#last.size > 0;
  }

  async close(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  async #perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    try {
      if (signal.aborted) throw new Stop('failed', 'interrupted before it began');
      return await this.#act(decision, signal, ledger);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const isDenied = error instanceof Error && 'isDenied' in error && error.isDenied === true;
      return { result: error instanceof Stop ? error.result : isDenied ? 'refused' : 'failed', reason, observed: false };
    } finally {
      // What was read back is an observation, too.
      await this.#sight.refresh().catch(() => {});
    }
  }

  #act(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    if (isHosts(decision)) throw new Stop('refused', 'this is for a hypervisor to do');
    switch (decision.kind) {
      case 'holdLink':
        return this.#setLinkOf(decision, false);
      case 'releaseLink':
        return this.#setLinkOf(decision, true);
      case 'bindPrimary':
        return this.#bind(decision, true, signal, ledger);
      case 'unbindPrimary':
        return this.#bind(decision, false, signal, ledger);
      case 'giveBack':
        return this.#giveBack(decision, signal, ledger);
      case 'alignParameters':
        return this.#align(decision, signal, ledger);
      case 'activatePrimary':
      case 'activateStandby':
      case 'takeOver':
      case 'moveAddresses':
      case 'tuneStandby':
        throw new Stop('refused', 'NETKVM has no such effect');
    }
  }

  async #record(mac: string): Promise<DriverFacts | undefined> {
    return recordOf(await queryAdapters(), mac);
  }

  /** The command goes by the MAC, which another standby may have by now: it is not to be released before its time. */
  #setLinkOf({ pair, standby }: Decision, on: boolean): Promise<Outcome> {
    if (standby !== null) this.#find(standby, 'standby');
    return this.#setLink(pair, on);
  }

  async #setLink(mac: string, on: boolean): Promise<Outcome> {
    const record = await this.#record(mac);
    if (record?.virtio !== true) throw new Stop('void', 'NETKVM has no virtio adapter with this MAC');
    if (record.suppressLink === !on) return ALREADY;
    if (on && record.hasVf && !record.started) this.#demandEqualMtu(mac, record.vfIfIndex);
    await setLink(mac, on);
    const after = await this.#record(mac);
    if (after?.suppressLink !== !on) throw new Stop('failed', 'the driver did not follow');
    return SUCCEEDED;
  }

  #demandEqualMtu(mac: string, vfIfIndex: number): void {
    const adapters = this.#sight.adapters();
    const standby = adapters.find((one) => one.bus === 'virtio' && one.mac === mac);
    const vf = adapters.find(({ ifindex }) => ifindex === vfIfIndex);
    // An adapter that is not listed has just come or is about to go; its MTU is not known to be equal.
    if (standby === undefined || vf === undefined) throw new Stop('failed', 'standby or bound primary is not listed just now');
    if (standby.mtu !== vf.mtu)
      throw new Stop('refused', `the bound primary has MTU ${vf.mtu} and the standby ${standby.mtu}: the driver would crash`);
  }

  /** The device that a decision names, if it is still there: never by ifindex alone. */
  #find(target: Target | null, role: 'standby' | 'primary'): Adapter {
    const found = this.#sight
      .adapters()
      .find(
        ({ ifindex, device, mac, permMac }) =>
          ifindex === target?.ifindex && device === target.device && (mac === target.mac || permMac === target.mac),
      );
    if (found === undefined) throw new Stop('void', `the ${role} is gone`);
    return found;
  }

  async #ask(request: Request, signal: AbortSignal): Promise<Extract<Answer, { ok: true }>> {
    const answer = await this.#netcfg.ask(request, CALL_LIMIT_MS, signal);
    if (answer.ok) return answer;
    switch (answer.why) {
      case 'locked':
        throw new Stop('failed', `${LOCK_HELD}${answer.text}`);
      case 'denied':
        throw new Stop('refused', `access denied: ${answer.text}`);
      case 'reboot':
        throw new Stop('refused', `reboot required: ${answer.text}`);
      case 'gone':
        throw new Stop('void', answer.text);
      case 'failed':
        throw new Stop('failed', answer.text);
    }
  }

  async #protocolsOf(device: string, signal: AbortSignal): Promise<Protocols> {
    const { bindings } = await this.#ask({ op: 'read' }, signal);
    const protocols = bindings.adapters[device.toUpperCase()];
    if (protocols === undefined) throw new Stop('void', `INetCfg has no adapter ${device}`);
    return protocols;
  }

  /** Whether the driver has this primary as its own. */
  async #has(mac: string, { ifindex }: Adapter): Promise<boolean> {
    const record = await this.#record(mac);
    return record?.hasVf === true && record.vfIfIndex === ifindex;
  }

  #follows(mac: string, adapter: Adapter, wanted: boolean, signal: AbortSignal): Promise<boolean> {
    return this.#wait(FOLLOW_MS, async () => (await this.#has(mac, adapter)) === wanted, signal);
  }

  async #wait(limit_ms: number, holds: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
    for (const until = performance.now() + limit_ms; ;) {
      if (await holds()) return true;
      if (performance.now() > until || signal.aborted) return false;
      await pause(FOLLOW_PAUSE_MS, signal);
    }
  }

  async #bind({ pair, primary }: Decision, on: boolean, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const adapter = this.#find(primary, 'primary');
    const device = adapter.device ?? '';
    const record = await this.#record(pair);
    if (on && record?.virtio !== true) throw new Stop('void', 'the standby is gone');
    if (on && record?.hasVf === true && record.vfIfIndex !== adapter.ifindex)
      throw new Stop('void', 'the driver has another primary');
    const protocols = await this.#protocolsOf(device, signal);
    const wanted = only(protocols, on);
    const hasTaken = await this.#has(pair, adapter);
    const isDone = isSet(protocols, wanted);
    if (isDone && hasTaken === on) return ALREADY;
    if (on && protocols[FAILOVER_PROTOCOL] === undefined)
      throw new Stop('refused', 'the failover protocol is not bindable to it');
    await this.#remember(primary, protocols, record?.suppressLink === true, ledger);
    const set = (next: Protocols): Request => ({ op: 'set', device, wanted: next, wait_ms: LOCK_WAIT_MS });
    // Bound, and the driver does not have it: it came while another one was there. Only a new binding is looked at again.
    const isBoundInVain = on && protocols[FAILOVER_PROTOCOL] === true && !hasTaken;
    if (isDone || isBoundInVain) await this.#ask(set(only(protocols, false)), signal);
    const { bindings, reboot } = await this.#ask(set(wanted), signal);
    if (!isSet(bindings.adapters[device.toUpperCase()] ?? {}, wanted))
      throw new Stop('failed', 'INetCfg does not show the bindings that were set');
    if (await this.#follows(pair, adapter, on, signal)) return SUCCEEDED;
    if (reboot) throw new Stop('refused', 'reboot required: the bindings take effect after it');
    throw new Stop('failed', 'the driver did not follow');
  }

  /**
   * The administrator's own settings, once for each device instance: a VF that comes back to its place has what we set, which
   * is not what was there before.
   */
  async #remember(primary: Target | null, protocols: Protocols, held: boolean, ledger: Ledger): Promise<void> {
    const isKnown = ledger.open.some(({ kind, device }) => kind === 'bindings' && device?.device === primary?.device);
    if (isKnown) return;
    const before: Before = { protocols, held };
    await ledger.owe({ kind: 'bindings', device: primary, before });
  }

  /**
   * Bindings as they were found. A standby whose link was held when the primary was found is held again first, and its TCP/IP
   * (IPv4 and IPv6) is taken off and put back, so that both do not have the same addresses.
   */
  async #giveBack({ pair, plan }: DecisionOf<'giveBack'>, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const owed = ledger.open.find(({ id }) => id === plan.obligation);
    if (owed === undefined) return ALREADY;
    if (owed.kind === 'driverParameters') return giveDriverBack(owed, this.#around(pair, signal), ledger);
    if (owed.kind !== 'bindings' || owed.device?.device == null)
      throw new Stop('refused', `${owed.kind} is not given back by this platform`);
    const { protocols, held } = beforeOf(owed);
    const { device } = owed.device;
    const adapters = this.#sight.adapters();
    const standby = adapters.find((one) => one.bus === 'virtio' && one.mac === pair);
    // Without its primary the standby is the only path, and is left alone.
    if (held && standby !== undefined && adapters.some((one) => one.device === device)) await this.#retire(pair, standby, signal);
    // A device that INetCfg does not have at the moment is still owed its bindings: void, and tried again when it is back.
    const { bindings } = await this.#ask({ op: 'set', device, wanted: protocols, wait_ms: LOCK_WAIT_MS }, signal);
    // A protocol that was uninstalled meanwhile has no binding to give back.
    if (!isSet(bindings.adapters[device.toUpperCase()] ?? {}, protocols))
      throw new Stop('failed', 'INetCfg does not show the bindings that were given back');
    ledger.settle(owed.id, 'givenBack');
    return SUCCEEDED;
  }

  /** The standby carries meanwhile: what NETKVM has started is not restarted, nor what a standby is held for. */
  async #align(decision: DecisionOf<'alignParameters'>, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const adapter = this.#find(decision.primary, 'primary');
    const record = await this.#record(decision.pair);
    if (record?.virtioLink !== true || record.suppressLink || record.started)
      throw new Stop('void', 'the standby does not carry just now');
    return alignDriver(decision, adapter, this.#around(decision.pair, signal), ledger);
  }

  #around(pair: string, signal: AbortSignal): Surroundings {
    return {
      store: new WindowsParameters(),
      adapter: (device) => this.#sight.adapters().find((one) => one.device === device),
      isInUse: async (adapter) =>
        (await this.#has(pair, adapter)) ||
        Object.entries(adapter.protocols ?? {}).some(([name, on]) => on && name !== FAILOVER_PROTOCOL),
      restart: async (device) => (await this.#ask({ op: 'restart', device }, signal)).reboot,
      wait: (holds) => this.#wait(RETURN_MS, () => Promise.resolve(holds()), signal),
    };
  }

  /** The pulse is made at most once: where the link was held already, an earlier process may have made it. */
  async #retire(mac: string, standby: Adapter, signal: AbortSignal): Promise<void> {
    const record = await this.#record(mac);
    if (record?.virtio !== true) return;
    if (!record.suppressLink) {
      await this.#setLink(mac, false);
      this.#unpulsed.add(mac);
    }
    if (!this.#unpulsed.has(mac)) return;
    await this.#ask({ op: 'pulse', device: standby.device ?? '', protocols: TCPIP, wait_ms: LOCK_WAIT_MS }, signal);
    this.#unpulsed.delete(mac);
  }
}
