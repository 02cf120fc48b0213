// One position of a log, folded anew: from the nearest snapshot before it up to the event, with everything that the event
// did. What the page lights up and lists comes from here.
import { askChart, type Configuration, react } from '../../../machines/chart-table.ts';
import { activeStates, takenEdges } from '../../../machines/chart-graph.ts';
import { Guest } from '../../../machines/guest.ts';
import type { Step } from '../../../machines/step.ts';
import type { PairState } from '../../../machines/pair-state.ts';
import { factsOf, type ViewBit } from '../../../machines/view.ts';
import type { Tracks } from './tracks.ts';

export interface Moment {
  readonly index: number;
  /** The pair after the event; undefined before it is known. */
  readonly pair: PairState | undefined;
  /** Ids of the chart's states that are active. */
  readonly active: ReadonlySet<string>;
  /** Ids of the chart's edges that the event made it take, in order. */
  readonly taken: readonly string[];
  /** Facts of the view that began and ended to hold. */
  readonly began: readonly ViewBit[];
  readonly ended: readonly ViewBit[];
  readonly step: Step | null;
}

interface Reaction {
  readonly from: Configuration;
  readonly event: string;
  readonly bits: number;
}

export const momentAt = (tracks: Tracks, mac: string, index: number): Moment => {
  const seen: Reaction[] = [];
  let watched = false;
  // Two pairs with the same configuration and the same facts react alike, so it does not matter which of them this is.
  const chart: typeof askChart = (from, event, bits) => {
    const pair = guest.pairs.get(mac);
    if (watched && pair?.configuration === from && pair.bits === bits) seen.push({ from, event, bits });
    return react(from, event, bits);
  };
  const guest = new Guest(chart);
  const keyframe = tracks.keyframes.findLast((frame) => frame.index <= index);
  if (keyframe !== undefined) guest.restore(keyframe.snapshot);
  let step = null as Step | null;
  let bitsBefore = 0;
  for (const { event, index: at } of tracks.rows.slice(keyframe?.index ?? 0, index + 1)) {
    watched = at === index;
    if (watched) bitsBefore = guest.pairs.get(mac)?.bits ?? 0;
    step = guest.apply(event);
  }
  const pair = guest.pairs.get(mac);
  const isTouched = step?.touched.some((touched) => touched.mac === mac) === true;
  const bits = pair?.bits ?? 0;
  return {
    index,
    pair,
    active: new Set(pair === undefined ? [] : activeStates(pair.configuration)),
    taken: isTouched ? seen.flatMap(({ from, event, bits: at }) => takenEdges(from, event, at)) : [],
    began: factsOf(bits & ~bitsBefore),
    ended: factsOf(bitsBefore & ~bits),
    step,
  };
};
