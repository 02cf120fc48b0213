// Losses that a packet meter measured: their file, their place on the axis, and what is counted of them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openHistory } from '../../src/adapters/log/history.ts';
import { type Metered, readLosses } from '../../src/adapters/losses.ts';
import { Stats, statisticsText } from '../../replay/stats.ts';
import { lossesOf } from '../../replay/timeline/losses.ts';
import { timelineDocumentText } from '../../replay/timeline/text.ts';
import { timelineOf } from '../../replay/timeline/timeline.ts';
import { RECORDINGS } from '../recordings.ts';

const HEADER = { format: 'netkvm-losses', version: 1, direction: 'in', period_us: 1000 };
const hole = (lost: number, at_ms: number, silence_ms = lost) => ({
  lost,
  silence_us: silence_ms * 1000,
  at_ns: `${at_ms + 5}000000`,
  sent_ns: `${at_ms}000000`,
});
const END = { end: true, sent: 9, refused: 0, received: 90, lost: 10, again: 0 };
const text = (...lines: readonly (object | string)[]): string =>
  lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
async function* bytes(of: string) {
  yield Buffer.from(of);
}
const read = (...lines: readonly (object | string)[]): Promise<Metered> => readLosses('x', bytes(text(...lines)));

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-losses-'));
});
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, of: string): string => {
  writeFileSync(join(dir, name), of);
  return join(dir, name);
};

describe('a meter’s file', () => {
  test('into the guest: a hole lasts as long as the host took to send it, by the host’s clock', async () => {
    const { holes, lost, received, damage } = await read(HEADER, hole(4, 2000), hole(6, 1000), END);
    expect(holes).toEqual([
      { lost: 6, from_ns: 994_000_000n, until_ns: 1_000_000_000n },
      { lost: 4, from_ns: 1_996_000_000n, until_ns: 2_000_000_000n },
    ]);
    expect([lost, received, damage]).toEqual([10, 90, []]);
  });

  test('out of the guest: as long as nothing reached the host', async () => {
    const { holes } = await read({ ...HEADER, direction: 'out' }, hole(4, 2000, 9));
    expect(holes).toEqual([{ lost: 4, from_ns: 1_996_000_000n, until_ns: 2_005_000_000n }]);
  });

  test('of a meter that was killed has no totals; a torn line is set aside, a wrong one named', async () => {
    const torn = await readLosses('x', bytes(`${text(HEADER, hole(1, 5))}{"lost":1,"sil`));
    expect(torn).toMatchObject({ lost: 1, received: null, damage: [{ line: 3, torn: true }] });
    const wrong = await read(HEADER, '{"lost":-1}', '[]', '', hole(1, 5));
    expect(wrong).toMatchObject({ lost: 1, damage: [{ line: 2, torn: false }, { line: 3 }] });
  });

  test.each([
    ['a newer version', { ...HEADER, version: 2 }, 'recording.newer'],
    ['no direction', { ...HEADER, direction: 'up' }, 'recording.line'],
    ['no period', { ...HEADER, period_us: 0 }, 'recording.line'],
  ])('%s is refused', async (_, header, code) => {
    await expect(read(header)).rejects.toMatchObject({ code });
  });

  test('is nobody’s history', async () => {
    const path = file('only.jsonl', text(HEADER));
    await expect(openHistory(path)).rejects.toThrow('losses of packets, not of a guest (netkvm timeline takes it)');
  });
});

describe('on the axis', () => {
  const at = (name: string): string => join(RECORDINGS, 'raw/b-migration', `${name}.jsonl`);
  const FILES = [at('guest'), at('qmp-A'), at('qmp-B')];

  test('losses stand where they were measured, and an episode counts those in it', async () => {
    const { document: without } = await timelineOf(FILES);
    const zero_ms = Number(BigInt(without.axis.zero_ns) / 1_000_000n);
    const stopped = Math.round(Number(without.episodes[0]?.steps.stopped?.at_ns) / 1e6);
    const of = (...after_ms: number[]) => after_ms.map((ms) => hole(8, zero_ms + stopped + ms));
    const path = file('lost-in.jsonl', text(HEADER, ...of(-20_000, 4, 2000), END));
    const { document } = await timelineOf([...FILES, path]);
    expect(document.episodes[0]?.lost).toEqual({ in: 16, out: null });
    expect(document.axis).toEqual(without.axis);
    const [losses] = document.losses;
    expect(losses).toMatchObject({ name: 'lost-in', direction: 'in', lost: 24, received: 90 });
    const ends = losses?.holes.map(({ until_ns }) => Number(until_ns) / 1e6) ?? [];
    expect(ends.map((end) => Math.round(end - (ends[1] ?? 0)))).toEqual([-20_004, 0, 1996]);
    // While the guest stood still, no time passed for it.
    const [, during] = losses?.holes ?? [];
    expect(during?.guest?.until_ns).toBe(document.episodes[0]?.steps.resumed?.guest_ns);
    expect(timelineDocumentText(document)).toMatch(/packets lost: 16 in\n/);
    expect(timelineDocumentText(document)).toContain('24 packets of 114 on the way into the guest, in 3 holes');
  });

  test('alone they have the axis for themselves', async () => {
    const { document } = await timelineOf([file('only-losses.jsonl', text(HEADER, hole(6, 1000), hole(4, 3000), END))]);
    expect(document.axis).toMatchObject({ zero_ns: '994000000', end_ns: '2006000000' });
    expect(document.losses[0]?.holes).toMatchObject([{ from_ns: '0', until_ns: '6000000', guest: null }, { lost: 4 }]);
    expect(document.findings).toEqual([]);
  });

  test('without a host it is said that two clocks may differ', async () => {
    const { document } = await timelineOf([FILES[0]!, file('alone.jsonl', text(HEADER, hole(1, 5)))]);
    expect(document.findings).toContainEqual(expect.objectContaining({ code: 'clocksDisagree', by: 'alone' }));
  });
});

test('counted over many files', async () => {
  const stats = new Stats();
  const add = async (direction: string, ...lost: number[]): Promise<void> => {
    const lines = text({ ...HEADER, direction }, ...lost.map((count, index) => hole(count, 1000 * (index + 1))), END);
    stats.addLosses(await lossesOf('x', { name: 'x', kind: 'losses', chunks: bytes(lines), close: async () => {} }));
  };
  await add('in', 1, 3);
  await add('in', 8);
  const { losses } = stats.document();
  expect(losses.measured.in).toMatchObject({
    meters: 2,
    lost: 12,
    received: 180,
    holes: { count: 3, min: 1, p50: 3, max: 8, samples: [1, 3, 8] },
  });
  expect(losses.measured.out).toMatchObject({ meters: 0, holes: { count: 0, max: null } });
  expect(statisticsText(stats.document())).toMatch(/in at once +3 +1 +3 +8 +8 +8\nin: 12 of 192 packets, by 2 meters\n/);
});
