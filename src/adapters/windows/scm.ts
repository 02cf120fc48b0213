// The service control manager: what services there are and whether they run, and for our own and the original one, to make,
// change, start, stop and remove them. In process, without sc.exe: its words depend on the system's language.
// Source: winsvc.h (64-bit layouts).
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { NetkvmError } from '../../events/errors.ts';
import { type FailureActions, failureActions, setFailureActions } from './failure-actions.ts';
import { checked, ERROR, type Handle, lastError, load, once, using, wide, wideAt, Win32Error } from './win32.ts';

const MANAGER = { connect: 0x1, create: 0x2 } as const;
const ACCESS = { query: 0x1 | 0x4, change: 0x2, start: 0x10, stop: 0x20, user: 0x100, remove: 0x10000 } as const;
const SERVICE_WIN32_OWN_PROCESS = 0x10;
const SERVICE_ERROR_NORMAL = 1;
const NO_CHANGE = 0xffffffff;
const SC_STATUS_PROCESS_INFO = 0;
const STATUS_BYTES = 36;
const CONFIG_BYTES = 8192;
const CONTROL_STOP = 1;
const INFO_DESCRIPTION = 1;
const ALREADY_RUNNING = 1056;
const NOT_ACTIVE = 1062;
const MARKED_FOR_DELETE = 1072;
/** How often the state is looked at while a service starts or stops. */
const POLL_MS = 100;

/** dwCurrentState of SERVICE_STATUS, in its order from 1 on. */
export const SERVICE_STATES = ['stopped', 'starting', 'stopping', 'running', 'continuing', 'pausing', 'paused'] as const;
export type ServiceState = (typeof SERVICE_STATES)[number];
/** dwStartType, in its order from 0 on. */
export const START_TYPES = ['boot', 'system', 'auto', 'demand', 'disabled'] as const;
export type StartType = (typeof START_TYPES)[number];

export interface ServiceInfo {
  readonly state: ServiceState;
  readonly pid: number | null;
  /** Of a stopped service: 0, an error of Windows, or the service's own where Windows says 1066. */
  readonly exit: number;
  readonly startType: StartType;
  /** The command line that it is started with. */
  readonly command: string;
  readonly displayName: string;
  /** Null where the system keeps none. */
  readonly failure: FailureActions | null;
}

const advapi32 = once(() => {
  const library = load('advapi32.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    openManager: func<(machine: null, database: null, access: number) => Handle>(
      'intptr_t __stdcall OpenSCManagerW(str16, str16, uint32_t)',
    ),
    openService: func<(manager: Handle, name: string, access: number) => Handle>(
      'intptr_t __stdcall OpenServiceW(intptr_t, str16, uint32_t)',
    ),
    create: func<
      (
        manager: Handle,
        name: string,
        display: string,
        access: number,
        type: number,
        start: number,
        severity: number,
        command: string,
        ...rest: readonly null[]
      ) => Handle
    >(
      'intptr_t __stdcall CreateServiceW(intptr_t, str16, str16, uint32_t, uint32_t, uint32_t, uint32_t, str16, str16, void *, str16, str16, str16)',
    ),
    change: func<
      (service: Handle, type: number, start: number, severity: number, command: string | null, ...rest: readonly null[]) => number
    >(
      'int __stdcall ChangeServiceConfigW(intptr_t, uint32_t, uint32_t, uint32_t, str16, str16, void *, str16, str16, str16, str16)',
    ),
    change2: func<(service: Handle, level: number, info: Buffer) => number>(
      'int __stdcall ChangeServiceConfig2W(intptr_t, uint32_t, uint8_t *)',
    ),
    config: func<(service: Handle, into: Buffer, size: number, needed: [number]) => number>(
      'int __stdcall QueryServiceConfigW(intptr_t, uint8_t *, uint32_t, _Out_ uint32_t *)',
    ),
    status: func<(service: Handle, level: number, into: Buffer, size: number, needed: [number]) => number>(
      'int __stdcall QueryServiceStatusEx(intptr_t, int, uint8_t *, uint32_t, _Out_ uint32_t *)',
    ),
    start: func<(service: Handle, count: 0, words: null) => number>('int __stdcall StartServiceW(intptr_t, uint32_t, void *)'),
    control: func<(service: Handle, control: number, into: Buffer) => number>(
      'int __stdcall ControlService(intptr_t, uint32_t, uint8_t *)',
    ),
    remove: func<(service: Handle) => number>('int __stdcall DeleteService(intptr_t)'),
    close: func<(handle: Handle) => number>('int __stdcall CloseServiceHandle(intptr_t)'),
  };
});

const withManager = <T>(access: number, use: (manager: Handle) => T): T => {
  const { openManager, close } = advapi32();
  return using(checked(openManager(null, null, access), 'opening the service manager'), close, use);
};

/** Uses a service; null when there is none of this name. Errors: Win32Error. */
const withService = <T>(name: string, access: number, use: (service: Handle) => T): T | null =>
  withManager(MANAGER.connect, (manager) => {
    const { openService, close } = advapi32();
    const service = openService(manager, name, access);
    if (service) return using(service, close, use);
    const code = lastError();
    if (code === ERROR.serviceDoesNotExist) return null;
    throw new Win32Error(`opening the service ${name}`, code);
  });

/** SERVICE_STATUS_PROCESS: type, state, accepted, exit, specific exit, check point, hint, pid. */
const statusOf = (service: Handle, name: string) => {
  const into = Buffer.alloc(STATUS_BYTES);
  checked(advapi32().status(service, SC_STATUS_PROCESS_INFO, into, into.length, [0]), `querying the service ${name}`);
  const exit = into.readUInt32LE(12);
  return {
    state: SERVICE_STATES[into.readUInt32LE(4) - 1] ?? 'stopped',
    exit: exit === SPECIFIC_ERROR ? into.readUInt32LE(16) : exit,
    pid: into.readUInt32LE(28) || null,
  };
};
/** ERROR_SERVICE_SPECIFIC_ERROR. */
export const SPECIFIC_ERROR = 1066;

/** Whether this process may make services: an administrator may. */
export const mayMakeServices = (): boolean => {
  try {
    withManager(MANAGER.create, () => {});
    return true;
  } catch (error) {
    if (error instanceof Win32Error && error.isDenied) return false;
    throw error;
  }
};

/** Null when no such service is installed. Errors: Win32Error. */
export const serviceState = (name: string): ServiceState | null =>
  withService(name, ACCESS.query, (service) => statusOf(service, name).state);

/** Text of a QUERY_SERVICE_CONFIGW whose pointer stands at `at`: it points into the same buffer. */
const configText = (config: Buffer, at: number): string => {
  const offset = Number(config.readBigUInt64LE(at) - koffi.address(config));
  return offset > 0 && offset < config.length ? wideAt(config, offset, config.length - offset) : '';
};

/** Null likewise. */
export const serviceInfo = (name: string): ServiceInfo | null =>
  withService(name, ACCESS.query, (service) => {
    const config = Buffer.alloc(CONFIG_BYTES);
    checked(advapi32().config(service, config, config.length, [0]), `querying the service ${name}`);
    return {
      ...statusOf(service, name),
      startType: START_TYPES[config.readUInt32LE(4)] ?? 'demand',
      command: configText(config, 16),
      displayName: configText(config, 56),
      failure: failureActions(service),
    };
  });

export interface ServiceDefinition {
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly command: string;
  readonly failure: FailureActions;
}

const describe = (service: Handle, { name, description, failure }: ServiceDefinition): void => {
  const words = wide(description);
  const text = Buffer.alloc(8);
  text.writeBigUInt64LE(koffi.address(words), 0);
  checked(advapi32().change2(service, INFO_DESCRIPTION, text), `describing the service ${name}`);
  setFailureActions(service, failure);
};

/** Makes a service that starts with the system, or makes an existing one so. */
export const defineService = (definition: ServiceDefinition): void => {
  const { name, displayName, command } = definition;
  const { create, change, close } = advapi32();
  const auto = START_TYPES.indexOf('auto');
  const found = withService(name, ACCESS.query | ACCESS.change | ACCESS.start, (service) => {
    checked(
      change(service, NO_CHANGE, auto, NO_CHANGE, command, null, null, null, null, null, null),
      `changing the service ${name}`,
    );
    describe(service, definition);
    return true;
  });
  if (found !== null) return;
  withManager(MANAGER.connect | MANAGER.create, (manager) => {
    const access = ACCESS.query | ACCESS.change | ACCESS.start;
    const made = create(
      manager,
      name,
      displayName,
      access,
      SERVICE_WIN32_OWN_PROCESS,
      auto,
      SERVICE_ERROR_NORMAL,
      command,
      null,
      null,
      null,
      null,
      null,
    );
    using(checked(made, `making the service ${name}`), close, (service) => describe(service, definition));
  });
};

const gone = (name: string): NetkvmError => new NetkvmError('service.refused', `there is no service ${name}.`);

export const setStartType = (name: string, startType: StartType): void => {
  const done = withService(name, ACCESS.change, (service) =>
    checked(
      advapi32().change(service, NO_CHANGE, START_TYPES.indexOf(startType), NO_CHANGE, null, null, null, null, null, null, null),
      `changing the service ${name}`,
    ),
  );
  if (done === null) throw gone(name);
};

/** Waits until it is in one of these states. Errors: `service.refused` when it takes too long. */
const untilState = async (name: string, wanted: readonly ServiceState[], limit_ms: number): Promise<ServiceState> => {
  for (const until = performance.now() + limit_ms; ;) {
    const state = serviceState(name);
    if (state !== null && wanted.includes(state)) return state;
    if (performance.now() > until)
      throw new NetkvmError('service.refused', `the service ${name} is still ${state ?? 'gone'} after ${limit_ms / 1000} s.`);
    await sleep(POLL_MS);
  }
};

/** Starts it and waits until it runs. Errors: `service.refused` with its exit code when it ends instead. */
export const startService = async (name: string, limit_ms: number): Promise<void> => {
  const done = withService(name, ACCESS.start, (service) => {
    if (advapi32().start(service, 0, null) !== 0) return true;
    const code = lastError();
    if (code !== ALREADY_RUNNING) throw new Win32Error(`starting the service ${name}`, code);
    return true;
  });
  if (done === null) throw gone(name);
  if ((await untilState(name, ['running', 'stopped'], limit_ms)) === 'stopped')
    throw new NetkvmError('service.refused', `the service ${name} ended at once, with ${serviceInfo(name)?.exit ?? 0}.`);
};

/** Stops it and waits until it has stopped; false when it was. */
export const stopService = async (name: string, limit_ms: number): Promise<boolean> => {
  const stopped = withService(name, ACCESS.stop | ACCESS.query, (service) => {
    if (statusOf(service, name).state === 'stopped') return false;
    if (advapi32().control(service, CONTROL_STOP, Buffer.alloc(STATUS_BYTES)) !== 0) return true;
    const code = lastError();
    if (code === NOT_ACTIVE) return false;
    throw new Win32Error(`stopping the service ${name}`, code);
  });
  if (stopped === true) await untilState(name, ['stopped'], limit_ms);
  return stopped === true;
};

/** A control of its own, 128 to 255. */
export const controlService = (name: string, control: number): void => {
  const done = withService(name, ACCESS.user, (service) =>
    checked(advapi32().control(service, control, Buffer.alloc(STATUS_BYTES)), `control ${control} to the service ${name}`),
  );
  if (done === null) throw gone(name);
};

/** False when there was none. It goes when the last handle to it is closed. */
export const removeService = (name: string): boolean =>
  withService(name, ACCESS.remove, (service) => {
    if (advapi32().remove(service) !== 0) return true;
    const code = lastError();
    if (code !== MARKED_FOR_DELETE) throw new Win32Error(`removing the service ${name}`, code);
    return true;
  }) ?? false;
