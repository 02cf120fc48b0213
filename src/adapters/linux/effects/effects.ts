// Decisions become requests to the kernel here: one effect at a time for a pair, in the order in which they were decided.
// The sockets are opened at the first one, so that whoever only observes has none.
import { type Adapter, type Decision, type DecisionOf, isHosts, type Obligation } from '../../../events/catalogue.ts';
import type { Ledger, Outcome } from '../../platform.ts';
import { Coexistence } from '../coexistence/coexistence.ts';
import { readBefore, takenOf } from './before.ts';
import { Conversation } from './conversation.ts';
import { Ethtool } from './ethtool.ts';
import { giveBack } from './give-back.ts';
import { Members, Windows } from './members.ts';
import { moveAddresses } from './move-addresses.ts';
import { alignParameters, giveParametersBack, readParameters, tuneStandby } from './parameters.ts';
import { ALREADY, Stop } from './standing.ts';
import { takeOver } from './take-over.ts';

interface Tools {
  readonly conversation: Conversation;
  readonly ethtool: Ethtool;
  readonly windows: Windows;
  readonly members: Members;
}

export class LinuxEffects {
  readonly #known: (ifindex: number) => Adapter | undefined;
  readonly #coexistence = new Coexistence();
  readonly #last = new Map<string, Promise<unknown>>();
  #tools: Tools | null = null;

  /** `known` is what the kernel's messages have told so far. */
  constructor(known: (ifindex: number) => Adapter | undefined) {
    this.#known = known;
  }

  /** Never rejects. An effect of the same pair that still undoes itself is waited for. */
  async perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const before = this.#last.get(decision.pair) ?? Promise.resolve();
    const mine = before.then(() => this.#perform(decision, signal, ledger));
    this.#last.set(decision.pair, mine);
    const outcome = await mine;
    if (this.#last.get(decision.pair) === mine) this.#last.delete(decision.pair);
    return outcome;
  }

  /** Windows that a process before this one opened and did not live to close. The effects that follow wait for it. */
  resume(pairs: readonly string[]): void {
    const { windows } = this.#open();
    const work = windows.closeFound(pairs);
    for (const pair of pairs) this.#last.set(pair, work);
  }

  /** Waits for what is under way, closes open windows and the sockets. */
  async close(): Promise<void> {
    await Promise.all(this.#last.values());
    if (this.#tools === null) return;
    const { windows, conversation, ethtool } = this.#tools;
    this.#tools = null;
    await windows.closeAll();
    await Promise.all([conversation.close(), ethtool.close()]);
  }

  async #perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    try {
      if (signal.aborted) throw new Stop('failed', 'interrupted before it began');
      return await this.#act(decision, signal, ledger);
    } catch (error) {
      if (error instanceof Stop) return error.outcome;
      return { result: 'failed', reason: error instanceof Error ? error.message : String(error), observed: false };
    }
  }

  #act(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    if (isHosts(decision)) throw new Stop('refused', 'this is for a hypervisor to do');
    const { conversation, ethtool, members } = this.#open();
    switch (decision.kind) {
      case 'bindPrimary':
        return members.enslave(decision);
      case 'unbindPrimary':
        return members.release(decision);
      case 'activatePrimary':
        return members.activate(decision.primary, decision.master, signal);
      case 'activateStandby':
        return members.activate(decision.standby, decision.master, signal);
      case 'takeOver':
        return takeOver(conversation, this.#coexistence, decision, signal, ledger);
      case 'giveBack':
        return this.#giveBack(decision, ledger);
      case 'moveAddresses':
        return moveAddresses(conversation, decision);
      case 'alignParameters':
        return alignParameters(conversation, ethtool, decision, ledger);
      case 'tuneStandby':
        return tuneStandby(conversation, ethtool, decision, ledger);
      case 'holdLink':
      case 'releaseLink':
        throw new Stop('refused', 'a bond holds no link down');
    }
  }

  async #giveBack({ plan }: DecisionOf<'giveBack'>, ledger: Ledger): Promise<Outcome> {
    const { conversation, ethtool } = this.#open();
    const owed = ledger.open.find(({ id }) => id === plan.obligation);
    if (owed === undefined) return ALREADY;
    let gone: Stop | null = null;
    try {
      switch (owed.kind) {
        case 'takeover':
          await giveBack(conversation, readBefore(owed.before));
          break;
        case 'parameters':
          await giveParametersBack(conversation, ethtool, { device: owed.device, before: readParameters(owed) });
          break;
        case 'bindings':
        case 'driverParameters':
        case 'service':
        case 'vfMac':
        case 'forwarding':
        case 'unplugged':
          throw new Stop('refused', `${owed.kind} are not given back by this platform`);
      }
    } catch (error) {
      if (!(error instanceof Stop) || error.outcome.result !== 'void') throw error;
      gone = error;
    }
    const said = await this.#release(owed);
    ledger.settle(owed.id, gone === null ? 'givenBack' : 'gone');
    return {
      result: 'succeeded',
      reason: [...(gone === null ? [] : [gone.message]), ...said].join('; ') || null,
      observed: gone !== null,
    };
  }

  /** Network managers have the standby again. */
  #release({ kind, before }: Obligation): Promise<string[]> {
    if (kind !== 'takeover') return Promise.resolve([]);
    const first = readBefore(before);
    return this.#coexistence.tell('release', takenOf(first), first.told ?? {});
  }

  #open(): Tools {
    if (this.#tools !== null) return this.#tools;
    const conversation = new Conversation('route');
    const windows = new Windows(conversation);
    const ethtool = new Ethtool();
    this.#tools = { conversation, ethtool, windows, members: new Members(conversation, windows, this.#known) };
    return this.#tools;
  }
}
