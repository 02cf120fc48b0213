// Taking a standby over into a bond of our own, and giving it back, step by step as the real adapter must: the obligation
// first, then one change at a time, each after a look at what is there now. Between two steps the world goes on and the
// process may die; then nothing more is done, and the next process goes on from what it finds.
import type { DecisionOf, Obligation, Target } from '../../events/catalogue.ts';
import type { Ledger, Outcome } from '../platform.ts';
import { type Act, isStillThere } from './act.ts';
import type { Ticking } from './kernel.ts';
import { globalsOf, type Link } from './link.ts';
import type { LinuxKernel } from './linux-kernel.ts';

const succeeded: Outcome = { result: 'succeeded', reason: null, observed: false };
const already: Outcome = { result: 'succeeded', reason: null, observed: true };
const no = (result: 'failed' | 'refused' | 'void', reason: string): Outcome => ({ result, reason, observed: false });

const STEP_MS = 1;
const PROBE_MS = 50;

/** What the obligation of a takeover remembers. */
interface Before {
  readonly bond: string;
  readonly addresses: readonly string[];
}

/** The process that carries it out has died. */
class Dead extends Error {}

export class Takeover {
  readonly #kernel: LinuxKernel;
  readonly #clock: Ticking;
  readonly #acted: (act: Act) => void;

  constructor(kernel: LinuxKernel, clock: Ticking, acted: (act: Act) => void) {
    this.#kernel = kernel;
    this.#clock = clock;
    this.#acted = acted;
  }

  /** `report` is not called when the process has died. */
  begin(
    decision: DecisionOf<'takeOver' | 'giveBack'>,
    ledger: Ledger,
    isAlive: () => boolean,
    report: (outcome: Outcome) => void,
  ): void {
    const check = (): void => {
      if (!isAlive()) throw new Dead();
    };
    const done = decision.kind === 'takeOver' ? this.#takeOver(decision, ledger, check) : this.#giveBack(decision, ledger, check);
    void done.then(report, (error: unknown) => {
      if (!(error instanceof Dead)) report(no('failed', error instanceof Error ? error.message : String(error)));
    });
  }

  #linkOf(target: Target | null): Link | null {
    if (target === null || !isStillThere(target, this.#kernel.adapters())) return null;
    const link = this.#kernel.links.get(target.ifindex) ?? null;
    return link?.leaving === true ? null : link;
  }

  async #pause(ms: number, check: () => void): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.after(ms, resolve));
    check();
  }

  async #takeOver(decision: DecisionOf<'takeOver'>, ledger: Ledger, check: () => void): Promise<Outcome> {
    check();
    const { plan, standby: target } = decision;
    const standby = this.#linkOf(target);
    if (standby === null) return no('void', 'the standby is gone');
    const found = this.#kernel.named(plan.bond);
    const owed = ledger.open.filter(({ kind }) => kind === 'takeover');
    if (found !== undefined && (found.bond === null || owed.length === 0)) return no('refused', `${plan.bond} exists already`);
    if (standby.master !== null && standby.master !== found) return no('void', 'the standby has another master');
    if (found === undefined && !this.#kernel.answers(standby)) return no('refused', 'the gateway does not answer now');
    const before: Before = { bond: plan.bond, addresses: globalsOf(standby) };
    const obligation = await ledger.owe({ kind: 'takeover', device: target, before });
    check();
    const failure = await this.#join(decision, found, check);
    if (failure === null) return succeeded;
    const owing = [...owed, obligation];
    for (const one of owing) await this.#undo(decision, one, check);
    for (const { id } of owing) ledger.settle(id, 'undone');
    return failure;
  }

  /** Makes the bond and moves the standby and its addresses; null when the gateway answers over it. */
  async #join({ plan, standby: target, ...decision }: DecisionOf<'takeOver'>, found: Link | undefined, check: () => void) {
    const act = (what: string): void => this.#acted({ decision: { ...decision, standby: target, plan }, target, what });
    let standby = this.#linkOf(target);
    if (standby === null) return no('void', 'the standby is gone');
    act('make the bond');
    const bond = found ?? this.#kernel.bonds.create(null, plan.bond, standby.mtu);
    if (!bond.up) this.#kernel.setUp(bond.ifindex, true);
    await this.#pause(STEP_MS, check);
    standby = this.#linkOf(target);
    if (standby === null || !this.#kernel.links.has(bond.ifindex)) return no('void', 'the standby or the bond is gone');
    act('move the addresses');
    for (const address of globalsOf(standby)) this.#kernel.addAddress(bond, address);
    await this.#pause(STEP_MS, check);
    standby = this.#linkOf(target);
    if (standby === null || !this.#kernel.links.has(bond.ifindex)) return no('void', 'the standby or the bond is gone');
    act('enslave the standby');
    if (standby.master === null) {
      if (standby.up) this.#kernel.setUp(standby.ifindex, false);
      const answer = this.#kernel.bonds.enslave(bond, standby);
      if (answer !== null) return no('failed', answer);
    } else if (standby.master !== bond) return no('void', 'the standby has another master');
    for (const address of globalsOf(standby)) this.#kernel.removeAddress(standby, address);
    for (let left_ms = plan.confirm_ms; left_ms > 0; left_ms -= PROBE_MS) {
      if (this.#kernel.answers(bond)) return null;
      await this.#pause(PROBE_MS, check);
    }
    return no('failed', `the gateway did not answer within ${plan.confirm_ms} ms`);
  }

  /** Everything back on the standby, and the bond gone; what is not there any more is passed over. */
  async #undo(decision: Act['decision'], { device, before }: Obligation, check: () => void): Promise<boolean> {
    const { bond: name } = before as Before;
    const bond = this.#kernel.named(name);
    const standby = this.#linkOf(device);
    if (bond?.bond == null) return standby !== null;
    this.#acted({ decision, target: standby === null ? null : device, what: 'take the bond apart' });
    if (standby !== null) for (const address of globalsOf(bond)) this.#kernel.addAddress(standby, address);
    for (const slave of bond.bond.slaves) {
      // A primary’s own addresses came to the bond; what is on it now is stray.
      if (slave !== standby)
        for (const address of globalsOf(slave)) if (standby !== null) this.#kernel.addAddress(standby, address);
      this.#kernel.bonds.release(slave);
    }
    if (standby !== null) this.#kernel.setUp(standby.ifindex, true);
    await this.#pause(STEP_MS, check);
    if (this.#kernel.links.has(bond.ifindex)) this.#kernel.remove(bond);
    return standby !== null;
  }

  async #giveBack(decision: DecisionOf<'giveBack'>, ledger: Ledger, check: () => void): Promise<Outcome> {
    check();
    const owed = ledger.open.find(({ id }) => id === decision.plan.obligation);
    if (owed === undefined) return already;
    if (owed.kind === 'takeover') {
      const isThere = await this.#undo(decision, owed, check);
      ledger.settle(owed.id, isThere ? 'givenBack' : 'gone');
      return succeeded;
    }
    if (owed.kind !== 'parameters') return no('refused', `the simulated guest cannot give back ${owed.kind}`);
    // Its bond has given it another MAC since: the device on the bus is what it is known by.
    const now = owed.device && this.#kernel.links.get(owed.device.ifindex);
    const target = owed.device && { ...owed.device, mac: now?.mac ?? null };
    const link = this.#linkOf(target);
    if (link !== null) {
      this.#acted({ decision, target, what: 'set the parameters back' });
      this.#kernel.setParameters(link, owed.before as string);
    }
    ledger.settle(owed.id, link === null ? 'gone' : 'givenBack');
    return succeeded;
  }
}
