// Model checking by the chart itself: everything that the chart of a pair can reach under every realisable view, with
// xstate as the transition function (chart.explore.ts, which says why not xstate/graph), and what becomes of it when the
// world then stays as it is (liveness, with the real fold).
import { beforeAll, describe, expect, test } from 'vitest';
import { type AnyTransitionDefinition, fromTransition } from 'xstate';
import { getShortestPaths } from 'xstate/graph';
import type { Obligation } from '../../src/events/catalogue.ts';
import { pairChart } from '../../src/machines/chart.ts';
import { Guest } from '../../src/machines/guest.ts';
import { identityOf, MODES } from '../../src/machines/roles.ts';
import { BIT, factsOf, unpackView } from '../../src/machines/view.ts';
import { MAC, Teller } from '../given.ts';
import { answerOf, beginning, explore, type Explored, keyOf, type Place, placeAfter } from './chart.explore.ts';
import { allWorlds, viewsByRule, type World } from './chart.views.ts';

interface Node {
  readonly id: string;
  readonly states: Readonly<Record<string, Node>>;
  readonly always?: readonly AnyTransitionDefinition[];
  readonly transitions: ReadonlyMap<string, readonly AnyTransitionDefinition[]>;
}
const below = (node: Node): Node[] => [node, ...Object.values(node.states).flatMap(below)];
const nodes = below(pairChart.root);
/** Ids of the states that are active in a configuration. */
const nodesOf = (value: string): string[] =>
  // oxlint-disable-next-line no-underscore-dangle -- the only place where a snapshot names its state nodes
  pairChart.resolveState({ value: JSON.parse(value), context: {} as never })._nodes.map(({ id }) => id);
const nameOf = ({ source, eventType, guard }: AnyTransitionDefinition): string =>
  `${source.id} ${eventType || 'always'} ${typeof guard === 'string' ? guard : ''}`.trim();

let worlds: World[];
let lasting: World[];
let all: Explored;
let settled: Explored;
beforeAll(() => {
  worlds = allWorlds();
  lasting = worlds.filter(({ torn }) => !torn);
  all = explore([...new Set(worlds.map(({ bits }) => bits))]);
  settled = explore([...new Set(lasting.map(({ bits }) => bits))]);
}, 60_000);

test.each(MODES)('the views of mode %s are those that its rules allow', (mode) => {
  const shown = worlds.filter((world) => world.mode === mode).map(({ bits }) => bits);
  expect(shown.toSorted((a, b) => a - b)).toEqual(viewsByRule(mode));
});

describe('what can be reached', () => {
  test('every state, but for those that are passed through', () => {
    const reached = new Set(all.places.flatMap(({ at }) => nodesOf(at.value)));
    expect(nodes.map(({ id }) => id).filter((id) => !reached.has(id))).toEqual(['pair.path.failover.sorting']);
  });

  test('every transition that is declared, also in worlds that can last', () => {
    const declared = nodes.flatMap(({ always = [], transitions }) => [...always, ...[...transitions.values()].flat()]);
    expect(declared.length).toBeGreaterThan(50);
    expect(declared.filter((one) => !all.taken.has(one)).map(nameOf)).toEqual([]);
    expect(declared.filter((one) => !settled.taken.has(one)).map(nameOf)).toEqual([]);
  });

  test('no view sends the chart round in circles', () => {
    expect(settled.circles.map(({ from, event, bits }) => [from, event, factsOf(bits)])).toEqual([]);
    const unknown = all.circles;
    expect(unknown.map(({ from, event, bits }) => [from, event, factsOf(bits)])).toEqual([]);
  });

  test('xstate/graph comes to the same places, with a shortest path to each', () => {
    type Given = { readonly type: string; readonly bits: number };
    const logic = fromTransition((place: Place, { type, bits }: Given) => placeAfter(place, type, bits) ?? place, beginning);
    const questions = Map.groupBy(settled.asked, ({ from }) => from);
    const mayCome = ({ armed }: Place, event: string): boolean => !event.startsWith('xstate.after.') || armed.includes(event);
    const paths = getShortestPaths(logic, {
      events: ({ context }) =>
        (questions.get(context.at) ?? []).flatMap(({ event: type, bits }) => (mayCome(context, type) ? [{ type, bits }] : [])),
      serializeState: ({ context }) => keyOf(context),
      limit: 1_000_000,
    });
    expect(paths.map(({ state }) => keyOf(state.context)).toSorted()).toEqual(settled.places.map(keyOf).toSorted());
    expect(Math.max(...paths.map(({ steps }) => steps.length))).toBeLessThan(12);
  });

  test('no place is without an exit', () => {
    const left = new Set(
      settled.places.flatMap((place) =>
        settled.asked.flatMap(({ from, event, bits }) => {
          const next = from === place.at ? placeAfter(place, event, bits) : null;
          return next === null || next.at === place.at ? [] : [keyOf(place)];
        }),
      ),
    );
    expect(settled.places.map(keyOf).filter((key) => !left.has(key))).toEqual([]);
  });

  test('a timer is armed only in the state that it belongs to', () => {
    for (const { at, armed } of all.places) {
      const here = new Set(nodesOf(at.value));
      for (const timer of armed) expect(here, at.value).toContain(timer.split('.').slice(3).join('.'));
    }
  });
});

const owed: Obligation = { id: 'd1.0.takeover', pair: MAC, kind: 'takeover', device: null, before: null };

/** The pair of this world, put into this place, with a decision under way where the place says so. */
const placed = (world: World, { at, armed }: Place): Teller => {
  const before = new Teller();
  before.tell(...world.told);
  const saved = before.guest.snapshot();
  const own = unpackView(world.bits);
  const pending = {
    id: 'd1.0',
    pair: MAC,
    kind: 'activateStandby',
    mode: 'bond',
    attempt: 1,
    master: null,
    standby: null,
    primary: null,
  };
  const { roles } = before.pair;
  const [standby, primary] = [identityOf(roles.standby), identityOf(roles.primary)];
  const pair = {
    ...saved.pairs[0]!,
    configuration: at.value,
    // Another view than the world's, so that the chart is told the facts.
    bits: world.bits ^ BIT.standby,
    timers: armed.map((timer) => [timer, 0] as const),
    pending: at.effects === 'pending' ? pending : null,
    attempts: 0,
    leaving: own.leaving,
    obligations: own.restoring || own.takingOver || own.strayed ? [owed] : [],
    unfinished: own.takingOver,
    aligned: own.untuned ? null : primary && { ...primary, device: roles.primary?.facts.device ?? null, mtu: null },
    tuned: own.mistuned || standby === null ? null : { ...standby, stage: 'fallback', left: 0 },
    released: own.restoring,
    losses: own.flapping ? Array.from({ length: world.policy.flapLimit }, () => 999) : [],
  };
  // A stray address is on a member, whichever there is.
  const member = saved.adapters.find(({ facts }) => facts.master !== null && facts.kind === null);
  const adapters = saved.adapters.map((one) => ({ ...one, addresses: own.strayed && one === member ? ['192.0.2.1/24'] : [] }));
  const teller = new Teller(new Guest());
  teller.guest.restore({ ...saved, adapters, pairs: [pair] } as ReturnType<Guest['snapshot']>);
  teller.seq = 100;
  for (const timer of armed) teller.timers.set(timer, { armedBy: 0, due_ms: teller.now_ms + 10, pair: MAC });
  teller.tell({ type: 'configuration.applied', data: { policy: world.policy } });
  return teller;
};

/** More than the retries of every effect, with all timers between them. */
const ROUNDS = 200;
interface Fate {
  /** Innermost states of the path, in the cycle that it comes down to. */
  readonly leaves: ReadonlySet<string>;
  readonly decided: ReadonlySet<string>;
  /** The view at the end, when signs and losses are forgotten. */
  readonly bits: number;
}
/** Lets outcomes fail and timers fire while the world stays as it is, until it has come to rest or gone round once. */
const fateOf = (teller: Teller): Fate => {
  const trail: { key: string; leaf: string }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { pending, attempts, bits, configuration } = teller.pair;
    const done = (leaves: readonly string[]): Fate => ({ leaves: new Set(leaves), decided: new Set(teller.decided), bits });
    if (pending === null && teller.timers.size === 0) return done([leafOf(teller)]);
    const key = [configuration.id, bits, attempts, pending?.kind, ...teller.timers.keys()].join();
    // The third time it is a cycle that nothing ends; a memory of the fold may end the first one (losses are forgotten).
    const seen = trail.filter((one) => one.key === key).length;
    if (seen === 2) return done(trail.slice(trail.findLastIndex((one) => one.key === key)).map(({ leaf }) => leaf));
    trail.push({ key, leaf: leafOf(teller) });
    if (pending !== null) teller.conclude('failed');
    else teller.wait(Math.min(...[...teller.timers.values()].map(({ due_ms }) => due_ms)) - teller.now_ms);
  }
  throw new Error('neither rest nor cycle');
};
const leafOf = ({ pair }: Teller): string => {
  const { stage } = pair.configuration;
  return stage === 'fallback' ? `fallback.${leafName(pair.configuration.value)}` : stage;
};
const leafName = (value: string): string =>
  (JSON.parse(value) as { path: { failover: { fallback: string } } }).path.failover.fallback;

/** What must become of a world that stays as it is; undefined when it is as it should be. */
const complaint = ({ mode, bits: before }: World, { leaves, decided, bits }: Fate): string | undefined => {
  const view = unpackView(bits);
  if (view.restoring && !decided.has('giveBack')) return 'something is owed, and is not given back';
  if (view.takingOver && !decided.has('takeOver')) return 'a takeover is wanted, and is not made';
  const idle = ![...decided].some((kind) => kind !== 'moveAddresses');
  if (unpackView(before).strayed && idle && !decided.has('moveAddresses')) return 'addresses are left on a member';
  const isFallback = [...leaves].every((leaf) => leaf.startsWith('fallback'));
  if (view.mistuned && isFallback && decided.size === 0) return 'the standby is not tuned';
  const is = (...names: string[]): boolean => [...leaves].every((leaf) => names.includes(leaf));
  if (!view.standby) return is('absent') ? undefined : 'no standby, so absent';
  if (view.unjoined) return is('fallback.unjoined') ? undefined : 'nothing joins the two, so fallback.unjoined';
  if (!view.ours) return is('standalone') ? undefined : 'not ours, so standalone';
  // A NETKVM pair with unequal MTUs must not stay on its primary, whatever it transmits over.
  if (view.viaPrimary && view.compatible) return is('onPrimary') ? undefined : 'the primary carries, so onPrimary';
  if (leaves.has('onPrimary')) return 'onPrimary though the primary does not carry';
  if (leaves.has('detaching') && view.viaStandby) return 'detaching though the standby carries';
  if (leaves.has('detaching') && view.primary) return 'detaching for ever though the primary stays';
  // Retries are a cycle by design, and these are its stages; without effects the stage comes to rest.
  const trying = view.mayAct && is('attaching', 'fallback.notAttached', 'switching', ...(view.held ? ['awaitingPrimary'] : []));
  if (leaves.size > 1 && !trying) return 'the stage does not come to rest';
  if (!view.mayAct || view.takingOver) return undefined;
  if (mode === 'bond' && view.standbyReady && !view.viaStandby && !(view.primary && view.carrier))
    if (!decided.has('activateStandby')) return 'the standby is ready, and is not made active';
  if (mode === 'bond' && view.eligible && !decided.has('activatePrimary'))
    return 'a primary that the bond would take is not made active';
  const usable = view.primary && view.attachable && view.compatible && view.carrier;
  if (mode === 'netkvm' && view.held && !usable && !view.attached && !decided.has('releaseLink'))
    return 'the standby stays held with no usable primary';
  return undefined;
};

/** Facts that no guard reads in this view, and pairs of memories that add nothing: left out to be quick. */
const adds = (bits: number): boolean => {
  const { takingOver, untuned, strayed, restoring, mistuned } = unpackView(bits);
  const { primary, bound, exhausted, flapping, leaving, expected, held, holds, standbyReady, viaStandby } = unpackView(bits);
  const memories = [leaving, flapping, exhausted, takingOver, untuned, strayed, restoring, mistuned].filter(Boolean).length;
  // Giving back is the same for every NETKVM pair.
  if (restoring && holds && primary) return false;
  // What is tuned is a standby that carries; what is restarted, a primary that is not bound.
  if ((mistuned && (!viaStandby || primary)) || (untuned && holds && bound)) return false;
  return !exhausted && memories < 2 && !(expected && !held) && !(holds && standbyReady && !viaStandby);
};

test('from everywhere, a world that stays as it is gets the stage that it calls for', () => {
  const complaints = new Map<string, string[]>();
  let runs = 0;
  const seen = new Set<string>();
  for (const world of lasting) {
    if (!adds(world.bits)) continue;
    for (const place of settled.places) {
      // Many places become one as soon as the facts are told.
      const answer = answerOf(place.at, 'facts', world.bits);
      const same = JSON.stringify([
        world.mode,
        world.bits,
        answer.to!.value,
        answer.to === place.at ? place.armed : answer.timers,
      ]);
      if (seen.has(same)) continue;
      seen.add(same);
      runs += 1;
      const fate = fateOf(placed(world, place));
      const wrong = complaint(world, fate);
      if (wrong === undefined) continue;
      const key = `${world.mode}: ${wrong}`;
      complaints.set(key, [
        ...(complaints.get(key) ?? []),
        `${place.at.value} ${place.armed.join()} ${factsOf(world.bits).join()} -> ${[...fate.leaves].join()} ${[...fate.decided].join()}`,
      ]);
    }
  }
  expect(runs).toBeGreaterThan(5000);
  expect([...complaints].map(([key, list]) => `${key} (${list.length}): ${list[0]}`)).toEqual([]);
}, 120_000);
