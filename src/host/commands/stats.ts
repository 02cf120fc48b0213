// `netkvm stats [FILE…]`: how long failovers took and what was lost, over the log or over many files.
import { lossesOf } from '../../../replay/timeline/losses.ts';
import { tellHistory } from '../../../replay/replay.ts';
import { Counted } from '../../../replay/counted.ts';
import { Stats, statisticsText } from '../../../replay/stats.ts';
import { guestOf, openAny } from '../../adapters/log/history.ts';
import { EXIT } from '../../events/errors.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { configurationOf, openLogOf } from '../look.ts';

const countFile = async (path: string, stats: Stats) => {
  const history = await openAny(path);
  if (history.kind === 'losses') {
    const losses = await lossesOf(path, { ...history, kind: 'losses' });
    stats.addLosses(losses);
    return losses;
  }
  const counted = new Counted();
  const told = await tellHistory(await guestOf(history), (event, place) => counted.take(event, place));
  stats.add(path, counted, told.events, told.damaged);
  return told;
};

const countFiles = async (paths: readonly string[], stats: Stats, io: Io): Promise<boolean> => {
  let wasDamaged = false;
  for (const path of paths) {
    const { complaints, damaged } = await countFile(path, stats);
    for (const complaint of complaints) io.stderr.write(`netkvm: ${complaint}\n`);
    wasDamaged ||= damaged;
  }
  return wasDamaged;
};

const countLog = async (args: Arguments, stats: Stats): Promise<void> => {
  const reader = await openLogOf(configurationOf(args));
  try {
    const counted = new Counted();
    let events = 0;
    for (const page of reader.fold(reader.first())) {
      for (const event of page) counted.take(event, { seq: event.seq, at_ns: event.mono_ns });
      events += page.length;
    }
    stats.add(reader.path, counted, events, false);
  } finally {
    reader.close();
  }
};

export const run: Run = async (args, io) => {
  const stats = new Stats();
  let damaged = false;
  if (args.positionals.length > 0) damaged = await countFiles(args.positionals, stats, io);
  else await countLog(args, stats);
  const document = stats.document();
  io.stdout.write(args.flag('json') ? `${JSON.stringify(document)}\n` : statisticsText(document));
  return damaged ? EXIT.damaged : EXIT.done;
};
