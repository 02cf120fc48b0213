// Counting over many logs: against what can be read off real captures by hand, and on small stories.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Happening } from '../../src/events/catalogue.ts';
import { runCli } from '../../src/host/cli.ts';
import { Counted } from '../../replay/counted.ts';
import { type Statistics, Stats, statisticsText } from '../../replay/stats.ts';
import { appeared, changed, gone, MAC, trio } from '../given.ts';
import { RECORDINGS } from '../recordings.ts';

const counted = (...happenings: readonly (readonly [ms: number, happening: Happening])[]): Statistics => {
  const log = new Counted();
  for (const [index, [ms, happening]] of happenings.entries()) {
    const event = { ...happening, seq: index + 1, mono_ns: `${ms}000000` };
    log.take(event, { seq: event.seq, at_ns: event.mono_ns });
  }
  const stats = new Stats();
  stats.add('by hand', log, happenings.length, false);
  return stats.document();
};
const up: (readonly [number, Happening])[] = [
  [1000, appeared(trio.master)],
  [1001, appeared(trio.standby)],
  [1002, appeared(trio.primary)],
];
const counters = (ifindex: number, rxDropped: number, txDropped: number): Happening => ({
  type: 'counters.sampled',
  data: { ifindex, rxPackets: '9', txPackets: '9', rxDropped: `${rxDropped}`, txDropped: `${txDropped}` },
});

test('the recorded migrations', async () => {
  let text = '';
  const io = {
    stdin: process.stdin,
    stdout: { write: (more: string) => (text += more) },
    stderr: process.stderr,
  } as unknown as Parameters<typeof runCli>[1];
  const files = readdirSync(RECORDINGS)
    .filter((name) => name.endsWith('.jsonl'))
    .map((name) => join(RECORDINGS, name));
  expect(await runCli(['stats', ...files, '--json'], io)).toBe(0);
  const { logs, returns, durations, findings } = JSON.parse(text) as Statistics;
  expect(logs).toHaveLength(files.length);
  // One announce each in b and three in h; returns without: c, f, j, k, l.
  expect(returns).toEqual({ migrated: 4, other: 5 });
  // In b the standby's path begins at 7414.7 ms and ends at 11142.3 ms.
  expect(durations.away.samples_ns.filter((ns) => Math.abs(ns - 3727.6e6) < 1e6)).toHaveLength(1);
  // net_failover switches at once; only the bond of j lost its path, when its standby was set down.
  expect(durations.failover.max_ns).toBe(0);
  expect(durations.noPath.count).toBe(1);
  expect(findings.find(({ code }) => code === 'secondPrimary')?.count).toBe(1);
});

test('a path that was lost for a while', () => {
  const { durations } = counted(
    ...up,
    [5000, changed(3, { carrier: false })],
    [6000, gone(4)],
    [6400, changed(3, { carrier: true })],
    [9000, appeared({ ...trio.primary, ifindex: 5, carrier: false })],
    [9700, changed(5, { carrier: true })],
    [9999, changed(2, { mtu: 1400 })],
  );
  expect(durations.failover.samples_ns).toEqual([400e6]);
  expect(durations.away.samples_ns).toEqual([3700e6]);
  expect(durations.failback.samples_ns).toEqual([700e6]);
  expect(durations.noPath.samples_ns).toEqual([400e6]);
  expect(durations.inboundHole.samples_ns).toEqual([700e6]);
});

test('drops, from sample to sample, until a counter begins anew', () => {
  const { losses } = counted(
    ...up,
    [2000, counters(3, 100, 5)],
    [3000, counters(3, 107, 5)],
    [4000, counters(3, 2, 0)],
    [5000, counters(3, 3, 4)],
  );
  expect(losses).toMatchObject({ samples: 4, rxDropped: 8, txDropped: 4, measured: { in: { meters: 0 } } });
});

test('decisions with what became of them', () => {
  const decision = {
    id: 'd2.0',
    pair: MAC,
    kind: 'bindPrimary',
    mode: 'bond',
    attempt: 1,
    master: null,
    standby: null,
    primary: null,
  } as const;
  const { decisions, durations } = counted(
    ...up,
    [2000, { type: 'decision.made', data: decision }],
    [2030, { type: 'outcome.seen', data: { decision: 'd2.0', pair: MAC, result: 'succeeded', reason: null, observed: false } }],
    [3000, { type: 'decision.made', data: { ...decision, id: 'd5.0' } }],
  );
  expect(decisions).toEqual([
    { kind: 'bindPrimary', result: 'none', count: 1 },
    { kind: 'bindPrimary', result: 'succeeded', count: 1 },
  ]);
  expect(durations.effect).toEqual({
    count: 1,
    min_ns: 30e6,
    p50_ns: 30e6,
    p90_ns: 30e6,
    p99_ns: 30e6,
    max_ns: 30e6,
    mean_ns: 30e6,
    samples_ns: [30e6],
  });
});

test('percentiles are samples: the smallest that so many do not exceed', () => {
  const flaps = Array.from({ length: 100 }, (_, index): (readonly [number, Happening])[] => [
    [10_000 + index * 1000, changed(4, { carrier: false })],
    [10_000 + index * 1000 + 100 + index, changed(4, { carrier: true })],
  ]).flat();
  const { away } = counted(...up, ...flaps, [500_000, changed(2, { mtu: 1400 })]).durations;
  expect(away).toMatchObject({
    count: 100,
    min_ns: 100e6,
    p50_ns: 149e6,
    p90_ns: 189e6,
    p99_ns: 198e6,
    max_ns: 199e6,
    mean_ns: 149.5e6,
  });
  expect(away.samples_ns).toHaveLength(100);
});

test('of one pair counts nothing of another, and a log without it has none', () => {
  const count = (pair: string) => {
    const log = new Counted(pair);
    const happenings = [
      ...up,
      [5000, changed(4, { carrier: false })],
      [6000, changed(4, { carrier: true })],
      [9000, gone(9)],
    ] as const;
    for (const [index, [ms, happening]] of happenings.entries())
      log.take({ ...happening, seq: index + 1, mono_ns: `${ms}000000` }, { seq: index + 1, at_ns: `${ms}000000` });
    log.end();
    return { pairs: log.pairs, away: log.durations.away, lost: log.findings.get('carrierLost')?.count ?? 0 };
  };
  expect(count(MAC)).toEqual({ pairs: 1, away: [1e9], lost: 1 });
  expect(count('52:54:00:99:99:99')).toEqual({ pairs: 0, away: [], lost: 0 });
});

test('a log of any length leaves figures, and no history, in memory', () => {
  const log = new Counted();
  let seq = 0;
  const take = (ms: number, happening: Happening) =>
    log.take({ ...happening, seq: ++seq, mono_ns: `${ms}000000` }, { seq, at_ns: `${ms}000000` });
  for (const [ms, happening] of up) take(ms, happening);
  for (let round = 0; round < 3000; round++) {
    take(10_000 + round * 1000, changed(4, { carrier: false }));
    take(10_500 + round * 1000, changed(4, { carrier: true }));
  }
  expect(log.durations.away.length).toBe(2999);
  expect(log.story.history.of(MAC)).toHaveLength(1);
  expect(log.story.findings.list(log.story.end).length).toBeLessThanOrEqual(20);
});

test('nothing at all is a table, too', () => {
  expect(statisticsText(new Stats().document())).toContain('0 logs, 0 events, 0 pairs');
});
