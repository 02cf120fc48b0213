// The bindings of network adapters, as INetCfg has them: which protocols and filters stand directly above each adapter, and
// whether each is enabled. Changing them takes INetCfg's write lock. Every call here may wait for long, so it is made in a
// process of its own (netcfg.child.ts); what the two say to each other is here, too. Source: netcfgx.h.
import {
  checkedResult,
  forEach,
  invoke,
  isFailure,
  release,
  S_FALSE,
  S_OK,
  stringOf,
  withInstance,
  withInterface,
  withName,
  withOut,
} from './com.ts';
import { restartDevice } from './device-restart.ts';
import { guidBytes, type Pointer, using, Win32Error } from './win32.ts';

const CLSID_NETCFG = '5b035261-40f9-11d1-aaec-00805fc1270e';
const IID = {
  netCfg: 'c0e8ae93-306e-11d1-aacf-00805fc1270e',
  lock: 'c0e8ae9f-306e-11d1-aacf-00805fc1270e',
  bindings: 'c0e8ae9e-306e-11d1-aacf-00805fc1270e',
  classSetup: 'c0e8ae9d-306e-11d1-aacf-00805fc1270e',
} as const;
const CLASS = { net: '4d36e972-e325-11ce-bfc1-08002be10318', transport: '4d36e975-e325-11ce-bfc1-08002be10318' } as const;
/** Places of methods in their tables (netcfgx.h), after the three of IUnknown. */
const NETCFG = { initialize: 3, uninitialize: 4, apply: 5, enumComponents: 7, findComponent: 8, queryClass: 9 } as const;
const LOCK = { acquire: 3, release: 4 } as const;
const COMPONENT = { id: 6, device: 9 } as const;
const BINDINGS = { enumPaths: 8 } as const;
const PATH = { isEnabled: 5, enable: 6, owner: 8, enumInterfaces: 10 } as const;
const SETUP = { install: 4, deinstall: 5 } as const;
const EBP_ABOVE = 1;
/** The success codes with which Apply and Install say that it takes effect after a reboot. */
const NETCFG_S_REBOOT = 0x0004a020;
const NETCFG_E_NEED_REBOOT = 0x8004a025;

/** The failover protocol’s component id, as everywhere in lower case. */
export const FAILOVER_PROTOCOL = 'vioprot';
export const CLIENT = 'netkvm-failover';

export type Protocols = Readonly<Record<string, boolean>>;
export interface Bindings {
  /** VIOPROT is installed. */
  readonly installed: boolean;
  /** By device instance id, in upper case. */
  readonly adapters: Readonly<Record<string, Protocols>>;
}

export type Request =
  | { readonly op: 'read' }
  /** Sets what `wanted` names, and leaves the rest. */
  | { readonly op: 'set'; readonly device: string; readonly wanted: Protocols; readonly wait_ms: number }
  /** Takes these protocols off the adapter and puts those back that were on. */
  | { readonly op: 'pulse'; readonly device: string; readonly protocols: readonly string[]; readonly wait_ms: number }
  | { readonly op: 'install' | 'uninstall'; readonly component: string; readonly wait_ms: number }
  /** Restarts the device, which takes as long as its driver does; not INetCfg's, but it can hang as well. */
  | { readonly op: 'restart'; readonly device: string };

export type Answer =
  | { readonly ok: true; readonly bindings: Bindings; readonly reboot: boolean }
  /** `locked`: `text` names who holds the write lock. `gone`: there is no such adapter or component. */
  | { readonly ok: false; readonly why: 'locked' | 'denied' | 'gone' | 'reboot' | 'failed'; readonly text: string };

/** What one wants of INetCfg cannot be had; becomes an answer. */
class Refused extends Error {
  readonly why: 'locked' | 'gone';
  constructor(why: 'locked' | 'gone', text: string) {
    super(text);
    this.why = why;
  }
}

const idOf = (component: Pointer): string => stringOf('INetCfgComponent::GetId', component, COMPONENT.id).toLowerCase();
const deviceOf = (component: Pointer): string =>
  stringOf('INetCfgComponent::GetPnpDevNodeId', component, COMPONENT.device).toUpperCase();

/** Whether nothing stands between the path's owner and its adapter: one interface, from one to the other. */
const isDirect = (path: Pointer): boolean => {
  let interfaces = 0;
  withOut('EnumBindingInterfaces', path, PATH.enumInterfaces, '', [], (found) => forEach(found, () => (interfaces += 1)));
  return interfaces === 1;
};

/** Each path that ends at this adapter and has only its owner above it. */
const forEachPath = (adapter: Pointer, use: (path: Pointer, owner: string) => void): void =>
  withInterface(adapter, IID.bindings, (bindings) =>
    withOut('EnumBindingPaths', bindings, BINDINGS.enumPaths, 'uint32_t flags', [EBP_ABOVE], (paths) =>
      forEach(paths, (path) => {
        if (isDirect(path)) use(path, withOut('INetCfgBindingPath::GetOwner', path, PATH.owner, '', [], idOf));
      }),
    ),
  );

const isEnabled = (path: Pointer): boolean => checkedResult(invoke(path, PATH.isEnabled), 'IsEnabled') === S_OK;

const forEachAdapter = (netcfg: Pointer, use: (adapter: Pointer, device: string) => void): void =>
  withOut('EnumComponents', netcfg, NETCFG.enumComponents, 'const uint8_t *cls', [guidBytes(CLASS.net)], (components) =>
    forEach(components, (component) => use(component, deviceOf(component))),
  );

/** Uses a component by its id; null when there is none. */
const withComponent = <T>(netcfg: Pointer, id: string, use: (component: Pointer) => T): T | null => {
  const out: [Pointer] = [null];
  const result = invoke(netcfg, NETCFG.findComponent, 'str16 id, _Out_ void **out', id, out);
  if (isFailure(result)) throw new Win32Error(`FindComponent ${id}`, result);
  return result === S_FALSE || out[0] === null ? null : using(out[0], release, use);
};

const bindingsOf = (netcfg: Pointer): Bindings => {
  const adapters: Record<string, Record<string, boolean>> = {};
  forEachAdapter(netcfg, (adapter, device) => {
    const protocols: Record<string, boolean> = {};
    // Several paths of one owner count as on when one of them is.
    forEachPath(adapter, (path, owner) => {
      protocols[owner] = isEnabled(path) || protocols[owner] === true;
    });
    adapters[device] = protocols;
  });
  return { installed: withComponent(netcfg, FAILOVER_PROTOCOL, () => true) === true, adapters };
};

/** An INetCfg that is initialised, for reading. */
const withNetCfg = <T>(use: (netcfg: Pointer) => T): T =>
  withInstance(CLSID_NETCFG, IID.netCfg, (netcfg) => initialized(netcfg, () => use(netcfg)));

const initialized = <T>(netcfg: Pointer, use: () => T): T => {
  checkedResult(invoke(netcfg, NETCFG.initialize, 'void *reserved', null), 'INetCfg::Initialize');
  return using(netcfg, () => void invoke(netcfg, NETCFG.uninitialize), use);
};

/** The same under the write lock, which comes before Initialize. */
const withWriteLock = <T>(wait_ms: number, use: (netcfg: Pointer) => T): T =>
  withInstance(CLSID_NETCFG, IID.netCfg, (netcfg) =>
    withInterface(netcfg, IID.lock, (lock) => {
      const { result, name } = withName(lock, LOCK.acquire, 'uint32_t ms, str16 client', [wait_ms, CLIENT]);
      checkedResult(result, 'AcquireWriteLock');
      if (result !== S_OK) throw new Refused('locked', name ?? 'somebody who is not named');
      return using(
        lock,
        () => void invoke(lock, LOCK.release),
        () => initialized(netcfg, () => use(netcfg)),
      );
    }),
  );

/** Applies what was changed; true when it takes effect after a reboot only. */
const apply = (netcfg: Pointer): boolean => checkedResult(invoke(netcfg, NETCFG.apply), 'INetCfg::Apply') === NETCFG_S_REBOOT;

/** Enables and disables what differs, and applies it. Gives what was changed, and whether a reboot is needed. */
const setPaths = (netcfg: Pointer, device: string, wanted: Protocols): { changed: string[]; reboot: boolean } => {
  const changed: string[] = [];
  let found = false;
  forEachAdapter(netcfg, (adapter, name) => {
    if (name !== device.toUpperCase()) return;
    found = true;
    forEachPath(adapter, (path, owner) => {
      const on = wanted[owner];
      if (on === undefined || on === isEnabled(path)) return;
      checkedResult(invoke(path, PATH.enable, 'int on', on ? 1 : 0), `${on ? 'enabling' : 'disabling'} ${owner}`);
      changed.push(owner);
    });
  });
  if (!found) throw new Refused('gone', `INetCfg has no adapter ${device}`);
  return { changed, reboot: changed.length > 0 && apply(netcfg) };
};

const pulse = (netcfg: Pointer, device: string, protocols: readonly string[]): boolean => {
  const all = (on: boolean): Protocols => Object.fromEntries(protocols.map((name) => [name, on]));
  const off = setPaths(netcfg, device, all(false));
  const on = setPaths(netcfg, device, Object.fromEntries(off.changed.map((name) => [name, true])));
  return off.reboot || on.reboot;
};

const setUp = <T>(netcfg: Pointer, use: (setup: Pointer) => T): T =>
  withOut(
    'QueryNetCfgClass',
    netcfg,
    NETCFG.queryClass,
    'const uint8_t *cls, const uint8_t *iid',
    [guidBytes(CLASS.transport), guidBytes(IID.classSetup)],
    use,
  );
/** OBO_TOKEN: on behalf of nobody but the user. */
const OBO_USER = 1;
const userToken = (): Buffer => {
  const token = Buffer.alloc(48);
  token.writeUInt32LE(OBO_USER);
  return token;
};

const install = (netcfg: Pointer, component: string): boolean => {
  const types = 'str16 id, const uint8_t *token, uint32_t flags, uint32_t upgrade, str16 file, str16 sections';
  setUp(netcfg, (setup) =>
    withOut(`installing ${component}`, setup, SETUP.install, types, [component, userToken(), 0, 0, null, null], () => {}),
  );
  return apply(netcfg);
};

const uninstall = (netcfg: Pointer, component: string): boolean => {
  const done = withComponent(netcfg, component, (found) =>
    setUp(netcfg, (setup) => {
      const { result } = withName(setup, SETUP.deinstall, 'void *component, const uint8_t *token', [found, userToken()]);
      return checkedResult(result, `uninstalling ${component}`) === NETCFG_S_REBOOT;
    }),
  );
  if (done === null) throw new Refused('gone', `${component} is not installed`);
  return apply(netcfg) || done;
};

const changed = (wait_ms: number, change: (netcfg: Pointer) => boolean): Answer => {
  const reboot = withWriteLock(wait_ms, change);
  // Read anew: what INetCfg has now, not what this change was meant to make of it.
  return { ok: true, bindings: withNetCfg(bindingsOf), reboot };
};

const done = (request: Request): Answer => {
  switch (request.op) {
    case 'read':
      return { ok: true, bindings: withNetCfg(bindingsOf), reboot: false };
    case 'set':
      return changed(request.wait_ms, (netcfg) => setPaths(netcfg, request.device, request.wanted).reboot);
    case 'pulse':
      return changed(request.wait_ms, (netcfg) => pulse(netcfg, request.device, request.protocols));
    case 'install':
      return changed(request.wait_ms, (netcfg) => install(netcfg, request.component));
    case 'uninstall':
      return changed(request.wait_ms, (netcfg) => uninstall(netcfg, request.component));
    case 'restart': {
      const reboot = restartDevice(request.device) === 'rebootRequired';
      return { ok: true, bindings: withNetCfg(bindingsOf), reboot };
    }
  }
};

/** Carries out one request in this thread. COM must be initialised. Never throws. */
export const answer = (request: Request): Answer => {
  try {
    return done(request);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof Refused) return { ok: false, why: error.why, text };
    if (!(error instanceof Win32Error)) return { ok: false, why: 'failed', text };
    return { ok: false, why: error.isDenied ? 'denied' : error.number === NETCFG_E_NEED_REBOOT ? 'reboot' : 'failed', text };
  }
};
