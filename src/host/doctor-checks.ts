// What `netkvm doctor` looks at, one function a check. Every check only reads; what it throws counts as failed, so that one
// broken part hides no other. The adapters are loaded inside their checks for the same reason.
import { accessSync, constants, existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ERRORS, NetkvmError } from '../events/errors.ts';
import type { Configuration } from './config.ts';
import { ping } from './control-client.ts';

export type CheckResult = 'ok' | 'warning' | 'failed';

export interface Check {
  readonly name: string;
  readonly result: CheckResult;
  /** What was found, one line. */
  readonly text: string;
  /** What to do about it; null when there is nothing to do. */
  readonly todo: string | null;
}

export interface CheckContext {
  readonly configuration: Configuration;
  /** Where /proc and /sys are; `/` but in tests. */
  readonly root: string;
  /** The log's integrity is checked in full only up to this size. */
  readonly thorough_bytes: number;
}

type Found = Omit<Check, 'name'>;
const ok = (text: string): Found => ({ result: 'ok', text, todo: null });
const warning = (text: string, todo: string): Found => ({ result: 'warning', text, todo });
const failed = (text: string, todo: string): Found => ({ result: 'failed', text, todo });

const readOr = (path: string, otherwise: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
};

const MiB = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`;

/** Bits of CapEff, capabilities(7), proc_pid_status(5). */
const CAP = { netAdmin: 12n, sysNice: 23n, syslog: 34n } as const;
const may = (capability: keyof typeof CAP, root: string): boolean => {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readOr(join(root, 'proc/self/status'), ''))?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & (1n << CAP[capability])) !== 0n;
};
const mayAdministrate = (root: string): boolean => may('netAdmin', root);

const node = (): Found => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fine = major > 22 || (major === 22 && minor >= 18);
  return fine ? ok(`Node ${process.versions.node}`) : failed(`Node ${process.versions.node}`, 'Install Node 22.18 or newer.');
};

const foreignCalls = async (): Promise<Found> => {
  const { libc } = await import('../adapters/linux/libc.ts');
  libc();
  return ok('koffi is loaded and finds the C library');
};

const sockets = async ({ configuration }: CheckContext): Promise<Found> => {
  const { NetlinkSockets } = await import('../adapters/linux/netlink.ts');
  new NetlinkSockets(configuration.settings.receiveBuffer_bytes).close();
  return ok('rtnetlink and uevent sockets open');
};

const receiveBuffer = ({ configuration, root }: CheckContext): Found => {
  const asked = configuration.settings.receiveBuffer_bytes;
  if (mayAdministrate(root)) return ok(`${MiB(asked)} asked for; CAP_NET_ADMIN may have it`);
  const limit = Number(readOr(join(root, 'proc/sys/net/core/rmem_max'), '0'));
  if (limit >= asked) return ok(`${MiB(asked)} asked for; net.core.rmem_max allows it`);
  return warning(
    `${MiB(asked)} asked for, ${limit} bytes to be had: a burst may overrun it (which is noticed and mended)`,
    'Run as root, or raise net.core.rmem_max.',
  );
};

const permissions = ({ configuration, root }: CheckContext): Found => {
  if (mayAdministrate(root)) return ok('CAP_NET_ADMIN is there');
  if (configuration.policy.effects !== 'on') return ok('no CAP_NET_ADMIN: not needed while nothing is touched');
  return failed('effects = on, but there is no CAP_NET_ADMIN', 'Run as root, or grant the service CAP_NET_ADMIN.');
};

const existing = (path: string): string => (existsSync(path) || dirname(path) === path ? path : existing(dirname(path)));

const stateDir = ({ configuration }: CheckContext): Found => {
  const folder = configuration.settings.stateDir;
  const there = existing(folder);
  try {
    accessSync(there, constants.W_OK | constants.X_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return failed(`${there}: ${code}`, 'Run as the owner, or name another folder with --state-dir or stateDir.');
  }
  const { bavail, bsize } = statfsSync(there);
  if (bavail * bsize < 104_857_600)
    return warning(`${folder}: only ${MiB(bavail * bsize)} free`, 'Make room, or lower retentionEvents.');
  return ok(there === folder ? `${folder} can be written, ${MiB(bavail * bsize)} free` : `${folder} will be made`);
};

const remoteLog = async (configuration: Configuration): Promise<Found> => {
  const { openLogOf } = await import('./look.ts');
  const reader = await openLogOf(configuration);
  try {
    return ok(`${reader.path}: events ${reader.first()} to ${reader.head()}`);
  } finally {
    reader.close();
  }
};

const log = async ({ configuration, thorough_bytes }: CheckContext): Promise<Found> => {
  if (configuration.settings.log !== '') return remoteLog(configuration);
  const [{ databaseIn, openReader }, { inspect, sizeOf }] = await Promise.all([
    import('../adapters/log/sqlite.ts'),
    import('../adapters/log/schema.ts'),
  ]);
  const path = databaseIn(configuration.settings.stateDir);
  if (!existsSync(path)) return ok(`${path} does not exist yet`);
  const bytes = sizeOf(path);
  const finding = inspect(path, bytes <= thorough_bytes);
  if (finding.kind === 'damaged') {
    return failed(`${path}: ${finding.reason}`, 'Export what can be read; the service sets the file aside at its next start.');
  }
  const reader = openReader(configuration.settings.stateDir);
  const text = `${path}: events ${reader.first()} to ${reader.head()}, ${MiB(bytes)}`;
  reader.close();
  return ok(
    text + (bytes <= thorough_bytes ? ', integrity checked' : ', too large for a quick check: netkvm log verify reads it all'),
  );
};

const service = async ({ configuration }: CheckContext): Promise<Found> => {
  const path = configuration.settings.controlSocket;
  const { alive, pid } = await ping(path, 1000);
  if (pid !== null) return ok(`process ${pid} answers at ${path}`);
  if (alive) return failed(`${path}: something is there and does not answer`, 'Look at the lines of the service; restart it.');
  const owner = readOr(join(configuration.settings.stateDir, 'netkvm.pid'), '').trim();
  const trace = /^[0-9]+$/.test(owner) ? ` (process ${owner} was the last to write the log, and did not end cleanly)` : '';
  return warning(`no service answers at ${path}${trace}`, 'Start it with `netkvm run`.');
};

const kernel = ({ root }: CheckContext): Found => {
  const release = readOr(join(root, 'proc/sys/kernel/osrelease'), 'unknown').trim();
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const modules = ['virtio_net', 'net_failover', 'failover', 'bonding'].filter((name) =>
    existsSync(join(root, 'sys/module', name)),
  );
  const text = `Linux ${release}; of virtio_net, net_failover, failover, bonding there are ${modules.join(', ') || 'none'}`;
  // net_failover came with 4.17; the permanent MAC in rtnetlink with 5.6, the parent device with 5.14.
  if (Number(major) * 1000 + Number(minor) >= 5006) return ok(text);
  return warning(text, 'Before Linux 5.6 the kernel does not tell permanent MACs: name the members of each pair in [[pairs]].');
};

/** Names as /proc/PID/comm has them, cut to 15 characters; each may move addresses, links or members of its own accord. */
const RIVALS: Readonly<Record<string, string>> = {
  NetworkManager: 'NetworkManager',
  'systemd-network': 'systemd-networkd',
  teamd: 'teamd',
  connmand: 'connmand',
  wickedd: 'wickedd',
  dhcpcd: 'dhcpcd',
};

/** Those that are told of a bond when one is made (docs/service.md). */
const TOLD = new Set(['NetworkManager', 'systemd-networkd']);

const rivals = ({ configuration, root }: CheckContext): Found => {
  const found = new Map<string, string>();
  for (const pid of readdirSync(join(root, 'proc')).filter((name) => /^[0-9]+$/.test(name))) {
    const name = RIVALS[readOr(join(root, 'proc', pid, 'comm'), '').trim()];
    if (name !== undefined) found.set(`${name} (${pid})`, name);
  }
  if (found.size === 0) return ok('nothing else manages network interfaces');
  const text = `running: ${[...found.keys()].join(', ')}`;
  if (configuration.policy.effects === 'off') return ok(`${text}; no matter while nothing is touched`);
  if ([...found.values()].every((name) => TOLD.has(name))) return ok(`${text}; told of a bond when one is made`);
  return warning(text, 'Tell it to leave the members of the configured pairs alone: it is not told of a bond.');
};

/** Whoever configures a member of a net_failover trio or of a bond, as its files below /run say; null when nobody does. */
const configuredBy = (root: string, name: string): string | null => {
  const ifindex = readOr(join(root, 'sys/class/net', name, 'ifindex'), '').trim();
  const networkd = readOr(join(root, 'run/systemd/netif/links', ifindex), '');
  const file = /^NETWORK_FILE=(.+)$/m.exec(networkd)?.[1];
  if (file !== undefined && /^ADMIN_STATE=config/m.test(networkd)) return `${name}: systemd-networkd, by ${file}`;
  const device = readOr(join(root, 'run/NetworkManager/devices', ifindex), '');
  const connection = /^connection-uuid=(.+)$/m.exec(device)?.[1];
  if (connection !== undefined && /^managed=true$/m.test(device)) return `${name}: NetworkManager, by connection ${connection}`;
  return null;
};

const members = ({ root }: CheckContext): Found => {
  const folder = join(root, 'sys/class/net');
  const there = (name: string, file: string): string => readOr(join(folder, name, file), '').trim();
  const all = (existsSync(folder) ? readdirSync(folder) : []).filter((name) => {
    const isMember = there(name, 'master/address') === there(name, 'address') && !existsSync(join(folder, name, 'brport'));
    return isMember && there(name, 'address') !== '';
  });
  const taken = all.map((name) => configuredBy(root, name)).filter((one) => one !== null);
  if (taken.length > 0)
    return warning(
      taken.join('; '),
      'Make it leave the members alone and configure their master (Unmanaged=yes, unmanaged-devices; docs/service.md).',
    );
  return ok(
    all.length === 0 ? 'no interface is a member of a pair yet' : `${all.join(', ')}: configured by nobody but their master`,
  );
};

/** A module that is loaded, or that the kernel would load for the first bond (modules.dep, modules.builtin). */
const hasBonding = (root: string): boolean => {
  if (existsSync(join(root, 'sys/module/bonding'))) return true;
  const folder = join(root, 'lib/modules', readOr(join(root, 'proc/sys/kernel/osrelease'), '').trim());
  return ['modules.dep', 'modules.builtin'].some((file) => /(^|\/)bonding\.ko/m.test(readOr(join(folder, file), '')));
};

const bonding = ({ configuration, root }: CheckContext): Found => {
  if (hasBonding(root)) return ok('the kernel can make bonds');
  const wanted = configuration.policy.effects !== 'off' && configuration.policy.pairs.some(({ mode }) => mode === 'bond');
  if (!wanted) return ok('the kernel has no bonding: not needed as configured');
  return failed(
    'a pair is to be a bond, but this kernel has no bonding module',
    'Install the kernel with all modules (on Debian not the cloud one).',
  );
};

/** /dev/kmsg; with kernel.dmesg_restrict only CAP_SYSLOG may read it. */
const earlySigns = ({ configuration, root }: CheckContext): Found => {
  const free = readOr(join(root, 'proc/sys/kernel/dmesg_restrict'), '0').trim() === '0';
  const heard = free || may('syslog', root);
  const { realtimePriority } = configuration.settings;
  if (realtimePriority > 0 && !may('sysNice', root))
    return warning(
      `realtimePriority = ${realtimePriority}, but there is no CAP_SYS_NICE`,
      'Grant the service CAP_SYS_NICE, or LimitRTPRIO.',
    );
  if (heard) return ok('the kernel’s log can be read: it announces an unplug on native hotplug 5 s ahead');
  if (configuration.policy.effects === 'off') return ok('the kernel’s log cannot be read; no matter while nothing is touched');
  return warning(
    'the kernel’s log cannot be read, which announces an unplug on native hotplug 5 s ahead',
    'Grant the service CAP_SYSLOG.',
  );
};

const LINUX_CHECKS: Readonly<Record<string, (context: CheckContext) => Found | Promise<Found>>> = {
  node,
  foreignCalls,
  sockets,
  receiveBuffer,
  permissions,
  stateDir,
  log,
  service,
  kernel,
  bonding,
  earlySigns,
  rivals,
  members,
};

const runOne = async (
  name: string,
  check: (context: CheckContext) => Found | Promise<Found>,
  context: CheckContext,
): Promise<Check> => {
  try {
    return { name, ...(await check(context)) };
  } catch (error) {
    if (error instanceof NetkvmError)
      return { name, ...failed(`${error.message.split('\n', 1)[0]!} [${error.code}]`, ERRORS[error.code].cure) };
    const line = error instanceof Error ? error.message : String(error);
    return { name, ...failed(line.split('\n', 1)[0]!, 'Reinstall with `npm ci`; if that does not help, report it.') };
  }
};

/** Every check in order; none throws. */
export const runChecks = async (context: CheckContext): Promise<Check[]> => {
  const checks: Check[] = [];
  for (const [name, check] of Object.entries(LINUX_CHECKS)) checks.push(await runOne(name, check, context));
  return checks;
};
