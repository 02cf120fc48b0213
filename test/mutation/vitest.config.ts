// The tests that judge mutants (`npm run mutation`): those of events and machines that run in this process within seconds,
// the quickest first, since the first failure ends a mutant. Real processes, namespaces and the simulation are left out:
// each mutant would cost minutes.
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { defineConfig } from 'vitest/config';

const QUICK_FIRST = [
  'unit/netkvm-state.unit',
  'unit/pair.unit',
  'unit/pair.found.unit',
  'unit/log.verify.unit',
  'unit/recording.pseudonyms.unit',
  'unit/captures.unit',
  'unit/docs.unit',
  'unit/config.unit',
  'unit/observer.unit',
  'unit/rtnetlink.unit',
  'unit/survey.unit',
  'property/fold.property',
  'property/log.property',
  'unit/log.sqlite.unit',
  'unit/service.decisions.unit',
  'unit/recording.unit',
  'property/recording.property',
  'property/chart.model',
].map((name) => `test/${name}.test.ts`);

class QuickFirst extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => QUICK_FIRST.findIndex((name) => moduleId.endsWith(name));
    return Promise.resolve(files.toSorted((a, b) => place(a) - place(b)));
  }
}

export default defineConfig({
  test: { include: QUICK_FIRST, testTimeout: 60_000, sequence: { sequencer: QuickFirst }, fileParallelism: false },
});
