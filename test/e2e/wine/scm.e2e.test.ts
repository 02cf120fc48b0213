// Our service under Wine's own service control manager: installed, queried, stopped and removed by the command line; beside a
// stand-in for the driver package's service, which is taken over when asked, and given back.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { BIN, missing, Wine } from './lab.ts';

const lacks = missing();
let wine: Wine;

const says = async (...words: string[]) => {
  const { code, stdout, stderr } = await wine.netkvm(words);
  return { code, text: (stdout + stderr).replaceAll('\r', '') };
};
const query = async () =>
  (JSON.parse((await wine.netkvm(['query', '--json'])).stdout) as { service: Record<string, unknown> }).service;
/** What the SCM itself says of a service. */
const sc = async (name: string) => (await wine.run('sc', ['query', name])).stdout;

beforeAll(async () => {
  if (lacks !== null) return;
  wine = await Wine.start();
  await wine.run('regsvr32', ['/s', 'C:\\windows\\system32\\netcfgdouble.dll']);
  copyFileSync(join(BIN, 'netkvmps.exe'), wine.path('windows/system32/netkvmps.exe'));
});
afterAll(() => wine?.stop());

describe.skipIf(lacks !== null)('the service', () => {
  test('is installed, runs, answers, and is left alone when it is right', async () => {
    expect(await says('query')).toEqual({
      code: 5,
      text: 'The service is not installed.\nthe protocol VIOPROT: not installed\n',
    });
    const { code, text } = await says('install');
    expect(text).toMatch(/^made the service netkvm-failover\nstarted it\n/);
    expect(code).toBe(0);
    expect(await query()).toMatchObject({ installed: 'here', current: true, enabled: true, state: 'running', original: null });
    expect(await sc('netkvm-failover')).toContain('RUNNING');
    expect((await says('i')).text).toMatch(/^nothing to do\n/);
    expect((await says('status')).text).toMatch(/^The service runs as pid [0-9]+\./);
  });

  test('is one: a second one is refused, and a program that nobody started as a service is none', async () => {
    expect((await says('run', '--service')).code).toBe(9);
    const state = 'C:\\ProgramData\\netkvm-failover\\state';
    expect(await says('run', '--observe', '--state-dir', state)).toMatchObject({
      code: 9,
      text: expect.stringContaining('[log.locked]'),
    });
  });

  test('takes over from the original when asked, and gives it back as it was', async () => {
    const exe = 'C:\\windows\\system32\\netkvmps.exe';
    const before = readFileSync(wine.path('windows/system32/netkvmps.exe'));
    await wine.run('sc', ['create', 'netkvmp', 'start=', 'auto', 'binPath=', exe]);
    await wine.run('sc', ['start', 'netkvmp']);
    expect((await says('query')).text).toMatch(/\nthe original service netkvmp: running, auto\n$/);
    expect((await says('install')).text).toMatch(/^nothing to do\n/);
    expect((await says('install', '--take-over')).text).toMatch(
      /^disabled netkvmp, which started as auto\nstopped netkvmp\n[^]*\nthe original service netkvmp: stopped, disabled, taken over\n$/,
    );
    expect((await says('install', '--take-over')).text).toMatch(/^nothing to do\n/);
    const { code, text } = await says('uninstall');
    expect(text).toMatch(/netkvmp starts as auto again\nstarted netkvmp\nremoved the service netkvm-failover\n/);
    expect(code).toBe(0);
    expect(await query()).toMatchObject({ installed: 'no', original: { state: 'running', startType: 'auto', takenOver: false } });
    expect(readFileSync(wine.path('windows/system32/netkvmps.exe'))).toEqual(before);
    await wine.run('sc', ['stop', 'netkvmp']);
    await wine.run('sc', ['delete', 'netkvmp']);
    // A service that was deleted is there until its process has ended.
    await vi.waitFor(async () => expect((await query())['original']).toBeNull(), { timeout: 30_000, interval: 500 });
  });

  test('is gone after that', async () => {
    expect(await says('uninstall')).toEqual({ code: 0, text: 'nothing to do\n' });
    expect(await sc('netkvm-failover')).not.toContain('RUNNING');
    const sources = 'HKLM\\SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\netkvm-failover';
    expect((await wine.run('reg', ['query', sources])).code).not.toBe(0);
  });
});

test.skipIf(lacks !== null)('what is wrong is an entry in the event log, at most so many an hour', async () => {
  const code = `
    const { openEventLog } = await import('./src/adapters/windows/event-log.ts');
    const enter = openEventLog('netkvm-failover');
    for (let n = 1; n <= 130; n += 1) enter(n % 2 ? 'warning' : 'error', 'entry ' + n + ': grüße');`;
  // Wine has no event log; it says on its own standard error what it was given.
  const { stderr } = await wine.node(['--input-type=module', '-e', code], { env: { WINEDEBUG: '+eventlog' } });
  const entries = stderr.split('\n').filter((line) => line.includes(':eventlog:ReportEventW'));
  expect(entries).toHaveLength(120);
  expect(entries[0]).toMatch(/:warn:.*L"entry 1: gr/);
  expect(entries[1]).toMatch(/:err:.*L"entry 2: gr/);
  expect(entries[119]).toContain('More entries of this hour are left out.');
});

describe.skipIf(lacks !== null)('the protocol', () => {
  const folder = () => wine.path('vioprot');
  const p = async (...words: string[]) => {
    const { code, stdout } = await wine.netkvm(['netkvmp', ...words], { cwd: folder() });
    return { code, text: stdout.replaceAll('\r', '') };
  };
  const INF = [
    '[Version]',
    'Signature="$Windows NT$"',
    'Class=NetTrans',
    'ClassGUID={4d36e975-e325-11ce-bfc1-08002be10318}',
    'Provider="Test"',
    'CatalogFile=vioprot.cat',
    'DriverVer=01/01/2020,1.1',
    '',
  ].join('\r\n');

  test('is installed and removed under the original’s words, and its INF files go', async () => {
    rmSync(folder(), { recursive: true, force: true });
    mkdirSync(folder(), { recursive: true });
    expect(await p('q')).toEqual({ code: 0, text: 'Service not installed\nVIOPROT not installed\n' });
    expect(await p('i')).toEqual({ code: 0, text: 'ERROR: File VIOPROT.INF is not in the current directory.\n' });
    writeFileSync(join(folder(), 'vioprot.inf'), INF);
    // Wine copies the catalog, too, and does not look into it.
    writeFileSync(join(folder(), 'vioprot.cat'), '');
    expect(await p('install')).toEqual({ code: 0, text: 'Installing VIOPROT\nProtocol installed\n' });
    expect(await p('install')).toEqual({ code: 0, text: 'Already installed\n' });
    expect((await p('query')).text).toContain('\nVIOPROT installed\n');
    // Wine keeps the name of an INF file in its store; Windows calls it oemN.inf.
    writeFileSync(wine.path('windows/inf/oem7.inf'), INF);
    writeFileSync(wine.path('windows/inf/oem8.inf'), INF.replace('vioprot.cat', 'other.cat'));
    expect(await p('u')).toEqual({
      code: 0,
      text: 'Service is not installed\nUninstalling VIOPROT\nScan for protocol INF file...\nUninstalling oem7.inf... Done\n',
    });
    expect(readdirSync(wine.path('windows/inf')).filter((name) => name.startsWith('oem'))).toEqual(['oem8.inf']);
    rmSync(wine.path('windows/inf/oem8.inf'));
    expect((await p('q')).text).toContain('VIOPROT not installed\n');
  });

  const double = (value: string, ...data: string[]) =>
    wine.run('reg', [data.length > 0 ? 'add' : 'delete', 'HKLM\\SOFTWARE\\NetCfgDouble', '/v', value, ...data, '/f']);
  const here = async (...words: string[]) => {
    const { code, stdout, stderr } = await wine.netkvm(words, { cwd: folder() });
    return { code, text: (stdout + stderr).replaceAll('\r', '') };
  };

  test('comes before our service when asked for, and goes after it; without the INF file nothing is changed', async () => {
    rmSync(folder(), { recursive: true, force: true });
    mkdirSync(folder(), { recursive: true });
    expect(await here('install', '--protocol', 'vioprot.inf')).toMatchObject({
      text: expect.stringContaining('vioprot.inf does not exist'),
    });
    expect((await here('query')).text).toBe('The service is not installed.\nthe protocol VIOPROT: not installed\n');
    writeFileSync(join(folder(), 'vioprot.inf'), INF);
    writeFileSync(join(folder(), 'vioprot.cat'), '');
    const installed = await here('install', '--protocol', 'vioprot.inf');
    expect(installed.text).toMatch(
      /^installed VIOPROT\nmade the service netkvm-failover\nstarted it\n[^]*\nthe protocol VIOPROT: installed\n$/,
    );
    expect(installed.code).toBe(0);
    expect((await here('install', '--protocol', 'vioprot.inf')).text).toMatch(/^nothing to do\n/);
    writeFileSync(wine.path('windows/inf/oem7.inf'), INF);
    // Somebody else holds the write lock: said so, and not taken for removed.
    await double('LockedBy', '/t', 'REG_SZ', '/d', 'Network Connections');
    const locked = await here('uninstall', '--protocol');
    expect(locked).toMatchObject({ code: 9, text: expect.stringContaining('locked by Network Connections') });
    await double('LockedBy');
    expect((await here('query')).text).toBe('The service is not installed.\nthe protocol VIOPROT: installed\n');
    expect(existsSync(wine.path('windows/inf/oem7.inf'))).toBe(true);
    await double('FailApply', '/t', 'REG_DWORD', '/d', String(0x4a020));
    expect(await here('uninstall', '--protocol')).toEqual({ code: 10, text: 'removed VIOPROT\nremoved oem7.inf\n' });
    await double('FailApply');
    expect((await here('query')).text).toContain('the protocol VIOPROT: not installed\n');
    expect(await here('uninstall', '--protocol')).toEqual({ code: 0, text: 'nothing to do\n' });
  });
});
