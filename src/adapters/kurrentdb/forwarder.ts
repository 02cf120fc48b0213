// The copy of the embedded log on a KurrentDB server: reads what the log has, appends it to the stream of its log id, and
// goes on where the copy ends. It runs in a thread of its own (forwarder.worker.ts), so that neither the server nor the
// work of copying can hold up a decision; it reads the log through its own connection and writes nothing there.
//
// Exactly once: the ids of the events were made before the first attempt, and every append says behind which revision it
// belongs. When that is wrong (an answer was lost, this process forgot), the end of the stream says where to go on: its
// last event must be one of ours. If it is not, the server has seen a log of this id that went another way (a snapshot
// was reverted): the log is told to take a new id.
//
// Bounded: one batch in memory, one append under way, one attempt at a time with pauses that grow up to a limit.
import { setTimeout as pause } from 'node:timers/promises';
import type { RecordedEvent } from '../../events/envelope.ts';
import { NetkvmError } from '../../events/errors.ts';
import type { Forwarded, SqliteReader } from '../log/reader.ts';
import { openReader } from '../log/sqlite.ts';
import { asKurrentError, asUser, type Client, kindOf, limited, openClient } from './client.ts';
import type { Connection } from './connection.ts';
import { fromServer, streamOf, toServer } from './mapping.ts';

/** The most of one append: events, and bytes of data and metadata (a server takes 1 MiB unless told otherwise). */
export const BATCH = { events: 512, bytes: 512 * 1024 };
/** Bytes that an event takes beside its data, roughly: metadata, id, type. */
const ENVELOPE_BYTES = 450;
/** Pauses between attempts: the first, and the longest; each is cut by up to a half at random. */
export const BACK_OFF_MS = { first: 250, longest: 30_000 };
/** How many ids of events are kept for the causes of later ones. */
const IDS = 4096;

/** What the server keeps of a stream; 0 means without a limit. */
export interface Retention {
  readonly days: number;
  readonly events: number;
}

export interface ForwarderOptions {
  /** Folder of the embedded log. */
  readonly dir: string;
  readonly connection: Connection;
  readonly vm: string;
  readonly retention: Retention;
  /** How long one answer may take. */
  readonly answer_ms?: number;
}

export interface ForwardingState {
  readonly state: 'connecting' | 'forwarding' | 'current' | 'waiting';
  readonly stream: string;
  /** The last event of the log that the server has, and its revision there; 0 and -1 for none. */
  readonly seq: number;
  readonly revision: number;
  /** Commit position of the last append. */
  readonly position: string | null;
  /** Wall clock of the oldest event that the server does not have, null for none. */
  readonly oldest_ns: string | null;
  /** Events appended since the start, and those that retention took before they could be. */
  readonly sent: number;
  readonly missed: number;
  /** What failed last, and how often since the last success; null while all is well. */
  readonly error: { readonly code: string; readonly text: string; readonly attempts: number; readonly wall_ms: number } | null;
}

/** What the forwarder tells its service. */
export interface ForwarderNews {
  readonly told: (state: ForwardingState) => void;
  readonly sent: (forwarded: Forwarded) => void;
  /** The server's stream of this log id is not a copy of this log: it needs another id. */
  readonly diverged: (logId: string) => void;
}

const NOWHERE: ForwardingState = {
  state: 'connecting',
  stream: '',
  seq: 0,
  revision: -1,
  position: null,
  oldest_ns: null,
  sent: 0,
  missed: 0,
  error: null,
};

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #news: ForwarderNews;
  readonly #name: string;
  readonly #ids = new Map<number, string>();
  #state = NOWHERE;
  #client: Client | null = null;
  #reader: SqliteReader | null = null;
  /** Whether the place in the stream is known, and whether the stream has its limits. */
  #placed = false;
  #kept = false;
  /** Where the events of the present log id begin. */
  #begins = 1;
  /** Less than a whole batch after the server found one too large. */
  #most = BATCH.events;

  constructor(options: ForwarderOptions, news: ForwarderNews) {
    this.#options = options;
    this.#news = news;
    this.#name = options.connection.name;
  }

  /** Copies until `signal` aborts. Never throws: what fails is told and tried again. */
  async run(signal: AbortSignal): Promise<void> {
    for (let attempts = 0; !signal.aborted;) {
      try {
        const batch = await this.#next(signal);
        if (batch === null) continue;
        await this.#send(batch);
        attempts = 0;
      } catch (error) {
        if (signal.aborted) break;
        attempts += 1;
        this.#failed(error, attempts);
        await this.#rest(attempts, signal);
      }
    }
    this.#reader?.close();
    this.#reader = null;
    await this.#client?.dispose().catch(() => {});
  }

  async #rest(attempts: number, signal: AbortSignal): Promise<void> {
    try {
      await pause(backOff(attempts), null, { signal });
    } catch {
      // The end.
    }
  }

  /** Whether the server has all that the log has. */
  get isCurrent(): boolean {
    return this.#placed && this.#reader !== null && this.#state.seq >= this.#reader.head();
  }

  /** What comes next; null when the log has nothing new yet. */
  async #next(signal: AbortSignal): Promise<RecordedEvent[] | null> {
    this.#reader ??= openReader(this.#options.dir);
    const reader = this.#reader;
    this.#client ??= await openClient(this.#options.connection);
    if (!this.#placed) await this.#place(reader);
    if (!this.#kept) await this.#keep(this.#client);
    const batch = this.#batch(reader);
    if (batch.length > 0) return batch;
    if (this.#reader === null) return null;
    this.#tell({ state: 'current', oldest_ns: null, error: null });
    await this.#wait(reader, signal);
    return null;
  }

  async #wait(reader: SqliteReader, signal: AbortSignal): Promise<void> {
    for await (const event of reader.follow(this.#state.seq + 1, signal)) if (event.seq > 0) return;
  }

  #batch(reader: SqliteReader): RecordedEvent[] {
    const batch: RecordedEvent[] = [];
    let bytes = 0;
    for (const event of reader.read(this.#state.seq + 1)) {
      // Another log id behind the beginning of ours: the log has taken a new one since.
      if (event.logId !== reader.logId && event.seq >= this.#begins) {
        if (batch.length === 0) this.#begin();
        break;
      }
      bytes += JSON.stringify(event.data).length + ENVELOPE_BYTES;
      if (batch.length > 0 && bytes > BATCH.bytes) break;
      if (batch.push(event) >= this.#most) break;
    }
    return batch;
  }

  /** Forgets log and place: both are looked for anew. */
  #begin(): void {
    this.#reader?.close();
    this.#reader = null;
    this.#placed = false;
    this.#kept = false;
    this.#ids.clear();
  }

  /** Where to go on: as the log remembers, or as the end of the stream says. */
  async #place(reader: SqliteReader, remembered = reader.forwarded()): Promise<void> {
    const stream = streamOf(reader.logId);
    const place = remembered ?? (await this.#end(reader, stream)) ?? { seq: this.#first(reader) - 1, revision: -1 };
    this.#begins = reader.begins();
    this.#placed = true;
    this.#tell({ stream, seq: place.seq, revision: place.revision });
  }

  /** A copy begins where the log does; a log that was inherited, with the checkpoint before its own first event. */
  #first(reader: SqliteReader): number {
    const begins = reader.begins();
    const first = reader.first();
    return begins <= first ? first : Math.max(first, reader.checkpoint(begins));
  }

  /** The last event of the stream as a place in the log, null for an empty stream. Throws when it is none of ours. */
  async #end(reader: SqliteReader, stream: string): Promise<{ seq: number; revision: number } | null> {
    const last = await this.#last(stream);
    if (last === null) return null;
    const there = fromServer(last);
    if (typeof there === 'string') throw new NetkvmError('kurrentdb.unreachable', `${this.#name}: ${there}`);
    const { seq, id } = there.event;
    if (seq >= reader.first() && idAt(reader, seq) !== id) {
      this.#news.diverged(reader.logId);
      this.#begin();
      throw new NetkvmError(
        'kurrentdb.unreachable',
        `${this.#name}: ${stream} went another way at event ${seq}; a new log id is taken`,
      );
    }
    return { seq, revision: Number(there.revision) };
  }

  async #last(stream: string) {
    const reading = async () => {
      const options = { direction: 'backwards', fromRevision: 'end', maxCount: 1, ...asUser(this.#options.connection) } as const;
      for await (const { event } of this.#used.readStream(stream, options)) if (event !== undefined) return event;
      return null;
    };
    try {
      return await limited(reading(), this.#name, this.#options.answer_ms);
    } catch (error) {
      if (kindOf(error) === 'stream-not-found') return null;
      throw error;
    }
  }

  get #used(): Client {
    if (this.#client === null) throw new Error('there is no client');
    return this.#client;
  }

  /** Gives the stream its limits, where it has others; what else its metadata says stays. */
  async #keep(client: Client): Promise<void> {
    const { days, events } = this.#options.retention;
    const { stream } = this.#state;
    const limit = this.#options.answer_ms;
    const { metadata = {} } = await limited(
      client.getStreamMetadata(stream, asUser(this.#options.connection)),
      this.#name,
      limit,
    );
    const wanted = { ...metadata, ...(days > 0 ? { maxAge: days * 86_400 } : {}), ...(events > 0 ? { maxCount: events } : {}) };
    if (JSON.stringify(wanted) !== JSON.stringify(metadata))
      await limited(client.setStreamMetadata(stream, wanted), this.#name, limit);
    this.#kept = true;
  }

  async #send(batch: readonly RecordedEvent[]): Promise<void> {
    const [first] = batch;
    const last = batch.at(-1);
    const reader = this.#reader;
    if (first === undefined || last === undefined || reader === null) return;
    const { seq, revision, stream } = this.#state;
    const missed = this.#state.missed + first.seq - seq - 1;
    const isBehind = batch.length > 1 || this.#state.error !== null;
    this.#tell({ state: isBehind ? 'forwarding' : this.#state.state, oldest_ns: first.wall_ns, missed });
    for (const event of batch) this.#remember(event);
    const labels = { vm: this.#options.vm, idOf: (cause: number) => this.#ids.get(cause) ?? idAt(reader, cause) };
    const events = batch.map((event) => toServer(event, reader.logId, labels));
    const streamState = revision < 0 ? ('no_stream' as const) : BigInt(revision);
    try {
      const append = this.#used.appendToStream(stream, events, { streamState, requiresLeader: true });
      const { nextExpectedRevision, position } = await limited(append, this.#name, this.#options.answer_ms);
      this.#most = Math.min(BATCH.events, this.#most * 2);
      this.#sent({ logId: reader.logId, seq: last.seq, revision: Number(nextExpectedRevision) }, batch.length, position?.commit);
    } catch (error) {
      if (kindOf(error) === 'wrong-expected-version') return this.#correct(reader, error);
      if (isTooLarge(error) && batch.length > 1) {
        this.#most = Math.ceil(batch.length / 2);
        return;
      }
      throw error;
    }
  }

  #sent(forwarded: Forwarded, events: number, commit: bigint | undefined): void {
    const { seq, revision } = forwarded;
    this.#tell({ seq, revision, position: commit?.toString() ?? null, sent: this.#state.sent + events, error: null });
    this.#news.sent(forwarded);
  }

  /** The stream ends elsewhere than was thought: goes on from there, if it is elsewhere. */
  async #correct(reader: SqliteReader, error: unknown): Promise<void> {
    const before = this.#state;
    const { stream } = before;
    const place = (await this.#end(reader, stream)) ?? { seq: this.#first(reader) - 1, revision: -1 };
    this.#kept = false;
    if (place.seq === before.seq && place.revision === before.revision) throw error;
    this.#tell(place);
    if (place.seq > 0) this.#news.sent({ logId: reader.logId, ...place });
  }

  #remember({ seq, id }: RecordedEvent): void {
    this.#ids.set(seq, id);
    this.#ids.delete(seq - IDS);
  }

  #failed(thrown: unknown, attempts: number): void {
    // The log itself (replaced, damaged, not there yet) is opened anew; the client mends its own connection, but a call
    // that was never answered has to be given up.
    const ours = thrown instanceof NetkvmError && thrown.code.startsWith('log.');
    if (ours) this.#begin();
    else void this.#client?.dispose().catch(() => {});
    // Its part that reads never gets over a first connection that failed.
    if (!this.#placed || !this.#kept) this.#client = null;
    const { code, message } = ours ? thrown : asKurrentError(thrown, this.#name);
    this.#tell({ state: 'waiting', error: { code, text: message.slice(0, 1024), attempts, wall_ms: Date.now() } });
  }

  #tell(changes: Partial<ForwardingState>): void {
    this.#state = { ...this.#state, ...changes };
    this.#news.told(this.#state);
  }
}

const isTooLarge = (error: unknown): boolean => asKurrentError(error, '').code === 'kurrentdb.tooLarge';

/** The id of one event of the log, undefined where retention has taken it. */
const idAt = (reader: SqliteReader, seq: number): string | undefined => {
  for (const event of reader.read(seq)) return event.seq === seq ? event.id : undefined;
  return undefined;
};

/** A pause that doubles up to the longest, cut at random, so that a thousand guests do not come back at one instant. */
export const backOff = (attempts: number): number =>
  Math.min(BACK_OFF_MS.longest, BACK_OFF_MS.first * 2 ** Math.min(attempts - 1, 20)) * (0.5 + Math.random() / 2);
