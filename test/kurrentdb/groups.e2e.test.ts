// Persistent subscriptions as the client can ask for them: what a reader of a fleet relies on (share, acknowledge, park), and
// what an operator does with a group (look, change, replay what was parked, remove).
import { afterAll, expect, test } from 'vitest';
import type { PersistentSubscriptionToStreamSettings } from '@kurrent/kurrentdb-client';
import { kindOf, openClient } from '../../src/adapters/kurrentdb/client.ts';
import { streamOf, toServer } from '../../src/adapters/kurrentdb/mapping.ts';
import { recorded, flaps } from '../unit/log.samples.ts';
import { serverForTests, until } from './given.ts';

const { standIn, connection } = await serverForTests();
const client = await openClient(connection);
afterAll(async () => {
  await client.dispose();
  await standIn.close();
});

const SETTINGS: PersistentSubscriptionToStreamSettings = {
  startFrom: 'start',
  resolveLinkTos: false,
  extraStatistics: false,
  messageTimeout: 30_000,
  maxRetryCount: 2,
  checkPointAfter: 1000,
  checkPointLowerBound: 1,
  checkPointUpperBound: 100,
  maxSubscriberCount: 'unbounded',
  liveBufferSize: 500,
  readBatchSize: 20,
  historyBufferSize: 500,
  consumerStrategyName: 'RoundRobin',
};
/** A stream with so many events, and a group on it. */
const grouped = async (events: number, settings: Partial<PersistentSubscriptionToStreamSettings> = {}) => {
  const stream = streamOf(crypto.randomUUID());
  const group = `g-${crypto.randomUUID()}`;
  const labels = { vm: 'vm', idOf: () => undefined };
  await client.appendToStream(
    stream,
    recorded(flaps(1, events)).map((event) => toServer(event, stream.slice(7), labels)),
  );
  await client.createPersistentSubscriptionToStream(stream, group, { ...SETTINGS, ...settings });
  const join = (bufferSize = 10) => client.subscribeToPersistentSubscriptionToStream(stream, group, { bufferSize });
  const info = () => client.getPersistentSubscriptionToStreamInfo(stream, group);
  return { stream, group, join, info };
};
const kindThrown = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'none';
  } catch (error) {
    return kindOf(error);
  }
};

test('a group is made once, told of, listed, changed and removed', async () => {
  const { stream, group, info } = await grouped(3);
  expect(await kindThrown(client.createPersistentSubscriptionToStream(stream, group, SETTINGS))).toBe(
    'persistent-subscription-exists',
  );
  expect(await info()).toMatchObject({
    eventSource: stream,
    groupName: group,
    settings: { maxRetryCount: 2, startFrom: 'start' },
  });
  await client.updatePersistentSubscriptionToStream(stream, group, { ...SETTINGS, maxRetryCount: 7 });
  expect((await info()).settings.maxRetryCount).toBe(7);
  const listed = await client.listPersistentSubscriptionsToStream(stream);
  expect(listed.map(({ groupName }) => groupName)).toEqual([group]);
  const all = await client.listAllPersistentSubscriptions();
  expect(all.some(({ groupName }) => groupName === group)).toBe(true);
  await client.deletePersistentSubscriptionToStream(stream, group);
  expect(await kindThrown(info())).toBe('persistent-subscription-does-not-exist');
});

test('what is acknowledged is done; what is refused comes again, and is parked after so many times', async () => {
  const { join, info, stream, group } = await grouped(3);
  const seen: [revision: bigint | undefined, retries: number][] = [];
  const reader = join();
  for await (const resolved of reader) {
    const { event, retryCount } = resolved;
    seen.push([event?.revision, retryCount]);
    if (event?.revision === 1n) await reader.nack('retry', 'a test', resolved);
    else await reader.ack(resolved);
    if (retryCount === 2) break;
  }
  expect(seen.filter(([revision]) => revision !== 1n)).toEqual([
    [0n, 0],
    [2n, 0],
  ]);
  expect(seen.filter(([revision]) => revision === 1n).map(([, retries]) => retries)).toEqual([0, 1, 2]);
  await until(async () => (await info()).stats.parkedMessageCount === 1n);
  await reader.unsubscribe();
  // Replayed, it comes to whoever reads then.
  await client.replayParkedMessagesToStream(stream, group);
  const again = join();
  for await (const resolved of again) {
    expect(resolved.event?.revision).toBe(1n);
    await again.ack(resolved);
    break;
  }
  await until(async () => (await info()).stats.parkedMessageCount === 0n);
});

test('parked at once, and skipped for good', async () => {
  const { join, info } = await grouped(2);
  const reader = join();
  for await (const resolved of reader) {
    await reader.nack(resolved.event?.revision === 0n ? 'park' : 'skip', 'a test', resolved);
    if (resolved.event?.revision === 1n) break;
  }
  await until(async () => {
    const { stats } = await info();
    return stats.parkedMessageCount === 1n && stats.totalInFlightMessages === 0 && (stats.retryBufferCount ?? 0) === 0;
  });
  expect((await info()).stats.parkedMessageCount).toBe(1n);
  await reader.unsubscribe();
});

test('an event that is not answered in time goes to another reader', async () => {
  const { join } = await grouped(1, { messageTimeout: 500 });
  const silent = join();
  const got = new Promise((done) => silent.once('data', done));
  await got;
  const other = join();
  for await (const resolved of other) {
    expect([resolved.event?.revision, resolved.retryCount]).toEqual([0n, 1]);
    await other.ack(resolved);
    break;
  }
  await silent.unsubscribe();
});

test('more readers than the group wants are refused', async () => {
  const { join } = await grouped(1, { maxSubscriberCount: 1 });
  const first = join();
  await new Promise((done) => first.once('data', done));
  const second = join();
  const read = async () => {
    for await (const { event } of second) if (event !== undefined) break;
  };
  expect(await kindThrown(read())).toBe('maximum-subscribers-reached');
  await first.unsubscribe();
});

test('a group that is removed ends its readers', async () => {
  const { join, stream, group } = await grouped(1);
  const reader = join();
  const read = async () => {
    for await (const resolved of reader) {
      await reader.ack(resolved);
      await client.deletePersistentSubscriptionToStream(stream, group);
    }
  };
  expect(await kindThrown(read())).toBe('persistent-subscription-dropped');
});
