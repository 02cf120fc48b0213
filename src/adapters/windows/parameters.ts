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

/** Refusals of Windows in the words of the commands. */
const inOurWords = <T>(act: () => T): T => {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof Win32Error)) throw error;
    throw new NetkvmError(error.isDenied ? 'parameter.notPermitted' : 'parameter.refused', `${error.message}.`, { cause: error });
  }
};

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
    return Promise.resolve(
      inOurWords(() => {
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
      }),
    );
  }

  parameters({ key }: ParameterDevice): Promise<readonly Parameter[]> {
    if (key === '') return Promise.resolve([]);
    const { keys, stored } = inOurWords(() => readKeys(key));
    const lower = new Map(Object.entries(stored).map(([name, value]) => [name.toLowerCase(), value]));
    return Promise.resolve(keys.map((one) => readInfParameter(one, lower.get(one.name.toLowerCase()) ?? null)));
  }

  write({ key: path }: ParameterDevice, { name }: Parameter, value: string | null): Promise<void> {
    const after = inOurWords(() =>
      withKey(
        path,
        (key) => {
          if (value === null) key.remove(name);
          else key.setText(name, value);
          return { value: key.text(name) };
        },
        ACCESS.read | ACCESS.write,
      ),
    );
    if (after === null) throw new NetkvmError('parameter.refused', `the key ${path} is gone.`);
    if (after.value !== value)
      throw new NetkvmError(
        'parameter.refused',
        `${name} reads back as ${after.value ?? 'nothing'}, not as ${value ?? 'nothing'}.`,
      );
    return Promise.resolve();
  }

  restart({ id }: ParameterDevice): Promise<'done' | 'rebootRequired'> {
    return Promise.resolve(inOurWords(() => restartDevice(id)));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
