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
  'unit/pair.unit',
  'unit/pair.found.unit',
  'unit/pair.owed.unit',
  'unit/pair.netkvm.unit',
  'unit/pair.duties.unit',
  'unit/hosted.chart.unit',
  'unit/hosted.found.unit',
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
/** The walk over the whole chart, and folds with xstate beside the table, take ten seconds: for the chart alone. */
const CHART = ['property/fold.property', 'property/chart.model'];

/** What takes seconds, or a database. */
const SLOW = /docs|faults|explain|service|mutation/;

/** `quick` is `machines` without what takes seconds: what it kills, `machines` kills. */
export const filesFor = (room: string | undefined): string[] => {
  const machines = room === 'chart' ? [...MACHINES, ...CHART] : MACHINES;
  const names = room === 'events' ? EVENTS : room === 'quick' ? machines.filter((name) => !SLOW.test(name)) : machines;
  return names.map((name) => `test/${name}.test.ts`);
};
