// `netkvm doctor` in a Windows that is put wrong and right again, and the finding that nothing returns, which needs the packet
// counters of Windows.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { EVENTS, Guest, MAC, Service, standby, vf } from './given.ts';
import { LAB, missing, NETKVM } from './lab.ts';

const lacks = missing();
const isSmoke = process.env['NETKVM_WINE'] !== 'full';
let guest: Guest;
let folder: string;
beforeAll(async () => {
  if (lacks !== null) return;
  guest = await Guest.start();
  folder = mkdtempSync(join(LAB, 'doctor-'));
});
afterAll(() => {
  guest?.stop();
  if (lacks === null) rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => guest?.reset());

interface Check {
  readonly name: string;
  readonly result: string;
  readonly text: string;
}
/** What the doctor finds, by name; `policy` in front of the pair's entry. */
const doctor = async (policy = 'effects = "on"', mac = MAC): Promise<Record<string, string>> => {
  const file = join(folder, 'config.toml');
  writeFileSync(
    file,
    `[service]\ncontrolSocket = '\\\\.\\pipe\\netkvm-doctor'\n[policy]\n${policy}\n[[pairs]]\nmac = "${mac}"\n`,
  );
  const words = ['doctor', '--json', '--config', file, '--state-dir', folder];
  const { code, stdout, stderr } = await guest.wine.node(['--import', EVENTS, NETKVM, ...words]);
  expect(stderr).toBe('');
  const { healthy, checks } = JSON.parse(stdout) as { healthy: boolean; checks: Check[] };
  expect(code).toBe(healthy ? 0 : 4);
  return Object.fromEntries(checks.map(({ name, result, text }) => [name, `${result}: ${text}`]));
};

describe.skipIf(lacks !== null)('doctor', () => {
  test('in a Windows without any virtio adapter nothing fails, and what is missing is named', async () => {
    expect(await doctor('effects = "off"')).toMatchObject({
      configuration: expect.stringMatching(/^ok: .*config\.toml is valid/),
      foreignCalls: 'ok: koffi is loaded and finds Win32',
      permissions: 'ok: this is an administrator',
      stateDir: expect.stringMatching(/^ok: .* can be written, [0-9]+ MiB free$/),
      log: expect.stringMatching(/^ok: .*netkvm\.db does not exist yet$/),
      service: expect.stringMatching(/^warning: no service answers at /),
      installed: expect.stringMatching(/^warning: no service of ours is installed/),
      original: 'ok: the driver package’s own service netkvmp is not installed',
      hints: 'ok: Windows tells of devices, interfaces and bindings that change',
      driver: 'warning: no network device is driven by NetKVM',
      protocol: expect.stringMatching(/^warning: VIOPROT is not installed/),
      bindings: 'ok: no primary is there',
    });
  });

  test('a pair: without VIOPROT, bound too much, of another MTU, under another controller, and well', async () => {
    await guest.plug(standby);
    await guest.plug(vf());
    expect(await doctor()).toMatchObject({
      driver: 'ok: Red Hat VirtIO Ethernet Adapter #3',
      controlDevice: `ok: ${MAC} aloneActive`,
      protocol: expect.stringMatching(/^failed: VIOPROT is not installed/),
      pairs: `ok: ${MAC}: primary vf0 (0000:00:0a.0)`,
      bindings: 'ok: without VIOPROT every primary keeps its own',
    });
    await guest.setProtocol(true);
    await guest.wine.run('sc', ['create', 'netkvmp', 'start=', 'auto', 'binPath=', 'C:\\windows\\system32\\spoolsv.exe']);
    expect(await doctor()).toMatchObject({
      protocol: 'ok: VIOPROT is installed',
      bindings: expect.stringMatching(/^warning: vf0 .* is bound to VIOPROT, and to .*ms_tcpip.* as well$/),
      original: 'warning: the driver package’s own service netkvmp is stopped, auto',
    });
    await guest.wine.run('sc', ['delete', 'netkvmp']);
    for (const protocol of ['ms_tcpip', 'ms_tcpip6', 'ms_server', 'ms_pacer'])
      await guest.ask({ op: 'bind', nic: vf(), protocol, on: false });
    expect(await doctor()).toMatchObject({ bindings: 'ok: bound to VIOPROT alone: vf0 (0000:00:0a.0)' });
    guest.wine.ip('link', 'set', 'vf0', 'mtu', '1400');
    expect((await doctor())['pairs']).toMatch(/^warning: vf0 .* has MTU 1400, virtio0 .* 1500/);
    expect((await doctor('effects = "on"', '52:54:00:00:00:77'))['pairs']).toMatch(
      /^warning: 52:54:00:00:00:77 is in \[\[pairs\]\]/,
    );
  });

  test.skipIf(isSmoke)('beside a service that runs it sees it and its log', async () => {
    await guest.setProtocol(true);
    await guest.plug(standby);
    await guest.plug(vf());
    const running = new Service(guest);
    try {
      await running.is('onPrimary', 'primary');
      const { stdout } = await running.netkvm('doctor', '--json');
      const checks = (JSON.parse(stdout) as { checks: Check[] }).checks.map(
        ({ name, result, text }) => `${name} ${result} ${text}`,
      );
      expect(checks).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^service ok process [0-9]+ answers at /),
          expect.stringMatching(/^log ok .*netkvm\.db: events 1 to [0-9]+, .*integrity checked$/),
          expect.stringMatching(/^bindings ok bound to VIOPROT alone/),
          `controlDevice ok ${MAC} boundActive`,
        ]),
      );
    } finally {
      await running.kill();
      running.forget();
    }
  });
});

test.skipIf(lacks !== null || isSmoke)(
  'frames leave over the primary and nothing comes back: the finding says so, until something does',
  async () => {
    await guest.setProtocol(true);
    await guest.plug(standby);
    await guest.plug(vf());
    // Each end sends datagrams to somebody whose address it knows, and who is not there. Nothing else is said on the wire.
    const network = { vf0: '198.51.100', vf0p: '203.0.113' } as const;
    for (const [device, net] of Object.entries(network)) {
      guest.wine.linux('sh', '-c', `echo 1 >/proc/sys/net/ipv6/conf/${device}/disable_ipv6`);
      guest.wine.ip('address', 'add', `${net}.1/24`, 'dev', device);
      guest.wine.ip('neighbour', 'add', `${net}.9`, 'lladdr', '02:00:00:00:00:09', 'dev', device);
    }
    const send = (from: keyof typeof network): void =>
      guest.wine.linux('bash', '-c', `for n in 1 2 3 4 5 6 7 8; do echo x >/dev/udp/${network[from]}.9/9; done`);
    const running = new Service(guest, { settings: 'survey_ms = 1000' });
    try {
      await running.is('onPrimary', 'primary');
      const sending = setInterval(send, 300, 'vf0');
      const silent = () => expect(running.findings()).resolves.toContain('nothingReturns');
      await vi.waitFor(silent, { timeout: 40_000, interval: 500 }).finally(() => clearInterval(sending));
      const { stdout } = await running.netkvm('status', '--json');
      expect(stdout).toMatch(/[0-9]+ packets left over vf0 .* and not one came back/);
      send('vf0p');
      const answered = () => expect(running.findings()).resolves.not.toContain('nothingReturns');
      await vi.waitFor(answered, { timeout: 20_000, interval: 500 });
    } finally {
      await running.kill();
      running.forget();
    }
  },
);
