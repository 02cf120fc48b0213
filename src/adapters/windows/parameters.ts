// The parameters of network devices on Windows: what the INF file of each driver offers (Ndi\Params below the driver key), and
// what is stored beside it. What is written holds after a restart of the device. Every present PCI device of the class net is
// listed, as the original tool did; the MAC and the MTU that pair them come from the table of interfaces.
import { NetkvmError } from '../../events/errors.ts';
import type { Parameter, ParameterDevice, ParameterStore } from '../parameters.ts';
import { restartDevice } from './device-restart.ts';
import { networkDevices } from './devices.ts';
import { type InfKey, readInfParameter } from './inf-parameter.ts';
import { interfaces } from './interfaces.ts';
import { ACCESS, type RegistryKey, type RegistryValue, textOf, TYPE, withKey } from './registry.ts';
import { Win32Error } from './win32.ts';

/** A value as the original tool reads it: numbers in decimal. Null for what is neither text nor number. */
const asText = (value: RegistryValue | null): string | null => {
  if (value === null) return null;
  if (value.type === TYPE.text || value.type === TYPE.expandable) return textOf(value);
  return value.type === TYPE.number && value.data.length === 4 ? String(value.data.readUInt32LE()) : null;
};

const valuesOf = (key: RegistryKey): Record<string, string> =>
  Object.fromEntries(
    key.values().flatMap((name) => {
      const text = asText(key.value(name));
      return text === null ? [] : [[name, text]];
    }),
  );

/** What `act` gives; refusals of Windows in the words of the commands. */
const asked = <T>(act: () => T): Promise<T> =>
  new Promise<T>((resolve) => resolve(act())).catch((error: unknown) => {
    if (!(error instanceof Win32Error)) throw error;
    const code = error.isDenied ? 'parameter.notPermitted' : 'parameter.refused';
    throw new NetkvmError(code, `${error.message}.`, { cause: error });
  });

const readKeys = (path: string): { readonly keys: readonly InfKey[]; readonly stored: Readonly<Record<string, string>> } => {
  const keys = withKey(`${path}\\Ndi\\Params`, (params) =>
    params.subkeys().flatMap((name) => {
      const values = withKey(`${path}\\Ndi\\Params\\${name}`, valuesOf);
      const choices = withKey(`${path}\\Ndi\\Params\\${name}\\Enum`, valuesOf) ?? {};
      // It may have gone since it was listed.
      return values === null
        ? []
        : [{ name, values, choices: Object.entries(choices).map(([value, meaning]) => ({ value, meaning })) }];
    }),
  );
  return { keys: keys ?? [], stored: withKey(path, valuesOf) ?? {} };
};

export class WindowsParameters implements ParameterStore {
  readonly needsRestart = true;

  devices(): Promise<readonly ParameterDevice[]> {
    return asked(() => {
      const rows = interfaces();
      return networkDevices()
        .filter(({ instanceId }) => /VEN_.*DEV_/i.test(instanceId))
        .map(({ instanceId, description, friendlyName, location, uiNumber, softwareKey, guid }) => {
          const row = rows.find((one) => one.guid === guid);
          return {
            id: instanceId,
            name: friendlyName ?? description,
            description,
            location: location ?? '',
            busNumber: uiNumber ?? 0,
            key: softwareKey ?? '',
            mac: row?.mac ?? null,
            mtu: row?.mtu ?? null,
            master: null,
          };
        });
    });
  }

  parameters({ key }: ParameterDevice): Promise<readonly Parameter[]> {
    return asked(() => {
      if (key === '') return [];
      const { keys, stored } = readKeys(key);
      const lower = new Map(Object.entries(stored).map(([name, value]) => [name.toLowerCase(), value]));
      return keys.map((one) => readInfParameter(one, lower.get(one.name.toLowerCase()) ?? null));
    });
  }

  write({ key: path }: ParameterDevice, { name }: Parameter, value: string | null): Promise<void> {
    return asked(() => {
      const access = ACCESS.read | ACCESS.write;
      const after = withKey(
        path,
        (key) => {
          if (value === null) key.remove(name);
          else key.setText(name, value);
          return { value: key.text(name) };
        },
        access,
      );
      if (after === null) throw new NetkvmError('parameter.refused', `the key ${path} is gone.`);
      if (after.value === value) return;
      const words = `${name} reads back as ${after.value ?? 'nothing'}, not as ${value ?? 'nothing'}.`;
      throw new NetkvmError('parameter.refused', words);
    });
  }

  restart({ id }: ParameterDevice): Promise<'done' | 'rebootRequired'> {
    return asked(() => restartDevice(id));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
