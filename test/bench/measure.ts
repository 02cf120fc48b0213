// What a measurement is and how its figures are made: medians of several rounds with their range, and the ratio to a
// baseline that ran in the same rounds. In every round each side runs once, and the order turns from round to round, so
// that a machine that gets slower or faster meanwhile does so for both. The ratio is the median of the rounds' ratios.

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** `higher`: events per second; `lower`: times and sizes. */
export type Better = 'higher' | 'lower';

export interface Row {
  readonly measurement: string;
  readonly what: string;
  /** Of value and baseline: `events/s`, `µs`, `ms`, `MiB`, `%`. */
  readonly unit: string;
  readonly better: Better;
  readonly value: Spread;
  readonly baseline: { readonly what: string; readonly value: Spread } | null;
  /** Value divided by baseline. */
  readonly ratio: Spread | null;
  readonly goal: string | null;
  readonly met: boolean | null;
}

export interface Result {
  readonly rows: readonly Row[];
  /** How it was measured, and what a reader must know to judge it. */
  readonly notes: readonly string[];
  /** Why nothing was measured; null when it was. */
  readonly skipped: string | null;
}

export interface Options {
  readonly quick: boolean;
}

/** What main.ts runs, each in a process of its own. */
export type Measurement = (options: Options) => Promise<Result> | Result;

export const quantile = (values: readonly number[], part: number): number => {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  const place = (sorted.length - 1) * part;
  const [low, high] = [sorted[Math.floor(place)] as number, sorted[Math.ceil(place)] as number];
  return low + (high - low) * (place - Math.floor(place));
};

export const spread = (values: readonly number[]): Spread => ({
  median: quantile(values, 0.5),
  min: quantile(values, 0),
  max: quantile(values, 1),
});

type Sides<K extends string, T> = { readonly [name in K]: T };

/** Runs every side once a round, in an order that turns; gives what each side returned, round by round. */
export const alternate = async <K extends string, T>(
  rounds: number,
  sides: Sides<K, (round: number) => Promise<T> | T>,
): Promise<Sides<K, T[]>> => {
  const names = Object.keys(sides) as K[];
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Sides<K, T[]>;
  for (let round = 0; round < rounds; round += 1) {
    const turn = round % names.length;
    for (const name of [...names.slice(turn), ...names.slice(0, turn)]) results[name].push(await sides[name](round));
  }
  return results;
};

interface Comparison extends Pick<Row, 'measurement' | 'what' | 'unit' | 'better'> {
  readonly values: readonly number[];
  readonly baseline?: { readonly what: string; readonly values: readonly number[] };
  /** The bound that the median of the values, or of the ratios, has to keep. */
  readonly goal?: { readonly text: string; readonly of: 'value' | 'ratio'; readonly bound: number };
}

export const compare = ({ measurement, what, unit, better, values, baseline, goal }: Comparison): Row => {
  const value = spread(values);
  const ratios = values.map((one, round) => one / (baseline?.values[round] ?? NaN));
  const ratio = ratios.every(Number.isFinite) ? spread(ratios) : null; // An idle process may use no CPU at all.
  const measured = goal?.of === 'ratio' ? ratio?.median : value.median;
  const met =
    goal === undefined || measured === undefined ? null : better === 'higher' ? measured >= goal.bound : measured <= goal.bound;
  return {
    measurement,
    what,
    unit,
    better,
    value,
    baseline: baseline === undefined ? null : { what: baseline.what, value: spread(baseline.values) },
    ratio,
    goal: goal?.text ?? null,
    met,
  };
};

/** Seconds that `work` takes. Collects garbage first where Node allows it (--expose-gc): nobody pays for another's. */
export const seconds = (work: () => void): number => {
  globalThis.gc?.();
  const from = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - from) / 1e9;
};

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
