// `netkvm host` beside real QEMUs: source and target, each with an agent and a switch of its own, and a guest with the service
// in it. What the switches forward, what the agents' logs fold to, and what the guest says must agree in the end.
import { expect, inject, test } from 'vitest';
import { timelineOf } from '../../../replay/timeline/timeline.ts';
import type { RecordedEvent } from '../../../src/events/envelope.ts';
import { inProcess } from '../../unit/service.given.ts';
import { PARKED } from './agent.ts';
import { besideQemu, kinds, migrating, sound } from './hosts.ts';
import type { Lab } from './lab.ts';
import { GUEST, tap } from './network.ts';
import { pause } from './vm.ts';

const LIMIT_MS = 400_000;
/** What the smoke run takes; the rest needs `-- --full`. */
const full = inject('full');
const { begin, beginTarget } = besideQemu(inject('guests'));

const at_ms = (event: RecordedEvent | undefined): number => Number(BigInt(event?.wall_ns ?? 0)) / 1e6;
/** From QEMU's word to the end of the effect that it led to, by the agent's own log. */
const took = (events: readonly RecordedEvent[], status: string, kind: string): number => {
  const said = events.find((event) => event.type === 'monitor.event' && event.data.fields['status'] === status);
  const decision = events.find(
    (event) => event.type === 'decision.made' && event.data.kind === kind && event.seq > (said?.seq ?? 0),
  );
  const id = decision?.type === 'decision.made' ? decision.data.id : '';
  const outcome = events.find((event) => event.type === 'outcome.seen' && event.data.decision === id);
  return at_ms(outcome) - at_ms(said);
};
/** Pings from the host: how many of them were answered. */
const answered = async ({ network }: Lab, count: number): Promise<number> => {
  const words = ['busybox', 'ping', '-c', String(count), '-i', '0.05', '-W', '1', GUEST.v4];
  const text = await network.run(...words).catch(({ stdout }: { stdout?: string }) => stdout ?? '');
  return Number(/, (\d+) packets received/.exec(text)?.[1] ?? 0);
};

test(
  'a migration that is ordered: told, moved, parked, migrated, plugged; one name in three logs',
  { timeout: LIMIT_MS },
  async () => {
    const begun = await begin({ failover: false });
    const { guest, source } = begun;
    const { to, target } = await beginTarget(begun);
    expect((await migrating(begun.lab, source, target, '--dry-run').ended).status).toBe(0);
    const { status, output } = await migrating(begun.lab, begun.source, target).ended;
    expect([status, output]).toEqual([0, expect.stringContaining('verified')]);
    expect(output).toContain('guest prepared');
    await begun.lab.arrived(to);
    await guest.rests('onPrimary', 'primary');
    expect(await source.entries()).toEqual({ parked: tap('a', 'primary') });
    expect(await target.entries()).toEqual({ pair: tap('b', 'primary') });
    expect(kinds(source.log().events)).toEqual([
      'tellGuest',
      'parkMac',
      'addForwarding',
      'unplugPrimary',
      'startMigration',
      'removeForwarding',
    ]);
    // The guest is told as soon as its service is heard there; and a late frame from the source may move the entry once more.
    expect([...new Set(kinds(target.log().events))].filter((kind) => kind !== 'tellGuest')).toEqual([
      'parkMac',
      'addForwarding',
      'plugPrimary',
      'removeForwarding',
      'restoreMac',
    ]);
    await guest.stop();
    await sound(source);
    await sound(target);
    const files = await Promise.all(
      [source.stateDir, target.stateDir, await guest.pull()].map(async (folder) => {
        await inProcess('log', 'export', '--state-dir', folder, '-o', `${folder}.recording.jsonl`);
        return `${folder}.recording.jsonl`;
      }),
    );
    const { migrations, hosts, guests } = (await timelineOf(files)).document;
    expect([hosts.length, guests.length]).toEqual([2, 1]);
    expect(migrations.map(({ by }) => by.length)).toEqual([3]);
  },
);

test.runIf(full)(
  'cancelled while memory is copied: the VF was parked, and has its MAC before the guest sees it',
  { timeout: LIMIT_MS },
  async () => {
    const begun = await begin({ failover: true });
    const { lab: made, guest, source } = begun;
    const to = await made.destination();
    await made.beginMigration(to, 'active');
    await source.stage('parked');
    expect(await source.entries()).toEqual({ parked: tap('a', 'primary'), pair: tap('a', 'standby') });
    await made.cancelMigration(to);
    await source.stage('present');
    await guest.rests('onPrimary', 'primary');
    expect(await source.entries()).toEqual({ pair: tap('a', 'primary') });
    await guest.reaches();
    const { events, story } = source.log();
    expect(kinds(events).filter((kind) => kind !== 'tellGuest')).toEqual([
      'parkMac',
      'addForwarding',
      'removeForwarding',
      'restoreMac',
    ]);
    expect(story.findings.list(story.end).map(({ code }) => code)).not.toContain('wrongMac');
    process.stdout.write(`restored ${took(events, 'cancelling', 'restoreMac').toFixed(1)} ms after "cancelling"\n`);
    await sound(source);
  },
);

test.runIf(full)('cancelled in wait-unplug: the VF was never touched', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: true, native: true });
  const to = await begun.lab.destination();
  await begun.lab.beginMigration(to, 'wait-unplug');
  await begun.source.stage('waitUnplug');
  await begun.lab.cancelMigration(to);
  await begun.source.stage('present');
  await begun.guest.rests('onPrimary', 'primary');
  expect(kinds(begun.source.log().events)).not.toContain('parkMac');
  expect(await begun.source.entries()).toEqual({ pair: tap('a', 'primary') });
});

test.runIf(full)('the target dies: everything is given back in reverse', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: true });
  const to = await begun.lab.destination();
  await begun.lab.beginMigration(to, 'active');
  await begun.source.stage('parked');
  await begun.lab.failMigration(to);
  await begun.source.stage('present');
  await begun.guest.rests('onPrimary', 'primary');
  expect(await begun.source.entries()).toEqual({ pair: tap('a', 'primary') });
  expect((await begun.source.hosted()).owed).toEqual([]);
});

test.runIf(full)('the target dies under an ordered migration: the primary is plugged again', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: false });
  const { to, target } = await beginTarget(begun);
  await begun.lab.vm.execute('migrate-set-parameters', { 'max-bandwidth': 2 * 1024 * 1024 });
  const ordered = migrating(begun.lab, begun.source, target).ended;
  await begun.source.is('memory is copied', ({ monitor }) => monitor?.migration === 'active');
  await to.kill();
  const { status, output } = await ordered;
  expect([status, output]).toEqual([expect.any(Number), expect.stringContaining('source is back')]);
  expect(status).not.toBe(0);
  await begun.guest.rests('onPrimary', 'primary');
  expect(await begun.source.entries()).toEqual({ pair: tap('a', 'primary') });
  expect((await begun.source.hosted()).owed).toEqual([]);
});

test.runIf(full).each(['waitUnplug', 'parked', 'cancelling'] as const)(
  'the agent is killed in %s and started again',
  { timeout: LIMIT_MS },
  async (step) => {
    const begun = await begin({ failover: true, native: step === 'waitUnplug' });
    const { lab: made, guest, source } = begun;
    const to = await made.destination();
    await made.beginMigration(to, 'wait-unplug');
    if (step === 'waitUnplug') await source.strike();
    await source.stage('parked');
    if (step === 'parked') await source.strike();
    if (step === 'cancelling') await source.kill();
    await made.cancelMigration(to);
    if (step === 'cancelling') await source.start();
    await source.stage('present');
    await guest.rests('onPrimary', 'primary');
    expect(await source.entries()).toEqual({ pair: tap('a', 'primary') });
    expect((await source.hosted()).owed).toEqual([]);
    await sound(source);
  },
);

test.runIf(full)('a guest without the service is migrated as before', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: true, service: false });
  const { to, target } = await beginTarget(begun);
  const { status, output } = await migrating(begun.lab, begun.source, target).ended;
  expect([status, output]).toEqual([0, expect.stringContaining('verified')]);
  await begun.lab.arrived(to);
  await target.stage('present');
  expect(kinds(begun.source.log().events)).toEqual(['startMigration', 'parkMac', 'addForwarding', 'removeForwarding']);
});

test.runIf(full)(
  'a frozen guest: refused before, an alarm and a cancellation where somebody migrates it all the same',
  { timeout: LIMIT_MS },
  async () => {
    const begun = await begin({ failover: true, more: 'onOverdue = "cancel"\nunplugLimit_ms = 2000' });
    const { lab: made, source, guest } = begun;
    const { to, target } = await beginTarget(begun);
    await made.vm.execute('stop');
    await source.is('it stands still', ({ monitor }) => monitor?.running === false);
    const { status, output } = await migrating(begun.lab, begun.source, target).ended;
    expect([status, output]).toEqual([9, expect.stringContaining('paused')]);
    await made.beginMigration(to, 'wait-unplug');
    await source.is('QEMU cancels', ({ monitor }) => monitor?.migration === 'cancelling' || monitor?.migration === 'cancelled');
    await made.vm.execute('cont');
    await source.stage('present');
    await guest.rests('onPrimary', 'primary');
    const { events, story } = source.log();
    expect(kinds(events)).toContain('cancelMigration');
    expect(kinds(events)).not.toContain('parkMac');
    expect(story.findings.list(story.end).map(({ code }) => code)).toEqual(
      expect.arrayContaining(['guestPaused', 'unplugEndless']),
    );
  },
);

test.runIf(full)('there and back at once', { timeout: LIMIT_MS }, async () => {
  const begun = await begin({ failover: true });
  const { to, target } = await beginTarget(begun);
  await target.giveMac();
  expect((await migrating(begun.lab, begun.source, target).ended).status).toBe(0);
  await begun.lab.arrived(to);
  await begun.source.kill();
  const { to: back, target: home } = await beginTarget(begun);
  const { status, output } = await migrating(begun.lab, target, home).ended;
  expect([status, output]).toEqual([0, expect.stringContaining('verified')]);
  await begun.lab.arrived(back);
  await begun.guest.rests('onPrimary', 'primary');
  expect(await home.entries()).toEqual({ pair: tap('a', 'primary') });
});

test.runIf(full).each([true, false])(
  'a physical function that drops what another MAC’s owner sends, parked %s: who reaches the guest while its VF is hidden',
  { timeout: LIMIT_MS },
  async (parks) => {
    const begun = await begin({ failover: true, service: false, policy: `effects = "${parks ? 'on' : 'off'}"` });
    const { lab: made, source } = begun;
    // The embedded switch takes a MAC from the port alone that has it, and takes frames for it there.
    await made.network.run('bridge', 'link', 'set', 'dev', tap('a', 'standby'), 'locked', 'on', 'learning', 'off');
    const to = await made.destination();
    await made.beginMigration(to, 'active');
    await source.is('it is hidden', ({ stage, pending }) => stage === (parks ? 'parked' : 'hidden') && pending === null);
    await pause(500);
    const count = await answered(made, 40);
    process.stdout.write(`parked ${parks}: ${count} of 40 pings answered\n`);
    expect(count).toBe(parks ? 40 : 0);
    await made.cancelMigration(to);
    await source.stage('present');
    expect(await source.entries()).toEqual({ pair: tap('a', 'primary') });
    expect(await answered(made, 5)).toBe(5);
  },
);

test('the parking MAC is a local one', () => {
  expect(Number.parseInt(PARKED.slice(0, 2), 16) & 3).toBe(2);
});
