// One call of the command line, from words to exit code, without touching the process: main.ts runs it on the real
// streams, tests on others. What a user did wrong or met is one line and its exit code; anything else is a fault of ours
// and shows its stack.
import { EXIT } from '../events/errors.ts';
import { readArguments } from './arguments.ts';
import { report } from './report.ts';
import type { Command, Io, Run } from './command.ts';

// A short command must not pay for what it does not use: each is loaded when it runs.
const LOADERS: Readonly<Record<string, () => Promise<{ readonly run: Run }>>> = {
  run: () => import('./commands/run.ts'),
  status: () => import('./commands/status.ts'),
  monitor: () => import('./commands/monitor.ts'),
  wait: () => import('./commands/wait.ts'),
  prepare: () => import('./commands/prepare.ts'),
  restore: () => import('./commands/restore.ts'),
  host: () => import('./commands/host.ts'),
  explain: () => import('./commands/explain.ts'),
  doctor: () => import('./commands/doctor.ts'),
  replay: () => import('./commands/replay.ts'),
  timeline: () => import('./commands/timeline.ts'),
  inspect: () => import('./commands/inspect.ts'),
  stats: () => import('./commands/stats.ts'),
  record: () => import('./commands/record.ts'),
  log: () => import('./commands/log.ts'),
  fleet: () => import('./commands/fleet.ts'),
  config: () => import('./commands/config.ts'),
  install: () => import('./commands/install.ts'),
  uninstall: () => import('./commands/install.ts'),
  query: () => import('./commands/install.ts'),
  show: () => import('./commands/parameters.ts'),
  getparam: () => import('./commands/parameters.ts'),
  setparam: () => import('./commands/parameters.ts'),
  restart: () => import('./commands/parameters.ts'),
  dump: () => import('./commands/parameters.ts'),
  netsh: () => import('./commands/shell.ts'),
  shell: () => import('./commands/shell.ts'),
  netkvmco: () => import('./commands/netkvmco.ts'),
  netkvmp: () => import('./commands/netkvmp.ts'),
  version: () => import('./commands/version.ts'),
  help: () => import('./commands/help.ts'),
};

/** Loads a command's implementation: commands of two words share the file of the first one. */
export const loadRun = async ({ name }: Command): Promise<Run> => {
  const load = LOADERS[name.split(' ', 1)[0] ?? ''];
  if (load === undefined) throw new Error(`the command ${name} has no implementation`);
  return (await load()).run;
};

const write = (stream: NodeJS.WritableStream, text: string): void => {
  stream.write(text);
};

/** Runs `netkvm WORDS`; never throws. */
export const runCli = async (words: readonly string[], io: Io): Promise<number> => {
  try {
    const request = readArguments(words);
    if (request.kind === 'command') return await (await loadRun(request.command))(request.args, io);
    const { helpText } = await import('./commands/help.ts');
    if (request.kind === 'help') write(io.stdout, helpText(request.commands));
    else write(io.stderr, helpText([]));
    return request.kind === 'help' ? EXIT.done : EXIT.usage;
  } catch (error) {
    return report(error, io);
  }
};
