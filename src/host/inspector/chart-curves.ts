// The edges of the drawn chart: soft curves between the borders of two boxes, with a port of its own for each end, so that
// no two edges lie on each other. They pass behind the boxes of leaves.
import type { ChartEdge } from '../../machines/chart-graph.ts';

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Curve {
  readonly edge: string;
  /** An SVG path: one cubic curve. */
  readonly path: string;
}

type Side = 'top' | 'right' | 'bottom' | 'left';

interface End {
  readonly box: Box;
  readonly side: Side;
  /** The middle of the box at the other end: ports are sorted by it. */
  readonly towards: { readonly x: number; readonly y: number };
  at: number;
  /** It leads into its own box: the other end is inside. */
  readonly inward: boolean;
}

const NORMAL: { readonly [K in Side]: readonly [number, number] } = {
  top: [0, -1],
  right: [1, 0],
  bottom: [0, 1],
  left: [-1, 0],
};

const middle = ({ x, y, width, height }: Box) => ({ x: x + width / 2, y: y + height / 2 });
const overlap = (a: number, aLength: number, b: number, bLength: number): boolean => a < b + bLength && b < a + aLength;

/** Whether a leaf lies between two boxes that stand side by side. */
const isBlocked = (a: Box, b: Box, leaves: readonly Box[]): boolean => {
  const [from, to] = a.x < b.x ? [a.x + a.width, b.x] : [b.x + b.width, a.x];
  const y = (middle(a).y + middle(b).y) / 2;
  return leaves.some(
    (leaf) => leaf !== a && leaf !== b && leaf.x >= from && leaf.x + leaf.width <= to && overlap(leaf.y, leaf.height, y, 1),
  );
};

const isInside = (inner: Box, outer: Box): boolean =>
  inner.x > outer.x &&
  inner.y > outer.y &&
  inner.x + inner.width < outer.x + outer.width &&
  inner.y + inner.height < outer.y + outer.height;

/** The side of a box that is nearest to the same side of the box around it. */
const nearestSide = (inner: Box, outer: Box): Side => {
  const room: [Side, number][] = [
    ['left', inner.x - outer.x],
    ['right', outer.x + outer.width - inner.x - inner.width],
    ['bottom', outer.y + outer.height - inner.y - inner.height],
  ];
  return room.toSorted(([, one], [, other]) => one - other)[0]?.[0] ?? 'left';
};

/** On which sides an edge leaves and arrives. */
const sidesOf = (a: Box, b: Box, leaves: readonly Box[]): [Side, Side] => {
  if (isInside(b, a)) return [nearestSide(b, a), nearestSide(b, a)];
  if (isInside(a, b)) return [nearestSide(a, b), nearestSide(a, b)];
  const beside = overlap(a.y, a.height, b.y, b.height) && !overlap(a.x, a.width, b.x, b.width);
  if (beside && isBlocked(a, b, leaves)) return ['top', 'top'];
  const dx = a.x + a.width <= b.x ? b.x - a.x - a.width : b.x + b.width <= a.x ? b.x + b.width - a.x : 0;
  const dy = a.y + a.height <= b.y ? b.y - a.y - a.height : b.y + b.height <= a.y ? b.y + b.height - a.y : 0;
  if (Math.abs(dx) >= Math.abs(dy) && dx !== 0) return dx > 0 ? ['right', 'left'] : ['left', 'right'];
  return dy > 0 || (dy === 0 && dx === 0) ? ['bottom', 'top'] : ['top', 'bottom'];
};

const pointOf = ({ box, side, at }: End) => {
  if (side === 'top' || side === 'bottom') return { x: box.x + box.width * at, y: side === 'top' ? box.y : box.y + box.height };
  return { x: side === 'left' ? box.x : box.x + box.width, y: box.y + box.height * at };
};

/** Gives the ends on one side of one box their places, in the order of what they lead to. */
const spread = (ends: readonly End[]): void => {
  const groups = Map.groupBy(ends, ({ box, side }) => `${box.x} ${box.y} ${side}`);
  for (const group of groups.values()) {
    const along = group[0]?.side === 'top' || group[0]?.side === 'bottom' ? ('x' as const) : ('y' as const);
    const sorted = group.toSorted((one, other) => one.towards[along] - other.towards[along]);
    sorted.forEach((end, index) => {
      end.at = 0.12 + (0.76 * (index + 1)) / (sorted.length + 1);
    });
  }
};

const pathOf = (from: End, to: End): string => {
  const [a, b] = [pointOf(from), pointOf(to)];
  const distance = Math.hypot(b.x - a.x, b.y - a.y);
  const reach =
    from.side === to.side && !from.inward && !to.inward ? 18 + distance * 0.07 : Math.min(80, Math.max(14, distance * 0.4));
  const control = (point: { x: number; y: number }, { side, inward }: End) => {
    const [x, y] = NORMAL[side];
    const along = inward ? -reach : reach;
    return { x: point.x + x * along, y: point.y + y * along };
  };
  const [c, d] = [control(a, from), control(b, to)];
  const numbers = [a.x, a.y, c.x, c.y, d.x, d.y, b.x, b.y].map((number) => Math.round(number * 10) / 10);
  return `M${numbers.slice(0, 2).join(' ')}C${numbers.slice(2).join(' ')}`;
};

export const curvesOf = (edges: readonly ChartEdge[], boxes: ReadonlyMap<string, Box>, leaves: readonly Box[]): Curve[] => {
  const drawn = edges.flatMap(({ id, source, target }) => {
    const [a, b] = [boxes.get(source), boxes.get(target)];
    if (source === target || a === undefined || b === undefined) return [];
    const [leave, arrive] = sidesOf(a, b, leaves);
    const from: End = { box: a, side: leave, towards: middle(b), at: 0.5, inward: isInside(b, a) };
    const to: End = { box: b, side: arrive, towards: middle(a), at: 0.5, inward: isInside(a, b) };
    return [{ id, from, to }];
  });
  spread(drawn.flatMap(({ from, to }) => [from, to]));
  return drawn.map(({ id, from, to }) => ({ edge: id, path: pathOf(from, to) }));
};
