// A network manager of Debian 12 and a bond that takes its standby's place: the DHCP lease that it got is renewed over the
// standby and over the primary, nothing but files below /run is written, and after `netkvm restore` everything is as before. The
// server's log and `ip` are the judges.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { until } from '../qemu/vm.ts';
import { MAC } from './disk.ts';
import { BOND, LEASE, Machine, STANDBY } from './machine.ts';

export interface Way {
  readonly name: string;
  /** Lines of shell that put the standby under its care. */
  readonly begin: string;
  /** What the outcome of the takeover calls it. */
  readonly told: string;
  /** Prints what the manager says of the standby when all is as it should be. */
  readonly state: string;
  /** Whether systemd-networkd runs before and after: of itself, or not at all. */
  readonly networkd: RegExp;
}

/** Addresses and routes of the network that this is about, without what changes by itself. */
const standing = async (machine: Machine, link: string): Promise<string> =>
  machine.output(`ip -4 -o address show dev ${link} | sed 's/ *\\\\.*//;s/^[0-9]*: //'; ip route show | grep -w ${link} | sort`);

export const coexists = ({ name, begin, told, state, networkd }: Way): void => {
  describe(`with ${name}`, () => {
    let machine: Machine;
    let address = '';
    let before = '';
    beforeAll(async () => {
      machine = await Machine.boot(inject('disks').installed);
      await machine.output(begin);
      address = await machine.until('an address', `ip -4 -o address show dev ${STANDBY} | grep -o '10\\.77\\.0\\.[0-9]*/24'`);
      await machine.until('it is configured', state);
      before = await standing(machine, STANDBY);
      await machine.output('touch /run/marker');
    });
    afterAll(() => machine?.end());

    /** Waits until the server has renewed the lease twice more, and says for how much longer the address on `link` holds. */
    const renewed = async (link: string): Promise<number> => {
      const acks = (): string[] => machine.asked().filter((line) => line.startsWith('DHCPACK'));
      const from = acks().length;
      await until('two renewals', () => acks().length >= from + 2, { limit_ms: 8 * LEASE.renew_s * 1000, every_ms: 500 });
      for (const line of acks().slice(from)) expect(line).toContain(`${address.replace('/24', '')} ${MAC}`);
      expect(machine.asked().filter((line) => /NAK|RELEASE|DECLINE/.test(line))).toEqual([]);
      const shown = await machine.output(`ip -4 -o address show dev ${link} to ${address}`);
      return Number(/valid_lft (\d+)sec/.exec(shown)?.[1] ?? (shown.includes('forever') ? Infinity : 0));
    };

    test('a takeover tells it, and the lease is renewed on the bond', async () => {
      await machine.output('systemctl start netkvm-failover', 200_000);
      await machine.until('the bond has the address', `ip -4 -o address show dev ${BOND} | grep -F ${address}`);
      const outcome = await machine.until(
        'the outcome',
        `journalctl -u netkvm-failover -o cat --no-pager | grep 'outcome .* succeeded: '`,
      );
      expect(outcome).toContain(told);
      expect(outcome).not.toContain('not told');
      expect(await renewed(BOND)).toBeGreaterThan(LEASE.all_s - 3 * LEASE.renew_s);
      expect((await standing(machine, BOND)).replaceAll(BOND, STANDBY)).toContain('default via 10.77.0.1');
      expect(await machine.output(`ip -4 -o address show dev ${STANDBY} scope global`)).toBe('');
      expect(await machine.output(`ip -o link show ${STANDBY}`)).toContain(`master ${BOND}`);
    });

    test('and over a primary, which it leaves alone', async () => {
      await machine.plug();
      await machine.until('the primary carries', 'netkvm status | grep -w onPrimary');
      const primary = await machine.output(`ip -o link show master ${BOND} | sed 's/^[0-9]*: //;s/:.*//' | grep -v ${STANDBY}`);
      expect(await renewed(BOND)).toBeGreaterThan(LEASE.all_s - 3 * LEASE.renew_s);
      expect(await machine.output(`ip -4 -o address show dev ${primary} scope global`)).toBe('');
      expect(await machine.run('netkvm status')).toContain('onPrimary');
      expect(await machine.run('netkvm doctor')).toMatch(/members.*configured by nobody but their master/);
      // Not doubleAddresses: in a slow guest the standby's own client may add its address once more before it is told.
      expect(await machine.run('netkvm explain')).not.toMatch(/nameGrabbed|managerNotTold/);
    });

    test('nothing but files below /run has come of it', async () => {
      expect(await machine.output('findmnt -no FSTYPE /run')).toBe('tmpfs');
      const changed = `find /etc /usr /boot -newer /run/marker -type f -not -path '/etc/resolv.conf'`;
      expect(await machine.output(changed)).toBe('');
      const traces = `find / -xdev -name '*netkvm*' -newer /run/marker -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/*/netkvm-failover*' -not -path '*/systemd-private-*'`;
      expect(await machine.output(traces)).toBe('');
    });

    test('a service that was killed leaves it so, and restore gives everything back', async () => {
      await machine.unplug();
      await machine.until('the standby carries', 'netkvm status | grep -w fallback');
      await machine.output('systemctl kill -s KILL netkvm-failover; systemctl stop netkvm-failover');
      await machine.output('netkvm restore', 200_000);
      expect(await machine.run(`ip link show ${BOND}`)).toContain('does not exist');
      await machine.until('it is configured', state);
      await machine.until('the address is there', `ip -4 -o address show dev ${STANDBY} | grep -F ${address}`);
      expect(await renewed(STANDBY)).toBeGreaterThan(LEASE.all_s - 3 * LEASE.renew_s);
      expect(await standing(machine, STANDBY)).toBe(before);
      expect(
        await machine.output(
          `find /run -name '*netkvm*' -not -path '*netkvm-failover*' -not -path '/run/systemd/*/*dhclient-${STANDBY}*'`,
        ),
      ).toBe('');
      expect(await machine.run('systemctl is-active systemd-networkd')).toMatch(networkd);
    });
  });
};
