// The words of the parameter commands, as `netkvm netsh`, `netkvm shell`, batch files and the original tool's name take
// them: verbs by any beginning that is theirs alone, arguments in order or by tag (idx=, param=, value=), and the help that
// `?` gives. Nothing here acts. The layout of the help is that of the original tool; the words are our own.
import { NetkvmError } from '../../events/errors.ts';
import { didYouMean } from '../nearest.ts';

export type Tag = 'idx' | 'param' | 'value';
interface VerbEntry {
  readonly tags: readonly Tag[];
  readonly summary: string;
  readonly remarks: readonly string[];
  readonly examples: readonly string[];
}

export const VERBS = {
  'show devices': {
    tags: [],
    summary: 'Show the network devices',
    remarks: [
      'Lists the network devices with their indices.',
      'An index, a MAC, a name or an instance id names a device elsewhere.',
    ],
    examples: ['show devices'],
  },
  'show parameters': {
    tags: ['idx'],
    summary: 'Show the parameters of a device',
    remarks: ['Lists the parameters of a device with their descriptions.'],
    examples: ['show parameters idx=0', 'show parameters 52:54:00:11:22:33'],
  },
  'show paraminfo': {
    tags: ['idx', 'param'],
    summary: 'Show what values a parameter takes',
    remarks: ['Shows type and range of a parameter, or its values.'],
    examples: ['show paraminfo idx=0 param=*RSS', 'show paraminfo 0 *JumboPacket'],
  },
  getparam: {
    tags: ['idx', 'param'],
    summary: 'Show the value of a parameter',
    remarks: ['Shows the value that holds, or what is stored although it is not valid.'],
    examples: ['getparam idx=0 param=*RSS', 'getparam 0 *JumboPacket'],
  },
  setparam: {
    tags: ['idx', 'param', 'value'],
    summary: 'Set the value of a parameter',
    remarks: ['Stores a value. On Windows it holds after `restart`.'],
    examples: ['setparam idx=0 param=*RSS value=1', 'setparam 0 *JumboPacket 9014'],
  },
  restart: {
    tags: ['idx'],
    summary: 'Restart a device',
    remarks: ['Restarts a device, so that what was stored holds. Its traffic stops meanwhile.'],
    examples: ['restart idx=0', 'restart 52:54:00:11:22:33'],
  },
  dump: {
    tags: [],
    summary: 'Show all parameters as a script',
    remarks: ['Writes the commands that make all parameters what they are now.'],
    examples: ['dump'],
  },
} as const satisfies Record<string, VerbEntry>;
export type Verb = keyof typeof VERBS;
export const VERB_NAMES = Object.keys(VERBS) as Verb[];

export interface Order {
  readonly verb: Verb;
  readonly device: string;
  readonly name: string;
  readonly value: string;
}

export const isQuestion = (word: string): boolean => ['?', '/?', '-?', '-h', '--help'].includes(word.toLowerCase());

const MEANINGS: Readonly<Record<Tag, string>> = {
  idx: 'IDX - index of a device as in "show devices", or its MAC, name or instance id.',
  param: 'PARAM - name of a parameter as in "show parameters".',
  value: 'VALUE - the new value; an empty one takes it away.',
};
const FORMS: Readonly<Record<Tag, string>> = { idx: '[idx=]0-N', param: '[param=]name', value: '[value=]value' };

const section = (head: string, lines: readonly string[]): string => `${head}:\n${lines.map((line) => `\t${line}\n`).join('')}\n`;

/** The help of one verb. */
export const verbHelp = (verb: Verb): string => {
  const { tags, remarks, examples }: VerbEntry = VERBS[verb];
  return [
    `\nUsage: ${[verb, ...tags.map((tag) => FORMS[tag])].join(' ')}\n\n`,
    tags.length === 0
      ? ''
      : section(
          'Parameters',
          tags.map((tag) => MEANINGS[tag]),
        ),
    section('Remarks', remarks),
    tags.length === 0 ? '' : section('Examples', examples),
  ].join('');
};

export const usageText = (): string =>
  [
    'Commands:',
    `\trestart\t\t${VERBS.restart.summary}`,
    ...(['getparam', 'setparam', 'dump'] as const).map((verb) => `\t${verb}\t${VERBS[verb].summary}`),
    'Command groups:',
    '\tshow\t\tShow devices, and what parameters they have',
    '',
  ].join('\n');

export const showText = (): string =>
  [
    'show <...>\tpossible values:',
    ...(['show devices', 'show parameters', 'show paraminfo'] as const).map(
      (verb) => `\t${verb.slice(5)}\t${VERBS[verb].summary}`,
    ),
    '',
  ].join('\n');

const usage = (text: string): NetkvmError => new NetkvmError('usage.command', text);

/** The one of `names` that begins with `word`. Throws `usage.command` for none, or several. */
export const abbreviated = <N extends string>(word: string, names: readonly N[]): N => {
  const lower = word.toLowerCase();
  const exact = names.find((name) => name === lower);
  if (exact !== undefined) return exact;
  const found = lower === '' ? [] : names.filter((name) => name.startsWith(lower));
  if (found.length === 1) return found[0]!;
  if (found.length > 1) throw usage(`${JSON.stringify(word)} could be ${found.join(' or ')}`);
  throw usage(`there is no command ${JSON.stringify(word.slice(0, 60))}${didYouMean(word, names)}`);
};

const FIRSTS = [...new Set(VERB_NAMES.map((verb) => verb.split(' ', 1)[0]!))];
const SHOWN = VERB_NAMES.flatMap((verb) => (verb.startsWith('show ') ? [verb.slice(5)] : []));

/** What words ask for: an order, or help and nothing else. */
export type Asked = { readonly help: string } | { readonly order: Order };

/** Reads the words of one command. Errors: `usage.command`. */
export const readWords = (words: readonly string[]): Asked => {
  const [first, second] = words;
  if (first === undefined || isQuestion(first)) return { help: usageText() };
  const group = abbreviated(first, FIRSTS);
  if (group !== 'show') return readOrder(group as Verb, words.slice(1));
  if (second === undefined || isQuestion(second)) return { help: showText() };
  return readOrder(`show ${abbreviated(second, SHOWN)}` as Verb, words.slice(2));
};

/** Arguments by their tag in any place, the others in order. A `?` among them asks for help, whatever else is there. */
export const readOrder = (verb: Verb, words: readonly string[]): Asked => {
  if (words.some(isQuestion)) return { help: verbHelp(verb) };
  const { tags }: VerbEntry = VERBS[verb];
  const given = new Map<Tag, string>();
  const bare: string[] = [];
  for (const word of words) {
    const tag = tags.find((one) => word.toLowerCase().startsWith(`${one}=`));
    if (tag === undefined) bare.push(word);
    else if (given.has(tag)) throw usage(`${verb}: ${tag}= is given twice`);
    else given.set(tag, word.slice(tag.length + 1));
  }
  for (const tag of tags) {
    if (given.has(tag)) continue;
    const word = bare.shift();
    if (word === undefined) throw usage(`${verb} needs ${tags.filter((one) => !given.has(one)).join(', ')}`);
    given.set(tag, word);
  }
  if (bare.length > 0) throw usage(`${verb}: ${JSON.stringify(bare[0])} is one too many`);
  return { order: { verb, device: given.get('idx') ?? '', name: given.get('param') ?? '', value: given.get('value') ?? '' } };
};

/** A line as words: blanks part them, double quotes keep them together. Throws `usage.command` for an open quote. */
export const cutWords = (line: string): string[] => {
  const words: string[] = [];
  let word: string | null = null;
  let quoted = false;
  for (const char of line) {
    if (char === '"') {
      quoted = !quoted;
      word ??= '';
    } else if (!quoted && /\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + char;
  }
  if (quoted) throw usage('a double quote is not closed');
  if (word !== null) words.push(word);
  return words;
};
/** Null for a text that no line can hold. */
export const quoted = (value: string): string | null => {
  if (/["\r\n]/.test(value)) return null;
  return /\s/.test(value) ? `"${value}"` : value;
};
