// The database's layout, its version steps, and the look at a file before it is trusted. Whole numbers that can outgrow
// 2^53 (nanoseconds) are written and read as text. The log id and boot id, the same for thousands of events,
// stand once in `runs`. `PRAGMA user_version` counts the steps of MIGRATIONS that a file has had.
import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { NetkvmError } from '../../events/errors.ts';
import { sizeOf } from './files.ts';
import { asLogError, CODE, isDamage, scalar, sqlite, sqliteCode, transaction } from './node-sqlite.ts';

export { sizeOf } from './files.ts';

/** "NKVM": says to file(1) and to us whose database this is (sqlite.org/fileformat.html, application id). */
const APPLICATION_ID = 0x4e4b564d;

/** Events whose JSON is longer than this are read one at a time (octet_length needs no look at the text), so that a page of others stays small. */
export const LARGE_BYTES = 16_384;

export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE runs(
     run INTEGER PRIMARY KEY, log_id TEXT NOT NULL, boot_id TEXT NOT NULL, machine_id TEXT NOT NULL
   ) STRICT;
   CREATE TABLE events(
     seq INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL,
     mono_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
     cause INTEGER, episode TEXT, v INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES runs(run), data TEXT NOT NULL
   ) STRICT;
   -- Events below first have been given up, though the sweep may not have come to all of them.
   CREATE TABLE retention(first INTEGER NOT NULL) STRICT;
   INSERT INTO retention VALUES (1);
   CREATE INDEX checkpoints ON events(seq) WHERE type = 'checkpoint.made';
   CREATE INDEX large ON events(seq) WHERE octet_length(data) > ${LARGE_BYTES};`,
  // How far a log's copy on a server has come. It may lie behind what the server has, never before it.
  `CREATE TABLE forwarded(log_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, revision INTEGER NOT NULL) STRICT;`,
];

/** How long a statement waits for a lock of SQLite: a reader that recovers the WAL holds one for a moment. */
export const BUSY_TIMEOUT_MS = 2000;
// Above this the WAL file is cut back after it was copied into the database.
const WAL_LIMIT_BYTES = 32 * 1024 * 1024;

/** Brings a database to the newest layout, one step a transaction. */
export const migrate = (db: DatabaseSync, path: string, steps: readonly string[] = MIGRATIONS): void => {
  const version = Number(scalar(db, 'PRAGMA user_version'));
  refuseNewer(version, steps.length, path);
  for (const [index, step] of steps.entries()) {
    if (index < version) continue;
    transaction(db, () => {
      db.exec(step);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${index + 1};`);
    });
  }
};

const refuseNewer = (version: number, known: number, path: string): void => {
  if (version <= known) return;
  throw new NetkvmError('log.newer', `${path}: layout version ${version}, this program knows ${known}`);
};

/** Opens for writing with the durability that `append` promises: WAL, and a sync at every commit. */
export const openForWriting = (path: string): DatabaseSync => {
  const { DatabaseSync } = sqlite();
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    const mode = scalar(db, 'PRAGMA journal_mode = WAL');
    if (mode !== 'wal')
      throw new NetkvmError('log.unwritable', `${path}: this file system cannot hold a WAL (journal mode ${String(mode)})`);
    db.exec(`PRAGMA synchronous = FULL; PRAGMA journal_size_limit = ${WAL_LIMIT_BYTES};
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;`);
    migrate(db, path);
    // A flipped byte in the header can forbid writing: that shows only at a write, and must not be the first append.
    db.exec('BEGIN IMMEDIATE; PRAGMA application_id = 0; ROLLBACK');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
};

const SMALLEST_PAGE_BYTES = 512;
// A layout version beyond this is a broken header, not a distant future.
const MOST_VERSIONS = 1000;

/** What `inspect` found: nothing yet, a log of ours, or something to set aside and why. */
export type Finding = { kind: 'fresh' } | { kind: 'sound' } | { kind: 'damaged'; reason: string };

const damaged = (reason: string): Finding => ({ kind: 'damaged', reason });

/**
 * Looks at a database through a connection that cannot write, so that nothing is changed before it is trusted; the caller
 * holds the writer's lock. `thorough` runs `PRAGMA quick_check`, 0.3 s for 1,000,000 events (150 MB). Throws `log.newer`
 * for a newer layout and `log.unwritable` where the system does not let us look.
 */
export const inspect = (path: string, thorough: boolean): Finding => {
  if (sizeOf(path) === 0) {
    // SQLite deletes the WAL of an empty database. In our order of writing one never comes with a WAL.
    return sizeOf(`${path}-wal`) > 0 ? damaged('the database is gone from beside its WAL') : { kind: 'fresh' };
  }
  const { DatabaseSync } = sqlite();
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
    return look(db, path, thorough);
  } catch (error) {
    // Our statements are fixed: one that no longer compiles has met a broken schema.
    if (isDamage(error) || sqliteCode(error) === CODE.error)
      return damaged(error instanceof Error ? error.message : String(error));
    throw asLogError(error, path);
  } finally {
    db?.close();
  }
};

const look = (db: DatabaseSync, path: string, thorough: boolean): Finding => {
  db.exec('PRAGMA cell_size_check = ON');
  // SQLite takes what is missing from the last page for zeros. Only a writer that met a full disk leaves half a page, and
  // then the whole of it in the WAL.
  const pageBytes = Number(scalar(db, 'PRAGMA page_size'));
  if (sizeOf(path) % pageBytes !== 0 && sizeOf(`${path}-wal`) === 0) return damaged('cut within a page');
  const tables = Number(scalar(db, 'SELECT count(*) FROM sqlite_schema'));
  const version = Number(scalar(db, 'PRAGMA user_version'));
  // A start that died between creating the file and the first migration leaves neither tables nor a version.
  if (tables === 0 && version === 0) return { kind: 'sound' };
  if (scalar(db, 'PRAGMA application_id') !== APPLICATION_ID) return damaged('not a database of this program');
  if (version < 1 || version > MOST_VERSIONS) return damaged(`layout version ${version}`);
  refuseNewer(version, MIGRATIONS.length, path);
  if (thorough) {
    const verdict = scalar(db, 'PRAGMA quick_check(1)');
    if (verdict !== 'ok') return damaged(String(verdict).replaceAll(/\s+/g, ' '));
  }
  return { kind: 'sound' };
};

/**
 * Opens for reading, also while a writer runs. Without the right to write beside a database that was closed cleanly
 * (a read-only file system), it is read as immutable. Throws `log.missing`, `log.newer`, `log.damaged`.
 */
export const openForReading = (path: string): DatabaseSync => {
  const bytes = sizeOf(path);
  if (bytes === 0) throw new NetkvmError('log.missing', `${path}: no log`);
  if (bytes < SMALLEST_PAGE_BYTES) throw new NetkvmError('log.damaged', `${path}: shorter than a page`);
  try {
    return openReadOnly(path, path);
  } catch (error) {
    const named = asLogError(error, path);
    if (!(named instanceof NetkvmError) || named.code !== 'log.unwritable' || sizeOf(`${path}-wal`) > 0) throw named;
    try {
      return openReadOnly(path, immutable(path));
    } catch {
      throw named;
    }
  }
};

const immutable = (path: string): URL => {
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return url;
};

const openReadOnly = (path: string, location: string | URL): DatabaseSync => {
  const { DatabaseSync } = sqlite();
  const db = new DatabaseSync(location, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    db.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON');
    const version = Number(scalar(db, 'PRAGMA user_version'));
    refuseNewer(version, MIGRATIONS.length, path);
    if (version < MIGRATIONS.length)
      throw new NetkvmError('log.missing', `${path}: layout version ${version} has not been brought up to ${MIGRATIONS.length}`);
    if (scalar(db, 'PRAGMA application_id') !== APPLICATION_ID)
      throw new NetkvmError('log.damaged', `${path}: not a database of this program`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
};
