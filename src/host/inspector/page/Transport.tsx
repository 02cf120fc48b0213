// Moving through the log: stepping, playing at its own pace, zooming, following a live one; by buttons and by keys.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Finding } from '../../../machines/findings.ts';
import { placeOf, type Tracks } from './tracks.ts';
import { since, wallClock } from './words.ts';

const SPEEDS = [1, 10] as const;
/** Nobody wants to watch an hour without events: a longer pause is cut to this. */
const PAUSE_MAX_MS = 3000;

interface TransportProps {
  readonly tracks: Tracks;
  readonly count: number;
  readonly index: number;
  /** 0 while it stands. */
  readonly speed: number;
  readonly setSpeed: (speed: number) => void;
  readonly go: (index: number) => void;
  readonly step: (by: number) => void;
  readonly findings: readonly Finding[];
  readonly goTo: (place: number) => void;
  readonly live: { readonly follows: boolean; readonly setFollows: (follows: boolean) => void } | null;
  readonly zoom: { readonly span: number; readonly setSpan: (span: number) => void };
  /** The fragment of a link to this position. */
  readonly link: string;
}

/** Elements that use the keys themselves. */
const takesKeys = (target: EventTarget | null): boolean =>
  target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;

export const Transport = (props: TransportProps) => {
  const { tracks, count, index, speed, setSpeed, go, step, findings, goTo, live, zoom, link } = props;
  const [copied, setCopied] = useState(false);
  const row = tracks.rows[index];
  const place = row === undefined ? 0 : placeOf(row.event);

  useEffect(() => {
    if (speed === 0) return;
    if (index >= count - 1) {
      setSpeed(0);
      return;
    }
    const wait_ms = (tracks.rows[index + 1]?.at_ms ?? 0) - (tracks.rows[index]?.at_ms ?? 0);
    const timer = setTimeout(() => go(index + 1), Math.min(PAUSE_MAX_MS, wait_ms) / speed);
    return () => clearTimeout(timer);
  }, [speed, index, count]);

  const play = (at: number): void => {
    if (speed === at) return setSpeed(0);
    if (index >= count - 1) go(0);
    setSpeed(at);
  };
  const nextFinding = (): void => {
    const next = findings.find(({ seq }) => seq > place) ?? findings[0];
    if (next !== undefined) goTo(next.seq);
  };
  const copy = (): void => {
    void navigator.clipboard?.writeText(new URL(link, location.href).href).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  };
  useEffect(() => setCopied(false), [link]);
  const keys = useRef<Readonly<Record<string, () => void>>>({});
  keys.current = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    PageDown: () => step(10),
    PageUp: () => step(-10),
    Home: () => go(0),
    End: () => (live === null ? go(count - 1) : live.setFollows(true)),
    ' ': () => play(1),
    f: nextFinding,
    '+': () => zoom.setSpan(Math.floor(zoom.span / 2)),
    '-': () => zoom.setSpan(zoom.span * 2),
    '/': () => document.getElementById('search')?.focus(),
  };
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || takesKeys(event.target)) return;
      // A button that is pressed with the space bar is not the player.
      if (event.key === ' ' && event.target instanceof HTMLButtonElement) return;
      const act = keys.current[event.key];
      if (act === undefined) return;
      event.preventDefault();
      act();
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, []);

  return (
    <div class="transport" role="toolbar" aria-label="Position">
      <button type="button" aria-label="First event" title="First event (Home)" onClick={() => go(0)}>
        ⇤
      </button>
      <button type="button" aria-label="Previous event" title="Previous event (←)" onClick={() => step(-1)}>
        ←
      </button>
      <button type="button" aria-label="Next event" title="Next event (→)" onClick={() => step(1)}>
        →
      </button>
      <button type="button" aria-label="Last event" title="Last event (End)" onClick={() => go(count - 1)}>
        ⇥
      </button>
      {SPEEDS.map((at) => (
        <button
          key={at}
          type="button"
          aria-pressed={speed === at}
          title={at === 1 ? 'Play at the recorded pace (space)' : undefined}
          onClick={() => play(at)}
        >
          {speed === at ? 'Stop' : `Play ${at}×`}
        </button>
      ))}
      <button type="button" disabled={findings.length === 0} title="Next finding (f)" onClick={nextFinding}>
        Next finding
      </button>
      {live !== null && (
        <button type="button" aria-pressed={live.follows} onClick={() => (live.follows ? go(index) : live.setFollows(true))}>
          {live.follows ? 'Pause' : `Follow${index < count - 1 ? ` (${count - 1 - index} newer)` : ''}`}
        </button>
      )}
      <p class="position">
        <span class="number">
          <strong>{place}</strong>
          <span class="muted">
            {' '}
            · {index + 1} of {count}
          </span>
        </span>
        <span class="number">{row === undefined ? '' : `${since(row.at_ms)} s`}</span>
        <span class="number muted wall">{row === undefined ? '' : wallClock(row.event)}</span>
      </p>
      <a href={link} onClick={copy} title="A link to this position; also copied">
        {copied ? 'Link copied' : 'Link'}
      </a>
      <button
        type="button"
        aria-label="Show fewer events"
        title="Zoom in (+)"
        onClick={() => zoom.setSpan(Math.floor(zoom.span / 2))}
      >
        +
      </button>
      <button
        type="button"
        aria-label="Show more events"
        title="Zoom out (−)"
        disabled={zoom.span >= count}
        onClick={() => zoom.setSpan(zoom.span * 2)}
      >
        −
      </button>
    </div>
  );
};
