// Decisions become effects here, and nowhere else: carried out by the platform within a time limit, and concluded by
// exactly one outcome each. In a dry run nothing is carried out; while the log cannot be written, only what leads toward
// a working path is.
import type { Ledger, Outcome, Platform } from '../adapters/platform.ts';
import type { Decision, DecisionKind, HappeningOf, Policy } from '../events/catalogue.ts';

/** Effects that may be carried out although their decision is not recorded yet. */
const TOWARD_A_PATH: ReadonlySet<DecisionKind> = new Set(['activateStandby', 'releaseLink', 'unbindPrimary']);

/** Time for network managers to listen, beside what the effect itself takes: nothing waits for the path meanwhile. */
const TELLS: ReadonlyMap<DecisionKind, number> = new Map([
  ['takeOver', 30_000],
  ['giveBack', 10_000],
]);

/** What may come while the primary carries, and is worth no wait when the primary goes. */
const BRIEF: ReadonlyMap<DecisionKind, number> = new Map([['tuneStandby', 2000]]);

export const voided = (reason: string): Outcome => ({ result: 'void', reason, observed: false });

/** The outcome as an event. */
export const concluded = ({ id, pair }: Decision, { result, reason, observed }: Outcome): HappeningOf<'outcome.seen'> => ({
  type: 'outcome.seen',
  data: { decision: id, pair, result, reason: reason?.slice(0, 4096) ?? null, observed },
});

/** Sequence number of the event that records a decision: it comes right after its cause, in the order of the ordinals. */
export const seqOf = ({ id }: Decision): number => {
  const [cause = 0, ordinal = 0] = id.slice(1).split('.').map(Number);
  return cause + 1 + ordinal;
};

/**
 * Carries out one decision; never rejects. A result that comes after the limit is not an outcome any more. `signal` ends
 * the attempt early: the platform is told, and what it then answers is for the caller to drop.
 */
export const carryOut = async (
  decision: Decision,
  platform: Pick<Platform, 'perform' | 'after'>,
  policy: Policy,
  outage: boolean,
  signal: AbortSignal,
  ledger: Ledger,
): Promise<Outcome> => {
  const { kind } = decision;
  // What an operator wants back is given back with effects off, too.
  if (policy.effects !== 'on' && (kind !== 'giveBack' || policy.effects === 'dryRun')) return voided(policy.effects);
  if (outage && !TOWARD_A_PATH.has(kind)) return voided('the log cannot be written');
  const own_ms = Math.min(policy.effectLimit_ms, BRIEF.get(kind) ?? Infinity);
  const limit_ms = own_ms + (kind === 'takeOver' ? decision.plan.confirm_ms : 0) + (TELLS.get(kind) ?? 0);
  const limit = new AbortController();
  const { promise: late, resolve } = Promise.withResolvers<Outcome>();
  const cancel = platform.after(limit_ms, () => {
    // First the outcome, then the signal: an effect that gives up on the signal is a timeout, not a failure of its own.
    resolve({ result: 'failed', reason: `timeout after ${limit_ms} ms`, observed: false });
    limit.abort();
  });
  try {
    return await Promise.race([platform.perform(decision, AbortSignal.any([limit.signal, signal]), ledger), late]);
  } catch (error) {
    return { result: 'failed', reason: error instanceof Error ? error.message : String(error), observed: false };
  } finally {
    cancel();
  }
};
