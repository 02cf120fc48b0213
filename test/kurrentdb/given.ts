// What the tests with a server are given: the stand-in, or the server behind KURRENTDB_URL (with KURRENTDB_CREDENTIALS, a
// file, where it wants a user); logs in folders of their own; and what a plain client reads of a stream.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asUser, openClient } from '../../src/adapters/kurrentdb/client.ts';
import { type Connection, connectionOf } from '../../src/adapters/kurrentdb/connection.ts';
import { Forwarder, type ForwarderOptions, type ForwardingState } from '../../src/adapters/kurrentdb/forwarder.ts';
import { fromServer, type FleetEvent, streamOf } from '../../src/adapters/kurrentdb/mapping.ts';
import { openLog } from '../../src/adapters/log/sqlite.ts';
import type { SqliteLog } from '../../src/adapters/log/writer.ts';
import { startStandIn, type StandIn } from './stand-in.ts';
import type { StandInOptions } from './stand-in.worker.ts';

/** A server that the caller names; tests that need faults are skipped then. */
export const REAL_URL = process.env['KURRENTDB_URL'] ?? null;

export const serverForTests = async (
  options: Partial<StandInOptions> = {},
): Promise<{ standIn: StandIn; connection: Connection }> => {
  const standIn = await startStandIn(options);
  const connection =
    REAL_URL === null ? connectionOf(standIn.url, '') : connectionOf(REAL_URL, process.env['KURRENTDB_CREDENTIALS'] ?? '');
  return { standIn, connection };
};

export const newFolder = (): string => mkdtempSync(join(tmpdir(), 'netkvm-kurrentdb-'));
export const IDENTITY = { bootId: 'boot-1', machineId: 'machine-1' };

export const newLog = (dir = newFolder(), identity = IDENTITY): { dir: string; log: SqliteLog } => ({
  dir,
  log: openLog(dir, identity).log,
});

/** Waits until `look` finds something; fails after `limit_ms`. */
export const until = async <T>(
  look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  limit_ms = 20_000,
): Promise<T> => {
  const end = performance.now() + limit_ms;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error('it did not come to that in time');
    await new Promise((done) => setTimeout(done, 10));
  }
};

export interface Running {
  readonly state: () => ForwardingState | null;
  /** Every state that was told. */
  readonly states: readonly ForwardingState[];
  /** Until the server has the event. */
  readonly reaches: (seq: number) => Promise<ForwardingState>;
  readonly stop: () => Promise<void>;
}

/** A forwarder in this thread. */
export const forward = (
  dir: string,
  connection: Connection,
  log: SqliteLog | null,
  options: Partial<ForwarderOptions> = {},
): Running => {
  const stop = new AbortController();
  const states: ForwardingState[] = [];
  const forwarder = new Forwarder(
    { dir, connection, vm: 'vm-1', retention: { days: 0, events: 0 }, ...options },
    {
      told: (state) => states.push(state),
      sent: (sent) => log?.noteForwarded(sent),
      diverged: () => log?.renew(),
    },
  );
  const running = forwarder.run(stop.signal);
  const state = () => states.at(-1) ?? null;
  return {
    state,
    states,
    reaches: (seq) => until(() => (state()?.seq === seq ? state() : null)),
    stop: async () => {
      stop.abort();
      await running;
    },
  };
};

/** Everything in the stream of a log, as this program reads it. */
export const copyOf = async (connection: Connection, logId: string): Promise<FleetEvent[]> => {
  const client = await openClient(connection);
  const copy: FleetEvent[] = [];
  for await (const { event } of client.readStream(streamOf(logId), asUser(connection))) {
    const read = event === undefined ? 'gone' : fromServer(event);
    if (typeof read === 'string') throw new Error(read);
    copy.push(read);
  }
  await client.dispose();
  return copy;
};
