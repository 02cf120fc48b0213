// A statechart as drawn: what is active is lit, what has just been taken is pulsed, and a state under the pointer or the
// focus tells what it means and where it leads under which guard. Draws our chart and those of other programs.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { ChartEdge, ChartState } from '../../../machines/chart-graph.ts';
import type { Box } from '../chart-curves.ts';
import type { DrawnChart } from './drawn.ts';

const keyOf = ({ states }: DrawnChart, id: string): string => states.get(id)?.key ?? id;
const boxOf = ({ layout }: DrawnChart, id: string): Box => layout.boxes.get(id) ?? { x: 0, y: 0, width: 0, height: 0 };

/** What sets an edge off, for the pointer. */
const titleOf = (chart: DrawnChart, { source, target, ways }: ChartEdge): string =>
  [
    `${keyOf(chart, source)} → ${keyOf(chart, target)}`,
    ...ways.map(({ trigger, guard, actions }) => [trigger, guard === null ? '' : `[${guard}]`, ...actions].join(' ').trim()),
  ].join('\n');

/** Where a state leads, as a list. */
export const Ways = ({ chart, id }: { readonly chart: DrawnChart; readonly id: string }) => (
  <ul class="ways">
    {[...chart.edges.values()]
      .filter(({ source }) => source === id)
      .flatMap(({ target, ways }) =>
        ways.map(({ trigger, guard, actions }) => (
          <li key={`${target} ${trigger} ${guard} ${actions.join()}`}>
            {trigger === 'always' ? '' : <em>{trigger}</em>} {guard === null ? '' : <span class="guard">[{guard}]</span>}{' '}
            {actions.length > 0 && <span class="muted">/ {actions.join(', ')}</span>} →{' '}
            {target === id ? 'stays' : keyOf(chart, target)}
          </li>
        )),
      )}
  </ul>
);

interface CardProps {
  readonly chart: DrawnChart;
  readonly state: ChartState;
  /** What is to be said of it now, behind its name. */
  readonly note: string;
}

/** What a state means, beside it. */
const Card = ({ chart, state, note }: CardProps) => {
  const { width, height } = chart.layout;
  const box = boxOf(chart, state.id);
  const below = box.y + box.height / 2 < height * 0.45;
  const right = box.x + box.width / 2 > width * 0.6;
  const across = right ? { right: `${100 - ((box.x + box.width) / width) * 100}%` } : { left: `${(box.x / width) * 100}%` };
  const along = below
    ? { top: `${((box.y + Math.min(box.height, 34) + 6) / height) * 100}%` }
    : { bottom: `${100 - ((box.y - 6) / height) * 100}%` };
  return (
    <div class="card" role="tooltip" id="state-card" style={{ ...across, ...along }}>
      <strong>{state.key}</strong>
      {note !== '' && <span class="muted"> · {note}</span>}
      <p>{state.description}</p>
      <Ways chart={chart} id={state.id} />
    </div>
  );
};

const LOOKS = ['far', 'near', 'taken'] as const;

/** Where the label of a curve stands: nearer to where it begins, so that those of two that face each other are apart. */
const LABEL_AT = 0.34;
const labelPlace = (path: string): { readonly x: number; readonly y: number } => {
  const [x0 = 0, y0 = 0, x1 = 0, y1 = 0, x2 = 0, y2 = 0, x3 = 0, y3 = 0] = (path.match(/-?[\d.]+/g) ?? []).map(Number);
  const [t, u] = [LABEL_AT, 1 - LABEL_AT];
  const at = (a: number, b: number, c: number, d: number): number =>
    u ** 3 * a + 3 * u * u * t * b + 3 * u * t * t * c + t ** 3 * d;
  return { x: at(x0, x1, x2, x3), y: at(y0, y1, y2, y3) };
};

const labelOf = ({ ways }: ChartEdge): string => {
  const triggers = [...new Set(ways.map(({ trigger }) => trigger))].join(', ');
  return triggers.length > 28 ? `${triggers.slice(0, 27)}…` : triggers;
};

interface DrawingProps {
  readonly chart: DrawnChart;
  readonly active: ReadonlySet<string>;
  /** Edges that have just been taken. */
  readonly taken: readonly string[];
  /** Changes with every step, so that an edge that is taken again is pulsed again. */
  readonly step: string | number;
  /** Whether edges carry what sets them off. */
  readonly labels?: boolean;
  readonly noteOf: (state: ChartState) => string;
}

export const Drawing = ({ chart, active, taken, step, labels = false, noteOf }: DrawingProps) => {
  const { layout, drawn, parents } = chart;
  const { width, height } = layout;
  const [told, setTold] = useState<string | null>(null);
  const [roving, setRoving] = useState<string | null>(null);
  const frame = useRef<SVGSVGElement>(null);
  const room = useRef<HTMLElement>(null);
  const leaves = drawn.filter(({ id }) => !parents.has(id));
  const stop = roving !== null && chart.states.has(roving) ? roving : leaves[0]?.id;

  const edges = useMemo(() => {
    const lit = new Set(taken);
    const strong = (source: string): boolean => told === source || (told === null && active.has(source) && !parents.has(source));
    return layout.curves
      .flatMap(({ edge: id, path }) => {
        const edge = chart.edges.get(id);
        if (edge === undefined) return [];
        const look: (typeof LOOKS)[number] = lit.has(id) ? 'taken' : strong(edge.source) ? 'near' : 'far';
        return [{ edge, path, look }];
      })
      .toSorted((a, b) => LOOKS.indexOf(a.look) - LOOKS.indexOf(b.look));
  }, [chart, active, taken, told]);

  // In a narrow window the chart is wider than its room: what is lit is kept in sight.
  useEffect(() => {
    const [scroller, lit] = [room.current, leaves.find(({ id }) => active.has(id))];
    if (scroller === null || lit === undefined || scroller.scrollWidth <= scroller.clientWidth) return;
    const { x, width: across } = boxOf(chart, lit.id);
    scroller.scrollLeft = ((x + across / 2) / width) * scroller.scrollWidth - scroller.clientWidth / 2;
  }, [chart, active]);

  const move = (event: KeyboardEvent): void => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === 'Escape') setTold(null);
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const at = drawn.findIndex(({ id }) => id === stop);
    const next = drawn[(at + by + drawn.length) % drawn.length];
    if (next === undefined) return;
    setRoving(next.id);
    frame.current?.querySelector<SVGGElement>(`[data-state="${CSS.escape(next.id)}"]`)?.focus();
  };

  const attributes = (state: ChartState) => ({
    'data-state': state.id,
    'data-active': active.has(state.id) ? 'true' : undefined,
    class: `state${active.has(state.id) ? ' active' : ''}${parents.has(state.id) ? ' compound' : ''}`,
    role: 'img' as const,
    'aria-label': `${state.key}${active.has(state.id) ? ', active' : ''}. ${state.description ?? ''}`,
    'aria-describedby': told === state.id ? 'state-card' : undefined,
    // In SVG attributes have their case.
    tabindex: stop === state.id ? 0 : -1,
    onMouseEnter: () => setTold(state.id),
    onMouseLeave: () => setTold(null),
    onFocus: () => {
      setRoving(state.id);
      setTold(state.id);
    },
    onBlur: () => setTold(null),
  });

  const toldState = told === null ? undefined : chart.states.get(told);
  return (
    <section class="chart" aria-label="Statechart" ref={room}>
      <div class="drawing" style={{ '--ratio': String(width / height), '--natural': `${width}px` }}>
        <svg
          ref={frame}
          viewBox={`0 0 ${width} ${height}`}
          role="group"
          aria-label="States; arrow keys move between them"
          onKeyDown={move}
        >
          <defs>
            {LOOKS.map((look) => (
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
          {drawn
            .filter(({ id }) => parents.has(id))
            .map((state) => {
              const box = boxOf(chart, state.id);
              return (
                <g key={state.id} {...attributes(state)}>
                  <rect {...box} rx="8" />
                  <text x={box.x + 14} y={box.y + 18}>
                    {state.key}
                  </text>
                </g>
              );
            })}
          <g class="edges" aria-hidden="true">
            {edges.map(({ edge, path, look }) => (
              <g key={look === 'taken' ? `${edge.id} ${step}` : edge.id}>
                <path class={look} d={path} data-edge={edge.id} marker-end={`url(#arrow-${look})`} />
                <path class="near-it" d={path}>
                  <title>{titleOf(chart, edge)}</title>
                </path>
              </g>
            ))}
          </g>
          {leaves.map((state) => {
            const box = boxOf(chart, state.id);
            return (
              <g key={state.id} {...attributes(state)}>
                <rect {...box} rx="6" />
                <text x={box.x + box.width / 2} y={box.y + box.height / 2} class="leaf">
                  {state.key}
                </text>
              </g>
            );
          })}
          {labels && (
            <g class="labels" aria-hidden="true">
              {edges
                .filter(({ look }) => look !== 'far')
                .map(({ edge, path, look }) => (
                  <text key={edge.id} {...labelPlace(path)} class={look}>
                    {labelOf(edge)}
                  </text>
                ))}
            </g>
          )}
        </svg>
        {toldState !== undefined && <Card chart={chart} state={toldState} note={noteOf(toldState)} />}
      </div>
    </section>
  );
};
