// The hypervisor beside the simulated guest, by QEMU's rules (hw/net/virtio-net.c, migration/): a primary is unplugged
// before a migration and waited for, a cancelled or failed migration gives it back, a completed one brings the target's
// own primary, and the guest is told to announce its address.
import type { SimulatedClock } from './clock.ts';
import type { Card, Kernel } from './kernel.ts';

/** How often QEMU looks whether the primaries have gone, and for how long after a cancel. */
const LOOK_MS = 250;
const CANCEL_LOOKS = 120;

/** What a migration meets on its way. */
export interface Migration {
  /** How it ends, and in which phase it is given up. */
  readonly ends: 'completes' | 'cancelledWhileWaiting' | 'cancelled' | 'fails';
  /** From the last primary gone to the end. */
  readonly takes_ms: number;
  /** Guest clocks stand still for this long; the wall clock is set afterwards. */
  readonly downtime_ms: number;
  /** The primary that the target has, null where it has none left. */
  readonly primary: Partial<Card> | null;
  /** From the end of the migration to the plug. */
  readonly plugAfter_ms: number;
}

export class Hypervisor {
  readonly #clock: SimulatedClock;
  readonly #kernel: Kernel;
  readonly #cards = new Map<string, Card>();
  /** Cards that the guest does not give up: no driver answers, it is still booting, or it is paused. */
  readonly #stuck = new Set<string>();
  #migrating = false;

  constructor(clock: SimulatedClock, kernel: Kernel) {
    this.#clock = clock;
    this.#kernel = kernel;
  }

  /** device_add. An id that is in use is refused, as QEMU does. */
  add(id: string, card: Card): void {
    if (this.#cards.has(id) || [...this.#cards.values()].some(({ address }) => address === card.address)) return;
    this.#cards.set(id, card);
    this.#plugWhenFree(id, card);
  }

  /** device_del, or a surprise removal. */
  remove(id: string, surprise = false): void {
    const card = this.#cards.get(id);
    if (card === undefined || (this.#stuck.has(id) && !surprise)) return;
    this.#cards.delete(id);
    this.#kernel.unplug(card.address, () => {}, surprise);
  }

  cardOf(id: string): Card | undefined {
    return this.#cards.get(id);
  }

  setStuck(id: string, stuck: boolean): void {
    if (stuck) this.#stuck.add(id);
    else this.#stuck.delete(id);
  }

  setLink(id: string, on: boolean): void {
    const card = this.#cards.get(id);
    if (card !== undefined) this.#kernel.setLink(card.address, on);
  }

  migrate(how: Migration): void {
    if (this.#migrating) return;
    this.#migrating = true;
    const primaries = [...this.#cards].filter(([, { kind }]) => kind === 'vf');
    let waiting = 0;
    for (const [id, card] of primaries) {
      if (this.#stuck.has(id)) waiting += 1;
      else if (this.#kernel.has(card.address)) {
        waiting += 1;
        this.#kernel.unplug(card.address, () => (waiting -= 1));
      }
    }
    const waitUnplug = (looks: number): void => {
      if (waiting === 0) this.#clock.after(how.takes_ms, () => this.#end(how, primaries));
      else if (how.ends === 'cancelledWhileWaiting' || looks >= CANCEL_LOOKS)
        this.#cancelWhileWaiting(primaries, () => waiting, 0);
      else this.#clock.after(LOOK_MS, () => waitUnplug(looks + 1));
    };
    this.#clock.after(1, () => waitUnplug(0));
  }

  #cancelWhileWaiting(primaries: readonly (readonly [string, Card])[], waiting: () => number, looks: number): void {
    if (waiting() > 0 && looks < CANCEL_LOOKS) {
      this.#clock.after(LOOK_MS, () => this.#cancelWhileWaiting(primaries, waiting, looks + 1));
      return;
    }
    this.#giveBack(primaries);
  }

  #giveBack(primaries: readonly (readonly [string, Card])[]): void {
    this.#migrating = false;
    for (const [id, card] of primaries) if (this.#cards.get(id) === card) this.#plugWhenFree(id, card);
  }

  #end({ ends, downtime_ms, primary, plugAfter_ms }: Migration, primaries: readonly (readonly [string, Card])[]): void {
    if (ends !== 'completes') {
      this.#giveBack(primaries);
      return;
    }
    this.#clock.suspend(downtime_ms);
    this.#kernel.announce();
    for (const [id, card] of primaries) if (this.#cards.get(id) === card) this.#cards.delete(id);
    this.#clock.after(plugAfter_ms, () => {
      this.#migrating = false;
      if (primary === null) return;
      for (const [id, card] of primaries) if (!this.#cards.has(id)) this.add(id, { ...card, ...primary });
    });
  }

  /** A slot takes a card when the one before it has left. */
  #plugWhenFree(id: string, card: Card): void {
    if (this.#cards.get(id) !== card) return;
    if (this.#kernel.has(card.address)) return;
    const slotTaken = this.#kernel.functions().some(({ address }) => address === card.address);
    if (slotTaken) this.#clock.after(LOOK_MS, () => this.#plugWhenFree(id, card));
    else this.#kernel.plug(card);
  }
}
