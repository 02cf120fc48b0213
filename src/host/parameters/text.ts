// How devices and parameters are written: the lines of the original tool, which scripts parse, and the same as JSON. Pure.
import type { Parameter, ParameterDevice, ParameterType } from '../../adapters/parameters.ts';
import { faultOf, valueOf } from '../../adapters/parameter-values.ts';
import { quoted } from './words.ts';

export interface Indexed {
  readonly index: number;
  readonly device: ParameterDevice;
}

/** `MAC` is no line of the original tool: it is told where the original's is not asked for. */
export const deviceText = ({ index, device }: Indexed, isOriginal: boolean): string =>
  [
    `NetKVM device: ${device.id}`,
    `\tIndex: ${index}`,
    `\tDescription: ${device.description}`,
    `\tName: ${device.name}`,
    `\tLocation: ${device.location}`,
    `\tNumber on bus: ${device.busNumber}`,
    `\tSoftware registry key: ${device.key}`,
    ...(isOriginal ? [] : [`\tMAC: ${device.mac ?? ''}`]),
    '\n',
  ].join('\n');

export const NO_DEVICES = 'Warning: No NetKVM devices were found in the system\n';

export const parameterText = ({ name, description }: Parameter): string => `${name}\n\t${description}\n`;

const LABELS = {
  enum: 'enumeration',
  int: 'integer',
  long: 'long integer',
  word: 'word',
  dword: 'double word',
  text: 'text',
  unknown: 'UNKNOWN',
} as const satisfies Record<ParameterType['kind'], string>;

const rangeLines = (type: ParameterType): string[] => {
  switch (type.kind) {
    case 'enum':
      return type.values.map(({ value, meaning }) => `Value "${value}" - ${meaning}`);
    case 'int':
    case 'long':
    case 'word':
    case 'dword':
      return [`Min value: ${type.min}`, `Max value: ${type.max}`, `Value increment: ${type.step}`];
    case 'text':
      return [`Upper-case only: ${type.upperCase ? 1 : 0}`, ...(type.limit === null ? [] : [`Max text length: ${type.limit}`])];
    case 'unknown':
      return [];
  }
};

export const infoText = ({ type }: Parameter): string =>
  `Parameter type: ${LABELS[type.kind]}\n${rangeLines(type)
    .map((line) => `\t${line}\n`)
    .join('')}`;

/** The lines that make a device what it is. Comments say what cannot be written, and what the index meant. */
export const dumpText = (
  { index, device }: Indexed,
  parameters: readonly Parameter[],
  { isOriginal, needsRestart }: { readonly isOriginal: boolean; readonly needsRestart: boolean },
): string => {
  const lines = parameters
    .filter(({ readOnly }) => !readOnly)
    .flatMap((parameter) => {
      const line = `setparam idx=${index} param=${parameter.name} value=`;
      const value = valueOf(parameter) ?? '';
      if (isOriginal) return parameter.type.kind === 'unknown' ? [] : [line + value];
      const fault = parameter.type.kind === 'unknown' ? `of the unknown type ${parameter.type.name}` : faultOf(parameter);
      const text = quoted(value);
      if (fault === null && text !== null) return [line + text];
      return [`# ${(line + value).replaceAll(/\p{Cc}+/gu, ' ')}: ${fault ?? 'it does not fit into a line'}`];
    });
  const head = isOriginal ? [] : [`# idx=${index} is ${device.id}`];
  return [...head, ...lines, ...(needsRestart ? [`restart idx=${index} `] : []), '\n'].join('\n');
};
/** The comment that `dumpText` begins with: index and device id. */
export const readHead = (line: string): { readonly index: number; readonly id: string } | null => {
  const [, index, id] = /^#\s*idx=([0-9]{1,5}) is (.+?)\s*$/.exec(line) ?? [];
  return index === undefined || id === undefined ? null : { index: Number(index), id };
};

export const deviceDocument = ({ index, device }: Indexed): object => {
  const { id, name, description, location, busNumber, key, mac, mtu, master } = device;
  return { index, id, name, description, location, busNumber, key, mac, mtu, master };
};
export const parameterDocument = (parameter: Parameter): object => {
  const { name, description, type, initial, optional, readOnly, stored } = parameter;
  const value = valueOf(parameter);
  return {
    name,
    description,
    ...type,
    ...(type.kind === 'unknown' ? { kind: 'unknown', type: type.name } : {}),
    value,
    stored,
    default: initial,
    optional,
    readOnly,
    fault: faultOf(parameter),
  };
};
