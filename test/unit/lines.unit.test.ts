// The log lines: every one in both forms, fixed field names, nothing lost at the end, and readers that do not read.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { LINE_NAMES, openLogger, type LineFields, type LineName, type Transition } from '../../src/host/lines.ts';

const mac = '52:54:00:11:22:33';
const transition: Transition = {
  mac,
  mode: 'kernel',
  stage: 'fallback',
  datapath: 'standby',
  because: 'primary.absent',
  at_ns: '1996055042',
  seq: 7,
  previous: { stage: 'onPrimary', datapath: 'primary' },
};
const examples: LineFields = {
  started: { version: '0.1.0', node: '24.0.0', pid: 1, platform: 'linux', effects: 'off', stateDir: '/s', config: null },
  watching: { adapters: 3, pairs: 1, after_ms: 120.4, log: '/s/log.db', head: 5 },
  transition,
  finding: { mac, code: 'noPath', severity: 'error', seq: 9, until_seq: null, text: 'no path for 3 s' },
  decision: { id: 'd7.0', pair: mac, kind: 'bindPrimary', mode: 'bond', attempt: 1, seq: 8, what: 'enslave eth1 to bond0' },
  outcome: { decision: 'd7.0', pair: mac, result: 'failed', reason: 'EBUSY', observed: false, seq: 9 },
  gap: { source: 'rtnetlink', reason: 'ENOBUFS', seq: 4 },
  clockJumped: { kind: 'suspended', delta_ns: '1500000000', seq: 4 },
  outage: { reason: 'disk full' },
  outageEnded: { events: 10, lost: 0, after_ms: 30 },
  degraded: { part: 'control socket', reason: 'folder is not private' },
  recovered: { part: 'control socket' },
  setAside: { path: '/s/log.db', to: '/s/log.db.damaged', reason: 'malformed' },
  pruned: { events: 100, first: 101 },
  reloaded: { config: '/c.toml', changed: ['policy.grace_ms'] },
  reloadRefused: { reason: 'bad value' },
  controlDropped: { reason: 'it is silent' },
  fault: { text: 'TypeError' },
  stopped: { reason: 'SIGTERM', events: 12, after_ms: 61_000 },
};
const now = (): Date => new Date(2026, 0, 2, 12, 34, 56, 789);

const collect = async (json: boolean, level: 'info' | 'trace' | 'silent' = 'trace') => {
  const written: string[] = [];
  const lines = await openLogger({ level, json, destination: (text) => written.push(text), now });
  return { lines, written };
};
const writeOne = <K extends LineName>(lines: Awaited<ReturnType<typeof openLogger>>, name: K): void => {
  const write = lines[name] as (fields: LineFields[K]) => void;
  write(examples[name]);
};

describe('every line', () => {
  test('is one line of JSON with its event, its fields and a message', async () => {
    const { lines, written } = await collect(true);
    for (const name of LINE_NAMES) writeOne(lines, name);
    expect(written).toHaveLength(LINE_NAMES.length);
    written.forEach((line, place) => {
      expect(line.indexOf('\n')).toBe(line.length - 1);
      const name = LINE_NAMES[place]!;
      expect(JSON.parse(line)).toMatchObject({
        ...examples[name],
        event: name,
        time: now().toISOString(),
        msg: expect.stringMatching(/\w/),
      });
    });
  });

  test('is one readable line', async () => {
    const { lines, written } = await collect(false);
    for (const name of LINE_NAMES) writeOne(lines, name);
    expect(written).toHaveLength(LINE_NAMES.length);
    for (const line of written) expect(line).toMatch(/^12:34:56\.789 (service {10}|52:54:00:11:22:33) \w[^\n]*\n$/);
    expect(written[LINE_NAMES.indexOf('transition')]).toBe(
      '12:34:56.789 52:54:00:11:22:33 fallback        standby  primary.absent      No primary with the pair’s MAC exists. (was onPrimary, primary)\n',
    );
  });

  test('obeys the level', async () => {
    for (const json of [true, false]) {
      const { lines, written } = await collect(json, 'info');
      lines.controlDropped(examples.controlDropped);
      expect(written).toEqual([]);
      lines.gap(examples.gap);
      expect(written).toHaveLength(1);
      const silent = await collect(json, 'silent');
      silent.lines.outage(examples.outage);
      expect(silent.written).toEqual([]);
    }
  });

  test('lets no control character through to a terminal', async () => {
    for (const json of [true, false]) {
      const { lines, written } = await collect(json);
      lines.gap({ source: 'a\u001B[2J\nb', reason: '\u202Ex\u2028', seq: 1 });
      expect(written).toHaveLength(1);
      // eslint-disable-next-line no-control-regex
      expect(written[0]).not.toMatch(json ? /[\u0000-\u0009\u000B-\u001F]|\n./ : /[\u0000-\u0009\u000B-\u001F\u202E\u2028]|\n./);
    }
  });
});

describe('a real reader', () => {
  const source = new URL('../../src/host/lines.ts', import.meta.url).href;
  const start = (body: string) =>
    spawn(process.execPath, ['--input-type=module', '-e', `import { openLogger } from ${JSON.stringify(source)};\n${body}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  const gap = `lines.gap({ source: 'x'.repeat(1000), reason: 'r', seq: n })`;

  // As many as a pipe holds: past that, a reader that is slow for longer than the writer waits loses lines, and is told.
  test('gets every line that was written before the process was gone', async () => {
    for (const json of [true, false]) {
      const child = start(
        `const lines = await openLogger({ level: 'info', json: ${json} });
         for (let n = 0; n < 250; n += 1) ${gap};
         process.kill(process.pid, 'SIGKILL');`,
      );
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await once(child, 'close');
      expect(text.split('\n')).toHaveLength(251);
    }
  });

  test('that is the journal gets priorities and no time; a file beside it gets JSON', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lines-'));
    const [journal, other] = ['journal', 'other'].map((name) => openSync(join(folder, name), 'w')) as [number, number];
    const { dev, ino } = fstatSync(journal);
    for (const destination of [journal, other]) {
      const lines = await openLogger({ level: 'info', destination, journal: `${dev}:${ino}` });
      lines.transition(transition);
      lines.outage({ reason: 'disk full' });
      closeSync(destination);
    }
    const [first, second] = readFileSync(join(folder, 'journal'), 'utf8').split('\n');
    expect(first).toMatch(/^<6>52:54:00:11:22:33 fallback /);
    expect(second).toMatch(/^<3>service +outage .*disk full$/);
    expect(readFileSync(join(folder, 'other'), 'utf8')).toMatch(/^\{"level":"info"/);
    rmSync(folder, { recursive: true });
  });

  test('that leaves does not end the service', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lines-'));
    const mark = join(folder, 'mark');
    const child = start(
      `import { writeFileSync } from 'node:fs';
       const lines = await openLogger({ level: 'info', json: true });
       for (let n = 0; n < 500; n += 1) { ${gap}; await new Promise((done) => setTimeout(done, 1)); }
       writeFileSync(${JSON.stringify(mark)}, String(lines.lost()));`,
    );
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(0);
    expect(existsSync(mark) && Number(readFileSync(mark, 'utf8'))).toBeGreaterThan(400);
    rmSync(folder, { recursive: true });
  });
});
