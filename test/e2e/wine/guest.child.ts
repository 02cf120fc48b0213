// Runs in Wine as Node for Windows: what the hypervisor and the administrator do to the guest, one JSON request a line on
// standard input, one answer a line on standard output. It writes what Windows keeps (devices and INetCfg's network in the
// registry), makes devices arrive and leave (labpnp.sys), and tells the driver double what NDIS would tell the driver.
import koffi from 'koffi';
import { createInterface } from 'node:readline';
import { queryAdapters } from '../../../src/adapters/windows/driver.ts';
import { initializeCom } from '../../../src/adapters/windows/com.ts';
import { interfaces } from '../../../src/adapters/windows/interfaces.ts';
import { answer } from '../../../src/adapters/windows/netcfg.ts';
import { ACCESS, createKey, withKey } from '../../../src/adapters/windows/registry.ts';
import { load, wide } from '../../../src/adapters/windows/win32.ts';

/** A network card of the guest. `alias` is the veth that plays it. */
export interface Nic {
  readonly alias: string;
  /** `PCI\VEN_1AF4&DEV_1041` and its instance. */
  readonly id: string;
  readonly instance: string;
  /** Number of its driver's key: `0007`. */
  readonly driver: string;
  readonly service: string;
  readonly slot: number;
  readonly kind: 'virtio' | 'vf';
  readonly standby: boolean;
}

export type Request =
  | { readonly op: 'reset' }
  | { readonly op: 'arrive' | 'leave'; readonly nic: Nic }
  /** There when the system starts: nobody is told of them. */
  | { readonly op: 'present'; readonly nics: readonly Nic[] }
  /** As many standbys as the driver can report, without adapters. */
  | { readonly op: 'crowd'; readonly count: number }
  | { readonly op: 'command'; readonly command: Command }
  | { readonly op: 'report' }
  | { readonly op: 'script'; readonly values: Readonly<Record<string, string | number | null>> }
  | { readonly op: 'bindings'; readonly nic: Nic }
  /** What the registry has for the driver of a card; and how often devices were restarted (the double of SetupAPI counts). */
  | { readonly op: 'stored'; readonly nic: Nic; readonly name: string }
  | { readonly op: 'restarts' }
  | { readonly op: 'bind'; readonly nic: Nic; readonly protocol: string; readonly on: boolean }
  /** All 128 combinations of the driver's seven facts, as the adapter reads them. */
  | { readonly op: 'rows' }
  | { readonly op: 'protocol'; readonly installed: boolean };

export interface Command {
  readonly op: keyof typeof COMMANDS;
  readonly mac?: string;
  readonly a?: number;
  readonly b?: number;
  readonly index?: number;
  readonly mtu?: number;
}

const COMMANDS = {
  addVirtio: 1,
  removeVirtio: 2,
  bind: 3,
  unbind: 4,
  oper: 5,
  connect: 6,
  reset: 7,
  fail: 8,
  delay: 9,
  row: 10,
  odd: 11,
  hide: 12,
} as const;

const CLASS_NET = '{4d36e972-e325-11ce-bfc1-08002be10318}';
const CLASS_TRANSPORT = '{4d36e975-e325-11ce-bfc1-08002be10318}';
const DOUBLE = 'SOFTWARE\\NetCfgDouble';
/** What stands above every adapter of a fresh Windows, as far as it matters here. */
const PROTOCOLS = { ms_tcpip: 'Tcpip', ms_tcpip6: 'Tcpip6', ms_server: 'LanmanServer', ms_pacer: 'Psched' };

const kernel32 = load('kernel32.dll');
const createFile = kernel32.func(
  'intptr_t __stdcall CreateFileW(str16, uint32_t, uint32_t, void *, uint32_t, uint32_t, intptr_t)',
);
const ioControl = kernel32.func(
  'int __stdcall DeviceIoControl(intptr_t, uint32_t, const uint8_t *, uint32_t, uint8_t *, uint32_t, _Out_ uint32_t *, void *)',
);
const lastError = kernel32.func('uint32_t __stdcall GetLastError()') as () => number;
const closeHandle = kernel32.func('int __stdcall CloseHandle(intptr_t)');

const control = (device: string, code: number, input: Buffer, outputBytes: number): Buffer => {
  const file = createFile(`\\\\.\\${device}`, 0xc0000000, 3, null, 3, 0, 0) as number;
  if (file === -1) throw new Error(`${device}: error ${lastError()}`);
  const output = Buffer.alloc(outputBytes);
  const got: [number] = [0];
  const done = ioControl(file, code, input, input.length, output, outputBytes, got, null) as number;
  const error = lastError();
  closeHandle(file);
  if (done === 0) throw new Error(`${device} ${code.toString(16)}: error ${error}`);
  return output.subarray(0, got[0]);
};

const codeOf = (call: number): number => (0x12 << 16) | (call << 2);
const macBytes = (mac = ''): Buffer =>
  Buffer.concat([Buffer.from(mac.replaceAll(':', ''), 'hex'), Buffer.alloc(6)]).subarray(0, 6);
const macOf = (bytes: Buffer): string => (bytes.toString('hex').match(/../g) ?? []).join(':');

const command = ({ op, mac, a = 0, b = 0, index = 0, mtu = 0 }: Command): void => {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt32LE(COMMANDS[op]);
  macBytes(mac).copy(bytes, 4);
  bytes.writeUInt8(a, 10);
  bytes.writeUInt8(b, 11);
  bytes.writeUInt32LE(index, 12);
  bytes.writeUInt32LE(mtu >>> 0, 16);
  control('NETKVMDLAB', codeOf(0x810), bytes, 0);
};

/** What the driver double has counted, and the latest SET_LINKs. */
const report = () => {
  const bytes = control('NETKVMDLAB', codeOf(0x811), Buffer.alloc(0), 12 + 8 * 256);
  const calls = bytes.readUInt32LE(8);
  const links = Array.from({ length: Math.min(calls, 256) }, (_, at) => {
    const line = bytes.subarray(12 + at * 8, 20 + at * 8);
    return { mac: macOf(line.subarray(0, 6)), on: line[6] === 1, found: line[7] === 1 };
  });
  return { crashes: bytes.readUInt32LE(0), announced: bytes.readUInt32LE(4), links, live: numberAt(DOUBLE, 'Live') ?? 0 };
};

const numberAt = (path: string, name: string): number | null => withKey(path, (key) => key.number(name));
const write = (path: string, values: Readonly<Record<string, string | number>>): void => {
  const key = createKey(path);
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === 'number') key.setNumber(name, value);
    else key.setText(name, value);
  }
  key.close();
};
const remove = (path: string, name: string): void => void withKey(path, (key) => key.removeTree(name), ACCESS.all);

const rowOf = (alias: string, rows = interfaces()) => {
  const row = rows.find((one) => one.alias === alias);
  if (row === undefined) throw new Error(`no interface ${alias}: ${JSON.stringify(rows)}`);
  return row;
};
const deviceOf = ({ id, instance }: Nic): string => `${id}\\${instance}`;
/** One key a card, for INetCfg's components and paths. */
const keyOf = ({ driver }: Nic): string => `net${driver}`;
const isInstalled = (): boolean => withKey(`${DOUBLE}\\Components\\vioprot`, () => true) === true;

/** What the system keeps of a card: it stays when the card has gone. */
const install = (nic: Nic, guid: string): void => {
  const name = nic.kind === 'virtio' ? 'Red Hat VirtIO Ethernet Adapter' : 'Intel(R) Ethernet Virtual Function';
  write(`SYSTEM\\CurrentControlSet\\Enum\\${deviceOf(nic)}`, {
    Class: 'Net',
    ClassGUID: CLASS_NET,
    Driver: `${CLASS_NET}\\${nic.driver}`,
    DeviceDesc: name,
    FriendlyName: `${name} #${nic.slot}`,
    Service: nic.service,
    LocationInformation: `PCI bus 0, device ${nic.slot}, function 0`,
    ConfigFlags: 0,
  });
  withKey(`SYSTEM\\CurrentControlSet\\Enum\\${deviceOf(nic)}`, (key) => key.remove('Phantom'), ACCESS.all);
  write(`SYSTEM\\CurrentControlSet\\Control\\Class\\${CLASS_NET}\\${nic.driver}`, { NetCfgInstanceId: guid, DriverDesc: name });
  const key = keyOf(nic);
  write(`${DOUBLE}\\Components\\${key}`, {
    Class: CLASS_NET,
    InfId: nic.id.toLowerCase(),
    DisplayName: name,
    BindName: guid,
    DevNodeId: deviceOf(nic),
    InstanceGuid: guid,
  });
  write(`SYSTEM\\CurrentControlSet\\Control\\Class\\${CLASS_NET}\\${nic.driver}\\Ndi\\Params\\*JumboPacket`, {
    ParamDesc: 'Jumbo Packet',
    Type: 'long',
    Default: '1514',
    Min: '1514',
    Max: '9014',
  });
  for (const owner of [...Object.keys(PROTOCOLS), ...(isInstalled() ? ['vioprot'] : [])]) {
    const path = `${DOUBLE}\\Paths\\${owner}-${key}`;
    // Settings are kept by the device's instance, so a card that returns has them as they were left.
    if (withKey(path, () => true) === null) write(path, { Chain: `${owner}>${key}`, Enabled: 1 });
  }
};

const pnp = (nic: Nic, on: boolean): void => {
  control('LABPNP', codeOf(on ? 0x900 : 0x901), Buffer.concat([wide(nic.id), wide(nic.instance)]), 0);
};

/** Installed, and as the driver finds it. */
const find = (nic: Nic, rows = interfaces()): void => {
  const { guid, mac, ifindex, mtu, carrier } = rowOf(nic.alias, rows);
  install(nic, guid);
  if (nic.kind === 'virtio') {
    command({ op: 'addVirtio', mac: mac ?? '', a: nic.standby ? 1 : 0, b: carrier ? 1 : 0, mtu });
  } else if (isInstalled() && numberAt(`${DOUBLE}\\Paths\\vioprot-${keyOf(nic)}`, 'Enabled') === 1) {
    command({ op: 'bind', mac: mac ?? '', index: ifindex, mtu, a: carrier ? 1 : 0 });
  }
};

const arrive = (nic: Nic): void => {
  find(nic);
  pnp(nic, true);
};

/** First NDIS lets go, then the device is gone; the veth itself is removed by the test. */
const leave = (nic: Nic): void => {
  const row = interfaces().find(({ alias }) => alias === nic.alias);
  if (nic.kind === 'virtio' && row !== undefined) command({ op: 'removeVirtio', mac: row.mac ?? '' });
  if (nic.kind === 'vf' && row !== undefined) command({ op: 'unbind', index: row.ifindex });
  remove(`${DOUBLE}\\Components`, keyOf(nic));
  write(`SYSTEM\\CurrentControlSet\\Enum\\${deviceOf(nic)}`, { Phantom: 1 });
  pnp(nic, false);
};

/** An empty guest: no cards, no bindings, no scripts. */
const reset = (): void => {
  command({ op: 'reset' });
  remove('SOFTWARE', 'NetCfgDouble');
  remove('SOFTWARE', 'SetupDouble');
  remove('SYSTEM\\CurrentControlSet\\Control\\Class', CLASS_NET);
  remove('SYSTEM\\CurrentControlSet\\Enum', 'PCI');
  for (const [id, name] of Object.entries(PROTOCOLS)) {
    write(`${DOUBLE}\\Components\\${id}`, {
      Class: CLASS_TRANSPORT,
      InfId: id,
      DisplayName: id,
      BindName: name,
      DevNodeId: `ROOT\\${id}`,
    });
  }
  write('SYSTEM\\CurrentControlSet\\Control\\Network', {});
};

const bindingsOf = (nic: Nic): Record<string, boolean> => {
  const end = `-${keyOf(nic)}`;
  const paths = withKey(`${DOUBLE}\\Paths`, (key) => key.subkeys().filter((name) => name.endsWith(end))) ?? [];
  return Object.fromEntries(
    paths.map((name) => [name.slice(0, -end.length), numberAt(`${DOUBLE}\\Paths\\${name}`, 'Enabled') === 1]),
  );
};
const changesOf = (nic: Nic): Record<string, number> => {
  const end = `-${keyOf(nic)}`;
  const paths = withKey(`${DOUBLE}\\Changes`, (key) => key.subkeys().filter((name) => name.endsWith(end))) ?? [];
  return Object.fromEntries(
    paths.map((name) => [name.slice(0, -end.length), numberAt(`${DOUBLE}\\Changes\\${name}`, 'Count') ?? 0]),
  );
};

const crowdMac = (at: number): string => `52:54:01:00:00:${at.toString(16).padStart(2, '0')}`;

const rows = async () => {
  const found = [];
  for (let index = 0; index < 128; index += 1) {
    command({ op: 'row', a: index });
    found.push(...(await queryAdapters()));
  }
  command({ op: 'reset' });
  return found;
};

const done = (request: Request): unknown => {
  switch (request.op) {
    case 'reset':
      return reset();
    case 'arrive':
      return arrive(request.nic);
    case 'leave':
      return leave(request.nic);
    case 'present': {
      const present = interfaces();
      for (const nic of request.nics) find(nic, present);
      return null;
    }
    case 'crowd':
      for (let at = 0; at < request.count; at += 1) command({ op: 'addVirtio', mac: crowdMac(at), a: 1, b: 1, mtu: 1500 });
      return null;
    case 'command':
      return command(request.command);
    case 'report':
      return report();
    case 'rows':
      return rows();
    case 'script': {
      const key = createKey(DOUBLE);
      for (const [name, value] of Object.entries(request.values)) {
        if (value === null) key.remove(name);
        else if (typeof value === 'number') key.setNumber(name, value);
        else key.setText(name, value);
      }
      return key.close();
    }
    case 'bindings':
      return { protocols: bindingsOf(request.nic), changes: changesOf(request.nic) };
    case 'stored':
      return withKey(`SYSTEM\\CurrentControlSet\\Control\\Class\\${CLASS_NET}\\${request.nic.driver}`, (key) =>
        key.text(request.name),
      );
    case 'restarts':
      return numberAt('SOFTWARE\\SetupDouble', 'Restarts') ?? 0;
    case 'bind':
      write(`${DOUBLE}\\Paths\\${request.protocol}-${keyOf(request.nic)}`, { Enabled: request.on ? 1 : 0 });
      return null;
    case 'protocol': {
      const result = answer({ op: request.installed ? 'install' : 'uninstall', component: 'VIOPROT', wait_ms: 5000 });
      if (!result.ok) throw new Error(result.text);
      return result.bindings.installed;
    }
  }
};

initializeCom();
for await (const line of createInterface({ input: process.stdin })) {
  let reply: object;
  try {
    reply = { ok: true, value: (await done(JSON.parse(line) as Request)) ?? null };
  } catch (error) {
    reply = { ok: false, text: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
koffi.reset();
