// Databases that broke: cut, flipped, foreign, torn from their WAL. The writer always gets a log to go on with; what it
// could not trust lies beside it, byte for byte; a reader gets a clear error.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { databaseIn, openLog, openReader, type OpenedLog } from '../../src/adapters/log/sqlite.ts';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { codeOf } from './log.contract.ts';
import { flap, flaps, survey } from './log.samples.ts';

const me = { bootId: 'boot-1', machineId: 'machine-1' };
let root: string;
let dir: string;
let count = 0;
let sound: Buffer;
let soundLogId: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'netkvm-log-'));
  const { log } = openLog(join(root, 'sound'), me);
  log.append([...flaps(1, 300), survey(301, 200), flap(302)], 0);
  soundLogId = log.logId;
  log.close();
  sound = readFileSync(databaseIn(join(root, 'sound')));
});
afterAll(() => {
  rmSync(root, { recursive: true });
});
beforeEach(() => {
  dir = join(root, String(++count));
  mkdirSync(dir);
});

/** What must hold whatever was opened: it takes events, and gives them back. */
const useAndClose = ({ log, setAside }: OpenedLog): void => {
  const head = log.head();
  expect(log.append([flap(9999)], head)[0]?.seq).toBe(head + 1);
  if (setAside !== null) {
    expect(log.logId).not.toBe(soundLogId);
    expect(verifyLog(log)).toMatchObject({ events: 1, problem: null });
  }
  log.close();
};

/** Opens rubbish; returns why it was set aside. */
const reasonFor = (bytes: Buffer, place = dir): string => {
  writeFileSync(databaseIn(place), bytes);
  const opened = openLog(place, me);
  expect(opened.setAside?.path).toMatch(/netkvm\.db\.damaged-\d+$/);
  expect(readFileSync(opened.setAside?.path ?? '').equals(bytes)).toBe(true);
  useAndClose(opened);
  return opened.setAside?.reason ?? '';
};

describe('cut', () => {
  const offsets = (size: number) =>
    [1, 2, 15, 16, 17, 27, 28, 31, 32, 99, 100, 101, 511, 512, 1024, 4095, 4096, 4097, 8191, 8192, 12_288, 20_000].concat(
      Array.from({ length: 30 }, (_, index) => Math.floor(((index + 1) * size) / 32)),
      [size - 4097, size - 4096, size - 4095, size - 1],
    );

  test('at any byte, the database is set aside', () => {
    for (const [index, offset] of offsets(sound.length).entries()) {
      const place = join(dir, String(index));
      mkdirSync(place);
      expect(reasonFor(sound.subarray(0, offset), place)).toMatch(/cut|malformed|not a database/);
    }
  });

  test('at the first byte there is nothing left to set aside: a fresh log begins', () => {
    writeFileSync(databaseIn(dir), '');
    const opened = openLog(dir, me);
    expect([opened.setAside, opened.log.head()]).toEqual([null, 0]);
    useAndClose(opened);
  });

  test('not at all, it is the log that it was', () => {
    writeFileSync(databaseIn(dir), sound);
    const opened = openLog(dir, me);
    expect([opened.setAside, opened.log.head(), opened.log.logId]).toEqual([null, 302, soundLogId]);
    useAndClose(opened);
  });
});

/** Last byte of user_version in the header of a database, https://www.sqlite.org/fileformat.html. */
const USER_VERSION_LOW = 63;

test('a flipped byte, wherever it is, is set aside, found on reading, or harmless', () => {
  const seen = { setAside: 0, found: 0, harmless: 0 };
  const positions = [
    // A version that is one higher is no damage that anybody could see: a newer layout is left alone (log.sqlite).
    ...Array.from({ length: 130 }, (_, index) => index).filter((index) => index !== USER_VERSION_LOW),
    ...Array.from({ length: 220 }, (_, index) => 131 + index * Math.floor(sound.length / 221)),
  ];
  for (const position of positions) {
    const place = join(dir, String(position));
    mkdirSync(place);
    const bytes = Buffer.from(sound);
    bytes[position] = (bytes[position] ?? 0) ^ (position % 2 === 0 ? 0xff : 0x01);
    writeFileSync(databaseIn(place), bytes);
    const opened = openLog(place, me);
    const problem = opened.setAside === null ? verifyLog(opened.log).problem : null;
    if (opened.setAside !== null) seen.setAside++;
    else if (problem === null) seen.harmless++;
    else {
      seen.found++;
      opened.log.close();
    }
    // The service, which met the problem while folding, says so and goes on with a fresh log.
    useAndClose(problem === null ? opened : openLog(place, me, problem.text));
  }
  // Each way is taken: the test would notice if nothing were looked at.
  expect(seen.setAside).toBeGreaterThan(30);
  expect(seen.found).toBeGreaterThan(10);
  expect(seen.harmless).toBeGreaterThan(10);
});

test.each([
  ['text', Buffer.from('this is not a database\n'.repeat(300))],
  ['zeros', Buffer.alloc(20_000)],
  ['a short word', Buffer.from('SQLite format 3')],
])('%s in place of a database is set aside', (_, bytes) => {
  expect(reasonFor(bytes)).toMatch(/not a database|cut/);
});

test('a database of another program is set aside, not written into', () => {
  const db = new DatabaseSync(databaseIn(dir));
  db.exec('CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1)');
  db.close();
  expect(reasonFor(readFileSync(databaseIn(dir)))).toBe('not a database of this program');
});

test('a database of ours with a table missing is set aside', () => {
  writeFileSync(databaseIn(dir), sound);
  const db = new DatabaseSync(databaseIn(dir));
  db.exec('DROP TABLE retention');
  db.close();
  expect(codeOf(() => openReader(dir))).toBe('log.damaged');
  const opened = openLog(dir, me);
  expect(opened.setAside?.reason).toContain('retention');
  useAndClose(opened);
});

test('each damaged database keeps a name of its own, and none is overwritten', () => {
  for (let round = 1; round <= 3; round++) {
    const bytes = Buffer.from(`rubbish ${round} `.repeat(1000));
    writeFileSync(databaseIn(dir), bytes);
    const opened = openLog(dir, me);
    expect(opened.setAside?.path).toBe(`${databaseIn(dir)}.damaged-${round}`);
    opened.log.close();
  }
  expect(readdirSync(dir).filter((name) => /damaged-\d$/.test(name))).toHaveLength(3);
});

describe('with a WAL beside it, as a killed writer leaves it', () => {
  /** Copies what a process that is killed now would leave. */
  const killed = (place: string): { db: Buffer; wal: Buffer } => {
    const { log } = openLog(join(place, 'alive'), me);
    log.append(flaps(1, 300), 0);
    for (let head = 300; head < 320; head += 2) log.append(flaps(head + 1, 2), head);
    for (const part of ['', '-wal']) copyFileSync(databaseIn(join(place, 'alive')) + part, databaseIn(place) + part);
    log.close();
    return { db: readFileSync(databaseIn(place)), wal: readFileSync(`${databaseIn(place)}-wal`) };
  };

  test('the WAL is recovered', () => {
    killed(dir);
    const opened = openLog(dir, me);
    expect([opened.unclean, opened.setAside, opened.log.head()]).toEqual([true, null, 320]);
    useAndClose(opened);
  });

  test('a WAL that is cut loses whole appends from its end, or is set aside with its database', () => {
    const { db, wal } = killed(dir);
    const heads = new Set<number>();
    const aside: string[] = [];
    for (let index = 0; index < 40; index++) {
      const place = join(dir, String(index));
      mkdirSync(place);
      writeFileSync(databaseIn(place), db);
      writeFileSync(`${databaseIn(place)}-wal`, wal.subarray(0, Math.floor((index * wal.length) / 40) + index));
      const opened = openLog(place, me);
      const verdict = verifyLog(opened.log);
      expect(verdict.problem).toBeNull();
      // Appends were of 300 events and then of 2.
      expect(verdict.last === 0 || (verdict.last >= 300 && verdict.last % 2 === 0)).toBe(true);
      heads.add(verdict.last);
      if (opened.setAside !== null) aside.push(opened.setAside.path);
      opened.log.close();
    }
    expect(heads.size).toBeGreaterThan(5);
    expect(aside.filter((path) => !existsSync(path))).toEqual([]);
  });

  test('a database that vanished from beside its WAL leaves the WAL set aside', () => {
    const { wal } = killed(dir);
    for (const [index, left] of [null, ''].entries()) {
      const place = join(dir, String(index));
      mkdirSync(place);
      if (left !== null) writeFileSync(databaseIn(place), left);
      writeFileSync(`${databaseIn(place)}-wal`, wal);
      const opened = openLog(place, me);
      expect(readFileSync(`${opened.setAside?.path ?? ''}-wal`).equals(wal)).toBe(true);
      useAndClose(opened);
    }
  });
});

test('a damaged big database is found without reading all of it, when it was cut', () => {
  writeFileSync(databaseIn(dir), sound);
  const { log } = openLog(dir, me);
  // 36 MB: above the size up to which every open reads all pages.
  for (let head = 302, n = 0; n < 16; head++, n++) log.append([survey(head + 1, 9000)], head);
  log.close();
  const size = statSync(databaseIn(dir)).size;
  expect(size).toBeGreaterThan(33_000_000);
  writeFileSync(databaseIn(dir), readFileSync(databaseIn(dir)).subarray(0, size - 8192));
  const opened = openLog(dir, me);
  expect(opened.setAside).not.toBeNull();
  useAndClose(opened);
});

test('a reader says what is wrong and changes nothing', () => {
  for (const bytes of [sound.subarray(0, 5000), Buffer.from('rubbish '.repeat(1000)), sound.subarray(0, 50)]) {
    writeFileSync(databaseIn(dir), bytes);
    let error: unknown;
    try {
      const reader = openReader(dir);
      reader.close();
      error = verifyLog(reader);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(NetkvmError);
    expect((error as NetkvmError).code).toBe('log.damaged');
    expect(readFileSync(databaseIn(dir)).equals(bytes)).toBe(true);
  }
});
