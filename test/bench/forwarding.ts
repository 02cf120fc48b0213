// What a copy of the log on a server costs, and what it does not: throughput and lag of the forwarder for guests with few and
// many pairs, an append to a log that is on the server, each beside the client used bare; and the way from a fact to a
// durable decision with and without a copy, whatever the server does. The server is the stand-in of test/kurrentdb, in a
// thread of its own: the figures say what this side costs, not what a KurrentDB does.
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { openClient, type Client } from '../../src/adapters/kurrentdb/client.ts';
import { type Connection, connectionOf } from '../../src/adapters/kurrentdb/connection.ts';
import { BATCH, Forwarder } from '../../src/adapters/kurrentdb/forwarder.ts';
import { Forwarding } from '../../src/adapters/kurrentdb/forwarding.ts';
import { streamOf, toServer } from '../../src/adapters/kurrentdb/mapping.ts';
import { RemoteLog } from '../../src/adapters/kurrentdb/remote-log.ts';
import { openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import type { NewEvent, RecordedEvent } from '../../src/events/envelope.ts';
import { startStandIn } from '../kurrentdb/stand-in.ts';
import { enveloped, IDENTITY, inFolder, makeLog } from './files.ts';
import { alternate, compare, type Measurement, quantile, type Row } from './measure.ts';
import { crowd } from './world.ts';

const RETENTION = { days: 0, events: 0 };
const NO_LABELS = { vm: 'bench', idOf: () => undefined };

/** Events a second from the end of the first append to that of the last, so that connecting does not count. */
const rateOf = (sent: readonly { readonly at: number; readonly seq: number }[]): number => {
  const [first, last] = [sent[0], sent.at(-1)];
  if (first === undefined || last === undefined || last.seq === first.seq) throw new Error('one append is no measurement');
  return (last.seq - first.seq) / ((last.at - first.at) / 1000);
};

/** The forwarder, from the first event of a log to its last. */
export const forwardAll = async (dir: string, connection: Connection, head: number): Promise<number> => {
  const stop = new AbortController();
  const sent: { at: number; seq: number }[] = [];
  const options = { dir, connection, vm: 'bench', retention: RETENTION };
  const forwarder = new Forwarder(options, {
    told: ({ error }) => {
      if (error !== null) throw new Error(error.text);
    },
    sent: ({ seq }) => {
      sent.push({ at: performance.now(), seq });
      if (seq >= head) stop.abort();
    },
    diverged: () => {},
  });
  await forwarder.run(stop.signal);
  return rateOf(sent);
};

/** The same events in the same batches, prepared, through the client alone. */
export const appendAll = async (dir: string, connection: Connection): Promise<number> => {
  const reader = openReader(dir);
  const batches: RecordedEvent[][] = [[]];
  let bytes = 0;
  for (const event of reader.read(1)) {
    const size = JSON.stringify(event.data).length + 450;
    if ((batches.at(-1)?.length ?? 0) >= BATCH.events || bytes + size > BATCH.bytes) {
      batches.push([]);
      bytes = 0;
    }
    bytes += size;
    batches.at(-1)?.push(event);
  }
  reader.close();
  const client = await openClient(connection);
  const logId = crypto.randomUUID();
  const sent: { at: number; seq: number }[] = [];
  for (const batch of batches) {
    const events = batch.map((event) => toServer({ ...event, logId }, logId, NO_LABELS));
    const paused = performance.now();
    const last = sent.at(-1);
    await client.appendToStream(streamOf(logId), events, {
      streamState: last === undefined ? 'no_stream' : BigInt(last.seq - 1),
    });
    // Preparing a batch is not the client's work.
    const took = performance.now() - paused;
    sent.push({ at: (last?.at ?? 0) + took, seq: (last?.seq ?? 0) + batch.length });
  }
  await client.dispose();
  return rateOf(sent);
};

/** Milliseconds from the append of an event to the copy's having it, while each pair sees ten events a second. */
const lags = async (dir: string, connection: Connection, pairs: number, seconds: number): Promise<number[]> => {
  const { log } = openLog(dir, IDENTITY);
  const appended: number[] = [];
  const lag: number[] = [];
  let head = log.head();
  const first = head;
  let copied = head;
  const forwarding = new Forwarding(
    { dir, connection, vm: 'bench', retention: RETENTION },
    {
      sent: ({ seq }) => {
        for (; copied < seq; copied++) {
          const at = appended[copied - first];
          if (at !== undefined) lag.push(performance.now() - at);
        }
      },
      diverged: () => {},
      failing: (reason) => {
        if (reason !== null) throw new Error(reason);
      },
    },
  );
  const current = async () => {
    while ((forwarding.status(head) as { lag_events: number | null }).lag_events !== 0) await pause(5);
  };
  await current();
  const events = crowd(1_000_000, pairs);
  const from = performance.now();
  for (let made = 0; made < pairs * 10 * seconds;) {
    const due = Math.min(pairs * 10 * seconds, Math.ceil(((performance.now() - from) / 1000) * pairs * 10)) - made;
    const batch: NewEvent[] = [];
    for (let index = 0; index < due; index++) {
      let { value } = events.next();
      while (value?.type !== 'adapter.changed') ({ value } = events.next());
      batch.push(enveloped(value));
    }
    if (batch.length > 0) {
      log.append(batch, head);
      head += batch.length;
      appended.push(...batch.map(() => performance.now()));
    }
    made += batch.length;
    await pause(10);
  }
  await current();
  await forwarding.stop(100);
  log.close();
  return lag;
};

const byPairs = async (pairs: number, quick: boolean): Promise<Row[]> => {
  const count = quick ? 3000 : 60_000;
  const standIn = await startStandIn({ projections: false });
  const connection = connectionOf(standIn.url, '');
  const rows = await inFolder(async (folder) => {
    let logs = 0;
    const fresh = () => {
      const dir = join(folder, String(++logs));
      makeLog(dir, count, crowd(count, pairs));
      return dir;
    };
    const rounds = await alternate(quick ? 1 : 3, {
      ours: () => forwardAll(fresh(), connection, count),
      bare: () => appendAll(fresh(), connection),
    });
    const live = fresh();
    await forwardAll(live, connection, count);
    const lag = await lags(live, connection, pairs, quick ? 1 : 10);
    const guest = pairs === 1 ? '1 pair' : `${pairs} pairs`;
    const baseline = { what: 'the client alone, the same events, prepared', values: rounds.bare };
    return [
      compare({
        measurement: 'forwarding',
        what: `copying a log, ${guest}`,
        unit: 'events/s',
        better: 'higher',
        values: rounds.ours,
        baseline,
      }),
      compare({
        measurement: 'forwarding',
        what: `lag, ${guest}, ${pairs * 10} events/s, median and (as its maximum) p99`,
        unit: 'ms',
        better: 'lower',
        values: [quantile(lag, 0.5), quantile(lag, 0.5), quantile(lag, 0.99)],
      }),
    ];
  });
  await standIn.close();
  return rows;
};

/** Microseconds of one append of `size` events: to a log on the server, and by the client alone. */
const appends = async (quick: boolean): Promise<Row[]> => {
  const standIn = await startStandIn({ projections: false });
  const connection = connectionOf(standIn.url, '');
  const client: Client = await openClient(connection);
  const log = RemoteLog.open(connection, { logId: crypto.randomUUID(), bootId: 'bench' }, { unclean: false, release: () => {} });
  const pool = [...crowd(5000, 4)].filter(({ type }) => type === 'adapter.changed').map(enveloped);
  const stream = streamOf(crypto.randomUUID());
  const at = { ours: 0, bare: 0 };
  const fresh = (from: number, size: number) =>
    pool
      .slice(from % (pool.length - size), (from % (pool.length - size)) + size)
      .map((event) => ({ ...event, id: crypto.randomUUID() }));
  const timed = async (work: () => unknown): Promise<number> => {
    const from = process.hrtime.bigint();
    await work();
    return Number(process.hrtime.bigint() - from) / 1000;
  };
  const rows: Row[] = [];
  for (const size of [1, 64]) {
    const blocks: { ours: number; bare: number }[] = [];
    for (let round = -1; round < (quick ? 2 : 11); round++) {
      const times = await alternate(quick ? 20 : 200, {
        ours: () => {
          const events = fresh(at.ours, size);
          return timed(() => (at.ours += log.append(events, at.ours).length));
        },
        bare: () => {
          const events = fresh(at.bare, size).map((event, index) => {
            const recorded = { ...event, seq: at.bare + index + 1, logId: 'x', bootId: 'bench', v: 1 };
            return toServer(recorded, 'x', NO_LABELS);
          });
          const streamState = at.bare === 0 ? ('no_stream' as const) : BigInt(at.bare - 1);
          at.bare += size;
          return timed(() => client.appendToStream(stream, events, { streamState }));
        },
      });
      if (round >= 0) blocks.push({ ours: quantile(times.ours, 0.5), bare: quantile(times.bare, 0.5) });
    }
    rows.push(
      compare({
        measurement: 'forwarding',
        what: size === 1 ? 'an append to a log on the server' : `an append of ${size} events to a log on the server`,
        unit: 'µs',
        better: 'lower',
        values: blocks.map(({ ours }) => ours),
        baseline: { what: 'the client alone', values: blocks.map(({ bare }) => bare) },
      }),
    );
  }
  log.close();
  await client.dispose();
  await standIn.close();
  return rows;
};

export const forwarding: Measurement = async ({ quick }) => {
  const rows: Row[] = [];
  for (const pairs of [1, 16, 256]) rows.push(...(await byPairs(pairs, quick)));
  rows.push(...(await appends(quick)));
  return {
    rows,
    notes: [
      'Both sides send batches of at most 512 events and 512 KiB, one at a time. The bare client’s events were read and made before; ours reads them from the log, checks them and makes them while it sends.',
      'The forwarder looks every 50 ms for what another thread has appended, which is most of the lag.',
      'An append to a log on the server waits in its own thread for the thread that holds the client; the bare client answers in its own.',
    ],
    skipped: null,
  };
};
