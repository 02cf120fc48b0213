// A standby that is in use is taken over, gets a primary, loses it, and is given back: connections that were open before
// live through all of it, and in the end everything stands as it stood. Then what a new primary is given, and gives back.
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { afterEach, expect, inject, test } from 'vitest';
import { cleanUp } from '../../unit/service.given.ts';
import { CONFIGURATION, Guest, IS_SOUND } from './guest.ts';
import { Lab, PRIMARIES, type PrimaryModel } from './lab.ts';
import { GUEST, HOST } from './network.ts';
import { pause, until } from './vm.ts';

const full = inject('full');
const setup = inject('guests');
const MODELS: readonly PrimaryModel[] = full ? PRIMARIES : ['vmxnet3'];
const LIMIT_MS = 240_000;
const FLOW_MS = 1000;
const TCP_PERIOD_MS = '20';
const UDP_PERIOD_US = '1000';
const IP = '/sbin/ip';

let lab: Lab | null = null;
afterEach(async () => {
  await lab?.end();
  lab = null;
  await cleanUp();
});

/** A guest with its standby only, in use. */
const begin = async (model: PrimaryModel): Promise<[Lab, Guest]> => {
  lab = await Lab.boot(setup, { failover: false, model, withPrimary: false });
  const guest = new Guest(lab);
  await guest.address();
  return [lab, guest];
};

/** What stands in the guest, whatever its order. */
const standing = async (guest: Guest): Promise<string[]> => {
  const shown = ['-br link', '-o addr', 'route show table all', '-6 route show table all', 'rule', '-6 rule'];
  const text = await guest.sh([...shown, 'neigh show nud permanent'].map((words) => `${IP} ${words}`).join('; '));
  // That an address needs no detection of duplicates any more stays with it.
  return text
    .split('\n')
    .map((line) => (line.includes('fe80') ? line.replace(' nodad', '') : line).trim())
    .toSorted();
};
/** The kernel brings a link up, gives it an address of its own and looks for duplicates, all a moment later. */
const settled = (guest: Guest): Promise<unknown> =>
  until(
    'the standby is up, with its own address, and no address is tentative',
    () =>
      guest.sh(`${IP} -br link show eth0 | grep -w UP && ${IP} addr show eth0 | grep fe80 && ! ${IP} addr | grep tentative`).then(
        () => true,
        () => null,
      ),
    { every_ms: 300 },
  );

/** More than an address: what a takeover must bring along and back. */
const MORE = [
  `route add 10.99.0.0/16 via ${HOST.v4} metric 7`,
  `route add default via ${HOST.v4} table 100`,
  `rule add from ${GUEST.v4} lookup 100 pref 5000`,
  `-6 route add fd00:99::/64 via ${HOST.v6}`,
];

interface Ended {
  readonly end?: true;
  readonly broken?: string | null;
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  readonly echoed: number;
}
const endOf = (text: string): Ended => {
  const line = text.split('\n').findLast((one) => one.startsWith('{"end"'));
  if (line === undefined) throw new Error(`a meter without an end: ${text.slice(-200)}`);
  return JSON.parse(line) as Ended;
};

/** TCP connections of either family from either side, and a UDP stream both ways. `end` ends them; what they say then. */
const flows = async (on: Lab, guest: Guest): Promise<{ readonly end: () => Promise<Record<string, Ended>> }> => {
  const inside = (name: string, words: string): string => `(meter ${words} >/run/${name}.err 2>&1 </dev/null &)`;
  const file = (name: string): string => join(on.folder, `${name}.jsonl`);
  for (const { v4, v6, start } of [
    { ...GUEST, start: (words: string) => guest.sh(inside('echo', words)) },
    { ...HOST, start: (words: string) => Promise.resolve(on.network.start(on.meter, ...words.split(' '))) },
  ])
    for (const [address, port] of [
      [v4, '7100'],
      [v6, '7101'],
    ])
      await start(`echo ${address} ${port}`);
  await pause(FLOW_MS);
  const outside = [
    on.network.start(on.meter, 'tcp', GUEST.v4, '7100', TCP_PERIOD_MS, file('tcp4')),
    on.network.start(on.meter, 'tcp', GUEST.v6, '7101', TCP_PERIOD_MS, file('tcp6')),
    on.network.start(on.meter, 'udp', HOST.v4, GUEST.v4, '7200', UDP_PERIOD_US, file('udp')),
  ];
  await guest.sh(
    [
      inside('tcp4', `tcp ${HOST.v4} 7100 ${TCP_PERIOD_MS} /run/tcp4.jsonl`),
      inside('tcp6', `tcp ${HOST.v6} 7101 ${TCP_PERIOD_MS} /run/tcp6.jsonl`),
      inside('udp', `udp ${GUEST.v4} ${HOST.v4} 7200 ${UDP_PERIOD_US} /run/udp.jsonl`),
    ].join('; '),
  );
  await pause(FLOW_MS);
  return {
    end: async () => {
      await pause(FLOW_MS);
      for (const meter of outside) meter.kill('SIGTERM');
      await Promise.all(
        outside.map((meter) => until('a meter ends', () => meter.exitCode !== null || meter.signalCode !== null)),
      );
      await guest.sh('killall -TERM meter');
      await pause(FLOW_MS);
      const found: Record<string, Ended> = {};
      for (const name of ['tcp4', 'tcp6', 'udp']) {
        found[`${name}, host`] = endOf(readFileSync(file(name), 'utf8'));
        found[`${name}, guest`] = endOf(await guest.sh(`cat /run/${name}.jsonl`));
      }
      return found;
    },
  };
};

test.each(MODELS)('connections live through takeover, primary and restore, %s', { timeout: LIMIT_MS }, async (model) => {
  const [on, guest] = await begin(model);
  await guest.sh(MORE.map((line) => `${IP} ${line}`).join(' && '));
  await settled(guest);
  const before = await standing(guest);
  const { end } = await flows(on, guest);
  await guest.serve(CONFIGURATION.bond);
  await guest.takenOver();
  expect(await guest.sh(`${IP} -o addr show dev eth0`)).not.toContain(GUEST.v4);
  await on.plug();
  await guest.rests('onPrimary', 'primary');
  await pause(FLOW_MS);
  await on.unplug();
  await guest.rests('fallback', 'standby');
  const { truth, belief } = await guest.compared();
  expect(belief).toEqual(truth);
  expect(await guest.ended()).toEqual(IS_SOUND);
  await guest.netkvm('restore');
  const found = await end();
  expect(await standing(guest)).toEqual(before);
  for (const [name, { broken = null, sent, echoed, received, lost }] of Object.entries(found)) {
    const flowed = name.startsWith('tcp') ? echoed > sent / 2 : received > 10 * lost;
    expect({ name, broken, began: sent > 0, flowed }).toEqual({ name, broken: null, began: true, flowed: true });
  }
  await guest.reaches();
});

const PARAMETERS = '\n[pairs.parameters]\ntxQueue = 500\nrxRing = 512\ntxRing = 256\nfeatures = { "rx-gro" = false }\n';

test.runIf(full).each(PRIMARIES)(
  'a new primary gets its parameters and gives them back, %s',
  { timeout: LIMIT_MS },
  async (model) => {
    const [on, guest] = await begin(model);
    const card = async (): Promise<unknown> => {
      const [links, rings] = [await guest.sh(`${IP} -j link show eth1`), await guest.sh('meter card eth1')];
      const [{ mtu, txqlen }] = JSON.parse(links) as [{ mtu: number; txqlen: number }];
      return { mtu, txQueue: txqlen, ...(JSON.parse(rings) as object) };
    };
    await on.plug();
    await until('the primary is there', () => guest.sh(`${IP} link show eth1`).catch(() => null));
    const before = await card();
    await guest.serve(`[service]\nrealtimePriority = 20\n\n${CONFIGURATION.bond}${PARAMETERS}`);
    await guest.rests('onPrimary', 'primary');
    expect(await card()).toEqual({ ...(before as object), txQueue: 500, rxRing: 512, txRing: 256, gro: false });
    // proc(5): the 41st field of a thread's stat, 39th behind its name; 1 is SCHED_FIFO.
    const policies = await guest.sh(`cat /proc/$(pidof node)/task/*/stat | sed 's/.*) //' | cut -d' ' -f39 | sort -u`);
    // Only an e1000e has a PTP clock whose removal is worth hurrying for.
    expect(policies.trim()).toBe(model === 'e1000e' ? '1' : '0');
    expect(await guest.ended()).toEqual(IS_SOUND);
    await guest.netkvm('restore');
    expect(await card()).toEqual(before);
    await guest.reaches();
  },
);
