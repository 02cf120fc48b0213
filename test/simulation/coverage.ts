// What a simulation has been through, and what of it never happened: states of the chart, transitions between them, kinds
// of decisions and of faults. Transitions are told apart by where they begin and end; the chart itself says which there
// are, and xstate which of them a reaction took.
import { getMicrosteps } from 'xstate';
import { DECISION_KINDS, HOST_KINDS } from '../../src/events/catalogue.ts';
import { EFFECT_FAULTS, HINT_FAULTS } from '../../src/adapters/simulated/faults.ts';
import type { Happens } from '../../src/adapters/simulated/world.ts';
import { pairChart } from '../../src/machines/chart.ts';
import { react } from '../../src/machines/chart-table.ts';
import { unpackView } from '../../src/machines/view.ts';
import { type Asked, explore } from '../property/chart.explore.ts';
import { allWorlds } from '../property/chart.views.ts';
import { LOG_FAULTS } from './memory-log.ts';

const once = <T>(make: () => T): (() => T) => {
  let made: T | undefined;
  return () => (made ??= make());
};

type StateNode = (typeof pairChart)['root'];

const BEFALLING = [
  'kill:now',
  'kill:beforeCommit',
  'kill:commitLost',
  'kill:commitUnanswered',
  'restart',
  'logOutage',
  'survey',
  'restore',
  'prepare',
  'policy',
];

/** What the world can do by itself; clocks that jump are among it. */
const HAPPENINGS = [
  'add',
  'remove',
  'stick',
  'link',
  'migrate',
  'announce',
  'address',
  'gateway',
  'sign',
  'mtu',
  'mac',
  'up',
  'masterUp',
  'bond',
  'unbond',
  'enslave',
  'release',
  'activate',
  'bondUp',
  'suspend',
  'step',
  'lock',
  'protocol',
  'setLink',
  'driver',
  'reboot',
] as const satisfies readonly Happens['do'][];

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

/** What a chart did when it was asked, as edges between the leaves of its two regions. */
const edgesOf = ({ from, event, bits }: Asked): string[] => {
  const edges: string[] = [];
  const value = JSON.parse(from.value);
  const snapshot = pairChart.resolveState({ value, context: { view: unpackView(bits) } });
  let before = leafNames(value);
  for (const [next, actions] of getMicrosteps(pairChart, snapshot, { type: event } as { type: 'facts' })) {
    const after = leafNames(next.value);
    for (const [index, name] of after.entries()) {
      const stays = before[index] === name;
      // What stays where it is has taken a transition only if it was one of its own timers or asked for something.
      if (stays && !(actions.length > 0 && after.every((other, at) => before[at] === other))) continue;
      edges.push(`${before[index]} -> ${name}`);
    }
    before = after;
  }
  return edges;
};

/**
 * The transitions that can be taken at all, by an exhaustive walk over the chart under every view that a pair can show
 * (test/property/chart.explore.ts), and those that are declared and cannot: facts that end a pair as a whole (no standby,
 * not ours) always come with one that an inner state reacts to first, so the pair ends from the state after that.
 */
export const transitions = once(() => {
  const { asked } = explore([
    ...new Set(
      allWorlds()
        .filter(({ torn }) => !torn)
        .map(({ bits }) => bits),
    ),
  ]);
  const taken = new Set(asked.flatMap(edgesOf));
  const all = [...declared()].toSorted();
  return { possible: all.filter((edge) => taken.has(edge)), impossible: all.filter((edge) => !taken.has(edge)), taken };
});

/**
 * What the chart can do (test/property/chart.model.test.ts takes it) and the simulated guest cannot, or hardly can: both members
 * leave the bond for one other device between two looks (there is no bridge); the driver still has, or has already started, a
 * primary that is bound to a protocol which is not installed.
 */
const OUTSIDE_THE_MODEL: ReadonlySet<string> = new Set([
  'path/noCarrier -> path/unjoined',
  'path/unattachable -> path/absent',
  'path/unattachable -> path/onPrimary',
]);

export class Coverage {
  readonly #asked = new Map<string, Asked & { times: number }>();
  readonly #counts = new Map<string, number>();

  /** The chart as a fold asks it, counting what was asked. */
  readonly chart: typeof react = (from, event, bits) => {
    const key = `${from.id} ${event} ${bits}`;
    const known = this.#asked.get(key);
    if (known === undefined) this.#asked.set(key, { from, event, bits, times: 1 });
    else known.times += 1;
    return react(from, event, bits);
  };

  add(kind: 'decision' | 'fault' | 'happening' | 'situation', name: string, times = 1): void {
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
    for (const edge of transitions().possible.filter((one) => !OUTSIDE_THE_MODEL.has(one)))
      report.set(`transition ${edge}`, edges.get(edge) ?? 0);
    const counted = (kind: string, names: readonly string[]): void => {
      for (const name of names) report.set(`${kind} ${name}`, this.#counts.get(`${kind} ${name}`) ?? 0);
    };
    // A simulated guest has no hypervisor’s side.
    counted(
      'decision',
      DECISION_KINDS.filter((kind) => !(HOST_KINDS as readonly string[]).includes(kind)),
    );
    counted('happening', HAPPENINGS);
    counted('situation', ['several pairs', 'several primaries with one MAC']);
    counted('fault', [...HINT_FAULTS, ...EFFECT_FAULTS, ...LOG_FAULTS, ...BEFALLING]);
    return report;
  }

  /** Edges that were taken and that the walk over the chart does not know: then one of the two is wrong. */
  unforeseen(): string[] {
    const { taken } = transitions();
    return [...this.#edges().keys()].filter((edge) => !taken.has(edge));
  }

  #edges(): Map<string, number> {
    const edges = new Map<string, number>();
    for (const { times, ...asked } of this.#asked.values())
      for (const edge of edgesOf(asked)) edges.set(edge, (edges.get(edge) ?? 0) + times);
    return edges;
  }
}
