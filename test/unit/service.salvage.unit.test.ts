// A damaged log is set aside; what it owed is not lost with it, as far as it can be read, and can be given back.
import { openSync, closeSync, statSync, writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, test } from 'vitest';
import { readableEvents } from '../../src/adapters/log/salvage.ts';
import { databaseIn, openLog } from '../../src/adapters/log/sqlite.ts';
import type { Outcome } from '../../src/adapters/platform.ts';
import type { Adapter, EventData, EventType, Policy } from '../../src/events/catalogue.ts';
import type { NewEvent } from '../../src/events/envelope.ts';
import { carriedOver, owedIn } from '../../src/host/salvage.ts';
import { adapter, bonded, MAC } from '../given.ts';
import { HostedStory, RUNNING } from '../hosted.given.ts';
import { around, flaps } from './log.samples.ts';
import { ACTING, cleanUp, eventsIn, folder, serve, SOUND, succeeded, until, verdictOn, World } from './service.given.ts';

afterEach(cleanUp);

const POLICY: Policy = { ...ACTING, pairs: [{ mac: MAC, mode: 'bond' }] };
const standby: Adapter = adapter(2, {
  bus: 'virtio',
  device: 'virtio1',
  pci: '0000:01:00.0',
  driver: 'virtio_net',
  up: true,
  carrier: true,
});
const ADDRESS = '192.0.2.7/24';
const ours: Adapter = { ...bonded.bond, name: 'fo112233' };

/** A guest with one NIC with an address, that can be taken over into a bond and given back. */
const guest = (): World => {
  const world: World = new World(
    async (decision, _, ledger): Promise<Outcome> => {
      const move = (from: number, to: number): void => {
        world.see(
          { type: 'address.removed', data: { ifindex: from, address: ADDRESS } },
          { type: 'address.added', data: { ifindex: to, address: ADDRESS } },
        );
        world.addresses.splice(0, 1, { ifindex: to, address: ADDRESS });
      };
      if (decision.kind === 'takeOver') {
        await ledger.owe({ kind: 'takeover', device: decision.standby, before: { addresses: [...world.addresses] } });
        if (world.adapters.has(9)) return succeeded;
        world.adapters.set(9, ours);
        world.see({ type: 'adapter.appeared', data: ours });
        world.change(2, { master: 9, slave: { active: true, miiUp: true } });
        move(2, 9);
        return succeeded;
      }
      if (decision.kind !== 'giveBack') return world.obey(decision);
      const owed = ledger.open.find(({ id }) => id === decision.plan.obligation);
      if (owed === undefined) throw new Error('nothing of that id is owed');
      world.change(2, { master: null, slave: null });
      world.remove(9);
      move(9, (owed.before as { addresses: { ifindex: number }[] }).addresses[0]?.ifindex ?? 0);
      ledger.settle(owed.id, 'givenBack');
      return succeeded;
    },
    [standby],
  );
  world.addresses.push({ ifindex: 2, address: ADDRESS });
  return world;
};

const overwrite = (path: string, at: number, bytes: number): void => {
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(bytes, 0xa5), 0, bytes, at);
  closeSync(file);
};

/** A log of a service that took the NIC over and ended, with as many events behind that as fill some pages. */
const takenOver = async () => {
  const [dir, world] = [folder(), guest()];
  const was = structuredClone([[...world.adapters.values()], world.addresses]);
  const { service } = await serve(dir, world, { policy: POLICY });
  await until(
    'it is taken over',
    () => world.adapters.get(2)?.master === 9 && service.story.guest.pairs.get(MAC)?.pending === null,
  );
  await service.stop('test');
  const { log } = openLog(dir, { bootId: 'boot', machineId: 'machine' });
  log.append(
    flaps(1, 2000).map((event) => ({ ...event, data: { ifindex: 77, changed: { up: true } } }) as typeof event),
    log.head(),
  );
  log.close();
  return { dir, world, was, path: databaseIn(dir) };
};
/** The data of the log's events of a type. */
const dataIn = <T extends EventType>(dir: string, type: T) => eventsIn(dir, type).map(({ data }) => data as EventData<T>);
type Taken = Awaited<ReturnType<typeof takenOver>>;

const PAGE = 4096;
const DAMAGE: readonly (readonly [name: string, damage: (taken: Taken) => void])[] = [
  ['a page in the middle', ({ path }) => overwrite(path, PAGE * Math.floor(statSync(path).size / PAGE / 2), PAGE)],
  ['the end', ({ path }) => overwrite(path, statSync(path).size - PAGE, PAGE)],
  [
    'an event that is not valid, which shows only when it is folded',
    ({ path }) => {
      const db = new DatabaseSync(path);
      db.exec(`UPDATE events SET data = 'x' WHERE seq = 600`);
      db.close();
    },
  ],
  [
    'a hole, and a checkpoint that is none',
    ({ path }) => {
      const db = new DatabaseSync(path);
      db.exec(
        `DELETE FROM events WHERE seq BETWEEN 700 AND 720; UPDATE events SET type = 'checkpoint.made', data = '{"state":7}' WHERE seq = 1500`,
      );
      db.close();
    },
  ],
];

describe('what a damaged log owed', () => {
  test.each(DAMAGE)('is carried over into the new one and given back: %s', async (_, damage) => {
    const taken = await takenOver();
    const [owed] = dataIn(taken.dir, 'obligation.opened');
    damage(taken);
    const { dir, world } = taken;
    const { service, lines } = await serve(dir, world, { policy: POLICY });
    expect(lines.some(({ event }) => event === 'setAside')).toBe(true);
    await until('it is carried over', () => (service.story.guest.pairs.get(MAC)?.obligations.length ?? 0) > 0);
    const { pairs, adapters } = service.story.guest;
    const device = { ...owed?.device, arrival: adapters.get(2)?.arrival };
    expect(pairs.get(MAC)?.obligations).toEqual([{ ...owed, id: `before.${owed?.id}`, device }]);
    // It is the pair's as before: what was made is found, and nothing more is owed.
    await until('it is at rest', () => pairs.get(MAC)?.pending === null && pairs.get(MAC)?.unfinished === false);
    expect(pairs.get(MAC)?.obligations).toHaveLength(1);
    service.obey('restore', null, 'test');
    await until('it is given back', () => pairs.get(MAC)?.obligations.length === 0);
    expect([[...world.adapters.values()], world.addresses]).toEqual(taken.was);
    await service.stop('test');
    expect(dataIn(dir, 'log.outage').map(({ reason }) => reason)).toEqual([
      expect.stringContaining('what it owed is carried over (1)'),
    ]);
    expect(verdictOn(dir)).toEqual(SOUND);
  });

  test('is nothing where nothing can be read, and the service runs', async () => {
    const taken = await takenOver();
    overwrite(taken.path, 0, PAGE * 4);
    const { service } = await serve(taken.dir, taken.world, { policy: POLICY });
    await until('it watches', () => service.isWatching);
    await service.stop('test');
    expect(eventsIn(taken.dir, 'obligation.opened')).toEqual([]);
    expect(dataIn(taken.dir, 'log.outage').map(({ reason }) => reason)).toEqual([
      expect.stringContaining('it owed nothing that can be read'),
    ]);
  });

  test('is gone where the machine was booted since: a bond does not outlive that', async () => {
    const taken = await takenOver();
    const db = new DatabaseSync(taken.path);
    db.exec(
      `UPDATE events SET data = replace(data, '"bootId":"boot"', '"bootId":"another"') WHERE type = 'service.started'; UPDATE events SET data = 'x' WHERE seq = 600`,
    );
    db.close();
    const { service } = await serve(taken.dir, taken.world, { policy: POLICY });
    await until('it watches', () => service.isWatching);
    expect(service.story.guest.pairs.get(MAC)?.obligations).toEqual([]);
    await service.stop('test');
  });
});

test('what can be read of a database are its valid events from the newest readable checkpoint on', () => {
  const dir = folder();
  const { log } = openLog(dir, { bootId: 'boot', machineId: 'machine' });
  const checkpoint = (n: number) => around(n, { type: 'checkpoint.made', data: { state: {} } });
  log.append([...flaps(1, 4), checkpoint(5), ...flaps(6, 4), checkpoint(10), ...flaps(11, 990)], 0);
  log.close();
  const path = databaseIn(dir);
  expect([...readableEvents(path, () => true)].map(({ seq }) => seq)).toEqual(
    Array.from({ length: 991 }, (_, index) => index + 10),
  );
  const db = new DatabaseSync(path);
  db.exec(`UPDATE events SET data = '{' WHERE seq IN (10, 12)`);
  db.close();
  const seqs = [...readableEvents(path, () => true)].map(({ seq }) => seq);
  expect(seqs.slice(0, 7)).toEqual([5, 6, 7, 8, 9, 11, 13]);
  overwrite(path, PAGE * Math.floor(statSync(path).size / PAGE / 2), PAGE);
  const left = [...readableEvents(path, () => true)].map(({ seq }) => seq);
  expect(left.length).toBeLessThan(seqs.length);
  expect(left.at(-1)).toBe(1000);
  expect([...readableEvents(`${path}.none`, () => true)]).toEqual([]);
});

test('a hypervisor’s log owes MACs and entries of its VFs, which are read as well', () => {
  const host = new HostedStory();
  host.port();
  host.qemu(RUNNING);
  host.qemu({ migration: 'setup' });
  host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
  host.qemu({ migration: 'wait-unplug' });
  host.qemu({ migration: 'active' });
  host.run();
  expect(host.pair.obligations.length).toBeGreaterThan(0);
  const dir = folder();
  const { log } = openLog(dir, { bootId: 'boot', machineId: 'machine' });
  log.append(
    host.events.map((event) => ({ ...around(event.seq, event), data: event.data }) as NewEvent),
    0,
  );
  log.close();
  const [started] = host.events;
  if (started === undefined) throw new Error('nothing was told');
  const owed = owedIn(databaseIn(dir), started);
  expect(owed).toEqual(host.pair.obligations);
  expect(carriedOver(owed, host.story.guest).map(({ type }) => type)).toEqual(owed.map(() => 'obligation.opened'));
});
