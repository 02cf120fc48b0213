// The settings of the host process, with their defaults, ranges and meanings: the one list that the `[service]` table of
// the configuration file, its validation and its documentation are made from. The policy's own list, of the same shape,
// is PARAMETERS in src/machines/policy.ts; what the two have in common (choices, how a value is written) is here too.
import type { Parameters, Policy, TunedStage } from '../events/catalogue.ts';
import type { VmPolicy } from '../events/hosting.ts';
import { PARAMETERS } from '../machines/policy.ts';

export interface Setting {
  readonly initial: number | boolean | string;
  readonly min?: number;
  readonly max?: number;
  readonly meaning: string;
}

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Settings {
  readonly stateDir: string;
  readonly controlSocket: string;
  readonly logLevel: LogLevel;
  readonly survey_ms: number;
  readonly receiveBuffer_bytes: number;
  readonly realtimePriority: number;
  readonly checkpointEvents: number;
  readonly retentionEvents: number;
  readonly retentionDays: number;
  readonly metricsPort: number;
  readonly log: string;
  readonly forwardTo: string;
  readonly credentialsFile: string;
  readonly forwardedDays: number;
  readonly forwardedEvents: number;
}

/** Those that say where the log is. */
export type LogPlace = Pick<Settings, 'log' | 'credentialsFile' | 'stateDir'>;

export const SETTINGS: { readonly [K in keyof Settings]: Setting } = {
  stateDir: {
    initial: '',
    meaning:
      'Folder of the log. Empty: /var/lib/netkvm-failover for root, ~/.local/state/netkvm-failover (or below $XDG_STATE_HOME) for others, %ProgramData%\\netkvm-failover\\state on Windows.',
  },
  controlSocket: {
    initial: '',
    meaning:
      'Socket on which the service answers status, monitor and wait. Empty: /run/netkvm-failover/control.sock for the log of the system’s service, otherwise control.sock in the folder of the log; on Windows a named pipe, named after that folder.',
  },
  logLevel: { initial: 'info', meaning: 'Least severity of the lines that the service writes about itself.' },
  survey_ms: {
    initial: 60_000,
    min: 1000,
    max: 86_400_000,
    meaning: 'Pause between two full looks at the system, which are taken even when nothing seems to happen.',
  },
  receiveBuffer_bytes: {
    initial: 33_554_432,
    min: 65_536,
    max: 268_435_456,
    meaning: 'Receive buffer of each kernel socket. Without CAP_NET_ADMIN the kernel caps it at net.core.rmem_max.',
  },
  realtimePriority: {
    initial: 0,
    min: 0,
    max: 50,
    meaning:
      'Linux: real-time priority (SCHED_FIFO) of the service while a primary with a PTP clock carries; 0: none. The clock’s removal announces the primary’s: with a priority the switch comes in time, without one mostly too late. It takes CAP_SYS_NICE.',
  },
  checkpointEvents: {
    initial: 20_000,
    min: 100,
    max: 1_000_000,
    meaning: 'Events after which the folded state is written as a checkpoint. Pruning keeps whole segments between checkpoints.',
  },
  retentionEvents: {
    initial: 1_000_000,
    min: 1000,
    max: 1_000_000_000,
    meaning: 'Events that the log keeps at most, rounded up to a whole segment; the oldest are pruned.',
  },
  retentionDays: {
    initial: 90,
    min: 1,
    max: 36_500,
    meaning: 'Days after which an event is pruned, with its whole segment.',
  },
  metricsPort: {
    initial: 0,
    min: 0,
    max: 65_535,
    meaning: 'Port on 127.0.0.1 at which Prometheus finds the metrics (/metrics); 0: none.',
  },
  log: {
    initial: '',
    meaning:
      'Where the log is. Empty: embedded, in stateDir. `kurrentdb://HOST…`: on that server, for a host whose management network is not the one that is switched.',
  },
  forwardTo: {
    initial: '',
    meaning:
      'KurrentDB server that gets a copy of the embedded log, `kurrentdb://HOST:2113` or `kurrentdb+discover://HOST`. Empty: none.',
  },
  credentialsFile: {
    initial: '',
    meaning: 'File with one line `user:password` for that server, not readable by everybody. Empty: none.',
  },
  forwardedDays: {
    initial: 90,
    min: 0,
    max: 36_500,
    meaning: 'Days after which the server may drop an event of the copy ($maxAge); 0 for never.',
  },
  forwardedEvents: {
    initial: 1_000_000,
    min: 0,
    max: 1_000_000_000,
    meaning: 'Events of the copy that the server keeps at most ($maxCount); 0 for all.',
  },
};

// The parameters' types name their choices; this list is checked against the type in both directions, without loading
// the schemas (they cost more start-up time than the rest of a short command).
const effects: { readonly [K in Policy['effects']]: true } = { off: true, dryRun: true, on: true };

/** Keys whose value is one of a few words. */
const CHOICES: Readonly<Record<string, readonly string[]>> = { effects: Object.keys(effects), logLevel: LOG_LEVELS };

/** What a pair may say besides its MAC. */
export const PAIR_KEYS = {
  mac: 'MAC that standby and primary have in common. Required; each MAC once.',
  standbyName: 'Interface name of the standby, where no bus tells which of the two it is.',
  primaryName: 'Interface name of the primary, likewise.',
  mode: 'auto (unless given): a bond that is there is steered, net_failover is watched, and nothing is made. bond: where nothing joins the two, the NIC is taken over into an active-backup bond. kernel: net_failover switches, and a bond is left alone.',
  bond: 'Name of the bond that is made, at most 15 characters. Unless given: fo and the last six digits of the MAC.',
  probe:
    'IP addresses, at most 8, of which one must answer when the NIC has been taken over; otherwise it is given back. Unless given: the default gateways.',
  confirm_ms: 'How long the answer may take, from 100 to 60000; 5000 unless given.',
  parameters: 'Parameters that every new primary is given before it carries; see below.',
  standbyParameters:
    'Parameters that the standby has in a stage, given back when the pair leaves it: standbyParameters.fallback, standbyParameters.onPrimary; see below.',
} as const satisfies Record<keyof Policy['pairs'][number], string>;

const modes: { readonly [K in NonNullable<Policy['pairs'][number]['mode']>]: true } = { auto: true, kernel: true, bond: true };
export const PAIR_MODES = Object.keys(modes) as (keyof typeof modes)[];
export const PROBES_MAX = 8;

/** `parameters` of a pair: what a primary can be given. */
export const PARAMETER_KEYS = {
  mtu: 'MTU (under a bond the bond’s MTU holds, and this must be the same). "standby": what the standby has when the primary comes.',
  txQueue: 'Length of the transmit queue (ip link, txqueuelen).',
  rxRing: 'Entries of the receive ring (ethtool -G).',
  txRing: 'Entries of the transmit ring (ethtool -G).',
  channels: 'Combined channels (ethtool -L).',
  features: 'Offloads by the kernel’s names (ethtool -k), each true or false: { "rx-gro" = false }.',
  inf: 'Windows: driver parameters by the names of `netkvm show parameters`: { "*ReceiveBuffers" = "1024" }.',
} as const satisfies Record<keyof Parameters, string>;
/** `standbyParameters`: neither what is the pair's own (the MTU) nor what restarts the device is a matter of a stage. */
export const STANDBY_KEYS = Object.keys(PARAMETER_KEYS).filter((name) => name !== 'mtu' && name !== 'inf');
const stages: { readonly [K in TunedStage]: true } = { fallback: true, onPrimary: true };
export const STANDBY_STAGES = Object.keys(stages);
export const PARAMETER_RANGES: Readonly<Record<Exclude<keyof Parameters, 'features' | 'inf'>, readonly [number, number]>> = {
  mtu: [68, 65_535],
  txQueue: [0, 1_000_000],
  rxRing: [1, 1_000_000],
  txRing: [1, 1_000_000],
  channels: [1, 1024],
};

/** `[[vms]]`: what the hypervisor's side (`netkvm host`) knows of a guest's pair. */
export const VM_KEYS = {
  mac: 'MAC of the pair. Required; each MAC once.',
  qmp: 'QMP socket of the guest’s QEMU, for this program alone: a second monitor beside libvirt’s. Required.',
  standby: 'QEMU’s id of the standby (virtio-net). Required.',
  primary: 'QEMU’s id of the primary. Required.',
  pf: 'Physical function on this host that the VF belongs to; with `vf`.',
  vf: 'Number of the VF on it, from 0.',
  port: 'Instead of pf and vf, to try things without SR-IOV: the bridge port that stands in for the VF.',
  tap: 'Tap of the standby, which gets a forwarding entry while the VF is hidden; with `bridge`.',
  bridge: 'Bridge that the tap is a port of. With it, pf gets a forwarding entry, too.',
  channel: 'Socket behind the guest’s virtio port org.netkvm.failover.0. Unless given: the guest is not spoken to.',
  parking: 'MAC of the VF while it is hidden. Unless given: a locally administered one made of the pair’s.',
  plug: 'Arguments of device_add for the primary, as JSON. Without them this program cannot plug it.',
  readOnly: 'true: the monitor is only listened to; nothing is migrated, cancelled, plugged or unplugged.',
  onOverdue: 'When the unplug of a migration is overdue or refused. alarm (unless given): a finding. cancel: the migration, too.',
  unplugLimit_ms: 'After how long an unplug is overdue, from 100 to 3600000; 30000 unless given.',
  prepareLimit_ms: 'How long the guest may take to move its traffic, from 100 to 60000; 5000 unless given.',
  returnLimit_ms:
    'After how long a primary that was plugged is taken to be in use where the guest does not say so, from 100 to 3600000; 10000 unless given.',
} as const satisfies Record<keyof VmPolicy, string>;
const overdue: { readonly [K in NonNullable<VmPolicy['onOverdue']>]: true } = { alarm: true, cancel: true };
export const OVERDUE_ACTIONS = Object.keys(overdue) as (keyof typeof overdue)[];
export const VMS_MAX = 256;

/** At most as many pairs as the policy's schema allows. */
export const PAIRS_MAX = 256;

export interface Key extends Setting {
  readonly table: 'service' | 'policy';
  readonly name: string;
  readonly choices?: readonly string[];
}

const keysOf = (table: Key['table'], list: Readonly<Record<string, Setting>>): Key[] =>
  Object.entries(list).map(([name, setting]) => {
    const choices = CHOICES[name];
    return { table, name, ...setting, ...(choices ? { choices } : {}) };
  });

/** Every key of both tables, in the order in which they are shown. */
export const KEYS: readonly Key[] = [...keysOf('service', SETTINGS), ...keysOf('policy', PARAMETERS)];

/** What values a key takes, in words: `a number from 0 to 3600000`. */
export const rangeOf = ({ initial, min, max, choices }: Omit<Key, 'table' | 'name'>): string => {
  if (choices) return `one of ${choices.join(', ')}`;
  if (typeof initial === 'boolean') return 'true or false';
  if (typeof initial === 'string') return 'a text of at most 4096 characters';
  return `a whole number from ${min ?? 0} to ${max ?? Number.MAX_SAFE_INTEGER}`;
};

/** Whether `value` is within a key's type and range. */
export const fits = ({ initial, min, max, choices }: Key, value: unknown): value is number | boolean | string => {
  if (typeof value !== typeof initial) return false;
  if (typeof value === 'number')
    return Number.isInteger(value) && value >= (min ?? 0) && value <= (max ?? Number.MAX_SAFE_INTEGER);
  if (typeof value === 'string') return choices ? choices.includes(value) : value.length <= 4096 && !value.includes('\0');
  return true;
};

/** Names of the keys that have other values in `other`. */
export const differing = <T extends object>(one: T, other: T): (keyof T & string)[] =>
  (Object.keys(one) as (keyof T & string)[]).filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]));
