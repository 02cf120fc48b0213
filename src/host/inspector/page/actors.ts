// Actors of other programs, as their inspectors tell of them: any xstate machine, with what happened to it. Kept within
// limits, because nobody knows who sends.
import { FOREIGN, layoutOf } from '../chart-layout.ts';
import { HOST_ACTOR, type InspectedSnapshot, PairActors, readInspection } from '../protocol.ts';
import { type DrawnChart, drawnChart } from './drawn.ts';
import { fieldsOf, foreignGraph } from './foreign.ts';
import type { Tracks } from './tracks.ts';

const ACTORS_MAX = 64;
const HAPPENINGS_MAX = 2000;

export interface Happening {
  readonly at_ms: number;
  readonly event: { readonly type: string };
  /** What the actor was after it; null where only the event was told. */
  readonly snapshot: InspectedSnapshot | null;
}

export interface Actor {
  readonly sessionId: string;
  name: string;
  parentId: string | null;
  chart: DrawnChart | null;
  first: InspectedSnapshot;
  readonly happenings: Happening[];
  /** Happenings that were dropped because of the limit. */
  dropped: number;
}

const chartOf = (definition: string | undefined | null, name: string): DrawnChart | null => {
  if (definition === undefined || definition === null) return null;
  try {
    const graph = foreignGraph(fieldsOf(JSON.parse(definition)), name);
    return graph === null ? null : drawnChart(graph, layoutOf(graph, FOREIGN));
  } catch {
    return null;
  }
};

export class ActorBook {
  readonly actors = new Map<string, Actor>();
  readonly #own = new PairActors();
  #followed = 0;

  get size(): number {
    return this.actors.size;
  }

  take(value: unknown): void {
    const message = readInspection(value);
    if (message === null) return;
    const { sessionId } = message;
    const at_ms = Number(message.createdAt);
    if (message.type === '@xstate.actor') {
      const actor = this.#actor(sessionId);
      if (actor === null) return;
      actor.name = message.name;
      actor.parentId = message.parentId ?? null;
      actor.chart = chartOf(message.definition, message.name);
      if (actor.happenings.length === 0) actor.first = message.snapshot;
      return;
    }
    const actor = this.#actor(sessionId);
    if (actor === null) return;
    const { event } = message;
    const last = actor.happenings.at(-1);
    // The snapshot tells what the event before it has led to.
    if (message.type === '@xstate.snapshot' && last?.snapshot === null && last.event.type === event.type)
      actor.happenings[actor.happenings.length - 1] = { ...last, snapshot: message.snapshot };
    else actor.happenings.push({ at_ms, event, snapshot: message.type === '@xstate.snapshot' ? message.snapshot : null });
    if (actor.happenings.length > HAPPENINGS_MAX) {
      actor.happenings.shift();
      actor.dropped += 1;
    }
  }

  /** The pairs of a hypervisor's side, which have a chart of their own: from the log that the page shows. */
  follow({ rows, story }: Pick<Tracks, 'rows' | 'story'>): void {
    if (story.guest.hosted.pairs.size === 0) return;
    for (const { event } of rows.slice(this.#followed))
      for (const message of this.#own.take(event)) if (message.sessionId.startsWith(HOST_ACTOR)) this.take(message);
    this.#followed = rows.length;
  }

  #actor(sessionId: string): Actor | null {
    let actor = this.actors.get(sessionId);
    if (actor === undefined) {
      if (this.actors.size >= ACTORS_MAX) return null;
      actor = { sessionId, name: sessionId, parentId: null, chart: null, first: {}, happenings: [], dropped: 0 };
      this.actors.set(sessionId, actor);
    }
    return actor;
  }
}
