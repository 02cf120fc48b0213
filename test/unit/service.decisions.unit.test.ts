// Decisions in the running service: recorded before they are carried out, one outcome each, whatever becomes of them.
import { cpSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import type { Outcome } from '../../src/adapters/platform.ts';
import type { Decision, HappeningOf } from '../../src/events/catalogue.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { bonded } from '../given.ts';
import { ACTING, cleanUp, eventsIn, folder, pause, serve, SOUND, succeeded, until, verdictOn, World } from './service.given.ts';

afterEach(cleanUp);

type Made = RecordedEvent & HappeningOf<'decision.made'>;
type Seen = RecordedEvent & HappeningOf<'outcome.seen'>;
const made = (dir: string): Made[] => eventsIn(dir, 'decision.made') as Made[];
const outcomes = (dir: string): Seen[] => eventsIn(dir, 'outcome.seen') as Seen[];
/** `bindPrimary succeeded`, for each outcome in the log. */
const story = (dir: string): string[] => {
  const kinds = new Map(made(dir).map(({ data }) => [data.id, data.kind]));
  return outcomes(dir).map(({ data: { decision, result } }) => `${kinds.get(decision)} ${result}`);
};

describe('a decision', () => {
  test('is durable before it is carried out; decision and outcome name their cause and their episode', async () => {
    const dir = folder();
    const early: string[] = [];
    const world: World = new World((decision) => {
      if (!made(dir).some(({ data }) => data.id === decision.id)) early.push(decision.id);
      return world.obey(decision);
    });
    const { service, stage } = await serve(dir, world);
    await until('the primary carries', () => stage() === 'onPrimary' && outcomes(dir).length === 2);
    await service.stop('test');
    expect(early).toEqual([]);
    expect(story(dir)).toEqual(['bindPrimary succeeded', 'activatePrimary succeeded']);
    const byId = new Map(made(dir).map((event) => [event.data.id, event]));
    for (const outcome of outcomes(dir)) {
      const decision = byId.get(outcome.data.decision)!;
      expect(outcome.cause).toBe(decision.seq);
      expect(decision.data.id).toBe(`d${decision.cause}.0`);
      expect(decision.episode).toMatch(/^e[0-9]+$/);
      expect(outcome.episode).toBe(decision.episode);
    }
    expect(new Set(made(dir).map(({ episode }) => episode)).size).toBe(1);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  const answers: Record<string, (attempt: number, signal: AbortSignal) => Promise<Outcome>> = {
    'that fails is tried again': (attempt) =>
      Promise.resolve(attempt === 1 ? { result: 'failed', reason: 'EBUSY', observed: false } : succeeded),
    'whose platform throws is failed': (attempt) =>
      attempt === 1 ? Promise.reject(new Error('EIO')) : Promise.resolve(succeeded),
    'that hangs is failed after its limit': (attempt) => (attempt === 1 ? new Promise(() => {}) : Promise.resolve(succeeded)),
    'that gives up when told is a timeout all the same': (attempt, signal) =>
      attempt > 1
        ? Promise.resolve(succeeded)
        : new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('gave up')))),
    'that answers late has its one outcome already': async (attempt) => {
      if (attempt === 1) await pause(150);
      return succeeded;
    },
  };
  const reasons = ['EBUSY', 'EIO', 'timeout after 100 ms', 'timeout after 100 ms', 'timeout after 100 ms'];
  test.each(Object.entries(answers).map(([name, answer], place) => ({ name, answer, reason: reasons[place] })))(
    '$name',
    async ({ answer, reason }) => {
      const dir = folder();
      let attempts = 0;
      const world: World = new World(async (decision, signal) => {
        if (decision.kind !== 'bindPrimary') return world.obey(decision);
        const attempt = (attempts += 1);
        const outcome = await answer(attempt, signal);
        if (attempt > 1) await world.obey(decision);
        return outcome;
      });
      const { service, stage } = await serve(dir, world);
      await until('the primary carries', () => stage() === 'onPrimary' && outcomes(dir).length === 3);
      await pause(100);
      await service.stop('test');
      expect(story(dir)).toEqual(['bindPrimary failed', 'bindPrimary succeeded', 'activatePrimary succeeded']);
      expect(outcomes(dir)[0]?.data.reason).toBe(reason);
      expect(verdictOn(dir)).toEqual(SOUND);
    },
  );

  test('that is refused is not tried again until a fact changes', async () => {
    const dir = folder();
    const world = new World(() => Promise.resolve({ result: 'refused', reason: 'EPERM', observed: false }));
    const { service } = await serve(dir, world);
    await until('it was tried', () => outcomes(dir).length === 1);
    await pause(60);
    expect(world.kinds).toEqual(['bindPrimary']);
    world.change(4, { up: true });
    world.change(4, { carrier: true });
    await until('it was tried again', () => outcomes(dir).length === 2);
    await service.stop('test');
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('in a dry run is recorded as void and nothing is touched', async () => {
    const dir = folder();
    const world = new World();
    const { service } = await serve(dir, world, { policy: { ...ACTING, effects: 'dryRun' } });
    await until('it was decided', () => outcomes(dir).length === 1);
    await pause(60);
    await service.stop('test');
    expect(world.kinds).toEqual([]);
    expect(story(dir)).toEqual(['bindPrimary void']);
    expect(outcomes(dir)[0]?.data.reason).toBe('dryRun');
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('is not carried out when the service stops in the same turn', async () => {
    const dir = folder();
    const world = new World(undefined, [bonded.bond, bonded.standby]);
    const { service } = await serve(dir, world);
    await until('it watches', () => service.story.guest.adapters.size === 2);
    world.adapters.set(4, bonded.primary);
    world.survey('test');
    await service.stop('test');
    await pause(20);
    expect(made(dir)).toHaveLength(1);
    expect(world.kinds).toEqual([]);
  });
});

describe('a decision whose service died', () => {
  /** A service that dies while an effect is under way: what is left is the folder as it was at that moment. */
  const died = async (): Promise<{ dir: string; decision: Decision }> => {
    const dir = folder();
    const world = new World(() => new Promise(() => {}));
    await serve(dir, world);
    await until('an effect is under way', () => world.performed.length === 1);
    const left = folder();
    cpSync(dir, left, { recursive: true });
    return { dir: left, decision: world.performed[0]! };
  };

  test('is void, and decided anew from fresh facts', async () => {
    const { dir, decision } = await died();
    const world = new World();
    const { service, stage } = await serve(dir, world);
    await until('the primary carries', () => stage() === 'onPrimary' && outcomes(dir).length === 3);
    await service.stop('test');
    expect(story(dir)).toEqual(['bindPrimary void', 'bindPrimary succeeded', 'activatePrimary succeeded']);
    const [first] = outcomes(dir);
    expect(first?.data.decision).toBe(decision.id);
    expect(first?.cause).toBe(made(dir)[0]?.seq);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('is never made again for a primary that left meanwhile', async () => {
    const { dir } = await died();
    const world = new World(undefined, [bonded.bond, bonded.standby]);
    const { service, stage } = await serve(dir, world);
    await until('the survey is in', () => stage() === 'fallback');
    await pause(60);
    await service.stop('test');
    expect(world.kinds).toEqual([]);
    expect(story(dir)).toEqual(['bindPrimary void']);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('that aborted effect is told so, and its late answer is dropped', async () => {
    const dir = folder();
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const world = new World(() => promise);
    const { service } = await serve(dir, world);
    await until('an effect is under way', () => world.performed.length === 1);
    await service.stop('test');
    expect(world.signals[0]?.aborted).toBe(true);
    resolve(succeeded);
    await pause(20);
    expect(outcomes(dir)).toEqual([]);
    expect(verdictOn(dir)).toEqual({ ...SOUND, open: 1 });
  });
});

test('effects that are switched on at a start follow from the first look, not from what the log says', async () => {
  const dir = folder();
  const before = await serve(dir, new World(), { policy: { ...ACTING, effects: 'off' } });
  await until('the primary is known', () => before.stage() === 'attaching');
  await before.service.stop('test');
  const world = new World(undefined, [bonded.bond, bonded.standby]);
  const { service, stage } = await serve(dir, world);
  await until('the survey is in', () => stage() === 'fallback');
  await until('effects are on', () => service.story.guest.policy.effects === 'on');
  await pause(30);
  await service.stop('test');
  expect(made(dir)).toEqual([]);
  expect(verdictOn(dir)).toEqual(SOUND);
});
