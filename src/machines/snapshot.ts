// The folded state as plain data: what a checkpoint holds, and how a fresh fold takes it over.
import type { Adapter, Decision, DriverFacts, Obligation, PciFunction, Policy } from '../events/catalogue.ts';
import { configurationOf, type TimerId } from './chart-table.ts';
import type { HostedSnapshot } from './hosted.ts';
import type { Inventory } from './inventory.ts';
import { becauseOf, lookAt } from './pair.ts';
import type { Aligned, Tuned } from './pair-state.ts';
import { type Identity, identityOf } from './roles.ts';

export interface GuestSnapshot {
  /** The hypervisor's side, where there is one. */
  readonly hosted?: HostedSnapshot;
  readonly bootId: string | null;
  readonly policy: Policy;
  readonly byCurrentMac: boolean;
  readonly protocols: readonly string[];
  readonly protocolMissing: boolean;
  readonly controllers?: readonly string[];
  readonly adapters: readonly { readonly facts: Adapter; readonly arrival: number; readonly addresses: readonly string[] }[];
  readonly functions: readonly PciFunction[];
  readonly pairs: readonly {
    readonly mac: string;
    readonly driverFacts: DriverFacts | null;
    readonly primary: Identity | null;
    /** The standby that the chart has been shown. */
    readonly standby?: Identity | null;
    readonly configuration: string;
    readonly bits: number;
    readonly timers: readonly (readonly [TimerId, number])[];
    readonly pending: Decision | null;
    readonly attempts: number;
    readonly leaving: boolean;
    readonly losses: number[];
    readonly episode: string | null;
    readonly obligations: readonly Obligation[];
    readonly unfinished: boolean;
    readonly failures: number;
    readonly paused: boolean;
    readonly aligned: Aligned | null;
    readonly tuned?: Tuned;
    readonly released: boolean;
    readonly hindrance: string | null;
  }[];
}

export const snapshotOf = (inventory: Inventory, policy: Policy, bootId: string | null): GuestSnapshot => ({
  bootId,
  policy,
  byCurrentMac: inventory.byCurrentMac,
  protocols: [...inventory.protocols],
  protocolMissing: inventory.protocolMissing,
  ...(inventory.controllers.size === 0 ? {} : { controllers: [...inventory.controllers] }),
  adapters: [...inventory.adapters.values()].map(({ facts, arrival, addresses }) => ({
    facts: { ...facts },
    arrival,
    addresses: [...addresses],
  })),
  functions: [...inventory.functions.values()],
  pairs: [...inventory.pairs.values()].map((pair) => ({
    mac: pair.mac,
    driverFacts: pair.driverFacts,
    primary: identityOf(pair.roles.primary),
    standby: pair.shownStandby,
    configuration: pair.configuration.value,
    bits: pair.bits,
    timers: [...pair.timers],
    pending: pair.pending,
    attempts: pair.attempts,
    leaving: pair.leaving,
    losses: pair.losses,
    episode: pair.episode,
    obligations: pair.obligations,
    unfinished: pair.unfinished,
    failures: pair.failures,
    paused: pair.paused,
    aligned: pair.aligned,
    ...(pair.tuned === null ? {} : { tuned: pair.tuned }),
    released: pair.released,
    hindrance: pair.hindrance,
  })),
});

/** What a checkpoint of an older machine lacks. */
const LACKING = {
  obligations: [],
  unfinished: false,
  failures: 0,
  paused: false,
  aligned: null,
  tuned: null,
  released: false,
  hindrance: null,
} as const;

export const restoreInto = (inventory: Inventory, snapshot: GuestSnapshot): void => {
  inventory.byCurrentMac = snapshot.byCurrentMac;
  for (const name of snapshot.protocols) inventory.protocols.add(name);
  inventory.protocolMissing = snapshot.protocolMissing;
  for (const name of snapshot.controllers ?? []) inventory.controllers.add(name);
  for (const item of snapshot.functions) inventory.functions.set(item.address, item);
  inventory.list(snapshot.policy.pairs);
  inventory.restore(snapshot.adapters, snapshot.pairs);
  for (const one of snapshot.pairs) {
    const saved = { ...LACKING, ...one };
    const pair = inventory.pairs.get(saved.mac);
    if (pair === undefined) continue;
    for (const [timer, armedBy] of saved.timers) pair.timers.set(timer, armedBy);
    pair.configuration = configurationOf(saved.configuration);
    pair.bits = saved.bits;
    pair.pending = saved.pending;
    pair.attempts = saved.attempts;
    pair.leaving = saved.leaving;
    pair.losses = saved.losses;
    pair.episode = saved.episode;
    pair.obligations = saved.obligations;
    pair.unfinished = saved.unfinished;
    pair.failures = saved.failures;
    pair.paused = saved.paused;
    pair.aligned = saved.aligned;
    pair.tuned = saved.tuned;
    pair.released = saved.released;
    pair.hindrance = saved.hindrance;
    pair.shownStandby = saved.standby === undefined ? identityOf(pair.roles.standby) : saved.standby;
    pair.shown.stage = pair.configuration.stage;
    lookAt(pair, snapshot.policy, inventory);
    pair.shown.because = becauseOf(pair);
  }
};
