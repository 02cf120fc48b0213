// `netkvm run`: the guest service in the foreground. What comes first matters: the log's lock (one service a folder), then
// the control socket, then the platform; and the other way round at the end.
import type { Platform } from '../../adapters/platform.ts';
import { MACHINE_VERSION } from '../../machines/guest.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Run } from '../command.ts';
import { type Configuration, loadConfig } from '../config.ts';
import { openControl, type Handlers } from '../control.ts';
import { type Copying, openServiceLog } from '../service-log.ts';
import { interrupted } from '../interrupt.ts';
import { type LoggerOptions, openLogger, type Lines } from '../lines.ts';
import { Meters, metricsText } from '../metrics.ts';
import { hostFacts, machineId } from '../machine-facts.ts';
import { operatorHandlers } from '../operator.ts';
import { type Chosen, choosePlatform } from '../platforms.ts';
import { Service } from '../service.ts';
import { statusText, Supervision, type Told } from '../supervision.ts';
import { Urgency } from '../urgency.ts';
import type { Settings } from '../settings.ts';
import { packageVersion } from './version.ts';

/** The configuration with what the command line says on top of it. */
const configured = (args: Arguments): Configuration =>
  loadConfig(args.text('config'), {
    'service.stateDir': args.text('state-dir'),
    'service.logLevel': args.text('log-level'),
    'policy.effects': args.flag('observe') ? 'off' : args.flag('dry-run') ? 'dryRun' : undefined,
  });

const handlersOf = (service: Service, copying: Copying | null, stop: (reason: string) => unknown): Handlers => ({
  ...operatorHandlers(service, () => service.policy),
  status: () => {
    const forwarding = copying?.status(service.seq) ?? null;
    return Promise.resolve({ pid: process.pid, seq: service.seq, outage: service.outage, forwarding });
  },
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

/** Settings that only a start can change. */
const FIXED = [
  'stateDir',
  'controlSocket',
  'logLevel',
  'survey_ms',
  'receiveBuffer_bytes',
  'realtimePriority',
  'metricsPort',
  'log',
  'forwardTo',
  'credentialsFile',
  'forwardedDays',
  'forwardedEvents',
] as const;

/** SIGHUP: read the file again; a broken one changes nothing. */
const reload = (args: Arguments, service: Service, lines: Lines, started: Settings): void => {
  try {
    const { policy, settings, file } = configured(args);
    // The guests of a hypervisor are connected at its start.
    const { vms } = service.policy;
    lines.reloaded({ config: file, changed: service.reload(vms === undefined ? policy : { ...policy, vms }, settings) });
    const later = FIXED.filter((name) => settings[name] !== started[name]);
    if (later.length > 0) lines.degraded({ part: 'reload', reason: `${later.join(', ')} will change at the next start only` });
  } catch (error) {
    lines.reloadRefused({ reason: error instanceof Error ? error.message : String(error) });
  }
};

/** SIGHUP ends a process that does not listen, so this listens early; one that comes before `act` is known is kept. */
const hangups = (): ((act: () => void) => void) => {
  let act: (() => void) | null = null;
  let early = false;
  process.on('SIGHUP', () => {
    if (act === null) early = true;
    else act();
  });
  return (next) => {
    act = next;
    if (early) next();
  };
};

export interface RunOptions {
  /** Another world than the command line's platform, and what else its control socket answers. */
  readonly choose?: (args: Arguments, configuration: Configuration) => Promise<Chosen>;
  readonly handlers?: (service: Service, platform: Platform) => Handlers;
  /** JSON lines or readable ones, instead of what the terminal suggests. */
  readonly json?: boolean;
  /** A recording has been played to its end, and its last state has settled. */
  readonly onPlayed?: () => void;
  /** Ends the service like a signal. */
  readonly until?: AbortSignal;
  /** SIGHUP ends the service: it belongs to a terminal, not to a service manager. */
  readonly endsOnHangup?: boolean;
  /** The service manager, where it is not the one that the environment names. */
  readonly told?: Told;
  /** Is told the lines, too. */
  readonly also?: LoggerOptions['also'];
  /** Handed what the service shows of itself, once it runs. */
  readonly onRunning?: (status: () => string) => void;
}

/** The control socket; without it the service still does its work. */
const controlOf = (path: string, handlers: Handlers, lines: Lines) =>
  openControl({
    path,
    handlers,
    onDropped: (reason) => lines.controlDropped({ reason }),
    onFault: (error) => lines.fault({ text: String(error) }),
  }).catch((error: unknown) => {
    lines.degraded({ part: 'control socket', reason: error instanceof Error ? error.message : String(error) });
    return null;
  });

/** The metrics, where they are wanted; without them the service still does its work. Loaded only then. */
const metricsOf = async ({ metricsPort }: Settings, service: Service, meters: Meters, platform: Platform, lines: Lines) => {
  if (metricsPort === 0) return null;
  const { openMetrics } = await import('../metrics-server.ts');
  const started_s = Math.round(Date.now() / 1000 - process.uptime());
  const fixed = { version: packageVersion(), machineVersion: MACHINE_VERSION, platform: platform.name, started_s };
  const text = (): string => {
    const { story, seq, outage } = service;
    return metricsText(meters.samples({ ...fixed, story, seq, outage, mono_ns: platform.now().mono_ns }));
  };
  return openMetrics(metricsPort, text).catch((error: unknown) => {
    lines.degraded({ part: 'metrics', reason: error instanceof Error ? error.message : String(error) });
    return null;
  });
};

/** Without it the service does its work all the same. */
const urgencyOf = async (priority: number, lines: Lines): Promise<Urgency | null> => {
  if (priority === 0 || process.platform !== 'linux') return null;
  const { setPriority, hasClock } = await import('../../adapters/linux/priority.ts');
  return new Urgency(priority, { setPriority, hasClock }, lines);
};

/** The service manager that started this process, if one did. */
const superviseBy = async (platform: Platform, given: Told | undefined): Promise<Supervision> => {
  const isWaitedFor = given === undefined && Boolean(process.env['NOTIFY_SOCKET']);
  const told = isWaitedFor ? (await import('../../adapters/linux/notify.ts')).openNotify() : (given ?? null);
  return new Supervision(told, () => platform.turns?.());
};

const channelOf = async (service: Service): Promise<{ close(): void }> => {
  const { GuestChannel } = await import('../guest-channel.ts');
  const Port =
    process.platform === 'win32'
      ? (await import('../../adapters/windows/virtio-port.ts')).WindowsVirtioPort
      : (await import('../../adapters/linux/virtio-port.ts')).LinuxVirtioPort;
  return new GuestChannel(service, packageVersion(), (name, line_bytes, take) => new Port(name, line_bytes, take));
};

/** What keeps the process when nothing else does: a recording has ended, and there is no control socket. */
const stayAlive = (): (() => void) => {
  const timer = setInterval(() => {}, 3_600_000);
  return () => clearInterval(timer);
};

/** Runs the service until a signal. */
export const runService = async (args: Arguments, options: RunOptions = {}): Promise<number> => {
  const configuration = configured(args);
  const { settings, file } = configuration;
  const asJson = args.flag('json') ? true : options.json;
  const lines = await openLogger({
    level: settings.logLevel,
    ...(asJson === undefined ? {} : { json: asJson }),
    ...(options.also === undefined ? {} : { also: options.also }),
    // A Windows service has no standard output: the number may soon mean another file.
    ...(options.told === undefined ? {} : { destination: () => {} }),
  });
  const { platform, policy } = await (options.choose ?? choosePlatform)(args, configuration);
  // Before the log is opened: a signal that comes while it is read ends the service as cleanly as any other.
  const signal = interrupted();
  const onHangup = hangups();
  const identity = { bootId: platform.bootId(), machineId: machineId() };
  const log = await openServiceLog(settings, identity, lines);
  const version = packageVersion();
  lines.started({
    version,
    node: process.versions.node,
    pid: process.pid,
    platform:
      options.choose === undefined && args.text('platform') === 'simulated' ? `simulated ${platform.name}` : platform.name,
    effects: policy.effects,
    stateDir: settings.stateDir,
    config: file,
  });
  const urgency = await urgencyOf(settings.realtimePriority, lines);
  const supervision = await superviseBy(platform, options.told);
  const meters = new Meters();
  const service = new Service({
    platform,
    ...log,
    settings,
    policy,
    lines,
    version,
    host: hostFacts(),
    supervision,
    urgency,
    meters,
  });
  const stopping = new AbortController();
  const stop = (reason: string): void => stopping.abort(reason);
  onHangup(() => (options.endsOnHangup ? stop('SIGHUP') : reload(args, service, lines, settings)));
  const soon = (reason: string): unknown => setImmediate(() => stop(reason));
  const handlers = { ...handlersOf(service, log.copying, soon), ...options.handlers?.(service, platform) };
  const control = await controlOf(settings.controlSocket, handlers, lines);
  const metrics = await metricsOf(settings, service, meters, platform, lines);
  // Only a guest has a hypervisor to speak with.
  const isGuest = options.choose === undefined && (platform.name === 'linux' || platform.name === 'windows');
  const channel = isGuest ? await channelOf(service) : null;
  const both = AbortSignal.any([signal, stopping.signal, ...(options.until === undefined ? [] : [options.until])]);
  const release = stayAlive();
  options.onRunning?.(() => statusText([...service.story.guest.pairs.values()].map(({ mac, shown }) => ({ mac, ...shown }))));
  try {
    await new Promise<void>((resolve, reject) => {
      both.addEventListener('abort', () => resolve());
      if (both.aborted) resolve();
      service.start((error) => {
        if (error !== null) reject(error);
        else setTimeout(options.onPlayed ?? (() => {}), 2 * policy.settle_ms);
      });
    });
  } finally {
    channel?.close();
    await control?.close();
    await metrics?.close();
    await service.stop(both.aborted ? String(both.reason) : 'platform failed');
    release();
  }
  return EXIT.done;
};

export const run: Run = async (args) => {
  if (!args.flag('service')) return runService(args);
  return (await import('../windows-service.ts')).runAsService((options) => runService(args, options));
};
