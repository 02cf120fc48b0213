// The one door to @kurrent/kurrentdb-client, loaded when a configuration asks for it and never before: it and its native
// part take 60 MB of memory and a quarter of a second. What it throws becomes an error that a user can act on.
//
// Reading goes through @kurrent/bridge, a native library with binaries for Linux (x64, arm64; glibc, musl), macOS and
// Windows x64. There is none for Windows arm64, and the client cannot be made without it: `kurrentdb.missing` says so.
import type { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { NetkvmError } from '../../events/errors.ts';
import { type Connection, secretOf } from './connection.ts';

export type Client = KurrentDBClient;

/** How long one answer may take before the attempt counts as failed. */
export const ANSWER_LIMIT_MS = 10_000;

/** Loads the client and makes one; nothing is connected yet. Throws `kurrentdb.missing`, `config.value`. */
export const openClient = async (connection: Connection): Promise<Client> => {
  let library: typeof import('@kurrent/kurrentdb-client');
  try {
    library = await import('@kurrent/kurrentdb-client');
  } catch (error) {
    throw new NetkvmError('kurrentdb.missing', `the client cannot be loaded: ${firstLine(error)}`, { cause: error });
  }
  try {
    return library.KurrentDBClient.connectionString(secretOf(connection));
  } catch (error) {
    const text = firstLine(error);
    if (text.includes('bridge') || text.includes('platform') || text.includes('neon'))
      throw new NetkvmError('kurrentdb.missing', `the client has no native part for ${process.platform} ${process.arch}`);
    throw new NetkvmError('config.value', `${connection.name}: ${withoutSecret(text, connection)}`);
  }
};

/**
 * Options for a call that reads, to be spread: user and password. The part of the client that reads takes them out of the
 * connection string without decoding them, and so gets them wrong where they have special characters.
 */
export const asUser = ({ credentials }: Connection) =>
  credentials === null ? {} : { credentials: { username: credentials.user, password: credentials.password } };

/** A message of the client may quote the string that it was given. */
const withoutSecret = (text: string, { credentials }: Connection): string =>
  credentials === null || !text.includes('@') ? text : 'the client does not take this connection string';

const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';

/** The client's own kind of an error, '' for any other: `wrong-expected-version`, `stream-not-found`, … */
export const kindOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'type' in error && typeof error.type === 'string' ? error.type : '';

/** The error to throw in place of one that came from the client while it spoke to `name`. */
export const asKurrentError = (error: unknown, name: string): NetkvmError => {
  if (error instanceof NetkvmError) return error;
  const kind = kindOf(error);
  const text = `${name}: ${firstLine(error) || kind}`;
  switch (kind) {
    case 'access-denied':
      return new NetkvmError('kurrentdb.denied', text, { cause: error });
    case 'stream-deleted':
    case 'stream-tombstoned':
      return new NetkvmError('kurrentdb.deleted', `${name}: the stream was deleted for good`, { cause: error });
    case 'maximum-append-size-exceeded':
    case 'append-record-size-exceeded':
      return new NetkvmError('kurrentdb.tooLarge', text, { cause: error });
    default:
      return new NetkvmError('kurrentdb.unreachable', text, { cause: error });
  }
};

/** Waits for an answer, but not for ever: the client itself waits without an end in some cases. */
export const limited = async <T>(answer: Promise<T>, name: string, limit_ms = ANSWER_LIMIT_MS): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new NetkvmError('kurrentdb.unreachable', `${name}: no answer in ${limit_ms} ms`)), limit_ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
};
