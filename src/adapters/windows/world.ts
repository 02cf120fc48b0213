// What this guest's network is, put together from what Windows and the driver say: interfaces with their devices and
// bindings, and NETKVM's records. Pure: two looks are compared, and what changed is told.
//
// A VF is told only when its bindings are known, and so is a record that speaks of it: the machine would take a primary whose
// bindings nobody told for one that is bound to the failover protocol alone.
import type { Adapter, DriverFacts, Observation, PciFunction } from '../../events/catalogue.ts';
import { changesOf, isAnother } from '../linux/adapter.ts';
import type { NetworkDevice } from './devices.ts';
import type { Counters, Interface } from './interfaces.ts';
import { type Bindings, FAILOVER_PROTOCOL } from './netcfg.ts';

/** What one look has read. `records` and `bindings` are those of the last look that could read them. */
export interface Look {
  readonly interfaces: readonly Interface[];
  readonly devices: readonly NetworkDevice[];
  readonly records: readonly DriverFacts[];
  /** Null until INetCfg has answered for the first time. */
  readonly bindings: Bindings | null;
  /** Whether the original service runs. */
  readonly original: boolean;
  readonly addresses: readonly { readonly ifindex: number; readonly address: string }[];
  /** Adapters whose bindings are not known are told all the same: INetCfg has not answered for long. */
  readonly withoutBindings: boolean;
  /** An effect is under way: bindings may be changed by us. */
  readonly acting: boolean;
}

/** The service that drives a virtio adapter. */
const DRIVER = 'netkvm';
export const ORIGINAL_SERVICE = 'netkvmp';

export const isStandbyDevice = (device: NetworkDevice | undefined): boolean => device?.service?.toLowerCase() === DRIVER;

const adapterOf = (one: Interface, device: NetworkDevice | undefined, bindings: Bindings | null): Adapter => ({
  ifindex: one.ifindex,
  name: one.alias,
  mac: one.mac,
  permMac: one.permMac,
  bus: device === undefined ? null : isStandbyDevice(device) ? 'virtio' : device.pci === null ? null : 'pci',
  device: device?.instanceId ?? null,
  pci: device?.pci ?? null,
  driver: device?.service ?? null,
  mtu: one.mtu,
  up: one.up,
  carrier: one.carrier,
  master: null,
  kind: null,
  bond: null,
  slave: null,
  protocols: device === undefined ? null : (bindings?.adapters[device.instanceId.toUpperCase()] ?? null),
});

const functionsOf = (devices: readonly NetworkDevice[]): PciFunction[] =>
  devices.flatMap(({ pci, pciId, service }) => (pci === null ? [] : [{ address: pci, id: pciId, driver: service }]));

/** Of several records with one MAC the driver obeys the first with a virtio adapter, and so do we. */
const firstRecords = (records: readonly DriverFacts[]): Map<string, DriverFacts> => {
  const found = new Map<string, DriverFacts>();
  for (const record of records) {
    const known = found.get(record.mac);
    if (known === undefined || (!known.virtio && record.virtio)) found.set(record.mac, record);
  }
  return found;
};

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

export class World {
  readonly #adapters = new Map<number, Adapter>();
  readonly #functions = new Map<string, PciFunction>();
  readonly #records = new Map<string, DriverFacts>();
  readonly #addresses = new Map<string, { ifindex: number; address: string }>();
  #counters: ReadonlyMap<number, Counters> = new Map();
  #installed: boolean | null = null;
  #original: boolean | null = null;

  adapter(ifindex: number): Adapter | undefined {
    return this.#adapters.get(ifindex);
  }

  /** Whether an adapter waits for its bindings to be read. */
  lacksBindings({ interfaces, devices, records, bindings }: Look): boolean {
    const byGuid = new Map(devices.map((device) => [device.guid, device]));
    return interfaces.some((one) => this.#isWithheld(adapterOf(one, byGuid.get(one.guid), bindings), records));
  }

  /**
   * Whether the driver has lost a VF that is still there, or got one that was there before: somebody has changed bindings, and
   * what follows from the record alone would be wrong. The driver switches by itself meanwhile, so this may wait for them.
   */
  wasRebound({ interfaces, records }: Look): boolean {
    const listed = firstRecords(records);
    const isThere = (index: number): boolean => this.#adapters.has(index) && interfaces.some(({ ifindex }) => ifindex === index);
    return [...this.#records.values()].some((known) => {
      const now = listed.get(known.mac);
      if (now === undefined || now.hasVf === known.hasVf) return false;
      return isThere(now.hasVf ? now.vfIfIndex : known.vfIfIndex);
    });
  }

  /** Takes a look. With a reason everything is told anew, without one what differs. */
  take(look: Look, reason: string | null): Observation[] {
    const out: Observation[] = [];
    const aside = [...this.#takeProtocol(look.bindings), ...this.#takeOriginal(look.original)];
    this.#takeAdapters(look, out);
    this.#takeFunctions(functionsOf(look.devices), out);
    this.#takeRecords(look, out);
    this.#takeAddresses(look.addresses, out);
    if (reason === null) return [...aside, ...out];
    const [adapters, functions] = [[...this.#adapters.values()], [...this.#functions.values()]];
    const [addresses, records] = [[...this.#addresses.values()], [...this.#records.values()].slice(0, 256)];
    const survey: Observation = { type: 'survey.taken', data: { reason, adapters, functions, addresses, records } };
    return [...aside, survey, ...this.#takeCounters(look.interfaces)];
  }

  /** Counters of the adapters that a device carries, where they moved since the last survey. */
  #takeCounters(interfaces: readonly Interface[]): Observation[] {
    const moved = interfaces.filter(({ ifindex, counters }) => {
      const known = this.#counters.get(ifindex);
      return this.#adapters.get(ifindex)?.bus != null && (known === undefined || !same(known, counters));
    });
    this.#counters = new Map(interfaces.map(({ ifindex, counters }) => [ifindex, counters]));
    return moved.map(({ ifindex, counters }) => ({ type: 'counters.sampled', data: { ifindex, ...counters } }));
  }

  #isWithheld({ ifindex, mac, bus, protocols }: Adapter, records: readonly DriverFacts[]): boolean {
    const isPrimary = bus === 'pci' && records.some((record) => record.mac === mac);
    return isPrimary && protocols === null && !this.#adapters.has(ifindex);
  }

  #takeAdapters({ interfaces, devices, records, bindings, withoutBindings }: Look, out: Observation[]): void {
    const byGuid = new Map(devices.map((device) => [device.guid, device]));
    const listed = new Set(interfaces.map(({ ifindex }) => ifindex));
    for (const ifindex of this.#adapters.keys()) {
      if (listed.has(ifindex)) continue;
      this.#adapters.delete(ifindex);
      out.push({ type: 'adapter.gone', data: { ifindex } });
    }
    for (const one of interfaces) {
      const adapter = adapterOf(one, byGuid.get(one.guid), bindings);
      if (withoutBindings || !this.#isWithheld(adapter, records)) this.#put(adapter, out);
    }
  }

  #put(adapter: Adapter, out: Observation[]): void {
    const { ifindex } = adapter;
    const known = this.#adapters.get(ifindex);
    // A device that leaves is gone from SetupAPI before its interface is; it is told with what it was.
    const next = known !== undefined && adapter.device === null ? { ...known, ...withoutDevice(adapter) } : adapter;
    this.#adapters.set(ifindex, next);
    if (known === undefined) return void out.push({ type: 'adapter.appeared', data: next });
    if (isAnother(known, next)) {
      out.push({ type: 'adapter.gone', data: { ifindex } }, { type: 'adapter.appeared', data: next });
      return;
    }
    const protocols = same(known.protocols, next.protocols) ? {} : { protocols: next.protocols };
    const changed = { ...changesOf(known, next), ...protocols };
    if (Object.keys(changed).length > 0) out.push({ type: 'adapter.changed', data: { ifindex, changed } });
  }

  #takeFunctions(functions: readonly PciFunction[], out: Observation[]): void {
    const listed = new Map(functions.map((one) => [one.address, one]));
    for (const address of this.#functions.keys()) {
      if (!listed.has(address)) out.push({ type: 'pci.removed', data: { address } });
    }
    for (const [address, one] of listed) {
      const known = this.#functions.get(address);
      if (known === undefined || known.id !== one.id) out.push({ type: 'pci.added', data: one });
      else if (known.driver !== one.driver && one.driver !== null)
        out.push({ type: 'pci.bound', data: { address, driver: one.driver } });
      else if (known.driver !== one.driver) out.push({ type: 'pci.unbound', data: { address } });
    }
    this.#functions.clear();
    for (const [address, one] of listed) this.#functions.set(address, one);
  }

  /** A driver lets a VF go that is still bound as far as INetCfg knows: it is being removed, and its interface goes next. */
  #signsOf(known: DriverFacts | undefined, now: DriverFacts, acting: boolean): Observation[] {
    const vf = known?.hasVf === true && !now.hasVf ? this.#adapters.get(known.vfIfIndex) : undefined;
    if (vf?.pci == null || acting || this.#installed === false || vf.protocols?.[FAILOVER_PROTOCOL] === false) return [];
    return [{ type: 'departure.signalled', data: { address: vf.pci, sign: 'unbound' } }];
  }

  #takeRecords({ records, acting }: Look, out: Observation[]): void {
    const listed = firstRecords(records);
    for (const mac of this.#records.keys()) {
      if (listed.has(mac)) continue;
      this.#records.delete(mac);
      out.push({ type: 'driver.gone', data: { mac } });
    }
    for (const [mac, record] of listed) {
      if (record.hasVf && record.virtio && !this.#adapters.has(record.vfIfIndex)) continue;
      if (same(this.#records.get(mac), record)) continue;
      out.push(...this.#signsOf(this.#records.get(mac), record, acting), { type: 'driver.facts', data: record });
      this.#records.set(mac, record);
    }
  }

  #takeAddresses(addresses: Look['addresses'], out: Observation[]): void {
    const listed = new Map(addresses.map(({ ifindex, address }) => [`${ifindex} ${address}`, { ifindex, address }]));
    for (const [key, data] of this.#addresses) {
      if (listed.has(key)) continue;
      this.#addresses.delete(key);
      out.push({ type: 'address.removed', data });
    }
    for (const [key, data] of listed) {
      if (this.#addresses.has(key) || !this.#adapters.has(data.ifindex)) continue;
      this.#addresses.set(key, data);
      out.push({ type: 'address.added', data });
    }
  }

  #takeProtocol(bindings: Bindings | null): Observation[] {
    if (bindings === null || bindings.installed === this.#installed) return [];
    this.#installed = bindings.installed;
    return [{ type: bindings.installed ? 'protocol.installed' : 'protocol.removed', data: { name: FAILOVER_PROTOCOL } }];
  }

  #takeOriginal(running: boolean): Observation[] {
    if (running === this.#original) return [];
    this.#original = running;
    return [{ type: 'controller.seen', data: { name: ORIGINAL_SERVICE, running } }];
  }
}

const withoutDevice = ({
  bus: _b,
  device: _d,
  pci: _p,
  driver: _r,
  protocols: _o,
  ...rest
}: Adapter): Omit<Adapter, 'bus' | 'device' | 'pci' | 'driver' | 'protocols'> => rest;
