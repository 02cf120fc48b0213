// How much of the log is kept: at most so many events and so many days, in whole segments (events/log.ts, prune). Age is
// read from the wall clock of the events, which is a label: where it was stepped, a segment goes a little early or late.
import type { LogReader } from '../events/log.ts';
import type { Settings } from './settings.ts';

const DAY_NS = 86_400_000_000_000n;

const wallOf = (log: LogReader, seq: number): bigint => {
  for (const { wall_ns } of log.read(seq)) return BigInt(wall_ns);
  return 0n;
};

/** The sequence number below which events may go. `now_ns` is the wall clock. */
export const keepFrom = (
  log: LogReader,
  { retentionEvents, retentionDays }: Pick<Settings, 'retentionEvents' | 'retentionDays'>,
  now_ns: string,
): number => {
  const oldest_ns = BigInt(now_ns) - BigInt(retentionDays) * DAY_NS;
  let low = log.first();
  // The newest segment stays in any case.
  let high = Math.max(low, log.checkpoint());
  if (wallOf(log, low) < oldest_ns) {
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (wallOf(log, middle) < oldest_ns) low = middle + 1;
      else high = middle;
    }
  }
  return Math.max(low, log.head() - retentionEvents);
};
