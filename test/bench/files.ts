// What the measurements of reading and appending work on: the world's events with envelopes, a log in SQLite and a
// recording made of them, in a folder that is deleted afterwards. It lies below the working folder's file system's
// temporary folder, which must not be memory where a sync is measured.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openHistory } from '../../src/adapters/log/history.ts';
import { openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import { RecordingReader } from '../../src/adapters/log/recording-reader.ts';
import { writeRecording } from '../../src/adapters/log/recording-writer.ts';
import { SCHEMA_VERSION, type Foldable, type NewEvent } from '../../src/events/envelope.ts';
import type { RecordingHeader } from '../../src/events/recording.ts';
import { MACHINE_VERSION } from '../../src/machines/guest.ts';
import { story } from './world.ts';

export const IDENTITY = { bootId: 'bench', machineId: 'bench' };
const BATCH = 8192;

export const enveloped = ({ seq: _, mono_ns, ...happening }: Foldable): NewEvent => ({
  ...happening,
  id: randomUUID(),
  mono_ns,
  boot_ns: mono_ns,
  wall_ns: '1790000000000000000',
  cause: null,
  episode: null,
});

/** Runs `work` with a folder of its own, and deletes that. */
export const inFolder = async <T>(work: (folder: string) => Promise<T> | T): Promise<T> => {
  const folder = mkdtempSync(join(tmpdir(), 'netkvm-bench-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

/** A log of `count` events. */
export const makeLog = (folder: string, count: number, events: Iterable<Foldable> = story(count)): void => {
  const { log } = openLog(folder, IDENTITY);
  let head = 0;
  let batch: NewEvent[] = [];
  const write = (): void => {
    log.append(batch, head);
    head += batch.length;
    batch = [];
  };
  for (const event of events) {
    batch.push(enveloped(event));
    if (batch.length === BATCH) write();
  }
  write();
  log.close();
};

/** The same events as a recording. */
export const makeRecording = async (folder: string, path: string): Promise<void> => {
  const reader = openReader(folder);
  const header: RecordingHeader = {
    format: 'netkvm-recording',
    version: 1,
    schema: SCHEMA_VERSION,
    machineVersion: MACHINE_VERSION,
    logId: reader.logId,
    bootId: IDENTITY.bootId,
    host: {},
    clocks: { mono_ns: '1000000000000', boot_ns: '1000000000000', wall_ns: '1790000000000000000' },
    last: reader.head(),
  };
  await writeRecording(path, header, reader.read(1));
  reader.close();
};

export const openRecording = async (path: string): Promise<RecordingReader> => RecordingReader.open(await openHistory(path));
