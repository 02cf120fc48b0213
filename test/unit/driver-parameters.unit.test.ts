// What a primary's driver is given on Windows, and gets back, with the parameters of NETKVM's own INF files as a registry in
// memory. The same on Wine's registry, with the service around it: test/e2e/wine/service.e2e.
import { expect, test } from 'vitest';
import type { Surroundings } from '../../src/adapters/windows/driver-parameters.ts';
import { alignDriver, giveDriverBack, wishesFor } from '../../src/adapters/windows/driver-parameters.ts';
import { readInfParameter } from '../../src/adapters/windows/inf-parameter.ts';
import type { Ledger } from '../../src/adapters/platform.ts';
import type { Adapter, Obligation, Parameters } from '../../src/events/catalogue.ts';
import { INF_PARAMETERS } from '../fixtures/inf-parameters.ts';
import { adapter, MAC } from '../given.ts';

const DEVICE = 'PCI\\VEN_8086&DEV_1889\\1';
const primary = { ifindex: 7, mac: MAC, device: DEVICE, pci: null, arrival: 3 };

/** One VF: its registry, what a restart makes of it, and what is owed to it. */
class Vf {
  stored: Record<string, string> = {};
  now: Adapter | undefined = adapter(7, { bus: 'pci', device: DEVICE, mtu: 1500 });
  restarts = 0;
  inUse = false;
  /** What a restart comes to. */
  starts: 'well' | 'not' | 'withItsMtu' | 'afterReboot' = 'well';
  written: string[] = [];
  open: Obligation[] = [];
  settled: string[] = [];
  readonly around: Surroundings = {
    store: {
      devices: () =>
        Promise.resolve([
          {
            id: DEVICE.toLowerCase(),
            name: 'VF',
            description: 'VF',
            location: '',
            busNumber: 0,
            key: 'k',
            mac: MAC,
            mtu: null,
            master: null,
          },
        ]),
      parameters: () => Promise.resolve(INF_PARAMETERS.map((one) => readInfParameter(one, this.stored[one.name] ?? null))),
      write: (_, { name }, value) => {
        this.written.push(`${name}=${value}`);
        if (value === null) delete this.stored[name];
        else this.stored[name] = value;
        return Promise.resolve();
      },
    },
    adapter: (id) => (id === DEVICE ? this.now : undefined),
    isInUse: () => Promise.resolve(this.inUse),
    restart: () => {
      this.restarts += 1;
      const mtu = Number(this.stored['*JumboPacket'] ?? '1514') - 14;
      if (this.starts === 'not') this.now = undefined;
      else if (this.starts === 'well') this.now = adapter(7, { bus: 'pci', device: DEVICE, mtu });
      return Promise.resolve(this.starts === 'afterReboot');
    },
    wait: (holds) => Promise.resolve(holds()),
  };
  readonly ledger: Ledger = {
    open: this.open,
    owe: ({ kind, device, before }) => {
      const owed: Obligation = { id: `d${this.open.length}.0.${kind}`, pair: MAC, kind, device, before };
      this.open.push(owed);
      return Promise.resolve(owed);
    },
    settle: (id, how) => {
      this.settled.push(how);
      this.open.splice(
        this.open.findIndex((one) => one.id === id),
        1,
      );
    },
  };
  align(parameters: Parameters, target: typeof primary | null = primary) {
    return alignDriver({ primary: target, plan: { parameters } }, this.now ?? adapter(7), this.around, this.ledger);
  }
  giveBack(owed = this.open[0]!) {
    return giveDriverBack(owed, this.around, this.ledger);
  }
}
const done = { result: 'succeeded', reason: null, observed: false };
const already = { result: 'succeeded', reason: null, observed: true };

test('what is to be written, and what cannot be, by name', () => {
  const known = INF_PARAMETERS.map((one) => readInfParameter(one, null));
  const wishes = (parameters: Parameters, mtuNow = 1500, from = known) => {
    const found = wishesFor(parameters, from, mtuNow);
    return [found.wishes.map(({ parameter, value }) => `${parameter.name}=${value}`), found.cannot];
  };
  expect(wishes({ mtu: 9000, inf: { '*numrssqueues': '0x10' } })).toEqual([['*JumboPacket=9014', '*NumRssQueues=16'], []]);
  expect(wishes({ mtu: 1500 })).toEqual([[], []]);
  expect(wishes({ mtu: 9000 }, 1500, [])).toEqual([[], ['the driver has no *JumboPacket']]);
  expect(wishes({ mtu: 65_535 })).toEqual([[], [expect.stringContaining('*JumboPacket: "65549" is not a whole number')]]);
  expect(wishes({ rxRing: 5, features: {}, inf: { Nothing: '1', NetworkAddress: '525400112233', '*RSS': '7' } })).toEqual([
    [],
    [
      'rxRing is no parameter of Windows: its drivers name their own (inf)',
      'features is no parameter of Windows: its drivers name their own (inf)',
      'the driver has no Nothing',
      'NetworkAddress is a matter of the pair, not of the driver',
      '*RSS: "7" is not one of 0 (Disabled), 1 (Enabled)',
    ],
  ]);
});

test('written down, written, restarted, read back; and given back as it was', async () => {
  const vf = new Vf();
  vf.stored['*RSS'] = '0';
  expect(await vf.align({ mtu: 9000, inf: { '*RSS': '1' } })).toEqual(done);
  expect([vf.stored, vf.restarts]).toEqual([{ '*RSS': '1', '*JumboPacket': '9014' }, 1]);
  expect(vf.open).toMatchObject([{ kind: 'driverParameters', device: primary, before: { '*JumboPacket': null, '*RSS': '0' } }]);
  expect(await vf.align({ mtu: 9000, inf: { '*RSS': '1' } })).toEqual(already);
  expect(vf.open).toHaveLength(1);
  expect(await vf.giveBack()).toEqual(done);
  expect([vf.stored, vf.now?.mtu, vf.restarts, vf.settled]).toEqual([{ '*RSS': '0' }, 1500, 2, ['givenBack']]);
});

test('a value that is the driver’s default is not written', async () => {
  const vf = new Vf();
  expect(await vf.align({ inf: { '*RSS': '1' } })).toEqual(already);
  expect([vf.written, vf.restarts, vf.open]).toEqual([[], 0, []]);
});

test('a process that died between writing and restarting: the next one restarts', async () => {
  const vf = new Vf();
  vf.stored['*JumboPacket'] = '9014';
  expect(await vf.align({ mtu: 9000 })).toEqual(done);
  expect([vf.written, vf.restarts, vf.open, vf.now?.mtu]).toEqual([[], 1, [], 9000]);
});

test('a policy that has come to name more than was written down is refused until that is given back', async () => {
  const vf = new Vf();
  await vf.align({ mtu: 9000 });
  const wider = { mtu: 9000, inf: { VlanID: '7' } };
  expect(await vf.align(wider)).toMatchObject({
    result: 'refused',
    reason: 'VlanID: new in the policy since this device was changed; netkvm restore comes first',
  });
  expect([vf.stored, vf.restarts]).toEqual([{ '*JumboPacket': '9014' }, 1]);
  await vf.giveBack();
  expect(await vf.align(wider)).toEqual(done);
  expect(vf.open).toMatchObject([{ before: { '*JumboPacket': null, VlanID: null } }]);
});

test.each<[string, Vf['starts'], object]>([
  ['does not come back', 'not', { result: 'failed', reason: 'the device did not come back' }],
  ['keeps its MTU', 'withItsMtu', { result: 'failed', reason: 'restarted, its MTU is 1500, not 9000' }],
  [
    'needs a reboot',
    'afterReboot',
    { result: 'refused', reason: 'reboot required: what the registry has holds when the device starts again' },
  ],
])('a device that %s', async (_, starts, outcome) => {
  const vf = new Vf();
  vf.starts = starts;
  expect(await vf.align({ mtu: 9000 })).toMatchObject(outcome);
  expect(vf.open).toHaveLength(1);
});

test('what is refused by name does not keep the rest away', async () => {
  const vf = new Vf();
  expect(await vf.align({ mtu: 9000, txQueue: 5 })).toMatchObject({
    result: 'refused',
    reason: expect.stringContaining('txQueue'),
  });
  expect(vf.now?.mtu).toBe(9000);
  expect(await vf.align({ txQueue: 5 })).toMatchObject({ result: 'refused' });
  expect(vf.restarts).toBe(1);
});

test('a device that is in use gets its values back without a restart; one that is away later; what is torn never', async () => {
  const vf = new Vf();
  await vf.align({ mtu: 9000 });
  const owed = vf.open[0]!;
  vf.inUse = true;
  const left = { result: 'succeeded', reason: 'what the registry has holds when the device starts again', observed: false };
  expect(await vf.giveBack()).toEqual(left);
  expect([vf.stored, vf.restarts, vf.open]).toEqual([{}, 1, []]);
  expect(await vf.giveBack(owed)).toEqual(already);
  const none: Surroundings = { ...vf.around, store: { ...vf.around.store, devices: () => Promise.resolve([]) } };
  expect(await giveDriverBack(owed, none, vf.ledger)).toMatchObject({ result: 'void', reason: 'the device is away' });
  expect(
    await alignDriver({ primary, plan: { parameters: { mtu: 9000 } } }, adapter(7, { device: DEVICE }), none, vf.ledger),
  ).toMatchObject({ result: 'void', reason: 'the primary is gone' });
  expect(await vf.align({ mtu: 9000 }, null)).toMatchObject({ result: 'void' });
  for (const before of [null, 5, { '*RSS': 1 }])
    expect(await vf.giveBack({ ...owed, before })).toMatchObject({
      result: 'refused',
      reason: 'what is remembered cannot be read',
    });
});
