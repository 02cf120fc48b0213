// What the fold keeps of one pair: who is in it, where its chart stands, what is under way, what is owed. Only kept here;
// what follows from it is asked in pair.ts (the view) and duties.ts (what is wanted besides switching).
import type { Datapath, HostStage, Stage } from './stages.ts';
import type { Decision, DriverFacts, Obligation, TunedStage } from '../events/catalogue.ts';
import { type Configuration, initialConfiguration, type TimerId } from './chart-table.ts';
import type { Because } from './reasons.ts';
import type { Identity, Mode, NamedPair, Roles } from './roles.ts';

export interface Shown<S = Stage | HostStage> {
  readonly stage: S;
  readonly datapath: Datapath;
  readonly because: Because;
}

/** Windows: the device and its MTU count, since a device that is restarted arrives anew. */
export interface Aligned extends Identity {
  readonly device?: string | null;
  readonly mtu?: number | null;
}

export interface Tuned extends Identity {
  readonly stage: TunedStage;
  /** Tries that are left: none when it is done or given up. */
  readonly left: number;
}

/** Updated in place by the fold that owns it (guest.ts); everybody else reads. */
export interface PairState {
  readonly mac: string;
  /** What the policy says of it; null where it is not listed, and not to be touched. */
  named: NamedPair | null;
  mode: Mode;
  roles: Roles;
  /** The standby that the chart has been shown. */
  shownStandby: Identity | null;
  /** Monotonic time at which it took the place of another one: what the driver tells in the same look is told of it. */
  renewedAt_ns: string | null;
  /** Windows: the driver's record for this MAC. */
  driverFacts: DriverFacts | null;
  configuration: Configuration;
  /** The packed view (view.ts). */
  bits: number;
  /** What a user sees of it. */
  readonly shown: { -readonly [K in keyof Shown]: Shown<Stage>[K] };
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
  /** What is owed to it, oldest first. */
  obligations: readonly Obligation[];
  /** A takeover was begun (something is owed for it) and no takeover has come to its end since. */
  unfinished: boolean;
  /** Takeovers (or attempts to give back) that failed one after the other: what they changed and put back is no news. */
  failures: number;
  /** After a failed takeover it is not tried again for a while. */
  paused: boolean;
  /** The primary that was given the parameters of the policy. */
  aligned: Aligned | null;
  /** The standby that was given what the policy says for a stage, or was tried to be. */
  tuned: Tuned | null;
  /** An operator took it out of our hands (restore); a reload or a reboot puts it back. */
  released: boolean;
  /** NETKVM: the failover protocol is not installed (as the last look at the facts had it). */
  protocolMissing: boolean;
  /** Another program switches the same pairs: while it runs, nothing is decided here. */
  contested: boolean;
  /** Why the last effect did not take place: its kind, result and the system’s reason. Null after one that did. */
  hindrance: string | null;
}

const nobody: Roles = { mode: 'none', standby: null, master: null, primary: null, rival: null, surplus: [] };

export const newPair = (mac: string, named: NamedPair | null): PairState => ({
  mac,
  named,
  mode: 'none',
  roles: nobody,
  shownStandby: null,
  renewedAt_ns: null,
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
  obligations: [],
  unfinished: false,
  failures: 0,
  paused: false,
  aligned: null,
  tuned: null,
  released: false,
  protocolMissing: false,
  contested: false,
  hindrance: null,
});
