// The one door to node:sqlite. Node 22 warns that the module is experimental; a log written for years does not get safer
// by a line on every start, so that one warning is held back here, and no other. Errors of SQLite become errors a user
// can act on: damage, or a place that cannot be written (sqlite.org/rescode.html).
import type { DatabaseSync } from 'node:sqlite';
import { NetkvmError } from '../../events/errors.ts';

type Module = typeof import('node:sqlite');
let loaded: Module | undefined;

/** node:sqlite, loaded at first use: a static import would print the warning before any of our code runs. */
export const sqlite = (): Module => {
  if (loaded !== undefined) return loaded;
  const before = process.emitWarning.bind(process);
  process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
    if (!String(warning).includes('SQLite is an experimental feature')) Reflect.apply(before, process, [warning, ...rest]);
  };
  try {
    loaded = process.getBuiltinModule('node:sqlite');
  } finally {
    process.emitWarning = before;
  }
  return loaded;
};

const PRIMARY = 0xff;
export const CODE = { error: 1, busy: 5, readonly: 8, corrupt: 11, full: 13, notADatabase: 26 } as const;
const DAMAGE: ReadonlySet<number> = new Set([CODE.corrupt, 20 /* MISMATCH */, 24 /* FORMAT */, CODE.notADatabase]);

// PERM, BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL, NOLFS, AUTH: the place, not what stands there.
const REFUSAL: ReadonlySet<number> = new Set([3, CODE.busy, 6, CODE.readonly, 10, CODE.full, 14, 15, 22, 23]);

/** SQLite's primary result code of an error, 0 for any other error. */
export const sqliteCode = (error: unknown): number =>
  error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & PRIMARY : 0;

/** Whether an error says that what was read cannot be what was written. */
export const isDamage = (error: unknown): boolean =>
  (error instanceof NetkvmError && error.code === 'log.damaged') ||
  DAMAGE.has(sqliteCode(error)) ||
  (error instanceof Error && 'code' in error && error.code === 'ERR_OUT_OF_RANGE');

/** The error to throw in place of one that came from SQLite or the file system while working on `path`. */
export const asLogError = (error: unknown, path: string): unknown => {
  if (error instanceof NetkvmError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (isDamage(error)) return new NetkvmError('log.damaged', `${path}: ${text}`, { cause: error });
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const isRefusal = REFUSAL.has(sqliteCode(error)) || /^E[A-Z0-9]+$/.test(code);
  return isRefusal ? new NetkvmError('log.unwritable', `${path}: ${text}`, { cause: error }) : error;
};

/** Runs `work`, with errors of SQLite and the file system named as errors of the log at `path`. */
export const guarded = <T>(path: string, work: () => T): T => {
  try {
    return work();
  } catch (error) {
    throw asLogError(error, path);
  }
};

/** Runs `work` in one write transaction: all of it is durable when this returns, none of it when this throws. */
export const transaction = <T>(db: DatabaseSync, work: () => T): T => {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after a full disk or an I/O error.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
};

/** The first column of the first row of a query, undefined for no row. */
export const scalar = (db: DatabaseSync, sql: string): unknown => {
  const row = db.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row)[0];
};
