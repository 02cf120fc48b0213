// Recordings: written and read back whole; every way in which a file can be wrong, named by its line; torn ends; files and
// streams that are larger than what is held in memory.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openHistory } from '../../src/adapters/log/history.ts';
import { chainHash, RecordingReader } from '../../src/adapters/log/recording-reader.ts';
import { writeRecording } from '../../src/adapters/log/recording-writer.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { hashField, lift, MAX_LINE_BYTES, type RecordingHeader } from '../../src/events/recording.ts';
import { checkpoint, flap, flaps, recorded, survey } from './log.samples.ts';

const header: RecordingHeader = {
  format: 'netkvm-recording',
  version: 1,
  schema: 1,
  machineVersion: 1,
  logId: 'log-1',
  bootId: 'boot-1',
  host: { kernel: '6.1' },
  clocks: { mono_ns: '1', boot_ns: '2', wall_ns: '3' },
};

let dir: string;
let file: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-recording-'));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  file = join(dir, 'recording.jsonl');
  rmSync(file, { force: true });
});

const readAll = async (path = file): Promise<{ reader: RecordingReader; events: RecordedEvent[] }> => {
  const reader = await RecordingReader.open(await openHistory(path));
  const events: RecordedEvent[] = [];
  for await (const page of reader.pages()) events.push(...page);
  return { reader, events };
};

/** The code and text of the error of reading `bytes`. */
const refusal = async (bytes: Buffer | string): Promise<{ code: string; text: string }> => {
  writeFileSync(file, bytes);
  try {
    await readAll();
  } catch (error) {
    if (!(error instanceof NetkvmError)) throw error;
    expect(error.line).not.toContain('\n');
    expect(error.line.length).toBeLessThan(700);
    return { code: error.code, text: error.message };
  }
  return { code: 'none', text: '' };
};

/** Lines chained as a writer would, so that only their content can be wrong. */
const chained = (lines: readonly string[]): string => {
  let before = '';
  return lines
    .map((line) => {
      const digits = chainHash(before + line);
      before = `${digits}"}\n`;
      return `${line}${hashField(digits)}\n`;
    })
    .join('');
};
const head = JSON.stringify(header).slice(0, -1);
const lineOf = (event: object): string => {
  const own = Object.entries(event).filter(([name]) => !['logId', 'bootId', 'v'].includes(name));
  return JSON.stringify(Object.fromEntries(own)).slice(0, -1);
};

const events = [
  ...recorded([flap(1), checkpoint(2), survey(3, 3)]),
  ...recorded(flaps(4, 3), 4, { logId: 'log-1', bootId: 'boot-2' }),
  ...recorded(flaps(7, 2), 7, { logId: 'log-2', bootId: 'boot-2' }),
];

test('what is written is read back whole', async () => {
  expect(await writeRecording(file, header, events)).toBe(8);
  const { reader, events: read } = await readAll();
  expect(read).toEqual(events);
  expect(reader.header).toEqual(header);
  expect([reader.torn, reader.events]).toEqual([false, 8]);
});

test('the format is what it says: readable names, run ids where they change, a hash that others can compute', async () => {
  await writeRecording(file, header, events);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(Object.keys(parsed[1] ?? {})).toEqual('seq id type mono_ns boot_ns wall_ns cause episode data hash'.split(' '));
  expect(parsed.map((line) => [line['logId'], line['bootId']]).slice(1)).toEqual([
    [undefined, undefined],
    [undefined, undefined],
    [undefined, undefined],
    [undefined, 'boot-2'],
    [undefined, undefined],
    [undefined, undefined],
    ['log-2', undefined],
    [undefined, undefined],
  ]);
  let before = '';
  for (const [index, line] of lines.entries()) {
    const digits = chainHash(Buffer.from(before + line.slice(0, -43)));
    expect(parsed[index]?.['hash']).toBe(digits);
    before = `${digits}"}\n`;
  }
});

test('a recording may begin anywhere in its log', async () => {
  await writeRecording(file, header, recorded(flaps(1, 3), 1000));
  expect((await readAll()).events.map(({ seq }) => seq)).toEqual([1000, 1001, 1002]);
});

describe('wrong files', () => {
  let text: string;
  let lines: string[];
  beforeAll(async () => {
    const sound = join(dir, 'sound.jsonl');
    await writeRecording(sound, { ...header, last: 8 }, events);
    text = readFileSync(sound, 'utf8');
    lines = text.trimEnd().split('\n');
  });
  const joined = (some: readonly (string | undefined)[]) => some.map((line) => `${line ?? ''}\n`).join('');

  test('empty, or without one event', async () => {
    expect((await refusal('')).code).toBe('recording.empty');
    expect((await refusal(text.slice(0, 60))).code).toBe('recording.empty');
    expect((await refusal(chained([head]))).code).toBe('recording.empty');
  });

  test('something else', async () => {
    for (const other of [
      'hello\n',
      '\n\n',
      '[]\n',
      '{}\n',
      'null\n',
      '{"format":"something"}\n',
      '{"t_ns":1}\n',
      Buffer.from([0, 1, 2, 0xff, 10, 0xfe]),
      Buffer.alloc(3_000_000, 0xfe),
      Buffer.alloc(3_000_000, 'x'),
    ]) {
      expect((await refusal(other)).code).toBe('recording.format');
    }
  });

  test('not there, or no file', async () => {
    await expect(openHistory(join(dir, 'nowhere'))).rejects.toMatchObject({ code: 'recording.unreadable' });
    await expect(openHistory(dir)).rejects.toMatchObject({ code: 'recording.unreadable' });
  });

  test('of a newer version, even where its chain is another one', async () => {
    expect((await refusal(joined([lines[0]?.replace('"version":1', '"version":2'), ...lines.slice(1)]))).code).toBe(
      'recording.newer',
    );
    const newer = chained([head, lineOf({ ...events[0] }).replace('"data":', '"v":2,"data":')]);
    expect(await refusal(newer)).toMatchObject({ code: 'recording.newer', text: expect.stringContaining('line 2') as string });
  });

  test.each<[string, (all: string[]) => (string | undefined)[], number]>([
    ['changed', (all) => all.with(3, all[3]?.replace('1500', '1501') ?? ''), 4],
    ['missing', (all) => all.toSpliced(3, 1), 4],
    ['missing right after the header', (all) => all.toSpliced(1, 1), 2],
    ['moved', (all) => [...all.slice(0, 3), all[4], all[3], ...all.slice(5)], 4],
    ['doubled', (all) => all.toSpliced(3, 0, all[3] ?? ''), 5],
    ['cut in the middle', (all) => all.with(3, all[3]?.slice(0, 100) ?? ''), 4],
    ['empty', (all) => all.toSpliced(3, 0, ''), 4],
    ['without its hash', (all) => all.with(3, `${all[3]?.slice(0, -43)}}`), 4],
    ['missing at the end', (all) => all.slice(0, -1), 9],
    ['missing, two at the end', (all) => all.slice(0, -2), 8],
    ['of another recording', (all) => [...all.slice(0, -1), chained([head, lineOf(events[7] ?? {})]).split('\n')[1]], 9],
  ])('a line %s is named', async (_, change, line) => {
    const { code, text: message } = await refusal(joined(change(lines)));
    expect(code).toBe('recording.hash');
    expect(message).toContain(`line ${line}: `);
  });

  test('a changed header', async () => {
    expect(await refusal(text.replace('"kernel":"6.1"', '"kernel":"6.2"'))).toMatchObject({ code: 'recording.hash' });
    expect((await refusal(chained([head.replace('"boot-1"', '7')]))).code).toBe('recording.line');
    expect((await refusal(chained([head.replace('"mono_ns":"1"', '"mono_ns":"x"')]))).code).toBe('recording.line');
    expect((await refusal(chained([`${head},"more":1`]))).code).toBe('recording.line');
  });

  const first = events[0] as RecordedEvent;
  test.each<[string, string]>([
    ['no object', '[1'],
    ['not JSON', '{"seq":'],
    ['a field too many', lineOf({ ...first, more: 1 })],
    ['a field too few', lineOf(first).replace(/"mono_ns":"\d+",/, '')],
    ['a number of another kind', lineOf({ ...first, seq: 1.5 })],
    ['a number that does not fit', lineOf({ ...first, seq: 7 })],
    ['an unknown type', lineOf({ ...first, type: 'adapter.unheard' })],
    ['an inherited name as a type', lineOf({ ...first, type: 'constructor' })],
    ['data of another type', lineOf({ ...first, type: 'adapter.gone' })],
    ['a cause to come', lineOf({ ...first, cause: 9 })],
    ['a broken id', lineOf({ ...first, id: 'x' })],
    ['a clock too large', lineOf({ ...first, mono_ns: '99999999999999999999' })],
    ['a log id that is none', lineOf(first).replace('"data":', '"logId":7,"data":')],
    ['a version that is none', lineOf(first).replace('"data":', '"v":0,"data":')],
    ['a field of the prototype', lineOf(first).replace('"data":', '"__proto__":{},"data":')],
  ])('a line that is well chained, but wrong: %s', async (_, line) => {
    const { code, text: message } = await refusal(
      chained([head, lineOf({ ...first, seq: 5 }), line.replace('"seq":1,', '"seq":6,')]),
    );
    expect(code).toBe('recording.line');
    expect(message).toContain('line 3: ');
  });

  test('invalid UTF-8, in a line that is well chained', async () => {
    const bytes = Buffer.concat([Buffer.from(lineOf(first).replace('{"seq":1', '{"seq":1')), Buffer.from([])]);
    const broken = Buffer.from(bytes.toString('latin1').replace('adapter.changed', 'adapter.chang\xffd'), 'latin1');
    const start = chained([head]);
    const digits = start.slice(-35, -3);
    const hash = chainHash(Buffer.concat([Buffer.from(`${digits}"}\n`), broken]));
    const whole = Buffer.concat([Buffer.from(start), broken, Buffer.from(`${hashField(hash)}\n`)]);
    expect(await refusal(whole)).toMatchObject({
      code: 'recording.line',
      text: expect.stringContaining('line 2: not UTF-8') as string,
    });
  });

  test('a line that never ends', async () => {
    const endless = Buffer.concat([Buffer.from(joined(lines)), Buffer.alloc(MAX_LINE_BYTES + 2, 'a'), Buffer.from('\n')]);
    const { code, text: message } = await refusal(endless);
    expect(code).toBe('recording.line');
    expect(message).toContain('longer than');
  });

  test('a header that never ends', async () => {
    expect((await refusal(`${head},"host2":"${'a'.repeat(1_200_000)}"}\n`)).code).toBe('recording.format');
  });
});

describe('a torn end', () => {
  test('is set aside wherever the last line was cut', async () => {
    await writeRecording(file, header, events);
    const bytes = readFileSync(file);
    const lastStart = bytes.lastIndexOf(10, bytes.length - 2) + 1;
    for (let end = lastStart + 1; end < bytes.length; end++) {
      writeFileSync(file, bytes.subarray(0, end));
      const { reader, events: read } = await readAll();
      expect([reader.torn, read.length]).toEqual([true, 7]);
    }
  });

  test('is fatal for no other line', async () => {
    await writeRecording(file, header, events);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    writeFileSync(file, `${lines.slice(0, 3).join('\n')}\n{"seq":3,"id`);
    const { reader, events: read } = await readAll();
    expect([reader.torn, read]).toEqual([true, events.slice(0, 2)]);
  });

  test('right after the header leaves no event, and says so', async () => {
    await writeRecording(file, header, events);
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.slice(0, text.indexOf('\n') + 20));
    const { reader, events: read } = await readAll();
    expect([reader.torn, read]).toEqual([true, []]);
  });
});

describe('files and streams', () => {
  test('pages are bounded, chunk borders do no harm, and large lines fit', async () => {
    const many = recorded([...flaps(1, 20_000), survey(20_001, 30_000), ...flaps(20_002, 2000)]);
    await writeRecording(file, header, many);
    const reader = await RecordingReader.open(await openHistory(file));
    let next = 0;
    let pages = 0;
    for await (const page of reader.pages()) {
      pages++;
      expect(page.length).toBeLessThan(8000);
      for (const event of page) if (event.seq !== many[next++]?.seq) throw new Error(`event ${event.seq} at ${next}`);
    }
    expect(next).toBe(many.length);
    expect(pages).toBeGreaterThan(5);
  });

  test('a reader that stops early, or refuses what it reads, leaves no file open', async () => {
    await writeRecording(file, header, recorded(flaps(1, 50_000)));
    // Windows does not say; there what is open cannot be replaced, as it is at the end.
    const open = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0);
    const before = open();
    for (let round = 0; round < 5; round++) {
      const reader = await RecordingReader.open(await openHistory(file));
      for await (const page of reader.pages()) if (page.length > 0) break;
    }
    expect(open()).toBe(before);
    for (const bytes of [Buffer.alloc(5_000_000, 'x'), '{"format":"netkvm-losses","version":1}\n', `${head}}\nnothing\n`]) {
      await expect(refusal(bytes)).resolves.toMatchObject({ code: expect.stringMatching(/^recording\./) });
      expect(open()).toBe(before);
    }
    writeFileSync(`${file}~`, 'other');
    renameSync(`${file}~`, file);
  });

  test('standard input in single bytes and at once', async () => {
    await writeRecording(file, header, events.slice(0, 2));
    const script = `
      import { openHistory } from ${JSON.stringify(new URL('../../src/adapters/log/history.ts', import.meta.url).href)};
      import { RecordingReader } from ${JSON.stringify(new URL('../../src/adapters/log/recording-reader.ts', import.meta.url).href)};
      const reader = await RecordingReader.open(await openHistory('-'));
      for await (const page of reader.pages()) for (const event of page) console.log(event.seq);
      console.log(reader.torn);`;
    for (const step of [1, 1_000_000]) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
      const bytes = readFileSync(file);
      for (let at = 0; at < bytes.length; at += step) child.stdin.write(bytes.subarray(at, at + step));
      child.stdin.end();
      let output = '';
      for await (const chunk of child.stdout) output += String(chunk);
      expect(output).toBe('1\n2\nfalse\n');
    }
  });

  test('a file appears whole or not at all, for its owner alone', async () => {
    writeFileSync(file, 'before');
    const failing = async function* () {
      yield* events.slice(0, 2);
      expect(readFileSync(file, 'utf8')).toBe('before');
      await Promise.resolve();
      throw new Error('the source broke');
    };
    await expect(writeRecording(file, header, failing())).rejects.toThrow('the source broke');
    await expect(writeRecording(file, header, [])).rejects.toMatchObject({ code: 'recording.empty' });
    expect(readFileSync(file, 'utf8')).toBe('before');
    await writeRecording(file, header, events);
    // Windows has no modes: there a file has the rights of its folder.
    expect(process.platform === 'win32' ? 0o600 : statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  // SQLite opens its file as a virus scanner may: nobody can replace it meanwhile.
  const heldFor = async (ms: number): Promise<ChildProcess> => {
    const script = `const db = new (require('node:sqlite').DatabaseSync)(${JSON.stringify(file)});
      db.exec('CREATE TABLE x(y)'); console.log('held'); setTimeout(() => db.close(), ${ms});`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    return child;
  };
  test.runIf(process.platform === 'win32')('a file that somebody has open for a moment is waited for, not for long', async () => {
    await heldFor(300);
    expect(await writeRecording(file, header, events)).toBe(8);
    rmSync(file);
    const holder = await heldFor(60_000);
    await expect(writeRecording(file, header, events)).rejects.toMatchObject({ code: 'recording.unwritable' });
    expect(readFileSync(file, 'latin1')).toMatch(/^SQLite format 3/);
    expect(readdirSync(dir).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
  });

  test('events with a hole, or not valid, are not written', async () => {
    await expect(writeRecording(file, header, events.toSpliced(3, 1))).rejects.toThrow(/seq 5 does not follow 3/);
    await expect(writeRecording(file, header, [{ ...(events[0] as RecordedEvent), id: 'x' }])).rejects.toThrow(/id/);
    await expect(writeRecording(file, { ...header, host: 7 } as never, events)).rejects.toThrow(/host/);
    expect(existsSync(file)).toBe(false);
  });

  test('a place that cannot be written is named', async () => {
    for (const place of ['/proc/nowhere/x', join(dir, 'nowhere', 'x')]) {
      await expect(writeRecording(place, header, events)).rejects.toMatchObject({ code: 'recording.unwritable' });
    }
  });

  test('a stream gets the same bytes, a slow one is waited for, a broken one is named', async () => {
    await writeRecording(file, header, events);
    const stream = new PassThrough();
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await writeRecording(stream, header, events);
    expect(Buffer.concat(chunks).equals(readFileSync(file))).toBe(true);
    let held = 0;
    const slow = new Writable({
      write(_chunk, _encoding, done) {
        held = Math.max(held, this.writableLength);
        setTimeout(done, 1);
      },
    });
    await writeRecording(slow, header, recorded(flaps(1, 10_000)));
    expect(held).toBeLessThan(1_000_000);
    const broken = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('no one reads'), { code: 'EPIPE' }));
      },
    });
    await expect(writeRecording(broken, header, events)).rejects.toMatchObject({ code: 'recording.unwritable' });
  });
});

test('the first line tells a recording from a raw capture', async () => {
  writeFileSync(file, '{"t_ns":1,"rt_ns":2,"n":0,"source":"rtnetlink","pid":0,"raw":"AAAA"}\n{"cut');
  const history = await openHistory(file);
  expect(history.kind).toBe('raw');
  const chunks: Buffer[] = [];
  for await (const chunk of history.chunks) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(readFileSync(file))).toBe(true);
  await writeRecording(file, header, events);
  const recording = await openHistory(file);
  expect(recording.kind).toBe('recording');
  await (recording.chunks as AsyncGenerator<Buffer>).return(undefined);
});

test('older events are lifted one step at a time, newer ones not at all', () => {
  const steps = [
    (event: { type?: unknown; data?: unknown }) => ({ ...event, data: `${String(event.data)}→2` }),
    (event: { type?: unknown; data?: unknown }) => ({ ...event, data: `${String(event.data)}→3` }),
  ];
  expect(lift({ type: 't', data: '1' }, 1, steps)).toEqual({ type: 't', data: '1→2→3' });
  expect(lift({ type: 't', data: '2' }, 2, steps)).toEqual({ type: 't', data: '2→3' });
  expect(lift({ type: 't', data: '3' }, 3, steps)).toEqual({ type: 't', data: '3' });
});
