// The replies of a dump (NLM_F_MULTI … NLMSG_DONE), collected until they are whole. While a dump runs, notifications go on
// arriving on the same socket, in order: the later of the two is the newer, so that notifications amend what was
// collected. Without that, a dump would bring back what a later message had already taken away.
//
// An expected dump is one that the caller announced with its sequence number; others are taken as they come.
import type { Adapter, Address } from '../../events/catalogue.ts';
import type { Counters, LinkMessage } from './link-message.ts';
import type { AddressMessage, Message } from './rtnetlink.ts';

export type DumpState = 'none' | 'collecting' | 'addressesDone' | 'complete' | 'failed';
type Part = 'links' | 'addresses';

/** As many of each kind as a survey may list (src/events/catalogue.ts). */
const LIMIT = 65_536;

export class Dump {
  readonly links = new Map<number, Adapter>();
  readonly addresses = new Map<string, Address>();
  readonly counters = new Map<number, Counters>();
  readonly #done = new Set<Part>();
  #seq: { [P in Part]: number | null } = { links: null, addresses: null };
  #asked = false;
  #state: DumpState = 'none';
  #interrupted = false;

  get state(): DumpState {
    return this.#state;
  }
  /** Something was lost meanwhile, or the kernel says that the dump is not of one piece (NLM_F_DUMP_INTR). */
  get interrupted(): boolean {
    return this.#interrupted;
  }
  has(part: Part): boolean {
    return this.#done.has(part);
  }

  expect(part: Part, seq: number): void {
    if (part === 'addresses' || !this.#asked) this.reset();
    this.#asked = true;
    this.#seq[part] = seq;
    this.#state = 'collecting';
  }

  reset(): void {
    this.links.clear();
    this.addresses.clear();
    this.counters.clear();
    this.#done.clear();
    this.#seq = { links: null, addresses: null };
    this.#asked = false;
    this.#state = 'none';
    this.#interrupted = false;
  }

  spoil(): void {
    if (this.#state !== 'none') this.#interrupted = true;
  }

  link(message: LinkMessage, adapter: Adapter | null): void {
    if (!this.#belongs('links', message.seq)) return;
    this.#interrupted ||= message.interrupted;
    if (adapter === null || this.links.size >= LIMIT) return;
    this.links.set(adapter.ifindex, adapter);
    if (message.counters !== undefined) this.counters.set(adapter.ifindex, message.counters);
  }

  address(key: string, message: AddressMessage): void {
    if (!this.#belongs('addresses', message.seq)) return;
    this.#interrupted ||= message.interrupted;
    if (this.addresses.size < LIMIT) this.addresses.set(key, { ifindex: message.ifindex, address: message.address });
  }

  /** NLMSG_DONE or NLMSG_ERROR. True if a part that nobody announced is now whole. */
  end(message: Extract<Message, { kind: 'done' | 'error' }>): boolean {
    const part = this.#partOf(message.seq);
    if (part === null || this.#done.has(part)) return false;
    if (message.errno !== 0 || message.kind === 'error') {
      if (this.#asked) this.#state = 'failed';
      else this.reset();
      return false;
    }
    this.#interrupted ||= message.interrupted;
    this.#done.add(part);
    if (this.#asked) {
      this.#state = part === 'links' ? 'complete' : 'addressesDone';
      return false;
    }
    if (!this.#interrupted) return true;
    this.reset();
    return false;
  }

  notifiedLink(adapter: Adapter): void {
    if (this.#seq.links !== null) this.links.set(adapter.ifindex, adapter);
  }
  notifiedLinkGone(ifindex: number): void {
    this.links.delete(ifindex);
    this.counters.delete(ifindex);
    for (const [key, address] of this.addresses) if (address.ifindex === ifindex) this.addresses.delete(key);
  }
  notifiedAddress(key: string, address: Address, gone: boolean): void {
    if (this.#seq.addresses === null) return;
    if (gone) this.addresses.delete(key);
    else this.addresses.set(key, address);
  }

  #partOf(seq: number): Part | null {
    if (this.#seq.links === seq) return 'links';
    return this.#seq.addresses === seq ? 'addresses' : null;
  }

  #belongs(part: Part, seq: number): boolean {
    if (this.#seq[part] === seq) return !this.#done.has(part);
    if (this.#asked) return false;
    // The first reply of a dump that nobody announced; one that never ended is given up for it.
    this.#seq[part] = seq;
    this.#done.delete(part);
    (part === 'links' ? this.links : this.addresses).clear();
    this.#state = 'collecting';
    this.#interrupted = false;
    return true;
  }
}
