// An event of a log as an event of a KurrentDB stream, and back. One stream a log id: a cloned or reverted guest has its
// own. Type, id and data are the event's; the envelope is flat metadata, with the two names by which KurrentDB's
// projections follow a story: $correlationId (the failover episode) and $causationId (the id of the event that led to
// this one). What comes back was written by anybody: it is checked like everything else.
import type { EventData, ResolvedEvent } from '@kurrent/kurrentdb-client';
import { dataProblem, envelopeProblem, eventTypeOf, isSeq } from '../../events/check.ts';
import { SCHEMA_VERSION, type RecordedEvent } from '../../events/envelope.ts';
import { lift } from '../../events/recording.ts';

/** The category of all streams, as KurrentDB's $by_category cuts it: what stands before the first hyphen. */
export const CATEGORY = 'netkvm';
export const STREAM_PREFIX = `${CATEGORY}-`;
export const streamOf = (logId: string): string => STREAM_PREFIX + logId;

export interface Labels {
  /** Name of the machine, for filters and projections. */
  readonly vm: string;
  /** Id of an earlier event of the log, where it is known. */
  readonly idOf: (seq: number) => string | undefined;
}

/** The pair that an event speaks of, by its MAC. */
const pairOf = (data: object): string | undefined => ('pair' in data && typeof data.pair === 'string' ? data.pair : undefined);

/** `logId` is the stream's: an event from before a clone keeps its own. */
export const toServer = (event: RecordedEvent, logId: string, { vm, idOf }: Labels): EventData => {
  const { id, type, data, seq, v, bootId, mono_ns, boot_ns, wall_ns, cause, episode } = event;
  const causation = cause === null ? undefined : idOf(cause);
  const pair = pairOf(data);
  const metadata = {
    ...(episode === null ? {} : { $correlationId: `${logId}/${episode}` }),
    ...(causation === undefined ? {} : { $causationId: causation }),
    seq,
    v,
    vm,
    ...(pair === undefined ? {} : { pair }),
    ...(event.logId === logId ? {} : { logId: event.logId }),
    bootId,
    mono_ns,
    boot_ns,
    wall_ns,
    cause,
    episode,
  };
  return { id, type, contentType: 'application/json', data: data as EventData['data'], metadata } as EventData;
};

/** An event as a reader of the fleet gets it. */
export interface FleetEvent {
  readonly event: RecordedEvent;
  /** The stream's log id: where the guest's story is told. */
  readonly logId: string;
  readonly vm: string;
  readonly revision: bigint;
}

const isName = (value: unknown): value is string => typeof value === 'string' && value.length > 0 && value.length <= 256;

/** The event in a record of the server; a text says why it is none of ours. */
export const fromServer = (record: NonNullable<ResolvedEvent['event']>): FleetEvent | string => {
  const { streamId, id, type: written, data: raw, revision } = record;
  if (!streamId.startsWith(STREAM_PREFIX)) return `stream ${streamId.slice(0, 100)} is not of this program`;
  const at = `${streamId.slice(0, 100)} ${revision}`;
  const meta = record.metadata as Readonly<Record<string, unknown>> | undefined;
  if (typeof meta !== 'object' || meta instanceof Uint8Array) return `${at}: no metadata`;
  const { seq, v, bootId, vm, mono_ns, boot_ns, wall_ns, cause = null, episode = null } = meta;
  const streamLog = streamId.slice(STREAM_PREFIX.length);
  const logId = meta['logId'] ?? streamLog;
  if (!isSeq(seq) || !isSeq(v) || !isName(bootId) || !isName(logId)) return `${at}: seq, v, bootId or logId is not valid`;
  if (v > SCHEMA_VERSION) return `${at}: event schema version ${v}, this program knows ${SCHEMA_VERSION}`;
  const { type, data } = lift({ type: written, data: raw }, v);
  const known = eventTypeOf(String(type));
  const envelope = { id, mono_ns, boot_ns, wall_ns, cause, episode };
  const problem = envelopeProblem(envelope, seq) ?? dataProblem(known ?? String(type), data);
  if (problem !== null) return `${at}: ${problem}`;
  const event = { seq, type: known, ...envelope, v: SCHEMA_VERSION, logId, bootId, data } as unknown as RecordedEvent;
  return { event, logId: streamLog, vm: isName(vm) ? vm : '', revision };
};
