// What the fold of the hypervisor's side keeps: of what QEMU said, of what was ordered, of decisions and their outcomes; its
// timers, its checkpoints, and where it finds that the log says something else.
import { describe, expect, test } from 'vitest';
import type { EventData } from '../../src/events/catalogue.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import { Guest } from '../../src/machines/guest.ts';
import type { HostedPair } from '../../src/machines/hosted-pair.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import { HostedStory, MAC, PARKED, RUNNING, VM } from '../hosted.given.ts';

const OTHER = '52:54:00:44:55:66';
const ORDER = { episode: 'b-1', uri: 'tcp:b:1', started: false };
const present = (vm = {}, policy = {}): HostedStory => {
  const host = new HostedStory(vm, policy);
  host.port();
  host.qemu(RUNNING);
  return host;
};
const migrating = (): HostedStory => {
  const host = present();
  host.qemu({ migration: 'wait-unplug' });
  host.qemu({ migration: 'active' });
  return host;
};
const commanded = (host: HostedStory, over: Partial<EventData<'operator.commanded'>>): HostedStory => {
  host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', ...over });
  return host;
};
const started = (host: HostedStory): HostedStory => {
  host.tell('service.started', { version: '0', machineVersion: 1, bootId: 'b', vmGeneration: null, platform: 'h', host: {} });
  return host;
};
const elapse = (host: HostedStory, name: string, late = 0): HostedStory => {
  const [timer, armedBy] = [...host.pair.timers].find(([id]) => id.includes(name))!;
  host.tell('timer.elapsed', { pair: MAC, timer, armedBy: armedBy - late });
  return host;
};
/** The timers that the last event of the pair armed, and for how long. */
const delays = ({ steps }: HostedStory): [string, number][] =>
  steps
    .findLast(({ hosted }) => hosted.length > 0)!
    .timers.flatMap((one) => (one.op === 'arm' ? [[one.timer.split('.')[2]!, one.delay_ms]] : []));

describe('of QEMU', () => {
  const NOTHING = { hidden: false, asked: false, refused: false, returning: false, order: null, cancelOrdered: false };
  const kept = ({ hidden, asked, refused, returning, order, cancelOrdered }: HostedPair) => ({
    hidden,
    asked,
    refused,
    returning,
    order,
    cancelOrdered,
  });
  const all = { hidden: true, asked: true, refused: true, returning: true, order: ORDER, cancelOrdered: true };
  /** A pair of which all this is true hears this of QEMU, whose primary is in the guest so far. */
  const after = (before: Partial<HostedPair>, facts: Parameters<HostedStory['qemu']>[0], from = {}) => {
    const host = new HostedStory({ readOnly: true }, { effects: 'off' });
    host.qemu({ ...RUNNING, ...from });
    Object.assign(host.pair, before);
    host.qemu(facts);
    return kept(host.pair);
  };

  test('one that is gone, or whose guest has not arrived, leaves nothing to remember', () => {
    expect(after(all, { connected: false })).toEqual(NOTHING);
    expect(after(all, { incoming: true })).toEqual(NOTHING);
    expect(after(all, {})).toEqual(all);
  });

  test('a primary that was there and is not has been let go; one that was never seen has not', () => {
    expect(after({ asked: true }, { primary: false })).toEqual({ ...NOTHING, hidden: true });
    expect(after({ asked: true }, {}, { primary: false })).toEqual({ ...NOTHING, asked: true });
    const fresh = new HostedStory();
    fresh.qemu({ primary: false });
    expect(fresh.pair.hidden).toBe(false);
    expect(after({}, { connected: true, primary: false }, { connected: false }).hidden).toBe(false);
  });

  test('a primary that is plugged again is back', () => {
    const back = { hidden: false, asked: false, refused: false, returning: false };
    expect(after(all, { primary: true }, { primary: false })).toEqual({ ...all, ...back });
    // Not while the guest is being sent, and not when it was not seen to be away.
    expect(after(all, { primary: true, migration: 'active' }, { primary: false })).toMatchObject({ hidden: true });
    expect(after(all, { connected: true, primary: true }, { connected: false, primary: false })).toEqual(all);
  });

  test('that the guest is being sent means that its primary was let go, where QEMU hides it or it does not exist', () => {
    const sent = { hidden: true, asked: false, refused: false };
    expect(after({ asked: true, refused: true }, { migration: 'active' })).toMatchObject(sent);
    const unhidden = { failover: false };
    expect(after({ asked: true, refused: true }, { migration: 'active' }, unhidden)).toMatchObject({
      hidden: false,
      asked: true,
    });
    const without = { failover: false, primary: false };
    expect(after({ asked: true, refused: true }, { migration: 'active' }, without)).toMatchObject(sent);
    expect(after({}, { migration: 'setup' })).toMatchObject({ hidden: false, asked: false });
    expect(after({}, { migration: 'wait-unplug' })).toMatchObject({ hidden: false, asked: true });
  });

  test('the guest that was expected here is expected no more when it is sent on', () => {
    const host = present({ readOnly: true });
    host.pair.reserved = true;
    host.qemu({ migration: 'setup' });
    expect(host.pair.reserved).toBe(true);
    host.qemu({ migration: 'active' });
    expect(host.pair.reserved).toBe(false);
  });

  test.each(['cancelled', 'failed'])('a migration that was %s is over, and a primary that QEMU hid comes back', (migration) => {
    const over = { ...NOTHING, returning: true };
    expect(after({ ...all, asked: false, returning: false }, { migration })).toEqual(over);
    expect(after({ ...all, hidden: false, returning: false }, { migration })).toEqual(over);
    expect(after({ refused: true, order: ORDER }, { migration })).toEqual(NOTHING);
    expect(after({ ...all, returning: false }, { migration }, { failover: false })).toEqual({ ...NOTHING, hidden: true });
    // The end of an earlier one says nothing of what was ordered since.
    expect(after(all, { running: false }, { migration })).toEqual(all);
  });

  test('a migration that is completed has done what was ordered', () => {
    expect(after(all, { migration: 'completed' })).toEqual({ ...all, order: null, cancelOrdered: false });
  });

  test('events: the guest is asked, or refuses; others say nothing', () => {
    const host = present();
    for (const name of ['STOP', 'DEVICE_DELETED', 'MIGRATION']) host.says(name, { device: 'vf0', 'device-id': 'vf0' });
    expect(kept(host.pair)).toEqual(NOTHING);
    expect(host.steps.at(-1)!.hosted).toEqual([]);
    host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
    host.says('DEVICE_UNPLUG_GUEST_ERROR', { device: 'vf0' });
    expect(kept(host.pair)).toEqual({ ...NOTHING, asked: true, refused: true });
  });

  test('a primary that the guest shows is back', () => {
    const host = migrating();
    host.qemu({ migration: 'failed' });
    host.run();
    host.guest(null);
    expect(host.pair.returning).toBe(true);
    host.guest(OTHER);
    expect(host.pair.returning).toBe(true);
    host.tell('channel.facts', { pair: MAC, guest: null });
    expect([host.pair.guest, host.pair.returning]).toEqual([null, true]);
    host.guest(MAC);
    expect(host.pair.returning).toBe(false);
  });
});

describe('of what was ordered', () => {
  test('an order, its name, and where to', () => {
    const host = commanded(present(), { command: 'prepare' });
    expect(host.pair.order).toEqual({ episode: `e${host.events.length}`, uri: null, started: false });
    expect(host.pair.joined).toBe(`e${host.events.length}`);
    commanded(host, { episode: 'b-2', uri: 'tcp:b:1', pair: null });
    expect(host.pair.order).toMatchObject({ episode: 'b-2', uri: 'tcp:b:1' });
    commanded(host, { episode: 'b-3', pair: OTHER });
    for (const command of ['survey', 'setParameter', 'restartDevice'] as const) commanded(host, { command });
    expect([host.pair.order?.episode, host.pair.joined]).toEqual(['b-2', 'b-2']);
  });

  test('an answer holds for the migration that was asked about', () => {
    const host = present({ readOnly: true });
    host.guest();
    host.tell('channel.heard', { pair: MAC, word: 'prepared', episode: 'b-1', reason: null });
    expect([host.pair.answer, host.steps.at(-1)!.hosted]).toEqual([null, []]);
    commanded(host, { episode: 'b-1' }).run();
    host.tell('channel.heard', { pair: MAC, word: 'refused', episode: 'b-1', reason: null });
    expect(commanded(host, { episode: 'b-1' }).pair.answer).toBe('refused');
    expect(commanded(host, { episode: 'b-2' }).pair.answer).toBeNull();
    host.tell('channel.heard', { pair: MAC, word: 'prepare', episode: 'b-1', reason: null });
    expect(host.pair.answer).toBeNull();
  });

  test('to expect a guest, until it is here and knows', () => {
    const host = present();
    host.pair.released = true;
    commanded(host, { command: 'reserve' });
    expect([host.pair.reserved, host.pair.released, host.pair.joined]).toEqual([true, false, null]);
    commanded(host, { command: 'reserve', episode: 'b-1' });
    host.guest();
    expect(host.decided).toMatchObject([{ kind: 'tellGuest', plan: { word: 'arriving', episode: 'b-1' } }]);
    expect([host.pair.reserved, host.pair.episode]).toEqual([true, expect.stringMatching(/^e[0-9]+$/)]);
    host.done();
    expect([host.pair.reserved, host.pair.joined, host.pair.told, host.pair.episode]).toEqual([false, null, null, null]);
    // Where there is no channel, nobody has to know.
    const silent = present();
    silent.pair.vm = { mac: MAC, qmp: VM.qmp, standby: VM.standby, primary: VM.primary };
    expect(commanded(silent, { command: 'reserve', episode: 'b-1' }).pair.reserved).toBe(false);
  });

  test('to cancel: what goes on is cancelled, what was only ordered is forgotten', () => {
    const host = commanded(present({ readOnly: true }), {});
    commanded(host, { command: 'cancel' });
    expect([host.pair.order, host.pair.cancelOrdered]).toEqual([null, false]);
    host.qemu({ migration: 'setup' });
    expect(commanded(host, { command: 'cancel' }).pair.cancelOrdered).toBe(true);
  });

  test('to give back, and to begin again', () => {
    const host = migrating();
    host.done('refused');
    Object.assign(host.pair, { attempts: 3, reserved: true });
    commanded(host, { command: 'restore' });
    expect([host.pair.released, host.pair.reserved, host.pair.attempts]).toEqual([true, false, 0]);
    commanded(host, { command: 'reload' });
    expect(host.pair.released).toBe(false);
  });

  test('a migration that nobody ordered gets a name of this boot, which ends with it', () => {
    const host = present();
    host.qemu({ migration: 'setup' });
    const { length } = host.events;
    expect([host.pair.joined, host.pair.episode]).toEqual([`b00710af-${length}`, `e${length}`]);
    expect(host.steps.at(-1)!.episode).toBe(`e${length}`);
    host.qemu({ migration: 'cancelled' });
    expect(host.steps.at(-1)!.episode).toBe(`e${length}`);
    expect([host.pair.joined, host.pair.episode]).toEqual([null, null]);
    host.qemu({ running: false });
    expect(host.steps.at(-1)!.episode).toBeNull();
  });

  test('it ends where the guest is: elsewhere, without its primary, or nobody knows where', () => {
    const over = (host: HostedStory): unknown[] => [host.stage, host.pair.joined, host.pair.episode];
    const away = migrating();
    away.run();
    expect(over(away)).toEqual(['parked', expect.any(String), expect.any(String)]);
    away.qemu({ migration: 'completed', running: false });
    expect(over(away)).toEqual(['departed', expect.any(String), expect.any(String)]);
    away.run();
    expect(over(away)).toEqual(['departed', null, null]);
    const lost = present({ readOnly: true }, { effects: 'off' });
    lost.qemu({ migration: 'setup' });
    lost.qemu({ connected: false, migration: 'none' });
    expect(over(lost)).toEqual(['unwatched', null, null]);
    const without = present({ readOnly: true }, { effects: 'off' });
    without.qemu({ migration: 'setup', primary: false });
    expect(over(without)).toEqual(['hidden', expect.any(String), expect.any(String)]);
    without.pair.hidden = false;
    without.qemu({ migration: 'none' });
    expect(over(without)).toEqual(['absent', null, null]);
  });

  test('while a word is to be told, or an effect is under way, it is not over', () => {
    const host = present();
    host.guest();
    commanded(host, { episode: 'b-1' }).run();
    commanded(host, { command: 'cancel' });
    expect([host.stage, host.pair.joined]).toEqual(['present', 'b-1']);
    host.done('failed');
    expect([host.pair.pending, host.pair.joined]).toEqual([null, 'b-1']);
    elapse(host, 'retryDelay').done();
    expect(host.pair.joined).toBeNull();
  });
});

describe('of a decision', () => {
  const hindrance = (result: 'failed' | 'refused', reason: string | null): string | null => {
    const host = migrating();
    const { id } = host.pair.pending!;
    host.tell('outcome.seen', { decision: id, pair: MAC, result, reason, observed: false });
    return host.pair.hindrance;
  };
  test('what hinders it, until it succeeds', () => {
    expect(hindrance('failed', 'no such VF')).toBe('parkMac failed: no such VF');
    expect(hindrance('refused', null)).toBe('parkMac refused: no reason given');
    const host = migrating();
    host.done('failed');
    elapse(host, 'retryDelay').done();
    expect([host.pair.hindrance, host.pair.attempts]).toEqual([null, 1]);
  });

  test('only its own outcome ends it', () => {
    const host = migrating();
    host.tell('outcome.seen', { decision: 'd1.7', pair: MAC, result: 'succeeded', reason: null, observed: false });
    expect(host.pair.pending?.kind).toBe('parkMac');
    host.done('failed');
    host.tell('outcome.seen', { decision: 'd1.7', pair: MAC, result: 'succeeded', reason: null, observed: false });
    expect(host.pair.hindrance).toContain('parkMac');
  });

  test.each(['failed', 'refused'] as const)('a migration whose beginning %s is not begun again', (result) => {
    const host = commanded(present(), { uri: 'tcp:b:1' });
    host.done(result);
    expect(host.pair.order).toBeNull();
    const other = commanded(present({}, {}), { uri: 'tcp:b:1' });
    other.done('void');
    expect(other.pair.order).toMatchObject({ started: false });
    const begun = commanded(present(), { uri: 'tcp:b:1' });
    begun.done();
    expect(begun.pair.order).toMatchObject({ started: true, uri: 'tcp:b:1' });
  });

  test('a cancellation that failed is not tried again; another effect that failed changes no order', () => {
    const host = migrating();
    host.run();
    commanded(host, { command: 'cancel' });
    expect(host.pair.pending?.kind).toBe('cancelMigration');
    host.done('failed');
    expect(host.pair.cancelOrdered).toBe(false);
    const other = present();
    other.guest();
    commanded(other, { episode: 'b-1' }).done('failed');
    expect(other.pair.order).not.toBeNull();
    const parking = migrating();
    parking.pair.cancelOrdered = true;
    parking.done('failed');
    expect(parking.pair.cancelOrdered).toBe(true);
  });

  test('a word that was told, and a primary that was asked for', () => {
    const host = present();
    host.qemu({ failover: false });
    host.guest();
    commanded(host, { uri: 'tcp:b:1', episode: 'b-1' }).done();
    expect(host.pair.told).toEqual({ word: 'prepare', episode: 'b-1' });
    expect(host.pair.asked).toBe(false);
    host.tell('channel.heard', { pair: MAC, word: 'prepared', episode: 'b-1', reason: null });
    host.done();
    expect([host.stage, host.pair.asked, host.pair.order?.started]).toEqual(['unplugRequested', true, false]);
  });

  test('a crash voids it, and it is decided anew; in a dry run it stays void', () => {
    const host = migrating();
    host.done('void');
    expect(delays(host)).toEqual([['retryDelay', defaultPolicy.retryDelay_ms]]);
    const refused = migrating();
    refused.done('refused');
    expect(delays(refused)).toEqual([['blockedRetry', defaultPolicy.blockedRetry_ms]]);
    const dry = present({}, { effects: 'dryRun' });
    dry.qemu({ migration: 'active' });
    dry.done('void');
    expect(delays(dry)).toEqual([['blockedRetry', defaultPolicy.blockedRetry_ms]]);
  });

  test('what facts have overtaken is decided anew at once', () => {
    const host = present();
    host.qemu({ migration: 'active' });
    host.qemu({ running: false });
    // Nothing that counts has changed: it waits as if nothing had.
    host.done('refused');
    expect([host.pair.pending, host.pair.configuration.effects]).toEqual([null, 'blocked']);
    const overtaken = present();
    overtaken.qemu({ migration: 'active' });
    overtaken.port({ pfEntry: true, tapEntry: true });
    overtaken.done('refused');
    expect(overtaken.pair.pending?.kind).toBe('parkMac');
  });

  test('is tried as often as the limit allows, and anew when something else has changed', () => {
    const host = present({}, { retryLimit: 2 });
    host.qemu({ migration: 'active' });
    host.done('failed');
    elapse(host, 'retryDelay').done('failed');
    expect(elapse(host, 'retryDelay').pair.pending).toBeNull();
    expect([host.pair.attempts, delays(host)]).toEqual([2, [['blockedRetry', defaultPolicy.blockedRetry_ms]]]);
    expect(elapse(host, 'blockedRetry').pair.pending?.attempt).toBe(1);
    host.done('failed');
    host.port({ pfEntry: true, tapEntry: true });
    expect(host.pair.pending?.attempt).toBe(1);
  });
});

describe('timers', () => {
  test('a firing that is not the last arming’s changes nothing, and a second one neither', () => {
    const host = present();
    host.qemu({ migration: 'wait-unplug' });
    elapse(host, 'unplugLimit', 1);
    expect([host.pair.shown.because, host.steps.at(-1)!.hosted]).toEqual(['unplug.awaited', []]);
    const [timer, armedBy] = [...host.pair.timers][0]!;
    elapse(host, 'unplugLimit');
    expect([host.pair.shown.because, host.pair.timers.size]).toEqual(['unplug.overdue', 0]);
    host.tell('timer.elapsed', { pair: MAC, timer, armedBy });
    expect(host.steps.at(-1)!.hosted).toEqual([]);
  });

  test('a guest that does not answer is not waited for twice', () => {
    const host = present({ readOnly: true });
    host.guest();
    commanded(host, {}).run();
    const [timer, armedBy] = [...host.pair.timers][0]!;
    host.tell('timer.elapsed', { pair: MAC, timer, armedBy });
    expect([host.pair.answer, host.pair.timers.size]).toEqual(['none', 0]);
    host.tell('timer.elapsed', { pair: MAC, timer, armedBy });
    expect(host.steps.at(-1)!.hosted).toEqual([]);
  });

  test('last as long as configured, or as long as is usual; a start arms them anew, an end disarms them', () => {
    const host = present({ unplugLimit_ms: 1234 });
    host.qemu({ migration: 'wait-unplug' });
    expect(delays(host)).toEqual([['unplugLimit', 1234]]);
    expect(delays(started(host))).toEqual([['unplugLimit', 1234]]);
    expect(host.steps.at(-1)!.hosted).toEqual([host.pair]);
    expect(host.steps.at(-1)!.timers).toMatchObject([{ op: 'arm', pair: MAC, armedBy: host.events.length }]);
    expect([...host.pair.timers.values()]).toEqual([host.events.length]);
    const [timer] = host.pair.timers.keys();
    host.qemu({ migration: 'cancelled' });
    expect(host.steps.at(-1)!.timers).toContainEqual({ op: 'cancel', pair: MAC, timer });
    expect(delays(host)).toEqual([['returnLimit', 10_000]]);
    const usual = present();
    usual.qemu({ migration: 'wait-unplug' });
    expect(delays(usual)).toEqual([['unplugLimit', 30_000]]);
    const other = present({ prepareLimit_ms: 77, returnLimit_ms: 88 });
    other.guest();
    commanded(other, {});
    expect(delays(other)).toEqual([['prepareLimit', 77]]);
    commanded(other, { command: 'cancel' });
    other.qemu({ migration: 'wait-unplug' });
    other.qemu({ migration: 'cancelled' });
    expect(delays(other)).toEqual([['returnLimit', 88]]);
    const third = present();
    third.guest();
    expect(delays(commanded(third, {}))).toEqual([['prepareLimit', 5000]]);
  });

  test('a primary that nobody shows is taken for back', () => {
    const host = present();
    host.qemu({ migration: 'wait-unplug' });
    host.qemu({ migration: 'cancelled' });
    expect(host.stage).toBe('returning');
    expect(elapse(host, 'returnLimit').stage).toBe('present');
  });
});

describe('the log', () => {
  const fold = (events: readonly Foldable[]) => {
    const guest = new Guest();
    return events.map((event) => guest.apply(event).divergence).find((one) => one !== null);
  };

  test('a decision that it lacks, has otherwise, or has too much is found where it happens', () => {
    const { events } = migrating();
    const at = events.findIndex(({ type }) => type === 'decision.made');
    const decision = events[at]!;
    expect(fold(events)).toBeUndefined();
    const next = { ...events[at - 1]!, seq: at + 1 } as Foldable;
    expect(fold([...events.slice(0, at), next])).toEqual({
      seq: at + 1,
      expected: JSON.stringify(decision.data),
      recorded: 'monitor.facts',
    });
    const other = { ...decision, data: { ...decision.data, attempt: 2 } } as Foldable;
    expect(fold(events.with(at, other))).toMatchObject({ seq: at + 1, recorded: JSON.stringify(other.data) });
    const more = { ...decision, seq: at + 2 } as Foldable;
    expect(fold([...events, more])).toMatchObject({ seq: at + 2, expected: 'null' });
    // Also of a pair that nothing is known of.
    expect(fold([decision])).toMatchObject({ expected: 'null' });
  });

  test('obligations are kept once, and closed by their id', () => {
    const host = present({}, { effects: 'off' });
    const owed = { pair: MAC, kind: 'vfMac' as const, device: null, before: { mac: MAC } };
    host.tell('obligation.opened', { ...owed, id: 'a' });
    host.tell('obligation.opened', { ...owed, id: 'a', before: {} });
    host.tell('obligation.opened', { ...owed, id: 'b' });
    host.tell('obligation.closed', { id: 'c', pair: MAC, how: 'gone' });
    expect(host.pair.obligations).toEqual([
      { ...owed, id: 'a' },
      { ...owed, id: 'b' },
    ]);
    host.tell('obligation.closed', { id: 'a', pair: MAC, how: 'gone' });
    expect(host.pair.obligations).toEqual([{ ...owed, id: 'b' }]);
  });

  test('says what changed, and from what; a pair that nothing is known of has not changed', () => {
    const host = new HostedStory();
    expect(host.steps.flatMap(({ changes }) => changes)).toEqual([]);
    expect(host.pair.shown).toEqual({ stage: 'unwatched', datapath: 'none', because: 'monitor.gone' });
    host.qemu(RUNNING);
    expect(host.steps.at(-1)).toMatchObject({
      hosted: [host.pair],
      changes: [{ pair: host.pair, before: { stage: 'unwatched', datapath: 'none', because: 'monitor.gone' } }],
    });
    host.qemu(RUNNING);
    expect(host.steps.at(-1)!.changes).toEqual([]);
    host.qemu({ migration: 'wait-unplug' });
    host.qemu({ running: false });
    expect(host.steps.at(-1)!.changes).toMatchObject([{ before: { stage: 'waitUnplug', because: 'unplug.awaited' } }]);
  });

  test('events of pairs that nobody named are passed over', () => {
    const host = present();
    const seen = { vf: null, pfEntry: null, tapEntry: null };
    host.tell('port.facts', { pair: OTHER, ...seen });
    expect([host.steps.at(-1)!.hosted, [...host.story.guest.hosted.pairs.keys()]]).toEqual([[], [MAC]]);
  });
});

describe('a configuration', () => {
  const configured = (host: HostedStory, ...vms: (typeof VM)[]): HostedStory => {
    host.tell('configuration.applied', { policy: { ...defaultPolicy, effects: 'on', vms } });
    return host;
  };
  test('that names a pair no more leaves it alone, and keeps what is owed', () => {
    const host = migrating();
    host.run();
    configured(host, { ...VM, mac: OTHER });
    expect([...host.story.guest.hosted.pairs.keys()]).toEqual([MAC, OTHER]);
    expect([host.pair.vm, host.pair.obligations.length]).toEqual([null, 2]);
    host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
    host.qemu({ migration: 'failed' });
    expect(delays(host)).toEqual([['returnLimit', 10_000]]);
    expect(host.decided.filter(({ kind }) => kind === 'removeForwarding')).toEqual([]);
    configured(host, VM);
    expect(host.pair.vm).toEqual(VM);
    expect(host.decided.at(-1)?.kind).toBe('removeForwarding');
  });

  test('a checkpoint gives the same pair, whatever the configuration says of it', () => {
    const host = migrating();
    host.done();
    host.done('failed');
    const saved = structuredClone(host.story.guest.snapshot());
    const again = new Guest();
    again.restore(saved);
    const pair = again.hosted.pairs.get(MAC);
    expect(pair).toEqual(host.pair);
    expect(pair?.port?.vf?.mac).toBe(PARKED);
    expect([...(pair?.timers.keys() ?? [])]).toEqual([expect.stringContaining('retryDelay')]);
    const unnamed = new Guest();
    unnamed.restore({ ...saved, policy: { ...saved.policy, vms: [] } });
    expect(unnamed.hosted.pairs.get(MAC)).toEqual({ ...host.pair, vm: null });
  });
});
