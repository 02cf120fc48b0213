// What this guest's network is, as told by rtnetlink and uevents, and what changed with each message. Pure and
// deterministic: the same bytes in the same order give the same observations, live and from a raw capture. Messages are
// compared with what is known; a repeated or late one changes nothing and is not reported.
//
// It also takes the replies of a dump. A dump that was asked for (`expect`) waits for `finish`, so that the caller can
// add what sysfs says; a dump that a capture happens to contain finishes by itself.
import type { Adapter, Address, Observation, PciFunction } from '../../events/catalogue.ts';
import { adapterOf, changesOf, isAnother } from './adapter.ts';
import { Dump, type DumpState } from './dump.ts';
import { Functions } from './functions.ts';
import type { Counters, LinkMessage } from './link-message.ts';
import { decodeRtnetlink, type AddressMessage, type Message } from './rtnetlink.ts';
import { decodeUevent, type DriverAction, type Uevent } from './uevent.ts';
import { Atlas, type InterfacePlace, type Parent } from './whereabouts.ts';

export type Source = 'rtnetlink' | 'uevent';

/** What sysfs adds to a dump: the PCI functions of the network class, the drivers of devices, the places of interfaces. */
export interface Inventory {
  readonly functions: readonly PciFunction[];
  readonly parents: readonly Parent[];
  readonly places: readonly InterfacePlace[];
}

export interface Known {
  readonly adapters: readonly Adapter[];
  readonly functions: readonly PciFunction[];
  readonly addresses: readonly Address[];
}

/** NETDEV_NOTIFY_PEERS as IFLA_EVENT says it (IFLA_EVENT_NOTIFY_PEERS, linux/if_link.h). */
const NOTIFY_PEERS = 4;
/** As many of each kind as a survey may list (src/events/catalogue.ts). */
const LIMIT = 65_536;

const keyOf = ({ ifindex, address }: { ifindex: number; address: string }): string => `${ifindex} ${address}`;
const gone = (ifindex: number): Observation => ({ type: 'adapter.gone', data: { ifindex } });
const appeared = (adapter: Adapter): Observation => ({ type: 'adapter.appeared', data: adapter });
const gap = (source: string, reason: string): Observation => ({
  type: 'gap.seen',
  data: { source: source.slice(0, 256), reason: reason.slice(0, 4096) },
});

const isHardware = ({ bus }: Adapter): boolean => bus === 'pci' || bus === 'virtio';

export class Observer {
  /** Adapters are replaced, never changed in place: an observation may hold one. */
  readonly #adapters = new Map<number, Adapter>();
  readonly #functions = new Functions();
  readonly #addresses = new Map<string, Address>();
  readonly #counters = new Map<number, Counters>();
  readonly #atlas = new Atlas();
  readonly #dump = new Dump();
  #surveyed = false;

  /** Everything known, in a fixed order. */
  known(): Known {
    return {
      adapters: [...this.#adapters.values()].toSorted((a, b) => a.ifindex - b.ifindex),
      functions: this.#functions.list(),
      addresses: [...this.#addresses.values()].toSorted((a, b) =>
        a.ifindex === b.ifindex ? (a.address < b.address ? -1 : 1) : a.ifindex - b.ifindex,
      ),
    };
  }

  /** An adapter as the messages so far tell it. */
  adapter(ifindex: number): Adapter | undefined {
    return this.#adapters.get(ifindex);
  }

  /** One datagram of NETLINK_ROUTE. Damage gives a `gap.seen` after whatever was readable before it. */
  rtnetlink(bytes: Uint8Array): Observation[] {
    const { messages, failure } = decodeRtnetlink(bytes);
    const out: Observation[] = [];
    for (const message of messages) this.#message(message, out);
    if (failure !== null) out.push(...this.lost('rtnetlink', failure));
    return out;
  }

  /** One datagram of NETLINK_KOBJECT_UEVENT. */
  uevent(bytes: Uint8Array): Observation[] {
    const event = decodeUevent(bytes);
    const out: Observation[] = [];
    if (event.kind === 'failed') out.push(...this.lost('uevent', event.failure));
    else this.#hardware(event, out);
    return out;
  }

  /** The kernel's log says that the slot of this device (an address without its function) is about to lose its power. */
  slotPoweringOff(device: string): Observation[] {
    const below = this.#functions.list().filter(({ address }) => address.startsWith(`${device}.`));
    return below.map(({ address }) => ({ type: 'departure.signalled', data: { address, sign: 'slotPowerOff' } }));
  }

  /** Messages were lost: what is known may be stale, and a dump that is being collected lacks something. */
  lost(source: string, reason: string): Observation[] {
    this.#dump.spoil();
    return [gap(source, reason)];
  }

  /** Announces a dump that the caller has asked the kernel for: addresses first, links when those are done. */
  expect(part: 'addresses' | 'links', seq: number): void {
    this.#dump.expect(part, seq);
  }
  /** How far the expected dump is; a complete one waits for `finish`. */
  get dumpState(): DumpState {
    return this.#dump.state;
  }
  /** Whether the dump may lack something: ask again. */
  get dumpInterrupted(): boolean {
    return this.#dump.interrupted;
  }
  /** The adapters of a complete dump, for the caller who looks them up in sysfs. */
  dumped(): readonly Adapter[] {
    return [...this.#dump.links.values()];
  }

  /**
   * Takes the collected dump as the truth. With a `reason` the result is one `survey.taken`; without one it is what
   * differs from what was known. `keepUnlisted` is for a dump that was interrupted time and again: what it does not
   * list may still exist.
   */
  finish(inventory: Inventory | null, reason: string | null, keepUnlisted = false): Observation[] {
    const out: Observation[] = [];
    if (inventory !== null) this.#takeInventory(inventory, out);
    if (this.#dump.has('links')) this.#takeLinks(keepUnlisted, out);
    if (this.#dump.has('addresses')) this.#takeAddresses(keepUnlisted, out);
    const counted = this.#takeCounters();
    this.#dump.reset();
    this.#surveyed = true;
    if (reason === null) return [...out, ...counted];
    const { adapters, functions, addresses } = this.known();
    const survey = { reason, adapters: [...adapters], functions: [...functions], addresses: [...addresses] };
    return [{ type: 'survey.taken', data: survey }, ...counted];
  }

  /** Whether what was just heard may have moved a path from one member to another. */
  movesPath(observation: Observation): boolean {
    switch (observation.type) {
      case 'adapter.appeared':
        return isHardware(observation.data);
      case 'adapter.changed': {
        const { ifindex, changed } = observation.data;
        const adapter = this.#adapters.get(ifindex);
        const moved = 'up' in changed || 'carrier' in changed || 'master' in changed || 'slave' in changed;
        return moved && adapter !== undefined && isHardware(adapter);
      }
      case 'pci.unbound':
      case 'pci.removed':
        return true;
      default:
        return false;
    }
  }

  #message(message: Message, out: Observation[]): void {
    switch (message.kind) {
      case 'link':
        if (message.multi && !message.gone) this.#dump.link(message, this.#build(message));
        else this.#link(message, out);
        return;
      case 'address':
        if (message.multi && !message.gone) this.#dump.address(keyOf(message), message);
        else this.#address(message, out);
        return;
      case 'done':
      case 'error':
        if (this.#dump.end(message)) this.#unasked(out);
        return;
      case 'overrun':
        out.push(...this.lost('rtnetlink', 'the kernel says that data was lost'));
        return;
    }
  }

  /** A dump that nobody announced, in a capture. The first one is a survey; of the addresses one waits for the links. */
  #unasked(out: Observation[]): void {
    const first = !this.#surveyed && this.#adapters.size === 0;
    if (first && !this.#dump.has('links')) return;
    out.push(...this.finish(null, first ? 'captured' : null));
  }

  #link(message: LinkMessage, out: Observation[]): void {
    const { ifindex } = message;
    if (message.gone) {
      this.#remove(ifindex, out);
      this.#dump.notifiedLinkGone(ifindex);
      return;
    }
    const adapter = this.#build(message);
    if (adapter !== null) {
      this.#put(adapter, out);
      this.#dump.notifiedLink(adapter);
    }
    if (message.event === NOTIFY_PEERS) out.push({ type: 'announce.seen', data: { ifindex } });
  }

  #address(message: AddressMessage, out: Observation[]): void {
    const address: Address = { ifindex: message.ifindex, address: message.address };
    const key = keyOf(address);
    this.#dump.notifiedAddress(key, address, message.gone);
    if (message.gone) {
      if (this.#addresses.delete(key)) out.push({ type: 'address.removed', data: address });
    } else if (!this.#addresses.has(key)) {
      if (this.#addresses.size >= LIMIT) out.push(gap('rtnetlink', `more than ${LIMIT} addresses`));
      else {
        this.#addresses.set(key, address);
        out.push({ type: 'address.added', data: address });
      }
    }
  }

  #build(message: LinkMessage): Adapter | null {
    const known = this.#adapters.get(message.ifindex) ?? this.#dump.links.get(message.ifindex);
    return adapterOf(message, known, this.#atlas);
  }

  /** Takes an adapter as it is now, and says what that changes. */
  #put(adapter: Adapter, out: Observation[]): void {
    const known = this.#adapters.get(adapter.ifindex);
    if (known !== undefined && !isAnother(known, adapter)) {
      const changed = changesOf(known, adapter);
      if (changed === null) return;
      this.#adapters.set(adapter.ifindex, adapter);
      out.push({ type: 'adapter.changed', data: { ifindex: adapter.ifindex, changed } });
      return;
    }
    if (known !== undefined) this.#remove(adapter.ifindex, out, true);
    if (this.#adapters.size >= LIMIT) {
      out.push(gap('rtnetlink', `more than ${LIMIT} adapters`));
      return;
    }
    this.#adapters.set(adapter.ifindex, adapter);
    out.push(appeared(adapter));
  }

  #remove(ifindex: number, out: Observation[], replaced = false): void {
    if (!replaced) this.#atlas.forgetPlace(ifindex);
    if (!this.#adapters.delete(ifindex)) return;
    this.#counters.delete(ifindex);
    for (const [key, address] of this.#addresses) {
      if (address.ifindex !== ifindex) continue;
      this.#addresses.delete(key);
      out.push({ type: 'address.removed', data: address });
    }
    out.push(gone(ifindex));
  }

  #hardware(event: Exclude<Uevent, { kind: 'failed' }>, out: Observation[]): void {
    switch (event.kind) {
      case 'ignored':
        return;
      case 'net':
        if (event.action === 'remove') this.#atlas.forgetPlace(event.ifindex);
        else {
          this.#atlas.learnPlace({ ifindex: event.ifindex, ...event.place, driver: null });
          this.#relocate(out);
        }
        return;
      case 'virtio':
        if (event.action === 'remove') this.#atlas.forgetParent('virtio', event.device);
        else this.#learn('virtio', event.device, event.pci, event);
        this.#relocate(out);
        return;
      case 'pci':
        if (event.network) out.push(...this.#functions.heard(event));
        if (event.action === 'remove') this.#atlas.forgetParent('pci', event.address);
        else this.#learn('pci', event.address, event.address, event);
        this.#relocate(out);
        return;
      case 'ptpRemoved': {
        // Other devices have PTP clocks, too: only one of a network function is a sign.
        const ours = this.#functions.has(event.pci) || [...this.#adapters.values()].some(({ pci }) => pci === event.pci);
        if (ours) out.push({ type: 'departure.signalled', data: { address: event.pci, sign: 'ptpRemoved' } });
        return;
      }
    }
  }

  /** A late `add` of a device that a survey has already found bound does not unbind it. */
  #learn(
    bus: string,
    device: string,
    pci: string | null,
    { action, driver }: Pick<Parent, 'driver'> & { action: DriverAction },
  ): void {
    const known = action === 'add' ? this.#atlas.driverOf(bus, device) : null;
    this.#atlas.learnParent({ bus, device, pci, driver: driver ?? known });
  }

  /** Places and drivers may have become known: say so for the adapters that they concern. */
  #relocate(out: Observation[]): void {
    for (const known of this.#adapters.values()) {
      const where = this.#atlas.locate(known.ifindex, known.bus, known.device);
      if (where.bus === known.bus && where.device === known.device && where.pci === known.pci && where.driver === known.driver)
        continue;
      this.#put({ ...known, ...where }, out);
    }
  }

  #takeInventory({ functions, parents, places }: Inventory, out: Observation[]): void {
    for (const parent of parents) this.#atlas.learnParent(parent);
    for (const place of places) this.#atlas.learnPlace(place);
    out.push(...this.#functions.take(functions));
  }

  #takeLinks(keepUnlisted: boolean, out: Observation[]): void {
    const listed = this.#dump.links;
    if (!keepUnlisted) for (const ifindex of this.#adapters.keys()) if (!listed.has(ifindex)) this.#remove(ifindex, out);
    for (const adapter of listed.values())
      this.#put({ ...adapter, ...this.#atlas.locate(adapter.ifindex, adapter.bus, adapter.device) }, out);
    this.#relocate(out);
  }

  #takeAddresses(keepUnlisted: boolean, out: Observation[]): void {
    const listed = this.#dump.addresses;
    for (const [key, address] of this.#addresses) {
      if (keepUnlisted || listed.has(key)) continue;
      this.#addresses.delete(key);
      out.push({ type: 'address.removed', data: address });
    }
    for (const [key, address] of listed) {
      if (this.#addresses.has(key) || this.#addresses.size >= LIMIT) continue;
      this.#addresses.set(key, address);
      out.push({ type: 'address.added', data: address });
    }
  }

  /** Counters of the adapters that hardware carries, where they moved since the last survey. */
  #takeCounters(): Observation[] {
    const out: Observation[] = [];
    for (const [ifindex, counters] of this.#dump.counters) {
      const adapter = this.#adapters.get(ifindex);
      if (adapter === undefined || !isHardware(adapter)) continue;
      const before = this.#counters.get(ifindex);
      this.#counters.set(ifindex, counters);
      if (
        before === undefined ||
        before.rxPackets !== counters.rxPackets ||
        before.txPackets !== counters.txPackets ||
        before.rxDropped !== counters.rxDropped ||
        before.txDropped !== counters.txDropped
      )
        out.push({ type: 'counters.sampled', data: { ifindex, ...counters } });
    }
    return out;
  }
}
