// The page as a whole: which position of which pair is looked at, how it moves, and what is shown of it.
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { InspectorDocument } from '../document.ts';
import type { ActorBook } from './actors.ts';
import { Actors } from './Actors.tsx';
import { Chart } from './Chart.tsx';
import { Detail } from './Detail.tsx';
import { type Connection, openFeed } from './feed.ts';
import { Figures } from './Figures.tsx';
import { linkTo, readLink } from './hooks.ts';
import { Lanes } from './Lanes.tsx';
import { momentAt } from './moment.ts';
import { Findings, Now } from './Summary.tsx';
import { Table } from './Table.tsx';
import { placeOf, type Tracks } from './tracks.ts';
import { Transport } from './Transport.tsx';
import { since } from './words.ts';

/** Up to so many events the lanes show the whole log. */
const WHOLE_EVENTS = 400;
const CONNECTIONS: Readonly<Record<Connection, string>> = {
  none: '',
  connecting: 'Connection lost, trying again',
  connected: 'Live',
  lost: 'Connection lost; reload the page',
};

/** The window of the lanes: `span` events round the position, moved only when the position leaves it. */
const windowOf = (before: readonly [number, number], index: number, count: number, span: number): readonly [number, number] => {
  const last = Math.max(0, count - 1);
  if (span >= count) return [0, last];
  const [from] = before;
  if (index >= from && index < from + span && from + span <= count && before[1] - from === span - 1) return before;
  const start = Math.min(Math.max(0, index - Math.floor(span / 2)), count - span);
  return [start, start + span - 1];
};

interface AppProps {
  readonly document: InspectorDocument;
  readonly tracks: Tracks;
  readonly book: ActorBook;
}

export const App = ({ document: { source, served, complaints, timeline }, tracks, book }: AppProps) => {
  const link = useMemo(() => readLink(location.hash), []);
  const [count, setCount] = useState(tracks.rows.length);
  const [, setActorVersion] = useState(0);
  const [chosen, setChosen] = useState<string | null>(link.pair);
  const [position, setPosition] = useState(link.at === null ? tracks.rows.length - 1 : tracks.indexOf(link.at));
  const [follows, setFollows] = useState(source.kind === 'live' && link.at === null);
  const [speed, setSpeed] = useState(0);
  const [span, setSpan] = useState(WHOLE_EVENTS);
  const [connection, setConnection] = useState<Connection>('none');
  const lastWindow = useRef<readonly [number, number]>([0, 0]);

  const macs = [...tracks.pairs.keys()];
  const showsActors = chosen === 'actors' && book.size > 0;
  const mac = chosen !== null && tracks.pairs.has(chosen) ? chosen : (macs[0] ?? '');
  const index = Math.min(follows ? count - 1 : position, count - 1);
  const findings = useMemo(() => tracks.findings, [tracks, count]);
  const moment = useMemo(() => momentAt(tracks, mac, index), [tracks, count, mac, index]);
  const window = windowOf(lastWindow.current, index, count, span);
  lastWindow.current = window[0] === lastWindow.current[0] && window[1] === lastWindow.current[1] ? lastWindow.current : window;
  const row = tracks.rows[index];

  // Keys may come faster than the page is drawn: a step goes on from where the last one led.
  const at = useRef(index);
  at.current = index;
  const go = useCallback(
    (to: number) => {
      at.current = Math.min(Math.max(0, to), tracks.rows.length - 1);
      setFollows(false);
      setPosition(at.current);
    },
    [tracks],
  );
  const step = useCallback((by: number) => go(at.current + by), [go]);
  const goTo = useCallback((place: number) => go(tracks.indexOf(place)), [tracks, go]);

  useEffect(() => {
    if (!served) return;
    return openFeed(source.kind !== 'live', {
      events: (events) => {
        tracks.append(events);
        book.follow(tracks);
        setCount(tracks.rows.length);
      },
      actor: (message) => {
        book.take(message);
        setActorVersion((version) => version + 1);
      },
      connection: setConnection,
    });
  }, []);
  useEffect(() => {
    const follow = (): void => {
      const to = readLink(location.hash);
      if (to.pair !== null) setChosen(to.pair);
      if (to.at !== null) goTo(to.at);
    };
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, [goTo]);
  useEffect(() => {
    if (row === undefined || follows || showsActors) return;
    const next = linkTo(placeOf(row.event), mac);
    if (location.hash !== next) history.replaceState(null, '', next);
  }, [row, mac, follows, showsActors]);

  return (
    <div class={`page${showsActors ? ' actors-only' : ''}`}>
      <header class="top">
        <h1>
          netkvm inspector <span class="muted">{source.name}</span>
        </h1>
        <nav aria-label="Pairs">
          {macs.map((one) => (
            <button key={one} type="button" class="tab" aria-pressed={!showsActors && one === mac} onClick={() => setChosen(one)}>
              {one}
            </button>
          ))}
          {book.size > 0 && (
            <button type="button" class="tab" aria-pressed={showsActors} onClick={() => setChosen('actors')}>
              other actors <span class="number">{book.size}</span>
            </button>
          )}
        </nav>
        {source.kind === 'live' && (
          <p class={`connection is-${connection}`} role="status">
            {CONNECTIONS[connection]}
          </p>
        )}
      </header>
      {complaints.length > 0 && (
        <ul class="complaints">
          {complaints.map((complaint) => (
            <li key={complaint}>{complaint}</li>
          ))}
        </ul>
      )}
      {showsActors ? (
        <Actors book={book} />
      ) : (
        <main>
          <Chart moment={moment} />
          <aside>
            <Now moment={moment} />
            <Findings findings={findings} mac={mac} place={row === undefined ? 0 : placeOf(row.event)} goTo={goTo} />
          </aside>
          <div class="time">
            <Transport
              tracks={tracks}
              count={count}
              index={index}
              speed={speed}
              setSpeed={setSpeed}
              go={go}
              step={step}
              findings={findings}
              goTo={goTo}
              live={source.kind === 'live' ? { follows, setFollows } : null}
              zoom={{
                span: Math.min(span, count),
                setSpan: (next) => setSpan(Math.min(Math.max(10, next), Math.max(10, count))),
              }}
              link={row === undefined ? '' : linkTo(placeOf(row.event), mac)}
            />
            {count > 0 && (
              <div class="beside">
                <Lanes
                  tracks={tracks}
                  count={count}
                  mac={mac}
                  window={lastWindow.current}
                  index={index}
                  findings={findings}
                  timeline={timeline}
                  go={go}
                />
                <Figures timeline={timeline} tracks={tracks} mac={mac} index={index} go={go} />
              </div>
            )}
          </div>
          <Table tracks={tracks} count={count} index={index} go={go} />
          <Detail hosts={timeline.hosts} tracks={tracks} row={row} moment={moment} mac={mac} go={go} />
          <p class="visually-hidden" role="status">
            {row === undefined
              ? ''
              : `Event ${placeOf(row.event)} at ${since(row.at_ms)} seconds: ${moment.pair?.shown.stage ?? 'unknown'}, ${moment.pair?.shown.datapath ?? 'none'}`}
          </p>
        </main>
      )}
    </div>
  );
};
