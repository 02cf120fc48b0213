// What network managers are told about a bond, as far as it needs none of them: files, and the commands in their order, given
// by stand-ins on the PATH that write down how they were called. With the real ones: test/e2e/machine.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Coexistence, type Notes } from '../../src/adapters/linux/coexistence/coexistence.ts';
import { identityLines, networkOf } from '../../src/adapters/linux/coexistence/network-manager.ts';
import { networkFor } from '../../src/adapters/linux/coexistence/networkd.ts';

const TAKEN = { bond: 'fo112233', mac: '52:54:00:11:22:33', standby: { name: 'enp1s0', ifindex: 3 } };

let root: string;
let path: string | undefined;
let coexistence: Coexistence;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'coexistence-'));
  path = process.env['PATH'];
  process.env['PATH'] = `${join(root, 'bin')}:/usr/bin:/bin`;
  coexistence = new Coexistence(root);
});
afterEach(() => {
  process.env['PATH'] = path;
  rmSync(root, { recursive: true, force: true });
});
const write = (name: string, text: string): void => {
  mkdirSync(dirname(join(root, name)), { recursive: true });
  writeFileSync(join(root, name), text, { mode: 0o755 });
};
const read = (name: string): string => readFileSync(join(root, name), 'utf8');
const has = (name: string): boolean => existsSync(join(root, name));
/** A command that writes down its words, and does what `script` says. */
const standIn = (name: string, script = ''): void =>
  write(`bin/${name}`, `#!/bin/sh\necho "${name} $*" >>${root}/told\n${script}\n`);
/** The commands since the last time. */
const told = (): string[] => {
  const lines = has('told') ? read('told').trim().split('\n') : [];
  rmSync(join(root, 'told'), { force: true });
  return lines;
};

describe('systemd-networkd', () => {
  const NETWORK = 'run/systemd/network/00-netkvm-fo112233.network';
  const MEMBERS = 'run/systemd/network/00-netkvm-fo112233-members.network';
  const given = (): void => {
    write('etc/systemd/network/50-dhcp.network', '[Match]\nName=enp*\n[Network]\nDHCP=ipv4\n');
    write('run/systemd/network/50-dhcp.network.d/10-more.conf', '[Network]\nDNS=10.0.0.1\n');
    write('run/systemd/netif/links/3', 'ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/50-dhcp.network\n');
    write('run/systemd/netif/leases/3', 'ADDRESS=10.99.0.73\nCLIENTID=ff00000001000200\n');
  };

  test('the bond gets what the standby has, but for the match and the link, and the client id of its lease', () => {
    const text = networkFor({
      bond: 'fo112233',
      file: '/etc/systemd/network/50-dhcp.network',
      text: '# ours\n[Match]\nName=enp*\n\n[Link]\nMTUBytes=9000\n[Network]\nDHCP=yes\nDNS=10.0.0.1\n[Route]\nGateway=10.0.0.1\n',
      lease: 'ADDRESS=10.99.0.73\nCLIENTID=ff56504d9800020000ab113f13196d888b8ca0\n',
    });
    expect(text.split('\n').filter((line) => line !== '')).toEqual([
      '# Written by netkvm-failover from /etc/systemd/network/50-dhcp.network; removed when the bond is given back.',
      '[Match]',
      'Name=fo112233',
      '[Network]',
      'DHCP=yes',
      'DNS=10.0.0.1',
      '[Route]',
      'Gateway=10.0.0.1',
      '[Network]',
      'KeepConfiguration=yes',
      '[DHCPv4]',
      'IAID=1448103320',
      '[DHCPv6]',
      'IAID=1448103320',
    ]);
  });

  test('a static configuration and a client id of the MAC need no IAID', () => {
    for (const lease of ['', 'CLIENTID=01525400112233'])
      expect(networkFor({ bond: 'b', file: '/f', text: '[Network]\nAddress=10.0.0.2/24\n', lease })).not.toContain('IAID');
  });

  test('is told before, after and at the end, once each; its own folders stay as they are', async () => {
    standIn('networkctl');
    standIn('systemctl', 'echo active');
    given();
    const notes = await coexistence.look(TAKEN);
    expect(notes).toEqual({ networkd: {} });
    standIn('systemctl', 'echo inactive; exit 3');
    expect(await coexistence.look(TAKEN)).toEqual({});
    told();
    for (let twice = 0; twice < 2; twice += 1) {
      expect(await coexistence.tell('before', TAKEN, notes)).toEqual(['systemd-networkd was told']);
      expect(read(NETWORK)).toMatch(/DHCP=ipv4[\s\S]*DNS=10\.0\.0\.1/);
      expect(await coexistence.tell('after', TAKEN, notes)).toEqual(['systemd-networkd was told']);
      expect(read(MEMBERS)).toMatch(/\[Match\]\nMACAddress=52:54:00:11:22:33\nType=ether\n\n\[Link\]\nUnmanaged=yes\n/);
    }
    expect(told()).toEqual(['networkctl reload', 'networkctl reload']);
    // By then the standby is nobody's: what networkd says of it names no file any more.
    write('run/systemd/netif/links/3', 'ADMIN_STATE=unmanaged\n');
    expect(await coexistence.tell('release', TAKEN, notes)).toEqual(['systemd-networkd was told']);
    expect([has(NETWORK), has(MEMBERS)]).toEqual([false, false]);
    expect(told()).toEqual(['networkctl reload']);
  });

  test('at boot the lease may be written down a moment after the address is there', async () => {
    standIn('networkctl');
    standIn('systemctl', 'echo active');
    given();
    rmSync(join(root, 'run/systemd/netif/leases/3'));
    const looks = coexistence.look(TAKEN);
    setTimeout(() => write('run/systemd/netif/leases/3', 'CLIENTID=ff00000007000200\n'), 300);
    await coexistence.tell('before', TAKEN, await looks);
    expect(read(NETWORK)).toContain('[DHCPv4]\nIAID=7\n');
  });

  test('that does not answer is said, and nothing else', async () => {
    standIn('networkctl', 'echo "no bus" >&2; exit 1');
    given();
    expect(await coexistence.tell('before', TAKEN, { networkd: {} })).toEqual([
      'systemd-networkd was not told: networkctl reload: no bus',
    ]);
  });
});

describe('NetworkManager', () => {
  const DEVICE = [
    'GENERAL.STATE:100 (connected)',
    'GENERAL.CON-UUID:4bc31002-9044-3afe-ba0f-88e5239e06c9',
    'IP4.ROUTE[1]:dst = 10.99.0.0/24, nh = 0.0.0.0, mt = 100',
    'IP4.ROUTE[2]:dst = 0.0.0.0/0, nh = 10.99.0.1, mt = 101',
    'DHCP4.OPTION[1]:broadcast_address = 10.99.0.255',
    'DHCP4.OPTION[2]:dhcp_client_identifier = 01:52:54:00:11:22:33',
    'DHCP6.OPTION[1]:dhcp6_client_id = 00\\:04\\:c7\\:3f',
    'DHCP6.OPTION[3]:iaid = 00\\:11\\:22\\:33',
  ];
  const NOTE = {
    uuid: '4bc31002-9044-3afe-ba0f-88e5239e06c9',
    ipv4: 'auto',
    ipv6: 'auto',
    clientId: '01:52:54:00:11:22:33',
    metric: '101',
    iaid6: '00:11:22:33',
    duid6: '00:04:c7:3f',
    networkd: 'started',
  };
  const CONF = 'run/NetworkManager/conf.d/netkvm-fo112233.conf';
  const NETWORK = 'run/systemd/network/00-netkvm-fo112233.network';
  const FOREIGN = 'run/systemd/networkd.conf.d/netkvm.conf';
  const given = (device: readonly string[]): void => {
    write('run/NetworkManager/devices/1', '[device]\n');
    standIn(
      'nmcli',
      `case "$*" in *'device show'*) printf '%s\\n' '${device.join("' '")}';; *'connection show'*) printf 'ipv4.method:auto\\nipv6.method:auto\\n';; esac`,
    );
    standIn('systemctl', 'case "$2" in NetworkManager) echo active;; esac');
    write('sys/class/net/enp1s0/ifindex', '3\n');
  };

  test('how it gave the standby its addresses is noted', async () => {
    given(DEVICE);
    expect(await coexistence.look(TAKEN)).toEqual({ networkManager: NOTE });
  });

  test('at boot the address may be there a moment before it says that it is done', async () => {
    given(DEVICE);
    standIn(
      'nmcli',
      `case "$*" in *'device show'*) if [ -e ${root}/asked ]; then printf '%s\\n' '${DEVICE.join("' '")}'; else echo 'GENERAL.STATE:70 (connecting)'; echo 'GENERAL.CON-UUID:4bc31002'; fi; touch ${root}/asked;; *'connection show'*) printf 'ipv4.method:auto\\nipv6.method:auto\\n';; esac`,
    );
    expect(await coexistence.look(TAKEN)).toEqual({ networkManager: NOTE });
  });

  test('lets members and bond alone, while networkd keeps the lease and the names can still be looked up', async () => {
    given(DEVICE);
    write(
      'etc/resolv.conf',
      '# Generated by NetworkManager\nsearch lab example.org\nnameserver 10.99.0.1\nnameserver 10.99.0.2\n',
    );
    const notes: Notes = { networkManager: NOTE };
    await coexistence.tell('before', TAKEN, notes);
    expect(told()).toEqual(['nmcli general reload conf', 'systemctl start systemd-networkd']);
    expect(read(NETWORK)).toMatch(
      /DHCP=yes\nIPv6AcceptRA=yes\nKeepConfiguration=yes\n\n\[DHCPv4\]\nClientIdentifier=mac\nSendRelease=no\nRouteMetric=101\n\n\[DHCPv6\]\nIAID=1122867\nDUIDType=4\nDUIDRawData=c7:3f\nSendRelease=no\n/,
    );
    expect(read(FOREIGN)).toContain('ManageForeignRoutes=no');
    const names = '[global-dns]\nsearches=lab,example.org\n\n[global-dns-domain-*]\nservers=10.99.0.1,10.99.0.2\n';
    expect(read(CONF)).toBe(names);
    for (let twice = 0; twice < 2; twice += 1) {
      await coexistence.tell('after', TAKEN, notes);
      expect(read(CONF)).toBe(`${names}\n[keyfile]\nunmanaged-devices+=mac:52:54:00:11:22:33;interface-name:fo112233\n`);
    }
    expect(told()).toEqual([
      'nmcli device set enp1s0 managed no',
      'nmcli general reload conf',
      'nmcli device set enp1s0 managed no',
    ]);
    expect(await coexistence.tell('release', TAKEN, notes)).toEqual(['NetworkManager was told']);
    expect(told()).toEqual([
      'nmcli general reload conf',
      'systemctl stop systemd-networkd.service systemd-networkd.socket',
      'nmcli device set enp1s0 managed yes',
      `nmcli connection up uuid ${NOTE.uuid} ifname enp1s0`,
    ]);
    expect([has(CONF), has(NETWORK), has(FOREIGN)]).toEqual([false, false, false]);
  });

  test('that is there and does not answer is said', async () => {
    given(DEVICE);
    standIn('nmcli', 'echo "Error: no answer" >&2; exit 1');
    const notes = await coexistence.look(TAKEN);
    expect((await coexistence.tell('before', TAKEN, notes)).join()).toMatch(
      /^NetworkManager was not told: nmcli .*: Error: no answer$/,
    );
    standIn('systemctl', 'echo inactive; exit 3');
    expect(await coexistence.look(TAKEN)).toEqual({});
  });

  test('that leaves the standby alone is told of the next primary only', async () => {
    given(['GENERAL.STATE:10 (unmanaged)', 'GENERAL.CON-UUID:']);
    const notes = await coexistence.look(TAKEN);
    expect(notes).toEqual({ networkManager: {} });
    told();
    for (const step of ['before', 'after', 'release'] as const) await coexistence.tell(step, TAKEN, notes);
    expect(told()).toEqual(['nmcli general reload conf', 'nmcli general reload conf']);
  });

  test('static addresses need no networkd', () => {
    expect(networkOf('fo', { ...NOTE, ipv4: 'manual', ipv6: 'disabled' })).toBeNull();
    expect(networkOf('fo', { ...NOTE, ipv6: 'disabled' })).toContain('DHCP=ipv4\nIPv6AcceptRA=no\n');
    expect(networkOf('fo', { ...NOTE, ipv6: 'disabled' })).not.toContain('DHCPv6');
    expect(networkOf('fo', { ...NOTE, iaid6: '', duid6: '' })).toMatch(/\[DHCPv6\]\nSendRelease=no\n$/);
  });

  test('a client id of IAID and DUID is said in networkd’s words', () => {
    expect(identityLines('ff:00:11:22:33:00:04:aa:bb:cc')).toEqual(['IAID=1122867', 'DUIDType=4', 'DUIDRawData=aa:bb:cc']);
    for (const other of ['', '01:52:54:00:11:22:33', 'nonsense']) expect(identityLines(other)).toEqual(['ClientIdentifier=mac']);
  });
});

describe.each([
  { key: 'ifupdown', name: 'dhclient', option: '-4', client: 'dhclient', other: '-6' },
  { key: 'ifupdown6', name: 'dhclient -6', option: '-6', client: 'dhclient6', other: '-4' },
])('$name of ifupdown', ({ key, name, option, client, other }) => {
  const LEASES = `/var/lib/dhcp/${client}.enp1s0.leases`;
  const WORDS = `dhclient ${option} -v -i -pf /run/${client}.enp1s0.pid -lf ${LEASES} -I enp1s0`;
  const serve = (words: string): void => write('proc/77/cmdline', `${words.replaceAll(' ', '\0')}\0`);
  beforeEach(() => {
    standIn('systemd-run');
    standIn('systemctl');
  });

  test('is known by its words; another interface’s, another program’s and a hostile one are not it', async () => {
    for (const words of [WORDS, `${WORDS} -e IF_METRIC=7`]) {
      serve(words);
      expect(await coexistence.look(TAKEN)).toEqual({ [key]: { words, leases: LEASES } });
    }
    for (const words of [
      WORDS.replace(/enp1s0$/, 'enp9s0'),
      WORDS.replace('dhclient ', 'sleep '),
      WORDS.replace(option, other),
      WORDS.replace('-v', '$(id)'),
      WORDS.replace('/var/lib/dhcp/', '/tmp/'),
    ]) {
      serve(words);
      expect((await coexistence.look(TAKEN))[key], words).toBeUndefined();
    }
  });

  test('ends, and one for the bond goes on with the lease, as a unit of its own; and back', async () => {
    const notes = { [key]: { words: `${WORDS} -e IF_METRIC=7`, leases: LEASES } };
    serve(WORDS);
    standIn('systemctl', 'exit 3');
    expect(await coexistence.tell('release', TAKEN, notes)).toEqual([`${name} was told`]);
    expect(told()).toEqual([]);
    await coexistence.tell('after', TAKEN, notes);
    const there = told();
    const own = `/run/netkvm-${client}.fo112233.leases`;
    expect(there[1]).toContain(`systemd-run --quiet --collect --unit=netkvm-${client}-fo112233 `);
    // Once, and not when systemd starts the client again: by then the number may be another process's.
    expect(there.join('\n')).toContain(`[ -e ${own} ] || { kill -KILL 77; rm -f /run/${client}.enp1s0.pid; sed `);
    expect(there.at(-1)).toBe(
      `exec dhclient -d ${option} -v -i -pf /run/${client}.fo112233.pid -lf ${own} -I fo112233 -e IF_METRIC=7`,
    );
    standIn('systemctl', 'echo active');
    await coexistence.tell('after', TAKEN, notes);
    expect(told()).toEqual([`systemctl is-active netkvm-${client}-fo112233`]);
    write(own, '');
    await coexistence.tell('release', TAKEN, notes);
    const back = told();
    expect(back[0]).toBe(`systemctl stop netkvm-${client}-fo112233`);
    expect(back[1]).toContain(`--unit=netkvm-${client}-enp1s0 `);
    expect(back.at(-1)).toBe(`exec ${WORDS.replace('dhclient', 'dhclient -d')} -e IF_METRIC=7`);
  });
});

test('where there is no network manager, nothing is written and nobody is told', async () => {
  process.env['PATH'] = '/nowhere';
  const notes = await coexistence.look(TAKEN);
  expect(notes).toEqual({});
  for (const step of ['before', 'after', 'release'] as const) expect(await coexistence.tell(step, TAKEN, notes)).toEqual([]);
  expect(has('run')).toBe(false);
});
