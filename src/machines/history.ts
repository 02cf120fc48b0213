// What a pair went through, as a user reads it: an entry per change of stage or datapath. A state that lasts less than
// the settling time is not an entry: a master and its members register one after the other, and a leaving primary goes
// down some milliseconds before it is gone.
import type { Datapath, HostStage, Stage } from './stages.ts';
import type { Because } from './reasons.ts';
import type { Change } from './step.ts';
import type { Mode } from './roles.ts';

/** Where in a log (or, for a raw capture, in the file) something happened. */
export interface Place {
  readonly seq: number;
  /** Guest's monotonic clock, nanoseconds. */
  readonly at_ns: string;
}

export interface Entry extends Place {
  readonly stage: Stage | HostStage;
  readonly datapath: Datapath;
  readonly because: Because;
}

export interface SettledEntry extends Entry {
  readonly mac: string;
  readonly mode: Mode | 'host';
}

interface Line {
  mode: SettledEntry['mode'];
  entries: Entry[];
  /** The newest state, until it has lasted for the settling time. */
  fresh: Entry | null;
}

const ms = (at_ns: string): number => Number(at_ns) / 1e6;

export class History {
  readonly #lines = new Map<string, Line>();
  settle_ms: number;
  readonly #limit: number;
  readonly #settled: (entry: SettledEntry) => void;

  /**
   * `limit` bounds the entries kept for each pair (the oldest go); `settled` is called once for each entry, as soon as
   * it is known to have lasted.
   */
  constructor(settle_ms: number, limit = Infinity, settled: (entry: SettledEntry) => void = () => {}) {
    this.settle_ms = settle_ms;
    this.#limit = limit;
    this.#settled = settled;
  }

  note({ pair }: Change, place: Place): void {
    const { stage, datapath, because } = pair.shown;
    let line = this.#lines.get(pair.mac);
    if (line === undefined) {
      line = { mode: pair.mode, entries: [], fresh: null };
      this.#lines.set(pair.mac, line);
    }
    this.#ripen(pair.mac, line, place.at_ns);
    line.mode = pair.mode;
    const { fresh } = line;
    const last = line.entries.at(-1);
    if (fresh === null && last?.stage === stage && last.datapath === datapath) return; // Another reason long after is no entry.
    // A state that did not settle hands its beginning on to the next one where the datapath is the same: when traffic
    // moved is what people ask for, and it moved then.
    const sameState = fresh?.stage === stage && fresh.datapath === datapath;
    const sameMove = fresh?.datapath === datapath && last?.datapath !== datapath;
    const from = fresh !== null && (sameState || sameMove) ? fresh : place;
    line.fresh = { seq: from.seq, at_ns: from.at_ns, stage, datapath, because };
  }

  /** Lets time pass: states that have lasted until `at_ns` become entries. */
  pass(at_ns: string): void {
    for (const [mac, line] of this.#lines) this.#ripen(mac, line, at_ns);
  }

  /** The end of the log: the last state is an entry whatever its age. */
  end(): void {
    for (const [mac, line] of this.#lines) this.#keep(mac, line);
  }

  of(mac: string): readonly Entry[] {
    return this.#lines.get(mac)?.entries ?? [];
  }

  /** When the oldest state that is not settled yet will be, in monotonic ms; null when there is none. */
  get nextSettling_ms(): number | null {
    const times = [...this.#lines.values()].flatMap(({ fresh }) => (fresh === null ? [] : [ms(fresh.at_ns) + this.settle_ms]));
    return times.length === 0 ? null : Math.min(...times);
  }

  #ripen(mac: string, line: Line, at_ns: string): void {
    if (line.fresh !== null && ms(at_ns) - ms(line.fresh.at_ns) >= this.settle_ms) this.#keep(mac, line);
  }

  #keep(mac: string, line: Line): void {
    const { fresh } = line;
    if (fresh === null) return;
    line.fresh = null;
    const last = line.entries.at(-1);
    if (last !== undefined && last.stage === fresh.stage && last.datapath === fresh.datapath) return;
    line.entries.push(fresh);
    if (line.entries.length > this.#limit) line.entries.shift();
    this.#settled({ mac, mode: line.mode, ...fresh });
  }
}
