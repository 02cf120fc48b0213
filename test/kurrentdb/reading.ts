// Streams.Read of the stand-in: pages of a stream or of $all, backwards or forwards, filtered, with links resolved; and
// catch-up subscriptions, which go on with what is written. A slow reader is waited for.
import { status, type ServerWritableStream } from '@grpc/grpc-js';
import { failure, identifierOf, nameIn, readEvent, streamsPb } from './messages.ts';
import type { Store, Stored } from './store.ts';

type Request = InstanceType<typeof streamsPb.ReadReq>;
type Response = InstanceType<typeof streamsPb.ReadResp>;
export type ReadCall = ServerWritableStream<Request, Response>;

/** Events that a filtered subscription passes over before it says how far it came. */
const CHECKPOINT_EVERY = 32;

export interface Expression {
  getRegex(): string;
  getPrefixList(): string[];
}
export interface FilterOptions {
  getStreamIdentifier(): Expression | undefined;
  getEventType(): Expression | undefined;
  getCheckpointintervalmultiplier(): number;
}

export const matcher = (filter: FilterOptions | undefined): ((event: Stored) => boolean) => {
  const stream = filter?.getStreamIdentifier();
  const expression = stream ?? filter?.getEventType();
  if (expression === undefined) return () => true;
  const textOf = (event: Stored) => (stream === undefined ? event.type : event.stream);
  const prefixes = expression.getPrefixList();
  if (prefixes.length > 0) return (event) => prefixes.some((prefix) => textOf(event).startsWith(prefix));
  const regex = new RegExp(expression.getRegex());
  return (event) => regex.test(textOf(event));
};

/** What one call is sent: waits while its reader has no room, counts, and is cut where the test says so. */
class Sender {
  readonly #store: Store;
  readonly #call: ReadCall;
  readonly #cutAfter: () => number | null;
  readonly #structured: boolean;
  readonly #resolves: boolean;
  readonly follows: boolean;
  #left: number;
  #sent = 0;
  #gone = false;

  constructor(store: Store, call: ReadCall, cutAfter: () => number | null) {
    const options = call.request.getOptions();
    this.#store = store;
    this.#call = call;
    this.#cutAfter = cutAfter;
    this.#structured = options?.getUuidOption()?.hasStructured() === true;
    this.#resolves = options?.getResolveLinks() === true;
    this.follows = options?.hasSubscription() === true;
    this.#left = this.follows ? Infinity : Number(options?.getCount());
    const left = () => {
      this.#gone = true;
      call.emit('drain');
    };
    call.on('cancelled', left);
    call.on('close', left);
  }

  /** Whether nothing more is wanted, or can be sent. */
  get isDone(): boolean {
    return this.#gone || this.#left <= 0;
  }
  get isGone(): boolean {
    return this.#gone;
  }

  async event(event: Stored): Promise<void> {
    if (this.#sent++ === this.#cutAfter()) throw failure(status.UNAVAILABLE, 'the stream was cut');
    this.#left -= 1;
    const isLink = this.#resolves && this.#store.isLink(event);
    const shown = isLink ? { event: this.#store.target(event), link: event } : { event, link: undefined };
    await this.write(readEvent(shown, this.#structured));
  }

  async write(response: Response): Promise<void> {
    if (this.#gone || this.#call.write(response)) return;
    await new Promise<void>((done) => this.#call.once('drain', done));
  }

  /** Waits for a change of the store, or the reader's end. */
  news(): Promise<void> {
    if (this.#gone) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        unsubscribe();
        this.#call.off('cancelled', done);
        this.#call.off('close', done);
        resolve();
      };
      const unsubscribe = this.#store.subscribe(done);
      this.#call.on('cancelled', done);
      this.#call.on('close', done);
    });
  }
}

export const serveRead = async (store: Store, call: ReadCall, cutAfter: () => number | null): Promise<void> => {
  const out = new Sender(store, call, cutAfter);
  try {
    if (call.request.getOptions()?.hasAll() === true) await readAll(store, call, out);
    else await readStream(store, call, out);
    if (!out.isGone) call.end();
  } catch (error) {
    call.emit('error', error);
  }
};

const isBackwards = (call: ReadCall): boolean =>
  call.request.getOptions()?.getReadDirection() === streamsPb.ReadReq.Options.ReadDirection.BACKWARDS;

const readStream = async (store: Store, call: ReadCall, out: Sender): Promise<void> => {
  const stream = call.request.getOptions()?.getStream();
  if (stream === undefined) throw failure(status.INVALID_ARGUMENT, 'no stream');
  const name = nameIn(stream.getStreamIdentifier());
  const range = store.range(name);
  if (range === 'tombstoned')
    throw failure(status.FAILED_PRECONDITION, 'deleted', { exception: 'stream-deleted', 'stream-name': name });
  if (range === 'missing' && !out.follows) return out.write(notFound(name));
  const { first, last } = typeof range === 'object' ? range : { first: 0, last: -1 };
  const given = stream.hasRevision() ? Number(stream.getRevision()) : null;
  if (out.follows) {
    await out.write(confirmation());
    return followStream(store, name, given === null ? (stream.hasEnd() ? last + 1 : 0) : given + 1, out);
  }
  if (isBackwards(call)) {
    const from = Math.min(given ?? (stream.hasEnd() ? last : 0), last);
    for (let revision = from; revision >= first && !out.isDone; revision--) await sendAt(store, name, revision, out);
    return;
  }
  const from = Math.max(first, given ?? (stream.hasEnd() ? last + 1 : 0));
  for (let revision = from; revision <= last && !out.isDone; revision++) await sendAt(store, name, revision, out);
};

const sendAt = async (store: Store, name: string, revision: number, out: Sender): Promise<void> => {
  const event = store.at(name, revision);
  if (event !== undefined) await out.event(event);
};

const followStream = async (store: Store, name: string, from: number, out: Sender): Promise<void> => {
  let next = from;
  while (!out.isDone) {
    const range = store.range(name);
    if (typeof range === 'object')
      for (next = Math.max(next, range.first); next <= range.last && !out.isDone; next++) await sendAt(store, name, next, out);
    await out.news();
  }
};

const readAll = async (store: Store, call: ReadCall, out: Sender): Promise<void> => {
  const options = call.request.getOptions();
  const all = options?.getAll();
  if (all === undefined) throw failure(status.INVALID_ARGUMENT, 'no position');
  const matches = matcher(options?.getFilter());
  const offer = async (event: Stored | undefined): Promise<void> => {
    if (event !== undefined && matches(event) && store.isVisible(event)) await out.event(event);
  };
  const position = all.getPosition();
  const given = position === undefined ? null : Number(position.getCommitPosition());
  if (!out.follows && isBackwards(call)) {
    const from = given === null ? store.all.length : store.indexOf(given);
    for (let index = from - 1; index >= 0 && !out.isDone; index--) await offer(store.all[index]);
    return;
  }
  // A read begins at its position, a subscription behind it.
  let next = given === null ? (all.hasEnd() ? store.all.length : 0) : store.indexOf(out.follows ? given + 1 : given);
  if (out.follows) await out.write(confirmation());
  const every = CHECKPOINT_EVERY * Math.max(1, options?.getFilter()?.getCheckpointintervalmultiplier() ?? 1);
  for (let passed = 1; !out.isDone;) {
    for (; next < store.all.length && !out.isDone; next++, passed++) {
      await offer(store.all[next]);
      const reached = store.all[next]?.position;
      if (out.follows && options?.hasFilter() === true && passed % every === 0 && reached !== undefined)
        await out.write(checkpoint(reached));
    }
    if (!out.follows) return;
    await out.news();
  }
};

const notFound = (name: string): Response => {
  const missing = new streamsPb.ReadResp.StreamNotFound();
  missing.setStreamIdentifier(identifierOf(name));
  const response = new streamsPb.ReadResp();
  response.setStreamNotFound(missing);
  return response;
};

const confirmation = (): Response => {
  const confirmed = new streamsPb.ReadResp.SubscriptionConfirmation();
  confirmed.setSubscriptionId(crypto.randomUUID());
  const response = new streamsPb.ReadResp();
  response.setConfirmation(confirmed);
  return response;
};

const checkpoint = (position: number): Response => {
  const reached = new streamsPb.ReadResp.Checkpoint();
  reached.setCommitPosition(String(position));
  reached.setPreparePosition(String(position));
  const response = new streamsPb.ReadResp();
  response.setCheckpoint(reached);
  return response;
};
