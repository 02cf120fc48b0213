// `netkvm netsh WORDS` runs one command in the words of netsh; `netkvm shell` reads such commands from a terminal with
// history and completion, from a file, or from a pipe. A dump can be fed back. On a terminal a command that fails is told and
// forgotten; a batch ends at its first failure, with its exit code.
import { createReadStream } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { createInterface as createTalk } from 'node:readline/promises';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import { report } from '../report.ts';
import type { Io, Run } from '../command.ts';
import { ParameterSession, PLAIN } from '../parameters/orders.ts';
import { completions } from '../parameters/completion.ts';
import { readHead } from '../parameters/text.ts';
import { cutWords, readWords, usageText } from '../parameters/words.ts';
import { systemParameters } from '../platforms.ts';
import { tellingOf } from './parameters.ts';

/** Longer ones are no commands. */
const LINE_CHARS_MAX = 8192;
const HISTORY_LINES = 200;
const LEAVING = ['exit', 'quit', 'bye'];
/** netsh's words around a dump, which lead nowhere here. */
const CONTEXT = ['pushd', 'popd', 'cd', 'netkvm', '..'];

/** What netsh says before the command itself. */
const withoutContext = (words: readonly string[]): readonly string[] =>
  words[0]?.toLowerCase() === 'netkvm' ? words.slice(1) : words;

interface Desk {
  readonly session: ParameterSession;
  readonly io: Io;
  readonly json: boolean;
}

/** One line: the exit code, or null for the end. Errors: `usage.*`, `parameter.*`. */
const obey = async ({ session, io, json }: Desk, words: readonly string[]): Promise<number | null> => {
  const [first] = words;
  if (first === undefined) return EXIT.done;
  if (LEAVING.includes(first.toLowerCase())) return null;
  if (
    ['pushd', 'popd', 'cd'].includes(first.toLowerCase()) &&
    words.slice(1).every((word) => CONTEXT.includes(word.toLowerCase()))
  )
    return EXIT.done;
  const asked = first.toLowerCase() === 'help' ? { help: usageText() } : readWords(withoutContext(words));
  if ('help' in asked) {
    io.stdout.write(asked.help);
    return EXIT.done;
  }
  const { exit, document } = await session.perform(asked.order, PLAIN, tellingOf(io, json));
  if (json) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...document })}\n`);
  return exit;
};

const wordsOf = (line: string, session: ParameterSession): readonly string[] => {
  if (line.length > LINE_CHARS_MAX) throw new NetkvmError('usage.command', `a line is at most ${LINE_CHARS_MAX} characters long`);
  const trimmed = line.trim();
  const head = readHead(trimmed);
  if (head !== null) session.expect(head.index, head.id);
  return trimmed.startsWith('#') ? [] : cutWords(line);
};

/** Commands one line each, until one fails. */
const batch = async (desk: Desk, lines: Interface, what: string): Promise<number> => {
  let last: number = EXIT.done;
  let number = 0;
  for await (const line of lines) {
    number += 1;
    try {
      const exit = await obey(desk, wordsOf(line, desk.session));
      if (exit === null) return last;
      if (exit !== EXIT.done) last = exit;
    } catch (error) {
      if (error instanceof NetkvmError)
        throw new NetkvmError(error.code, `${what}, line ${number}: ${error.message}`, { cause: error });
      throw error;
    }
  }
  return last;
};

const talk = async (desk: Desk): Promise<number> => {
  const { session, io } = desk;
  const lines = createTalk({
    input: io.stdin,
    output: io.stdout,
    terminal: true,
    prompt: 'netkvm> ',
    historySize: HISTORY_LINES,
    removeHistoryDuplicates: true,
    completer: (line: string) => completions(session, line).catch((): [string[], string] => [[], line]),
  });
  lines.prompt();
  for await (const line of lines) {
    try {
      if ((await obey(desk, wordsOf(line, session))) === null) break;
    } catch (error) {
      report(error, io);
    }
    lines.prompt();
  }
  lines.close();
  return EXIT.done;
};

const fileLines = (path: string): Interface => {
  const input = createReadStream(path);
  return createInterface({ input, crlfDelay: Infinity });
};

const shell = async (desk: Desk, file: string | undefined): Promise<number> => {
  if (file !== undefined && file !== '-') {
    try {
      return await batch(desk, fileLines(file), file);
    } catch (error) {
      if (error instanceof NetkvmError || (error as NodeJS.ErrnoException).syscall === undefined) throw error;
      throw new NetkvmError('recording.unreadable', (error as Error).message, { cause: error });
    }
  }
  const { stdin } = desk.io;
  if (file === undefined && (stdin as { isTTY?: boolean }).isTTY === true) return talk(desk);
  return batch(desk, createInterface({ input: stdin, crlfDelay: Infinity }), 'standard input');
};

const netsh = async (desk: Desk, words: readonly string[]): Promise<number> => {
  if (words[0] === '-f') {
    if (words[1] === undefined || words.length > 2) throw new NetkvmError('usage.command', 'netkvm netsh -f needs one FILE');
    return shell(desk, words[1]);
  }
  if (words.length > 0) return (await obey(desk, words)) ?? EXIT.done;
  desk.io.stdout.write(usageText());
  return EXIT.done;
};

export const run: Run = async (args, io) => {
  const store = await systemParameters();
  try {
    const isNetsh = args.command === 'netsh';
    const desk = { session: new ParameterSession(store), io, json: !isNetsh && args.flag('json') };
    return await (isNetsh ? netsh(desk, args.positionals) : shell(desk, args.text('file')));
  } finally {
    await store.close();
  }
};
