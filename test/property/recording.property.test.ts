// Any event list survives a recording; any single byte that changes in a file is found, or changes nothing that is read; an
// export with pseudonyms tells the same story about other names.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openHistory } from '../../src/adapters/log/history.ts';
import { RecordingReader } from '../../src/adapters/log/recording-reader.ts';
import { writeRecording } from '../../src/adapters/log/recording-writer.ts';
import type { NewEvent, RecordedEvent } from '../../src/events/envelope.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import type { RecordingHeader } from '../../src/events/recording.ts';
import { eventList } from './log.arbitrary.ts';

let dir: string;
let file: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-recording-'));
  file = join(dir, 'recording.jsonl');
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const header: RecordingHeader = {
  format: 'netkvm-recording',
  version: 1,
  schema: 1,
  machineVersion: 1,
  logId: 'log-0',
  bootId: 'boot-0',
  host: { kernel: '6.1', hostname: 'web01' },
  clocks: { mono_ns: '1', boot_ns: '2', wall_ns: '3' },
};

/** Numbers from 1 in runs of `lengths`, each with a log and boot of its own; as JSON gives values back. */
const inRuns = (events: readonly NewEvent[], lengths: readonly number[]): RecordedEvent[] => {
  let run = 0;
  let left = lengths[0] ?? 1;
  return events.map((event, index) => {
    if (left-- === 0) left = (lengths[++run % lengths.length] ?? 1) - 1;
    const place = { seq: index + 1, logId: `log-${run >> 1}`, bootId: `boot-${run}`, v: 1 };
    return { ...(JSON.parse(JSON.stringify(event)) as NewEvent), ...place };
  });
};
const recordedList = (most: number) =>
  fc
    .tuple(eventList(most), fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }))
    .map(([events, lengths]) => inRuns(events, lengths));

const read = async (): Promise<{ events: RecordedEvent[]; torn: boolean }> => {
  const reader = await RecordingReader.open(await openHistory(file));
  const events: RecordedEvent[] = [];
  for await (const page of reader.pages()) events.push(...page);
  return { events, torn: reader.torn };
};

/** What reading gave, or the code of its error. */
const outcome = async (): Promise<Awaited<ReturnType<typeof read>> | string> => {
  try {
    return await read();
  } catch (error) {
    if (error instanceof NetkvmError) return error.code;
    throw error;
  }
};

test('any event list survives a recording', async () => {
  await fc.assert(
    fc.asyncProperty(recordedList(40), async (events) => {
      await writeRecording(file, header, events);
      expect(await read()).toEqual({ events, torn: false });
    }),
    { numRuns: 150 },
  );
});

test('any single byte that is changed, added or taken away is found by its line', async () => {
  await fc.assert(
    fc.asyncProperty(
      recordedList(8),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.constantFrom('change', 'add', 'take')), {
        minLength: 20,
        maxLength: 20,
      }),
      async (events, faults) => {
        await writeRecording(file, { ...header, last: events.length }, events);
        const bytes = readFileSync(file);
        for (const [place, value, fault] of faults) {
          const at = place % bytes.length;
          const instead = { change: [(bytes[at] ?? 0) ^ value], add: [value, bytes[at] ?? 0], take: [] }[fault];
          writeFileSync(file, Buffer.concat([bytes.subarray(0, at), Buffer.from(instead), bytes.subarray(at + 1)]));
          const result = await outcome();
          // Only the newline at the very end can be touched without an error: the last line is then a torn one.
          const torn = at >= bytes.length - 1 && fault !== 'add';
          const refused = typeof result === 'string' ? result : 'not refused';
          expect(result).toEqual(torn ? { torn: true, events: events.slice(0, -1) } : refused);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a file cut anywhere gives its whole lines and a torn end, or an error', async () => {
  await fc.assert(
    fc.asyncProperty(recordedList(8), fc.nat(), async (events, place) => {
      await writeRecording(file, header, events);
      const bytes = readFileSync(file);
      const kept = bytes.subarray(0, 1 + (place % (bytes.length - 1)));
      writeFileSync(file, kept);
      const lines = kept.filter((byte) => byte === 10).length;
      const torn = kept.at(-1) !== 10;
      const result = await outcome();
      const isShort = lines === 0 || (lines === 1 && !torn);
      const told = isShort && result === 'recording.format' ? 'recording.empty' : result;
      expect(told).toEqual(isShort ? 'recording.empty' : { events: events.slice(0, lines - 1), torn });
    }),
    { numRuns: 150 },
  );
});

test('rubbish is never taken for a history, and never more than an error', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), async (bytes) => {
      writeFileSync(file, bytes);
      await expect(openHistory(file)).rejects.toBeInstanceOf(NetkvmError);
    }),
  );
});

const macsIn = (text: string): string[] => text.match(/(?<![0-9a-f:])[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?![0-9a-f:])/g) ?? [];

test('pseudonyms: valid events, the same shape, equal stays equal and different stays different', async () => {
  await fc.assert(
    fc.asyncProperty(recordedList(30), async (events) => {
      await writeRecording(file, header, events, { pseudonyms: true });
      const { events: told } = await read();
      expect(told.map(({ seq, type, mono_ns }) => [seq, type, mono_ns])).toEqual(
        events.map(({ seq, type, mono_ns }) => [seq, type, mono_ns]),
      );
      const before = events.flatMap((event) =>
        event.type === 'timer.elapsed' || event.type === 'driver.gone' ? macsIn(JSON.stringify(event.data)) : [],
      );
      const after = told.flatMap((event) =>
        event.type === 'timer.elapsed' || event.type === 'driver.gone' ? macsIn(JSON.stringify(event.data)) : [],
      );
      expect(new Set(before.map((mac, index) => `${mac} ${after[index]}`)).size).toBe(new Set(before).size);
      expect(new Set(after).size).toBe(new Set(before).size);
    }),
    { numRuns: 80 },
  );
});
