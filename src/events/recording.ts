// A recording's format: JSON Lines, a header and then one event a line, each line chained to the one before by a hash
// over the bytes written. Pure: bytes, files and hashing are in adapters/log/recording-*.ts.
//
//   {"format":"netkvm-recording","version":1,…,"hash":"<32 hex digits>"}
//   {"seq":1,"id":"…","type":"…",…,"data":{…},"hash":"<32 hex digits>"}
//
// The hash of a line is the first 32 digits of the SHA-256 of everything between the digits of the hash before it and its
// own hash field: `<digits before>"}\n{…,"data":{…}`; of the header, its own bytes up to its hash field. So no byte of a
// file is outside the chain but those after the last hash. logId, bootId and v stand in a line where they change.
import { Type, type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { dataProblem, envelopeProblem, eventTypeOf, isNanoseconds, isSeq } from './check.ts';
import { SCHEMA_VERSION, type RecordedEvent } from './envelope.ts';
import { NetkvmError } from './errors.ts';

export const FORMAT = 'netkvm-recording';
export const FORMAT_VERSION = 1;
/** What a packet meter writes (adapters/losses.ts). */
export const LOSSES_FORMAT = 'netkvm-losses';
export const LOSSES_VERSION = 1;
/** The longest line that is written or read, and the most of it that one event's data may take, in bytes. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024;
export const MAX_DATA_BYTES = MAX_LINE_BYTES - 65_536;
/** The longest header: it is read before anything is known about a file. */
export const MAX_HEADER_BYTES = 1024 * 1024;

export const HASH_DIGITS = 32;
const BEFORE_HASH = ',"hash":"';
const AFTER_HASH = '"}';
/** How many bytes the hash field and the closing brace take at the end of a line, without the newline. */
export const HASH_FIELD_BYTES = BEFORE_HASH.length + HASH_DIGITS + AFTER_HASH.length;
export const hashField = (digits: string): string => `${BEFORE_HASH}${digits}${AFTER_HASH}`;
/** What stands between the digits of one hash and the next line: the part of the chain that belongs to neither. */
export const BETWEEN_LINES = `${AFTER_HASH}\n`;

const Id = Type.String({ minLength: 1, maxLength: 256 });
const HeaderSchema = Type.Object(
  {
    format: Type.Literal(FORMAT),
    version: Type.Literal(FORMAT_VERSION),
    /** Version of the event schema of the first event. */
    schema: Type.Integer({ minimum: 1 }),
    /** Version of the machine that made the decisions. */
    machineVersion: Type.Integer({ minimum: 0 }),
    logId: Id,
    bootId: Id,
    /** Facts about the recording host, as in service.started. */
    host: Type.Record(Type.String({ maxLength: 256 }), Type.String({ maxLength: 4096 })),
    /** The three clocks at one instant (that of the first event, unless the recorder knows better). */
    clocks: Type.Object(
      { mono_ns: Type.String(), boot_ns: Type.String(), wall_ns: Type.String() },
      { additionalProperties: false },
    ),
    /** MACs, addresses and names were replaced. */
    pseudonyms: Type.Optional(Type.Literal(true)),
    /** Sequence number of the last event, where the writer knew it beforehand: a file that ends earlier was cut. */
    last: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  { additionalProperties: false },
);
const header = Compile(HeaderSchema);
export type RecordingHeader = Static<typeof HeaderSchema>;

/** What a line inherits from the one before it; encoding and decoding a line moves it on. */
export interface Running {
  seq: number | null;
  logId: string;
  bootId: string;
  v: number;
}

export const runningFrom = (first: RecordingHeader): Running => ({
  seq: null,
  logId: first.logId,
  bootId: first.bootId,
  v: first.schema,
});

/** A line without its hash field and closing brace; the caller appends `hashField(…)` and a newline. */
export const encodeHeader = (value: RecordingHeader): string => {
  const problem = headerProblem(value);
  if (problem !== null) throw new TypeError(`not a recording's header: ${problem}`);
  return JSON.stringify(value).slice(0, -1);
};

const headerProblem = (value: unknown): string | null => {
  if (!header.Check(value)) {
    const [first] = header.Errors(value);
    return `${first?.instancePath ?? ''} ${first?.message ?? 'does not fit its schema'}`.trim();
  }
  const { mono_ns, boot_ns, wall_ns } = value.clocks;
  return [mono_ns, boot_ns, wall_ns].every(isNanoseconds) ? null : 'clocks are not decimal numbers of 64 bits';
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What the first line says a file is, before it is believed: ours in this version or a newer one, or neither. */
export const recognise = (value: unknown): 'recording' | 'newer' | 'raw' | 'qmp' | 'losses' | null => {
  if (!isObject(value)) return null;
  if (value['format'] === FORMAT) {
    const version = value['version'];
    return typeof version === 'number' && version > FORMAT_VERSION ? 'newer' : 'recording';
  }
  if (value['format'] === LOSSES_FORMAT) return 'losses';
  if ('t_ns' in value && 'n' in value && 'source' in value) return 'raw';
  return ('t_ns' in value && 'dir' in value) || 'QMP' in value || 'execute' in value || 'event' in value ? 'qmp' : null;
};

/** The header in a first line that was parsed and whose hash is right. Throws `recording.newer` or `recording.line`. */
export const decodeHeader = (value: unknown): RecordingHeader => {
  if (recognise(value) === 'newer')
    throw new NetkvmError(
      'recording.newer',
      `format version ${String((value as { version: unknown }).version)}, this program knows ${FORMAT_VERSION}`,
    );
  const rest = isObject(value) ? { ...value } : {};
  delete rest['hash'];
  const problem = headerProblem(rest);
  if (problem !== null) throw new NetkvmError('recording.line', `line 1: not a recording's header: ${problem}`);
  return rest as RecordingHeader;
};

/** One event as a line, without its hash field and closing brace. Throws for what a reader would not take. */
export const encodeEvent = (event: RecordedEvent, running: Running): string => {
  const problem = seqProblem(event.seq, running) ?? envelopeProblem(event, event.seq) ?? dataProblem(event.type, event.data);
  if (problem !== null) throw new TypeError(`event ${event.seq} cannot be recorded: ${problem}`);
  const { seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, v, logId, bootId, data } = event;
  const changed = {
    ...(v === running.v ? {} : { v }),
    ...(logId === running.logId ? {} : { logId }),
    ...(bootId === running.bootId ? {} : { bootId }),
  };
  Object.assign(running, { seq, v, logId, bootId });
  return JSON.stringify({ seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, ...changed, data }).slice(0, -1);
};

const seqProblem = (seq: unknown, running: Running): string | null => {
  if (!isSeq(seq)) return 'seq is not a sequence number';
  return running.seq === null || seq === running.seq + 1 ? null : `seq ${seq} does not follow ${running.seq}`;
};

/** A line's fields as they stand there, not yet checked. */
type Fields = { readonly [K in (typeof FIELDS)[number]]?: unknown } & { readonly [K in (typeof INHERITED)[number]]?: unknown };
const FIELDS = ['seq', 'id', 'type', 'mono_ns', 'boot_ns', 'wall_ns', 'cause', 'episode', 'data'] as const;
const INHERITED = ['v', 'logId', 'bootId'] as const;

/**
 * The event in a line that was parsed and whose hash is right. Throws `recording.line` or `recording.newer`.
 */
export const decodeEvent = (value: unknown, running: Running, line: number): RecordedEvent => {
  const fields = checkedFields(value, line);
  const { seq, id, mono_ns, boot_ns, wall_ns, cause, episode } = fields;
  const { v = running.v, logId = running.logId, bootId = running.bootId } = fields;
  const envelope = { id, mono_ns, boot_ns, wall_ns, cause, episode };
  const problem = seqProblem(seq, running) ?? envelopeProblem(envelope, seq as number) ?? inheritedProblem(v, logId, bootId);
  if (problem !== null) throw wrongLine(line, problem);
  if ((v as number) > SCHEMA_VERSION)
    throw new NetkvmError(
      'recording.newer',
      `line ${line}: event schema version ${String(v)}, this program knows ${SCHEMA_VERSION}`,
    );
  const { type, data } = lift(fields, v as number);
  const known = typeof type === 'string' ? eventTypeOf(type) : undefined;
  const wrong = dataProblem(known ?? String(type), data);
  if (wrong !== null) throw wrongLine(line, wrong);
  running.seq = seq as number;
  running.v = v as number;
  running.logId = logId as string;
  running.bootId = bootId as string;
  return {
    seq,
    id,
    type: known,
    mono_ns,
    boot_ns,
    wall_ns,
    cause,
    episode,
    v: SCHEMA_VERSION,
    logId,
    bootId,
    data,
  } as RecordedEvent;
};

const wrongLine = (line: number, problem: string): NetkvmError => new NetkvmError('recording.line', `line ${line}: ${problem}`);

const isId = (value: unknown): boolean => typeof value === 'string' && value.length > 0 && value.length <= 256;

const inheritedProblem = (v: unknown, logId: unknown, bootId: unknown): string | null => {
  if (!isId(logId) || !isId(bootId)) return 'logId or bootId is not 1 to 256 characters of text';
  return isSeq(v) ? null : 'v is not a version';
};

const checkedFields = (value: unknown, line: number): Fields => {
  if (!isObject(value)) throw wrongLine(line, 'not an object');
  const fields: Fields = value;
  const { seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, data, v, logId, bootId } = fields;
  // Twelve comparisons and a count say that exactly the known fields and the hash are there.
  const own = [seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, data].includes(undefined) ? 0 : FIELDS.length;
  const inherited = (v === undefined ? 0 : 1) + (logId === undefined ? 0 : 1) + (bootId === undefined ? 0 : 1);
  if (own === 0 || Object.keys(value).length !== own + inherited + 1)
    throw wrongLine(line, `the fields are not ${FIELDS.join(', ')}`);
  return fields;
};

/** A type and its data as some version of this program wrote them, not yet checked. */
export interface Written {
  readonly type?: unknown;
  readonly data?: unknown;
}

/** Step i lifts an event from schema version i + 1 to i + 2. SCHEMA_VERSION is one more than their number. */
export const UPCASTS: readonly ((event: Written) => Written)[] = [];

/** Lifts what version `v` wrote to the present version, one step at a time. */
export const lift = (event: Written, v: number, steps: readonly ((event: Written) => Written)[] = UPCASTS): Written =>
  v > steps.length ? event : steps.slice(v - 1).reduce((lifted, step) => step(lifted), event);
