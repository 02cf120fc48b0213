// xstate's inspection protocol as @statelyai/inspect 0.7 speaks it, both ways: what its inspectors send about any actor, and
// our pairs as such actors. The protocol is not frozen, so nothing outside this file knows its fields.
//
//   @xstate.actor     {name, sessionId, rootId, parentId, definition: the machine's config as JSON text, snapshot}
//   @xstate.event     {event, sessionId, sourceId}
//   @xstate.snapshot  {snapshot: {status, value, context}, event, sessionId}
//   and in each: createdAt (milliseconds as text), id, _version
import { pairChart } from '../../machines/chart.ts';
import { Guest } from '../../machines/guest.ts';
import type { HostedPair } from '../../machines/hosted-pair.ts';
import { hostFactsOf, migrationChart } from '../../machines/migration.ts';
import type { PairState } from '../../machines/pair-state.ts';
import { unpackView } from '../../machines/view.ts';
import type { InspectedEvent } from './document.ts';

/** The version of @statelyai/inspect whose messages these are. */
const VERSION = '0.7.2';
/** The longest message that is taken, in bytes. */
export const MESSAGE_BYTES_MAX = 1024 * 1024;

interface Base {
  readonly sessionId: string;
  readonly rootId?: string | undefined;
  /** Milliseconds since 1970, as text. */
  readonly createdAt: string;
  readonly id: string | null;
  readonly _version: string;
}
export interface InspectedSnapshot {
  readonly status?: string;
  readonly value?: unknown;
  readonly context?: unknown;
}
export type InspectionMessage =
  | (Base & {
      readonly type: '@xstate.actor';
      readonly name: string;
      readonly parentId?: string | undefined;
      readonly definition?: string | undefined;
      readonly snapshot: InspectedSnapshot;
    })
  | (Base & { readonly type: '@xstate.event'; readonly event: { readonly type: string }; readonly sourceId?: string | undefined })
  | (Base & {
      readonly type: '@xstate.snapshot';
      readonly event: { readonly type: string };
      readonly snapshot: InspectedSnapshot;
    });

type Fields = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown, length: number): value is string => typeof value === 'string' && value.length <= length;
const isOptional = (value: unknown, length: number): boolean => value === undefined || value === null || isText(value, length);

/** A message of another program, checked; null for anything else. Its texts may still hold anything: show them as text. */
export const readInspection = (value: unknown): InspectionMessage | null => {
  if (!isObject(value)) return null;
  const { type, sessionId, createdAt, rootId, parentId, sourceId, definition, name, snapshot, event } = value;
  if (!isText(sessionId, 256) || sessionId === '' || !isText(createdAt, 32)) return null;
  if (![rootId, parentId, sourceId].every((id) => isOptional(id, 256))) return null;
  const hasEvent = isObject(event) && isText(event['type'], 1024);
  const hasSnapshot = isObject(snapshot);
  switch (type) {
    case '@xstate.actor':
      return isText(name, 256) && hasSnapshot && isOptional(definition, MESSAGE_BYTES_MAX)
        ? (value as unknown as InspectionMessage)
        : null;
    case '@xstate.event':
      return hasEvent ? (value as unknown as InspectionMessage) : null;
    case '@xstate.snapshot':
      return hasEvent && hasSnapshot ? (value as unknown as InspectionMessage) : null;
    default:
      return null;
  }
};

/** A message in JSON text, checked; null for anything else. */
export const parseInspection = (text: string): InspectionMessage | null => {
  try {
    return readInspection(JSON.parse(text));
  } catch {
    return null;
  }
};

/** A chart as the protocol sends a machine: its config, with functions as their names. */
const definitionOf = ({ config }: { readonly config: unknown }): string =>
  JSON.stringify(config, (_, value: unknown) => (typeof value === 'function' ? { type: value.name } : value));
const DEFINITIONS = { guest: definitionOf(pairChart), host: definitionOf(migrationChart) };

/** A hypervisor's side of a pair has the same MAC as the pair in the guest, and is another actor. */
const idOf = ({ mac, mode }: PairState | HostedPair): string => (mode === 'host' ? `${HOST_ACTOR}${mac}` : mac);
export const HOST_ACTOR = 'host ';

/** Our pairs as actors, made from the log: whoever comes late gets the chart and the present state first. */
export class PairActors {
  readonly #guest = new Guest();
  readonly #known = new Set<string>();
  #createdAt = '0';

  /** Folds an event; what it gives is what a stock inspector would have sent about it, stamped with the event's own time. */
  take(event: InspectedEvent): InspectionMessage[] {
    const step = this.#guest.apply(event);
    this.#createdAt = String(BigInt(event.wall_ns ?? event.mono_ns) / 1_000_000n);
    const sent = { ...event.data, type: event.type };
    return [...step.touched, ...step.hosted].flatMap((pair) => [
      ...(this.#known.has(idOf(pair)) ? [] : [this.#actor(pair)]),
      { ...this.#base(pair), id: `${event.seq}`, type: '@xstate.event' as const, event: sent, sourceId: undefined },
      { ...this.#base(pair), type: '@xstate.snapshot' as const, event: sent, snapshot: this.#snapshot(pair) },
    ]);
  }

  /** Every pair as it is now. */
  present(): InspectionMessage[] {
    const { pairs, hosted } = this.#guest;
    return [...pairs.values(), ...hosted.pairs.values()].map((pair) => this.#actor(pair));
  }

  #actor(pair: PairState | HostedPair): InspectionMessage {
    const isHosted = pair.mode === 'host';
    this.#known.add(idOf(pair));
    return {
      ...this.#base(pair),
      type: '@xstate.actor',
      name: isHosted ? `migration of ${pair.mac}` : `pair ${pair.mac}`,
      parentId: undefined,
      definition: DEFINITIONS[isHosted ? 'host' : 'guest'],
      snapshot: this.#snapshot(pair),
    };
  }

  #base(pair: PairState | HostedPair): Base {
    return { sessionId: idOf(pair), rootId: idOf(pair), createdAt: this.#createdAt, id: null, _version: VERSION };
  }

  #snapshot(pair: PairState | HostedPair): InspectedSnapshot {
    const { configuration, bits, shown, mode } = pair;
    if (pair.mode === 'host') {
      const { monitor, port, guest, order, obligations } = pair;
      const context = { ...shown, mode, facts: hostFactsOf(bits), monitor, port, guest, order, obligations };
      return { status: 'active', value: JSON.parse(configuration.value) as unknown, context };
    }
    return {
      status: 'active',
      value: JSON.parse(configuration.value) as unknown,
      context: { ...shown, mode, view: unpackView(bits), policy: this.#guest.policy },
    };
  }
}
