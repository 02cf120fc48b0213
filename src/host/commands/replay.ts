// `netkvm replay FILE`: the life cycle in a recording or a raw capture, with its findings.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import { comparisonText } from '../../../replay/compare.ts';
import { replayFile } from '../../../replay/replay.ts';
import { timelineText } from '../../../replay/text.ts';
import { type Compared, compareFiles, compareWith } from '../../../replay/with.ts';
import type { Arguments, Run } from '../command.ts';
import { loadConfig } from '../config.ts';

/** What --with or --diff asks for; null where neither is given. */
const comparisonOf = async (args: Arguments, path: string): Promise<Compared | null> => {
  const [config, file] = [args.text('with'), args.text('diff')];
  if (config === undefined && file === undefined) return null;
  const other = ['until', 'config', 'html'].find(
    (name) => (name === 'until' ? args.number(name) : args.text(name)) !== undefined,
  );
  if (other !== undefined) throw new NetkvmError('usage.command', `--${other} goes with neither --with nor --diff`);
  if (file !== undefined) return compareFiles(path, file);
  const { policy, origins } = loadConfig(config);
  // What the file does not name stays as the log has it.
  const named = Object.entries(policy).filter(
    ([key]) => (origins[key === 'pairs' ? key : `policy.${key}`] ?? 'default') !== 'default',
  );
  return compareWith(path, config ?? '', Object.fromEntries(named));
};

export const run: Run = async (args, io) => {
  const path = args.positionals[0] ?? '-';
  const until = args.number('until');
  const config = args.text('config');
  const compared = await comparisonOf(args, path);
  if (compared !== null) {
    const { comparison, complaints, damaged } = compared;
    io.stdout.write(args.flag('json') ? `${JSON.stringify(comparison)}\n` : comparisonText(comparison));
    for (const complaint of complaints) io.stderr.write(`netkvm: ${complaint}\n`);
    return damaged ? EXIT.damaged : EXIT.done;
  }
  const html = args.text('html');
  if (html !== undefined && path === '-') throw new NetkvmError('usage.value', '--html needs a FILE: it is read twice');
  const policy = config === undefined ? undefined : loadConfig(config).policy;
  const { report, complaints, damaged } = await replayFile(path, {
    ...(until === undefined ? {} : { until }),
    ...(policy === undefined ? {} : { policy }),
  });
  if (html !== undefined) {
    // Loaded only here: a replay needs none of the page.
    const [{ readDocument }, { writePage }] = await Promise.all([import('../inspector/read.ts'), import('../inspector/html.ts')]);
    await writePage(html, await readDocument([path], { until, policy, served: false }));
  }
  io.stdout.write(args.flag('json') ? `${JSON.stringify(report)}\n` : timelineText(report));
  for (const complaint of complaints) io.stderr.write(`netkvm: ${complaint}\n`);
  if (report.divergence !== null)
    throw new NetkvmError('replay.diverged', `${path}: at event ${report.divergence.seq} the fold gives another decision`);
  return damaged ? EXIT.damaged : EXIT.done;
};
