// A network manager of Debian 12 and a bond that takes its standby's place: the leases that it got (DHCP, and DHCPv6) are renewed
// over the standby and over the primary, nothing but files below /run is written, after `netkvm restore` everything is as before,
// and a boot without the service equals the boot before it was installed. The server's log and the guest's own tools are the judges.
// One case builds on what the one before it left.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { until } from '../qemu/vm.ts';
import { CONFIG, MAC } from './disk.ts';
import { BOND, LEASE, Machine, STANDBY } from './machine.ts';

export interface Way {
  readonly name: string;
  /** Lines of shell that put the standby under its care, on a disk that has not booted yet. */
  readonly begin: string;
  /** What the outcome of a takeover calls it. */
  readonly told: readonly string[];
  /** Succeeds when the manager says that all is well with the standby. */
  readonly state: string;
  /** Whether the bond goes on with the lease of DHCPv6, too, or gets another. */
  readonly keepsSix: boolean;
  /** Whether systemd-networkd runs before and after: of itself, or not at all. */
  readonly networkd: RegExp;
}

export const coexists = ({ name, begin, told, state, keepsSix, networkd }: Way): void => {
  describe(`with ${name}`, () => {
    let machine: Machine;
    /** Of the boot before anything of ours was there. */
    let first = '';
    let before = '';
    /** The leased addresses, each with its length. */
    let four = '';
    let six = '';
    /** How much the server had heard when this boot was over: whoever goes down may give its leases up. */
    let heard = 0;

    const has = (link: string, address: string): Promise<string> =>
      machine.until(`${address} on ${link}`, `ip -o address show dev ${link} | grep -F ${address}`);
    const leased = (link: string, family: 4 | 6): Promise<string> =>
      machine.until(
        `an address of IPv${family} on ${link}`,
        `ip -${family} -o address show dev ${link} scope global | grep -m 1 -oE '(10.77.0|fd00:77:).[0-9a-f.:]*/[0-9]+'`,
      );
    /** Addresses and routes of a link, without what changes by itself. */
    const standing = (link: string): Promise<string> =>
      machine.output(
        `ip -o address show dev ${link} scope global | sed 's/ *[\\].*//;s/^[0-9]*: //'; ip route show | grep -w ${link} | sort; ip -6 route show dev ${link} | sed 's/ expires [0-9]*sec//' | sort`,
      );
    const lines = (kind: string): string[] => machine.asked().filter((line) => line.startsWith(kind));
    /** Waits until the client has put what the server granted on the link: the address holds for so long again. */
    const holdsFor = (link: string, address: string, seconds: number): Promise<string> =>
      machine.until(
        `${address} on ${link} holds for more than ${seconds} s`,
        `left=$(ip -o address show dev ${link} to ${address} | sed -n 's/.*valid_lft \\([0-9a-z]*\\) .*/\\1/p'); [ "$left" = forever ] || [ "\${left%sec}" -gt ${seconds} ]`,
        20_000,
      );
    /** Waits until the server has renewed the lease so many times more, each time to the pair's MAC. */
    const renewed = async (kind: string, times: number, limit_s: number): Promise<void> => {
      const from = lines(kind).length;
      await until(`${kind}, ${times} times`, () => lines(kind).length >= from + times, {
        limit_ms: limit_s * 1000,
        every_ms: 500,
      });
      const ours = machine
        .asked()
        .slice(heard)
        .filter((line) => [four, six].some((one) => line.includes(` ${one.replace(/\/.*/, '')} `)));
      expect(ours.filter((line) => /NAK|RELEASE|DECLINE/.test(line))).toEqual([]);
    };
    const renewedOn = async (link: string): Promise<void> => {
      await renewed(`DHCPACK(br0) ${four.replace(/\/.*/, '')} ${MAC}`, 2, 8 * LEASE.renew_s);
      await holdsFor(link, four, LEASE.all_s - 3 * LEASE.renew_s);
    };
    const renewed6On = async (link: string): Promise<void> => {
      await renewed('DHCPRENEW(br0) ', 1, LEASE.all_s);
      await holdsFor(link, six, LEASE.all_s / 2);
    };
    const reboot = async (): Promise<void> => {
      await machine.reboot();
      heard = machine.asked().length;
    };
    const comesTo = (stage: 'onPrimary' | 'fallback'): Promise<string> =>
      machine.until(stage, `netkvm status | grep -w ${stage}`, 200_000);
    const takenOver = async (): Promise<void> => {
      const outcome = await machine.until(
        'the outcome of the takeover',
        `journalctl -b -u netkvm-failover -o cat --no-pager | grep 'outcome .* succeeded: '`,
        200_000,
      );
      for (const one of told) expect(outcome).toContain(`${one} was told`);
      expect(outcome).not.toContain('not told');
    };
    const membersAreLeftAlone = async (): Promise<void> => {
      expect(await machine.output(`ip -o link show ${STANDBY}`)).toContain(`master ${BOND}`);
      const members = (await machine.output(`ip -o link show master ${BOND} | sed 's/^[0-9]*: //;s/:.*//'`)).split('\n');
      for (const member of members)
        expect(await machine.output(`ip -o address show dev ${member} scope global`), member).toBe('');
      expect(await machine.run('netkvm doctor')).toMatch(/members.*configured by nobody but their master/);
      // Not doubleAddresses: in a slow guest the standby's own client may add its address once more before it is told.
      expect(await machine.run('netkvm explain')).not.toMatch(/nameGrabbed|managerNotTold/);
    };

    beforeAll(async () => {
      machine = await Machine.boot(inject('disk'), { begin });
      await machine.until('it is configured', state);
      [four, six] = [await leased(STANDBY, 4), await leased(STANDBY, 6)];
      first = await machine.state();
      before = await standing(STANDBY);
      expect(before).toContain('default via 10.77.0.1');
    });
    afterAll(() => machine?.end());

    test('a takeover tells it, and the lease is renewed on the bond', async () => {
      await machine.output(`mkdir /etc/netkvm-failover; printf '%s' '${CONFIG}' >/etc/netkvm-failover/config.toml`);
      await machine.output('dpkg -i /mnt/newer.deb', 300_000);
      await takenOver();
      for (const address of [four, six]) await has(BOND, address);
      await machine.output('touch /run/marker');
      await renewedOn(BOND);
      expect((await standing(BOND)).replaceAll(BOND, STANDBY)).toContain('default via 10.77.0.1');
      await membersAreLeftAlone();
    });

    test('and over a primary, which it leaves alone', async () => {
      await machine.plug();
      await comesTo('onPrimary');
      if (keepsSix) await renewed6On(BOND);
      await renewedOn(BOND);
      expect(await machine.output('netkvm status')).toContain('onPrimary');
      await membersAreLeftAlone();
    });

    test('a service that was killed leaves it so, and restore gives everything back', async () => {
      await machine.unplug();
      await comesTo('fallback');
      await machine.output('systemctl kill -s KILL netkvm-failover; systemctl stop netkvm-failover');
      await machine.output('netkvm restore', 200_000);
      expect(await machine.run(`ip link show ${BOND}`)).toContain('does not exist');
      await machine.until('it is configured', state);
      for (const address of [four, six]) await has(STANDBY, address);
      await renewedOn(STANDBY);
      expect(await standing(STANDBY)).toBe(before);
      const left = `find /run -name '*netkvm*' -not -path '*netkvm-failover*' -not -path '/run/systemd/*/*dhclient*-${STANDBY}*'`;
      expect(await machine.output(left)).toBe('');
      expect(await machine.run('systemctl is-active systemd-networkd')).toMatch(networkd);
    });

    test('nothing but files below /run has come of it', async () => {
      expect(await machine.output('findmnt -no FSTYPE /run')).toBe('tmpfs');
      const changed = `find /etc /usr /boot -newer /run/marker -type f -not -path '/etc/resolv.conf'`;
      expect(await machine.output(changed)).toBe('');
      const traces = `find / -xdev -name '*netkvm*' -newer /run/marker -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/*/netkvm-failover*' -not -path '*/systemd-private-*'`;
      expect(await machine.output(traces)).toBe('');
    });

    test('a boot with the service and a primary ends with the lease on the bond', async () => {
      await machine.plug();
      await reboot();
      await takenOver();
      // Not always the same: both members have asked, and the server knows them by one MAC.
      [four, six] = [await leased(BOND, 4), await leased(BOND, 6)];
      await comesTo('onPrimary');
      await renewedOn(BOND);
      expect(await standing(BOND)).toContain('default via 10.77.0.1');
      await membersAreLeftAlone();
    });

    test('a boot without the service equals the boot before it was installed', async () => {
      await machine.unplug();
      await comesTo('fallback');
      await machine.output('systemctl disable netkvm-failover');
      await reboot();
      await machine.until('it is configured', state);
      for (const family of [4, 6] as const) await leased(STANDBY, family);
      expect(await machine.state()).toBe(first);
      expect(await machine.output(`find /run -name '*netkvm*'`)).toBe('');
    });
  });
};
