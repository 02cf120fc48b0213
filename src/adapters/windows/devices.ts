// Network devices as the system lists them (SetupAPI, class net): where each sits, what drives it, and where its driver's
// parameters are kept. Sources: setupapi.h, cfgmgr32.h; NetCfgInstanceId is the GUID that GetIfTable2 and INetCfg know an
// adapter by.
import { withKey } from './registry.ts';
import { decodeWide, ERROR, guidBytes, type Handle, isInvalid, lastError, load, once, using, Win32Error } from './win32.ts';

const NETWORK_CLASS = '{4d36e972-e325-11ce-bfc1-08002be10318}';
export const CLASS_KEY = `SYSTEM\\CurrentControlSet\\Control\\Class`;

const DIGCF_PRESENT = 0x2;
/** SP_DEVINFO_DATA: cbSize, ClassGuid, DevInst, Reserved. */
const DEVINFO_BYTES = 32;
const SPDRP = {
  description: 0x0,
  service: 0x4,
  driver: 0x9,
  friendlyName: 0xc,
  location: 0xd,
  uiNumber: 0x10,
  busNumber: 0x15,
  address: 0x1c,
} as const;
const TEXT_CHARS = 1024;
const DEVICES_MAX = 4096;

export interface NetworkDevice {
  /** `PCI\VEN_1AF4&DEV_1041&…\3&13c0b0c5&0&18`. */
  readonly instanceId: string;
  readonly description: string;
  readonly friendlyName: string | null;
  /** As the system words it, in its language. */
  readonly location: string | null;
  readonly uiNumber: number | null;
  /** Name of the service that drives it: `netkvm`, … */
  readonly service: string | null;
  /** Path of the key with the driver's parameters, below HKEY_LOCAL_MACHINE; null while no driver is installed. */
  readonly softwareKey: string | null;
  /** NetCfgInstanceId, in lower case and braces. */
  readonly guid: string | null;
  /** `0000:bb:dd.f`; null for what is no PCI device. */
  readonly pci: string | null;
  /** `vendor:device`, from the instance id; null likewise. */
  readonly pciId: string | null;
}

type Info = Buffer;

const setupapi = once(() => {
  const library = load('setupapi.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    list: func<(guid: Buffer, enumerator: null, window: null, flags: number) => Handle>(
      'intptr_t __stdcall SetupDiGetClassDevsW(const uint8_t *, str16, void *, uint32_t)',
    ),
    end: func<(list: Handle) => number>('int __stdcall SetupDiDestroyDeviceInfoList(intptr_t)'),
    next: func<(list: Handle, at: number, into: Info) => number>(
      'int __stdcall SetupDiEnumDeviceInfo(intptr_t, uint32_t, uint8_t *)',
    ),
    instanceId: func<(list: Handle, info: Info, into: Uint16Array, size: number, needed: null) => number>(
      'int __stdcall SetupDiGetDeviceInstanceIdW(intptr_t, uint8_t *, uint16_t *, uint32_t, void *)',
    ),
    property: func<
      (list: Handle, info: Info, property: number, type: [number], into: Uint16Array, bytes: number, needed: [number]) => number
    >(
      'int __stdcall SetupDiGetDeviceRegistryPropertyW(intptr_t, uint8_t *, uint32_t, _Out_ uint32_t *, uint16_t *, uint32_t, _Out_ uint32_t *)',
    ),
  };
});

/** Null when the device has no such property. */
const property = (list: Handle, info: Info, number: number): Uint16Array | null => {
  const into = new Uint16Array(TEXT_CHARS);
  const found = setupapi().property(list, info, number, [0], into, into.byteLength, [0]);
  return found === 0 ? null : into;
};
const textProperty = (list: Handle, info: Info, number: number): string | null => {
  const value = property(list, info, number);
  const text = value === null ? '' : decodeWide(value);
  return text === '' ? null : text;
};
const numberProperty = (list: Handle, info: Info, number: number): number | null => {
  const value = property(list, info, number);
  return value === null ? null : ((value[0] ?? 0) | ((value[1] ?? 0) << 16)) >>> 0;
};

const hex = (number: number, digits: number): string => number.toString(16).padStart(digits, '0');
const addressText = (bus: number, device: number, place: number): string => `0000:${hex(bus, 2)}:${hex(device, 2)}.${place}`;

/**
 * Where a PCI device sits: bus number and address (device in the high half, function in the low one) where the bus tells
 * them, else the last three numbers of the location, which are bus, device and function in every language.
 */
export const pciAddress = (
  instanceId: string,
  bus: number | null,
  address: number | null,
  location: string | null,
): string | null => {
  if (!/^PCI\\/i.test(instanceId)) return null;
  if (bus !== null && address !== null) return addressText(bus, address >>> 16, address & 0xffff);
  const numbers = (location?.match(/\d+/g) ?? []).slice(-3).map(Number);
  const [onBus, device, place] = numbers;
  return onBus === undefined || device === undefined || place === undefined ? null : addressText(onBus, device, place);
};

/** `1af4:1041` of `PCI\VEN_1AF4&DEV_1041&…`. */
export const pciIdOf = (instanceId: string): string | null => {
  const found = /^PCI\\VEN_([0-9a-f]{4})&DEV_([0-9a-f]{4})/i.exec(instanceId);
  return found === null ? null : `${found[1]}:${found[2]}`.toLowerCase();
};

const deviceOf = (list: Handle, info: Info): NetworkDevice | null => {
  const id = new Uint16Array(TEXT_CHARS);
  // It may have left since it was listed.
  if (setupapi().instanceId(list, info, id, id.length, null) === 0) return null;
  const instanceId = decodeWide(id);
  const driver = textProperty(list, info, SPDRP.driver);
  const softwareKey = driver === null ? null : `${CLASS_KEY}\\${driver}`;
  const location = textProperty(list, info, SPDRP.location);
  const [bus, address] = [numberProperty(list, info, SPDRP.busNumber), numberProperty(list, info, SPDRP.address)];
  const guid = softwareKey === null ? null : withKey(softwareKey, (key) => key.text('NetCfgInstanceId'));
  return {
    instanceId,
    description: textProperty(list, info, SPDRP.description) ?? '',
    friendlyName: textProperty(list, info, SPDRP.friendlyName),
    location,
    uiNumber: numberProperty(list, info, SPDRP.uiNumber),
    service: textProperty(list, info, SPDRP.service),
    softwareKey,
    guid: guid?.toLowerCase() ?? null,
    pci: pciAddress(instanceId, bus, address, location),
    pciId: pciIdOf(instanceId),
  };
};

/** The present devices of the class net, in the system's order. Errors: Win32Error. */
export const networkDevices = (): NetworkDevice[] => {
  const { list, end, next } = setupapi();
  const devices = list(guidBytes(NETWORK_CLASS), null, null, DIGCF_PRESENT);
  if (isInvalid(devices)) throw new Win32Error('listing network devices', lastError());
  return using(devices, end, () => {
    const found: NetworkDevice[] = [];
    for (let at = 0; at < DEVICES_MAX; at += 1) {
      const info = Buffer.alloc(DEVINFO_BYTES);
      info.writeUInt32LE(DEVINFO_BYTES);
      if (next(devices, at, info) === 0) {
        const code = lastError();
        if (code !== ERROR.noMoreItems) throw new Win32Error('listing network devices', code);
        break;
      }
      const device = deviceOf(devices, info);
      if (device !== null) found.push(device);
    }
    return found;
  });
};
