// Many logs, counted: how long the paths were away, how long effects took, what was lost, what was found. One document,
// whose shape is a promise to scripts.
import type { Foldable } from '../src/events/envelope.ts';
import { FINDINGS, type FindingCode } from '../src/machines/reasons.ts';
import type { Entry } from '../src/machines/history.ts';
import { Story } from '../src/machines/story.ts';

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

export interface Distribution {
  readonly count: number;
  readonly min_ns: number | null;
  readonly p50_ns: number | null;
  readonly p90_ns: number | null;
  readonly p99_ns: number | null;
  readonly max_ns: number | null;
  readonly mean_ns: number | null;
  /** In ascending order; of very many an even choice of SAMPLES_MAX. */
  readonly samples_ns: readonly number[];
}

export interface Statistics {
  readonly schemaVersion: 1;
  readonly logs: readonly { readonly name: string; readonly events: number; readonly pairs: number; readonly damaged: boolean }[];
  /** Primaries that came back, with an announce since (a migration) and without. */
  readonly returns: { readonly migrated: number; readonly other: number };
  readonly durations: Readonly<Record<DurationName, Distribution>>;
  /** Packets that the adapters’ drivers dropped, where counters were sampled. */
  readonly losses: { readonly samples: number; readonly rxDropped: number; readonly txDropped: number };
  readonly decisions: readonly { readonly kind: string; readonly result: string; readonly count: number }[];
  readonly findings: readonly { readonly code: FindingCode; readonly count: number; readonly total_ns: number }[];
}

const SAMPLES_MAX = 1000;
/** Durations kept of each kind: a bound for memory, far above what logs hold. */
const KEPT_MAX = 1_000_000;

/** One log, told event by event and counted. */
export class Counted {
  readonly story = new Story();
  samples = 0;
  rxDropped = 0n;
  txDropped = 0n;
  readonly #dropped = new Map<number, { readonly rx: bigint; readonly tx: bigint }>();

  take(event: Foldable, place: { seq: number; at_ns: string }) {
    if (event.type === 'counters.sampled') {
      const { ifindex, rxDropped, txDropped } = event.data;
      const [rx, tx] = [BigInt(rxDropped), BigInt(txDropped)];
      const before = this.#dropped.get(ifindex);
      this.#dropped.set(ifindex, { rx, tx });
      this.samples += 1;
      // The first sample has the time before the log in it; a smaller one is that of a counter that began anew.
      if (before !== undefined && rx >= before.rx && tx >= before.tx) {
        this.rxDropped += rx - before.rx;
        this.txDropped += tx - before.tx;
      }
    } else if (event.type === 'adapter.gone') this.#dropped.delete(event.data.ifindex);
    else if (event.type === 'service.started') this.#dropped.clear();
    return this.story.tell(event, place);
  }
}

/** Durations in the history of one pair; `end_ns` is the end of the log, in which nothing ends. */
const pathDurations = (entries: readonly Entry[], add: (name: DurationName, ns: number) => void): void => {
  let lost: { at: number; had: boolean } | null = null;
  let attached: number | null = null;
  let before: Entry | null = null;
  for (const entry of entries) {
    const at = Number(entry.at_ns);
    // A clock that ran backwards is that of another boot: what was before has no length.
    if (before !== null && at < Number(before.at_ns)) [lost, attached, before] = [null, null, null];
    if (entry.datapath !== 'primary' && before?.datapath === 'primary') lost = { at, had: false };
    if (entry.datapath === 'standby' && lost !== null && !lost.had) {
      add('failover', at - lost.at);
      lost.had = true;
    }
    if (entry.stage === 'switching') attached ??= at;
    else if (entry.stage !== 'onPrimary') attached = null;
    if (entry.datapath === 'primary') {
      if (lost !== null) add('away', at - lost.at);
      if (attached !== null) add('failback', at - attached);
      [lost, attached] = [null, null];
    }
    before = entry;
  }
};

const distributionOf = (all: readonly number[]): Distribution => {
  const sorted = all.toSorted((a, b) => a - b);
  const count = sorted.length;
  // The smallest sample that at least this share does not exceed.
  const at = (share: number): number | null => sorted[Math.max(0, Math.ceil(share * count) - 1)] ?? null;
  const samples_ns =
    count <= SAMPLES_MAX
      ? sorted
      : Array.from({ length: SAMPLES_MAX }, (_, index) => sorted[Math.round((index * (count - 1)) / (SAMPLES_MAX - 1))] ?? 0);
  const mean_ns = count === 0 ? null : Math.round(sorted.reduce((sum, one) => sum + one, 0) / count);
  return {
    count,
    min_ns: sorted[0] ?? null,
    p50_ns: at(0.5),
    p90_ns: at(0.9),
    p99_ns: at(0.99),
    max_ns: sorted.at(-1) ?? null,
    mean_ns,
    samples_ns,
  };
};

export class Stats {
  readonly #durations = new Map<DurationName, number[]>(NAMES.map((name) => [name, []]));
  readonly #decisions = new Map<string, { kind: string; result: string; count: number }>();
  readonly #findings = new Map<FindingCode, { count: number; total_ns: number }>();
  readonly #logs: { name: string; events: number; pairs: number; damaged: boolean }[] = [];
  readonly #returns = { migrated: 0, other: 0 };
  readonly #losses = { samples: 0, rxDropped: 0, txDropped: 0 };

  add(name: string, { story, samples, rxDropped, txDropped }: Counted, events: number, damaged: boolean): void {
    story.history.end();
    const { pairs } = story.guest;
    this.#logs.push({ name, events, pairs: pairs.size, damaged });
    for (const mac of pairs.keys()) pathDurations(story.history.of(mac), (what, ns) => this.#keep(what, ns));
    for (const { decision, at, outcome } of story.tried.list()) {
      const result = outcome?.result ?? 'none';
      const key = `${decision.kind} ${result}`;
      const known = this.#decisions.get(key) ?? { kind: decision.kind, result, count: 0 };
      this.#decisions.set(key, { ...known, count: known.count + 1 });
      if (outcome !== null && result === 'succeeded') this.#keep('effect', Number(outcome.at.at_ns) - Number(at.at_ns));
    }
    for (const { code, at_ns, until_ns, text } of story.findings.list(story.end)) {
      const ns = Number(until_ns ?? story.end.at_ns) - Number(at_ns);
      const known = this.#findings.get(code) ?? { count: 0, total_ns: 0 };
      this.#findings.set(code, { count: known.count + 1, total_ns: known.total_ns + Math.max(0, ns) });
      if (code === 'noPath' || code === 'inboundHole') this.#keep(code, ns);
      if (code === 'primaryReturned') this.#returns[text.endsWith('(migrated)') ? 'migrated' : 'other'] += 1;
    }
    this.#losses.samples += samples;
    this.#losses.rxDropped += Number(rxDropped);
    this.#losses.txDropped += Number(txDropped);
  }

  #keep(name: DurationName, ns: number): void {
    const kept = this.#durations.get(name);
    if (kept !== undefined && ns >= 0 && kept.length < KEPT_MAX) kept.push(ns);
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
      losses: this.#losses,
      decisions: [...this.#decisions.values()].toSorted((a, b) =>
        `${a.kind} ${a.result}`.localeCompare(`${b.kind} ${b.result}`, 'en'),
      ),
      findings,
    };
  }
}

const cell = (ns: number | null): string =>
  (ns === null ? '-' : ns < 1e9 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e9).toFixed(2)} s`).padStart(11);

export const statisticsText = ({ logs, returns, durations, losses, decisions, findings }: Statistics): string => {
  const events = logs.reduce((sum, log) => sum + log.events, 0);
  const pairs = logs.reduce((sum, log) => sum + log.pairs, 0);
  const lines = [
    `${logs.length} ${logs.length === 1 ? 'log' : 'logs'}, ${events} events, ${pairs} pairs; primaries that came back: ${returns.migrated} after a migration, ${returns.other} otherwise`,
    '',
    `${'duration'.padEnd(12)}${['count', 'min', 'p50', 'p90', 'p99', 'max'].map((head) => head.padStart(11)).join('')}`,
    ...NAMES.map((name) => {
      const { count, min_ns, p50_ns, p90_ns, p99_ns, max_ns } = durations[name];
      return `${name.padEnd(12)}${String(count).padStart(11)}${[min_ns, p50_ns, p90_ns, p99_ns, max_ns].map(cell).join('')}`;
    }),
    '',
    losses.samples === 0
      ? 'losses: no counters were sampled'
      : `losses: ${losses.rxDropped} packets dropped on reception, ${losses.txDropped} on transmission, in ${losses.samples} samples`,
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
        ({ code, count, total_ns }) => `  ${code.padEnd(18)}${String(count).padStart(8)}  ${cell(total_ns)} in total`,
      ),
    );
  return `${lines.join('\n')}\n`;
};
