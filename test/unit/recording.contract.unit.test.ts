// A recording keeps the contract of keeping, as the logs do: as a file, and as a stream that is read while it is written.
import { mkdtempSync, rmSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openHistory, type History } from '../../src/adapters/log/history.ts';
import { RecordingReader } from '../../src/adapters/log/recording-reader.ts';
import { writeRecording } from '../../src/adapters/log/recording-writer.ts';
import type { Foldable, NewEvent, RecordedEvent } from '../../src/events/envelope.ts';
import type { RecordingHeader } from '../../src/events/recording.ts';
import { headerFor } from '../../src/host/commands/log.ts';
import { keepingContract } from './log.contract.ts';
import { flaps, recorded } from './log.samples.ts';

const eventsOf = async function* (history: History): AsyncGenerator<RecordedEvent> {
  for await (const page of (await RecordingReader.open(history)).pages()) yield* page;
};
const all = async <T>(events: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = [];
  for await (const event of events) list.push(event);
  return list;
};

const headerOf = (events: readonly RecordedEvent[]) => headerFor(events[0] as RecordedEvent, events.length);
/** Nobody knows how long a stream will be. */
const withoutEnd = ({ last: _, ...header }: RecordingHeader): RecordingHeader => header;
const foldable = ({ seq, type, mono_ns, data }: RecordedEvent) => ({ seq, type, mono_ns, data }) as Foldable;

keepingContract('a recording', {
  keep: async (given) => {
    const dir = mkdtempSync(join(tmpdir(), 'netkvm-recording-'));
    const path = join(dir, 'kept.jsonl');
    const events = recorded(given);
    await writeRecording(path, headerOf(events), events);
    const from = async (first: number) => (await all(eventsOf(await openHistory(path)))).filter(({ seq }) => seq >= first);
    return {
      read: from,
      fold: async (first) => (await from(first)).map(foldable),
      dispose: () => rmSync(dir, { recursive: true }),
    };
  },
  // A pipe between two processes, as in `netkvm log export | netkvm replay -`.
  live: () => {
    const pipe = new PassThrough();
    const source = new PassThrough({ objectMode: true, highWaterMark: 100_000 });
    let next = 1;
    const write = async (given: readonly NewEvent[]) => {
      for (const event of recorded(given, next)) source.write(event);
      next += given.length;
    };
    const header = withoutEnd(headerOf(recorded(flaps(1, 1))));
    const written = writeRecording(pipe, header, source as AsyncIterable<RecordedEvent>);
    const read = async function* () {
      yield* eventsOf({ kind: 'recording', name: 'a pipe', chunks: pipe as AsyncIterable<Buffer>, close: async () => {} });
      await written;
    };
    return { read: read(), write, end: () => void source.end() };
  },
});
