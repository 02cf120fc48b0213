// The pair's chart as a graph: what the inspector draws, what the pages of docs/ show, and which edges a step takes. The
// chart itself stays the only source; nothing here names a state.
import { createActor, SimulatedClock } from 'xstate';
import type { Configuration } from './chart-table.ts';
import { pairChart } from './chart.ts';
import { unpackView } from './view.ts';

type Node = typeof pairChart.root;
type Transition = Node['transitions'] extends Map<string, readonly (infer T)[]> ? T : never;

export interface ChartState {
  readonly id: string;
  readonly key: string;
  readonly parent: string | null;
  readonly kind: 'atomic' | 'compound' | 'parallel' | 'final' | 'history';
  /** Whether its parent begins in it. */
  readonly initial: boolean;
  readonly description: string | null;
}

/** One transition of the chart: what sets it off, under which condition, and what it does. */
export interface ChartWay {
  /** `always`, the name of an event, or `after` and the name of a delay. */
  readonly trigger: string;
  readonly guard: string | null;
  readonly actions: readonly string[];
}

/** All transitions from one state to another; a way from a state to itself is an edge that is not drawn. */
export interface ChartEdge {
  /** `<source> <target>` */
  readonly id: string;
  readonly source: string;
  readonly target: string;
  readonly ways: readonly ChartWay[];
}

export interface ChartGraph {
  readonly states: readonly ChartState[];
  readonly edges: readonly ChartEdge[];
}

const nameOf = (part: unknown): string | null =>
  typeof part === 'string' ? part : ((part as { type?: string } | undefined)?.type ?? null);

const actionName = (action: unknown): string => {
  const { params } = action as { params?: { kind?: string } };
  return [nameOf(action) ?? 'action', params?.kind].filter((part) => part !== undefined).join(' ');
};

/** `xstate.after.<delay>.<state>` → `after <delay>` */
const triggerOf = (event: string): string => {
  if (event === '') return 'always';
  return event.startsWith('xstate.after.') ? `after ${event.split('.')[2]}` : event;
};

const transitionsOf = (node: Node): Transition[] => [...(node.always ?? []), ...[...node.transitions.values()].flat()];

const edgeId = (transition: Transition): string => `${transition.source.id} ${(transition.target?.[0] ?? transition.source).id}`;

const nodesOf = (node: Node): Node[] => [node, ...Object.values(node.states).flatMap((child) => nodesOf(child))];

/** States in the order of the chart, a parent before its children; edges in the order of their first transition. */
export const chartGraph = (): ChartGraph => {
  const nodes = nodesOf(pairChart.root);
  const edges = new Map<string, { source: string; target: string; ways: ChartWay[] }>();
  for (const transition of nodes.flatMap(transitionsOf)) {
    const id = edgeId(transition);
    const edge = edges.get(id) ?? { source: transition.source.id, target: id.split(' ')[1] ?? '', ways: [] };
    edges.set(id, edge);
    edge.ways.push({
      trigger: triggerOf(transition.eventType),
      guard: nameOf(transition.guard),
      // Leaving a state disarms its timers; that is xstate's own business.
      actions: transition.actions.map(actionName).filter((name) => !name.startsWith('xstate.')),
    });
  }
  return {
    states: nodes.map((node) => ({
      id: node.id,
      key: node.key,
      parent: node.parent?.id ?? null,
      kind: node.type,
      initial: (node.parent?.initial?.target ?? []).some((target) => target.id === node.id),
      description: node.description ?? null,
    })),
    edges: [...edges].map(([id, edge]) => ({ id, ...edge })),
  };
};

/** The ids of all states that are active in a configuration, from the root inwards. */
export const activeStates = ({ value }: Configuration): string[] => {
  const walk = (inner: unknown, id: string): string[] =>
    typeof inner === 'string'
      ? [`${id}.${inner}`]
      : Object.entries(inner as object).flatMap(([key, rest]) => [`${id}.${key}`, ...walk(rest, `${id}.${key}`)]);
  return [pairChart.id, ...walk(JSON.parse(value), pairChart.id)];
};

/** The ids of the edges that the chart takes when `event` comes in `from` and the facts are `bits`, in order. Slow. */
export const takenEdges = (from: Configuration, event: string, bits: number): string[] => {
  const context = { view: unpackView(bits) };
  const taken: string[] = [];
  const actor = createActor(pairChart, {
    snapshot: pairChart.resolveState({ value: JSON.parse(from.value), context }),
    input: context,
    clock: new SimulatedClock(),
    inspect: (seen) => {
      if (seen.type !== '@xstate.microstep') return;
      const { _transitions: transitions } = seen;
      taken.push(...(transitions as Transition[]).map(edgeId));
    },
  });
  actor.start();
  actor.send({ type: event } as { type: 'facts' });
  actor.stop();
  return taken;
};
