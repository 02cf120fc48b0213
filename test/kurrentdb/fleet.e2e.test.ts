// `netkvm fleet`: what it says of logs on a server is what the other commands say of the same logs as files; it goes on
// where it ended; several readers share a fleet; and what is missing or hostile on the server is said, not told.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { openClient } from '../../src/adapters/kurrentdb/client.ts';
import { Fleet } from '../../src/adapters/kurrentdb/fleet.ts';
import { streamOf, toServer } from '../../src/adapters/kurrentdb/mapping.ts';
import { openHistory } from '../../src/adapters/log/history.ts';
import { RecordingReader } from '../../src/adapters/log/recording-reader.ts';
import type { NewEvent, RecordedEvent } from '../../src/events/envelope.ts';
import { runCli } from '../../src/host/cli.ts';
import { Folds, tellLog } from '../../replay/fleet.ts';
import { RECORDINGS } from '../recordings.ts';
import { checkpoint, flap, flaps, recorded } from '../unit/log.samples.ts';
import { newFolder, REAL_URL, serverForTests, until } from './given.ts';

const NETKVM = new URL('../../src/host/netkvm.mjs', import.meta.url).pathname;
const { standIn, connection } = await serverForTests();
const client = await openClient(connection);
const children = new Set<ChildProcess>();
afterEach(() => standIn.faults());
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await client.dispose();
  await standIn.close();
});

/** Names of this run alone: a server that is not ours holds other logs, too. */
const RUN = crypto.randomUUID().slice(0, 8);
const SERVER = [
  '--server',
  connection.name,
  ...(process.env['KURRENTDB_CREDENTIALS'] === undefined ? [] : ['--credentials', process.env['KURRENTDB_CREDENTIALS']]),
];

/** Runs a command in this process. */
const fleet = async (...words: string[]) => {
  const [out, err] = [[] as string[], [] as string[]];
  const io = {
    stdin: process.stdin,
    stdout: { write: (text: string) => out.push(text) > 0 },
    stderr: { write: (text: string) => err.push(text) > 0 },
  } as unknown as Parameters<typeof runCli>[1];
  const exit = await runCli(words[0] === 'fleet' ? [...words, ...SERVER] : words, io);
  return { exit, text: out.join(''), errors: err.join('') };
};

const put = async (vm: string, events: readonly RecordedEvent[], logId: string = crypto.randomUUID()): Promise<string> => {
  for (let at = 0; at < events.length; at += 500)
    await client.appendToStream(
      streamOf(logId),
      events.slice(at, at + 500).map((event) => toServer(event, logId, { vm, idOf: () => undefined })),
    );
  return logId;
};
const some = (events: readonly NewEvent[], from = 1) => recorded(events, from);

/** The recording of a real migration, as its guest would have copied it. */
const FILE = join(RECORDINGS, 'h-three-migrations.jsonl');
const FILES = readdirSync(RECORDINGS)
  .filter((name) => name.endsWith('.jsonl'))
  .map((name) => join(RECORDINGS, name));
const eventsOf = async (file: string): Promise<RecordedEvent[]> => {
  const events: RecordedEvent[] = [];
  for await (const page of (await RecordingReader.open(await openHistory(file))).pages()) events.push(...page);
  return events;
};
const VM = `guest-${RUN}`;
for (const file of FILES) await put(file === FILE ? `three-${RUN}` : VM, await eventsOf(file));

describe('looks at logs on a server as the other commands do at files', () => {
  const documentOf = async (...words: string[]) => JSON.parse((await fleet(...words, '--json')).text) as Record<string, unknown>;

  test.each([
    ['$all', []],
    ['the category', ['--category']],
  ])('stats, from %s', async (_, words) => {
    const files = FILES.filter((file) => file !== FILE);
    const { logs: ours, ...counted } = await documentOf('fleet', 'stats', '--vm', VM, ...words);
    const { logs: theirs, ...expected } = await documentOf('stats', ...files);
    expect(counted).toEqual(expected);
    const sizes = (logs: unknown) => (logs as { events: number }[]).map(({ events }) => events).toSorted((a, b) => a - b);
    expect(sizes(ours)).toEqual(sizes(theirs));
  });

  test('stats by driver and by machine', async () => {
    const { groups } = (await documentOf('fleet', 'stats', '--by', 'driver', '--vm', VM)) as {
      groups: { name: string; logs: unknown[] }[];
    };
    expect(Object.fromEntries(groups.map(({ name, logs }) => [name, logs.length]))).toEqual({ e1000e: 10, unknown: 1 });
    const { text } = await fleet('fleet', 'stats', '--by', 'vm', '--vm', VM);
    expect(text).toContain(`vm ${VM}: ${FILES.length - 1} logs`);
  });

  test('stats of one pair', async () => {
    const count = async (pair: string) => {
      const { logs, durations } = await documentOf('fleet', 'stats', '--vm', `three-${RUN}`, '--pair', pair);
      return [(logs as unknown[]).length, (durations as { away: { count: number } }).away.count];
    };
    const { durations } = (await documentOf('stats', FILE)) as { durations: { away: { count: number } } };
    expect(await count('52:54:00:11:22:33')).toEqual([1, durations.away.count]);
    expect(await count('52:54:00:99:99:99')).toEqual([0, 0]);
  });

  test('replay', async () => {
    const report = await documentOf('fleet', 'replay', '--vm', `three-${RUN}`);
    const expected = await documentOf('replay', FILE);
    expect(report).toEqual({ ...expected, vm: `three-${RUN}`, log: expect.any(String) as string });
    const { text, exit } = await fleet('fleet', 'replay', '--vm', `three-${RUN}`);
    expect(text).toContain((await fleet('replay', FILE)).text);
    expect(exit).toBe(0);
  });

  test('replay of one log, and of one pair', async () => {
    const { log } = await documentOf('fleet', 'replay', '--vm', `three-${RUN}`);
    const one = await documentOf('fleet', 'replay', '--log', String(log));
    expect(one['events']).toBe((await eventsOf(FILE)).length);
    const words = ['fleet', 'replay', '--vm', `three-${RUN}`, '--pair'];
    expect((await fleet(...words, '52:54:00:11:22:33')).text).toContain('52:54:00:11:22:33');
    expect((await fleet(...words, '52:54:00:99:99:99')).text).toBe('');
  });

  test('explain', async () => {
    const { pairs } = await documentOf('fleet', 'explain', '--vm', `three-${RUN}`);
    expect(pairs).toEqual((await documentOf('explain', FILE))['pairs']);
  });

  test('export: the file is the recording, event by event', async () => {
    const dir = join(newFolder(), 'cases');
    const { exit, text } = await fleet('fleet', 'export', '--vm', `three-${RUN}`, '-o', dir);
    expect(exit).toBe(0);
    const [name] = readdirSync(dir);
    expect(text).toContain(`written to ${join(dir, name ?? '')}`);
    expect(await eventsOf(join(dir, name ?? ''))).toEqual(await eventsOf(FILE));
    expect((await fleet('log', 'verify', join(dir, name ?? ''))).exit).toBe(0);
  });
});

describe('goes on behind its checkpoint', () => {
  test('stats and replay tell what is new, with all that came before in mind', async () => {
    const vm = `resumed-${RUN}`;
    const events = await eventsOf(FILE);
    const half = events.findIndex(({ type }) => type === 'departure.signalled') + 1;
    const logId = await put(vm, events.slice(0, half));
    const files = { stats: join(newFolder(), 'stats'), replay: join(newFolder(), 'replay') };
    const counted = async () =>
      JSON.parse((await fleet('fleet', 'stats', '--vm', vm, '--checkpoint', files.stats, '--json')).text);
    const told = async () => (await fleet('fleet', 'replay', '--vm', vm, '--checkpoint', files.replay, '--json')).text;
    const [first, before] = [await counted(), JSON.parse(await told())];
    await put(vm, events.slice(half), logId);
    const [second, after] = [await counted(), JSON.parse(await told())];
    const whole = JSON.parse((await fleet('stats', FILE, '--json')).text);
    for (const name of ['failover', 'failback', 'away'])
      expect(first.durations[name].count + second.durations[name].count, name).toBe(whole.durations[name].count);
    expect([before.events, after.events]).toEqual([half, events.length - half]);
    const report = JSON.parse((await fleet('replay', FILE, '--json')).text);
    expect(after.pairs[0].history).toEqual(report.pairs[0].history.filter(({ seq }: { seq: number }) => seq > half));
    expect((await counted()).logs).toEqual([]);
    expect(await told()).toBe('');
  });

  test.each([
    ['no JSON', 'x'],
    ['another document', '{"schemaVersion":1,"source":"$all","at":"7"}'],
    ['of another source', '{"schemaVersion":1,"source":"$ce-netkvm","at":"7"}'],
    ['large', `"${'x'.repeat(10_000)}"`],
  ])('a file that is %s is refused, and stays', async (_, text) => {
    const file = join(newFolder(), 'place');
    writeFileSync(file, text);
    const { exit, errors } = await fleet('fleet', 'stats', '--checkpoint', file);
    expect([exit, errors]).toEqual([9, expect.stringMatching(/^netkvm: .*\[fleet\.checkpoint\].*\n$/)]);
    expect(readFileSync(file, 'utf8')).toBe(text);
  });
});

describe('what is missing or hostile', () => {
  const told = async (vm: string) => {
    const { exit, text, errors } = await fleet('fleet', 'replay', '--vm', vm, '--json');
    return {
      exit,
      errors,
      events: text
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { events: number }).events),
    };
  };

  test('a log without its beginning is told from its first checkpoint on', async () => {
    const vm = `cut-${RUN}`;
    await put(vm, some([...flaps(3, 4), ...(await checkpointed()), ...flaps(9, 2)], 3));
    const { exit, errors, events } = await told(vm);
    expect([exit, events]).toEqual([0, [3]]);
    expect(errors).toMatch(/4 events before its first checkpoint are passed over/);
  });

  test('one without any checkpoint is named, and nothing is told of it', async () => {
    const vm = `headless-${RUN}`;
    await put(vm, some(flaps(3, 4), 3));
    const { exit, errors, events } = await told(vm);
    expect([exit, events]).toEqual([0, []]);
    expect(errors).toMatch(/neither its beginning nor a checkpoint/);
  });

  test('what an outage took is said, and the rest is told anew from the checkpoint', async () => {
    const vm = `hole-${RUN}`;
    await put(vm, [...some(flaps(1, 5)), ...some([...(await checkpointed()), ...flaps(10, 2)], 9)]);
    const { exit, errors, events } = await told(vm);
    expect([exit, events]).toEqual([0, [5, 3]]);
    expect(errors).toMatch(/events 6 to 8 are missing; told anew from there/);
  });

  test('records that are none of ours are damage: the exit code says so, and what follows them is not told', async () => {
    const vm = `hostile-${RUN}`;
    const logId = await put(vm, some(flaps(1, 2)));
    await client.appendToStream(streamOf(logId), [
      {
        id: crypto.randomUUID(),
        type: 'adapter.gone',
        contentType: 'application/json',
        data: { ifindex: 'x' },
        metadata: { seq: 3, v: 1, vm },
      },
      {
        id: crypto.randomUUID(),
        type: 'x',
        contentType: 'application/octet-stream',
        data: Buffer.from([0xff, 0xfe]),
        metadata: Buffer.from('{'),
      },
    ]);
    await put(vm, some(flaps(4, 2), 4), logId);
    const { exit, errors, events } = await told(vm);
    expect([exit, events]).toEqual([7, [2]]);
    expect(errors.split('\n').filter((line) => line.includes(logId))).toHaveLength(3);
    expect(errors).toMatch(/2 events after event 2 cannot be told: one before them is missing, and no checkpoint follows/);
  });

  test('a checkpoint that is none is damage; the log is told again from the next', async () => {
    const vm = `nonsense-${RUN}`;
    await put(vm, some([...flaps(1, 2), checkpoint(3), flap(4)]));
    await put(`${vm}-2`, some([checkpoint(8), ...flaps(9, 2), ...(await checkpointed()), ...flaps(12, 2)], 8));
    expect(await told(vm)).toMatchObject({ exit: 7, events: [2], errors: expect.stringMatching(/event 3 cannot be folded/) });
    expect(await told(`${vm}-2`)).toMatchObject({
      exit: 7,
      events: [0, 3],
      errors: expect.stringMatching(/event 8 cannot be folded/),
    });
  });

  test('an event that stands twice is told once', async () => {
    const vm = `twice-${RUN}`;
    const events = some(flaps(1, 3));
    await put(vm, [...events.slice(0, 2), ...events.slice(1)]);
    expect(await told(vm)).toMatchObject({ exit: 0, errors: '', events: [3] });
  });

  /** A checkpoint that a fold can begin with. */
  const checkpointed = async (): Promise<NewEvent[]> => {
    const { Guest } = await import('../../src/machines/guest.ts');
    return [{ ...checkpoint(8), data: { state: new Guest().snapshot() } } as NewEvent];
  };
});

test.each([
  ['no server', ['fleet', 'stats'], [], 2, /needs --server URL/],
  ['no such log', ['fleet', 'stats', '--log', 'no-such-log'], SERVER, 5, /log\.missing/],
  ['a log id that is none', ['fleet', 'stats', '--log', '../x'], SERVER, 2, /not the id of a log/],
  ['nobody at the address', ['fleet', 'stats', '--server', 'kurrentdb://127.0.0.1:1?tls=false'], [], 9, /kurrentdb\.unreachable/],
  ['nobody to follow', ['fleet', 'follow', '--server', 'kurrentdb://127.0.0.1:1?tls=false'], [], 9, /kurrentdb\.unreachable/],
  ['a password in the address', ['fleet', 'stats', '--server', 'kurrentdb://a:b@c'], [], 6, /credentialsFile/],
  ['no folder', ['fleet', 'export'], SERVER, 2, /needs -o DIR/],
])('%s is one line and an exit code', async (_, words, more, code, line) => {
  const errors: string[] = [];
  const io = { stdin: process.stdin, stdout: process.stdout, stderr: { write: (text: string) => errors.push(text) } };
  expect(await runCli([...words, ...more], io as unknown as Parameters<typeof runCli>[1])).toBe(code);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(line);
});

/** `netkvm fleet follow` in a process of its own. */
const following = (...words: string[]) => {
  const child = spawn(process.execPath, ['--no-warnings', NETKVM, 'fleet', 'follow', '--json', ...words, ...SERVER]);
  children.add(child);
  let [text, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk));
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  const seen = () =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { log: string; seq: number; changes: { stage: string }[] });
  return {
    seen,
    errors: () => errors,
    end: (signal: NodeJS.Signals) => {
      child.kill(signal);
      return ended;
    },
  };
};

describe('follow', () => {
  test('tells what there is, with what it changes, and then what comes', async () => {
    const vm = `followed-${RUN}`;
    const events = await eventsOf(FILE);
    const logId = await put(vm, events.slice(0, 20));
    const follower = following('--from', 'start', '--vm', vm);
    await until(() => follower.seen().length === 20);
    await put(vm, events.slice(20), logId);
    await until(() => follower.seen().length === events.length);
    expect(await follower.end('SIGTERM')).toBe(0);
    expect(follower.seen().map(({ log, seq }) => [log, seq])).toEqual(events.map(({ seq }) => [logId, seq]));
    const stages = follower.seen().flatMap(({ changes }) => changes.map(({ stage }) => stage));
    expect(stages.filter((stage) => stage === 'detaching').length).toBeGreaterThanOrEqual(3);
  });

  test.each([
    ['$all', []],
    ['the category', ['--category']],
  ])('goes on behind its checkpoint, from %s', async (_, words) => {
    const vm = `again-${RUN}-${words.length}`;
    const file = join(newFolder(), 'place');
    const logId = await put(vm, some(flaps(1, 30)));
    const first = following('--from', 'start', '--vm', vm, '--checkpoint', file, ...words);
    await until(() => first.seen().length === 30);
    await first.end('SIGINT');
    expect(existsSync(file)).toBe(true);
    await put(vm, some(flaps(31, 5), 31), logId);
    const second = following('--vm', vm, '--checkpoint', file, ...words);
    await until(() => second.seen().length === 5);
    await second.end('SIGINT');
    expect(second.seen().map(({ seq }) => seq)).toEqual([31, 32, 33, 34, 35]);
  });

  test('by several readers of a group: every event once, those of a log with one of them, in order', async () => {
    // So many that each reader gets some, however the server deals them.
    const LOGS = 20;
    const vm = `shared-${RUN}`;
    const logs = await Promise.all(Array.from({ length: LOGS }, () => put(vm, some(flaps(1, 40)))));
    const group = `group-${RUN}`;
    const words = ['--group', group, '--from', 'start', '--vm', vm];
    const readers = [following(...words), following(...words)];
    await until(() => readers.flatMap(({ seen }) => seen()).length >= LOGS * 40);
    const [one, other] = readers.map(({ seen }) => seen());
    const told = [...(one ?? []), ...(other ?? [])];
    expect(told).toHaveLength(LOGS * 40);
    // Until the second reader had come, the first got everything: from then on each log has one reader.
    await Promise.all(logs.map((logId) => put(vm, some(flaps(41, 20), 41), logId)));
    await until(() => readers.flatMap(({ seen }) => seen()).length >= LOGS * 60);
    const readersOf = new Map<string, Set<number>>();
    for (const [index, { seen }] of readers.entries())
      for (const { log, seq } of seen()) if (seq > 40) readersOf.set(log, (readersOf.get(log) ?? new Set()).add(index));
    expect([...readersOf.values()].every((those) => those.size === 1)).toBe(true);
    expect(new Set([...readersOf.values()].flatMap((those) => [...those]))).toEqual(new Set([0, 1]));
    // One dies: the other gets what is new, and what the dead one had not acknowledged.
    await readers[0]?.end('SIGKILL');
    await Promise.all(logs.map((logId) => put(vm, some(flaps(61, 5), 61), logId)));
    const last = () =>
      new Set(
        readers[1]
          ?.seen()
          .filter(({ seq }) => seq > 60)
          .map(({ log, seq }) => `${log} ${seq}`),
      );
    await until(() => last().size === LOGS * 5);
    await readers[1]?.end('SIGTERM');
    for (const log of logs) {
      const seqs = readers[1]
        ?.seen()
        .filter((event) => event.log === log && event.seq > 60)
        .map(({ seq }) => seq);
      expect(seqs).toEqual([61, 62, 63, 64, 65]);
    }
  });

  test.skipIf(REAL_URL !== null)('waits for a server that goes away, and misses nothing', async () => {
    const vm = `outage-${RUN}`;
    const logId = await put(vm, some(flaps(1, 10)));
    const follower = following('--from', 'start', '--vm', vm);
    await until(() => follower.seen().length === 10);
    await standIn.restart();
    await put(vm, some(flaps(11, 10), 11), logId);
    await until(() => follower.seen().length === 20);
    await follower.end('SIGTERM');
    expect(follower.seen().map(({ seq }) => seq)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    expect(follower.errors()).toMatch(/it is waited for\nnetkvm: the server is back\n/);
  });
});

test('states of many logs are kept up to a limit, and folded again beyond it: each event changes what it changed before', async () => {
  const events = await eventsOf(FILE);
  const logs = await Promise.all(Array.from({ length: 4 }, () => put(`mixed-${RUN}`, events)));
  const reader = await Fleet.open(connection, '$all');
  const folds = new Folds(reader, 2);
  const changes = new Map<string, string[]>(logs.map((log) => [log, []]));
  // Round robin over four logs with room for two: each event finds its log forgotten.
  for (let revision = 0n; revision < BigInt(events.length); revision += 7n)
    for (const logId of logs)
      for await (const page of reader.events({ logId }, revision, revision + 6n))
        for (const seen of page) {
          const step = typeof seen === 'string' ? null : await folds.take(seen);
          if (step !== null && step !== 'repeated') changes.get(logId)?.push(...step.changes.map(({ pair }) => pair.shown.stage));
          expect(folds.size).toBeLessThanOrEqual(2);
        }
  const alone: string[] = [];
  const { Story } = await import('../../src/machines/story.ts');
  const story = new Story();
  const log = { logId: logs[0] ?? '', vm: '', first: 0n, last: BigInt(events.length - 1) };
  await tellLog(reader, log, () => (event) => void alone.push(...story.tell(event).changes.map(({ pair }) => pair.shown.stage)));
  for (const one of changes.values()) expect(one).toEqual(alone);
  await reader.close();
});
