// What the driver double reports, through the adapter as it runs in Wine: every combination of the seven facts, and as many pairs
// as there can be. And this project's own unit tests as win32.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DriverFacts } from '../../../src/events/catalogue.ts';
import { netkvmState } from '../../../src/machines/netkvm-state.ts';
import { Guest, MAC, Service } from './given.ts';
import { missing, PROJECT } from './lab.ts';

const lacks = missing();
const isSmoke = process.env['NETKVM_WINE'] !== 'full';
let guest: Guest;
beforeAll(async () => {
  if (lacks !== null) return;
  guest = await Guest.start();
  await guest.reset();
});
afterAll(() => guest?.stop());

describe.skipIf(lacks !== null)('in Wine', () => {
  test('all 128 combinations of the driver’s facts, each with the state that the original derives', async () => {
    const rows = (await guest.ask({ op: 'rows' })) as DriverFacts[];
    expect(rows).toHaveLength(128);
    for (const [index, { virtio, isStandby, virtioLink, suppressLink, started, hasVf, vfLink }] of rows.entries()) {
      const flags = [virtio, isStandby, virtioLink, suppressLink, started, hasVf, vfLink];
      expect(flags.reduce((sum, flag, at) => sum + (flag ? 1 << at : 0), 0)).toBe(index);
    }
    const states = rows.map(netkvmState);
    const count = (name: string): number => states.filter((state) => state === name).length;
    expect(
      ['unknown', 'standalone', 'aloneInactive', 'boundInactive', 'aloneActive', 'absent', 'boundActive', 'boundInitial'].map(
        count,
      ),
    ).toEqual([77, 24, 11, 5, 4, 3, 3, 1]);
  });

  test('256 pairs, which is what the driver can report', async () => {
    await guest.ask({ op: 'crowd', count: 256 });
    const running = new Service(guest);
    const { pairs } = await running.line(({ event }) => event === 'watching');
    expect(pairs).toBe(256);
    await running.kill();
    running.forget();
    await guest.ask({ op: 'reset' });
  });

  test.skipIf(isSmoke)(
    '256 interfaces with their bindings: all are seen, something is decided for the pair that is listed, and no other is touched',
    async () => {
      await guest.setProtocol(true);
      const pairs = await guest.crowd(128);
      const running = new Service(guest);
      const { pairs: seen } = await running.line(({ event }) => event === 'watching', 0, 120_000);
      expect(seen).toBe(128);
      const decision = await running.line(({ event }) => event === 'decision', 0, 120_000);
      expect([decision['kind'], decision['pair']]).toEqual(['bindPrimary', MAC]);
      const on = { ms_tcpip: true, ms_tcpip6: true, ms_server: true, ms_pacer: true, vioprot: true };
      for (const { standby, primary } of pairs.slice(1)) {
        expect([await guest.bindings(primary), await guest.changes(primary)]).toEqual([on, {}]);
        expect(await guest.changes(standby)).toEqual({});
      }
      const log = (await running.netkvm('log', 'export')).stdout;
      const protocols = log.split('\n').find((line) => line.includes('"survey.taken"')) ?? '';
      expect(protocols.match(/"vioprot":true/g)).toHaveLength(256);
      expect((await guest.report()).links.filter(({ mac }) => mac !== MAC)).toEqual([]);
      await running.kill();
      running.forget();
      await guest.ask({ op: 'reset' });
    },
  );

  test.skipIf(isSmoke)(
    'the unit tests of the fold, of events, and of the format of recordings',
    { timeout: 600_000 },
    async () => {
      const names = [
        'pair',
        'netkvm-state',
        'events',
        'recording.format',
        'recording.pseudonyms',
        'compare',
        'stats',
        'timeline',
      ];
      const words = [`${PROJECT}/node_modules/vitest/vitest.mjs`, 'run', '--project', 'unit', '--reporter=dot'];
      const { code, stdout, stderr } = await guest.wine.node([...words, ...names.map((name) => `test/unit/${name}`)], {
        limit_ms: 500_000,
      });
      expect(code, stdout + stderr).toBe(0);
    },
  );
});
