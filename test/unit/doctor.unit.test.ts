// `netkvm doctor` on this machine, and each of its checks on what it is meant to find.
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../src/host/cli.ts';
import { loadConfig, type Overrides } from '../../src/host/config.ts';
import { openControl } from '../../src/host/control.ts';
import { runChecks, type Check } from '../../src/host/doctor-checks.ts';
import { linuxChecks } from '../../src/host/doctor-linux.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doctor-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const doctor = async (...words: string[]): Promise<{ code: number; text: string }> => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCli(['doctor', '--state-dir', join(folder, 'state'), ...words], {
    stdin: new PassThrough(),
    stdout,
    stderr,
  });
  expect(stderr.read()).toBeNull();
  return { code, text: String(stdout.read()) };
};

/** A /proc and /sys that a test made up. */
const system = (files: Record<string, string>): string => {
  const root = join(folder, 'root');
  mkdirSync(join(root, 'proc'), { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
};
const check = async (name: string, overrides: Overrides = {}, root = '/'): Promise<Check> => {
  const configuration = loadConfig(null, { 'service.stateDir': join(folder, 'state'), ...overrides });
  const found = (await runChecks(linuxChecks(root), { configuration, thorough_bytes: 1_000_000 })).find(
    (one) => one.name === name,
  );
  if (!found) throw new Error(`there is no check ${name}`);
  return found;
};

describe('a whole visit', () => {
  test('on this machine finds nothing broken, and changes nothing', async () => {
    const { code, text } = await doctor('--json');
    const document = JSON.parse(text) as { checks: Check[] };
    expect(document).toMatchObject({ schemaVersion: 1, healthy: true });
    expect(code).toBe(0);
    expect(document.checks.map(({ name, result }) => `${name} ${result}`)).toEqual(
      expect.arrayContaining([
        'configuration ok',
        'node ok',
        'foreignCalls ok',
        'sockets ok',
        'stateDir ok',
        'log ok',
        'service warning',
      ]),
    );
    for (const { result, todo } of document.checks) expect(todo === null).toBe(result === 'ok');
  });

  test('with a broken configuration says so, and still makes the other checks', async () => {
    const file = join(folder, 'bad.toml');
    writeFileSync(file, 'nonsense');
    const { code, text } = await doctor('--config', file);
    expect(code).toBe(4);
    expect(text).toMatch(/^failed {3}configuration .*bad\.toml:1:/);
    expect(text).toMatch(/^ok {7}node/m);
  });
});

describe('each check', () => {
  const unprivileged = { 'proc/self/status': 'CapEff:\t0000000000000000\n', 'proc/sys/net/core/rmem_max': '212992\n' };

  test('permissions and receive buffer, with and without CAP_NET_ADMIN', async () => {
    const bare = system(unprivileged);
    expect(await check('receiveBuffer', {}, bare)).toMatchObject({
      result: 'warning',
      text: expect.stringContaining('212992 bytes'),
    });
    expect(await check('receiveBuffer', { 'service.receiveBuffer_bytes': 65_536 }, bare)).toMatchObject({ result: 'ok' });
    expect(await check('permissions', {}, bare)).toMatchObject({ result: 'ok' });
    expect(await check('permissions', { 'policy.effects': 'on' }, bare)).toMatchObject({ result: 'failed' });
    const able = system({ 'proc/self/status': 'CapEff:\t0000000000001000\n' });
    expect(await check('permissions', { 'policy.effects': 'on' }, able)).toMatchObject({ result: 'ok' });
    expect(await check('receiveBuffer', {}, able)).toMatchObject({ result: 'ok' });
  });

  test('programs that would fight matter only when something is touched', async () => {
    const root = system({ 'proc/77/comm': 'NetworkManager\n', 'proc/78/comm': 'systemd-network\n', 'proc/79/comm': 'sh\n' });
    expect(await check('rivals', {}, root)).toMatchObject({ result: 'ok', text: expect.stringContaining('NetworkManager (77)') });
    expect(await check('rivals', { 'policy.effects': 'on' }, root)).toMatchObject({
      result: 'ok',
      text: 'running: NetworkManager (77), systemd-networkd (78); told of a bond when one is made',
    });
    const other = system({ 'proc/77/comm': 'NetworkManager\n', 'proc/80/comm': 'connmand\n' });
    expect(await check('rivals', { 'policy.effects': 'on' }, other)).toMatchObject({
      result: 'warning',
      text: 'running: NetworkManager (77), systemd-networkd (78), connmand (80)',
    });
  });

  test('members that a network manager has configured are named, with what configures them', async () => {
    const mac = '52:54:00:11:22:33\n';
    const trio = {
      'sys/class/net/ens3/address': mac,
      'sys/class/net/ens3nsby/address': mac,
      'sys/class/net/ens3nsby/ifindex': '3\n',
      'sys/class/net/ens3nsby/master/address': mac,
      'sys/class/net/eth9/address': mac,
      'sys/class/net/eth9/master/address': mac,
      'sys/class/net/eth9/brport/x': '',
    };
    expect(await check('members', {}, system({}))).toMatchObject({
      result: 'ok',
      text: 'no interface is a member of a pair yet',
    });
    const left = {
      ...trio,
      'run/systemd/netif/links/3': 'ADMIN_STATE=unmanaged\n',
      'run/NetworkManager/devices/3': 'managed=false\n',
    };
    expect(await check('members', {}, system(left))).toMatchObject({ result: 'ok', text: expect.stringContaining('ens3nsby: ') });
    const networkd = 'ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/50-all.network\n';
    expect(await check('members', {}, system({ ...trio, 'run/systemd/netif/links/3': networkd }))).toMatchObject({
      result: 'warning',
      text: 'ens3nsby: systemd-networkd, by /etc/systemd/network/50-all.network',
    });
    const device = '[device]\nmanaged=true\nconnection-uuid=4bc31002\n';
    expect(await check('members', {}, system({ ...left, 'run/NetworkManager/devices/3': device }))).toMatchObject({
      result: 'warning',
      text: 'ens3nsby: NetworkManager, by connection 4bc31002',
    });
  });

  test('a bond that is wanted needs a kernel that can make one', async () => {
    const bare = system({ 'proc/sys/kernel/osrelease': '6.1.0-18-cloud-amd64\n' });
    const file = join(folder, 'bond.toml');
    writeFileSync(file, '[policy]\neffects = "on"\n[[pairs]]\nmac = "52:54:00:11:22:33"\nmode = "bond"\n');
    const wanted = async (root: string): Promise<Check | undefined> => {
      const configuration = loadConfig(file, { 'service.stateDir': join(folder, 'state') });
      return (await runChecks(linuxChecks(root), { configuration, thorough_bytes: 1_000_000 })).find(
        ({ name }) => name === 'bonding',
      );
    };
    expect(await check('bonding', {}, bare)).toMatchObject({ result: 'ok' });
    expect(await wanted(bare)).toMatchObject({ result: 'failed' });
    const able = system({
      'proc/sys/kernel/osrelease': '6.1.0-18-amd64\n',
      'lib/modules/6.1.0-18-amd64/modules.dep': 'kernel/drivers/net/bonding/bonding.ko: kernel/net/tls/tls.ko\n',
    });
    expect(await wanted(able)).toMatchObject({ result: 'ok' });
    expect(await wanted(system({ 'sys/module/bonding/x': '' }))).toMatchObject({ result: 'ok' });
  });

  test('early signs: the kernel log, and the priority that is asked for', async () => {
    const restricted = { ...unprivileged, 'proc/sys/kernel/dmesg_restrict': '1\n' };
    expect(await check('earlySigns', {}, system(restricted))).toMatchObject({ result: 'ok' });
    expect(await check('earlySigns', { 'policy.effects': 'on' }, system(restricted))).toMatchObject({ result: 'warning' });
    const able = system({ ...restricted, 'proc/self/status': 'CapEff:\t0000000400000000\n' });
    expect(await check('earlySigns', { 'policy.effects': 'on' }, able)).toMatchObject({ result: 'ok' });
    expect(await check('earlySigns', { 'service.realtimePriority': 20 }, able)).toMatchObject({
      result: 'warning',
      text: expect.stringContaining('CAP_SYS_NICE'),
    });
    const swift = system({ ...restricted, 'proc/self/status': 'CapEff:\t0000000400800000\n' });
    expect(await check('earlySigns', { 'service.realtimePriority': 20 }, swift)).toMatchObject({ result: 'ok' });
  });

  test('an old kernel', async () => {
    const root = system({ 'proc/sys/kernel/osrelease': '4.18.0-553.el8.x86_64\n', 'sys/module/net_failover/x': '' });
    expect(await check('kernel', {}, root)).toMatchObject({
      result: 'warning',
      text: expect.stringContaining('there are net_failover'),
    });
    expect(await check('kernel', {}, system({ 'proc/sys/kernel/osrelease': '6.1.0-18-amd64\n' }))).toMatchObject({
      result: 'ok',
    });
    expect(await check('kernel', {}, system({ 'proc/sys/kernel/osrelease': '' }))).toMatchObject({ result: 'warning' });
  });

  test('a log that is damaged', async () => {
    mkdirSync(join(folder, 'state'), { mode: 0o700 });
    writeFileSync(join(folder, 'state/netkvm.db'), 'no database'.repeat(1000));
    expect(await check('log')).toMatchObject({ result: 'failed', todo: expect.stringContaining('sets the file aside') });
  });

  test('a folder in whose place a file lies', async () => {
    writeFileSync(join(folder, 'state'), '');
    expect(await check('stateDir')).toMatchObject({ result: 'failed' });
  });

  test('a service that runs, one that hangs, one that died', async () => {
    mkdirSync(join(folder, 'state'), { mode: 0o700 });
    const path = join(folder, 'state/control.sock');
    writeFileSync(join(folder, 'state/netkvm.pid'), '4242\n');
    expect(await check('service')).toMatchObject({ result: 'warning', text: expect.stringContaining('process 4242') });
    const control = await openControl({ path, handlers: {} });
    expect(await check('service')).toMatchObject({ result: 'ok', text: expect.stringContaining(`process ${process.pid}`) });
    await control.close();
    const mute = createServer().listen(path);
    await once(mute, 'listening');
    chmodSync(path, 0o600);
    expect(await check('service')).toMatchObject({ result: 'failed' });
    mute.close();
  });
});
