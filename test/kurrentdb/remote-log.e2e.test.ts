// The log on a KurrentDB server keeps the contract of a log, and behaves as a full disk does when the server is away.
import { rmSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { RemoteLog, remoteLogId } from '../../src/adapters/kurrentdb/remote-log.ts';
import { codeOf, logContract } from '../unit/log.contract.ts';
import { checkpoint, flap, flaps } from '../unit/log.samples.ts';
import { newFolder, REAL_URL, serverForTests, until } from './given.ts';

const { standIn, connection } = await serverForTests();
afterAll(() => standIn.close());

/** These tests want two writers. */
const UNLOCKED = { unclean: false, release: () => {} };
const newLog = (logId: string = crypto.randomUUID()) => RemoteLog.open(connection, { logId, bootId: 'boot-1' }, UNLOCKED);

logContract('KurrentDB', () => {
  const dir = newFolder();
  const log = newLog();
  return {
    log,
    reader: () => RemoteLog.open(connection, { logId: log.logId, bootId: 'boot-1' }, null),
    dispose: () => {
      log.close();
      rmSync(dir, { recursive: true });
    },
  };
});

test('the log id is the machine’s and the folder’s: the same after a restart, another for a clone', () => {
  const id = remoteLogId('machine-1', '/var/lib/x');
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(remoteLogId('machine-1', '/var/lib/x')).toBe(id);
  expect(remoteLogId('machine-2', '/var/lib/x')).not.toBe(id);
  expect(remoteLogId('machine-1', '/var/lib/y')).not.toBe(id);
});

test('a log that is opened again goes on, with its newest checkpoint', () => {
  const log = newLog();
  log.append([...flaps(1, 9), checkpoint(10), ...flaps(11, 2)], 0);
  log.close();
  const again = newLog(log.logId);
  expect([again.first(), again.head(), again.checkpoint()]).toEqual([1, 12, 10]);
  expect(again.append([flap(13)], 12)[0]?.seq).toBe(13);
  again.close();
});

test('a second writer is noticed at its next append, and changes nothing', () => {
  const one = newLog();
  one.append(flaps(1, 3), 0);
  const second = newLog(one.logId);
  second.append([flap(4)], 3);
  expect(codeOf(() => one.append([flap(99)], 3))).toBe('log.conflict');
  expect(one.head()).toBe(4);
  second.close();
  one.close();
});

test('an append that is larger than a server takes is made in several, in order', () => {
  const log = newLog();
  const many = flaps(1, 6000);
  expect(log.append(many, 0)).toHaveLength(6000);
  expect([...log.read(1)].map(({ id }) => id)).toEqual(many.map(({ id }) => id));
  expect(log.append(many, 0)).toHaveLength(6000);
  expect(log.head()).toBe(6000);
  log.close();
});

describe.skipIf(REAL_URL !== null)('with faults', () => {
  test('a server that is away is a log that cannot be written; what was kept can be written later', async () => {
    const log = newLog();
    log.append(flaps(1, 3), 0);
    await standIn.stop();
    expect(codeOf(() => log.append([flap(4)], 3))).toBe('log.unwritable');
    const before = performance.now();
    expect(codeOf(() => log.append([flap(4)], 3))).toBe('log.unwritable');
    // It is known to be away: nobody waits for it again.
    expect(performance.now() - before).toBeLessThan(500);
    await standIn.start();
    const written = await until(() => {
      try {
        return log.append([flap(4)], 3);
      } catch {
        return null;
      }
    });
    expect(written[0]?.seq).toBe(4);
    expect(log.head()).toBe(4);
    log.close();
  });

  test('an append whose answer is lost is found to have happened', async () => {
    const log = newLog();
    log.append(flaps(1, 3), 0);
    await standIn.faults({ loseAnswers: 1 });
    expect(codeOf(() => log.append([flap(4), flap(5)], 3))).toBe('log.unwritable');
    await until(() => {
      try {
        return log.head() === 5;
      } catch {
        return false;
      }
    });
    expect(log.append([flap(4), flap(5)], 3)).toHaveLength(2);
    expect([...log.read(1)].map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
    await standIn.faults();
    log.close();
  });

  test('a follower goes on when its subscription was cut and the server came back', async () => {
    const log = newLog();
    log.append(flaps(1, 2), 0);
    const stop = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      for await (const { seq } of log.follow(1, stop.signal)) if (seen.push(seq) === 4) stop.abort();
    })();
    await until(() => seen.length === 2);
    await standIn.restart();
    await until(() => {
      try {
        log.append(flaps(3, 2), 2);
        return true;
      } catch {
        return false;
      }
    });
    await following;
    expect(seen).toEqual([1, 2, 3, 4]);
    log.close();
  });
});
