// Effects on the real kernel, in network namespaces that this test makes: everything that needs no bond. Needs root and
// iproute2; where something is missing the test's name says what. What `ip` says before and after is the judge.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, test } from 'vitest';

const script = (name: string): string => fileURLToPath(new URL(`../acting/${name}`, import.meta.url));
const probe = (...commands: string[]): string | null => {
  const { error, status, stderr } = spawnSync('unshare', ['-n', 'sh', '-c', commands.join(' && ')], { encoding: 'utf8' });
  return error === undefined && status === 0 ? null : (stderr?.trim().split('\n')[0] ?? String(error));
};
const why =
  process.platform !== 'linux'
    ? 'this is not Linux'
    : process.getuid?.() !== 0
      ? 'not root'
      : probe('ip link add v0 type veth peer name v1', 'ip link add b0 type bridge');
const skipped = (reason: string | null): string => (reason === null ? '' : ` (skipped: ${reason})`);
const noBond = why ?? probe('ip link add b0 type bond mode active-backup');

const scratch = mkdtempSync(join(tmpdir(), 'netkvm-acting-'));
chmodSync(scratch, 0o777);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

interface Result {
  readonly result: string;
  readonly reason: string | null;
  readonly observed: boolean;
  readonly owed: number;
  readonly settled: readonly string[];
}

/** Two namespaces: in one acts the performer on v0; the other end of the veth pair, w0, is the gateway in the other. */
class Guest {
  readonly name: string;
  readonly ledger: string;
  #child: ChildProcess | null = null;
  #lines: AsyncIterator<string> | null = null;

  constructor() {
    this.name = `netkvm-act-${process.pid}-${(Guest.count += 1)}`;
    this.ledger = join(scratch, `${this.name}.json`);
    for (const namespace of [this.name, `${this.name}-w`]) {
      execFileSync('ip', ['netns', 'add', namespace]);
      cleanups.push(() => execFileSync('ip', ['netns', 'del', namespace]));
    }
    this.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'w0', 'netns', `${this.name}-w`);
    for (const [namespace, link] of [
      [this.name, 'v0'],
      [this.name, 'lo'],
      [`${this.name}-w`, 'w0'],
    ] as const)
      execFileSync('ip', ['-n', namespace, 'link', 'set', link, 'up']);
    execFileSync('ip', ['-n', `${this.name}-w`, 'addr', 'add', '10.77.0.1/24', 'dev', 'w0']);
  }
  static count = 0;

  ip(...words: string[]): string {
    return execFileSync('ip', ['-n', this.name, ...words], { encoding: 'utf8' });
  }
  /** Addresses, routes, rules and permanent neighbours as `ip` tells them, without lifetimes. */
  standing(): unknown {
    const json = (...words: string[]): Record<string, unknown>[] =>
      JSON.parse(this.ip('-j', ...words) || '[]') as Record<string, unknown>[];
    const addresses = json('addr').flatMap(({ ifname, addr_info }) =>
      (addr_info as Record<string, unknown>[])
        .filter(({ scope }) => scope === 'global')
        .map(({ local, prefixlen, label }) => [ifname, local, prefixlen, label]),
    );
    const routes = [...json('route', 'show', 'table', 'all'), ...json('-6', 'route', 'show', 'table', 'all')].filter(
      ({ type }) => type === undefined,
    );
    return {
      addresses,
      routes: routes
        .map(({ flags: _flags, ...route }) => route)
        .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
      rules: json('rule'),
    };
  }

  async start(...wrapper: string[]): Promise<void> {
    const words = ['netns', 'exec', this.name, ...wrapper, process.execPath, script('performer.ts'), this.ledger];
    const child = spawn('ip', words, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_NO_WARNINGS: '1' } });
    this.#child = child;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    cleanups.push(() => {
      child.stdin.end();
      return exited;
    });
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await this.#lines.next();
  }
  async order(order: object): Promise<Result> {
    this.#child?.stdin?.write(`${JSON.stringify(order)}\n`);
    const line = await this.#lines?.next();
    return JSON.parse(String(line?.value)) as Result;
  }
  owed(): unknown[] {
    return existsSync(this.ledger) ? (JSON.parse(readFileSync(this.ledger, 'utf8')) as unknown[]) : [];
  }
}

const done = { result: 'succeeded', reason: null, observed: false };
const already = { result: 'succeeded', reason: null, observed: true };

describe.skipIf(why !== null)(`effects in a network namespace${skipped(why)}`, () => {
  test('a member enters a master and leaves it; what is done already is seen, what is gone is void', async () => {
    const guest = new Guest();
    guest.ip('link', 'add', 'br0', 'type', 'bridge');
    guest.ip('link', 'add', 'br1', 'type', 'bridge');
    await guest.start();
    const into = (master: string): Promise<Result> => guest.order({ kind: 'bindPrimary', primary: 'v0', master });
    expect(await into('br0')).toMatchObject(done);
    expect(guest.ip('-o', 'link', 'show', 'v0')).toContain('master br0');
    expect(await into('br0')).toMatchObject(already);
    expect(await into('br1')).toMatchObject({ result: 'refused', reason: 'v0 belongs to another master' });
    expect(await guest.order({ kind: 'unbindPrimary', primary: 'v0', master: 'br0' })).toMatchObject(done);
    expect(guest.ip('-o', 'link', 'show', 'v0')).not.toContain('master');
    expect(await guest.order({ kind: 'unbindPrimary', primary: 'v0', master: 'br0' })).toMatchObject(already);
    expect(await into('br9')).toMatchObject({ result: 'void', reason: 'the bond is gone' });
    expect(await guest.order({ kind: 'bindPrimary', primary: 'v9', master: 'br0' })).toMatchObject({
      result: 'void',
      reason: 'the primary is gone',
    });
  });

  test('addresses that appear on a member move to the master with their lifetimes, and the routes with them', async () => {
    const guest = new Guest();
    guest.ip('link', 'add', 'br0', 'type', 'bridge');
    guest.ip('link', 'set', 'br0', 'up');
    guest.ip('link', 'set', 'v0', 'master', 'br0');
    guest.ip('addr', 'add', '10.77.0.2/24', 'dev', 'v0', 'valid_lft', '1000', 'preferred_lft', '500');
    guest.ip('addr', 'add', 'fd00:77::2/64', 'dev', 'v0', 'nodad', 'valid_lft', '2000', 'preferred_lft', '900');
    guest.ip('route', 'add', 'default', 'via', '10.77.0.1', 'dev', 'v0', 'metric', '50', 'mtu', '1300');
    guest.ip('-6', 'route', 'add', 'fd00:99::/64', 'via', 'fd00:77::1', 'dev', 'v0');
    await guest.start();
    const move = (): Promise<Result> => guest.order({ kind: 'moveAddresses', standby: 'v0', master: 'br0' });
    expect(await move()).toMatchObject(done);
    expect(guest.ip('addr', 'show', 'v0')).not.toMatch(/10\.77|fd00/);
    expect(guest.ip('addr', 'show', 'br0')).toMatch(
      /10\.77\.0\.2\/24 [^\n]*\n +valid_lft (1000|99\d)sec preferred_lft (500|49\d)sec/,
    );
    expect(guest.ip('addr', 'show', 'br0')).toMatch(
      /fd00:77::2\/64 [^\n]*\n +valid_lft (2000|199\d)sec preferred_lft (900|89\d)sec/,
    );
    expect(guest.ip('route')).toContain('default via 10.77.0.1 dev br0 metric 50 mtu 1300');
    expect(guest.ip('-6', 'route')).toContain('fd00:99::/64 via fd00:77::1 dev br0 metric 1024');
    expect(await move()).toMatchObject(already);
    // A DHCP client that renews its lease on the member again.
    guest.ip('addr', 'change', '10.77.0.2/24', 'dev', 'v0', 'valid_lft', '3000', 'preferred_lft', '3000');
    expect(await move()).toMatchObject(done);
    expect(guest.ip('addr', 'show', 'br0')).toMatch(/valid_lft (3000|299\d)sec/);
  });

  test('parameters: what differs is changed, once written down, and given back; what cannot be is refused by name', async () => {
    const guest = new Guest();
    await guest.start();
    const align = (parameters: object): Promise<Result> =>
      guest.order({ kind: 'alignParameters', primary: 'v0', plan: { parameters } });
    const feature = (): string =>
      /tx-checksum-ip-generic: (\w+)/.exec(
        spawnSync('ip', ['netns', 'exec', guest.name, 'ethtool', '-k', 'v0'], { encoding: 'utf8' }).stdout ?? '',
      )?.[1] ?? 'unknown';
    const initially = feature();
    const wanted = { mtu: 1400, txQueue: 500, features: { 'tx-checksum-ip-generic': false } };
    expect(
      await align({ ...wanted, rxRing: 64, channels: 9, features: { ...wanted.features, nonesuch: true, loopback: true } }),
    ).toMatchObject({
      result: 'refused',
      reason: expect.stringMatching(
        /^the driver has no rxRing; the driver has no channels; the driver does not let feature nonesuch be changed; [^;]* loopback be changed$/,
      ),
      owed: 1,
    });
    expect(guest.ip('-d', 'link', 'show', 'v0')).toMatch(/mtu 1400 .*qlen 500/);
    expect(['off', 'unknown']).toContain(feature());
    expect(await align(wanted)).toMatchObject({ ...already, owed: 1 });
    expect(await align({ mtu: 1450 })).toMatchObject({ ...done, owed: 1 });
    expect(guest.owed()).toMatchObject([
      { kind: 'parameters', before: { mtu: 1500, txQueue: 1000, features: { 'tx-checksum-ip-generic': true } } },
    ]);
    expect(await guest.order({ kind: 'giveBack' })).toMatchObject({ ...done, owed: 0, settled: ['givenBack'] });
    expect(guest.ip('-d', 'link', 'show', 'v0')).toMatch(/mtu 1500 .*qlen 1000/);
    expect(feature()).toBe(initially);
    expect(await guest.order({ kind: 'giveBack' })).toMatchObject(already);
    expect(await align({ mtu: 1500 })).toMatchObject({ ...already, owed: 0 });
    expect(await align({ mtu: 10 })).toMatchObject({ result: 'failed', reason: expect.stringContaining('mtu 10: EINVAL') });
  });

  test('parameters by stage: the standby has what the stage asks for, and in one that asks for nothing what it had', async () => {
    const guest = new Guest();
    await guest.start();
    const ethtool = (): string =>
      /tx-checksum-ip-generic: (\w+)/.exec(
        spawnSync('ip', ['netns', 'exec', guest.name, 'ethtool', '-k', 'v0'], { encoding: 'utf8' }).stdout ?? '',
      )?.[1] ?? 'unknown';
    const queue = (): number => (JSON.parse(guest.ip('-j', 'link', 'show', 'v0')) as [{ txqlen: number }])[0].txqlen;
    const initially = { queue: queue(), feature: ethtool() };
    const tune = (stage: string, parameters: object, elsewhere: object = {}): Promise<Result> =>
      guest.order({ kind: 'tuneStandby', standby: 'v0', plan: { stage, parameters, elsewhere } });
    const fallback = { txQueue: 5000 };
    const onPrimary = { features: { 'tx-checksum-ip-generic': false } };
    expect(await tune('onPrimary', {}, fallback)).toMatchObject({ ...already, owed: 0 });
    expect(await tune('fallback', fallback, onPrimary)).toMatchObject({ ...done, owed: 1 });
    expect({ queue: queue(), feature: ethtool() }).toEqual({ ...initially, queue: 5000 });
    expect(guest.owed()).toMatchObject([
      { kind: 'parameters', before: { txQueue: initially.queue, features: { 'tx-checksum-ip-generic': true } } },
    ]);
    expect(await tune('fallback', fallback, onPrimary)).toMatchObject({ ...already, owed: 1 });
    expect(await tune('onPrimary', onPrimary, fallback)).toMatchObject({ ...done, owed: 1 });
    expect(queue()).toBe(initially.queue);
    expect(['off', 'unknown']).toContain(ethtool());
    // What a driver does not have is refused by name; the rest is done, and owed once.
    expect(await tune('fallback', { ...fallback, rxRing: 64 }, onPrimary)).toMatchObject({
      result: 'refused',
      reason: 'the driver has no rxRing',
      owed: 1,
    });
    expect({ queue: queue(), feature: ethtool() }).toEqual({ ...initially, queue: 5000 });
    // A policy that names more than was written down: what is known is given back, and all of it written down anew.
    expect(await tune('fallback', { features: { 'tx-scatter-gather': false } })).toMatchObject({
      ...done,
      owed: 1,
      settled: ['givenBack'],
    });
    expect(queue()).toBe(initially.queue);
    expect(guest.owed()).toMatchObject([{ before: { features: { 'tx-scatter-gather': true } } }]);
    expect(await tune('onPrimary', {})).toMatchObject({ ...done, owed: 0, settled: ['givenBack'] });
    expect({ queue: queue(), feature: ethtool() }).toEqual(initially);
    expect(await tune('fallback', { inf: { VlanID: '5' } })).toMatchObject({
      result: 'refused',
      reason: 'VlanID is a parameter of Windows drivers',
      owed: 0,
    });
    expect(
      await guest.order({ kind: 'tuneStandby', standby: 'v9', plan: { stage: 'fallback', parameters: {}, elsewhere: {} } }),
    ).toMatchObject({ result: 'void', reason: 'the standby is gone' });
    // A stage that was never left is given back by restore.
    await tune('fallback', fallback, onPrimary);
    expect(await guest.order({ kind: 'giveBack' })).toMatchObject({ ...done, owed: 0 });
    expect({ queue: queue(), feature: ethtool() }).toEqual(initially);
  });

  test('a device that went away is owed nothing', async () => {
    const guest = new Guest();
    await guest.start();
    expect(await guest.order({ kind: 'alignParameters', primary: 'v0', plan: { parameters: { mtu: 1400 } } })).toMatchObject(
      done,
    );
    guest.ip('link', 'del', 'v0');
    expect(await guest.order({ kind: 'giveBack' })).toMatchObject({
      result: 'succeeded',
      observed: true,
      owed: 0,
      settled: ['gone'],
    });
  });

  const standing = (guest: Guest): void => {
    guest.ip('addr', 'add', '10.77.0.2/24', 'dev', 'v0');
    guest.ip('addr', 'add', '10.78.0.2/24', 'dev', 'v0', 'label', 'v0:1');
    guest.ip('addr', 'add', 'fd00:77::2/64', 'dev', 'v0', 'nodad');
    guest.ip('route', 'add', 'default', 'via', '10.77.0.1', 'metric', '50', 'advmss', '1300');
    guest.ip('route', 'add', 'default', 'via', '10.77.0.1', 'table', '55');
    guest.ip('-6', 'route', 'add', 'default', 'via', 'fd00:77::1');
    guest.ip('rule', 'add', 'iif', 'v0', 'lookup', '55');
    guest.ip('neigh', 'add', '10.77.0.9', 'lladdr', '02:00:00:00:00:09', 'dev', 'v0');
  };

  test('a gateway that does not answer: refused before anything is written down or changed', async () => {
    const guest = new Guest();
    standing(guest);
    execFileSync('ip', ['-n', `${guest.name}-w`, 'addr', 'flush', 'dev', 'w0']);
    await guest.start();
    const before = guest.standing();
    const plan = { bond: 'fo112233', probe: [], confirm_ms: 300 };
    expect(await guest.order({ kind: 'takeOver', standby: 'v0', plan })).toMatchObject({
      result: 'refused',
      reason: expect.stringContaining('nobody answers over v0 as it is'),
      owed: 0,
    });
    expect([guest.standing(), guest.owed()]).toEqual([before, []]);
  });

  test('a target behind the gateway is asked with an echo', async () => {
    const guest = new Guest();
    standing(guest);
    execFileSync('ip', ['-n', `${guest.name}-w`, 'addr', 'add', '192.0.2.1/32', 'dev', 'w0']);
    await guest.start();
    const ask = (target: string): Promise<Result> =>
      guest.order({ kind: 'takeOver', standby: 'v0', plan: { bond: 'fo112233', probe: [target], confirm_ms: 300 } });
    expect((await ask('192.0.2.7')).reason).toContain('nobody answers over v0 as it is');
    expect((await ask('192.0.2.1')).reason ?? '').not.toContain('nobody answers');
  });

  test('the standby itself is asked, also where another link has the better routes', async () => {
    const guest = new Guest();
    standing(guest);
    execFileSync('ip', ['-n', `${guest.name}-w`, 'addr', 'add', '192.0.2.1/32', 'dev', 'w0']);
    guest.ip('link', 'add', 'v2', 'type', 'veth', 'peer', 'name', 'v3');
    guest.ip('link', 'set', 'v3', 'up');
    guest.ip('link', 'set', 'v2', 'up');
    guest.ip('addr', 'add', '10.77.0.3/25', 'dev', 'v2');
    guest.ip('route', 'add', 'default', 'via', '10.77.0.1', 'dev', 'v2', 'metric', '5');
    expect(guest.ip('route', 'get', '10.77.0.1') + guest.ip('route', 'get', '192.0.2.1')).not.toContain('v0');
    await guest.start();
    const ask = (...targets: string[]): Promise<Result> =>
      guest.order({ kind: 'takeOver', standby: 'v0', plan: { bond: 'fo112233', probe: targets, confirm_ms: 300 } });
    expect((await ask('192.0.2.7')).reason).toContain('nobody answers over v0 as it is');
    expect((await ask('192.0.2.1')).reason ?? '').not.toContain('nobody answers');
    expect((await ask()).reason ?? '').not.toContain('nobody answers');
  });

  test('what could not be given back is not taken over', async () => {
    const guest = new Guest();
    standing(guest);
    await guest.start();
    const plan = { bond: 'fo112233', probe: [], confirm_ms: 1000 };
    guest.ip('link', 'add', 'm0', 'link', 'v0', 'type', 'macvlan');
    expect(await guest.order({ kind: 'takeOver', standby: 'v0', plan })).toMatchObject({
      result: 'refused',
      reason: 'm0, a macvlan, stands on v0',
      owed: 0,
    });
    guest.ip('link', 'del', 'm0');
    guest.ip('link', 'add', 'v2', 'type', 'veth', 'peer', 'name', 'v3');
    guest.ip('link', 'set', 'v2', 'up');
    guest.ip('route', 'add', '10.99.0.0/16', 'nexthop', 'via', '10.77.0.1', 'nexthop', 'dev', 'v2');
    expect(await guest.order({ kind: 'takeOver', standby: 'v0', plan })).toMatchObject({
      result: 'refused',
      reason: expect.stringContaining('a route over several links'),
    });
  });

  test.skipIf(noBond === null)('a takeover without bonding in the kernel is undone: all is as before', async () => {
    const guest = new Guest();
    standing(guest);
    await guest.start();
    const before = guest.standing();
    const plan = { bond: 'fo112233', probe: [], confirm_ms: 2000 };
    expect(await guest.order({ kind: 'takeOver', standby: 'v0', plan })).toMatchObject({
      result: 'refused',
      reason: expect.stringMatching(/make the bond: .*; undone$/),
      owed: 0,
      settled: ['undone'],
    });
    expect(guest.standing()).toEqual(before);
  });

  test.skipIf(noBond !== null)(`a takeover and its giving back${skipped(noBond)}`, async () => {
    const guest = new Guest();
    standing(guest);
    await guest.start();
    const before = guest.standing();
    expect(
      await guest.order({ kind: 'takeOver', standby: 'v0', plan: { bond: 'fo112233', probe: [], confirm_ms: 2000 } }),
    ).toMatchObject({ ...done, owed: 1 });
    expect(guest.ip('addr', 'show', 'fo112233')).toContain('10.77.0.2/24');
    expect(await guest.order({ kind: 'giveBack' })).toMatchObject({ ...done, owed: 0, settled: ['givenBack'] });
    expect(guest.standing()).toEqual(before);
  });

  test('without privileges every change is refused with the kernel’s reason, and nothing is changed', async () => {
    const guest = new Guest();
    standing(guest);
    guest.ip('link', 'add', 'br0', 'type', 'bridge');
    await guest.start('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all');
    const before = guest.standing();
    expect(await guest.order({ kind: 'bindPrimary', primary: 'v0', master: 'br0' })).toMatchObject({
      result: 'refused',
      reason: expect.stringContaining('EPERM'),
    });
    expect(await guest.order({ kind: 'alignParameters', primary: 'v0', plan: { parameters: { mtu: 1400 } } })).toMatchObject({
      result: 'refused',
      reason: expect.stringContaining('EPERM'),
    });
    expect(guest.standing()).toEqual(before);
  });

  test('what is read of addresses, routes, rules and neighbours can be taken away and put back as it was', () => {
    const guest = new Guest();
    standing(guest);
    guest.ip('addr', 'add', '10.79.0.2', 'peer', '10.79.0.3/32', 'dev', 'v0');
    guest.ip(
      'addr',
      'add',
      '10.80.0.2/24',
      'brd',
      '+',
      'dev',
      'v0',
      'valid_lft',
      '1000',
      'preferred_lft',
      '500',
      'noprefixroute',
    );
    guest.ip('addr', 'add', 'fd00:78::2/64', 'dev', 'v0', 'nodad', 'valid_lft', '1000', 'preferred_lft', '500', 'home');
    guest.ip(
      'route',
      'add',
      '10.81.0.0/16',
      'via',
      '10.77.0.1',
      'src',
      '10.77.0.2',
      'tos',
      '0x10',
      'mtu',
      'lock',
      '1300',
      'window',
      '9000',
      'proto',
      'static',
    );
    guest.ip('route', 'add', '10.82.0.0/16', 'dev', 'v0', 'scope', 'link', 'metric', '7');
    guest.ip('-6', 'route', 'add', 'fd00:82::/48', 'via', 'fd00:77::1', 'pref', 'high', 'metric', '99', 'mtu', '1300');
    guest.ip('rule', 'add', 'oif', 'v0', 'fwmark', '0x5/0xff', 'priority', '77', 'lookup', '99', 'suppress_prefixlength', '8');
    guest.ip('-6', 'rule', 'add', 'from', 'fd00:77::/64', 'iif', 'v0', 'lookup', '98');
    guest.ip('neigh', 'add', 'fd00:77::9', 'lladdr', '02:00:00:00:00:0a', 'dev', 'v0', 'router');
    const { before, after, counts } = JSON.parse(
      execFileSync('ip', ['netns', 'exec', guest.name, process.execPath, script('round-trip.ts'), 'v0'], {
        encoding: 'utf8',
        env: { ...process.env, NODE_NO_WARNINGS: '1' },
      }),
    ) as { before: Record<string, object[]>; after: Record<string, object[]>; counts: number[][] };
    const sorted = (read: Record<string, object[]>) =>
      Object.fromEntries(Object.entries(read).map(([kind, list]) => [kind, list.map((one) => JSON.stringify(one)).toSorted()]));
    expect(sorted(after)).toEqual(sorted(before));
    expect(counts[1]?.[0]).toBe(1); // The link-local address.
    expect(counts[1]?.[2]).toBe(0);
  });
});
