// VIOPROT, the failover protocol that the driver package brings: installed from its INF file and removed again, both only when
// asked for. INetCfg does it, under its write lock and in a process of its own; the INF store is SetupAPI's.
// Sources: setupapi.h (SetupCopyOEMInf, SetupUninstallOEMInf), netcfgx.h.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { NetkvmError } from '../../events/errors.ts';
import { NetCfg } from './bindings.ts';
import { type Answer, type Bindings, FAILOVER_PROTOCOL } from './netcfg.ts';
import { lastError, load, once, Win32Error } from './win32.ts';

const COMPONENT = FAILOVER_PROTOCOL.toUpperCase();
const LOCK_WAIT_MS = 5000;
const READ_LIMIT_MS = 15_000;
const CHANGE_LIMIT_MS = 120_000;
const SPOST_PATH = 1;
const SUOI_FORCEDELETE = 1;
/** Larger files are not ours. */
const INF_BYTES_MAX = 1_048_576;

const setupapi = once(() => {
  const library = load('setupapi.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    copy: func<(inf: string, media: null, mediaType: number, style: 0, a: null, b: 0, c: null, d: null) => number>(
      'int __stdcall SetupCopyOEMInfW(str16, str16, uint32_t, uint32_t, uint16_t *, uint32_t, void *, void *)',
    ),
    uninstall: func<(inf: string, flags: number, reserved: null) => number>(
      'int __stdcall SetupUninstallOEMInfW(str16, uint32_t, void *)',
    ),
  };
});

/** What was asked for, or `service.*` with who holds the lock or what was refused. */
const granted = (answer: Answer, what: string): Extract<Answer, { ok: true }> => {
  if (answer.ok) return answer;
  const code = answer.why === 'denied' ? 'service.notPermitted' : 'service.refused';
  const text = answer.why === 'locked' ? `the configuration of the network is locked by ${answer.text}` : answer.text;
  throw new NetkvmError(code, `${what}: ${text}.`);
};

const withNetCfg = async <T>(use: (netcfg: NetCfg) => Promise<T>): Promise<T> => {
  const netcfg = new NetCfg();
  try {
    return await use(netcfg);
  } finally {
    netcfg.close();
  }
};

/** What stands above each adapter. Errors: `service.*`. */
export const readBindings = (): Promise<Bindings> =>
  withNetCfg(async (netcfg) => granted(await netcfg.ask({ op: 'read' }, READ_LIMIT_MS), 'reading the bindings').bindings);

/** A lock that another program holds is no answer: never "not installed". */
export const isProtocolInstalled = async (): Promise<boolean> => (await readBindings()).installed;

export interface ProtocolChange {
  /** False where it was so already. */
  readonly changed: boolean;
  readonly rebootRequired: boolean;
}

/** Puts the INF file into the store and installs the protocol. Errors: `service.*`, `recording.unreadable` for no such file. */
export const installProtocol = (inf: string): Promise<ProtocolChange> =>
  withNetCfg(async (netcfg) => {
    const path = resolve(inf);
    if (!existsSync(path)) throw new NetkvmError('recording.unreadable', `${path} does not exist`);
    const now = granted(await netcfg.ask({ op: 'read' }, READ_LIMIT_MS), 'reading the bindings');
    if (now.bindings.installed) return { changed: false, rebootRequired: false };
    if (setupapi().copy(path, null, SPOST_PATH, 0, null, 0, null, null) === 0)
      throw new Win32Error(`putting ${path} into the store`, lastError());
    const request = { op: 'install', component: COMPONENT, wait_ms: LOCK_WAIT_MS } as const;
    const answer = granted(await netcfg.ask(request, CHANGE_LIMIT_MS), `installing ${COMPONENT}`);
    if (!answer.bindings.installed)
      throw new NetkvmError('service.refused', `${COMPONENT}: the system agreed, and did not install it.`);
    return { changed: true, rebootRequired: answer.reboot };
  });

/** Removes the protocol; `bound` VFs get their own protocols back from the service first. */
export const removeProtocol = (): Promise<ProtocolChange> =>
  withNetCfg(async (netcfg) => {
    const request = { op: 'uninstall', component: COMPONENT, wait_ms: LOCK_WAIT_MS } as const;
    const answer = await netcfg.ask(request, CHANGE_LIMIT_MS);
    if (!answer.ok && answer.why === 'gone') return { changed: false, rebootRequired: false };
    const { reboot } = granted(answer, `removing ${COMPONENT}`);
    return { changed: true, rebootRequired: reboot };
  });

const textOf = (path: string): string => {
  const bytes = readFileSync(path);
  if (bytes.length > INF_BYTES_MAX) return '';
  return bytes[0] === 0xff && bytes[1] === 0xfe ? bytes.toString('utf16le') : bytes.toString('latin1');
};

export interface RemovedInf {
  readonly name: string;
  /** Error of Windows; 0 for none. */
  readonly error: number;
}

/** Takes every INF of the protocol out of the store: those that name its catalog. */
export const removeProtocolInfs = (windir = process.env['windir'] ?? 'C:\\Windows'): readonly RemovedInf[] => {
  const folder = join(windir, 'INF');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^oem[0-9]+\.inf$/i.test(name))
    .filter((name) => textOf(join(folder, name)).toLowerCase().includes(`${FAILOVER_PROTOCOL}.cat`))
    .map((name) => ({ name, error: setupapi().uninstall(name, SUOI_FORCEDELETE, null) === 0 ? lastError() : 0 }));
};
