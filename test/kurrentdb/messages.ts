// The protocol's messages, made and taken apart with the definitions that the client itself was generated from.
import anyPb from 'google-protobuf/google/protobuf/any_pb.js';
import emptyPb from 'google-protobuf/google/protobuf/empty_pb.js';
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import persistentPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/persistentsubscriptions_pb.js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import statusPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/status_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import { MAX_APPEND_BYTES, type Answer, type Expected, type Proposed, type Stored } from './store.ts';

export { persistentPb, sharedPb, streamsPb };
type Uuid = InstanceType<typeof sharedPb.UUID>;

/** An error of a call, with what the client reads of it: the trailers `exception` and what belongs to it. */
export const failure = (code: status, details: string, trailers: Record<string, string> = {}): ServiceError => {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(trailers)) metadata.add(name, value);
  return Object.assign(new Error(details), { code, details, metadata });
};

export const nameIn = (identifier: InstanceType<typeof sharedPb.StreamIdentifier> | undefined): string =>
  Buffer.from(identifier?.getStreamName_asU8() ?? new Uint8Array()).toString();

export const identifierOf = (name: string) => {
  const identifier = new sharedPb.StreamIdentifier();
  identifier.setStreamName(Buffer.from(name));
  return identifier;
};

export const textOfUuid = (uuid: Uuid | undefined): string => {
  const structured = uuid?.getStructured();
  if (structured === undefined) return uuid?.getString() ?? '';
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64BE(BigInt(structured.getMostSignificantBits()), 0);
  bytes.writeBigInt64BE(BigInt(structured.getLeastSignificantBits()), 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
};

const uuidOf = (text: string, structured: boolean): Uuid => {
  const uuid = new sharedPb.UUID();
  if (!structured) {
    uuid.setString(text);
    return uuid;
  }
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  const both = new sharedPb.UUID.Structured();
  both.setMostSignificantBits(bytes.readBigInt64BE(0).toString());
  both.setLeastSignificantBits(bytes.readBigInt64BE(8).toString());
  uuid.setStructured(both);
  return uuid;
};

interface ProposedMessage {
  getId(): Uuid | undefined;
  getMetadataMap(): { get(key: string): string | undefined };
  getData_asU8(): Uint8Array;
  getCustomMetadata_asU8(): Uint8Array;
}
export const proposed = (message: ProposedMessage): Proposed => ({
  id: textOfUuid(message.getId()),
  type: message.getMetadataMap().get('type') ?? '',
  json: message.getMetadataMap().get('content-type') === 'application/json',
  data: message.getData_asU8(),
  metadata: message.getCustomMetadata_asU8(),
});

interface ExpectedOptions {
  hasNoStream(): boolean;
  hasAny(): boolean;
  hasStreamExists(): boolean;
}
export const expectedOf = (options: ExpectedOptions | undefined, revision: string | undefined): Expected => {
  if (options?.hasNoStream() === true) return 'none';
  if (options?.hasStreamExists() === true) return 'exists';
  return options === undefined || options.hasAny() ? 'any' : Number(revision);
};

const TICKS_PER_MS = 10_000n;

interface RecordMessage {
  setId(value: Uuid): void;
  setStreamIdentifier(value: InstanceType<typeof sharedPb.StreamIdentifier>): void;
  setStreamRevision(value: string): void;
  setPreparePosition(value: string): void;
  setCommitPosition(value: string): void;
  getMetadataMap(): { set(key: string, value: string): unknown };
  setData(value: Uint8Array): void;
  setCustomMetadata(value: Uint8Array): void;
}
const fill = <M extends RecordMessage>(message: M, event: Stored, structured: boolean): M => {
  message.setId(uuidOf(event.id, structured));
  message.setStreamIdentifier(identifierOf(event.stream));
  message.setStreamRevision(String(event.revision));
  message.setPreparePosition(String(event.position));
  message.setCommitPosition(String(event.position));
  const map = message.getMetadataMap();
  map.set('type', event.type);
  map.set('content-type', event.json ? 'application/json' : 'application/octet-stream');
  map.set('created', String(BigInt(Math.round(event.created_ms)) * TICKS_PER_MS));
  message.setData(event.data);
  message.setCustomMetadata(event.metadata);
  return message;
};

/** An event, or a link with its target (undefined where that is gone). */
export interface Shown {
  readonly event: Stored | undefined;
  readonly link: Stored | undefined;
}

export const readEvent = ({ event, link }: Shown, structured: boolean) => {
  const shown = new streamsPb.ReadResp.ReadEvent();
  const place = link ?? event;
  if (event !== undefined) shown.setEvent(fill(new streamsPb.ReadResp.ReadEvent.RecordedEvent(), event, structured));
  if (link !== undefined) shown.setLink(fill(new streamsPb.ReadResp.ReadEvent.RecordedEvent(), link, structured));
  if (place !== undefined) shown.setCommitPosition(String(place.position));
  const response = new streamsPb.ReadResp();
  response.setEvent(shown);
  return response;
};

export const persistentEvent = ({ event, link }: Shown, structured: boolean, retries: number) => {
  const shown = new persistentPb.ReadResp.ReadEvent();
  if (event !== undefined) shown.setEvent(fill(new persistentPb.ReadResp.ReadEvent.RecordedEvent(), event, structured));
  if (link !== undefined) shown.setLink(fill(new persistentPb.ReadResp.ReadEvent.RecordedEvent(), link, structured));
  if (event !== undefined) shown.setCommitPosition(String(event.position));
  shown.setRetryCount(retries);
  const response = new persistentPb.ReadResp();
  response.setEvent(shown);
  return response;
};

const packed = (message: { serializeBinary(): Uint8Array }, name: string) => {
  const any = new anyPb.Any();
  any.pack(message.serializeBinary(), `event_store.client.${name}`);
  return any;
};

/** The answer to one batch, as BatchAppend gives it. */
export const batchAnswer = (answer: Answer, correlation: Uuid, name: string, expected: Expected) => {
  const response = new streamsPb.BatchAppendResp();
  response.setCorrelationId(correlation);
  response.setStreamIdentifier(identifierOf(name));
  if (answer.kind === 'done') {
    const success = new streamsPb.BatchAppendResp.Success();
    success.setCurrentRevision(String(answer.revision));
    const position = new sharedPb.AllStreamPosition();
    position.setCommitPosition(String(answer.position));
    position.setPreparePosition(String(answer.position));
    success.setPosition(position);
    response.setSuccess(success);
    return response;
  }
  const error = new statusPb.Status();
  error.setMessage(answer.kind);
  error.setDetails(details(answer, name, expected));
  response.setError(error);
  return response;
};

const details = (answer: Exclude<Answer, { kind: 'done' }>, name: string, expected: Expected) => {
  if (answer.kind === 'tombstoned') {
    const deleted = new sharedPb.StreamDeleted();
    deleted.setStreamIdentifier(identifierOf(name));
    return packed(deleted, 'StreamDeleted');
  }
  if (answer.kind === 'tooLarge') {
    const large = new sharedPb.MaximumAppendSizeExceeded();
    large.setMaxappendsize(MAX_APPEND_BYTES);
    return packed(large, 'MaximumAppendSizeExceeded');
  }
  const wrong = new sharedPb.WrongExpectedVersion();
  if (answer.current < 0) wrong.setCurrentNoStream(new emptyPb.Empty());
  else wrong.setCurrentStreamRevision(String(answer.current));
  if (expected === 'none') wrong.setExpectedNoStream(new emptyPb.Empty());
  else if (expected === 'exists') wrong.setExpectedStreamExists(new emptyPb.Empty());
  else if (expected === 'any') wrong.setExpectedAny(new emptyPb.Empty());
  else wrong.setExpectedStreamPosition(String(expected));
  return packed(wrong, 'WrongExpectedVersion');
};

/** A batch that the server gave up on: written or not, its client cannot know. */
export const batchTimeout = (correlation: Uuid, name: string) => {
  const response = new streamsPb.BatchAppendResp();
  response.setCorrelationId(correlation);
  response.setStreamIdentifier(identifierOf(name));
  const error = new statusPb.Status();
  error.setMessage('Timeout');
  error.setDetails(packed(new sharedPb.Timeout(), 'Timeout'));
  response.setError(error);
  return response;
};

/** The answer to Append: success and a wrong expectation are messages, the rest are errors of the call. */
export const appendAnswer = (answer: Answer, name: string, expected: Expected) => {
  if (answer.kind === 'tombstoned')
    throw failure(status.FAILED_PRECONDITION, 'stream deleted', { exception: 'stream-deleted', 'stream-name': name });
  if (answer.kind === 'tooLarge')
    throw failure(status.INVALID_ARGUMENT, 'too large', {
      exception: 'maximum-append-size-exceeded',
      'maximum-append-size': String(MAX_APPEND_BYTES),
    });
  const response = new streamsPb.AppendResp();
  if (answer.kind === 'done') {
    const success = new streamsPb.AppendResp.Success();
    success.setCurrentRevision(String(answer.revision));
    const position = new streamsPb.AppendResp.Position();
    position.setCommitPosition(String(answer.position));
    position.setPreparePosition(String(answer.position));
    success.setPosition(position);
    response.setSuccess(success);
    return response;
  }
  const wrong = new streamsPb.AppendResp.WrongExpectedVersion();
  if (answer.current < 0) wrong.setCurrentNoStream(new sharedPb.Empty());
  else wrong.setCurrentRevision(String(answer.current));
  if (expected === 'none') wrong.setExpectedNoStream(new sharedPb.Empty());
  else if (expected === 'exists') wrong.setExpectedStreamExists(new sharedPb.Empty());
  else if (expected === 'any') wrong.setExpectedAny(new sharedPb.Empty());
  else wrong.setExpectedRevision(String(expected));
  response.setWrongExpectedVersion(wrong);
  return response;
};
