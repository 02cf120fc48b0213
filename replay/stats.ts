// Many logs, counted: how long the paths were away, how long effects took, what was lost, what was found. One document,
// whose shape is a promise to scripts.
import type { EventData } from '../src/events/catalogue.ts';
import type { Foldable } from '../src/events/envelope.ts';
import type { Finding } from '../src/machines/findings.ts';
import { FINDINGS, type FindingCode } from '../src/machines/reasons.ts';
import type { Entry, SettledEntry } from '../src/machines/history.ts';
import { Story } from '../src/machines/story.ts';
import { type Distribution, distributionOf, type Spread, spreadOf } from './distribution.ts';
import { type Direction, DIRECTIONS } from './timeline/document.ts';
import type { Losses } from './timeline/losses.ts';

/** What is measured, in ns; docs/figures.md is made from this list. */
export const DURATIONS = {
  failover: 'From the primary’s path to the standby’s: how long there was none. Nothing between the two counts as 0.',
  failback: 'From a primary that is bound or enslaved to the moment when it carries.',
  away: 'From leaving the primary’s path until it is taken again.',
  noPath: 'Times without any path.',
  inboundHole: 'Times in which everything that arrived on the standby was dropped (net_failover).',
  effect: 'From a decision to its outcome, where that succeeded.',
} as const;
export type DurationName = keyof typeof DURATIONS;
const NAMES = Object.keys(DURATIONS) as DurationName[];

export interface MeasuredLosses {
  readonly meters: number;
  readonly lost: number;
  /** Packets that arrived, of the meters that came to their end. */
  readonly received: number;
  /** Packets that were lost one after the other. */
  readonly holes: Spread;
}

export interface Statistics {
  readonly schemaVersion: 1;
  readonly logs: readonly { readonly name: string; readonly events: number; readonly pairs: number; readonly damaged: boolean }[];
  /** Primaries that came back, with an announce since (a migration) and without. */
  readonly returns: { readonly migrated: number; readonly other: number };
  readonly durations: Readonly<Record<DurationName, Distribution>>;
  /** Packets that the adapters’ drivers dropped, where counters were sampled. */
  readonly losses: {
    readonly samples: number;
    readonly rxDropped: number;
    readonly txDropped: number;
    /** What packet meters found missing. */
    readonly measured: Readonly<Record<Direction, MeasuredLosses>>;
  };
  readonly decisions: readonly { readonly kind: string; readonly result: string; readonly count: number }[];
  readonly findings: readonly { readonly code: FindingCode; readonly count: number; readonly total_ns: number }[];
}

/** Durations kept of each kind: a bound for memory, far above what logs hold. */
const KEPT_MAX = 1_000_000;
/** What a log's story keeps while it is counted: what was counted is not needed any more, however long the log is. */
const STORY = { entries: 1, findings: 16 };
/** Decisions without an outcome that are remembered: there is one for each pair, unless a log is damaged. */
const OPEN_MAX = 1000;
/** Drivers of primaries that are named of one log. */
const DRIVERS_MAX = 16;

type Add = (name: DurationName, ns: number) => void;

/** The durations of one pair, from one state that lasted to the next. */
class Path {
  #lost: { at: number; had: boolean } | null = null;
  #attached: number | null = null;
  #before: Entry | null = null;

  take(entry: Entry, add: Add): void {
    const at = Number(entry.at_ns);
    // A clock that ran backwards is that of another boot: what was before has no length.
    if (this.#before !== null && at < Number(this.#before.at_ns)) [this.#lost, this.#attached, this.#before] = [null, null, null];
    if (entry.datapath !== 'primary' && this.#before?.datapath === 'primary') this.#lost = { at, had: false };
    if (entry.datapath === 'standby' && this.#lost !== null && !this.#lost.had) {
      add('failover', at - this.#lost.at);
      this.#lost.had = true;
    }
    if (entry.stage === 'switching') this.#attached ??= at;
    else if (entry.stage !== 'onPrimary') this.#attached = null;
    if (entry.datapath === 'primary') {
      if (this.#lost !== null) add('away', at - this.#lost.at);
      if (this.#attached !== null) add('failback', at - this.#attached);
      [this.#lost, this.#attached] = [null, null];
    }
    this.#before = entry;
  }
}

/** One log, told event by event and counted as it goes, so that a log of any length takes little memory. */
export class Counted {
  readonly story = new Story({ settled: (entry) => this.#settled(entry), found: (finding) => this.#found(finding) }, STORY);
  readonly durations: Record<DurationName, number[]> = {
    failover: [],
    failback: [],
    away: [],
    noPath: [],
    inboundHole: [],
    effect: [],
  };
  readonly decisions: Map<string, { readonly kind: string; readonly result: string; readonly count: number }> = new Map();
  readonly findings: Map<FindingCode, { readonly count: number; readonly total_ns: number }> = new Map();
  readonly returns = { migrated: 0, other: 0 };
  samples = 0;
  rxDropped = 0n;
  txDropped = 0n;
  /** Release of the kernel that ran last, '' where the log does not say. */
  kernel = '';
  /** Drivers of the primaries. */
  readonly drivers = new Set<string>();
  readonly #dropped = new Map<number, { readonly rx: bigint; readonly tx: bigint }>();
  readonly #paths = new Map<string, Path>();
  /** By id, until their outcome. */
  readonly #open = new Map<string, { readonly kind: string; readonly at_ns: string }>();
  #counts = true;

  /** What ends with an event that does not count (`counts`) is told, because what comes later depends on it, and not counted. */
  take(event: Foldable, place: { seq: number; at_ns: string }, counts = true) {
    this.#counts = counts;
    this.#note(event, place.at_ns);
    const step = this.story.tell(event, place);
    for (const { pair } of step.changes) {
      const driver = pair.mode === 'host' ? null : (pair.roles.primary?.facts.driver ?? null);
      if (driver !== null && this.drivers.size < DRIVERS_MAX) this.drivers.add(driver);
    }
    return step;
  }

  /** The end of the log: what lasts is counted as it is. */
  end(): void {
    const { story } = this;
    story.history.end();
    for (const finding of story.findings.list(story.end)) if (finding.until_seq === null) this.#found(finding);
    for (const { kind } of this.#open.values()) this.#count(kind, 'none');
    this.#open.clear();
  }

  #note(event: Foldable, at_ns: string): void {
    switch (event.type) {
      case 'counters.sampled':
        this.#sample(event.data);
        break;
      case 'adapter.gone':
        this.#dropped.delete(event.data.ifindex);
        break;
      case 'service.started':
        this.#dropped.clear();
        this.kernel = event.data.host['kernel'] ?? this.kernel;
        break;
      case 'decision.made':
        this.#open.set(event.data.id, { kind: event.data.kind, at_ns });
        if (this.#open.size > OPEN_MAX) this.#forgetOldest();
        break;
      case 'outcome.seen':
        this.#conclude(event.data.decision, event.data.result, at_ns);
        break;
      default:
    }
  }

  #sample({ ifindex, rxDropped, txDropped }: EventData<'counters.sampled'>): void {
    const [rx, tx] = [BigInt(rxDropped), BigInt(txDropped)];
    const before = this.#dropped.get(ifindex);
    this.#dropped.set(ifindex, { rx, tx });
    if (!this.#counts) return;
    this.samples += 1;
    // The first sample has the time before the log in it; a smaller one is that of a counter that began anew.
    if (before === undefined || rx < before.rx || tx < before.tx) return;
    this.rxDropped += rx - before.rx;
    this.txDropped += tx - before.tx;
  }

  #conclude(id: string, result: string, at_ns: string): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    this.#count(open.kind, result);
    if (result === 'succeeded') this.#keep('effect', Number(at_ns) - Number(open.at_ns));
  }

  #forgetOldest(): void {
    for (const [id, { kind }] of this.#open) {
      this.#open.delete(id);
      this.#count(kind, 'none');
      return;
    }
  }

  #count(kind: string, result: string): void {
    if (!this.#counts) return;
    const key = `${kind} ${result}`;
    this.decisions.set(key, { kind, result, count: (this.decisions.get(key)?.count ?? 0) + 1 });
  }

  #settled(entry: SettledEntry): void {
    let path = this.#paths.get(entry.mac);
    if (path === undefined) this.#paths.set(entry.mac, (path = new Path()));
    path.take(entry, (name, ns) => this.#keep(name, ns));
  }

  #found({ code, at_ns, until_ns, text }: Finding): void {
    if (!this.#counts) return;
    const ns = Number(until_ns ?? this.story.end.at_ns) - Number(at_ns);
    const known = this.findings.get(code) ?? { count: 0, total_ns: 0 };
    this.findings.set(code, { count: known.count + 1, total_ns: known.total_ns + Math.max(0, ns) });
    if (code === 'noPath' || code === 'inboundHole') this.#keep(code, ns);
    if (code === 'primaryReturned') this.returns[text.endsWith('(migrated)') ? 'migrated' : 'other'] += 1;
  }

  #keep(name: DurationName, ns: number): void {
    const kept = this.durations[name];
    if (this.#counts && ns >= 0 && kept.length < KEPT_MAX) kept.push(ns);
  }
}

export class Stats {
  readonly #durations = new Map<DurationName, number[]>(NAMES.map((name) => [name, []]));
  readonly #decisions = new Map<string, { kind: string; result: string; count: number }>();
  readonly #findings = new Map<FindingCode, { count: number; total_ns: number }>();
  readonly #logs: { name: string; events: number; pairs: number; damaged: boolean }[] = [];
  readonly #returns = { migrated: 0, other: 0 };
  readonly #losses = { samples: 0, rxDropped: 0, txDropped: 0 };
  readonly #metered: Losses[] = [];

  /** Adds a log that was told to its end. */
  add(name: string, counted: Counted, events: number, damaged: boolean): void {
    counted.end();
    this.#logs.push({ name, events, pairs: counted.story.guest.pairs.size, damaged });
    for (const what of NAMES) {
      const kept = this.#durations.get(what) ?? [];
      for (const ns of counted.durations[what]) if (kept.length < KEPT_MAX) kept.push(ns);
    }
    for (const [key, { kind, result, count }] of counted.decisions)
      this.#decisions.set(key, { kind, result, count: (this.#decisions.get(key)?.count ?? 0) + count });
    for (const [code, { count, total_ns }] of counted.findings) {
      const known = this.#findings.get(code) ?? { count: 0, total_ns: 0 };
      this.#findings.set(code, { count: known.count + count, total_ns: known.total_ns + total_ns });
    }
    this.#returns.migrated += counted.returns.migrated;
    this.#returns.other += counted.returns.other;
    this.#losses.samples += counted.samples;
    this.#losses.rxDropped += Number(counted.rxDropped);
    this.#losses.txDropped += Number(counted.txDropped);
  }

  addLosses(losses: Losses): void {
    this.#metered.push(losses);
  }

  #measured(direction: Direction): MeasuredLosses {
    const meters = this.#metered.filter((one) => one.direction === direction);
    const sum = (of: (one: Losses) => number): number => meters.reduce((total, one) => total + of(one), 0);
    return {
      meters: meters.length,
      lost: sum(({ lost }) => lost),
      received: sum(({ received }) => received ?? 0),
      holes: spreadOf(meters.flatMap(({ holes }) => holes.map(({ lost }) => lost))),
    };
  }

  document(): Statistics {
    const durations = Object.fromEntries(NAMES.map((name) => [name, distributionOf(this.#durations.get(name) ?? [])]));
    const findings = (Object.keys(FINDINGS) as FindingCode[]).flatMap((code) => {
      const found = this.#findings.get(code);
      return found === undefined ? [] : [{ code, ...found }];
    });
    return {
      schemaVersion: 1,
      logs: this.#logs,
      returns: this.#returns,
      durations: durations as Record<DurationName, Distribution>,
      losses: { ...this.#losses, measured: { in: this.#measured('in'), out: this.#measured('out') } },
      decisions: [...this.#decisions.values()].toSorted((a, b) =>
        `${a.kind} ${a.result}`.localeCompare(`${b.kind} ${b.result}`, 'en'),
      ),
      findings,
    };
  }
}

/** The tables of a distribution stand under one another. */
const COLUMN = 11;
const COLUMNS = ['count', 'min', 'p50', 'p90', 'p99', 'max'];
const rowText = (name: string, cells: readonly string[]): string =>
  `${name.padEnd(12)}${cells.map((one) => one.padStart(COLUMN)).join('')}`;

const lossLines = ({ measured }: Statistics['losses']): string[] => {
  const found = DIRECTIONS.filter((direction) => measured[direction].meters > 0);
  if (found.length === 0) return [];
  const number = (value: number | null): string => String(value ?? '-');
  return [
    '',
    rowText('packets lost', COLUMNS),
    ...found.map((direction) => {
      const { count, min, p50, p90, p99, max } = measured[direction].holes;
      return rowText(`${direction} at once`, [count, min, p50, p90, p99, max].map(number));
    }),
    ...found.map((direction) => {
      const { lost, received, meters } = measured[direction];
      return `${direction}: ${lost} of ${lost + received} packets, by ${meters} ${meters === 1 ? 'meter' : 'meters'}`;
    }),
  ];
};

const cell = (ns: number | null): string =>
  ns === null ? '-' : ns < 1e9 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e9).toFixed(2)} s`;

export const statisticsText = ({ logs, returns, durations, losses, decisions, findings }: Statistics): string => {
  const events = logs.reduce((sum, log) => sum + log.events, 0);
  const pairs = logs.reduce((sum, log) => sum + log.pairs, 0);
  const lines = [
    `${logs.length} ${logs.length === 1 ? 'log' : 'logs'}, ${events} events, ${pairs} pairs; primaries that came back: ${returns.migrated} after a migration, ${returns.other} otherwise`,
    '',
    rowText('duration', COLUMNS),
    ...NAMES.map((name) => {
      const { count, min_ns, p50_ns, p90_ns, p99_ns, max_ns } = durations[name];
      return rowText(name, [String(count), ...[min_ns, p50_ns, p90_ns, p99_ns, max_ns].map(cell)]);
    }),
    '',
    losses.samples === 0
      ? 'dropped by drivers: no counters were sampled'
      : `dropped by drivers: ${losses.rxDropped} packets dropped on reception, ${losses.txDropped} on transmission, in ${losses.samples} samples`,
    ...lossLines(losses),
  ];
  if (decisions.length > 0)
    lines.push(
      '',
      'decisions',
      ...decisions.map(({ kind, result, count }) => `  ${kind.padEnd(18)}${result.padEnd(12)}${String(count).padStart(8)}`),
    );
  if (findings.length > 0)
    lines.push(
      '',
      'findings',
      ...findings.map(
        ({ code, count, total_ns }) =>
          `  ${code.padEnd(18)}${String(count).padStart(8)}  ${cell(total_ns).padStart(COLUMN)} in total`,
      ),
    );
  return `${lines.join('\n')}\n`;
};
