// The channel between hypervisor and guest: what each side understands of what the other says, what it does not, and what the
// guest's service makes of it. The port itself is a pipe of this test; a real one is in test/e2e/qemu.
import fc from 'fast-check';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Channel } from '../../src/adapters/hypervisor/channel.ts';
import { linuxPort } from '../../src/adapters/linux/virtio-port.ts';
import type { Observation } from '../../src/events/catalogue.ts';
import {
  CHANNEL_LINE_BYTES,
  CHANNEL_NAME,
  channelLine,
  guestSays,
  hostSays,
  type GuestSays,
  type HostSays,
} from '../../src/events/channel.ts';

const MAC = '52:54:00:11:22:33';
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text.trimEnd());
const STATE: GuestSays = {
  say: 'state',
  pairs: [{ pair: MAC, version: '1', stage: 'onPrimary', datapath: 'primary', primary: MAC, episode: null, findings: ['gap'] }],
};

describe('the lines', () => {
  test.each<HostSays>([
    { say: 'hello' },
    { say: 'ping' },
    { say: 'prepare', pair: MAC, episode: 'b-1' },
    { say: 'arriving', pair: MAC, episode: '' },
  ])('of the host are read as they were written: %o', (message) =>
    expect(hostSays(bytes(channelLine(message)))).toEqual(message),
  );
  test.each<GuestSays>([
    STATE,
    { say: 'prepared', pair: MAC, episode: 'b-1', reason: null },
    { say: 'refused', pair: MAC, episode: 'b-1', reason: 'why' },
  ])('of the guest are read as they were written: %o', (message) =>
    expect(guestSays(bytes(channelLine(message)))).toEqual(message),
  );

  test.each([
    '{"netkvm":2,"say":"hello"}',
    '{"say":"hello"}',
    '{"netkvm":1,"say":"reboot"}',
    '{"netkvm":1,"say":"prepare","pair":"x","episode":"b"}',
    `{"netkvm":1,"say":"prepare","pair":"${MAC}","episode":"a b"}`,
    `{"netkvm":1,"say":"prepare","pair":"${MAC}","episode":7}`,
    `{"netkvm":1,"say":"reboot","pair":"${MAC}","episode":"b"}`,
    '{"netkvm":1,"say":"prepared","pair":"x","episode":"b"}',
    '{"netkvm":1,"say":"other","pairs":[]}',
    '[]',
    'null',
    '',
    `{"netkvm":1,"say":"hello","more":"${'x'.repeat(CHANNEL_LINE_BYTES)}"}`,
  ])('%#: another version, an unknown word, a bad field, a long line are passed over', (line) => {
    expect(hostSays(bytes(line))).toBeNull();
    expect(guestSays(bytes(line))).toBeNull();
  });

  test('a pair of the guest that is not one is left out, the others stay', () => {
    const line = JSON.stringify({ netkvm: 1, say: 'state', pairs: [{ pair: 7 }, STATE.say === 'state' ? STATE.pairs[0] : null] });
    expect(guestSays(bytes(line))).toEqual(STATE);
  });

  const state = (pairs: readonly unknown[]): Uint8Array => bytes(JSON.stringify({ netkvm: 1, say: 'state', pairs }));
  const [pair] = STATE.say === 'state' ? STATE.pairs : [];
  test('of a pair nothing is taken that is not known, and no seventeenth', () => {
    expect(guestSays(state([{ ...pair, more: 1 }]))).toEqual(STATE);
    expect(guestSays(state(Array(17).fill(pair)))).toEqual({ say: 'state', pairs: Array(16).fill(pair) });
  });

  test('a line may have so many bytes, and must be UTF-8; a reason is cut', () => {
    const hello = '{"netkvm":1,"say":"hello","more":""}';
    const longest = hello.replace('""', `"${'x'.repeat(CHANNEL_LINE_BYTES - hello.length)}"`);
    expect(hostSays(bytes(longest))).toEqual({ say: 'hello' });
    expect(hostSays(bytes(longest.replace('xx', 'xxx')))).toBeNull();
    expect(hostSays(Uint8Array.of(...bytes(hello.slice(0, -2)), 0xff, ...bytes('"}')))).toBeNull();
    const refused = { say: 'refused', pair: MAC, episode: 'b-1', reason: 'x'.repeat(1025) } as const;
    expect(guestSays(bytes(channelLine(refused)))).toEqual({ ...refused, reason: 'x'.repeat(1024) });
  });

  test('nothing that comes in throws, whatever it is', () => {
    const field = fc.oneof(fc.jsonValue(), fc.constantFrom('prepare', 'state', 'prepared', MAC, 1));
    const near = fc.record(
      { netkvm: fc.constant(1), say: field, pair: field, episode: field, pairs: field },
      { requiredKeys: ['netkvm'] },
    );
    const line = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      near.map((one) => bytes(JSON.stringify(one))),
    );
    fc.assert(
      fc.property(line, (one) => {
        const again = hostSays(one);
        expect(again === null ? null : hostSays(bytes(channelLine(again)))).toEqual(again);
        expect(() => guestSays(one)).not.toThrow();
      }),
    );
  });
});

test('a port without udev is found by the name in sysfs', () => {
  expect(CHANNEL_NAME).toBe('org.netkvm.failover.0');
  expect(linuxPort(CHANNEL_NAME, '/nowhere', '/nowhere')).toBeNull();
});

// A socket of a Linux host.
describe.skipIf(process.platform === 'win32')('the hypervisor’s end', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0).toReversed()) end();
  });

  /** A guest behind a socket as QEMU's, and what the hypervisor sees of it. */
  const connect = async () => {
    const folder = mkdtempSync(join(tmpdir(), 'netkvm-channel-'));
    const path = join(folder, 'socket');
    const sockets: Socket[] = [];
    const heard: string[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.setEncoding('utf8').on('data', (text: string) => heard.push(...text.trim().split('\n')));
      socket.on('error', () => {});
    }).listen(path);
    const seen: Observation[] = [];
    const channel = new Channel(path, MAC, (observations) => seen.push(...observations));
    ends.push(() => {
      channel.close();
      for (const socket of sockets) socket.destroy();
      server.close();
      rmSync(folder, { recursive: true, force: true });
    });
    channel.open();
    await vi.waitFor(() => expect(heard[0]).toBe('{"netkvm":1,"say":"hello"}'));
    return { channel, sockets, heard, seen };
  };

  test('hears the guest’s state and its answers, and says when nobody is there any more', async () => {
    const { channel, sockets, heard, seen } = await connect();
    sockets[0]?.write(channelLine(STATE));
    await vi.waitFor(() => expect(seen).toMatchObject([{ type: 'channel.facts', data: { guest: { stage: 'onPrimary' } } }]));
    expect(channel.tell({ say: 'prepare', pair: MAC, episode: 'b-1' })).toBe(true);
    await vi.waitFor(() => expect(heard.at(-1)).toContain('"prepare"'));
    sockets[0]?.write(channelLine({ say: 'prepared', pair: MAC, episode: 'b-1', reason: null }));
    await vi.waitFor(() => expect(seen.at(-1)).toMatchObject({ type: 'channel.heard', data: { word: 'prepared' } }));
    sockets[0]?.destroy();
    await vi.waitFor(() => expect(seen.at(-1)).toMatchObject({ type: 'channel.facts', data: { guest: null } }));
    await vi.waitFor(() => expect(sockets).toHaveLength(2), 3000);
  });

  test('a guest that talks nonsense is cut off, and costs no memory', async () => {
    const { sockets, seen } = await connect();
    sockets[0]?.write('x'.repeat(200_000));
    sockets[0]?.write('\n{}\n'.repeat(40));
    await vi.waitFor(() => expect(sockets[0]?.destroyed).toBe(true));
    expect(seen).toEqual([]);
  });
});
