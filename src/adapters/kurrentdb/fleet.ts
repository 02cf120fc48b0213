// What many guests have copied to a server, read again: which logs there are, the events of one of them, and what is
// appended, as it comes. The whole category is read from $all, filtered by the name of the stream, which every server can
// do; or from the links of $ce-netkvm, where the projection $by_category runs (cheaper for a server with much else on it).
// What comes is checked like every input; memory holds one page of events, or what a subscription has buffered.
import type {
  AllStreamResolvedEvent,
  Filter,
  PersistentSubscriptionToAllSettings,
  Position,
  ResolvedEvent,
} from '@kurrent/kurrentdb-client';
import { setTimeout as pause } from 'node:timers/promises';
import { NetkvmError } from '../../events/errors.ts';
import { asKurrentError, asUser, type Client, kindOf, limited, openClient } from './client.ts';
import type { Connection } from './connection.ts';
import { backOff } from './forwarder.ts';
import { CATEGORY, type FleetEvent, fromServer, STREAM_PREFIX, streamOf } from './mapping.ts';

/** Events in a page, and how long one may take: a server that has much else may search long for what is asked for. */
const PAGE_EVENTS = 512;
const PAGE_LIMIT_MS = 60_000;
/** The most logs of one fleet: a bound for the list of them. */
const LOGS_MAX = 1_000_000;
/** Events that one reader of a group may hold before it has acknowledged them. */
const IN_HAND = 64;

export const CATEGORY_STREAM = `$ce-${CATEGORY}`;
const FILTER: Filter = { filterOn: 'streamName', prefixes: [STREAM_PREFIX], checkpointInterval: 32 };
const GROUP: Omit<PersistentSubscriptionToAllSettings, 'startFrom' | 'resolveLinkTos'> = {
  extraStatistics: false,
  messageTimeout: 30_000,
  maxRetryCount: 10,
  checkPointAfter: 2000,
  checkPointLowerBound: 10,
  checkPointUpperBound: 1000,
  maxSubscriberCount: 'unbounded',
  liveBufferSize: 500,
  readBatchSize: 128,
  historyBufferSize: 500,
  // The events of one log go to one reader, in order, as long as it is there.
  consumerStrategyName: 'Pinned',
};

/** What is read: everything ($all, filtered), the category's links, or the stream of one log. */
export type Source = '$all' | typeof CATEGORY_STREAM | `${typeof STREAM_PREFIX}${string}`;

/** How far a source was read: `commit/prepare` of $all, a revision of a stream. */
export interface Place {
  readonly source: Source;
  readonly at: string;
}
export const isPlace = (source: string, at: string): boolean =>
  source === '$all' ? /^[0-9]{1,20}\/[0-9]{1,20}$/.test(at) : /^[0-9]{1,20}$/.test(at);

/** One log on the server. Revisions are those that are to be read, first and last. */
export interface LogThere {
  readonly logId: string;
  readonly vm: string;
  readonly first: bigint;
  readonly last: bigint;
}

/** An event as it comes, with its place; a text says why it cannot be read. */
export interface Seen {
  readonly seen: FleetEvent | string;
  readonly place: Place;
}

type Resolved = AllStreamResolvedEvent | ResolvedEvent;
type Subscription = AsyncIterable<Resolved> & {
  once(name: 'confirmation', heard: () => void): unknown;
  unsubscribe(): Promise<void>;
  destroy(): unknown;
};

export interface FleetNews {
  /** The server went away, for this reason; null when it is back. */
  readonly lost: (reason: string | null) => void;
}

export class Fleet {
  readonly #connection: Connection;
  readonly #source: Source;
  #client: Client;

  private constructor(connection: Connection, source: Source, client: Client) {
    this.#connection = connection;
    this.#source = source;
    this.#client = client;
  }

  /** Nothing is connected yet. Throws `kurrentdb.missing`, `config.value`. */
  static async open(connection: Connection, source: Source): Promise<Fleet> {
    return new Fleet(connection, source, await openClient(connection));
  }

  close(): Promise<void> {
    return this.#client.dispose().catch(() => {});
  }

  /**
   * The logs that have events behind `from` (null: all that the server has), in the order of their first one, and where
   * that ended. Throws `kurrentdb.*`.
   */
  async logs(from: Place | null): Promise<{ readonly logs: LogThere[]; readonly place: Place | null }> {
    if (this.#source !== '$all' && this.#source !== CATEGORY_STREAM) return this.#oneLog(from);
    const logs = new Map<string, LogThere>();
    let place = from;
    for await (const page of this.#pages(() => this.#read(from)))
      for (const resolved of page) {
        const at = this.#placeOf(resolved);
        // A read of $all begins at a position, not behind it.
        if (at === null || at.at === from?.at) continue;
        place = at;
        const { event } = resolved;
        if (event === undefined || !event.streamId.startsWith(STREAM_PREFIX)) continue;
        const logId = event.streamId.slice(STREAM_PREFIX.length);
        const known = logs.get(logId);
        const first = known?.first ?? event.revision;
        logs.set(logId, { logId, vm: vmOf(event.metadata) ?? known?.vm ?? '', first, last: event.revision });
        if (logs.size > LOGS_MAX)
          throw new NetkvmError('kurrentdb.unreachable', `more than ${LOGS_MAX} logs: name one with --log`);
      }
    return { logs: [...logs.values()], place };
  }

  /** The log that is the source: its ends say enough. */
  async #oneLog(from: Place | null): Promise<{ logs: LogThere[]; place: Place | null }> {
    const read = (options: Parameters<Client['readStream']>[1]) =>
      this.#client.readStream(this.#source, { ...options, maxCount: 1, ...asUser(this.#connection) });
    const ends: Resolved[] = [];
    for await (const page of this.#pages(() => read({ fromRevision: from === null ? 'start' : BigInt(from.at) + 1n })))
      ends.push(...page);
    for await (const page of this.#pages(() => read({ direction: 'backwards', fromRevision: 'end' }))) ends.push(...page);
    const [first, last] = ends.flatMap(({ event }) => (event === undefined ? [] : [event]));
    if (first === undefined || last === undefined) return { logs: [], place: from };
    const logId = this.#source.slice(STREAM_PREFIX.length);
    const log = { logId, vm: vmOf(last.metadata) ?? '', first: first.revision, last: last.revision };
    return { logs: [log], place: { source: this.#source, at: `${last.revision}` } };
  }

  /** The events of a log from one revision to another, in pages. Throws `kurrentdb.*`. */
  async *events({ logId }: Pick<LogThere, 'logId'>, from: bigint, to: bigint): AsyncGenerator<(FleetEvent | string)[]> {
    const read = () =>
      this.#client.readStream(streamOf(logId), { fromRevision: from, maxCount: to - from + 1n, ...asUser(this.#connection) });
    for await (const page of this.#pages(read)) {
      const wanted = page.flatMap(({ event }) => (event === undefined || event.revision > to ? [] : [fromServer(event)]));
      if (wanted.length > 0) yield wanted;
    }
  }

  /** Revision of the newest checkpoint before a revision: where folding up to it may begin. 0 where there is none. */
  async checkpointBefore({ logId }: Pick<LogThere, 'logId'>, revision: bigint): Promise<bigint> {
    if (revision === 0n) return 0n;
    const options = { direction: 'backwards', fromRevision: revision - 1n, ...asUser(this.#connection) } as const;
    for await (const page of this.#pages(() => this.#client.readStream(streamOf(logId), options)))
      for (const { event } of page) if (event?.type === 'checkpoint.made') return event.revision;
    return 0n;
  }

  /** Events from a place on, then as they are appended, until `signal` aborts. A server that goes away is waited for. */
  async *follow(from: Place | 'start' | 'end', signal: AbortSignal, { lost }: FleetNews): AsyncGenerator<Seen> {
    let at = from;
    const subscribe = () => this.#subscribe(at);
    for await (const { resolved } of this.#lasting(subscribe, signal, lost)) {
      const place = this.#placeOf(resolved);
      if (place === null) continue;
      // Asked for again, a subscription begins behind it.
      at = place;
      if (resolved.event !== undefined) yield { seen: fromServer(resolved.event), place };
    }
  }

  /**
   * The same, shared with the other readers of a group that the server keeps: each log's events go to one of them. What
   * was taken counts as done when the next is asked for; what cannot be read is parked. The group is made where it is missing.
   */
  async *share(group: string, from: 'start' | 'end', signal: AbortSignal, { lost }: FleetNews): AsyncGenerator<Seen> {
    await this.#makeGroup(group, from);
    for await (const { resolved, subscription } of this.#lasting(() => this.#join(group), signal, lost)) {
      const place = this.#placeOf(resolved);
      const seen = resolved.event === undefined ? null : fromServer(resolved.event);
      if (seen !== null && place !== null) yield { seen, place };
      // The reader that was cut off meanwhile gets it again: here or elsewhere.
      const answer = typeof seen === 'string' ? subscription.nack('park', seen, resolved) : subscription.ack(resolved);
      await answer.catch(() => {});
    }
  }

  #read(from: Place | null): AsyncIterable<Resolved> {
    const user = asUser(this.#connection);
    const behind = from === null ? null : from.at;
    if (this.#source === '$all')
      return this.#client.readAll({ fromPosition: behind === null ? 'start' : positionOf(behind), filter: FILTER, ...user });
    const fromRevision = behind === null ? ('start' as const) : BigInt(behind) + 1n;
    return this.#client.readStream(this.#source, { fromRevision, resolveLinkTos: true, ...user });
  }

  #subscribe(from: Place | 'start' | 'end'): Subscription {
    const user = asUser(this.#connection);
    const at = typeof from === 'string' ? from : null;
    if (this.#source === '$all')
      return this.#client.subscribeToAll({ fromPosition: at ?? positionOf((from as Place).at), filter: FILTER, ...user });
    const fromRevision = at ?? BigInt((from as Place).at);
    return this.#client.subscribeToStream(this.#source, { fromRevision, resolveLinkTos: true, ...user });
  }

  async #makeGroup(group: string, startFrom: 'start' | 'end'): Promise<void> {
    const user = asUser(this.#connection);
    const settings = { ...GROUP, startFrom, resolveLinkTos: this.#source !== '$all' };
    const made =
      this.#source === '$all'
        ? this.#client.createPersistentSubscriptionToAll(group, settings, { filter: FILTER, ...user })
        : this.#client.createPersistentSubscriptionToStream(this.#source, group, settings, user);
    try {
      await limited(made, this.#connection.name);
    } catch (error) {
      if (kindOf(error) !== 'persistent-subscription-exists') throw asKurrentError(error, this.#connection.name);
    }
  }

  #join(group: string): Subscription & Acknowledging {
    const options = { bufferSize: IN_HAND, ...asUser(this.#connection) };
    return this.#source === '$all'
      ? this.#client.subscribeToPersistentSubscriptionToAll(group, options)
      : this.#client.subscribeToPersistentSubscriptionToStream(this.#source, group, options);
  }

  /** What a subscription brings, made again where it ends; an end before anything came is thrown. */
  async *#lasting<S extends Subscription>(subscribe: () => S, signal: AbortSignal, lost: FleetNews['lost']) {
    let worked = false;
    for (let attempts = 0; !signal.aborted;) {
      const subscription = subscribe();
      const leave = () =>
        void subscription.unsubscribe().then(
          () => subscription.destroy(),
          () => {},
        );
      signal.addEventListener('abort', leave, { once: true });
      subscription.once('confirmation', () => {
        if (attempts > 0) lost(null);
        [worked, attempts] = [true, 0];
      });
      let reason: unknown = new Error('the subscription ended');
      try {
        for await (const resolved of subscription) yield { resolved, subscription };
      } catch (error) {
        reason = error;
      } finally {
        signal.removeEventListener('abort', leave);
        leave();
      }
      if (signal.aborted) return;
      const known = asKurrentError(reason, this.#connection.name);
      const isGone = kindOf(reason) === 'persistent-subscription-does-not-exist';
      if (!worked || isGone || known.code !== 'kurrentdb.unreachable') throw known;
      if (attempts === 0) lost(known.message);
      await pause(backOff(++attempts), null, { signal }).catch(() => {});
    }
  }

  #placeOf({ event, link, commitPosition }: Resolved): Place | null {
    if (this.#source !== '$all') {
      const revision = (link ?? event)?.revision;
      return revision === undefined ? null : { source: this.#source, at: `${revision}` };
    }
    const position =
      event?.position ?? (commitPosition === undefined ? undefined : { commit: commitPosition, prepare: commitPosition });
    return position === undefined ? null : { source: '$all', at: `${position.commit}/${position.prepare}` };
  }

  /** Pages of what the client reads; none of a stream that does not exist. Throws `kurrentdb.*`. */
  async *#pages(read: () => AsyncIterable<Resolved>): AsyncGenerator<Resolved[]> {
    const { name } = this.#connection;
    try {
      const records = read()[Symbol.asyncIterator]();
      for (;;) {
        const page = await limited(pageOf(records), name, PAGE_LIMIT_MS);
        if (page.length > 0) yield page;
        if (page.length < PAGE_EVENTS) return;
      }
    } catch (error) {
      if (kindOf(error) !== 'stream-not-found') throw asKurrentError(error, name);
    }
  }
}

/** Less than a whole page is the end. */
const pageOf = async (records: AsyncIterator<Resolved, unknown>): Promise<Resolved[]> => {
  const page: Resolved[] = [];
  while (page.length < PAGE_EVENTS) {
    const next = await records.next();
    if (next.done === true) break;
    page.push(next.value);
  }
  return page;
};

interface Acknowledging {
  ack(...events: Resolved[]): Promise<void>;
  nack(action: 'park', reason: string, ...events: Resolved[]): Promise<void>;
}

const positionOf = (at: string): Position => {
  const [commit = '0', prepare = '0'] = at.split('/');
  return { commit: BigInt(commit), prepare: BigInt(prepare) };
};

const vmOf = (metadata: unknown): string | null =>
  typeof metadata === 'object' && metadata !== null && 'vm' in metadata && typeof metadata.vm === 'string' ? metadata.vm : null;
