// Many logs, counted: how long the paths were away, how long effects took, what was lost, what was found. One document,
// whose shape is a promise to scripts.
import { FINDINGS, type FindingCode } from '../src/machines/reasons.ts';
import { type Counted, DURATION_NAMES, type DurationName, KEPT_MAX } from './counted.ts';
import { type Distribution, distributionOf, type Spread, spreadOf } from './distribution.ts';
import { type Direction, DIRECTIONS } from './timeline/document.ts';
import type { Losses } from './timeline/losses.ts';

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

export class Stats {
  readonly #durations = new Map<DurationName, number[]>(DURATION_NAMES.map((name) => [name, []]));
  readonly #decisions = new Map<string, { kind: string; result: string; count: number }>();
  readonly #findings = new Map<FindingCode, { count: number; total_ns: number }>();
  readonly #logs: { name: string; events: number; pairs: number; damaged: boolean }[] = [];
  readonly #returns = { migrated: 0, other: 0 };
  readonly #losses = { samples: 0, rxDropped: 0, txDropped: 0 };
  readonly #metered: Losses[] = [];

  /** Adds a log that was told to its end. */
  add(name: string, counted: Counted, events: number, damaged: boolean): void {
    counted.end();
    this.#logs.push({ name, events, pairs: counted.pairs, damaged });
    for (const what of DURATION_NAMES) {
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
    const durations = Object.fromEntries(DURATION_NAMES.map((name) => [name, distributionOf(this.#durations.get(name) ?? [])]));
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
    ...DURATION_NAMES.map((name) => {
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
