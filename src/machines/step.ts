// What one event led to: changes that people read, decisions and timers that the process carries out, and the first place
// at which the log says something else than the fold.
import type { Decision } from '../events/catalogue.ts';
import type { TimerId } from './chart-table.ts';
import type { HostedPair } from './hosted-pair.ts';
import type { PairState, Shown } from './pair-state.ts';

export interface ArmTimer {
  readonly op: 'arm';
  readonly pair: string;
  readonly timer: TimerId;
  readonly delay_ms: number;
  readonly armedBy: number;
}
export interface CancelTimer {
  readonly op: 'cancel';
  readonly pair: string;
  readonly timer: TimerId;
}

/** A pair, of the guest or of the hypervisor's side, whose stage, datapath or reason is another than before the event. */
export interface Change {
  readonly pair: PairState | HostedPair;
  readonly before: Shown;
}

export interface Divergence {
  readonly seq: number;
  readonly expected: string;
  readonly recorded: string;
}

/** What one event led to. */
export interface Step {
  /** Pairs whose facts may have changed. */
  readonly touched: readonly PairState[];
  /** The same for the hypervisor's side. */
  readonly hosted: readonly HostedPair[];
  readonly changes: readonly Change[];
  readonly decisions: readonly Decision[];
  readonly timers: readonly (ArmTimer | CancelTimer)[];
  /** The failover episode that the event belongs to. */
  readonly episode: string | null;
  readonly divergence: Divergence | null;
}

/** The same while the fold is at it. */
export interface Growing extends Step {
  touched: readonly PairState[];
  hosted: readonly HostedPair[];
  readonly changes: Change[];
  readonly decisions: Decision[];
  readonly timers: (ArmTimer | CancelTimer)[];
  episode: string | null;
  divergence: Divergence | null;
}
