// `netkvm explain`: in words, from the recorded facts, what state each pair is in and why, what was tried, what is wrong
// and what to do about it. Of the log, or of a file.
import { EXIT } from '../../events/errors.ts';
import { explainPair, type Explanation, explanationText } from '../../../replay/explain.ts';
import { replayFile } from '../../../replay/replay.ts';
import type { Story } from '../../machines/story.ts';
import type { Arguments, Run } from '../command.ts';
import { configurationOf, openLogOf, pairOption, tellLog } from '../look.ts';

const storyOf = async (args: Arguments): Promise<Story> => {
  const [path] = args.positionals;
  const at = args.number('at');
  if (path !== undefined) return (await replayFile(path, at === undefined ? {} : { until: at })).story;
  const reader = await openLogOf(configurationOf(args));
  try {
    return tellLog(reader, at);
  } finally {
    reader.close();
  }
};

export const run: Run = async (args, io) => {
  const wanted = pairOption(args);
  const story = await storyOf(args);
  story.history.end();
  const { pairs: own, hosted } = story.guest;
  const pairs: Explanation[] = [...own.values(), ...hosted.pairs.values()]
    .filter(({ mac }) => wanted === null || mac === wanted)
    .map((pair) => explainPair(pair, story));
  if (args.flag('json')) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, seq: story.end.seq, pairs }, null, 2)}\n`);
  else if (pairs.length === 0)
    io.stdout.write(wanted === null ? 'There is no pair: no virtio NIC was seen.\n' : `There is no pair ${wanted}.\n`);
  else io.stdout.write(pairs.map(explanationText).join('\n'));
  return EXIT.done;
};
