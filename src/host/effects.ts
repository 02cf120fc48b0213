// Decisions become effects here, and nowhere else: carried out by the platform within a time limit, and concluded by
// exactly one outcome each. In a dry run nothing is carried out; while the log cannot be written, only what leads toward
// a working path is.
import type { Outcome, Platform } from '../adapters/platform.ts';
import type { Decision, DecisionKind, HappeningOf, Policy } from '../events/catalogue.ts';

/** Effects that may be carried out although their decision is not recorded yet. */
const TOWARD_A_PATH: ReadonlySet<DecisionKind> = new Set(['activateStandby', 'releaseLink', 'unbindPrimary']);

const voided = (reason: string): Outcome => ({ result: 'void', reason, observed: false });

/** The outcome as an event. */
export const concluded = ({ id, pair }: Decision, { result, reason, observed }: Outcome): HappeningOf<'outcome.seen'> => ({
  type: 'outcome.seen',
  data: { decision: id, pair, result, reason: reason?.slice(0, 4096) ?? null, observed },
});

/** Carries out one decision; never rejects. A result that comes after the limit is not an outcome any more. */
export const carryOut = async (
  decision: Decision,
  platform: Pick<Platform, 'perform'>,
  policy: Policy,
  outage: boolean,
): Promise<Outcome> => {
  if (policy.effects !== 'on') return voided(policy.effects);
  if (outage && !TOWARD_A_PATH.has(decision.kind)) return voided('the log cannot be written');
  const limit = new AbortController();
  const late = new Promise<Outcome>((resolve) => {
    const timer = setTimeout(() => {
      limit.abort();
      resolve({ result: 'failed', reason: `timeout after ${policy.effectLimit_ms} ms`, observed: false });
    }, policy.effectLimit_ms);
    limit.signal.addEventListener('abort', () => clearTimeout(timer));
  });
  try {
    return await Promise.race([platform.perform(decision, limit.signal), late]);
  } catch (error) {
    return { result: 'failed', reason: error instanceof Error ? error.message : String(error), observed: false };
  } finally {
    limit.abort();
  }
};
