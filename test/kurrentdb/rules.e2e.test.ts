// The rules of a KurrentDB server that this program relies on, asked through the bare client. The stand-in has to keep them
// because the documentation says so; run against a real server (KURRENTDB_URL) this file says whether it is right.
import { afterAll, describe, expect, test } from 'vitest';
import { kindOf, openClient } from '../../src/adapters/kurrentdb/client.ts';
import { serverForTests, until } from './given.ts';

const { standIn, connection } = await serverForTests();
const client = await openClient(connection);
afterAll(async () => {
  await client.dispose();
  await standIn.close();
});

/** A category of this run alone, and streams in it. */
const CATEGORY = `rules${crypto.randomUUID().slice(0, 8)}`;
/** The number in an event; -1 for none. */
const numberOf = (one: { readonly data: unknown } | undefined): number =>
  typeof one?.data === 'object' && one.data !== null && 'n' in one.data && typeof one.data.n === 'number' ? one.data.n : -1;
const newStream = () => `${CATEGORY}-${crypto.randomUUID()}`;
const event = (n: number, type = 'told', id: string = crypto.randomUUID()) => ({
  id,
  type,
  contentType: 'application/json' as const,
  data: { n },
  metadata: undefined,
});
const events = (count: number) => Array.from({ length: count }, (_, index) => event(index));
const numbersIn = async (stream: string, options: Parameters<typeof client.readStream>[1] = {}) => {
  const numbers: number[] = [];
  for await (const { event: one } of client.readStream(stream, options)) numbers.push(numberOf(one));
  return numbers;
};
const kindThrown = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'none';
  } catch (error) {
    return kindOf(error);
  }
};

describe('appending', () => {
  test.each([
    ['no stream, where there is none', 0, 'no_stream', 'none'],
    ['no stream, where there is one', 3, 'no_stream', 'wrong-expected-version'],
    ['the last revision', 3, 2n, 'none'],
    ['an earlier revision, with other events', 3, 1n, 'wrong-expected-version'],
    ['a later revision', 3, 3n, 'wrong-expected-version'],
    ['a stream, where there is one', 3, 'stream_exists', 'none'],
    ['a stream, where there is none', 0, 'stream_exists', 'wrong-expected-version'],
    ['anything', 3, 'any', 'none'],
  ] as const)('behind %s', async (_, before, streamState, kind) => {
    const stream = newStream();
    if (before > 0) await client.appendToStream(stream, events(before), { streamState: 'no_stream' });
    expect(await kindThrown(client.appendToStream(stream, [event(99)], { streamState }))).toBe(kind);
    const wanted = [...Array.from({ length: before }).keys(), ...(kind === 'none' ? [99] : [])];
    expect(wanted.length === 0 ? [] : await numbersIn(stream)).toEqual(wanted);
  });

  test('the same events behind the same revision again are written once', async () => {
    const stream = newStream();
    const [first, second] = [events(2), events(3)];
    await client.appendToStream(stream, first, { streamState: 'no_stream' });
    const once = await client.appendToStream(stream, second, { streamState: 1n });
    const again = await client.appendToStream(stream, second, { streamState: 1n });
    expect([once.nextExpectedRevision, again.nextExpectedRevision]).toEqual([4n, 4n]);
    expect(await numbersIn(stream)).toEqual([0, 1, 0, 1, 2]);
    const longer = [...second, event(9)];
    expect(await kindThrown(client.appendToStream(stream, longer, { streamState: 1n }))).toBe('wrong-expected-version');
  });

  test('more than the server takes is refused whole', async () => {
    const stream = newStream();
    const large = { ...event(0), data: { text: 'x'.repeat(1_200_000) } };
    expect(await kindThrown(client.appendToStream(stream, [event(1), large]))).toMatch(
      /maximum-append-size-exceeded|append-record-size/,
    );
    expect(await kindThrown(numbersIn(stream))).toBe('stream-not-found');
  });
});

describe('deleting and limits', () => {
  test('a stream that was deleted softly is not found, and goes on with the next revision', async () => {
    const stream = newStream();
    await client.appendToStream(stream, events(3));
    await client.deleteStream(stream);
    expect(await kindThrown(numbersIn(stream))).toBe('stream-not-found');
    const { nextExpectedRevision } = await client.appendToStream(stream, [event(7)], { streamState: 'no_stream' });
    expect(nextExpectedRevision).toBe(3n);
    expect(await numbersIn(stream)).toEqual([7]);
  });

  test('one that was deleted for good stays so', async () => {
    const stream = newStream();
    await client.appendToStream(stream, events(3));
    await client.tombstoneStream(stream);
    expect(await kindThrown(numbersIn(stream))).toBe('stream-deleted');
    expect(await kindThrown(client.appendToStream(stream, [event(7)]))).toBe('stream-deleted');
  });

  test.each([
    ['maxCount', { maxCount: 2 }, [3, 4]],
    ['truncateBefore', { truncateBefore: 3 }, [3, 4]],
  ])('%s hides what is older, and revisions stay', async (_, metadata, left) => {
    const stream = newStream();
    await client.appendToStream(stream, events(5));
    await client.setStreamMetadata(stream, metadata);
    expect(await numbersIn(stream)).toEqual(left);
    expect(await numbersIn(stream, { direction: 'backwards', fromRevision: 'end' })).toEqual(left.toReversed());
    expect((await client.getStreamMetadata(stream)).metadata).toMatchObject(metadata);
    expect((await client.appendToStream(stream, [event(9)])).nextExpectedRevision).toBe(5n);
  });
});

describe('reading', () => {
  const filter = { filterOn: 'streamName', prefixes: [`${CATEGORY}-all`], checkpointInterval: 1 } as const;
  const mixed = async () => {
    const [one, other] = [`${CATEGORY}-all-${crypto.randomUUID()}`, `${CATEGORY}-all-${crypto.randomUUID()}`];
    for (let n = 0; n < 6; n++) await client.appendToStream(n % 2 === 0 ? one : other, [event(n, n === 4 ? 'rare' : 'told')]);
  };

  test('$all has everything in the order in which it was appended; a read begins at a position, a subscription behind it', async () => {
    await mixed();
    const all = [];
    for await (const { event: one } of client.readAll({ filter: { ...filter, prefixes: [...filter.prefixes] } }))
      if (one !== undefined) all.push(one);
    expect(all.map(numberOf)).toEqual([0, 1, 2, 3, 4, 5]);
    const positions = all.map(({ position }) => position.commit);
    expect(positions.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(positions);
    const third = all[2];
    if (third === undefined) throw new Error('there are less than three');
    const options = { fromPosition: third.position, filter: { ...filter, prefixes: [...filter.prefixes] } };
    const read: number[] = [];
    for await (const { event: one } of client.readAll(options)) read.push(numberOf(one));
    expect(read).toEqual([2, 3, 4, 5]);
    const heard: number[] = [];
    const subscription = client.subscribeToAll(options);
    subscription.on('data', ({ event: one }: { event?: { data: unknown } }) => heard.push(numberOf(one)));
    await until(() => heard.length >= 3);
    await subscription.unsubscribe();
    expect(heard).toEqual([3, 4, 5]);
    const rare: number[] = [];
    const byType = { filterOn: 'eventType', regex: '^rare$', checkpointInterval: 1 } as const;
    for await (const { event: one } of client.readAll({ filter: byType }))
      if (one?.streamId.startsWith(`${CATEGORY}-all`) === true) rare.push(numberOf(one));
    expect(rare).toEqual([4]);
  });

  test('a stream is read from a revision on, and followed from behind it', async () => {
    const stream = newStream();
    await client.appendToStream(stream, events(5));
    expect(await numbersIn(stream, { fromRevision: 2n })).toEqual([2, 3, 4]);
    expect(await numbersIn(stream, { fromRevision: 2n, direction: 'backwards' })).toEqual([2, 1, 0]);
    expect(await numbersIn(stream, { fromRevision: 9n })).toEqual([]);
    const heard: number[] = [];
    const subscription = client.subscribeToStream(stream, { fromRevision: 2n });
    subscription.on('data', ({ event: one }: { event?: { data: unknown } }) => heard.push(numberOf(one)));
    await until(() => heard.length >= 2);
    await client.appendToStream(stream, [event(5)]);
    await until(() => heard.length >= 3);
    await subscription.unsubscribe();
    expect(heard).toEqual([3, 4, 5]);
  });

  test('a category has a link to every event of its streams; one to an event that is gone leads nowhere', async () => {
    const category = `links${crypto.randomUUID().slice(0, 8)}`;
    const [one, other] = [`${category}-a`, `${category}-b`];
    await client.appendToStream(one, events(2));
    await client.appendToStream(other, events(1));
    const links = async () => {
      const found = [];
      try {
        for await (const resolved of client.readStream(`$ce-${category}`, { resolveLinkTos: true })) found.push(resolved);
      } catch (error) {
        if (kindOf(error) !== 'stream-not-found') throw error;
      }
      return found;
    };
    const found = await until(async () => {
      const now = await links();
      return now.length === 3 && now;
    });
    expect(found.map(({ event: target, link }) => [target?.streamId, target?.revision, link?.revision])).toEqual([
      [one, 0n, 0n],
      [one, 1n, 1n],
      [other, 0n, 2n],
    ]);
    await client.setStreamMetadata(one, { truncateBefore: 1 });
    expect((await links()).map(({ event: target }) => target?.revision)).toEqual([undefined, 1n, 0n]);
  });
});
