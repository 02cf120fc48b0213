// A damaged database is set aside: renamed together with its WAL, never deleted, so that what can still be read of it can
// be. The database goes first: a start that dies between the renames finds a WAL without one, and sets that aside as well.
// Windows renames no file that another process has open, so followers are asked to let it go.
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { NetkvmError } from '../../events/errors.ts';
import { rename, syncFolder } from './files.ts';
import { guarded } from './node-sqlite.ts';

const PARTS = ['', '-wal', '-shm'] as const;
// A machine that damages its database a thousand times needs a person.
const LIMIT = 1000;

// Followers look 20 times a second; a one-off reader is done sooner.
const RELEASE_LIMIT_MS = 5000;
const releaseOf = (path: string): string => `${path}-release`;

/** Whether followers in other processes are asked to close the database, to be looked at before each pause. */
export const isWantedBack = (path: string): boolean => {
  if (process.platform !== 'win32') return false;
  const asked = statSync(releaseOf(path), { throwIfNoEntry: false });
  // One that was left behind by a process that died asks nobody.
  return asked !== undefined && Date.now() - asked.mtimeMs < 2 * RELEASE_LIMIT_MS;
};

const move = (path: string, aside: string): void => {
  const asks = process.platform === 'win32';
  try {
    if (asks) writeFileSync(releaseOf(path), '');
    for (const part of PARTS) if (existsSync(path + part)) rename(path + part, aside + part, RELEASE_LIMIT_MS);
  } finally {
    if (asks) rmSync(releaseOf(path), { force: true });
  }
};

/** Renames `<path>`, `-wal` and `-shm` to `<path>.damaged-<n>…`; returns the new path of the database. */
export const setAside = (path: string): string =>
  guarded(path, () => {
    for (let n = 1; n <= LIMIT; n++) {
      const aside = `${path}.damaged-${n}`;
      if (PARTS.some((part) => existsSync(aside + part))) continue;
      move(path, aside);
      syncFolder(dirname(path));
      return aside;
    }
    throw new NetkvmError('log.unwritable', `${path}: ${LIMIT} damaged databases lie beside it already`);
  });
