// Scenarios named after a recorded capture. Each follows its story at its pace, and must give the same sequence of states
// and facts as the guest that was recorded.
import { LEVELS, type Rates } from './faults.ts';
import { type Action, add, at, FOREIGN_MAC, migration, nic, type Scenario, type Script, vf } from './script.ts';

/** A script that follows a capture: no faults, nothing steered. */
export const followed = (actions: readonly Action[]): Script => ({
  world: { system: 'linux' },
  rates: LEVELS['none'] as Rates,
  effects: 'off',
  pairs: [],
  checkpointEvents: 1_000_000,
  actions,
});
export const bootTrio = [
  at(100, add('standby', nic())),
  at(80, add('primary', vf())),
  at(1700, { do: 'masterUp', id: 'standby', on: true }),
];
const standbyOnly = [at(100, add('standby', nic())), at(1700, { do: 'masterUp', id: 'standby', on: true })];
const bondByHand: readonly Action[] = [
  at(100, add('standby', nic({ standby: false }))),
  at(1600, { do: 'up', id: 'standby', value: true }),
  at(2100, add('primary', vf())),
  at(5300, { do: 'up', id: 'standby', value: false }),
  at(5340, { do: 'bond', preferred: '0000:02:00.0' }),
  at(5400, { do: 'enslave', id: 'standby' }),
  at(5480, { do: 'enslave', id: 'primary' }),
  at(5490, { do: 'bondUp', on: true }),
];

const follow = (name: string, what: string, actions: readonly Action[]): Scenario => ({
  name,
  what,
  script: () => followed(actions),
});

export const FOLLOWED: readonly Scenario[] = [
  follow('a-boot-with-vf', 'Boot with the primary configured.', bootTrio),
  follow('b-migration', 'A live migration that completes.', [...bootTrio, at(5300, { do: 'migrate', how: migration() })]),
  follow('c-migration-cancelled', 'A migration that is cancelled after the unplug.', [
    ...bootTrio,
    at(5300, { do: 'migrate', how: migration({ ends: 'cancelled', takes_ms: 1500 }) }),
  ]),
  follow('d-vf-hotplug-later', 'Boot without a primary, which is plugged in later.', [
    ...standbyOnly,
    at(3200, add('primary', vf())),
  ]),
  follow('e-vf-different-mac', 'A function with another MAC is plugged in.', [
    ...standbyOnly,
    at(3200, add('primary', vf({ mac: FOREIGN_MAC }))),
  ]),
  follow('f-vf-del-and-add', 'The primary is unplugged and plugged in again, without a migration.', [
    ...bootTrio,
    at(5300, { do: 'remove', id: 'primary' }),
    at(7500, add('primary', vf())),
  ]),
  follow('g-vf-link-down-up', 'The primary loses its carrier and gets it back.', [
    ...bootTrio,
    at(6000, { do: 'link', id: 'primary', on: false }),
    at(8000, { do: 'link', id: 'primary', on: true }),
  ]),
  follow('h-three-migrations', 'Three migrations, one after the other.', [
    ...bootTrio,
    ...[5300, 10_300, 15_300].map((when) => at(when, { do: 'migrate', how: migration() })),
  ]),
  follow('i-two-same-mac-vfs', 'A second function with the pair’s MAC comes, and the first leaves.', [
    ...bootTrio,
    at(6000, add('second', vf({ address: '0000:03:00.0' }))),
    at(9000, { do: 'remove', id: 'primary' }),
    at(12_500, { do: 'up', id: 'second', value: true }),
  ]),
  follow('j-no-failover-userspace-bond', 'A NIC without STANDBY is bonded by hand, and its primary replugged.', [
    ...bondByHand,
    at(10_300, { do: 'remove', id: 'primary' }),
    at(13_600, add('primary', vf())),
    at(16_200, { do: 'enslave', id: 'primary' }),
  ]),
  follow('k-cancel-in-wait-unplug', 'A migration that is cancelled while it waits for the unplug.', [
    ...bootTrio,
    at(5300, { do: 'migrate', how: migration({ ends: 'cancelledWhileWaiting' }) }),
  ]),
  follow('l-destination-dies', 'A migration that fails, because its target died.', [
    ...bootTrio,
    at(5300, { do: 'migrate', how: migration({ ends: 'fails', takes_ms: 900 }) }),
  ]),
];
