// The service as a process, with a copy on a server and with its log there: what `status` says, what a wrong
// configuration says, what is not in argv or in the lines, and that decisions do not wait for a server that is not there.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { openReader } from '../../src/adapters/log/sqlite.ts';
import { copyOf, newFolder, REAL_URL, serverForTests, until } from './given.ts';

const NETKVM = new URL('../../src/host/netkvm.mjs', import.meta.url).pathname;
const { standIn, connection } = await serverForTests();
const children = new Set<ChildProcess>();
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await standIn.close();
});

const configured = (service: Record<string, string | number>) => {
  const dir = newFolder();
  const file = join(dir, 'config.toml');
  const lines = Object.entries({ stateDir: join(dir, 'state'), ...service }).map(
    ([name, value]) => `${name} = ${JSON.stringify(value)}`,
  );
  writeFileSync(file, `[service]\n${lines.join('\n')}\n`);
  return { dir: join(dir, 'state'), file };
};

const start = (file: string, ...words: string[]) => {
  const child = spawn(process.execPath, [NETKVM, 'run', '--platform', 'simulated', '--config', file, '--json', ...words]);
  children.add(child);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  return {
    child,
    ended,
    text: () => text,
    stop: async () => {
      child.kill('SIGTERM');
      return ended;
    },
  };
};

interface Status {
  readonly service: { readonly running: boolean };
  readonly log: { readonly path: string; readonly head: number };
  readonly forwarding: null | {
    state: string;
    seq: number;
    lag_events: number;
    lag_ms: number;
    error: null | { text: string };
    position: string;
  };
}
const statusOf = async (file: string): Promise<Status> => {
  const run = promisify(execFile)(process.execPath, [NETKVM, 'status', '--config', file, '--json']);
  const { stdout } = await run.catch((error: { stdout: string }) => error);
  return JSON.parse(stdout) as Status;
};
const current = (file: string) =>
  until(async () => {
    const status = await statusOf(file).catch(() => null);
    return status?.forwarding?.state === 'current' && status.forwarding.lag_events === 0 && status.log.head > 10 ? status : null;
  });

test('a service with a copy: status shows where it is, and the copy has all, the end included', async () => {
  const { dir, file } = configured({ forwardTo: connection.name });
  const service = start(file);
  const { forwarding, log } = await current(file);
  expect(forwarding).toMatchObject({ error: null, lag_ms: 0 });
  expect(forwarding?.seq).toBeGreaterThanOrEqual(10);
  expect(Number(forwarding?.position)).toBeGreaterThan(0);
  expect(log.path).toContain(dir);
  expect(await service.stop()).toBe(0);
  const reader = openReader(dir);
  const copy = await copyOf(connection, reader.logId);
  expect(copy.map(({ event }) => event)).toEqual([...reader.read(1)]);
  expect(copy.at(-1)?.event.type).toBe('service.stopped');
  expect(reader.forwarded()?.seq).toBe(reader.head());
  reader.close();
});

test.each([
  ['forwardTo = no connection string', { forwardTo: 'db.example' }, /config\.value/],
  ['a file that is missing', { forwardTo: 'kurrentdb://a', credentialsFile: '/nowhere/x' }, /config\.unreadable/],
  ['both a copy and the log itself', { forwardTo: 'kurrentdb://a', log: 'kurrentdb://a' }, /config\.value/],
])('%s ends the start with one line', async (_, service, code) => {
  const { file } = configured(service);
  const { ended, text } = start(file);
  expect(await ended).toBe(6);
  const [line] = text()
    .split('\n')
    .filter((one) => one.startsWith('netkvm:'));
  expect(line).toMatch(code);
});

/** The inspector's page gets its events from the server, too. */
const inspects = async (file: string): Promise<void> => {
  const child = spawn(process.execPath, [NETKVM, 'inspect', '--config', file, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const [first] = (await once(child.stdout, 'data')) as [Buffer];
  const { url } = JSON.parse(first.toString()) as { url: string };
  expect(await (await fetch(url)).text()).toContain('kurrentdb://');
  const events = (await fetch(`${url}events`)).body?.getReader();
  let text = '';
  while (!text.includes('"type":"service.started"')) text += Buffer.from((await events?.read())?.value ?? []).toString();
  await events?.cancel();
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([0, null]);
};

test('the log itself on the server: recorded there, read by status, continued after a restart', async () => {
  const { file } = configured({ log: connection.name });
  const first = start(file);
  const status = await until(async () => {
    const found = await statusOf(file).catch(() => null);
    return found !== null && found.log.head > 10 ? found : null;
  });
  expect(status.log.path).toContain('kurrentdb://');
  expect(status.forwarding).toBeNull();
  expect(await first.stop()).toBe(0);
  const { log } = await statusOf(file);
  const second = start(file);
  await until(async () => ((await statusOf(file).catch(() => null))?.log.head ?? 0) > log.head);
  await inspects(file);
  expect(await second.stop()).toBe(0);
  const doctor = await promisify(execFile)(process.execPath, [NETKVM, 'doctor', '--config', file]).catch(
    (error: { stdout: string }) => error,
  );
  expect(doctor.stdout).toMatch(/ok +log +kurrentdb:.*events 1 to \d+/);
});

describe.skipIf(REAL_URL !== null)('with faults', () => {
  test('a server that is away is said once, and once that it is back; everything arrives', async () => {
    const { dir, file } = configured({ forwardTo: connection.name });
    await standIn.stop();
    const service = start(file);
    await until(() => service.text().includes('"part":"kurrentdb"'));
    await new Promise((done) => setTimeout(done, 1500));
    const { forwarding } = await statusOf(file);
    expect(forwarding?.state).toBe('waiting');
    expect(forwarding?.error?.text).toContain(connection.name);
    expect(forwarding?.lag_events).toBeGreaterThan(0);
    await standIn.start();
    await current(file);
    expect(await service.stop()).toBe(0);
    const lines = service
      .text()
      .split('\n')
      .filter((line) => line.includes('"part":"kurrentdb"'));
    expect(lines.map((line) => (JSON.parse(line) as { event: string }).event)).toEqual(['degraded', 'recovered']);
    const reader = openReader(dir);
    expect((await copyOf(connection, reader.logId)).map(({ event }) => event.seq)).toEqual(
      [...reader.read(1)].map(({ seq }) => seq),
    );
    reader.close();
  });

  test('kill -9 at any moment: the copy has everything once', async () => {
    const { dir, file } = configured({ forwardTo: connection.name });
    for (let round = 0; round < 4; round++) {
      const service = start(file, '--seed', String(round));
      await until(() => service.text().includes('"event":"watching"'));
      await new Promise((done) => setTimeout(done, 400 + round * 250));
      service.child.kill('SIGKILL');
      await service.ended;
    }
    const last = start(file);
    await current(file);
    await last.stop();
    const reader = openReader(dir);
    const copy = await copyOf(connection, reader.logId);
    expect(copy.map(({ event }) => event.id)).toEqual([...reader.read(1)].map(({ id }) => id));
    reader.close();
  });

  test('user and password are neither in argv nor in the lines', async () => {
    const dir = newFolder();
    const credentialsFile = join(dir, 'credentials');
    writeFileSync(credentialsFile, 'ops:geheim-47\n', { mode: 0o600 });
    const { file } = configured({ forwardTo: `kurrentdb://127.0.0.1:${standIn.ports[0]}`, credentialsFile });
    const service = start(file);
    await until(() => service.text().includes('"part":"kurrentdb"'));
    expect(readFileSync(`/proc/${service.child.pid}/cmdline`, 'latin1')).not.toContain('geheim');
    expect(JSON.stringify(await statusOf(file))).not.toContain('geheim');
    await service.stop();
    expect(service.text()).not.toContain('geheim');
  });
});
