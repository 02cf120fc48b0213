// Real death in a real guest: the service steers its bond while primaries come and go and links are cut, and is killed with
// SIGKILL at random moments, or as soon as an effect begins, again and again on the same log. Only with --full: eight guests
// with 25 deaths each; `--full --only 'deaths, guest 3'` is one of them.
import { afterEach, expect, inject, test } from 'vitest';
import { Random } from '../../../src/adapters/simulated/random.ts';
import type { HappeningOf } from '../../../src/events/catalogue.ts';
import { cleanUp, eventsIn } from '../../unit/service.given.ts';
import { CONFIGURATION, Guest, IS_SOUND } from './guest.ts';
import { Lab, type PrimaryModel } from './lab.ts';
import { GUEST } from './network.ts';
import { pause } from './vm.ts';

const full = inject('full');
const setup = inject('guests');
const seed = inject('seed');
const DEATHS = Number(process.env['NETKVM_DEATHS'] ?? 25);
const GUESTS = [1, 2, 3, 4, 5, 6, 7, 8].map((number): [number, PrimaryModel] => [
  number,
  number % 2 === 0 ? 'e1000e' : 'vmxnet3',
]);
const LONGEST_LIFE_MS = 4000;

let lab: Lab | null = null;
afterEach(async () => {
  await lab?.end();
  lab = null;
  await cleanUp();
});

/** What happens to the guest's one primary, and what is known of it. */
class Hypervisor {
  readonly #lab: Lab;
  readonly #random: Random;
  #plugged = false;
  #up = true;

  constructor(on: Lab, random: Random) {
    this.#lab = on;
    this.#random = random;
  }

  async stir(): Promise<void> {
    if (!this.#plugged) return this.#plug();
    if (this.#random.chance(0.5)) return this.#cut(!this.#up);
    this.#plugged = false;
    await this.#lab.unplug();
  }

  async #plug(): Promise<void> {
    // What QEMU cut is cut for the next card, too.
    await this.#cut(true);
    this.#plugged = true;
    await this.#lab.plug();
  }
  async #cut(up: boolean): Promise<void> {
    this.#up = up;
    await this.#lab.link(up);
  }

  /** There is a primary, and its link is up. */
  async settle(): Promise<void> {
    if (this.#plugged) await this.#cut(true);
    else await this.#plug();
  }
}

/** What the service has said it had decided and done is in its log, and every decision came to one end. */
const check = async (guest: Guest, folder: string): Promise<void> => {
  const made = eventsIn(folder, 'decision.made').map(({ data }) => (data as HappeningOf<'decision.made'>['data']).id);
  const seen = eventsIn(folder, 'outcome.seen').map(({ data }) => (data as HappeningOf<'outcome.seen'>['data']).decision);
  const lines = await guest.lines();
  const said = (event: string, field: string): string[] =>
    lines.filter((line) => line.event === event).map((line) => String(line[field]));
  expect(said('decision', 'id').filter((id) => !made.includes(id))).toEqual([]);
  expect(said('outcome', 'decision').filter((id) => !seen.includes(id))).toEqual([]);
  expect(made.filter((id) => seen.filter((one) => one === id).length !== 1)).toEqual([]);
  expect(new Set(made).size).toBe(made.length);
};

test.runIf(full).each(GUESTS)(
  `${DEATHS} deaths, guest %i, %s, seed ${seed}`,
  { timeout: DEATHS * 15_000 + 120_000 },
  async (number, model) => {
    const random = new Random(seed, `death ${number}`);
    lab = await Lab.boot(setup, { failover: false, model, withPrimary: false });
    const guest = new Guest(lab);
    await guest.address();
    await guest.serve(CONFIGURATION.bond);
    const hypervisor = new Hypervisor(lab, random);
    for (let death = 0; death < DEATHS; death += 1) {
      if (random.chance(0.8)) await hypervisor.stir();
      await pause(random.between(0, LONGEST_LIFE_MS));
      if (random.chance(0.5)) await guest.strike();
      else await Promise.all([guest.strikeInEffect(), pause(random.between(0, 500)).then(() => hypervisor.stir())]);
    }
    await hypervisor.settle();
    await guest.rests('onPrimary', 'primary');
    const { truth, belief } = await guest.compared();
    expect(belief).toEqual(truth);
    await guest.reaches();
    expect(await guest.effects()).toEqual({ addresses: [`${GUEST.v4}/24`, `${GUEST.v6}/64`], bonds: 1 });
    expect(await guest.ended()).toEqual(IS_SOUND);
    const log = await guest.pull();
    await check(guest, log);
    // It was killed in the middle of things, or it would prove nothing.
    const voided = eventsIn(log, 'outcome.seen').filter(({ data }) => {
      const { reason } = data as HappeningOf<'outcome.seen'>['data'];
      return reason?.startsWith('the service ended') === true;
    });
    expect(voided.length).toBeGreaterThan(0);
  },
);
