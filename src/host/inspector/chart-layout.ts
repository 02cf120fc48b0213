// Where the states of a chart are drawn. The arrangement of ours is by hand, because a general layout of sixty edges around
// one hub is unreadable: the life cycle runs clockwise round `fallback`. A state that ARRANGEMENT does not name gets a place
// behind its siblings, so a change of the chart needs no change here. `npm run docs` computes the geometry of our chart
// (chart-geometry.json); the page computes that of other programs' machines when it hears of them.
import type { ChartGraph } from '../../machines/chart-graph.ts';
import { type Box, type Curve, curvesOf } from './chart-curves.ts';

export interface ChartLayout {
  readonly width: number;
  readonly height: number;
  readonly boxes: ReadonlyMap<string, Box>;
  readonly curves: readonly Curve[];
}

/** A layout as it is committed: boxes by the ids of their states as x, y, width, height; curves by the ids of their edges. */
export interface ChartGeometry {
  readonly width: number;
  readonly height: number;
  readonly boxes: Readonly<Record<string, readonly number[]>>;
  readonly curves: Readonly<Record<string, string>>;
}

const tenths = (number: number): number => Math.round(number * 10) / 10;

export const geometryOf = ({ width, height, boxes, curves }: ChartLayout): ChartGeometry => ({
  width: tenths(width),
  height: tenths(height),
  boxes: Object.fromEntries([...boxes].map(([id, box]) => [id, [box.x, box.y, box.width, box.height].map(tenths)])),
  curves: Object.fromEntries(curves.map(({ edge, path }) => [edge, path])),
});

export const layoutFrom = ({ width, height, boxes, curves }: ChartGeometry): ChartLayout => ({
  width,
  height,
  boxes: new Map(
    Object.entries(boxes).map(([id, [x = 0, y = 0, across = 0, down = 0]]) => [id, { x, y, width: across, height: down }]),
  ),
  curves: Object.entries(curves).map(([edge, path]) => ({ edge, path })),
});

/** Column and row of each child, and how many of both it takes unless one, by the key of the parent. */
type Arranged = readonly [column: number, row: number, span?: number, rows?: number];
type Arrangement = Readonly<Record<string, Readonly<Record<string, Arranged>>>>;
const ARRANGEMENT: Arrangement = {
  path: { absent: [0, 0], standalone: [0, 1], failover: [1, 0, 1, 2] },
  failover: {
    awaitingPrimary: [0, 0],
    attaching: [1, 0],
    switching: [2, 0],
    onPrimary: [3, 0],
    sorting: [0, 1],
    fallback: [1, 1, 2],
    detaching: [3, 1],
  },
  fallback: {
    noPrimary: [0, 0],
    notAttached: [1, 0],
    noCarrier: [2, 0],
    departing: [0, 1],
    incompatible: [1, 1],
    flapping: [2, 1],
    unjoined: [1, 2],
    unattachable: [0, 2],
  },
  effects: { free: [0, 0], pending: [0, 1], blocked: [0, 2] },
  blocked: { retrying: [0, 0], waiting: [1, 0] },
  pair: { path: [0, 0], effects: [1, 0] },
};

/** Of names that somebody else chose not even `valueOf` is in it. */
const NOTHING = Object.create(null) as Readonly<Record<string, never>>;

interface Manner {
  readonly arrangement: Arrangement;
  /** Between states. */
  readonly gap: { readonly x: number; readonly y: number };
}
export const OURS: Manner = { arrangement: ARRANGEMENT, gap: { x: 36, y: 40 } };
/** Children in the order in which they come, with room for what sets an edge off. */
export const FOREIGN: Manner = { arrangement: NOTHING, gap: { x: 104, y: 64 } };

/** Columns of children that ARRANGEMENT does not know. */
const COLUMNS = 4;
const STATE_HEIGHT = 30;
const TITLE_HEIGHT = 26;
const PADDING = 14;

/** In the page's typeface at 12.5 px a character of a name takes some 7 px. */
const widthOf = (key: string): number => Math.round(key.length * 7.1 + 26);

interface Cell {
  readonly id: string;
  readonly column: number;
  readonly row: number;
  readonly span: number;
  readonly rowSpan: number;
  readonly size: Size;
}
interface Size {
  readonly width: number;
  readonly height: number;
  readonly cells: readonly Cell[];
  readonly columns: readonly number[];
  readonly rows: readonly number[];
}

const sum = (numbers: readonly number[], gap: number): number =>
  numbers.reduce((total, number) => total + number, 0) + gap * Math.max(0, numbers.length - 1);

/** The cells of a state's children: as arranged, and below them what nobody has arranged. */
const cellsOf = (graph: ChartGraph, manner: Manner, id: string, key: string): Cell[] => {
  const children = graph.states.filter(({ parent }) => parent === id);
  const arranged = manner.arrangement[key] ?? NOTHING;
  const below =
    Math.max(-1, ...children.map((child) => (arranged[child.key]?.[1] ?? -1) + (arranged[child.key]?.[3] ?? 1) - 1)) + 1;
  let extra = 0;
  return children.map((child) => {
    const [column, row, span = 1, rowSpan = 1]: Arranged = arranged[child.key] ?? [
      extra % COLUMNS,
      below + Math.floor(extra++ / COLUMNS),
    ];
    return { id: child.id, column, row, span, rowSpan, size: sizeOf(graph, manner, child.id, child.key) };
  });
};

/** Lengths of columns or rows that hold all cells; what spans several widens all of them alike. */
const tracksOf = (cells: readonly { from: number; span: number; length: number }[], gap: number): number[] => {
  const tracks: number[] = Array.from({ length: Math.max(...cells.map(({ from, span }) => from + span)) }, () => 0);
  for (const { from, span, length } of cells.toSorted((one, other) => one.span - other.span)) {
    const missing = Math.max(0, length - sum(tracks.slice(from, from + span), gap));
    for (let index = from; index < from + span; index += 1) tracks[index] = (tracks[index] ?? 0) + missing / span;
  }
  return tracks;
};

const sizeOf = (graph: ChartGraph, manner: Manner, id: string, key: string): Size => {
  const { gap } = manner;
  const cells = cellsOf(graph, manner, id, key);
  if (cells.length === 0) return { width: widthOf(key), height: STATE_HEIGHT, cells, columns: [], rows: [] };
  const columns = tracksOf(
    cells.map(({ column, span, size }) => ({ from: column, span, length: size.width })),
    gap.x,
  );
  const rows = tracksOf(
    cells.map(({ row, rowSpan, size }) => ({ from: row, span: rowSpan, length: size.height })),
    gap.y,
  );
  return {
    width: sum(columns, gap.x) + 2 * PADDING,
    height: sum(rows, gap.y) + TITLE_HEIGHT + PADDING,
    cells,
    columns,
    rows,
  };
};

/** Puts a state and what is inside it in its place; a leaf stands in the middle of its cell, a compound state fills it. */
const place = (id: string, size: Size, at: Box, gap: Manner['gap'], boxes: Map<string, Box>): void => {
  const box =
    size.cells.length > 0
      ? at
      : {
          x: at.x + (at.width - size.width) / 2,
          y: at.y + (at.height - size.height) / 2,
          width: size.width,
          height: size.height,
        };
  boxes.set(id, box);
  const { columns, rows } = size;
  for (const { id: child, column, row, span, rowSpan, size: inner } of size.cells) {
    const x = box.x + PADDING + sum([...columns.slice(0, column), 0], gap.x);
    const y = box.y + TITLE_HEIGHT + sum([...rows.slice(0, row), 0], gap.y);
    const width = sum(columns.slice(column, column + span), gap.x);
    place(child, inner, { x, y, width, height: sum(rows.slice(row, row + rowSpan), gap.y) }, gap, boxes);
  }
};

export const layoutOf = (graph: ChartGraph, manner: Manner): ChartLayout => {
  const root = graph.states.find(({ parent }) => parent === null);
  if (root === undefined) throw new Error('the chart has no root');
  const boxes = new Map<string, Box>();
  const size = sizeOf(graph, manner, root.id, root.key);
  place(root.id, size, { x: 0, y: 0, width: size.width, height: size.height }, manner.gap, boxes);
  // The root has no frame, so nothing is kept free for one.
  for (const [id, { x, y, ...rest }] of boxes) boxes.set(id, { x: x - PADDING + 1, y: y - TITLE_HEIGHT + 1, ...rest });
  const parents = new Set(graph.states.map(({ parent }) => parent));
  const leaves = graph.states.flatMap(({ id }) => (parents.has(id) ? [] : [boxes.get(id)!]));
  return {
    width: size.width - 2 * PADDING + 2,
    height: size.height - TITLE_HEIGHT - PADDING + 2,
    boxes,
    curves: curvesOf(graph.edges, boxes, leaves),
  };
};
