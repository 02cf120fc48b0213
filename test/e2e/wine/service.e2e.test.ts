// The service as win32 under Wine, end to end: the life cycle of a pair, and what stands in its way. The driver, INetCfg and
// the notifications are doubles; registry, SetupAPI, interface table and service manager are Wine’s.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Guest, MAC, Service, standby, vf } from './given.ts';
import { missing } from './lab.ts';

const lacks = missing();
/** What a smoke run leaves out: it takes long, or differs little from what is tried anyway. */
const isSmoke = process.env['NETKVM_WINE'] !== 'full';
let guest: Guest;
let service: Service | null = null;
beforeAll(async () => {
  if (lacks === null) guest = await Guest.start();
});
afterAll(() => guest?.stop());
beforeEach(() => guest?.reset());
afterEach(async ({ task }) => {
  if (service === null) return;
  if (task.result?.state === 'fail') console.log(service.tail(), service.stderr);
  await service.kill();
  service.forget();
  service = null;
  // What would crash the real driver.
  const { crashes } = await guest.report();
  if (crashes > 0) throw new Error(`the real driver would have crashed (${crashes})`);
});

type Options = ConstructorParameters<typeof Service>[1];
const start = (options?: Options): Service => (service = new Service(guest, options));
/** Tries it again until it holds. */
const until = (check: () => Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 200 });

const on = { ms_tcpip: true, ms_tcpip6: true, ms_server: true, ms_pacer: true, vioprot: true };
const alone = { ms_tcpip: false, ms_tcpip6: false, ms_server: false, ms_pacer: false, vioprot: true };
const without = ({ vioprot: _, ...rest }: typeof on) => rest;
/** What was said to the driver, on and off. */
const links = async (): Promise<string> => (await guest.report()).links.map((link) => (link.on ? 'on' : 'off')).join(' ');

const plugBoth = async (): Promise<void> => {
  await guest.setProtocol(true);
  await guest.plug(standby);
  await guest.plug(vf());
};
/** VIOPROT is there, and so are both cards; the service has put the pair on its primary. */
const onPrimary = async (options?: Options): Promise<Service> => {
  await plugBoth();
  const running = start(options);
  await running.is('onPrimary', 'primary');
  return running;
};

describe.skipIf(lacks !== null)('in Wine', () => {
  test('boot, migration to another place, and back: bound alone, then the link; the fallback in between', async () => {
    const running = await onPrimary();
    expect(running.acts).toEqual(['bindPrimary', 'releaseLink']);
    expect(await links()).toBe('on');
    expect(await guest.bindings(vf())).toEqual(alone);
    let from = running.lines.length;
    // The driver lets it go some time before its interface is gone: the standby is not held for it again.
    await guest.command({ op: 'unbind', index: guest.ifindex(vf()) });
    await running.is('fallback', 'standby', from);
    await guest.unplug(vf());
    expect(await links()).toBe('on');
    from = running.lines.length;
    await guest.plug(vf(1));
    await running.is('onPrimary', 'primary', from);
    // The standby was live: off, bound alone, on.
    expect(running.acts.slice(2)).toEqual(['holdLink', 'bindPrimary', 'releaseLink']);
    expect(await links()).toBe('on off on');
    expect(await guest.bindings(vf(1))).toEqual(alone);
    from = running.lines.length;
    await guest.unplug(vf(1));
    await running.is('fallback', 'standby', from);
    from = running.lines.length;
    // A cancelled migration: the first one returns as it was left, and what it had before is still what is owed.
    await guest.plug(vf());
    await running.is('onPrimary', 'primary', from);
    expect(running.acts.slice(5)).toEqual(['holdLink', 'releaseLink']);
    // The other one has left, and is given its bindings when it is there again.
    const { code, stdout } = await running.netkvm('restore', '--json', '--timeout', '3');
    expect([code, JSON.parse(stdout)]).toMatchObject([3, { owed: 2, missing: [expect.stringContaining('bindings')] }]);
    expect(await guest.bindings(vf())).toEqual(on);
    await guest.plug(vf(1));
    await until(async () => expect(await guest.bindings(vf(1))).toEqual(on));
  });

  test('boot without VIOPROT: held, released after the grace time; installed later, the primary carries', async () => {
    await guest.plug(standby);
    await guest.plug(vf());
    const running = start({ policy: 'grace_ms = 1500' });
    await running.is('awaitingPrimary', 'none');
    expect(await links()).toBe('');
    await running.is('fallback', 'standby');
    expect(await running.findings()).toContain('protocolMissing');
    expect(running.acts).toEqual(['releaseLink']);
    expect(await guest.bindings(vf())).toEqual(without(on));
    await guest.setProtocol(true);
    await running.is('onPrimary', 'primary');
    expect(running.acts).toEqual(['releaseLink', 'holdLink', 'bindPrimary', 'releaseLink']);
    expect(await guest.bindings(vf())).toEqual(alone);
  });

  test('VIOPROT uninstalled while bound: IPv4 and IPv6 of the standby pulsed, the primary’s own bindings back', async () => {
    const running = await onPrimary();
    const from = running.lines.length;
    await guest.setProtocol(false);
    await running.did('bindPrimary', 'releaseLink', 'giveBack', 'releaseLink');
    await running.is('fallback', 'standby', from);
    expect(await running.findings()).toContain('protocolMissing');
    expect(await guest.bindings(vf())).toEqual(without(on));
    expect(await guest.changes(standby)).toEqual({ ms_tcpip: 2, ms_tcpip6: 2 });
  });

  test('the primary loses its carrier: the standby takes over, until it is back', async () => {
    const running = await onPrimary();
    let from = running.lines.length;
    await guest.cable(vf(), false);
    await running.is('fallback', 'standby', from);
    expect(running.acts.slice(2)).toEqual(['unbindPrimary']);
    from = running.lines.length;
    await guest.cable(vf(), true);
    await running.is('onPrimary', 'primary', from);
  });

  test('another MTU: the link is never asked for while that primary is bound', async () => {
    await guest.setProtocol(true);
    await guest.plug(standby);
    await guest.plug(vf(), { mtu: 9000 });
    const running = start();
    await running.is('fallback', 'standby');
    expect(running.acts).toEqual(['unbindPrimary', 'releaseLink']);
    expect(await running.findings()).toContain('mtuMismatch');
    expect((await guest.bindings(vf()))['vioprot']).toBe(false);
  });

  test.skipIf(isSmoke)(
    'a second primary is left alone; when the driver of the standby restarts, the pair is whole again',
    async () => {
      const running = await onPrimary();
      await guest.plug(vf(1));
      // A finding that lasts is told by the next event.
      await until(async () => expect((await running.netkvm('log', 'export')).stdout).toContain('vf1'));
      await guest.cable(vf(1), false);
      await until(async () => expect(await running.findings()).toContain('secondPrimary'));
      expect(running.acts).toEqual(['bindPrimary', 'releaseLink']);
      await guest.unplug(vf(1));
      let from = running.lines.length;
      await guest.unplug(standby);
      await running.is('absent', 'none', from);
      from = running.lines.length;
      await guest.plug(standby);
      await running.is('onPrimary', 'primary', from);
    },
  );

  test.skipIf(isSmoke)('a second primary is adopted when the first leaves', async () => {
    const running = await onPrimary();
    await guest.plug(vf(1));
    await until(async () => expect((await running.netkvm('log', 'export')).stdout).toContain('vf1'));
    const from = running.lines.length;
    await guest.unplug(vf());
    await running.is('onPrimary', 'primary', from);
    expect(await guest.bindings(vf(1))).toEqual(alone);
    // The driver has ignored its first binding ("already present"), and looks at a new one only: that was made.
    expect(running.lines.slice(from).some((line) => line.event === 'decision' && line['kind'] === 'bindPrimary')).toBe(true);
  });

  test('parameters by stage: the MTU of a primary is made the standby’s before it is attached, and given back', async () => {
    await guest.setProtocol(true);
    await guest.plug(standby);
    await guest.plug(vf(), { mtu: 9000 });
    const key = `HKLM\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e972-e325-11ce-bfc1-08002be10318}\\${vf().driver}`;
    await guest.wine.run('reg', ['add', key, '/v', '*JumboPacket', '/t', 'REG_SZ', '/d', '9014', '/f']);
    const running = start({ pair: 'parameters = { mtu = "standby" }', doubles: true });
    await running.line((line) => line.event === 'decision' && line['kind'] === 'alignParameters');
    await until(async () => expect(await guest.restarts()).toBe(1));
    expect(running.acts).toEqual(['unbindPrimary', 'releaseLink']);
    expect(await guest.stored(vf(), '*JumboPacket')).toBe('1514');
    // What the restart of the device does: the driver reads its parameters anew.
    await guest.unplug(vf());
    await guest.plug(vf(), { mtu: 1500 });
    await running.is('onPrimary', 'primary');
    expect(running.acts).toEqual(['unbindPrimary', 'releaseLink', 'alignParameters', 'holdLink', 'bindPrimary', 'releaseLink']);
    expect(await guest.bindings(vf())).toEqual(alone);
    const { code, stderr } = await running.netkvm('restore', '--timeout', '20');
    expect([code, stderr]).toEqual([0, '']);
    expect(await guest.stored(vf(), '*JumboPacket')).toBe('9014');
    expect(await guest.bindings(vf())).toEqual(on);
    // It was in use: it is not restarted for it.
    expect(await guest.restarts()).toBe(1);
  });

  test.skipIf(isSmoke)('a parameter that the driver does not have is refused by name, and keeps no primary away', async () => {
    await plugBoth();
    const running = start({
      pair: 'parameters = { rxRing = 64, inf = { Nonesuch = "1", "*JumboPacket" = "9014" } }',
      doubles: true,
    });
    await running.is('onPrimary', 'primary');
    let from = running.lines.length;
    await guest.unplug(vf());
    await running.is('fallback', 'standby', from);
    from = running.lines.length;
    await guest.plug(vf());
    const refused = await running.line(({ event, result }) => event === 'outcome' && result === 'refused', from);
    expect(refused['reason']).toBe(
      'rxRing is no parameter of Windows: its drivers name their own (inf); the driver has no Nonesuch; *JumboPacket is a matter of the pair, not of the driver',
    );
    await running.is('onPrimary', 'primary', from);
    expect(await guest.restarts()).toBe(0);
  });

  test.skipIf(isSmoke)('the write lock is held: its holder is named, and when it is free the primary is bound', async () => {
    await plugBoth();
    await guest.script({ LockedBy: 'Network Connections' });
    const running = start();
    const outcome = await running.line(({ event, result }) => event === 'outcome' && result === 'failed');
    expect(outcome['reason']).toBe('the write lock is held by Network Connections');
    // It is not taken for a missing protocol.
    expect(await running.findings()).not.toContain('protocolMissing');
    await guest.script({ LockedBy: null });
    await until(async () => expect(await guest.bindings(vf())).toEqual(alone));
    await running.line(({ event, code }) => event === 'finding' && code === 'lockHeld');
  });

  test.skipIf(isSmoke)('access denied: refused and said so; the link is not held back for it', async () => {
    await plugBoth();
    await guest.script({ Deny: 1 });
    const running = start();
    const denied = await running.line(({ event, result }) => event === 'outcome' && result === 'refused');
    expect(denied['reason']).toMatch(/^access denied: AcquireWriteLock failed: .*0x80070005/);
    await running.did('releaseLink');
  });

  test.skipIf(isSmoke)('a reboot is required: refused and said so, and the standby carries', async () => {
    await plugBoth();
    await guest.ask({ op: 'bind', nic: vf(), protocol: 'vioprot', on: false });
    await guest.command({ op: 'unbind', index: guest.ifindex(vf()) });
    await guest.script({ FailApply: 0x4a020, NoNdis: 1 });
    const running = start();
    const refused = await running.line(({ event, result }) => event === 'outcome' && result === 'refused');
    expect(refused['reason']).toBe('reboot required: the bindings take effect after it');
    await running.is('fallback', 'standby');
  });

  test.skipIf(isSmoke)('INetCfg hangs: the call ends with its process, and the service lives', async () => {
    await plugBoth();
    await guest.script({ HangMs: 30_000 });
    const running = start();
    const outcome = await running.line(({ event, result }) => event === 'outcome' && result === 'failed');
    expect(outcome['reason']).toBe('timeout: INetCfg did not answer set in 12000 ms');
    await guest.script({ HangMs: null });
    await running.is('onPrimary', 'primary');
  });

  test('the administrator’s own settings are remembered over a kill and a restart, and given back exactly', async () => {
    await plugBoth();
    await guest.ask({ op: 'bind', nic: vf(), protocol: 'ms_server', on: false });
    await guest.ask({ op: 'bind', nic: vf(), protocol: 'ms_tcpip6', on: false });
    const first = start();
    await first.is('onPrimary', 'primary');
    await first.kill();
    await guest.unplug(vf());
    const second = start({ dir: first.dir });
    await second.is('fallback', 'standby');
    await guest.plug(vf());
    await second.is('onPrimary', 'primary');
    expect(await guest.bindings(vf())).toEqual(alone);
    expect(await second.stop()).toBe(0);
    // With no service running, the command itself is the log’s writer.
    const { code, stderr } = await second.netkvm('restore', '--timeout', '20');
    expect([code, stderr]).toEqual([0, '']);
    expect(await guest.bindings(vf())).toEqual({ ...on, ms_server: false, ms_tcpip6: false });
  });

  test.skipIf(isSmoke)('every COM reference is released, also where INetCfg refuses', async () => {
    await plugBoth();
    await guest.script({ FailEnable: 0x80004005 });
    const running = start();
    await running.line(({ event, result }) => event === 'outcome' && result === 'failed');
    await guest.script({ FailEnable: null });
    await running.is('onPrimary', 'primary');
    expect(await running.stop()).toBe(0);
    expect((await guest.report()).live).toBe(0);
  });

  test.skipIf(isSmoke)('NETKVMD does not open for a moment: nothing is unbound, and the pair stays where it is', async () => {
    const running = await onPrimary();
    const from = running.lines.length;
    await guest.command({ op: 'hide', a: 1 });
    const gap = await running.line(({ event }) => event === 'gap', from);
    expect(String(gap['reason'])).toContain('opening \\\\.\\NETKVMD failed');
    await guest.command({ op: 'hide', a: 0 });
    await guest.command({ op: 'odd', a: 3 });
    const odd = await running.line(({ event, reason }) => event === 'gap' && String(reason).includes('multiple'), from);
    expect(odd['reason']).toBe('NETKVMD answered 67 bytes, which is no multiple of the 64 of a record');
    await guest.command({ op: 'odd', a: 0 });
    expect(running.lines.slice(from).filter(({ event }) => event === 'transition' || event === 'decision')).toEqual([]);
    expect(await guest.bindings(vf())).toEqual(alone);
  });

  test.skipIf(isSmoke)('a storm of notifications, each on a thread of its own, is one hint', async () => {
    const running = await onPrimary({ storm: 600 });
    const from = running.lines.length;
    await guest.unplug(vf());
    await running.is('fallback', 'standby', from);
    await guest.plug(vf());
    await running.is('onPrimary', 'primary', from);
    expect(await running.stop()).toBe(0);
  });

  test('while the driver package’s own service runs, this one only observes', async () => {
    await guest.wine.run('sc', ['create', 'netkvmp', 'binPath=', 'C:\\windows\\system32\\spoolsv.exe']);
    await guest.wine.run('sc', ['start', 'netkvmp']);
    await plugBoth();
    const running = start();
    await running.line(({ event }) => event === 'watching');
    expect(await running.findings()).toContain('otherController');
    expect(running.lines.filter(({ event }) => event === 'decision')).toEqual([]);
    await guest.wine.run('sc', ['stop', 'netkvmp']);
    await running.is('onPrimary', 'primary');
    await guest.wine.run('sc', ['delete', 'netkvmp']);
  });

  test.skipIf(isSmoke)('status answers over the named pipe, and the service ends cleanly', async () => {
    const running = await onPrimary();
    const { code, stdout } = await running.netkvm('status');
    expect([code, stdout]).toEqual([0, expect.stringContaining(MAC)]);
    expect(await running.stop()).toBe(0);
    expect(running.lines.at(-1)?.event).toBe('stopped');
  });
});
