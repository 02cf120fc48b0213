// The copy of the log on a server: everything once, in order, as a reader sees it, whatever fails in between; a clone and a
// reverted guest get streams of their own; retention on both sides.
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { openClient } from '../../src/adapters/kurrentdb/client.ts';
import { streamOf } from '../../src/adapters/kurrentdb/mapping.ts';
import { backOff, BACK_OFF_MS } from '../../src/adapters/kurrentdb/forwarder.ts';
import { openReader } from '../../src/adapters/log/sqlite.ts';
import { around, checkpoint, decision, flap, flaps, outcome, survey } from '../unit/log.samples.ts';
import { copyOf, forward, IDENTITY, newFolder, newLog, REAL_URL, serverForTests, until } from './given.ts';
import { cpSync } from 'node:fs';

const { standIn, connection } = await serverForTests();
afterAll(() => standIn.close());
afterEach(() => standIn.faults());

const seqs = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test('what the log has arrives whole and in order, then what is appended', async () => {
  const { dir, log } = newLog();
  const events = [...flaps(1, 700), checkpoint(701), survey(702, 300), decision(703, 'd702.0', 702), outcome(704, 'd702.0', 703)];
  log.append(events, 0);
  const copying = forward(dir, connection, log);
  await copying.reaches(704);
  log.append(flaps(705, 5), 704);
  const state = await copying.reaches(709);
  expect(state).toMatchObject({ stream: streamOf(log.logId), revision: 708, missed: 0, error: null });
  await copying.stop();
  const copy = await copyOf(connection, log.logId);
  expect(copy.map(({ event }) => event)).toEqual([...log.read(1)]);
  expect(copy.every(({ vm }) => vm === 'vm-1')).toBe(true);
  log.close();
});

test('metadata is flat, with the episode and the cause as KurrentDB’s projections expect them', async () => {
  const { dir, log } = newLog();
  log.append([flap(1), flap(2), decision(3, 'd2.0', 2)], 0);
  const copying = forward(dir, connection, log);
  await copying.reaches(3);
  await copying.stop();
  const client = await openClient(connection);
  const records = [];
  for await (const { event } of client.readStream(streamOf(log.logId))) records.push(event);
  await client.dispose();
  const [, cause, decided] = [...log.read(1)];
  expect(records[2]).toMatchObject({ id: decided?.id, type: 'decision.made', data: decided?.data });
  expect(records[2]?.metadata).toEqual({
    $correlationId: `${log.logId}/e3`,
    $causationId: cause?.id,
    seq: 3,
    v: 1,
    vm: 'vm-1',
    pair: '52:54:00:11:22:33',
    bootId: 'boot-1',
    mono_ns: decided?.mono_ns,
    boot_ns: decided?.boot_ns,
    wall_ns: decided?.wall_ns,
    cause: 2,
    episode: 'e3',
  });
  expect(records[0]?.metadata).not.toHaveProperty('$correlationId');
  log.close();
});

test('the place is kept in the log, and found out from the server where the log has forgotten it', async () => {
  const { dir, log } = newLog();
  log.append(flaps(1, 10), 0);
  const first = forward(dir, connection, log);
  await first.reaches(10);
  await first.stop();
  expect(log.forwarded()).toBeNull();
  log.append(flaps(11, 1), 10);
  expect(log.forwarded()).toEqual({ logId: log.logId, seq: 10, revision: 9 });
  log.append(flaps(12, 3), 11);
  // This one's notes are lost: what it sent is sent again, and recognised.
  const second = forward(dir, connection, null);
  await second.reaches(14);
  await second.stop();
  log.append(flaps(15, 3), 14);
  const third = forward(dir, connection, log);
  await third.reaches(17);
  await third.stop();
  expect((await copyOf(connection, log.logId)).map(({ event }) => event.seq)).toEqual(seqs(1, 17));
  log.close();
});

test('what retention took before it was copied is counted, and the copy goes on at the checkpoint', async () => {
  const { dir, log } = newLog();
  log.append(flaps(1, 5), 0);
  const first = forward(dir, connection, log);
  await first.reaches(5);
  await first.stop();
  log.append([...flaps(6, 4), checkpoint(10), ...flaps(11, 3)], 5);
  log.prune(10);
  const second = forward(dir, connection, log);
  expect(await second.reaches(13)).toMatchObject({ missed: 4, revision: 8 });
  await second.stop();
  expect((await copyOf(connection, log.logId)).map(({ event }) => event.seq)).toEqual([1, 2, 3, 4, 5, 10, 11, 12, 13]);
  log.close();
});

test('the stream gets its limits, and keeps what else its metadata says', async () => {
  const { dir, log } = newLog();
  const client = await openClient(connection);
  await client.setStreamMetadata(streamOf(log.logId), { owner: 'somebody' });
  log.append(flaps(1, 30), 0);
  const copying = forward(dir, connection, log, { retention: { days: 30, events: 20 } });
  await copying.reaches(30);
  await copying.stop();
  const { metadata } = await client.getStreamMetadata(streamOf(log.logId));
  expect(metadata).toEqual({ owner: 'somebody', maxAge: 30 * 86_400, maxCount: 20 });
  expect((await copyOf(connection, log.logId)).map(({ event }) => event.seq)).toEqual(seqs(11, 30));
  await client.dispose();
  log.close();
});

describe('one stream a log id', () => {
  test('a clone begins its own with the checkpoint before it', async () => {
    const { dir, log } = newLog();
    log.append([...flaps(1, 4), checkpoint(5), ...flaps(6, 2)], 0);
    const original = forward(dir, connection, log);
    await original.reaches(7);
    const cloneDir = newFolder();
    log.close();
    cpSync(dir, cloneDir, { recursive: true });
    const { log: clone } = newLog(cloneDir, { bootId: 'boot-2', machineId: 'machine-2' });
    const { log: again } = newLog(dir);
    clone.append(flaps(100, 2), 7);
    again.append(flaps(8, 2), 7);
    const copying = forward(cloneDir, connection, clone);
    await copying.reaches(9);
    await original.reaches(9);
    await Promise.all([copying.stop(), original.stop()]);
    const [one, other] = [await copyOf(connection, again.logId), await copyOf(connection, clone.logId)];
    expect(one.map(({ event }) => event.seq)).toEqual(seqs(1, 9));
    expect(other.map(({ event }) => [event.seq, event.logId])).toEqual([
      ...[5, 6, 7].map((seq) => [seq, again.logId]),
      ...[8, 9].map((seq) => [seq, clone.logId]),
    ]);
    clone.close();
    again.close();
  });

  test('a guest that was reverted to a snapshot takes a new log id, and the old stream stays what it was', async () => {
    const { dir, log } = newLog();
    log.append([...flaps(1, 4), checkpoint(5)], 0);
    log.close();
    const snapshot = newFolder();
    cpSync(dir, snapshot, { recursive: true });
    const { log: before } = newLog(dir);
    before.append(flaps(6, 5), 5);
    const first = forward(dir, connection, before);
    await first.reaches(10);
    await first.stop();
    before.close();
    const { log: reverted } = newLog(snapshot);
    const old = reverted.logId;
    reverted.append(flaps(1006, 3), 5);
    const second = forward(snapshot, connection, reverted);
    await second.reaches(8);
    reverted.append(flaps(2000, 1), 8);
    await second.reaches(9);
    await second.stop();
    expect(reverted.logId).not.toBe(old);
    expect((await copyOf(connection, old)).map(({ event }) => event.seq)).toEqual(seqs(1, 10));
    expect((await copyOf(connection, reverted.logId)).map(({ event }) => event.seq)).toEqual(seqs(5, 9));
    reverted.close();
  });
});

test('a stream that was deleted softly begins again; one that was deleted for good says so', async () => {
  const { dir, log } = newLog();
  log.append(flaps(1, 3), 0);
  const client = await openClient(connection);
  const copying = forward(dir, connection, log);
  await copying.reaches(3);
  await client.deleteStream(streamOf(log.logId));
  log.append(flaps(4, 2), 3);
  await copying.reaches(5);
  expect((await copyOf(connection, log.logId)).map(({ event }) => event.seq).at(-1)).toBe(5);
  await client.tombstoneStream(streamOf(log.logId));
  log.append(flaps(6, 1), 5);
  const failed = await until(() => copying.state()?.error);
  expect(failed.code).toBe('kurrentdb.deleted');
  await copying.stop();
  await client.dispose();
  log.close();
});

test('pauses double up to their longest, cut at random by up to a half', () => {
  for (let attempts = 1; attempts < 40; attempts++) {
    const most = Math.min(BACK_OFF_MS.longest, BACK_OFF_MS.first * 2 ** (attempts - 1));
    const pauses = Array.from({ length: 50 }, () => backOff(attempts));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(most);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(most / 2);
    expect(new Set(pauses).size).toBeGreaterThan(10);
  }
});

describe.skipIf(REAL_URL !== null)('with faults', () => {
  const answer_ms = 1000;
  const copied = async (fault: () => Promise<void>, mend: () => Promise<void>) => {
    const { dir, log } = newLog();
    log.append(flaps(1, 3), 0);
    const copying = forward(dir, connection, log, { answer_ms });
    await copying.reaches(3);
    await fault();
    log.append([flap(4), flap(5)], 3);
    const error = await until(() => copying.state()?.error);
    log.append(flaps(6, 1200), 5);
    await mend();
    await copying.reaches(1205);
    expect(copying.state()?.error).toBeNull();
    await copying.stop();
    expect((await copyOf(connection, log.logId)).map(({ event }) => event.id)).toEqual([...log.read(1)].map(({ id }) => id));
    log.close();
    return error;
  };

  test.each([
    ['unavailable', { refuse: 'unavailable' }, 'kurrentdb.unreachable'],
    ['denied', { refuse: 'accessDenied' }, 'kurrentdb.denied'],
    ['hanging', { hang: true }, 'kurrentdb.unreachable'],
    ['slower than an answer may be', { delay_ms: 1500 }, 'kurrentdb.unreachable'],
    ['losing answers', { loseAnswers: 2 }, 'kurrentdb.unreachable'],
    ['timing out what it did', { timeOut: 2 }, 'kurrentdb.unreachable'],
  ] as const)('a server that is %s gets everything once it is well', async (_, faults, code) => {
    const error = await copied(
      () => standIn.faults(faults),
      () => ('loseAnswers' in faults || 'timeOut' in faults ? Promise.resolve() : standIn.faults()),
    );
    expect(error.code).toBe(code);
  });

  test('a server that dies and comes back', async () => {
    const error = await copied(
      () => standIn.stop(),
      () => standIn.start(),
    );
    expect(error.code).toBe('kurrentdb.unreachable');
  });

  test('a server that is not there at the start', async () => {
    await standIn.stop();
    const { dir, log } = newLog();
    log.append(flaps(1, 3), 0);
    const copying = forward(dir, connection, log);
    await until(() => copying.state()?.error);
    expect(copying.state()).toMatchObject({ state: 'waiting', oldest_ns: null });
    await standIn.start();
    await copying.reaches(3);
    await copying.stop();
    log.close();
  });

  test('an old server, that takes events without batches', async () => {
    const old = await serverForTests();
    await old.standIn.faults({ old: true });
    const { dir, log } = newLog();
    log.append(flaps(1, 1000), 0);
    const copying = forward(dir, old.connection, log);
    await copying.reaches(1000);
    await copying.stop();
    expect(await old.standIn.calls()).not.toHaveProperty('batchAppend');
    expect((await copyOf(old.connection, log.logId)).map(({ event }) => event.seq)).toEqual(seqs(1, 1000));
    await old.standIn.close();
    log.close();
  });

  test('one event that is larger than the server takes is told, and holds the place', async () => {
    const { dir, log } = newLog();
    const state = { text: 'x'.repeat(1_200_000) };
    log.append([flap(1), around(2, { type: 'checkpoint.made', data: { state } }), flap(3)], 0);
    const copying = forward(dir, connection, log);
    const error = await until(() => copying.state()?.error);
    expect([error.code, copying.state()?.seq]).toEqual(['kurrentdb.tooLarge', 1]);
    await copying.stop();
    log.close();
  });

  test('a cluster whose leader changes', async () => {
    const cluster = await serverForTests({ nodes: 3 });
    const [a, b, c] = cluster.standIn.ports;
    const named = { name: `kurrentdb://127.0.0.1:${a},127.0.0.1:${b},127.0.0.1:${c}?tls=false`, credentials: null };
    const { dir, log } = newLog();
    log.append(flaps(1, 3), 0);
    const copying = forward(dir, named, log, { answer_ms });
    await copying.reaches(3);
    await cluster.standIn.lead(2);
    log.append(flaps(4, 3), 3);
    await copying.reaches(6);
    expect(await cluster.standIn.calls(2)).toHaveProperty('batchAppend');
    await cluster.standIn.lead(1);
    log.append(flaps(7, 3), 6);
    await copying.reaches(9);
    await copying.stop();
    expect((await copyOf(named, log.logId)).map(({ event }) => event.seq)).toEqual(seqs(1, 9));
    await cluster.standIn.close();
    log.close();
  });

  test('a log that is set aside while it is copied is followed by the one that took its place', async () => {
    const { dir, log } = newLog();
    log.append(flaps(1, 3), 0);
    const copying = forward(dir, connection, log);
    await copying.reaches(3);
    log.close();
    const { openLog } = await import('../../src/adapters/log/sqlite.ts');
    const { log: next } = openLog(dir, IDENTITY, 'a test says so');
    next.append(flaps(50, 7), 0);
    await copying.reaches(7);
    await copying.stop();
    expect(copying.state()?.stream).toBe(streamOf(next.logId));
    expect(openReader(dir).logId).toBe(next.logId);
    next.close();
  });
});
