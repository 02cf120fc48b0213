// A log that is a KurrentDB stream, as seen from its thread: the operations that remote-log.ts asks for, one at a time.
// The stream is this log's alone, so event n of the log is revision n - 1. After a failure every question is answered by
// that failure at once, until a look from here has found the server again: whoever asks waits for one answer that does
// not come, not for one after the other.
import type { NewEvent, RecordedEvent } from '../../events/envelope.ts';
import { SCHEMA_VERSION } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';
import { asKurrentError, asUser, type Client, kindOf, limited, openClient } from './client.ts';
import type { Connection } from './connection.ts';
import { backOff } from './forwarder.ts';
import { fromServer, streamOf, toServer } from './mapping.ts';

/** Events in a page, and bytes in one append: a server takes 1 MiB unless told otherwise. */
const PAGE_EVENTS = 512;
const APPEND_BYTES = 900 * 1024;
const ENVELOPE_BYTES = 450;
const LINK_IDS = 4096;

export interface RemoteOptions {
  readonly connection: Connection;
  readonly logId: string;
  readonly bootId: string;
  readonly vm: string;
  /** How long one answer may take. */
  readonly answer_ms: number;
}

/** What can be asked; `to` is inclusive. */
export type Question =
  | { readonly ask: 'ends' }
  | { readonly ask: 'checkpoint'; readonly above: number }
  | { readonly ask: 'page'; readonly from: number; readonly to: number }
  | { readonly ask: 'append'; readonly events: readonly NewEvent[]; readonly expected: number }
  | { readonly ask: 'truncate'; readonly first: number };

export interface Ends {
  /** 1 and 0 for an empty log. */
  readonly first: number;
  readonly head: number;
}

export class RemoteStream {
  readonly #options: RemoteOptions;
  readonly #stream: string;
  readonly #ids = new Map<number, string>();
  #client: Client | null = null;
  /** Why the server counts as gone, null while it does not. */
  #gone: NetkvmError | null = null;
  #closed = false;

  constructor(options: RemoteOptions) {
    this.#options = options;
    this.#stream = streamOf(options.logId);
  }

  /** Throws `kurrentdb.*`, and `log.conflict` for an append that does not follow the end of the stream. */
  async answer(question: Question): Promise<unknown> {
    if (this.#gone !== null) throw this.#gone;
    try {
      this.#client ??= await openClient(this.#options.connection);
      return await this.#answer(this.#client, question);
    } catch (error) {
      if (error instanceof NetkvmError && error.code === 'log.conflict') throw error;
      const known = asKurrentError(error, this.#options.connection.name);
      if (known.code === 'kurrentdb.unreachable') this.#lose(known);
      throw known;
    }
  }

  /** Tells of every event behind `from` as it is written, by its number, until `signal` aborts. */
  async watch(from: number, told: (seq: number) => void, signal: AbortSignal): Promise<void> {
    let last = from;
    for (let attempts = 0; !signal.aborted;) {
      try {
        this.#client ??= await openClient(this.#options.connection);
        const fromRevision = last === 0 ? ('start' as const) : BigInt(last - 1);
        const subscription = this.#client.subscribeToStream(this.#stream, { fromRevision });
        const leave = () => void subscription.unsubscribe().then(() => subscription.destroy());
        signal.addEventListener('abort', leave, { once: true });
        for await (const { event } of subscription) {
          attempts = 0;
          if (event !== undefined) told((last = Number(event.revision) + 1));
        }
        signal.removeEventListener('abort', leave);
      } catch {
        // Tried again below, from where it ended.
      }
      if (!signal.aborted) await new Promise((done) => setTimeout(done, backOff(++attempts)));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#client?.dispose().catch(() => {});
  }

  #answer(client: Client, question: Question): Promise<unknown> {
    switch (question.ask) {
      case 'ends':
        return this.#ends(client);
      case 'checkpoint':
        return this.#checkpoint(client, question.above);
      case 'page':
        return this.#page(client, question.from, question.to);
      case 'append':
        return this.#append(client, question.events, question.expected);
      case 'truncate':
        return this.#truncate(client, question.first);
    }
  }

  #limited<T>(work: Promise<T>): Promise<T> {
    return limited(work, this.#options.connection.name, this.#options.answer_ms);
  }

  /** Records of the stream; none for a stream that does not exist. */
  async *#records(client: Client, options: Parameters<Client['readStream']>[1]) {
    const records = client.readStream(this.#stream, { ...options, ...asUser(this.#options.connection) })[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value, done } = await this.#limited(records.next());
        if (done === true) return;
        if (value.event !== undefined) yield value.event;
      }
    } catch (error) {
      if (kindOf(error) !== 'stream-not-found') throw error;
    }
  }

  async #ends(client: Client): Promise<Ends> {
    let [first, head] = [0, 0];
    for await (const { revision } of this.#records(client, { direction: 'backwards', fromRevision: 'end', maxCount: 1 }))
      head = Number(revision) + 1;
    for await (const { revision } of this.#records(client, { maxCount: 1 })) first = Number(revision) + 1;
    return { first: first === 0 ? head + 1 : first, head };
  }

  /** The newest checkpoint above a number, 0 for none: looked for from the end, where it is. */
  async #checkpoint(client: Client, above: number): Promise<number> {
    for await (const { revision, type } of this.#records(client, { direction: 'backwards', fromRevision: 'end' })) {
      const seq = Number(revision) + 1;
      if (seq <= above) return 0;
      if (type === 'checkpoint.made') return seq;
    }
    return 0;
  }

  async #page(client: Client, from: number, to: number): Promise<RecordedEvent[]> {
    const page: RecordedEvent[] = [];
    const maxCount = Math.min(PAGE_EVENTS, to - from + 1);
    for await (const record of this.#records(client, { fromRevision: BigInt(from - 1), maxCount })) {
      const read = fromServer(record);
      if (typeof read === 'string') throw new NetkvmError('log.damaged', `${this.#options.connection.name}: ${read}`);
      if (read.event.seq !== Number(record.revision) + 1)
        throw new NetkvmError('log.damaged', `${this.#stream}: revision ${record.revision} holds event ${read.event.seq}`);
      if (read.event.seq <= to) page.push(read.event);
    }
    return page;
  }

  /** In one append, or in several that each are as large as a server takes, in order. */
  async #append(client: Client, events: readonly NewEvent[], expected: number): Promise<null> {
    const { logId, bootId, vm } = this.#options;
    const labels = { vm, idOf: (seq: number) => this.#ids.get(seq) };
    let after = expected;
    for (const part of parts(events)) {
      const records = part.map((event, index) => {
        const seq = after + index + 1;
        this.#ids.set(seq, event.id);
        this.#ids.delete(seq - LINK_IDS);
        return toServer({ ...event, seq, logId, bootId, v: SCHEMA_VERSION }, logId, labels);
      });
      const streamState = after === 0 ? ('no_stream' as const) : BigInt(after - 1);
      try {
        await this.#limited(client.appendToStream(this.#stream, records, { streamState, requiresLeader: true }));
      } catch (error) {
        if (kindOf(error) !== 'wrong-expected-version') throw error;
        throw new NetkvmError('log.conflict', `${this.#stream}: does not end at event ${after}`);
      }
      after += part.length;
    }
    return null;
  }

  async #truncate(client: Client, first: number): Promise<null> {
    const { metadata = {} } = await this.#limited(client.getStreamMetadata(this.#stream, asUser(this.#options.connection)));
    await this.#limited(client.setStreamMetadata(this.#stream, { ...metadata, truncateBefore: first - 1 }));
    return null;
  }

  #lose(reason: NetkvmError): void {
    if (this.#gone !== null) return;
    this.#gone = reason;
    const look = async (attempts: number): Promise<void> => {
      if (this.#closed) return;
      await new Promise((done) => setTimeout(done, backOff(attempts)).unref());
      try {
        // A new client: the part of it that reads never gets over a first connection that failed.
        await this.#client?.dispose();
        this.#client = await openClient(this.#options.connection);
        await this.#ends(this.#client);
        this.#gone = null;
      } catch {
        await look(attempts + 1);
      }
    };
    void look(1);
  }
}

const parts = function* (events: readonly NewEvent[]): Generator<readonly NewEvent[]> {
  let part: NewEvent[] = [];
  let bytes = 0;
  for (const event of events) {
    const size = Buffer.byteLength(JSON.stringify(event.data)) + ENVELOPE_BYTES;
    if (part.length > 0 && bytes + size > APPEND_BYTES) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(event);
    bytes += size;
  }
  if (part.length > 0) yield part;
};
