// NETKVM's list of pairs, as virtio-win NetKVM/Common/ParaNdis_Protocol.cpp keeps it: one entry for a MAC, the standby's
// suppressed link, and the VF that VIOPROT was bound to. What the driver would crash on is a crash here, so that the
// simulation finds a controller that provokes it.
import type { DriverFacts } from '../../events/catalogue.ts';
import type { Card } from './kernel.ts';

/** A network adapter of the simulated Windows guest. */
export interface Nic {
  readonly ifindex: number;
  readonly card: Card;
  /** virtio: the driver has negotiated STANDBY. */
  standby: boolean;
  readonly permMac: string;
  mac: string;
  mtu: number;
  /** *JumboPacket in the registry, as an MTU: what holds after the next start. */
  jumbo: number;
  up: boolean;
  cable: boolean;
  /** Media connected, as the card itself sees it. */
  operational: boolean;
  protocols: Record<string, boolean>;
  /** NDIS has bound VIOPROT to it. */
  isOpen: boolean;
  /** The first NDIS_STATUS_OPER_STATUS has come since then: before that its link counts as down. */
  isIndicated: boolean;
}

/** NETKVM's entry for a MAC. */
interface Entry {
  readonly mac: string;
  virtio: Nic | null;
  binding: Nic | null;
  /** The binding was found compatible (m_BoundAdapter). */
  attached: boolean;
  suppress: boolean;
  started: boolean;
}

export class NetkvmDriver {
  #entries: Entry[] = [];
  crash: string | null = null;

  /** IOCTL_NETKVMD_QUERY_ADAPTERS. */
  records(): DriverFacts[] {
    return this.#entries.map(({ mac, virtio, binding, suppress, started }) => ({
      mac,
      virtio: virtio !== null,
      isStandby: virtio?.standby === true,
      virtioLink: virtio?.operational === true,
      suppressLink: suppress,
      started,
      hasVf: binding !== null,
      vfIfIndex: binding?.ifindex ?? 0,
      vfLink: binding !== null && binding.operational && binding.isIndicated,
    }));
  }

  suppresses(nic: Nic): boolean {
    return this.#entries.some(({ virtio, suppress }) => virtio === nic && suppress);
  }

  /** The entry that a command for this MAC reaches: duplicates have entries of their own, and the first one is taken. */
  entryOf(mac: string): Readonly<Entry> | undefined {
    return this.#entries.find((entry) => entry.mac === mac && entry.virtio !== null);
  }

  /** Whether asking for this adapter's link would start a binding that was never found compatible. */
  wouldCrash(nic: Nic): boolean {
    const entry = this.#entries.find(({ virtio }) => virtio === nic);
    return entry !== undefined && entry.binding !== null && !entry.attached;
  }

  /** IOCTL_NETKVMD_SET_LINK. An unknown MAC succeeds. */
  setLink(mac: string, on: boolean): void {
    const entry = this.#entries.find((item) => item.mac === mac && item.virtio !== null);
    if (entry === undefined) return;
    if (on && entry.binding !== null && !entry.started) {
      if (!entry.attached) this.crash ??= `SET_LINK on for ${mac}, whose VF has another MTU: the driver follows a null pointer`;
      entry.started = true;
    }
    entry.suppress = !on;
  }

  /** AddBinding: NDIS has bound VIOPROT to a VF. */
  open(nic: Nic): void {
    nic.isOpen = true;
    nic.isIndicated = false;
    const entry = this.#entries.find(({ mac }) => mac === nic.mac);
    if (entry === undefined) {
      this.#entries.push({ mac: nic.mac, virtio: null, binding: nic, attached: false, suppress: false, started: false });
      return;
    }
    // "already present binding": the second one is ignored, and nobody adopts it when the first leaves.
    if (entry.binding !== null) return;
    entry.binding = nic;
    this.#match(entry);
  }

  /** OnAdapterDetach: the VF leaves, or VIOPROT is unbound; what was suppressed is as it was. */
  close(nic: Nic): void {
    nic.isOpen = false;
    const entry = this.#entries.find(({ binding }) => binding === nic);
    if (entry === undefined) return;
    entry.binding = null;
    entry.attached = false;
    entry.started = false;
    if (entry.virtio === null) this.#entries = this.#entries.filter((item) => item !== entry);
  }

  /** AddAdapter: a standby's link begins suppressed. */
  add(nic: Nic): void {
    const suppress = nic.standby;
    const entry = this.#entries.find(({ mac, virtio }) => mac === nic.mac && virtio === null);
    if (entry === undefined) {
      this.#entries.push({ mac: nic.mac, virtio: nic, binding: null, attached: false, suppress, started: false });
      return;
    }
    entry.virtio = nic;
    entry.suppress = suppress;
    this.#match(entry);
  }

  /** OnAdapterHalted: the virtio adapter leaves; a VF's binding stays. */
  halt(nic: Nic): void {
    const entry = this.#entries.find(({ virtio }) => virtio === nic);
    if (entry === undefined) return;
    entry.virtio = null;
    entry.started = false;
    entry.attached = false;
    entry.suppress = false;
    if (entry.binding === null) this.#entries = this.#entries.filter((item) => item !== entry);
  }

  /** The system starts again. */
  forget(): void {
    this.#entries = [];
  }

  /** OnAdapterFound: both must have the same MTU. */
  #match(entry: Entry): void {
    entry.attached = entry.virtio !== null && entry.binding !== null && entry.virtio.mtu === entry.binding.mtu;
  }
}
