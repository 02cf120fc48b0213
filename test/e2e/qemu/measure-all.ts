// All measurements in one run, one guest after the other: what is measured how often, and what is said about it meanwhile.
import { loadavg } from 'node:os';
import { PRIMARIES } from './lab.ts';
import { measure, type Sample, type Task } from './measure.ts';
import { measuredPage } from './measure-page.ts';
import { prepare } from './setup.ts';
import { SYSTEMS } from './systems.ts';
import { type Timing, timing, type TimingTask } from './timing.ts';

/** Packets a second each way, and how often each operation is done. */
const RATES = [
  { rate: 1000, runs: 3 },
  { rate: 10_000, runs: 2 },
] as const;
const PAIRS = [1, 8, 64] as const;
const TIMING_RUNS = 3;

const lossTasks = (quick: boolean): Task[] =>
  PRIMARIES.flatMap((model) =>
    RATES.flatMap(({ rate, runs }) =>
      [...SYSTEMS.map((system) => ({ system, native: false })), { system: 'netkvm' as const, native: true }].map((what) => ({
        ...what,
        model,
        rate,
        runs: quick ? 1 : runs,
      })),
    ),
  );
/** vmxnet3 has carrier at once: its figures are the software's. */
const timingTasks = (quick: boolean): TimingTask[] =>
  PAIRS.flatMap((pairs) =>
    (['scripted bond', 'netkvm'] as const).map((system) => ({
      system,
      pairs,
      model: 'vmxnet3' as const,
      runs: quick ? 1 : TIMING_RUNS,
    })),
  );

const nameOf = (task: Task): string => `${task.system}${task.native ? ', native hotplug' : ''}, ${task.model}, ${task.rate}/s`;
const timingNameOf = ({ system, model, pairs }: TimingTask): string => `reaction of ${system}, ${model}, ${pairs} pairs`;

/** The page. What fails is missing from it and named; the rest is worth having. `say` hears of each guest that is done. */
export const measureAll = async (
  folder: string,
  { quick, only }: { readonly quick: boolean; readonly only: string },
  say: (line: string) => void,
): Promise<string> => {
  const setup = await prepare(folder);
  const loads = [loadavg()[0] ?? 0];
  const missing: string[] = [];
  const one = async <T>(name: string, work: () => Promise<T[]>): Promise<T[]> => {
    if (!name.includes(only)) return [];
    const from = performance.now();
    try {
      const found = await work();
      say(`${name}: ${Math.round((performance.now() - from) / 1000)} s`);
      return found;
    } catch (error) {
      const [why = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
      missing.push(`${name}: ${why}`);
      say(`${name} FAILED: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    } finally {
      loads.push(loadavg()[0] ?? 0);
    }
  };
  const samples: Sample[] = [];
  for (const task of lossTasks(quick)) samples.push(...(await one(nameOf(task), () => measure(setup, task))));
  const timings: Timing[] = [];
  for (const task of timingTasks(quick)) timings.push(...(await one(timingNameOf(task), () => timing(setup, task))));
  return measuredPage({ samples, timings, accelerator: setup.accelerator, loads, missing });
};
