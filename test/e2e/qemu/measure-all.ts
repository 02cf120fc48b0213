// All measurements in one run, one guest after the other: what is measured how often, and what is said about it meanwhile.
import { loadavg } from 'node:os';
import { Kept } from './kept.ts';
import { PRIMARIES } from './lab.ts';
import { measure, type Task } from './measure.ts';
import { type Guests, measuredPage } from './measure-page.ts';
import { prepare } from './setup.ts';
import { SYSTEMS } from './systems.ts';
import { timing, type TimingTask } from './timing.ts';

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

/** The page, of these results and those that are kept. What fails is named. `say` hears of each guest that is done. */
export const measureAll = async (
  folder: string,
  { quick, only }: { readonly quick: boolean; readonly only: string | undefined },
  say: (line: string) => void,
): Promise<string> => {
  const setup = await prepare(folder);
  const kept = new Kept<Guests>(quick ? 'measured-quickly' : 'measured');
  if (only === undefined) kept.forget();
  const one = async (name: string, work: () => Promise<Pick<Guests, 'failure'> & Partial<Guests>>): Promise<void> => {
    if (!name.includes(only ?? '')) return;
    const from = performance.now();
    const found = await work().catch((error: unknown) => ({ failure: error instanceof Error ? error.message : String(error) }));
    const load = loadavg()[0] ?? 0;
    kept.keep({ [name]: { samples: [], timings: [], ...found, at: new Date().toISOString(), load } });
    say(
      `${name}: ${Math.round((performance.now() - from) / 1000)} s${found.failure === null ? '' : `, FAILED: ${found.failure}`}`,
    );
  };
  for (const task of lossTasks(quick)) await one(nameOf(task), () => measure(setup, task));
  for (const task of timingTasks(quick))
    await one(timingNameOf(task), async () => ({ timings: await timing(setup, task), failure: null }));
  const names = [...lossTasks(quick).map(nameOf), ...timingTasks(quick).map(timingNameOf)];
  return measuredPage(names, kept.all(), setup.accelerator);
};
