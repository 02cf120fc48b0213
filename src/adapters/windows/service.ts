// The service under the service control manager of Windows, and the one beside it: the driver package's own `netkvmp`, which
// must not steer the same pairs. Taking over means to stop and disable it; what it was before stands in our service's own
// key until it is given back. Its program, netkvmps.exe, is never touched.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { NetkvmError } from '../../events/errors.ts';
import type {
  Change,
  InstallOptions,
  Installation,
  InstallationState,
  OriginalState,
  Program,
  RunState,
} from '../installation.ts';
import { defineEventSource, removeEventSource } from './event-log.ts';
import type { FailureActions } from './failure-actions.ts';
import { isProtocolInstalled } from './protocol.ts';
import { ACCESS, createKey, withKey } from './registry.ts';
import {
  defineService,
  removeService,
  type ServiceDefinition,
  type ServiceInfo,
  serviceInfo,
  type ServiceState,
  setStartType,
  START_TYPES,
  startService,
  stopService,
} from './scm.ts';
import { using, Win32Error } from './win32.ts';

/** Name of the service and of its source in the event log. */
export const SERVICE_NAME = 'netkvm-failover';
export const ORIGINAL_NAME = 'netkvmp';

const KEY = `SYSTEM\\CurrentControlSet\\Services\\${SERVICE_NAME}\\Parameters`;
const TAKEN_OVER = 'OriginalStartType';
/** The original may wait for INetCfg's lock many times while it stops. */
const STOP_LIMIT_MS = 60_000;
const START_LIMIT_MS = 90_000;
const FAILURE: FailureActions = { restarts_ms: [1000, 5000, 30_000], resetAfter_s: 3600 };

const RUN_STATES: Readonly<Record<ServiceState, RunState>> = {
  stopped: 'stopped',
  starting: 'starting',
  stopping: 'stopping',
  running: 'running',
  continuing: 'starting',
  pausing: 'stopping',
  paused: 'stopped',
};

/** Windows's refusals in the words of the commands. */
const inOurWords = async <T>(act: () => T | Promise<T>): Promise<T> => {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Win32Error)) throw error;
    throw new NetkvmError(error.isDenied ? 'service.notPermitted' : 'service.refused', `${error.message}.`, { cause: error });
  }
};

/** As CommandLineToArgvW takes it apart: no path of ours holds a quote. */
const commandOf = ({ node, script }: Program, stateDir: string): string =>
  `"${node}" "${script}" run --service --state-dir "${stateDir}"`;

const definitionOf = (command: string): ServiceDefinition => ({
  name: SERVICE_NAME,
  displayName: 'netkvm-failover',
  description: 'Failover controller for virtio-net: a standby NIC and a virtual function with one MAC',
  command,
  failure: FAILURE,
});

/** What the original was started by before it was taken over; null when it was not. */
const takenOver = (): number | null => withKey(KEY, (key) => key.number(TAKEN_OVER));

const originalState = (): OriginalState | null => {
  const info = serviceInfo(ORIGINAL_NAME);
  return info === null
    ? null
    : { name: ORIGINAL_NAME, state: RUN_STATES[info.state], startType: info.startType, takenOver: takenOver() !== null };
};

/** Only the system and administrators: whoever writes there decides what a service of the system does. */
const fence = (folder: string): void => {
  mkdirSync(folder, { recursive: true });
  const grants = ['*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F'].flatMap((grant) => ['/grant:r', grant]);
  const { status, error } = spawnSync('icacls.exe', [folder, '/inheritance:r', ...grants, '/q'], { windowsHide: true });
  if (status !== 0)
    throw new NetkvmError('service.refused', `icacls cannot fence ${folder}: ${error?.message ?? `exit ${status}`}.`);
};

/** Where the system does not say, it is taken for right: it would not keep it. */
const isRestarted = ({ failure }: ServiceInfo): boolean =>
  failure === null || JSON.stringify(failure.restarts_ms) === JSON.stringify(FAILURE.restarts_ms);

export interface WindowsServiceOptions {
  readonly program: Program;
  /** Folder of configuration and log. */
  readonly dataDir: string;
  /** Folder of the log: the service must not depend on what its environment says. */
  readonly stateDir: string;
}

export class WindowsService implements Installation {
  readonly #command: string;
  readonly #dataDir: string;

  constructor({ program, dataDir, stateDir }: WindowsServiceOptions) {
    this.#command = commandOf(program, stateDir);
    this.#dataDir = dataDir;
  }

  query(): Promise<InstallationState> {
    return inOurWords(async () => ({
      ...this.#state(serviceInfo(SERVICE_NAME)),
      protocol: await isProtocolInstalled().catch(() => null),
    }));
  }

  #state(info: ServiceInfo | null): InstallationState {
    const failed = info?.state === 'stopped' && info.exit !== 0 && info.exit !== NEVER_STARTED;
    return {
      installed: info === null ? 'no' : 'here',
      definition: info?.command ?? null,
      current: info?.command === this.#command,
      enabled: info?.startType === 'auto',
      state: failed ? 'failed' : RUN_STATES[info?.state ?? 'stopped'],
      pid: info?.pid ?? null,
      restarts: 0,
      text: failed ? `ended with ${info.exit}` : null,
      original: originalState(),
    };
  }

  install({ takeOver = false }: InstallOptions = {}): Promise<Change[]> {
    return inOurWords(async () => {
      const changes: Change[] = [];
      const before = serviceInfo(SERVICE_NAME);
      const isRight = before?.command === this.#command && before.startType === 'auto' && isRestarted(before);
      if (!isRight) {
        fence(this.#dataDir);
        defineEventSource(SERVICE_NAME);
        defineService(definitionOf(this.#command));
        changes.push(before === null ? `made the service ${SERVICE_NAME}` : `changed the service ${SERVICE_NAME}`);
      }
      if (takeOver) changes.push(...(await this.#takeOver()));
      if (!isRight && (await stopService(SERVICE_NAME, STOP_LIMIT_MS))) changes.push('stopped it');
      if (serviceInfo(SERVICE_NAME)?.state === 'running') return changes;
      await this.#start(before);
      return [...changes, 'started it'];
    });
  }

  /** Starts it; if it does not come up, and another program ran before, that one comes back. */
  async #start(before: ServiceInfo | null): Promise<void> {
    try {
      await startService(SERVICE_NAME, START_LIMIT_MS);
    } catch (error) {
      if (before === null || before.command === this.#command || !(error instanceof NetkvmError)) throw error;
      await stopService(SERVICE_NAME, STOP_LIMIT_MS);
      defineService(definitionOf(before.command));
      if (before.startType !== 'auto') setStartType(SERVICE_NAME, before.startType);
      if (before.state === 'running') await startService(SERVICE_NAME, START_LIMIT_MS);
      throw new NetkvmError(
        'service.refused',
        `${error.message.replace(/\.$/, '')}. What was there before is back: ${before.command}.`,
        {
          cause: error,
        },
      );
    }
  }

  async #takeOver(): Promise<Change[]> {
    const original = serviceInfo(ORIGINAL_NAME);
    if (original === null) return [];
    const changes: Change[] = [];
    // Written down first, and never overwritten: what it was, not what we made of it.
    if (takenOver() === null && original.startType !== 'disabled')
      using(
        createKey(KEY),
        (key) => key.close(),
        (key) => key.setNumber(TAKEN_OVER, START_TYPES.indexOf(original.startType)),
      );
    if (original.startType !== 'disabled') {
      setStartType(ORIGINAL_NAME, 'disabled');
      changes.push(`disabled ${ORIGINAL_NAME}, which started as ${original.startType}`);
    }
    if (await stopService(ORIGINAL_NAME, STOP_LIMIT_MS)) changes.push(`stopped ${ORIGINAL_NAME}`);
    return changes;
  }

  stop(): Promise<Change[]> {
    return inOurWords(async () => {
      const before = serviceInfo(SERVICE_NAME);
      if (before === null) return [];
      const changes: Change[] = [];
      if (before.startType !== 'disabled') {
        setStartType(SERVICE_NAME, 'disabled');
        changes.push('disabled it');
      }
      return (await stopService(SERVICE_NAME, STOP_LIMIT_MS)) ? [...changes, 'stopped it'] : changes;
    });
  }

  remove(): Promise<Change[]> {
    return inOurWords(async () => {
      const changes = await this.#giveBack();
      if (removeService(SERVICE_NAME)) changes.push(`removed the service ${SERVICE_NAME}`);
      removeEventSource(SERVICE_NAME);
      return changes;
    });
  }

  /** The original service as it was, running if it starts with the system. */
  async #giveBack(): Promise<Change[]> {
    const before = takenOver();
    const startType = before === null ? undefined : START_TYPES[before];
    if (startType === undefined) return [];
    const changes: Change[] = [];
    // It may have been uninstalled meanwhile: then nothing is owed to it.
    if (serviceInfo(ORIGINAL_NAME) !== null) {
      setStartType(ORIGINAL_NAME, startType);
      changes.push(`${ORIGINAL_NAME} starts as ${startType} again`);
      if (startType === 'auto') {
        await startService(ORIGINAL_NAME, START_LIMIT_MS);
        changes.push(`started ${ORIGINAL_NAME}`);
      }
    }
    withKey(KEY, (key) => key.remove(TAKEN_OVER), ACCESS.all);
    return changes;
  }
}

/** ERROR_SERVICE_NEVER_STARTED. */
const NEVER_STARTED = 1077;
