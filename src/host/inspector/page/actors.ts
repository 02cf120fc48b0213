// Actors of other programs, as their inspectors tell of them: any xstate machine, with what happened to it. Kept within
// limits, because nobody knows who sends.
import { type InspectedSnapshot, readInspection } from '../protocol.ts';

const ACTORS_MAX = 64;
const HAPPENINGS_MAX = 2000;

export interface Transition {
  readonly event: string;
  readonly target: string | null;
  readonly guard: string | null;
}

/** A state of a machine that somebody else wrote. */
export interface ForeignState {
  readonly path: string;
  readonly key: string;
  readonly parallel: boolean;
  readonly description: string | null;
  readonly transitions: readonly Transition[];
  readonly children: readonly ForeignState[];
}

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
  chart: ForeignState | null;
  first: InspectedSnapshot;
  readonly happenings: Happening[];
  /** Happenings that were dropped because of the limit. */
  dropped: number;
}

type Fields = Readonly<Record<string, unknown>>;
const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});
const listOf = (value: unknown): readonly unknown[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);
const nameOf = (value: unknown): string | null => textOf(value) ?? textOf(fieldsOf(value)['type']);

const transitionsOf = (config: Fields): Transition[] => {
  const of = (event: string, list: unknown): Transition[] =>
    listOf(list).map((one) => ({
      event,
      target: textOf(one) ?? textOf(listOf(fieldsOf(one)['target'])[0]),
      guard: nameOf(fieldsOf(one)['guard']),
    }));
  return [
    ...Object.entries(fieldsOf(config['on'])).flatMap(([event, list]) => of(event, list)),
    ...of('always', config['always']),
    ...Object.entries(fieldsOf(config['after'])).flatMap(([delay, list]) => of(`after ${delay}`, list)),
  ];
};

const DEPTH_MAX = 12;

/** A machine's config as states. Takes whatever it is given: what is not understood is left out. */
const stateOf = (config: Fields, key: string, path: string, depth = 0): ForeignState => ({
  path,
  key,
  parallel: config['type'] === 'parallel',
  description: textOf(config['description']),
  transitions: transitionsOf(config).slice(0, 200),
  children:
    depth >= DEPTH_MAX
      ? []
      : Object.entries(fieldsOf(config['states']))
          .slice(0, 200)
          .map(([name, inner]) => stateOf(fieldsOf(inner), name, path === '' ? name : `${path}.${name}`, depth + 1)),
});

const chartOf = (definition: string | undefined | null, name: string): ForeignState | null => {
  if (definition === undefined || definition === null) return null;
  try {
    const config = fieldsOf(JSON.parse(definition));
    return config['states'] === undefined ? null : stateOf(config, nameOf(config['id']) ?? name, '');
  } catch {
    return null;
  }
};

/** The paths of the states that a state value names. */
export const pathsOf = (value: unknown, path = ''): string[] => {
  const join = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (typeof value === 'string') return [join(value)];
  return Object.entries(fieldsOf(value)).flatMap(([key, inner]) => [join(key), ...pathsOf(inner, join(key))]);
};

export class ActorBook {
  readonly actors = new Map<string, Actor>();

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
