// What `netkvm doctor` looks at on Windows: what this process may do, the driver and what it reports, VIOPROT and who is bound
// to whom, and the services. What the system says is read once, at the first check that asks; a test may say it instead.
import type { NetworkDevice } from '../adapters/windows/devices.ts';
import type { Interface } from '../adapters/windows/interfaces.ts';
import type { Bindings, Protocols } from '../adapters/windows/netcfg.ts';
import type { ServiceInfo } from '../adapters/windows/scm.ts';
import type { DriverFacts } from '../events/catalogue.ts';
import { netkvmState } from '../machines/netkvm-state.ts';
import {
  type CheckContext,
  type Checks,
  failed,
  type Found,
  log,
  node,
  ok,
  service,
  stateDir,
  warning,
} from './doctor-checks.ts';

/** What Windows says; each may throw. */
export interface Machine {
  /** What this system does not tell by itself, with the reason. */
  readonly lacking: () => Promise<readonly { readonly name: string; readonly reason: string }[]>;
  readonly mayAdministrate: () => Promise<boolean>;
  readonly devices: () => Promise<readonly NetworkDevice[]>;
  readonly driverVersion: (device: NetworkDevice) => Promise<string | null>;
  readonly interfaces: () => Promise<readonly Interface[]>;
  /** Null where there is no control device. */
  readonly records: () => Promise<readonly DriverFacts[] | null>;
  readonly bindings: () => Promise<Bindings>;
  /** Our service, and the driver package’s own. */
  readonly ours: () => Promise<ServiceInfo | null>;
  readonly original: () => Promise<ServiceInfo | null>;
}

/** Asked once, whatever came of it. */
const remembered = <T>(ask: () => Promise<T>): (() => Promise<T>) => {
  let answer: Promise<T> | null = null;
  return () => (answer ??= ask());
};

const services = () => Promise.all([import('../adapters/windows/scm.ts'), import('../adapters/windows/service.ts')]);

const thisMachine = (): Machine => ({
  lacking: async () => {
    const { Hints } = await import('../adapters/windows/hints.ts');
    const hints = new Hints();
    await hints.close();
    return hints.lacking;
  },
  mayAdministrate: async () => (await import('../adapters/windows/scm.ts')).mayMakeServices(),
  devices: remembered(async () => (await import('../adapters/windows/devices.ts')).networkDevices()),
  driverVersion: async ({ softwareKey }) => {
    const { withKey } = await import('../adapters/windows/registry.ts');
    return softwareKey === null ? null : withKey(softwareKey, (key) => key.text('DriverVersion'));
  },
  interfaces: remembered(async () => (await import('../adapters/windows/interfaces.ts')).interfaces()),
  records: remembered(async () => {
    const { NoDevice, queryAdapters } = await import('../adapters/windows/driver.ts');
    return queryAdapters().catch((error: unknown) => {
      if (error instanceof NoDevice) return null;
      throw error;
    });
  }),
  bindings: remembered(async () => (await import('../adapters/windows/protocol.ts')).readBindings()),
  ours: async () => {
    const [{ serviceInfo }, { SERVICE_NAME }] = await services();
    return serviceInfo(SERVICE_NAME);
  },
  original: async () => {
    const [{ serviceInfo }, { ORIGINAL_NAME }] = await services();
    return serviceInfo(ORIGINAL_NAME);
  },
});

const DRIVER = 'netkvm';
const PROTOCOL = 'vioprot';
/** Protocols that give an adapter to somebody else: NIC teaming, and the Hyper-V switch. */
const TAKERS: Readonly<Record<string, string>> = { ms_implat: 'a NIC team', vms_pp: 'a virtual switch' };

interface Card extends Interface {
  readonly device: NetworkDevice;
  readonly isVirtio: boolean;
  /** Null where INetCfg lists none for it. */
  readonly protocols: Protocols | null;
}

const cardsOf = async ({ devices, interfaces }: Machine, bindings: Bindings | null): Promise<Card[]> => {
  const byGuid = new Map((await devices()).map((device) => [device.guid, device]));
  return (await interfaces()).flatMap((one) => {
    const device = byGuid.get(one.guid);
    if (device === undefined) return [];
    const protocols = bindings?.adapters[device.instanceId.toUpperCase()] ?? null;
    return [{ ...one, device, isVirtio: device.service?.toLowerCase() === DRIVER, protocols }];
  });
};

const nameOf = ({ alias, device: { pci } }: Card): string => `${alias}${pci === null ? '' : ` (${pci})`}`;

/** Records of what can be a standby. */
const standbysOf = async ({ records }: Machine): Promise<DriverFacts[]> =>
  ((await records()) ?? []).filter(({ virtio, isStandby }) => virtio && isStandby);

interface Pair {
  readonly mac: string;
  readonly standby: Card | undefined;
  readonly primaries: readonly Card[];
}
const pairsOf = async (machine: Machine, bindings: Bindings | null): Promise<Pair[]> => {
  const cards = await cardsOf(machine, bindings);
  return (await standbysOf(machine)).map(({ mac }) => ({
    mac,
    standby: cards.find((card) => card.isVirtio && card.mac === mac),
    primaries: cards.filter((card) => !card.isVirtio && card.mac === mac && card.device.pci !== null),
  }));
};

const foreignCalls = async (): Promise<Found> => {
  const { errorText } = await import('../adapters/windows/win32.ts');
  errorText(0);
  return ok('koffi is loaded and finds Win32');
};

const permissions = async (machine: Machine, { configuration }: CheckContext): Promise<Found> => {
  if (await machine.mayAdministrate()) return ok('this is an administrator');
  if (configuration.policy.effects !== 'on') return ok('no administrator: not needed while nothing is touched');
  return failed('effects = on, but this is no administrator', 'Run it as a service (`netkvm install`), or as an administrator.');
};

const hints = async ({ lacking }: Machine): Promise<Found> => {
  const found = await lacking();
  if (found.length === 0) return ok('Windows tells of devices, interfaces and bindings that change');
  return warning(
    found.map(({ name, reason }) => `no word from ${name}: ${reason}`).join('; '),
    'Nothing needs to be done: a look every 3 s finds what has changed.',
  );
};

const driver = async (machine: Machine): Promise<Found> => {
  const cards = (await machine.devices()).filter(({ service: name }) => name?.toLowerCase() === DRIVER);
  if (cards.length === 0)
    return warning('no network device is driven by NetKVM', 'Install the NetKVM driver of the virtio-win package.');
  const texts = cards.map(async (device) => {
    const version = await machine.driverVersion(device);
    return `${device.friendlyName ?? device.description}${version === null ? '' : `, driver ${version}`}`;
  });
  return ok((await Promise.all(texts)).join('; '));
};

const controlDevice = async (machine: Machine): Promise<Found> => {
  const records = await machine.records();
  if (records === null) {
    const has = (await machine.devices()).some(({ service: name }) => name?.toLowerCase() === DRIVER);
    if (!has) return ok('\\\\.\\NETKVMD is not there, and needs not be without a device of NetKVM');
    return failed(
      '\\\\.\\NETKVMD is not there, although a device of NetKVM is',
      'Update the NetKVM driver: an older one has none.',
    );
  }
  if (records.some(({ virtio, isStandby }) => virtio && isStandby))
    return ok(records.map((record) => `${record.mac} ${netkvmState(record)}`).join(', '));
  return warning(
    `no virtio adapter has the STANDBY feature (${records.length} known to the driver)`,
    'On the host: give the virtio-net device failover=on; nothing is failed over without.',
  );
};

const protocol = async (machine: Machine, { configuration }: CheckContext): Promise<Found> => {
  const { installed } = await machine.bindings();
  if (installed) return ok('VIOPROT is installed');
  const todo = 'Install it: `netkvm install --protocol vioprot.inf`.';
  const text = 'VIOPROT is not installed, so that no primary can be bound';
  return configuration.policy.effects === 'on' ? failed(text, todo) : warning(text, todo);
};

/** What is wrong between the members of a pair; null for nothing. */
const mismatch = ({ mac, standby, primaries }: Pair): { text: string; todo: string } | null => {
  const [primary, second] = primaries;
  if (standby === undefined) return { text: `${mac}: Windows lists no interface of the standby`, todo: 'Enable it.' };
  if (!standby.up) return { text: `${nameOf(standby)} is disabled`, todo: 'Enable it.' };
  if (primary !== undefined && second !== undefined)
    return {
      text: `${mac}: two primaries, ${nameOf(primary)} and ${nameOf(second)}`,
      todo: 'Unplug one of them: only one can be bound.',
    };
  if (primary !== undefined && primary.mtu !== standby.mtu)
    return {
      text: `${nameOf(primary)} has MTU ${primary.mtu}, ${nameOf(standby)} ${standby.mtu}: they are not failed over`,
      todo: 'Give both the same MTU (`netkvm setparam … MTU`).',
    };
  return null;
};

const pairs = async (machine: Machine, { configuration }: CheckContext): Promise<Found> => {
  const found = await pairsOf(machine, null);
  const stray = configuration.policy.pairs.find(({ mac }) => !found.some((pair) => pair.mac === mac));
  if (stray !== undefined)
    return warning(`${stray.mac} is in [[pairs]], and no standby has that MAC`, 'Correct the MAC, or remove the entry.');
  const wrong = found.map(mismatch).find((one) => one !== null);
  if (wrong != null) return warning(wrong.text, wrong.todo);
  if (found.length === 0) return ok('there is no standby, and so no pair');
  return ok(
    found
      .map(
        ({ mac, primaries: [primary] }) => `${mac}: ${primary === undefined ? 'no primary now' : `primary ${nameOf(primary)}`}`,
      )
      .join(', '),
  );
};

const enabled = ({ protocols }: Card): string[] => Object.entries(protocols ?? {}).flatMap(([name, on]) => (on ? [name] : []));

/** A primary must have VIOPROT and nothing else; nobody else may have a member. */
const bindings = async (machine: Machine, { configuration }: CheckContext): Promise<Found> => {
  const known = await machine.bindings();
  const found = await pairsOf(machine, known);
  for (const card of found.flatMap(({ standby, primaries }) => [...(standby === undefined ? [] : [standby]), ...primaries])) {
    const taker = enabled(card).find((name) => name in TAKERS);
    if (taker !== undefined)
      return warning(
        `${nameOf(card)} belongs to ${TAKERS[taker]} (${taker})`,
        'Take it out there: a pair’s members are its own.',
      );
  }
  const primaries = found.flatMap((pair) => pair.primaries);
  if (primaries.length === 0) return ok('no primary is there');
  if (!known.installed) return ok('without VIOPROT every primary keeps its own');
  const todo =
    configuration.policy.effects === 'on'
      ? 'The service does it while it runs; `netkvm explain` says what stands in its way.'
      : 'Let the service do it: effects = "on" (docs/configuration.md).';
  for (const primary of primaries) {
    const above = enabled(primary);
    const others = above.filter((name) => name !== PROTOCOL);
    if (!above.includes(PROTOCOL)) return warning(`${nameOf(primary)} is not bound to VIOPROT`, todo);
    if (others.length > 0) return warning(`${nameOf(primary)} is bound to VIOPROT, and to ${others.join(', ')} as well`, todo);
  }
  return ok(`bound to VIOPROT alone: ${primaries.map(nameOf).join(', ')}`);
};

const installed = async (machine: Machine): Promise<Found> => {
  const info = await machine.ours();
  const todo = 'Run `netkvm install` as an administrator.';
  if (info === null) return warning('no service of ours is installed: nothing starts with the system', todo);
  if (info.startType !== 'auto') return warning(`the service is ${info.startType}: it does not start with the system`, todo);
  if (info.failure === null) return ok(`the service is ${info.state}; this system does not say what follows a failure`);
  const { restarts_ms } = info.failure;
  if (restarts_ms.length === 0) return warning(`the service is ${info.state}; after a failure nothing starts it again`, todo);
  const times = restarts_ms.map((ms) => ms / 1000).join(', ');
  return ok(`the service is ${info.state}; after a failure it is started again, after ${times} s`);
};

const original = async (machine: Machine, { configuration }: CheckContext): Promise<Found> => {
  const info = await machine.original();
  if (info === null) return ok('the driver package’s own service netkvmp is not installed');
  const text = `the driver package’s own service netkvmp is ${info.state}, ${info.startType}`;
  if (info.state === 'stopped' && info.startType === 'disabled') return ok(text);
  if (configuration.policy.effects !== 'on') return ok(`${text}; no matter while nothing is touched`);
  const todo = 'Run `netkvm install --take-over`, or leave the pairs to it.';
  return info.state === 'stopped' ? warning(text, todo) : failed(`${text}: it switches the same pairs`, todo);
};

export const windowsChecks = (machine: Machine = thisMachine()): Checks => {
  const of =
    (check: (machine: Machine, context: CheckContext) => Promise<Found>) =>
    (context: CheckContext): Promise<Found> =>
      check(machine, context);
  return {
    node,
    foreignCalls,
    permissions: of(permissions),
    stateDir,
    log,
    service,
    installed: of(installed),
    original: of(original),
    hints: of(hints),
    driver: of(driver),
    controlDevice: of(controlDevice),
    protocol: of(protocol),
    pairs: of(pairs),
    bindings: of(bindings),
  };
};
