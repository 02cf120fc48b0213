// Whatever the catalogue allows goes into the log and comes out the same, in appends of any size, over restarts, read from
// anywhere, whole or as a fold reads it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import { eventList } from './log.arbitrary.ts';

const me = { bootId: 'boot-1', machineId: 'machine-1' };

test('any event list goes in and comes out the same', () => {
  fc.assert(
    fc.property(eventList(40), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), fc.nat(), (events, sizes, at) => {
      const dir = mkdtempSync(join(tmpdir(), 'netkvm-log-'));
      try {
        for (let done = 0, turn = 0; done < events.length; turn++) {
          const { log, setAside } = openLog(dir, me);
          expect([setAside, log.head()]).toEqual([null, done]);
          const part = events.slice(done, done + (sizes[turn % sizes.length] ?? 1));
          log.append(part, done);
          expect(log.append(part, done)).toHaveLength(part.length);
          done += part.length;
          log.close();
        }
        const reader = openReader(dir);
        const from = 1 + (at % events.length);
        const read = [...reader.read(from)];
        // What was written is JSON: -0 comes back as 0.
        const written = JSON.parse(JSON.stringify(events.slice(from - 1))) as object[];
        expect(read).toMatchObject(written.map((event, index) => ({ ...event, seq: from + index })));
        expect([...reader.fold(from)].flat()).toEqual(read.map(({ seq, type, mono_ns, data }) => ({ seq, type, mono_ns, data })));
        const { problem } = verifyLog(reader);
        // Outcomes of no decision are the one thing that a random list gets wrong.
        if (problem !== null && !problem.text.startsWith('decision d')) throw new Error(problem.text);
        reader.close();
      } finally {
        rmSync(dir, { recursive: true });
      }
    }),
    { numRuns: 60 },
  );
});
