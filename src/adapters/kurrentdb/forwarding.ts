// The service's side of the forwarder: starts its thread, keeps what it last told, and starts it again (with pauses) should
// it ever end. What it costs the service is a message a batch.
import { Worker } from 'node:worker_threads';
import type { Forwarded } from '../log/reader.ts';
import { backOff, type ForwarderOptions, type ForwardingState } from './forwarder.ts';
import { threadFile } from './thread-file.ts';

/** What the thread may take of memory for JavaScript: one batch, the client, and room. */
const HEAP_MIB = 192;

export interface ForwardingEvents {
  readonly sent: (forwarded: Forwarded) => void;
  readonly diverged: (logId: string) => void;
  /** Copying began to fail, for this reason; null when it works again. */
  readonly failing: (reason: string | null) => void;
}

type Message = { state?: ForwardingState; sent?: Forwarded; diverged?: string; ended?: true };

export class Forwarding {
  readonly #options: ForwarderOptions;
  readonly #events: ForwardingEvents;
  #worker: Worker;
  #state: ForwardingState | null = null;
  #failing: string | null = null;
  #ended: () => void = () => {};
  #stopped = false;
  #crashes = 0;

  constructor(options: ForwarderOptions, events: ForwardingEvents) {
    this.#options = options;
    this.#events = events;
    this.#worker = this.#start();
  }

  /** What the forwarder told last, with the lag behind `head`, the log's last event. */
  status(head: number) {
    const state = this.#state;
    const { name } = this.#options.connection;
    if (state === null) return { server: name, state: 'starting', lag_events: null, lag_ms: null, error: this.#crash() };
    const { oldest_ns, error, ...rest } = state;
    const lag_events = Math.max(0, head - state.seq);
    const since = oldest_ns === null || lag_events === 0 ? null : Date.now() - Number(BigInt(oldest_ns) / 1_000_000n);
    return { server: name, ...rest, lag_events, lag_ms: since === null ? 0 : Math.max(0, since), error: error ?? this.#crash() };
  }

  /** Ends the thread, after a last attempt of at most `drain_ms` to send what is left. */
  async stop(drain_ms: number): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const ended = new Promise<void>((done) => {
      this.#ended = done;
    });
    this.#worker.postMessage({ drain_ms });
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([ended, new Promise<void>((done) => (timer = setTimeout(done, drain_ms + 100)))]);
    clearTimeout(timer);
    await this.#worker.terminate();
  }

  #crash() {
    return this.#crashes === 0 || this.#failing === null
      ? null
      : { code: 'fault', text: this.#failing, attempts: this.#crashes, wall_ms: Date.now() };
  }

  #start(): Worker {
    const worker = new Worker(threadFile('forwarder'), {
      workerData: this.#options,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      // What libraries print must not mix with the lines of the service.
      stdout: true,
      stderr: true,
    });
    worker.stdout.resume();
    worker.stderr.resume();
    worker.unref();
    worker.on('message', (message: Message) => this.#told(message));
    let reason = 'its thread ended';
    worker.on('error', (error: unknown) => {
      reason = `its thread ended: ${error instanceof Error ? error.message : String(error)}`;
    });
    worker.on('exit', () => {
      this.#ended();
      if (this.#stopped) return;
      this.#crashes += 1;
      this.#fail(reason);
      setTimeout(() => {
        if (!this.#stopped) this.#worker = this.#start();
      }, backOff(this.#crashes)).unref();
    });
    return worker;
  }

  #told({ state, sent, diverged, ended }: Message): void {
    if (ended === true) this.#ended();
    if (sent !== undefined) this.#events.sent(sent);
    if (diverged !== undefined) this.#events.diverged(diverged);
    if (state === undefined) return;
    this.#state = state;
    if (state.error !== null) this.#fail(state.error.text);
    else if (state.state === 'current' || state.state === 'forwarding') this.#fail(null);
  }

  /** Told at changes only: an outage of a day is two lines. */
  #fail(reason: string | null): void {
    if ((reason === null) !== (this.#failing === null)) this.#events.failing(reason);
    this.#failing = reason;
    if (reason === null) this.#crashes = 0;
  }
}
