// `netkvm wait`: until a pair, or every pair, is where it should be. Follows the log; gives up when time is up and says what
// was still missing.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Story } from '../../machines/story.ts';
import type { Run } from '../command.ts';
import { configurationOf, openLogOf, pairOption, servicePid, tellLog, untilMet } from '../look.ts';

const DEFAULT_LIMIT_S = 60;

interface Wish {
  readonly mac: string | null;
  readonly stage: string | undefined;
  readonly datapath: string | undefined;
}

/** What is missing for the wish to hold, in words; an empty list when it does. */
const missing = ({ guest }: Story, { mac, stage, datapath }: Wish): string[] => {
  const known = [...guest.pairs.values(), ...guest.hosted.pairs.values()];
  const pairs = known.filter((pair) => mac === null || pair.mac === mac);
  if (pairs.length === 0) return [mac === null ? 'there is no pair' : `there is no pair ${mac}`];
  return pairs.flatMap(({ mac: name, shown }) => [
    ...(stage !== undefined && shown.stage !== stage
      ? [`${name} is in stage ${shown.stage} (${shown.because}), not ${stage}`]
      : []),
    ...(datapath !== undefined && shown.datapath !== datapath
      ? [`${name} is on datapath ${shown.datapath}, not ${datapath}`]
      : []),
  ]);
};

export const run: Run = async (args, io) => {
  const configuration = configurationOf(args);
  const wish = { mac: pairOption(args), stage: args.text('stage'), datapath: args.text('datapath') };
  if (wish.stage === undefined && wish.datapath === undefined)
    throw new NetkvmError('usage.command', 'netkvm wait needs --stage or --datapath');
  const limit_s = args.number('timeout') ?? DEFAULT_LIMIT_S;
  const reader = await openLogOf(configuration);
  try {
    const story = tellLog(reader);
    let lacking: readonly string[] = missing(story, wish);
    if (lacking.length > 0 && (await servicePid(configuration)) === null)
      throw new NetkvmError('control.unreachable', `${lacking.join('; ')}, and the service is not running`);
    lacking = await untilMet(reader, story, () => missing(story, wish), limit_s);
    const met = lacking.length === 0;
    if (args.flag('json'))
      io.stdout.write(`${JSON.stringify({ schemaVersion: 1, met, seq: story.end.seq, missing: lacking })}\n`);
    if (met) return EXIT.done;
    throw new NetkvmError('wait.timedOut', `after ${limit_s} s: ${lacking.join('; ')}`);
  } finally {
    reader.close();
  }
};
