// A machine that somebody else wrote, as a graph that can be drawn like ours, and which of its edges a step took. Takes
// whatever it is given: what is not understood is left out.
import type { ChartEdge, ChartGraph, ChartState, ChartWay } from '../../../machines/chart-graph.ts';
import type { DrawnChart } from './drawn.ts';

type Fields = Readonly<Record<string, unknown>>;
export const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const listOf = (value: unknown): readonly unknown[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);
export const nameOf = (value: unknown): string | null => textOf(value) ?? textOf(fieldsOf(value)['type']);

/** More states than these nobody can read; what comes behind them is left out. */
const STATES_MAX = 200;
const EDGES_MAX = 1000;
const DEPTH_MAX = 12;
const KEY_MAX = 32;

/** The frame of the drawing; the machine's own root is the one state in it. */
const FRAME = '#frame';
/** The id of a state is its path with a dot before every key; the machine's root has the empty one. */
const under = (parent: string, key: string): string => `${parent}.${key}`;

interface Node {
  readonly id: string;
  readonly parent: string;
  readonly config: Fields;
  /** By which `#…` a target may name it. */
  readonly name: string;
}

const nodesOf = (config: Fields, key: string): Node[] => {
  const nodes: Node[] = [];
  const walk = (node: Node, depth: number): void => {
    if (nodes.length >= STATES_MAX) return;
    nodes.push(node);
    if (depth >= DEPTH_MAX) return;
    const states = Object.entries(fieldsOf(node.config['states']));
    // Somebody may have sorted the keys; a machine is read from its initial state on.
    const isInitial = ([name]: (typeof states)[number]): boolean => name === node.config['initial'];
    for (const [inner, fields] of [...states.filter(isInitial), ...states.filter((one) => !isInitial(one))])
      walk(
        {
          id: under(node.id, inner),
          parent: node.id,
          config: fieldsOf(fields),
          name: textOf(fieldsOf(fields)['id']) ?? `${node.name}.${inner}`,
        },
        depth + 1,
      );
  };
  walk({ id: '', parent: FRAME, config, name: textOf(config['id']) ?? key }, 0);
  return nodes;
};

const KINDS = ['parallel', 'final', 'history'] as const;
const stateOf = ({ id, parent, config }: Node, key: string, initial: unknown): ChartState => {
  const name = id === '' ? key : id.slice(parent.length + 1);
  const kind = KINDS.find((one) => one === config['type']);
  return {
    id,
    key: name.length > KEY_MAX ? `${name.slice(0, KEY_MAX - 1)}…` : name,
    parent,
    kind: kind ?? (Object.keys(fieldsOf(config['states'])).length > 0 ? 'compound' : 'atomic'),
    initial: initial === name,
    description: textOf(config['description']),
  };
};

/** What a state's config says of leaving it: what sets it off, and the transitions. */
const reactionsOf = (config: Fields): (readonly [trigger: string, transitions: unknown])[] => [
  ...Object.entries(fieldsOf(config['on'])),
  ['always', config['always']],
  ...Object.entries(fieldsOf(config['after'])).map(([delay, list]) => [`after ${delay}`, list] as const),
  ['done', config['onDone']],
  ...listOf(config['invoke']).flatMap((invoked) => [
    ['invoked done', fieldsOf(invoked)['onDone']] as const,
    ['invoked failed', fieldsOf(invoked)['onError']] as const,
  ]),
];

/** xstate's rules: `.child`, `#name` or `#name.child`, and otherwise a sibling. */
const targetOf = (text: string, source: Node, nodes: readonly Node[]): string | null => {
  const find = (id: string): string | null => nodes.find((node) => node.id === id)?.id ?? null;
  if (text.startsWith('.')) return find(`${source.id}${text}`);
  if (!text.startsWith('#')) return find(under(source.parent === FRAME ? '' : source.parent, text));
  const rest = text.slice(1);
  const named = nodes
    .filter(({ name }) => rest === name || rest.startsWith(`${name}.`))
    .toSorted((a, b) => b.name.length - a.name.length)[0];
  return named === undefined ? null : find(`${named.id}${rest.slice(named.name.length)}`);
};

const edgesOf = (nodes: readonly Node[]): ChartEdge[] => {
  const edges = new Map<string, ChartEdge & { ways: ChartWay[] }>();
  const add = (source: string, target: string, way: ChartWay): void => {
    const id = JSON.stringify([source, target]);
    const edge = edges.get(id);
    if (edge !== undefined) edge.ways.push(way);
    else if (edges.size < EDGES_MAX) edges.set(id, { id, source, target, ways: [way] });
  };
  for (const node of nodes)
    for (const [trigger, transitions] of reactionsOf(node.config))
      for (const one of listOf(transitions)) {
        const { target, guard, actions } = fieldsOf(one);
        const names = listOf(actions).map(nameOf);
        const way = { trigger, guard: nameOf(guard), actions: names.filter((name) => name !== null) };
        const targets = typeof one === 'string' ? [one] : listOf(target).filter((text) => typeof text === 'string');
        // Without a target it stays where it is.
        if (targets.length === 0) add(node.id, node.id, way);
        for (const text of targets) add(node.id, targetOf(text, node, nodes) ?? node.id, way);
      }
  return [...edges.values()];
};

/** The graph of a machine's config; null where it has no states. `key` names its root, where it does not itself. */
export const foreignGraph = (config: Fields, key: string): ChartGraph | null => {
  if (Object.keys(fieldsOf(config['states'])).length === 0) return null;
  const nodes = nodesOf(config, key);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const frame: ChartState = { id: FRAME, key: '', parent: null, kind: 'compound', initial: false, description: null };
  const states = nodes.map((node) => stateOf(node, textOf(config['id']) ?? key, byId.get(node.parent)?.config['initial']));
  return { states: [frame, ...states], edges: edgesOf(nodes) };
};

/** The ids of the states that a state value names, with the root's. */
export const activeIn = (value: unknown): ReadonlySet<string> => {
  const walk = (inner: unknown, id: string): string[] =>
    typeof inner === 'string'
      ? [under(id, inner)]
      : Object.entries(fieldsOf(inner)).flatMap(([key, rest]) => [under(id, key), ...walk(rest, under(id, key))]);
  return new Set(['', ...walk(value, '')]);
};

/** Whether an event that was told sets off what a config names. */
const sets = (trigger: string, event: string): boolean => {
  if (trigger === event || trigger === '*') return true;
  if (trigger.endsWith('.*')) return event.startsWith(trigger.slice(0, -1));
  if (trigger.startsWith('after ')) return event.startsWith(`xstate.after.${trigger.slice('after '.length)}.`);
  if (trigger === 'done') return event.startsWith('xstate.done.state.');
  if (trigger === 'invoked done') return event.startsWith('xstate.done.actor.');
  return trigger === 'invoked failed' && event.startsWith('xstate.error.actor.');
};

/** A state and what is entered with it. */
const enteredWith = ({ drawn, states }: Pick<DrawnChart, 'drawn' | 'states'>, id: string): string[] => {
  const parallel = states.get(id)?.kind === 'parallel';
  const children = drawn.filter(({ parent, initial }) => parent === id && (parallel || initial));
  return [id, ...children.flatMap((child) => enteredWith({ drawn, states }, child.id))];
};

/**
 * The edges that an event made a machine take, in order. The protocol tells states and not transitions, so they are found by
 * what was active before and after: the event's own edge, and the eventless ones behind it, that lead to where the machine is.
 */
export const takenIn = (
  chart: DrawnChart,
  before: ReadonlySet<string>,
  event: string,
  after: ReadonlySet<string>,
): readonly string[] => {
  const edges = [...chart.edges.values()].filter(({ source, target }) => source !== target);
  /** From an edge on, the shortest way over eventless ones to a state that is new, and where nothing leads on. */
  const leads = (first: ChartEdge): readonly string[] | null => {
    const passed = new Set([first]);
    const ways = new Map([[first, [first.id]]]);
    let partly: readonly string[] | null = null;
    for (const edge of passed) {
      const way = ways.get(edge) ?? [];
      const inside = new Set(enteredWith(chart, edge.target));
      if (after.has(edge.target) && !before.has(edge.target)) {
        if ([...inside].every((id) => after.has(id))) return way;
        partly ??= way;
      }
      for (const next of edges.filter((one) => inside.has(one.source) && one.ways.some(({ trigger }) => trigger === 'always'))) {
        if (!passed.has(next)) ways.set(next, [...way, next.id]);
        passed.add(next);
      }
    }
    return partly;
  };
  const found = edges
    .filter(({ source, ways }) => before.has(source) && ways.some(({ trigger }) => sets(trigger, event)))
    .flatMap((edge) => {
      const path = leads(edge);
      return path === null ? [] : [{ edge, path }];
    });
  // A state's own transition goes before one of the states around it.
  const inner = found.filter(({ edge }) => !found.some((other) => other.edge.source.startsWith(`${edge.source}.`)));
  return [...new Set(inner.flatMap(({ path }) => path))];
};
