// How decisions are carried out in the simulated guest, as the real adapters must: compare, act, read back. Comparing and
// acting happen at one instant here, because rtnetlink and an IOCTL are one call; what waits (INetCfg's lock, the link
// monitor of a bond) compares after it has waited.
import { isHosts, LOCK_HELD } from '../../events/catalogue.ts';
import type { Decision, DecisionOf, Obligation, Target } from '../../events/catalogue.ts';
import type { Ledger, Outcome } from '../platform.ts';
import { type Act, isStillThere } from './act.ts';
import type { Ticking } from './kernel.ts';
import { globalsOf, type Link } from './link.ts';
import type { LinuxKernel } from './linux-kernel.ts';
import { Takeover } from './takeover.ts';
import { FAILOVER_PROTOCOL, type WindowsKernel } from './windows-kernel.ts';

type Report = (outcome: Outcome) => void;

const succeeded: Outcome = { result: 'succeeded', reason: null, observed: false };
const already: Outcome = { result: 'succeeded', reason: null, observed: true };
const failed = (reason: string): Outcome => ({ result: 'failed', reason, observed: false });
const refused = (reason: string): Outcome => ({ result: 'refused', reason, observed: false });
const voided = (reason: string): Outcome => ({ result: 'void', reason, observed: false });

/** INetCfg: how long the write lock is waited for, and how often it is tried. */
const LOCK_LIMIT_MS = 5000;
const LOCK_TRY_MS = 250;
/** How long the link monitor of a bond is waited for. */
const MII_LIMIT_MS = 500;
const MII_TRY_MS = 20;

/** The protocols that a primary has while it serves NETKVM, and while it is kept out of it. */
const ALONE = { ms_tcpip: false, ms_tcpip6: false, ms_server: false, [FAILOVER_PROTOCOL]: true };
const NONE = { ms_tcpip: false, ms_tcpip6: false, ms_server: false, [FAILOVER_PROTOCOL]: false };

export class WindowsEffects {
  readonly #kernel: WindowsKernel;
  readonly #clock: Ticking;
  readonly #acted: (act: Act) => void;

  constructor(kernel: WindowsKernel, clock: Ticking, acted: (act: Act) => void) {
    this.#kernel = kernel;
    this.#clock = clock;
    this.#acted = acted;
  }

  /**
   * `isAlive` says whether the process that carries it out still runs, and waits for it: the child that calls INetCfg ends with
   * its process (libuv puts it into a job that dies with its parent) and at the time limit. SET_LINK is one call.
   */
  begin(decision: Decision, report: Report, ledger: Ledger, isAlive: () => boolean): void {
    if (isHosts(decision)) return report(refused('this is for a hypervisor to do'));
    switch (decision.kind) {
      case 'holdLink':
      case 'releaseLink':
        return report(this.#setLink(decision, decision.kind === 'releaseLink'));
      case 'bindPrimary':
      case 'unbindPrimary':
        return this.#bind(decision, decision.kind === 'bindPrimary' ? ALONE : NONE, LOCK_LIMIT_MS, report, ledger, isAlive);
      case 'giveBack':
        return this.#giveBack(decision, LOCK_LIMIT_MS, report, ledger, isAlive);
      case 'alignParameters':
        return this.#align(decision, ledger, isAlive, report);
      case 'activatePrimary':
      case 'activateStandby':
      case 'takeOver':
      case 'moveAddresses':
      case 'tuneStandby':
        return report(refused('NETKVM has no such effect'));
    }
  }

  #setLink(decision: Decision, on: boolean): Outcome {
    const record = this.#kernel.records().find(({ mac, virtio }) => mac === decision.pair && virtio);
    if (record === undefined) return voided('NETKVM has no record for this MAC');
    // The command goes by the MAC, which another standby may have by now.
    if (decision.standby !== null && !isStillThere(decision.standby, this.#kernel.adapters()))
      return voided('the standby is gone');
    if (record.suppressLink === !on) return already;
    if (on && record.hasVf && !record.started) {
      // Asking for the link with a bound VF of another MTU crashes the driver: compare before.
      const adapters = this.#kernel.adapters();
      const vf = adapters.find(({ ifindex }) => ifindex === record.vfIfIndex);
      const nic = adapters.find(({ bus, mac }) => bus === 'virtio' && mac === decision.pair);
      if (vf?.mtu !== nic?.mtu) return refused('the bound primary has another MTU');
    }
    this.#acted({ decision, target: decision.standby, what: on ? 'SET_LINK on' : 'SET_LINK off' });
    this.#kernel.setLinkOf(decision.pair, on);
    const after = this.#kernel.records().find(({ mac }) => mac === decision.pair);
    return after?.suppressLink === !on ? succeeded : failed('the driver did not follow');
  }

  /** Whether the driver has the primary as its own, or (where VIOPROT is to be off) no longer has it. */
  #hasTaken({ pair, primary }: Decision, wanted: Readonly<Record<string, boolean>>): boolean {
    const record = this.#kernel.records().find(({ mac, virtio }) => mac === pair && virtio);
    const has = record?.hasVf === true && record.vfIfIndex === primary?.ifindex;
    return has === (wanted[FAILOVER_PROTOCOL] === true);
  }

  #bind(
    decision: Decision,
    wanted: Readonly<Record<string, boolean>>,
    left_ms: number,
    report: Report,
    ledger: Ledger,
    isAlive: () => boolean,
  ): void {
    if (!isAlive()) return;
    const { primary } = decision;
    if (primary === null || !isStillThere(primary, this.#kernel.adapters())) return report(voided('the primary is gone'));
    if (wanted[FAILOVER_PROTOCOL] === true) {
      const record = this.#kernel.records().find(({ mac, virtio }) => mac === decision.pair && virtio);
      if (record === undefined) return report(voided('the standby is gone'));
      if (record.hasVf && record.vfIfIndex !== primary.ifindex) return report(voided('the driver has another primary'));
    }
    const now = this.#kernel.adapters().find(({ ifindex }) => ifindex === primary.ifindex)?.protocols ?? {};
    const isSet = Object.entries(now).every(([name, on]) => (wanted[name] ?? on) === on);
    if (isSet && this.#hasTaken(decision, wanted)) return report(already);
    if (!ledger.open.some(({ kind, device }) => kind === 'bindings' && device?.device === primary.device)) {
      const held = this.#kernel.records().some(({ mac, suppressLink }) => mac === decision.pair && suppressLink);
      // What waits looks again: the world goes on meanwhile.
      const goOn = (): void => this.#bind(decision, wanted, left_ms, report, ledger, isAlive);
      ledger.owe({ kind: 'bindings', device: primary, before: { protocols: { ...now }, held } }).then(goOn, (error: unknown) => {
        report(failed(error instanceof Error ? error.message : String(error)));
      });
      return;
    }
    if (this.#waits(left_ms, report, (left) => this.#bind(decision, wanted, left, report, ledger, isAlive))) return;
    this.#acted({ decision, target: primary, what: 'set bindings' });
    // Bound, and the driver does not have it: it came while another one was there. Only a new binding is looked at again.
    const isBoundInVain =
      wanted[FAILOVER_PROTOCOL] === true && now[FAILOVER_PROTOCOL] === true && !this.#hasTaken(decision, wanted);
    if (isSet || isBoundInVain) this.#kernel.setBindings(primary.ifindex, NONE);
    const answer = this.#kernel.setBindings(primary.ifindex, wanted);
    if (answer !== null) report(failed(answer));
    else report(this.#hasTaken(decision, wanted) ? succeeded : failed('the driver did not follow'));
  }

  /** Whether somebody else holds INetCfg’s lock; then it is tried again, or given up. */
  #waits(left_ms: number, report: Report, again: (left_ms: number) => void): boolean {
    const holder = this.#kernel.lockedBy;
    if (holder === null) return false;
    if (left_ms <= 0) report(failed(`${LOCK_HELD}${holder}`));
    else this.#clock.after(LOCK_TRY_MS, () => again(left_ms - LOCK_TRY_MS));
    return true;
  }

  /** Bindings as they were found; a standby that was held then is held again first. What is away is owed on. */
  #giveBack(decision: DecisionOf<'giveBack'>, left_ms: number, report: Report, ledger: Ledger, isAlive: () => boolean): void {
    if (!isAlive()) return;
    const owed = ledger.open.find(({ id }) => id === decision.plan.obligation);
    if (owed === undefined) return report(already);
    if (owed.kind === 'driverParameters') return report(this.#giveDriverBack(decision, owed, ledger));
    if (owed.kind !== 'bindings') return report(refused(`${owed.kind} is not given back by this platform`));
    const found = this.#kernel.adapters().find(({ device }) => device === owed.device?.device);
    if (found === undefined) return report(voided('the primary is gone'));
    if (this.#waits(left_ms, report, (left) => this.#giveBack(decision, left, report, ledger, isAlive))) return;
    const { protocols, held } = owed.before as { readonly protocols: Record<string, boolean>; readonly held: boolean };
    this.#acted({ decision, target: null, what: 'give the bindings back' });
    const standby = this.#kernel.records().find(({ mac, virtio }) => mac === decision.pair && virtio);
    if (held && standby !== undefined) this.#kernel.setLinkOf(decision.pair, false);
    const answer = this.#kernel.setBindings(found.ifindex, protocols);
    if (answer !== null) return report(failed(answer));
    ledger.settle(owed.id, 'givenBack');
    report(succeeded);
  }

  /** What the registry had; the device is restarted for it where nobody uses it. */
  #giveDriverBack(decision: Decision, owed: Obligation, ledger: Ledger): Outcome {
    const found = this.#kernel.adapters().find(({ device }) => device === owed.device?.device);
    if (found === undefined) return voided('the primary is gone');
    this.#acted({ decision, target: null, what: 'give the parameters back' });
    const isInUse = Object.values(found.protocols ?? {}).some(Boolean);
    this.#kernel.setJumbo(found.ifindex, (owed.before as { readonly mtu: number }).mtu, !isInUse);
    ledger.settle(owed.id, 'givenBack');
    return succeeded;
  }

  /** The MTU of the primary, which restarts it, while the standby carries. */
  #align(decision: DecisionOf<'alignParameters'>, ledger: Ledger, isAlive: () => boolean, report: Report): void {
    const { pair, primary, plan } = decision;
    const { mtu } = plan.parameters;
    const adapter = this.#kernel.adapters().find(({ ifindex }) => ifindex === primary?.ifindex);
    const record = this.#kernel.records().find(({ mac, virtio }) => mac === pair && virtio);
    if (adapter === undefined || !isStillThere(primary, this.#kernel.adapters())) return report(voided('the primary is gone'));
    if (record?.virtioLink !== true || record.suppressLink || record.started)
      return report(voided('the standby does not carry just now'));
    if (mtu === undefined || adapter.mtu === mtu) return report(already);
    const isOwed = ledger.open.some(({ kind, device }) => kind === 'driverParameters' && device?.device === primary?.device);
    if (!isOwed) {
      const goOn = (): void => {
        if (isAlive()) this.#align(decision, ledger, isAlive, report);
      };
      const before = { mtu: this.#kernel.jumboOf(adapter.ifindex) };
      ledger.owe({ kind: 'driverParameters', device: primary, before }).then(goOn, (error: unknown) => {
        report(failed(error instanceof Error ? error.message : String(error)));
      });
      return;
    }
    this.#acted({ decision, target: primary, what: 'restart with another MTU' });
    const answer = this.#kernel.setJumbo(adapter.ifindex, mtu, true);
    report(answer === null ? succeeded : refused(answer));
  }
}

export class BondEffects {
  readonly #kernel: LinuxKernel;
  readonly #clock: Ticking;
  readonly #acted: (act: Act) => void;
  readonly #takeover: Takeover;

  constructor(kernel: LinuxKernel, clock: Ticking, acted: (act: Act) => void) {
    this.#kernel = kernel;
    this.#clock = clock;
    this.#acted = acted;
    this.#takeover = new Takeover(kernel, clock, acted);
  }

  /** `isAlive` says whether the process that carries it out still runs: what takes several steps ends with it. */
  begin(decision: Decision, report: Report, ledger: Ledger, isAlive: () => boolean): void {
    if (isHosts(decision)) return report(refused('this is for a hypervisor to do'));
    switch (decision.kind) {
      case 'bindPrimary':
        return report(this.#enslave(decision));
      case 'activatePrimary':
        return this.#activate(decision, decision.primary, MII_LIMIT_MS, report);
      case 'activateStandby':
        return this.#activate(decision, decision.standby, MII_LIMIT_MS, report);
      case 'takeOver':
      case 'giveBack':
        return this.#takeover.begin(decision, ledger, isAlive, report);
      case 'moveAddresses':
        return report(this.#moveAddresses(decision));
      case 'alignParameters': {
        const { primary, plan } = decision;
        return this.#set({ decision, target: primary, wanted: plan.parameters }, ledger, isAlive, report);
      }
      case 'tuneStandby': {
        const { standby, plan } = decision;
        return this.#set({ decision, target: standby, wanted: plan.parameters }, ledger, isAlive, report);
      }
      case 'unbindPrimary':
      case 'holdLink':
      case 'releaseLink':
        return report(refused('a bond has no such effect'));
    }
  }

  #linkOf(target: Target | null): Link | null {
    if (target === null || !isStillThere(target, this.#kernel.adapters())) return null;
    return this.#kernel.links.get(target.ifindex) ?? null;
  }

  #enslave(decision: Decision): Outcome {
    const [primary, bond] = [this.#linkOf(decision.primary), this.#linkOf(decision.master)];
    if (primary === null) return voided('the primary is gone');
    if (bond === null) return voided('the bond is gone');
    if (primary.master === bond) return already;
    if (primary.master !== null) return refused(`${primary.name} belongs to another master`);
    const others = [...(bond.bond?.slaves ?? [])].filter(({ card }) => card?.kind === 'vf');
    if (others.some(({ permMac }) => permMac === decision.pair)) return voided('the bond has another primary');
    this.#acted({ decision, target: decision.primary, what: 'enslave' });
    if (primary.up) this.#kernel.setUp(primary.ifindex, false);
    const answer = this.#kernel.bonds.enslave(bond, primary);
    return answer === null ? succeeded : failed(answer);
  }

  #activate(decision: Decision, target: Target | null, left_ms: number, report: Report): void {
    const [link, bond] = [this.#linkOf(target), this.#linkOf(decision.master)];
    if (link === null || bond === null) return report(voided('the member or the bond is gone'));
    if (bond.bond?.active === link) return report(already);
    if (!link.miiUp && left_ms > 0) {
      this.#clock.after(MII_TRY_MS, () => this.#activate(decision, target, left_ms - MII_TRY_MS, report));
      return;
    }
    this.#acted({ decision, target, what: 'set the active slave' });
    const answer = this.#kernel.bonds.activate(bond, link);
    report(answer === null ? succeeded : failed(answer));
  }

  #moveAddresses(decision: Decision): Outcome {
    const bond = this.#linkOf(decision.master);
    if (bond?.bond == null) return voided('the bond is gone');
    const members = [decision.standby, decision.primary].map((target) => this.#linkOf(target));
    const strayed = members.filter((link) => link !== null && link.master === bond && globalsOf(link).length > 0);
    if (strayed.length === 0) return already;
    this.#acted({ decision, target: decision.master, what: 'move the addresses' });
    for (const link of strayed) {
      for (const address of link === null ? [] : globalsOf(link)) {
        this.#kernel.addAddress(bond, address);
        if (link !== null) this.#kernel.removeAddress(link, address);
      }
    }
    return succeeded;
  }

  /** Nothing wanted (tuneStandby) means back to what was there before. */
  #set(
    { decision, target, wanted }: { readonly decision: Decision; readonly target: Target | null; readonly wanted: object },
    ledger: Ledger,
    isAlive: () => boolean,
    report: Report,
  ): void {
    const link = this.#linkOf(target);
    if (link === null) return report(voided('the device is gone'));
    const owed = ledger.open.find(
      ({ kind, device }) => kind === 'parameters' && device?.ifindex === target?.ifindex && device?.arrival === target?.arrival,
    );
    const isBack = Object.keys(wanted).length === 0;
    const parameters = isBack ? ((owed?.before as string | undefined) ?? link.parameters) : JSON.stringify(wanted);
    const set = (): void => {
      if (!isAlive()) return;
      const now = this.#linkOf(target);
      if (now === null) return report(voided('the device is gone'));
      this.#acted({ decision, target, what: 'set parameters' });
      this.#kernel.setParameters(now, parameters);
      if (isBack && owed !== undefined) ledger.settle(owed.id, 'givenBack');
      report(succeeded);
    };
    if (isBack && owed !== undefined) return set();
    if (link.parameters === parameters) return report(already);
    ledger.owe({ kind: 'parameters', device: target, before: link.parameters }).then(set, (error: unknown) => {
      report(failed(error instanceof Error ? error.message : String(error)));
    });
  }
}
