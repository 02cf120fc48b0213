// How numbers are told: in how many samples, the least and the most of them, and what half, most and nearly all do not exceed.

export interface Spread {
  readonly count: number;
  readonly min: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly max: number | null;
  readonly mean: number | null;
  /** In ascending order; of very many an even choice of SAMPLES_MAX. */
  readonly samples: readonly number[];
}

/** The same of durations. */
export interface Distribution {
  readonly count: number;
  readonly min_ns: number | null;
  readonly p50_ns: number | null;
  readonly p90_ns: number | null;
  readonly p99_ns: number | null;
  readonly max_ns: number | null;
  readonly mean_ns: number | null;
  readonly samples_ns: readonly number[];
}

const SAMPLES_MAX = 1000;

export const spreadOf = (all: readonly number[]): Spread => {
  const sorted = all.toSorted((a, b) => a - b);
  const count = sorted.length;
  // The smallest sample that at least this share does not exceed.
  const at = (share: number): number | null => sorted[Math.max(0, Math.ceil(share * count) - 1)] ?? null;
  const samples =
    count <= SAMPLES_MAX
      ? sorted
      : Array.from({ length: SAMPLES_MAX }, (_, index) => sorted[Math.round((index * (count - 1)) / (SAMPLES_MAX - 1))] ?? 0);
  const mean = count === 0 ? null : Math.round(sorted.reduce((sum, one) => sum + one, 0) / count);
  return {
    count,
    min: sorted[0] ?? null,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: sorted.at(-1) ?? null,
    mean,
    samples,
  };
};

export const distributionOf = (all: readonly number[]): Distribution => {
  const { count, min, p50, p90, p99, max, mean, samples } = spreadOf(all);
  return { count, min_ns: min, p50_ns: p50, p90_ns: p90, p99_ns: p99, max_ns: max, mean_ns: mean, samples_ns: samples };
};
