// The file that `netkvm fleet … --checkpoint FILE` goes on from: how far a server was read, as one JSON document. It is
// replaced as a whole, after what was read has been written out: a command that dies repeats some events and leaves out none.
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { isPlace, type Place, type Source } from '../adapters/kurrentdb/fleet.ts';
import { rename } from '../adapters/log/files.ts';
import { NetkvmError } from '../events/errors.ts';

const LARGEST_BYTES = 4096;

const wrong = (path: string, text: string): NetkvmError => new NetkvmError('fleet.checkpoint', `${path}: ${text}`);

/** The place in a file, null where there is no file yet. Throws `fleet.checkpoint`. */
export const readPlace = (path: string, source: Source): Place | null => {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw wrong(path, (error as Error).message);
  }
  let value: unknown;
  try {
    value = JSON.parse(text.length > LARGEST_BYTES ? '' : text);
  } catch {
    throw wrong(path, 'this is no checkpoint of netkvm fleet');
  }
  const { schemaVersion, source: of, at } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (schemaVersion !== 1 || typeof of !== 'string' || typeof at !== 'string' || !isPlace(of, at))
    throw wrong(path, 'this is no checkpoint of netkvm fleet');
  if (of !== source) throw wrong(path, `it is of ${of}, and ${source} is asked for`);
  return { source, at };
};

/** Throws `fleet.checkpoint`; what was there is then still there. */
export const writePlace = (path: string, { source, at }: Place): void => {
  const part = `${path}.${process.pid}.part`;
  try {
    const file = openSync(part, 'w', 0o600);
    try {
      writeSync(file, `${JSON.stringify({ schemaVersion: 1, source, at })}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    rename(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw wrong(path, (error as Error).message);
  }
};
