// Persistent subscriptions of the stand-in: groups that the server keeps, on a stream or on $all, with what each consumer
// has in hand, acknowledgements, retries, parking, and the strategies RoundRobin and Pinned.
import { status, type Metadata, type Server, type ServerDuplexStream, type ServiceDefinition } from '@grpc/grpc-js';
import { failure, nameIn, persistentEvent, persistentPb, textOfUuid, type Shown } from './messages.ts';
import { matcher } from './reading.ts';
import type { Store, Stored } from './store.ts';

type Call = ServerDuplexStream<InstanceType<typeof persistentPb.ReadReq>, InstanceType<typeof persistentPb.ReadResp>>;
type Gate = (method: string, metadata: Metadata) => Promise<Error | null>;
interface Consumer {
  readonly call: Call;
  readonly buffer: number;
  readonly structured: boolean;
  readonly inHand: Map<string, { readonly shown: Shown; readonly retries: number }>;
}
interface Group {
  readonly pinned: boolean;
  readonly maxRetries: number;
  readonly source: Iterator<Stored, undefined>;
  readonly resolve: boolean;
  readonly consumers: Consumer[];
  readonly again: { shown: Shown; retries: number }[];
  readonly parked: Shown[];
  turn: number;
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
    const absent = (method: string) =>
      unary(method, () => {
        throw failure(status.UNIMPLEMENTED, 'not in the stand-in');
      });
    server.addService(service, {
      create: unary('create', (request: InstanceType<typeof persistentPb.CreateReq>) => this.#create(request)),
      delete: unary('deleteGroup', (request: InstanceType<typeof persistentPb.DeleteReq>) => {
        const options = request.getOptions();
        const source = options?.hasAll() === true ? ALL : nameIn(options?.getStreamIdentifier());
        if (!this.#groups.delete(keyOf(source, options?.getGroupName() ?? '')))
          throw missing(source, options?.getGroupName() ?? '');
        return new persistentPb.DeleteResp();
      }),
      read: (call: Call) => {
        call.once('data', (request: InstanceType<typeof persistentPb.ReadReq>) => {
          const serve = async () => {
            const refusal = await gate('readGroup', call.metadata);
            if (refusal === null) this.#join(call, request);
            else call.emit('error', refusal);
          };
          void serve();
        });
      },
      update: absent('update'),
      getInfo: absent('getInfo'),
      replayParked: absent('replayParked'),
      list: absent('list'),
      restartSubsystem: absent('restart'),
    });
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
    const start = all?.getPosition() ?? null;
    const strategies = persistentPb.CreateReq.ConsumerStrategy;
    this.#groups.set(keyOf(source, name), {
      pinned: settings?.getNamedConsumerStrategy() === strategies.PINNED,
      maxRetries: settings?.getMaxRetryCount() ?? 10,
      resolve: settings?.getResolveLinks() ?? false,
      source:
        source === ALL
          ? this.#all(from ? Infinity : start === null ? 0 : Number(start.getCommitPosition()), matcher(all?.getFilter()))
          : this.#stream(source, from),
      consumers: [],
      again: [],
      parked: [],
      turn: 0,
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

  *#stream(name: string, end: boolean): Generator<Stored, undefined> {
    const range = this.#store.range(name);
    let next = typeof range === 'object' && end ? range.last + 1 : 0;
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
    const source = options?.hasAll() === true ? ALL : nameIn(options?.getStreamIdentifier());
    const name = options?.getGroupName() ?? '';
    const group = this.#groups.get(keyOf(source, name));
    if (group === undefined) {
      call.emit('error', missing(source, name));
      return;
    }
    const structured = options?.getUuidOption()?.hasStructured() === true;
    const consumer: Consumer = { call, buffer: options?.getBufferSize() ?? 10, structured, inHand: new Map() };
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
      // What it had in hand goes to the others.
      group.again.push(...[...consumer.inHand.values()].map(({ shown, retries }) => ({ shown, retries: retries + 1 })));
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
    for (const id of request.getAck()?.getIdsList() ?? []) consumer.inHand.delete(textOfUuid(id));
    const nack = request.getNack();
    const { PARK, RETRY } = persistentPb.ReadReq.Nack.Action;
    for (const id of nack?.getIdsList() ?? []) {
      const key = textOfUuid(id);
      const held = consumer.inHand.get(key);
      consumer.inHand.delete(key);
      if (held === undefined) continue;
      if (nack?.getAction() === PARK || (nack?.getAction() === RETRY && held.retries >= group.maxRetries))
        group.parked.push(held.shown);
      else if (nack?.getAction() === RETRY) group.again.push({ shown: held.shown, retries: held.retries + 1 });
    }
    this.#dispatch(group);
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
      consumer.inHand.set(id, next);
      consumer.call.write(persistentEvent(next.shown, consumer.structured, next.retries));
    }
  }

  #next(group: Group): { shown: Shown; retries: number } | null {
    const event = group.source.next().value;
    if (event === undefined) return null;
    const isLink = group.resolve && this.#store.isLink(event);
    return { shown: isLink ? { event: this.#store.target(event), link: event } : { event, link: undefined }, retries: 0 };
  }

  /** Pinned: the events of a stream go to one consumer while it is there, so they stay in order. */
  #chosen(group: Group, { event, link }: Shown): Consumer | null {
    const { consumers } = group;
    const pinned = consumers[hashOf((event ?? link)?.stream ?? '') % consumers.length];
    if (group.pinned) return pinned !== undefined && pinned.inHand.size < pinned.buffer ? pinned : null;
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
