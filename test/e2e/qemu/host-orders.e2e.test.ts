// Orders to migrate that do not go as they should, beside real QEMUs: cancelled in every phase, agents that die at every step,
// another migration at once, and a guest that saw the wrong MAC. In the end the guest is on its primary, the switches say so,
// and nothing is owed that should not be.
import { expect, inject, test } from 'vitest';
import type { Agent, Command } from './agent.ts';
import { besideQemu, type Begun, kinds, migrating, sound } from './hosts.ts';
import { FOREIGN_MAC } from './lab.ts';
import { tap } from './network.ts';

const LIMIT_MS = 400_000;
/** What the smoke run takes; the rest needs `-- --full`. */
const full = inject('full');
const { begin, beginTarget } = besideQemu(inject('guests'));

interface Phase {
  readonly name: string;
  readonly before?: (begun: Begun) => Promise<unknown>;
  /** It is reached. */
  readonly reached: (begun: Begun, order: Command) => Promise<unknown>;
  readonly after?: (begun: Begun) => Promise<unknown>;
}
const SLOW = { 'max-bandwidth': 2 * 1024 * 1024 };
const FAST = { 'max-bandwidth': 2 ** 40 };
/** Native hotplug: between the request and the unplug are five seconds. The last one costs the target its QEMU. */
const PHASES: readonly Phase[] = [
  { name: 'the target is ready', reached: (_, order) => order.says('reserved') },
  {
    name: 'the guest is asked',
    before: ({ guest }) => guest.sh('kill -STOP $(pidof node)'),
    reached: ({ source }) => source.is('asked', ({ stage }) => stage === 'preparing'),
    after: ({ guest }) => guest.sh('kill -CONT $(pidof node)'),
  },
  { name: 'the unplug is asked for', reached: ({ source }) => source.is('asked', ({ stage }) => stage === 'unplugRequested') },
  {
    name: 'memory is copied',
    before: ({ lab }) => lab.vm.execute('migrate-set-parameters', SLOW),
    reached: ({ source }) => source.is('memory is copied', ({ monitor }) => monitor?.migration === 'active'),
  },
];

/** The guest is on its primary, the source's switch says so, and neither side owes anything. */
const isAsBefore = async ({ guest, source }: Begun, target: Agent): Promise<void> => {
  await source.stage('present');
  await guest.rests('onPrimary', 'primary');
  await target.is('it has given everything back', ({ owed, pending }) => owed.length === 0 && pending === null);
  expect([await source.entries(), (await source.hosted()).owed]).toEqual([{ pair: tap('a', 'primary') }, []]);
  expect(await target.entries()).toEqual({});
  await guest.reaches();
};

test('an order that is cancelled, in every phase, leaves everything as it was', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: false, native: full, more: 'prepareLimit_ms = 60000' });
  const { target } = await beginTarget(begun);
  for (const { name, before, reached, after } of full ? PHASES : PHASES.slice(-1)) {
    await before?.(begun);
    const order = migrating(begun.lab, begun.source, target);
    await reached(begun, order);
    order.interrupt();
    const { status, output } = await order.ended;
    await after?.(begun);
    expect([status, output], name).toEqual([9, expect.stringContaining('interrupted')]);
    await isAsBefore(begun, target);
  }
  await sound(begun.source);
  await sound(target);
});

/**
 * What the source has decided when it is killed, and what the target has; each pair of them in a migration of its own. The
 * target parks as soon as it sees that a guest is to come, before any order.
 */
const DEATHS = [
  ['tellGuest', 'addForwarding'],
  ['parkMac', 'tellGuest'],
  ['addForwarding', 'plugPrimary'],
  ['unplugPrimary', 'removeForwarding'],
  ['startMigration', 'restoreMac'],
  ['removeForwarding', null],
] as const;

test.runIf(full)(
  'agents that are killed at every step and started again finish what was ordered',
  { timeout: 2 * LIMIT_MS },
  async () => {
    const begun = await begin({ failover: false });
    const { lab, guest } = begun;
    let { source } = begun;
    for (const [atSource, atTarget] of DEATHS) {
      const { to, target } = await beginTarget(begun);
      await lab.vm.execute('migrate-set-parameters', FAST);
      const deaths = [source.strikeAt(atSource), ...(atTarget === null ? [] : [target.strikeAt(atTarget)])];
      const { status, output } = await migrating(lab, source, target).ended;
      expect([status, output], `${atSource}, ${atTarget}`).toEqual([0, expect.stringContaining('verified')]);
      await Promise.all(deaths);
      await source.is('departed', ({ stage, pending }) => stage === 'departed' && pending === null);
      await target.stage('present');
      const { side } = lab;
      expect(await source.entries()).toEqual({ parked: tap(side, 'primary') });
      await lab.arrived(to);
      await guest.rests('onPrimary', 'primary');
      expect(await target.entries()).toEqual({ pair: tap(lab.side, 'primary') });
      await sound(source);
      source = target;
    }
    await sound(source);
    await guest.reaches();
  },
);

test.runIf(full)(
  'a second migration: refused while one is under way, and taken at once after it, without a primary',
  { timeout: LIMIT_MS },
  async () => {
    const begun = await begin({ failover: false });
    const { lab, guest, source } = begun;
    const { to, target } = await beginTarget(begun, { plugs: false });
    await lab.vm.execute('migrate-set-parameters', SLOW);
    const first = migrating(lab, source, target);
    await source.is('memory is copied', ({ monitor }) => monitor?.migration === 'active');
    const second = await migrating(lab, source, target).ended;
    expect([second.status, second.output]).toEqual([9, expect.stringContaining('another migration of this guest is under way')]);
    await lab.vm.execute('migrate-set-parameters', FAST);
    await first.says('migrated');
    await lab.arrived(to);
    const { to: back, target: home } = await beginTarget(begun);
    const { status, output } = await migrating(lab, target, home).ended;
    expect([status, output]).toEqual([0, expect.stringContaining('verified')]);
    await lab.arrived(back);
    await guest.rests('onPrimary', 'primary');
    expect(kinds(target.log().events)).not.toContain('unplugPrimary');
    expect(await home.entries()).toEqual({ pair: tap('a', 'primary') });
    first.interrupt();
    await first.ended;
  },
);

test.runIf(full)('a guest that saw another MAC on its primary gets it plugged again', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: false });
  const { lab, guest, source } = begun;
  await lab.unplug();
  await source.stage('parked');
  await lab.plug('primary', FOREIGN_MAC);
  await source.is('it is seen', ({ guest: word }) => word?.primary === FOREIGN_MAC);
  await guest.rests('onPrimary', 'primary');
  await source.stage('present');
  expect(await source.entries()).toEqual({ pair: tap('a', 'primary') });
  const { events, story } = source.log();
  expect(kinds(events)).toEqual(expect.arrayContaining(['unplugPrimary', 'plugPrimary']));
  expect(story.findings.list(story.end).find(({ code }) => code === 'wrongMac')).toMatchObject({
    until_seq: expect.any(Number) as number,
  });
  await guest.reaches();
});
