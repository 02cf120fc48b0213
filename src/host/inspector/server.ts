// The inspector's server: the page, its stream of events, and the socket for xstate's inspectors. It only reads, listens on
// the loopback device alone, and answers nobody who does not know the random word in its URL:
//
//   /WORD/         the page            /WORD/events   events as they come (Server-Sent Events)
//   /WORD/xstate   a WebSocket for @statelyai/inspect: its receivers get our pairs, its inspectors' actors go to the page
//
// A page of another site in the same browser is refused by Host (against DNS rebinding) and Origin.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { NetkvmError } from '../../events/errors.ts';
import { pageOf } from './html.ts';
import { openPeers } from './peers.ts';
import { INSPECTOR_LIMITS, type InspectorLimits, type Subject } from './subject.ts';

export interface InspectorOptions {
  readonly subject: Subject;
  /** 0: any free port. */
  readonly port: number;
  /** The word in the URL; random unless given. */
  readonly word?: string;
  /** Origins of other pages that may connect to the xstate socket. */
  readonly origins?: readonly string[];
  readonly limits?: Partial<InspectorLimits>;
  /** What went wrong with one client; the others do not notice. */
  readonly onTrouble?: (text: string) => void;
}

export interface Inspector {
  readonly url: string;
  /** For inspectors and receivers of @statelyai/inspect. */
  readonly socketUrl: string;
  /** Sends our pairs to a receiver of the xstate protocol elsewhere on this machine. Errors: `inspect.feed`. */
  feed(url: string): Promise<void>;
  close(): Promise<void>;
}

const HOSTS = ['127.0.0.1', 'localhost'] as const;

const isSame = (one: string, other: string): boolean => {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
};

const HEADERS = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const;

const refuse = (response: ServerResponse, status: number, text: string): void => {
  response.writeHead(status, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close' });
  response.end(`${text}\n`);
};

/** Waits until the client has room again; false when it takes too long or is gone. */
const drained = (response: ServerResponse, unread_ms: number): Promise<boolean> =>
  new Promise((done) => {
    const timer = setTimeout(() => finish(false), unread_ms);
    const finish = (result: boolean): void => {
      clearTimeout(timer);
      response.off('drain', onDrain);
      response.off('close', onClose);
      done(result);
    };
    const onDrain = (): void => finish(true);
    const onClose = (): void => finish(false);
    response.on('drain', onDrain);
    response.on('close', onClose);
  });

/** Opens the server. Errors: `inspect.unusable`. */
export const openInspector = async (options: InspectorOptions): Promise<Inspector> => {
  const { subject, onTrouble = () => {} } = options;
  const limits: InspectorLimits = { ...INSPECTOR_LIMITS, ...options.limits };
  const word = options.word ?? randomBytes(18).toString('base64url');
  const pages = new Set<ServerResponse>();
  const peers = openPeers({ subject, limits, onTrouble });
  const closing = new AbortController();
  let port = 0;

  const hostNames = (): string[] => HOSTS.map((name) => `${name}:${port}`);
  /** What a request asks for below the word; null (and why) when it is not to be answered. */
  const admitted = (request: IncomingMessage): { readonly path: string; readonly query: URLSearchParams } | string => {
    const { host, origin } = request.headers;
    if (host === undefined || !hostNames().includes(host)) return 'This server answers only under its own name.';
    const { pathname, searchParams } = new URL(request.url ?? '/', `http://${host}`);
    const [, given = '', ...rest] = pathname.split('/');
    if (!isSame(given, word)) return 'The URL lacks the word that netkvm inspect has printed.';
    const own = hostNames().map((name) => `http://${name}`);
    const allowed = rest[0] === 'xstate' ? [...own, ...(options.origins ?? [])] : own;
    if (origin !== undefined && !allowed.includes(origin)) return 'Pages of other origins are not answered.';
    return { path: rest.join('/'), query: searchParams };
  };

  const stream = async (request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Promise<void> => {
    if (pages.size >= limits.pages) return refuse(response, 503, `${limits.pages} pages follow already.`);
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    response.on('close', () => gone.abort());
    response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream; charset=utf-8' });
    response.write('retry: 1000\n\n');
    pages.add(response);
    const alive = setInterval(() => response.write(': still here\n\n'), limits.silence_ms);
    const forget = peers.tell((message) => {
      if (response.writableLength < limits.backlog_bytes) response.write(`event: actor\ndata: ${message}\n\n`);
    });
    const last = request.headers['last-event-id'];
    try {
      for await (const { id, event } of subject.events(typeof last === 'string' ? last : query.get('after'), signal)) {
        const isFull = !response.write(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`);
        if (isFull && !(await drained(response, limits.unread_ms))) break;
      }
      // A file has ended, but its page still hears of other programs' actors.
      if (!signal.aborted && !response.writableNeedDrain)
        await new Promise<void>((done) => signal.addEventListener('abort', () => done()));
    } catch (error) {
      onTrouble(error instanceof Error ? error.message : String(error));
    } finally {
      clearInterval(alive);
      forget();
      pages.delete(response);
      response.destroy();
    }
  };

  const page = async (response: ServerResponse): Promise<void> => {
    try {
      const { html, policy } = await pageOf(await subject.document());
      response.writeHead(200, {
        ...HEADERS,
        'Content-Type': 'text/html; charset=utf-8',
        'Content-Security-Policy': `${policy}; frame-ancestors 'none'`,
      });
      response.end(html);
    } catch (error) {
      onTrouble(error instanceof Error ? error.message : String(error));
      refuse(response, 500, 'The page could not be made; netkvm inspect says why.');
    }
  };

  const server = createServer({ maxHeaderSize: 16_384 }, (request, response) => {
    const asked = admitted(request);
    if (typeof asked === 'string') return refuse(response, 403, asked);
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'This server is read-only.');
    if (asked.path === '') return void page(response);
    if (asked.path === 'events') return void stream(request, response, asked.query);
    return refuse(response, 404, 'There is nothing here.');
  });
  server.maxConnections = limits.connections;
  server.headersTimeout = 10_000;
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    const asked = admitted(request);
    if (typeof asked === 'string' || asked.path !== 'xstate' || !peers.accept(request, socket, head))
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
  });
  await new Promise<void>((done, failed) => {
    server.once('error', (error) =>
      failed(new NetkvmError('inspect.unusable', `port ${options.port}: ${error.message}`, { cause: error })),
    );
    server.listen(options.port, '127.0.0.1', done);
  });
  server.on('error', (error) => onTrouble(error.message));
  ({ port } = server.address() as AddressInfo);
  return {
    url: `http://127.0.0.1:${port}/${word}/`,
    socketUrl: `ws://127.0.0.1:${port}/${word}/xstate`,
    feed: (url) => peers.connect(url),
    close: () =>
      new Promise((done) => {
        closing.abort();
        peers.close();
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
};
