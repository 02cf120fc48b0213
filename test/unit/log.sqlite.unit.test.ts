// The embedded log beyond the contract: who wrote, layout versions, permissions, large events, a full database, readers
// beside the writer and after it.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { migrate, MIGRATIONS } from '../../src/adapters/log/schema.ts';
import { databaseIn, openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import { MAX_APPEND } from '../../src/adapters/log/writer.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { codeOf, logContract } from './log.contract.ts';
import { checkpoint, decision, flap, flaps, outcome, recorded, survey } from './log.samples.ts';

const me = { bootId: 'boot-1', machineId: 'machine-1' };
const newFolder = () => mkdtempSync(join(tmpdir(), 'netkvm-log-'));

logContract('SQLite', () => {
  const dir = newFolder();
  const { log } = openLog(dir, me);
  return {
    log,
    reader: () => openReader(dir),
    dispose: () => {
      log.close();
      rmSync(dir, { recursive: true });
    },
  };
});

let dir: string;
beforeEach(() => {
  dir = newFolder();
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const raw = (sql: string) => {
  const db = new DatabaseSync(databaseIn(dir));
  db.exec(`PRAGMA foreign_keys = OFF; ${sql}`);
  db.close();
};

// Windows has no modes; `netkvm install` fences the folder.
test.skipIf(process.platform === 'win32')('folder and files are for their owner alone', () => {
  const state = join(dir, 'a', 'b');
  const { log } = openLog(state, me);
  log.append([flap(1)], 0);
  expect(statSync(state).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(state)) expect([name, statSync(join(state, name)).mode & 0o777]).toEqual([name, 0o600]);
  expect(readdirSync(state)).toContain('netkvm.db-wal');
  log.close();
  expect(readdirSync(state).toSorted()).toEqual(['netkvm.db', 'netkvm.lock']);
  expect(statSync(join(state, 'netkvm.lock')).size).toBe(0);
});

test('a commit is synced: WAL and synchronous FULL, tables strict', () => {
  const { log } = openLog(dir, me);
  log.close();
  const db = new DatabaseSync(databaseIn(dir), { readOnly: true });
  expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
  expect(
    db
      .prepare(
        `SELECT count(*) AS loose FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict
                     AND name NOT LIKE 'sqlite_%'`,
      )
      .get(),
  ).toEqual({ loose: 0 });
  db.close();
});

test('the log goes on over restarts; another boot is recorded, another machine gets a new log id', () => {
  const ids: string[] = [];
  const append = (identity: typeof me) => {
    const { log, setAside, unclean } = openLog(dir, identity);
    expect([setAside, unclean]).toEqual([null, false]);
    log.append([flap(log.head() + 1)], log.head());
    ids.push(log.logId);
    log.close();
    return log.cloned;
  };
  expect(append(me)).toBe(false);
  expect(append(me)).toBe(false);
  expect(append({ ...me, bootId: 'boot-2' })).toBe(false);
  expect(append({ bootId: 'boot-2', machineId: 'machine-2' })).toBe(true);
  const reader = openReader(dir);
  const events = [...reader.read(1)];
  expect(reader.logId).toBe(ids[3]);
  reader.close();
  expect(ids[0]).toBe(ids[2]);
  expect(ids[3]).not.toBe(ids[0]);
  expect(events.map(({ seq, logId, bootId }) => [seq, logId, bootId])).toEqual([
    [1, ids[0], 'boot-1'],
    [2, ids[0], 'boot-1'],
    [3, ids[0], 'boot-2'],
    [4, ids[3], 'boot-2'],
  ]);
});

test('there is nothing to read where no log was begun', () => {
  expect(codeOf(() => openReader(dir))).toBe('log.missing');
  expect(codeOf(() => openReader(join(dir, 'nowhere')))).toBe('log.missing');
  expect(readdirSync(dir)).toEqual([]);
});

test('a newer layout is left alone by writer and reader, and the lock is given back', () => {
  openLog(dir, me).log.close();
  raw('PRAGMA user_version = 99');
  for (let attempt = 0; attempt < 2; attempt++) expect(codeOf(() => openLog(dir, me))).toBe('log.newer');
  expect(codeOf(() => openReader(dir))).toBe('log.newer');
  expect(readdirSync(dir).filter((name) => name.includes('damaged') || name.endsWith('.pid'))).toEqual([]);
  raw(`PRAGMA user_version = ${MIGRATIONS.length}`);
  const { log, setAside } = openLog(dir, me);
  expect(setAside).toBeNull();
  log.close();
});

test('an event of a newer schema is not guessed at', () => {
  const { log } = openLog(dir, me);
  log.append(flaps(1, 3), 0);
  log.close();
  raw('UPDATE events SET v = 2 WHERE seq = 2');
  const reader = openReader(dir);
  expect(codeOf(() => [...reader.read(1)])).toBe('log.newer');
  expect(codeOf(() => [...reader.fold(1)])).toBe('log.newer');
  reader.close();
});

test('a log of the first layout is brought up to the present one with everything in it', () => {
  // Written by the program of that time: two runs, pruned once.
  raw(readFileSync(new URL('layouts/1.sql', import.meta.url), 'utf8'));
  expect(codeOf(() => openReader(dir))).toBe('log.missing');
  const { log, setAside } = openLog(dir, { ...me, bootId: 'boot-2' });
  expect(setAside).toBeNull();
  const events = recorded([checkpoint(4), survey(5, 2), ...flaps(6, 2), decision(8, 'd7.0', 7), outcome(9, 'd7.0', 8)], 4, {
    logId: '4bf4001e-23a7-4764-b837-8093a219e646',
    bootId: 'boot-1',
  });
  const expected = events.map((event) => (event.seq < 8 ? event : { ...event, bootId: 'boot-2' }));
  expect([...log.read(1)]).toEqual(expected);
  expect([log.first(), log.checkpoint(), log.head(), log.logId, log.cloned]).toEqual([4, 4, 9, events[0]?.logId, false]);
  // What came with later layouts works on it.
  expect(log.forwarded()).toBeNull();
  log.noteForwarded({ logId: log.logId, seq: 7, revision: 3 });
  log.append([flap(10)], 9);
  expect(log.forwarded()).toEqual({ logId: log.logId, seq: 7, revision: 3 });
  log.close();
  const schemaOf = (path: string) => {
    const db = new DatabaseSync(path, { readOnly: true });
    const rows = db.prepare('SELECT type, name, tbl_name FROM sqlite_schema ORDER BY name').all();
    const version = db.prepare('PRAGMA user_version').get();
    db.close();
    return { rows, version };
  };
  const fresh = join(dir, 'fresh');
  openLog(fresh, me).log.close();
  expect(schemaOf(databaseIn(dir))).toEqual(schemaOf(databaseIn(fresh)));
});

test('layout steps run once each, in order, and a failing one leaves the version before it', () => {
  const db = new DatabaseSync(join(dir, 'steps.db'));
  const steps = ['CREATE TABLE a(x)', 'INSERT INTO a VALUES (1)'];
  migrate(db, 'steps.db', steps.slice(0, 1));
  migrate(db, 'steps.db', steps);
  migrate(db, 'steps.db', steps);
  expect(db.prepare('SELECT count(*) AS rows FROM a').get()).toEqual({ rows: 1 });
  expect(() => {
    migrate(db, 'steps.db', [...steps, 'INSERT INTO a VALUES (2); INSERT INTO nowhere VALUES (3)']);
  }).toThrow(/nowhere/);
  expect(db.prepare('PRAGMA user_version').get()).toEqual({ user_version: 2 });
  expect(db.prepare('SELECT count(*) AS rows FROM a').get()).toEqual({ rows: 1 });
  expect(
    codeOf(() => {
      migrate(db, 'steps.db', []);
    }),
  ).toBe('log.newer');
  db.close();
});

test('readers work beside the writer, and when nobody writes', () => {
  const { log } = openLog(dir, me);
  log.append(flaps(1, 10), 0);
  const reader = openReader(dir);
  const reading = reader.read(1)[Symbol.iterator]();
  expect(reading.next().value?.seq).toBe(1);
  // A reader in the middle of a page stops neither appends nor the end of the log.
  log.append(flaps(11, 5000), 10);
  expect(reader.head()).toBe(5010);
  log.close();
  expect([...reader.read(5001)]).toHaveLength(10);
  reader.close();
  const later = openReader(dir);
  expect(later.head()).toBe(5010);
  later.close();
});

test('a follower that falls behind does not keep the WAL from being cut back', async () => {
  const { log } = openLog(dir, me);
  log.append(flaps(1, 10), 0);
  const reader = openReader(dir);
  const following = reader.follow(1, new AbortController().signal);
  await following.next();
  for (let head = 10; head < 60_010; head += 1000) log.append(flaps(head + 1, 1000), head);
  expect(statSync(`${databaseIn(dir)}-wal`).size).toBeLessThan(6_000_000);
  await following.return(undefined);
  reader.close();
  log.close();
});

// On Windows it cannot be while this very thread follows it: log.process has another process.
test.skipIf(process.platform === 'win32')('a follower is told when the database it follows was replaced', async () => {
  const { log } = openLog(dir, me);
  log.append([flap(1)], 0);
  const reader = openReader(dir);
  const following = reader.follow(1, new AbortController().signal);
  expect((await following.next()).value?.seq).toBe(1);
  log.close();
  const again = openLog(dir, me, 'the test says so');
  again.log.append([flap(1)], 0);
  await expect(following.next()).rejects.toMatchObject({ code: 'log.damaged' });
  reader.close();
  again.log.close();
});

test('a full database refuses in one line, keeps what it has, and takes the same append when there is space', () => {
  const { log } = openLog(dir, me);
  log.append(flaps(1, 10), 0);
  const db = (log as unknown as { db: DatabaseSync }).db;
  const { page_count } = db.prepare('PRAGMA page_count').get() as { page_count: number };
  db.exec(`PRAGMA max_page_count = ${page_count}`);
  let error: unknown;
  try {
    log.append(flaps(11, 1000), 10);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(NetkvmError);
  expect(error).toMatchObject({ code: 'log.unwritable' });
  expect((error as NetkvmError).line).toMatch(/netkvm\.db: database or disk is full/);
  expect((error as NetkvmError).line).not.toContain('\n');
  expect(log.head()).toBe(10);
  expect([...log.read(1)]).toHaveLength(10);
  db.exec('PRAGMA max_page_count = 1000000');
  expect(log.append(flaps(11, 1000), 10)).toHaveLength(1000);
  log.close();
});

test('limits: events of one append, bytes of one event; a large event can be read and folded', () => {
  const { log } = openLog(dir, me);
  expect(() => log.append(flaps(1, MAX_APPEND + 1), 0)).toThrow(RangeError);
  expect(() => log.append([survey(1, 65_536)], 0)).toThrow(RangeError);
  expect(log.head()).toBe(0);
  log.append([flap(1), survey(2, 40_000), flap(3)], 0);
  expect([...log.read(1)][1]).toMatchObject(survey(2, 40_000));
  expect([...log.fold(1)].map((page) => page.length)).toEqual([1, 1, 1]);
  log.close();
});

test('rows that retention gave up, but had no time to delete, are not seen, and go with the next call', () => {
  const { log } = openLog(dir, me);
  log.append([...flaps(1, 5000), checkpoint(5001), flap(5002), checkpoint(5003)], 0);
  log.close();
  raw('UPDATE retention SET first = 5001');
  const again = openLog(dir, me).log;
  expect([again.first(), again.head(), [...again.read(1)].length]).toEqual([5001, 5003, 3]);
  expect(again.prune(5003)).toBe(2);
  again.close();
  const db = new DatabaseSync(databaseIn(dir), { readOnly: true });
  expect(db.prepare('SELECT count(*) AS rows FROM events').get()).toEqual({ rows: 1 });
  db.close();
});

test('a hole, rubbish in a row and a lost run are damage, named by the number of the event', () => {
  const breakages = [
    ['DELETE FROM events WHERE seq = 700', 700],
    ['DELETE FROM events WHERE seq = 1', 1],
    [`UPDATE events SET data = '{"ifindex":' WHERE seq = 700`, 700],
    [`UPDATE events SET data = '1,2' WHERE seq = 700`, 700],
    [`UPDATE events SET type = 'adapter.unheard' WHERE seq = 700`, 700],
    [`UPDATE events SET seq = 9007199254740993 WHERE seq = 1000`, 1000],
  ] as const;
  for (const [sql, seq] of breakages) {
    const { log } = openLog(dir, me);
    log.append(flaps(1, 1000), 0);
    log.close();
    raw(sql);
    const reader = openReader(dir);
    const named = seq === 1000 ? /netkvm\.db/ : new RegExp(`event ${seq}: `);
    expect(() => [...reader.read(1)]).toThrow(named);
    expect(() => [...reader.fold(1)]).toThrow(named);
    expect(codeOf(() => [...reader.fold(1)])).toBe('log.damaged');
    reader.close();
    rmSync(databaseIn(dir));
  }
  const { log } = openLog(dir, me);
  log.append(flaps(1, 5), 0);
  log.close();
  raw(`DELETE FROM runs; UPDATE events SET data = '{"ifindex":4,"changed":{"mtu":"x"}}' WHERE seq = 5`);
  const reader = openReader(dir);
  expect(() => [...reader.read(4)]).toThrow(/event 4: belongs to run 1/);
  reader.close();
});

test('a folder that cannot be made is named', () => {
  const { log } = openLog(join(dir, 'a'), me);
  log.close();
  expect(existsSync(join(dir, 'a', 'netkvm.db'))).toBe(true);
  expect(codeOf(() => openLog(join(dir, 'a', 'netkvm.db'), me))).toBe('log.unwritable');
  expect(codeOf(() => openLog('/proc/nowhere', me))).toBe('log.unwritable');
});
