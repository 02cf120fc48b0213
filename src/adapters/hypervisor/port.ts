// The primary's place in the network of its hypervisor: the VF's MAC on its physical function, and forwarding entries for the
// pair's MAC. Each change is read back, because drivers refuse, ignore, and reset other settings of the VF with the MAC.
//
// Where there is no SR-IOV, a port of a bridge stands in for the VF: a fixed entry in the bridge's table is then what the
// VF's MAC is in an embedded switch. It takes the frames for that MAC to this port whether or not somebody is there.
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventData } from '../../events/catalogue.ts';
import type { VfFacts, VmPolicy } from '../../events/hosting.ts';
import type { Mac } from '../../events/mac.ts';
import type { Conversation } from '../linux/effects/conversation.ts';
import { linkBy, must, Stop } from '../linux/effects/standing.ts';
import { addFdb, deleteFdb, fdbIn, type FdbEntry, getFdb, getFdbOfBridge, getVfs, setVf, vfIn, type Table } from '../linux/vf.ts';

export type PortFacts = Omit<EventData<'port.facts'>, 'pair'>;
/** Where a forwarding entry is to be, in the order of the kernel's documentation (net_failover.rst). */
export interface Place {
  readonly on: 'pf' | 'tap';
  readonly iface: string;
  readonly table: Table;
}

/** Drivers that answer yes and take the MAC a moment later. */
const SETTLE_MS = [0, 5, 20, 75] as const;
const NO_MAC = '00:00:00:00:00:00';
const NO_VF = 'there is no such VF';

export class Port {
  readonly vm: VmPolicy;
  readonly #conversation: Conversation;

  constructor(vm: VmPolicy, conversation: Conversation) {
    this.vm = vm;
    this.#conversation = conversation;
  }

  /** Entries that the policy asks for. */
  get places(): readonly Place[] {
    const { pf, tap, bridge } = this.vm;
    if (tap === undefined && bridge === undefined) return [];
    return [
      ...(pf === undefined ? [] : [{ on: 'pf', iface: pf, table: 'self' } as const]),
      ...(tap === undefined || bridge === undefined ? [] : [{ on: 'tap', iface: tap, table: 'master' } as const]),
    ];
  }

  /** Errors: `platform.netlink` where the kernel cannot be asked. An interface that is not there has no VF and no entry. */
  async read(): Promise<PortFacts> {
    const vf = await this.#vf();
    const places = this.places;
    if (places.length === 0) return { vf, pfEntry: null, tapEntry: null };
    const has = async (on: Place['on']): Promise<boolean | null> => {
      const place = places.find((one) => one.on === on);
      if (place === undefined) return null;
      const ifindex = await this.#index(place.iface);
      if (ifindex === null) return false;
      return (await this.#fixedOf(ifindex, place.table)).some(({ mac }) => mac === this.vm.mac);
    };
    return { vf, pfEntry: await has('pf'), tapEntry: await has('tap') };
  }

  async #index(iface: string): Promise<number | null> {
    return (await linkBy(this.#conversation, iface))?.ifindex ?? null;
  }

  async #fixed(request: Uint8Array): Promise<FdbEntry[]> {
    const { replies } = await this.#conversation.ask(request);
    return replies
      .map(fdbIn)
      .filter((entry) => entry !== null)
      .filter(({ fixed }) => fixed);
  }
  async #fixedOf(ifindex: number, table: Table): Promise<FdbEntry[]> {
    return (await this.#fixed(getFdb(ifindex))).filter((one) => one.ifindex === ifindex && one.table === table);
  }

  async #vf(): Promise<VfFacts | null> {
    const { pf, vf, port, mac, parking } = this.vm;
    if (port !== undefined) {
      const ifindex = await this.#index(port);
      if (ifindex === null) return null;
      const held = (await this.#fixedOf(ifindex, 'master')).map((one) => one.mac);
      // A bridge may move the pair's entry here when the guest transmits here, beside that of the parking MAC.
      const found = [mac, parking].find((one) => one !== undefined && held.includes(one));
      return { mac: found ?? NO_MAC, vlan: 0, qos: 0, spoofchk: null, trust: null };
    }
    const ifindex = pf === undefined ? null : await this.#index(pf);
    if (ifindex === null || vf === undefined) return null;
    const { replies } = await this.#conversation.ask(getVfs(ifindex));
    const [reply] = replies;
    return reply === undefined ? null : vfIn(reply, vf);
  }

  /** Gives the VF this MAC; everything else that is set on it stays. Throws Stop with the outcome. */
  async setMac(wanted: Mac): Promise<void> {
    const before = await this.#vf();
    if (before === null) throw new Stop('refused', NO_VF);
    if (this.vm.port === undefined) await this.#setVf(wanted, before);
    else await this.#setEntry(this.vm.port, wanted, before.mac);
    for (const pause_ms of SETTLE_MS) {
      if (pause_ms > 0) await sleep(pause_ms);
      const after = await this.#vf();
      if (after === null) throw new Stop('failed', 'the VF has gone meanwhile');
      if (after.mac === wanted) return this.#keep(before, after);
    }
    const after = await this.#vf();
    throw new Stop('failed', `the driver took MAC ${wanted} without a word, and the VF has ${after?.mac ?? 'none'}`);
  }

  async #setVf(mac: Mac, { mac: old }: VfFacts): Promise<void> {
    const { pf = '', vf = 0 } = this.vm;
    const ifindex = await this.#index(pf);
    if (ifindex === null) throw new Stop('refused', `${pf} is gone`);
    await must(this.#conversation, `VF ${vf} of ${pf}: MAC ${mac} instead of ${old}`, [setVf(ifindex, vf, { mac })]);
  }

  /** Some drivers reset a VF's VLAN or its checks when they take a new MAC: they are set again, and read back. */
  async #keep(before: VfFacts, after: VfFacts): Promise<void> {
    const lost = lostOf(before, after);
    if (lost.length === 0) return;
    const { pf = '', vf = 0 } = this.vm;
    const ifindex = await this.#index(pf);
    if (ifindex === null) throw new Stop('failed', `${pf} has gone meanwhile`);
    const { vlan, qos, spoofchk, trust } = before;
    await must(this.#conversation, `VF ${vf} of ${pf}: ${lost.join(', ')} again`, [
      setVf(ifindex, vf, { vlan: { vlan, qos }, spoofchk, trust }),
    ]);
    const still = lostOf(before, (await this.#vf()) ?? after);
    if (still.length > 0)
      throw new Stop('failed', `the driver changed ${still.join(', ')} of the VF with its MAC, and keeps it so`);
  }

  async #setEntry(port: string, mac: Mac, old: Mac): Promise<void> {
    const ifindex = await this.#index(port);
    if (ifindex === null) throw new Stop('refused', `${port} is gone`);
    const requests = mac === NO_MAC ? [] : [addFdb(ifindex, mac, 'master', true)];
    if (old === this.vm.mac || old === this.vm.parking) requests.unshift(deleteFdb(ifindex, old, 'master'));
    await must(this.#conversation, `port ${port}: MAC ${mac} instead of ${old}`, requests);
  }

  /** Adds the entries at these places, in their order. */
  async add(places: readonly Place[]): Promise<void> {
    for (const { iface, table } of places) {
      const ifindex = await this.#index(iface);
      if (ifindex === null) throw new Stop('refused', `${iface} is gone`);
      await must(this.#conversation, `forwarding entry on ${iface}`, [addFdb(ifindex, this.vm.mac, table)]);
    }
  }

  /**
   * Removes those of them that are there, in their order; where the interface has gone, its entries have, too. An entry of a
   * bridge may have moved to another port since: where the guest is now.
   */
  async remove(places: readonly Place[]): Promise<void> {
    for (const { iface, table } of places) {
      const link = await linkBy(this.#conversation, iface);
      if (link === null) continue;
      const { ifindex, master } = link;
      const isMasters = table === 'master' && master !== undefined;
      const entries = isMasters ? await this.#fixed(getFdbOfBridge(master)) : await this.#fixedOf(ifindex, table);
      const isOurs = (one: FdbEntry): boolean =>
        one.mac === this.vm.mac && one.table === table && (!isMasters || one.master === master);
      const requests = entries.filter(isOurs).map((one) => deleteFdb(one.ifindex, this.vm.mac, table));
      await must(this.#conversation, `forwarding entry on ${iface}`, requests);
    }
  }
}

/** Names of the settings that the driver changed. */
const lostOf = (before: VfFacts, after: VfFacts): string[] =>
  (['vlan', 'qos', 'spoofchk', 'trust'] as const).filter((name) => before[name] !== null && before[name] !== after[name]);
