// What a connection string may say, checked without loading the client, so that a wrong one is one clear line at the start
// of the service (and in `netkvm config check`). User and password never stand in it: strings are shown in dumps, errors
// and process lists. They come from a file. Syntax: docs.kurrent.io, "Connection string".
import { readFileSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { NetkvmError } from '../../events/errors.ts';

const isFlag = (value: string): boolean => value === 'true' || value === 'false';
const isNumber = (value: string): boolean => /^-?[0-9]{1,9}$/.test(value);
const isFile = (value: string): boolean => isAbsolute(value);
const isText = (value: string): boolean => /^[\w.-]{1,64}$/.test(value);

/** Options of the client that make sense here, and what their values must be. */
const OPTIONS: Readonly<Record<string, readonly [fits: (value: string) => boolean, range: string]>> = {
  tls: [isFlag, 'true or false'],
  tlsVerifyCert: [isFlag, 'true or false'],
  tlsCAFile: [isFile, 'an absolute path'],
  userCertFile: [isFile, 'an absolute path'],
  userKeyFile: [isFile, 'an absolute path'],
  connectionName: [isText, 'a short name'],
  nodePreference: [(value) => ['leader', 'follower', 'random', 'readOnlyReplica'].includes(value), 'leader, follower or random'],
  defaultDeadline: [isNumber, 'milliseconds'],
  keepAliveInterval: [isNumber, 'milliseconds'],
  keepAliveTimeout: [isNumber, 'milliseconds'],
  maxDiscoverAttempts: [isNumber, 'a number'],
  discoveryInterval: [isNumber, 'milliseconds'],
  gossipTimeout: [isNumber, 'seconds'],
};
const FILES = ['tlsCAFile', 'userCertFile', 'userKeyFile'] as const;

const hostProblem = (text: string): string | null => {
  const match = /^[A-Za-z0-9._-]{1,253}(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return `${JSON.stringify(text)} is not a host, or a host and a port`;
  const port = match[1];
  return port === undefined || (Number(port) > 0 && Number(port) < 65_536) ? null : `there is no port ${port}`;
};

const optionProblem = (name: string, value: string): string | null => {
  const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
  if (option === undefined) return `there is no option ${name}`;
  return option[0](value) ? null : `${name} is not ${option[1]}`;
};

const parsed = (text: string) => {
  const match = /^kurrentdb(?:\+discover)?:\/\/([^/?]*)\/?(?:\?(.*))?$/.exec(text);
  if (match === null) return null;
  return { hosts: (match[1] ?? '').split(','), options: [...new URLSearchParams(match[2] ?? '')] };
};

/** What is wrong with a connection string, null for nothing. */
export const connectionProblem = (text: string): string | null => {
  const parts = parsed(text);
  if (parts === null) return 'it does not begin with kurrentdb://HOST or kurrentdb+discover://HOST';
  if (parts.hosts.some((host) => host.includes('@'))) return 'user and password belong into the file that credentialsFile names';
  const options = new Map(parts.options);
  if (options.size < parts.options.length) return 'an option is given twice';
  const problems = [...parts.hosts.map(hostProblem), ...parts.options.map(([name, value]) => optionProblem(name, value))];
  const problem = problems.find((found) => found !== null);
  if (problem !== undefined) return problem;
  return options.has('userCertFile') === options.has('userKeyFile') ? null : 'userCertFile and userKeyFile go together';
};

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/**
 * User and password in a file: one line `user:password`. Throws `config.unreadable`, `config.value` (nothing of the
 * file's content is in the message).
 */
export const readCredentials = (path: string): Credentials => {
  const wrong = (text: string): NetkvmError => new NetkvmError('config.value', `credentialsFile ${path}: ${text}`);
  let text: string;
  try {
    const { mode } = statSync(path);
    if (process.platform !== 'win32' && (mode & 0o007) !== 0) throw wrong('everybody may use it; chmod o-rwx it');
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof NetkvmError) throw error;
    throw new NetkvmError('config.unreadable', `credentialsFile ${path}: ${(error as NodeJS.ErrnoException).code ?? ''}`, {
      cause: error,
    });
  }
  const [, user, password] = /^([^:\r\n]{1,256}):([^\r\n]{1,1024})\r?\n?$/.exec(text) ?? [];
  if (user === undefined || password === undefined) throw wrong('it is not one line of the form user:password');
  return { user, password };
};

/** How to reach a server: everything that was checked, and what is given to the client. */
export interface Connection {
  /** For people: without user and password. */
  readonly name: string;
  readonly credentials: Credentials | null;
}

/**
 * Checks a connection string and the files that it and `credentialsFile` ('' for none) name. Throws `config.value`,
 * `config.unreadable`.
 */
export const connectionOf = (text: string, credentialsFile: string): Connection => {
  const problem = connectionProblem(text);
  if (problem !== null) throw new NetkvmError('config.value', `${text}: ${problem}`);
  const options = new Map(parsed(text)?.options);
  for (const name of FILES) {
    const path = options.get(name);
    if (path === undefined) continue;
    try {
      readFileSync(path);
    } catch (error) {
      throw new NetkvmError('config.unreadable', `${name} ${path}: ${(error as NodeJS.ErrnoException).code ?? ''}`, {
        cause: error,
      });
    }
  }
  const credentials = credentialsFile === '' ? null : readCredentials(credentialsFile);
  if (credentials !== null && options.get('tls') === 'false')
    throw new NetkvmError('config.value', `${text}: user and password are not sent without TLS; leave out tls=false`);
  return { name: text, credentials };
};

/** What the client is given; never shown. */
export const secretOf = ({ name, credentials }: Connection): string => {
  if (credentials === null) return name;
  const [user, password] = [credentials.user, credentials.password].map((part) =>
    encodeURIComponent(part).replaceAll(/[!'()*]/g, (letter) => `%${letter.codePointAt(0)?.toString(16)}`),
  );
  return name.replace('://', `://${user}:${password}@`);
};
