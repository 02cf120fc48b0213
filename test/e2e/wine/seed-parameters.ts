// Runs inside Wine: makes network devices as Windows keeps them, with the parameters of NETKVM's INF files. Each argument is
// `KEY=MAC`: the number of a driver key, and the MAC of the interface that the device is to be.
import { createKey } from '../../../src/adapters/windows/registry.ts';
import { interfaces } from '../../../src/adapters/windows/interfaces.ts';
import { using } from '../../../src/adapters/windows/win32.ts';
import { INF_PARAMETERS } from '../../fixtures/inf-parameters.ts';

const NET = '{4d36e972-e325-11ce-bfc1-08002be10318}';
const put = (path: string, values: Readonly<Record<string, string>>): void =>
  using(
    createKey(path),
    (key) => key.close(),
    (key) => Object.entries(values).forEach(([name, value]) => key.setText(name, value)),
  );

process.argv.slice(2).forEach((word, place) => {
  const [key = '', mac = ''] = word.split('=');
  const guid = interfaces().find((one) => one.mac === mac)?.guid;
  if (guid === undefined) throw new Error(`there is no interface with the MAC ${mac}`);
  const driver = `SYSTEM\\CurrentControlSet\\Control\\Class\\${NET}\\${key}`;
  const description = place === 0 ? 'Red Hat VirtIO Ethernet Adapter' : 'Virtual Function Ethernet Adapter';
  put(`SYSTEM\\CurrentControlSet\\Enum\\PCI\\VEN_1AF4&DEV_1041\\3&1&0&${key}`, {
    Class: 'Net',
    ClassGUID: NET,
    Driver: `${NET}\\${key}`,
    DeviceDesc: description,
    FriendlyName: `${description} #${key}`,
    LocationInformation: `PCI bus 0, device ${place + 1}, function 0`,
    Service: 'netkvm',
  });
  put(driver, { NetCfgInstanceId: guid, DriverDesc: description });
  for (const { name, values, choices } of INF_PARAMETERS) {
    const path = `${driver}\\Ndi\\Params\\${name}`;
    put(path, values);
    if (choices.length > 0) put(`${path}\\Enum`, Object.fromEntries(choices.map(({ value, meaning }) => [value, meaning])));
  }
});
