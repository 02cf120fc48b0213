// Persistent subscriptions of the stand-in: groups that the server keeps, on a stream or on $all, with what each consumer
// has in hand, acknowledgements, retries (asked for, or when the time for an answer is over), parking and its replay, the
// strategies RoundRobin and Pinned, and what the server tells of a group.
import { status, type Metadata, type Server, type ServerDuplexStream, type ServiceDefinition } from '@grpc/grpc-js';
import { infoOf } from './group-info.ts';
import { failure, nameIn, persistentEvent, persistentPb, sharedPb, textOfUuid, type Shown } from './messages.ts';
import { matcher } from './reading.ts';
import type { Store, Stored } from './store.ts';

type Call = ServerDuplexStream<InstanceType<typeof persistentPb.ReadReq>, InstanceType<typeof persistentPb.ReadResp>>;
type Gate = (method: string, metadata: Metadata) => Promise<Error | null>;
type Uuid = InstanceType<typeof sharedPb.UUID>;
interface Named {
  hasAll(): boolean;
  getStreamIdentifier(): InstanceType<typeof sharedPb.StreamIdentifier> | undefined;
  getGroupName(): string;
}
interface Held {
  readonly shown: Shown;
  readonly retries: number;
}
interface Consumer {
  readonly call: Call;
  readonly buffer: number;
  readonly structured: boolean;
  readonly inHand: Map<string, Held & { readonly timer: NodeJS.Timeout }>;
  total: number;
}
export type Settings =
  InstanceType<typeof persistentPb.CreateReq.Settings> | InstanceType<typeof persistentPb.UpdateReq.Settings>;
export interface Group {
  readonly eventSource: string;
  readonly name: string;
  settings: Settings;
  readonly startFrom: string;
  readonly source: Iterator<Stored, undefined>;
  readonly consumers: Consumer[];
  readonly again: Held[];
  readonly parked: Shown[];
  turn: number;
  total: number;
  /** What was acknowledged last. */
  done: Stored | null;
}

const ALL = '$all';
const keyOf = (source: string, group: string): string => `${source}::${group}`;
const hashOf = (text: string): number => Buffer.from(text).reduce((sum, byte) => (sum * 31 + byte) >>> 0, 7);

export class Groups {
  readonly #store: Store;
  readonly #groups = new Map<string, Group>();

  constructor(store: Store) {
    this.#store = store;
    store.subscribe(() => {
      for (const group of this.#groups.values()) this.#dispatch(group);
    });
  }

  serve(server: Server, service: ServiceDefinition, gate: Gate): void {
    const unary =
      <Q, R>(method: string, work: (request: Q) => R) =>
      (call: { request: Q; metadata: Metadata }, answer: (error: Error | null, response?: R) => void) => {
        const serve = async () => {
          const refusal = await gate(method, call.metadata);
          if (refusal !== null) throw refusal;
          answer(null, work(call.request));
        };
        serve().catch((error: unknown) => answer(error as Error));
      };
    server.addService(service, {
      create: unary('create', (request: InstanceType<typeof persistentPb.CreateReq>) => this.#create(request)),
      delete: unary('deleteGroup', (request: InstanceType<typeof persistentPb.DeleteReq>) => {
        const group = this.#named(request.getOptions());
        this.#groups.delete(keyOf(group.eventSource, group.name));
        this.#drop(group);
        return new persistentPb.DeleteResp();
      }),
      read: (call: Call) => {
        call.once('data', (request: InstanceType<typeof persistentPb.ReadReq>) => {
          const serve = async () => {
            const refusal = await gate('readGroup', call.metadata);
            if (refusal !== null) throw refusal;
            this.#join(call, request);
          };
          serve().catch((error: unknown) => call.emit('error', error));
        });
      },
      // Its readers are dropped, and come back under the new settings.
      update: unary('update', (request: InstanceType<typeof persistentPb.UpdateReq>) => {
        const options = request.getOptions();
        const isAll = options?.hasAll() === true;
        const identifier = options?.getStreamIdentifier() ?? options?.getStream()?.getStreamIdentifier();
        const group = this.#group(isAll ? ALL : nameIn(identifier), options?.getGroupName() ?? '');
        group.settings = options?.getSettings() ?? group.settings;
        this.#drop(group);
        return new persistentPb.UpdateResp();
      }),
      getInfo: unary('getInfo', (request: InstanceType<typeof persistentPb.GetInfoReq>) => {
        const response = new persistentPb.GetInfoResp();
        response.setSubscriptionInfo(this.#info(this.#named(request.getOptions())));
        return response;
      }),
      replayParked: unary('replayParked', (request: InstanceType<typeof persistentPb.ReplayParkedReq>) => {
        const options = request.getOptions();
        const group = this.#named(options);
        const most = options?.hasStopAt() === true ? Number(options.getStopAt()) : Infinity;
        group.again.push(...group.parked.splice(0, most).map((shown) => ({ shown, retries: 0 })));
        this.#dispatch(group);
        return new persistentPb.ReplayParkedResp();
      }),
      list: unary('list', (request: InstanceType<typeof persistentPb.ListReq>) => {
        const wanted = request.getOptions()?.getListForStream();
        const source = wanted?.hasAll() === true ? ALL : wanted === undefined ? null : nameIn(wanted.getStream());
        const groups = [...this.#groups.values()].filter(({ eventSource }) => source === null || source === eventSource);
        if (groups.length === 0) throw missing(source ?? '', '');
        const response = new persistentPb.ListResp();
        response.setSubscriptionsList(groups.map((group) => this.#info(group)));
        return response;
      }),
      restartSubsystem: unary('restart', () => {
        for (const group of this.#groups.values()) this.#drop(group);
        return new sharedPb.Empty();
      }),
    });
  }

  #group(source: string, name: string): Group {
    const group = this.#groups.get(keyOf(source, name));
    if (group === undefined) throw missing(source, name);
    return group;
  }

  #named(options: Named | undefined): Group {
    return this.#group(options?.hasAll() === true ? ALL : nameIn(options?.getStreamIdentifier()), options?.getGroupName() ?? '');
  }

  #info(group: Group) {
    const last = group.eventSource === ALL ? this.#store.all.at(-1) : this.#store.lastOf(group.eventSource);
    return infoOf(group, last ?? null);
  }

  /** What its readers had in hand goes out again. */
  #drop(group: Group): void {
    for (const consumer of group.consumers.splice(0)) {
      this.#takeBack(group, consumer);
      const names = { exception: 'persistent-subscription-dropped', 'stream-name': group.eventSource, 'group-name': group.name };
      consumer.call.emit('error', failure(status.CANCELLED, 'dropped', names));
    }
  }

  #takeBack(group: Group, { inHand }: Consumer): void {
    for (const { shown, retries, timer } of inHand.values()) {
      clearTimeout(timer);
      group.again.push({ shown, retries: retries + 1 });
    }
    inHand.clear();
  }

  #create(request: InstanceType<typeof persistentPb.CreateReq>) {
    const options = request.getOptions();
    const settings = options?.getSettings();
    const all = options?.getAll();
    const stream = options?.getStream();
    const source = all === undefined ? nameIn(options?.getStreamIdentifier() ?? stream?.getStreamIdentifier()) : ALL;
    const name = options?.getGroupName() ?? '';
    if (this.#groups.has(keyOf(source, name)))
      throw failure(status.ALREADY_EXISTS, 'exists', {
        exception: 'persistent-subscription-exists',
        'stream-name': source,
        'group-name': name,
      });
    const from = all?.hasEnd() === true || stream?.hasEnd() === true;
    const position = Number(all?.getPosition()?.getCommitPosition() ?? 0);
    const revision = stream?.hasRevision() === true ? Number(stream.getRevision()) : 0;
    const start = from ? -1 : source === ALL ? position : revision;
    this.#groups.set(keyOf(source, name), {
      eventSource: source,
      name,
      settings: settings ?? new persistentPb.CreateReq.Settings(),
      startFrom: source === ALL ? `C:${start}/P:${start}` : `${start}`,
      source:
        source === ALL ? this.#all(from ? Infinity : start, matcher(all?.getFilter())) : this.#stream(source, from, revision),
      consumers: [],
      again: [],
      parked: [],
      turn: 0,
      total: 0,
      done: null,
    });
    return new persistentPb.CreateResp();
  }

  // Endless: undefined means that there is nothing yet.
  *#all(from: number, matches: (event: Stored) => boolean): Generator<Stored, undefined> {
    let index = from === Infinity ? this.#store.all.length : this.#store.indexOf(from);
    for (;;) {
      const event = this.#store.all[index];
      if (event !== undefined) index++;
      if (event === undefined) yield undefined as unknown as Stored;
      else if (matches(event) && this.#store.isVisible(event)) yield event;
    }
  }

  *#stream(name: string, end: boolean, from: number): Generator<Stored, undefined> {
    const range = this.#store.range(name);
    let next = typeof range === 'object' && end ? range.last + 1 : from;
    for (;;) {
      const now = this.#store.range(name);
      if (typeof now === 'object') next = Math.max(next, now.first);
      const event = typeof now === 'object' && next <= now.last ? this.#store.at(name, next) : undefined;
      if (event !== undefined) next++;
      yield event as Stored;
    }
  }

  #join(call: Call, first: InstanceType<typeof persistentPb.ReadReq>): void {
    const options = first.getOptions();
    const group = this.#named(options);
    const most = group.settings.getMaxSubscriberCount();
    if (most > 0 && group.consumers.length >= most) {
      const names = { 'stream-name': group.eventSource, 'group-name': group.name };
      throw failure(status.FAILED_PRECONDITION, 'too many', { exception: 'maximum-subscribers-reached', ...names });
    }
    const structured = options?.getUuidOption()?.hasStructured() === true;
    const consumer: Consumer = { call, buffer: options?.getBufferSize() ?? 10, structured, inHand: new Map(), total: 0 };
    group.consumers.push(consumer);
    const response = new persistentPb.ReadResp();
    const confirmed = new persistentPb.ReadResp.SubscriptionConfirmation();
    confirmed.setSubscriptionId(crypto.randomUUID());
    response.setSubscriptionConfirmation(confirmed);
    call.write(response);
    call.on('data', (request: InstanceType<typeof persistentPb.ReadReq>) => this.#answered(group, consumer, request));
    const leave = () => {
      const index = group.consumers.indexOf(consumer);
      if (index < 0) return;
      group.consumers.splice(index, 1);
      this.#takeBack(group, consumer);
      this.#dispatch(group);
    };
    call.on('cancelled', leave);
    call.on('end', () => {
      leave();
      call.end();
    });
    call.on('error', leave);
    this.#dispatch(group);
  }

  #answered(group: Group, consumer: Consumer, request: InstanceType<typeof persistentPb.ReadReq>): void {
    const taken = (id: Uuid): Held | undefined => {
      const held = consumer.inHand.get(textOfUuid(id));
      consumer.inHand.delete(textOfUuid(id));
      clearTimeout(held?.timer);
      return held;
    };
    for (const id of request.getAck()?.getIdsList() ?? []) {
      const held = taken(id);
      if (held !== undefined) group.done = held.shown.link ?? held.shown.event ?? null;
    }
    const nack = request.getNack();
    const { PARK, RETRY } = persistentPb.ReadReq.Nack.Action;
    for (const id of nack?.getIdsList() ?? []) {
      const held = taken(id);
      if (held === undefined) continue;
      if (nack?.getAction() === PARK) group.parked.push(held.shown);
      else if (nack?.getAction() === RETRY) this.#again(group, held);
    }
    this.#dispatch(group);
  }

  /** Once more, unless it was tried as often as the group wants: then it is parked. */
  #again(group: Group, { shown, retries }: Held): void {
    if (retries >= group.settings.getMaxRetryCount()) group.parked.push(shown);
    else group.again.push({ shown, retries: retries + 1 });
  }

  #dispatch(group: Group): void {
    for (;;) {
      if (!group.consumers.some(({ inHand, buffer }) => inHand.size < buffer)) return;
      const next = group.again.shift() ?? this.#next(group);
      if (next === null) return;
      const consumer = this.#chosen(group, next.shown);
      if (consumer === null) {
        group.again.unshift(next);
        return;
      }
      const id = next.shown.link?.id ?? next.shown.event?.id ?? '';
      const timer = setTimeout(() => {
        consumer.inHand.delete(id);
        this.#again(group, next);
        this.#dispatch(group);
      }, group.settings.getMessageTimeoutMs());
      consumer.inHand.set(id, { ...next, timer });
      consumer.total += 1;
      group.total += 1;
      consumer.call.write(persistentEvent(next.shown, consumer.structured, next.retries));
    }
  }

  #next(group: Group): { shown: Shown; retries: number } | null {
    const event = group.source.next().value;
    if (event === undefined) return null;
    const isLink = group.settings.getResolveLinks() && this.#store.isLink(event);
    return { shown: isLink ? { event: this.#store.target(event), link: event } : { event, link: undefined }, retries: 0 };
  }

  /** Pinned: the events of a stream go to one consumer while it is there, so they stay in order. */
  #chosen(group: Group, { event, link }: Shown): Consumer | null {
    const { consumers, settings } = group;
    const isPinned = settings.getNamedConsumerStrategy() === persistentPb.CreateReq.ConsumerStrategy.PINNED;
    const pinned = consumers[hashOf((event ?? link)?.stream ?? '') % consumers.length];
    if (isPinned) return pinned !== undefined && pinned.inHand.size < pinned.buffer ? pinned : null;
    for (let tried = 0; tried < consumers.length; tried++) {
      const consumer = consumers[group.turn++ % consumers.length];
      if (consumer !== undefined && consumer.inHand.size < consumer.buffer) return consumer;
    }
    return null;
  }
}

const missing = (source: string, group: string): Error =>
  failure(status.NOT_FOUND, 'no such group', {
    exception: 'persistent-subscription-does-not-exist',
    'stream-name': source,
    'group-name': group,
  });
