// The plot of losses, under the datapath's ribbon: each run of packets that did not arrive, those on the way into the guest
// upwards and those out of it downwards. Heights grow with the logarithm, so that one lost packet shows beside a thousand.
import type { Hole, LossFigures } from '../../../../replay/timeline/document.ts';
import type { Axis } from './axis.ts';
import type { Tracks } from './tracks.ts';
import { duration } from './words.ts';

/** Half of the plot: a baseline in its middle. */
const HALF_PX = 18;
export const lossPx = (losses: readonly LossFigures[]): number => (losses.length === 0 ? 0 : 2 * HALF_PX + 10);

const WAYS = { in: 'on the way into the guest', out: 'on the way out of the guest' } as const;

interface LossLaneProps {
  readonly losses: readonly LossFigures[];
  readonly tracks: Tracks;
  readonly axis: Axis;
  /** Where it begins. */
  readonly y: number;
}

const holeTitle = ({ lost, guest }: Hole, { direction }: LossFigures): string =>
  guest === null
    ? ''
    : `${lost} ${lost === 1 ? 'packet' : 'packets'} lost ${WAYS[direction]}, over ${duration((Number(guest.until_ns) - Number(guest.from_ns)) / 1e6)}`;

export const LossLane = ({ losses, tracks, axis, y }: LossLaneProps) => {
  const most = Math.max(1, ...losses.flatMap(({ holes }) => holes.map(({ lost }) => lost)));
  const middle = y + HALF_PX + 2;
  const heightOf = (lost: number): number => Math.max(3, (HALF_PX * Math.log2(1 + lost)) / Math.log2(1 + most));
  return (
    <g class="loss">
      <line class="rule" x1="0" x2={axis.width} y1={middle} y2={middle} />
      {losses.flatMap((one) =>
        one.holes.map((hole) => {
          if (hole.guest === null) return null;
          const [from, until] = [tracks.sinceStart(hole.guest.from_ns), tracks.sinceStart(hole.guest.until_ns)];
          if (!axis.shows(from, until)) return null;
          const [x, height] = [axis.clipped(from), heightOf(hole.lost)];
          const width = Math.max(2, axis.clipped(until) - x);
          const [top, text] = one.direction === 'in' ? [middle - height, middle - 8] : [middle, middle + 9];
          return (
            <g key={`${one.name} ${hole.from_ns}`} class={`hole is-${one.direction}`}>
              <title>{holeTitle(hole, one)}</title>
              <rect x={x} y={top} width={width} height={height} />
              {hole.lost >= most / 8 && (
                <text x={x + width + 4} y={text}>
                  {hole.lost}
                </text>
              )}
            </g>
          );
        }),
      )}
    </g>
  );
};

/** What the two halves are, left of the plot. */
export const LossNames = ({ losses, y }: Pick<LossLaneProps, 'losses' | 'y'>) => {
  const sum = (direction: 'in' | 'out'): number | null => {
    const found = losses.filter((one) => one.direction === direction);
    return found.length === 0 ? null : found.reduce((total, { lost }) => total + lost, 0);
  };
  const text = (direction: 'in' | 'out', at: number) => (
    <text x="0" y={at}>
      <title>{`Packets lost ${WAYS[direction]}, in the whole recording`}</title>
      {`Lost ${direction}: ${sum(direction) ?? '?'}`}
    </text>
  );
  return (
    <>
      {text('in', y + 11)}
      {text('out', y + HALF_PX + 13)}
    </>
  );
};
