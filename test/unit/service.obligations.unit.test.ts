// What the running service owes: recorded before anything is changed, kept over restarts, given back when an operator asks,
// with a service and without.
import { afterEach, describe, expect, test } from 'vitest';
import type { Outcome } from '../../src/adapters/platform.ts';
import { BEFORE_CHARS_MAX, type Adapter, type Observation, type Policy } from '../../src/events/catalogue.ts';
import { restoreAlone } from '../../src/host/commands/restore.ts';
import { operatorHandlers } from '../../src/host/operator.ts';
import { adapter, bonded, MAC, trio } from '../given.ts';
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

const BONDING: Policy = { ...ACTING, pairs: [{ mac: MAC, mode: 'bond' }] };
const virtio = { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0', driver: 'virtio_net' };
const standby: Adapter = adapter(2, { ...virtio, up: true, carrier: true });
const signal = new AbortController().signal;

/** A guest with one NIC that has an address, and a kernel that can make and remove the bond of its takeover. */
const guest = (fails: () => string | null = () => null): World => {
  const world: World = new World(
    async (decision, _, ledger): Promise<Outcome> => {
      const move = (from: number, to: number): void =>
        world.see(
          ...world.addresses.map((one): Observation => ({ type: 'address.removed', data: { ...one, ifindex: from } })),
          ...world.addresses.map((one): Observation => ({ type: 'address.added', data: { ...one, ifindex: to } })),
        );
      if (decision.kind === 'takeOver') {
        const { id } = await ledger.owe({ kind: 'takeover', device: decision.standby, before: { addresses: world.addresses } });
        const failure = fails();
        if (failure !== null) {
          ledger.settle(id, 'undone');
          return { result: 'failed', reason: failure, observed: false };
        }
        if (!world.adapters.has(9)) {
          world.adapters.set(9, bonded.bond);
          world.see({ type: 'adapter.appeared', data: bonded.bond });
          world.change(2, { master: 9, slave: { active: true, miiUp: true } });
          move(2, 9);
          world.addresses.splice(0, 1, { ifindex: 9, address: '192.0.2.7/24' });
        }
        return succeeded;
      }
      if (decision.kind === 'giveBack') {
        const failure = fails();
        if (failure !== null) return { result: 'failed', reason: failure, observed: false };
        const owed = ledger.open.find(({ id }) => id === decision.plan.obligation)!;
        world.change(2, { master: null, slave: null });
        world.remove(9);
        move(9, 2);
        world.addresses.splice(0, 1, ...(owed.before as { addresses: typeof world.addresses }).addresses);
        ledger.settle(owed.id, 'givenBack');
        return succeeded;
      }
      return world.obey(decision);
    },
    [standby],
  );
  world.addresses.push({ ifindex: 2, address: '192.0.2.7/24' });
  return world;
};
const isBond = (world: World): boolean => world.adapters.get(2)?.master === 9;
const bare = (world: World): unknown => ({ adapters: [...world.adapters.values()], addresses: world.addresses });

test('what was before is in the log before it is changed', async () => {
  const dir = folder();
  let recorded: unknown = null;
  const world = guest(() => {
    recorded = eventsIn(dir, 'obligation.opened').map(({ data }) => data);
    return null;
  });
  const { service } = await serve(dir, world, { policy: BONDING });
  await until('it is taken over', () => isBond(world) && service.story.guest.pairs.get(MAC)?.pending === null);
  const id = `${world.performed[0]!.id}.takeover`;
  const before = { addresses: [{ ifindex: 2, address: '192.0.2.7/24' }] };
  expect(recorded).toMatchObject([{ id, pair: MAC, kind: 'takeover', device: { ifindex: 2 }, before }]);
  expect(world.kinds).toEqual(['takeOver']);
  await service.stop('test');
  expect(eventsIn(dir, 'obligation.closed')).toEqual([]);
  expect(isBond(world)).toBe(true);
  expect(verdictOn(dir)).toEqual(SOUND);
});

test('a takeover that undid itself owes nothing, and leaves everything as it was', async () => {
  const dir = folder();
  const world = guest(() => 'the gateway did not answer');
  const was = structuredClone(bare(world));
  const { service, lines } = await serve(dir, world, { policy: BONDING });
  await until('it is concluded', () => lines.some(({ event }) => event === 'outcome'));
  const pair = service.story.guest.pairs.get(MAC)!;
  expect([pair.obligations, pair.hindrance]).toEqual([[], 'takeOver failed: the gateway did not answer']);
  await until('it is recorded', () => eventsIn(dir, 'obligation.closed').length > 0);
  expect(eventsIn(dir, 'obligation.closed').map(({ data }) => data)).toMatchObject([{ how: 'undone' }]);
  await pause(60);
  expect(world.kinds).toEqual(['takeOver']);
  expect(bare(world)).toEqual(was);
});

describe('restore', () => {
  const takenOver = async (dir: string, world: World) => {
    const started = await serve(dir, world, { policy: BONDING });
    await until('it is taken over', () => isBond(world) && started.service.story.guest.pairs.get(MAC)?.pending === null);
    return started;
  };

  test('by the running service gives back everything, and the pair is then left alone until a reload', async () => {
    const [dir, world] = [folder(), guest()];
    const was = structuredClone(bare(world));
    const { service } = await takenOver(dir, world);
    const handlers = operatorHandlers(service, () => service.policy);
    await handlers['restore']!({ pair: MAC, by: 'test' }, signal);
    await until('it is given back', () => service.story.guest.pairs.get(MAC)!.obligations.length === 0);
    expect(bare(world)).toEqual(was);
    await pause(60);
    expect(world.kinds).toEqual(['takeOver', 'giveBack']);
    expect(eventsIn(dir, 'operator.commanded').map(({ data }) => data)).toEqual([{ command: 'restore', pair: MAC, by: 'test' }]);
    service.reload(BONDING);
    await until('it is taken over again', () => isBond(world));
    await service.stop('test');
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('without a service is done by the command itself; a restart before it changes nothing', async () => {
    const [dir, world] = [folder(), guest()];
    const was = structuredClone(bare(world));
    await (await takenOver(dir, world)).service.stop('SIGTERM');
    expect(isBond(world)).toBe(true);
    const again = await serve(dir, world, { policy: BONDING });
    await pause(60);
    expect(world.kinds).toEqual(['takeOver']);
    await again.service.stop('SIGTERM');
    const limit_ms = 5000;
    const owed = await restoreAlone({
      platform: world,
      place: { log: '', credentialsFile: '', stateDir: dir },
      policy: BONDING,
      mac: null,
      by: 'test',
      limit_ms,
    });
    expect(owed).toEqual([]);
    expect(bare(world)).toEqual(was);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('that does not succeed in time says what is still owed, and why', async () => {
    const dir = folder();
    const world: World = guest(() => (isBond(world) ? 'EBUSY' : null));
    await (await takenOver(dir, world)).service.stop('SIGTERM');
    const owed = await restoreAlone({
      platform: world,
      place: { log: '', credentialsFile: '', stateDir: dir },
      policy: BONDING,
      mac: MAC,
      by: 'test',
      limit_ms: 100,
    });
    expect(owed).toEqual([`${MAC}: takeover (${world.performed[0]!.id}.takeover), giveBack failed: EBUSY`]);
  });

  test('is refused in a dry run, and for a pair that does not exist', async () => {
    const world = guest();
    const { service, lines } = await serve(folder(), world, { policy: { ...BONDING, effects: 'dryRun' } });
    const handlers = operatorHandlers(service, () => service.policy);
    await until('it would be taken over', () => lines.some(({ event }) => event === 'decision'));
    await expect(handlers['restore']!({}, signal)).rejects.toMatchObject({ code: 'command.refused' });
    service.reload(BONDING);
    const other = { pair: '52:54:00:00:00:01' };
    await expect((async () => handlers['restore']!(other, signal))()).rejects.toMatchObject({ code: 'command.refused' });
    await expect((async () => handlers['restore']!({ pair: 'x' }, signal))()).rejects.toMatchObject({ code: 'control.request' });
  });
});

test('a dry run says what would be done, and does nothing', async () => {
  const world = guest();
  const { lines } = await serve(folder(), world, { policy: { ...BONDING, effects: 'dryRun' } });
  await until('it is said', () => lines.some(({ event }) => event === 'outcome'));
  expect(lines.find(({ event }) => event === 'decision')).toMatchObject({
    kind: 'takeOver',
    what: 'make the bond fo112233 of eth2, move its addresses there, and undo it unless the default gateway answers in 5000 ms',
  });
  expect(lines.find(({ event }) => event === 'outcome')).toMatchObject({ result: 'void', reason: 'dryRun' });
  expect(world.performed).toEqual([]);
});

describe('the ledger', () => {
  test('keeps what was before, whatever a second attempt says', async () => {
    const dir = folder();
    let answers = 0;
    const world: World = new World(
      async ({ standby: device }, _, ledger): Promise<Outcome> => {
        answers += 1;
        const owed = await ledger.owe({ kind: 'takeover', device, before: { attempt: answers } });
        return { result: 'failed', reason: JSON.stringify(owed.before), observed: false };
      },
      [standby],
    );
    world.addresses.push({ ifindex: 2, address: '192.0.2.7/24' });
    await serve(dir, world, { policy: BONDING });
    await until('two attempts', () => eventsIn(dir, 'outcome.seen').length >= 2);
    const reasons = eventsIn(dir, 'outcome.seen').map(({ data }) => (data as { reason: string }).reason);
    expect(reasons.slice(0, 2)).toEqual(['{"attempt":1}', '{"attempt":1}']);
    expect(eventsIn(dir, 'obligation.opened').length).toBe(1);
  });

  test('refuses what is too much to remember, and what cannot be recorded', async () => {
    const dir = folder();
    const said: string[] = [];
    const world: World = new World(
      async ({ standby: device }, _, ledger): Promise<Outcome> => {
        const big = await ledger
          .owe({ kind: 'takeover', device, before: 'x'.repeat(BEFORE_CHARS_MAX) })
          .catch((error: unknown) => error);
        opened.log.append = () => {
          throw new Error('disk full');
        };
        const full = await ledger.owe({ kind: 'takeover', device, before: null }).catch((error: unknown) => error);
        said.push(JSON.stringify([big, full].map((error) => (error as Error).message)));
        return { result: 'failed', reason: 'not recorded', observed: false };
      },
      [standby],
    );
    world.addresses.push({ ifindex: 2, address: '192.0.2.7/24' });
    const { opened, service }: Started = await serve(dir, world, { policy: BONDING });
    await until('it has answered', () => said.length === 1);
    expect(said[0]).toMatch(/65538 characters of 65536.*disk full/);
    expect(service.story.guest.pairs.get(MAC)?.obligations).toEqual([]);
  });
});

describe('prepare', () => {
  const active = { active: true, miiUp: true };
  const idle = { active: false, miiUp: true };
  const onPrimary = [
    bonded.bond,
    { ...bonded.standby, slave: idle },
    { ...bonded.primary, master: 9, up: true, carrier: true, slave: active },
  ];

  test('moves the traffic', async () => {
    const world = new World(undefined, onPrimary);
    const { service, stage } = await serve(folder(), world);
    await until('it is on its primary', () => stage() === 'onPrimary');
    const answer = await operatorHandlers(service, () => service.policy)['prepare']!({ by: 'test' }, signal);
    expect(answer).toMatchObject({ pairs: [MAC] });
    await until('the standby carries', () => service.story.guest.pairs.get(MAC)!.shown.datapath === 'standby');
    expect(world.kinds).toEqual(['activateStandby']);
  });

  test.each<[string, readonly Adapter[], Partial<Policy>, RegExp]>([
    ['effects are off', onPrimary, { effects: 'off' }, /effects are not on/],
    ['the kernel switches', Object.values(trio), {}, /net_failover switches/],
  ])('is refused where %s', async (_, adapters, over, text) => {
    const world = new World(undefined, adapters);
    const { service, stage } = await serve(folder(), world, { policy: { ...ACTING, ...over } });
    await until('it is on its primary', () => stage() === 'onPrimary');
    const asked = operatorHandlers(service, () => service.policy)['prepare']!({}, signal);
    await expect(asked).rejects.toMatchObject({ code: 'command.refused', message: expect.stringMatching(text) });
  });
});
