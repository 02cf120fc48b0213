// The configuration: one TOML file, validated once, then frozen. Every key has a default (settings.ts, machines/policy.ts),
// may stand in the file, and may be overridden on the command line; `origins` says for each where its value came from.
// Anything that is not understood is an error that names file, line, key, value and range: a service that guesses what a
// typing error meant would change somebody's network on a guess.
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import type { Policy } from '../events/catalogue.ts';
import type { VmPolicy } from '../events/hosting.ts';
import { NetkvmError } from '../events/errors.ts';
import { connectionProblem } from '../adapters/kurrentdb/connection.ts';
import { readPairs } from './config-pairs.ts';
import { readVms } from './config-vms.ts';
import { badValue, isTable, onlyKnown, parseText, show, type Source } from './config-source.ts';
import { fits, KEYS, rangeOf, type Key, type Settings } from './settings.ts';

/** A configuration file may be this large. */
export const FILE_BYTES_MAX = 1_048_576;

/** `default`, `file:<path>:<line>` or `command line`. */
export type Origin = string;

export interface Configuration {
  /** The file that was read, null when there is none. */
  readonly file: string | null;
  readonly settings: Settings;
  readonly policy: Policy;
  /** The guests of a hypervisor (`netkvm host`); they become part of its policy only there. */
  readonly vms: readonly VmPolicy[];
  /** By `service.<key>`, `policy.<key>` and `pairs`. */
  readonly origins: Readonly<Record<string, Origin>>;
}

/** Values of the command line by `service.<key>` or `policy.<key>`; undefined ones are skipped. */
export type Overrides = Readonly<Record<string, number | boolean | string | undefined>>;

/** What of the running process the defaults depend on. */
export interface Surroundings {
  readonly platform: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Effective user id; null on Windows. */
  readonly uid: number | null;
}

const here = (): Surroundings => ({ platform: process.platform, env: process.env, uid: process.geteuid?.() ?? null });

const programData = (at: Surroundings): string => join(at.env['ProgramData'] ?? 'C:\\ProgramData', 'netkvm-failover');

export const defaultFile = (at: Surroundings = here()): string =>
  at.platform === 'win32' ? join(programData(at), 'config.toml') : '/etc/netkvm-failover/config.toml';

const defaultStateDir = (at: Surroundings): string => {
  if (at.platform === 'win32') return join(programData(at), 'state');
  if (at.uid === 0) return '/var/lib/netkvm-failover';
  const state = at.env['XDG_STATE_HOME'];
  return join(state !== undefined && isAbsolute(state) ? state : join(at.env['HOME'] ?? '/', '.local/state'), 'netkvm-failover');
};

/**
 * The socket of the system's service is where systemd makes it a folder, and where a read-only disk does no harm. On Windows
 * it is a named pipe, which only administrators, the system and whoever made it may write to (its default descriptor); its
 * name follows from the folder of the log.
 */
const defaultSocket = (stateDir: string, at: Surroundings): string => {
  if (at.platform === 'win32')
    return `\\\\.\\pipe\\netkvm-failover-${createHash('sha256').update(stateDir.toLowerCase()).digest('hex').slice(0, 12)}`;
  return join(at.uid === 0 && stateDir === defaultStateDir(at) ? '/run/netkvm-failover' : stateDir, 'control.sock');
};

/** The file's text; null when it does not exist. Errors: `config.unreadable`, `config.syntax` (not UTF-8). */
const readText = (path: string): string | null => {
  let file: number;
  try {
    // Non-blocking, so that a FIFO in the file's place cannot hang the service.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new NetkvmError('config.unreadable', `${path}: ${code ?? String(error)}`, { cause: error });
  }
  try {
    if (!fstatSync(file).isFile()) throw new NetkvmError('config.unreadable', `${path} is not a regular file`);
    const bytes = Buffer.alloc(FILE_BYTES_MAX + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length < bytes.length; length += got) {
      got = readSync(file, bytes, length, bytes.length - length, null);
    }
    if (length > FILE_BYTES_MAX) throw new NetkvmError('config.unreadable', `${path} is larger than ${FILE_BYTES_MAX} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
  } catch (error) {
    if (error instanceof NetkvmError) throw error;
    if (error instanceof TypeError) throw new NetkvmError('config.syntax', `${path} is not UTF-8 text`, { cause: error });
    throw new NetkvmError('config.unreadable', `${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    closeSync(file);
  }
};

const readKey = (source: Source, key: Key): number | boolean | string | undefined => {
  const table = source.root[key.table];
  if (table === undefined || !isTable(table) || !Object.hasOwn(table, key.name)) return undefined;
  const value = table[key.name];
  const name = `${key.table}.${key.name}`;
  if (!fits(key, value)) throw badValue(source, name, value, rangeOf(key));
  const isPath = key.name === 'stateDir' || key.name === 'controlSocket' || key.name === 'credentialsFile';
  if (isPath && value !== '' && !isAbsolute(value as string)) throw badValue(source, name, value, 'an absolute path');
  const isServer = key.name === 'log' || key.name === 'forwardTo';
  const problem = isServer && value !== '' ? connectionProblem(value as string) : null;
  if (problem !== null) throw badValue(source, name, value, `a connection string: ${problem}`);
  return value;
};

const readOverride = (key: Key, overrides: Overrides): number | boolean | string | undefined => {
  const value = overrides[`${key.table}.${key.name}`];
  if (value === undefined) return undefined;
  if (!fits(key, value)) throw new NetkvmError('usage.value', `${key.name} = ${show(value)} is not ${rangeOf(key)}`);
  return key.name === 'stateDir' || key.name === 'controlSocket' ? resolve(value as string) : value;
};

const deepFreeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
};

const readSource = (path: string | null | undefined, at: Surroundings): Source | null => {
  if (path === null) return null;
  const file = path === undefined ? defaultFile(at) : resolve(path);
  const text = readText(file);
  if (text === null && path !== undefined) throw new NetkvmError('config.unreadable', `${file} does not exist`);
  if (text === null) return null;
  const source = parseText(file, text);
  onlyKnown(source, '', source.root, ['service', 'policy', 'pairs', 'vms']);
  for (const table of ['service', 'policy'] as const) {
    const value = source.root[table] ?? {};
    if (!isTable(value)) throw badValue(source, table, value, `a table, written [${table}]`);
    const known = KEYS.filter((key) => key.table === table).map(({ name }) => name);
    onlyKnown(source, `${table}.`, value, known);
  }
  return source;
};

/**
 * Reads and validates the configuration. `path` undefined means the default file, which need not exist; a named one must;
 * null means none at all.
 * Errors: `config.unreadable`, `config.syntax`, `config.key`, `config.value`, and `usage.value` for an override.
 */
export const loadConfig = (path?: string | null, overrides: Overrides = {}, at: Surroundings = here()): Configuration => {
  const source = readSource(path, at);
  const origins: Record<string, Origin> = {};
  const values: Record<Key['table'], Record<string, number | boolean | string>> = { service: {}, policy: {} };
  for (const key of KEYS) {
    const name = `${key.table}.${key.name}`;
    const inFile = source === null ? undefined : readKey(source, key);
    const given = readOverride(key, overrides);
    values[key.table][key.name] = given ?? inFile ?? key.initial;
    origins[name] = given !== undefined ? 'command line' : inFile !== undefined ? `file:${source!.where(name)}` : 'default';
  }
  const pairs = source === null ? [] : readPairs(source);
  const tuned = at.platform === 'win32' ? pairs.findIndex(({ standbyParameters }) => standbyParameters !== undefined) : -1;
  if (source !== null && tuned >= 0) {
    const why = 'to be had on Windows: the driver of the standby would be restarted, and it may be the path that carries';
    throw badValue(source, `pairs.${tuned}.standbyParameters`, pairs[tuned]!.standbyParameters, why);
  }
  origins['pairs'] = source !== null && pairs.length > 0 ? `file:${source.where('pairs.0')}` : 'default';
  const settings = values.service as unknown as Settings;
  const stateDir = settings.stateDir || defaultStateDir(at);
  const controlSocket = settings.controlSocket || defaultSocket(stateDir, at);
  return deepFreeze({
    file: source?.path ?? null,
    settings: { ...settings, stateDir, controlSocket },
    policy: { ...(values.policy as unknown as Omit<Policy, 'pairs'>), pairs },
    vms: source === null ? [] : readVms(source),
    origins,
  });
};
