// The tests that judge mutants (`npm run mutation`): those that run in this process within seconds, for each of the two
// rooms the ones that touch it, the quickest first, since the first failure ends a mutant. Real processes, namespaces and
// the long simulation are left out: each mutant would cost minutes.
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { defineConfig } from 'vitest/config';

const QUICK_FIRST = {
  events: [
    'unit/events.unit',
    'unit/recording.format.unit',
    'unit/log.verify.unit',
    'unit/recording.pseudonyms.unit',
    'unit/captures.unit',
    'unit/docs.unit',
    'unit/config.unit',
    'unit/recording.unit',
    'property/recording.property',
  ],
  machines: [
    'unit/netkvm-state.unit',
    'unit/lives.unit',
    'unit/roles.unit',
    'unit/story.unit',
    'unit/pair.unit',
    'unit/pair.found.unit',
    'unit/pair.owed.unit',
    'unit/pair.duties.unit',
    'unit/log.verify.unit',
    'unit/captures.unit',
    'unit/docs.unit',
    'unit/faults.unit',
    'unit/explain.failures.unit',
    'unit/service.obligations.unit',
    'unit/service.decisions.unit',
    'mutation/lives',
  ],
};
// The walk over the whole chart, and folds with xstate beside the table, take ten seconds: for the chart alone.
const room = process.env['ROOM'] === 'events' ? QUICK_FIRST.events : QUICK_FIRST.machines;
const files = [...room, ...(process.env['ROOM'] === 'chart' ? ['property/fold.property', 'property/chart.model'] : [])].map(
  (name) => `test/${name}.test.ts`,
);

class QuickFirst extends BaseSequencer {
  override sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => files.findIndex((name) => moduleId.endsWith(name));
    return Promise.resolve(specifications.toSorted((a, b) => place(a) - place(b)));
  }
}

export default defineConfig({
  test: { include: files, testTimeout: 60_000, sequence: { sequencer: QuickFirst }, fileParallelism: false, isolate: false },
});
