// The rules of the yardstick (reducer.ts): who carries, which state follows, and why. Only what net_failover trios and bonds
// need while the service observes.
import type { Adapter } from '../../src/events/catalogue.ts';

export type Stage = 'absent' | 'standalone' | 'fallback' | 'attaching' | 'switching' | 'onPrimary' | 'detaching';
type Fallback = 'noPrimary' | 'incompatible' | 'notAttached' | 'noCarrier' | 'flapping' | 'departing';
export type State = Exclude<Stage, 'fallback'> | Fallback;
export type Datapath = 'none' | 'standby' | 'primary';

export interface Known {
  facts: Adapter;
  arrival: number;
}

export interface Pair {
  readonly mac: string;
  mode: 'kernel' | 'bond' | 'none';
  standby: Known | null;
  master: Known | null;
  primary: Known | null;
  state: State;
  stage: Stage;
  datapath: Datapath;
  because: string;
  /** One timer at most: that of the state. `armedBy` 0: none. */
  armedBy: number;
  leaving: boolean;
  losses: number[];
  episode: string | null;
}

export const STAGE: { readonly [S in State]: Stage } = {
  absent: 'absent',
  standalone: 'standalone',
  noPrimary: 'fallback',
  incompatible: 'fallback',
  notAttached: 'fallback',
  noCarrier: 'fallback',
  flapping: 'fallback',
  departing: 'fallback',
  attaching: 'attaching',
  switching: 'switching',
  onPrimary: 'onPrimary',
  detaching: 'detaching',
};

/** What the state machine asks of the world. */
export interface Facts {
  readonly primary: boolean;
  readonly compatible: boolean;
  readonly bound: boolean;
  readonly carrier: boolean;
  readonly carries: boolean;
  readonly viaPrimary: boolean;
  readonly viaStandby: boolean;
  readonly leaving: boolean;
  readonly flapping: boolean;
}

export const sort = (facts: Facts): State => {
  if (facts.carries) return 'onPrimary';
  if (facts.leaving) return 'detaching';
  if (!facts.compatible) return 'incompatible';
  if (facts.flapping) return 'flapping';
  if (facts.bound) return 'switching';
  return facts.primary ? 'attaching' : 'noPrimary';
};

/** One step of the state machine of a pair that is ours; the same state when there is nothing to do. */
export const stepOf = (state: State, facts: Facts): State => {
  switch (state) {
    case 'absent':
    case 'standalone':
      return sort(facts);
    case 'noPrimary':
      return facts.primary ? sort(facts) : state;
    case 'incompatible':
      if (!facts.primary) return 'noPrimary';
      return facts.compatible ? sort(facts) : state;
    case 'notAttached':
      if (!facts.primary) return 'noPrimary';
      if (facts.carries) return 'onPrimary';
      return facts.leaving || facts.bound ? sort(facts) : state;
    case 'noCarrier':
      if (!facts.primary) return 'noPrimary';
      if (facts.carries) return 'onPrimary';
      if (facts.flapping) return 'flapping';
      return facts.carrier || (!facts.bound && facts.compatible) ? sort(facts) : state;
    case 'flapping':
      if (!facts.primary) return 'noPrimary';
      if (facts.carries) return 'onPrimary';
      return facts.flapping ? state : sort(facts);
    case 'departing':
      if (!facts.primary) return 'noPrimary';
      if (facts.carries) return 'onPrimary';
      return facts.leaving ? state : sort(facts);
    case 'attaching':
      if (!facts.primary) return 'noPrimary';
      if (facts.carries) return 'onPrimary';
      if (facts.leaving) return 'detaching';
      if (!facts.compatible) return 'incompatible';
      return facts.bound ? 'switching' : state;
    case 'switching':
      if (!facts.primary) return 'noPrimary';
      if (facts.carries) return 'onPrimary';
      if (facts.leaving) return 'detaching';
      if (!facts.compatible) return 'incompatible';
      return facts.bound ? state : 'attaching';
    case 'onPrimary':
      if (!facts.primary || facts.leaving || (!facts.viaPrimary && !facts.bound)) return 'detaching';
      if (!facts.compatible) return 'incompatible';
      return facts.viaPrimary ? state : 'noCarrier';
    case 'detaching':
      if (facts.viaStandby && facts.primary && facts.leaving) return 'departing';
      if (facts.viaStandby) return sort(facts);
      if (facts.carries) return 'onPrimary';
      return facts.primary && facts.bound && !facts.leaving ? sort(facts) : state;
  }
};

export const carrying = (known: Known | null): boolean => known !== null && known.facts.up && known.facts.carrier;
export const under = (known: Known | null, master: Known | null): boolean =>
  known !== null && master !== null && known.facts.master === master.facts.ifindex;

/** A bond's active member is what one of the members claims to be, else what the bond says. */
const isActive = (known: Known | null, { master, standby, primary }: Pair): boolean => {
  if (known === null || master === null || !under(known, master)) return false;
  const s = standby !== null && under(standby, master) && standby.facts.slave?.active === true;
  const p = primary !== null && under(primary, master) && primary.facts.slave?.active === true;
  if (s !== p) return known === (s ? standby : primary);
  return master.facts.bond?.activeSlave === known.facts.ifindex;
};

export const datapathOf = (pair: Pair): Datapath => {
  const { mode, master, standby, primary } = pair;
  if (mode === 'none') return carrying(standby) ? 'standby' : 'none';
  if (master?.facts.up !== true) return 'none';
  if (mode === 'kernel') {
    if (under(primary, master) && carrying(primary)) return 'primary';
    return under(standby, master) && carrying(standby) ? 'standby' : 'none';
  }
  if (isActive(primary, pair) && carrying(primary)) return 'primary';
  return isActive(standby, pair) && carrying(standby) ? 'standby' : 'none';
};

export const becauseOf = (pair: Pair, { carrier, leaving, primary }: Facts): string => {
  const down = pair.master?.facts.up === false;
  switch (pair.state) {
    case 'absent':
      return 'standby.absent';
    case 'standalone':
      return 'standby.unpaired';
    case 'attaching':
      return 'primary.found';
    case 'onPrimary':
      return 'primary.carries';
    case 'detaching':
      if (leaving) return 'primary.leaving';
      return primary ? 'primary.unbound' : 'primary.absent';
    case 'switching':
    case 'noCarrier':
      if (down) return 'master.down';
      return carrier ? 'primary.notActive' : 'primary.noCarrier';
    case 'incompatible':
      return 'primary.incompatible';
    case 'notAttached':
      return 'primary.notAttached';
    case 'flapping':
      return 'primary.flapping';
    case 'departing':
      return 'primary.leaving';
    case 'noPrimary':
      return 'primary.absent';
  }
};

export const newPair = (mac: string): Pair => ({
  mac,
  mode: 'none',
  standby: null,
  master: null,
  primary: null,
  state: 'absent',
  stage: 'absent',
  datapath: 'none',
  because: 'standby.absent',
  armedBy: 0,
  leaving: false,
  losses: [],
  episode: null,
});
