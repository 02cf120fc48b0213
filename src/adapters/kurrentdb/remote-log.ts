// The log itself on a KurrentDB server (`log = "kurrentdb://…"`), behind the same interface as the embedded one: for hosts
// whose management network is not the one that is switched. The interface answers at once, a network does not; so the
// client runs in a thread of its own, and this side waits for it, for a limited time: an append is durable on the server
// when it returns, or it fails, and memory takes over as it does for a full disk.
//
// One stream, one writer: every append says behind which event it belongs, so a second writer is `log.conflict`.
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { eventProblem } from '../../events/check.ts';
import { SCHEMA_VERSION, type Foldable, type NewEvent, type RecordedEvent } from '../../events/envelope.ts';
import { type ErrorCode, NetkvmError } from '../../events/errors.ts';
import type { EventLog } from '../../events/log.ts';
import type { WriterLock } from '../log/lock.ts';
import type { Connection } from './connection.ts';
import type { Asked, RemoteThread } from './remote-log.worker.ts';
import type { Ends, Question } from './remote-stream.ts';
import { threadFile } from './thread-file.ts';

/** How long the caller is held up by one question at most; the first one also loads the client. */
export const WAIT_MS = 2000;
const FIRST_WAIT_MS = 15_000;
/** How often a follower looks by itself, should no news come. */
const LOOK_MS = 5000;
/** The most of one event's data: what a server takes, less the envelope. */
const MAX_EVENT_BYTES = 900 * 1024;

/** The log id of this machine's log for a folder of state: always the same, another for a clone. */
export const remoteLogId = (machineId: string, stateDir: string): string =>
  createHash('sha256')
    .update(`${machineId}\0${stateDir}`)
    .digest('hex')
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-8$3-8$4-$5');

type Answer = { readonly id: number; readonly result?: unknown; readonly code?: ErrorCode; readonly text?: string };

export class RemoteLog implements EventLog {
  readonly logId: string;
  /** Where it is, for messages. */
  readonly path: string;
  readonly #bootId: string;
  readonly #worker: Worker;
  readonly #channel = new MessageChannel();
  readonly #port;
  readonly #answered = new Int32Array(new SharedArrayBuffer(4));
  /** Followers, each with the number of the event that it waits for. */
  readonly #waiting = new Map<() => void, number>();
  readonly #lock: WriterLock | null;
  /** What the writer knows without asking; null after an append that was not answered. */
  #ends: Ends | null = null;
  #checkpoint = { seq: 0, seen: 0 };
  #last = 0;
  #watches = false;
  #open = true;

  private constructor(connection: Connection, logId: string, bootId: string, lock: WriterLock | null) {
    this.logId = logId;
    this.path = `${connection.name} netkvm-${logId}`;
    this.#bootId = bootId;
    this.#lock = lock;
    const questions = new MessageChannel();
    this.#channel.port1.unref();
    const options = { connection, logId, bootId, vm: hostname(), answer_ms: WAIT_MS };
    const thread: RemoteThread = { options, port: questions.port2, news: this.#channel.port2, answered: this.#answered };
    this.#worker = new Worker(threadFile('remote-log'), {
      workerData: thread,
      transferList: [questions.port2, this.#channel.port2],
      stdout: true,
      stderr: true,
    });
    this.#worker.unref();
    this.#port = questions.port1;
    this.#port.unref();
    this.#channel.port1.on('message', (seq: number) => this.#wake(seq));
    this.#channel.port1.unref();
  }

  /** Opens it for its one writer, who holds the lock of the folder of its state, or for reading. Throws `kurrentdb.*`. */
  static open(
    connection: Connection,
    identity: { readonly logId: string; readonly bootId: string },
    lock: WriterLock | null,
  ): RemoteLog {
    const log = new RemoteLog(connection, identity.logId, identity.bootId, lock);
    try {
      log.#ends = log.#ask({ ask: 'ends' }, FIRST_WAIT_MS) as Ends;
      return log;
    } catch (error) {
      log.close();
      throw error;
    }
  }

  head(): number {
    return this.#now().head;
  }

  first(): number {
    return this.#now().first;
  }

  checkpoint(): number {
    const { head } = this.#now();
    const { seq, seen } = this.#checkpoint;
    if (head > seen) {
      const newer = this.#ask({ ask: 'checkpoint', above: seen }, FIRST_WAIT_MS) as number;
      this.#checkpoint = { seq: newer === 0 ? seq : newer, seen: head };
    }
    return this.#checkpoint.seq >= this.#now().first ? this.#checkpoint.seq : 0;
  }

  read(from: number): Iterable<RecordedEvent> {
    return flat(this.#pages(from, this.head()));
  }

  fold(from: number): Iterable<readonly Foldable[]> {
    return this.#pages(from, this.head(), ({ seq, type, mono_ns, data }) => ({ seq, type, mono_ns, data }) as Foldable);
  }

  async *follow(from: number, signal: AbortSignal): AsyncGenerator<RecordedEvent> {
    let next = from;
    while (this.#open && !signal.aborted) {
      const news = this.#news(next, signal);
      for (const event of this.#pagesNow(next)) {
        yield event;
        if (signal.aborted || !this.#open) return;
        next = event.seq + 1;
      }
      await news;
    }
  }

  append(events: readonly NewEvent[], expected: number): RecordedEvent[] {
    if (events.length === 0) return [];
    events.forEach((event, index) => {
      const seq = expected + index + 1;
      const problem = eventProblem(event, seq);
      if (problem !== null) throw new TypeError(`event ${seq} is not valid: ${problem}`);
      if (Buffer.byteLength(JSON.stringify(event.data)) > MAX_EVENT_BYTES)
        throw new RangeError(`event ${seq}: its data is longer than ${MAX_EVENT_BYTES} bytes`);
    });
    const before = this.#ends;
    this.#ends = null;
    this.#ask({ ask: 'append', events, expected });
    // A repeated write does not move the end.
    const head = Math.max(expected + events.length, before?.head ?? 0);
    this.#ends = before === null ? null : { first: before.first, head };
    const { logId } = this;
    const recorded = events.map((event, index) => {
      return { ...event, seq: expected + index + 1, logId, bootId: this.#bootId, v: SCHEMA_VERSION };
    });
    this.#wake();
    return recorded;
  }

  prune(seq: number): number {
    const { first, head } = this.#now();
    let checkpoint = 0;
    if (this.checkpoint() <= seq) checkpoint = this.checkpoint();
    else
      for (const page of this.fold(first))
        for (const event of page) if (event.type === 'checkpoint.made' && event.seq <= seq) checkpoint = event.seq;
    if (checkpoint <= first) return 0;
    this.#ask({ ask: 'truncate', first: checkpoint });
    this.#ends = { first: checkpoint, head };
    return checkpoint - first;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#wake();
    this.#port.postMessage({ close: true } satisfies Asked);
    this.#channel.port1.close();
    this.#port.close();
    this.#lock?.release(true);
  }

  #now(): Ends {
    if (this.#lock !== null && this.#ends !== null) return this.#ends;
    const ends = this.#ask({ ask: 'ends' }) as Ends;
    this.#ends = ends;
    return ends;
  }

  *#pages<T = RecordedEvent>(from: number, to: number, convert?: (event: RecordedEvent) => T): Generator<T[]> {
    let next = Math.max(from, 1);
    while (next <= to && this.#open) {
      const page = this.#ask({ ask: 'page', from: next, to }) as RecordedEvent[];
      const [first] = page;
      if (first === undefined || (first.seq !== next && !this.#isTaken(next)))
        throw new NetkvmError('log.damaged', `${this.path}: event ${next}: missing`);
      next = first.seq + page.length;
      yield convert === undefined ? (page as T[]) : page.map(convert);
    }
  }

  /** Whether retention has taken event `next`, as the server says now. */
  #isTaken(next: number): boolean {
    this.#ends = null;
    return this.#now().first > next;
  }

  /** What there is now; nothing while the server is away, since a follower waits for it to come back. */
  *#pagesNow(from: number): Generator<RecordedEvent> {
    let pages: Iterable<RecordedEvent[]>;
    try {
      pages = this.#pages(from, this.head());
      for (const page of pages) yield* page;
    } catch (error) {
      if (!(error instanceof NetkvmError && error.code === 'log.unwritable')) throw error;
    }
  }

  /** News of event `seq` are none to a follower that has it: a look costs two questions, and every event is told of. */
  #wake(seq = Infinity): void {
    for (const [wake, next] of this.#waiting) if (seq >= next) wake();
  }

  /** Event `next` or a later one (of any process), the time to look, or the end. */
  #news(next: number, signal: AbortSignal): Promise<void> {
    if (!this.#watches) {
      this.#watches = true;
      this.#port.postMessage({ watch: this.head() } satisfies Asked);
    }
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, LOOK_MS);
      signal.addEventListener('abort', done, { once: true });
      this.#waiting.set(done, next);
    });
  }

  /** Asks the thread and waits. Throws what it answers; a server that is away is `log.unwritable`, as a full disk is. */
  #ask(question: Question, limit_ms = WAIT_MS + 500): unknown {
    const id = ++this.#last;
    this.#port.postMessage({ id, question } satisfies Asked);
    const until = performance.now() + limit_ms;
    for (;;) {
      const seen = Atomics.load(this.#answered, 0);
      const message = receiveMessageOnPort(this.#port)?.message as Answer | undefined;
      // Answers to questions that were given up are passed over.
      if (message !== undefined && message.id < id) continue;
      if (message !== undefined) return resultOf(message);
      const left = until - performance.now();
      if (left <= 0) throw new NetkvmError('log.unwritable', `${this.path}: no answer in ${limit_ms} ms`);
      Atomics.wait(this.#answered, 0, seen, left);
    }
  }
}

const resultOf = ({ result, code, text }: Answer): unknown => {
  if (code === undefined) return result;
  throw new NetkvmError(code === 'kurrentdb.unreachable' ? 'log.unwritable' : code, text ?? code);
};

const flat = function* <T>(pages: Iterable<readonly T[]>): Generator<T> {
  for (const page of pages) yield* page;
};
