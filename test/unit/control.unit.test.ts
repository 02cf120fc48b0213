// The control socket over real sockets: answers, subscriptions, and every way in which a client can misbehave.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NetkvmError } from '../../src/events/errors.ts';
import { request, subscribe } from '../../src/host/control-client.ts';
import { CONTROL_LIMITS, type ControlLimits } from '../../src/host/control-lines.ts';
import { openControl, type Control, type Handlers } from '../../src/host/control.ts';

const isWindows = process.platform === 'win32';
let folder: string;
let path: string;
let control: Control | undefined;
let dropped: string[];
let faults: unknown[];
const clients: Socket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'control-'));
  path = isWindows ? `\\\\.\\pipe\\${basename(folder)}` : join(folder, 'run/control.sock');
  [dropped, faults] = [[], []];
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await control?.close();
  control = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const handlers: Handlers = {
  echo: async (params) => params,
  big: async ({ bytes }) => ({ text: 'x'.repeat(bytes as number) }),
  refuse: async () => {
    throw new NetkvmError('log.missing', 'no log here');
  },
  break: async () => {
    throw new TypeError('a fault of ours');
  },
  never: () => new Promise(() => {}),
};
const open = async (limits: Partial<ControlLimits> = {}, more: Handlers = {}): Promise<Control> => {
  control = await openControl({
    path,
    handlers: { ...handlers, ...more },
    limits,
    onDropped: (reason) => dropped.push(reason),
    onFault: (error) => faults.push(error),
  });
  return control;
};
const connect = async (): Promise<Socket> => {
  const socket = createConnection({ path });
  clients.push(socket);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
};
/** Sends bytes and gives every answer line until the service hangs up or `count` are there. */
const exchange = async (bytes: string | Uint8Array, count = Infinity): Promise<Record<string, unknown>[]> => {
  const socket = await connect();
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.write(bytes);
  const closed = once(socket, 'close');
  while (text.split('\n').length <= count) {
    const more = await Promise.race([once(socket, 'data').catch(() => null), closed.then(() => null)]);
    if (more === null) break;
  }
  socket.destroy();
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
};
const ask = (name: string, params: object = {}, timeout_ms = 2000) => request(path, name, params, { timeout_ms });

describe('answers', () => {
  test('a request is answered, a refusal keeps its code, a fault shows nothing of itself', async () => {
    await open();
    expect(await ask('echo', { a: [1, 'ü'] })).toEqual({ a: [1, 'ü'] });
    expect(await ask('ping')).toEqual({ pid: process.pid });
    await expect(ask('refuse')).rejects.toMatchObject({ code: 'log.missing', message: 'no log here', exit: 5 });
    await expect(ask('break')).rejects.toThrow(/internal fault of the service/);
    expect(faults).toMatchObject([{ message: 'a fault of ours' }]);
  });

  test('requests of one client are answered in order, also when they come in one piece or in single bytes', async () => {
    await open();
    const lines = [1, 2, 3].map((id) => `${JSON.stringify({ id, request: 'echo', params: { id } })}\n`).join('');
    expect(await exchange(lines, 3)).toEqual([1, 2, 3].map((id) => ({ id, result: { id } })));
    const socket = await connect();
    for (const byte of Buffer.from('{"id":9,"request":"echo","params":{"t":"ü"}}\n')) {
      socket.write(Buffer.of(byte));
      await sleep(0);
    }
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(JSON.parse(answer.toString())).toEqual({ id: 9, result: { t: 'ü' } });
  });

  // A named pipe has no half that could be closed.
  test.skipIf(isWindows)('a client that ends its side at once still gets its answer', async () => {
    await open({}, { slow: async () => sleep(50, { done: true }) });
    const socket = await connect();
    socket.end('{"id":1,"request":"slow"}');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(JSON.parse(answer.toString())).toEqual({ id: 1, result: { done: true } });
    await vi.waitFor(() => expect(control!.clients()).toBe(0));
  });

  test('an answer larger than every buffer arrives whole', async () => {
    await open();
    expect((await ask('big', { bytes: 8_000_000 }, 10_000))['text']).toHaveLength(8_000_000);
  });

  test('an answer that does not come is reported with the time that was given', async () => {
    await open();
    await expect(ask('never', {}, 50)).rejects.toMatchObject({
      code: 'control.unreachable',
      message: expect.stringContaining('50 ms'),
    });
    await expect(request(join(folder, 'none.sock'), 'echo')).rejects.toMatchObject({ code: 'control.unreachable', exit: 5 });
  });
});

describe('subscriptions', () => {
  async function* count(signal: AbortSignal): AsyncGenerator<object> {
    for (let n = 1; !signal.aborted; n += 1) {
      yield { n };
      await sleep(1);
    }
  }

  test('are streamed until the client leaves, and then end on the side of the service', async () => {
    const ended = Promise.withResolvers<void>();
    await open(
      {},
      {
        count: async (_, signal) => {
          signal.addEventListener('abort', () => ended.resolve());
          return count(signal);
        },
      },
    );
    const leave = new AbortController();
    const seen: unknown[] = [];
    for await (const item of subscribe(path, 'count', {}, leave.signal)) {
      seen.push(item['n']);
      if (seen.length === 5) leave.abort();
    }
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    await ended.promise;
    await vi.waitFor(() => expect(control!.clients()).toBe(0));
  });

  test('that are idle notice when their client is gone', async () => {
    // eslint-disable-next-line require-yield
    async function* silent(): AsyncGenerator<object> {
      await new Promise(() => {});
    }
    await open({}, { silent: async () => silent() });
    const socket = await connect();
    socket.write('{"id":1,"request":"silent"}\n');
    await sleep(50);
    expect(control!.clients()).toBe(1);
    socket.destroy();
    await vi.waitFor(() => expect(control!.clients()).toBe(0));
  });

  test('end with the service as `control.unreachable`, and by themselves quietly', async () => {
    async function* two(): AsyncGenerator<object> {
      yield { n: 1 };
      yield { n: 2 };
    }
    await open({}, { two: async () => two(), count: async (_, signal) => count(signal) });
    expect(await Array.fromAsync(subscribe(path, 'two', {}, AbortSignal.timeout(2000)))).toEqual([{ n: 1 }, { n: 2 }]);
    const items = subscribe(path, 'count', {}, AbortSignal.timeout(2000));
    await items.next();
    await control!.close();
    await expect(Array.fromAsync(items)).rejects.toMatchObject({ code: 'control.unreachable' });
  });
});

describe('clients that misbehave', () => {
  // With a named pipe goes what its client has not read yet.
  test.skipIf(isWindows)('garbage is answered, and after a limit the client is dropped', async () => {
    await open();
    const nonsense = [
      'nonsense',
      '[]',
      '1',
      'null',
      '{}',
      '{"request":1}',
      '{"request":"nix","id":7}',
      '{"request":"constructor"}',
    ];
    expect(nonsense).toHaveLength(CONTROL_LIMITS.garbage);
    const answers = await exchange(`${nonsense.join('\n')}\n{"id":1,"request":"echo"}\n`);
    expect(answers).toHaveLength(CONTROL_LIMITS.garbage);
    for (const answer of answers) expect(answer).toMatchObject({ error: { code: 'control.request' } });
    expect(answers[6]).toMatchObject({ id: 7, error: { text: 'there is no request "nix"' } });
    expect(dropped).toEqual(['too many requests that make no sense']);
    expect(await ask('echo', { still: 'here' })).toEqual({ still: 'here' });
  });

  test('bytes that are no UTF-8, and nesting without end', async () => {
    await open();
    const bad = Buffer.concat([Buffer.from([0x22, 0xff, 0x22, 0x0a]), Buffer.from(`${'['.repeat(60_000)}\n`)]);
    expect(await exchange(bad, 2)).toMatchObject([
      { error: { code: 'control.request' } },
      { error: { code: 'control.request' } },
    ]);
  });

  test('a line of 100 KB, with and without an end', async () => {
    await open();
    for (const tail of ['\n', '']) {
      const [answer] = await exchange(`"${'x'.repeat(100_000)}"${tail}`);
      expect(answer).toMatchObject({ error: { text: 'a line is at most 65536 bytes' } });
    }
    expect(dropped).toEqual(['a line is too long', 'a line is too long']);
    const longest = `{"request":"echo","params":{"t":"${'x'.repeat(CONTROL_LIMITS.line_bytes - 36)}"}}`;
    expect(longest).toHaveLength(CONTROL_LIMITS.line_bytes);
    expect(await exchange(`${longest}\n`, 1)).toMatchObject([{ id: null, result: {} }]);
  });

  test('one that never reads is dropped, and memory holds one answer at most', async () => {
    await open({ unread_ms: 100 });
    const socket = await connect();
    socket.pause();
    for (let id = 0; id < CONTROL_LIMITS.pending; id += 1)
      socket.write(`{"id":${id},"request":"big","params":{"bytes":3000000}}\n`);
    await vi.waitFor(() => expect(dropped).toEqual(['it does not read its answers']));
    await vi.waitFor(() => expect(control!.clients()).toBe(0));
  });

  test('one that never reads its subscription is dropped, too', async () => {
    async function* flood(): AsyncGenerator<object> {
      for (;;) yield { text: 'x'.repeat(100_000) };
    }
    await open({ unread_ms: 100 }, { flood: async () => flood() });
    const socket = await connect();
    socket.pause();
    socket.write('{"request":"flood"}\n');
    await vi.waitFor(() => expect(dropped).toEqual(['it does not read its answers']));
  });

  test('one that asks faster than it is answered', async () => {
    await open();
    await exchange('{"request":"never"}\n'.repeat(CONTROL_LIMITS.pending + 2));
    expect(dropped).toEqual(['too many requests ahead of their answers']);
  });

  test('one that is silent, but not one that waits for an answer', async () => {
    await open({ idle_ms: 60 }, { slow: async () => sleep(200, { done: true }) });
    expect(await ask('slow')).toEqual({ done: true });
    expect(dropped).toEqual([]);
    const socket = await connect();
    await once(socket.resume(), 'close');
    expect(dropped).toEqual(['it is silent']);
  });

  test('the seventeenth', async () => {
    await open();
    for (let n = 0; n < CONTROL_LIMITS.clients; n += 1) await connect();
    await vi.waitFor(() => expect(control!.clients()).toBe(16));
    await expect(ask('echo')).rejects.toMatchObject({ code: 'control.busy', message: '16 clients are connected' });
    clients[0]!.destroy();
    await vi.waitFor(() => expect(control!.clients()).toBe(15));
    expect(await ask('echo', { now: true })).toEqual({ now: true });
  });
});

describe('its place', () => {
  test('the socket of a dead service is replaced', async () => {
    mkdirSync(join(folder, 'run'));
    const child = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
    ]);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    // A named pipe goes with its process.
    expect(existsSync(path)).toBe(!isWindows);
    await open();
    expect(await ask('ping')).toEqual({ pid: process.pid });
  });

  test('a living service is not replaced, and is named', async () => {
    await open();
    await expect(openControl({ path, handlers })).rejects.toMatchObject({
      code: 'log.locked',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    expect(await ask('ping')).toEqual({ pid: process.pid });
  });

  test('nor is one that hangs', async () => {
    mkdirSync(join(folder, 'run'));
    const mute = createServer().listen(path);
    await once(mute, 'listening');
    await expect(openControl({ path, handlers })).rejects.toMatchObject({
      code: 'log.locked',
      message: expect.stringContaining('does not answer'),
    });
    mute.close();
  });
});

describe.skipIf(isWindows)('its place as a file', () => {
  test('only the owner may use it, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      await open();
    } finally {
      expect(process.umask(before)).toBe(0);
    }
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'run')).mode & 0o777).toBe(0o700);
  });

  test('is removed at the end', async () => {
    await open();
    await control!.close();
    expect(existsSync(path)).toBe(false);
  });

  test('a file in its place is left alone', async () => {
    mkdirSync(join(folder, 'run'));
    writeFileSync(path, 'precious');
    await expect(openControl({ path, handlers })).rejects.toMatchObject({ code: 'control.unusable', exit: 9 });
    expect(existsSync(path)).toBe(true);
  });

  test('a folder that others may write, and a path too long for a socket', async () => {
    mkdirSync(join(folder, 'run'));
    chmodSync(join(folder, 'run'), 0o777);
    await expect(openControl({ path, handlers })).rejects.toMatchObject({
      message: expect.stringContaining('changed by other users'),
    });
    const long = join(folder, 'x'.repeat(110));
    await expect(openControl({ path: long, handlers })).rejects.toMatchObject({ message: expect.stringContaining('107 bytes') });
  });
});

test.runIf(isWindows)('on Windows only a named pipe will do', async () => {
  await expect(openControl({ path: join(folder, 'control.sock'), handlers })).rejects.toMatchObject({
    code: 'control.unusable',
    message: expect.stringContaining('is no named pipe'),
  });
});
