// What a check of `netkvm doctor` is, and the checks that every system has; doctor-linux.ts and doctor-windows.ts have their
// own. Every check only reads; what it throws counts as failed, so that one broken part hides no other. The adapters are loaded
// inside their checks for the same reason.
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ERRORS, NetkvmError } from '../events/errors.ts';
import type { Configuration } from './config.ts';
import { ping } from './control-client.ts';

export type CheckResult = 'ok' | 'warning' | 'failed';

export interface Check {
  readonly name: string;
  readonly result: CheckResult;
  /** What was found, one line. */
  readonly text: string;
  /** What to do about it; null when there is nothing to do. */
  readonly todo: string | null;
}

export interface CheckContext {
  readonly configuration: Configuration;
  /** The log's integrity is checked in full only up to this size. */
  readonly thorough_bytes: number;
}

export type Found = Omit<Check, 'name'>;
/** By name, in the order in which they are shown. */
export type Checks = Readonly<Record<string, (context: CheckContext) => Found | Promise<Found>>>;
export const ok = (text: string): Found => ({ result: 'ok', text, todo: null });
export const warning = (text: string, todo: string): Found => ({ result: 'warning', text, todo });
export const failed = (text: string, todo: string): Found => ({ result: 'failed', text, todo });

export const readOr = (path: string, otherwise: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
};

export const MiB = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`;

export const node = (): Found => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fine = major > 22 || (major === 22 && minor >= 18);
  return fine ? ok(`Node ${process.versions.node}`) : failed(`Node ${process.versions.node}`, 'Install Node 22.18 or newer.');
};

const existing = (path: string): string => (existsSync(path) || dirname(path) === path ? path : existing(dirname(path)));

export const stateDir = ({ configuration }: CheckContext): Found => {
  const folder = configuration.settings.stateDir;
  const there = existing(folder);
  try {
    accessSync(there, constants.W_OK | constants.X_OK);
    if (!statSync(there).isDirectory()) return failed(`${there} is no folder`, 'Name another one with --state-dir or stateDir.');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return failed(`${there}: ${code}`, 'Run as the owner, or name another folder with --state-dir or stateDir.');
  }
  const { bavail, bsize } = statfsSync(there);
  if (bavail * bsize < 104_857_600)
    return warning(`${folder}: only ${MiB(bavail * bsize)} free`, 'Make room, or lower retentionEvents.');
  return ok(there === folder ? `${folder} can be written, ${MiB(bavail * bsize)} free` : `${folder} will be made`);
};

const remoteLog = async (configuration: Configuration): Promise<Found> => {
  const { openLogOf } = await import('./look.ts');
  const reader = await openLogOf(configuration);
  try {
    return ok(`${reader.path}: events ${reader.first()} to ${reader.head()}`);
  } finally {
    reader.close();
  }
};

export const log = async ({ configuration, thorough_bytes }: CheckContext): Promise<Found> => {
  if (configuration.settings.log !== '') return remoteLog(configuration);
  const [{ databaseIn, openReader }, { inspect, sizeOf }] = await Promise.all([
    import('../adapters/log/sqlite.ts'),
    import('../adapters/log/schema.ts'),
  ]);
  const path = databaseIn(configuration.settings.stateDir);
  if (!existsSync(path)) return ok(`${path} does not exist yet`);
  const bytes = sizeOf(path);
  const finding = inspect(path, bytes <= thorough_bytes);
  if (finding.kind === 'damaged') {
    return failed(`${path}: ${finding.reason}`, 'Export what can be read; the service sets the file aside at its next start.');
  }
  const reader = openReader(configuration.settings.stateDir);
  const text = `${path}: events ${reader.first()} to ${reader.head()}, ${MiB(bytes)}`;
  reader.close();
  return ok(
    text + (bytes <= thorough_bytes ? ', integrity checked' : ', too large for a quick check: netkvm log verify reads it all'),
  );
};

export const service = async ({ configuration }: CheckContext): Promise<Found> => {
  const path = configuration.settings.controlSocket;
  const { alive, pid } = await ping(path, 1000);
  if (pid !== null) return ok(`process ${pid} answers at ${path}`);
  if (alive) return failed(`${path}: something is there and does not answer`, 'Look at the lines of the service; restart it.');
  const owner = readOr(join(configuration.settings.stateDir, 'netkvm.pid'), '').trim();
  const trace = /^[0-9]+$/.test(owner) ? ` (process ${owner} was the last to write the log, and did not end cleanly)` : '';
  return warning(`no service answers at ${path}${trace}`, 'Start it with `netkvm run`.');
};

const runOne = async (name: string, check: Checks[string], context: CheckContext): Promise<Check> => {
  try {
    return { name, ...(await check(context)) };
  } catch (error) {
    if (error instanceof NetkvmError)
      return { name, ...failed(`${error.message.split('\n', 1)[0]!} [${error.code}]`, ERRORS[error.code].cure) };
    const line = error instanceof Error ? error.message : String(error);
    return { name, ...failed(line.split('\n', 1)[0]!, 'Reinstall with `npm ci`; if that does not help, report it.') };
  }
};

/** Every check in order; none throws. */
export const runChecks = async (checks: Checks, context: CheckContext): Promise<Check[]> => {
  const made: Check[] = [];
  for (const [name, check] of Object.entries(checks)) made.push(await runOne(name, check, context));
  return made;
};
