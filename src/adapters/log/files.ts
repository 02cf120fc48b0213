// Small things about files that the stores share: making folders and files that only their owner may read, and making a
// rename durable.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Makes a folder (0700) and those above it, where they are missing. Node's own `recursive` never returns on /proc. */
export const makeFolder = (dir: string): void => {
  const missing: string[] = [];
  for (let at = dir; !existsSync(at) && dirname(at) !== at; at = dirname(at)) missing.unshift(at);
  for (const folder of missing) mkdirSync(folder, { mode: 0o700 });
};

/** Bytes of a file, 0 when it is missing. */
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** Creates an empty file (0600), unless it is there: opening and closing it again would drop the locks SQLite has on it. */
export const createPrivate = (path: string): void => {
  if (!existsSync(path)) closeSync(openSync(path, 'wx', 0o600));
};

/** Makes renames and new files in a folder durable (fsync(2) of the folder). */
export const syncFolder = (dir: string): void => {
  // Windows has no such call for folders and does not need it.
  if (process.platform === 'win32') return;
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

/** What Windows says of a file that somebody has open. */
const HELD: ReadonlySet<unknown> = new Set(['EPERM', 'EACCES', 'EBUSY']);
const HELD_AGAIN_MS = 50;

/**
 * rename(2), over what is there. Windows refuses it while another program has one of the two open: a virus scanner or an
 * indexer, for a moment; so it is tried again, up to `limit_ms`. Blocks this thread meanwhile.
 */
export const rename = (from: string, to: string, limit_ms = 2000): void => {
  const until = performance.now() + (process.platform === 'win32' ? limit_ms : 0);
  for (;;) {
    try {
      return renameSync(from, to);
    } catch (error) {
      if (!HELD.has((error as NodeJS.ErrnoException).code) || performance.now() >= until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, HELD_AGAIN_MS);
    }
  }
};
