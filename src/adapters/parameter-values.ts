// What a value of a parameter means: whether it fits, why not, and how it is written. Pure, and the same for every system.
//
// Numbers may be typed in decimal, in hexadecimal (0x10) and, as the original tool took it, in octal (010), and are written
// in decimal: the driver reads the registry in decimal, and would take 0x10 for 0. An empty text is no number; it takes the
// value of an optional parameter away. Negative numbers do not wrap around.
import type { Parameter } from './parameters.ts';
import { NetkvmError } from '../events/errors.ts';
import { parseMac } from '../events/mac.ts';

/** Bytes of an Ethernet header, which *JumboPacket counts and an MTU does not. */
export const FRAME_HEADER_BYTES = 14;

/** Reads a number as the command line and the registry have it; null for anything else. */
export const readNumber = (text: string): number | null => {
  const trimmed = text.trim();
  const [, sign = '', digits = ''] = /^([+-]?)(0x[0-9a-f]{1,12}|[0-9]{1,15})$/i.exec(trimmed) ?? [];
  if (digits === '') return null;
  const isOctal = /^0[0-9]+$/.test(digits);
  if (isOctal && /[89]/.test(digits)) return null;
  const number = isOctal ? Number.parseInt(digits, 8) : Number(digits);
  return sign === '-' ? 0 - number : number;
};

/** What a parameter takes, in words that follow "not". */
export const rangeText = ({ type, bears }: Pick<Parameter, 'type' | 'bears'>): string => {
  switch (type.kind) {
    case 'enum':
      return `one of ${type.values.map(({ value, meaning }) => (meaning === value ? value : `${value} (${meaning})`)).join(', ')}`;
    case 'int':
    case 'long':
    case 'word':
    case 'dword': {
      const { min, max, step } = type;
      return `a whole number from ${min} to ${max}${step === 1 ? '' : ` in steps of ${step} from ${min}`}`;
    }
    case 'text':
      if (bears === 'mac') return 'a unicast MAC, 12 hexadecimal digits';
      return `a text${type.limit === null ? '' : ` of at most ${type.limit} characters`}${type.upperCase ? ' in capital letters' : ''}`;
    case 'unknown':
      return `known: the type ${JSON.stringify(type.name)} is none of ours`;
  }
};

const isUnicast = (mac: string): boolean => mac !== '00:00:00:00:00:00' && Number.parseInt(mac.slice(0, 2), 16) % 2 === 0;

/** How `text` is written; null where it does not fit. */
const fitted = ({ type, bears }: Pick<Parameter, 'type' | 'bears'>, text: string): string | null => {
  switch (type.kind) {
    case 'enum':
      return type.values.find(({ value }) => value.toLowerCase() === text.toLowerCase())?.value ?? null;
    case 'int':
    case 'long':
    case 'word':
    case 'dword': {
      const number = readNumber(text);
      const fits = number !== null && number >= type.min && number <= type.max && (number - type.min) % type.step === 0;
      return fits ? String(number) : null;
    }
    case 'text': {
      if (bears === 'mac') {
        const mac = parseMac(text);
        return mac !== null && isUnicast(mac) ? mac.replaceAll(':', '').toUpperCase() : null;
      }
      const isShort = type.limit === null || text.length <= type.limit;
      return isShort && !text.includes('\0') && (!type.upperCase || /^\p{Lu}*$/u.test(text)) ? text : null;
    }
    case 'unknown':
      return null;
  }
};

/** The value that holds; null for none. */
export const valueOf = ({ stored, initial }: Pick<Parameter, 'stored' | 'initial'>): string | null => stored ?? initial;

/** What is wrong with the value that holds; null where nothing is, or where nobody can tell. */
export const faultOf = (parameter: Parameter): string | null => {
  const value = valueOf(parameter);
  if (parameter.type.kind === 'unknown') return null;
  if (value === null || (value === '' && parameter.optional))
    return parameter.optional ? null : 'nothing is stored, and there is no default';
  return fitted(parameter, value) === null ? `${JSON.stringify(value)} is not ${rangeText(parameter)}` : null;
};

/** What is to be written for what was typed; null to take the value away. Throws `parameter.value`. */
export const normalised = (parameter: Parameter, text: string): string | null => {
  const { name, optional, readOnly, type } = parameter;
  if (readOnly) throw new NetkvmError('parameter.value', `${name}: the driver does not let it be changed`);
  if (type.kind === 'unknown') throw new NetkvmError('parameter.value', `${name} is not ${rangeText(parameter)}`);
  if (text === '' && optional) return null;
  const value = fitted(parameter, text);
  if (value === null) throw new NetkvmError('parameter.value', `${name}: ${JSON.stringify(text)} is not ${rangeText(parameter)}`);
  return value;
};
