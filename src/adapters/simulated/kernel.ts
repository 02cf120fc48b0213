// What the two simulated kernels have in common: the cards that can be plugged into them, the messages that come out of
// them, and what the rest of the simulated world may ask and do.
import type { Adapter, Address, DriverFacts, PciFunction } from '../../events/catalogue.ts';

/** A network card as the hypervisor knows it. */
export interface Card {
  readonly kind: 'virtio' | 'vf';
  /** PCI address, which is also where its settings are kept on Windows. */
  readonly address: string;
  readonly mac: string;
  /** virtio: VIRTIO_NET_F_STANDBY is offered. */
  readonly standby: boolean;
  readonly mtu: number;
  /** The largest MTU that it can be set to. */
  readonly mtuMax: number;
  /** From set up to carrier: an e1000e needs 2 to 3 s, a virtio NIC none. */
  readonly carrierDelay_ms: number;
  /** Has a PTP clock, whose removal is an early sign of departure on Linux. */
  readonly ptp: boolean;
  /** Whether a driver takes it at all. */
  readonly driver: boolean;
}

/** What a kernel says. On Linux a message carries what it is about; on Windows it only says that something changed. */
export type Message =
  | { readonly kind: 'link'; readonly adapter: Adapter }
  | { readonly kind: 'linkGone'; readonly ifindex: number }
  | { readonly kind: 'address'; readonly ifindex: number; readonly address: string; readonly gone: boolean }
  | { readonly kind: 'functionAdded'; readonly function: PciFunction }
  | { readonly kind: 'functionBound'; readonly address: string; readonly driver: string }
  | { readonly kind: 'functionUnbound'; readonly address: string }
  | { readonly kind: 'functionRemoved'; readonly address: string }
  | { readonly kind: 'announce'; readonly ifindex: number }
  | { readonly kind: 'ptpRemoved'; readonly address: string }
  | { readonly kind: 'changed' };

/** Which way frames really go, and whether they arrive: the truth that the fold is held against. */
export interface Truth {
  readonly mac: string;
  readonly datapath: 'none' | 'standby' | 'primary';
  /** Whether each path would work, were it chosen. */
  readonly standbyWorks: boolean;
  readonly primaryWorks: boolean;
  /** What is wrong although frames flow: both members hold addresses, two primaries are bound, … */
  readonly wrong: readonly string[];
}

/** What the system answers to an attempt to change something: null, or the reason why not. */
export type Answer = string | null;

export interface Kernel {
  readonly name: 'linux' | 'windows';
  /** All that exists, in the order of the ifindex. The objects are copies. */
  adapters(): Adapter[];
  functions(): PciFunction[];
  /** Linux: IP addresses, in the order of the ifindex. */
  addresses(): Address[];
  /** Windows: NETKVM's records. */
  records(): DriverFacts[];
  /** Windows: whether VIOPROT is installed. Linux: false. */
  protocolInstalled(): boolean;
  plug(card: Card): void;
  /** Begins the removal of a card; `done` is called when it is gone. Surprise: it is gone at once. */
  unplug(address: string, done: () => void, surprise?: boolean): void;
  has(address: string): boolean;
  /** Cable in, cable out. */
  setLink(address: string, on: boolean): void;
  setMtu(ifindex: number, mtu: number): Answer;
  setMac(ifindex: number, mac: string): Answer;
  setUp(ifindex: number, up: boolean): Answer;
  /** Everything is told to announce its address, as after a migration. */
  announce(): void;
  /** The system starts again: cards are found anew. */
  reboot(): void;
  truth(mac: string): Truth;
  /** Something that must never happen, with the first such thing; null while all is well. */
  crashed(): string | null;
}

/** The clock as a kernel sees it. */
export interface Ticking {
  after(delay_ms: number, act: () => void): () => void;
}
