// The table of events. Only the rows in view exist, so ten thousand of them scroll like ten.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { placeOf, type Row, type Tracks } from './tracks.ts';
import { kindOf, since, summary } from './words.ts';

const ROW_PX = 28;
const SPARE_ROWS = 8;

interface TableProps {
  readonly tracks: Tracks;
  readonly count: number;
  readonly index: number;
  readonly go: (index: number) => void;
}

const changeOf = ({ changes }: Row): string =>
  changes
    .map(({ before, after }) =>
      before.stage === after.stage && before.datapath === after.datapath
        ? after.because
        : [
            before.stage === after.stage ? '' : `${before.stage} → ${after.stage}`,
            before.datapath === after.datapath ? '' : `${before.datapath} → ${after.datapath}`,
          ]
            .filter((part) => part !== '')
            .join(' · '),
    )
    .join('; ');

/** Which rows a search and the chosen kinds leave. */
const matching = (tracks: Tracks, words: string, kinds: ReadonlySet<string>, changesOnly: boolean): readonly Row[] => {
  const wanted = words
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  return tracks.rows.filter((row) => {
    if (kinds.size > 0 && !kinds.has(kindOf(row.event))) return false;
    if (changesOnly && row.changes.length === 0) return false;
    if (wanted.length === 0) return true;
    const text =
      `${placeOf(row.event)} ${row.event.type} ${summary(row)} ${changeOf(row)} ${JSON.stringify(row.event.data)}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
};

/** The place of the row with this index, or of the last one before it. */
const placeIn = (rows: readonly Row[], index: number): number => {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.index <= index) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};

export const Table = ({ tracks, count, index, go }: TableProps) => {
  const [words, setWords] = useState('');
  const [kinds, setKinds] = useState<ReadonlySet<string>>(new Set());
  const [changesOnly, setChangesOnly] = useState(false);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(300);
  const body = useRef<HTMLDivElement>(null);
  const known = useMemo(() => [...new Set(tracks.rows.map(({ event }) => kindOf(event)))].toSorted(), [tracks, count]);
  const rows = useMemo(() => matching(tracks, words, kinds, changesOnly), [tracks, count, words, kinds, changesOnly]);
  const current = placeIn(rows, index);

  useEffect(() => {
    const element = body.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const element = body.current;
    if (element === null || current < 0) return;
    const y = current * ROW_PX;
    if (y < element.scrollTop) element.scrollTop = y;
    else if (y + ROW_PX > element.scrollTop + element.clientHeight) element.scrollTop = y + ROW_PX - element.clientHeight;
  }, [current, rows, height]);

  const first = Math.max(0, Math.floor(top / ROW_PX) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW_PX) + SPARE_ROWS);
  const toggle = (kind: string): void => {
    const next = new Set(kinds);
    if (!next.delete(kind)) next.add(kind);
    setKinds(next);
  };
  const step = (by: number): void => {
    const row = rows[Math.min(Math.max(current + by, 0), rows.length - 1)];
    if (row !== undefined) go(row.index);
  };
  const keys = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / ROW_PX) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    step(by);
  };

  return (
    <section class="events" aria-label="Events">
      <header>
        <h2>Events</h2>
        <input
          type="search"
          id="search"
          placeholder="Search"
          aria-label="Search events"
          maxLength={200}
          value={words}
          onInput={(event) => setWords(event.currentTarget.value)}
        />
        <div class="kinds" role="group" aria-label="Kinds of event">
          <button type="button" aria-pressed={changesOnly} onClick={() => setChangesOnly(!changesOnly)}>
            changes only
          </button>
          {known.map((kind) => (
            <button key={kind} type="button" aria-pressed={kinds.has(kind)} onClick={() => toggle(kind)}>
              {kind}
            </button>
          ))}
        </div>
        <span class="muted count" aria-live="polite">
          {rows.length === count ? `${count}` : `${rows.length} of ${count}`}
        </span>
      </header>
      <div
        class="rows"
        ref={body}
        role="grid"
        tabIndex={0}
        aria-label="Events, arrow keys move"
        aria-rowcount={rows.length}
        aria-activedescendant={current >= first && current < last ? `row-${rows[current]?.index}` : undefined}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        onKeyDown={keys}
      >
        <div style={{ height: `${rows.length * ROW_PX}px` }} role="rowgroup">
          {rows.slice(first, last).map((row, offset) => (
            <div
              key={row.index}
              id={`row-${row.index}`}
              role="row"
              aria-rowindex={first + offset + 1}
              aria-selected={row.index === index}
              class={row.index > index ? 'later' : ''}
              style={{ transform: `translateY(${(first + offset) * ROW_PX}px)` }}
              onClick={() => go(row.index)}
            >
              <span role="gridcell" class="number">
                {placeOf(row.event)}
              </span>
              <span role="gridcell" class="number">
                {since(row.at_ms)}
              </span>
              <span role="gridcell" class="type">
                {row.event.type}
              </span>
              <span role="gridcell" class="text">
                {summary(row)}
              </span>
              <span role="gridcell" class="change">
                {changeOf(row)}
              </span>
            </div>
          ))}
        </div>
        {rows.length === 0 && <p class="muted empty">No event matches.</p>}
      </div>
    </section>
  );
};
