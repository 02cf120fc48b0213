// `netkvm help`: the list of commands, or one command's page, generated from the table in commands.ts.
import { ERRORS, EXIT, type ExitName } from '../../events/errors.ts';
import { findCommands, limitsOf } from '../arguments.ts';
import type { Command, Option, Run } from '../command.ts';
import { COMMANDS, usageOf } from '../commands.ts';

/** What each exit code means, in the words of the help pages. */
export const EXIT_MEANINGS: { readonly [K in ExitName]: string } = {
  done: 'done',
  fault: 'internal fault',
  usage: 'wrong usage',
  timedOut: 'timed out; says what was still missing',
  degraded: 'degraded: something needs attention',
  notRunning: 'the service is not running, or there is no log',
  configuration: 'the configuration is not valid',
  damaged: 'a log or recording is damaged, or diverges',
  notPermitted: 'not permitted',
  refused: 'refused by the system; says why',
  rebootRequired: 'done, but a reboot is required',
};

/** `-o, --output FILE`. */
export const optionHead = ({ name, short, value }: Option): string =>
  `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`;

/** The meaning with the values that are allowed. */
export const optionText = ({ meaning, choices, range }: Option): string =>
  meaning + (choices ? ` One of ${choices.join(', ')}.` : range ? ` From ${limitsOf(range)}.` : '');

/** Two columns; the second is wrapped so that no line is longer than 100 characters. */
const columns = (rows: readonly (readonly [left: string, right: string])[]): string => {
  const left = Math.max(...rows.map(([text]) => text.length)) + 4;
  const wrap = (text: string): string =>
    text.replaceAll(new RegExp(`(?=.{${101 - left}})(.{1,${100 - left}})\\s+`, 'g'), `$1\n${' '.repeat(left)}`);
  return rows.map(([head, text]) => `  ${head.padEnd(left - 2)}${wrap(text)}`.trimEnd()).join('\n');
};

export const overviewText = (): string =>
  [
    'netkvm: failover controller for virtio-net, a standby NIC and a virtual function with one MAC',
    '',
    'usage: netkvm COMMAND [OPTION]...',
    '',
    columns(COMMANDS.map(({ name, alias, summary }) => [alias === undefined ? name : `${name}, ${alias}`, summary])),
    '',
    'netkvm help COMMAND shows options, examples and exit codes of one.',
    '',
  ].join('\n');

export const commandText = (command: Command): string => {
  const { summary, positionals = [], options, examples, exits } = command;
  const rows: [string, string][] = positionals.map(({ name, meaning }) => [name, meaning]);
  rows.push(...options.map((option): [string, string] => [optionHead(option), optionText(option)]));
  return [
    `usage: ${usageOf(command)}`,
    '',
    summary,
    '',
    columns([...rows, ['-h, --help', 'Print this help.']]),
    '',
    'examples:',
    columns(examples),
    '',
    'exit codes:',
    columns(exits.map((name) => [String(EXIT[name]), EXIT_MEANINGS[name]])),
    '',
  ].join('\n');
};

export const helpText = (commands: readonly Command[]): string =>
  commands.length === 0 ? overviewText() : commands.map(commandText).join('\n');

/** The whole table for programs: commands, exit codes, error codes. */
const helpDocument = (commands: readonly Command[]): object => ({
  schemaVersion: 1,
  commands: (commands.length === 0 ? COMMANDS : commands).map((command) => ({ ...command, usage: usageOf(command) })),
  exits: EXIT,
  errors: ERRORS,
});

export const run: Run = async (args, io) => {
  const commands = args.positionals.length === 0 ? [] : findCommands(args.positionals);
  io.stdout.write(args.flag('json') ? `${JSON.stringify(helpDocument(commands), null, 2)}\n` : helpText(commands));
  return EXIT.done;
};
