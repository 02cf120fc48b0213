// Group commit: appends of one turn share a transaction, each caller gets its own events, a failure reaches them all.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { GroupCommit } from '../../src/adapters/log/group-commit.ts';
import { openLog } from '../../src/adapters/log/sqlite.ts';
import { flap, flaps } from './log.samples.ts';

let dir: string;
let log: ReturnType<typeof openLog>['log'];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-log-'));
  ({ log } = openLog(dir, { bootId: 'boot-1', machineId: 'machine-1' }));
});
afterEach(() => {
  log.close();
  rmSync(dir, { recursive: true });
});

test('what is added in one turn is one append, numbered in the order of adding', async () => {
  const append = vi.spyOn(log, 'append');
  const group = new GroupCommit(log);
  const added = [group.add(flaps(1, 2)), group.add([flap(3)])];
  expect([log.head(), group.head]).toEqual([0, 0]);
  const [first, second] = await Promise.all(added);
  expect([first?.map(({ seq }) => seq), second?.map(({ seq }) => seq)]).toEqual([[1, 2], [3]]);
  expect(append).toHaveBeenCalledTimes(1);
  await group.add([flap(4)]);
  expect(append).toHaveBeenCalledTimes(2);
  expect([log.head(), group.head]).toEqual([4, 4]);
});

test('flush commits at once, for a caller that must not wait', () => {
  const group = new GroupCommit(log);
  void group.add([flap(1)]);
  group.flush();
  expect(log.head()).toBe(1);
  group.flush();
  expect(log.head()).toBe(1);
});

test('a full group is committed before more is added to it', () => {
  const group = new GroupCommit(log, 10);
  void group.add(flaps(1, 8));
  void group.add(flaps(9, 8));
  expect([log.head(), group.head]).toEqual([8, 8]);
  group.flush();
  expect(log.head()).toBe(16);
});

test('a failed commit is told to every caller, and to everyone who comes later: nothing overtakes what was refused', async () => {
  const group = new GroupCommit(log);
  await group.add([flap(1)]);
  const good = group.add([flap(2)]);
  const bad = group.add([{ ...flap(3), id: 'not a UUID' }]);
  await expect(good).rejects.toThrow(/event 3 is not valid/);
  await expect(bad).rejects.toThrow(/event 3 is not valid/);
  await expect(group.add([flap(4)])).rejects.toThrow(/event 3 is not valid/);
  expect([log.head(), group.head]).toEqual([1, 1]);
  expect((await new GroupCommit(log).add([flap(2)]))[0]?.seq).toBe(2);
});

test('a full group that fails takes what is added to it along', async () => {
  const group = new GroupCommit(log, 1);
  const bad = group.add([{ ...flap(1), id: 'not a UUID' }]);
  const late = group.add([flap(2)]);
  await expect(bad).rejects.toThrow(/not valid/);
  await expect(late).rejects.toThrow(/not valid/);
  expect(log.head()).toBe(0);
});

test('another writer is noticed', async () => {
  const group = new GroupCommit(log);
  log.append([flap(1)], 0);
  await expect(group.add([flap(2)])).rejects.toMatchObject({ code: 'log.conflict' });
});
