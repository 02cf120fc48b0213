// Actors of other programs: their chart as nested states, what happened to them, and their snapshot at any of it.
import { useState } from 'preact/hooks';
import { type Actor, type ActorBook, type ForeignState, pathsOf } from './actors.ts';

const clock = (at_ms: number): string => {
  const date = new Date(at_ms);
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(11, 23);
};

const State = ({ state, active }: { readonly state: ForeignState; readonly active: ReadonlySet<string> }) => {
  const isActive = state.path === '' || active.has(state.path);
  return (
    <li
      class={`foreign${isActive ? ' active' : ''}${state.parallel ? ' parallel' : ''}`}
      data-foreign={state.path}
      data-active={isActive ? 'true' : undefined}
    >
      <p title={state.description ?? undefined}>
        <strong>{state.key}</strong>
        {isActive && state.path !== '' && <span class="visually-hidden">, active</span>}
      </p>
      {state.transitions.length > 0 && (
        <ul class="ways">
          {state.transitions.map(({ event, target, guard }, at) => (
            <li key={at}>
              <em>{event}</em> {guard === null ? '' : <span class="guard">[{guard}]</span>} → {target ?? 'stays'}
            </li>
          ))}
        </ul>
      )}
      {state.children.length > 0 && (
        <ul class="nest">
          {state.children.map((child) => (
            <State key={child.path} state={child} active={active} />
          ))}
        </ul>
      )}
    </li>
  );
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

export const Actors = ({ book }: { readonly book: ActorBook }) => {
  const [chosen, setChosen] = useState<string | null>(null);
  const [position, setPosition] = useState<number | null>(null);
  const actors = [...book.actors.values()];
  const actor = actors.find(({ sessionId }) => sessionId === chosen) ?? actors[0];
  if (actor === undefined) return null;
  const at = Math.min(position ?? actor.happenings.length - 1, actor.happenings.length - 1);
  const snapshot = actor.happenings.slice(0, at + 1).findLast((one) => one.snapshot !== null)?.snapshot ?? actor.first;
  const active = new Set(pathsOf(snapshot.value));
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
        {actor.chart === null ? (
          <p class="muted">This actor has no chart.</p>
        ) : (
          <ul class="nest">
            <State state={actor.chart} active={active} />
          </ul>
        )}
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
