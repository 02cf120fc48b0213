// What follows from one pair's folded state: the packed view that the chart sees, the datapath, the reason, and the words of a
// decision.
import type { Datapath } from './stages.ts';
import type { Decision, DecisionKind, Policy, Target } from '../events/catalogue.ts';
import {
  alignPlan,
  isUnjoined,
  mayTouch,
  owedBack,
  takeOverPlan,
  tunePlan,
  wantsAddresses,
  wantsParameters,
  wantsTakeOver,
  wantsTuning,
} from './duties.ts';
import type { PairState } from './pair-state.ts';
import type { Because } from './reasons.ts';
import { type Arrived, carries, enslavedTo, type Roles } from './roles.ts';
import { BIT } from './view.ts';

/**
 * Whether facts (or the path) have changed since the decision that is under way: what is wanted now may be another effect.
 * The count of attempts begins anew with every such change, and a decision counts as one.
 */
export const isOvertaken = ({ pending, attempts }: Pick<PairState, 'pending' | 'attempts'>): boolean =>
  pending !== null && attempts === 0;

/** The bond's active member: what the members say of themselves, else what the bond says. */
const isActive = (member: Arrived | null, { master, standby, primary }: Roles): boolean => {
  if (member === null || !enslavedTo(member, master)) return false;
  const claimed = enslavedTo(standby, master) && standby?.facts.slave?.active === true;
  const claimedByPrimary = enslavedTo(primary, master) && primary?.facts.slave?.active === true;
  if (claimed !== claimedByPrimary) return member === (claimed ? standby : primary);
  return master?.facts.bond?.activeSlave === member.facts.ifindex;
};

const datapathOf = ({ mode, roles, driverFacts }: PairState): Datapath => {
  const { standby, master, primary } = roles;
  switch (mode) {
    case 'netkvm': {
      if (driverFacts === null) return 'none';
      // What is above the adapter sees no link while it is held down, whichever way frames would go (ParaNdis_SynchronizeLinkState).
      if (driverFacts.suppressLink) return 'none';
      if (driverFacts.started) return driverFacts.vfLink ? 'primary' : 'none';
      return driverFacts.virtioLink ? 'standby' : 'none';
    }
    case 'kernel': {
      if (master?.facts.up !== true) return 'none';
      if (enslavedTo(primary, master) && carries(primary)) return 'primary';
      return enslavedTo(standby, master) && carries(standby) ? 'standby' : 'none';
    }
    case 'bond': {
      if (master?.facts.up !== true) return 'none';
      if (isActive(primary, roles) && carries(primary)) return 'primary';
      return isActive(standby, roles) && carries(standby) ? 'standby' : 'none';
    }
    case 'none':
      return carries(standby) ? 'standby' : 'none';
  }
};

/** Windows needs equal MTUs (ParaNdis_Protocol.cpp, CheckCompatibility); a Linux master sets its members' MTU itself. */
const isCompatible = ({ mode, roles: { standby, master, primary } }: PairState): boolean => {
  if (primary === null || standby === null) return true;
  if (mode === 'netkvm') return primary.facts.mtu === standby.facts.mtu;
  if (mode === 'kernel' && !enslavedTo(primary, master)) return primary.facts.mtu === (master ?? standby).facts.mtu;
  return true;
};

const FAILOVER_PROTOCOL = 'vioprot';

/** NETKVM: the driver has a VF, and no other protocol is bound to it; what no adapter tells is taken for granted. */
const isBoundAlone = ({ driverFacts, roles: { primary } }: PairState): boolean => {
  if (driverFacts?.hasVf !== true) return false;
  const protocols = Object.entries(primary?.facts.protocols ?? {});
  return protocols.every(([name, on]) => !on || name.toLowerCase() === FAILOVER_PROTOCOL);
};

const isFlapping = ({ losses, mode }: PairState, policy: Policy): boolean =>
  mode !== 'kernel' && losses.length >= policy.flapLimit;

// As constants of the module: looked up by name for every event they cost more than the rest.
const { standby: STANDBY, ours: OURS, held: HELD, expected: EXPECTED, primary: PRIMARY, compatible: COMPATIBLE } = BIT;
const { bound: BOUND, carrier: CARRIER, eligible: ELIGIBLE, standbyReady: STANDBY_READY, viaPrimary: VIA_PRIMARY } = BIT;
const { viaStandby: VIA_STANDBY, leaving: LEAVING, flapping: FLAPPING, mayAct: MAY_ACT, holds: HOLDS } = BIT;
const { exhausted: EXHAUSTED, attached: ATTACHED, attachable: ATTACHABLE, unjoined: UNJOINED } = BIT;
const { takingOver: TAKING_OVER, untuned: UNTUNED, strayed: STRAYED, restoring: RESTORING, mistuned: MISTUNED } = BIT;

/** Any of these means that something may be decided. */
export const MAY_DECIDE = MAY_ACT | TAKING_OVER | UNTUNED | RESTORING | MISTUNED;

/** What is wanted besides switching. Most pairs are not listed and want nothing, so that is asked first. */
const dutyBits = (pair: PairState, policy: Policy): number => {
  if (pair.named === null && !pair.released) return 0;
  return (
    (isUnjoined(pair) ? UNJOINED : 0) |
    (wantsTakeOver(pair, policy) ? TAKING_OVER : 0) |
    (wantsParameters(pair, policy) ? UNTUNED : 0) |
    (wantsAddresses(pair, policy) ? STRAYED : 0) |
    (wantsTuning(pair, policy) ? MISTUNED : 0) |
    (owedBack(pair, policy) === null ? 0 : RESTORING)
  );
};

/** The part of the view that the fold itself remembers, and a reaction of the chart may change. */
const OWN = LEAVING | FLAPPING | EXHAUSTED | UNJOINED | TAKING_OVER | UNTUNED | STRAYED | RESTORING | MISTUNED;
const ownBits = (pair: PairState, policy: Policy): number =>
  (pair.leaving ? LEAVING : 0) |
  (isFlapping(pair, policy) ? FLAPPING : 0) |
  (pair.attempts >= policy.retryLimit ? EXHAUSTED : 0) |
  dutyBits(pair, policy);

/** The packed view after a reaction of the chart: the world is as it was. */
export const lookAgain = (bits: number, pair: PairState, policy: Policy): number => (bits & ~OWN) | ownBits(pair, policy);

/** Whether it could transmit: no member carries under a master that somebody set down, and no choice between them helps. */
const isReady = (member: Arrived | null, master: Arrived | null): boolean =>
  carries(member) && (master?.facts.up !== false || !enslavedTo(member, master));

/** Asked earlier, the kernel refuses it (EINVAL): the monitor looks now and then, and waits for its updelay. */
const isEligible = ({ mode, roles: { master, primary } }: PairState): boolean =>
  mode === 'bond' && enslavedTo(primary, master) && isReady(primary, master) && primary?.facts.slave?.miiUp === true;

/** What holds for the whole guest (inventory.ts). */
interface Surroundings {
  readonly protocolMissing: boolean;
  readonly controllers: ReadonlySet<string>;
}

/** Computes the packed view anew, and the datapath (into `shown`). */
export const lookAt = (pair: PairState, policy: Policy, { protocolMissing, controllers }: Surroundings): number => {
  const { mode, roles, driverFacts } = pair;
  const { standby, master, primary } = roles;
  const netkvm = mode === 'netkvm';
  pair.protocolMissing = netkvm && protocolMissing;
  pair.contested = controllers.size > 0;
  const datapath = datapathOf(pair);
  pair.shown.datapath = datapath;
  const mayAct = mayTouch(pair, policy) && (netkvm || (mode === 'bond' && pair.named?.mode !== 'kernel'));
  const ours = netkvm ? driverFacts?.isStandby === true : mode !== 'none' || isUnjoined(pair);
  return (
    ((driverFacts === null ? standby !== null : driverFacts.virtio) ? STANDBY : 0) |
    (ours ? OURS : 0) |
    (driverFacts?.suppressLink === true ? HELD : 0) |
    (policy.expectPrimary ? EXPECTED : 0) |
    (primary !== null || driverFacts?.hasVf === true ? PRIMARY : 0) |
    (isCompatible(pair) ? COMPATIBLE : 0) |
    ((netkvm ? isBoundAlone(pair) : enslavedTo(primary, master)) ? BOUND : 0) |
    ((netkvm ? driverFacts?.hasVf === true : enslavedTo(primary, master)) ? ATTACHED : 0) |
    (netkvm && protocolMissing ? 0 : ATTACHABLE) |
    ((netkvm && primary === null ? driverFacts?.vfLink === true : isReady(primary, master)) ? CARRIER : 0) |
    (isEligible(pair) ? ELIGIBLE : 0) |
    ((netkvm ? driverFacts?.virtioLink === true : isReady(standby, master)) ? STANDBY_READY : 0) |
    (datapath === 'primary' ? VIA_PRIMARY : datapath === 'standby' ? VIA_STANDBY : 0) |
    (mayAct ? MAY_ACT : 0) |
    (netkvm ? HOLDS : 0) |
    ownBits(pair, policy)
  );
};

/** Why the pair is in its stage: one of the reasons in reasons.ts. */
export const becauseOf = ({ configuration, bits, mode, roles }: PairState): Because => {
  const masterDown = mode !== 'netkvm' && roles.master?.facts.up === false;
  switch (configuration.stage) {
    case 'absent':
      return 'standby.absent';
    case 'standalone':
      return 'standby.unpaired';
    case 'awaitingPrimary':
      return 'primary.awaited';
    case 'attaching':
      return 'primary.found';
    case 'onPrimary':
      return 'primary.carries';
    case 'detaching':
      if ((bits & LEAVING) !== 0) return 'primary.leaving';
      return (bits & PRIMARY) !== 0 ? 'primary.unbound' : 'primary.absent';
    case 'switching':
      if ((bits & HELD) !== 0) return 'link.held';
      if (masterDown) return 'master.down';
      return (bits & CARRIER) !== 0 ? 'primary.notActive' : 'primary.noCarrier';
    case 'fallback':
      switch (configuration.leaf) {
        case 'incompatible':
          return 'primary.incompatible';
        case 'unattachable':
        case 'notAttached':
          return 'primary.notAttached';
        case 'noCarrier':
          if (masterDown) return 'master.down';
          // With carrier it would be tried again, but for a protocol that is missing (NETKVM).
          return (bits & CARRIER) !== 0 ? 'primary.notAttached' : 'primary.noCarrier';
        case 'flapping':
          return 'primary.flapping';
        case 'departing':
          return 'primary.leaving';
        case 'unjoined':
          return 'bond.missing';
        default:
          return 'primary.absent';
      }
  }
};

const targetOf = (adapter: Arrived | null): Target | null =>
  adapter && {
    ifindex: adapter.facts.ifindex,
    mac: adapter.facts.mac,
    device: adapter.facts.device,
    pci: adapter.facts.pci,
    arrival: adapter.arrival,
  };

/** A decision of this kind for this pair, naming its devices by what identifies them now. */
export const decide = (pair: PairState, kind: DecisionKind, policy: Policy, seq: number, ordinal: number): Decision => {
  const head = { id: `d${seq}.${ordinal}`, pair: pair.mac };
  const rest = {
    mode: pair.mode === 'netkvm' || pair.mode === 'kernel' ? pair.mode : ('bond' as const),
    attempt: pair.attempts + 1,
    master: targetOf(pair.roles.master),
    standby: targetOf(pair.roles.standby),
    primary: targetOf(pair.roles.primary),
  };
  switch (kind) {
    case 'takeOver':
      return { ...head, kind, ...rest, plan: takeOverPlan(pair) };
    case 'giveBack':
      return { ...head, kind, ...rest, plan: { obligation: owedBack(pair, policy)?.id ?? '' } };
    case 'alignParameters':
      return { ...head, kind, ...rest, plan: { parameters: alignPlan(pair) } };
    case 'tuneStandby':
      return { ...head, kind, ...rest, plan: tunePlan(pair) };
    case 'holdLink':
    case 'releaseLink':
    case 'bindPrimary':
    case 'unbindPrimary':
    case 'activatePrimary':
    case 'activateStandby':
    case 'moveAddresses':
      return { ...head, kind, ...rest };
    case 'parkMac':
    case 'restoreMac':
    case 'addForwarding':
    case 'removeForwarding':
    case 'tellGuest':
    case 'unplugPrimary':
    case 'plugPrimary':
    case 'startMigration':
    case 'cancelMigration':
      throw new Error(`${kind} is the hypervisor's`);
  }
};
