// The measurements as a page for docs/ and as one JSON document; nothing here measures.
import { cpus, release, totalmem } from 'node:os';
import type { Result, Row, Spread } from './measure.ts';

export interface Document {
  readonly schemaVersion: 1;
  /** Day on which it was measured. */
  readonly date: string;
  readonly quick: boolean;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memory_GiB: number;
    readonly kernel: string;
    readonly node: string;
    /** Processes that wanted a CPU when the run began, and at most between two measurements; far above 1 others worked, too. */
    readonly load: readonly [number, number];
  };
  readonly measurements: { readonly [name: string]: Result };
}

export const machine = (loads: readonly number[]): Document['machine'] => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  memory_GiB: Math.round(totalmem() / 2 ** 30),
  kernel: release().split('-')[0] ?? '',
  node: process.versions.node,
  load: [round(loads[0] ?? 0), round(Math.max(...loads))],
});

const round = (value: number): number => Math.round(value * 100) / 100;
const figure = (value: number): string => {
  if (value === 0) return '0';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
};
const figures = ({ median, min, max }: Spread, unit: string): string[] => [
  `${figure(median)} ${unit}`,
  `${figure(min)} – ${figure(max)}`,
];

const verdict = ({ met }: Row): string => (met === null ? '' : met ? 'met' : '**not met**');

export const HEADS = ['what', 'median', 'min – max', 'baseline', 'its median', 'its min – max', 'ratio', 'goal', ''] as const;
export const cells = (row: Row): string[] => [
  row.what,
  ...figures(row.value, row.unit),
  row.baseline?.what ?? '',
  ...(row.baseline === null ? ['', ''] : figures(row.baseline.value, row.unit)),
  row.ratio === null ? '' : `${figure(row.ratio.median)} ×`,
  row.goal ?? '',
  verdict(row),
];

const TITLES: { readonly [name: string]: string } = {
  fold: 'Folding',
  reading: 'Reading a history',
  appending: 'Making events durable',
  deciding: 'From the kernel’s message to a decision',
  processes: 'A service that has nothing to do',
  forwarding: 'Copying a log to a server, and a log that is there',
  undelayed: 'From a fact to a decision, with and without a copy',
  outage: 'An outage, and a whole log read from a server',
};

const line = (texts: readonly string[]): string => `| ${texts.join(' | ')} |`;
const section = ([name, { rows, notes, skipped }]: [string, Result]): string => {
  const table = [line(HEADS), line(HEADS.map(() => '---')), ...rows.map((row) => line(cells(row)))].join('\n');
  const body = skipped === null ? [table, ...notes] : [`Not measured: ${skipped}.`];
  return [`## ${TITLES[name] ?? name}`, ...body].join('\n\n');
};

const SERVER =
  'The server is the stand-in of test/kurrentdb, in a thread on the same machine: these figures say what this program costs beside the bare client, in one run. They say nothing of a KurrentDB server.';

/** `set` is '' for what needs no server. */
export const page = (
  { date, quick, machine: { cpu, cores, memory_GiB, kernel, node, load }, measurements }: Document,
  set: '' | 'kurrentdb',
): string =>
  [
    set === '' ? '# Measurements' : '# Measurements with KurrentDB',
    `<!-- Written by \`npm run bench -- ${set === '' ? '' : `${set} `}--write\`. -->`,
    ...(set === '' ? [] : [SERVER]),
    `${date}, Node ${node}, Linux ${kernel}, ${cpu}, ${cores} virtual cores, ${memory_GiB} GiB. Load average ${load[0]} at the beginning, at most ${load[1]} (the run itself makes about 1; more slows it down).${quick ? ' **A quick run: too short to judge by.**' : ''}`,
    'Each figure is the median of several rounds. In every round each side runs once, in an order that turns, so that a machine that changes its pace changes it for both; the ratio is the median of the rounds’ ratios. Baselines do less work on purpose: they are what the same work costs at least.',
    ...Object.entries(measurements).map(section),
  ].join('\n\n') + '\n';

/** The same for a terminal: one row a line. */
export const report = (name: string, { rows, notes, skipped }: Result): string =>
  [
    `${TITLES[name] ?? name}${skipped === null ? '' : `: skipped, ${skipped}`}`,
    ...rows.map((row) => {
      const [what, median, range, baseline, baseMedian, , ratio, goal] = cells(row);
      const beside = row.baseline === null ? '' : `; ${baseline}: ${baseMedian}${ratio === '' ? '' : `; ratio ${ratio}`}`;
      const judged = row.met === null ? '' : ` (goal: ${goal}: ${row.met ? 'met' : 'NOT MET'})`;
      return `  ${what}: ${median} (${range})${beside}${judged}`;
    }),
    ...notes.map((note) => `    ${note}`),
  ].join('\n');
