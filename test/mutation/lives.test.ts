// A short simulation for `npm run mutation`, which the long one would make last for days; test/property has that one.
import { expect, test } from 'vitest';
import { nameFor, simulate } from '../simulation/simulate.ts';

test('the invariants hold in a hundred simulated lives', async () => {
  for (let seed = 1; seed <= 100; seed += 1) expect((await simulate(nameFor(seed), seed)).violations).toEqual([]);
});
