// `netkvmco`: the original configuration tool's verbs, lines and exit codes, so that scripts written for it go on working. A
// result other than 0 is followed by the help of the verb, as there. Better than there: a question never acts, devices may be
// named by MAC or instance id, and why something was refused stands on standard error.
import { EXIT, NetkvmError, ORIGINAL_EXIT } from '../../events/errors.ts';
import type { Io, Run } from '../command.ts';
import { ParameterSession, PLAIN } from '../parameters/orders.ts';
import { NO_DEVICES } from '../parameters/text.ts';
import { isQuestion, showText, usageText, type Verb, VERB_NAMES, verbHelp, VERBS } from '../parameters/words.ts';
import { systemParameters } from '../platforms.ts';
import { tellingOf } from './parameters.ts';

const ORIGINAL = { ...PLAIN, isOriginal: true };

/** The verb that the words begin with, exactly as the original knows it. */
const verbOf = (words: readonly string[]): Verb | null => {
  const lower = words.map((word) => word.toLowerCase());
  return VERB_NAMES.find((verb) => verb.split(' ').every((word, at) => lower[at] === word)) ?? null;
};

/** Arguments in their fixed order, each with or without its own tag; more of them are ignored. Null for too few. */
const argumentsOf = (verb: Verb, words: readonly string[]): readonly string[] | null => {
  const { tags }: { readonly tags: readonly string[] } = VERBS[verb];
  const given = words.slice(verb.split(' ').length);
  if (given.length < tags.length || (tags.length > 0 && given.some(isQuestion))) return null;
  return tags.map((tag, at) => {
    const word = given[at] ?? '';
    return word.toLowerCase().startsWith(`${tag}=`) ? word.slice(tag.length + 1) : word;
  });
};

/** The number that the system gave for its refusal, where it gave one. */
const codeOf = (error: NetkvmError): number => {
  const { cause } = error as { cause?: { number?: unknown } };
  return error.code === 'parameter.refused' && typeof cause?.number === 'number' ? cause.number : ORIGINAL_EXIT.invalidParameter;
};

const perform = async (verb: Verb, given: readonly string[], io: Io): Promise<number> => {
  const store = await systemParameters();
  try {
    const session = new ParameterSession(store);
    if ((await session.devices()).length === 0) {
      io.stdout.write(NO_DEVICES);
      return EXIT.done;
    }
    const [device = '', name = '', value = ''] = given;
    const { exit } = await session.perform({ verb, device, name, value }, ORIGINAL, tellingOf(io, false));
    return exit === EXIT.rebootRequired ? ORIGINAL_EXIT.rebootRequired : exit;
  } catch (error) {
    if (!(error instanceof NetkvmError)) throw error;
    if (error.code === 'parameter.device') io.stdout.write('Device index is out of range.\n');
    io.stderr.write(`netkvmco: ${error.line}\n`);
    return codeOf(error);
  } finally {
    await store.close();
  }
};

export const run: Run = async ({ positionals }, io) => {
  const verb = verbOf(positionals);
  if (verb === null) {
    io.stdout.write(positionals[0]?.toLowerCase() === 'show' ? showText() : usageText());
    return EXIT.done;
  }
  const given = argumentsOf(verb, positionals);
  const exit = given === null ? ORIGINAL_EXIT.invalidParameter : await perform(verb, given, io);
  if (exit !== EXIT.done) io.stdout.write(verbHelp(verb));
  return exit;
};
