// The PCI functions of the network class: what uevents and sysfs say of them, compared with what is known. Pure.
import type { Observation, PciFunction } from '../../events/catalogue.ts';
import type { Uevent } from './uevent.ts';

/** As many as a survey may list (src/events/catalogue.ts). */
const LIMIT = 65_536;

export class Functions {
  readonly #known = new Map<string, PciFunction>();

  has(address: string): boolean {
    return this.#known.has(address);
  }
  list(): PciFunction[] {
    return [...this.#known.values()].toSorted((a, b) => (a.address < b.address ? -1 : 1));
  }

  /** A uevent of a network function. One that repeats what is known gives nothing. */
  heard({ action, address, id, driver }: Extract<Uevent, { kind: 'pci' }>): Observation[] {
    const known = this.#known.get(address);
    if (action === 'remove') {
      this.#known.delete(address);
      return [{ type: 'pci.removed', data: { address } }];
    }
    // A late `add` of a function that a survey has already found bound does not unbind it.
    const now = action === 'add' ? (driver ?? known?.driver ?? null) : action === 'bind' ? driver : null;
    if (known === undefined && this.#known.size >= LIMIT) return [];
    this.#known.set(address, { address, id: id ?? known?.id ?? null, driver: now });
    if (action === 'add') return known === undefined ? [{ type: 'pci.added', data: { address, id, driver } }] : [];
    if (known !== undefined && known.driver === now) return [];
    return [driverChanged(address, now)];
  }

  /** The whole list, from sysfs. */
  take(functions: readonly PciFunction[]): Observation[] {
    const out: Observation[] = [];
    const listed = new Map(functions.slice(0, LIMIT).map((one) => [one.address, one]));
    for (const address of this.#known.keys()) {
      if (listed.has(address)) continue;
      this.#known.delete(address);
      out.push({ type: 'pci.removed', data: { address } });
    }
    for (const one of listed.values()) {
      const known = this.#known.get(one.address);
      this.#known.set(one.address, one);
      if (known === undefined) out.push({ type: 'pci.added', data: one });
      else if (known.driver !== one.driver) out.push(driverChanged(one.address, one.driver));
    }
    return out;
  }
}

const driverChanged = (address: string, driver: string | null): Observation =>
  driver === null ? { type: 'pci.unbound', data: { address } } : { type: 'pci.bound', data: { address, driver } };
