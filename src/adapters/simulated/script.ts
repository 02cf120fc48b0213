// What a simulated life is made from: a script, which says what happens when, in the world and to the service, and the cards
// and moments that scripts are written with. A script is data, so that it can be shortened and written down.
import type { Policy } from '../../events/catalogue.ts';
import type { Fault, Rates } from './faults.ts';
import type { Migration } from './hypervisor.ts';
import type { Card } from './kernel.ts';
import type { Random } from './random.ts';
import type { Happens, WorldOptions } from './world.ts';

/** What happens to the service rather than to the world. */
export type Befalls =
  /** The process is killed: before what it folded is committed, in the middle of the commit, or between two steps. */
  | { readonly do: 'kill'; readonly when: 'now' | 'beforeCommit' | 'commitLost' | 'commitUnanswered'; readonly down_ms: number }
  /** Killed, and the log is cut at a byte: its end is missing from `at` on (0 to 1), or it is set aside as damaged. */
  | { readonly do: 'logCut'; readonly at: number; readonly setAside: boolean; readonly down_ms: number }
  /** The next hint or effect meets this fault. */
  | { readonly do: 'fault'; readonly fault: Fault }
  | { readonly do: 'restart' }
  | { readonly do: 'logOutage'; readonly ms: number }
  /** The log takes an append, but its answer is an error. */
  | { readonly do: 'logUnanswered' }
  | { readonly do: 'survey' }
  /** An operator asks for it. */
  | { readonly do: 'restore' | 'prepare' }
  | { readonly do: 'policy'; readonly effects: 'on' | 'dryRun' | 'off' };

export interface Action {
  readonly at_ms: number;
  readonly what: Happens | Befalls;
}

const BEFALLING: ReadonlySet<string> = new Set<Befalls['do']>([
  'kill',
  'logCut',
  'fault',
  'restart',
  'logOutage',
  'logUnanswered',
  'survey',
  'restore',
  'prepare',
  'policy',
]);
export const isBefalling = ({ what }: Action): boolean => BEFALLING.has(what.do);

export interface Script {
  readonly world: WorldOptions;
  readonly rates: Rates;
  readonly effects: 'on' | 'dryRun' | 'off';
  /** MACs of the pairs that effects may touch. */
  readonly pairs: readonly string[];
  /** What the policy says of each of them. */
  readonly wishes?: Omit<Policy['pairs'][number], 'mac'>;
  readonly checkpointEvents: number;
  readonly actions: readonly Action[];
}

export interface Scenario {
  readonly name: string;
  readonly what: string;
  readonly script: (random: Random) => Script;
}

export const MAC = '52:54:00:11:22:33';
export const OTHER_MAC = '52:54:00:11:22:44';
export const FOREIGN_MAC = '52:54:00:99:99:99';

export const nic = (over: Partial<Card> = {}): Card => ({
  kind: 'virtio',
  address: '0000:01:00.0',
  mac: MAC,
  standby: true,
  mtu: 1500,
  mtuMax: 9000,
  carrierDelay_ms: 0,
  ptp: false,
  driver: true,
  ...over,
});
export const vf = (over: Partial<Card> = {}): Card =>
  nic({ kind: 'vf', address: '0000:02:00.0', standby: false, carrierDelay_ms: 2200, ptp: true, ...over });

export const migration = (over: Partial<Migration> = {}): Migration => ({
  ends: 'completes',
  takes_ms: 500,
  downtime_ms: 20,
  primary: {},
  plugAfter_ms: 60,
  ...over,
});

export const at = (at_ms: number, what: Action['what']): Action => ({ at_ms, what });
export const add = (id: string, card: Card): Happens => ({ do: 'add', id, card });
