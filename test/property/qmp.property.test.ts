// Whatever bytes come in the place of a QMP capture: no exception, no more entries than lines, and the same entries however
// the bytes are cut.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type QmpEntry, QmpReader } from '../../src/adapters/qemu/qmp-capture.ts';
import { RECORDINGS } from '../recordings.ts';

const REAL = readFileSync(`${RECORDINGS}raw/b-migration/qmp-B.jsonl`);

const entriesOf = (bytes: Uint8Array, cuts: readonly number[] = []): QmpEntry[] => {
  const reader = new QmpReader();
  const out: QmpEntry[] = [];
  let from = 0;
  for (const cut of [...cuts.map((part) => part % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    out.push(...reader.push(bytes.subarray(from, cut)));
    from = cut;
  }
  return [...out, ...reader.end()];
};

const changed = fc
  .record({ edits: fc.array(fc.record({ at: fc.nat(), byte: fc.nat(255) }), { maxLength: 40 }), length: fc.nat(REAL.length) })
  .map(({ edits, length }) => {
    const bytes = Uint8Array.from(REAL.subarray(0, length));
    for (const { at, byte } of edits) if (bytes.length > 0) bytes[at % bytes.length] = byte;
    return bytes;
  });
const jsonLines = fc
  .array(
    fc.record(
      {
        t_ns: fc.oneof(fc.bigInt({ min: -5n, max: 2n ** 70n }).map(Number), fc.nat(), fc.string()),
        dir: fc.constantFrom('event', 'in', 'out', 'note', ''),
        qmp: fc.oneof(fc.jsonValue(), fc.record({ event: fc.string(), data: fc.jsonValue(), timestamp: fc.jsonValue() })),
      },
      { requiredKeys: [] },
    ),
    { maxLength: 10 },
  )
  .map((lines) => Uint8Array.from(Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n'))));

test('nothing that comes in does harm', () => {
  fc.assert(
    fc.property(
      fc.oneof(changed, jsonLines, fc.uint8Array({ maxLength: 2000 })),
      fc.array(fc.nat(), { maxLength: 8 }),
      (bytes, cuts) => {
        const whole = entriesOf(bytes);
        expect(whole.length).toBeLessThanOrEqual(Buffer.from(bytes).toString('latin1').split('\n').length);
        expect(entriesOf(bytes, cuts)).toEqual(whole);
      },
    ),
    { numRuns: 500 },
  );
});

test('deep nesting is damage, not a crash', () => {
  const [entry] = entriesOf(Buffer.from(`{"dir":"in","t_ns":1,"qmp":${'['.repeat(500_000)}`));
  expect(entry).toMatchObject({ kind: 'damage' });
});
