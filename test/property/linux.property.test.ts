// Whatever the kernel, a broken file or an attacker sends: no exception, no read outside, only valid observations; and
// whatever the order of the two streams, the same end. Random cases print their seed and path when they fail.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Observation } from '../../src/events/catalogue.ts';
import { dataProblem } from '../../src/events/check.ts';
import { CaptureReader, observeEntry } from '../../src/adapters/linux/capture.ts';
import { Observer, type Known, type Source } from '../../src/adapters/linux/observer.ts';
import { datagrams, done, MULTI, recorded, SCENARIOS } from '../unit/netlink-make.ts';

interface Datagram {
  readonly source: Source;
  readonly bytes: Uint8Array;
}
const real: readonly Datagram[] = [...SCENARIOS.flatMap(recorded), ...datagrams('test/fixtures/bond-messages.jsonl')];
const observe = (observer: Observer, { source, bytes }: Datagram): Observation[] =>
  source === 'rtnetlink' ? observer.rtnetlink(bytes) : observer.uevent(bytes);
const problems = (observations: readonly Observation[]): string[] =>
  observations.flatMap(({ type, data }) => dataProblem(type, data) ?? []);

const mutation = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), at: fc.nat(4095), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(4095) }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(4095), bytes: fc.uint8Array({ maxLength: 24 }) }),
);
const mutated = fc
  .tuple(fc.constantFrom(...real), fc.array(mutation, { minLength: 1, maxLength: 6 }))
  .map(([{ source, bytes }, changes]): Datagram => {
    let now = bytes.slice();
    for (const change of changes) {
      const at = now.length === 0 ? 0 : change.at % now.length;
      if (change.kind === 'set') now[at] = change.value;
      else if (change.kind === 'cut') now = now.slice(0, at);
      else now = Uint8Array.from([...now.subarray(0, at), ...change.bytes, ...now.subarray(at)]);
    }
    return { source, bytes: now };
  });
const anything = fc.oneof(
  { weight: 4, arbitrary: mutated },
  { weight: 2, arbitrary: fc.constantFrom(...real) },
  {
    weight: 1,
    arbitrary: fc.record({ source: fc.constantFrom<Source>('rtnetlink', 'uevent'), bytes: fc.uint8Array({ maxLength: 200 }) }),
  },
);

describe('damage', () => {
  test('every byte of a real datagram flipped: at worst a gap', () => {
    const perKind = new Map(real.map((one) => [`${one.source} ${one.bytes[4]}`, one]));
    for (const one of perKind.values())
      for (let at = 0; at < one.bytes.length; at += 1)
        for (const mask of [0xff, 0x01, 0x80]) {
          const bytes = one.bytes.slice();
          bytes[at] = (bytes[at] ?? 0) ^ mask;
          const observer = new Observer();
          expect(problems(observe(observer, one))).toEqual([]);
          expect(problems(observe(observer, { ...one, bytes }))).toEqual([]);
        }
  });

  test('any sequence of broken and sound datagrams gives valid observations, and a valid survey', () => {
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 30 }), (sequence) => {
        const observer = new Observer();
        for (const one of sequence) expect(problems(observe(observer, one))).toEqual([]);
        expect(problems(observer.finish(null, 'checked'))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('any bytes as a capture', () => {
    const line = '{"t_ns":1,"rt_ns":2,"n":0,"source":"uevent","pid":0,"raw":"AAEC"}\n\n';
    const lines = Array.from(line, (one) => one.charCodeAt(0));
    const chunk = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.constantFrom(...lines)).map((some) => Uint8Array.from(some)),
    );
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 8 }), (chunks) => {
        const [reader, observer] = [new CaptureReader(), new Observer()];
        for (const entry of [...chunks.flatMap((one) => reader.push(one)), ...reader.end()])
          expect(problems(observeEntry(observer, entry))).toEqual([]);
      }),
    );
  });
});

/** Two lists merged as `picks` says, each in its own order. */
const interleaved = (left: readonly Datagram[], right: readonly Datagram[], picks: readonly boolean[]): Datagram[] => {
  const [a, b] = [[...left], [...right]];
  const merged = picks.flatMap((pick) => (pick ? a : b).shift() ?? []);
  return [...merged, ...a, ...b];
};

describe.each(SCENARIOS)('%s', (scenario) => {
  const all: readonly Datagram[] = recorded(scenario);
  const observer = new Observer();
  for (const one of all) observe(observer, one);
  const end = observer.known();

  test('uevents and link messages may come in any order relative to each other', () => {
    const links = all.filter(({ source }) => source === 'rtnetlink');
    const uevents = all.filter(({ source }) => source === 'uevent');
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 20, maxLength: all.length }), (picks) => {
        const other = new Observer();
        for (const one of interleaved(links, uevents, picks)) observe(other, one);
        expect(other.known()).toEqual(end);
      }),
      { numRuns: 60 },
    );
  });

  test('whatever was lost or doubled, the next survey brings the truth', () => {
    const dump = dumpOf(all, end);
    fc.assert(
      fc.property(fc.infiniteStream(fc.constantFrom(0, 1, 1, 2)), fc.boolean(), (copies, differences) => {
        const other = new Observer();
        for (const one of all) for (let copy = copies.next().value ?? 0; copy > 0; copy -= 1) observe(other, one);
        other.expect('addresses', 1);
        other.rtnetlink(done(1));
        other.expect('links', 2);
        for (const bytes of dump) other.rtnetlink(bytes);
        const parents = end.adapters.flatMap(({ bus, device, pci, driver }) =>
          bus && device ? [{ bus, device, pci, driver }] : [],
        );
        const told = other.finish({ functions: end.functions, parents, places: [] }, differences ? null : 'checked');
        expect(problems(told)).toEqual([]);
        expect(other.known()).toEqual(end);
      }),
      { numRuns: 60 },
    );
  });
});

/** The newest message of each adapter that is left at the end, as the replies of a dump with sequence number 2. */
const dumpOf = (all: readonly Datagram[], { adapters }: Known): Uint8Array[] => {
  const newest = new Map<number, Uint8Array>();
  for (const { source, bytes } of all) {
    if (source !== 'rtnetlink') continue;
    const reply = bytes.slice();
    const view = new DataView(reply.buffer);
    view.setUint16(6, MULTI, true);
    view.setUint32(8, 2, true);
    newest.set(view.getInt32(20, true), reply);
  }
  return [...adapters.flatMap(({ ifindex }) => newest.get(ifindex) ?? []), done(2)];
};
