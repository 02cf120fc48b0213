// One writer: a lock that dies with its process. An empty SQLite database beside the log is held in an exclusive
// transaction; the operating system drops that lock however the process ends. Who holds it stands in a text file
// next to it, which is only for people: it decides nothing, except that one left behind tells of an unclean end.
import { closeSync, existsSync, openSync, readFileSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { NetkvmError } from '../../events/errors.ts';
import { createPrivate, sizeOf } from './files.ts';
import { asLogError, CODE, scalar, sqlite, sqliteCode } from './node-sqlite.ts';

export interface WriterLock {
  /** Whether the last writer ended without releasing the lock. */
  readonly unclean: boolean;
  /** Lets the next writer in; `clean` unless it should find the log as doubtful as we did. */
  release(clean: boolean): void;
}

const TRIES = 10;
const PAUSE_MS = 20;

/** Takes the writer's lock of the log in `dir`, or throws `log.locked` naming the owner's pid. */
export const takeLock = (dir: string): WriterLock => {
  const lockFile = join(dir, 'netkvm.lock');
  const pidFile = join(dir, 'netkvm.pid');
  const { DatabaseSync } = sqlite();
  let db: InstanceType<typeof DatabaseSync> | undefined;
  try {
    createPrivate(lockFile);
    // It is always empty; whatever a broken disk left there must not keep every writer out.
    if (sizeOf(lockFile) > 0) truncateSync(lockFile);
    db = new DatabaseSync(lockFile, { timeout: 0 });
    // Nothing is ever written: a journal in memory keeps the folder clean.
    scalar(db, 'PRAGMA journal_mode = MEMORY');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    throw sqliteCode(error) === CODE.busy ? locked(dir, pidFile) : asLogError(error, lockFile);
  }
  const held = db;
  const unclean = existsSync(pidFile);
  writePid(pidFile);
  return {
    unclean,
    release: (clean) => {
      if (!held.isOpen) return;
      if (clean) rmSync(pidFile, { force: true });
      held.close();
    },
  };
};

const writePid = (pidFile: string): void => {
  try {
    rmSync(pidFile, { force: true });
    const fd = openSync(pidFile, 'wx', 0o600);
    try {
      writeSync(fd, `${process.pid}\n`);
    } finally {
      closeSync(fd);
    }
  } catch {
    // A full disk must not stop the service here: the lock holds without its label.
  }
};

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
};

// The owner writes its pid just after it got the lock, so the file may be missing or from before for a moment.
const ownerPid = (pidFile: string): number | null => {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    if (attempt > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    try {
      const pid = Number(readFileSync(pidFile, 'utf8').trim());
      if (Number.isSafeInteger(pid) && pid > 0 && isAlive(pid)) return pid;
    } catch {
      // Not there yet: look again.
    }
  }
  return null;
};

const locked = (dir: string, pidFile: string): NetkvmError => {
  const pid = ownerPid(pidFile);
  return new NetkvmError(
    'log.locked',
    `${dir}: the log is being written by ${pid === null ? 'another process' : `process ${pid}`}`,
  );
};
