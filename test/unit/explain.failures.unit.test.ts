// The failures that the field knows, each with a recording that shows it, and what `netkvm explain` says of it. Real captures
// where there are any; the others are recorded by the real service in a simulated guest; a few, whose signs the simulation
// does not give, are told by hand. Each says which.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LEVELS, type Rates } from '../../src/adapters/simulated/faults.ts';
import type { Action, Script } from '../../src/adapters/simulated/script.ts';
import type { Card } from '../../src/adapters/simulated/kernel.ts';
import type { Happening } from '../../src/events/catalogue.ts';
import { runCli } from '../../src/host/cli.ts';
import { FINDINGS, type FindingCode } from '../../src/machines/reasons.ts';
import { Story } from '../../src/machines/story.ts';
import { type Explanation, explainPair } from '../../replay/explain.ts';
import type { Report } from '../../replay/report.ts';
import { MAC, appeared, changed, trio } from '../given.ts';
import { RECORDINGS } from '../recordings.ts';
import { Run } from '../simulation/harness.ts';
import { record } from '../simulation/simulate.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-explain-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const netkvm = async (...words: string[]): Promise<string> => {
  let text = '';
  const stream = { write: (more: string) => (text += more) };
  const io = { stdin: process.stdin, stdout: stream, stderr: stream } as unknown as Parameters<typeof runCli>[1];
  expect(await runCli(words, io), text).toBe(0);
  return text;
};

interface Told {
  readonly pair: Explanation;
  readonly text: string;
  readonly finding: Report['findings'][number];
}

/** What explain says of a file while the first finding with this code held, or when it had just ended, or at the end. */
const explained = async (path: string, code: FindingCode, when: 'held' | 'over' | 'end' = 'held'): Promise<Told> => {
  const { findings } = JSON.parse(await netkvm('replay', path, '--json')) as Report;
  const finding = findings.find((one) => one.code === code);
  if (finding === undefined) throw new Error(`no ${code} among ${findings.map((one) => one.code).join(', ')}`);
  const { seq, until_seq } = finding;
  const last = when === 'end' || until_seq === null ? 1e9 : when === 'over' || until_seq === seq ? until_seq : until_seq - 1;
  const { pairs } = JSON.parse(await netkvm('explain', path, '--json', '--at', String(last))) as { pairs: Explanation[] };
  return { pair: pairs[0] as Explanation, text: await netkvm('explain', path, '--at', String(last)), finding };
};

/** That the finding is among the pair's, in words, with cause and cure. */
const isShown = ({ pair, text, finding }: Told, code: FindingCode): boolean => {
  const shown = pair.findings.find((one) => one.code === code);
  const { severity, cause, cure } = FINDINGS[code];
  const complete = shown?.severity === severity && shown.cause === cause && shown.cure === cure && finding.severity === severity;
  return complete && text.includes(`${severity} ${code}: `);
};

const at = (at_ms: number, what: Action['what']): Action => ({ at_ms, what });
const nic = (over: Partial<Card> = {}): Card => ({
  kind: 'virtio',
  address: '0000:01:00.0',
  mac: MAC,
  standby: true,
  mtu: 1500,
  mtuMax: 9000,
  carrierDelay_ms: 0,
  ptp: false,
  driver: true,
  ...over,
});
const vf = (over: Partial<Card> = {}): Card =>
  nic({ kind: 'vf', address: '0000:02:00.0', standby: false, carrierDelay_ms: 50, ptp: true, ...over });
const simulated = async (name: string, script: Partial<Script> & Pick<Script, 'world' | 'actions'>): Promise<string> => {
  const whole: Script = { rates: LEVELS['none'] as Rates, effects: 'on', pairs: [MAC], checkpointEvents: 1_000_000, ...script };
  const result = await new Run(whole, 1).run();
  expect(result.violations).toEqual([]);
  return record(result, name, 1, dir);
};
const windows = [at(100, { do: 'add', id: 'standby', card: nic() })];
const kernel = [...windows, at(1700, { do: 'masterUp', id: 'standby', on: true })];

/** By hand: a story of happenings at times in ms. */
const told = (...happenings: readonly (readonly [ms: number, happening: Happening])[]): Told['pair'] => {
  const story = new Story();
  for (const [index, [ms, happening]] of happenings.entries())
    story.tell({ ...happening, seq: index + 1, mono_ns: `${ms * 1e6}` });
  story.history.end();
  const [pair] = story.guest.pairs.values();
  if (pair === undefined) throw new Error('no pair');
  return explainPair(pair, story);
};

describe('real captures', () => {
  const raw = (name: string): string => join(RECORDINGS, 'raw', name, 'guest.jsonl');

  test('a second VF with the pair’s MAC', async () =>
    expect(isShown(await explained(raw('i-two-same-mac-vfs'), 'secondPrimary'), 'secondPrimary')).toBe(true));

  test('an inbound hole', async () => {
    const one = await explained(raw('b-migration'), 'inboundHole', 'over');
    expect(isShown(one, 'inboundHole')).toBe(true);
    expect(one.pair.findings[0]).toMatchObject({ lasts: false, text: expect.stringContaining('for 2257 ms: eth2') as string });
  });

  test('a function with another MAC in place of a primary that never was', async () => {
    const one = await explained(raw('e-vf-different-mac'), 'foreignMac');
    expect(isShown(one, 'foreignMac')).toBe(true);
    expect(one.pair.missing).toEqual([`a primary: a network function with MAC ${MAC}`]);
  });
});

describe('recorded in a simulated guest', () => {
  test('MTU mismatch', async () => {
    const path = await simulated('mtu', {
      world: { system: 'windows' },
      actions: [...windows, at(1000, { do: 'add', id: 'primary', card: vf({ mtu: 9000 }) })],
    });
    const one = await explained(path, 'mtuMismatch');
    expect(isShown(one, 'mtuMismatch')).toBe(true);
    expect(one.pair).toMatchObject({ stage: 'fallback', because: 'primary.incompatible' });
    expect(one.pair.missing[0]).toBe('one MTU: Ethernet 12 has 9000, the pair 1500');
    expect(one.text).toContain(`  What to do:\n    - ${FINDINGS.mtuMismatch.cure}`);
  });

  test('the wrong MAC after a cancelled migration', async () => {
    const path = await simulated('mac', {
      world: { system: 'linux' },
      effects: 'off',
      actions: [
        ...kernel,
        at(1000, { do: 'add', id: 'primary', card: vf() }),
        at(5000, { do: 'remove', id: 'primary' }),
        // Given back by the cancelled migration, while the host still has the VF's MAC parked.
        at(6000, { do: 'add', id: 'parked', card: vf({ mac: '52:54:00:99:99:99' }) }),
      ],
    });
    const one = await explained(path, 'wrongMac');
    expect(isShown(one, 'wrongMac')).toBe(true);
    expect(one.finding.text).toMatch(/\(0000:02:00\.0\) is where the primary was, but has MAC 52:54:00:99:99:99, and it lasts/);
    expect(one.pair.findings.map(({ code }) => code)).not.toContain('foreignMac');
    expect(one.pair.findings.map(({ code }) => code)).toContain('primaryMissing');
  });

  test('no driver', async () => {
    const path = await simulated('driver', {
      world: { system: 'linux' },
      effects: 'off',
      actions: [...kernel, at(3000, { do: 'add', id: 'primary', card: vf({ driver: false }) }), at(30_000, { do: 'announce' })],
    });
    expect(isShown(await explained(path, 'noAdapter'), 'noAdapter')).toBe(true);
  });

  test('a primary that was said to leave and does not', async () => {
    const path = await simulated('sign', {
      world: { system: 'linux' },
      effects: 'off',
      actions: [
        ...kernel,
        at(1000, { do: 'add', id: 'primary', card: vf() }),
        at(5000, { do: 'stick', id: 'primary', on: true }),
        at(6000, { do: 'sign', id: 'primary' }),
        at(6010, { do: 'remove', id: 'primary' }),
      ],
    });
    const one = await explained(path, 'unplugNotDone');
    expect(isShown(one, 'unplugNotDone')).toBe(true);
    expect(one.finding.text).toMatch(/was said to leave \(at \d+\), and is still there 10\.0 s later/);
  });

  test('a primary that left and did not come back', async () => {
    const path = await simulated('missing', {
      world: { system: 'linux' },
      effects: 'off',
      actions: [
        ...kernel,
        at(1000, { do: 'add', id: 'primary', card: vf() }),
        at(5000, { do: 'migrate', how: { ends: 'completes', takes_ms: 500, downtime_ms: 20, primary: null, plugAfter_ms: 0 } }),
      ],
    });
    const one = await explained(path, 'primaryMissing');
    expect(isShown(one, 'primaryMissing')).toBe(true);
    expect(one.pair.missing).toEqual([`a primary: a network function with MAC ${MAC}`]);
  });

  test('VIOPROT missing', async () => {
    const path = await simulated('vioprot', {
      world: { system: 'windows', windows: { withoutProtocol: true } },
      actions: [...windows, at(1000, { do: 'add', id: 'primary', card: vf() })],
    });
    const one = await explained(path, 'protocolMissing');
    expect(isShown(one, 'protocolMissing')).toBe(true);
    expect(one.pair.missing).toContain('the failover protocol (VIOPROT)');
  });

  test('a lock that another program holds: what was tried, and that it is', async () => {
    const path = await simulated('lock', {
      world: { system: 'windows' },
      actions: [
        ...windows,
        at(500, { do: 'lock', by: 'Network Connections' }),
        at(1000, { do: 'add', id: 'primary', card: vf() }),
        at(60_000, { do: 'announce' }),
      ],
    });
    const one = await explained(path, 'lockHeld');
    expect(isShown(one, 'lockHeld')).toBe(true);
    expect(one.pair.tried).toContainEqual(
      expect.objectContaining({
        kind: 'bindPrimary',
        result: 'failed',
        reason: 'the write lock is held by Network Connections',
      }),
    );
    expect(one.text).toMatch(/bindPrimary \(attempt \d+\) failed: the write lock is held by Network Connections/);
    // Later it is free again, and the finding has ended.
    expect(one.finding.until_seq).toBeGreaterThan(one.finding.seq);
  });

  test('flapping', async () => {
    const storm = Array.from({ length: 12 }, (_, flap) =>
      at(6000 + flap * 300, { do: 'link', id: 'primary', on: flap % 2 === 1 }),
    );
    const path = await simulated('flapping', {
      world: { system: 'linux' },
      actions: [
        at(100, { do: 'add', id: 'standby', card: nic({ standby: false }) }),
        at(200, { do: 'bond' }),
        at(210, { do: 'enslave', id: 'standby' }),
        at(220, { do: 'bondUp', on: true }),
        at(1000, { do: 'add', id: 'primary', card: vf() }),
        ...storm,
      ],
    });
    expect(isShown(await explained(path, 'flapping'), 'flapping')).toBe(true);
  });

  test('a clock that jumped', async () => {
    const path = await simulated('clock', {
      world: { system: 'linux' },
      effects: 'off',
      actions: [...kernel, at(5000, { do: 'suspend', ms: 90_000 })],
    });
    const one = await explained(path, 'clockJumped');
    expect(isShown(one, 'clockJumped')).toBe(true);
    expect(one.finding.text).toContain('clock suspended by 90000 ms');
  });

  test('messages that were lost', async () => {
    const rates = { ...(LEVELS['none'] as Rates), hintLost: 1 };
    const path = await simulated('lost', { world: { system: 'linux' }, effects: 'off', rates, actions: kernel });
    expect(isShown(await explained(path, 'gap', 'end'), 'gap')).toBe(true);
  });

  test('a log that could not be written', async () => {
    const path = await simulated('outage', {
      world: { system: 'linux' },
      effects: 'off',
      actions: [...kernel, at(3000, { do: 'logOutage', ms: 4000 }), at(3100, { do: 'add', id: 'primary', card: vf() })],
    });
    const one = await explained(path, 'logOutage');
    expect(isShown(one, 'logOutage')).toBe(true);
    expect(one.finding.text).toMatch(/^[1-9]\d* events were written late and 0 are lost/);
  });
});

describe('told by hand', () => {
  const { master, standby, primary } = trio;
  const counters = (ifindex: number, rx: number, tx: number): Happening => ({
    type: 'counters.sampled',
    data: { ifindex, rxPackets: String(rx), txPackets: String(tx), rxDropped: '0', txDropped: '0' },
  });
  const onStandby: (readonly [number, Happening])[] = [
    [0, appeared(master)],
    [1, appeared(standby)],
    [2, appeared(primary)],
    [5000, { type: 'adapter.gone', data: { ifindex: 4 } }],
  ];
  const codes = (pair: Explanation): string[] => pair.findings.filter(({ lasts }) => lasts).map(({ code }) => code);

  test('a MAC filter on the host: frames leave, nothing comes back', () => {
    const pair = told(...onStandby, [6000, counters(3, 100, 100)], [8000, counters(3, 100, 140)]);
    expect(codes(pair)).toEqual(['nothingReturns']);
    expect(pair.findings.find(({ code }) => code === 'nothingReturns')?.text).toBe(
      '40 packets left over eth3 (0000:01:00.0) and not one came back, and it lasts',
    );
    expect(pair.todo).toContain(FINDINGS.nothingReturns.cure);
  });

  test.each<[string, (readonly [number, Happening])[]]>([
    [
      'one came back',
      [
        [6000, counters(3, 100, 100)],
        [8000, counters(3, 101, 140)],
      ],
    ],
    [
      'hardly any left',
      [
        [6000, counters(3, 100, 100)],
        [8000, counters(3, 100, 104)],
      ],
    ],
    [
      'there was no time',
      [
        [6000, counters(3, 100, 100)],
        [6500, counters(3, 100, 140)],
      ],
    ],
    [
      'the counters began anew',
      [
        [6000, counters(3, 100, 100)],
        [8000, counters(3, 0, 40)],
      ],
    ],
    [
      'it is not the path',
      [
        [6000, counters(2, 100, 100)],
        [8000, counters(2, 100, 140)],
      ],
    ],
    [
      'it ended',
      [
        [6000, counters(3, 100, 100)],
        [8000, counters(3, 100, 140)],
        [9000, counters(3, 105, 150)],
      ],
    ],
    [
      'the path moved on',
      [
        [6000, counters(3, 100, 100)],
        [8000, counters(3, 100, 140)],
        [9000, appeared({ ...primary, ifindex: 5 })],
      ],
    ],
  ])('is not said where %s', (_, more) => expect(codes(told(...onStandby, ...more))).not.toContain('nothingReturns'));

  const address = (ifindex: number, text: string): Happening => ({ type: 'address.added', data: { ifindex, address: text } });
  test('double addresses: a DHCP client on a member as well as on its master', () => {
    const pair = told(
      ...onStandby,
      [6000, address(2, '10.0.0.5/24')],
      [7000, address(3, '10.0.0.77/24')],
      [11_000, changed(3, { mtu: 1400 })],
    );
    expect(codes(pair)).toEqual(['doubleAddresses']);
    expect(pair.findings.at(-1)?.text).toBe(
      'more than one device of the pair has addresses (eth2 (0000:01:00.0): 10.0.0.5/24; eth3 (0000:01:00.0): 10.0.0.77/24), and it lasts',
    );
    expect(pair.todo).toContain(FINDINGS.doubleAddresses.cure);
  });

  test.each<[string, (readonly [number, Happening])[]]>([
    [
      'of two families',
      [
        [6000, address(2, '10.0.0.5/24')],
        [7000, address(3, 'fd00::7/64')],
      ],
    ],
    [
      'that the kernel gives by itself',
      [
        [6000, address(2, 'fe80::1/64')],
        [7000, address(3, 'fe80::2/64')],
      ],
    ],
    [
      'that are being moved',
      [
        [6000, address(2, '10.0.0.5/24')],
        [7000, address(3, '10.0.0.5/24')],
        [8000, { type: 'address.removed', data: { ifindex: 3, address: '10.0.0.5/24' } }],
      ],
    ],
  ])('addresses %s are not double', (_, more) =>
    expect(codes(told(...onStandby, ...more, [20_000, changed(3, { mtu: 1400 })]))).not.toContain('doubleAddresses'),
  );

  test('a member that a network manager configured instead of its master', () => {
    const grabbed = [6000, address(3, '10.0.0.77/24')] as const;
    const pair = told(...onStandby, grabbed, [11_000, changed(3, { mtu: 1400 })]);
    expect(codes(pair)).toEqual(['nameGrabbed']);
    expect(pair.findings.at(-1)?.text).toBe(
      'the addresses are on a member (eth3 (0000:01:00.0): 10.0.0.77/24) and not on its master, and it lasts',
    );
    expect(pair.todo).toContain(FINDINGS.nameGrabbed.cure);
    const mended = [9500, address(2, '10.0.0.5/24')] as const;
    expect(codes(told(...onStandby, grabbed, mended, [11_000, changed(3, { mtu: 1400 })]))).not.toContain('nameGrabbed');
  });

  test('an observer who could act says so', () => {
    const pair = told(
      [0, { type: 'adapter.appeared', data: { ...standby, master: 9, slave: { active: true, miiUp: true } } }],
      [
        1,
        {
          type: 'adapter.appeared',
          data: {
            ...master,
            ifindex: 9,
            bus: null,
            device: null,
            pci: null,
            driver: null,
            kind: 'bond',
            bond: { mode: 1, activeSlave: 3 },
          },
        },
      ],
      [2, appeared({ ...primary, master: null })],
      [9000, changed(4, { up: false })],
    );
    expect(pair.mode).toBe('bond');
    expect(pair.missing).toContain('eth4 enslaved to the pair’s master');
    expect(pair.todo.join(' ')).toContain('effects = "on"');
  });
});
