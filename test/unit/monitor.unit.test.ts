// The connection to a monitor against a monitor that this test plays, which does what a QEMU would never do. A real QEMU: test/e2e/qemu.
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { Monitor, QmpError, type QmpEvent } from '../../src/adapters/qemu/monitor.ts';
import { cleanUp, folder } from './service.given.ts';

const GREETING = '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":22}},"capabilities":["oob"]}}\r\n';
const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  await cleanUp();
});

type Request = { readonly execute: string; readonly arguments: object; readonly id: number };
type Say = (text: string) => void;
/** A monitor that greets and lets `answer` speak for every command but the negotiation. */
const playing = async (answer: (request: Request, say: Say) => void, greeting = GREETING): Promise<string> => {
  const path = join(folder(), 'qmp');
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    const say: Say = (text) => void socket.write(text);
    say(greeting);
    let torn = '';
    socket.setEncoding('utf8').on('data', (text) => {
      const lines = (torn + String(text)).split('\n');
      torn = lines.pop() ?? '';
      for (const line of lines) {
        const request = JSON.parse(line) as Request;
        if (request.execute === 'qmp_capabilities') say(`{"return":{},"id":${request.id}}\r\n`);
        else answer(request, say);
      }
    });
  });
  servers.push(server.listen(path));
  await once(server, 'listening');
  return path;
};
const failure = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => null,
    (found: unknown) => found,
  );
  expect(error).toBeInstanceOf(QmpError);
  return (error as QmpError).message;
};

describe('a monitor that behaves', () => {
  test('answers in any order reach their commands, events between them everybody', async () => {
    const held: Request[] = [];
    const path = await playing((request, say) => {
      held.push(request);
      if (held.length < 2) return;
      say('{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}\r\n');
      for (const { id, execute } of held.toReversed()) say(`{"return":{"to":"${execute}"},"id":${id}}\r\n`);
    });
    const monitor = await Monitor.connect(path);
    const events: QmpEvent[] = [];
    monitor.events.subscribe((event) => events.push(event));
    const answers = await Promise.all([monitor.execute('stop', { a: 1 }), monitor.execute('query-status')]);
    expect(answers).toEqual([{ to: 'stop' }, { to: 'query-status' }]);
    expect(held[0]).toMatchObject({ execute: 'stop', arguments: { a: 1 } });
    expect(events).toEqual([{ kind: 'event', name: 'STOP', fields: {}, at_ns: 1_000_002_000n }]);
    monitor.close();
  });

  test('a line that comes byte by byte is one line', async () => {
    const path = await playing(({ id }, say) => {
      for (const letter of `{"return":"Grüße","id":${id}}\n`) say(letter);
    });
    const monitor = await Monitor.connect(path);
    expect(await monitor.execute('x')).toBe('Grüße');
    monitor.close();
  });

  test('a refusal says what was refused, and why', async () => {
    const path = await playing(({ id }, say) =>
      say(`{"id":${id},"error":{"class":"DeviceNotFound","desc":"Device 'vf0' not found"}}\n`),
    );
    const monitor = await Monitor.connect(path);
    await expect(monitor.execute('device_del', { id: 'vf0' })).rejects.toMatchObject({
      message: "device_del: Device 'vf0' not found",
      refusal: 'DeviceNotFound',
    });
    monitor.close();
  });
});

describe('a monitor that does not', () => {
  test('nobody listens', async () => {
    expect(await failure(Monitor.connect(join(folder(), 'nobody')))).toContain('ENOENT');
  });

  test('no greeting in time', async () => {
    const path = await playing(() => {}, '');
    expect(await failure(Monitor.connect(path, 50))).toContain('no greeting within 50 ms');
  });

  test('no answer in time; one that comes later disturbs nobody', async () => {
    const path = await playing(({ id, execute }, say) => {
      if (execute === 'b') say(`{"return":1,"id":${id - 1}}\n{"return":2,"id":${id}}\n`);
    });
    const monitor = await Monitor.connect(path);
    expect(await failure(monitor.execute('a', {}, 50))).toBe('a: no answer within 50 ms');
    expect(await monitor.execute('b')).toBe(2);
    monitor.close();
  });

  test.each([
    ['a line that is no JSON', 'Segmentation fault\n', 'not QMP: Segmentation fault'],
    ['a line that is no object', '[1]\n', 'not QMP: [1]'],
    ['a line of five MiB', `${'x'.repeat(5 * 1024 * 1024)}\n`, 'a line too long'],
    ['a command', '{"execute":"quit"}\n', 'a command'],
  ])('%s ends the connection, its commands and its events', async (_, text, why) => {
    const monitor = await Monitor.connect(await playing((_request, say) => say(text)));
    const completed = new Promise<void>((resolve) => monitor.events.subscribe({ complete: resolve }));
    expect(await failure(monitor.execute('x'))).toContain(why);
    await completed;
    expect(await failure(monitor.execute('y'))).toContain(why);
  });

  test('QEMU goes away', async () => {
    const monitor = await Monitor.connect(await playing(() => sockets.at(-1)?.destroy()));
    expect(await failure(monitor.execute('quit'))).toContain('quit: the monitor is gone');
  });

  test('more unanswered commands than a client should have', async () => {
    const monitor = await Monitor.connect(await playing(() => {}));
    const many = Array.from({ length: 64 }, () => failure(monitor.execute('x')));
    expect(await failure(monitor.execute('one more'))).toBe('one more: 64 commands are unanswered');
    monitor.close();
    expect(new Set(await Promise.all(many))).toEqual(new Set(['x: the monitor is gone: closed']));
  });
});
