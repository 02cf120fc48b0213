// The Linux platform against real netlink, in network namespaces that this test makes. Needs root and iproute2; where
// something is missing the test's name says what.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { missing, probe, skipped } from './namespace.ts';

interface State {
  readonly adapters: readonly { readonly ifindex: number; readonly name: string }[];
  readonly addresses: readonly string[];
}
interface Result {
  readonly first?: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly told: State;
  readonly truth: State;
  readonly replayed?: State;
  readonly lines?: number;
  readonly ended_ms: number;
}

const SCENARIO = fileURLToPath(new URL('scenario.ts', import.meta.url));
const why = missing();

const scratch = mkdtempSync(join(tmpdir(), 'netkvm-netns-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let namespaces = 0;
const run = async (scenario: string): Promise<Result> => {
  const name = `netkvm-test-${process.pid}-${(namespaces += 1)}`;
  execFileSync('ip', ['netns', 'add', name]);
  try {
    const command = ['netns', 'exec', name, process.execPath, SCENARIO, scenario];
    const env = { ...process.env, NETKVM_SCRATCH: scratch, NODE_NO_WARNINGS: '1' };
    const { stdout } = await promisify(execFile)('ip', command, { env, timeout: 28_000 });
    return JSON.parse(stdout) as Result;
  } finally {
    execFileSync('ip', ['netns', 'del', name]);
  }
};
/** What is to be true of every scenario that loses nothing: the first thing told is a survey, and the end is right. */
const verdict = ({ first, told, counts }: Result): object => ({ first, gaps: counts['gap.seen'] ?? 0, state: told });
const right = ({ truth }: Result): object => ({ first: 'survey.taken', gaps: 0, state: truth });

describe.skipIf(why !== null)(`in a network namespace${skipped(why)}`, () => {
  test('adapters that come, change, are renamed and go; addresses of both families', async () => {
    const result = await run('life');
    expect(verdict(result)).toEqual(right(result));
    expect(result.truth.adapters.map(({ name }) => name)).toEqual(['lo', 'v1', 'renamed']);
    expect(result.truth.addresses).toEqual(expect.arrayContaining([expect.stringContaining('10.77.0.2/24')]));
    expect(result.counts).toMatchObject({ 'survey.taken': 1, 'adapter.appeared': 4, 'adapter.gone': 2 });
    expect(result.counts['address.removed']).toBeGreaterThanOrEqual(1);
  });

  const noBridge = why ?? probe('ip link add b0 type bridge');
  test.skipIf(noBridge !== null)(`a master that comes and goes${skipped(noBridge)}`, async () => {
    const result = await run('master');
    expect(verdict(result)).toEqual(right(result));
  });

  const noBond = why ?? probe('ip link add b0 type bond mode active-backup');
  test.skipIf(noBond !== null)(`an active-backup bond over two veths${skipped(noBond)}`, async () => {
    const result = await run('bond');
    expect(verdict(result)).toEqual(right(result));
    expect(result.truth.adapters.filter((adapter) => 'slave' in adapter && adapter.slave === 'active')).toMatchObject([
      { name: 'p' },
    ]);
  });

  test('surveys at work: one that was asked for is told, those that find nothing new are silent', async () => {
    const result = await run('survey');
    expect(verdict(result)).toEqual(right(result));
    expect(result.counts['survey.taken']).toBe(2);
    expect(result.counts['adapter.appeared']).toBeUndefined();
  });

  test('10,000 link flaps end in the right state', async () => {
    const result = await run('flaps');
    expect(result.told).toEqual(result.truth);
    expect(result.counts['adapter.changed']).toBeGreaterThan(1);
  });

  test('a forced overrun: the gap is told, a survey follows, and the end is right', async () => {
    const result = await run('overrun');
    expect(result.counts['gap.seen']).toBeGreaterThanOrEqual(1);
    expect(result.counts['survey.taken']).toBeGreaterThanOrEqual(2);
    expect(result.told).toEqual(result.truth);
    expect(result.truth.adapters.map(({ name }) => name)).toContain('late');
  });

  test('a raw capture of it, dumps included, gives the same when it is read again', async () => {
    const result = await run('raw');
    expect(verdict(result)).toEqual(right(result));
    expect(result.lines).toBeGreaterThan(8);
    expect(result.replayed).toEqual(result.truth);
  });

  test('without privileges it watches all the same', async () => {
    const result = await run('unprivileged');
    expect(verdict(result)).toEqual(right(result));
  });

  test('an open platform does not hold back a process that exits', async () => {
    const { ended_ms } = await run('exit');
    expect(Date.now() - ended_ms).toBeLessThan(600);
  });
});
