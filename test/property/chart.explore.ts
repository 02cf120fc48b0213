// Walks the pair's chart exhaustively, with xstate itself as the transition function. What a transition does can depend
// only on the facts that its guards read, so each answer is kept under the facts that were read on the way to it: one
// answer stands for all views that agree on those, and a hundred questions cover thousands of views without guessing.
//
// Why xstate/graph does not walk the chart itself: the facts are context and not part of an event, armed timers are no part
// of a snapshot (one that has fired without a transition is not armed again), and it would keep a snapshot for every edge.
// It walks what is made here instead (chart.model.test.ts): the same places must come out, each with a path to it.
import { createActor, transition, type AnyTransitionDefinition, type InspectionEvent } from 'xstate';
import { configurationOf, initialConfiguration, type Configuration } from '../../src/machines/chart-table.ts';
import { pairChart } from '../../src/machines/chart.ts';
import { MAY_DECIDE } from '../../src/machines/pair.ts';
import { BIT, unpackView, type View, type ViewBit } from '../../src/machines/view.ts';

export interface Answer {
  /** Null when the chart went round in circles. */
  readonly to: Configuration | null;
  /** Timers that are armed and cancelled, in this order: a state that is passed through does both. */
  readonly timers: readonly { readonly arm: boolean; readonly timer: string }[];
  readonly taken: readonly AnyTransitionDefinition[];
  /** Facts of the fold's own that it forgets at once: the next look is without them. */
  readonly forgets: number;
}
interface Branch {
  field?: ViewBit;
  readonly ways: Map<boolean, Branch>;
  answer?: Answer;
}

/** An event that nobody handles: only what needs no event happens. */
export const REST = 'rest';

const FORGETS: Readonly<Record<string, number>> = {
  forgetSign: BIT.leaving,
  forgetFlaps: BIT.flapping,
  forgetAttempts: BIT.exhausted,
  // The pause after a takeover shows in nothing but that it is wanted again.
  forgetPause: 0,
};
const stillClock = { setTimeout: () => 0, clearTimeout: () => {} };

const ask = (from: Configuration, event: string, bits: number): { read: Set<ViewBit>; answer: Answer } => {
  const read = new Set<ViewBit>();
  const view: View = new Proxy(unpackView(bits), {
    get: (facts, name) => {
      read.add(name as ViewBit);
      return facts[name as ViewBit];
    },
  });
  const shown = (facts: View) => pairChart.resolveState({ value: JSON.parse(from.value), context: { view: facts } });
  const message = { type: event } as { type: 'facts' };
  try {
    const [next, actions] = transition(pairChart, shown(view), message);
    const timers = actions.flatMap(({ type, params }: { type: string; params?: unknown }) => {
      if (type === 'xstate.raise') return [{ arm: true, timer: (params as { id: string }).id }];
      return type === 'xstate.cancel' ? [{ arm: false, timer: (params as { sendId: string }).sendId }] : [];
    });
    const taken: AnyTransitionDefinition[] = [];
    const inspect = (seen: InspectionEvent): void => {
      // oxlint-disable-next-line no-underscore-dangle -- the only place where xstate says which transitions it took
      if (seen.type === '@xstate.microstep') taken.push(...seen._transitions);
    };
    // An actor reads the whole of its context when it is made, so it gets another one.
    const snapshot = shown(unpackView(bits));
    const actor = createActor(pairChart, { snapshot, inspect, clock: stillClock, input: snapshot.context });
    actor.start();
    actor.send(message);
    actor.stop();
    const forgets = actions.reduce((sum, { type }) => sum | (FORGETS[type] ?? 0), 0);
    const to = configurationOf(JSON.stringify(next.value));
    return { read, answer: { to, taken, timers, forgets } };
  } catch (error) {
    if (!(error as Error).message.startsWith('Infinite loop')) throw error;
    return { read, answer: { to: null, taken: [], timers: [], forgets: 0 } };
  }
};

const roots = new Map<string, Branch>();
const next = (branch: Branch, field: ViewBit, bits: number): Branch => {
  const way = (bits & BIT[field]) !== 0;
  let found = branch.ways.get(way);
  if (found === undefined) branch.ways.set(way, (found = { ways: new Map() }));
  return found;
};

export const answerOf = (from: Configuration, event: string, bits: number): Answer => {
  const key = `${from.id} ${event}`;
  const root: Branch = roots.get(key) ?? { ways: new Map() };
  roots.set(key, root);
  let branch = root;
  while (branch.field !== undefined) branch = next(branch, branch.field, bits);
  if (branch.answer !== undefined) return branch.answer;
  const { read, answer } = ask(from, event, bits);
  branch = root;
  for (const field of read) {
    branch.field ??= field;
    if (branch.field !== field) throw new Error('guards read the facts in another order than before');
    branch = next(branch, field, bits);
  }
  branch.answer = answer;
  return answer;
};

const joined = new Map<Answer, Map<Answer, Answer>>();
/** The answer, and what follows at once when it made the fold forget something. */
const outcomeOf = (first: Answer, bits: number): Answer => {
  if (first.to === null || (first.forgets & bits) === 0) return first;
  const second = answerOf(first.to, 'facts', bits & ~first.forgets);
  const known = joined.get(first) ?? new Map<Answer, Answer>();
  joined.set(first, known);
  let both = known.get(second);
  if (both === undefined) {
    both = { ...second, taken: [...first.taken, ...second.taken], timers: [...first.timers, ...second.timers] };
    known.set(second, both);
  }
  return both;
};

/** A configuration with the timers that are still armed in it. */
export interface Place {
  readonly at: Configuration;
  readonly armed: readonly string[];
}

/** A question to the chart: what it does with this event, in this configuration, under this view. */
export interface Asked {
  readonly from: Configuration;
  readonly event: string;
  readonly bits: number;
}

export interface Explored {
  readonly places: readonly Place[];
  /** A question for every different answer that was found: together they go over everything that the chart can do. */
  readonly asked: readonly Asked[];
  readonly taken: ReadonlySet<AnyTransitionDefinition>;
  /** Questions that sent the chart round in circles: configuration, event, one of the views. */
  readonly circles: readonly { readonly from: string; readonly event: string; readonly bits: number }[];
  readonly edges: number;
}

/** The timers that are armed when this answer was given to an event. */
const armedAfter = (armed: readonly string[], event: string, { timers }: Answer): readonly string[] => {
  const left = new Set(armed.filter((timer) => timer !== event));
  for (const { arm, timer } of timers) {
    if (arm) left.add(timer);
    else left.delete(timer);
  }
  return [...left].toSorted();
};

/** Where an event leads under a view; null when the chart goes round in circles. */
export const placeAfter = ({ at, armed }: Place, event: string, bits: number): Place | null => {
  const answer = outcomeOf(answerOf(at, event, bits), bits);
  return answer.to === null ? null : { at: answer.to, armed: armedAfter(armed, event, answer) };
};
export const keyOf = ({ at, armed }: Place): string => JSON.stringify([at.value, armed]);
export const beginning: Place = { at: initialConfiguration, armed: [] };

/** Everything that can be reached from the initial configuration when any of `views` may follow any other. */
export const explore = (views: readonly number[]): Explored => {
  const places = new Map<string, Place>();
  const taken = new Set<AnyTransitionDefinition>();
  const circles: { from: string; event: string; bits: number }[] = [];
  const asked: Asked[] = [];
  const answers = new Map<string, readonly Answer[]>();
  let edges = 0;
  /** The different answers to an event, over all views in which it can come. */
  const answersTo = (from: Configuration, event: string): readonly Answer[] => {
    const key = `${from.id} ${event}`;
    const known = answers.get(key);
    if (known !== undefined) return known;
    const found = new Set<Answer>();
    for (const bits of views) {
      // Facts come at any time; everything else comes when the chart has come to rest under the facts.
      if (event !== 'facts' && answerOf(from, REST, bits).to !== from) continue;
      if (event === 'act' && (bits & MAY_DECIDE) === 0) continue;
      const first = answerOf(from, event, bits);
      const answer = outcomeOf(first, bits);
      if (found.has(answer)) continue;
      if (answer.to === null) circles.push({ from: from.value, event, bits });
      found.add(answer);
      asked.push({ from, event, bits });
      if (answer !== first && first.to !== null) asked.push({ from: first.to, event: 'facts', bits: bits & ~first.forgets });
    }
    const list = [...found];
    for (const answer of list) for (const one of answer.taken) taken.add(one);
    answers.set(key, list);
    return list;
  };
  const queue: Place[] = [];
  const enter = (at: Configuration, armed: readonly string[]): void => {
    const place = { at, armed };
    const key = keyOf(place);
    if (places.has(key)) return;
    places.set(key, place);
    queue.push(place);
  };
  enter(beginning.at, beginning.armed);
  for (let place = queue.shift(); place !== undefined; place = queue.shift()) {
    const { at, armed } = place;
    const outcomes = ['succeeded', 'failed', 'refused', 'void'].map((result) => `outcome.${result}`);
    const events = ['facts', ...(at.effects === 'free' ? ['act'] : []), ...(at.effects === 'pending' ? outcomes : []), ...armed];
    for (const event of events) {
      for (const answer of answersTo(at, event)) {
        edges += 1;
        if (answer.to === null) continue;
        enter(answer.to, armedAfter(armed, event, answer));
      }
    }
  }
  return { places: [...places.values()], asked, taken, circles, edges };
};
