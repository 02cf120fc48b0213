// Reads the command line against the table in commands.ts. node:util parseArgs splits it; what the words may be is decided
// here, so that every mistake gets one line with the range or the nearest known word.
import { parseArgs } from 'node:util';
import { NetkvmError } from '../events/errors.ts';
import { parseMac } from '../events/mac.ts';
import type { Arguments, Command, Option } from './command.ts';
import { COMMANDS } from './commands.ts';
import { didYouMean } from './nearest.ts';

export type Request =
  | { readonly kind: 'command'; readonly command: Command; readonly args: Arguments }
  /** Help for these commands; for none means the overview. */
  | { readonly kind: 'help'; readonly commands: readonly Command[] }
  | { readonly kind: 'nothing' };

const usage = (text: string): NetkvmError => new NetkvmError('usage.command', text);
const wrongValue = (text: string): NetkvmError => new NetkvmError('usage.value', text);
/** `netkvm setparam ?` asks, and never acts. */
const isQuestion = (word: string): boolean => word === '?' || word === '/?';
const shown = (word: string): string => JSON.stringify(word.length > 60 ? `${word.slice(0, 57)}...` : word);

/**
 * The commands that `words` name: one, or all of a group (`log`) when only the group's word is there. The error names the
 * nearest.
 */
export const findCommands = (words: readonly string[]): readonly Command[] => {
  const [first = '', second] = words;
  const exact =
    COMMANDS.find(({ name }) => name === `${first} ${second}`) ??
    COMMANDS.find(({ name, alias }) => name === first || alias === first);
  if (exact) return [exact];
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${first} `));
  if (group.length > 0 && (second === undefined || second === '--help' || second === '-h' || isQuestion(second))) return group;
  const seconds = group.map(({ name }) => name.slice(first.length + 1));
  if (group.length > 0) throw usage(`there is no command ${first} ${shown(second!)}${didYouMean(second!, seconds)}`);
  const firsts = new Set(COMMANDS.map(({ name }) => name.split(' ', 1)[0]!));
  throw usage(`there is no command ${shown(first)}${didYouMean(first, firsts)}`);
};

/** `1 to 9`; nobody wants to read the largest number there is. */
export const limitsOf = ([min, max]: readonly [number, number]): string =>
  max === Number.MAX_SAFE_INTEGER ? `${min} on` : `${min} to ${max}`;

const rangeText = (option: Option): string =>
  option.choices
    ? `one of ${option.choices.join(', ')}`
    : `a ${option.fraction ? '' : 'whole '}number from ${limitsOf(option.range!)}`;

/** Checks one value against its option's choices or range. */
const readValue = (option: Option, raw: string): string | number => {
  if (option.choices && !option.choices.includes(raw)) {
    throw wrongValue(`--${option.name} ${shown(raw)} is not ${rangeText(option)}${didYouMean(raw, option.choices)}`);
  }
  if (option.range) {
    const number = /^[0-9]{1,16}(\.[0-9]{1,9})?$/.test(raw) ? Number(raw) : Number.NaN;
    const [min, max] = option.range;
    if (!(number >= min && number <= max) || (!option.fraction && !Number.isInteger(number))) {
      throw wrongValue(`--${option.name} ${shown(raw)} is not ${rangeText(option)}`);
    }
    return number;
  }
  if (option.value === 'MAC') {
    const mac = parseMac(raw);
    if (mac === null) throw wrongValue(`--${option.name} ${shown(raw)} is not a MAC like 52:54:00:11:22:33`);
    return mac;
  }
  if (raw === '' || raw.includes('\0')) throw wrongValue(`--${option.name} needs a ${option.value}, not ${shown(raw)}`);
  return raw;
};

const HELP: Option = { name: 'help', short: 'h', meaning: 'Print this help.' };

const readOptions = (command: Command, words: readonly string[]) => {
  const known = [...command.options, HELP];
  const { tokens } = parseArgs({
    args: [...words],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      known.map(({ name, short, value }) => [
        name,
        { type: value ? ('string' as const) : ('boolean' as const), ...(short ? { short } : {}) },
      ]),
    ),
  });
  const values = new Map<string, string | number | true>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const option = known.find(({ name }) => name === token.name);
    if (!option) {
      const near = token.rawName.startsWith('--')
        ? didYouMean(
            token.rawName,
            known.map(({ name }) => `--${name}`),
          )
        : '';
      throw usage(`netkvm ${command.name} has no option ${shown(token.rawName)}${near}`);
    }
    if (values.has(option.name)) throw usage(`--${option.name} is given twice`);
    if (!option.value && token.value !== undefined) throw usage(`--${option.name} takes no value`);
    // parseArgs takes the next word whatever it is: `--config --json` is a forgotten value, not a file of that name.
    const forgotten = token.value === undefined || (!token.inlineValue && /^--?[a-z]/.test(token.value));
    if (option.value && forgotten) throw usage(`--${option.name} needs a ${option.value}`);
    values.set(option.name, option.value ? readValue(option, token.value!) : true);
  }
  return { values, positionals };
};

const checkPositionals = ({ name, positionals: declared = [] }: Command, given: readonly string[]): void => {
  const limit = declared.reduce((sum, { words = 1 }) => sum + words, 0);
  if (given.length > limit) throw usage(`netkvm ${name}: the argument ${shown(given[limit]!)} is one too many`);
  const missing = declared.find(({ required }, place) => required && given[place] === undefined);
  if (missing) throw usage(`netkvm ${name} needs a ${missing.name}`);
  const wordOf = declared.flatMap((one) => Array.from({ length: one.words ?? 1 }, () => one));
  const empty = wordOf.find((one, place) => given[place] === '' && one.empty !== true);
  if (empty) throw wrongValue(`netkvm ${name}: an empty ${empty.name} was given`);
};

/** Reads the words after `netkvm`. Errors: `usage.command`, `usage.value`. */
export const readArguments = (words: readonly string[]): Request => {
  const [first] = words;
  if (first === undefined) return { kind: 'nothing' };
  if (first === '--help' || first === '-h') return { kind: 'help', commands: [] };
  if (first === '--version' || first === '-V') return readArguments(['version', ...words.slice(1)]);
  if (words.length === 1 && isQuestion(first)) return { kind: 'help', commands: [] };
  if (first.startsWith('-')) throw usage(`a command comes first, not ${shown(first)}`);
  const commands = findCommands(words);
  const [command] = commands;
  if (!command || commands.length > 1) {
    if (words.length > 1) return { kind: 'help', commands };
    throw usage(`netkvm ${first} needs one of ${commands.map(({ name }) => name.slice(first.length + 1)).join(', ')}`);
  }
  const rest = words.slice(command.name.split(' ').length);
  const { values, positionals } = command.verbatim
    ? { values: new Map<string, string | number | true>(), positionals: rest }
    : readOptions(command, rest);
  const asks = command.verbatim ? /^(-h|--help)$/.test(rest.join(' ')) : values.has('help') || rest.some(isQuestion);
  if (asks) return { kind: 'help', commands };
  checkPositionals(command, positionals);
  for (const [one, other] of command.exclusive ?? []) {
    if (values.has(one) && values.has(other)) throw usage(`--${one} and --${other} exclude each other`);
  }
  const get = (name: string): string | number | true | undefined => {
    if (!command.options.some((option) => option.name === name)) throw new Error(`${command.name} declares no option ${name}`);
    return values.get(name);
  };
  const args: Arguments = {
    command: command.name,
    positionals,
    flag: (name) => get(name) === true,
    text: (name) => get(name)?.toString(),
    number: (name) => get(name) as number | undefined,
  };
  return { kind: 'command', command, args };
};
