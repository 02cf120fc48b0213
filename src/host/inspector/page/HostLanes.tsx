// The lanes of a guest's hypervisors, below its own: when each ran the guest, and what its monitor told.
import type { HostLane } from '../document.ts';
import type { Axis } from './axis.ts';
import type { Tracks } from './tracks.ts';
import { duration, since } from './words.ts';

export const HOST_LANE_PX = 24;

interface HostLanesProps {
  readonly hosts: readonly HostLane[];
  readonly tracks: Tracks;
  readonly axis: Axis;
  /** Where the first of them is drawn. */
  readonly y: number;
}

/** How well the host's clock is known on the guest's, in words. */
export const clockText = ({ uncertainty_ns }: HostLane): string =>
  uncertainty_ns === null ? 'its clock is a guess' : `its clock is known to ${duration(Number(uncertainty_ns) / 1e6)}`;

export const HostLanes = ({ hosts, tracks, axis, y }: HostLanesProps) => (
  <g>
    {hosts.map((host, at) => {
      const top = y + at * HOST_LANE_PX;
      const last_ms = tracks.rows.at(-1)?.at_ms ?? 0;
      const xOf = (ns: string | null, edge: number): number => (ns === null ? edge : axis.clipped(tracks.sinceStart(ns)));
      return (
        <g key={host.name}>
          <line class="rule" x1="0" x2={axis.width} y1={top + HOST_LANE_PX - 3} y2={top + HOST_LANE_PX - 3} />
          {host.running.map(({ from_ns, until_ns }) => {
            const [from, to] = [xOf(from_ns, 0), xOf(until_ns, axis.width)];
            return to - from < 1 ? null : (
              <g key={from_ns ?? 'first'} class="bar runs">
                <title>{`${host.name} runs the guest; ${clockText(host)}`}</title>
                <rect x={from} y={top + 1} width={to - from} height="15" />
                {to - from > 100 && (
                  <text x={from + 8} y={top + 9}>
                    runs the guest
                  </text>
                )}
              </g>
            );
          })}
          {host.items.map((item, index) => {
            const ms = tracks.sinceStart(item.at_ns);
            const x = ms > last_ms ? null : axis.xAt(ms);
            return x === null ? null : (
              <g key={`${index} ${item.at_ns}`} class={`mark is-${item.tone}`}>
                <title>{`${item.text}\n${host.name}, ${since(ms)} s${item.line === null ? '' : `, line ${item.line}`}`}</title>
                <rect x={x - 1} y={top + 17} width="2" height="4" />
              </g>
            );
          })}
        </g>
      );
    })}
  </g>
);

/** What the hosts told between an event and the one after it. */
export const Meanwhile = ({
  hosts,
  tracks,
  index,
}: {
  readonly hosts: readonly HostLane[];
  readonly tracks: Tracks;
  readonly index: number;
}) => {
  const [from, to] = [tracks.rows[index]?.at_ms ?? 0, tracks.rows[index + 1]?.at_ms ?? Infinity];
  const told = hosts
    .flatMap((host) => host.items.map((item) => ({ ...item, host: host.name, ms: tracks.sinceStart(item.at_ns) })))
    .filter(({ ms }) => ms >= from && ms < to)
    .toSorted((one, other) => one.ms - other.ms);
  if (told.length === 0) return null;
  return (
    <>
      <h3>On the hosts, until the next event</h3>
      <ul class="changes">
        {told.slice(0, 50).map(({ host, ms, text }, at) => (
          <li key={at}>
            <span class="number muted">{since(ms)}</span> <b class="host">{host}</b> {text}
          </li>
        ))}
      </ul>
    </>
  );
};
