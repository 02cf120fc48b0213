// A simulated guest in real time, for `netkvm run --platform simulated`: the scenario's script plays at the pace of the
// real clock (or faster), and whoever looks on sees the service do what it would do in a guest.
import { realTimer } from '../platform.ts';
import { SimulatedClock } from './clock.ts';
import { Faults } from './faults.ts';
import { SimulatedPlatform } from './platform.ts';
import { Random } from './random.ts';
import { isBefalling, type Scenario } from './script.ts';
import { type Happens, World } from './world.ts';

/** The longest sleep between two looks at the queue. */
const SLEEP_MS = 20;

/**
 * Begins the scenario and returns the platform for the service. `speed` is simulated ms for each real one. What a script
 * would do to the service itself (kills, outages of its log) is left out.
 */
export const openSimulated = ({ name, script }: Scenario, seed: number, speed = 1): SimulatedPlatform => {
  const { world: options, rates, actions } = script(new Random(seed, name));
  const clock = new SimulatedClock();
  const world = new World(clock, options);
  for (const { at_ms, what } of actions.filter((action) => !isBefalling(action))) {
    clock.after(at_ms, () => world.happen(what as Happens));
  }
  const platform = new SimulatedPlatform(world, new Faults(rates, new Random(seed, 'faults')));
  const began_ms = performance.now();
  const turn = (): void => {
    if (platform.isRetired) return;
    const now_ms = (performance.now() - began_ms) * speed;
    for (let next = clock.nextAt(); next !== null && next <= now_ms; next = clock.nextAt()) clock.runNext();
    clock.reach(now_ms);
    const wait_ms = ((clock.nextAt() ?? Infinity) - now_ms) / speed;
    realTimer(Math.min(SLEEP_MS, Math.max(1, wait_ms)), turn);
  };
  turn();
  return platform;
};
