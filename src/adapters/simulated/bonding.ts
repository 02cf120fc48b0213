// Active-backup bonding as the Linux kernel does it (drivers/net/bonding): who may be enslaved, which slave is active, and
// how the link monitor notices. Operators and the controller use the same four operations.
import type { Answer, Ticking } from './kernel.ts';
import type { Link } from './link.ts';

/** How long the link monitor may take to notice (the option miimon). */
const MIIMON_MS = 100;

/** What bonding needs of the kernel that it is part of. */
interface Links {
  newLink(role: 'bond', card: null, name: string, mac: string, permMac: null): Link;
  open(link: Link, up: boolean): void;
  publish(): void;
}

export class SimulatedBonds {
  readonly #kernel: Links;
  readonly #clock: Ticking;

  constructor(kernel: Links, clock: Ticking) {
    this.#kernel = kernel;
    this.#clock = clock;
  }

  create(preferred: string | null = null, name = 'bond0', mtu = 1500): Link {
    const link = this.#kernel.newLink('bond', null, name, '7a:1f:63:15:b3:7d', null);
    link.mtu = mtu;
    link.bond = { active: null, preferred, slaves: new Set(), ownMac: link.mac };
    this.#kernel.publish();
    return link;
  }

  enslave(bond: Link, slave: Link): Answer {
    const state = bond.bond;
    if (state === null || slave.leaving) return 'ENODEV';
    if (slave.master !== null) return 'EBUSY';
    // An active-backup bond takes no slave that is up already (bond_enslave).
    if (slave.up) return 'EPERM';
    if ((slave.card?.mtuMax ?? 65_536) < bond.mtu) return 'EINVAL';
    if (state.slaves.size === 0) bond.mac = slave.mac;
    slave.mtu = bond.mtu;
    slave.mac = bond.mac;
    // It is set up, and heard of, before it has its master: so say the captures.
    this.#kernel.open(slave, true);
    this.#kernel.publish();
    state.slaves.add(slave);
    slave.master = bond;
    slave.miiUp = slave.carrier;
    this.#reselect(bond);
    this.#kernel.publish();
    return null;
  }

  release(slave: Link): Answer {
    if (slave.master?.bond == null) return 'EINVAL';
    this.drop(slave);
    this.#kernel.open(slave, false);
    slave.mac = slave.permMac ?? slave.mac;
    this.#kernel.publish();
    return null;
  }

  /** Makes a slave the active one; EINVAL until the monitor has seen its link up. */
  activate(bond: Link, slave: Link): Answer {
    const state = bond.bond;
    if (state === null || !state.slaves.has(slave) || !slave.miiUp || !slave.up) return 'EINVAL';
    state.active = slave;
    this.#kernel.publish();
    return null;
  }

  /** A link that leaves, or that is released, is no slave any more. */
  drop(slave: Link): void {
    const bond = slave.master;
    if (bond?.bond == null) return;
    bond.bond.slaves.delete(slave);
    slave.miiUp = false;
    // A link that is on its way out keeps its master in what it says, as the captures show.
    if (!slave.leaving) slave.master = null;
    if (bond.bond.active === slave) bond.bond.active = null;
    if (bond.bond.slaves.size === 0) bond.mac = bond.bond.ownMac;
    this.#reselect(bond);
  }

  /** A link has changed: the monitor of its bond looks at it at its next round. */
  noticed(slave: Link): void {
    const bond = slave.master;
    if (bond?.bond == null || !bond.bond.slaves.has(slave) || slave.miiUp === (slave.up && slave.carrier)) return;
    this.#clock.after(MIIMON_MS, () => {
      const miiUp = slave.up && slave.carrier;
      if (slave.master !== bond || bond.bond?.slaves.has(slave) !== true || slave.miiUp === miiUp) return;
      slave.miiUp = miiUp;
      this.#reselect(bond);
      this.#kernel.publish();
    });
  }

  #reselect(bond: Link): void {
    const state = bond.bond;
    if (state === null) return;
    const usable = [...state.slaves].filter(({ miiUp, up }) => miiUp && up);
    const preferred = usable.find(({ card }) => card !== null && card.address === state.preferred);
    const current = usable.find((slave) => slave === state.active);
    state.active = preferred ?? current ?? usable[0] ?? null;
  }
}
