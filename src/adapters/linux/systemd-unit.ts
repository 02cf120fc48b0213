// The text of the systemd unit: the one source for `netkvm install` and for the Debian package. What is allowed is what the
// service needs and nothing else; each permission that is not refused says why. Pure.
// Sources: systemd.service(5), systemd.exec(5), systemd.resource-control(5), capabilities(7).
import type { Program } from '../installation.ts';

export const UNIT = 'netkvm-failover.service';
/** The hypervisor's side (`netkvm host`). It and the guest's service have one log folder, so they exclude each other. */
export const HOST_UNIT = 'netkvm-failover-host.service';
export const DEFAULT_STATE_DIR = '/var/lib/netkvm-failover';

/** What root may do here, and what for. */
export const CAPABILITIES: Readonly<Record<string, string>> = {
  CAP_NET_ADMIN: 'links, bonds, addresses and routes over rtnetlink, and a large receive buffer',
  CAP_NET_RAW: 'ARP probes and announcements on a packet socket',
  CAP_SYSLOG: 'the kernel log, which announces an unplug on native hotplug five seconds ahead',
};

/**
 * What real-time priority takes on top: a drop-in for those who want it, because it costs more exposure than it gains for
 * most. systemd adds it to what the unit says.
 */
export const REALTIME_DROP_IN = `\
[Service]
CapabilityBoundingSet=CAP_SYS_NICE
RestrictRealtime=no
SystemCallFilter=sched_setscheduler
`;

/** Folders below /run that the network managers read; coexistence files go there. */
export const RUN_FOLDERS = ['/run/systemd/network', '/run/systemd/networkd.conf.d', '/run/NetworkManager/conf.d'] as const;

/** Exit codes after which another attempt cannot help: usage, configuration, not permitted (src/events/errors.ts). */
const NO_RESTART = [2, 6, 8];

/** systemd.syntax(7): quotes, and `%` doubled; in an Exec line `$` too. */
const quoted = (word: string): string =>
  /^[\w/.@:+-]+$/.test(word) ? word : `"${word.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`;

const isBelowHome = (path: string): boolean => /^\/(home|root|run\/user)\//.test(path);

export interface UnitOptions {
  readonly program: Program;
  /** Folder of the log; one that is not the default has to be allowed. */
  readonly stateDir: string;
}

/** The unit file. */
export const unitText = ({ program: { node, script }, stateDir }: UnitOptions): string => `\
# Written by netkvm-failover; \`systemctl edit ${UNIT}\` adds to it.
[Unit]
Description=Failover controller for virtio-net
After=network.target
# Ten failures in ten minutes are enough: the kernel goes on with the last active slave.
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
# Readable for all, whatever the mask below: networkd is no root.
ExecStartPre=+/bin/mkdir -p -m 755 ${RUN_FOLDERS.join(' ')}
ExecStart=${quoted(node)} ${quoted(script)} run
SyslogIdentifier=netkvm
# The shell's own kill: a bare Debian has no /bin/kill.
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
# Fed by the loop that reads the kernel; a stuck one is killed and started again.
WatchdogSec=20
WatchdogSignal=SIGKILL
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=${NO_RESTART.join(' ')}
TimeoutStartSec=120
TimeoutStopSec=10
OOMScoreAdjust=-900

StateDirectory=netkvm-failover
StateDirectoryMode=0750
RuntimeDirectory=netkvm-failover
RuntimeDirectoryMode=0700
CacheDirectory=netkvm-failover
CacheDirectoryMode=0700
UMask=0077
${stateDir === DEFAULT_STATE_DIR ? '' : `ReadWritePaths=-${quoted(stateDir)}\n`}\
${RUN_FOLDERS.map((folder) => `ReadWritePaths=-${folder}\n`).join('')}\

# ${Object.entries(CAPABILITIES)
  .map(([name, meaning]) => `${name}: ${meaning}.`)
  .join('\n# ')}
CapabilityBoundingSet=${Object.keys(CAPABILITIES).join(' ')}
NoNewPrivileges=yes
RestrictAddressFamilies=AF_NETLINK AF_UNIX AF_INET AF_INET6 AF_PACKET
# Neither PrivateDevices nor ProtectKernelLogs: they would hide /dev/kmsg.
DevicePolicy=closed
DeviceAllow=/dev/kmsg r
# The channel to the hypervisor, org.netkvm.failover.0.
DeviceAllow=char-virtio-portsdev rw
ProtectSystem=strict
ProtectHome=${isBelowHome(node) || isBelowHome(script) ? 'read-only' : 'yes'}
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
# No MemoryDenyWriteExecute: V8 compiles while it runs.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`;

/** What root may do on a hypervisor, and what for. */
export const HOST_CAPABILITIES: Readonly<Record<string, string>> = {
  CAP_NET_ADMIN: 'VF MACs and forwarding entries over rtnetlink',
  CAP_DAC_OVERRIDE: 'the sockets of QEMUs, which run as users of their own',
};

/** Without an order between them systemd starts one while the other still has the log. */
const EXCLUSION = `Conflicts=${UNIT}\nAfter=${UNIT}\n`;

/** The unit of the hypervisor's side: the guest's, without what only a guest needs. */
export const hostUnitText = (options: UnitOptions): string => {
  const guest = Object.entries(CAPABILITIES).map(([name, meaning]) => `# ${name}: ${meaning}.\n`);
  const host = Object.entries(HOST_CAPABILITIES).map(([name, meaning]) => `# ${name}: ${meaning}.\n`);
  const lines = (text: string, ...names: readonly string[]): string =>
    names.reduce((kept, name) => kept.replaceAll(new RegExp(`^${name}.*\\n`, 'gm'), ''), text);
  return lines(
    unitText(options).replace(guest.join(''), host.join('')),
    '# Neither PrivateDevices',
    '# The channel to',
    'DeviceAllow',
    'ExecStartPre',
    'ReadWritePaths=-/run/',
    'CapabilityBoundingSet',
    'RestrictAddressFamilies',
  )
    .replace(
      'Description=Failover controller for virtio-net\n',
      `Description=Failover controller for virtio-net, beside QEMU\n${EXCLUSION}`,
    )
    .replace(` run\n`, ` host\n`)
    .replace(
      'NoNewPrivileges=yes\n',
      `CapabilityBoundingSet=${Object.keys(HOST_CAPABILITIES).join(' ')}\nNoNewPrivileges=yes\nRestrictAddressFamilies=AF_NETLINK AF_UNIX AF_INET AF_INET6\n`,
    )
    .replaceAll(UNIT + '`', HOST_UNIT + '`');
};
