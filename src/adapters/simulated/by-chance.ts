// Scenarios made by chance from a seed: they stir up more than any recording has.
import { LEVELS, type Rates } from './faults.ts';
import { bootTrio } from './followed.ts';
import type { Migration } from './hypervisor.ts';
import type { Card } from './kernel.ts';
import type { Random } from './random.ts';
import {
  type Action,
  add,
  at,
  type Befalls,
  FOREIGN_MAC,
  MAC,
  nic,
  OTHER_MAC,
  type Scenario,
  type Script,
  vf,
} from './script.ts';
import type { Happens } from './world.ts';

const chaos = (random: Random): Pick<Script, 'rates' | 'effects' | 'checkpointEvents'> => ({
  rates: LEVELS[random.pick(['none', 'some', 'some', 'many'])] as Rates,
  effects: random.pick(['on', 'on', 'on', 'on', 'on', 'on', 'dryRun', 'off']),
  checkpointEvents: random.pick([100, 20, 1_000_000]),
});

const someMigration = (random: Random): Migration => ({
  ends: random.pick(['completes', 'completes', 'completes', 'cancelled', 'cancelledWhileWaiting', 'fails']),
  takes_ms: random.between(0, 3000),
  downtime_ms: random.between(5, 1000),
  primary: random.chance(0.15) ? null : someTarget(random),
  plugAfter_ms: random.between(0, 2000),
});

const someTarget = (random: Random): Partial<Card> => ({
  ...(random.chance(0.2) ? { address: random.pick(['0000:05:00.0', '0000:06:00.0']) } : {}),
  ...(random.chance(0.1) ? { mac: FOREIGN_MAC } : {}),
  ...(random.chance(0.1) ? { mtuMax: 1400, mtu: 1400 } : {}),
  ...(random.chance(0.1) ? { mtu: 9000 } : {}),
  carrierDelay_ms: random.pick([0, 50, 2000, 15_000]),
});

const somePrimary = (random: Random, over: Partial<Card> = {}): Card => ({
  ...vf({ carrierDelay_ms: random.pick([0, 50, 500, 2200]), ptp: random.chance(0.5), ...over }),
  ...(random.chance(0.1) ? { mtu: random.pick([1400, 9000]) } : {}),
  ...(random.chance(0.05) ? { driver: false } : {}),
});

const befalls = (random: Random): Befalls => {
  switch (random.between(0, 10)) {
    case 9:
      return { do: 'prepare' };
    case 10:
      return { do: random.pick(['restore', 'prepare', 'survey']) };
    case 0:
    case 1:
    case 2: {
      const when = random.pick(['now', 'beforeCommit', 'commitLost', 'commitUnanswered'] as const);
      return { do: 'kill', when, down_ms: random.pick([1, 100, 3000, 30_000]) };
    }
    case 3:
      return { do: 'restart' };
    case 4:
      return { do: 'logOutage', ms: random.between(1, 10_000) };
    case 5:
      return { do: 'logUnanswered' };
    case 6:
      return { do: 'survey' };
    case 7:
      return { do: 'logCut', at: random.fraction(), setAside: random.chance(0.3), down_ms: random.pick([1, 3000]) };
    default:
      return { do: 'policy', effects: random.pick(['on', 'on', 'dryRun', 'off']) };
  }
};

/** What may happen to a pair, whatever the system. */
const common = (random: Random, suffix: string, mac: string): Happens | Befalls => {
  const primary = `primary${suffix}`;
  const id = random.pick([primary, primary, primary, `standby${suffix}`]);
  switch (random.between(0, 15)) {
    case 0:
    case 1:
      return { do: 'migrate', how: someMigration(random) };
    case 2:
    case 3:
      return { do: 'remove', id: primary, surprise: random.chance(0.2) };
    case 4:
    case 5:
      return add(primary, somePrimary(random, { mac, ...slot(suffix) }));
    case 6:
    case 7:
    case 8:
      return { do: 'link', id, on: random.chance(0.6) };
    case 9:
      return random.chance(0.6)
        ? { do: 'up', id, value: random.chance(0.7) }
        : random.chance(0.5)
          ? { do: 'remove', id: `standby${suffix}` }
          : add(
              `standby${suffix}`,
              nic({ mac, standby: random.chance(0.8), ...(suffix === '' ? {} : { address: '0000:07:00.0' }) }),
            );
    case 10:
      return { do: 'mtu', id, value: random.pick([1400, 1500, 1500, 9000]) };
    case 11:
      return { do: 'mac', id, value: random.pick([mac, mac, FOREIGN_MAC]) };
    case 12:
      return random.chance(0.5)
        ? add(`second${suffix}`, somePrimary(random, { mac, address: `0000:0${suffix === '' ? 3 : 9}:00.0` }))
        : { do: 'remove', id: `second${suffix}` };
    case 13:
      return random.pick<Happens>([
        { do: 'suspend', ms: random.between(1, 100_000) },
        { do: 'step', ms: random.between(-100_000, 100_000) },
        { do: 'announce' },
        { do: 'sign', id: primary },
        { do: 'sign', id: primary },
        { do: 'stick', id: primary, on: random.chance(0.5) },
        { do: 'reboot' },
      ]);
    default:
      return befalls(random);
  }
};

const slot = (suffix: string): Partial<Card> => (suffix === '' ? {} : { address: '0000:08:00.0' });

const onWindows = (random: Random, suffix: string, mac: string): Happens | Befalls => {
  switch (random.between(0, 11)) {
    case 0:
      return { do: 'lock', by: random.pick(['Network Connections', null, null]) };
    case 1:
      return random.chance(0.7)
        ? { do: 'protocol', installed: random.chance(0.7) }
        : { do: 'setLink', id: `standby${suffix}`, on: random.chance(0.5) };
    case 2:
      if (random.chance(0.3))
        return { do: 'driver', id: `standby${suffix}`, standby: random.chance(0.5), link: random.chance(0.4) };
      // The driver is started anew: the standby's link comes back held.
      return { do: 'mtu', id: `standby${suffix}`, value: 1500 };
    default:
      return common(random, suffix, mac);
  }
};

const onBond = (random: Random, suffix: string, mac: string): Happens | Befalls => {
  const id = random.pick([`primary${suffix}`, `primary${suffix}`, `standby${suffix}`]);
  switch (random.between(0, 11)) {
    case 0:
      return { do: random.pick(['enslave', 'release', 'activate'] as const), id };
    case 1:
      return random.chance(0.8) ? { do: 'bondUp', on: random.chance(0.8) } : { do: random.pick(['unbond', 'bond', 'bond']) };
    case 2:
      return { do: 'enslave', id };
    default:
      return common(random, suffix, mac);
  }
};

type Wishes = NonNullable<Script['wishes']>;
const PARAMETERS = { parameters: { rxRing: 2048, features: { 'rx-gro': false } } } as const;
const IN_STAGES: readonly Wishes[] = [
  { standbyParameters: { fallback: { rxRing: 1024 } } },
  { standbyParameters: { fallback: { rxRing: 1024 }, onPrimary: { txQueue: 100 } } },
];
/** One draw, so that what is wished shifts nothing else of the life. */
const someParameters = (random: Random): Wishes => {
  const drawn = random.fraction();
  const isByStage = drawn < 0.15 || (drawn > 0.7 && drawn < 0.85);
  return { ...(drawn < 0.3 ? PARAMETERS : {}), ...(isByStage ? IN_STAGES[drawn < 0.1 ? 0 : 1] : {}) };
};
/** On Windows the MTU is what may keep a primary from its pair. */
const equalMtu = (random: Random): Wishes => (random.chance(0.4) ? { parameters: { mtu: 'standby' } } : {});

const onTakeover = (random: Random): Happens | Befalls => {
  const id = random.pick(['primary', 'standby', 'standby']);
  switch (random.between(0, 9)) {
    case 0:
      return { do: 'gateway', on: random.chance(0.6) };
    case 1:
      return { do: 'address', id, address: random.pick(['192.0.2.7/24', '192.0.2.8/24', 'fe80::1/64']), on: random.chance(0.8) };
    case 2:
      return { do: random.pick(['restore', 'prepare']) };
    default:
      return onBond(random, '', MAC);
  }
};

const onTrio = (random: Random, suffix: string, mac: string): Happens | Befalls =>
  random.chance(0.05) ? { do: 'masterUp', id: `standby${suffix}`, on: random.chance(0.7) } : common(random, suffix, mac);

/** The carrier comes and goes. */
const storm = (random: Random): Action[] => {
  const actions: Action[] = [];
  for (let flap = 0, when = 0; flap < 12; flap += 1)
    actions.push(at((when += random.between(50, 1500)), { do: 'link', id: 'primary', on: flap % 2 === 1 }));
  return actions;
};
const after = (first: readonly Action[], ...then: readonly Action[]): Action[] => {
  const end_ms = Math.max(0, ...first.map(({ at_ms }) => at_ms));
  return [...first, ...then.map(({ at_ms, what }) => at(end_ms + at_ms, what))];
};

/** What chance alone would rarely put together: short stories, in milliseconds from their beginning. */
const CORNERS: readonly ((random: Random) => Action[])[] = [
  storm,
  storm,
  (random) => after(storm(random), at(random.between(1, 9000), { do: 'remove', id: 'standby', surprise: true })),
  // The pair is taken apart, and put together again, while its primary is left alone for flapping, or does not carry.
  (random) => after(storm(random), at(random.between(1, 9000), { do: random.pick(['unbond', 'release']), id: 'standby' })),
  (random) =>
    after(
      storm(random),
      at(1000, { do: 'release', id: 'standby' }),
      at(random.between(1100, 8000), { do: 'enslave', id: 'standby' }),
    ),
  (random) => [
    at(0, { do: 'link', id: 'primary', on: false }),
    at(random.between(500, 15_000), { do: random.pick(['unbond', 'release']), id: 'standby' }),
  ],
  // The MTU changes in the few milliseconds between the binding and the release of the link.
  (random) => [
    at(0, { do: 'remove', id: 'primary', surprise: true }),
    at(500, add('primary', vf({ carrierDelay_ms: 0 }))),
    at(random.between(800, 820), { do: 'mtu', id: 'primary', value: 1400 }),
  ],
  // VIOPROT is uninstalled; then the standby goes, or the protocol comes back while the driver is started anew with its link.
  (random) => [
    at(0, { do: 'protocol', installed: false }),
    at(random.between(20, 5000), { do: 'remove', id: 'standby', surprise: true }),
    at(6000, add('standby', nic())),
    at(7000, { do: 'protocol', installed: true }),
  ],
  (random) => {
    const back = random.between(1000, 6000);
    return [
      at(0, { do: 'protocol', installed: false }),
      at(back, { do: 'protocol', installed: true }),
      at(back, { do: 'driver', id: 'standby', standby: true, link: true }),
    ];
  },
  // The standby is switched off beside a primary that does not fit.
  (random) => [
    at(0, { do: 'policy', effects: random.pick(['off', 'dryRun', 'on']) }),
    at(10, { do: 'remove', id: 'primary', surprise: true }),
    at(500, add('primary', vf({ mtu: 9000, carrierDelay_ms: 0 }))),
    at(random.between(1000, 5000), { do: 'up', id: 'standby', value: false }),
    at(random.between(6000, 9000), { do: 'up', id: 'standby', value: true }),
    at(10_000, { do: 'policy', effects: 'on' }),
  ],
];

const stirred = (random: Random, count: number, what: (random: Random) => Action['what']): Action[] => {
  const actions: Action[] = [];
  let when = random.between(2000, 8000);
  for (let left = count; left > 0; left -= 1) {
    if (random.chance(0.06)) {
      const corner = random.pick(CORNERS)(random);
      actions.push(...corner.map(({ at_ms, what: next }) => at(when + at_ms, next)));
      when += Math.max(...corner.map(({ at_ms }) => at_ms));
    }
    actions.push(at(when, what(random)));
    when += random.pick([1, 5, 30, 200, 1000, 4000, 15_000]);
  }
  return actions;
};

const windowsCards = (random: Random): Action[] => [
  at(random.between(50, 500), add('standby', nic({ standby: random.chance(0.95) }))),
  ...(random.chance(0.7) ? [at(random.between(1, 6000), add('primary', somePrimary(random)))] : []),
];

export const BY_CHANCE: readonly Scenario[] = [
  {
    name: 'windows',
    what: 'NETKVM with VIOPROT: plugs, migrations, links, locks, restarts and faults, by chance.',
    script: (random) => ({
      ...chaos(random),
      world: {
        system: 'windows',
        windows: { switchedOff: random.chance(0.3) ? ['ms_server'] : [], withoutProtocol: random.chance(0.05) },
      },
      pairs: random.chance(0.9) ? [MAC] : [],
      actions: [...windowsCards(random), ...stirred(random, random.between(2, 12), (chance) => onWindows(chance, '', MAC))],
      wishes: equalMtu(random),
    }),
  },
  {
    name: 'bond',
    what: 'An active-backup bond that is steered: plugs, migrations, links, operators and faults, by chance.',
    script: (random) => ({
      ...chaos(random),
      world: { system: 'linux', linux: { rename: random.chance(0.5), reuseIndex: random.chance(0.3) } },
      pairs: [MAC],
      wishes: someParameters(random),
      actions: [
        at(100, add('standby', nic({ standby: false }))),
        at(400, { do: 'bond' }),
        at(500, { do: 'enslave', id: 'standby' }),
        at(510, { do: 'bondUp', on: true }),
        ...(random.chance(0.7) ? [at(random.between(50, 4000), add('primary', somePrimary(random)))] : []),
        ...stirred(random, random.between(2, 12), (chance) => onBond(chance, '', MAC)),
      ],
    }),
  },
  {
    name: 'takeover',
    what: 'A NIC that is in nothing is taken over into a bond, steered, and given back: the same, by chance.',
    script: (random) => ({
      ...chaos(random),
      world: {
        system: 'linux',
        linux: {
          rename: random.chance(0.5),
          reuseIndex: random.chance(0.3),
          managed: '192.0.2.7/24',
          bondUnanswered: random.chance(0.15),
        },
      },
      pairs: [MAC],
      wishes: { ...someParameters(random), mode: 'bond', confirm_ms: random.pick([500, 5000]) },
      actions: [
        at(100, add('standby', nic({ standby: random.chance(0.05) }))),
        ...(random.chance(0.2) ? [at(50, { do: 'gateway', on: false } as const)] : []),
        ...(random.chance(0.7) ? [at(random.between(50, 4000), add('primary', somePrimary(random)))] : []),
        ...stirred(random, random.between(2, 12), onTakeover),
      ],
    }),
  },
  {
    name: 'trio',
    what: 'The kernel’s net_failover, which is only watched: the same, by chance.',
    script: (random) => ({
      ...chaos(random),
      world: { system: 'linux', linux: { rename: random.chance(0.5), reuseIndex: random.chance(0.3) } },
      pairs: [MAC],
      wishes: someParameters(random),
      actions: [...bootTrio, ...stirred(random, random.between(2, 12), (chance) => onTrio(chance, '', MAC))],
    }),
  },
  {
    name: 'windows-two-pairs',
    what: 'Two NETKVM pairs, of which only the first may be touched.',
    script: (random) => ({
      ...chaos(random),
      world: { system: 'windows' },
      pairs: random.chance(0.5) ? [MAC, OTHER_MAC] : [MAC],
      actions: [
        ...windowsCards(random),
        at(300, add('standby-b', nic({ mac: OTHER_MAC, address: '0000:07:00.0' }))),
        at(random.between(1, 5000), add('primary-b', somePrimary(random, { mac: OTHER_MAC, address: '0000:08:00.0' }))),
        ...stirred(random, random.between(2, 14), (chance) =>
          chance.chance(0.5) ? onWindows(chance, '', MAC) : onWindows(chance, '-b', OTHER_MAC),
        ),
      ],
      wishes: equalMtu(random),
    }),
  },
  {
    name: 'linux-two-pairs',
    what: 'The kernel’s net_failover for one pair, and a bond that is steered for another, in one guest.',
    script: (random) => ({
      ...chaos(random),
      world: { system: 'linux', linux: { rename: random.chance(0.5), reuseIndex: random.chance(0.3) } },
      pairs: random.chance(0.5) ? [MAC, OTHER_MAC] : [OTHER_MAC],
      actions: [
        ...bootTrio,
        at(300, add('standby-b', nic({ mac: OTHER_MAC, address: '0000:07:00.0', standby: false }))),
        at(500, { do: 'bond' }),
        at(600, { do: 'enslave', id: 'standby-b' }),
        at(610, { do: 'bondUp', on: true }),
        at(random.between(50, 5000), add('primary-b', somePrimary(random, { mac: OTHER_MAC, address: '0000:08:00.0' }))),
        ...stirred(random, random.between(2, 14), (chance) =>
          chance.chance(0.4) ? onTrio(chance, '', MAC) : onBond(chance, '-b', OTHER_MAC),
        ),
      ],
    }),
  },
];
