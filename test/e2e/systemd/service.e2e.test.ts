// The service on a bare Debian 12 with a real systemd: from the Debian package and from npm, ready, supervised, hardened, and
// gone without a trace. One container after the other; a case builds on what the one before it left.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Container, makeTree, missing } from './container.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const UNIT = 'netkvm-failover';
const NODE = '/usr/lib/netkvm-failover/node';
const MAC = '52:54:00:11:22:33';
const lacks = missing();
if (lacks !== null) console.warn(`skipped: ${lacks}`);

const work = mkdtempSync(join(tmpdir(), 'netkvm-systemd-'));
const tree = join(work, 'tree');
let machine: Container;

const show = (property: string): Promise<string> => machine.output(`systemctl show --value -p ${property} ${UNIT}`);
const query = async () =>
  (JSON.parse((await machine.run('netkvm query --json')).output) as { service: Record<string, unknown> }).service;
const traces = (): Promise<string> =>
  machine.output("find / -xdev -name '*netkvm*' -not -path '/proc/*' -not -path '/mnt/*' -not -path '/var/lib/dpkg/*' | sort");

beforeAll(() => {
  if (lacks === null) makeTree(tree);
}, 400_000);
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe.skipIf(lacks !== null)('from the Debian package', () => {
  beforeAll(async () => {
    const deb = join(work, 'netkvm.deb');
    execFileSync(process.execPath, [join(ROOT, 'packaging/deb.ts'), '--output', deb], { cwd: ROOT, stdio: 'ignore' });
    machine = await Container.boot(tree, join(work, 'debian'), (root) => copyFileSync(deb, join(root, 'mnt/netkvm.deb')));
  }, 300_000);
  afterAll(() => machine.end());

  test('it installs with nothing but Debian, is ready at once and starts with the system', async () => {
    expect((await machine.run('dpkg -i /mnt/netkvm.deb')).code).toBe(0);
    expect(await query()).toMatchObject({ installed: 'package', current: true, enabled: true, state: 'running' });
    expect(await show('StatusText')).toBe('watching; no pair');
    expect((await machine.run('netkvm q')).code).toBe(0);
    expect((await machine.run('netkvm doctor')).code).toBe(0);
  });

  test('what systemd thinks of its fences', async () => {
    const { code, output } = await machine.run(`systemd-analyze security --threshold=25 --no-pager ${UNIT}.service`);
    expect(output.trim().split('\n').at(-1)).toMatch(/exposure level .*: [0-2]\.[0-9] OK/);
    expect(code).toBe(0);
    expect((await machine.run(`systemd-analyze verify /lib/systemd/system/${UNIT}.service`)).output).toBe('');
  });

  test('its lines reach the journal with a priority and without a second time', async () => {
    await machine.output(
      `mkdir -p /etc/netkvm-failover; echo nonsense >/etc/netkvm-failover/config.toml; systemctl reload ${UNIT}`,
    );
    const lines = (await machine.output(`sleep 1; journalctl -u ${UNIT} -t netkvm -o json --no-pager`))
      .split('\n')
      .map((line) => JSON.parse(line) as { PRIORITY: string; MESSAGE: string });
    expect(lines.find(({ MESSAGE }) => /^service +watching/.test(MESSAGE))?.PRIORITY).toBe('6');
    expect(lines.find(({ MESSAGE }) => /^service +reload +refused/.test(MESSAGE))?.PRIORITY).toBe('3');
    for (const { MESSAGE } of lines) expect(MESSAGE).toMatch(/^service /);
  });

  test('a configuration that is wrong is not tried again and again', async () => {
    expect((await machine.run(`systemctl restart ${UNIT}`)).code).not.toBe(0);
    expect(await query()).toMatchObject({ state: 'failed', restarts: 0 });
    expect((await machine.run('netkvm install')).code).toBe(6);
    await machine.output('rm -r /etc/netkvm-failover');
    expect(await machine.output('netkvm install')).toMatch(/^started it\n/);
    expect(await machine.output('netkvm i')).toMatch(/^nothing to do\n/);
  });

  test('one that stands still is killed by the watchdog and started again', async () => {
    const pid = await show('MainPID');
    await machine.output(`kill -STOP ${pid}`);
    await expect.poll(() => show('NRestarts'), { timeout: 60_000, interval: 500 }).toBe('1');
    await expect.poll(() => show('ActiveState'), { timeout: 20_000, interval: 200 }).toBe('active');
    expect(await show('MainPID')).not.toBe(pid);
    expect(await machine.output(`journalctl -u ${UNIT} --no-pager`)).toContain("Failed with result 'watchdog'");
    expect((await machine.run('netkvm log verify')).code).toBe(0);
  }, 90_000);

  test('only root may change it; asking is free', async () => {
    const nobody = 'setpriv --reuid=65534 --regid=65534 --clear-groups';
    for (const verb of ['install', 'uninstall']) {
      const { code, output } = await machine.run(`${nobody} netkvm ${verb}`);
      expect(output).toContain('[service.notPermitted]');
      expect(code).toBe(8);
    }
    expect((await machine.run(`${nobody} netkvm query`)).code).toBe(0);
  });

  test('uninstall stops it, twice is once, and the files stay the package’s', async () => {
    expect(await machine.output('netkvm uninstall')).toMatch(/^stopped it\ndisabled it\n/);
    expect(await machine.output('netkvm u')).toMatch(/^nothing to do\n/);
    const { code } = await machine.run('netkvm query');
    expect(code).toBe(5);
    expect(await query()).toMatchObject({ installed: 'package', enabled: false, state: 'stopped', pid: null });
    expect(await machine.output('netkvm install')).toMatch(/^enabled it\nstarted it\n/);
  });

  test('the hypervisor’s unit takes its place: watched, acting inside its fences, upgraded, and gone again', async () => {
    copyFileSync(fileURLToPath(new URL('monitor.mjs', import.meta.url)), join(machine.root, 'mnt/monitor.mjs'));
    await machine.output(
      'set -e; ip link add br7 type bridge; ip link set br7 up; ' +
        'for port in vf0 tap0; do ip link add $port type veth peer name ${port}far; ip link set $port master br7 up; done; ' +
        `bridge fdb add ${MAC} dev vf0 master static sticky; mkdir -m 777 /run/vm; ` +
        `(setpriv --reuid=65534 --clear-groups ${NODE} /mnt/monitor.mjs /run/vm >/dev/null 2>&1 &); mkdir -p /etc/netkvm-failover`,
    );
    const vm = `mac = "${MAC}"\nqmp = "/run/vm/qmp"\nstandby = "s"\nprimary = "p"\nport = "vf0"\ntap = "tap0"\nbridge = "br7"`;
    const file = `[service]\nmetricsPort = 9777\n[policy]\neffects = "on"\n[[vms]]\n${vm}`;
    await machine.output(
      `cat >/etc/netkvm-failover/config.toml <<'END'\n${file}\nEND\nsystemctl start ${UNIT}-host || { journalctl -u ${UNIT}-host --no-pager; exit 1; }`,
    );
    expect(await machine.output(`systemctl is-active ${UNIT}-host ${UNIT} || true`)).toBe('active\ninactive');
    await machine.output(`netkvm wait --pair ${MAC} --stage present --timeout 20`);
    await machine.output(`touch /run/vm/migrating; netkvm wait --pair ${MAC} --stage parked --timeout 20`);
    await expect
      .poll(() => machine.output('bridge fdb show br br7'), { timeout: 10_000, interval: 200 })
      .toMatch(new RegExp(`^${MAC} dev tap0 .*static`, 'm'));
    const metrics = "fetch('http://127.0.0.1:9777/metrics').then((it) => it.text()).then(console.log)";
    expect(await machine.output(`${NODE} -e "${metrics}"`)).toContain(`netkvm_pair_stage{pair="${MAC}",stage="parked"} 1`);
    const security = await machine.run(`systemd-analyze security --threshold=25 --no-pager ${UNIT}-host.service`);
    expect(security).toMatchObject({ code: 0, output: expect.stringMatching(/exposure level .*: [0-2]\.[0-9] OK/) as string });
    const pid = await machine.output(`systemctl show --value -p MainPID ${UNIT}-host`);
    await machine.output(`systemctl disable ${UNIT}; dpkg -i /mnt/netkvm.deb`);
    expect(await machine.output(`systemctl is-active ${UNIT}-host ${UNIT} || true`)).toBe('active\ninactive');
    expect(await machine.output(`systemctl show --value -p MainPID ${UNIT}-host`)).not.toBe(pid);
    await machine.output(`rm /run/vm/migrating; netkvm wait --pair ${MAC} --datapath primary --timeout 30`);
    expect(await machine.output('bridge fdb show br br7')).toMatch(new RegExp(`^${MAC} dev vf0 .*static`, 'm'));
    await machine.output(`systemctl stop ${UNIT}-host; rm -r /etc/netkvm-failover; systemctl enable --now ${UNIT}`);
  }, 120_000);

  test('removing the package leaves the log, purging it leaves nothing', async () => {
    expect((await machine.run('dpkg -r netkvm-failover')).code).toBe(0);
    expect(await machine.output(`systemctl is-active ${UNIT} || true`)).toBe('inactive');
    expect(await traces()).toContain('/var/lib/netkvm-failover/netkvm.db');
    expect(await traces()).not.toMatch(/^\/(usr|run|etc\/netkvm|var\/cache)/m);
    expect((await machine.run('dpkg -P netkvm-failover')).code).toBe(0);
    expect(await traces()).toBe('');
  });
});

describe.skipIf(lacks !== null)('from npm', () => {
  const prepare = (root: string): void => {
    const pack = mkdtempSync(join(work, 'pack-'));
    execFileSync('npm', ['pack', '--silent', '--pack-destination', pack], { cwd: ROOT, stdio: 'ignore' });
    const [tarball = ''] = readdirSync(pack);
    const prefix = join(root, 'usr/local');
    mkdirSync(join(prefix, 'bin'), { recursive: true });
    copyFileSync(process.execPath, join(prefix, 'bin/node'));
    // A prefix has no settings of its own, so npm is told where this machine’s are.
    const userconfig = execFileSync('npm', ['config', 'get', 'userconfig'], { cwd: ROOT, encoding: 'utf8' }).trim();
    const registry = execFileSync('npm', ['config', 'get', 'registry'], { cwd: ROOT, encoding: 'utf8' }).trim();
    const settings = [`--userconfig=${userconfig}`, `--registry=${registry}`];
    execFileSync('npm', ['install', '--silent', '--global', `--prefix=${prefix}`, ...settings, join(pack, tarball)], {
      cwd: work,
    });
  };
  beforeAll(async () => {
    machine = await Container.boot(tree, join(work, 'npm'), prepare);
  }, 200_000);
  afterAll(() => machine.end());

  test('install writes the unit, mends it when it is changed, and uninstall takes it away', async () => {
    const unit = `/etc/systemd/system/${UNIT}.service`;
    expect((await machine.run('netkvm query')).output).toBe('The service is not installed.\n');
    expect(await machine.output('netkvm install')).toMatch(new RegExp(`^wrote ${unit}\nenabled it\nstarted it\n`));
    expect(await query()).toMatchObject({ installed: 'here', definition: unit, current: true, enabled: true, state: 'running' });
    await machine.output(`echo '# changed' >>${unit}`);
    expect(await query()).toMatchObject({ current: false });
    expect(await machine.output('netkvm install')).toMatch(new RegExp(`^wrote ${unit}\nrestarted it\n`));
    expect(await machine.output('netkvm uninstall')).toBe(`stopped it\ndisabled it\nremoved ${unit}`);
    expect(await machine.output('netkvm uninstall')).toBe('nothing to do');
    expect((await machine.run('netkvm query')).code).toBe(5);
    expect(await traces()).not.toMatch(/^\/(etc|run)/m);
  });
});
