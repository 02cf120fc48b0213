// The Windows side of the simulated guest: adapters as GetIfTable2 tells of them, the bindings of protocols as INetCfg
// keeps them, and NETKVM's driver, which has a file of its own.
import type { Adapter, DriverFacts, PciFunction } from '../../events/catalogue.ts';
import type { Answer, Card, Kernel, Message, Ticking, Truth } from './kernel.ts';
import { NetkvmDriver, type Nic } from './netkvm-driver.ts';

export const FAILOVER_PROTOCOL = 'vioprot';
/** What a new adapter is bound to beside the failover protocol. */
const ORDINARY = ['ms_tcpip', 'ms_tcpip6', 'ms_server'];
const PROBE_MS = 300;
const REMOVED_MS = 40;
/** From the binding of VIOPROT to the first indication of the VF's link. */
const INDICATION_MS = 2;

export interface WindowsOptions {
  /** Protocols that the administrator has switched off on every new adapter. */
  readonly switchedOff?: readonly string[];
  readonly withoutProtocol?: boolean;
}

export class WindowsKernel implements Kernel {
  readonly name = 'windows';
  /** Who holds the write lock of INetCfg, null when nobody does. */
  lockedBy: string | null = null;
  readonly #nics = new Map<number, Nic>();
  readonly #cards = new Map<string, Card>();
  readonly #functions = new Map<string, PciFunction>();
  readonly #registry = new Map<string, Record<string, boolean>>();
  readonly #clock: Ticking;
  readonly #say: (message: Message) => void;
  readonly #options: WindowsOptions;
  readonly #driver = new NetkvmDriver();
  #installed: boolean;
  #index = 10;

  constructor(clock: Ticking, say: (message: Message) => void, options: WindowsOptions = {}) {
    this.#clock = clock;
    this.#say = say;
    this.#options = options;
    this.#installed = options.withoutProtocol !== true;
  }

  crashed(): string | null {
    return this.#driver.crash;
  }
  has(address: string): boolean {
    return this.#cards.has(address);
  }
  protocolInstalled(): boolean {
    return this.#installed;
  }
  addresses(): [] {
    return [];
  }
  functions(): PciFunction[] {
    return [...this.#functions.values()].map((item) => ({ ...item })).toSorted((a, b) => (a.address < b.address ? -1 : 1));
  }

  adapters(): Adapter[] {
    return [...this.#nics.values()].map((nic) => {
      const { ifindex, card, mac, permMac, mtu, up, operational, protocols } = nic;
      return {
        ifindex,
        name: `Ethernet ${ifindex}`,
        mac,
        permMac,
        bus: card.kind === 'virtio' ? 'virtio' : 'pci',
        device: `PCI\\${card.address}`,
        pci: card.address,
        driver: card.kind === 'virtio' ? 'netkvm' : 'e1i65x64',
        mtu,
        up,
        carrier: up && operational && !this.#driver.suppresses(nic),
        master: null,
        kind: null,
        bond: null,
        slave: null,
        protocols: { ...protocols },
      };
    });
  }

  records(): DriverFacts[] {
    return this.#driver.records();
  }

  plug(card: Card): void {
    this.#cards.set(card.address, card);
    this.#functions.set(card.address, { address: card.address, id: null, driver: null });
    this.#changed();
    if (!card.driver) return;
    this.#clock.after(card.kind === 'virtio' ? 50 : PROBE_MS, () => {
      if (this.#cards.get(card.address) === card) this.#arrive(card);
    });
  }

  unplug(address: string, done: () => void, surprise = false): void {
    const card = this.#cards.get(address);
    if (card === undefined) return done();
    this.#cards.delete(address);
    this.#clock.after(surprise ? 0 : REMOVED_MS, () => {
      const nic = this.find(address);
      if (nic !== undefined && nic.card === card) this.#depart(nic);
      if (!this.#cards.has(address)) this.#functions.delete(address);
      this.#changed();
      done();
    });
  }

  setLink(address: string, on: boolean): void {
    const nic = this.find(address);
    if (nic === undefined) return;
    nic.cable = on;
    if (!on) nic.operational = false;
    else this.#connect(nic);
    this.#changed();
  }

  /** *JumboPacket: the new MTU holds after the adapter was restarted, which this does at once. */
  setMtu(ifindex: number, mtu: number): Answer {
    const nic = this.#nics.get(ifindex);
    if (nic === undefined) return 'not found';
    if (nic.card.mtuMax < mtu) return 'out of range';
    return this.setJumbo(ifindex, mtu, true);
  }

  /** What the registry has for the device, as an MTU. */
  jumboOf(ifindex: number): number {
    return this.#nics.get(ifindex)?.jumbo ?? 0;
  }

  /** Writes it; whether the device is restarted, so that it holds. */
  setJumbo(ifindex: number, mtu: number, restarts: boolean): Answer {
    const nic = this.#nics.get(ifindex);
    if (nic === undefined) return 'not found';
    if (nic.card.mtuMax < mtu) return 'out of range';
    nic.jumbo = mtu;
    if (!restarts) return null;
    this.#restart(nic, () => {});
    return null;
  }

  /** NetworkAddress, likewise. */
  setMac(ifindex: number, mac: string): Answer {
    const nic = this.#nics.get(ifindex);
    if (nic === undefined) return 'not found';
    this.#restart(nic, () => {
      nic.mac = mac;
    });
    return null;
  }

  setUp(ifindex: number, up: boolean): Answer {
    const nic = this.#nics.get(ifindex);
    if (nic === undefined) return 'not found';
    // Enabling and disabling a device starts and halts its driver.
    if (nic.up !== up) {
      this.#restart(nic, () => {
        nic.up = up;
      });
    }
    return null;
  }

  /** The driver is exchanged for one that knows STANDBY, or does not; `link`: whoever did it asks for the link at once. */
  exchangeDriver(ifindex: number, standby: boolean, link: boolean): void {
    const nic = this.#nics.get(ifindex);
    if (nic?.card.kind !== 'virtio') return;
    this.#restart(nic, () => {
      nic.standby = standby && nic.card.standby;
    });
    // Another program is not to crash the guest: that would be its fault, not the controller's.
    if (link && nic.up && !this.#driver.wouldCrash(nic)) this.setLinkOf(nic.mac, true);
  }

  announce(): void {}

  reboot(): void {
    const cards = [...this.#cards.values()];
    this.#nics.clear();
    this.#driver.forget();
    this.#cards.clear();
    this.#functions.clear();
    this.#index = 10;
    for (const card of cards) this.plug(card);
  }

  find(address: string): Nic | undefined {
    return [...this.#nics.values()].find(({ card }) => card.address === address);
  }

  // What a controller may do.

  /** IOCTL_NETKVMD_SET_LINK. An unknown MAC succeeds. */
  setLinkOf(mac: string, on: boolean): void {
    this.#driver.setLink(mac, on);
    this.#changed();
  }

  /** INetCfg: sets the bindings of one adapter. Refused while somebody else holds the write lock. */
  setBindings(ifindex: number, wanted: Readonly<Record<string, boolean>>): Answer {
    if (this.lockedBy !== null) return `the write lock is held by ${this.lockedBy}`;
    const nic = this.#nics.get(ifindex);
    if (nic === undefined) return 'no such adapter';
    for (const name of Object.keys(nic.protocols)) nic.protocols[name] = wanted[name] ?? nic.protocols[name] ?? false;
    this.#registry.set(nic.card.address, nic.protocols);
    this.#bindings(nic);
    this.#changed();
    return null;
  }

  /** What the administrator wants above every adapter, VIOPROT apart. */
  administrators(): Record<string, boolean> {
    return Object.fromEntries(ORDINARY.map((name) => [name, this.#options.switchedOff?.includes(name) !== true]));
  }

  /** Installs or uninstalls VIOPROT on every adapter. */
  setProtocol(installed: boolean): void {
    this.#installed = installed;
    for (const stored of this.#registry.values()) stored[FAILOVER_PROTOCOL] = installed;
    for (const nic of this.#nics.values()) {
      nic.protocols[FAILOVER_PROTOCOL] = installed;
      this.#bindings(nic);
    }
    this.#changed();
  }

  truth(mac: string): Truth {
    const entry = this.#driver.entryOf(mac);
    const found = [...this.#nics.values()].filter((nic) => nic.card.kind === 'vf' && nic.mac === mac);
    const virtio = entry?.virtio ?? null;
    if (entry === undefined || virtio === null) {
      return { mac, datapath: 'none', standbyWorks: false, primaryWorks: false, wrong: [] };
    }
    const standbyWorks = virtio.up && virtio.operational;
    const fits = ({ cable, up, mtu }: Nic): boolean => cable && up && mtu === virtio.mtu;
    // Of several the first keeps its place, so nothing is promised unless each would do.
    const primaryWorks = this.#installed && virtio.up && found.length > 0 && found.every(fits);
    const linkUp = virtio.up && !entry.suppress;
    const viaPrimary = entry.started && entry.binding !== null;
    // What is sent goes into the VF as long as it is bound, whether it has carrier or not (CProtocolBinding::Send).
    const carries = linkUp && (viaPrimary ? entry.binding.operational : virtio.operational);
    const datapath = !carries ? 'none' : viaPrimary ? 'primary' : 'standby';
    const both = viaPrimary && ORDINARY.some((name) => entry.binding?.protocols[name] === true);
    return { mac, datapath, standbyWorks, primaryWorks, wrong: both ? ['the bound primary has other protocols, too'] : [] };
  }

  // What happens by itself.

  #changed(): void {
    this.#say({ kind: 'changed' });
  }

  #arrive(card: Card): void {
    // A second start of the system before the first has found the card.
    if (this.find(card.address)?.card === card) return;
    const fresh = this.administrators();
    // Windows remembers bindings by the device's instance, so a VF that returns to its slot has them as they were left.
    const protocols = this.#registry.get(card.address) ?? { ...fresh, [FAILOVER_PROTOCOL]: this.#installed };
    this.#registry.set(card.address, protocols);
    const { mac, address } = card;
    this.#index += 1;
    const common = {
      card,
      standby: card.standby,
      mac,
      permMac: mac,
      mtu: card.mtu,
      jumbo: card.mtu,
      up: true,
      cable: true,
      operational: false,
      protocols,
      isOpen: false,
      isIndicated: false,
    };
    const nic: Nic = { ifindex: this.#index, ...common };
    this.#nics.set(nic.ifindex, nic);
    const known = this.#functions.get(address);
    if (known !== undefined) this.#functions.set(address, { ...known, driver: card.kind === 'virtio' ? 'netkvm' : 'e1i65x64' });
    this.#connect(nic);
    if (card.kind === 'virtio') this.#driver.add(nic);
    else this.#bindings(nic);
    this.#changed();
  }

  #depart(nic: Nic): void {
    this.#nics.delete(nic.ifindex);
    if (nic.card.kind === 'virtio') this.#driver.halt(nic);
    else this.#driver.close(nic);
  }

  #restart(nic: Nic, change: () => void): void {
    if (nic.card.kind === 'virtio') this.#driver.halt(nic);
    else this.#driver.close(nic);
    change();
    nic.mtu = nic.jumbo;
    nic.operational = false;
    this.#connect(nic);
    if (nic.card.kind === 'vf') this.#bindings(nic);
    else if (nic.up) this.#driver.add(nic);
    this.#changed();
  }

  #connect(nic: Nic): void {
    const connect = (): void => {
      if (this.#nics.get(nic.ifindex) !== nic || !nic.cable || !nic.up) return;
      nic.operational = true;
      this.#changed();
    };
    if (nic.card.kind === 'virtio') nic.operational = nic.cable && nic.up;
    else this.#clock.after(nic.card.carrierDelay_ms, connect);
  }

  /** NDIS binds or unbinds VIOPROT as the settings say. Never to a NETKVM adapter. */
  #bindings(nic: Nic): void {
    if (nic.card.kind === 'virtio') return;
    const wanted = nic.up && this.#installed && nic.protocols[FAILOVER_PROTOCOL] === true;
    if (wanted && !nic.isOpen) {
      this.#driver.open(nic);
      this.#clock.after(INDICATION_MS, () => {
        nic.isIndicated = true;
        this.#changed();
      });
    } else if (!wanted && nic.isOpen) this.#driver.close(nic);
  }
}
