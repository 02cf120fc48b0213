// What a word of the shell could be: verbs, then devices by index or MAC, then names and values of parameters.
import type { ParameterSession } from './orders.ts';
import { faultOf } from '../../adapters/parameter-values.ts';
import { quoted, VERB_NAMES, VERBS, type Verb, readWords } from './words.ts';

const FIRSTS = [...new Set([...VERB_NAMES.map((verb) => verb.split(' ', 1)[0]!), 'help', 'exit'])];
const SHOWN = VERB_NAMES.flatMap((verb) => (verb.startsWith('show ') ? [verb.slice(5)] : []));

/** The verb at the beginning of the words, abbreviated or not, and how many words it takes. */
const verbOf = (words: readonly string[]): { readonly verb: Verb; readonly taken: number } | null => {
  for (const verb of VERB_NAMES) {
    const taken = verb.split(' ').length;
    if (words.length < taken) continue;
    try {
      // Its help is told for the verb that the words begin with.
      const asked = readWords([...words.slice(0, taken), '?']);
      const own = readWords([...verb.split(' '), '?']);
      if ('help' in asked && 'help' in own && asked.help === own.help) return { verb, taken };
    } catch {
      // Not this one.
    }
  }
  return null;
};

const candidates = async (session: ParameterSession, before: readonly string[]): Promise<readonly string[]> => {
  if (before.length === 0) return FIRSTS;
  if (before.length === 1 && before[0] !== '' && 'show'.startsWith(before[0]!.toLowerCase())) return SHOWN;
  const found = verbOf(before);
  if (found === null) return [];
  const { tags } = VERBS[found.verb];
  const given = before.slice(found.taken).map((word) => word.replace(/^(?:idx|param|value)=/i, ''));
  const [word, name] = given;
  switch ((tags as readonly string[])[given.length]) {
    case 'idx':
      return (await session.devices())
        .flatMap(({ index, device }) => [String(index), device.name, device.mac ?? ''])
        .filter(Boolean);
    case 'param':
      return (await session.parameters(await session.device(word ?? '')))
        .filter(({ readOnly }) => !readOnly)
        .map((one) => one.name);
    case 'value': {
      const all = await session.parameters(await session.device(word ?? ''));
      const parameter = all.find((one) => one.name.toLowerCase() === name?.toLowerCase());
      if (parameter?.type.kind === 'enum') return parameter.type.values.map(({ value }) => value);
      return parameter?.initial == null || faultOf({ ...parameter, stored: parameter.initial }) !== null
        ? []
        : [parameter.initial];
    }
    default:
      return [];
  }
};

/** For node:readline: the words that the last one of `line` could be, and that word. */
export const completions = async (session: ParameterSession, line: string): Promise<[string[], string]> => {
  const words = line.split(/\s+/);
  const last = words.at(-1) ?? '';
  const [, tag = '', begun = ''] = /^((?:idx|param|value)=)?(.*)$/i.exec(last) ?? [];
  const found = await candidates(session, words.slice(0, -1).filter(Boolean));
  const fits = found.filter((one) => one.toLowerCase().startsWith(begun.toLowerCase()));
  return [fits.map((one) => `${tag}${quoted(one) ?? one} `), last];
};
