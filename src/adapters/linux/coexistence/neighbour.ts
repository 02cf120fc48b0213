// What the network managers of Linux have in common here: each is told about a bond before it exists, when it has taken the
// standby's place, and when it is gone. Nobody's own configuration is touched: what is written lies under /run.
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** A standby whose place a bond takes, or has taken. */
export interface Taken {
  /** Name of the bond. */
  readonly bond: string;
  /** The pair's MAC: that of the standby, the primary and the bond. */
  readonly mac: string;
  readonly standby: { readonly name: string; readonly ifindex: number };
}

/** What a neighbour must know again when everything is given back, perhaps by another process: plain, and in the obligation. */
export type Note = Readonly<Record<string, string>>;

export interface Neighbour {
  /** As in a sentence for people. */
  readonly name: string;
  /** Whether it has to do with this standby, and what to remember of it; null when not. Changes nothing. */
  look(taken: Taken, signal: AbortSignal): Promise<Note | null>;
  /** Before the bond is made. */
  before(taken: Taken, note: Note, signal: AbortSignal): Promise<void>;
  /** The bond has the addresses, and the standby is its member. */
  after(taken: Taken, note: Note, signal: AbortSignal): Promise<void>;
  /** The bond is gone, or was never made; the standby, if it is still there, has its addresses back. */
  release(taken: Taken, note: Note, signal: AbortSignal): Promise<void>;
}

const OUTPUT_BYTES = 262_144;
const firstLine = (text: string): string => text.trim().split('\n', 1)[0] ?? '';

/** Runs a command of the system until `signal`; rejects with what it said. */
export const command = (signal: AbortSignal, program: string, ...words: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = { signal, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES, env: { ...process.env, LC_ALL: 'C' } } as const;
    execFile(program, words, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = signal.aborted ? 'no answer in time' : firstLine(stderr) || firstLine(error.message);
      return reject(new Error(`${program} ${words.join(' ')}: ${said}`, { cause: error }));
    }).stdin?.end();
  });

/** Whether a unit runs. */
export const isActive = async (signal: AbortSignal, unit: string): Promise<boolean> =>
  (await command(signal, 'systemctl', 'is-active', unit).catch(() => '')).trim() === 'active';

export const textOr = (path: string, otherwise = ''): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
};

/** Writes the file whole or not at all; false when it says that already. `mode` holds whatever the umask of the service. */
export const put = (path: string, text: string, mode = 0o644): boolean => {
  if (textOr(path) === text) return false;
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(`${path}~`, text, { mode: 0o600, flush: true });
  chmodSync(`${path}~`, mode);
  renameSync(`${path}~`, path);
  return true;
};

/** True when there was one. */
export const drop = (path: string): boolean => {
  const there = existsSync(path);
  rmSync(path, { force: true });
  return there;
};

/** The value of `KEY=value` in a file of such lines; null when it is not there. */
export const valueOf = (text: string, key: string): string | null =>
  new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1]?.replaceAll(/^"|"$/g, '') ?? null;
