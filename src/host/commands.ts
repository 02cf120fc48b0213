// Every command of `netkvm`, in one list (those about parameters: parameters/commands.ts): what it is for, its options with their ranges, examples and exit codes. Parsing
// (arguments.ts), help (commands/help.ts) and docs/commands.md are made from it; cli.ts runs them.
import { DATAPATHS, HOST_STAGES, STAGES } from '../machines/stages.ts';
import type { Command, Option } from './command.ts';
import { CONFIG, JSON_OUT, LOG_OPTIONS, STATE_DIR } from './options.ts';
import { PARAMETER_COMMANDS } from './parameters/commands.ts';
import { LOG_LEVELS } from './settings.ts';

/** Of a guest's pair and of a hypervisor's; some names are in both lists. */
const WAITED_STAGES = [...new Set([...STAGES, ...HOST_STAGES])];
const PAIR: Option = { name: 'pair', value: 'MAC', meaning: 'Only the pair with this MAC.' };
const OUTPUT: Option = { name: 'output', short: 'o', value: 'FILE', meaning: 'Write to this file instead of standard output.' };
const TIMEOUT = (initial: string): Option => ({
  name: 'timeout',
  value: 'SECONDS',
  range: [0, 86_400],
  fraction: true,
  meaning: `Give up after this long; ${initial} unless given.`,
});
const HTML: Option = {
  name: 'html',
  value: 'OUT',
  meaning: 'Write the inspector’s page with this log in it, to attach to a report.',
};
const SEQ = [1, Number.MAX_SAFE_INTEGER] as const;
const FLEET_OPTIONS: readonly Option[] = [
  {
    name: 'server',
    value: 'URL',
    meaning: 'KurrentDB server, instead of the one that the configuration names (forwardTo, or log).',
  },
  { name: 'credentials', value: 'FILE', meaning: 'File with one line user:password, instead of the configured one.' },
  { name: 'log', value: 'ID', meaning: 'Only the log with this id.' },
  { name: 'vm', value: 'NAME', meaning: 'Only logs of machines with this name.' },
  {
    name: 'category',
    meaning: 'Read the links of $ce-netkvm, which the server’s projection $by_category makes, instead of filtering $all.',
  },
  CONFIG,
  JSON_OUT,
];
const CHECKPOINT: Option = {
  name: 'checkpoint',
  value: 'FILE',
  meaning: 'Go on behind the place that this file holds (no file: from the beginning), and keep the new place there.',
};
const FLEET_EXCLUSIVE = [
  ['log', 'vm'],
  ['log', 'category'],
] as const;

export const PLATFORM_NAMES = ['auto', 'linux', 'windows', 'recording', 'simulated'] as const;

export const COMMANDS: readonly Command[] = [
  {
    name: 'run',
    summary: 'Run the guest service: watch, record, decide, until SIGTERM or Ctrl-C.',
    options: [
      { name: 'observe', meaning: 'Decide nothing and touch nothing, whatever the configuration says.' },
      { name: 'dry-run', meaning: 'Decide, but perform nothing: each decision is recorded as void.' },
      CONFIG,
      STATE_DIR,
      { name: 'platform', value: 'NAME', choices: PLATFORM_NAMES, meaning: 'Where the events come from; auto is this system.' },
      { name: 'recording', value: 'FILE', meaning: 'The raw capture that the platform `recording` plays.' },
      {
        name: 'speed',
        value: 'FACTOR',
        range: [0, 1_000_000],
        fraction: true,
        meaning: 'Pace of the platform `recording`: 1 is the recorded pace, 0 as fast as possible.',
      },
      {
        name: 'scenario',
        value: 'NAME',
        meaning: 'What happens to the guest of the platform `simulated`; `failover` unless given. A wrong name lists them.',
      },
      {
        name: 'seed',
        value: 'N',
        range: [0, 4_294_967_295],
        meaning: 'What happens by chance in the simulated guest; 1 unless given. The same seed is the same guest.',
      },
      { name: 'service', meaning: 'Windows: run as the service that the service control manager starts; nothing else does.' },
      { name: 'log-level', value: 'LEVEL', choices: LOG_LEVELS, meaning: 'Least severity of the lines that are written.' },
      { name: 'json', meaning: 'Write log lines as JSON on a terminal, too.' },
    ],
    exclusive: [['observe', 'dry-run']],
    examples: [
      ['netkvm run --observe', 'watch this machine and touch nothing'],
      ['netkvm run --dry-run --config ./pairs.toml', 'see what would be done'],
      ['netkvm run --platform recording --recording guest.jsonl', 'play a raw capture through the service'],
      ['netkvm run --platform simulated --scenario failover', 'watch the service fail over by itself'],
    ],
    exits: ['done', 'fault', 'usage', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'status',
    summary: 'Show the pairs with stage, datapath and reason; reads the log when the service is down.',
    options: [PAIR, ...LOG_OPTIONS],
    examples: [
      ['netkvm status', 'all pairs'],
      ['netkvm status --json', 'the same for a script'],
    ],
    exits: ['done', 'usage', 'degraded', 'notRunning', 'configuration', 'damaged', 'notPermitted'],
  },
  {
    name: 'monitor',
    summary: 'Print events as they are recorded, until Ctrl-C.',
    options: [
      { name: 'from', value: 'SEQ', range: SEQ, meaning: 'Begin at this sequence number instead of now.' },
      PAIR,
      ...LOG_OPTIONS,
    ],
    examples: [
      ['netkvm monitor', 'what happens from now on'],
      ['netkvm monitor --from 1 --json', 'everything so far, and on'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted'],
  },
  {
    name: 'wait',
    summary: 'Wait until a pair (or, without --pair, every pair) has a stage or a datapath.',
    options: [
      PAIR,
      {
        name: 'stage',
        value: 'STAGE',
        choices: WAITED_STAGES,
        meaning: 'The stage to wait for, of a guest’s pair or of a hypervisor’s.',
      },
      { name: 'datapath', value: 'PATH', choices: DATAPATHS, meaning: 'The datapath to wait for.' },
      TIMEOUT('60'),
      ...LOG_OPTIONS,
    ],
    examples: [['netkvm wait --datapath primary --timeout 30', 'until every pair is on its primary']],
    exits: ['done', 'usage', 'timedOut', 'notRunning', 'configuration', 'damaged', 'notPermitted'],
  },
  {
    name: 'prepare',
    summary: 'Move the traffic to the standby now, because the primary is about to be unplugged.',
    options: [PAIR, TIMEOUT('5'), ...LOG_OPTIONS],
    examples: [['netkvm prepare', 'returns when the standby carries']],
    exits: ['done', 'usage', 'timedOut', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'restore',
    summary: 'Give back everything that was changed, and leave the pair alone until a reload (SIGHUP) or a reboot.',
    options: [PAIR, TIMEOUT('60'), ...LOG_OPTIONS],
    examples: [
      ['netkvm restore', 'bonds, addresses and parameters are again what they were; works with the service down, too'],
      ['netkvm restore --pair 52:54:00:11:22:33', 'one pair only'],
    ],
    exits: ['done', 'usage', 'timedOut', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'host',
    summary: 'Run the hypervisor’s side: watch QEMUs, park VF MACs, speak with guests, until SIGTERM or Ctrl-C.',
    options: [
      { name: 'qmp', value: 'SOCKET', meaning: 'QMP socket of one guest, instead of the [[vms]] of the configuration file.' },
      {
        name: 'pair',
        value: 'SPEC',
        meaning: 'Its pair: standby=ID,primary=ID,pf=IFACE,vf=N,mac=MAC; port=IFACE instead of pf and vf where there is no VF.',
      },
      { name: 'tap', value: 'IFACE', meaning: 'Tap of the standby, which gets a forwarding entry while the VF is hidden.' },
      { name: 'bridge', value: 'IFACE', meaning: 'Bridge that the tap is a port of.' },
      { name: 'channel', value: 'SOCKET', meaning: 'Socket behind the guest’s virtio port org.netkvm.failover.0.' },
      { name: 'plug', value: 'JSON', meaning: 'Arguments of device_add for the primary.' },
      { name: 'read-only', meaning: 'Only listen to the monitor: nothing is migrated, cancelled, plugged or unplugged.' },
      { name: 'observe', meaning: 'Decide nothing and touch nothing, whatever the configuration says.' },
      { name: 'dry-run', meaning: 'Decide, but perform nothing: each decision is recorded as void.' },
      CONFIG,
      STATE_DIR,
      { name: 'log-level', value: 'LEVEL', choices: LOG_LEVELS, meaning: 'Least severity of the lines that are written.' },
      { name: 'json', meaning: 'Write log lines as JSON on a terminal, too.' },
    ],
    exclusive: [['observe', 'dry-run']],
    examples: [
      ['netkvm host', 'every guest that the file lists under [[vms]]'],
      ['netkvm host --qmp /run/vm.qmp --pair SPEC', 'one guest'],
    ],
    exits: ['done', 'fault', 'usage', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'host migrate',
    summary: 'Migrate a guest: reserve the target’s VF, let the guest move its traffic, migrate, verify, report.',
    options: [
      { name: 'source', value: 'SOCKET', meaning: 'Control socket of the source’s `netkvm host`. Required.' },
      { name: 'target', value: 'SOCKET', meaning: 'Control socket of the target’s, brought here by ssh for example. Required.' },
      { name: 'pair', value: 'MAC', meaning: 'The guest, by the MAC of its pair. Required.' },
      { name: 'uri', value: 'URI', meaning: 'Where the source’s QEMU sends the guest, and the target’s waits. Required.' },
      { name: 'dry-run', meaning: 'Check both sides and say what would be done.' },
      TIMEOUT('600'),
      { name: 'json', meaning: 'Print progress and report as JSON lines with a schemaVersion.' },
    ],
    examples: [['netkvm host migrate --source a.sock --target b.sock --pair 525400112233 --uri tcp:b:1', 'all of it']],
    exits: ['done', 'usage', 'timedOut', 'degraded', 'notRunning', 'refused'],
  },
  {
    name: 'explain',
    summary: 'Say why a pair is where it is: the facts, the reasons, the events that led there.',
    positionals: [{ name: 'FILE', meaning: 'A recording or a raw capture; without it the log is explained.' }],
    options: [
      PAIR,
      { name: 'at', value: 'SEQ', range: SEQ, meaning: 'As of this sequence number instead of now.' },
      ...LOG_OPTIONS,
    ],
    examples: [['netkvm explain --pair 52:54:00:11:22:33', 'why is it on the standby?']],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'doctor',
    summary: 'Check this machine and this installation, and say what to do about each trouble.',
    options: LOG_OPTIONS,
    examples: [['netkvm doctor', 'before the first run, and when something is wrong']],
    exits: ['done', 'usage', 'degraded'],
  },
  {
    name: 'replay',
    summary: 'Fold a recording or a raw capture again and print what happened, with findings.',
    positionals: [{ name: 'FILE', required: true, meaning: 'A recording or a raw capture; - is standard input.' }],
    options: [
      { name: 'until', value: 'SEQ', range: SEQ, meaning: 'Stop after this sequence number (raw capture: line number n).' },
      { name: 'config', value: 'FILE', meaning: 'Policy for a raw capture; a recording carries its own.' },
      {
        name: 'with',
        value: 'CONFIG',
        meaning: 'What would have been otherwise under this policy; what the file does not name stays as the log has it.',
      },
      { name: 'diff', value: 'FILE', meaning: 'Where this other log parts from the first: states, decisions, durations.' },
      HTML,
      JSON_OUT,
    ],
    exclusive: [['with', 'diff']],
    examples: [
      ['netkvm replay migration.jsonl', 'the life cycle, one line a change'],
      ['netkvm replay - --json < guest.jsonl', 'one JSON document'],
      ['netkvm replay migration.jsonl --with patient.toml', 'what a longer grace time would have done'],
      ['netkvm replay case.jsonl --html case.html', 'statechart, lanes and time travel in one file'],
    ],
    exits: ['done', 'usage', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'inspect',
    summary: 'Serve the inspector’s page on this machine: statechart, lanes, time travel; live, or of a file.',
    positionals: [
      {
        name: 'FILE',
        words: 16,
        meaning:
          'A recording or a raw capture, with captures of QEMU’s monitor on its hosts and losses of packets; without any the log is followed.',
      },
    ],
    options: [
      { name: 'port', value: 'N', range: [0, 65_535], meaning: 'Port on 127.0.0.1; any free one unless given.' },
      { name: 'origin', value: 'ORIGIN', meaning: 'Let pages of this origin connect to the socket for xstate’s inspectors.' },
      { name: 'feed', value: 'URL', meaning: 'Send the pairs to this receiver of xstate’s inspection protocol, too.' },
      ...LOG_OPTIONS,
    ],
    examples: [
      ['netkvm inspect', 'follow the running service'],
      ['netkvm inspect guest.jsonl --port 8090', 'a raw capture, under a fixed port'],
      ['netkvm inspect guest.jsonl qmp-A.jsonl qmp-B.jsonl', 'a guest, and what its hosts did meanwhile'],
      ['netkvm inspect --feed ws://localhost:8080', 'into Stately’s viewer; see docs/inspector.md'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'timeline',
    summary: 'Put guests and their hypervisors on one axis, with the figures of each migration.',
    positionals: [
      {
        name: 'FILE',
        required: true,
        words: 16,
        meaning:
          'Recordings or raw captures of guests, captures of QEMU’s monitor on source and target, losses of packets; in any order.',
      },
    ],
    options: [HTML, JSON_OUT],
    examples: [
      ['netkvm timeline guest.jsonl qmp-A.jsonl qmp-B.jsonl', 'what both sides of a migration saw'],
      ['netkvm timeline guest.jsonl qmp-A.jsonl lost-in.jsonl', 'and what was lost in it; docs/figures.md has the format'],
    ],
    exits: ['done', 'usage', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'stats',
    summary: 'Count over many logs: how long failovers took, what was lost, what was found.',
    positionals: [
      { name: 'FILE', words: 10_000, meaning: 'Recordings, raw captures, losses of packets; without one the log is counted.' },
    ],
    options: LOG_OPTIONS,
    examples: [
      ['netkvm stats', 'this machine so far'],
      ['netkvm stats cases/*.jsonl --json', 'many recordings, for a plot'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'record',
    summary: 'Record what this system says, without a service, until Ctrl-C.',
    options: [
      { name: 'raw', meaning: 'Keep the datagrams as the kernel sent them, dumps included.' },
      OUTPUT,
      { name: 'seconds', value: 'SECONDS', range: [0.1, 31_536_000], fraction: true, meaning: 'Stop after this long.' },
      CONFIG,
      { name: 'json', meaning: 'Print a summary as JSON on standard error at the end.' },
    ],
    examples: [['netkvm record --raw -o guest.jsonl', 'a raw capture for a bug report']],
    exits: ['done', 'usage', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'log export',
    summary: 'Write the log as a recording.',
    positionals: [{ name: 'FILE', meaning: 'With --trace: a recording or a raw capture instead of the log.' }],
    options: [
      OUTPUT,
      { name: 'from', value: 'SEQ', range: SEQ, meaning: 'Begin with the segment that holds this sequence number.' },
      { name: 'pseudonyms', meaning: 'Replace MACs and IP addresses by stable pseudonyms.' },
      { name: 'trace', meaning: 'Write Chrome trace-event JSON, which Perfetto opens, instead of a recording.' },
      ...LOG_OPTIONS,
    ],
    exclusive: [['trace', 'pseudonyms']],
    examples: [
      ['netkvm log export --pseudonyms -o case.jsonl', 'something to hand to others'],
      ['netkvm log export --trace case.jsonl -o case.trace.json', 'any recording for ui.perfetto.dev'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'log verify',
    summary: 'Check the log, or a recording, from the first event to the last.',
    positionals: [{ name: 'FILE', meaning: 'A recording; without it the log is checked.' }],
    options: LOG_OPTIONS,
    examples: [['netkvm log verify', 'integrity of the log, and whether folding it gives its decisions']],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'log prune',
    summary: 'Drop the oldest whole segments of the log.',
    options: [
      {
        name: 'keep',
        value: 'EVENTS',
        range: [0, Number.MAX_SAFE_INTEGER],
        meaning: 'Keep at least this many of the newest events.',
      },
      ...LOG_OPTIONS,
    ],
    examples: [['netkvm log prune --keep 100000', 'never cuts before the newest checkpoint']],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'fleet replay',
    summary: 'Fold the logs on a KurrentDB server again: what happened in each, with findings.',
    options: [PAIR, CHECKPOINT, ...FLEET_OPTIONS],
    exclusive: FLEET_EXCLUSIVE,
    examples: [
      ['netkvm fleet replay --vm db-7', 'one machine, from the server that the configuration names'],
      ['netkvm fleet replay --checkpoint seen.json', 'what came since the last call'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'fleet follow',
    summary: 'Print events of all guests as they reach the server, with what they change, until Ctrl-C.',
    options: [
      { name: 'from', value: 'WHERE', choices: ['now', 'start'], meaning: 'Where to begin; now unless given.' },
      { name: 'group', value: 'NAME', meaning: 'Share the work with the other readers of this group, which the server keeps.' },
      PAIR,
      CHECKPOINT,
      ...FLEET_OPTIONS,
    ],
    exclusive: [...FLEET_EXCLUSIVE, ['group', 'checkpoint']],
    examples: [
      ['netkvm fleet follow --server kurrentdb://db.example:2113', 'what happens from now on'],
      ['netkvm fleet follow --json --checkpoint seen.json', 'everything, across restarts of this command'],
      ['netkvm fleet follow --json --group alarms --from start', 'one of several readers'],
    ],
    exits: ['done', 'usage', 'configuration', 'notPermitted', 'refused'],
  },
  {
    name: 'fleet stats',
    summary: 'Count over the logs on a server: how long failovers took, what was lost, what was found.',
    options: [
      {
        name: 'by',
        value: 'WHAT',
        choices: ['vm', 'kernel', 'driver'],
        meaning: 'One table for each machine, guest kernel, or driver of the primary.',
      },
      PAIR,
      CHECKPOINT,
      ...FLEET_OPTIONS,
    ],
    exclusive: FLEET_EXCLUSIVE,
    examples: [
      ['netkvm fleet stats --by driver', 'which drivers lose traffic'],
      ['netkvm fleet stats --json --checkpoint daily.json', 'what came since yesterday'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'fleet explain',
    summary: 'Say of each pair on a server where it is and why.',
    options: [PAIR, ...FLEET_OPTIONS],
    exclusive: FLEET_EXCLUSIVE,
    examples: [['netkvm fleet explain --pair 52:54:00:11:22:33', 'wherever that pair is']],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'fleet export',
    summary: 'Write the logs on a server as recordings, one file each.',
    options: [
      {
        name: 'output',
        short: 'o',
        value: 'DIR',
        meaning: 'Folder for the files MACHINE-LOG.jsonl; it is made where it is missing.',
      },
      { name: 'pseudonyms', meaning: 'Replace MACs and IP addresses by stable pseudonyms.' },
      CHECKPOINT,
      ...FLEET_OPTIONS,
    ],
    exclusive: FLEET_EXCLUSIVE,
    examples: [
      ['netkvm fleet export --vm db-7 -o cases', 'something that every other command reads'],
      ['netkvm fleet export --checkpoint seen.json -o cases', 'only logs with something new, each of them whole'],
    ],
    exits: ['done', 'usage', 'notRunning', 'configuration', 'damaged', 'notPermitted', 'refused'],
  },
  {
    name: 'install',
    alias: 'i',
    summary: 'Install the service: define it, let it start with the system, and start it.',
    options: [
      {
        name: 'take-over',
        meaning: 'Windows: stop and disable the driver package’s own service, netkvmp; uninstall gives it back.',
      },
      { name: 'protocol', value: 'INF', meaning: 'Windows: first install the failover protocol VIOPROT from this INF file.' },
      JSON_OUT,
    ],
    examples: [['netkvm install', 'again after an upgrade: what is right already stays']],
    exits: ['done', 'usage', 'configuration', 'notPermitted', 'refused', 'rebootRequired'],
  },
  {
    name: 'uninstall',
    alias: 'u',
    summary: 'Stop the service, give back what it changed, and remove its definition. Log and configuration stay.',
    options: [
      { name: 'protocol', meaning: 'Windows: then remove the failover protocol VIOPROT and its INF files, too.' },
      JSON_OUT,
    ],
    examples: [['netkvm uninstall', '']],
    exits: ['done', 'usage', 'timedOut', 'configuration', 'damaged', 'notPermitted', 'refused', 'rebootRequired'],
  },
  {
    name: 'query',
    alias: 'q',
    summary: 'Say whether the service is installed, starts with the system, and runs.',
    options: [JSON_OUT],
    examples: [['netkvm query --json', 'for a script']],
    exits: ['done', 'usage', 'notRunning', 'refused'],
  },
  ...PARAMETER_COMMANDS,
  {
    name: 'config check',
    summary: 'Say whether the configuration is valid.',
    options: [CONFIG, JSON_OUT],
    examples: [['netkvm config check --config ./config.toml', 'before it is put in place']],
    exits: ['done', 'usage', 'configuration'],
  },
  {
    name: 'config dump',
    summary: 'Print every value that holds, and where it came from, as a file that can be read back.',
    options: LOG_OPTIONS,
    examples: [['netkvm config dump > config.toml', 'a complete file to start from']],
    exits: ['done', 'usage', 'configuration'],
  },
  {
    name: 'version',
    summary: 'Print the versions of the program, of Node and of SQLite.',
    options: [JSON_OUT],
    examples: [['netkvm version', '']],
    exits: ['done', 'usage'],
  },
  {
    name: 'help',
    summary: 'Print the list of commands, or the help of one.',
    positionals: [{ name: 'COMMAND', words: 2, meaning: 'The command, one word or two.' }],
    options: [JSON_OUT],
    examples: [['netkvm help log export', '']],
    exits: ['done', 'usage'],
  },
];

/** `netkvm log export [-o FILE] …`, generated. */
export const usageOf = ({ name, positionals = [], options }: Command): string =>
  [
    `netkvm ${name}`,
    ...positionals.map((one) =>
      one.required ? `${one.name}${(one.words ?? 1) > 1 ? '...' : ''}` : `[${one.name}${(one.words ?? 1) > 2 ? '...' : ''}]`,
    ),
    ...options.map(
      (option) => `[${option.short ? `-${option.short}` : `--${option.name}`}${option.value ? ` ${option.value}` : ''}]`,
    ),
  ].join(' ');
