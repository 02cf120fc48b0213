// A stand-in for a KurrentDB server: the services of the client's own generated definitions over the store of store.ts,
// on loopback, with or without TLS and users, as one node or several, with faults on command. It is no KurrentDB: what it
// answers is what the documentation says that KurrentDB answers.
import { type sendUnaryData, type ServerDuplexStream, type ServerReadableStream, type ServerUnaryCall } from '@grpc/grpc-js';
import { Server, ServerCredentials, status, type Metadata } from '@grpc/grpc-js';
import gossipGrpc, { type IGossipServer } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_grpc_pb.js';
import gossipPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/gossip_pb.js';
import persistentGrpc from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/persistentsubscriptions_grpc_pb.js';
import featuresGrpc, {
  type IServerFeaturesServer,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_grpc_pb.js';
import featuresPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/serverfeatures_pb.js';
import streamsGrpc, { type IStreamsServer } from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_grpc_pb.js';
import { Groups } from './groups.ts';
import {
  appendAnswer,
  batchAnswer,
  batchTimeout,
  expectedOf,
  failure,
  nameIn,
  proposed,
  sharedPb,
  streamsPb,
} from './messages.ts';
import { serveRead } from './reading.ts';
import type { Expected, Proposed, Store } from './store.ts';

/** What goes wrong, until it is set back. Counts run down. */
export interface Faults {
  /** Every call fails so. */
  refuse: 'unavailable' | 'accessDenied' | 'notLeader' | null;
  /** Every answer comes this much later. */
  delay_ms: number;
  /** Calls are taken and never answered. */
  hang: boolean;
  /** So many appends are done, and then the connection's stream is cut instead of an answer. */
  loseAnswers: number;
  /** So many appends are done, and then answered by a time-out. */
  timeOut: number;
  /** Reads and subscriptions are cut after so many events each. */
  cutAfter: number | null;
  /** The server does not say what it can (an old one): the client appends without batches. */
  old: boolean;
}
export const NO_FAULTS: Faults = {
  refuse: null,
  delay_ms: 0,
  hang: false,
  loseAnswers: 0,
  timeOut: 0,
  cutAfter: null,
  old: false,
};

export interface Security {
  /** PEM texts; with `clientCa` a client must show a certificate of it. */
  readonly key: string;
  readonly cert: string;
  readonly clientCa?: string;
  /** Passwords by user; none means that anybody may do everything. */
  readonly users?: Readonly<Record<string, string>>;
}

/** What the nodes of a cluster know of each other. */
export interface Cluster {
  leader: number;
  readonly ports: number[];
}

type Streams = InstanceType<typeof streamsPb.BatchAppendReq>;
const VERSION = '25.0.0';

export class Node {
  faults: Faults = { ...NO_FAULTS };
  /** Calls by method, for tests that count attempts. */
  readonly calls = new Map<string, number>();
  readonly #store: Store;
  readonly #groups: Groups;
  readonly #security: Security | null;
  readonly #cluster: Cluster;
  readonly #index: number;
  #server: Server | null = null;
  #port = 0;

  constructor(store: Store, groups: Groups, security: Security | null, cluster: Cluster, index: number) {
    this.#store = store;
    this.#groups = groups;
    this.#security = security;
    this.#cluster = cluster;
    this.#index = index;
  }

  /** Listens, on the port that it had before; returns the port. */
  async start(): Promise<number> {
    if (this.#server !== null) return this.#port;
    const server = new Server({ 'grpc.max_receive_message_length': 32 * 1024 * 1024 });
    this.#serve(server);
    this.#port = await new Promise<number>((done, fail) => {
      server.bindAsync(`127.0.0.1:${this.#port}`, this.#credentials(), (error, port) => {
        if (error === null) done(port);
        else fail(error);
      });
    });
    this.#server = server;
    this.#cluster.ports[this.#index] = this.#port;
    return this.#port;
  }

  /** As if the process died: connections are cut. What was stored stays. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = null;
  }

  /** Ends the calls that run, as a node does that is leader no longer. */
  restart(): Promise<number> {
    this.stop();
    return this.start();
  }

  #credentials(): ServerCredentials {
    if (this.#security === null) return ServerCredentials.createInsecure();
    const { key, cert, clientCa } = this.#security;
    const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
    return ServerCredentials.createSsl(clientCa === undefined ? null : Buffer.from(clientCa), [pair], clientCa !== undefined);
  }

  /** What every call meets first: null to go on, otherwise how it fails; `hang` for no answer at all. */
  async #gate(method: string, metadata: Metadata): Promise<ReturnType<typeof failure> | null> {
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    if (this.faults.delay_ms > 0) await new Promise((done) => setTimeout(done, this.faults.delay_ms));
    if (this.faults.hang) await new Promise(() => {});
    const { refuse } = this.faults;
    if (refuse === 'unavailable') return failure(status.UNAVAILABLE, 'Server Is Not Ready');
    // Anybody may ask what a server can and who its nodes are: clients do so before they say who they are.
    const isOpen = method === 'features' || method === 'gossip';
    if (!isOpen && (refuse === 'accessDenied' || !this.#mayCall(metadata)))
      return failure(status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' });
    const wantsLeader = String(metadata.get('requires-leader')[0] ?? '') === 'true';
    if (refuse === 'notLeader' || (wantsLeader && this.#cluster.leader !== this.#index)) return this.#notLeader();
    return null;
  }

  #notLeader() {
    return failure(status.NOT_FOUND, 'Leader info available', {
      exception: 'not-leader',
      'leader-endpoint-host': '127.0.0.1',
      'leader-endpoint-port': String(this.#cluster.ports[this.#cluster.leader]),
    });
  }

  #mayCall(metadata: Metadata): boolean {
    const users = this.#security?.users;
    if (users === undefined) return true;
    const header = String(metadata.get('authorization')[0] ?? '');
    const said = Buffer.from(header.replace(/^Basic /i, ''), 'base64').toString();
    return Object.entries(users).some(([user, password]) => said === `${user}:${password}`);
  }

  #serve(server: Server): void {
    const streams: IStreamsServer = {
      read: (call) => {
        const serve = async () => {
          const refusal = await this.#gate('read', call.metadata);
          if (refusal === null) await serveRead(this.#store, call, () => this.faults.cutAfter);
          else call.emit('error', refusal);
        };
        void serve();
      },
      append: (call, answer) => this.#append(call, answer),
      batchAppend: (call) => this.#batchAppend(call),
      delete: (call, answer) =>
        this.#unary(call, answer, 'delete', ({ request }) => {
          const options = request.getOptions();
          const expected = expectedOf(options, options?.getRevision());
          const result = this.#store.delete(nameIn(options?.getStreamIdentifier()), expected);
          if (result.kind === 'wrong') throw failure(status.FAILED_PRECONDITION, 'wrong', wrongTrailers(request, result.current));
          return new streamsPb.DeleteResp();
        }),
      tombstone: (call, answer) =>
        this.#unary(call, answer, 'tombstone', ({ request }) => {
          this.#store.tombstone(nameIn(request.getOptions()?.getStreamIdentifier()));
          return new streamsPb.TombstoneResp();
        }),
    };
    const features: IServerFeaturesServer = {
      getSupportedMethods: (call, answer) => this.#unary(call, answer, 'features', () => this.#features()),
    };
    const gossip: IGossipServer = { read: (call, answer) => this.#unary(call, answer, 'gossip', () => this.#gossip()) };
    server.addService(streamsGrpc.StreamsService, streams);
    server.addService(featuresGrpc.ServerFeaturesService, features);
    server.addService(gossipGrpc.GossipService, gossip);
    this.#groups.serve(server, persistentGrpc.PersistentSubscriptionsService, (method, metadata) => this.#gate(method, metadata));
  }

  #unary<Q, R>(
    call: ServerUnaryCall<Q, R>,
    answer: sendUnaryData<R>,
    name: string,
    work: (call: ServerUnaryCall<Q, R>) => R,
  ): void {
    const serve = async () => {
      try {
        const refusal = await this.#gate(name, call.metadata);
        if (refusal === null) answer(null, work(call));
        else answer(refusal);
      } catch (error) {
        answer(error as Error);
      }
    };
    void serve();
  }

  #append(
    call: ServerReadableStream<InstanceType<typeof streamsPb.AppendReq>, InstanceType<typeof streamsPb.AppendResp>>,
    answer: sendUnaryData<InstanceType<typeof streamsPb.AppendResp>>,
  ): void {
    let name = '';
    let expected: Expected = 'any';
    const events: Proposed[] = [];
    call.on('data', (request: InstanceType<typeof streamsPb.AppendReq>) => {
      const options = request.getOptions();
      if (options !== undefined) {
        name = nameIn(options.getStreamIdentifier());
        expected = expectedOf(options, options.getRevision());
      }
      const message = request.getProposedMessage();
      if (message !== undefined) events.push(proposed(message));
    });
    call.on('error', () => {});
    call.on('end', () => {
      const serve = async () => {
        const refusal = await this.#gate('append', call.metadata);
        if (refusal !== null) throw refusal;
        const response = appendAnswer(this.#store.append(name, expected, events), name, expected);
        if (this.faults.loseAnswers === 0) return answer(null, response);
        this.faults.loseAnswers -= 1;
        throw failure(status.UNAVAILABLE, 'connection lost');
      };
      serve().catch((error: unknown) => answer(error as Error));
    });
  }

  #batchAppend(call: ServerDuplexStream<Streams, InstanceType<typeof streamsPb.BatchAppendResp>>): void {
    const open = new Map<string, { name: string; expected: Expected; events: Proposed[] }>();
    // One after the other, whatever each waits for: the order of the answers is the order of the batches.
    let last: Promise<unknown> = Promise.resolve();
    call.on('data', (request: Streams) => {
      const correlation = request.getCorrelationId();
      if (correlation === undefined) return;
      const key = Buffer.from(correlation.serializeBinary()).toString('hex');
      const options = request.getOptions();
      if (options !== undefined) {
        const expected = expectedOf(options, options.getStreamPosition());
        open.set(key, { name: nameIn(options.getStreamIdentifier()), expected, events: [] });
      }
      const batch = open.get(key);
      if (batch === undefined) return;
      batch.events.push(...request.getProposedMessagesList().map(proposed));
      if (!request.getIsFinal()) return;
      open.delete(key);
      last = last.then(async () => {
        const refusal = await this.#gate('batchAppend', call.metadata);
        if (refusal !== null) return call.emit('error', refusal);
        const result = this.#store.append(batch.name, batch.expected, batch.events);
        if (this.faults.loseAnswers > 0) {
          this.faults.loseAnswers -= 1;
          return call.emit('error', failure(status.UNAVAILABLE, 'connection lost'));
        }
        if (this.faults.timeOut > 0) {
          this.faults.timeOut -= 1;
          return call.write(batchTimeout(correlation, batch.name));
        }
        return call.write(batchAnswer(result, correlation, batch.name, batch.expected));
      });
    });
    call.on('error', () => {});
    call.on('end', () => void last.then(() => call.end()));
  }

  #features() {
    if (this.faults.old) throw failure(status.UNIMPLEMENTED, 'unknown service');
    const response = new featuresPb.SupportedMethods();
    response.setEventStoreServerVersion(VERSION);
    const add = (service: string, methods: readonly string[], features: readonly string[] = []) => {
      for (const name of methods) {
        const method = new featuresPb.SupportedMethod();
        method.setServiceName(service);
        method.setMethodName(name);
        method.setFeaturesList([...features]);
        response.addMethods(method);
      }
    };
    add('event_store.client.streams.Streams', ['read', 'append', 'batchappend', 'delete', 'tombstone']);
    add(
      'event_store.client.persistent_subscriptions.PersistentSubscriptions',
      ['create', 'update', 'delete', 'read', 'getinfo', 'list', 'replayparked', 'restartsubsystem'],
      ['stream', 'all'],
    );
    return response;
  }

  #gossip() {
    const info = new gossipPb.ClusterInfo();
    for (const [index, port] of this.#cluster.ports.entries()) {
      const member = new gossipPb.MemberInfo();
      const id = new sharedPb.UUID();
      id.setString(`00000000-0000-0000-0000-00000000000${index}`);
      member.setInstanceId(id);
      member.setTimeStamp(String(BigInt(Date.now()) * 10_000n));
      const { LEADER, FOLLOWER } = gossipPb.MemberInfo.VNodeState;
      member.setState(index === this.#cluster.leader ? LEADER : FOLLOWER);
      member.setIsAlive(true);
      const endPoint = new gossipPb.EndPoint();
      endPoint.setAddress('127.0.0.1');
      endPoint.setPort(port);
      member.setHttpEndPoint(endPoint);
      info.addMembers(member);
    }
    return info;
  }
}

const wrongTrailers = (request: InstanceType<typeof streamsPb.DeleteReq>, current: number) => ({
  exception: 'wrong-expected-version',
  'stream-name': nameIn(request.getOptions()?.getStreamIdentifier()),
  'expected-version': request.getOptions()?.getRevision() ?? '-2',
  'actual-version': String(current),
});
