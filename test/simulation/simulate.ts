// `npm run simulate -- --seeds N [--seed S] [--scenario NAME] [--out DIR]`: many simulated lives of the service, each from
// its seed. Says how fast it goes, what was covered and what never happened; a violation is one line with which anyone
// repeats it, and is shrunk to a short recording that `netkvm replay` opens.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Random } from '../../src/adapters/simulated/random.ts';
import { CHANCE_NAMES, scenarioOf, SCENARIOS } from '../../src/adapters/simulated/scenarios.ts';
import { type Script } from '../../src/adapters/simulated/script.ts';
import { writeRecording } from '../../src/adapters/log/recording-writer.ts';
import { SCHEMA_VERSION } from '../../src/events/envelope.ts';
import { FORMAT, FORMAT_VERSION } from '../../src/events/recording.ts';
import { MACHINE_VERSION } from '../../src/machines/guest.ts';
import { Coverage, transitions } from './coverage.ts';
import { type Result, Run, type Sabotage } from './harness.ts';

/** How many attempts a shrinking may take, and how many violations are shrunk. */
const SHRINK_RUNS = 300;
const SHRUNK_MAX = 5;
const PROGRESS_MS = 5000;

/** The script of a scenario for a seed. Throws for a name that no scenario has. */
export const scriptOf = (name: string, seed: number): Script => {
  const scenario = scenarioOf(name);
  if (scenario === undefined)
    throw new Error(`no scenario is named ${name}; there are ${SCENARIOS.map((one) => one.name).join(', ')}`);
  return scenario.script(new Random(seed, name));
};

/** Which scenario a seed stands for where none is named. */
export const nameFor = (seed: number): string => CHANCE_NAMES[seed % CHANCE_NAMES.length] as string;

export const simulate = (name: string, seed: number, coverage?: Coverage, sabotage?: Sabotage): Promise<Result> =>
  new Run(scriptOf(name, seed), seed, sabotage, coverage).run();

/** What anyone needs to see it again. */
export const lineOf = (name: string, seed: number, { violations: [first] }: Result): string =>
  first === undefined
    ? `${name}, seed ${seed}: no violation`
    : `invariant ${first.invariant} violated at ${first.at_ms} ms (event ${first.seq}): ${first.text.slice(0, 300)}; ` +
      `npm run simulate -- --scenario ${name} --seed ${seed} --seeds 1 (commit ${commit()})`;

let known: string | null = null;
const commit = (): string => {
  try {
    known ??= execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    known = 'unknown';
  }
  return known;
};

/** Leaves out of a script what the violation does not need: halves first, then one action after the other. */
export const shrink = async (
  script: Script,
  seed: number,
  invariant: number,
  sabotage?: Sabotage,
): Promise<{ script: Script; result: Result }> => {
  const attempt = async (candidate: Script): Promise<Result | null> => {
    const result = await new Run(candidate, seed, sabotage).run();
    return result.violations.some((violation) => violation.invariant === invariant) ? result : null;
  };
  let best = { script, result: (await attempt(script)) as Result };
  const tries: { readonly size: number; readonly from: number }[] = [];
  const count = script.actions.length;
  for (let size = Math.ceil(count / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = count - size; from > -size; from -= size) tries.push({ size, from: Math.max(0, from) });
  }
  for (const { size, from } of tries.slice(0, SHRINK_RUNS)) {
    if (from + size > best.script.actions.length) continue;
    const candidate = { ...script, actions: best.script.actions.toSpliced(from, size) };
    const result = await attempt(candidate);
    if (result !== null) best = { script: candidate, result };
  }
  return best;
};

/** Writes what the service recorded in a run, for `netkvm replay`. Returns the path. */
export const record = async (result: Result, name: string, seed: number, dir: string): Promise<string> => {
  const events = result.disk.all();
  const [first] = events;
  if (first === undefined) throw new Error('nothing was recorded');
  const { mono_ns, boot_ns, wall_ns, logId, bootId } = first;
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${name}-${seed}.jsonl`);
  const clocks = { mono_ns, boot_ns, wall_ns };
  const about = { scenario: name, seed: String(seed), violation: result.violations[0]?.text.slice(0, 1000) ?? 'none' };
  const versions = { format: FORMAT, version: FORMAT_VERSION, schema: SCHEMA_VERSION, machineVersion: MACHINE_VERSION } as const;
  await writeRecording(path, { ...versions, logId, bootId, host: about, clocks, last: events.length }, events);
  return path;
};

const explain = async (name: string, seed: number, result: Result, dir: string): Promise<void> => {
  const [first] = result.violations;
  if (first === undefined) return;
  const shrunk = await shrink(scriptOf(name, seed), seed, first.invariant);
  const path = await record(shrunk.result, name, seed, dir);
  writeFileSync(`${path.slice(0, -'.jsonl'.length)}.script.json`, `${JSON.stringify(shrunk.script, null, 1)}\n`);
  console.log(`  shrunk to ${shrunk.script.actions.length} actions and ${shrunk.result.disk.head} events: netkvm replay ${path}`);
};

const main = async (): Promise<number> => {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      scenario: { type: 'string' },
      out: { type: 'string', default: join(tmpdir(), 'netkvm-simulation') },
    },
  });
  const [count, start] = [Number(values.seeds), Number(values.seed)];
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(start) || count < 1 || start < 0) {
    console.error('--seeds and --seed are whole numbers');
    return 2;
  }
  const coverage = new Coverage();
  const began = performance.now();
  let said = began;
  let [steps, events, violations] = [0, 0, 0];
  for (let seed = start; seed < start + count; seed += 1) {
    const name = values.scenario ?? nameFor(seed);
    const result = await simulate(name, seed, coverage);
    steps += result.steps;
    events += result.disk.head;
    if (result.violations.length > 0) {
      violations += 1;
      console.log(lineOf(name, seed, result));
      if (violations <= SHRUNK_MAX) await explain(name, seed, result, values.out);
    }
    if (performance.now() - said < PROGRESS_MS) continue;
    said = performance.now();
    const rate = (seed - start + 1) / ((said - began) / 1000);
    console.error(`${seed - start + 1} of ${count} seeds, ${rate.toFixed(0)} a second, ${violations} with violations`);
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${count} seeds, ${steps} steps, ${events} events in ${seconds.toFixed(1)} s: ${(count / seconds).toFixed(0)} seeds a second`,
  );
  const report = coverage.report();
  const never = [...report].filter(([, times]) => times === 0).map(([what]) => what);
  for (const kind of ['state', 'transition', 'decision', 'happening', 'situation', 'fault']) {
    const names = [...report.keys()].filter((what) => what.startsWith(`${kind} `));
    const missing = never.filter((what) => what.startsWith(`${kind} `));
    console.log(`${kind}s: ${names.length - missing.length} of ${names.length}`);
  }
  for (const what of never) console.log(`never: ${what}`);
  console.log(`declared, and impossible by the walk over the chart: ${transitions().impossible.join(', ')}`);
  console.log(violations === 0 ? 'no violation' : `${violations} seeds with violations`);
  return violations === 0 ? 0 : 1;
};

if (import.meta.main) process.exitCode = await main();
