// The service in a real guest through everything that a hypervisor does to a failover pair: in the kernel's mode and with a
// bond, with primaries that get carrier at once (vmxnet3) and after seconds (e1000e), unharmed and killed in the middle.
import { afterEach, expect, inject, test } from 'vitest';
import { cleanUp } from '../../unit/service.given.ts';
import { CONFIGURATION, Guest, IS_SOUND } from './guest.ts';
import { Lab, PRIMARIES, type PrimaryModel } from './lab.ts';
import { type Mode, type Scenario, SCENARIOS } from './scenarios.ts';

const full = inject('full');
const setup = inject('guests');
const LIMIT_MS = 240_000;

interface Case {
  readonly scenario: Scenario;
  readonly mode: Mode;
  readonly model: PrimaryModel;
  readonly killed: boolean;
}
const nameOf = ({ scenario, mode, model, killed }: Case): string =>
  `${scenario.name}, ${mode}, ${model}${killed ? ', killed' : ''}`;

/** What the smoke run takes of the matrix: each scenario that is unlike the others once, two of them killed. */
const SMOKE = ['boot, bond, vmxnet3', 'carrier loss, kernel, e1000e, killed', 'migration there and back, bond, vmxnet3, killed'];
const MATRIX: readonly Case[] = SCENARIOS.flatMap((scenario) =>
  scenario.modes.flatMap((mode) =>
    PRIMARIES.flatMap((model) => [false, true].map((killed) => ({ scenario, mode, model, killed }))),
  ),
);
const CASES = full ? MATRIX : MATRIX.filter((one) => SMOKE.includes(nameOf(one)));

let lab: Lab | null = null;
afterEach(async () => {
  await lab?.end();
  lab = null;
  await cleanUp();
});

/** A guest with the service in it, at rest where the scenario begins. */
const begin = async ({ scenario: { begins, native }, mode, model }: Case): Promise<Guest> => {
  const failover = mode === 'kernel';
  const withPrimary = begins === 'boots' || (failover && begins === 'onPrimary');
  const append = begins === 'boots' ? 'nodrivers' : '';
  lab = await Lab.boot(setup, { failover, model, withPrimary, native: native === true, append });
  const guest = new Guest(lab);
  if (begins !== 'boots') await guest.address();
  await guest.serve(CONFIGURATION[mode]);
  if (begins === 'boots') return guest;
  if (mode === 'bond') await guest.takenOver();
  if (!withPrimary) await guest.rests('fallback', 'standby');
  if (!failover && begins === 'onPrimary') await lab.plug();
  if (begins === 'onPrimary') await guest.rests('onPrimary', 'primary');
  return guest;
};

/** Each datapath once for as long as it lasted; moments without one are left out where they are the kernel’s own. */
const passed = (places: readonly { datapath: string }[], unbroken: boolean): string[] =>
  places
    .map(({ datapath }) => datapath)
    .filter((datapath) => unbroken || datapath !== 'none')
    .filter((datapath, at, all) => datapath !== all[at - 1]);

test('the smoke run names cases that exist', () => {
  expect(MATRIX.map(nameOf)).toEqual(expect.arrayContaining(SMOKE));
});

test.each(CASES.map((one) => [nameOf(one), one] as const))('%s', { timeout: LIMIT_MS }, async (_, one) => {
  const { scenario, mode, killed } = one;
  const guest = await begin(one);
  const before = (await guest.places()).length;
  await scenario.act(guest.lab, guest, () => (killed ? guest.strike() : Promise.resolve()));
  const datapaths = scenario.datapaths[mode];
  await guest.rests(scenario.ends[mode], datapaths.at(-1) ?? '');
  const unbroken = mode === 'bond' && scenario.unbroken === true;
  const told = passed((await guest.places()).slice(Math.max(0, before - 1)), unbroken);
  expect(told.filter((datapath) => unbroken && datapath === 'none')).toEqual([]);
  // A service that is killed owes lines, and at a boot devices register in any order.
  const owes = killed || scenario.begins === 'boots';
  expect(owes ? told.slice(-1) : told).toEqual(owes ? datapaths.slice(-1) : datapaths);
  const { truth, belief } = await guest.compared();
  expect(belief).toEqual(truth);
  await guest.reaches();
  expect(await guest.ended()).toEqual(IS_SOUND);
});
