// What it costs to make an event durable: the log's append beside bare node:sqlite (the same pragmas, one prepared insert,
// one JSON column) and beside a bare file (write and fdatasync), one event at a time and in groups of 64. The three take
// turns with every append, because a disk changes its mood within seconds.
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { NewEvent } from '../../src/events/envelope.ts';
import { openLog } from '../../src/adapters/log/sqlite.ts';
import { enveloped, IDENTITY, inFolder } from './files.ts';
import { alternate, compare, type Measurement, quantile, type Row } from './measure.ts';
import { story } from './world.ts';

const GROUP = 64;

interface Side {
  readonly append: (events: readonly NewEvent[]) => void;
  readonly close: () => void;
}

const ours = (folder: string): Side => {
  const { log } = openLog(join(folder, 'log'), IDENTITY);
  let head = log.head();
  return {
    append: (events) => {
      head += log.append(events, head).length;
    },
    close: () => log.close(),
  };
};

const sqlite = (folder: string): Side => {
  const db = new DatabaseSync(join(folder, 'bare.db'));
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE events(seq INTEGER PRIMARY KEY, event TEXT) STRICT',
  );
  const insert = db.prepare('INSERT INTO events(event) VALUES (?)');
  return {
    append: (events) => {
      db.exec('BEGIN IMMEDIATE');
      for (const event of events) insert.run(JSON.stringify(event));
      db.exec('COMMIT');
    },
    close: () => db.close(),
  };
};

const file = (folder: string): Side => {
  const fd = openSync(join(folder, 'bare.jsonl'), 'a');
  return {
    append: (events) => {
      writeSync(fd, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
      fdatasyncSync(fd);
    },
    close: () => closeSync(fd),
  };
};

type Times = { readonly [name in 'ours' | 'sqlite' | 'file']: number };

/** Median microseconds of one append of `size` events on each side; the sides take turns with every append. */
const block = async (sides: { readonly [K in keyof Times]: Side }, pool: readonly NewEvent[], size: number, appends: number) => {
  const timed = (side: Side) => (index: number) => {
    const at = (index * size) % (pool.length - size);
    const events = pool.slice(at, at + size).map((event) => ({ ...event, id: crypto.randomUUID() }));
    const from = process.hrtime.bigint();
    side.append(events);
    return Number(process.hrtime.bigint() - from) / 1000;
  };
  const times = await alternate(appends, { ours: timed(sides.ours), sqlite: timed(sides.sqlite), file: timed(sides.file) });
  return { ours: quantile(times.ours, 0.5), sqlite: quantile(times.sqlite, 0.5), file: quantile(times.file, 0.5) };
};

export const appending: Measurement = ({ quick }) =>
  inFolder(async (folder) => {
    const pool = [...story(5000)].filter(({ type }) => type !== 'survey.taken').map(enveloped);
    const sides = { ours: ours(folder), sqlite: sqlite(folder), file: file(folder) };
    const [rounds, appends] = quick ? [3, 30] : [15, 200];
    const rows: Row[] = [];
    for (const size of [1, GROUP]) {
      const blocks: Times[] = [];
      for (let round = -1; round < rounds; round += 1) {
        const times = await block(sides, pool, size, appends);
        if (round >= 0) blocks.push(times); // The first one warms up.
      }
      const what = size === 1 ? 'one durable append' : `a durable append of ${size} events`;
      const common = {
        measurement: 'appending',
        unit: 'µs',
        better: 'lower',
        what,
        values: blocks.map(({ ours: own }) => own),
      } as const;
      rows.push(
        compare({
          ...common,
          baseline: { what: 'bare node:sqlite', values: blocks.map(({ sqlite: bare }) => bare) },
          goal: { text: 'at most 1.3 × bare SQLite', of: 'ratio', bound: 1.3 },
        }),
        compare({
          ...common,
          baseline: { what: 'a bare file, write and fdatasync', values: blocks.map(({ file: bare }) => bare) },
        }),
      );
    }
    for (const side of Object.values(sides)) side.close();
    return {
      rows,
      notes: [
        `Each figure is the median of ${rounds} blocks, each the median of ${appends} appends; what counts is the disk of this machine.`,
      ],
      skipped: null,
    };
  });
