// Lines of QEMU's monitor, as captured and as anybody could have made them up.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { LINE_LIMIT } from '../../src/adapters/line-cutter.ts';
import { openAny, openHistory } from '../../src/adapters/log/history.ts';
import { type QmpEntry, QmpReader } from '../../src/adapters/qemu/qmp-capture.ts';
import { readQmp } from '../../src/adapters/qemu/qmp.ts';
import { RECORDINGS } from '../recordings.ts';

const SOURCE = `${RECORDINGS}raw/b-migration/qmp-A.jsonl`;
const entriesOf = (text: string | Uint8Array): QmpEntry[] => {
  const reader = new QmpReader();
  return [...reader.push(typeof text === 'string' ? Buffer.from(text) : text), ...reader.end()];
};

describe('a message', () => {
  test('of each kind is told apart', () => {
    expect(readQmp({ event: 'STOP', timestamp: { seconds: 3, microseconds: 7 } })).toEqual({
      kind: 'event',
      name: 'STOP',
      fields: {},
      at_ns: 3_000_007_000n,
    });
    expect(readQmp({ execute: 'migrate', arguments: { uri: 'tcp:b:1', blk: { deep: 1 } } })).toEqual({
      kind: 'command',
      name: 'migrate',
      fields: { uri: 'tcp:b:1' },
    });
    expect(readQmp({ 'exec-oob': 'migrate-pause' })).toMatchObject({ kind: 'command', name: 'migrate-pause' });
    expect(readQmp({ return: { status: 'active', ram: { total: 1 } } })).toEqual({
      kind: 'return',
      fields: { status: 'active' },
    });
    expect(readQmp({ error: { class: 'GenericError', desc: 'no' } })).toEqual({
      kind: 'error',
      name: 'GenericError',
      text: 'no',
    });
    expect(readQmp({ QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 } }, capabilities: [] } })).toEqual({
      kind: 'greeting',
      version: '7.2.22',
    });
  });

  test.each([
    [null],
    [7],
    ['STOP'],
    [[]],
    [{}],
    [{ event: 1 }],
    [{ event: 'S\u0000P' }],
    [{ event: 'x'.repeat(200) }],
    [{ execute: null }],
  ])('%j is none', (value) => expect(readQmp(value)).toBeNull());

  test.each([
    [{ seconds: -1, microseconds: -1 }],
    [{ seconds: 1.5, microseconds: 0 }],
    [{ seconds: 1, microseconds: 1_000_000 }],
    [{ seconds: Number.MAX_SAFE_INTEGER, microseconds: 0 }],
    ['now'],
    [undefined],
  ])('has no time in %j', (timestamp) => expect(readQmp({ event: 'STOP', timestamp })).toMatchObject({ at_ns: null }));

  test('keeps so many fields, so long, and no key that is anything else than a name', () => {
    const data = JSON.parse(
      `{"__proto__":{"x":1},"a b":1,${Array.from({ length: 200 }, (_, i) => `"k${i}":"${'v'.repeat(3000)}"`).join(',')}}`,
    ) as object;
    const message = readQmp({ event: 'X', data });
    const fields = message?.kind === 'event' ? message.fields : {};
    expect(Object.keys(fields)).toHaveLength(64);
    expect(fields['k0']).toHaveLength(1024);
    expect(Object.getPrototypeOf(fields)).toBe(Object.prototype);
  });
});

describe('a capture', () => {
  test('of a real migration gives its events with exact times', () => {
    const entries = entriesOf(readFileSync(SOURCE));
    expect(entries.filter(({ kind }) => kind === 'damage')).toEqual([]);
    const names = entries.flatMap((entry) =>
      entry.kind === 'message' && entry.message.kind === 'event'
        ? [`${entry.message.name} ${String(entry.message.fields['status'] ?? '')}`.trim()]
        : [],
    );
    expect(names).toEqual([
      'FAILOVER_NEGOTIATED',
      'NIC_RX_FILTER_CHANGED',
      'MIGRATION setup',
      'UNPLUG_PRIMARY',
      'MIGRATION_PASS',
      'MIGRATION wait-unplug',
      'MIGRATION active',
      'MIGRATION_PASS',
      'STOP',
      'MIGRATION_PASS',
      'MIGRATION completed',
      'SHUTDOWN',
    ]);
    const negotiated = entries.find((entry) => entry.kind === 'message' && entry.message.kind === 'event');
    expect(negotiated).toMatchObject({ line: 7, read_ns: 1795329754283958133n, message: { at_ns: 1795329754284489000n } });
  });

  test('may be the monitor’s own lines', () => {
    const text = '{"QMP":{"version":{}}}\n{"event":"STOP","timestamp":{"seconds":1,"microseconds":0}}\n{"return":{}}\n';
    expect(entriesOf(text).map((entry) => (entry.kind === 'message' ? entry.message.kind : entry.damage))).toEqual([
      'greeting',
      'event',
      'return',
    ]);
  });

  test('says which lines are damaged, and reads the others', () => {
    const good = '{"t_ns":5,"dir":"in","qmp":{"return":{}}}';
    const lines = [
      'nonsense',
      '[]',
      '{"dir":"event","qmp":{}}',
      '{"t_ns":5,"dir":"event","qmp":{}}',
      '{"t_ns":1.5,"dir":"in","qmp":{"return":{}}}',
      good,
      '',
      '{"t_ns":5,"di',
    ];
    expect(
      entriesOf(lines.join('\n')).map((entry) =>
        entry.kind === 'damage' ? [entry.line, entry.damage, entry.torn] : [entry.line],
      ),
    ).toEqual([
      [1, 'not a line of JSON', false],
      [2, 'not a JSON object', false],
      [3, 'no t_ns in nanoseconds', false],
      [4, 'no message of QMP', false],
      [5, 'no t_ns in nanoseconds', false],
      [6],
      [8, 'not a line of JSON', true],
    ]);
  });

  test('with a line that does not end costs no more than the limit', () => {
    const reader = new QmpReader();
    const chunk = Buffer.alloc(1024 * 1024, 0x20);
    for (let pushed = 0; pushed < 4 * LINE_LIMIT; pushed += chunk.length) expect(reader.push(chunk)).toEqual([]);
    expect(reader.end()).toEqual([{ kind: 'damage', line: 1, damage: `a line longer than ${LINE_LIMIT} bytes`, torn: true }]);
  });

  test('is recognised, and is no guest’s history', async () => {
    const history = await openAny(SOURCE);
    expect(history.kind).toBe('qmp');
    await history.chunks[Symbol.asyncIterator]().return?.();
    await expect(openHistory(SOURCE)).rejects.toMatchObject({ code: 'recording.format' });
  });
});
