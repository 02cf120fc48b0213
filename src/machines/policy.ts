// The parameters of the machine, with their defaults and meanings: the one list that the configuration file, its
// documentation and the chart's delays are made from.
import type { Policy } from '../events/catalogue.ts';

interface Parameter {
  readonly initial: number | boolean | string;
  readonly min?: number;
  readonly max?: number;
  readonly meaning: string;
}

const HOUR_MS = 3_600_000;

/** Every parameter but the lists (`pairs`, `vms`), which have no default other than none. */
type Single = Exclude<keyof Policy, 'pairs' | 'vms'>;
export const PARAMETERS: { readonly [K in Single]: Parameter } = {
  effects: {
    initial: 'off',
    meaning: 'off: observe only; dryRun: decide, but do nothing; on: act, on the pairs that are listed and on no other.',
  },
  expectPrimary: {
    initial: true,
    meaning: 'Whether a standby whose link is held down waits for a primary before it is released.',
  },
  grace_ms: {
    initial: 3000,
    min: 0,
    max: HOUR_MS,
    meaning: 'How long a held standby waits for its primary. The original Windows service does not wait at all.',
  },
  attachLimit_ms: {
    initial: 5000,
    min: 100,
    max: HOUR_MS,
    meaning: 'How long a primary may be present without being bound or enslaved.',
  },
  switchLimit_ms: {
    initial: 10_000,
    min: 100,
    max: HOUR_MS,
    meaning: 'How long a bound primary may be without carrying. Some network cards need 3 s to get carrier.',
  },
  detachLimit_ms: {
    initial: 10_000,
    min: 100,
    max: HOUR_MS,
    meaning: 'How long a sign that the primary is leaving is believed. Native PCIe hotplug takes 5 s.',
  },
  retryDelay_ms: { initial: 1000, min: 10, max: HOUR_MS, meaning: 'Pause before a failed effect is tried again.' },
  retryLimit: {
    initial: 5,
    min: 1,
    max: 100,
    meaning: 'How often one effect is tried before it counts as blocked until a fact changes.',
  },
  effectLimit_ms: { initial: 15_000, min: 100, max: HOUR_MS, meaning: 'How long one effect may take.' },
  blockedRetry_ms: {
    initial: 60_000,
    min: 1000,
    max: HOUR_MS,
    meaning: 'Pause before a blocked effect is tried again although no fact has changed.',
  },
  flapLimit: { initial: 4, min: 2, max: 1000, meaning: 'Carrier losses of a primary within the window that count as flapping.' },
  flapWindow_ms: { initial: 10_000, min: 100, max: HOUR_MS, meaning: 'The window in which carrier losses are counted.' },
  flapHold_ms: {
    initial: 10_000,
    min: 100,
    max: HOUR_MS,
    meaning: 'How long a flapping primary is left alone after its last loss.',
  },
  settle_ms: {
    initial: 20,
    min: 0,
    max: 10_000,
    meaning: 'A stage or datapath that lasts less is not shown: a master and its members register one after the other.',
  },
};

/** The policy that holds when nothing is configured: watch everything, touch nothing. */
export const defaultPolicy: Policy = Object.freeze({
  ...(Object.fromEntries(Object.entries(PARAMETERS).map(([name, { initial }]) => [name, initial])) as Pick<Policy, Single>),
  pairs: [],
});
