// Restarting a device, as its property page does after a change: DIF_PROPERTYCHANGE with DICS_PROPCHANGE through the class
// installer. Sources: setupapi.h; "DIF_PROPERTYCHANGE", learn.microsoft.com (a change of state may need a reboot, which the
// installer says with DI_NEEDREBOOT or DI_NEEDRESTART).
import { checked, type Handle, isInvalid, lastError, load, once, using, Win32Error } from './win32.ts';

const DIF_PROPERTYCHANGE = 0x12;
const DICS_PROPCHANGE = 3;
const DICS_FLAG_CONFIGSPECIFIC = 2;
const DI_NEEDREBOOT = 0x100;
const DI_NEEDRESTART = 0x80;
const DEVINFO_BYTES = 32;
/** SP_CLASSINSTALL_HEADER. */
const HEADER_BYTES = 8;
/** SP_DEVINSTALL_PARAMS_W, 64-bit; Flags follow cbSize. */
const INSTALL_PARAMS_BYTES = 584;

const setupapi = once(() => {
  const library = load('setupapi.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    make: func<(guid: null, window: null) => Handle>('intptr_t __stdcall SetupDiCreateDeviceInfoList(const uint8_t *, void *)'),
    end: func<(list: Handle) => number>('int __stdcall SetupDiDestroyDeviceInfoList(intptr_t)'),
    open: func<(list: Handle, id: string, window: null, flags: 0, into: Buffer) => number>(
      'int __stdcall SetupDiOpenDeviceInfoW(intptr_t, str16, void *, uint32_t, uint8_t *)',
    ),
    setParams: func<(list: Handle, info: Buffer, params: Buffer, size: number) => number>(
      'int __stdcall SetupDiSetClassInstallParamsW(intptr_t, uint8_t *, uint8_t *, uint32_t)',
    ),
    call: func<(what: number, list: Handle, info: Buffer) => number>(
      'int __stdcall SetupDiCallClassInstaller(uint32_t, intptr_t, uint8_t *)',
    ),
    installParams: func<(list: Handle, info: Buffer, into: Buffer) => number>(
      'int __stdcall SetupDiGetDeviceInstallParamsW(intptr_t, uint8_t *, uint8_t *)',
    ),
  };
});

/** SP_PROPCHANGE_PARAMS: header, StateChange, Scope, HwProfile. */
const propertyChange = (): Buffer => {
  const params = Buffer.alloc(20);
  [HEADER_BYTES, DIF_PROPERTYCHANGE, DICS_PROPCHANGE, DICS_FLAG_CONFIGSPECIFIC].forEach((value, at) =>
    params.writeUInt32LE(value, 4 * at),
  );
  return params;
};

/** Restarts the device with this instance id; its driver reads its parameters anew. Errors: Win32Error. */
export const restartDevice = (instanceId: string): 'done' | 'rebootRequired' => {
  const { make, end, open, setParams, call, installParams } = setupapi();
  const what = `restarting ${instanceId}`;
  const list = make(null, null);
  if (isInvalid(list)) throw new Win32Error(what, lastError());
  return using(list, end, () => {
    const info = Buffer.alloc(DEVINFO_BYTES);
    info.writeUInt32LE(DEVINFO_BYTES);
    checked(open(list, instanceId, null, 0, info), `${what}: SetupDiOpenDeviceInfo`);
    const change = propertyChange();
    checked(setParams(list, info, change, change.length), `${what}: SetupDiSetClassInstallParams`);
    checked(call(DIF_PROPERTYCHANGE, list, info), `${what}: DIF_PROPERTYCHANGE`);
    const params = Buffer.alloc(INSTALL_PARAMS_BYTES);
    params.writeUInt32LE(INSTALL_PARAMS_BYTES);
    checked(installParams(list, info, params), `${what}: SetupDiGetDeviceInstallParams`);
    return (params.readUInt32LE(4) & (DI_NEEDREBOOT | DI_NEEDRESTART)) === 0 ? 'done' : 'rebootRequired';
  });
};
