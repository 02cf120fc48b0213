// The commands around the service, as a user calls them: with the service up and down, on what a recorded migration left.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../replay/report.ts';
import { replayFile } from '../../replay/replay.ts';
import { MAC } from '../given.ts';
import {
  cleanUp,
  daemon,
  eventsIn,
  folder,
  inProcess,
  MIGRATION,
  netkvm,
  Running,
  SOUND,
  until,
  verdictOn,
} from './service.given.ts';

type Entry = Report['pairs'][number]['history'][number];
const path = ({ stage, datapath, because, at_ns }: Omit<Entry, 'seq'>): object => ({ stage, datapath, because, at_ns });
const historyOf = (report: Report): object[] => report.pairs[0]!.history.map(path);
const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

let expected: object[];
let dir: string;
let service: Running;
const here = (...words: string[]) => netkvm(...words, '--state-dir', dir);

beforeAll(async () => {
  expected = historyOf((await replayFile(MIGRATION)).report);
  dir = folder();
  service = daemon(dir);
  await until('it has been played', () => service.all('transition').length === expected.length);
  // The lines are written before the log has the last events.
  await until('it is in the log', () => eventsIn(dir, 'adapter.changed').length > 5);
});
afterAll(cleanUp);

const STATE = { schemaVersion: 1, effects: 'off', divergence: null, findings: [] };
const PAIR = { mac: MAC, mode: 'kernel', stage: 'onPrimary', datapath: 'primary', because: 'primary.carries', pending: null };

describe('with the service up', () => {
  test('its lines tell the transitions that the raw capture gives', () => {
    expect(expected).toHaveLength(8);
    expect(service.all('transition').map((line) => path(line as unknown as Entry))).toEqual(expected);
    expect(service.all('started')).toMatchObject([{ platform: 'recording', effects: 'off', pid: service.pid, stateDir: dir }]);
  });

  test('status', async () => {
    const [text, document, other] = await Promise.all([
      here('status'),
      here('status', '--json'),
      here('status', '--json', '--pair', '52:54:00:00:00:01'),
    ]);
    expect(text.status).toBe(0);
    expect(text.stdout).toMatch(
      new RegExp(`^The service runs as pid ${service.pid}\\.\n${MAC}  kernel  onPrimary +primary  standby eth1, primary eth2\n`),
    );
    expect(document.status).toBe(0);
    const running = { running: true, pid: service.pid, outage: null };
    expect(json(document.stdout)).toMatchObject({ ...STATE, service: running, pairs: [PAIR] });
    expect(json(other.stdout)).toMatchObject({ pairs: [] });
  });

  test('explain, of the log and of a file', async () => {
    const [log, file, past] = await Promise.all([
      here('explain'),
      netkvm('explain', MIGRATION),
      here('explain', '--at', '18', '--json'),
    ]);
    expect([log.status, file.status, past.status]).toEqual([0, 0, 0]);
    expect(log.stdout).toContain(MAC);
    expect(log.stdout).toContain('onPrimary');
    expect(file.stdout).toContain('onPrimary');
    expect(json(past.stdout)).toMatchObject({ schemaVersion: 1, seq: 18, pairs: [{ mac: MAC, stage: 'fallback' }] });
  });

  test('monitor from the first event on, until it is told to stop', async () => {
    const monitor = new Running(['monitor', '--from', '1', '--json', '--state-dir', dir]);
    const head = eventsIn(dir).length;
    await until('it has shown everything', () => monitor.lines.length >= head);
    // Windows has no signals; there Ctrl-C is the console's matter.
    expect((await monitor.stop('SIGINT')).code).toBe(process.platform === 'win32' ? null : 0);
    expect(monitor.lines.map(({ seq }) => seq)).toEqual(Array.from({ length: head }, (_, index) => index + 1));
    expect(monitor.lines[0]).toMatchObject({ schemaVersion: 1, type: 'service.started', cause: null, logId: expect.any(String) });
  });

  test('wait: met, and timed out with what was missing', async () => {
    const [met, timedOut, none] = await Promise.all([
      here('wait', '--datapath', 'primary', '--json'),
      here('wait', '--stage', 'fallback', '--timeout', '0.2', '--json'),
      here('wait', '--stage', 'fallback', '--timeout', '0', '--pair', '52:54:00:00:00:01'),
    ]);
    expect([met.status, timedOut.status, none.status]).toEqual([0, 3, 3]);
    expect(json(met.stdout)).toMatchObject({ schemaVersion: 1, met: true, missing: [] });
    const missing = [`${MAC} is in stage onPrimary (primary.carries), not fallback`];
    expect(json(timedOut.stdout)).toMatchObject({ met: false, missing });
    expect(timedOut.stderr).toBe(`netkvm: after 0.2 s: ${missing[0]} [wait.timedOut] The message says what was still missing.\n`);
    expect(none.stderr).toContain('there is no pair 52:54:00:00:00:01');
  });

  test('log verify, export and prune; the export replays to the history of the raw capture', async () => {
    const file = join(dir, 'migration.jsonl');
    const [verify, exported, prune] = await Promise.all([
      here('log', 'verify', '--json'),
      here('log', 'export', '-o', file, '--json'),
      here('log', 'prune', '--keep', '0', '--json'),
    ]);
    expect([verify.status, exported.status, prune.status]).toEqual([0, 0, 0]);
    expect(json(verify.stdout)).toMatchObject({ schemaVersion: 1, problem: null, divergence: null, open: 0, first: 1 });
    // There is no checkpoint yet, so nothing may go.
    expect(json(prune.stdout)).toEqual({ schemaVersion: 1, events: 0 });
    const [replay, again, hidden] = await Promise.all([
      netkvm('replay', file, '--json'),
      netkvm('log', 'verify', file),
      here('log', 'export', '--pseudonyms'),
    ]);
    expect([replay.status, again.status, hidden.status]).toEqual([0, 0, 0]);
    const report = JSON.parse(replay.stdout) as Report;
    expect(report).toMatchObject({ schemaVersion: 1, divergence: null, decisions: 0, gaps: 0 });
    expect(historyOf(report)).toEqual(expected);
    expect(again.stdout).toContain('all is well');
    expect(hidden.stdout).not.toContain(MAC);
    expect(hidden.stdout.split('\n')).toHaveLength(readFileSync(file, 'utf8').split('\n').length);
  });

  test('a second service is refused, and told which process is in its way', async () => {
    const { status, stdout, stderr } = await here('run', '--observe');
    expect([status, stdout]).toEqual([9, '']);
    expect(stderr).toMatch(
      new RegExp(`^netkvm: ${dir}: the log is being written by process ${service.pid} \\[log\\.locked\\] .*\n$`),
    );
  });

  test('doctor sees it', async () => {
    const { stdout } = await here('doctor', '--json');
    const { checks } = json(stdout) as { checks: { name: string; text: string }[] };
    expect(checks.find(({ name }) => name === 'service')?.text).toContain(`process ${service.pid} answers`);
  });
});

describe('with the service down', () => {
  beforeAll(async () => {
    await service.stop();
  });

  test('it has ended well', async () => {
    expect(await service.ended()).toEqual({ code: 0, signal: null });
  });

  test('status and explain say what the log says', async () => {
    const [status, document, explain] = await Promise.all([here('status'), here('status', '--json'), here('explain', '--json')]);
    expect([status.status, document.status, explain.status]).toEqual([5, 5, 0]);
    expect(status.stdout).toContain('The service is not running; this is what the log says.\n');
    const stopped = { running: false, pid: null, outage: null };
    expect(json(document.stdout)).toMatchObject({ ...STATE, service: stopped, pairs: [PAIR] });
    expect(json(explain.stdout)).toMatchObject({ pairs: [{ mac: MAC, stage: 'onPrimary' }] });
  });

  test('wait does not wait for what nobody can bring', async () => {
    const [met, unmet] = await Promise.all([
      here('wait', '--stage', 'onPrimary', '--timeout', '20'),
      here('wait', '--stage', 'fallback', '--timeout', '20'),
    ]);
    expect([met.status, met.stderr]).toEqual([0, '']);
    expect(unmet.status).toBe(5);
    expect(unmet.stderr).toMatch(/^netkvm: .* not fallback, and the service is not running \[control\.unreachable\] .*\n$/);
  });

  test('log verify, export and prune work on the folder alone', async () => {
    const [verify, exported] = await Promise.all([here('log', 'verify'), here('log', 'export')]);
    const prune = await here('log', 'prune');
    expect([verify.status, exported.status, prune.status]).toEqual([0, 0, 0]);
    expect(verify.stdout).toContain('all is well');
    expect(JSON.parse(exported.stdout.split('\n', 1)[0]!)).toMatchObject({ format: 'netkvm-recording', version: 1 });
    expect(prune.stdout).toBe('0 events dropped\n');
    expect(verdictOn(dir)).toEqual(SOUND);
    expect(existsSync(join(dir, 'netkvm.pid'))).toBe(false);
  });
});

describe('without a log', () => {
  test.each([
    ['status'],
    ['explain'],
    ['monitor'],
    ['wait', '--stage', 'fallback'],
    ['log', 'verify'],
    ['log', 'export'],
    ['log', 'prune'],
  ])('%s %s says so and makes none', async (...words) => {
    const nowhere = join(folder(), 'state');
    const { status, stdout, stderr } = await inProcess(...words, '--state-dir', nowhere);
    expect([status, stdout]).toEqual([5, '']);
    expect(stderr).toMatch(/^netkvm: .*netkvm\.db: no log \[log\.missing\] .*\n$/);
    expect(existsSync(nowhere)).toBe(false);
  });
});

describe('wrong words', () => {
  const file = (text: string): string => {
    const name = join(folder(), 'given');
    writeFileSync(name, text);
    return name;
  };
  test.each<[string, () => string[], number, string]>([
    ['run without the recording', () => ['run', '--platform', 'recording'], 2, 'usage.command'],
    ['run with a recording for another platform', () => ['run', '--recording', MIGRATION], 2, 'usage.command'],
    ['run with a pace for another platform', () => ['run', '--speed', '2'], 2, 'usage.command'],
    [
      'run with a negative pace',
      () => ['run', '--platform', 'recording', '--recording', MIGRATION, '--speed=-1'],
      2,
      'usage.value',
    ],
    ['run both ways', () => ['run', '--observe', '--dry-run'], 2, 'usage.command'],
    ['run on no platform', () => ['run', '--platform', 'linus'], 2, 'usage.value'],
    ['run at no level', () => ['run', '--log-level', 'loud'], 2, 'usage.value'],
    ['run with a word too many', () => ['run', 'now'], 2, 'usage.command'],
    ['run with a configuration that is not there', () => ['run', '--config', '/nonexistent/c.toml'], 6, 'config.unreadable'],
    ['run with a broken configuration', () => ['run', '--config', file('[policy]\ngrace = 1\n')], 6, 'config.key'],
    [
      'run with no recording at that place',
      () => ['run', '--platform', 'recording', '--recording', '/nonexistent'],
      9,
      'recording.unreadable',
    ],
    ['run with an empty recording', () => ['run', '--platform', 'recording', '--recording', file('')], 7, 'recording.empty'],
    [
      'run with some other file',
      () => ['run', '--platform', 'recording', '--recording', file('\x00\x01\n')],
      7,
      'recording.format',
    ],
    ['status of no MAC', () => ['status', '--pair', 'eth0'], 2, 'usage.value'],
    ['status with an option of another', () => ['status', '--from', '1'], 2, 'usage.command'],
    ['monitor from nothing', () => ['monitor', '--from', '0'], 2, 'usage.value'],
    ['wait for nothing', () => ['wait'], 2, 'usage.command'],
    ['wait for no stage', () => ['wait', '--stage', 'onprimary'], 2, 'usage.value'],
    ['wait for ever', () => ['wait', '--stage', 'fallback', '--timeout', '1e9'], 2, 'usage.value'],
    ['explain at no number', () => ['explain', '--at', 'now'], 2, 'usage.value'],
    ['explain of no file', () => ['explain', '/nonexistent'], 9, 'recording.unreadable'],
    ['replay of nothing', () => ['replay'], 2, 'usage.command'],
    ['replay of no file', () => ['replay', '/nonexistent'], 9, 'recording.unreadable'],
    ['replay with a broken configuration', () => ['replay', MIGRATION, '--config', file('x')], 6, 'config.syntax'],
    ['record for no time', () => ['record', '--seconds', '0'], 2, 'usage.value'],
    ['record into no folder', () => ['record', '-o', '/nonexistent/x.jsonl'], 8, 'recording.unwritable'],
    ['record raw into no folder', () => ['record', '--raw', '-o', '/nonexistent/x.jsonl'], 8, 'recording.unwritable'],
    ['record onto a folder', () => ['record', '--seconds', '60', '-o', '/'], 8, 'recording.unwritable'],
    ['log without a verb', () => ['log'], 2, 'usage.command'],
    ['log with another verb', () => ['log', 'prun'], 2, 'usage.command'],
    ['log prune of less than nothing', () => ['log', 'prune', '--keep=-1'], 2, 'usage.value'],
    ['log verify of no file', () => ['log', 'verify', '/nonexistent'], 9, 'recording.unreadable'],
  ])('%s: one line, and nothing is written', async (_, words, status, code) => {
    const state = join(folder(), 'state');
    const takesFolder = /^(run|status|monitor|wait|explain|log) /.test(`${words().join(' ')} `);
    const given = words();
    const result = await inProcess(...given, ...(takesFolder && given.length > 1 ? ['--state-dir', state] : []));
    expect(result).toMatchObject({ status, stdout: '' });
    expect(result.stderr).toMatch(new RegExp(`^netkvm: [^\n]*\\[${code.replace('.', '\\.')}\\][^\n]*\n$`));
    expect(existsSync(state)).toBe(false);
  });
});
