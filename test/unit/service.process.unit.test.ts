// The service as a process: signals, restarts, reloads, readers that go away, clients that misbehave, damaged logs.
import {
  chmodSync,
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { replayFile } from '../../replay/replay.ts';
import {
  ACTING,
  cleanUp,
  daemon,
  eventsIn,
  folder,
  MIGRATION,
  netkvm,
  pause,
  Running,
  serve,
  socketOf,
  SOUND,
  STOPPED_BY,
  until,
  verdictOn,
  World,
} from './service.given.ts';

afterEach(cleanUp);

const isWindows = process.platform === 'win32';

const TRANSITIONS = 8;
const played = (service: Running): Promise<void> =>
  until('it has been played', () => service.all('transition').length >= TRANSITIONS);
/** None while there is no log yet. */
const typesIn = (dir: string): string[] => {
  try {
    return eventsIn(dir).map(({ type }) => type);
  } catch {
    return [];
  }
};

describe('signals', () => {
  test('SIGTERM, or what Windows has instead, ends it cleanly within a second, also while it plays', async () => {
    const dir = folder();
    const service = new Running(['run', '--state-dir', dir, '--platform', 'recording', '--recording', MIGRATION, '--speed', '5']);
    await service.line('transition');
    const { code, ms } = await service.stop('SIGTERM');
    expect(code).toBe(0);
    expect(ms).toBeLessThan(1000);
    expect(service.lines.at(-1)).toMatchObject({ event: 'stopped', reason: STOPPED_BY });
    expect(readdirSync(dir).toSorted()).toEqual(['netkvm.db', 'netkvm.lock']);
    expect(eventsIn(dir).at(-1)).toMatchObject({ type: 'service.stopped', data: { reason: STOPPED_BY } });
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('a platform that does not close in time is not waited for', async () => {
    const world = new World();
    world.closing = () => new Promise(() => {});
    const { service, lines } = await serve(folder(), world);
    const from = performance.now();
    await service.stop('test');
    expect(performance.now() - from).toBeLessThan(900);
    expect(lines.at(-1)).toMatchObject({ event: 'stopped' });
  });

  test('a platform that fails ends the service with that error', async () => {
    const world = new World();
    const { ended } = await serve(folder(), world);
    await pause(20);
    world.fail(new Error('netlink is gone'));
    expect(ended.map((error) => error?.message)).toEqual(['netlink is gone']);
  });

  // On Windows it is the service manager that asks for it: test/e2e/wine/eventlog.
  test.skipIf(isWindows)('SIGHUP reads the configuration again; a broken one changes nothing', async () => {
    const dir = folder();
    const config = join(dir, 'config.toml');
    writeFileSync(config, '[policy]\ngrace_ms = 1000\n');
    const service = daemon(dir, '--config', config, '--observe');
    await played(service);
    const policies = (): unknown[] =>
      eventsIn(dir, 'configuration.applied').map(({ data }) => (data as { policy: object }).policy);
    const hangup = async (event: string, count = 1): Promise<object> => {
      service.child.kill('SIGHUP');
      await until(`${count} lines ${event}`, () => service.all(event).length === count);
      return service.all(event).at(-1)!;
    };
    writeFileSync(config, '[policy]\ngrace_ms = 2000\neffects = "on"\n[service]\nretentionDays = 7\nlogLevel = "warn"\n');
    expect(await hangup('reloaded')).toMatchObject({ config, changed: ['grace_ms', 'retentionDays'] });
    await until('the rest is named', () => service.all('degraded').length > 0);
    expect(service.all('degraded')).toMatchObject([{ part: 'reload', reason: 'logLevel will change at the next start only' }]);
    await until('it is recorded', () => policies().length === 2);
    // The command line still says --observe.
    expect(policies()).toMatchObject([{ grace_ms: 1000 }, { grace_ms: 2000, effects: 'off' }]);
    writeFileSync(config, '[policy]\ngrace_ms = "long"\n');
    expect(await hangup('reloadRefused')).toMatchObject({ reason: expect.stringContaining('config.toml:2: policy.grace_ms') });
    writeFileSync(config, '[policy]\ngrace_ms = 2000\n[service]\nretentionDays = 7\n');
    expect(await hangup('reloaded', 2)).toMatchObject({ changed: [] });
    expect((await service.stop()).code).toBe(0);
    expect(policies()).toHaveLength(2);
  });

  test('SIGKILL in the middle: the next start goes on without a hole', async () => {
    const dir = folder();
    const first = new Running(['run', '--state-dir', dir, '--platform', 'recording', '--recording', MIGRATION, '--speed', '10']);
    await first.line('transition', ({ stage }) => stage === 'onPrimary');
    await first.stop('SIGKILL');
    const before = eventsIn(dir);
    expect(before.at(-1)?.type).not.toBe('service.stopped');
    const second = daemon(dir);
    await until('it has been played', () => typesIn(dir).filter((type) => type === 'departure.signalled').length > 0);
    await second.line('watching');
    await pause(50);
    expect((await second.stop()).code).toBe(0);
    const after = eventsIn(dir);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after[before.length]?.type).toBe('service.started');
    expect(new Set(after.map(({ logId }) => logId)).size).toBe(1);
    expect(verdictOn(dir)).toEqual(SOUND);
    const file = join(dir, 'export.jsonl');
    expect((await netkvm('log', 'export', '--state-dir', dir, '-o', file)).status).toBe(0);
    const { report } = await replayFile(file);
    expect(report).toMatchObject({ divergence: null, events: after.length });
    expect(report.pairs[0]).toMatchObject({ stage: 'onPrimary', datapath: 'primary' });
  });
});

describe('what goes wrong around it', () => {
  test('a reader of its lines that goes away', async () => {
    const dir = folder();
    const service = new Running([
      'run',
      '--state-dir',
      dir,
      '--platform',
      'recording',
      '--recording',
      MIGRATION,
      '--speed',
      '10',
    ]);
    await service.line('watching');
    service.child.stdout?.destroy();
    await until('it goes on', () => typesIn(dir).includes('departure.signalled'));
    expect((await service.stop()).code).toBe(0);
    expect(typesIn(dir).at(-1)).toBe('service.stopped');
    expect(service.stderr).toBe('');
  });

  // Without it nobody could end it on Windows.
  test.skipIf(isWindows)('without its control socket, and nothing left to play, it stays', async () => {
    const dir = folder();
    const config = join(dir, 'config.toml');
    writeFileSync(config, `[service]\ncontrolSocket = "/${'x'.repeat(120)}"\n`);
    const service = daemon(dir, '--config', config);
    await played(service);
    await until('the rest is named', () => service.all('degraded').length > 0);
    expect(service.all('degraded')).toMatchObject([{ part: 'control socket' }]);
    await pause(300);
    expect(service.child.exitCode).toBe(null);
    expect((await service.stop()).code).toBe(0);
  });

  test('control clients that talk nonsense, or ask and never read', async () => {
    const dir = folder();
    const service = daemon(dir);
    await played(service);
    const clients = await Promise.all(
      Array.from({ length: 6 }, () => {
        const socket = createConnection(socketOf(dir));
        socket.on('error', () => {});
        return new Promise<Socket>((resolve) => socket.once('connect', () => resolve(socket)));
      }),
    );
    const [noise, long, mute, wrong] = clients as [Socket, Socket, Socket, Socket];
    noise.write(Buffer.from(Array.from({ length: 4000 }, (_, index) => (index * 7919) % 256)));
    long.write('x'.repeat(200_000));
    mute.pause();
    for (let asked = 0; asked < 2000; asked += 1) mute.write(`{"id":${asked},"request":"status"}\n`);
    wrong.write('{"id":1,"request":"prune","params":{"keep":-1}}\n{"id":2,"request":"survey","params":{"by":"a test"}}\n');
    const answers: string[] = [];
    wrong.setEncoding('utf8').on('data', (text: string) => answers.push(text));
    await until('it answers the others', () => answers.join('').split('\n').length > 2);
    expect(answers.join('')).toMatch(/^\{"id":1,"error":\{"code":"control\.request".*\n\{"id":2,"result":\{"seq":[0-9]+\}\}\n$/);
    const { status, stdout } = await netkvm('status', '--json', '--state-dir', dir);
    expect([status, (JSON.parse(stdout) as { service: object }).service]).toEqual([
      0,
      { running: true, pid: service.pid, outage: null },
    ]);
    expect((await service.stop()).code).toBe(0);
    for (const socket of clients) socket.destroy();
    expect(eventsIn(dir, 'operator.commanded')).toMatchObject([{ data: { command: 'survey', by: 'a test' } }]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('a client may ask it to stop', async () => {
    const dir = folder();
    const service = daemon(dir);
    await played(service);
    createConnection(socketOf(dir))
      .on('error', () => {})
      .end('{"id":1,"request":"stop"}\n');
    expect(await service.ended()).toEqual({ code: 0, signal: null });
    expect(service.lines.at(-1)).toMatchObject({ event: 'stopped', reason: 'control socket' });
  });

  const nobody = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  test.skipIf(isWindows)('a folder that may not be written: one line, exit code 8', async () => {
    const dir = folder();
    chmodSync(dir, 0o555);
    const service = new Running(['run', '--observe', '--state-dir', join(dir, 'state')], nobody);
    expect(await service.ended()).toEqual({ code: 8, signal: null });
    expect(service.lines).toEqual([]);
    expect(service.stderr).toMatch(/^netkvm: [^\n]*EACCES[^\n]*\[log\.unwritable\][^\n]*\n$/);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('a damaged log', () => {
  const sound = mkdtempSync(join(tmpdir(), 'netkvm-test-'));
  afterAll(() => rmSync(sound, { recursive: true }));
  beforeAll(async () => {
    const service = daemon(sound);
    await played(service);
    await service.stop();
  });
  const wreck: Record<string, (path: string) => void> = {
    truncated: (path) => truncateSync(path, 8192),
    overwritten: (path) => {
      const fd = openSync(path, 'r+');
      writeSync(fd, Buffer.alloc(8192, 0xa5), 0, 8192, 4096);
      closeSync(fd);
    },
    'of somebody else': (path) => writeFileSync(path, 'not a database at all, but long enough to be one'.repeat(100)),
    // Sound for SQLite: only reading the events finds it.
    'with a line that is no event': (path) => {
      const db = new DatabaseSync(path);
      db.exec(`UPDATE events SET data = '{"ifindex":' WHERE seq = 5`);
      db.close();
    },
    'with a hole': (path) => {
      const db = new DatabaseSync(path);
      db.exec('DELETE FROM events WHERE seq = 5');
      db.close();
    },
  };
  test('is set aside by `restore` where no service does it, so that what it owed can be given back', async () => {
    const dir = folder();
    cpSync(sound, dir, { recursive: true });
    wreck['overwritten']?.(join(dir, 'netkvm.db'));
    expect(await netkvm('restore', '--state-dir', dir, '--timeout', '10')).toMatchObject({
      status: 0,
      stdout: 'Nothing is owed.\n',
    });
    expect(eventsIn(dir)[0]).toMatchObject({ type: 'log.outage', data: { reason: expect.stringContaining('damaged-1') } });
  });

  test.each(Object.entries(wreck))('(%s) is set aside and named, and the service goes on with a new one', async (_, damage) => {
    const dir = folder();
    const path = join(dir, 'netkvm.db');
    cpSync(sound, dir, { recursive: true });
    const { logId } = eventsIn(dir)[0]!;
    damage(path);
    const bytes = readFileSync(path);
    const service = daemon(dir);
    await played(service);
    const aside = `${path}.damaged-1`;
    expect(service.all('setAside')).toMatchObject([{ level: 'error', path, to: aside }]);
    expect((await service.stop()).code).toBe(0);
    expect(readFileSync(aside).equals(bytes)).toBe(true);
    const [first, second] = eventsIn(dir);
    expect(first).toMatchObject({ seq: 1, type: 'log.outage', data: { reason: expect.stringContaining(aside) } });
    expect(second?.type).toBe('service.started');
    expect(first?.logId).not.toBe(logId);
    expect(verdictOn(dir)).toEqual(SOUND);
  });
});

test('checkpoints come after so many events, however often the service was started meanwhile', async () => {
  const dir = folder();
  const world = new World();
  const settings = { checkpointEvents: 100, retentionEvents: 1000, retentionDays: 90 };
  for (let life = 0; life < 6; life += 1) {
    const { service } = await serve(dir, world, { settings });
    await until('it watches', () => service.isWatching);
    for (let mtu = 1000; mtu < 1040; mtu += 1) world.change(2, { mtu: mtu + life * 100 });
    await pause(5);
    await service.stop('test');
  }
  const checkpoints = eventsIn(dir, 'checkpoint.made');
  expect(checkpoints.length).toBeGreaterThanOrEqual(2);
  expect(eventsIn(dir).length - (checkpoints.at(-1)?.seq ?? 0)).toBeLessThan(150);
  expect(verdictOn(dir)).toEqual(SOUND);
});

test('checkpoints: a fold may begin there, retention goes by number and by age, and a restart goes on from one', async () => {
  const dir = folder();
  const settings = { checkpointEvents: 20, retentionEvents: 50, retentionDays: 90 };
  const world = new World();
  const first = await serve(dir, world, { settings });
  await until('the primary carries', () => first.stage() === 'onPrimary');
  for (let mtu = 1; mtu <= 100; mtu += 1) {
    world.change(2, { mtu });
    await new Promise((resolve) => setImmediate(resolve));
  }
  await first.service.stop('test');
  expect(first.lines.filter(({ event }) => event === 'pruned').length).toBeGreaterThan(0);
  const [kept] = eventsIn(dir);
  expect(kept?.type).toBe('checkpoint.made');
  expect(kept?.seq).toBeGreaterThan(20);
  expect(verdictOn(dir)).toEqual(SOUND);
  const second = await serve(dir, new World(undefined, [...world.adapters.values()]), { policy: ACTING, settings });
  await until('it watches', () => second.service.story.guest.policy.effects === 'on');
  expect(second.stage()).toBe('onPrimary');
  await second.service.stop('test');
  expect(verdictOn(dir)).toEqual(SOUND);
  // Everything older than the newest checkpoint is now a hundred days old.
  const db = new DatabaseSync(join(dir, 'netkvm.db'));
  db.exec('UPDATE events SET wall_ns = wall_ns - 8640000000000000');
  db.close();
  const third = await serve(dir, new World(undefined, [...world.adapters.values()]), {
    settings: { ...settings, retentionEvents: 1_000_000 },
  });
  for (let round = 0; round < 60; round += 1) {
    third.service.survey('a test');
    await new Promise((resolve) => setImmediate(resolve));
  }
  await third.service.stop('test');
  // The segment in which the young events begin stays whole.
  const [oldest, ...rest] = eventsIn(dir);
  expect(oldest?.type).toBe('checkpoint.made');
  expect(third.lines.filter(({ event }) => event === 'pruned')).toMatchObject([{ first: oldest?.seq }]);
  const young = rest.findIndex(({ wall_ns }) => Number(wall_ns) / 1e6 > Date.now() - 86_400_000);
  expect(rest.slice(0, young).some(({ type }) => type === 'checkpoint.made')).toBe(false);
  expect(verdictOn(dir)).toEqual(SOUND);
});
