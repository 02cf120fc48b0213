// A damaged database is set aside: renamed together with its WAL, never deleted, so that what can still be read of it can
// be. The database goes first: a start that dies between the renames finds a WAL without one, and sets that aside as well.
import { existsSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { NetkvmError } from '../../events/errors.ts';
import { syncFolder } from './files.ts';
import { guarded } from './node-sqlite.ts';

const PARTS = ['', '-wal', '-shm'] as const;
// A machine that damages its database a thousand times needs a person.
const LIMIT = 1000;

/** Renames `<path>`, `-wal` and `-shm` to `<path>.damaged-<n>…`; returns the new path of the database. */
export const setAside = (path: string): string =>
  guarded(path, () => {
    for (let n = 1; n <= LIMIT; n++) {
      const aside = `${path}.damaged-${n}`;
      if (PARTS.some((part) => existsSync(aside + part))) continue;
      for (const part of PARTS) if (existsSync(path + part)) renameSync(path + part, aside + part);
      syncFolder(dirname(path));
      return aside;
    }
    throw new NetkvmError('log.unwritable', `${path}: ${LIMIT} damaged databases lie beside it already`);
  });
