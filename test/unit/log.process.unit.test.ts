// The log and other processes: one writer, whose lock dies with it; what was acknowledged before a kill is there after it;
// full disks and read-only file systems, on mounts that the test makes in a namespace of its own.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { flap } from './log.samples.ts';

const me = { bootId: 'boot-1', machineId: 'machine-1' };
const script = fileURLToPath(new URL('log.child.ts', import.meta.url));

let dir: string;
let children: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-log-'));
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  rmSync(dir, { recursive: true, force: true });
});

const start = (task: string): { child: ChildProcess; lines: AsyncIterator<string>; exited: Promise<unknown> } => {
  const child = spawn(process.execPath, [script, task, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  return { child, lines: createInterface(child.stdout)[Symbol.asyncIterator](), exited };
};

const next = async (lines: AsyncIterator<string>): Promise<unknown> => {
  const { value, done } = await lines.next();
  return done === true ? undefined : (JSON.parse(value) as unknown);
};

const errorOf = (work: () => unknown): NetkvmError => {
  try {
    work();
  } catch (error) {
    if (error instanceof NetkvmError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

test('a second writer is told the pid of the first, in this process and from another one', async () => {
  const { child, lines } = start('hold');
  expect(await next(lines)).toBe('holding');
  const error = errorOf(() => openLog(dir, me));
  expect(error.code).toBe('log.locked');
  expect(error.line).toContain(`process ${child.pid} `);
  // Refusing has not disturbed the owner, and readers are let in.
  const reader = openReader(dir);
  expect(reader.head()).toBe(1);
  reader.close();
});

test('the owner of a log in this process is named to another one', async () => {
  const { log } = openLog(dir, me);
  expect(await next(start('open').lines)).toContain(`process ${process.pid} `);
  expect(errorOf(() => openLog(dir, me)).line).toContain(`process ${process.pid} `);
  log.close();
  log.close();
  expect(await next(start('open').lines)).toBe('done');
});

test('the lock dies with its process, however that ends, and a pid file left behind locks nothing', async () => {
  const { child, lines, exited } = start('hold');
  await next(lines);
  child.kill('SIGKILL');
  await exited;
  writeFileSync(join(dir, 'netkvm.pid'), '1\n');
  const { log, unclean, setAside } = openLog(dir, me);
  expect([unclean, setAside, log.head()]).toEqual([true, null, 1]);
  log.close();
  const clean = openLog(dir, me);
  expect(clean.unclean).toBe(false);
  clean.log.close();
});

test('a locked log whose owner left no pid is refused all the same', async () => {
  const { lines } = start('hold');
  await next(lines);
  rmSync(join(dir, 'netkvm.pid'));
  expect(errorOf(() => openLog(dir, me)).message).toContain('another process');
});

test('kill -9 in the middle of appends loses nothing that was acknowledged, and half of nothing is there', async () => {
  let acknowledged = 0;
  for (let round = 0; round < 4; round++) {
    const { child, lines, exited } = start('append');
    const until = acknowledged + 20 + round * 37;
    while (acknowledged < until) acknowledged = (await next(lines)) as number;
    child.kill('SIGKILL');
    await exited;
    for (let line = await next(lines); line !== undefined; line = await next(lines)) acknowledged = line as number;
    const { log, unclean, setAside } = openLog(dir, me);
    expect([unclean, setAside]).toEqual([true, null]);
    const verdict = verifyLog(log);
    expect(verdict).toMatchObject({ first: 1, problem: null });
    // The append that was under way is there whole or not at all.
    const whole = new Set([acknowledged, acknowledged + 1 + (acknowledged % 7)]);
    expect(whole).toContain(verdict.last);
    acknowledged = verdict.last;
    log.close();
  }
});

test('another process follows what this one appends', async () => {
  const { lines } = start('append');
  await next(lines);
  const reader = openReader(dir);
  const stop = new AbortController();
  let expected = 1;
  for await (const event of reader.follow(1, stop.signal)) {
    expect(event.seq).toBe(expected++);
    if (event.seq === 200) stop.abort();
  }
  expect(expected).toBe(201);
  reader.close();
});

test('a follower in another process lets a database go that is to be set aside, and says so', async () => {
  const { log } = openLog(dir, me);
  log.append([flap(1)], 0);
  const { lines, exited } = start('follow');
  expect(await next(lines)).toBe(1);
  log.close();
  const again = openLog(dir, me, 'the test says so');
  expect(again.setAside).toMatchObject({ reason: 'the test says so' });
  again.log.append([flap(1)], 0);
  expect(await next(lines)).toMatch(/replaced while it (was|is) followed \[log\.damaged\]/);
  await exited;
  again.log.close();
});

// A mount of its own needs root or a user namespace; without both, `max_page_count` in log.sqlite stands for a full disk.
const namespace = [['-m'], ['-Urm']].find(
  (flags) => spawnSync('unshare', [...flags, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0,
);

describe.skipIf(namespace === undefined)('on a file system of its own', () => {
  const inMount = (size: string, task: string): unknown => {
    const command = `mount -t tmpfs -o size=${size} tmpfs "$0" && exec "$1" "$2" ${task} "$0"`;
    const { stdout, stderr, status } = spawnSync(
      'unshare',
      [...(namespace ?? []), 'sh', '-c', command, dir, process.execPath, script],
      {
        encoding: 'utf8',
      },
    );
    expect([status, stderr]).toEqual([0, '']);
    return JSON.parse(stdout);
  };

  test('a full disk refuses in one clear line, loses nothing, and is forgotten when there is space', () => {
    const told = inMount('4m', 'full') as {
      refused: string;
      full: { head: number; readable: number };
      again: string;
      after: number;
      verdict: unknown;
    };
    expect(told.refused).toMatch(/^\S+netkvm\.db: .+ \[log\.unwritable\] Check permissions and free space/);
    expect(told.full.head).toBeGreaterThan(1000);
    expect(told.full.readable).toBe(told.full.head);
    expect([told.again, told.after]).toEqual(['done', told.full.head + 100]);
    expect(told.verdict).toMatchObject({ events: told.after, problem: null });
  });

  test('a disk that is full before the start sets nothing aside', () => {
    const told = inMount('1m', 'full-at-start') as Record<string, string>;
    expect(told['refused']).toMatch(/\[log\.unwritable\]/);
    expect(told['elsewhere']).toMatch(/\[log\.unwritable\]/);
    expect(told['after']).toBe('done');
  });

  test('on a read-only file system the writer is refused, and readers read', () => {
    const told = inMount('4m', 'read-only') as Record<string, unknown>;
    expect(told['writer']).toMatch(/\[log\.unwritable\]/);
    expect(told['fresh']).toMatch(/\[log\.unwritable\]/);
    expect(told['readable']).toBe(10);
  });
});
