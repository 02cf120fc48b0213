// Small things about files that the stores share: making folders and files that only their owner may read, and making a
// rename durable.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
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
