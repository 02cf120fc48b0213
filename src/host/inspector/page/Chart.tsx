// The statechart as drawn: what is active is lit, what has just been taken is pulsed, and a state under the pointer or the
// focus tells what it means and where it leads under which guard.
import { useMemo, useRef, useState } from 'preact/hooks';
import { chartGraph, type ChartEdge, type ChartState } from '../../../machines/chart-graph.ts';
import { type Box, type ChartLayout, layoutOf } from '../chart-layout.ts';
import type { Moment } from './moment.ts';

const GRAPH = chartGraph();
const LAYOUT: ChartLayout = layoutOf(GRAPH);
const PARENTS = new Set(GRAPH.states.map(({ parent }) => parent));
const BY_ID = new Map(GRAPH.states.map((state) => [state.id, state]));
/** The root is the frame of the whole drawing. */
const DRAWN = GRAPH.states.filter(({ parent }) => parent !== null);
const COMPOUND = DRAWN.filter(({ id }) => PARENTS.has(id));
const LEAVES = DRAWN.filter(({ id }) => !PARENTS.has(id));

const { width: WIDTH, height: HEIGHT } = LAYOUT;
const VIEW_BOX = `0 0 ${WIDTH} ${HEIGHT}`;

const keyOf = (id: string): string => BY_ID.get(id)?.key ?? id;
/** What sets an edge off, for the pointer. */
const TITLES = new Map(
  GRAPH.edges.map(({ id, source, target, ways }) => [
    id,
    [
      `${keyOf(source)} → ${keyOf(target)}`,
      ...ways.map(({ trigger, guard, actions }) => [trigger, guard === null ? '' : `[${guard}]`, ...actions].join(' ').trim()),
    ].join('\n'),
  ]),
);
const boxOf = (id: string): Box => LAYOUT.boxes.get(id) ?? { x: 0, y: 0, width: 0, height: 0 };
const edgesFrom = (id: string): readonly ChartEdge[] => GRAPH.edges.filter(({ source }) => source === id);

const Ways = ({ id }: { readonly id: string }) => (
  <ul class="ways">
    {edgesFrom(id).flatMap(({ target, ways }) =>
      ways.map(({ trigger, guard, actions }) => (
        <li key={`${target} ${trigger} ${guard} ${actions.join()}`}>
          {trigger === 'always' ? '' : <em>{trigger}</em>} {guard === null ? '' : <span class="guard">[{guard}]</span>}{' '}
          {actions.length > 0 && <span class="muted">/ {actions.join(', ')}</span>} → {target === id ? 'stays' : keyOf(target)}
        </li>
      )),
    )}
  </ul>
);

/** What a state means, beside it. */
const Card = ({ state, moment }: { readonly state: ChartState; readonly moment: Moment }) => {
  const box = boxOf(state.id);
  const below = box.y + box.height / 2 < HEIGHT * 0.45;
  const right = box.x + box.width / 2 > WIDTH * 0.6;
  const across = right ? { right: `${100 - ((box.x + box.width) / WIDTH) * 100}%` } : { left: `${(box.x / WIDTH) * 100}%` };
  const along = below
    ? { top: `${((box.y + Math.min(box.height, 34) + 6) / HEIGHT) * 100}%` }
    : { bottom: `${100 - ((box.y - 6) / HEIGHT) * 100}%` };
  const isActive = moment.active.has(state.id);
  return (
    <div class="card" role="tooltip" id="state-card" style={{ ...across, ...along }}>
      <strong>{state.key}</strong>
      {isActive && (
        <span class="muted">
          {' '}
          · active
          {moment.pair && !PARENTS.has(state.id) && state.id.includes('.path.') ? `, because ${moment.pair.shown.because}` : ''}
        </span>
      )}
      <p>{state.description}</p>
      <Ways id={state.id} />
    </div>
  );
};

interface ChartProps {
  readonly moment: Moment;
}

export const Chart = ({ moment }: ChartProps) => {
  const [told, setTold] = useState<string | null>(null);
  const [roving, setRoving] = useState(LEAVES[0]?.id ?? '');
  const frame = useRef<SVGSVGElement>(null);
  const { active, taken } = moment;

  const edges = useMemo(() => {
    const lit = new Set(taken);
    const strong = (source: string): boolean => told === source || (told === null && active.has(source) && !PARENTS.has(source));
    return LAYOUT.curves
      .map(({ edge, path }) => {
        const [source = ''] = edge.split(' ');
        return { edge, path, look: lit.has(edge) ? 'taken' : strong(source) ? 'near' : 'far' };
      })
      .toSorted((a, b) => ['far', 'near', 'taken'].indexOf(a.look) - ['far', 'near', 'taken'].indexOf(b.look));
  }, [active, taken, told]);

  const move = (event: KeyboardEvent): void => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === 'Escape') setTold(null);
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const at = DRAWN.findIndex(({ id }) => id === roving);
    const next = DRAWN[(at + by + DRAWN.length) % DRAWN.length];
    if (next === undefined) return;
    setRoving(next.id);
    frame.current?.querySelector<SVGGElement>(`[data-state="${next.id}"]`)?.focus();
  };

  const attributes = (state: ChartState) => ({
    'data-state': state.id,
    'data-active': active.has(state.id) ? 'true' : undefined,
    class: `state${active.has(state.id) ? ' active' : ''}${PARENTS.has(state.id) ? ' compound' : ''}`,
    role: 'img' as const,
    'aria-label': `${state.key}${active.has(state.id) ? ', active' : ''}. ${state.description ?? 'A region of the chart.'}`,
    'aria-describedby': told === state.id ? 'state-card' : undefined,
    // In SVG attributes have their case.
    tabindex: roving === state.id ? 0 : -1,
    onMouseEnter: () => setTold(state.id),
    onMouseLeave: () => setTold(null),
    onFocus: () => {
      setRoving(state.id);
      setTold(state.id);
    },
    onBlur: () => setTold(null),
  });

  const toldState = told === null ? undefined : BY_ID.get(told);
  return (
    <section class="chart" aria-label="Statechart">
      <div class="drawing" style={{ '--ratio': String(WIDTH / HEIGHT) }}>
        <svg ref={frame} viewBox={VIEW_BOX} role="group" aria-label="States; arrow keys move between them" onKeyDown={move}>
          <defs>
            {['far', 'near', 'taken'].map((look) => (
              <marker
                key={look}
                id={`arrow-${look}`}
                class={look}
                viewBox="0 0 8 8"
                refX="7"
                refY="4"
                markerWidth="7"
                markerHeight="7"
                markerUnits="userSpaceOnUse"
                orient="auto"
              >
                <path d="M1 1L7 4L1 7z" />
              </marker>
            ))}
          </defs>
          {COMPOUND.map((state) => {
            const { x, y, width, height } = boxOf(state.id);
            return (
              <g key={state.id} {...attributes(state)}>
                <rect x={x} y={y} width={width} height={height} rx="8" />
                <text x={x + 14} y={y + 18}>
                  {state.key}
                </text>
              </g>
            );
          })}
          <g class="edges" aria-hidden="true">
            {edges.map(({ edge, path, look }) => (
              <g key={look === 'taken' ? `${edge} ${moment.index}` : edge}>
                <path class={look} d={path} data-edge={edge} marker-end={`url(#arrow-${look})`} />
                <path class="near-it" d={path}>
                  <title>{TITLES.get(edge)}</title>
                </path>
              </g>
            ))}
          </g>
          {LEAVES.map((state) => {
            const { x, y, width, height } = boxOf(state.id);
            return (
              <g key={state.id} {...attributes(state)}>
                <rect x={x} y={y} width={width} height={height} rx="6" />
                <text x={x + width / 2} y={y + height / 2} class="leaf">
                  {state.key}
                </text>
              </g>
            );
          })}
        </svg>
        {toldState !== undefined && <Card state={toldState} moment={moment} />}
      </div>
    </section>
  );
};
