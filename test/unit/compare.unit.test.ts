// The same log by another policy, and two logs side by side, as `netkvm replay` tells it. The logs are those of real captures
// and of the service in simulated guests.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LEVELS, type Rates } from '../../src/adapters/simulated/faults.ts';
import type { Card } from '../../src/adapters/simulated/kernel.ts';
import type { Action, Script } from '../../src/adapters/simulated/script.ts';
import type { Policy } from '../../src/events/catalogue.ts';
import { runCli } from '../../src/host/cli.ts';
import type { Comparison } from '../../replay/compare.ts';
import { compareFiles, compareWith } from '../../replay/with.ts';
import { MAC } from '../given.ts';
import { RECORDINGS } from '../recordings.ts';
import { Run } from '../simulation/harness.ts';
import { record } from '../simulation/simulate.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-compare-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const at = (at_ms: number, what: Action['what']): Action => ({ at_ms, what });
const nic: Card = {
  kind: 'virtio',
  address: '0000:01:00.0',
  mac: MAC,
  standby: true,
  mtu: 1500,
  mtuMax: 9000,
  carrierDelay_ms: 0,
  ptp: false,
  driver: true,
};
const vf: Card = { ...nic, kind: 'vf', address: '0000:02:00.0', standby: false, carrierDelay_ms: 50 };
const standby = at(100, { do: 'add', id: 'standby', card: nic });
const plugAt = (ms: number): Action => at(ms, { do: 'add', id: 'primary', card: vf });
const windows = async (name: string, actions: readonly Action[], policy: Partial<Policy> = {}): Promise<string> => {
  const script: Script = {
    world: { system: 'windows' },
    rates: LEVELS['none'] as Rates,
    effects: 'on',
    pairs: [MAC],
    checkpointEvents: 1_000_000,
    actions,
  };
  const result = await new Run(script, 1, { policy }).run();
  return record(result, name, 1, dir);
};
const differences = async (path: string, change: Partial<Policy>): Promise<Comparison['pairs'][number]> => {
  const { comparison } = await compareWith(path, 'another', change);
  expect(comparison.same).toBe(false);
  return comparison.pairs[0] as Comparison['pairs'][number];
};

describe('the same log by another policy', () => {
  test('a longer grace: the standby would have stayed down longer', async () => {
    const pair = await differences(await windows('alone', [standby]), { grace_ms: 5100 });
    expect(pair.first).toBeNull();
    expect(pair.decisions).toMatchObject([{ change: 'later', kind: 'releaseLink', difference_ns: '2100000000' }]);
    expect(pair.decisions[0]?.text).toBe(
      'releaseLink would have been decided 2.1 s later: the standby would have stayed down 2.1 s longer',
    );
    // What the log shows after the recorded release came of it.
    expect(pair.certain_until?.seq).toBe(pair.decisions[0]?.one?.seq);
  });

  test('a shorter grace: less long', async () => {
    const pair = await differences(await windows('alone', [standby]), { grace_ms: 1000 });
    expect(pair.decisions).toMatchObject([{ change: 'earlier', kind: 'releaseLink', difference_ns: '-2000000000' }]);
  });

  test('a decision that would not have been made at all', async () => {
    const pair = await differences(await windows('plugged', [standby, plugAt(1000)]), { effects: 'off' });
    expect(pair.decisions).toMatchObject([{ change: 'never', kind: 'bindPrimary', other: null }]);
  });

  test('a decision that was never made ends what can be said', async () => {
    const pair = await differences(await windows('watched', [standby, plugAt(1000)], { effects: 'off' }), {
      effects: 'on',
      pairs: [{ mac: MAC }],
    });
    expect(pair.decisions).toMatchObject([{ change: 'new', kind: 'bindPrimary', one: null }]);
    expect(pair.decisions[0]?.text).toMatch(/what would have come of it was never recorded/);
  });

  test('where only the stages follow from it, the whole log is told', async () => {
    const pair = await differences(join(RECORDINGS, 'raw', 'b-migration', 'guest.jsonl'), { switchLimit_ms: 1000 });
    expect(pair).toMatchObject({ certain_until: null, decisions: [] });
    expect(pair.first?.text).toMatch(/^fallback over none .* instead of switching over standby/);
    const sum = (which: 'one_ns' | 'other_ns'): number => pair.durations.reduce((total, one) => total + Number(one[which]), 0);
    expect(Math.abs(sum('one_ns') - sum('other_ns'))).toBeLessThan(30e6);
  });

  test('a real migration by its own policy is the same', async () => {
    const { comparison } = await compareWith(join(RECORDINGS, 'h-three-migrations.jsonl'), 'nothing', {});
    expect(comparison.same).toBe(true);
  });
});

describe('two logs', () => {
  test('of one migration, raw and recorded, are the same', async () => {
    const { comparison } = await compareFiles(
      join(RECORDINGS, 'b-migration.jsonl'),
      join(RECORDINGS, 'raw', 'b-migration', 'guest.jsonl'),
    );
    expect(comparison).toMatchObject({ same: true, pairs: [{ mac: MAC, first: null, decisions: [], durations: [] }] });
  });

  test('by two policies part at the first decision that came later', async () => {
    const [quick, patient] = [await windows('quick', [standby]), await windows('patient', [standby], { grace_ms: 5000 })];
    const { comparison } = await compareFiles(quick, patient);
    expect(comparison.pairs[0]?.decisions).toMatchObject([{ change: 'later', kind: 'releaseLink', difference_ns: '2000000000' }]);
    expect(comparison.pairs[0]?.first?.text).toMatch(/would have begun 2\.0 s later$/);
  });

  test('of a migration that completed and one that did not show where', async () => {
    const { comparison } = await compareFiles(
      join(RECORDINGS, 'b-migration.jsonl'),
      join(RECORDINGS, 'e-vf-different-mac.jsonl'),
    );
    expect(comparison.pairs[0]?.first?.text).toContain('instead of');
  });
});

describe('by the command line', () => {
  const netkvm = async (...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> => {
    const out = { stdout: '', stderr: '' };
    const stream = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (out[name] += text) });
    const io = { stdin: process.stdin, stdout: stream('stdout'), stderr: stream('stderr') } as unknown as Parameters<
      typeof runCli
    >[1];
    return { status: await runCli(words, io), ...out };
  };

  test('--with takes from the file what it names, and nothing else', async () => {
    const [log, config] = [await windows('named', [standby]), join(dir, 'patient.toml')];
    writeFileSync(config, '[policy]\ngrace_ms = 5000\n');
    const { status, stdout } = await netkvm('replay', log, '--with', config);
    expect(status).toBe(0);
    expect(stdout).toContain('grace_ms: 3000 in the log, 5000 in the other\n');
    expect(stdout).toContain('the standby would have stayed down 2.0 s longer');
    const json = JSON.parse((await netkvm('replay', log, '--with', config, '--json')).stdout) as Comparison;
    expect(json).toMatchObject({ schemaVersion: 1, same: false, policy: [{ key: 'grace_ms', one: 3000, other: 5000 }] });
  });

  test('--diff says that nothing differs, too', async () => {
    const file = join(RECORDINGS, 'b-migration.jsonl');
    expect(await netkvm('replay', file, '--diff', file)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('No difference') as string,
    });
  });

  test.each([
    [['replay', 'x', '--with', 'a', '--diff', 'b'], 2],
    [['replay', 'x', '--diff', 'b', '--until', '4'], 2],
    [['replay', '-', '--with', '/nowhere.toml'], 6],
  ])('%j is refused with %i', async (words, status) => expect((await netkvm(...words)).status).toBe(status));
});
