// Which device carries which adapter, and who drives it. Knowledge comes from three sides in any order: rtnetlink names
// an adapter's parent device, uevents tell where interfaces and virtio devices live and when drivers bind, and sysfs
// tells the rest in a survey. This file only puts the pieces together. Pure, and bounded: the oldest hint goes first.
import type { Place } from './uevent.ts';

/** A device on the pci or virtio bus: the PCI function that carries it, and its driver. */
export interface Parent {
  readonly bus: string;
  readonly device: string;
  readonly pci: string | null;
  readonly driver: string | null;
}

/** Where an adapter is, as its observation says it. */
export interface Whereabouts extends Place {
  readonly driver: string | null;
}

/** The place of one interface; the driver only where sysfs said it and the bus is neither pci nor virtio. */
export interface InterfacePlace extends Place {
  readonly ifindex: number;
  readonly driver: string | null;
}

const LIMIT = 4096;
const remember = <K, V>(map: Map<K, V>, key: K, value: V): void => {
  map.delete(key);
  map.set(key, value);
  if (map.size <= LIMIT) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
};

export class Atlas {
  readonly #parents = new Map<string, Parent>();
  readonly #places = new Map<number, InterfacePlace>();
  #kernelNamesParents = false;

  learnParent(parent: Parent): void {
    remember(this.#parents, `${parent.bus} ${parent.device}`, parent);
  }
  forgetParent(bus: string, device: string): void {
    this.#parents.delete(`${bus} ${device}`);
  }
  driverOf(bus: string, device: string): string | null {
    return this.#parents.get(`${bus} ${device}`)?.driver ?? null;
  }
  /** This kernel puts the parent device into its link messages: one without a parent has none. */
  kernelNamesParents(): void {
    this.#kernelNamesParents = true;
  }
  learnPlace(place: InterfacePlace): void {
    remember(this.#places, place.ifindex, place);
  }
  forgetPlace(ifindex: number): void {
    this.#places.delete(ifindex);
  }

  /**
   * Completes what rtnetlink said of an adapter's parent. `bus` and `device` are null where it said nothing: the adapter
   * has no parent, or the kernel is older than 5.14 and names none. The device's own driver is meant: virtio_net, not
   * the virtio-pci that drives the PCI function.
   */
  locate(ifindex: number, bus: string | null, device: string | null): Whereabouts {
    const hint = device === null && this.#kernelNamesParents ? undefined : this.#places.get(ifindex);
    // A hint about another device is a leftover of an earlier owner of this index.
    const place = device === null || hint?.device === device ? hint : undefined;
    const ownBus = bus ?? place?.bus ?? null;
    const ownDevice = device ?? place?.device ?? null;
    const parent = ownDevice === null ? undefined : this.#parents.get(`${ownBus} ${ownDevice}`);
    const pci = ownBus === 'pci' ? ownDevice : ownBus === 'virtio' ? (parent?.pci ?? place?.pci ?? null) : null;
    return { bus: ownBus, device: ownDevice, pci, driver: parent?.driver ?? place?.driver ?? null };
  }
}
