// The Debian package in a virtual machine with Debian 12, its systemd and its kernel: installed on a bare system, supervised,
// acting from inside its fences, upgraded under a bond, there again after a reboot, removed. One case builds on what the one
// before it left.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { CONFIG } from './disk.ts';
import { BOND, Machine } from './machine.ts';

/** All that an upgrade must leave as it is. */
const SHOWN = `ip -d -o address; ip route; cat /sys/class/net/${BOND}/ifindex /sys/class/net/${BOND}/bonding/active_slave`;

describe('the Debian package', () => {
  let machine: Machine;
  /** Its name depends on how the machine plugs. */
  let standby = '';
  /** Of the boot before anything of ours was there. */
  let first = '';
  const show = (property: string): Promise<string> => machine.output(`systemctl show --value -p ${property} netkvm-failover`);
  const address = (): Promise<string> =>
    machine.output(
      `ip link set ${standby} up; ip address add 10.77.0.2/24 dev ${standby}; ip route add default via 10.77.0.1 dev ${standby}`,
    );
  beforeAll(async () => {
    machine = await Machine.boot(inject('disk'), { native: true });
    standby = await machine.output(`ip -o link | sed -n 's/^[0-9]*: \\(en[^:]*\\):.*/\\1/p'`);
    first = await machine.state();
    await address();
  });
  afterAll(() => machine?.end());

  test('installs on a bare system and is ready', async () => {
    await machine.output('dpkg -i /mnt/netkvm.deb', 300_000);
    expect(await show('ActiveState')).toBe('active');
    expect(await show('StatusText')).toContain('standalone');
    expect(await machine.output(`systemd-analyze security --threshold=25 --no-pager netkvm-failover.service | tail -1`)).toMatch(
      /exposure level .*: [0-2]\.[0-9] OK/,
    );
  });

  test('one that stands still is killed by the watchdog and started again', async () => {
    await machine.output(`kill -STOP ${await show('MainPID')}`);
    await machine.until('it was started again', `[ "$(systemctl show --value -p NRestarts netkvm-failover)" = 1 ]`);
    expect(await machine.until('it is ready', 'systemctl is-active netkvm-failover')).toBe('active');
  });

  test('takes over, hears of an unplug, and switches, all from inside its fences', async () => {
    await machine.output(`mkdir -p /etc/netkvm-failover; printf '%s' '${CONFIG}' >/etc/netkvm-failover/config.toml`);
    await machine.output('systemctl reload netkvm-failover');
    await machine.until('the bond has the address', `ip -4 -o address show dev ${BOND} | grep -F 10.77.0.2/24`);
    await machine.until('its outcome', `journalctl -u netkvm-failover -o cat --no-pager | grep 'outcome .* succeeded'`);
    await machine.plug();
    await machine.until('the primary carries', 'netkvm status | grep -w onPrimary');
    await machine.unplug();
    await machine.until('the standby carries', 'netkvm status | grep -w fallback');
    expect(await machine.output('netkvm log export')).toMatch(/"sign":"slotPowerOff"/);
    expect(await machine.run('netkvm doctor')).toMatch(/earlySigns.*can be read/);
    expect(await machine.run('netkvm explain')).not.toContain('effectFailed');
  });

  test('an upgrade touches neither bond nor addresses', async () => {
    const pid = await show('MainPID');
    await machine.output('(ip monitor address >/run/monitor 2>&1 & echo $! >/run/monitor.pid)');
    const before = await machine.output(SHOWN);
    await machine.output('dpkg -i /mnt/newer.deb', 300_000);
    await machine.output('netkvm wait --datapath standby --timeout 60', 100_000);
    expect(await machine.output(SHOWN)).toBe(before);
    expect(await machine.output('kill $(cat /run/monitor.pid); cat /run/monitor')).toBe('');
    expect(await show('MainPID')).not.toBe(pid);
    expect(await machine.output('dpkg-query -W netkvm-failover')).toContain('+newer');
  });

  test('is there again after a reboot, and takes over anew', async () => {
    await machine.reboot();
    await machine.until('it is ready', 'systemctl is-active netkvm-failover');
    expect(await machine.run(`ip link show ${BOND}`)).toContain('does not exist');
    await address();
    await machine.until('the bond has the address', `ip -4 -o address show dev ${BOND} | grep -F 10.77.0.2/24`);
    await machine.until('its outcome', `journalctl -b -u netkvm-failover -o cat --no-pager | grep 'outcome .* succeeded'`);
    expect(await show('NRestarts')).toBe('0');
    expect(await machine.run('netkvm log verify')).toContain('exit 0');
  });

  test('removing it gives everything back, and purging it leaves nothing', async () => {
    await machine.output('dpkg -r netkvm-failover', 300_000);
    expect(await machine.run(`ip link show ${BOND}`)).toContain('does not exist');
    expect(await machine.output(`ip -4 -o address show dev ${standby}`)).toContain('10.77.0.2/24');
    expect(await machine.output('ip route')).toContain(`default via 10.77.0.1 dev ${standby}`);
    await machine.output('dpkg -P netkvm-failover');
    const traces = `find / -xdev -name '*netkvm*' -not -path '/proc/*' -not -path '/mnt/*' -not -path '/etc/netkvm-failover*' -not -path '/var/lib/dpkg/*'`;
    expect(await machine.output(`${traces} | sort`)).toBe('');
  });

  test('and the next boot equals the one before it was there', async () => {
    await machine.reboot();
    expect(await machine.state()).toBe(first);
  });
});
