// The service while its log cannot be written: memory takes over, only effects toward a path are carried out, and
// afterwards the log has everything in its order; or, past the bound, a clean new beginning.
import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import type { Happening } from '../../src/events/catalogue.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { adapter } from '../given.ts';
import {
  ACTING,
  cleanUp,
  eventsIn,
  folder,
  pause,
  serve,
  SOUND,
  type Started,
  succeeded,
  until,
  verdictOn,
  World,
} from './service.given.ts';

afterEach(cleanUp);

type Append = Started['opened']['log']['append'];
/** Makes the service's log answer with `error` (after writing, where that is asked for) until the result is called. */
const breakLog = ({ opened: { log } }: Started, error: () => Error, writes = false): (() => void) => {
  const real: Append = log.append.bind(log);
  log.append = (events, expected) => {
    if (writes) real(events, expected);
    throw error();
  };
  return () => (log.append = real);
};
const full = (): Error => new NetkvmError('log.unwritable', 'disk full');
const said = ({ lines }: Started, event: string) => lines.filter((line) => line.event === event);
const outages = (dir: string) =>
  eventsIn(dir, 'log.outage').map(({ data }) => data as (Happening & { type: 'log.outage' })['data']);
const mtus = (dir: string): unknown[] =>
  (eventsIn(dir, 'adapter.changed') as (RecordedEvent & { type: 'adapter.changed' })[]).map(({ data }) => data.changed.mtu);

/** An observing service that has seen one adapter. */
const observing = async (dir: string, world: World, backlog?: { events: number; chars: number }): Promise<Started> => {
  const started = await serve(dir, world, { policy: { ...ACTING, effects: 'off' }, ...(backlog && { backlog }) });
  await until('it watches', () => started.service.story.guest.adapters.size > 0);
  await pause(20);
  return started;
};
const lone = (): World => new World(undefined, [adapter(2)]);

describe('when the log cannot be written', () => {
  test('memory takes over, and the log gets everything late, in its order', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    const mend = breakLog(started, full);
    // Two that are refused in one group, then some in turns of their own; more than one attempt writes at a time.
    world.change(2, { mtu: 1 });
    world.change(2, { mtu: 2 });
    await until('the outage is noticed', () => started.service.outage !== null);
    for (let mtu = 3; mtu <= 1200; mtu += 1) world.change(2, { mtu });
    expect(mtus(dir)).toEqual([]);
    mend();
    await until('the outage is over', () => started.service.outage === null);
    world.change(2, { mtu: 5000 });
    await started.service.stop('test');
    expect(said(started, 'outage')).toMatchObject([{ reason: 'disk full' }]);
    expect(said(started, 'outageEnded')).toMatchObject([{ events: 1200, lost: 0 }]);
    expect(mtus(dir)).toEqual([...Array.from({ length: 1200 }, (_, index) => index + 1), 5000]);
    expect(outages(dir)).toMatchObject([{ events: 1200, lost: 0, reason: 'disk full' }]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('a decision is told when the log has it, or memory in its place', async () => {
    const [dir, world] = [folder(), new World()];
    const started = await serve(dir, world);
    const { log } = started.opened;
    const real: Append = log.append.bind(log);
    const early: unknown[] = [];
    log.append = (events, expected) => {
      const made = events.flatMap(({ type, data }) => (type === 'decision.made' ? [data.id] : []));
      early.push(...said(started, 'decision').filter(({ id }) => made.includes(String(id))));
      return real(events, expected);
    };
    await until('it has decided', () => said(started, 'outcome').length > 0);
    log.append = real;
    const ids = eventsIn(dir, 'decision.made').map(({ data }) => (data as { id: string }).id);
    expect(early).toEqual([]);
    expect(said(started, 'decision').map(({ id }) => id)).toEqual(ids);
    await started.service.stop('test');
  });

  test('a write that was answered by an error and is there all the same is not made twice', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    const mend = breakLog(started, full, true);
    world.change(2, { mtu: 1 });
    world.change(2, { mtu: 2 });
    await until('the outage is noticed', () => started.service.outage !== null);
    world.change(2, { mtu: 3 });
    mend();
    await until('the outage is over', () => started.service.outage === null);
    await started.service.stop('test');
    expect(mtus(dir)).toEqual([1, 2, 3]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test.each([
    ['refused', false],
    ['there all the same', true],
  ])('what is seen in the turn of a failed write comes after it, although the log takes more at once (%s)', async (_, writes) => {
    const [dir, world] = [folder(), new World()];
    const started = await serve(dir, world, { policy: { ...ACTING, retryLimit: 1 } });
    await until('the primary carries', () => started.stage() === 'onPrimary');
    await pause(30);
    const mend = breakLog(started, () => (mend(), full()), writes);
    // A decision is written at once; what comes next is queued when nobody knows yet what became of it.
    world.change(4, { carrier: false });
    world.change(2, { mtu: 1400 });
    await until('the outage is over', () => outages(dir).length > 0);
    await started.service.stop('test');
    expect(mtus(dir).filter((mtu) => mtu !== undefined)).toEqual([1400]);
    expect(said(started, 'outageEnded')).toMatchObject([{ lost: 0 }]);
    const ids = eventsIn(dir).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('only what leads toward a path is carried out; each decision has its outcome in the log afterwards', async () => {
    const dir = folder();
    const world = new World();
    const started = await serve(dir, world, { policy: { ...ACTING, retryLimit: 1 } });
    await until('the primary carries', () => started.stage() === 'onPrimary');
    await pause(30);
    const mend = breakLog(started, full);
    world.performed.length = 0;
    world.change(4, { carrier: false });
    await until(
      'the standby carries',
      () => started.service.story.guest.pairs.get(ACTING.pairs[0]!.mac)?.shown.datapath === 'standby',
    );
    world.change(4, { carrier: true });
    await until('the primary is wanted', () => started.lines.some(({ reason }) => reason === 'the log cannot be written'));
    expect(world.kinds).toEqual(['activateStandby']);
    mend();
    await until('the outage is over', () => started.service.outage === null);
    await started.service.stop('test');
    const outcomes = eventsIn(dir, 'outcome.seen').map(({ data }) => (data as { result: string }).result);
    expect(outcomes).toEqual(['succeeded', 'succeeded', 'succeeded', 'void']);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('a stop tries once more', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    const mend = breakLog(started, full);
    world.change(2, { mtu: 1 });
    await until('the outage is noticed', () => started.service.outage !== null);
    mend();
    await started.service.stop('test');
    expect(said(started, 'degraded')).toEqual([]);
    expect(
      eventsIn(dir)
        .map(({ type }) => type)
        .slice(-3),
    ).toEqual(['adapter.changed', 'service.stopped', 'log.outage']);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('and the last write fails at the stop itself, what is lost is counted', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    breakLog(started, full);
    world.change(2, { mtu: 1 });
    await started.service.stop('test');
    expect(said(started, 'degraded')).toMatchObject([{ part: 'log', reason: '2 events could not be written and are lost' }]);
    expect(mtus(dir)).toEqual([]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });
});

describe('when memory does not hold it either', () => {
  test.each([
    ['events', { events: 20, chars: 1_000_000 }],
    ['characters', { events: 1_000_000, chars: 400 }],
  ])('the service begins anew from the log, and counts what was lost (bound on %s)', async (_, backlog) => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world, backlog);
    const head = started.service.seq;
    const mend = breakLog(started, full);
    for (let mtu = 1; mtu <= 100; mtu += 1) {
      world.change(2, { mtu });
      await new Promise((resolve) => setImmediate(resolve));
    }
    mend();
    await until('the outage is over', () => started.service.outage === null);
    await started.service.stop('test');
    const [lost, ...more] = outages(dir).filter((data) => data.lost > 0);
    expect(more).toEqual([]);
    expect(lost?.lost).toBeGreaterThan(backlog.events === 20 ? 20 : 4);
    const types = eventsIn(dir)
      .slice(head)
      .map(({ type }) => type);
    expect(types.slice(0, 4)).toEqual(['log.outage', 'service.started', 'configuration.applied', 'survey.taken']);
    expect(started.service.story.guest.adapters.get(2)?.facts.mtu).toBe(100);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('effects that are under way end without a second outcome, and none is begun for a decision that is lost', async () => {
    const dir = folder();
    const answer = Promise.withResolvers<typeof succeeded>();
    let hangs = true;
    const world: World = new World((decision) => (hangs ? answer.promise : world.obey(decision)));
    const started = await serve(dir, world, {
      policy: { ...ACTING, effectLimit_ms: 60_000 },
      backlog: { events: 10, chars: 1_000_000 },
    });
    await until('an effect is under way', () => world.performed.length === 1);
    const mend = breakLog(started, full);
    for (let mtu = 1; mtu <= 10; mtu += 1) world.change(2, { mtu });
    await until('the outage is noticed', () => started.service.outage !== null);
    expect(world.signals[0]?.aborted).toBe(false);
    for (let mtu = 11; mtu <= 12; mtu += 1) world.change(2, { mtu });
    await until('everything begins anew', () => said(started, 'outageEnded').length > 0);
    expect(world.signals[0]?.aborted).toBe(true);
    answer.resolve(succeeded);
    hangs = false;
    mend();
    await until('the primary carries', () => started.stage() === 'onPrimary');
    await until('the outage is over', () => started.service.outage === null);
    await pause(50);
    await started.service.stop('test');
    const results = eventsIn(dir, 'outcome.seen').map(({ data }) => (data as { result: string }).result);
    expect(results.filter((result) => result === 'void').length).toBeGreaterThan(0);
    expect(verdictOn(dir)).toEqual(SOUND);
  });
});

describe('when trying again cannot help', () => {
  test('an event that the log does not take is lost, and the service begins anew', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    world.see({ type: 'adapter.changed', data: { ifindex: 2, changed: { name: 'x'.repeat(300) } } });
    await until('everything begins anew', () => said(started, 'outageEnded').length > 0);
    await until('it goes on', () => started.service.outage === null);
    world.change(2, { mtu: 7 });
    await started.service.stop('test');
    expect(mtus(dir)).toEqual([7]);
    expect(outages(dir)).toMatchObject([{ lost: 1 }]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('a database that is damaged while it is written is set aside, and a new one gets the rest', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    const id = started.opened.log.logId;
    breakLog(started, () => new NetkvmError('log.damaged', 'database disk image is malformed'));
    world.change(2, { mtu: 6 });
    await until('it is set aside', () => said(started, 'setAside').length > 0);
    world.change(2, { mtu: 7 });
    await started.service.stop('test');
    expect(readdirSync(dir)).toContain('netkvm.db.damaged-1');
    expect(mtus(dir)).toEqual([7]);
    expect(eventsIn(dir)[0]?.logId).not.toBe(id);
    expect(outages(dir)).toMatchObject([{ lost: 1 }, { lost: 0, reason: expect.stringContaining('netkvm.db.damaged-1') }]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('and not even reading the log helps, the service ends and says why', async () => {
    const dir = folder();
    const world = lone();
    const started = await observing(dir, world);
    breakLog(started, () => new NetkvmError('log.conflict', 'another writer'));
    started.opened.log.fold = () => {
      throw new NetkvmError('log.unwritable', 'disk I/O error');
    };
    world.change(2, { mtu: 1 });
    await until('it gives up', () => started.ended.length > 0);
    expect(started.ended[0]?.message).toBe('disk I/O error');
    await started.service.stop('test');
  });
});
