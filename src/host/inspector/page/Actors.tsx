// Actors of other programs: their chart, drawn as ours is, what happened to them, and their snapshot at any of it.
import { useMemo, useState } from 'preact/hooks';
import type { Actor, ActorBook } from './actors.ts';
import { Drawing, Ways } from './Drawing.tsx';
import { activeIn, takenIn } from './foreign.ts';

const clock = (at_ms: number): string => {
  const date = new Date(at_ms);
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(11, 23);
};

const Log = ({ actor, at, setAt }: { readonly actor: Actor; readonly at: number; readonly setAt: (at: number) => void }) => (
  <ol class="happenings" aria-label="Events of the actor" tabIndex={0}>
    {actor.happenings.map(({ at_ms, event }, index) => (
      <li key={index + actor.dropped}>
        <button type="button" aria-current={index === at ? 'true' : undefined} onClick={() => setAt(index)}>
          <span class="number muted">{clock(at_ms)}</span> {event.type}
        </button>
      </li>
    ))}
  </ol>
);

/** The actor's chart at one happening, and what it could do next. */
const ForeignChart = ({ actor, at }: { readonly actor: Actor; readonly at: number }) => {
  const { chart, happenings, first, dropped } = actor;
  const here = happenings[at];
  const before = happenings.slice(0, Math.max(0, at)).findLast(({ snapshot }) => snapshot !== null)?.snapshot ?? first;
  const now = here?.snapshot ?? before;
  const active = useMemo(() => activeIn(now.value), [now]);
  const taken = useMemo(() => {
    if (chart === null || here === undefined || here.snapshot === null) return [];
    return takenIn(chart, activeIn(before.value), here.event.type, active);
  }, [chart, here, before, active]);
  if (chart === null) return <p class="muted">This actor has no chart.</p>;
  const leads = chart.drawn.filter(({ id }) => active.has(id));
  return (
    <>
      <Drawing
        chart={chart}
        active={active}
        taken={taken}
        step={`${actor.sessionId} ${at + dropped}`}
        labels
        noteOf={({ id }) => (active.has(id) ? 'active' : '')}
      />
      <div class="leads" tabIndex={0}>
        <h2>From here</h2>
        {leads.map(({ id }) => (
          <Ways key={id} chart={chart} id={id} />
        ))}
      </div>
    </>
  );
};

export const Actors = ({ book }: { readonly book: ActorBook }) => {
  const [chosen, setChosen] = useState<string | null>(null);
  const [position, setPosition] = useState<number | null>(null);
  const actors = [...book.actors.values()];
  const actor = actors.find(({ sessionId }) => sessionId === chosen) ?? actors[0];
  if (actor === undefined) return null;
  const at = Math.min(position ?? actor.happenings.length - 1, actor.happenings.length - 1);
  const snapshot = actor.happenings.slice(0, at + 1).findLast((one) => one.snapshot !== null)?.snapshot ?? actor.first;
  return (
    <main class="actors">
      <nav aria-label="Actors">
        {actors.map(({ sessionId, name }) => (
          <button
            key={sessionId}
            type="button"
            class="tab"
            aria-pressed={sessionId === actor.sessionId}
            onClick={() => {
              setChosen(sessionId);
              setPosition(null);
            }}
          >
            {name} <span class="muted">{sessionId}</span>
          </button>
        ))}
      </nav>
      <section class="foreign-chart" aria-label="Chart of the actor" tabIndex={0}>
        <ForeignChart key={actor.sessionId} actor={actor} at={at} />
      </section>
      <section aria-label="What happened">
        <h2>
          Events <span class="muted number">{actor.happenings.length + actor.dropped}</span>{' '}
          {position !== null && (
            <button type="button" class="link" onClick={() => setPosition(null)}>
              follow
            </button>
          )}
        </h2>
        <Log actor={actor} at={at} setAt={setPosition} />
      </section>
      <section aria-label="Snapshot of the actor">
        <h2>Snapshot</h2>
        <pre tabIndex={0}>{JSON.stringify({ event: actor.happenings[at]?.event, ...snapshot }, null, 2)}</pre>
      </section>
    </main>
  );
};
