// What the fold of the hypervisor's side keeps of one pair. Only kept here; what follows from it is asked in hosted-view.ts.
import type { Decision, EventData, Obligation } from '../events/catalogue.ts';
import type { VmPolicy, WordToGuest } from '../events/hosting.ts';
import { type HostConfiguration, initialHostConfiguration } from './migration.ts';
import type { Because } from './reasons.ts';
import type { Datapath, HostStage } from './stages.ts';

export type Monitor = Omit<EventData<'monitor.facts'>, 'pair'>;
export type Port = Omit<EventData<'port.facts'>, 'pair'>;

/** What an operator ordered: to prepare the guest, and to migrate it where there is a `uri`. */
export interface HostOrder {
  readonly episode: string;
  readonly uri: string | null;
  /** QEMU was told to migrate. */
  readonly started: boolean;
}

export interface HostedPair {
  readonly mac: string;
  readonly mode: 'host';
  /** What the policy says of it; null when it no longer names it. */
  vm: VmPolicy | null;
  configuration: HostConfiguration;
  bits: number;
  readonly shown: { stage: HostStage; datapath: Datapath; because: Because };
  readonly timers: Map<string, number>;
  pending: Decision | null;
  attempts: number;
  episode: string | null;
  obligations: readonly Obligation[];
  hindrance: string | null;
  released: boolean;
  monitor: Monitor | null;
  port: Port | null;
  guest: EventData<'channel.facts'>['guest'];
  /** The primary was in the guest, and is not any more. */
  hidden: boolean;
  asked: boolean;
  refused: boolean;
  returning: boolean;
  order: HostOrder | null;
  cancelOrdered: boolean;
  /** The target was told to expect this guest. */
  reserved: boolean;
  /** The last word to the guest, and what it answered to `prepare`. */
  told: { readonly word: WordToGuest; readonly episode: string } | null;
  answer: 'prepared' | 'refused' | 'none' | null;
  /** The migration by the name that it has in all logs. */
  joined: string | null;
}

export const newHosted = (vm: VmPolicy): HostedPair => ({
  mac: vm.mac,
  mode: 'host',
  vm,
  configuration: initialHostConfiguration,
  bits: 0,
  shown: { stage: 'unwatched', datapath: 'none', because: 'monitor.gone' },
  timers: new Map(),
  pending: null,
  attempts: 0,
  episode: null,
  obligations: [],
  hindrance: null,
  released: false,
  monitor: null,
  port: null,
  guest: null,
  hidden: false,
  asked: false,
  refused: false,
  returning: false,
  order: null,
  cancelOrdered: false,
  reserved: false,
  told: null,
  answer: null,
  joined: null,
});
