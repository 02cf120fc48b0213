// All measurements in one run, one guest after the other: what is measured how often, and what is said about it meanwhile.
import { loadavg } from 'node:os';
import { Kept, type Made } from './kept.ts';
import { PRIMARIES, type Setup } from './lab.ts';
import { measure, type Task } from './measure.ts';
import { type Guests, measuredPage } from './measure-page.ts';
import { prepare } from './setup.ts';
import { SYSTEMS } from './systems.ts';
import { timing } from './timing.ts';

/** Packets a second each way, and how often each operation is done. */
const RATES = { low: { rate: 1000, runs: 3 }, high: { rate: 10_000, runs: 2 } } as const;
const PAIRS = [1, 8, 64] as const;
const TIMING_RUNS = 3;

/** One guest, and what is measured in it. */
interface Part {
  readonly name: string;
  readonly measure: (setup: Setup) => Promise<Omit<Guests, keyof Made>>;
}

const losses = ({ rate, runs }: Pick<Task, 'rate' | 'runs'>): Part[] =>
  PRIMARIES.flatMap((model) =>
    [...SYSTEMS.map((system) => ({ system, native: false })), { system: 'netkvm' as const, native: true }].map((what) => ({
      name: `${what.system}${what.native ? ', native hotplug' : ''}, ${model}, ${rate}/s`,
      measure: async (setup: Setup) => ({ ...(await measure(setup, { ...what, model, rate, runs })), timings: [] }),
    })),
  );
/** vmxnet3 has carrier at once: its figures are the software's. */
const reactions = (runs: number): Part[] =>
  PAIRS.flatMap((pairs) =>
    (['scripted bond', 'netkvm'] as const).map((system) => ({
      name: `reaction of ${system}, vmxnet3, ${pairs} pairs`,
      measure: async (setup: Setup) => {
        const timings = await timing(setup, { system, pairs, model: 'vmxnet3', runs });
        return { timings, samples: [], failure: null };
      },
    })),
  );
const parts = (quick: boolean): Part[] =>
  quick
    ? [...losses({ ...RATES.low, runs: 1 }), ...reactions(1), ...losses({ ...RATES.high, runs: 1 })]
    : [...losses(RATES.low), ...reactions(TIMING_RUNS), ...losses(RATES.high)];

/** The page, of these results and those that are kept. What fails is named. `say` hears of each guest that is done. */
export const measureAll = async (
  folder: string,
  { quick, only }: { readonly quick: boolean; readonly only: string | undefined },
  say: (line: string) => void,
): Promise<string> => {
  const setup = await prepare(folder);
  const kept = new Kept<Guests>(quick ? 'measured-quickly' : 'measured');
  if (only === undefined) kept.forget();
  const all = parts(quick);
  for (const part of all.filter(({ name }) => name.includes(only ?? ''))) {
    const from = performance.now();
    const found = await part.measure(setup).catch((error: unknown) => ({
      samples: [],
      timings: [],
      failure: error instanceof Error ? error.message : String(error),
    }));
    kept.keep({ [part.name]: { ...found, at: new Date().toISOString(), load: loadavg()[0] ?? 0 } });
    const took_s = Math.round((performance.now() - from) / 1000);
    say(`${part.name}: ${took_s} s${found.failure === null ? '' : `, FAILED: ${found.failure}`}`);
  }
  const names = all.map(({ name }) => name);
  return measuredPage(names, kept.all(), setup.accelerator);
};
