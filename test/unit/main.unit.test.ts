// The entry of the command line as a user meets it: exit codes, one line for each mistake, broken pipes, an old Node.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ERRORS, NetkvmError } from '../../src/events/errors.ts';
import { runCli } from '../../src/host/cli.ts';
import { report } from '../../src/host/report.ts';
import { loadRun } from '../../src/host/cli.ts';
import { COMMANDS } from '../../src/host/commands.ts';

const path = (name: string): string => fileURLToPath(new URL(`../../src/host/${name}`, import.meta.url));
const netkvm = (...words: string[]) => spawnSync(process.execPath, [path('main.ts'), ...words], { encoding: 'utf8' });

describe('a call', () => {
  test('that is right', () => {
    const { status, stdout, stderr } = netkvm('version', '--json');
    expect([status, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      node: process.versions.node,
    });
  });

  test('that is wrong gets one line and exit code 2', () => {
    const { status, stdout, stderr } = netkvm('stauts');
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toBe('netkvm: there is no command "stauts"; did you mean status? [usage.command] See `netkvm help`.\n');
  });

  test('without a command shows the list and is no success', () => {
    const { status, stdout, stderr } = netkvm();
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('usage: netkvm COMMAND');
  });

  test('with a bad configuration names it and exits 6, as JSON, too', () => {
    const folder = mkdtempSync(join(tmpdir(), 'main-'));
    const file = join(folder, 'bad.toml');
    writeFileSync(file, '[policy]\neffects = "perhaps"\n');
    const plain = netkvm('config', 'check', '--config', file);
    expect(plain.status).toBe(6);
    expect(plain.stderr).toMatch(/^netkvm: .*bad\.toml:2: policy\.effects = "perhaps" is not one of .*\n$/);
    const json = netkvm('config', 'check', '--json', '--config', file);
    expect(json.status).toBe(6);
    expect(JSON.parse(json.stdout)).toMatchObject({ schemaVersion: 1, valid: false, error: { code: 'config.value' } });
    rmSync(folder, { recursive: true });
  });

  test('whose output is long arrives whole through a pipe', () => {
    const { stdout } = netkvm('help', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1, commands: expect.any(Array), errors: ERRORS });
  });

  test.skipIf(process.platform === 'win32')('whose reader has gone ends quietly and with success', () => {
    const script = `{ "$0" "$1" help --json; echo "exit $?" >&2; } | { exec <&-; sleep 0.5; }`;
    const { stderr } = spawnSync('sh', ['-c', script, process.execPath, path('main.ts')], { encoding: 'utf8' });
    expect(stderr).toBe('exit 0\n');
  });
});

describe('what was thrown', () => {
  const said = (error: unknown): { readonly code: number; readonly text: string } => {
    const stderr = new PassThrough();
    const code = report(error, { stderr });
    return { code, text: (stderr.read() as Buffer).toString() };
  };

  test('becomes one line with its exit code, whatever it holds', () => {
    expect(said(new NetkvmError('log.missing', 'no log in /a\nb\u001B[2J'))).toEqual({
      code: 5,
      text: 'netkvm: no log in /a b [2J [log.missing] Start the service, or name the right one.\n',
    });
  });

  test('or an internal fault with its stack', () => {
    const { code, text } = said(new TypeError('unexpected'));
    expect(code).toBe(1);
    expect(text).toMatch(/^netkvm: internal fault.*\nTypeError: unexpected\n {4}at /);
    expect(said('a string').code).toBe(1);
  });
});

describe('an older Node', () => {
  const old = ['/usr/bin/node', '/usr/local/bin/node']
    .filter((node) => process.platform !== 'win32' && existsSync(node))
    .filter((node) => Number(/^v(\d+)/.exec(execFileSync(node, ['-v'], { encoding: 'utf8' }))?.[1]) < 22);

  test.skipIf(old.length === 0)('is refused in one line', () => {
    const { status, stdout, stderr } = spawnSync(old[0]!, [path('netkvm.mjs'), 'version'], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^netkvm needs Node 22\.18 or newer; this is v\d+\.\d+\.\d+ \(.*\) \[node\.version\]\n$/);
  });

  test('is told apart by number, not by text', () => {
    const load = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '22.9.0' })`;
    for (const file of ['netkvm.mjs', 'main.ts']) {
      const { status, stderr } = spawnSync(process.execPath, ['--import', load, path(file), 'version'], { encoding: 'utf8' });
      expect([status, stderr.split('\n').length]).toEqual([2, 2]);
      expect(stderr).toContain('[node.version]');
    }
  });

  test('a newer one runs through the launcher, too', () => {
    const { status, stdout } = spawnSync(process.execPath, [path('netkvm.mjs'), 'version'], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([0, expect.stringContaining('netkvm-failover')]);
  });
});

describe('every command', () => {
  const groups = [...new Map(COMMANDS.map((command) => [command.name.split(' ', 1)[0]!, command])).values()];
  test.each(groups.map((command) => [command.name, command] as const))('%s has an implementation', async (_, command) => {
    expect(await loadRun(command)).toBeTypeOf('function');
  });

  test('prints its help on standard output and exits 0', async () => {
    for (const { name, summary } of COMMANDS) {
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      expect(await runCli([...name.split(' '), '--help'], { stdin: new PassThrough(), stdout, stderr })).toBe(0);
      expect(String(stdout.read())).toContain(summary);
      expect(stderr.read()).toBeNull();
    }
  });
});
