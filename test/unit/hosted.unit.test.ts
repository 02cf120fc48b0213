// The hypervisor's side, given what QEMU, the VF and the guest say: when the VF is parked, when it gets its MAC back, and
// what becomes of unplugs that do not come. The numbers are those of the faults of the field (docs/faults.md).
import { describe, expect, test } from 'vitest';
import { explainPair, explanationText } from '../../replay/explain.ts';
import { reportOf } from '../../replay/report.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { Pseudonyms } from '../../src/events/pseudonyms.ts';
import { hostedDocument } from '../../src/host/hosting.ts';
import { Guest } from '../../src/machines/guest.ts';
import { parkingOf } from '../../src/machines/parking.ts';
import { HOST_STAGES } from '../../src/machines/stages.ts';
import { HOST_EVENTS, migrationChart } from '../../src/machines/migration.ts';
import { HostedStory, MAC, PARKED, PORT, RUNNING, VM } from '../hosted.given.ts';

const present = (vm = {}, policy = {}): HostedStory => {
  const host = new HostedStory(vm, policy);
  host.port();
  host.qemu(RUNNING);
  return host;
};
const waiting = (vm = {}): HostedStory => {
  const host = present(vm);
  host.qemu({ migration: 'setup' });
  host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
  host.qemu({ migration: 'wait-unplug' });
  return host;
};
const parked = (): HostedStory => {
  const host = waiting();
  host.qemu({ migration: 'active' });
  host.run();
  return host;
};
const elapse = (host: HostedStory, name: string) => {
  const [timer, armedBy] = [...host.pair.timers].find(([id]) => id.includes(name)) ?? [];
  if (timer === undefined || armedBy === undefined) throw new Error(`no timer ${name}`);
  return host.tell('timer.elapsed', { pair: MAC, timer, armedBy });
};
const codes = (host: HostedStory): string[] => host.story.findings.list(host.story.end).map(({ code }) => code);

describe('a migration that QEMU drives', () => {
  test('parks the VF when the primary is really hidden, and never on UNPLUG_PRIMARY alone (44)', () => {
    const host = present();
    expect(host.stage).toBe('present');
    host.qemu({ migration: 'setup' });
    host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
    expect(host.stage).toBe('unplugRequested');
    host.qemu({ migration: 'wait-unplug' });
    expect(host.stage).toBe('waitUnplug');
    expect(host.decided).toEqual([]);
    expect(host.qemu({ migration: 'active' }).map(({ kind }) => kind)).toEqual(['parkMac']);
    expect(host.stage).toBe('hidden');
    expect(host.run()).toEqual(['parkMac', 'addForwarding']);
    expect(host.stage).toBe('parked');
  });

  test('completed: the entries go, the VF stays parked', () => {
    const host = parked();
    host.qemu({ migration: 'completed', running: false });
    expect(host.run()).toEqual(['removeForwarding']);
    expect(host.stage).toBe('departed');
    expect(host.pair.obligations.map(({ kind }) => kind)).toEqual(['vfMac']);
  });

  test.each(['cancelled', 'failed'])('%s after the VF was parked: entries, then the MAC, in reverse (46)', (status) => {
    const host = parked();
    host.qemu({ migration: status });
    expect(host.stage).toBe('returning');
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
    host.guest();
    expect(host.stage).toBe('present');
    expect(host.pair.obligations).toEqual([]);
    expect(host.pair.episode).toBeNull();
  });

  test('cancelling: the MAC is restored before QEMU plugs the primary again (45)', () => {
    const host = parked();
    host.qemu({ migration: 'cancelling' });
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
    expect(host.stage).toBe('cancelling');
  });

  test('cancelled in wait-unplug: the VF was never touched (42)', () => {
    const host = waiting();
    host.qemu({ migration: 'cancelling' });
    host.qemu({ migration: 'cancelled' });
    expect(host.stage).toBe('returning');
    expect(host.decided).toEqual([]);
  });

  test('a park that is overtaken by the cancellation is not carried further', () => {
    const host = waiting();
    host.qemu({ migration: 'active' });
    host.qemu({ migration: 'cancelling' });
    expect(host.pair.attempts).toBe(0);
    host.done('void');
    expect(host.pair.pending).toBeNull();
  });

  test('a second migration while no primary is there parks and waits for nothing (51)', () => {
    const host = present();
    host.qemu({ primary: false });
    host.run();
    host.qemu({ migration: 'active' });
    expect(host.stage).toBe('parked');
    host.qemu({ migration: 'completed', running: false });
    host.run();
    expect(host.stage).toBe('departed');
  });

  test('the guest saw the parking MAC: its primary is plugged again with the right one (47)', () => {
    const host = parked();
    host.qemu({ migration: 'failed' });
    host.run();
    expect(host.guest(PARKED).map(({ kind }) => kind)).toEqual(['unplugPrimary']);
    expect(codes(host)).toContain('wrongMac');
    host.done();
    host.qemu({ primary: false });
    host.guest(null);
    const kinds = host.run();
    expect(kinds).toContain('plugPrimary');
    expect(kinds.indexOf('restoreMac')).toBeLessThan(kinds.indexOf('plugPrimary'));
    expect(host.stage).toBe('present');
  });
});

describe('time limits', () => {
  test('an endless wait-unplug is an alarm, and nothing else unless the policy says so (42)', () => {
    const host = waiting();
    expect(elapse(host, 'unplugLimit')).toEqual([]);
    expect(host.pair.shown.because).toBe('unplug.overdue');
    expect(codes(host)).toContain('unplugEndless');
  });

  test('by policy it is cancelled', () => {
    const host = waiting({ onOverdue: 'cancel' });
    expect(elapse(host, 'unplugLimit').map(({ kind }) => kind)).toEqual(['cancelMigration']);
  });

  test('a refusal does not wait for the limit (43)', () => {
    const host = waiting({ onOverdue: 'cancel' });
    expect(host.says('DEVICE_UNPLUG_GUEST_ERROR', { device: 'vf0' }).map(({ kind }) => kind)).toEqual(['cancelMigration']);
    expect(codes(host)).toContain('unplugRefused');
  });

  test('a paused guest is said at once (41)', () => {
    const host = waiting();
    host.qemu({ running: false });
    expect(host.pair.shown.because).toBe('guest.paused');
    expect(codes(host)).toContain('guestPaused');
  });

  test('a read-only monitor is only listened to', () => {
    const host = waiting({ onOverdue: 'cancel', readOnly: true });
    expect(elapse(host, 'unplugLimit')).toEqual([]);
    host.qemu({ migration: 'active' });
    expect(host.run()).toEqual(['parkMac', 'addForwarding']);
  });

  test('a guest that does not answer is migrated as before', () => {
    const host = present();
    host.guest();
    host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', episode: 'b-1', uri: 'tcp:b:1' });
    expect(host.run()).toEqual(['tellGuest']);
    expect(host.stage).toBe('preparing');
    expect(elapse(host, 'prepareLimit').map(({ kind }) => kind)).toEqual(['startMigration']);
  });
});

describe('what an operator orders', () => {
  const ordered = (vm = {}, facts = {}): HostedStory => {
    const host = present(vm);
    host.qemu(facts);
    host.guest();
    host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', episode: 'b-1', uri: 'tcp:b:1' });
    host.run();
    return host;
  };
  const prepared = (host: HostedStory) =>
    host.tell('channel.heard', { pair: MAC, word: 'prepared', episode: 'b-1', reason: null });

  test('the guest is told first, and the migration begins when it has moved', () => {
    const host = ordered();
    expect(host.decided.map(({ kind }) => kind)).toEqual(['tellGuest']);
    expect(host.tell('channel.heard', { pair: MAC, word: 'prepared', episode: 'another', reason: null })).toEqual([]);
    expect(prepared(host).map(({ kind }) => kind)).toEqual(['startMigration']);
  });

  test('that it has moved is seen, too, when its answer was lost; of another migration, or before it was told, it is not', () => {
    const host = ordered();
    expect(host.guest(MAC, 'standby', 'b-0')).toEqual([]);
    expect(host.guest(MAC, 'primary', 'b-1')).toEqual([]);
    expect(host.guest(MAC, 'standby', 'b-1').map(({ kind }) => kind)).toEqual(['startMigration']);
    const untold = present();
    untold.guest(MAC, 'standby', 'b-1');
    expect(untold.pair.answer).toBeNull();
  });

  test('a guest that refused has not been prepared by standing on its standby', () => {
    const host = ordered();
    host.tell('channel.heard', { pair: MAC, word: 'refused', episode: 'b-1', reason: 'no' });
    host.guest(MAC, 'standby', 'b-1');
    expect(host.pair.answer).toBe('refused');
  });

  test('where QEMU hides nothing, the primary is unplugged, parked, and only then the guest migrates', () => {
    const host = ordered({}, { failover: false });
    expect(prepared(host).map(({ kind }) => kind)).toEqual(['unplugPrimary']);
    host.done();
    host.qemu({ primary: false });
    expect(host.run()).toEqual(['parkMac', 'addForwarding', 'startMigration']);
  });

  test('and comes back by itself when the migration is not done: entries, MAC, plug, a word to the guest', () => {
    const host = ordered({}, { failover: false });
    prepared(host);
    host.done();
    host.qemu({ primary: false });
    host.run();
    host.qemu({ migration: 'active' });
    host.qemu({ migration: 'failed' });
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac', 'tellGuest', 'plugPrimary']);
    expect(host.stage).toBe('present');
  });

  test('cancelled while it is prepared: the guest hears that its primary stays', () => {
    const host = ordered();
    host.tell('operator.commanded', { command: 'cancel', pair: MAC, by: 'test' });
    expect(host.decided.at(-1)).toMatchObject({ kind: 'tellGuest', plan: { word: 'arriving', episode: 'b-1' } });
    host.run();
    expect(host.stage).toBe('present');
    expect(host.pair.episode).toBeNull();
  });

  test('a migration that QEMU refuses to begin is not begun again', () => {
    const host = ordered();
    prepared(host);
    host.done('refused');
    expect(host.pair.order).toBeNull();
    expect(host.decided.filter(({ kind }) => kind === 'startMigration')).toHaveLength(1);
  });

  test('on the target the MAC is set before the guest arrives, and a word follows it', () => {
    const host = new HostedStory();
    host.port({ mac: '02:00:00:00:00:01' });
    host.tell('operator.commanded', { command: 'reserve', pair: MAC, by: 'test', episode: 'b-1' });
    host.qemu({ incoming: true, running: false, primary: false });
    expect(host.stage).toBe('awaited');
    expect(host.run()).toEqual(['restoreMac']);
    host.qemu({ incoming: false, running: true, primary: true });
    host.guest(null);
    expect(host.decided.at(-1)).toMatchObject({ kind: 'tellGuest', plan: { word: 'arriving', episode: 'b-1' } });
    host.run();
    expect(host.stage).toBe('present');
  });

  test('restore gives back what is owed, newest first, and leaves the pair alone', () => {
    const host = parked();
    const [decision] = host.tell('operator.commanded', { command: 'restore', pair: MAC, by: 'test' });
    expect(decision).toMatchObject({ kind: 'giveBack', plan: { obligation: expect.stringContaining('forwarding') } });
  });
});

describe('a primary that this program plugs', () => {
  const BY_US = { ...RUNNING, failover: false };
  const arriving = (vm = {}): HostedStory => {
    const host = new HostedStory(vm);
    host.port({ mac: '02:00:00:00:00:01' });
    host.tell('operator.commanded', { command: 'reserve', pair: MAC, by: 'test', episode: 'b-1' });
    host.qemu({ ...BY_US, incoming: true, running: false, primary: false });
    return host;
  };
  const arrived = (vm = {}): HostedStory => {
    const host = arriving(vm);
    host.run();
    host.guest(null, 'standby');
    host.qemu({ incoming: false });
    return host;
  };
  const preparedAt = (vm = {}): HostedStory => {
    const host = present(vm);
    host.qemu(BY_US);
    host.guest();
    host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', episode: 'b-1', uri: 'tcp:b:1' });
    host.run();
    host.tell('channel.heard', { pair: MAC, word: 'prepared', episode: 'b-1', reason: null });
    host.guest(MAC, 'standby');
    return host;
  };
  const cancel = (host: HostedStory) => host.tell('operator.commanded', { command: 'cancel', pair: MAC, by: 'test' });

  test.each([{}, PORT])('on the target its VF takes nothing before the guest has arrived: %o', (vm) => {
    const host = arriving(vm);
    expect(host.run()).toEqual(['parkMac']);
    expect(host.stage).toBe('awaited');
    expect(hostedDocument(host.pair).isReady).toBe(true);
  });

  test('a guest that somebody else gives its primary, or that brings it along, finds its VF with the MAC', () => {
    expect(arriving({ plug: undefined }).run()).toEqual(['restoreMac']);
    const host = new HostedStory(PORT);
    host.port({ mac: '02:00:00:00:00:01' });
    host.qemu({ ...BY_US, incoming: true, running: false, primary: true });
    expect(host.run()).toEqual(['restoreMac']);
    expect(hostedDocument(host.pair).isReady).toBe(true);
  });

  test('a target whose QEMU is gone, or that is no longer configured, keeps no entry', () => {
    const gone = arrived(PORT);
    gone.run();
    gone.qemu({ connected: false });
    expect(gone.run()).toEqual(['removeForwarding']);
    const dropped = arriving(PORT);
    dropped.run();
    dropped.tell('configuration.applied', { policy: { ...dropped.story.guest.policy, vms: [] } });
    expect([dropped.pair.pending, hostedDocument(dropped.pair).isReady]).toEqual([null, false]);
  });

  test('a VF has the pair’s MAC before it is plugged, and no entry stands against it', () => {
    const host = arrived();
    expect(host.run()).toEqual(['restoreMac']);
    host.qemu({ running: true });
    expect(host.run()).toEqual(['tellGuest', 'plugPrimary']);
    expect(host.stage).toBe('present');
  });

  test('a port waits until the guest carries on its primary', () => {
    const host = arrived(PORT);
    expect(host.run()).toEqual(['addForwarding']);
    host.qemu({ running: true });
    expect(host.run()).toEqual(['tellGuest', 'plugPrimary']);
    expect(host.stage).toBe('returning');
    expect(host.guest(MAC, 'standby')).toEqual([]);
    host.guest();
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
    expect(host.stage).toBe('present');
    expect(host.pair).toMatchObject({ reserved: false, episode: null, returning: false });
  });

  test('a guest without a service: until the bridge has seen it there, or the limit', () => {
    const silent = (): HostedStory => {
      const host = arriving(PORT);
      host.run();
      host.qemu({ incoming: false, running: true });
      host.run();
      expect(host.stage).toBe('returning');
      return host;
    };
    const seen = silent();
    seen.port({ mac: MAC, tapEntry: false });
    expect(seen.run()).toEqual(['removeForwarding']);
    expect(seen.stage).toBe('present');
    const unseen = silent();
    elapse(unseen, 'returnLimit');
    expect(unseen.run()).toEqual(['removeForwarding', 'restoreMac']);
    expect(unseen.stage).toBe('present');
  });

  test('where the bridge moves the entry before the guest has said anything, nothing is moved back', () => {
    const host = arrived(PORT);
    host.qemu({ running: true });
    host.run();
    expect(host.port({ mac: MAC, tapEntry: false })).toEqual([]);
    expect(host.stage).toBe('returning');
  });

  test('on the source a port goes to the standby as soon as the guest has moved, and the unplug follows', () => {
    const host = preparedAt(PORT);
    expect(host.run()).toEqual(['parkMac', 'addForwarding', 'unplugPrimary']);
    host.qemu({ primary: false });
    expect(host.run()).toEqual(['startMigration']);
    host.qemu({ migration: 'active' });
    expect(host.stage).toBe('parked');
    host.qemu({ migration: 'completed', running: false });
    expect(host.run()).toEqual(['removeForwarding']);
    expect(host.stage).toBe('departed');
  });

  test('of a VF nothing is moved before it is hidden', () => {
    expect(preparedAt().run()).toEqual(['unplugPrimary']);
  });

  test('a port of a guest that was only prepared, or would not be, stays as it is', () => {
    const only = present(PORT);
    only.qemu(BY_US);
    only.guest();
    only.tell('operator.commanded', { command: 'prepare', pair: MAC, by: 'test', episode: 'b-1' });
    only.run();
    only.tell('channel.heard', { pair: MAC, word: 'prepared', episode: 'b-1', reason: null });
    expect(only.run()).toEqual([]);
    const refusing = present(PORT);
    refusing.qemu(BY_US);
    refusing.guest();
    refusing.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', episode: 'b-1', uri: 'tcp:b:1' });
    refusing.run();
    refusing.tell('channel.heard', { pair: MAC, word: 'refused', episode: 'b-1', reason: 'no' });
    expect(refusing.run()).toEqual(['unplugPrimary']);
  });

  test('cancelled before the unplug: the guest moves back first', () => {
    const host = preparedAt(PORT);
    host.done();
    host.done();
    expect(host.pair.pending?.kind).toBe('unplugPrimary');
    cancel(host);
    host.done('void');
    expect(host.run()).toEqual(['tellGuest']);
    expect([host.stage, host.pair.told?.word]).toEqual(['returning', 'arriving']);
    host.later(5000).port();
    expect(codes(host)).not.toContain('vfMacForeign');
    host.guest();
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
    expect(host.stage).toBe('present');
  });

  test('a guest that had not moved has nothing to move back', () => {
    const host = present(PORT);
    host.qemu(BY_US);
    host.guest();
    host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', episode: 'b-1', uri: 'tcp:b:1' });
    host.run();
    cancel(host);
    host.run();
    expect(host.stage).toBe('present');
  });

  test('not migrated after all: plugged again, and the port is the guest’s when it carries there', () => {
    const host = preparedAt(PORT);
    host.run();
    host.qemu({ primary: false });
    host.run();
    host.qemu({ migration: 'active' });
    host.qemu({ migration: 'failed' });
    expect(host.run()).toEqual(['tellGuest', 'plugPrimary']);
    host.guest();
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
    expect(host.stage).toBe('present');
    expect(host.pair.obligations).toEqual([]);
  });

  test('a VF or a port that another log has parked gets its MAC all the same', () => {
    const vf = new HostedStory();
    vf.port({ mac: PARKED });
    vf.tell('operator.commanded', { command: 'reserve', pair: MAC, by: 'test', episode: 'b-1' });
    vf.qemu({ ...BY_US, incoming: true, running: false, primary: false });
    expect(vf.run()).toEqual([]);
    vf.qemu({ incoming: false, running: true });
    expect(vf.run()).toEqual(['restoreMac', 'plugPrimary']);
    const port = new HostedStory(PORT);
    port.port({ mac: PARKED });
    expect(port.qemu(BY_US).map(({ kind }) => kind)).toEqual(['restoreMac']);
    const hidden = new HostedStory(PORT);
    hidden.port({ mac: PARKED });
    expect(hidden.qemu(RUNNING)).toEqual([]);
  });

  test('a guest that sees another MAC behind a port gets its primary anew, whatever the entry says', () => {
    const host = present(PORT);
    host.qemu(BY_US);
    host.qemu({ primary: false });
    host.run();
    host.qemu({ primary: true });
    expect(host.guest('02:00:00:00:00:07', 'standby').map(({ kind }) => kind)).toEqual(['unplugPrimary']);
    host.done();
    host.qemu({ primary: false });
    host.guest(null, 'standby');
    expect(host.run()).toEqual(['plugPrimary']);
    host.guest();
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
    expect(host.stage).toBe('present');
  });

  test('where QEMU hides the primary a port is as a VF is', () => {
    const host = present(PORT);
    host.qemu({ migration: 'active' });
    host.run();
    host.qemu({ migration: 'failed' });
    expect(host.run()).toEqual(['removeForwarding', 'restoreMac']);
  });
});

describe('the log', () => {
  test('a second fold gives the same decisions, and a checkpoint the same state', () => {
    const host = parked();
    const again = new Guest();
    for (const event of host.events) expect(again.apply(event).divergence).toBeNull();
    expect(again.snapshot()).toEqual(host.story.guest.snapshot());
    const fresh = new Guest();
    fresh.restore(host.story.guest.snapshot());
    expect(fresh.snapshot()).toEqual(host.story.guest.snapshot());
  });

  test('under pseudonyms it folds to the same stages', () => {
    const host = parked();
    const names = new Pseudonyms();
    const again = new Guest();
    for (const event of host.events) expect(again.apply(names.event(event as RecordedEvent)).divergence).toBeNull();
    expect([...again.hosted.pairs.values()].map(({ shown }) => shown.stage)).toEqual(['parked']);
  });

  test('is explained in words: QEMU, VF and guest, what holds, what is owed', () => {
    const host = parked();
    host.guest(null);
    const text = explanationText(explainPair(host.pair, host.story));
    for (const part of [
      'is in stage parked',
      'runs, migration active',
      `MAC ${PARKED}, VLAN 7`,
      'addForwarding (attempt 1) succeeded',
      'Owed',
    ])
      expect(text).toContain(part);
    expect(reportOf(host.story, host.events.length).pairs).toMatchObject([{ mac: MAC, mode: 'host', stage: 'parked' }]);
  });

  test('a service that starts anew in the middle goes on from the facts', () => {
    const host = waiting();
    host.tell('service.started', { version: '0', machineVersion: 1, bootId: 'b', vmGeneration: null, platform: 'h', host: {} });
    expect(host.qemu({ migration: 'active' }).map(({ kind }) => kind)).toEqual(['parkMac']);
  });

  test('a VF that somebody else gave another MAC is reported, and not touched', () => {
    const host = present();
    host.port({ mac: '02:00:00:00:00:09' });
    host.later(2000).port();
    expect(host.decided).toEqual([]);
    expect(codes(host)).toContain('vfMacForeign');
  });
});

describe('the chart', () => {
  test('every stage is a state with a description, and every event is known', () => {
    const keys: string[] = [];
    const undescribed: string[] = [];
    const walk = (node: (typeof migrationChart)['root']): void => {
      keys.push(node.key);
      if (node.description === undefined) undescribed.push(node.key);
      for (const child of Object.values(node.states)) walk(child);
    };
    walk(migrationChart.root);
    expect(undescribed).toEqual(['migration', 'path', 'effects']);
    for (const stage of HOST_STAGES) expect(keys).toContain(stage);
    for (const name of HOST_EVENTS) expect(migrationChart.events).toContain(name);
  });

  test('a parking MAC is local and not the pair’s', () => {
    expect(Number.parseInt(PARKED.slice(0, 2), 16) & 3).toBe(2);
    expect(PARKED).not.toBe(VM.mac);
    expect(parkingOf('00:0c:29:aa:bb:cc')).toBe('06:0c:29:aa:bb:cc');
  });
});
