// The contract of events/log.ts as tests, for every implementation of it: what is appended can be read, in order, whole;
// a repeated write is recognised; another writer is noticed; retention keeps whole segments.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import type { EventLog, LogReader } from '../../src/events/log.ts';
import { checkpoint, flap, flaps, survey } from './log.samples.ts';

/** A log under test: `open` a fresh one, `reader` a second view of the same, as another process would have it. */
export interface Opened {
  readonly log: EventLog;
  reader(): LogReader;
  dispose(): void;
}

export const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof NetkvmError) return error.code;
    throw error;
  }
  return 'no error';
};

const take = async (events: AsyncIterable<RecordedEvent>, count: number, stop: AbortController): Promise<RecordedEvent[]> => {
  const taken: RecordedEvent[] = [];
  for await (const event of events) if (taken.push(event) >= count) stop.abort();
  return taken;
};

export const logContract = (name: string, open: () => Opened): void => {
  describe(`the contract of a log: ${name}`, () => {
    let opened: Opened;
    beforeEach(() => {
      opened = open();
    });
    afterEach(() => {
      opened.dispose();
    });

    test('an empty log has no head, and begins at 1', () => {
      const { log } = opened;
      expect([log.head(), log.first(), log.checkpoint()]).toEqual([0, 1, 0]);
      expect([...log.read(1)]).toEqual([]);
      expect([...log.fold(1)].flat()).toEqual([]);
      expect(log.prune(10)).toBe(0);
    });

    test('what is appended is numbered, returned and read back whole', () => {
      const { log } = opened;
      const events = [flap(1), checkpoint(2), survey(3, 2)];
      const written = log.append(events, 0);
      expect(written.map(({ seq }) => seq)).toEqual([1, 2, 3]);
      for (const [index, event] of events.entries()) expect(written[index]).toMatchObject(event);
      expect([...log.read(1)]).toEqual(written);
      expect([...log.read(3)]).toEqual(written.slice(2));
      expect([...log.read(4)]).toEqual([]);
      expect(new Set(written.map(({ logId }) => logId))).toEqual(new Set([log.logId]));
      expect(log.head()).toBe(3);
    });

    test('a fold gets the same events in pages, over page borders and large events', () => {
      const { log } = opened;
      log.append([...flaps(1, 1000), survey(1001, 500), ...flaps(1002, 700), survey(1702, 1)], 0);
      const folded = [...log.fold(500)].flat();
      expect(folded).toEqual([...log.read(500)].map(({ seq, type, mono_ns, data }) => ({ seq, type, mono_ns, data })));
      expect(folded).toHaveLength(1203);
    });

    test('reading goes to the head at the time of the call, not further', () => {
      const { log } = opened;
      log.append(flaps(1, 2), 0);
      const events = log.read(1);
      const pages = log.fold(1);
      log.append([flap(3)], 2);
      expect([...events]).toHaveLength(2);
      expect([...pages].flat()).toHaveLength(2);
    });

    test('the same write again succeeds once, and gives the same numbers', () => {
      const { log } = opened;
      log.append(flaps(1, 3), 0);
      const written = log.append(flaps(4, 2), 3);
      expect(log.append(flaps(4, 2), 3)).toEqual(written);
      expect(log.append(flaps(1, 3), 0)).toEqual([...log.read(1)].slice(0, 3));
      expect(log.head()).toBe(5);
    });

    test.each([
      ['a head that is too small', [flap(9)], 2],
      ['a head that is too large', [flap(9)], 4],
      ['a repetition that goes on after the head', [flap(3), flap(4)], 2],
      ['a repetition in another order', [flap(2), flap(1)], 0],
    ])('%s is a conflict and changes nothing', (_, events, expected) => {
      const { log } = opened;
      log.append(flaps(1, 3), 0);
      expect(codeOf(() => log.append(events, expected))).toBe('log.conflict');
      expect(log.head()).toBe(3);
      expect(log.append([flap(4)], 3)).toHaveLength(1);
    });

    test('one event that is not valid keeps all of an append out', () => {
      const { log } = opened;
      const wrong = [
        { ...flap(2), data: { ifindex: 'x' } },
        { ...flap(2), type: 'adapter.unheard' },
        { ...flap(2), id: 'X' },
        { ...flap(2), mono_ns: '9223372036854775808' },
        { ...flap(2), cause: 2 },
        { ...flap(2), episode: '17' },
      ];
      for (const event of wrong) {
        expect(() => log.append([flap(1), event as never], 0)).toThrow(/event 2 is not valid/);
        expect(log.head()).toBe(0);
      }
    });

    test('nanoseconds keep all their digits', () => {
      const { log } = opened;
      const clocks = { mono_ns: '9223372036854775807', boot_ns: '-9223372036854775808', wall_ns: '9007199254740993' };
      log.append([{ ...flap(1), ...clocks }], 0);
      expect([...log.read(1)][0]).toMatchObject(clocks);
      expect([...log.fold(1)][0]?.[0]?.mono_ns).toBe(clocks.mono_ns);
    });

    test('a follower gets the backlog, then what is appended, until it is told to stop', async () => {
      const { log } = opened;
      log.append(flaps(1, 600), 0);
      const stop = new AbortController();
      const taken = take(log.follow(599, stop.signal), 4, stop);
      await new Promise((resolve) => setTimeout(resolve, 5));
      log.append([flap(601)], 600);
      log.append([flap(602)], 601);
      expect((await taken).map(({ seq }) => seq)).toEqual([599, 600, 601, 602]);
    });

    test('a follower with another view of the log sees appends as well', async () => {
      const { log } = opened;
      log.append([flap(1)], 0);
      const reader = opened.reader();
      const stop = new AbortController();
      const taken = take(reader.follow(1, stop.signal), 3, stop);
      await new Promise((resolve) => setTimeout(resolve, 5));
      log.append(flaps(2, 2), 1);
      expect((await taken).map(({ seq }) => seq)).toEqual([1, 2, 3]);
      expect([...reader.read(1)]).toEqual([...log.read(1)]);
      reader.close();
    });

    test('closing a log ends its followers', async () => {
      const { log } = opened;
      log.append([flap(1)], 0);
      const reader = opened.reader();
      const taken = take(reader.follow(1, new AbortController().signal), 99, new AbortController());
      await new Promise((resolve) => setTimeout(resolve, 5));
      reader.close();
      expect(await taken).toHaveLength(1);
    });

    test('retention drops whole segments before the newest checkpoint at or below a number', () => {
      const { log } = opened;
      log.append([...flaps(1, 9), checkpoint(10), ...flaps(11, 9), checkpoint(20), ...flaps(21, 5)], 0);
      expect(log.checkpoint()).toBe(20);
      expect(log.prune(9)).toBe(0);
      expect(log.first()).toBe(1);
      expect(log.prune(19)).toBe(9);
      expect([log.first(), log.head()]).toEqual([10, 25]);
      expect([...log.read(1)].map(({ seq }) => seq)).toEqual(Array.from({ length: 16 }, (_, index) => index + 10));
      expect(log.prune(99)).toBe(10);
      expect([...log.fold(1)].flat()[0]).toMatchObject({ seq: 20, type: 'checkpoint.made' });
      expect(log.append([flap(26)], 25)[0]?.seq).toBe(26);
      expect(log.prune(99)).toBe(0);
    });

    test('a reader in the middle goes on at the checkpoint when retention takes what is before it', () => {
      const { log } = opened;
      log.append([...flaps(1, 1999), checkpoint(2000), ...flaps(2001, 3)], 0);
      const reading = log.read(1)[Symbol.iterator]();
      for (let seq = 1; seq <= 512; seq++) expect(reading.next().value?.seq).toBe(seq);
      log.prune(2000);
      const rest: number[] = [];
      for (let next = reading.next(); next.done !== true; next = reading.next()) rest.push(next.value.seq);
      expect(rest).toEqual([2000, 2001, 2002, 2003]);
    });
  });
};
