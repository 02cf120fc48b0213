// The members of a bond: enslave, release, and make one of them the active one. Each compares, acts, reads back.
//
// A switch opens a window: for a second the bond also takes frames that still arrive on the member that was active until
// then (ALL_SLAVES_ACTIVE). Unicast is never doubled by that, broadcast is, so the window is closed soon. What is compared
// before a switch comes from the kernel's messages, not from a question: the switch is one datagram, its answer included.
// Sources: linux/if_link.h (IFLA_BOND_*), bond_option_active_slave_set and bond_enslave in the kernel.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Adapter, Decision, Target } from '../../../events/catalogue.ts';
import { type Outcome, realTimer } from '../../platform.ts';
import { ERRNO } from '../libc.ts';
import type { LinkMessage } from '../link-message.ts';
import type { Answer, Conversation } from './conversation.ts';
import { getLink, setBond, setLink } from './requests.ts';
import { allLinks, ALREADY, gone, linkBy, linkOf, linksIn, must, Stop, stopOf, SUCCEEDED } from './standing.ts';

const WINDOW_MS = 1000;
/** How long the bond's own link monitor is waited for, and in what steps; it looks every MIIMON_MS (take-over.ts). */
const MII_LIMIT_MS = 500;
const MII_FIRST_MS = 2;
const MII_LAST_MS = 20;

/** The open windows, by the ifindex of the bond. */
export class Windows {
  readonly #conversation: Conversation;
  readonly #closing = new Map<number, () => void>();

  constructor(conversation: Conversation) {
    this.#conversation = conversation;
  }

  /** Closes it after a second; one that is open stays open for another. */
  opened(bond: number): void {
    this.#closing.get(bond)?.();
    this.#closing.set(
      bond,
      realTimer(WINDOW_MS, () => void this.close(bond)),
    );
  }

  /** What the kernel answers is of no use: a bond that is gone has no window. */
  async close(bond: number): Promise<void> {
    this.#closing.get(bond)?.();
    this.#closing.delete(bond);
    await this.#conversation.tell(setBond(bond, { allSlavesActive: false })).catch(() => {});
  }

  /** Closes those that are open on bonds with one of these MACs; what cannot be asked or told is left as it is. */
  async closeFound(macs: readonly string[]): Promise<void> {
    const links = await allLinks(this.#conversation).catch(() => []);
    const open = links.filter(({ mac, bond }) => bond?.allSlavesActive === true && macs.includes(mac ?? ''));
    for (const { ifindex } of open) await this.close(ifindex);
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#closing.keys()].map((bond) => this.close(bond)));
  }
}

export class Members {
  readonly #conversation: Conversation;
  readonly #windows: Windows;
  readonly #known: (ifindex: number) => Adapter | undefined;

  constructor(conversation: Conversation, windows: Windows, known: (ifindex: number) => Adapter | undefined) {
    this.#conversation = conversation;
    this.#windows = windows;
    this.#known = known;
  }

  /** An up device cannot be enslaved (EPERM), so it goes down in the same datagram; the bond takes it up again. */
  async enslave({ pair, primary, master }: Decision): Promise<Outcome> {
    const member = await linkOf(this.#conversation, primary, 'the primary');
    const bond = await linkOf(this.#conversation, master, 'the bond');
    if (member.master === bond.ifindex) return ALREADY;
    if (member.master !== undefined && member.master !== 0)
      throw new Stop('refused', `${member.name ?? pair} belongs to another master`);
    const requests = [setLink(member.ifindex, { up: false }), setLink(member.ifindex, { master: bond.ifindex })];
    const { answers, replies } = await this.#conversation.ask(...requests, getLink(member.ifindex));
    const bad = answers[0]?.errno === 0 ? answers[1] : answers[0];
    if (bad?.errno !== 0) throw stopOf('enslave', bad ?? NO_ANSWER);
    if (linksIn(replies)[0]?.master !== bond.ifindex) throw new Stop('failed', 'enslave: the kernel agreed, but it is not so');
    return SUCCEEDED;
  }

  /** Releases the primary; where it is the active one, the standby becomes that first. */
  async release({ primary, standby, master }: Decision): Promise<Outcome> {
    const member = await linkOf(this.#conversation, primary, 'the primary');
    const bond = await linkOf(this.#conversation, master, 'the bond');
    if (member.master !== bond.ifindex) return ALREADY;
    if (bond.bond?.activeSlave === member.ifindex && standby !== null) {
      const other = await linkBy(this.#conversation, standby.ifindex);
      if (other?.master === bond.ifindex && other.slave?.miiUp === true) await this.#switch(bond.ifindex, other.ifindex, SIGNAL);
    }
    await must(this.#conversation, 'release', [setLink(member.ifindex, { master: null })]);
    const after = await linkBy(this.#conversation, member.ifindex);
    if (after !== null && (after.master ?? 0) !== 0) throw new Stop('failed', 'release: the kernel agreed, but it is not so');
    return SUCCEEDED;
  }

  /** Makes one member the active one. */
  async activate(target: Target | null, master: Target | null, signal: AbortSignal): Promise<Outcome> {
    if (target === null || master === null) throw gone('the member or the bond');
    const member = this.#known(target.ifindex);
    const bond = this.#known(master.ifindex);
    if (member?.device !== target.device || bond?.kind !== 'bond' || member.master !== master.ifindex)
      throw gone('the member or the bond');
    if (bond.bond?.activeSlave === target.ifindex) {
      const now = await linkBy(this.#conversation, master.ifindex);
      if (now?.bond?.activeSlave === target.ifindex) return ALREADY;
    }
    await this.#switch(master.ifindex, target.ifindex, signal);
    return SUCCEEDED;
  }

  /** EINVAL means that the bond's monitor has not seen the member's link yet: asked again, in short steps. */
  async #switch(bond: number, member: number, signal: AbortSignal): Promise<void> {
    const until_ms = performance.now() + MII_LIMIT_MS;
    for (let pause_ms = MII_FIRST_MS; ; pause_ms = Math.min(MII_LAST_MS, 2 * pause_ms)) {
      const { answers, replies } = await this.#conversation.ask(
        setBond(bond, { allSlavesActive: true }),
        setBond(bond, { activeSlave: member }),
        getLink(bond),
      );
      this.#windows.opened(bond);
      const answer = answers[1] ?? NO_ANSWER;
      if (answer.errno === 0) return this.#confirm(linksIn(replies)[0], member);
      const again = answer.errno === ERRNO.EINVAL && performance.now() < until_ms && !signal.aborted;
      if (!again) {
        await this.#windows.close(bond);
        throw stopOf('switch', answer);
      }
      await sleep(pause_ms);
    }
  }

  #confirm(bond: LinkMessage | undefined, member: number): void {
    const active = bond?.bond?.activeSlave;
    if (active !== member) throw new Stop('failed', `switch: the kernel agreed, but the active member is ${active ?? 'none'}`);
  }
}

const SIGNAL = new AbortController().signal;
const NO_ANSWER: Answer = { errno: 5, text: 'no answer' }; // EIO
