// `netkvm replay FILE --with CONFIG` and `--diff FILE`: the same log by another policy, or two logs side by side.
import type { Policy } from '../src/events/catalogue.ts';
import { NetkvmError } from '../src/events/errors.ts';
import { defaultPolicy } from '../src/machines/policy.ts';
import { Story } from '../src/machines/story.ts';
import { compareLogs, comparePair, type Comparison, isSame } from './compare.ts';
import { type Otherwise, OtherRun, Recorded } from './otherwise.ts';
import { replayFile, type Tell, tellFile, type Told } from './replay.ts';

export interface Compared extends Pick<Told, 'complaints' | 'damaged'> {
  readonly comparison: Comparison;
}

/** A step that asks for nothing: in a raw capture no timer fires but those of the run that listens. */
const NOTHING = { touched: [], hosted: [], changes: [], decisions: [], timers: [], episode: null, divergence: null };

/** Tells the events of a file as they were observed, without anything that its first telling made of them. */
const observe = (path: string, take: (...args: Parameters<Tell>) => void): Promise<Told> =>
  tellFile(path, (event, place, wall_ns) => {
    take(event, place, wall_ns);
    return NOTHING;
  });

/**
 * The log in `path` under its own policy with `change` over it. The file is read once and once more for each pair that
 * made or would make decisions. Throws NetkvmError `recording.*`, `usage.value` (standard input).
 */
export const compareWith = async (path: string, name: string, change: Partial<Policy>): Promise<Compared> => {
  if (path === '-') throw new NetkvmError('usage.value', '--with needs a FILE: it is read more than once');
  const recorded = new Recorded();
  const one = new Story();
  let policy: Policy | null = null;
  const told = await tellFile(path, (event, place) => {
    recorded.note(event, place);
    if (event.type === 'configuration.applied') ({ policy } = event.data);
    return one.tell(event, place);
  });
  one.history.end();
  const run = async (mac: string | null): Promise<Otherwise> => {
    const other = new OtherRun(recorded, change, mac);
    await observe(path, (event, place) => other.take(event, place));
    const result = other.end();
    result.story.history.end();
    return result;
  };
  const all = await run(null);
  const macs = [...new Set([...one.guest.pairs.keys(), ...all.story.guest.pairs.keys()])];
  const pairs = [];
  for (const mac of macs) {
    const decides = recorded.after(mac, 0) !== null || all.story.tried.list(mac).length > 0;
    const { story, deviation } = decides ? await run(mac) : all;
    pairs.push(comparePair(mac, one, story, deviation));
  }
  const before: Policy = policy ?? defaultPolicy;
  const keys = Object.keys(change) as (keyof Policy)[];
  const changed = keys.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(change[key]));
  return {
    complaints: told.complaints,
    damaged: told.damaged,
    comparison: {
      schemaVersion: 1,
      one: path,
      other: `the same with ${name}`,
      same: pairs.every(isSame),
      policy: changed.map((key) => ({ key, one: before[key], other: change[key] })),
      pairs,
    },
  };
};

/** Two logs of the same thing, or of two versions of it. Throws NetkvmError `recording.*`. */
export const compareFiles = async (path: string, otherPath: string): Promise<Compared> => {
  const [one, other] = [await replayFile(path), await replayFile(otherPath)];
  const macs = [...new Set([...one.story.guest.pairs.keys(), ...other.story.guest.pairs.keys()])];
  const pairs = macs.map((mac) => compareLogs(mac, one.story, other.story));
  return {
    comparison: { schemaVersion: 1, one: path, other: otherPath, same: pairs.every(isSame), policy: [], pairs },
    complaints: [...one.complaints, ...other.complaints],
    damaged: one.damaged || other.damaged,
  };
};
