// The embedded log: `<dir>/netkvm.db` (SQLite), netkvm.lock (the writer's lock), netkvm.pid (who holds it). Opening it as
// the writer takes the lock, looks at the database before it trusts it, sets a damaged one aside and begins a fresh log,
// and gives a cloned machine a new log id. Reading needs no lock and works while the writer runs or when nobody does.
//
// How thoroughly it looks: every open compares the file with its own header, which finds a truncated one. `PRAGMA
// quick_check` reads every page (0.3 s for 1,000,000 events, 150 MB), so it runs where it is cheap or called for: up to
// QUICK_CHECK_BYTES always, above that after an unclean end, and never above QUICK_CHECK_LIMIT_BYTES. Every event is
// checked again when it is read.
import { accessSync, constants } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { join, resolve } from 'node:path';
import type { EventLog } from '../../events/log.ts';
import { createPrivate, makeFolder, sizeOf } from './files.ts';
import { takeLock, type WriterLock } from './lock.ts';
import { asLogError, CODE, guarded, isDamage, sqliteCode } from './node-sqlite.ts';
import { SqliteReader } from './reader.ts';
import { inspect, openForReading, openForWriting } from './schema.ts';
import { setAside } from './set-aside.ts';
import { SqliteLog, type Identity } from './writer.ts';

const QUICK_CHECK_BYTES = 32 * 1024 * 1024;
const QUICK_CHECK_LIMIT_BYTES = 1024 * 1024 * 1024;

export const databaseIn = (dir: string): string => join(resolve(dir), 'netkvm.db');

export interface OpenedLog<Log extends EventLog = EventLog> {
  readonly log: Log;
  /** The database that was found damaged, under its new name, and why. */
  readonly setAside: { readonly path: string; readonly reason: string } | null;
  /** The last writer ended without closing the log. */
  readonly unclean: boolean;
}

/**
 * Opens the log in `dir` as its one writer; makes folder (0700) and files (0600) where they are missing. `distrust` is
 * for a caller that met `log.damaged` while it read: the database is set aside for that reason, whatever a look at it says.
 * Throws `log.locked` (naming the owner's pid), `log.newer`, `log.unwritable`.
 */
export const openLog = (dir: string, identity: Identity, distrust: string | null = null): OpenedLog<SqliteLog> => {
  const path = databaseIn(dir);
  guarded(dir, () => makeFolder(resolve(dir)));
  const lock = takeLock(resolve(dir));
  try {
    const unclean = lock.unclean || sizeOf(`${path}-wal`) > 0;
    return open(path, identity, lock, unclean, distrust);
  } catch (error) {
    lock.release(!lock.unclean);
    throw asLogError(error, path);
  }
};

const open = (
  path: string,
  identity: Identity,
  lock: WriterLock,
  unclean: boolean,
  distrust: string | null,
): OpenedLog<SqliteLog> => {
  const finding = distrust === null ? inspect(path, isThorough(path, unclean)) : ({ kind: 'damaged', reason: distrust } as const);
  const aside = finding.kind === 'damaged' ? { path: setAside(path), reason: finding.reason } : null;
  try {
    return { log: openSound(path, identity, lock), setAside: aside, unclean };
  } catch (error) {
    // What only writing shows. A second time it cannot be the file.
    if (aside !== null || !(isDamage(error) || isReadOnlyByItself(error, path))) throw error;
    return open(path, identity, lock, unclean, error instanceof Error ? error.message : String(error));
  }
};

const openSound = (path: string, identity: Identity, lock: WriterLock): SqliteLog => {
  createPrivate(path);
  const db: DatabaseSync = openForWriting(path);
  try {
    const log = new SqliteLog(db, path, identity, lock);
    // The last event is the one that the next is numbered after: it must be readable.
    for (const event of log.read(log.head())) if (event.seq < 1) break;
    return log;
  } catch (error) {
    db.close();
    throw error;
  }
};

const isThorough = (path: string, unclean: boolean): boolean => {
  const bytes = sizeOf(path);
  return bytes <= QUICK_CHECK_BYTES || (unclean && bytes <= QUICK_CHECK_LIMIT_BYTES);
};

// A flipped byte in the header can tell SQLite that nobody may write a file that the system lets us write.
const isReadOnlyByItself = (error: unknown, path: string): boolean => {
  if (sqliteCode(error) !== CODE.readonly) return false;
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
};

/** Opens the log in `dir` for reading. Throws `log.missing`, `log.newer`, `log.damaged`, `log.unwritable`. */
export const openReader = (dir: string): SqliteReader => {
  const path = databaseIn(dir);
  return guarded(path, () => {
    const db = openForReading(path);
    try {
      return new SqliteReader(db, path);
    } catch (error) {
      db.close();
      throw error;
    }
  });
};
