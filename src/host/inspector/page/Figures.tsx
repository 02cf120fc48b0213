// The figures of an episode, beside the lanes: a primary left, step by step until the next one carried; how long each path
// carried meanwhile, what was lost, and how well the clocks behind these numbers are known.
import { useState } from 'preact/hooks';
import { DIRECTIONS, type Episode, type SegmentFigures, STEP_MEANINGS, STEPS } from '../../../../replay/timeline/document.ts';
import { DATAPATHS } from '../../../machines/stages.ts';
import type { InspectedTimeline } from '../document.ts';
import type { Tracks } from './tracks.ts';
import { duration } from './words.ts';

const ms = (ns: string | bigint): number => Number(ns) / 1e6;

/** The steps that were seen, in the order of time; where the page goes for one is the last event before it. */
const stepsOf = ({ steps }: Episode, tracks: Tracks) => {
  const seen = STEPS.flatMap((name) => {
    const step = steps[name];
    return step === undefined ? [] : [{ name, ...step, index: tracks.indexAt(step.guest_ns) }];
  });
  const first = seen.reduce((least, { at_ns }) => (BigInt(at_ns) < least ? BigInt(at_ns) : least), BigInt(seen[0]?.at_ns ?? 0));
  return seen.map((step) => ({ ...step, after_ms: ms(BigInt(step.at_ns) - first) })).toSorted((a, b) => a.after_ms - b.after_ms);
};

const titleOf = ({ ending, source, target }: Episode): string =>
  ending === 'none' ? 'Primary left' : `Migration ${source ?? ''}${target === null ? '' : ` → ${target}`}`;

const clockText = ({ low_ns, high_ns, anchors }: SegmentFigures): string => {
  if (low_ns === null && high_ns === null) return 'unchecked: the guest’s own wall clock';
  const edge = (ns: string | null, sign: string): string =>
    ns === null ? 'unbounded' : ns === '0' ? '0' : `${sign}${duration(ms(ns))}`;
  return `${edge(low_ns, '')} to ${edge(high_ns, '+')}, from ${anchors} ${anchors === 1 ? 'event' : 'events'}`;
};

/** Shares of the episode: each path while the guest ran, and the time in which it stood still. */
const Shares = ({ episode: { carried_ns, stopped_ns } }: { readonly episode: Episode }) => {
  const shares = [
    ...DATAPATHS.map((path) => ({ kind: path, name: path === 'none' ? 'no path' : path, length_ms: ms(carried_ns[path]) })),
    { kind: 'stopped', name: 'stopped', length_ms: ms(stopped_ns) },
  ].filter(({ length_ms }) => length_ms > 0);
  return (
    <>
      <div class="shares" aria-hidden="true">
        {shares.map(({ kind, length_ms }) => (
          <i key={kind} class={`is-${kind}`} style={{ flexGrow: String(length_ms) }} />
        ))}
      </div>
      <p class="carried">
        {shares.map(({ kind, name, length_ms }) => (
          <span key={kind} class={`is-${kind}`}>
            {name} <span class="number">{duration(length_ms)}</span>
          </span>
        ))}
      </p>
    </>
  );
};

interface FiguresProps {
  readonly timeline: InspectedTimeline;
  readonly tracks: Tracks;
  readonly mac: string;
  readonly index: number;
  readonly go: (index: number) => void;
}

export const Figures = ({ timeline: { episodes, segments, hosts }, tracks, mac, index, go }: FiguresProps) => {
  // Two episodes may begin between the same two events: the one that was asked for stays until the position moves.
  const [picked, setPicked] = useState<{ readonly at: number; readonly index: number } | null>(null);
  const all = episodes.filter((episode) => episode.mac === mac).map((episode) => ({ episode, steps: stepsOf(episode, tracks) }));
  const reached = Math.max(
    0,
    all.findLastIndex(({ steps }) => (steps[0]?.index ?? 0) <= index),
  );
  const at = picked !== null && picked.index === index ? picked.at : reached;
  const shown = all[at];
  if (shown === undefined) return null;
  const { episode, steps } = shown;
  const pick = (to: number): void => {
    const target = all[to]?.steps[0]?.index ?? index;
    setPicked({ at: to, index: target });
    go(target);
  };
  const missing = STEPS.filter((name) => episode.steps[name] === undefined);
  const lost = DIRECTIONS.flatMap((one) => (episode.lost[one] === null ? [] : [`${episode.lost[one]} ${one}`]));
  return (
    <section class="figures" aria-label="Figures" tabIndex={0}>
      <h2>
        {titleOf(episode)}
        {episode.ending !== 'none' && <span class={`ending is-${episode.ending}`}>{episode.ending}</span>}
        {all.length > 1 && (
          <span class="turn">
            <button type="button" aria-label="Previous episode" disabled={at === 0} onClick={() => pick(at - 1)}>
              ‹
            </button>
            <span class="number muted">
              {at + 1} of {all.length}
            </span>
            <button type="button" aria-label="Next episode" disabled={at === all.length - 1} onClick={() => pick(at + 1)}>
              ›
            </button>
          </span>
        )}
      </h2>
      <ol>
        {steps.map(({ name, by, after_ms, index: to }) => (
          <li key={name}>
            <button
              type="button"
              class={to > index ? 'later' : ''}
              title={`${STEP_MEANINGS[name]} (${by})`}
              onClick={() => go(to)}
            >
              <span>{name}</span>
              <span class="number">{after_ms === 0 ? '0' : `+${duration(after_ms)}`}</span>
              {hosts.length > 0 && <span class="muted by">{by}</span>}
            </button>
          </li>
        ))}
      </ol>
      <Shares episode={episode} />
      <dl>
        {lost.length > 0 && (
          <>
            <dt>packets lost</dt>
            <dd class="number">{lost.join(', ')}</dd>
          </>
        )}
        {hosts.length > 0 &&
          segments.map((segment) => (
            <>
              <dt>{segment.host} clock</dt>
              <dd class="number">{clockText(segment)}</dd>
            </>
          ))}
        {hosts.length > 0 && missing.length > 0 && (
          <>
            <dt>not seen</dt>
            <dd>{missing.join(', ')}</dd>
          </>
        )}
      </dl>
    </section>
  );
};
