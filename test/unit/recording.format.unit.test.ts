// The recording's format by itself, without files: what a header and a line must be, and what is said when they are not.
import { describe, expect, test } from 'vitest';
import { NetkvmError } from '../../src/events/errors.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { SCHEMA_VERSION } from '../../src/events/envelope.ts';
import {
  BETWEEN_LINES,
  decodeEvent,
  decodeHeader,
  encodeEvent,
  encodeHeader,
  FORMAT,
  FORMAT_VERSION,
  HASH_DIGITS,
  HASH_FIELD_BYTES,
  hashField,
  lift,
  MAX_DATA_BYTES,
  MAX_HEADER_BYTES,
  MAX_LINE_BYTES,
  recognise,
  type RecordingHeader,
  type Running,
  runningFrom,
  UPCASTS,
} from '../../src/events/recording.ts';

const HEADER: RecordingHeader = {
  format: FORMAT,
  version: FORMAT_VERSION,
  schema: 1,
  machineVersion: 0,
  logId: 'log-1',
  bootId: 'boot-1',
  host: { kernel: '6.1' },
  clocks: { mono_ns: '1', boot_ns: '2', wall_ns: '-3' },
};
const ID = '0f0e0d0c-0b0a-4908-8706-050403020100';
const EVENT: RecordedEvent = {
  seq: 7,
  id: ID,
  type: 'adapter.gone',
  mono_ns: '1',
  boot_ns: '2',
  wall_ns: '3',
  cause: 6,
  episode: 'e5',
  v: 1,
  logId: 'log-1',
  bootId: 'boot-1',
  data: { ifindex: 3 },
};
const running = (over: Partial<Running> = {}): Running => ({ ...runningFrom(HEADER), ...over });

/** What is thrown, as code and message. */
const thrown = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof NetkvmError) return `${error.code}: ${error.message}`;
    if (error instanceof TypeError) return `TypeError: ${error.message}`;
    throw error;
  }
  return 'nothing';
};
const whole = (line: string): Record<string, unknown> =>
  JSON.parse(`${line}${hashField('0'.repeat(HASH_DIGITS))}`) as Record<string, unknown>;

test('numbers and pieces of the format are what they were when the first recording was written', () => {
  expect([FORMAT, FORMAT_VERSION, HASH_DIGITS, HASH_FIELD_BYTES]).toEqual(['netkvm-recording', 1, 32, 43]);
  expect([MAX_LINE_BYTES, MAX_DATA_BYTES, MAX_HEADER_BYTES]).toEqual([16_777_216, 16_711_680, 1_048_576]);
  expect([hashField('ab'), BETWEEN_LINES]).toEqual([',"hash":"ab"}', '"}\n']);
  expect(hashField('0'.repeat(HASH_DIGITS)).length).toBe(HASH_FIELD_BYTES);
});

describe('a header', () => {
  test('is written and read', () => {
    for (const header of [HEADER, { ...HEADER, pseudonyms: true as const, last: 1, host: {} }]) {
      expect(encodeHeader(header)).toBe(JSON.stringify(header).slice(0, -1));
      expect(decodeHeader(whole(encodeHeader(header)))).toEqual(header);
    }
    const value = whole(encodeHeader(HEADER));
    decodeHeader(value);
    expect(value).toHaveProperty('hash');
  });

  test.each([
    ['/format', { format: 'other' }],
    ['/version', { version: 0 }],
    ['/schema', { schema: 0 }],
    ['/schema', { schema: 1.5 }],
    ['/machineVersion', { machineVersion: -1 }],
    ['/logId', { logId: '' }],
    ['/logId', { logId: 'x'.repeat(257) }],
    ['/bootId', { bootId: 7 }],
    ['/host', { host: { kernel: 6 } }],
    ['/host/kernel', { host: { kernel: 'x'.repeat(4097) } }],
    ['/clocks', { clocks: { mono_ns: '1', boot_ns: '2' } }],
    ['/clocks', { clocks: { ...HEADER.clocks, more: '1' } }],
    ['/pseudonyms', { pseudonyms: false }],
    ['/last', { last: 0 }],
    ['/more', { more: 1 }],
    ['', { clocks: undefined }],
  ])('is refused with the place %j', (place, over) => {
    const wrong = { ...HEADER, ...over } as unknown as RecordingHeader;
    const text = thrown(() => decodeHeader(JSON.parse(JSON.stringify(wrong))));
    expect(text).toMatch(/^recording\.line: line 1: not a recording's header: \S/);
    expect(text).toContain(`: ${place}`);
    expect(thrown(() => encodeHeader(wrong))).toMatch(/^TypeError: not a recording's header: \S/);
  });

  test.each(['mono_ns', 'boot_ns', 'wall_ns'])('needs decimal nanoseconds in %s', (clock) => {
    const wrong = { ...HEADER, clocks: { ...HEADER.clocks, [clock]: '1.5' } };
    expect(thrown(() => decodeHeader(wrong))).toBe(
      "recording.line: line 1: not a recording's header: clocks are not decimal numbers of 64 bits",
    );
  });

  test('of a newer format is told from a wrong one', () => {
    expect(thrown(() => decodeHeader({ ...HEADER, version: 2 }))).toBe('recording.newer: format version 2, this program knows 1');
    for (const value of [null, [], 'text', 7]) expect(thrown(() => decodeHeader(value))).toContain('recording.line: line 1');
  });
});

test('a first line says what a file is', () => {
  const lines: [unknown, string | null][] = [
    [HEADER, 'recording'],
    [{ format: FORMAT }, 'recording'],
    [{ format: FORMAT, version: '2' }, 'recording'],
    [{ format: FORMAT, version: 1 }, 'recording'],
    [{ format: FORMAT, version: 2 }, 'newer'],
    [{ format: 'netkvm-losses' }, 'losses'],
    [{ t_ns: 1, n: 0, source: 'x' }, 'raw'],
    [{ t_ns: 1, n: 0 }, null],
    [{ t_ns: 1, source: 'x' }, null],
    [{ n: 1, source: 'x' }, null],
    [{ t_ns: 1, dir: '<' }, 'qmp'],
    [{ t_ns: 1 }, null],
    [{ dir: '<' }, null],
    [{ QMP: {} }, 'qmp'],
    [{ execute: 'quit' }, 'qmp'],
    [{ event: 'STOP' }, 'qmp'],
    [{}, null],
    [null, null],
    [[], null],
    ['netkvm-recording', null],
  ];
  for (const [value, kind] of lines) expect([value, recognise(value)]).toEqual([value, kind]);
});

describe('a line', () => {
  test('says of log, boot and version only what has changed', () => {
    const at = running();
    const fields = { seq: 7, id: ID, type: 'adapter.gone', mono_ns: '1', boot_ns: '2', wall_ns: '3', cause: 6, episode: 'e5' };
    expect(encodeEvent(EVENT, at)).toBe(JSON.stringify({ ...fields, data: { ifindex: 3 } }).slice(0, -1));
    expect(at).toEqual({ seq: 7, logId: 'log-1', bootId: 'boot-1', v: 1 });
    const other = { ...EVENT, seq: 8, cause: null, episode: null, logId: 'log-2', bootId: 'boot-2' };
    const line = whole(encodeEvent(other, at));
    expect([line['logId'], line['bootId'], 'v' in line]).toEqual(['log-2', 'boot-2', false]);
    expect(at).toEqual({ seq: 8, logId: 'log-2', bootId: 'boot-2', v: 1 });
    expect(whole(encodeEvent({ ...EVENT, seq: 9, cause: 8 }, { ...at, v: 3 }))['v']).toBe(1);
  });

  test('is read as it was written, and moves on what the next inherits', () => {
    const [out, back] = [running(), running()];
    for (const event of [EVENT, { ...EVENT, seq: 8, logId: 'log-2' }, { ...EVENT, seq: 9, logId: 'log-2', bootId: 'boot-2' }]) {
      expect(decodeEvent(whole(encodeEvent(event, out)), back, event.seq)).toEqual(event);
      expect(back).toEqual(out);
    }
  });

  test.each([
    [{ seq: 0 }, 'seq is not a sequence number'],
    [{ id: 'x' }, 'id is not a UUID in lower case'],
    [{ cause: 7 }, 'cause is not an earlier sequence number'],
    [{ data: { ifindex: 'x' } }, 'adapter.gone: data/ifindex must be integer'],
    [{ type: 'no.such' }, 'unknown event type "no.such"'],
  ])('with %j is neither written nor read', (over, problem) => {
    const wrong = { ...EVENT, ...over } as unknown as RecordedEvent;
    const fields = Object.fromEntries(Object.entries(wrong).filter(([name]) => !['v', 'logId', 'bootId'].includes(name)));
    expect(thrown(() => encodeEvent(wrong, running()))).toBe(`TypeError: event ${wrong.seq} cannot be recorded: ${problem}`);
    expect(thrown(() => decodeEvent({ ...fields, hash: '' }, running(), 4))).toBe(`recording.line: line 4: ${problem}`);
  });

  test('follows the one before', () => {
    expect(thrown(() => encodeEvent(EVENT, running({ seq: 7 })))).toBe(
      'TypeError: event 7 cannot be recorded: seq 7 does not follow 7',
    );
    expect(thrown(() => encodeEvent(EVENT, running({ seq: 5 })))).toContain('seq 7 does not follow 5');
    expect(thrown(() => encodeEvent(EVENT, running({ seq: 6 })))).toBe('nothing');
    const line = whole(encodeEvent(EVENT, running()));
    expect(thrown(() => decodeEvent(line, running({ seq: 3 }), 2))).toBe('recording.line: line 2: seq 7 does not follow 3');
    expect(thrown(() => decodeEvent(line, running({ seq: 6 }), 2))).toBe('nothing');
  });

  test('has exactly its fields', () => {
    const line = whole(encodeEvent(EVENT, running()));
    const said = 'recording.line: line 9: the fields are not seq, id, type, mono_ns, boot_ns, wall_ns, cause, episode, data';
    for (const name of Object.keys(line)) {
      const rest = Object.fromEntries(Object.entries(line).filter(([other]) => other !== name));
      expect(
        thrown(() => decodeEvent(rest, running(), 9)),
        name,
      ).toBe(said);
      expect(
        thrown(() => decodeEvent({ ...rest, other: 1 }, running(), 9)),
        name,
      ).toBe(name === 'hash' ? 'nothing' : said);
    }
    expect(thrown(() => decodeEvent({ ...line, other: 1 }, running(), 9))).toBe(said);
    for (const value of [null, [], 'text'])
      expect(thrown(() => decodeEvent(value, running(), 9))).toBe('recording.line: line 9: not an object');
  });

  test.each([
    [{ logId: '' }, 'logId or bootId is not 1 to 256 characters of text'],
    [{ logId: 5 }, 'logId or bootId is not 1 to 256 characters of text'],
    [{ bootId: 'x'.repeat(257) }, 'logId or bootId is not 1 to 256 characters of text'],
    [{ v: 0 }, 'v is not a version'],
    [{ v: '1' }, 'v is not a version'],
  ])('inherits or says %j rightly', (over, problem) => {
    const line = { ...whole(encodeEvent(EVENT, running())), ...over };
    expect(thrown(() => decodeEvent(line, running(), 2))).toBe(`recording.line: line 2: ${problem}`);
  });
  test('may give its log 1 to 256 characters', () => {
    for (const logId of ['x', 'x'.repeat(256)]) {
      const line = { ...whole(encodeEvent(EVENT, running())), logId };
      expect(decodeEvent(line, running(), 2).logId).toBe(logId);
    }
  });

  test('of a newer schema is told from a wrong one', () => {
    const line = { ...whole(encodeEvent(EVENT, running())), v: SCHEMA_VERSION + 1 };
    expect(thrown(() => decodeEvent(line, running(), 2))).toBe(
      `recording.newer: line 2: event schema version ${SCHEMA_VERSION + 1}, this program knows ${SCHEMA_VERSION}`,
    );
  });
});

test('older events are lifted one step at a time', () => {
  const steps = ['a', 'b', 'c'].map((step) => (event: { type?: unknown }) => ({
    ...event,
    type: `${String(event.type)}${step}`,
  }));
  expect([1, 2, 3, 4, 5].map((v) => lift({ type: '' }, v, steps).type)).toEqual(['abc', 'bc', 'c', '', '']);
  expect(UPCASTS.length).toBe(SCHEMA_VERSION - 1);
});

test('an error is one line: what, the code, and what to do; and has the exit code of its list', () => {
  const error = new NetkvmError('log.locked', 'pid 7 writes /x', { cause: new Error('why') });
  expect(error.line).toBe('pid 7 writes /x [log.locked] Stop the process that is named, or use another folder.');
  expect([error.name, error.code, error.exit, error.message, (error.cause as Error).message]).toEqual([
    'NetkvmError',
    'log.locked',
    9,
    'pid 7 writes /x',
    'why',
  ]);
});
