// A driver parameter as an INF file leaves it in the registry (Ndi\Params\NAME below the driver key), read into what the
// commands know. Pure. A range that makes no sense is read as none: a step of 0 as 1, a limit that is no number as the
// widest. Sources: "Specifying Configuration Parameters for the Advanced Properties Page", learn.microsoft.com; the names
// of the values are ParamDesc, Type, Default, Min, Max, Step, Optional, LimitText, UpperCase, and the key Enum.
import type { Parameter, ParameterType } from '../parameters.ts';

/** The key of one parameter: its values as text (REG_DWORD in decimal), and what its Enum key lists. */
export interface InfKey {
  readonly name: string;
  readonly values: Readonly<Record<string, string>>;
  readonly choices: readonly { readonly value: string; readonly meaning: string }[];
}

const U16_MAX = 65_535;
const U32_MAX = 4_294_967_295;

const numberOr = (text: string | undefined, otherwise: number): number =>
  text !== undefined && /^-?[0-9]{1,10}$/.test(text.trim()) ? Number(text) : otherwise;

const typeOf = (value: (name: string) => string | undefined, choices: InfKey['choices']): ParameterType => {
  const name = (value('Type') ?? '').trim();
  const kind = name.toLowerCase();
  switch (kind) {
    case 'enum':
      return { kind, values: choices };
    case 'int':
    case 'long':
    case 'word':
    case 'dword': {
      const max = kind === 'word' ? U16_MAX : U32_MAX;
      return {
        kind,
        min: numberOr(value('Min'), 0),
        max: numberOr(value('Max'), max),
        step: Math.max(1, numberOr(value('Step'), 1)),
      };
    }
    case 'edit': {
      const limit = numberOr(value('LimitText'), 0);
      return { kind: 'text', limit: limit > 0 ? limit : null, upperCase: numberOr(value('UpperCase'), 0) !== 0 };
    }
    default:
      return { kind: 'unknown', name };
  }
};

/** Standardized keywords that the pair must agree on. */
const BEARS: Readonly<Record<string, Parameter['bears']>> = { '*jumbopacket': 'frame', networkaddress: 'mac' };

/** `stored` is the value under the driver key, null where there is none. */
export const readInfParameter = ({ name, values, choices }: InfKey, stored: string | null): Parameter => {
  const lower = new Map(Object.entries(values).map(([key, value]) => [key.toLowerCase(), value]));
  const value = (key: string): string | undefined => lower.get(key.toLowerCase());
  return {
    name,
    description: value('ParamDesc') ?? '',
    type: typeOf(value, choices),
    initial: value('Default') ?? null,
    optional: numberOr(value('Optional'), 0) !== 0,
    stored,
    readOnly: false,
    bears: BEARS[name.toLowerCase()] ?? null,
  };
};
