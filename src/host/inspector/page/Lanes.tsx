// The lanes of one pair over time, with the datapath's ribbon above them and the slider as their axis.
import { useMemo } from 'preact/hooks';
import type { Finding } from '../../../machines/findings.ts';
import type { InspectedTimeline } from '../document.ts';
import { type Axis, axisOf } from './axis.ts';
import {
  datapathSpans,
  effectSpans,
  findingSpans,
  type FindingSpan,
  LANES,
  type Lane,
  marksOf,
  placeText,
  pluggedSpans,
  presenceSpans,
  type Span,
  stageSpans,
} from './lanes.ts';
import { clockText, HOST_LANE_PX, HostLanes } from './HostLanes.tsx';
import { LossLane, LossNames, lossPx } from './LossLane.tsx';
import { useWidth } from './hooks.ts';
import type { Tracks } from './tracks.ts';
import { duration, since, summary } from './words.ts';

const LABEL_PX = 92;
const RIBBON = { y: 18, height: 26 } as const;
const LANE_PX = 24;
/** Within a lane: what lasts above, the events that came below it. */
const BAR = { y: 1, height: 15 } as const;
const MARK = { y: 17, height: 4 } as const;
const LOSS_Y = RIBBON.y + RIBBON.height + 8;

/** Where what begins, from the top: ribbon, losses, the guest's lanes, its hosts', the axis. */
const placesOf = ({ losses, hosts }: InspectedTimeline) => {
  const lanes = RIBBON.y + RIBBON.height + 10 + lossPx(losses);
  const hostLanes = lanes + LANES.length * LANE_PX;
  const yOf = (lane: Lane): number => lanes + LANES.indexOf(lane) * LANE_PX;
  return { lanes, yOf, hostLanes, bottom: hostLanes + hosts.length * HOST_LANE_PX + 6 };
};
const LANE_NAMES: Readonly<Record<Lane, string>> = {
  hypervisor: 'Hypervisor',
  pci: 'PCI',
  primary: 'Primary',
  standby: 'Standby',
  controller: 'Controller',
  effects: 'Effects',
};

const fits = (label: string, width: number): boolean => width > label.length * 6.6 + 12;

interface BarProps {
  readonly axis: Axis;
  readonly span: Span;
  readonly y: number;
  readonly height: number;
  readonly name: string;
  readonly title: string;
  /** How far the next one is, where a label may stand behind its bar. */
  readonly room?: number;
}

const Bar = ({ axis, span, y, height, name, title, room = 0 }: BarProps) => {
  const x = axis.xOf(span.from);
  const width = Math.max(2, axis.xOf(span.to) - x);
  const isInside = fits(span.label, width);
  return (
    <g class={`bar ${name} is-${span.kind}`}>
      <title>{title}</title>
      <rect x={x} y={y} width={width} height={height} />
      {span.kind === 'hole' && <rect class="hatched" x={x} y={y} width={width} height={height} fill="url(#hatch)" />}
      {(isInside || fits(span.label, room - width)) && (
        <text x={isInside ? x + 8 : x + width + 6} y={y + height / 2}>
          {span.label}
        </text>
      )}
    </g>
  );
};

interface LanesProps {
  readonly tracks: Tracks;
  /** How many events there are: changes when a live log grows. */
  readonly count: number;
  readonly mac: string;
  readonly window: readonly [from: number, to: number];
  readonly index: number;
  readonly findings: readonly Finding[];
  readonly timeline: InspectedTimeline;
  readonly go: (index: number) => void;
}

const titleOf = (tracks: Tracks, { from, to, label }: Span): string =>
  `${label}, ${duration((tracks.rows[to]?.at_ms ?? 0) - (tracks.rows[from]?.at_ms ?? 0))}`;

const findingTitle = ({ finding }: FindingSpan): string => `${finding.severity} ${finding.code}: ${finding.text}`;

/** Everything but the cursor: drawn anew only when the log, the window or the width changes. */
const Drawing = ({
  tracks,
  count,
  mac,
  window,
  findings,
  timeline,
  axis,
}: Omit<LanesProps, 'index' | 'go'> & { readonly axis: Axis }) =>
  useMemo(() => {
    const track = tracks.pairs.get(mac);
    const { lanes, yOf, hostLanes, bottom } = placesOf(timeline);
    const bars = (name: string, spans: readonly Span[], y: number, height: number) =>
      spans.map((span) => (
        <Bar
          key={`${name} ${span.from} ${span.kind}`}
          axis={axis}
          span={span}
          y={y}
          height={height}
          name={name}
          title={titleOf(tracks, span)}
        />
      ));
    const found = findingSpans(tracks, findings, mac, window);
    const holes = found.filter(({ finding }) => finding.code === 'inboundHole');
    return (
      <g>
        {LANES.map((lane) => (
          <line key={lane} class="rule" x1="0" x2={axis.width} y1={yOf(lane) + LANE_PX - 3} y2={yOf(lane) + LANE_PX - 3} />
        ))}
        {axis.gaps.map((gap) => (
          <g key={gap.x} class="gap">
            <line x1={gap.x + gap.width / 2} x2={gap.x + gap.width / 2} y1={lanes} y2={bottom - 8} />
            <text x={gap.x + gap.width / 2} y={bottom + 24}>
              {duration(gap.ms)}
            </text>
          </g>
        ))}
        {bars('path', datapathSpans(track, window), RIBBON.y, RIBBON.height)}
        {holes.map((span) => (
          <Bar
            key={`hole ${span.from}`}
            axis={axis}
            span={{ ...span, kind: 'hole', label: 'standby · inbound hole' }}
            y={RIBBON.y}
            height={RIBBON.height}
            name="path"
            title={findingTitle(span)}
          />
        ))}
        {found.map((span) => (
          <g key={`${span.finding.code} ${span.from}`} class={`flag is-${span.kind}`}>
            <title>{findingTitle(span)}</title>
            <rect x={axis.xOf(span.from)} y="4" width={Math.max(3, axis.xOf(span.to) - axis.xOf(span.from))} height="3" />
            <circle cx={axis.xOf(span.from)} cy="5.5" r="4" />
          </g>
        ))}
        {bars('plugged', pluggedSpans(track, window), yOf('pci') + BAR.y, BAR.height)}
        {bars('presence', presenceSpans(track, window, 'primary'), yOf('primary') + BAR.y, BAR.height)}
        {bars('presence standby', presenceSpans(track, window, 'standby'), yOf('standby') + BAR.y, BAR.height)}
        {bars('stage', stageSpans(track, window), yOf('controller') + BAR.y, BAR.height)}
        {effectSpans(track, window).map((span, at, all) => (
          <Bar
            key={`effect ${span.from}`}
            axis={axis}
            span={span}
            y={yOf('effects') + BAR.y}
            height={BAR.height}
            name="effect"
            title={`${titleOf(tracks, span)}: ${span.kind}`}
            room={axis.xOf(all[at + 1]?.from ?? window[1]) - axis.xOf(span.from)}
          />
        ))}
        {marksOf(tracks, mac, window, axis.xOf).map(({ index, lane, count: many }) => {
          const row = tracks.rows[index];
          return (
            <g key={`${lane} ${index}`} class="mark">
              <title>
                {row === undefined
                  ? ''
                  : `${placeText(row)} ${since(row.at_ms)} s\n${summary(row)}${many > 1 ? `\nand ${many - 1} more` : ''}`}
              </title>
              <rect x={axis.xOf(index) - 1} y={yOf(lane) + MARK.y} width="2" height={MARK.height} />
            </g>
          );
        })}
        {timeline.losses.length > 0 && <LossLane losses={timeline.losses} tracks={tracks} axis={axis} y={LOSS_Y} />}
        <HostLanes hosts={timeline.hosts} tracks={tracks} axis={axis} y={hostLanes} />
        {axis.ticks.map((tick) => (
          <g key={tick.x} class="tick">
            <line x1={tick.x} x2={tick.x} y1={bottom} y2={bottom + 5} />
            <text x={tick.x} y={bottom + 13} class={tick.x < 30 ? 'start' : ''}>
              {since(tick.at_ms)}
            </text>
          </g>
        ))}
      </g>
    );
  }, [tracks, count, mac, window, findings, timeline, axis]);

export const Lanes = (props: LanesProps) => {
  const { tracks, count, window, index, timeline, go } = props;
  const { yOf, hostLanes, bottom } = placesOf(timeline);
  const [from, to] = window;
  const { ref, width } = useWidth();
  const room = Math.max(120, width - LABEL_PX - 12);
  const times = useMemo(() => tracks.rows.map(({ at_ms }) => at_ms), [tracks, count]);
  const axis = useMemo(() => axisOf(times, from, to, room), [times, from, to, room]);
  const row = tracks.rows[index];
  const x = axis.xOf(index);

  const drag = (event: PointerEvent): void => {
    const svg = event.currentTarget as SVGElement;
    const follow = (to_: PointerEvent): void => go(axis.indexAt(to_.clientX - svg.getBoundingClientRect().left - LABEL_PX));
    const end = (): void => {
      svg.removeEventListener('pointermove', follow);
      svg.removeEventListener('pointerup', end);
      svg.removeEventListener('pointercancel', end);
    };
    svg.setPointerCapture(event.pointerId);
    svg.addEventListener('pointermove', follow);
    svg.addEventListener('pointerup', end);
    svg.addEventListener('pointercancel', end);
    follow(event);
  };

  return (
    <section class="lanes" aria-label="Timeline" ref={ref}>
      <svg width={Math.max(width, LABEL_PX + 132)} height={bottom + 30} onPointerDown={drag}>
        <defs>
          <pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect class="hatch" width="2.5" height="6" />
          </pattern>
        </defs>
        <g class="names">
          <text x="0" y={RIBBON.y + RIBBON.height / 2}>
            Datapath
          </text>
          {LANES.map((lane) => (
            <text key={lane} x="0" y={yOf(lane) + 9}>
              {LANE_NAMES[lane]}
            </text>
          ))}
          {timeline.losses.length > 0 && <LossNames losses={timeline.losses} y={LOSS_Y} />}
          {timeline.hosts.map((host, at) => (
            <text key={host.name} x="0" y={hostLanes + at * HOST_LANE_PX + 9}>
              <title>{`${host.name}, ${host.role}; ${clockText(host)}`}</title>
              {host.name.length > 13 ? `${host.name.slice(0, 12)}…` : host.name}
            </text>
          ))}
        </g>
        <g transform={`translate(${LABEL_PX} 0)`}>
          <Drawing {...props} axis={axis} />
          <line class="axis" x1="0" x2={axis.width} y1={bottom} y2={bottom} />
          <g class="cursor" transform={`translate(${x} 0)`}>
            <line y1="0" y2={bottom} />
            <circle
              cy={bottom}
              r="7"
              role="slider"
              tabindex={0}
              aria-label="Position in the log"
              aria-valuemin={1}
              aria-valuemax={count}
              aria-valuenow={index + 1}
              aria-valuetext={row === undefined ? 'no event' : `${placeText(row)}, ${since(row.at_ms)} seconds`}
              data-slider="true"
            />
          </g>
        </g>
      </svg>
    </section>
  );
};
