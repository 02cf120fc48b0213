// The service control manager, as far as the adapter asks it: whether a service is there, and whether it runs.
// Source: winsvc.h.
import { checked, ERROR, type Handle, lastError, load, once, using, Win32Error } from './win32.ts';

const SC_MANAGER_CONNECT = 0x1;
const SERVICE_QUERY_STATUS = 0x4;

/** dwCurrentState of SERVICE_STATUS, in its order from 1 on. */
export const SERVICE_STATES = ['stopped', 'starting', 'stopping', 'running', 'continuing', 'pausing', 'paused'] as const;
export type ServiceState = (typeof SERVICE_STATES)[number];

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
    status: func<(service: Handle, into: Buffer) => number>('int __stdcall QueryServiceStatus(intptr_t, uint8_t *)'),
    close: func<(handle: Handle) => number>('int __stdcall CloseServiceHandle(intptr_t)'),
  };
});

/** Null when no such service is installed. Errors: Win32Error. */
export const serviceState = (name: string): ServiceState | null => {
  const { openManager, openService, status, close } = advapi32();
  const manager = checked(openManager(null, null, SC_MANAGER_CONNECT), 'opening the service manager');
  return using(manager, close, () => {
    const service = openService(manager, name, SERVICE_QUERY_STATUS);
    if (!service) {
      const code = lastError();
      if (code === ERROR.serviceDoesNotExist) return null;
      throw new Win32Error(`opening the service ${name}`, code);
    }
    return using(service, close, () => {
      const into = Buffer.alloc(28);
      checked(status(service, into), `querying the service ${name}`);
      return SERVICE_STATES[into.readUInt32LE(4) - 1] ?? 'stopped';
    });
  });
};
