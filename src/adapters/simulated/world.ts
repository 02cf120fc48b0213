// The simulated world: one guest's kernel, its hypervisor, the clock that both live by, and the list of what a script may
// let happen in it. Whoever controls the guest reaches it through platform.ts only.
import type { SimulatedClock } from './clock.ts';
import type { Act } from './act.ts';
import { BondEffects, WindowsEffects } from './effects.ts';
import { Hypervisor, type Migration } from './hypervisor.ts';
import type { Card, Message } from './kernel.ts';
import { LinuxKernel, type LinuxOptions } from './linux-kernel.ts';
import { WindowsKernel, type WindowsOptions } from './windows-kernel.ts';

export type System = 'linux' | 'windows';

/** Something that happens in the world by itself, without the controller. Cards go by the id of the hypervisor. */
export type Happens =
  | { readonly do: 'add'; readonly id: string; readonly card: Card }
  | { readonly do: 'remove'; readonly id: string; readonly surprise?: boolean }
  | { readonly do: 'stick'; readonly id: string; readonly on: boolean }
  | { readonly do: 'link'; readonly id: string; readonly on: boolean }
  | { readonly do: 'migrate'; readonly how: Migration }
  | { readonly do: 'announce' }
  /** Linux: somebody (a DHCP client) gives a NIC an address, or takes it away. */
  | { readonly do: 'address'; readonly id: string; readonly address: string; readonly on: boolean }
  /** Linux: whether the default gateway answers. */
  | { readonly do: 'gateway'; readonly on: boolean }
  /** Linux: a sign that a card is about to leave, which nothing follows. */
  | { readonly do: 'sign'; readonly id: string }
  | { readonly do: 'mtu' | 'mac' | 'up'; readonly id: string; readonly value: number | string | boolean }
  /** The device above a card: net_failover's master, or its bond. */
  | { readonly do: 'masterUp'; readonly id: string; readonly on: boolean }
  | { readonly do: 'bond'; readonly preferred?: string }
  /** Somebody deletes the bond. */
  | { readonly do: 'unbond' }
  | { readonly do: 'enslave' | 'release' | 'activate'; readonly id: string }
  | { readonly do: 'bondUp'; readonly on: boolean }
  | { readonly do: 'suspend' | 'step'; readonly ms: number }
  | { readonly do: 'lock'; readonly by: string | null }
  | { readonly do: 'protocol'; readonly installed: boolean }
  | { readonly do: 'setLink'; readonly id: string; readonly on: boolean }
  | { readonly do: 'driver'; readonly id: string; readonly standby: boolean; readonly link: boolean }
  | { readonly do: 'reboot' };

export interface WorldOptions {
  readonly system: System;
  readonly linux?: LinuxOptions;
  readonly windows?: WindowsOptions;
}

export class World {
  readonly clock: SimulatedClock;
  readonly kernel: LinuxKernel | WindowsKernel;
  readonly hypervisor: Hypervisor;
  /** Who hears the kernel's messages: the platform of the service that runs now. */
  hear: (message: Message) => void = () => {};
  /** Told of every act of the controller, before it takes place. */
  acted: (act: Act) => void = () => {};
  /** Told when the clocks have jumped. */
  jumped: (kind: 'suspended' | 'stepped', ms: number) => void = () => {};
  readonly effects: WindowsEffects | BondEffects;
  boots = 1;

  constructor(clock: SimulatedClock, { system, linux, windows }: WorldOptions) {
    this.clock = clock;
    const say = (message: Message): void => this.hear(message);
    const acted = (act: Act): void => this.acted(act);
    if (system === 'linux') {
      const kernel = new LinuxKernel(clock, say, linux);
      this.kernel = kernel;
      this.effects = new BondEffects(kernel, clock, acted);
    } else {
      const kernel = new WindowsKernel(clock, say, windows);
      this.kernel = kernel;
      this.effects = new WindowsEffects(kernel, clock, acted);
    }
    this.hypervisor = new Hypervisor(clock, this.kernel);
  }

  /** Lets something happen now. What makes no sense at the moment (a card that is not there) does nothing. */
  happen(what: Happens): void {
    switch (what.do) {
      case 'add':
        return this.hypervisor.add(what.id, what.card);
      case 'remove':
        return this.hypervisor.remove(what.id, what.surprise);
      case 'stick':
        return this.hypervisor.setStuck(what.id, what.on);
      case 'link':
        return this.hypervisor.setLink(what.id, what.on);
      case 'migrate':
        return this.hypervisor.migrate(what.how);
      case 'announce':
        return this.kernel.announce();
      case 'sign':
        return this.#sign(what.id);
      case 'address':
      case 'gateway':
        return this.kernel instanceof LinuxKernel ? this.#onAddresses(this.kernel, what) : undefined;
      case 'mtu':
      case 'mac':
      case 'up':
        return this.#set(what.do, what.id, what.value);
      case 'suspend':
        this.clock.suspend(what.ms);
        return this.jumped('suspended', what.ms);
      case 'step':
        this.clock.step(what.ms);
        return this.jumped('stepped', what.ms);
      case 'reboot':
        this.boots += 1;
        return this.kernel.reboot();
      case 'lock':
      case 'protocol':
      case 'setLink':
      case 'driver':
        return this.kernel instanceof WindowsKernel ? this.#onWindows(this.kernel, what) : undefined;
      case 'masterUp':
      case 'bond':
      case 'unbond':
      case 'enslave':
      case 'release':
      case 'activate':
      case 'bondUp':
        return this.kernel instanceof LinuxKernel ? this.#onLinux(this.kernel, what) : undefined;
    }
  }

  #sign(id: string): void {
    const card = this.hypervisor.cardOf(id);
    if (card !== undefined && this.kernel.name === 'linux') this.hear({ kind: 'ptpRemoved', address: card.address });
  }

  #onAddresses(kernel: LinuxKernel, what: Extract<Happens, { do: 'address' | 'gateway' }>): void {
    if (what.do === 'gateway') {
      kernel.gatewayAnswers = what.on;
      return;
    }
    const link = kernel.links.get(this.#indexOf(what.id) ?? -1);
    if (link === undefined) return;
    if (what.on) kernel.addAddress(link, what.address);
    else kernel.removeAddress(link, what.address);
  }

  #indexOf(id: string): number | null {
    const card = this.hypervisor.cardOf(id);
    return card === undefined ? null : (this.kernel.find(card.address)?.ifindex ?? null);
  }

  #set(what: 'mtu' | 'mac' | 'up', id: string, value: number | string | boolean): void {
    const ifindex = this.#indexOf(id);
    if (ifindex === null) return;
    if (what === 'mtu') this.kernel.setMtu(ifindex, Number(value));
    else if (what === 'mac') this.kernel.setMac(ifindex, String(value));
    else this.kernel.setUp(ifindex, value === true);
  }

  #onWindows(kernel: WindowsKernel, what: Extract<Happens, { do: 'lock' | 'protocol' | 'setLink' | 'driver' }>): void {
    if (what.do === 'lock') kernel.lockedBy = what.by;
    else if (what.do === 'protocol') kernel.setProtocol(what.installed);
    else if (what.do === 'driver') kernel.exchangeDriver(this.#indexOf(what.id) ?? -1, what.standby, what.link);
    else {
      const card = this.hypervisor.cardOf(what.id);
      const entry = card === undefined ? undefined : kernel.records().find(({ mac }) => mac === card.mac);
      // Another program that asks for the link is not to crash the guest: that would be its fault, not the controller's.
      if (entry !== undefined && !(what.on && entry.hasVf)) kernel.setLinkOf(entry.mac, what.on);
    }
  }

  #onLinux(
    kernel: LinuxKernel,
    what: Extract<Happens, { do: 'masterUp' | 'bond' | 'unbond' | 'enslave' | 'release' | 'activate' | 'bondUp' }>,
  ): void {
    const bond = [...kernel.links.values()].find(({ role }) => role === 'bond');
    if (what.do === 'bond') {
      if (bond === undefined) kernel.bonds.create(what.preferred ?? null);
      return;
    }
    if (what.do === 'bondUp' || what.do === 'unbond') {
      if (bond === undefined) return;
      if (what.do === 'unbond') kernel.remove(bond);
      else kernel.setUp(bond.ifindex, what.on);
      return;
    }
    const ifindex = this.#indexOf(what.id);
    const link = ifindex === null ? undefined : kernel.links.get(ifindex);
    if (link === undefined) return;
    if (what.do === 'masterUp') {
      if (link.master !== null) kernel.setUp(link.master.ifindex, what.on);
    } else if (what.do === 'release') kernel.bonds.release(link);
    else if (bond === undefined) return;
    else if (what.do === 'activate') kernel.bonds.activate(bond, link);
    else {
      if (link.up && link.master === null) kernel.setUp(link.ifindex, false);
      kernel.bonds.enslave(bond, link);
    }
  }
}
