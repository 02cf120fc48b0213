// The peers of xstate's inspection protocol, over WebSockets. A peer may be a receiver (it gets our pairs as actors, and the
// actors of other peers), an inspector (what it sends goes to the page and to the other peers), or both; like the relay of
// @statelyai/inspect, nobody has to say which. Whoever comes late gets each actor as it is now.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { NetkvmError } from '../../events/errors.ts';
import { MESSAGE_BYTES_MAX, PairActors, parseInspection } from './protocol.ts';
import type { InspectorLimits, Subject } from './subject.ts';

/** Actors of other programs that are remembered for late joiners; the oldest are forgotten. */
const ACTORS_MAX = 64;

interface PeersOptions {
  readonly subject: Subject;
  readonly limits: InspectorLimits;
  readonly onTrouble: (text: string) => void;
}

export interface Peers {
  /** Takes over a connection; false when there are too many. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
  /** Connects to a receiver elsewhere and sends it our pairs. Errors: `inspect.feed`. */
  connect(url: string): Promise<void>;
  /** Tells what other programs' inspectors send, beginning with what is remembered. Returns what ends it. */
  tell(listener: (message: string) => void): () => void;
  close(): void;
}

/** Sends to one peer until it is gone; false once it is, or when it does not read. */
const sendTo = async (peer: WebSocket, message: object, backlog_bytes: number): Promise<boolean> => {
  if (peer.readyState !== WebSocket.OPEN) return false;
  if (peer.bufferedAmount > backlog_bytes) {
    peer.terminate();
    return false;
  }
  const isFull = peer.bufferedAmount > backlog_bytes / 8;
  await new Promise<void>((done) => {
    peer.send(JSON.stringify(message), () => done());
    if (!isFull) done();
  });
  return true;
};

/** Sends our pairs: of a file all that happened, of a live log the present state and then what comes. */
const feed = async (peer: WebSocket, { subject, limits }: PeersOptions, signal: AbortSignal): Promise<void> => {
  const actors = new PairActors();
  const head = (await subject.document()).source.kind === 'live' ? await subject.head() : null;
  let isPresent = head === null;
  for await (const { id, event } of subject.events(null, signal)) {
    const messages = actors.take(event);
    for (const message of isPresent ? messages : id === head ? actors.present() : []) {
      if (!(await sendTo(peer, message, limits.backlog_bytes))) return;
    }
    isPresent ||= id === head;
  }
};

export const openPeers = (options: PeersOptions): Peers => {
  const { limits, onTrouble } = options;
  const server = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_BYTES_MAX, perMessageDeflate: false });
  const peers = new Set<WebSocket>();
  const listeners = new Set<(message: string) => void>();
  /** Per actor: how it was announced, and its newest snapshot. */
  const remembered = new Map<string, { actor: string | null; snapshot: string | null }>();

  const remember = (sessionId: string, part: 'actor' | 'snapshot', text: string): void => {
    const known = remembered.get(sessionId) ?? { actor: null, snapshot: null };
    known[part] = text;
    remembered.set(sessionId, known);
    const [oldest] = remembered.keys();
    if (remembered.size > ACTORS_MAX && oldest !== undefined) remembered.delete(oldest);
  };
  const present = (): string[] =>
    [...remembered.values()].flatMap(({ actor, snapshot }) => [actor, snapshot]).filter((text) => text !== null);

  const take = (from: WebSocket, text: string): void => {
    const message = parseInspection(text);
    if (message === null) {
      onTrouble('a peer of the xstate protocol sent something else and was dropped');
      from.close(1007, 'not an inspection message');
      return;
    }
    if (message.type !== '@xstate.event')
      remember(message.sessionId, message.type === '@xstate.actor' ? 'actor' : 'snapshot', text);
    const line = JSON.stringify(message);
    for (const listener of listeners) listener(line);
    for (const peer of peers) {
      if (peer === from || peer.readyState !== WebSocket.OPEN) continue;
      if (peer.bufferedAmount > limits.backlog_bytes) peer.terminate();
      else peer.send(line);
    }
  };

  const join = (peer: WebSocket): void => {
    const gone = new AbortController();
    peers.add(peer);
    peer.on('error', () => {});
    peer.on('close', () => {
      peers.delete(peer);
      gone.abort();
    });
    peer.on('message', (data: Buffer, isBinary) => {
      if (isBinary) peer.close(1003, 'text only');
      else take(peer, data.toString('utf8'));
    });
    for (const text of present()) peer.send(text);
    void feed(peer, options, gone.signal).catch((error: unknown) =>
      onTrouble(error instanceof Error ? error.message : String(error)),
    );
  };

  return {
    accept: (request, socket, head) => {
      if (peers.size >= limits.peers) return false;
      server.handleUpgrade(request, socket, head, join);
      return true;
    },
    connect: (url) =>
      new Promise((done, failed) => {
        const peer = new WebSocket(url, { maxPayload: MESSAGE_BYTES_MAX, perMessageDeflate: false, handshakeTimeout: 5000 });
        peer.once('error', (error) => failed(new NetkvmError('inspect.feed', `${url}: ${error.message}`, { cause: error })));
        peer.once('open', () => {
          join(peer);
          done();
        });
      }),
    tell: (listener) => {
      for (const text of present()) listener(JSON.stringify(JSON.parse(text)));
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => {
      for (const peer of peers) peer.terminate();
      server.close();
    },
  };
};
