// Every named scenario, in one list.
import { BY_CHANCE } from './by-chance.ts';
import { FOLLOWED, followed } from './followed.ts';
import { add, at, MAC, migration, nic, type Scenario, vf } from './script.ts';

/** Nothing goes wrong and nothing happens by chance: what the service does, for somebody who looks on. */
const FAILOVER: Scenario = {
  name: 'failover',
  what: 'The service steers a bond through a plug, a live migration and the return of the primary.',
  script: () => ({
    ...followed([
      at(100, add('standby', nic({ standby: false }))),
      at(200, { do: 'bond' }),
      at(210, { do: 'enslave', id: 'standby' }),
      at(220, { do: 'bondUp', on: true }),
      at(1000, add('primary', vf({ carrierDelay_ms: 1000 }))),
      at(4000, { do: 'migrate', how: migration({ primary: { carrierDelay_ms: 1000 }, plugAfter_ms: 1000 }) }),
    ]),
    effects: 'on',
    pairs: [MAC],
  }),
};

export const SCENARIOS: readonly Scenario[] = [...FOLLOWED, ...BY_CHANCE, FAILOVER];
/** The ones that follow a capture of the same name. */
export const FOLLOWED_NAMES = FOLLOWED.map(({ name }) => name);
/** The ones that a simulation draws from. */
export const CHANCE_NAMES = BY_CHANCE.map(({ name }) => name);

export const scenarioOf = (name: string): Scenario | undefined => SCENARIOS.find((scenario) => scenario.name === name);
