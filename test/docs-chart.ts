// The chart for the documentation: as an SVG in the inspector's own layout, as Mermaid, and as tables of what leads where.
import type { Box } from '../src/host/inspector/chart-curves.ts';
import { geometryOf, layoutOf, OURS } from '../src/host/inspector/chart-layout.ts';
import { type ChartEdge, chartGraph, type ChartState, type ChartWay } from '../src/machines/chart-graph.ts';

const graph = chartGraph();
const parents = new Set(graph.states.map(({ parent }) => parent));
const isLeaf = ({ id }: ChartState): boolean => !parents.has(id);
const keyOf = (id: string): string => graph.states.find((state) => state.id === id)?.key ?? id;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const wayText = ({ trigger, guard, actions }: ChartWay): string =>
  [trigger === 'always' ? '' : trigger, guard === null ? '' : `[${guard}]`, actions.length === 0 ? '' : `/ ${actions.join(', ')}`]
    .filter((part) => part !== '')
    .join(' ');

const STYLE = `
  svg { font: 12.5px Inter, system-ui, sans-serif; }
  rect { fill: #fff; stroke: #8a919b; } rect.outer { fill: none; stroke: #c9ccd1; }
  path { fill: none; stroke: #aab0b8; } text { fill: #1a1c1f; text-anchor: middle; dominant-baseline: central; }
  text.outer { fill: #5b616a; text-anchor: start; }
  @media (prefers-color-scheme: dark) {
    rect { fill: #1b1e22; stroke: #6d757f; } rect.outer { stroke: #3d434b; } path { stroke: #5a626c; }
    text { fill: #e8e9ea; } text.outer { fill: #a0a7b0; }
  }`;

const boxText = (state: ChartState, { x, y, width, height }: Box): string => {
  const title = `<title>${escaped(state.description ?? state.key)}</title>`;
  const at = [x, y, width, height].map((number) => Math.round(number * 10) / 10);
  const rect = `<rect${isLeaf(state) ? '' : ' class="outer"'} x="${at[0]}" y="${at[1]}" width="${at[2]}" height="${at[3]}" rx="6"/>`;
  const text = isLeaf(state)
    ? `<text x="${Math.round(x + width / 2)}" y="${Math.round(y + height / 2)}">${escaped(state.key)}</text>`
    : `<text class="outer" x="${Math.round(x + 14)}" y="${Math.round(y + 14)}">${escaped(state.key)}</text>`;
  return `<g>${title}${rect}${text}</g>`;
};

const layout = layoutOf(graph, OURS);

/** Where everything is drawn, as the inspector's page reads it. */
export const chartGeometry = (): string => JSON.stringify(geometryOf(layout));

export const chartSvg = (): string => {
  const { width, height, boxes, curves } = layout;
  const drawn = graph.states.filter(({ parent }) => parent !== null);
  const edges = new Map(graph.edges.map((edge) => [edge.id, edge]));
  const draw = (state: ChartState): string => boxText(state, boxes.get(state.id) ?? { x: 0, y: 0, width: 0, height: 0 });
  const edgeText = ({ source, target, ways }: ChartEdge): string =>
    `${keyOf(source)} → ${keyOf(target)}: ${ways.map(wayText).join('; ') || 'always'}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 -4 ${Math.ceil(width) + 8} ${Math.ceil(height) + 8}" role="img" aria-label="The chart of a pair">`,
    '<!-- Made by `npm run docs` from src/machines/chart.ts. -->',
    `<style>${STYLE}\n</style>`,
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M1 1L7 4L1 7"/></marker></defs>',
    ...drawn.filter((state) => !isLeaf(state)).map(draw),
    ...curves.map(
      ({ edge, path }) =>
        `<path d="${path}" marker-end="url(#arrow)"><title>${escaped(edgeText(edges.get(edge)!))}</title></path>`,
    ),
    ...drawn.filter(isLeaf).map(draw),
    '</svg>\n',
  ].join('\n');
};

/** The id of a state as Mermaid takes one. */
const mermaidId = (id: string): string => id.replaceAll('.', '_');

const mermaidStates = (parent: string, depth: number): string[] => {
  const indent = '  '.repeat(depth);
  return graph.states
    .filter((state) => state.parent === parent)
    .flatMap((state) => [
      ...(state.initial ? [`${indent}[*] --> ${mermaidId(state.id)}`] : []),
      ...(isLeaf(state)
        ? [`${indent}state "${state.key}" as ${mermaidId(state.id)}`]
        : [`${indent}state "${state.key}" as ${mermaidId(state.id)} {`, ...mermaidStates(state.id, depth + 1), `${indent}}`]),
    ]);
};

/** Edges between leaves and boxes; Mermaid draws no label longer than some words well, so guards are told in the table. */
export const chartMermaid = (): string =>
  [
    'stateDiagram-v2',
    ...mermaidStates('pair', 1),
    ...graph.edges
      .filter(({ source, target }) => source !== target)
      .map(({ source, target, ways }) => {
        const triggers = [...new Set(ways.map(({ trigger }) => trigger))].filter((trigger) => trigger !== 'always');
        return `  ${mermaidId(source)} --> ${mermaidId(target)}${triggers.length === 0 ? '' : `: ${triggers.join(', ')}`}`;
      }),
  ].join('\n');

/** A row per transition: from, what sets it off and under which guard, to. */
export const chartRows = (): string[][] =>
  graph.edges.flatMap(({ source, target, ways }) =>
    ways.map(({ trigger, guard, actions }) => [
      keyOf(source),
      trigger,
      guard ?? '',
      source === target ? 'stays' : keyOf(target),
      actions.join(', '),
    ]),
  );

export const chartStates = (): string[][] =>
  graph.states.flatMap(({ key, description }) => (description === null ? [] : [[key, description]]));
