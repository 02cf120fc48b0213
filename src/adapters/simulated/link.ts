// One network device of the simulated Linux guest, and what rtnetlink would say of it.
import type { Adapter } from '../../events/catalogue.ts';
import type { Card } from './kernel.ts';

export interface BondState {
  active: Link | null;
  /** The option `primary`: the slave that is taken back as soon as it is usable. */
  preferred: string | null;
  readonly slaves: Set<Link>;
  /** A bond without slaves has a MAC of its own. */
  readonly ownMac: string;
}

export interface Link {
  readonly ifindex: number;
  readonly card: Card | null;
  readonly role: 'card' | 'failover' | 'bond';
  name: string;
  mac: string;
  readonly permMac: string | null;
  mtu: number;
  up: boolean;
  /** The cable is in (or the host's side is up). */
  cable: boolean;
  carrier: boolean;
  driver: string | null;
  master: Link | null;
  bond: BondState | null;
  miiUp: boolean;
  leaving: boolean;
  readonly addresses: Set<string>;
  /** Rings, channels and offloads, as JSON. */
  parameters: string;
  published: Adapter | null;
}

export const carriesNow = (link: Link): boolean => link.up && link.carrier && link.cable && !link.leaving;

/** The kernel gives link-local addresses by itself, and takes them away. */
export const globalsOf = ({ addresses }: Link): string[] => [...addresses].filter((address) => !address.startsWith('fe80'));

/** What a driver begins with. */
export const DEFAULT_PARAMETERS = '{}';

/** Everything that a message about it carries. */
export const factsOf = (link: Link): Adapter => {
  const { ifindex, name, mac, permMac, mtu, up, carrier, driver, card, master, bond } = link;
  const device = card === null ? null : card.kind === 'virtio' ? `virtio-${card.address}` : card.address;
  return {
    ifindex,
    name,
    mac,
    permMac,
    bus: card === null ? null : card.kind === 'virtio' ? 'virtio' : 'pci',
    device,
    pci: card?.address ?? null,
    driver,
    mtu,
    up,
    carrier,
    master: master?.ifindex ?? null,
    kind: link.role === 'bond' ? 'bond' : null,
    bond: bond === null ? null : { mode: 1, activeSlave: bond.active?.ifindex ?? null },
    slave: master?.bond ? { active: master.bond.active === link, miiUp: link.miiUp } : null,
    protocols: null,
  };
};
