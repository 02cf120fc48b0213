// One side of outage.ts, in a process of its own, so that its memory is its own:
//   without DIR, with DIR   write COUNT events to a log; `with` has a copy made, and catches up when it is told `go`
//   append DIR              append a log's events with the client alone
//   read LOG, stats LOG     read a log from the server with the client alone; count it as `netkvm fleet stats` does
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { asUser, openClient } from '../../src/adapters/kurrentdb/client.ts';
import { connectionOf } from '../../src/adapters/kurrentdb/connection.ts';
import { Fleet } from '../../src/adapters/kurrentdb/fleet.ts';
import { Forwarding } from '../../src/adapters/kurrentdb/forwarding.ts';
import { streamOf } from '../../src/adapters/kurrentdb/mapping.ts';
import { openLog } from '../../src/adapters/log/sqlite.ts';
import type { NewEvent } from '../../src/events/envelope.ts';
import { tellLog } from '../../replay/fleet.ts';
import { Counted } from '../../replay/counted.ts';
import { Stats } from '../../replay/stats.ts';
import { enveloped, IDENTITY } from './files.ts';
import { appendAll } from './forwarding.ts';
import type { Figures, Role } from './outage.ts';
import { story } from './world.ts';

const [role, place, counted, url] = process.argv.slice(2) as [Role, string, string, string];
const count = Number(counted);
const connection = connectionOf(url, '');
const MiB = 1024;
const rss = (): number => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / MiB;
const tell = (figures: Figures) => process.stdout.write(`${JSON.stringify(figures)}\n`);

/** The most memory that `work` has, looked at ten times a second, and its rate. */
const watched = async (work: () => Promise<number>): Promise<Figures> => {
  let most = rss();
  const timer = setInterval(() => (most = Math.max(most, rss())), 100);
  const from = performance.now();
  const events = await work();
  clearInterval(timer);
  if (events !== count) throw new Error(`${events} events instead of ${count}`);
  return { rate: count / ((performance.now() - from) / 1000), most };
};

const writeLog = async (isCopied: boolean): Promise<void> => {
  const { log } = openLog(place, IDENTITY);
  const options = { dir: place, connection, vm: 'bench', retention: { days: 0, events: 0 } };
  const news = { sent: () => {}, diverged: () => {}, failing: () => {} };
  const forwarding = isCopied ? new Forwarding(options, news) : null;
  // The outage has begun when the thread has met it.
  const errorOf = () => (forwarding?.status(0) as { error: object | null } | undefined)?.error;
  while (errorOf() === null) await pause(20);
  let head = 0;
  let early = 0;
  let batch: NewEvent[] = [];
  for (const event of story(count)) {
    batch.push(enveloped(event));
    if (batch.length < 500 && event.seq < count) continue;
    head += log.append(batch, head).length;
    batch = [];
    if (early === 0 && head >= count / 10) early = rss();
    await pause(0);
  }
  // An attempt or two of the copy later.
  await pause(2000);
  tell({ early, late: rss() });
  if (forwarding === null) return;
  await once(process.stdin, 'data');
  const lag = () => (forwarding.status(head) as { lag_events: number | null }).lag_events;
  while (lag() === null || (lag() ?? 0) >= count) await pause(1);
  const before = lag() ?? 0;
  const { rate = 0, most = 0 } = await watched(async () => {
    while (lag() !== 0) await pause(5);
    return count;
  });
  tell({ rate: (rate * before) / count, most });
  await forwarding.stop(100);
};

const readBare = async (): Promise<number> => {
  const client = await openClient(connection);
  let seen = 0;
  for await (const { event } of client.readStream(streamOf(place), asUser(connection))) if (event !== undefined) seen++;
  return seen;
};

const countFleet = async (): Promise<number> => {
  const fleet = await Fleet.open(connection, '$all');
  const stats = new Stats();
  const { logs } = await fleet.logs(null);
  let seen = 0;
  for (const log of logs.filter(({ logId }) => logId === place)) {
    const counting = new Counted();
    const { events, damaged } = await tellLog(
      fleet,
      log,
      () => (event, fresh) => void counting.take(event, { seq: event.seq, at_ns: event.mono_ns }, fresh),
    );
    stats.add(log.logId, counting, events, damaged);
    seen += events;
  }
  stats.document();
  return seen;
};

switch (role) {
  case 'without':
  case 'with':
    await writeLog(role === 'with');
    break;
  case 'append':
    tell({ rate: await appendAll(place, connection) });
    break;
  case 'read':
    tell(await watched(readBare));
    break;
  case 'stats':
    tell(await watched(countFleet));
    break;
}
process.exit();
