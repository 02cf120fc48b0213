// Every named scenario, in one list.
import { BY_CHANCE } from './by-chance.ts';
import { FOLLOWED, followed } from './followed.ts';
import { type Action, add, at, MAC, migration, nic, type Scenario, vf } from './script.ts';
import type { WorldOptions } from './world.ts';

/** Nothing goes wrong and nothing happens by chance: what the service does, for somebody who looks on. */
const steered = (name: string, what: string, world: WorldOptions, before: readonly Action[]): Scenario => ({
  name,
  what,
  script: () => ({
    ...followed([
      ...before,
      at(1000, add('primary', vf({ carrierDelay_ms: 1000 }))),
      at(4000, { do: 'migrate', how: migration({ primary: { carrierDelay_ms: 1000 }, plugAfter_ms: 1000 }) }),
    ]),
    world,
    effects: 'on',
    pairs: [MAC],
  }),
});

const STEERED: readonly Scenario[] = [
  steered(
    'failover',
    'The service steers a bond through a plug, a live migration and the return of the primary.',
    { system: 'linux' },
    [
      at(100, add('standby', nic({ standby: false }))),
      at(200, { do: 'bond' }),
      at(210, { do: 'enslave', id: 'standby' }),
      at(220, { do: 'bondUp', on: true }),
    ],
  ),
  steered(
    'failover-windows',
    'The same in Windows: NETKVM’s link is held and released, and VIOPROT bound.',
    { system: 'windows' },
    [at(100, add('standby', nic()))],
  ),
];

export const SCENARIOS: readonly Scenario[] = [...FOLLOWED, ...BY_CHANCE, ...STEERED];
/** The ones that follow a capture of the same name. */
export const FOLLOWED_NAMES = FOLLOWED.map(({ name }) => name);
/** The ones that a simulation draws from. */
export const CHANCE_NAMES = BY_CHANCE.map(({ name }) => name);

export const scenarioOf = (name: string): Scenario | undefined => SCENARIOS.find((scenario) => scenario.name === name);
