// Pseudonyms: what tells a machine from another is replaced, the same way throughout; what does not stays readable.
import { describe, expect, test } from 'vitest';
import { eventProblem } from '../../src/events/check.ts';
import type { Happening } from '../../src/events/catalogue.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { Pseudonyms } from '../../src/events/pseudonyms.ts';
import { around, checkpoint, decision, recorded, survey } from './log.samples.ts';

const told = (...happenings: Happening[]): RecordedEvent[] => {
  const pseudonyms = new Pseudonyms();
  const events = recorded(happenings.map((happening, index) => around(index + 1, happening)));
  return events.map((event) => {
    const result = pseudonyms.event(event);
    expect(eventProblem(result, result.seq)).toBeNull();
    return result;
  });
};
const dataOf = (...happenings: Happening[]): unknown[] => told(...happenings).map(({ data }) => data);

describe('MACs', () => {
  test('are locally administered, equal where they were equal, in order of appearance', () => {
    const pseudonyms = new Pseudonyms();
    const macs = ['52:54:00:11:22:33', '00:0c:29:aa:bb:cc', '52-54-00-11-22-33', '52:54:00:11:22:33'.toUpperCase()];
    expect(macs.map((mac) => pseudonyms.mac(mac))).toEqual([
      '02:00:00:00:00:01',
      '02:00:00:00:00:02',
      '02-00-00-00-00-01',
      '02:00:00:00:00:01',
    ]);
  });

  test('are numbered beyond one byte', () => {
    const pseudonyms = new Pseudonyms();
    for (let number = 1; number < 300; number += 1)
      pseudonyms.mac(`52:54:00:00:0${number >> 8}:${(number & 255).toString(16).padStart(2, '0')}`);
    expect(pseudonyms.mac('52:54:00:11:22:33')).toBe('02:00:00:00:01:2c');
  });

  test('that are no one’s stay; a multicast one stays multicast', () => {
    const pseudonyms = new Pseudonyms();
    expect(['00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01'].map((mac) => pseudonyms.mac(mac))).toEqual([
      '00:00:00:00:00:00',
      'ff:ff:ff:ff:ff:ff',
      '03:00:00:00:00:01',
    ]);
  });

  test('are found in every field, in names that are made of them, in text and in checkpoints', () => {
    const mac = '52:54:00:11:22:33';
    const data = dataOf(
      { type: 'driver.gone', data: { mac } },
      {
        type: 'adapter.changed',
        data: { ifindex: 2, changed: { name: 'enx525400112233', permMac: mac, device: `PCI\\VEN_8086\\525400FFFF112233` } },
      },
      { type: 'gap.seen', data: { source: 'rtnetlink', reason: `no room for ${mac} at 12:34:56, and 0000:00:03.0` } },
      { type: 'checkpoint.made', data: { state: { pairs: { [mac]: { mac, seen: [mac, 7, null] } } } } },
      { type: 'timer.elapsed', data: { pair: mac, timer: 'grace', armedBy: 1 } },
    );
    expect(JSON.stringify(data)).not.toMatch(/52:?54:?00/);
    expect(data).toEqual([
      { mac: '02:00:00:00:00:01' },
      { ifindex: 2, changed: { name: 'enx020000000001', permMac: '02:00:00:00:00:01', device: 'PCI\\VEN_8086\\1' } },
      { source: 'rtnetlink', reason: 'no room for 02:00:00:00:00:01 at 12:34:56, and 0000:00:03.0' },
      { state: { pairs: { '02:00:00:00:00:01': { mac: '02:00:00:00:00:01', seen: ['02:00:00:00:00:01', 7, null] } } } },
      { pair: '02:00:00:00:00:01', timer: 'grace', armedBy: 1 },
    ]);
  });
});

test('addresses stay in their networks, special ones stay what they are', () => {
  const pseudonyms = new Pseudonyms();
  const table = [
    ['192.0.2.7', '10.0.1.7'],
    ['192.0.2.9', '10.0.1.9'],
    ['198.51.100.7', '10.0.2.7'],
    ['127.0.0.1', '127.0.0.1'],
    ['169.254.3.4', '169.254.3.4'],
    ['224.0.0.1', '224.0.0.1'],
    ['2001:db8::5054:ff:fe11:2233', 'fd00:0:0:1::0:1'],
    ['2001:db8::1', 'fd00:0:0:1::0:2'],
    ['2001:0DB8:0:0:0:0:0:1', 'fd00:0:0:1::0:2'],
    ['2001:db8:0:1::1', 'fd00:0:0:2::0:2'],
    ['fe80::5054:ff:fe11:2233', 'fe80::0:1'],
    ['::1', '::1'],
    ['::', '::'],
    ['ff02::1', 'ff02::1'],
    ['::ffff:192.0.2.7', 'fd00:0:0:3::0:3'],
    ['::ffff:c000:207', 'fd00:0:0:3::0:3'],
    ['::ffff:192.0.2.8', 'fd00:0:0:3::0:4'],
    ['::ffff:192.1.2.7', 'fd00:0:0:3::0:5'],
    // One after the other, the groups of these read alike.
    ['2001:db8:1:b:1:b:1:1', 'fd00:0:0:4::0:6'],
    ['2001:db8:b:1:b:1:1:1', 'fd00:0:0:5::0:7'],
  ] as const;
  for (const [address, pseudonym] of table)
    expect([address, pseudonyms.address(address).toLowerCase()]).toEqual([address, pseudonym]);
});

test('addresses are found with their prefix length and in text; what only looks like one stays', () => {
  const [added, gap] = dataOf(
    { type: 'address.added', data: { ifindex: 2, address: '2001:db8::1/64' } },
    {
      type: 'gap.seen',
      data: { source: 'x', reason: '192.0.2.1/24, fe80::1%eth0; not 1.2.3, 10:20:30, a::b::c, 999.1.1.1 or 6.1.0-13' },
    },
  );
  expect(added).toEqual({ ifindex: 2, address: 'fd00:0:0:1::0:1/64' });
  expect(gap).toEqual({
    source: 'x',
    reason: '10.0.1.1/24, fe80::0:1%eth0; not 1.2.3, 10:20:30, a::b::c, 999.1.1.1 or 6.1.0-13',
  });
});

test('names that everybody has stay, others are replaced alike in adapters, policy and text', () => {
  const policy = {
    pairs: [{ mac: '52:54:00:11:22:33', standbyName: 'acme-lan', primaryName: 'acme-vf' }, { primaryName: 'eth1' }],
  };
  const [a, b, c, d] = dataOf(
    { type: 'adapter.changed', data: { ifindex: 2, changed: { name: 'acme-lan' } } },
    { type: 'adapter.changed', data: { ifindex: 3, changed: { name: 'enp0s3nsby' } } },
    { type: 'checkpoint.made', data: { state: policy } },
    { type: 'gap.seen', data: { source: 'x', reason: 'acme-lan is full' } },
  );
  expect(a).toMatchObject({ changed: { name: 'name1' } });
  expect(b).toMatchObject({ changed: { name: 'enp0s3nsby' } });
  expect(c).toEqual({
    state: { pairs: [{ mac: '02:00:00:00:00:01', standbyName: 'name1', primaryName: 'name2' }, { primaryName: 'eth1' }] },
  });
  expect(d).toMatchObject({ reason: 'name1 is full' });
});

test('host facts that thousands share stay, the rest does not; so for operators and VM generations', () => {
  const pseudonyms = new Pseudonyms();
  const header = pseudonyms.header({
    format: 'netkvm-recording',
    version: 1,
    schema: 1,
    machineVersion: 1,
    logId: 'log-1',
    bootId: 'boot-1',
    host: { kernel: '6.1.0-13-amd64', hostname: 'web01.example.org', serial: 'X1' },
    clocks: { mono_ns: '1', boot_ns: '1', wall_ns: '1' },
  });
  expect(header).toMatchObject({ pseudonyms: true, host: { kernel: '6.1.0-13-amd64', hostname: 'name1', serial: 'name2' } });
  const events = recorded([
    around(1, {
      type: 'service.started',
      data: {
        version: '0.1.0',
        machineVersion: 1,
        bootId: 'boot-1',
        vmGeneration: '6c7b-88',
        platform: 'linux',
        host: { hostname: 'web01.example.org', arch: 'x64' },
      },
    }),
    around(2, { type: 'operator.commanded', data: { command: 'survey', pair: null, by: 'alice' } }),
    around(3, { type: 'service.stopped', data: { reason: 'web01.example.org was told to stop by alice' } }),
    around(4, { type: 'protocol.installed', data: { name: 'VIOPROT' } }),
    around(5, { type: 'protocol.removed', data: { name: 'VIOPROT' } }),
    around(6, { type: 'controller.seen', data: { name: 'netkvmp', running: true } }),
  ]).map((event) => pseudonyms.event(event).data);
  expect(events).toEqual([
    {
      version: '0.1.0',
      machineVersion: 1,
      bootId: 'boot-1',
      vmGeneration: 'vm1',
      platform: 'linux',
      host: { hostname: 'name1', arch: 'x64' },
    },
    { command: 'survey', pair: null, by: 'name3' },
    { reason: 'name1 was told to stop by name3' },
    { name: 'VIOPROT' },
    { name: 'VIOPROT' },
    { name: 'netkvmp', running: true },
  ]);
});

test('what tells nothing stays as it was: numbers, drivers, PCI addresses, ids of decisions', () => {
  const pseudonyms = new Pseudonyms();
  for (const event of recorded([survey(1, 2), decision(2, 'd1.1', 1), checkpoint(3)])) {
    const expected = JSON.stringify(event).replaceAll('52:54:00:11:22:33', '02:00:00:00:00:01');
    expect(JSON.stringify(pseudonyms.event(event))).toBe(expected);
  }
});

describe('what is taken for what', () => {
  const textOf = (text: string): string =>
    (dataOf({ type: 'gap.seen', data: { source: 'x', reason: text } }) as { reason: string }[])[0]!.reason;

  test.each([
    ['52:54:00:11:22:33', '02:00:00:00:00:01'],
    ['52-54-00-11-22-33', '02-00-00-00-00-01'],
    ['(52:54:00:11:22:33)', '(02:00:00:00:00:01)'],
    ['52:54:00-11:22:33', '52:54:00-11:22:33'],
    ['52:54:00:11:22:33:44', '52:54:00:11:22:33:44'],
    ['52:54:00:11:22:333', '52:54:00:11:22:333'],
    ['152:54:00:11:22:33', '152:54:00:11:22:33'],
    ['a:52:54:00:11:22:33', 'a:52:54:00:11:22:33'],
    ['192.0.2.7', '10.0.1.7'],
    ['192.0.2.7:80', '192.0.2.7:80'],
    ['v192.0.2.7', 'v192.0.2.7'],
    ['192.0.2.7.8', '192.0.2.7.8'],
    ['0.0.0.0', '0.0.0.0'],
    ['223.255.255.255', '10.0.1.255'],
    ['255.255.255.255', '255.255.255.255'],
    ['169.253.1.2', '10.0.1.2'],
    ['168.254.1.2', '10.0.1.2'],
    ['126.0.0.1', '10.0.1.1'],
    ['1.2.3.256', '1.2.3.256'],
    ['1.2.3.255', '10.0.1.255'],
    ['feff::1', 'fd00:0:0:1::0:1'],
    ['ff00::1', 'ff00::1'],
    ['febf::1', 'fe80::0:1'],
    ['fec0::1', 'fd00:0:0:1::0:1'],
    ['::2', 'fd00:0:0:1::0:1'],
    ['1::', 'fd00:0:0:1::0:1'],
    ['1:2:3:4:5:6:7:8', 'fd00:0:0:1::0:1'],
    ['1:2:3:4:5:6:7::', 'fd00:0:0:1::0:1'],
    ['::2:3:4:5:6:7:8', 'fd00:0:0:1::0:1'],
    ['1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8:9'],
    ['1:2:3:4::5:6:7:8', '1:2:3:4::5:6:7:8'],
    ['1:2:3:4:5:6:192.0.2.7', 'fd00:0:0:1::0:1'],
    ['1::2::3', '1::2::3'],
  ])('%s becomes %s', (text, pseudonym) => expect(textOf(text)).toBe(pseudonym));

  test('networks and interfaces are numbered apart, beyond one byte, and to a limit', () => {
    const pseudonyms = new Pseudonyms();
    for (let network = 0; network < 65_535; network += 1) pseudonyms.address(`20.${network >> 8}.${network & 255}.1`);
    expect(pseudonyms.address('20.0.0.9')).toBe('10.0.1.9');
    expect(pseudonyms.address('20.1.0.9')).toBe('10.1.1.9');
    expect(pseudonyms.address('20.255.254.9')).toBe('10.255.255.9');
    expect(() => pseudonyms.address('21.0.0.1')).toThrow('more than 65535 different things to give pseudonyms to');
    for (let host = 1; host <= 65_537; host += 1)
      pseudonyms.address(`2001:db8::1:${host.toString(16)}`.replace(/:1:(.{5})$/, ':2:1'));
    expect(pseudonyms.address('2001:db8:0:7::9')).toMatch(/^fd00:0:0:2::1:[0-9a-f]+$/);
  });

  test.each([
    'lo',
    'eth0',
    'eno1',
    'enp0s3',
    'ens3',
    'bond0',
    'br0',
    'vlan100',
    'veth1a2b',
    'tap0',
    'tun0',
    'dummy0',
    'team0',
    'ib0',
    'wlp3s0',
    'wlan0',
    'virbr0',
    'docker0',
    'nic1',
    'enp1s0nsby',
    'Ethernet',
    'Ethernet 2',
    'Wi-Fi',
    'Wi-Fi 3',
  ])('the name %s is everybody’s', (name) =>
    expect(dataOf({ type: 'adapter.changed', data: { ifindex: 2, changed: { name } } })).toEqual([
      { ifindex: 2, changed: { name } },
    ]),
  );
  test.each(['eth', 'acme', 'xeth0', 'lo0x y', 'Ethernet2', 'Ethernet X', 'enx52540011223', 'enp0s3 x', 'wi-fix'])(
    'the name %s is not',
    (name) =>
      expect(dataOf({ type: 'adapter.changed', data: { ifindex: 2, changed: { name } } })).toEqual([
        { ifindex: 2, changed: { name: 'name1' } },
      ]),
  );

  test('names of a MAC stay names of its pseudonym', () => {
    const names = ['enx525400112233', 'wlx0c29aabbccdd', 'ENX525400112233'].map(
      (name) => dataOf({ type: 'adapter.changed', data: { ifindex: 2, changed: { name } } })[0],
    );
    expect(names).toMatchObject([
      { changed: { name: 'enx020000000001' } },
      { changed: { name: 'wlx020000000001' } },
      { changed: { name: 'ENX020000000001' } },
    ]);
  });

  test('short names are not looked for in prose, and a bond’s name is a name', () => {
    const [, , gap] = dataOf(
      { type: 'adapter.changed', data: { ifindex: 2, changed: { name: 'ab' } } },
      { type: 'adapter.changed', data: { ifindex: 3, changed: { name: 'abc' } } },
      { type: 'gap.seen', data: { source: 'abc', reason: 'ab abc abcd' } },
    );
    expect(gap).toEqual({ source: 'name2', reason: 'ab name2 name2d' });
    expect(dataOf({ type: 'checkpoint.made', data: { state: { bond: 'acme-bond', by: '', probe: ['192.0.2.1'] } } })).toEqual([
      { state: { bond: 'name1', by: '', probe: ['10.0.1.1'] } },
    ]);
  });
});
