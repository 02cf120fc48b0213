// The Linux side of the simulated guest: cards become links, net_failover enslaves by permanent MAC as it does in
// drivers/net/net_failover.c, and every change of a link is a message that carries all its facts, as rtnetlink's do.
// The delays are those of the recorded captures (replay/recordings). Bonds have a file of their own.
import type { Adapter, Address, PciFunction } from '../../events/catalogue.ts';
import { changesOf } from '../linux/adapter.ts';
import { SimulatedBonds } from './bonding.ts';
import type { Answer, Card, Kernel, Message, Ticking, Truth } from './kernel.ts';
import { carriesNow, DEFAULT_PARAMETERS, factsOf, globalsOf, type Link } from './link.ts';
import { truthOf } from './linux-truth.ts';

/** From the plug to the link, to the driver, and to the opening of a link whose master is up; milliseconds. */
const PROBE_MS = 118;
const BOUND_MS = 2;
const OPEN_MS = 73;
/** From the removal of the PTP clock to the link going down, gone, and the function unplugged. */
const CLOSING_MS = 65;
const GONE_MS = 8;
const UNBOUND_MS = 28;
const REMOVED_MS = 15;
const RENAME_MS = 30;
const MANAGED_MS = 300;
/** QEMU's announce rounds after a migration (net/announce.c: 50 ms, then 50 ms more each time). */
const ANNOUNCE_MS = [0, 60, 255, 500, 855];

export interface LinuxOptions {
  /** udev gives links their names a moment after they appear. */
  readonly rename?: boolean;
  /** A free ifindex is used again at once: what the kernel does after its counter has wrapped. */
  readonly reuseIndex?: boolean;
  /** The address that a network manager gives to a virtio NIC which is in nothing, a while after it appears. */
  readonly managed?: string;
  /** The gateway answers a NIC and no bond: somebody on the way looks at more than the MAC. */
  readonly bondUnanswered?: boolean;
}

export class LinuxKernel implements Kernel {
  readonly name = 'linux';
  readonly links = new Map<number, Link>();
  readonly bonds: SimulatedBonds;
  readonly #functions = new Map<string, PciFunction>();
  readonly #cards = new Map<string, Card>();
  readonly #clock: Ticking;
  readonly #say: (message: Message) => void;
  readonly #options: LinuxOptions;
  gatewayAnswers = true;
  #index = 1;

  constructor(clock: Ticking, say: (message: Message) => void, options: LinuxOptions = {}) {
    this.#clock = clock;
    this.#say = say;
    this.#options = options;
    this.bonds = new SimulatedBonds(this, clock);
  }

  adapters(): Adapter[] {
    return [...this.links.values()].map((link) => factsOf(link)).toSorted((a, b) => a.ifindex - b.ifindex);
  }
  functions(): PciFunction[] {
    return [...this.#functions.values()].map((item) => ({ ...item })).toSorted((a, b) => (a.address < b.address ? -1 : 1));
  }
  addresses(): Address[] {
    return this.adapters().flatMap(({ ifindex }) =>
      [...(this.links.get(ifindex)?.addresses ?? [])].map((address) => ({ ifindex, address })),
    );
  }
  records(): [] {
    return [];
  }
  protocolInstalled(): boolean {
    return false;
  }
  crashed(): null {
    return null;
  }
  has(address: string): boolean {
    return this.#cards.has(address);
  }

  plug(card: Card): void {
    this.#cards.set(card.address, card);
    const id = card.kind === 'virtio' ? '1af4:1041' : '8086:10d3';
    const item = { address: card.address, id, driver: null };
    this.#functions.set(card.address, item);
    this.#say({ kind: 'functionAdded', function: item });
    if (!card.driver) return;
    this.#clock.after(card.kind === 'virtio' ? 20 : PROBE_MS, () => {
      // It may have left, or the system may have started again meanwhile.
      if (this.#cards.get(card.address) !== card || this.#linksOf(card).length > 0) return;
      if (card.kind === 'virtio') this.#registerVirtio(card);
      else this.#registerPrimary(card);
      this.#clock.after(BOUND_MS, () => this.#bound(card));
    });
  }

  unplug(address: string, done: () => void, surprise = false): void {
    const card = this.#cards.get(address);
    if (card === undefined) return done();
    this.#cards.delete(address);
    const leave = (): void => {
      for (const link of this.#linksOf(card)) this.#unregister(link);
      this.#clock.after(surprise ? 0 : UNBOUND_MS, () => {
        if (card.driver) this.#say({ kind: 'functionUnbound', address });
        this.#clock.after(surprise ? 0 : REMOVED_MS, () => {
          // A card that is plugged in again meanwhile has an entry of its own.
          if (!this.#cards.has(address)) this.#functions.delete(address);
          this.#say({ kind: 'functionRemoved', address });
          done();
        });
      });
    };
    for (const link of this.#linksOf(card)) link.leaving = true;
    if (surprise) {
      leave();
      return;
    }
    if (card.ptp) this.#say({ kind: 'ptpRemoved', address });
    this.#clock.after(CLOSING_MS, () => {
      for (const link of this.#linksOf(card)) this.#open(link, false);
      this.#clock.after(6, () => {
        for (const link of this.#linksOf(card)) this.bonds.drop(link);
        this.publish();
        this.#clock.after(GONE_MS, leave);
      });
    });
  }

  setLink(address: string, on: boolean): void {
    for (const link of this.links.values()) {
      if (link.card?.address !== address || link.role !== 'card') continue;
      link.cable = on;
      this.#settleCarrier(link);
    }
    this.publish();
  }

  setMtu(ifindex: number, mtu: number): Answer {
    const link = this.links.get(ifindex);
    if (link === undefined) return 'ENODEV';
    const members = [...this.links.values()].filter(({ master }) => master === link);
    if ([link, ...members].some(({ card }) => card !== null && card.mtuMax < mtu)) return 'EINVAL';
    for (const item of [...members, link]) item.mtu = mtu;
    this.publish();
    return null;
  }

  setMac(ifindex: number, mac: string): Answer {
    const link = this.links.get(ifindex);
    if (link === undefined) return 'ENODEV';
    if (link.role === 'failover') return 'EOPNOTSUPP';
    link.mac = mac;
    this.publish();
    return null;
  }

  setUp(ifindex: number, up: boolean): Answer {
    const link = this.links.get(ifindex);
    if (link === undefined) return 'ENODEV';
    if (link.leaving && up) return 'ENODEV';
    if (link.role === 'failover') for (const member of this.#members(link)) this.#open(member, up);
    this.#open(link, up);
    this.publish();
    return null;
  }

  /** Whether the default gateway answers what is sent over this link. */
  answers(link: Link): boolean {
    if (!this.gatewayAnswers || globalsOf(link).length === 0) return false;
    if (link.bond === null) return carriesNow(link);
    return this.#options.bondUnanswered !== true && link.up && link.bond.active !== null && carriesNow(link.bond.active);
  }

  addAddress(link: Link, address: string): void {
    if (link.addresses.has(address)) return;
    link.addresses.add(address);
    this.#say({ kind: 'address', ifindex: link.ifindex, address, gone: false });
  }
  removeAddress(link: Link, address: string): void {
    if (link.addresses.delete(address)) this.#say({ kind: 'address', ifindex: link.ifindex, address, gone: true });
  }

  /** Other rings or channels take the carrier away for a while. */
  setParameters(link: Link, parameters: string): void {
    if (link.parameters === parameters) return;
    link.parameters = parameters;
    if (!link.up || link.card?.kind !== 'vf') return;
    link.carrier = false;
    this.#settleCarrier(link);
    this.publish();
  }

  named(name: string): Link | undefined {
    return [...this.links.values()].find((link) => link.name === name);
  }
  /** RTM_DELLINK: a bond lets its slaves go. */
  remove(link: Link): void {
    for (const slave of link.bond?.slaves ?? []) this.bonds.release(slave);
    this.#unregister(link);
  }

  announce(): void {
    for (const delay_ms of ANNOUNCE_MS) {
      this.#clock.after(delay_ms, () => {
        for (const { role, card, ifindex } of this.links.values()) {
          if (role === 'card' && card?.kind === 'virtio') this.#say({ kind: 'announce', ifindex });
        }
      });
    }
  }

  reboot(): void {
    const cards = [...this.#cards.values()];
    this.links.clear();
    this.#functions.clear();
    this.#cards.clear();
    this.#index = 1;
    for (const card of cards) this.plug(card);
  }

  /** The link that a name in a script stands for: the card at an address, or the device above it. */
  find(address: string): Link | undefined {
    return [...this.links.values()].find(({ card, role }) => role === 'card' && card?.address === address);
  }

  newLink(role: Link['role'], card: Card | null, name: string, mac: string, permMac: string | null): Link {
    const ifindex = this.#nextIndex();
    const mtu = card?.mtu ?? 1500;
    const common = { up: false, cable: true, carrier: role === 'card', driver: null, master: null, bond: null };
    const own = { addresses: new Set<string>(), parameters: DEFAULT_PARAMETERS, published: null };
    const link: Link = { ifindex, card, role, name, mac, permMac, mtu, ...common, miiUp: false, leaving: false, ...own };
    this.links.set(ifindex, link);
    return link;
  }

  /** Opens or closes a link; a card's carrier comes a while later. */
  open(link: Link, up: boolean): void {
    this.#open(link, up);
  }

  /** Says what has changed since it was last said. */
  publish(): void {
    for (const link of this.links.values()) this.#settleMaster(link);
    for (const link of this.links.values()) {
      const facts = factsOf(link);
      if (link.published !== null && changesOf(link.published, facts) === null) continue;
      link.published = facts;
      this.#say({ kind: 'link', adapter: facts });
      if (link.role === 'card') this.bonds.noticed(link);
    }
  }

  truth(mac: string): Truth {
    return truthOf(mac, [...this.links.values()]);
  }

  #nextIndex(): number {
    if (this.#options.reuseIndex === true) for (let free = 2; ; free += 1) if (!this.links.has(free)) return free;
    return (this.#index += 1);
  }

  #linksOf(card: Card): Link[] {
    return [...this.links.values()].filter((link) => link.card === card).toReversed();
  }

  #members(master: Link): Link[] {
    return [...this.links.values()].filter((link) => link.master === master).toSorted((a, b) => b.ifindex - a.ifindex);
  }

  #registerVirtio(card: Card): void {
    if (!card.standby) {
      const nic = this.newLink('card', card, `eth${this.#index - 1}`, card.mac, card.mac);
      this.#appear(nic);
      this.#manage(nic);
      return;
    }
    const master = this.newLink('failover', card, `eth${this.#index - 1}`, card.mac, card.mac);
    this.#appear(master);
    const standby = this.newLink('card', card, `eth${this.#index - 1}`, card.mac, card.mac);
    standby.master = master;
    this.#appear(standby);
    // failover_existing_slave_register: a primary that was there first.
    for (const link of this.links.values()) if (link.card?.kind === 'vf' && link.master === null) this.#enslave(link);
    this.publish();
  }

  #manage(nic: Link): void {
    const { managed } = this.#options;
    if (managed === undefined) return;
    this.#clock.after(MANAGED_MS, () => {
      if (this.links.get(nic.ifindex) !== nic || nic.leaving || nic.master !== null) return;
      this.#open(nic, true);
      this.publish();
      this.addAddress(nic, managed);
    });
  }

  #registerPrimary(card: Card): void {
    const link = this.newLink('card', card, `eth${this.#index - 1}`, card.mac, card.mac);
    this.#enslave(link);
    this.#appear(link);
  }

  /** net_failover takes the first primary with its permanent MAC, if it takes its MTU. */
  #enslave(link: Link): void {
    const master = [...this.links.values()].find(({ role, permMac }) => role === 'failover' && permMac === link.permMac);
    if (master === undefined || this.#members(master).some(({ card }) => card?.kind === 'vf')) return;
    if ((link.card?.mtuMax ?? 0) < master.mtu) return;
    link.master = master;
    link.mtu = master.mtu;
    if (!master.up) return;
    this.#clock.after(OPEN_MS, () => {
      if (!this.links.has(link.ifindex) || link.leaving || link.master !== master || !master.up) return;
      this.#open(link, true);
      this.publish();
    });
  }

  #appear(link: Link): void {
    this.publish();
    if (this.#options.rename !== true) return;
    this.#clock.after(RENAME_MS, () => {
      if (this.links.get(link.ifindex) !== link) return;
      link.name = `enp${link.ifindex}s0${link.role === 'card' && link.master?.role === 'failover' ? 'nsby' : ''}`;
      this.publish();
    });
  }

  #bound(card: Card): void {
    const driver = card.kind === 'virtio' ? 'virtio_net' : 'e1000e';
    if (this.#cards.get(card.address) !== card) return;
    if (card.kind === 'vf') this.#say({ kind: 'functionBound', address: card.address, driver });
    this.#functions.set(card.address, { ...(this.#functions.get(card.address) as PciFunction), driver });
    for (const link of this.#linksOf(card)) link.driver = driver;
    this.publish();
  }

  #unregister(link: Link): void {
    for (const member of this.links.values()) if (member.master === link) member.master = null;
    this.bonds.drop(link);
    this.links.delete(link.ifindex);
    this.#say({ kind: 'linkGone', ifindex: link.ifindex });
    this.publish();
  }

  #open(link: Link, up: boolean): void {
    if (link.up === up) return;
    link.up = up;
    if (link.card?.kind !== 'vf') {
      if (link.role === 'card') link.carrier = link.cable;
      return;
    }
    link.carrier = false;
    if (up) this.#settleCarrier(link);
  }

  #settleCarrier(link: Link): void {
    if (!link.up && link.card?.kind === 'vf') return;
    if (!link.cable || link.card?.kind !== 'vf') {
      link.carrier = link.cable;
      return;
    }
    this.#clock.after(link.card.carrierDelay_ms, () => {
      if (this.links.get(link.ifindex) !== link || !link.cable || !link.up) return;
      link.carrier = true;
      this.publish();
    });
  }

  #settleMaster(link: Link): void {
    if (link.role === 'failover' && link.up) link.carrier = this.#members(link).some((member) => member.up && member.carrier);
    if (link.role === 'bond') link.carrier = link.bond?.active !== null;
  }
}
