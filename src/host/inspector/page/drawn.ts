// A chart with its places, looked up by id: what Drawing.tsx draws.
import type { ChartEdge, ChartGraph, ChartState } from '../../../machines/chart-graph.ts';
import type { ChartLayout } from '../chart-layout.ts';

export interface DrawnChart {
  readonly layout: ChartLayout;
  readonly states: ReadonlyMap<string, ChartState>;
  readonly edges: ReadonlyMap<string, ChartEdge>;
  /** Parents before their children, without the root, which is the frame of the whole drawing. */
  readonly drawn: readonly ChartState[];
  readonly parents: ReadonlySet<string | null>;
}

export const drawnChart = ({ states, edges }: ChartGraph, layout: ChartLayout): DrawnChart => ({
  layout,
  states: new Map(states.map((state) => [state.id, state])),
  edges: new Map(edges.map((edge) => [edge.id, edge])),
  drawn: states.filter(({ parent }) => parent !== null),
  parents: new Set(states.map(({ parent }) => parent)),
});
