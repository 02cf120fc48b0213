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
  'property/fold.property',
  'property/chart.model',
  'mutation/lives',
];
/** What takes seconds, or a database. */
const SLOW = /docs|faults|explain|service|mutation|property|captures|config|recording[.]unit/;
const quickly = (names: readonly string[]): readonly string[] => names.filter((name) => !SLOW.test(name));

/** `events` and `machines` are all; what the smaller rooms kill, those kill. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  events: EVENTS,
  words: quickly(EVENTS),
  machines: MACHINES,
  quick: [...quickly(MACHINES), 'unit/captures.unit'],
  chart: [...quickly(MACHINES).filter((name) => name.includes('pair')), 'unit/inspector.chart.unit', 'unit/guest.unit'],
  hosted: quickly(MACHINES).filter((name) => name.includes('hosted')),
};
export const filesFor = (room = 'machines'): string[] => (ROOMS[room] ?? MACHINES).map((name) => `test/${name}.test.ts`);
