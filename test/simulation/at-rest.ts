// What must be the case when the world has been left in peace for longer than every delay of the policy: the fold knows the
// world as it is (invariant 8), traffic flows wherever it can (6), and a bond that was made is known to be owed (7).
import type { World } from '../../src/adapters/simulated/world.ts';
import type { Policy } from '../../src/events/catalogue.ts';
import type { Service } from '../../src/host/service.ts';
import type { PairState } from '../../src/machines/pair-state.ts';
import { BIT } from '../../src/machines/view.ts';

export type InvariantNumber = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;
type Wrong = readonly [invariant: InvariantNumber, text: string];

interface Resting {
  readonly service: Service;
  readonly world: World;
  readonly policy: Policy;
}

/** The bond that a takeover makes. */
export const BOND = 'fo112233';

const sorted = <T extends object>(item: T): T =>
  Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1))) as T;

const byMac = <T extends { mac: string }>(records: readonly T[]): T[] =>
  [...new Map(records.toReversed().map((record) => [record.mac, record])).values()].toSorted((a, b) => (a.mac < b.mac ? -1 : 1));

const differs = (what: string, folded: unknown, real: unknown): Wrong[] => {
  const [mine, theirs] = [JSON.stringify(folded), JSON.stringify(real)];
  return mine === theirs ? [] : [[8, `${what} are folded as ${mine}, and are ${theirs}`]];
};

function* knowsTheWorld({ service, world }: Resting): Generator<Wrong> {
  const { guest } = service.story;
  const known = [...guest.adapters.values()].toSorted((a, b) => a.facts.ifindex - b.facts.ifindex);
  yield* differs(
    'adapters',
    known.map(({ facts }) => sorted(facts)),
    world.kernel.adapters().map((adapter) => sorted(adapter)),
  );
  const addresses = known.flatMap(({ facts, addresses: own }) => [...own].map((address) => `${facts.ifindex} ${address}`));
  const real = world.kernel.addresses().map(({ ifindex, address }) => `${ifindex} ${address}`);
  yield* differs('addresses', addresses.toSorted(), real.toSorted());
  const folded = [...guest.pairs.values()].flatMap(({ driverFacts }) => (driverFacts === null ? [] : [driverFacts]));
  yield* differs('records of the driver', byMac(folded), byMac(world.kernel.records()));
}

const owesTakeover = ({ obligations }: PairState): boolean => obligations.some(({ kind }) => kind === 'takeover');

const stateOf = ({ configuration }: PairState): string => `${configuration.leaf} ${configuration.effects}`;

function* flows(pair: PairState, { service, world, policy }: Resting, isCut: boolean): Generator<Wrong> {
  const { mac } = pair;
  const { datapath, standbyWorks, primaryWorks, wrong } = world.kernel.truth(mac);
  const state = stateOf(pair);
  if (pair.shown.datapath !== datapath) yield [6, `${mac} is shown on ${pair.shown.datapath}, and is on ${datapath} (${state})`];
  if (pair.released) return;
  const driven = pair.mode === 'netkvm' || pair.mode === 'bond';
  if (policy.effects !== 'on' || !driven || (pair.bits & BIT.ours) === 0) return;
  if (!policy.pairs.some((listed) => listed.mac === mac) || pair.roles.rival !== null) return;
  if (datapath === 'none' && (standbyWorks || primaryWorks)) yield [6, `${mac} has no traffic, although a path works (${state})`];
  else if (datapath !== 'primary' && primaryWorks)
    yield [6, `${mac} stays on ${datapath}, although its primary works (${state})`];
  // A bond whose obligation went with the log is like one made by hand: nothing is moved in it, but it is told.
  const isForgotten = isCut && !owesTakeover(pair);
  const isTold = service.story.findings
    .list(service.story.end)
    .some((finding) => finding.code === 'doubleAddresses' && finding.mac === mac && finding.until_seq === null);
  for (const text of wrong) if (!isForgotten || !isTold) yield [6, `${mac}: ${text} (${state})`];
}

/** A takeover that is wanted and possible was made. */
function* isTakenOver(pair: PairState, { policy, world }: Resting, isCut: boolean): Generator<Wrong> {
  const { mac, roles } = pair;
  const wanted = policy.effects === 'on' && policy.pairs.some((one) => one.mac === mac && one.mode === 'bond');
  const { standby } = roles;
  if (!wanted || standby === null || roles.rival !== null) return;
  const ready = standby.facts.master === null && standby.facts.up && standby.facts.carrier;
  const isNamed = world.kernel.adapters().some(({ name }) => name === BOND);
  const hasGlobal = [...standby.addresses].some((address) => !address.startsWith('fe80'));
  if (ready && hasGlobal && !isNamed && pair.failures < policy.retryLimit)
    yield [6, `${mac} is not taken over, although it could be (${pair.configuration.leaf}, ${pair.hindrance})`];
  if (isNamed && !owesTakeover(pair) && !isCut) yield [7, `${mac}: the bond is there, and nobody knows what was before it`];
  // Another standby may have come meanwhile, which the kernel joins itself; or somebody has put it into another bond, or has
  // deleted the bond, which takes the addresses along.
  const master = world.kernel.adapters().find(({ ifindex }) => ifindex === standby.facts.master) ?? null;
  const mayGoOn = master === null ? isNamed || (ready && hasGlobal) : master.name === BOND;
  if (pair.unfinished && mayGoOn) yield [6, `${mac} is still being taken over (${pair.hindrance})`];
}

/** `isCut`: the disk has lost something, and what was owed with it. */
export function* wrongAtRest(resting: Resting, isCut: boolean): Generator<Wrong> {
  yield* knowsTheWorld(resting);
  for (const pair of resting.service.story.guest.pairs.values()) {
    yield* flows(pair, resting, isCut);
    if (!pair.released) yield* isTakenOver(pair, resting, isCut);
  }
}
