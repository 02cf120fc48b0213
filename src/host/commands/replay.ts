// `netkvm replay FILE`: the life cycle in a recording or a raw capture, with its findings.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import { replayFile } from '../../../replay/replay.ts';
import { timelineText } from '../../../replay/text.ts';
import type { Run } from '../command.ts';
import { loadConfig } from '../config.ts';

export const run: Run = async (args, io) => {
  const path = args.positionals[0] ?? '-';
  const until = args.number('until');
  const config = args.text('config');
  const html = args.text('html');
  if (html !== undefined && path === '-') throw new NetkvmError('usage.value', '--html needs a FILE: it is read twice');
  const policy = config === undefined ? undefined : loadConfig(config).policy;
  const { report, complaints, damaged } = await replayFile(path, {
    ...(until === undefined ? {} : { until }),
    ...(policy === undefined ? {} : { policy }),
  });
  io.stdout.write(args.flag('json') ? `${JSON.stringify(report)}\n` : timelineText(report));
  if (html !== undefined) {
    // Loaded only here: a replay needs none of the page.
    const [{ readDocument }, { writePage }] = await Promise.all([import('../inspector/read.ts'), import('../inspector/html.ts')]);
    await writePage(html, await readDocument(path, { until, policy, served: false }));
  }
  for (const complaint of complaints) io.stderr.write(`netkvm: ${complaint}\n`);
  if (report.divergence !== null)
    throw new NetkvmError('replay.diverged', `${path}: at event ${report.divergence.seq} the fold gives another decision`);
  return damaged ? EXIT.damaged : EXIT.done;
};
