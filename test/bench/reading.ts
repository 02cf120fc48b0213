// How fast a history is read and folded: from the SQLite log and from a recording whose hashes are verified, each beside
// a reader that only gets the JSON out of the same bytes. All figures are of one thread.
import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { databaseIn, openReader } from '../../src/adapters/log/sqlite.ts';
import { Guest } from '../../src/machines/guest.ts';
import { Story } from '../../src/machines/story.ts';
import { inFolder, makeLog, makeRecording, openRecording } from './files.ts';
import { alternate, compare, type Measurement } from './measure.ts';

/** Events a second; `read` returns how many there were. */
const rate = async (count: number, read: () => Promise<number> | number): Promise<number> => {
  globalThis.gc?.();
  const from = process.hrtime.bigint();
  const seen = await read();
  const seconds = Number(process.hrtime.bigint() - from) / 1e9;
  if (seen !== count) throw new Error(`${seen} events were read instead of ${count}`);
  return count / seconds;
};

const foldLog = (folder: string): number => {
  const reader = openReader(folder);
  const guest = new Guest();
  let seen = 0;
  for (const page of reader.fold(1)) {
    for (const event of page) guest.apply(event);
    seen += page.length;
  }
  reader.close();
  return seen;
};

const tellLog = (folder: string): number => {
  const reader = openReader(folder);
  const story = new Story();
  let seen = 0;
  for (const page of reader.fold(1)) {
    for (const event of page) story.tell(event);
    seen += page.length;
  }
  reader.close();
  return seen;
};

const bareSqlite = (folder: string): number => {
  const db = new DatabaseSync(databaseIn(folder), { readOnly: true });
  let seen = 0;
  for (const row of db.prepare('SELECT seq, type, CAST(mono_ns AS TEXT) AS mono_ns, data FROM events ORDER BY seq').iterate()) {
    if (JSON.parse(String(row['data'])) !== null) seen += 1;
  }
  db.close();
  return seen;
};

const foldRecording = async (path: string): Promise<number> => {
  const recording = await openRecording(path);
  const guest = new Guest();
  for await (const page of recording.pages()) for (const event of page) guest.apply(event);
  return recording.events;
};

const bareLines = async (path: string): Promise<number> => {
  let seen = -1; // The header.
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    if (JSON.parse(line) !== null) seen += 1;
  }
  return seen;
};

const MiB = 1024 * 1024;

export const reading: Measurement = ({ quick }) =>
  inFolder(async (folder) => {
    const count = quick ? 20_000 : 1_000_000;
    const rounds = quick ? 1 : 5;
    const path = join(folder, 'bench.jsonl');
    makeLog(folder, count);
    await makeRecording(folder, path);
    const sides = {
      log: () => rate(count, () => foldLog(folder)),
      bareLog: () => rate(count, () => bareSqlite(folder)),
      recording: () => rate(count, () => foldRecording(path)),
      bareRecording: () => rate(count, () => bareLines(path)),
      story: () => rate(count, () => tellLog(folder)),
    };
    await alternate(1, sides);
    const { log, bareLog, recording, bareRecording, story } = await alternate(rounds, sides);
    const common = { measurement: 'reading', unit: 'events/s', better: 'higher' } as const;
    const events = count.toLocaleString('en');
    const sizes = [databaseIn(folder), path].map((file) => Math.round(statSync(file).size / MiB));
    return {
      rows: [
        compare({
          ...common,
          what: `reading and folding ${events} events of the SQLite log`,
          values: log,
          baseline: { what: 'bare node:sqlite, rows and JSON.parse, no fold', values: bareLog },
          goal: { text: 'at least 500,000 events/s', of: 'value', bound: 500_000 },
        }),
        compare({
          ...common,
          what: `reading, verifying and folding a recording of ${events} events`,
          values: recording,
          baseline: { what: 'readline and JSON.parse, no hashes, no fold', values: bareRecording },
          goal: { text: 'at least 200,000 events/s', of: 'value', bound: 200_000 },
        }),
        compare({
          ...common,
          what: 'the same log with history and findings (what a command that looks at it does)',
          values: story,
          baseline: { what: 'bare node:sqlite, rows and JSON.parse, no fold', values: bareLog },
        }),
      ],
      notes: [`The log takes ${sizes[0]} MiB, the recording ${sizes[1]} MiB; both are in the page cache.`],
      skipped: null,
    };
  });
