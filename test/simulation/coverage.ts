// What a simulation has been through, and what of it never happened: states of the chart, transitions between them, kinds
// of decisions and of faults. Transitions are told apart by where they begin and end; the chart itself says which there
// are, and xstate which of them a reaction took.
import { getMicrosteps } from 'xstate';
import { DECISION_KINDS } from '../../src/events/catalogue.ts';
import { EFFECT_FAULTS, HINT_FAULTS } from '../../src/adapters/simulated/faults.ts';
import { pairChart } from '../../src/machines/chart.ts';
import { type Configuration, react } from '../../src/machines/chart-table.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import { unpackView } from '../../src/machines/view.ts';
import { LOG_FAULTS } from './memory-log.ts';

type StateNode = (typeof pairChart)['root'];

const BEFALLING = [
  'kill:now',
  'kill:beforeCommit',
  'kill:commitLost',
  'kill:commitUnanswered',
  'restart',
  'logOutage',
  'survey',
  'policy',
];

const leavesOf = (node: StateNode): StateNode[] => {
  const children = Object.values<StateNode>(node.states);
  return children.length === 0 ? [node] : children.flatMap(leavesOf);
};
const entryOf = (node: StateNode): StateNode => {
  const initial = node.initial?.target[0] as StateNode | undefined;
  return initial === undefined ? node : entryOf(initial);
};
/** `pair.path.failover.fallback.noPrimary` is `path/noPrimary`. */
const nameOf = (id: string): string => `${id.split('.')[1]}/${id.split('.').at(-1)}`;

/** Every transition that the chart declares, as `from -> to`; a state that hands on at once has only its own. */
const declared = (): Set<string> => {
  const edges = new Set<string>();
  const walk = (node: StateNode): void => {
    for (const transition of [...node.transitions.values()].flat().concat(node.always ?? [])) {
      for (const leaf of leavesOf(node)) {
        if (leaf.key === 'sorting' && leaf !== node) continue;
        const targets = (transition.target ?? [leaf]) as StateNode[];
        for (const target of targets) edges.add(`${nameOf(leaf.id)} -> ${nameOf(entryOf(target).id)}`);
      }
    }
    for (const child of Object.values<StateNode>(node.states)) walk(child);
  };
  walk(pairChart.root);
  return edges;
};

/** A state value as the names of its leaves: `{path: {failover: 'onPrimary'}, effects: 'free'}`. */
const leafNames = (value: unknown): string[] =>
  Object.entries(value as Record<string, unknown>).map(([region, inner]) => {
    let at = inner;
    while (typeof at !== 'string') [at] = Object.values(at as object);
    return `${region}/${at}`;
  });

/**
 * Declared, but never taken: the facts that end a pair as a whole (no standby, not ours) always come with one that an inner
 * state reacts to first (nothing is held or carried any more), so that the pair ends from the state after that.
 */
export const UNREACHABLE: readonly string[] = [
  'transition path/awaitingPrimary -> path/absent',
  'transition path/awaitingPrimary -> path/standalone',
  'transition path/incompatible -> path/standalone',
  'transition path/noCarrier -> path/standalone',
  'transition path/onPrimary -> path/absent',
  'transition path/onPrimary -> path/standalone',
  'transition path/switching -> path/standalone',
];

export class Coverage {
  readonly #asked = new Map<string, { from: Configuration; event: string; bits: number; times: number }>();
  readonly #counts = new Map<string, number>();

  /** The chart as a fold asks it, counting what was asked. */
  readonly chart: typeof react = (from, event, bits) => {
    const key = `${from.id} ${event} ${bits}`;
    const known = this.#asked.get(key);
    if (known === undefined) this.#asked.set(key, { from, event, bits, times: 1 });
    else known.times += 1;
    return react(from, event, bits);
  };

  add(kind: 'decision' | 'fault', name: string, times = 1): void {
    const key = `${kind} ${name}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + times);
  }

  /** How often each thing happened, in the order of the lists. */
  report(): ReadonlyMap<string, number> {
    const edges = this.#edges();
    const states = new Map<string, number>();
    for (const [edge, times] of edges) {
      const to = edge.split(' -> ')[1] ?? '';
      states.set(to, (states.get(to) ?? 0) + times);
    }
    const all = leavesOf(pairChart.root).map(({ id }) => nameOf(id));
    const report = new Map<string, number>();
    for (const name of all) report.set(`state ${name}`, states.get(name) ?? 0);
    for (const edge of [...declared()].toSorted()) report.set(`transition ${edge}`, edges.get(edge) ?? 0);
    const counted = (kind: string, names: readonly string[]): void => {
      for (const name of names) report.set(`${kind} ${name}`, this.#counts.get(`${kind} ${name}`) ?? 0);
    };
    counted('decision', DECISION_KINDS);
    counted('fault', [...HINT_FAULTS, ...EFFECT_FAULTS, ...LOG_FAULTS, ...BEFALLING]);
    return report;
  }

  #edges(): Map<string, number> {
    const edges = new Map<string, number>();
    for (const { from, event, bits, times } of this.#asked.values()) {
      const context = { view: unpackView(bits), policy: defaultPolicy };
      const value = JSON.parse(from.value);
      const snapshot = pairChart.resolveState({ value, context });
      let before = leafNames(value);
      for (const [next, actions] of getMicrosteps(pairChart, snapshot, { type: event } as { type: 'facts' })) {
        const after = leafNames(next.value);
        for (const [index, name] of after.entries()) {
          const stays = before[index] === name;
          // What stays where it is has taken a transition only if it was one of its own timers or asked for something.
          if (stays && !(actions.length > 0 && after.every((other, at) => before[at] === other))) continue;
          const edge = `${before[index]} -> ${name}`;
          edges.set(edge, (edges.get(edge) ?? 0) + times);
        }
        before = after;
      }
    }
    return edges;
  }
}
