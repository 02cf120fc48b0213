// A connection to the monitor of one QEMU: commands with their answers, and the events between them, over a unix socket.
// What comes in is bounded and checked: a line that is too long or says nothing ends the connection, an answer that does
// not come in time fails its command, and whatever is still open when the monitor goes fails, too.
import { createConnection, type Socket } from 'node:net';
import { Observable, Subject } from 'rxjs';
import { type CutLine, LineCutter } from '../line-cutter.ts';
import { isObject, type QmpMessage, readQmp } from './qmp.ts';

export type QmpEvent = Extract<QmpMessage, { kind: 'event' }>;

/** QEMU refused a command (`refusal` is its error class), or the monitor failed (`refusal` is null). */
export class QmpError extends Error {
  override readonly name = 'QmpError';
  readonly refusal: string | null;
  constructor(text: string, refusal: string | null = null) {
    super(text);
    this.refusal = refusal;
  }
}

/** QEMU itself takes 8 commands before it stops reading. */
const PENDING_MAX = 64;
const LIMIT_MS = 10_000;

interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: QmpError) => void;
  readonly timer: NodeJS.Timeout;
}

const parse = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return null;
  }
};

export class Monitor {
  /** Hot; completes when the monitor goes, whoever ended it. */
  readonly events: Observable<QmpEvent>;
  readonly #events = new Subject<QmpEvent>();
  readonly #pending = new Map<number, Pending>();
  readonly #lines = new LineCutter();
  readonly #socket: Socket;
  #greeted: ((error: QmpError | null) => void) | null = null;
  #last = 0;
  #closed: QmpError | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.events = this.#events.asObservable();
    socket.on('data', (chunk) => this.#lines.push(chunk).forEach((line) => this.#take(line)));
    socket.on('error', ({ message }) => this.#end(message));
    socket.on('close', () => this.#end('QEMU closed it'));
  }

  /** Connects and negotiates. Errors: QmpError when nothing listens, or nothing answers as a monitor within `limit_ms`. */
  static async connect(path: string, limit_ms = LIMIT_MS): Promise<Monitor> {
    const monitor = new Monitor(createConnection(path));
    const limit = setTimeout(() => monitor.#end(`no greeting within ${limit_ms} ms`), limit_ms);
    try {
      await new Promise<void>((resolve, reject) => {
        monitor.#greeted = (error) => (error === null ? resolve() : reject(error));
      });
    } finally {
      clearTimeout(limit);
    }
    await monitor.execute('qmp_capabilities');
    return monitor;
  }

  /** What QEMU returns for a command. Errors: QmpError when it refuses, does not answer in time, or is gone. */
  execute(command: string, parameters: object = {}, limit_ms = LIMIT_MS): Promise<unknown> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    if (this.#pending.size >= PENDING_MAX)
      return Promise.reject(new QmpError(`${command}: ${PENDING_MAX} commands are unanswered`));
    const id = (this.#last += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new QmpError(`${command}: no answer within ${limit_ms} ms`));
      }, limit_ms);
      this.#pending.set(id, { command, resolve, reject, timer });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: parameters, id })}\n`);
    });
  }

  close(): void {
    this.#end('closed');
  }

  #take({ bytes }: CutLine): void {
    if (this.#closed !== null) return;
    if (bytes === null) return this.#end('a line too long');
    const value = parse(bytes);
    const message = readQmp(value);
    if (message === null || !isObject(value)) return this.#end(`not QMP: ${Buffer.from(bytes).toString('utf8', 0, 100).trim()}`);
    switch (message.kind) {
      case 'greeting':
        return this.#greet(null);
      case 'event':
        return this.#events.next(message);
      case 'return':
        return this.#answered(value['id'])?.resolve(value['return']);
      case 'error': {
        const pending = this.#answered(value['id']);
        return pending?.reject(new QmpError(`${pending.command}: ${message.text}`, message.name));
      }
      case 'command':
        return this.#end('a command, where an answer was due');
    }
  }

  /** Undefined for an answer that comes too late, or to a line that QEMU could not read. */
  #answered(id: unknown): Pending | undefined {
    const pending = typeof id === 'number' ? this.#pending.get(id) : undefined;
    if (pending === undefined) return undefined;
    this.#pending.delete(id as number);
    clearTimeout(pending.timer);
    return pending;
  }

  #greet(error: QmpError | null): void {
    this.#greeted?.(error);
    this.#greeted = null;
  }

  #end(why: string): void {
    if (this.#closed !== null) return;
    this.#closed = new QmpError(`the monitor is gone: ${why}`);
    this.#socket.destroy();
    this.#greet(this.#closed);
    for (const { command, reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new QmpError(`${command}: ${this.#closed.message}`));
    }
    this.#pending.clear();
    this.#events.complete();
  }
}
