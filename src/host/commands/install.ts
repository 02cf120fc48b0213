// `netkvm install`, `uninstall` and `query`: the service as the system's service manager knows it. Each can be repeated;
// what is right already is left alone. The log and the configuration are never touched.
import { realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Change, Installation, InstallationState, OriginalState, Program } from '../../adapters/installation.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { defaultFile, loadConfig } from '../config.ts';

/** This program: the same Node, and the script that started it, wherever links led to it. */
const thisProgram = (): Program => ({
  node: realpathSync(process.execPath),
  script: realpathSync(process.argv[1] ?? fileURLToPath(import.meta.url)),
});

/** Windows says itself who may. */
const mustBeRoot = (): void => {
  if (process.platform !== 'win32' && process.geteuid?.() !== 0)
    throw new NetkvmError('service.notPermitted', 'This needs root.');
};

/** Folder of the log; where only a question is asked, a broken configuration is no reason not to answer. */
const stateDir = (asking: boolean): string => {
  try {
    return loadConfig().settings.stateDir;
  } catch (error) {
    if (asking) return loadConfig(null).settings.stateDir;
    throw error;
  }
};

/** Errors: `config.*`, `platform.unsupported`, `service.noManager`. */
const open = async (asking = false): Promise<Installation> => {
  switch (process.platform) {
    case 'linux': {
      const { Systemd } = await import('../../adapters/linux/systemd.ts');
      return new Systemd({ program: thisProgram(), stateDir: stateDir(asking) });
    }
    case 'win32': {
      const { WindowsService } = await import('../../adapters/windows/service.ts');
      return new WindowsService({ program: thisProgram(), dataDir: dirname(defaultFile()), stateDir: stateDir(asking) });
    }
    default:
      throw new NetkvmError('platform.unsupported', `on ${process.platform} the service cannot be installed`);
  }
};

/** What stands beside the service on Windows. */
const besideLines = ({ original, protocol }: InstallationState): string => {
  const words = protocol === null ? 'nobody can say whether it is installed' : protocol ? 'installed' : 'not installed';
  return (protocol === undefined ? '' : `the protocol VIOPROT: ${words}\n`) + originalLine(original ?? null);
};
const originalLine = (original: OriginalState | null): string => {
  if (original === null) return '';
  const { name, state, startType, takenOver } = original;
  return `the original service ${name}: ${state}, ${startType}${takenOver ? ', taken over' : ''}\n`;
};

const lineOf = (state: InstallationState): string => {
  const { installed, definition, current, enabled, pid, restarts, text } = state;
  if (installed === 'no') return `The service is not installed.\n${besideLines(state)}`;
  const parts = [
    `${definition}${installed === 'package' ? ', of a package' : current ? '' : ', not what `netkvm install` would write now'}`,
    enabled ? 'starts with the system' : 'does not start with the system',
    `${state.state}${pid === null ? '' : ` as pid ${pid}`}${restarts > 0 ? `, restarted ${restarts} times` : ''}`,
  ];
  return `${parts.join('\n')}\n${text === null ? '' : `${text}\n`}${besideLines(state)}`;
};

const tell = (args: Arguments, io: Io, changes: readonly Change[], state: InstallationState): void => {
  if (args.flag('json')) {
    io.stdout.write(`${JSON.stringify({ schemaVersion: 1, changes, service: state }, null, 2)}\n`);
    return;
  }
  for (const change of changes) io.stdout.write(`${change}\n`);
  if (changes.length === 0 && args.command !== 'query') io.stdout.write('nothing to do\n');
  if (args.command !== 'uninstall' || state.installed === 'package') io.stdout.write(lineOf(state));
};

const install: Run = async (args, io) => {
  mustBeRoot();
  const installation = await open();
  const takeOver = args.flag('take-over');
  const inf = args.text('protocol');
  if ((takeOver || inf !== undefined) && process.platform !== 'win32')
    throw new NetkvmError('usage.command', '--take-over and --protocol are for Windows, where the driver package has both');
  // It brings the original service along, which may be running from then on.
  const protocol = inf === undefined ? null : await (await protocolOf()).installProtocol(inf);
  const changes = await installation.install({ takeOver });
  if (protocol?.changed) changes.unshift('installed VIOPROT');
  tell(args, io, changes, await installation.query());
  return protocol?.rebootRequired ? EXIT.rebootRequired : EXIT.done;
};

const protocolOf = () => import('../../adapters/windows/protocol.ts');

/** The protocol, then its INF files: one that is still in use stays in the store. */
const removeProtocol = async (changes: Change[]) => {
  const windows = await protocolOf();
  const change = await windows.removeProtocol();
  if (change.changed) changes.push('removed VIOPROT');
  for (const { name, error } of windows.removeProtocolInfs())
    changes.push(error === 0 ? `removed ${name}` : `could not remove ${name}: error ${error}`);
  return change;
};

/** `netkvm restore` with the service stopped: as a command line of its own, so that both say and do the same. */
const giveBack = async (io: Io): Promise<void> => {
  const [{ run: restore }, { readArguments }] = await Promise.all([import('./restore.ts'), import('../arguments.ts')]);
  const request = readArguments(['restore']);
  if (request.kind === 'command') await restore(request.args, { ...io, stdout: new PassThrough().resume() });
};

// Stopped first, or the service would soon do again what is being taken back.
const uninstall: Run = async (args, io) => {
  mustBeRoot();
  if (args.flag('protocol') && process.platform !== 'win32') throw new NetkvmError('usage.command', '--protocol is for Windows');
  const installation = await open();
  const changes = [...(await installation.stop())];
  await giveBack(io);
  changes.push(...(await installation.remove()));
  const protocol = args.flag('protocol') ? await removeProtocol(changes) : null;
  tell(args, io, changes, await installation.query());
  return protocol?.rebootRequired ? EXIT.rebootRequired : EXIT.done;
};

const query: Run = async (args, io) => {
  const installation = await open(true);
  const state = await installation.query();
  tell(args, io, [], state);
  return state.state === 'running' ? EXIT.done : EXIT.notRunning;
};

const RUNS: Readonly<Record<string, Run>> = { install, uninstall, query };

export const run: Run = (args, io) => RUNS[args.command]!(args, io);
