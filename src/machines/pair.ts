// One pair's folded state, and the derivations from it: the packed view that the chart sees, the datapath, the reason.
import type { Decision, DecisionKind, DriverFacts, Policy, Target } from '../events/catalogue.ts';
import { type Configuration, initialConfiguration, type Stage, type TimerId } from './chart-table.ts';
import type { Because } from './reasons.ts';
import type { Arrived, Mode, Roles } from './roles.ts';
import { BIT } from './view.ts';

export const DATAPATHS = ['none', 'standby', 'primary'] as const;
export type Datapath = (typeof DATAPATHS)[number];

export interface Shown {
  readonly stage: Stage;
  readonly datapath: Datapath;
  readonly because: Because;
}

/** Updated in place by the fold that owns it (guest.ts); everybody else reads. */
export interface PairState {
  readonly mac: string;
  mode: Mode;
  roles: Roles;
  /** Windows: the driver's record for this MAC. */
  driverFacts: DriverFacts | null;
  configuration: Configuration;
  /** The packed view (view.ts). */
  bits: number;
  /** What a user sees of it. */
  readonly shown: { -readonly [K in keyof Shown]: Shown[K] };
  /** Armed timers and the sequence number of their arming. */
  readonly timers: Map<TimerId, number>;
  /** The decision that is being carried out. */
  pending: Decision | null;
  /** How often the effect that is wanted was tried since the facts last changed. */
  attempts: number;
  leaving: boolean;
  /** Monotonic times (ms) of the latest carrier losses, oldest first, at most policy.flapLimit. */
  losses: number[];
  episode: string | null;
}

const nobody: Roles = { mode: 'none', standby: null, master: null, primary: null, surplus: [] };

export const newPair = (mac: string): PairState => ({
  mac,
  mode: 'none',
  roles: nobody,
  driverFacts: null,
  configuration: initialConfiguration,
  bits: 0,
  shown: { stage: 'absent', datapath: 'none', because: 'standby.absent' },
  timers: new Map(),
  pending: null,
  attempts: 0,
  leaving: false,
  losses: [],
  episode: null,
});

/** A device carries when IFF_UP and IFLA_CARRIER = 1 (a device that is down may still claim carrier). */
const carries = (adapter: Arrived | null): boolean => adapter !== null && adapter.facts.up && adapter.facts.carrier;

const enslavedTo = (member: Arrived | null, master: Arrived | null): boolean =>
  member !== null && master !== null && member.facts.master === master.facts.ifindex;

/** The bond's active member: what the members say of themselves, else what the bond says. */
const isActive = (member: Arrived | null, { master, standby, primary }: Roles): boolean => {
  if (member === null || !enslavedTo(member, master)) return false;
  const claims = [standby, primary].filter((other) => enslavedTo(other, master) && other?.facts.slave?.active === true);
  if (claims.length === 1) return claims[0] === member;
  return master?.facts.bond?.activeSlave === member.facts.ifindex;
};

const datapathOf = ({ mode, roles, driverFacts }: PairState): Datapath => {
  const { standby, master, primary } = roles;
  switch (mode) {
    case 'netkvm': {
      if (driverFacts === null) return 'none';
      if (driverFacts.started) return driverFacts.vfLink ? 'primary' : 'none';
      return driverFacts.virtioLink && !driverFacts.suppressLink ? 'standby' : 'none';
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

const isFlapping = ({ losses, mode }: PairState, policy: Policy): boolean =>
  mode !== 'kernel' && losses.length >= policy.flapLimit;

const flag = (name: keyof typeof BIT, on: boolean): number => (on ? BIT[name] : 0);

/** Computes the packed view and the datapath anew. */
export const lookAt = (pair: PairState, policy: Policy, listed: boolean): { bits: number; datapath: Datapath } => {
  const { mode, roles, driverFacts } = pair;
  const { standby, master, primary } = roles;
  const netkvm = mode === 'netkvm';
  const datapath = datapathOf(pair);
  const bits =
    flag('standby', driverFacts === null ? standby !== null : driverFacts.virtio) |
    flag('ours', netkvm ? driverFacts?.isStandby === true : mode !== 'none') |
    flag('held', driverFacts?.suppressLink === true) |
    flag('expected', policy.expectPrimary) |
    flag('primary', primary !== null || driverFacts?.hasVf === true) |
    flag('compatible', isCompatible(pair)) |
    flag('bound', netkvm ? driverFacts?.hasVf === true : enslavedTo(primary, master)) |
    flag('carrier', netkvm && primary === null ? driverFacts?.vfLink === true : carries(primary)) |
    flag('standbyReady', netkvm ? driverFacts?.virtioLink === true : carries(standby)) |
    flag('viaPrimary', datapath === 'primary') |
    flag('viaStandby', datapath === 'standby') |
    flag('leaving', pair.leaving) |
    flag('flapping', isFlapping(pair, policy)) |
    flag('mayAct', listed && policy.effects !== 'off' && (netkvm || mode === 'bond')) |
    flag('holds', netkvm) |
    flag('exhausted', pair.attempts >= policy.retryLimit);
  return { bits, datapath };
};

/** Why the pair is in its stage: one of the reasons in reasons.ts. */
export const becauseOf = ({ configuration, bits, mode, roles }: PairState): Because => {
  const has = (name: keyof typeof BIT) => (bits & BIT[name]) !== 0;
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
      if (has('leaving')) return 'primary.leaving';
      return has('primary') ? 'primary.unbound' : 'primary.absent';
    case 'switching':
      if (has('held')) return 'link.held';
      if (masterDown) return 'master.down';
      return has('carrier') ? 'primary.notActive' : 'primary.noCarrier';
    case 'fallback':
      switch (configuration.leaf) {
        case 'incompatible':
          return 'primary.incompatible';
        case 'notAttached':
          return 'primary.notAttached';
        case 'noCarrier':
          if (masterDown) return 'master.down';
          return has('carrier') ? 'primary.notActive' : 'primary.noCarrier';
        case 'flapping':
          return 'primary.flapping';
        case 'departing':
          return 'primary.leaving';
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
export const decide = (pair: PairState, kind: DecisionKind, seq: number, ordinal: number): Decision => ({
  id: `d${seq}.${ordinal}`,
  pair: pair.mac,
  kind,
  mode: pair.mode === 'netkvm' ? 'netkvm' : 'bond',
  attempt: pair.attempts + 1,
  master: targetOf(pair.roles.master),
  standby: targetOf(pair.roles.standby),
  primary: targetOf(pair.roles.primary),
});
