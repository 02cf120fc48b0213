// The same log by the same policy gives no difference, whatever happened in it: services that were killed, timers that fired
// late, effects that failed. Logs are those of simulated guests.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { comparisonText } from '../../replay/compare.ts';
import { compareWith } from '../../replay/with.ts';
import { nameFor, record, simulate } from '../simulation/simulate.ts';

const SEEDS = 60;

test('nothing changes where nothing was changed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'netkvm-otherwise-'));
  let decisions = 0;
  try {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const name = nameFor(seed);
      const result = await simulate(name, seed);
      const path = await record(result, name, seed, dir);
      const { comparison } = await compareWith(path, 'the same policy', {});
      expect(comparison.same, `scenario ${name}, seed ${seed}\n${comparisonText(comparison)}`).toBe(true);
      decisions += result.disk.all().filter(({ type }) => type === 'decision.made').length;
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
  // Otherwise nothing was tried.
  expect(decisions).toBeGreaterThan(SEEDS);
});
