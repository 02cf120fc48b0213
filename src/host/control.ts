// The service's control socket: one JSON object a line, `{"id":1,"request":"status","params":{}}` answered by
// `{"id":1,"result":{…}}` or `{"id":1,"error":{"code":"…","text":"…"}}`; a subscription gives `{"id":1,"item":{…}}` lines and
// then `{"id":1,"end":true}`. A client's requests are answered one after the other, in order. A subscription ends when its
// client closes its side.
//
// Who may connect is decided by the file system alone: the socket has mode 0600 in a folder that only its owner (or root)
// may write, so a peer has the service's uid or is root. Nothing that a client does may harm the service: lines,
// clients, pending requests, unread answers, silence and nonsense are all limited (control-lines.ts).
import { lstatSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { NetkvmError } from '../events/errors.ts';
import { ping } from './control-client.ts';
import { CONTROL_LIMITS, lineCutter, parseObject, type ControlLimits, type JsonObject } from './control-lines.ts';

/** Answers one request; an AsyncIterable is streamed. `signal` aborts when the client is gone. Throws NetkvmError to refuse. */
export type Handler = (params: JsonObject, signal: AbortSignal) => Promise<object | AsyncIterable<object>>;
export type Handlers = Readonly<Record<string, Handler>>;

export interface Control {
  readonly path: string;
  /** Number of connected clients. */
  clients(): number;
  /** Stops listening, drops the clients, removes the socket. */
  close(): Promise<void>;
}

interface ControlOptions {
  readonly path: string;
  readonly handlers: Handlers;
  readonly limits?: Partial<ControlLimits>;
  /** Told about a client that was dropped, and why. */
  readonly onDropped?: (reason: string) => void;
  /** A handler threw something that is no NetkvmError: a fault of ours that the client sees only as such. */
  readonly onFault?: (error: unknown) => void;
}

/** sun_path of sockaddr_un holds 108 bytes with the closing zero, unix(7). */
const PATH_BYTES_MAX = 107;
/** How long a service that already listens may take to say who it is. */
const PING_LIMIT_MS = 1000;

const isStream = (value: object): value is AsyncIterable<object> => Symbol.asyncIterator in value;

/** One connected client: reads lines, answers them in order, and gives up on it at the first limit that it breaks. */
const serve = (socket: Socket, options: ControlOptions, limits: ControlLimits): void => {
  const gone = new AbortController();
  const queue: Buffer[] = [];
  let working = false;
  let ended = false;
  let streaming = false;
  let garbage = 0;

  const drop = (reason: string): void => {
    if (gone.signal.aborted) return;
    options.onDropped?.(reason);
    gone.abort();
    socket.destroy();
  };

  /** Writes a line and waits until the client has room for more; drops it when that takes too long. */
  const send = async (message: object): Promise<void> => {
    if (gone.signal.aborted || socket.write(`${JSON.stringify(message)}\n`)) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(() => drop('it does not read its answers'), limits.unread_ms);
      const finish = (): void => {
        clearTimeout(timer);
        socket.off('drain', finish);
        gone.signal.removeEventListener('abort', finish);
        done();
      };
      socket.on('drain', finish);
      gone.signal.addEventListener('abort', finish);
    });
  };

  /** Says what was wrong with a request; after too many of them, hangs up. */
  const refuse = async (id: unknown, text: string): Promise<void> => {
    garbage += 1;
    await send({ id, error: { code: 'control.request', text } });
    if (garbage >= limits.garbage) drop('too many requests that make no sense');
  };

  const stream = async (id: unknown, items: AsyncIterable<object>): Promise<void> => {
    streaming = true;
    // The client has nothing to say meanwhile, so its silence is no reason to drop it.
    socket.setTimeout(0);
    const iterator = items[Symbol.asyncIterator]();
    const left = new Promise<null>((done) => {
      gone.signal.addEventListener('abort', () => done(null));
    });
    if (ended) gone.abort();
    while (!gone.signal.aborted) {
      const next = await Promise.race([iterator.next(), left]);
      if (next === null || next.done) break;
      await send({ id, item: next.value });
    }
    streaming = false;
    if (gone.signal.aborted) {
      socket.destroy();
      void Promise.resolve(iterator.return?.()).catch((error: unknown) => options.onFault?.(error));
      return;
    }
    await send({ id, end: true });
    socket.setTimeout(limits.idle_ms);
  };

  const answer = async (line: Buffer): Promise<void> => {
    const message = parseObject(line);
    const id = typeof message?.['id'] === 'string' || typeof message?.['id'] === 'number' ? message['id'] : null;
    const request = message?.['request'];
    const params = message?.['params'] ?? {};
    if (message === null || typeof request !== 'string')
      return refuse(id, 'a request is a JSON object with id, request and params');
    if (typeof params !== 'object' || Array.isArray(params)) return refuse(id, 'params must be an object');
    if (!Object.hasOwn(options.handlers, request))
      return refuse(id, `there is no request ${JSON.stringify(request.slice(0, 64))}`);
    try {
      const result = await options.handlers[request]!(params as JsonObject, gone.signal);
      await (isStream(result) ? stream(id, result) : send({ id, result }));
    } catch (error) {
      if (error instanceof NetkvmError) return send({ id, error: { code: error.code, text: error.message } });
      options.onFault?.(error);
      await send({ id, error: { code: 'fault', text: 'internal fault of the service; its log lines say more' } });
    }
  };

  const work = async (): Promise<void> => {
    if (working) return;
    working = true;
    for (let line = queue.shift(); line !== undefined && !gone.signal.aborted; line = queue.shift()) {
      await answer(line);
    }
    working = false;
    if (ended && !gone.signal.aborted) socket.end();
  };

  const cutter = lineCutter(limits.line_bytes, (line) => {
    if (line.length === 0) return;
    if (queue.length >= limits.pending) drop('too many requests ahead of their answers');
    else queue.push(line);
  });
  socket.setTimeout(limits.idle_ms, () => {
    if (!working) drop('it is silent');
  });
  socket.on('error', () => {});
  socket.on('close', () => gone.abort());
  socket.on('end', () => {
    ended = true;
    if (streaming) {
      gone.abort();
      return;
    }
    // A plain request still gets its answer: `echo … | nc -U` ends its side at once.
    const rest = cutter.rest();
    if (rest.length > 0) queue.push(rest);
    void work();
  });
  socket.on('data', (chunk: Buffer) => {
    if (gone.signal.aborted) return;
    if (cutter.push(chunk)) {
      void work();
    } else {
      socket.write(
        `${JSON.stringify({ id: null, error: { code: 'control.request', text: `a line is at most ${limits.line_bytes} bytes` } })}\n`,
      );
      drop('a line is too long');
    }
  });
};

/** Refuses a place that others could tamper with: the folder must belong to us or root, and only its owner may write it. */
const prepareFolder = (path: string): void => {
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(folder);
    const foreign = uid !== 0 && uid !== process.geteuid?.();
    const open = (mode & 0o022) !== 0 && (mode & 0o1000) === 0;
    if (!foreign && !open) return;
  } catch (error) {
    throw new NetkvmError('control.unusable', `${folder}: ${(error as Error).message}`, { cause: error });
  }
  throw new NetkvmError('control.unusable', `${folder} could be changed by other users`);
};

/** A named pipe of Windows: it has no folder, and goes with its process. */
const isPipe = (path: string): boolean => path.startsWith('\\\\.\\pipe\\');

/** Throws `log.locked` where a live service listens. */
const mustBeFree = async (path: string): Promise<void> => {
  const answer = await ping(path, PING_LIMIT_MS);
  if (!answer.alive) return;
  const who = answer.pid === null ? 'a process that does not answer' : `process ${answer.pid}`;
  throw new NetkvmError('log.locked', `another service listens at ${path}: ${who}`);
};

/** Makes room at `path`: removes the socket of a dead service; a live one, or anything that is no socket, is an error. */
const clearPath = async (path: string): Promise<void> => {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new NetkvmError('control.unusable', `${path} exists and is not a socket`);
  await mustBeFree(path);
  rmSync(path, { force: true });
};

/** listen(2) with the mode of the socket fixed from the first moment on; Node binds within the call. */
const listen = (server: Server, path: string): Promise<void> =>
  new Promise((done, failed) => {
    server.once('error', failed);
    server.once('listening', () => {
      server.off('error', failed);
      done();
    });
    const before = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(before);
    }
  });

/**
 * Opens the control socket. Take the log's lock first: it is what keeps two services apart, this only notices.
 * Errors: `log.locked` when a live service listens there, `control.unusable`.
 */
export const openControl = async (options: ControlOptions): Promise<Control> => {
  const { path } = options;
  const limits = { ...CONTROL_LIMITS, ...options.limits };
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new NetkvmError('control.unusable', `${path} is longer than the ${PATH_BYTES_MAX} bytes that a socket's path may have`);
  }
  if (process.platform === 'win32' && !isPipe(path))
    throw new NetkvmError('control.unusable', `${path} is no named pipe, which is what Windows has: \\\\.\\pipe\\NAME`);
  if (isPipe(path)) await mustBeFree(path);
  else {
    prepareFolder(path);
    await clearPath(path);
  }
  const handlers: Handlers = { ...options.handlers, ping: async () => ({ pid: process.pid }) };
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (sockets.size >= limits.clients) {
      socket.on('error', () => {});
      socket.end(
        `${JSON.stringify({ id: null, error: { code: 'control.busy', text: `${limits.clients} clients are connected` } })}\n`,
      );
      socket.destroySoon();
      options.onDropped?.('too many clients');
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, { ...options, handlers }, limits);
  });
  try {
    await listen(server, path);
  } catch (error) {
    throw new NetkvmError('control.unusable', `${path}: ${(error as Error).message}`, { cause: error });
  }
  // accept(2) can fail later (too many open files): the service goes on without that client.
  server.on('error', (error) => options.onFault?.(error));
  return {
    path,
    clients: () => sockets.size,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
};
