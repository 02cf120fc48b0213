// The contract of a log (events/log.ts) as tests, for every store of it. What every store does, a recording too, is the
// contract of keeping: what was written can be read, in order, whole, from anywhere, and while it is written. A log that is
// written in place does more: a repeated write is recognised, another writer noticed, retention keeps whole segments.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Foldable, NewEvent, RecordedEvent } from '../../src/events/envelope.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import type { EventLog, LogReader } from '../../src/events/log.ts';
import { checkpoint, decision, flap, flaps, outcome, survey } from './log.samples.ts';

/** A log under test: `open` a fresh one, `reader` a second view of the same, as another process would have it. */
export interface Opened {
  readonly log: EventLog;
  readonly reader: () => LogReader;
  readonly dispose: () => void;
}

/** Events that a store was given, the first of them numbered `from`. */
export interface Kept {
  /** What the store has, from a number on; whole, and as a fold gets it. */
  readonly read: (from: number) => Promise<RecordedEvent[]>;
  readonly fold: (from: number) => Promise<Foldable[]>;
  readonly dispose: () => void;
}
export interface Keeping {
  readonly keep: (events: readonly NewEvent[]) => Promise<Kept>;
  /** A reader that begins while the store is empty, and ends when it has all that was written before `end`. */
  readonly live: () => {
    readonly read: AsyncIterable<RecordedEvent>;
    readonly write: (events: readonly NewEvent[]) => Promise<void>;
    readonly end: () => void;
  };
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

export const keepingContract = (name: string, { keep, live }: Keeping): void => {
  describe(`the contract of keeping: ${name}`, () => {
    const kept = async <T>(events: readonly NewEvent[], look: (kept: Kept) => Promise<T>): Promise<T> => {
      const store = await keep(events);
      try {
        return await look(store);
      } finally {
        store.dispose();
      }
    };

    test('what was written is read back whole, numbered from 1, under one log id', async () => {
      const events = [flap(1), checkpoint(2), survey(3, 2), decision(4, 'd3.0', 3), outcome(5, 'd3.0', 4)];
      await kept(events, async ({ read }) => {
        const there = await read(1);
        expect(there.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
        for (const [index, event] of events.entries()) expect(there[index]).toMatchObject(event);
        expect(await read(3)).toEqual(there.slice(2));
        expect(await read(6)).toEqual([]);
        expect(new Set(there.map(({ logId }) => logId)).size).toBe(1);
      });
    });

    test('a fold gets the same events, over page borders and large events', async () => {
      await kept([...flaps(1, 1000), survey(1001, 500), ...flaps(1002, 700), survey(1702, 1)], async ({ read, fold }) => {
        const folded = await fold(500);
        expect(folded).toEqual((await read(500)).map(({ seq, type, mono_ns, data }) => ({ seq, type, mono_ns, data })));
        expect(folded).toHaveLength(1203);
      });
    });

    test('nanoseconds keep all their digits', async () => {
      const clocks = { mono_ns: '9223372036854775807', boot_ns: '-9223372036854775808', wall_ns: '9007199254740993' };
      await kept([{ ...flap(1), ...clocks }], async ({ read, fold }) => {
        expect((await read(1))[0]).toMatchObject(clocks);
        expect((await fold(1))[0]?.mono_ns).toBe(clocks.mono_ns);
      });
    });

    test('a reader gets what is written while it reads, in order', async () => {
      const { read, write, end } = live();
      const seqs: number[] = [];
      const reading = (async () => {
        for await (const { seq } of read) seqs.push(seq);
      })();
      await write(flaps(1, 5000));
      await new Promise((resolve) => setTimeout(resolve, 5));
      await write(flaps(5001, 3));
      await write(flaps(5004, 2));
      end();
      await reading;
      expect(seqs).toEqual(Array.from({ length: 5005 }, (_, index) => index + 1));
    });
  });
};

/** A log that is written in place, as a store that keeps. */
const inPlace = (open: () => Opened): Keeping => ({
  keep: async (events) => {
    const { log, reader, dispose } = open();
    log.append(events, 0);
    const view = reader();
    return {
      read: async (from) => [...view.read(from)],
      fold: async (from) => [...view.fold(from)].flat(),
      dispose: () => {
        view.close();
        dispose();
      },
    };
  },
  live: () => {
    const { log, reader, dispose } = open();
    const view = reader();
    const stop = new AbortController();
    let [seen, last] = [0, Infinity];
    const read = async function* () {
      for await (const event of view.follow(1, stop.signal)) {
        yield event;
        seen = event.seq;
        if (seen >= last) break;
      }
      view.close();
      dispose();
    };
    const end = () => {
      last = log.head();
      if (seen >= last) stop.abort();
    };
    return { read: read(), write: async (events) => void log.append(events, log.head()), end };
  },
});

export const logContract = (name: string, open: () => Opened): void => {
  keepingContract(name, inPlace(open));
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
