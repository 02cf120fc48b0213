// A configuration file as text: parsed, with the line in which each key stands, so that every complaint names its place.
import { parse, TomlError } from 'smol-toml';
import { NetkvmError } from '../events/errors.ts';
import { didYouMean } from './nearest.ts';

export type Table = Readonly<Record<string, unknown>>;
export const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/**
 * Lines of the keys, by `table.key` and `pairs.<place>.key`. The parser gives none for what it understood, so this looks
 * for lines that begin with a header or a key; a key written in an inline table has no line of its own.
 */
const linesOf = (text: string): Map<string, number> => {
  const lines = new Map<string, number>();
  let table = '';
  const places = new Map<string, number>();
  text.split('\n').forEach((line, index) => {
    const header = /^\s*(\[\[?)\s*([\w"'.-]+)\s*\]\]?\s*(?:#.*)?\r?$/.exec(line);
    const key = /^\s*([\w"'.-]+(?:\s*\.\s*[\w"'-]+)*)\s*=/.exec(line);
    if (header) {
      table = `${header[2]!.replaceAll(/["']/g, '')}.`;
      if (header[1] === '[[') {
        const place = places.get(table) ?? 0;
        places.set(table, place + 1);
        table += `${place}.`;
      }
      lines.set(table.slice(0, -1), index + 1);
    } else if (key) {
      const name = table + key[1]!.replaceAll(/["'\s]/g, '');
      if (!lines.has(name)) lines.set(name, index + 1);
    }
  });
  return lines;
};

/** A parsed file with its way to say where something stands. */
export interface Source {
  readonly path: string;
  readonly root: Table;
  readonly where: (name: string) => string;
}

export const parseText = (path: string, text: string): Source => {
  const lines = linesOf(text);
  // A key without a line of its own stands where its table does.
  const where = (name: string): string => {
    if (lines.has(name)) return `${path}:${lines.get(name)}`;
    const dot = name.lastIndexOf('.');
    return dot === -1 ? path : where(name.slice(0, dot));
  };
  try {
    return { path, root: parse(text.replace(/^\uFEFF/, ''), { maxDepth: 8 }), where };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split('\n', 1)[0]!.replace(/^Invalid TOML document: /, '');
    throw new NetkvmError('config.syntax', `${path}:${error.line}:${error.column}: ${what}`, { cause: error });
  }
};

export const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
};

/** Refuses every name of `table` that is not in `known`. */
export const onlyKnown = (source: Source, prefix: string, table: Table, known: readonly string[]): void => {
  for (const name of Object.keys(table)) {
    if (known.includes(name)) continue;
    throw new NetkvmError(
      'config.key',
      `${source.where(prefix + name)}: there is no key ${JSON.stringify(name)}${prefix ? ` in ${prefix.split('.', 1)[0]}` : ''}${didYouMean(name, known)}`,
    );
  }
};

export const badValue = (source: Source, name: string, value: unknown, range: string): NetkvmError =>
  new NetkvmError('config.value', `${source.where(name)}: ${name} = ${show(value)} is not ${range}`);
