// The tests that judge mutants: those that run in this process within seconds, for each of the two rooms the ones that touch
// it, the quickest first, since the first failure ends a mutant. Real processes, namespaces and the long simulation are left
// out: each mutant would cost minutes.
const EVENTS = [
  'unit/events.unit',
  'unit/channel.unit',
  'unit/recording.format.unit',
  'unit/log.verify.unit',
  'unit/recording.pseudonyms.unit',
  'unit/captures.unit',
  'unit/docs.unit',
  'unit/config.unit',
  'unit/recording.unit',
  'property/recording.property',
];
const MACHINES = [
  'unit/netkvm-state.unit',
  'unit/lives.unit',
  'unit/roles.unit',
  'unit/story.unit',
  'unit/findings.unit',
  'unit/duties.unit',
  'unit/inventory.unit',
  'unit/guest.unit',
  'unit/pair.chart.unit',
  'unit/pair.unit',
  'unit/pair.found.unit',
  'unit/pair.owed.unit',
  'unit/pair.netkvm.unit',
  'unit/pair.duties.unit',
  'unit/hosted.chart.unit',
  'unit/hosted.found.unit',
  'unit/hosted.kept.unit',
  'unit/hosted.unit',
  'property/hosted.property',
  'unit/log.verify.unit',
  'unit/captures.unit',
  'unit/docs.unit',
  'unit/faults.unit',
  'unit/explain.failures.unit',
  'unit/service.obligations.unit',
  'unit/service.decisions.unit',
  'mutation/lives',
];
/** For the chart of a pair and its table: what walks over the whole chart, and folds with xstate beside the table. */
const CHART = [
  'unit/pair.chart.unit',
  'unit/pair.unit',
  'unit/pair.netkvm.unit',
  'unit/pair.duties.unit',
  'unit/pair.owed.unit',
  'unit/guest.unit',
  'unit/inspector.chart.unit',
  'unit/lives.unit',
  'unit/pair.found.unit',
  'unit/captures.unit',
  'property/chart.model',
  'property/fold.property',
];
/** For the hypervisor's side, whose chart has tests of its own. */
const HOSTED = MACHINES.filter((name) => name.includes('hosted'));

/** What takes seconds, or a database. */
const SLOW = /docs|faults|explain|service|mutation/;

/** `quick` is `machines` without what takes seconds, `hosted` a part of that: what they kill, `machines` kills. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  events: EVENTS,
  machines: MACHINES,
  quick: MACHINES.filter((name) => !SLOW.test(name)),
  chart: CHART,
  hosted: HOSTED,
};
export const filesFor = (room = 'machines'): string[] => (ROOMS[room] ?? MACHINES).map((name) => `test/${name}.test.ts`);
