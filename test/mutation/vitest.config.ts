// How Stryker runs the tests that judge mutants (files.ts), in their order.
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { defineConfig } from 'vitest/config';
import { filesFor } from './files.ts';

const files = filesFor(process.env['ROOM']);

class QuickFirst extends BaseSequencer {
  override sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => files.findIndex((name) => moduleId.endsWith(name));
    return Promise.resolve(specifications.toSorted((a, b) => place(a) - place(b)));
  }
}

export default defineConfig({
  test: { include: files, testTimeout: 60_000, sequence: { sequencer: QuickFirst }, fileParallelism: false, isolate: false },
});
