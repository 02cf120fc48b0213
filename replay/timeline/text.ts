// A timeline for people: the clocks, one line an event in the order of the axis, the figures of each episode, the findings.
import { FINDINGS } from '../../src/machines/reasons.ts';
import { DATAPATHS } from '../../src/machines/stages.ts';
import { plain } from '../text.ts';
import {
  DIRECTIONS,
  type Episode,
  type Lane,
  type LossFigures,
  type SegmentFigures,
  STEP_MEANINGS,
  STEPS,
  type TimelineDocument,
} from './document.ts';

const seconds = (ns: string | bigint, digits = 3): string => (Number(ns) / 1e9).toFixed(digits);
const duration = (ns: bigint): string => (ns < 10_000_000_000n ? `${(Number(ns) / 1e6).toFixed(1)} ms` : `${seconds(ns, 1)} s`);

const segmentText = ({ host, offset_ns, low_ns, high_ns, anchors }: SegmentFigures): string => {
  const where = host === '' ? 'throughout' : `on ${host}`;
  const uncertain =
    low_ns === null && high_ns === null
      ? 'by its own wall clock, unchecked'
      : `${low_ns === null ? 'unbounded below' : `${duration(BigInt(low_ns))} to`} ${high_ns === null ? 'unbounded above' : `+${duration(BigInt(high_ns))}`}, ${anchors} events that both sides saw`;
  return `${where}: guest's monotonic clock ${offset_ns.startsWith('-') ? '- ' : '+ '}${seconds(offset_ns.replace('-', ''), 4)} s (${uncertain})`;
};

/** Lanes whose items are lines of the text: a pair's datapath is told with its stage. */
const isTold = ({ id }: Lane): boolean => !id.startsWith('running:') && !id.endsWith(':datapath');

const linesOf = ({ lanes }: TimelineDocument): string[] => {
  const width = Math.max(8, ...lanes.filter(isTold).map(({ title }) => title.length));
  return lanes
    .filter(isTold)
    .flatMap(({ title, items }, lane) => items.map((item) => ({ at: BigInt(item.at_ns), lane, title, text: item.text })))
    .toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.lane - b.lane))
    .map(({ at, title, text }) => `${seconds(at).padStart(10)} s  ${title.padEnd(width)}  ${text}`);
};

const episodeText = ({ guest, mac, source, target, ending, steps, carried_ns, stopped_ns, lost }: Episode): string[] => {
  const what =
    ending === 'none'
      ? 'The primary was removed'
      : `Migration from ${source ?? 'an unknown host'}${target === null ? '' : ` to ${target}`}, ${ending}`;
  const [first] = STEPS.flatMap((name) => (steps[name] === undefined ? [] : [BigInt(steps[name].at_ns)])).toSorted((a, b) =>
    a < b ? -1 : 1,
  );
  const known = STEPS.flatMap((name) => {
    const step = steps[name];
    if (step === undefined) return [];
    const after = `+${seconds(BigInt(step.at_ns) - (first ?? 0n), 4)} s`;
    return [`  ${name.padEnd(10)} ${after.padStart(12)}  ${step.by.padEnd(10)} ${STEP_MEANINGS[name]}`];
  });
  const missing = STEPS.filter((name) => steps[name] === undefined);
  const measured = DIRECTIONS.flatMap((direction) => (lost[direction] === null ? [] : [`${lost[direction]} ${direction}`]));
  const paths = DATAPATHS.map((path) => `${path} ${duration(BigInt(carried_ns[path]))}`).join(', ');
  return [
    `${what}: ${mac} in ${guest}`,
    ...known,
    ...(missing.length > 0 ? [`  not seen: ${missing.join(', ')}`] : []),
    `  carried by: ${paths}; stopped for ${duration(BigInt(stopped_ns))}`,
    ...(measured.length > 0 ? [`  packets lost: ${measured.join(', ')}`] : []),
  ];
};

const lossText = ({ name, file, direction, period_us, lost, received, holes }: LossFigures): string => {
  const where = direction === 'in' ? 'on the way into the guest' : 'on the way out of the guest';
  const of = received === null ? 'of an unknown number' : `of ${lost + received}`;
  return `loss  ${name}: ${file}\n  ${lost} packets ${of} ${where}, in ${holes.length} holes; one was sent every ${period_us} µs`;
};

export const timelineDocumentText = (document: TimelineDocument): string => {
  const { axis, hosts, guests, episodes, losses, migrations, findings } = document;
  const zero = new Date(Number(BigInt(axis.zero_ns) / 1_000_000n));
  const lines = [
    `Zero is ${Number.isNaN(zero.getTime()) ? axis.zero_ns : zero.toISOString()} by the clock of ${axis.host ?? guests[0]?.name ?? 'nobody'}.`,
    ...hosts.map(({ name, file, role }) => `host  ${name} (${role}): ${file}`),
    ...guests.flatMap(({ name, file, segments }) => [
      `guest ${name}: ${file}`,
      ...segments.map((one) => `  ${segmentText(one)}`),
    ]),
    ...losses.flatMap((one) => lossText(one).split('\n')),
    ...migrations.map(({ name, by }) => `migration ${name}: in the logs of ${by.join(', ')}`),
    '',
    ...linesOf(document),
    ...episodes.flatMap((episode) => ['', ...episodeText(episode)]),
  ];
  if (findings.length > 0) lines.push('', 'Findings');
  for (const { severity, code, at_ns, until_ns, by, text } of findings) {
    const where =
      until_ns === at_ns
        ? `${seconds(at_ns)} s`
        : `${seconds(at_ns)} s to ${until_ns === null ? 'the end' : `${seconds(until_ns)} s`}`;
    lines.push(`  ${severity.padEnd(8)} ${code} at ${where} (${by})`, `           ${text}`, `           ${FINDINGS[code].cure}`);
  }
  return `${lines.map(plain).join('\n')}\n`;
};
