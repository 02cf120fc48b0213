// `netkvm prepare`: somebody knows that the primary is about to be unplugged. The running service moves the traffic to the
// standby now; this returns when the facts say that it has.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Story } from '../../machines/story.ts';
import type { Run } from '../command.ts';
import { request } from '../control-client.ts';
import { configurationOf, openLogOf, pairOption, tellLog, untilMet } from '../look.ts';

const DEFAULT_LIMIT_S = 5;

const notMoved = ({ guest }: Story, macs: readonly string[]): string[] =>
  macs.flatMap((mac) => {
    const pair = guest.pairs.get(mac);
    if (pair === undefined || pair.shown.datapath === 'standby') return [];
    return [`${mac} is on datapath ${pair.shown.datapath}${pair.hindrance === null ? '' : ` (${pair.hindrance})`}`];
  });

export const run: Run = async (args, io) => {
  const configuration = configurationOf(args);
  const limit_s = args.number('timeout') ?? DEFAULT_LIMIT_S;
  const params = { pair: pairOption(args), by: `netkvm prepare, uid ${process.geteuid?.() ?? 'unknown'}` };
  const { seq, pairs } = await request(configuration.settings.controlSocket, 'prepare', params);
  const macs = Array.isArray(pairs) ? pairs.map(String) : [];
  const reader = await openLogOf(configuration);
  try {
    const story = tellLog(reader);
    const missing = await untilMet(reader, story, () => notMoved(story, macs), limit_s, Number(seq));
    if (args.flag('json'))
      io.stdout.write(`${JSON.stringify({ schemaVersion: 1, prepared: missing.length === 0, pairs: macs, missing })}\n`);
    else if (missing.length === 0)
      io.stdout.write(
        macs.length === 0 ? 'There is no primary to leave.\n' : macs.map((mac) => `${mac} is on its standby\n`).join(''),
      );
    if (missing.length > 0) throw new NetkvmError('wait.timedOut', `after ${limit_s} s: ${missing.join('; ')}`);
    return EXIT.done;
  } finally {
    reader.close();
  }
};
