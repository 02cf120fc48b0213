// `netkvm run`: the guest service in the foreground. What comes first matters: the log's lock (one service a folder), then
// the control socket, then the platform; and the other way round at the end.
import { PlaybackPlatform } from '../../adapters/playback.ts';
import { openLog } from '../../adapters/log/sqlite.ts';
import type { Platform } from '../../adapters/platform.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments } from '../arguments.ts';
import type { Run } from '../commands.ts';
import { type Configuration, loadConfig } from '../config.ts';
import { openControl, type Handlers } from '../control.ts';
import { interrupted } from '../interrupt.ts';
import { openLogger, type Lines } from '../lines.ts';
import { hostFacts, machineId } from '../machine-facts.ts';
import { Service } from '../service.ts';
import { packageVersion } from './version.ts';

/** The configuration with what the command line says on top of it. */
const configured = (args: Arguments): Configuration =>
  loadConfig(args.text('config'), {
    'service.stateDir': args.text('state-dir'),
    'service.logLevel': args.text('log-level'),
    'policy.effects': args.flag('observe') ? 'off' : args.flag('dry-run') ? 'dryRun' : undefined,
  });

const platformOf = async (args: Arguments, { settings }: Configuration): Promise<Platform> => {
  const name = args.text('platform') ?? 'auto';
  const recording = args.text('recording');
  if ((name === 'recording') !== (recording !== undefined))
    throw new NetkvmError('usage.command', '--platform recording and --recording FILE go together');
  if (recording !== undefined) return PlaybackPlatform.open(recording, args.number('speed') ?? 1);
  if (process.platform !== 'linux')
    throw new NetkvmError('platform.unsupported', `there is no adapter for ${process.platform} yet`);
  // Loaded only here: it brings the native bindings along.
  const { LinuxPlatform } = await import('../../adapters/linux/platform.ts');
  return new LinuxPlatform({ receiveBuffer_bytes: settings.receiveBuffer_bytes, surveyInterval_ms: settings.survey_ms });
};

const handlersOf = (service: Service, stop: (reason: string) => void): Handlers => ({
  status: () => Promise.resolve({ pid: process.pid, seq: service.seq, outage: service.outage }),
  survey: ({ by }) => {
    service.survey(typeof by === 'string' ? by.slice(0, 256) : 'control socket');
    return Promise.resolve({ seq: service.seq });
  },
  prune: ({ keep }) => {
    if (typeof keep !== 'number' || !Number.isSafeInteger(keep) || keep < 0)
      return Promise.reject(new NetkvmError('control.request', 'prune needs keep, a number of events'));
    return Promise.resolve({ events: service.prune(keep) });
  },
  stop: () => {
    stop('control socket');
    return Promise.resolve({});
  },
});

/** SIGHUP: read the file again; a broken one changes nothing. */
const reload = (args: Arguments, service: Service, lines: Lines): void => {
  try {
    const { policy, file } = configured(args);
    lines.reloaded({ config: file, changed: service.reload(policy) });
  } catch (error) {
    lines.reloadRefused({ reason: error instanceof Error ? error.message : String(error) });
  }
};

interface RunOptions {
  /** JSON lines or readable ones, instead of what the terminal suggests. */
  readonly json?: boolean;
  /** A recording has been played to its end, and its last state has settled. */
  readonly onPlayed?: () => void;
}

/** Runs the service until a signal. */
export const runService = async (args: Arguments, { json, onPlayed = () => {} }: RunOptions = {}): Promise<number> => {
  const configuration = configured(args);
  const { settings, policy, file } = configuration;
  const asJson = args.flag('json') ? true : json;
  const lines = await openLogger({ level: settings.logLevel, ...(asJson === undefined ? {} : { json: asJson }) });
  const platform = await platformOf(args, configuration);
  const opened = openLog(settings.stateDir, { bootId: platform.bootId(), machineId: machineId() });
  const version = packageVersion();
  const { pid } = process;
  lines.started({
    version,
    node: process.versions.node,
    pid,
    platform: platform.name,
    effects: policy.effects,
    stateDir: settings.stateDir,
    config: file,
  });
  if (opened.setAside !== null)
    lines.setAside({ path: opened.log.path, to: opened.setAside.path, reason: opened.setAside.reason });
  const service = new Service({ platform, opened, settings, policy, lines, version, host: hostFacts() });
  const signal = interrupted();
  const stopping = new AbortController();
  const control = await openControl({
    path: settings.controlSocket,
    handlers: handlersOf(service, (reason) => setImmediate(() => stopping.abort(reason))),
    onDropped: (reason) => lines.controlDropped({ reason }),
    onFault: (error) => lines.fault({ text: String(error) }),
  }).catch((error: unknown) => {
    // Without the socket the service still does its work.
    lines.degraded({ part: 'control socket', reason: error instanceof Error ? error.message : String(error) });
    return null;
  });
  const onHangup = (): void => reload(args, service, lines);
  process.on('SIGHUP', onHangup);
  const both = AbortSignal.any([signal, stopping.signal]);
  try {
    await new Promise<void>((resolve, reject) => {
      both.addEventListener('abort', () => resolve());
      if (both.aborted) resolve();
      service.start((error) => {
        if (error !== null) reject(error);
        else setTimeout(onPlayed, 2 * policy.settle_ms);
      });
    });
  } finally {
    process.off('SIGHUP', onHangup);
    await control?.close();
    await service.stop(both.aborted ? String(both.reason) : 'platform failed');
  }
  return EXIT.done;
};

export const run: Run = (args) => runService(args);
