// Every metric of the service, in one list, and how each is read from the story and from what was counted since the process
// began. docs/figures.md is made from the list. The text is Prometheus' (exposition format 0.0.4).
import type { Foldable } from '../events/envelope.ts';
import { OUTCOMES } from '../events/catalogue.ts';
import type { Step } from '../machines/step.ts';
import { FINDINGS, type FindingCode } from '../machines/reasons.ts';
import { DATAPATHS, HOST_STAGES, STAGES } from '../machines/stages.ts';
import type { Story } from '../machines/story.ts';

interface Metric {
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
}
const metric = (type: Metric['type'], help: string, ...labels: readonly string[]): Metric => ({ type, help, labels });

export const METRICS = {
  netkvm_build_info: metric('gauge', 'Always 1; the labels say what runs.', 'version', 'machine_version', 'platform'),
  netkvm_start_time_seconds: metric('gauge', 'When the process began, by the wall clock.'),
  netkvm_events_total: metric('counter', 'Events that were folded.', 'type'),
  netkvm_log_seq: metric('gauge', 'Sequence number of the newest event.'),
  netkvm_log_outage: metric('gauge', '1 while the log cannot be written.'),
  netkvm_pair_stage: metric('gauge', '1 for the stage that the pair is in, 0 for the others.', 'pair', 'stage'),
  netkvm_pair_datapath: metric('gauge', '1 for the path that the pair transmits on, 0 for the others.', 'pair', 'datapath'),
  netkvm_datapath_changes_total: metric('counter', 'Changes to this path.', 'pair', 'datapath'),
  netkvm_path_seconds_total: metric('counter', 'Time on this path, by the monotonic clock.', 'pair', 'datapath'),
  netkvm_decisions_total: metric('counter', 'Decisions.', 'pair', 'kind'),
  netkvm_outcomes_total: metric('counter', 'Outcomes of decisions.', 'pair', 'result'),
  netkvm_findings_open: metric('gauge', 'Findings that last.', 'code', 'severity'),
} as const satisfies Record<string, Metric>;
export type MetricName = keyof typeof METRICS;

export interface MetricsSource {
  readonly story: Story;
  readonly seq: number;
  readonly outage: string | null;
  readonly version: string;
  readonly machineVersion: number;
  readonly platform: string;
  readonly started_s: number;
  readonly mono_ns: string;
}

type Sample = readonly [labels: readonly (string | number)[], value: number];

interface PathTime {
  datapath: string;
  since_s: number;
  readonly spent_s: Map<string, number>;
}

/** A pair for each of 256 MACs of the policy and as many found by themselves; more are counted in no metric. */
const PAIRS_MAX = 512;
const seconds = (ns: string): number => Number(ns) / 1e9;

/** What happened since the process began. Every map is bounded by lists of names and PAIRS_MAX. */
export class Meters {
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #paths = new Map<string, PathTime>();

  note(event: Foldable, step: Step): void {
    this.#count('netkvm_events_total', event.type);
    for (const { pair, before } of step.changes) {
      const { datapath } = pair.shown;
      const known = this.#pathTime(pair.mac, before.datapath, seconds(event.mono_ns));
      if (known === null || known.datapath === datapath) continue;
      this.#turn(known, seconds(event.mono_ns), datapath);
      this.#count('netkvm_datapath_changes_total', pair.mac, datapath);
    }
    for (const { pair, kind } of step.decisions) this.#count('netkvm_decisions_total', pair, kind);
    if (event.type === 'outcome.seen') this.#count('netkvm_outcomes_total', event.data.pair, event.data.result);
  }

  #pathTime(mac: string, datapath: string, now_s: number): PathTime | null {
    let known = this.#paths.get(mac);
    if (known === undefined) {
      if (this.#paths.size >= PAIRS_MAX) return null;
      known = { datapath, since_s: now_s, spent_s: new Map() };
      this.#paths.set(mac, known);
    }
    return known;
  }

  #turn(path: PathTime, now_s: number, datapath: string): void {
    const spent = path.spent_s.get(path.datapath) ?? 0;
    path.spent_s.set(path.datapath, spent + Math.max(0, now_s - path.since_s));
    path.datapath = datapath;
    path.since_s = now_s;
  }

  #count(name: MetricName, ...labels: readonly string[]): void {
    let counts = this.#counts.get(name);
    if (counts === undefined) this.#counts.set(name, (counts = new Map()));
    const key = labels.join('\n');
    const known = counts.get(key);
    if (known === undefined && counts.size >= PAIRS_MAX * 16) return;
    counts.set(key, (known ?? 0) + 1);
  }

  #counted(name: MetricName): Sample[] {
    return [...(this.#counts.get(name) ?? [])].map(([key, value]) => [key.split('\n'), value] as const);
  }

  /** Every metric's samples at this moment. */
  samples(source: MetricsSource): Readonly<Record<MetricName, readonly Sample[]>> {
    const { story, seq, outage, version, machineVersion, platform, started_s } = source;
    const now_s = seconds(source.mono_ns);
    const { guest } = story;
    const pairs = [...guest.pairs.values(), ...guest.hosted.pairs.values()].slice(0, PAIRS_MAX);
    for (const { mac, shown } of pairs) {
      const path = this.#pathTime(mac, shown.datapath, now_s);
      if (path !== null) this.#turn(path, now_s, shown.datapath);
    }
    const open = new Map<FindingCode, number>();
    for (const { code, until_seq } of story.findings.list({ seq, at_ns: source.mono_ns }))
      if (until_seq === null) open.set(code, (open.get(code) ?? 0) + 1);
    const seen = new Set(pairs.map(({ mac }) => mac));
    return {
      netkvm_build_info: [[[version, machineVersion, platform], 1]],
      netkvm_start_time_seconds: [[[], started_s]],
      netkvm_events_total: this.#counted('netkvm_events_total'),
      netkvm_log_seq: [[[], seq]],
      netkvm_log_outage: [[[], outage === null ? 0 : 1]],
      netkvm_pair_stage: pairs.flatMap(({ mac, mode, shown }) =>
        (mode === 'host' ? HOST_STAGES : STAGES).map((stage): Sample => [[mac, stage], shown.stage === stage ? 1 : 0]),
      ),
      netkvm_pair_datapath: pairs.flatMap(({ mac, shown }) =>
        DATAPATHS.map((path): Sample => [[mac, path], shown.datapath === path ? 1 : 0]),
      ),
      netkvm_datapath_changes_total: this.#counted('netkvm_datapath_changes_total'),
      netkvm_path_seconds_total: [...this.#paths]
        .filter(([mac]) => seen.has(mac))
        .flatMap(([mac, { spent_s }]) => DATAPATHS.map((path): Sample => [[mac, path], spent_s.get(path) ?? 0])),
      netkvm_decisions_total: this.#counted('netkvm_decisions_total'),
      // A rate needs its zero: an alert on the first refusal would otherwise never fire.
      netkvm_outcomes_total: withZeros(this.#counted('netkvm_outcomes_total'), seen),
      netkvm_findings_open: (Object.keys(FINDINGS) as FindingCode[]).map((code): Sample => [
        [code, FINDINGS[code].severity],
        open.get(code) ?? 0,
      ]),
    };
  }
}

const withZeros = (counted: readonly Sample[], macs: ReadonlySet<string>): Sample[] => {
  const known = new Set(counted.map(([labels]) => labels.join(' ')));
  const zeros = [...macs].flatMap((mac) =>
    OUTCOMES.filter((result) => !known.has(`${mac} ${result}`)).map((result): Sample => [[mac, result], 0]),
  );
  return [...counted, ...zeros];
};

/** A label's value: backslash, quotation mark and newline are escaped, and nothing else is. */
const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

export const metricsText = (samples: ReturnType<Meters['samples']>): string => {
  const lines = (Object.keys(METRICS) as MetricName[]).flatMap((name) => {
    const { type, help, labels } = METRICS[name];
    const values = samples[name].map(([values_, value]) => {
      const pairs = labels.map((label, index) => `${label}="${escaped(String(values_[index] ?? ''))}"`);
      return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
    });
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...values];
  });
  return `${lines.join('\n')}\n`;
};
