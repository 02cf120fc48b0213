// What a pair wants besides switching: that a standby is taken over into a bond, that a new primary gets its parameters,
// that stray addresses follow the bond, and that everything is given back when an operator says so. Each is a question to
// the pair's facts and memories; the chart (chart.ts) decides when one becomes a decision.
import type {
  Decision,
  DecisionKind,
  DecisionOf,
  EventData,
  Obligation,
  ObligationKind,
  Parameters,
  Policy,
  TunedStage,
} from '../events/catalogue.ts';
import type { PairState, Tuned } from './pair-state.ts';
import { type Arrived, carries, enslavedTo, isSame } from './roles.ts';

type Outcome = EventData<'outcome.seen'>['result'];

export const CONFIRM_MS = 5000;

/** Addresses that a takeover is about: the kernel gives link-local ones by itself, and takes them away. */
export const isGlobal = (address: string): boolean => !/^(?:fe[89ab]|169\.254\.|127\.|::1\/)/i.test(address);
export const globalsOf = (adapter: Arrived | null): string[] => [...(adapter?.addresses ?? [])].filter(isGlobal);

/**
 * Whether effects may touch the pair: it is listed and one pair, effects are not off, no operator has released it, and no other
 * program switches it.
 */
export const mayTouch = ({ named, released, contested, roles }: PairState, policy: Policy): boolean =>
  named !== null && roles.rival === null && policy.effects !== 'off' && !released && !contested;

/** A bond is configured for the pair, and nothing joins the two yet. */
export const isUnjoined = ({ named, mode, roles: { standby } }: PairState): boolean =>
  named?.mode === 'bond' && mode === 'none' && standby !== null;

/**
 * A takeover is wanted where a standby without a master carries an address, and is still wanted while one was begun and did
 * not come to its end. It pauses after a failure, and is given up after as many failures as the policy allows.
 */
export const wantsTakeOver = (pair: PairState, policy: Policy): boolean => {
  const { named, mode, unfinished, paused, failures } = pair;
  const { standby, master } = pair.roles;
  if (!mayTouch(pair, policy) || named?.mode !== 'bond' || standby === null) return false;
  // In another bond it cannot go on, and what joins the pair there is to be switched.
  if (unfinished) return mode === 'none' || (mode === 'bond' && master?.facts.name === takeOverPlan(pair).bond);
  if (!isUnjoined(pair) || standby.facts.master !== null || paused || failures >= policy.retryLimit) return false;
  // What it carried may be on the bond that it has lost.
  const isOwed = pair.obligations.some(({ kind }) => kind === 'takeover');
  return carries(standby) && (isOwed || globalsOf(standby).length > 0);
};

/**
 * NETKVM: the bindings of a primary that cannot serve the pair any more, because its standby is gone or the failover protocol
 * was uninstalled, are given back at once: nothing else would be bound to it.
 */
const outOfWork = (pair: PairState, policy: Policy): Obligation | null => {
  const { obligations, protocolMissing, roles } = pair;
  const { standby, primary } = roles;
  if (primary === null || (standby !== null && !protocolMissing)) return null;
  if (policy.effects !== 'on' || !mayTouch(pair, policy)) return null;
  return obligations.findLast(({ kind, device }) => kind === 'bindings' && device?.device === primary.facts.device) ?? null;
};

const IN_REGISTRY: readonly ObligationKind[] = ['bindings', 'driverParameters'];

/**
 * What was changed is to be given back, newest first. In a dry run nothing is; and while the standby is away its bond stays,
 * since taking it apart would take the network from a guest whose primary still carries.
 */
export const owedBack = (pair: PairState, policy: Policy): Obligation | null => {
  const { released, obligations, roles } = pair;
  // What the registry has is kept for a device that has left: it is given back when the device is there again.
  const present = [roles.primary, ...roles.surplus].map((one) => one?.facts.device);
  const newest = obligations.findLast(({ kind, device }) => !IN_REGISTRY.includes(kind) || present.includes(device?.device));
  if (!released) return outOfWork(pair, policy);
  if (policy.effects === 'dryRun' || newest === undefined) return null;
  return newest.kind === 'takeover' && roles.standby === null ? null : newest;
};

/** The parameters of the policy for this primary; "standby" is the MTU that the standby has at the moment. */
export const alignPlan = ({ named, roles: { standby } }: PairState): Parameters => {
  const { mtu, ...others } = named?.parameters ?? {};
  const number = mtu === 'standby' ? standby?.facts.mtu : mtu;
  return number === undefined ? others : { mtu: number, ...others };
};

/** Whether this primary was given its parameters already. On Windows that restarts the device, which then arrives anew. */
const isAligned = (pair: PairState): boolean => {
  const { mode, aligned, roles } = pair;
  if (mode !== 'netkvm') return isSame(roles.primary, aligned);
  return aligned !== null && aligned.device === roles.primary?.facts.device && aligned.mtu === (alignPlan(pair).mtu ?? null);
};

/**
 * The primary is new and does not carry yet: what changes its rings or channels takes its carrier away for a while. On Windows
 * it is restarted, so that must not be what a held standby waits for either: the standby carries meanwhile.
 */
export const wantsParameters = (pair: PairState, policy: Policy): boolean => {
  const { named, mode, roles, shown, leaving, protocolMissing } = pair;
  if (named?.parameters === undefined || Object.keys(named.parameters).length === 0 || !mayTouch(pair, policy)) return false;
  if (roles.primary === null || leaving || shown.datapath === 'primary' || isAligned(pair)) return false;
  const isEnslaved = enslavedTo(roles.primary, roles.master);
  switch (mode) {
    case 'kernel':
      return isEnslaved;
    case 'bond':
      return !isEnslaved;
    case 'netkvm':
      return shown.datapath === 'standby' && !protocolMissing;
    case 'none':
      return false;
  }
};

/** The stage that the pair rests in; null while it is on its way from one to another. */
const restOf = ({ configuration: { stage } }: PairState): TunedStage | null =>
  stage === 'fallback' || stage === 'onPrimary' ? stage : null;

/**
 * The policy has parameters for the standby in this stage, or what it had for another one is still owed. Not while the primary
 * flaps: every change would come twice. Never on Windows, where the standby would be restarted.
 */
export const wantsTuning = (pair: PairState, policy: Policy): boolean => {
  const { named, mode, roles, tuned, losses, obligations, unfinished } = pair;
  const { standby, master } = roles;
  const stage = restOf(pair);
  if (stage === null || standby === null || unfinished || !enslavedTo(standby, master)) return false;
  if (mode !== 'kernel' && (mode !== 'bond' || named?.mode === 'kernel')) return false;
  if (isSame(standby, tuned) && tuned?.stage === stage && tuned.left === 0) return false;
  const isOwed = obligations.some(({ kind, device }) => kind === 'parameters' && isSame(standby, device));
  const wished = named?.standbyParameters?.[stage];
  if (!isOwed && (wished === undefined || Object.keys(wished).length === 0)) return false;
  return losses.length < policy.flapLimit && mayTouch(pair, policy);
};

export const tunePlan = (pair: PairState): DecisionOf<'tuneStandby'>['plan'] => {
  const { fallback = {}, onPrimary = {} } = pair.named?.standbyParameters ?? {};
  return restOf(pair) === 'onPrimary'
    ? { stage: 'onPrimary', parameters: onPrimary, elsewhere: fallback }
    : { stage: 'fallback', parameters: fallback, elsewhere: onPrimary };
};

/** After a try for this stage: none is left of one that succeeded or was refused, one less of one that failed. */
const triedFor = (
  { tuned }: PairState,
  { standby, plan: { stage } }: DecisionOf<'tuneStandby'>,
  result: Outcome,
  { retryLimit }: Policy,
): Tuned | null => {
  if (standby === null) return null;
  const { ifindex, arrival } = standby;
  const isSameTry = tuned?.ifindex === ifindex && tuned.arrival === arrival && tuned.stage === stage;
  const left = isSameTry ? tuned.left : retryLimit;
  return { ifindex, arrival, stage, left: result === 'failed' ? left - 1 : 0 };
};

/** Addresses came to a member of a bond that we made: they belong to the bond. */
export const wantsAddresses = (pair: PairState, policy: Policy): boolean => {
  const { mode, roles, obligations, unfinished } = pair;
  if (mode !== 'bond' || unfinished || !mayTouch(pair, policy)) return false;
  if (!obligations.some(({ kind }) => kind === 'takeover')) return false;
  return [roles.standby, roles.primary].some((member) => enslavedTo(member, roles.master) && globalsOf(member).length > 0);
};

/** Effects that change so much that facts which changed meanwhile are no news for the next attempt. */
export const changesItsOwnFacts = (kind: DecisionKind): boolean => kind === 'takeOver' || kind === 'giveBack';

/** What the chart is told of an outcome: what stands in the way of switching least, and wears the guest out least. */
export const heardAs = ({ failures, tuned }: PairState, { kind }: Decision, result: Outcome, { retryLimit }: Policy): Outcome => {
  // Tried once for each primary, and no reason to wait.
  if (kind === 'alignParameters') return result === 'void' ? result : 'succeeded';
  // Tried again when a fact changes or after a while, and nothing waits for it; given up, it is no hindrance.
  if (kind === 'tuneStandby' && result !== 'void') return tuned?.left === 0 ? 'succeeded' : 'refused';
  if (result !== 'failed') return result;
  // Addresses that do not move wait for facts; so does what failed again and again.
  const isEnough = changesItsOwnFacts(kind) && failures >= retryLimit;
  return kind === 'moveAddresses' || isEnough ? 'refused' : 'failed';
};

/** What the pair remembers of an effect that has come to its end. */
export const learn = (pair: PairState, decision: Decision, result: Outcome, reason: string | null, policy: Policy): void => {
  const { kind, primary } = decision;
  pair.hindrance = result === 'succeeded' ? null : `${kind} ${result}: ${reason ?? 'no reason given'}`;
  if (changesItsOwnFacts(kind)) {
    if (result === 'succeeded') pair.failures = 0;
    else if (result === 'failed') pair.failures += 1;
  }
  if (kind === 'takeOver') {
    if (result === 'succeeded') pair.unfinished = false;
    else if (result !== 'void' && !pair.unfinished) pair.paused = true;
  }
  // What is void was not tried, but a dry run shows it once, too.
  if (result === 'void' && policy.effects !== 'dryRun') return;
  // Once for each primary.
  if (kind === 'alignParameters')
    pair.aligned = primary && {
      ifindex: primary.ifindex,
      arrival: primary.arrival,
      ...(decision.mode === 'netkvm' ? { device: primary.device, mtu: decision.plan.parameters.mtu ?? null } : {}),
    };
  if (kind === 'tuneStandby') pair.tuned = triedFor(pair, decision, result, policy);
};

/** `fo112233` of 52:54:00:11:22:33: the same at every start, and short enough for a name of 15 characters. */
const bondName = (mac: string): string => `fo${mac.split(':').slice(3).join('')}`;

export const takeOverPlan = ({ mac, named }: PairState): DecisionOf<'takeOver'>['plan'] => ({
  bond: named?.bond ?? bondName(mac),
  probe: named?.probe ?? [],
  confirm_ms: named?.confirm_ms ?? CONFIRM_MS,
});
