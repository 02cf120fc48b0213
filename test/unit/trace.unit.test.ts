// Logs as Chrome trace events: every event as the format describes it, spans that a row can show, and the same states as the
// report. (That Perfetto itself opens it cannot be run here: there is no network.)
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../src/host/cli.ts';
import { replayFile } from '../../replay/replay.ts';
import { RECORDINGS } from '../recordings.ts';
import { nameFor, record, simulate } from '../simulation/simulate.ts';

// "Trace Event Format": metadata events (M), complete events (X), instant events (i), nestable asynchronous events (b, e).
const Head = { pid: Type.Integer(), tid: Type.Integer() };
const Timed = { ...Head, name: Type.String(), cat: Type.String(), ts: Type.Number({ minimum: 0 }), args: Type.Object({}) };
const Closed = { additionalProperties: false } as const;
const document = Compile(
  Type.Object(
    {
      displayTimeUnit: Type.Union([Type.Literal('ms'), Type.Literal('ns')]),
      traceEvents: Type.Array(
        Type.Union([
          Type.Object(
            {
              ...Head,
              ph: Type.Literal('M'),
              name: Type.Enum(['process_name', 'thread_name']),
              args: Type.Object({ name: Type.String() }, Closed),
            },
            Closed,
          ),
          Type.Object(
            {
              ...Head,
              ph: Type.Literal('M'),
              name: Type.Literal('thread_sort_index'),
              args: Type.Object({ sort_index: Type.Integer() }, Closed),
            },
            Closed,
          ),
          Type.Object({ ...Timed, ph: Type.Literal('X'), dur: Type.Number({ minimum: 0 }) }, Closed),
          Type.Object({ ...Timed, ph: Type.Literal('i'), s: Type.Enum(['g', 'p', 't']) }, Closed),
          Type.Object({ ...Timed, ph: Type.Enum(['b', 'e']), id: Type.String() }, Closed),
        ]),
      ),
    },
    Closed,
  ),
);
interface Any {
  readonly ph: string;
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly id: string;
  readonly args: Record<string, unknown>;
}

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-trace-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const netkvm = async (...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> => {
  const out = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (out[name] += text) });
  const io = { stdin: process.stdin, stdout: stream('stdout'), stderr: stream('stderr') } as unknown as Parameters<
    typeof runCli
  >[1];
  return { status: await runCli(words, io), ...out };
};

/** What is wrong with a trace, in words; empty when nothing is. */
const problemsOf = (text: string): string[] => {
  const value: unknown = JSON.parse(text);
  if (!document.Check(value))
    return [...document.Errors(value)].slice(0, 3).map(({ instancePath, message }) => `${instancePath} ${message}`);
  const { traceEvents } = value as unknown as { traceEvents: Any[] };
  const problems: string[] = [];
  // Spans of one row follow each other. Half a microsecond is what a double loses.
  const rows = Map.groupBy(
    traceEvents.filter(({ ph }) => ph === 'X'),
    ({ tid }) => tid,
  );
  for (const spans of rows.values()) {
    const sorted = spans.toSorted((a, b) => a.ts - b.ts);
    for (const [index, { ts, name }] of sorted.entries()) {
      const before = sorted[index - 1];
      if (before !== undefined && before.ts + before.dur > ts + 0.5) problems.push(`${before.name} overlaps ${name} at ${ts}`);
    }
  }
  const ends = new Map(traceEvents.filter(({ ph }) => ph === 'e').map((event) => [`${event.cat} ${event.id}`, event]));
  const begins = traceEvents.filter(({ ph }) => ph === 'b');
  for (const begin of begins)
    if (!((ends.get(`${begin.cat} ${begin.id}`)?.ts ?? -1) >= begin.ts)) problems.push(`${begin.name} ${begin.id} does not end`);
  if (begins.length !== ends.size) problems.push(`${begins.length} begin and ${ends.size} end`);
  const named = new Set(traceEvents.filter(({ name }) => name === 'thread_name').map(({ tid }) => tid));
  for (const { ph, tid } of traceEvents) if (ph !== 'M' && !named.has(tid)) problems.push(`row ${tid} has no name`);
  return problems;
};

test.each(readdirSync(RECORDINGS).filter((name) => name.endsWith('.jsonl')))('%s', async (name) => {
  const { status, stdout } = await netkvm('log', 'export', '--trace', join(RECORDINGS, name));
  expect(status).toBe(0);
  expect(problemsOf(stdout)).toEqual([]);
  // The states are those of the report, with their times in microseconds from the first event on.
  const { traceEvents } = JSON.parse(stdout) as { traceEvents: Any[] };
  const { report, story } = await replayFile(join(RECORDINGS, name));
  const states = traceEvents.filter(({ ph, cat, args }) => ph === 'X' && cat === 'state' && args['because'] !== undefined);
  const [zero] = readFileSync(join(RECORDINGS, name), 'utf8')
    .split('\n', 2)
    .slice(1)
    .map((line) => (JSON.parse(line) as { mono_ns: string }).mono_ns);
  const history = report.pairs[0]?.history ?? [];
  expect(states.map(({ name: stage, ts }) => [stage, Math.round(ts)])).toEqual(
    history.map(({ stage, at_ns }) => [stage, Math.round((Number(at_ns) - Number(zero)) / 1000)]),
  );
  expect(traceEvents.filter(({ ph, cat }) => ph === 'b' && cat === 'finding')).toHaveLength(
    story.findings.list(story.end).length,
  );
});

test('logs of simulated guests, with decisions, reboots and kills', async () => {
  let decisions = 0;
  for (let seed = 1; seed <= 24; seed += 1) {
    const name = nameFor(seed);
    const path = await record(await simulate(name, seed), name, seed, dir);
    const { stdout } = await netkvm('log', 'export', '--trace', path);
    expect(problemsOf(stdout), `scenario ${name}, seed ${seed}`).toEqual([]);
    decisions += (JSON.parse(stdout) as { traceEvents: Any[] }).traceEvents.filter(
      ({ ph, cat }) => ph === 'b' && cat === 'decision',
    ).length;
  }
  expect(decisions).toBeGreaterThan(0);
});

describe('as a file', () => {
  const raw = join(RECORDINGS, 'raw', 'b-migration', 'guest.jsonl');

  test('it is written whole, from a raw capture as well', async () => {
    const target = join(dir, 'b.trace.json');
    const { status, stdout } = await netkvm('log', 'export', '--trace', raw, '-o', target);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+ trace events written to .*b\.trace\.json/);
    expect(problemsOf(readFileSync(target, 'utf8'))).toEqual([]);
  });

  test('or not at all', async () => {
    const [bad, target] = [join(dir, 'bad.jsonl'), join(dir, 'bad.trace.json')];
    writeFileSync(bad, readFileSync(join(RECORDINGS, 'b-migration.jsonl'), 'utf8').replace('"up":true', '"up":false'));
    expect((await netkvm('log', 'export', '--trace', bad, '-o', target)).status).toBe(7);
    expect([target, `${target}.part`].filter((path) => existsSync(path))).toEqual([]);
    const refused = await netkvm('log', 'export', '--trace', raw, '-o', join(dir, 'nowhere', 'x.json'));
    expect(refused).toMatchObject({ status: 8, stderr: expect.stringContaining('recording.unwritable') as string });
  });

  test.each([[['log', 'export', raw]], [['log', 'export', '--trace', '--pseudonyms', raw]]])('%j is refused', async (words) =>
    expect((await netkvm(...words)).status).toBe(2),
  );
});
