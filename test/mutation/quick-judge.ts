// The part of quick.ts that runs among the mutants: tells everything once without any, and then with each.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replayFile } from '../../replay/replay.ts';
import { lifeNames, toldOf } from '../lives.ts';
import { captureNames, RECORDINGS } from '../recordings.ts';

interface Switches {
  activeMutant?: string;
  hitCount?: number;
  hitLimit?: number;
  currentTestId?: string;
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> };
}
// What Stryker’s instrumented code looks at.
// oxlint-disable-next-line no-underscore-dangle -- its name, not ours
const switches = ((globalThis as { __stryker__?: Switches }).__stryker__ ??= {});

const stories: readonly (() => Promise<string>)[] = [
  ...lifeNames().map((name) => async () => (await toldOf(name)).join('\n')),
  ...captureNames().map(
    (name) => async () => JSON.stringify((await replayFile(join(RECORDINGS, 'raw', name, 'guest.jsonl'))).report),
  ),
];

const tell = async (story: () => Promise<string>): Promise<string> => {
  switches.hitCount = 0;
  try {
    return await story();
  } catch (error) {
    return `throws ${String(error)}`;
  }
};

// Which story goes through which mutant.
const expected: string[] = [];
const hits: Record<string, number>[] = [];
for (const [index, story] of stories.entries()) {
  switches.currentTestId = String(index);
  expected.push(await tell(story));
  hits.push({ ...switches.mutantCoverage?.perTest[String(index)] });
}
delete switches.currentTestId;
const survivors: string[] = [];
for (const id of JSON.parse(readFileSync('mutants.json', 'utf8')) as string[]) {
  switches.activeMutant = id;
  let isKilled = false;
  for (const [index, story] of stories.entries()) {
    const times = hits[index]?.[id] ?? 0;
    if (times === 0 || isKilled) continue;
    switches.hitLimit = times * 100 + 10_000;
    isKilled = (await tell(story)) !== expected[index];
  }
  if (!isKilled) survivors.push(id);
}
process.stdout.write(JSON.stringify(survivors));
