// Recorded lives, told by the fold of today: event by event what was told when they were committed, and the same from their
// last checkpoint on.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Guest } from '../../src/machines/guest.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { tellFile } from '../../replay/replay.ts';
import { lifeNames, LIVES, toldOf } from '../lives.ts';

describe.each(lifeNames())('%s', (name) => {
  test('is told as it was', async () => {
    expect(await toldOf(name)).toEqual(readFileSync(`${LIVES}${name}.txt`, 'utf8').trimEnd().split('\n'));
  });

  test('is the same, folded from any of its checkpoints', async () => {
    const events: Foldable[] = [];
    const whole = new Guest();
    await tellFile(`${LIVES}${name}.jsonl`, (event) => {
      events.push(event);
      return whole.apply(event);
    });
    const checkpoints = events.flatMap(({ type }, at) => (type === 'checkpoint.made' ? [at] : []));
    for (const from of checkpoints) {
      const part = new Guest();
      for (const event of events.slice(from)) expect(part.apply(event).divergence).toBeNull();
      expect(part.snapshot()).toEqual(whole.snapshot());
    }
  });
});
