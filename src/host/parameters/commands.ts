// The commands about parameters of devices, and those that speak the words of other tools: a part of the list in
// host/commands.ts, described in the same way.
import type { Command, Positional } from '../command.ts';
import { JSON_OUT, LOG_OPTIONS } from '../options.ts';

const DEVICE: Positional = {
  name: 'D',
  required: true,
  meaning: 'A device: its index in `show devices`, MAC, name or instance id; idx=D as well.',
};
const PARAMETER: Positional = { name: 'P', required: true, meaning: 'Name of a parameter; param=P as well.' };

export const PARAMETER_COMMANDS: readonly Command[] = [
  {
    name: 'show devices',
    summary: 'List the network devices with their indices.',
    options: [JSON_OUT],
    examples: [['netkvm show devices', 'an index, a MAC, a name or an instance id names one elsewhere']],
    exits: ['done', 'usage', 'notPermitted', 'refused'],
  },
  {
    name: 'show parameters',
    summary: 'List the parameters of a device.',
    positionals: [DEVICE],
    options: [JSON_OUT],
    examples: [
      ['netkvm show parameters 0', 'names and descriptions'],
      ['netkvm show parameters 0 --json', 'with values, ranges, and what is wrong'],
    ],
    exits: ['done', 'usage', 'notPermitted', 'refused'],
  },
  {
    name: 'show paraminfo',
    summary: 'Say what values a parameter takes.',
    positionals: [DEVICE, PARAMETER],
    options: [JSON_OUT],
    examples: [['netkvm show paraminfo 0 mtu', '']],
    exits: ['done', 'usage', 'notPermitted', 'refused'],
  },
  {
    name: 'getparam',
    summary: 'Print the value of a parameter of a device.',
    positionals: [DEVICE, PARAMETER],
    options: [JSON_OUT],
    examples: [
      ['netkvm getparam 0 *JumboPacket', 'on Windows'],
      ['netkvm getparam eth0 rxRing', 'on Linux'],
    ],
    exits: ['done', 'usage', 'notPermitted', 'refused'],
  },
  {
    name: 'setparam',
    summary: 'Set a parameter of a device, and record it; on Windows it holds after its restart.',
    positionals: [
      DEVICE,
      PARAMETER,
      {
        name: 'V',
        required: true,
        empty: true,
        meaning: 'The value, value=V as well; an empty one takes an optional value away.',
      },
    ],
    options: [
      { name: 'apply', meaning: 'Restart the device, so that the value holds.' },
      { name: 'both', meaning: 'Write it to the pair’s other device, too.' },
      { name: 'force', meaning: 'Write an MTU or a MAC although the pair’s other device has another one.' },
      ...LOG_OPTIONS,
    ],
    exclusive: [['both', 'force']],
    examples: [
      ['netkvm setparam 0 *RSS 0 --apply', 'prints nothing but the restart'],
      ['netkvm setparam eth0 rx-gro off', 'read back after writing'],
    ],
    exits: ['done', 'usage', 'configuration', 'notPermitted', 'refused', 'rebootRequired'],
  },
  {
    name: 'restart',
    summary: 'Restart a device, so that its stored parameters hold. Windows only: on Linux they hold at once.',
    positionals: [DEVICE],
    options: LOG_OPTIONS,
    examples: [['netkvm restart 52:54:00:11:22:33', 'its traffic stops meanwhile']],
    exits: ['done', 'usage', 'configuration', 'notPermitted', 'refused', 'rebootRequired'],
  },
  {
    name: 'dump',
    summary: 'Print the commands that make all parameters what they are now, for `netkvm shell`.',
    options: [JSON_OUT],
    examples: [['netkvm dump > parameters.txt', 'put back with: netkvm shell -f parameters.txt']],
    exits: ['done', 'usage', 'notPermitted', 'refused'],
  },
  {
    name: 'netsh',
    summary: 'Run a command about parameters in the words of netsh: abbreviated, tagged, `?` for help.',
    positionals: [{ name: 'WORD', words: 32, meaning: 'The words of the command, or -f and a file of commands.', empty: true }],
    options: [],
    verbatim: true,
    examples: [
      ['netkvm netsh sh dev', 'show devices'],
      ['netkvm netsh set idx=0 param=*RSS value=1', 'setparam'],
    ],
    exits: ['done', 'usage', 'notPermitted', 'refused', 'rebootRequired'],
  },
  {
    name: 'shell',
    summary: 'Read commands about parameters from a terminal, a file or a pipe; a dump can be fed back.',
    options: [
      { name: 'file', short: 'f', value: 'FILE', meaning: 'A file of commands, one a line; it ends at the first that fails.' },
      { name: 'json', meaning: 'Print a line of JSON for each command that was carried out.' },
    ],
    examples: [
      ['netkvm shell', 'prompt, history, completion with the tab key'],
      ['netkvm shell -f parameters.txt', 'a batch'],
    ],
    exits: ['done', 'usage', 'notPermitted', 'refused', 'rebootRequired'],
  },
  {
    name: 'netkvmco',
    summary: 'Be the original configuration tool: its verbs, its lines, its exit codes (87, 3010).',
    positionals: [{ name: 'WORD', words: 32, meaning: 'Words as netkvmco takes them; none lists them.', empty: true }],
    options: [],
    verbatim: true,
    examples: [
      ['netkvm netkvmco show devices', 'a program called netkvmco that is this one does the same'],
      ['netkvm netkvmco setparam 0 *RSS 1', 'silent, or 87 and the help'],
    ],
    exits: ['done', 'usage'],
  },
  {
    name: 'netkvmp',
    summary: 'Be the original service’s tool: i(nstall), u(ninstall), q(uery), d(ump); the exit code is always 0.',
    positionals: [{ name: 'WORD', words: 32, meaning: 'A word as netkvmp takes it; none lists them.', empty: true }],
    options: [],
    verbatim: true,
    examples: [['netkvm netkvmp q', 'Service installed, VIOPROT installed']],
    exits: ['done', 'usage'],
  },
];
