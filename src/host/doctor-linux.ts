// What `netkvm doctor` looks at on Linux: what this process may do, the kernel, and who else manages network interfaces. The
// checks that every system has, and what a check is, are in doctor-checks.ts.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckContext,
  type Checks,
  failed,
  type Found,
  log,
  MiB,
  node,
  ok,
  readOr,
  service,
  stateDir,
  warning,
} from './doctor-checks.ts';

interface LinuxContext extends CheckContext {
  /** Where /proc and /sys are; `/` but in tests. */
  readonly root: string;
}

/** Bits of CapEff, capabilities(7), proc_pid_status(5). */
const CAP = { netAdmin: 12n, sysNice: 23n, syslog: 34n } as const;
const may = (capability: keyof typeof CAP, root: string): boolean => {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readOr(join(root, 'proc/self/status'), ''))?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & (1n << CAP[capability])) !== 0n;
};
const mayAdministrate = (root: string): boolean => may('netAdmin', root);

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

const receiveBuffer = ({ configuration, root }: LinuxContext): Found => {
  const asked = configuration.settings.receiveBuffer_bytes;
  if (mayAdministrate(root)) return ok(`${MiB(asked)} asked for; CAP_NET_ADMIN may have it`);
  const limit = Number(readOr(join(root, 'proc/sys/net/core/rmem_max'), '0'));
  if (limit >= asked) return ok(`${MiB(asked)} asked for; net.core.rmem_max allows it`);
  return warning(
    `${MiB(asked)} asked for, ${limit} bytes to be had: a burst may overrun it (which is noticed and mended)`,
    'Run as root, or raise net.core.rmem_max.',
  );
};

const permissions = ({ configuration, root }: LinuxContext): Found => {
  if (mayAdministrate(root)) return ok('CAP_NET_ADMIN is there');
  if (configuration.policy.effects !== 'on') return ok('no CAP_NET_ADMIN: not needed while nothing is touched');
  return failed('effects = on, but there is no CAP_NET_ADMIN', 'Run as root, or grant the service CAP_NET_ADMIN.');
};

const kernel = ({ root }: LinuxContext): Found => {
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

const rivals = ({ configuration, root }: LinuxContext): Found => {
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

const members = ({ root }: LinuxContext): Found => {
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

const bonding = ({ configuration, root }: LinuxContext): Found => {
  if (hasBonding(root)) return ok('the kernel can make bonds');
  const wanted = configuration.policy.effects !== 'off' && configuration.policy.pairs.some(({ mode }) => mode === 'bond');
  if (!wanted) return ok('the kernel has no bonding: not needed as configured');
  return failed(
    'a pair is to be a bond, but this kernel has no bonding module',
    'Install the kernel with all modules (on Debian not the cloud one).',
  );
};

/** /dev/kmsg; with kernel.dmesg_restrict only CAP_SYSLOG may read it. */
const earlySigns = ({ configuration, root }: LinuxContext): Found => {
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

/** `root`: where /proc and /sys are. */
export const linuxChecks = (root = '/'): Checks => {
  const there =
    (check: (context: LinuxContext) => Found) =>
    (context: CheckContext): Found =>
      check({ ...context, root });
  return {
    node,
    foreignCalls,
    sockets,
    receiveBuffer: there(receiveBuffer),
    permissions: there(permissions),
    stateDir,
    log,
    service,
    kernel: there(kernel),
    bonding: there(bonding),
    earlySigns: there(earlySigns),
    rivals: there(rivals),
    members: there(members),
  };
};
