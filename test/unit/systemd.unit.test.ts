// The service under systemd, as far as it needs no systemd: the unit's text, what the service tells its manager over a real
// datagram socket, and when the watchdog is fed. The real one is in test/e2e/systemd.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { libc } from '../../src/adapters/linux/libc.ts';
import { openNotify } from '../../src/adapters/linux/notify.ts';
import { Systemd } from '../../src/adapters/linux/systemd.ts';
import {
  CAPABILITIES,
  DEFAULT_STATE_DIR,
  HOST_CAPABILITIES,
  hostUnitText,
  REALTIME_DROP_IN,
  RUN_FOLDERS,
  unitText,
} from '../../src/adapters/linux/systemd-unit.ts';
import { type Shown, statusText, Supervision } from '../../src/host/supervision.ts';
import { ENV, NETKVM } from './service.given.ts';

const PROGRAM = { node: '/usr/lib/n/node', script: '/usr/lib/n/netkvm.mjs' };
const lines = (text: string, name: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}=`))
    .map((line) => line.slice(name.length + 1));

describe('the unit', () => {
  test('starts the program, and allows exactly the capabilities of the list', () => {
    const text = unitText({ program: PROGRAM, stateDir: DEFAULT_STATE_DIR });
    expect(lines(text, 'ExecStart')).toEqual(['/usr/lib/n/node /usr/lib/n/netkvm.mjs run']);
    expect(lines(text, 'CapabilityBoundingSet')).toEqual([Object.keys(CAPABILITIES).join(' ')]);
    expect(lines(text, 'ProtectHome')).toEqual(['yes']);
    expect(lines(text, 'ReadWritePaths')).not.toContain(`-${DEFAULT_STATE_DIR}`);
    // systemd-networkd is no root: what it is to read must not be made under the mask of the service.
    expect(lines(text, 'ExecStartPre')).toEqual([`+/bin/mkdir -p -m 755 ${RUN_FOLDERS.join(' ')}`]);
  });

  test('quotes what systemd would read otherwise, and allows what lies elsewhere', () => {
    const program = { node: '/home/a user/node', script: '/opt/100%/$x/netkvm.mjs' };
    const text = unitText({ program, stateDir: '/srv/my log' });
    expect(lines(text, 'ExecStart')).toEqual(['"/home/a user/node" "/opt/100%%/$$x/netkvm.mjs" run']);
    expect(lines(text, 'ProtectHome')).toEqual(['read-only']);
    expect(lines(text, 'ReadWritePaths')).toContain('-"/srv/my log"');
  });
});

test('the unit of a hypervisor runs the other role, with what that needs, and not beside the guest’s', () => {
  const text = hostUnitText({ program: PROGRAM, stateDir: DEFAULT_STATE_DIR });
  expect(lines(text, 'ExecStart')).toEqual(['/usr/lib/n/node /usr/lib/n/netkvm.mjs host']);
  expect(lines(text, 'CapabilityBoundingSet')).toEqual([Object.keys(HOST_CAPABILITIES).join(' ')]);
  expect(lines(text, 'Conflicts')).toEqual(['netkvm-failover.service']);
  expect(lines(text, 'After')).toContain('netkvm-failover.service');
  expect([...lines(text, 'DeviceAllow'), ...lines(text, 'ReadWritePaths'), ...lines(text, 'ExecStartPre')]).toEqual([]);
  // Metrics on loopback, and the copy of the log on a server.
  expect(lines(text, 'RestrictAddressFamilies')).toEqual(['AF_NETLINK AF_UNIX AF_INET AF_INET6']);
  expect(text).not.toContain('CAP_NET_RAW');
});

test('the page about the service has the drop-in as it is meant', () => {
  expect(readFileSync(new URL('../../docs/service.md', import.meta.url), 'utf8')).toContain(REALTIME_DROP_IN);
});

describe('without what it takes', () => {
  test('no systemd is refused', () => {
    const open = () => new Systemd({ program: PROGRAM, stateDir: DEFAULT_STATE_DIR, booted: '/nowhere/systemd' });
    expect(open).toThrow(expect.objectContaining({ code: 'service.noManager', exit: 9 }));
  });

  test.runIf(process.geteuid?.() === 0).each(['install', 'i', 'uninstall', 'u'])(
    '%s by somebody else is not permitted',
    async (verb) => {
      const [code, said] = await new Promise<[unknown, string]>((resolve) => {
        execFile(process.execPath, [NETKVM, verb], { env: ENV, uid: 65_534, gid: 65_534 }, (error, _stdout, stderr) =>
          resolve([error?.code ?? 0, stderr]),
        );
      });
      expect(said).toMatch(/^netkvm: .*\[service\.notPermitted\] Run it as root; on Windows elevated\.\n$/);
      expect(code).toBe(8);
    },
  );
});

describe('what the service tells its manager', () => {
  let folder: string;
  let fd: number;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'notify-'));
  });
  afterEach(() => {
    libc().close(fd);
    rmSync(folder, { recursive: true, force: true });
  });

  /** A datagram socket of the Unix family at this path, as systemd has one. */
  const listen = (path: string): void => {
    const name = Buffer.from(path.replace(/^@/, '\0'));
    const address = new Uint8Array(2 + name.length + (path.startsWith('@') ? 0 : 1));
    address[0] = 1;
    address.set(name, 2);
    fd = libc().socket(1, 2 | 0o4000, 0);
    expect(libc().bind(fd, address, address.length)).toBe(0);
  };
  const receive = (): string | null => {
    const into = new Uint8Array(4096);
    const got = libc().recvfrom(fd, into, into.length, 0, new Uint8Array(128), new Uint32Array([128]));
    return got < 0 ? null : Buffer.from(into.subarray(0, got)).toString();
  };

  test.each(['a path', 'an abstract name'])('reaches %s', (kind) => {
    const path = kind === 'a path' ? join(folder, 'notify') : `@netkvm-test-${process.pid}`;
    listen(path);
    const notify = openNotify({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '20000000', WATCHDOG_PID: String(process.pid) });
    expect(notify?.watchdog_ms).toBe(20_000);
    expect(notify?.send('READY=1', 'STATUS=two\nlines')).toBe(true);
    expect(receive()).toBe('READY=1\nSTATUS=two lines');
    expect(receive()).toBeNull();
  });

  test('goes nowhere when nobody listens, and never fails', () => {
    fd = -1;
    expect(openNotify({})).toBeNull();
    expect(openNotify({ NOTIFY_SOCKET: 'relative' })).toBeNull();
    const notify = openNotify({ NOTIFY_SOCKET: join(folder, 'gone'), WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' });
    expect(notify?.watchdog_ms).toBeNull();
    expect(notify?.send('READY=1')).toBe(false);
  });
});

describe('supervision', () => {
  const pair = (n: number): Shown => ({ mac: `52:54:00:00:00:0${n}`, stage: 'onPrimary', datapath: 'primary' });

  test('says where the pairs are, and of many how many', () => {
    expect(statusText([])).toBe('watching; no pair');
    expect(statusText([pair(1)])).toBe('1 pair: 52:54:00:00:00:01 onPrimary (primary)');
    expect(statusText([1, 2, 3, 4, 5, 6].map(pair))).toMatch(/^6 pairs: .*:04 onPrimary \(primary\), and 2 more$/);
  });

  test('is ready once, tells changes only, and feeds the watchdog only while the loop turns', () => {
    vi.useFakeTimers();
    try {
      const told: string[] = [];
      let turns = 0;
      const supervision = new Supervision({ watchdog_ms: 20_000, send: (...all) => told.push(all.join(' ')) > 0 }, () => turns);
      vi.advanceTimersByTime(60_000);
      expect(told).toEqual([]);
      supervision.shows([]);
      supervision.shows([]);
      expect(told.splice(0)).toEqual(['READY=1 STATUS=watching; no pair']);
      for (let n = 0; n < 4; n += 1) {
        turns += 1;
        vi.advanceTimersByTime(5000);
      }
      expect(told.splice(0)).toEqual(Array(4).fill('WATCHDOG=1'));
      vi.advanceTimersByTime(60_000);
      expect(told).toEqual([]);
      turns += 1;
      vi.advanceTimersByTime(5000);
      expect(told.splice(0)).toEqual(['WATCHDOG=1']);
      supervision.ends();
      turns += 1;
      vi.advanceTimersByTime(60_000);
      expect(told).toEqual(['STOPPING=1 STATUS=ending']);
    } finally {
      vi.useRealTimers();
    }
  });
});
