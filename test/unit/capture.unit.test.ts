import { PassThrough, Writable } from 'node:stream';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CaptureReader, observeEntry, readCapture, type CaptureEntry } from '../../src/adapters/linux/capture.ts';
import { LINE_LIMIT } from '../../src/adapters/line-cutter.ts';
import { CaptureWriter, captureLine } from '../../src/adapters/linux/capture-writer.ts';
import { Observer } from '../../src/adapters/linux/observer.ts';
import * as make from './netlink-make.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const read = (...chunks: readonly Uint8Array[]): CaptureEntry[] => {
  const reader = new CaptureReader();
  return [...chunks.flatMap((chunk) => reader.push(chunk)), ...reader.end()];
};
const line = (fields: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({ t_ns: 5, rt_ns: 7, n: 0, source: 'uevent', pid: 0, raw: 'AAEC', ...fields });
const AT = { mono_ns: '1', boot_ns: '2', wall_ns: '3' };

describe('reading', () => {
  test('a real capture is whole, and the same in chunks of any size', () => {
    const bytes = readFileSync(new URL('../../replay/recordings/raw/a-boot-with-vf/guest.jsonl', import.meta.url));
    const whole = read(bytes);
    expect(whole.every(({ kind }) => kind === 'datagram')).toBe(true);
    expect(whole.map((entry) => (entry.kind === 'datagram' ? entry.n : -1))).toEqual(whole.map((_, index) => index));
    for (const size of [1, 7, 4096]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      );
      expect(read(...chunks)).toEqual(whole);
    }
  });

  test('clocks keep every digit', () => {
    const text = '{"t_ns":9007199254740993,"rt_ns": 1795329742286094833 ,"n":0,"source":"uevent","pid":4,"raw":"AAEC"}\n';
    expect(read(bytesOf(text))).toEqual([
      {
        kind: 'datagram',
        line: 1,
        n: 0,
        mono_ns: '9007199254740993',
        wall_ns: '1795329742286094833',
        source: 'uevent',
        pid: 4,
        bytes: Uint8Array.of(0, 1, 2),
      },
    ]);
  });

  test.each([
    ['not JSON', '{"t_ns":1'],
    ['not an object', '[1,2]'],
    ['null', 'null'],
    ['bad base64', line({ raw: 'AA=C' })],
    ['base64 of a length that cannot be', line({ raw: 'AAECA' })],
    ['another alphabet of base64', line({ raw: 'AA-_' })],
    ['no clock', line({ t_ns: undefined })],
    ['a clock with a fraction', line({ t_ns: 1.5 })],
    ['a clock below zero', line({ rt_ns: -1 })],
    ['a clock in quotes', line({ t_ns: '"t_ns":5,' })],
    ['a clock that outgrows 64 bits', line().replace('"t_ns":5', '"t_ns":99999999999999999999')],
    ['no number', line({ n: undefined })],
    ['a number with a fraction', line({ n: 0.5 })],
    ['an unknown source', line({ source: 'dbus' })],
    ['neither raw nor error', line({ raw: undefined })],
    ['raw that is no text', line({ raw: 5 })],
  ])('%s is damage, and the next line is read all the same', (_name, bad) => {
    const entries = read(bytesOf(`${line()}\n${bad}\n${line({ n: 2 })}\n`));
    expect(entries.map(({ kind }) => kind)).toEqual(['datagram', 'damage', 'datagram']);
    expect(entries[1]).toMatchObject({ line: 2, damage: expect.any(String), torn: false });
  });

  test('binary noise is damage', () => {
    const noise = Uint8Array.from({ length: 70_000 }, (_, index) => (index * index * 7919) & 255);
    expect(new Set(read(noise).map(({ kind }) => kind))).toEqual(new Set(['damage']));
  });

  test('a huge line is passed over without being kept', () => {
    const reader = new CaptureReader();
    const chunk = new Uint8Array(1024 * 1024).fill(0x41);
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 200; count += 1) expect(reader.push(chunk)).toEqual([]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * LINE_LIMIT);
    expect(reader.push(bytesOf(`\n${line()}\n`)).map(({ kind }) => kind)).toEqual(['damage', 'datagram']);
    expect(reader.end()).toEqual([]);
  });

  test('a torn last line is flagged; one that only lacks its newline counts', () => {
    expect(read(bytesOf(`${line()}\n${line({ n: 1 }).slice(0, 30)}`))).toMatchObject([
      { n: 0 },
      { kind: 'damage', line: 2, torn: true },
    ]);
    expect(read(bytesOf(`${line()}\n${line({ n: 1 })}`))).toMatchObject([{ n: 0 }, { kind: 'datagram', n: 1 }]);
    expect(read()).toEqual([]);
    expect(read(bytesOf('\n\n'))).toEqual([]);
  });

  test('a hole in the numbers is told once; a damaged line explains one', () => {
    const text = [line({ n: 5 }), line({ n: 8 }), '?', line({ n: 10 }), line({ n: 3 })].join('\n');
    expect(read(bytesOf(text))).toMatchObject([
      { kind: 'datagram', n: 5 },
      { kind: 'break', n: 8, expected: 6 },
      { kind: 'datagram', n: 8 },
      { kind: 'damage' },
      { kind: 'datagram', n: 10 },
      { kind: 'break', n: 3, expected: 11 },
      { kind: 'datagram', n: 3 },
    ]);
  });

  test('what was lost is a gap, and a message that is not from the kernel is nothing', () => {
    const observer = new Observer();
    const link = make.link(2, {}, make.named('eth0'));
    const raw = Buffer.from(link).toString('base64');
    const [own, foreign] = [0, 1234].map((pid, n) => line({ n, pid, source: 'rtnetlink', raw }));
    const text = [foreign, line({ n: 2, raw: undefined, error: 'ENOBUFS' }), '?', line({ n: 9, raw: 'AAEC' }), own].join('\n');
    const reasons = read(bytesOf(text)).flatMap((entry) => observeEntry(observer, entry).map(({ data }) => data));
    expect(reasons).toMatchObject([
      { source: 'uevent', reason: 'ENOBUFS' },
      { source: 'capture', reason: 'line 3: not a line of JSON' },
      { source: 'capture', reason: 'line 4 has number 9 instead of 4' },
      { source: 'uevent' },
      { source: 'capture' },
      { ifindex: 2, name: 'eth0' },
    ]);
  });

  test('cut datagrams: each line is whole, its message is not', () => {
    const observer = new Observer();
    for (const entry of make.recorded('b-migration')) {
      const half = { ...entry, bytes: entry.bytes.subarray(0, entry.bytes.length >> 1) };
      expect(observeEntry(observer, half)).toMatchObject([{ type: 'gap.seen', data: { source: entry.source } }]);
    }
    expect(observer.known()).toEqual({ adapters: [], functions: [], addresses: [] });
  });
});

describe('writing', () => {
  test('what is written is read again', async () => {
    const stream = new PassThrough();
    const writer = new CaptureWriter(stream);
    const at = { mono_ns: '9007199254740993', boot_ns: '0', wall_ns: '1795329742286094833' };
    writer.write({ source: 'rtnetlink', at, pid: 0, bytes: Uint8Array.of(1, 2, 3, 255) });
    writer.write({ source: 'uevent', at, error: 'ENOBUFS' });
    const [entries] = await Promise.all([collect(readCapture(stream)), writer.close()]);
    const stamp = { mono_ns: at.mono_ns, wall_ns: at.wall_ns };
    expect(entries).toEqual([
      { kind: 'datagram', line: 1, n: 0, ...stamp, source: 'rtnetlink', pid: 0, bytes: Uint8Array.of(1, 2, 3, 255) },
      { kind: 'error', line: 2, n: 1, ...stamp, source: 'uevent', error: 'ENOBUFS' },
    ]);
  });

  test('a view on a larger buffer is written as the view', () => {
    const bytes = Uint8Array.of(9, 9, 0, 1, 2, 9).subarray(2, 5);
    expect(captureLine({ source: 'uevent', at: AT, pid: 0, bytes }, 4)).toBe(
      '{"t_ns":1,"rt_ns":3,"n":4,"source":"uevent","pid":0,"raw":"AAEC"}',
    );
  });

  test('a stream that does not take anything is not waited for: what is dropped is counted', async () => {
    const lines: string[] = [];
    const held: (() => void)[] = [];
    const slow = new Writable({
      decodeStrings: false,
      write: (chunk: string, _encoding, taken) => {
        lines.push(chunk);
        held.push(taken);
      },
    });
    const writer = new CaptureWriter(slow, 200);
    const message = { source: 'uevent' as const, at: AT, pid: 0, bytes: new Uint8Array(30) };
    for (let count = 0; count < 50; count += 1) writer.write(message);
    const written = writer.lines;
    expect(written).toBeLessThan(10);
    for (let next = held.shift(); next !== undefined; next = held.shift()) {
      next();
      await new Promise(setImmediate);
    }
    writer.write(message);
    expect(writer.lines).toBe(written + 2);
    const closed = writer.close();
    for (let next = held.shift(); next !== undefined; next = held.shift()) {
      next();
      await new Promise(setImmediate);
    }
    await closed;
    const entries = read(bytesOf(lines.join('')));
    expect(entries.find(({ kind }) => kind === 'error')).toMatchObject({
      error: `${50 - written} messages dropped by the recorder`,
    });
    expect(entries.every(({ kind }) => kind !== 'break')).toBe(true);
  });
});

const collect = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
  const out: T[] = [];
  for await (const one of source) out.push(one);
  return out;
};
