// What every run of the service begins with in the log: what became of the log before, the start itself, the policy, and
// an end for every decision that an earlier run left open.
import type { OpenedLog } from '../adapters/log/sqlite.ts';
import type { Decision, Happening, HappeningOf, Policy } from '../events/catalogue.ts';
import { MACHINE_VERSION } from '../machines/guest.ts';
import { concluded } from './effects.ts';
import type { Loss } from './recorder.ts';

const outage = (since_ns: string, lost: number, reason: string): HappeningOf<'log.outage'> => ({
  type: 'log.outage',
  data: { since_ns, events: 0, lost, reason: reason.slice(0, 4096) },
});

/** What an earlier recorder could not write, if this run begins because of that. */
export const lossOf = (lost: Loss | null): Happening[] =>
  lost === null ? [] : [outage(lost.since_ns, lost.events, lost.reason)];

/** Why a new log is new, if it is because the one before was damaged, and how much of what that owed could still be read. */
export const setAsideOf = (aside: OpenedLog['setAside'], owed: number): Happening[] => {
  if (aside === null) return [];
  const carried = owed === 0 ? 'it owed nothing that can be read' : `what it owed is carried over (${owed})`;
  return [outage('0', 0, `the log before this one was damaged (${aside.reason}) and is kept as ${aside.path}; ${carried}`)];
};

/** `service.started`, without what only the fold knows. */
export const startOf = (data: {
  readonly version: string;
  readonly bootId: string;
  readonly platform: string;
  readonly host: Readonly<Record<string, string>>;
}): Happening => ({
  type: 'service.started',
  data: { ...data, host: { ...data.host }, machineVersion: MACHINE_VERSION, vmGeneration: null },
});

export const applied = (policy: Policy): Happening => ({ type: 'configuration.applied', data: { policy } });

/** The end of a decision whose service is gone: it is decided anew, from fresh facts. */
export const voidOf = (decision: Decision): Happening =>
  concluded(decision, { result: 'void', reason: 'the service ended before the outcome was known', observed: false });
