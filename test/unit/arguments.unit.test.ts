// The command line: what is understood, and that every mistake gets one line that names the range or the nearest word.
import { DATAPATHS, HOST_STAGES, STAGES } from '../../src/machines/stages.ts';
import { describe, expect, test } from 'vitest';
import { NetkvmError } from '../../src/events/errors.ts';
import { readArguments } from '../../src/host/arguments.ts';
import type { Option } from '../../src/host/command.ts';
import { COMMANDS } from '../../src/host/commands.ts';

const read = (line: string) => {
  const request = readArguments(line.split(' ').filter(Boolean));
  if (request.kind !== 'command') throw new Error(`${line} is no command`);
  return request.args;
};
const refusal = (words: readonly string[]): NetkvmError => {
  try {
    readArguments(words);
  } catch (error) {
    if (error instanceof NetkvmError) return error;
    throw error;
  }
  throw new Error(`${words.join(' ')} was taken`);
};

/** What `netkvm wait` takes for an option. */
const choicesOf = (option: string) =>
  COMMANDS.find(({ name }) => name === 'wait')?.options.find(({ name }) => name === option)?.choices;

describe('what is understood', () => {
  test('commands of one word and of two, options, arguments', () => {
    const run = read('run --observe --platform recording --recording a.jsonl --speed 2.5 --state-dir=/s');
    expect(run.command).toBe('run');
    expect([run.flag('observe'), run.flag('dry-run'), run.flag('json')]).toEqual([true, false, false]);
    expect([run.text('platform'), run.text('recording'), run.text('state-dir'), run.text('config')]).toEqual([
      'recording',
      'a.jsonl',
      '/s',
      undefined,
    ]);
    expect(run.number('speed')).toBe(2.5);
    expect(read('log export -o x').text('output')).toBe('x');
    expect(read('log export -ox').command).toBe('log export');
    expect(read('replay - --json').positionals).toEqual(['-']);
    expect(read('replay -- --odd-name').positionals).toEqual(['--odd-name']);
    expect(read('status --pair 52-54-00-AA-BB-CC').text('pair')).toBe('52:54:00:aa:bb:cc');
    expect(read('--version --json').command).toBe('version');
  });

  test('help in every place', () => {
    for (const { name } of COMMANDS) {
      const words = name.split(' ');
      expect(readArguments([...words, '--help'])).toMatchObject({ kind: 'help', commands: [{ name }] });
      expect(readArguments([...words, '-h'])).toMatchObject({ kind: 'help', commands: [{ name }] });
    }
    expect(readArguments(['--help'])).toEqual({ kind: 'help', commands: [] });
    expect(readArguments(['log', '--help'])).toMatchObject({ commands: [{ name: 'log export' }, {}, {}] });
    expect(readArguments([])).toEqual({ kind: 'nothing' });
  });
});

describe('what is refused', () => {
  test.each([
    ['stauts', 'usage.command', 'there is no command "stauts"; did you mean status?'],
    ['banana', 'usage.command', 'there is no command "banana"'],
    ['log', 'usage.command', 'needs one of export, verify, prune'],
    ['log exprot', 'usage.command', 'there is no command log "exprot"; did you mean export?'],
    ['run --obsrve', 'usage.command', 'no option "--obsrve"; did you mean --observe?'],
    ['run -x', 'usage.command', 'no option "-x"'],
    ['--json status', 'usage.command', 'a command comes first'],
    ['run --observe --dry-run', 'usage.command', 'exclude each other'],
    ['run --observe --observe', 'usage.command', '--observe is given twice'],
    ['run --observe=yes', 'usage.command', '--observe takes no value'],
    ['run --config', 'usage.command', '--config needs a FILE'],
    ['run --config --json', 'usage.command', '--config needs a FILE'],
    ['run --config=', 'usage.value', '--config needs a FILE'],
    ['run --platform linus', 'usage.value', 'did you mean linux?'],
    ['run --speed fast', 'usage.value', 'a number from 0 to 1000000'],
    ['run --speed -1', 'usage.value', 'a number from 0 to 1000000'],
    ['wait --timeout 86401', 'usage.value', 'from 0 to 86400'],
    ['monitor --from 0', 'usage.value', 'a whole number from 1'],
    ['monitor --from 1.5', 'usage.value', 'a whole number'],
    ['monitor --from 1e3', 'usage.value', 'a whole number'],
    ['monitor --from 99999999999999999', 'usage.value', 'a whole number'],
    ['status --pair 52:54', 'usage.value', '--pair "52:54" is not a MAC'],
    ['status extra', 'usage.command', '"extra" is one too many'],
    ['replay', 'usage.command', 'netkvm replay needs a FILE'],
    ['replay a b', 'usage.command', '"b" is one too many'],
  ])('%s', (line, code, part) => {
    const error = refusal(line.split(' '));
    expect(error).toMatchObject({ code, exit: 2 });
    expect(error.message).toContain(part);
    expect(error.line).not.toContain('\n');
  });

  test('words that are long, empty, or hold odd characters', () => {
    expect(refusal(['x'.repeat(100_000)]).line.length).toBeLessThan(200);
    expect(refusal(['replay', '']).code).toBe('usage.value');
    expect(refusal(['run', '--config', 'a\0b']).code).toBe('usage.value');
    expect(refusal(['\u001B[2J']).message).not.toContain('\u001B');
    expect(refusal(['constructor']).code).toBe('usage.command');
    expect(refusal(['run', '--__proto__']).code).toBe('usage.command');
  });

  test('asking for an option that the command does not declare is a fault', () => {
    expect(() => read('status').flag('observe')).toThrow('declares no option');
  });
});

describe('the table', () => {
  test('names every command once, with a summary, an example and its exit codes', () => {
    expect(new Set(COMMANDS.map(({ name }) => name)).size).toBe(COMMANDS.length);
    for (const { name, summary, examples, exits, options } of COMMANDS) {
      expect(summary).toMatch(/^[A-Z].*\.$/);
      expect(exits).toEqual(expect.arrayContaining(['done', 'usage']));
      for (const [line] of examples) {
        expect(line.startsWith(`netkvm ${name}`)).toBe(true);
        const words = line
          .replace(/ [<>].*/, '')
          .split(' ')
          .slice(1);
        expect(readArguments(words).kind).toBe('command');
      }
      expect(examples.length).toBeGreaterThan(0);
      expect(new Set(options.map((option) => option.name)).size).toBe(options.length);
    }
  });

  test('every command prints JSON when asked, but those that speak the words of other tools', () => {
    const mute = COMMANDS.filter(({ verbatim, options }) => !verbatim && !options.some(({ name }) => name === 'json'));
    expect(mute).toEqual([]);
  });

  test('an option takes a value where it has choices or a range', () => {
    const options: readonly Option[] = COMMANDS.flatMap((command) => command.options);
    expect(options.filter(({ value, choices, range }) => (choices ?? range) !== undefined && value === undefined)).toEqual([]);
  });

  test('stages and datapaths are those of the chart', () => {
    expect(choicesOf('stage')).toEqual([...new Set([...STAGES, ...HOST_STAGES])]);
    expect(choicesOf('datapath')).toEqual(DATAPATHS);
  });
});
