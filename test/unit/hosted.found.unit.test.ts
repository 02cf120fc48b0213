// What is said of a hosted pair: the reason and the path that go with each stage, and what is found to be wrong, from when on
// and until when.
import { describe, expect, test } from 'vitest';
import type { EventData } from '../../src/events/catalogue.ts';
import { HostedStory, MAC, PARKED, RUNNING, VM } from '../hosted.given.ts';

const OTHER = '02:00:00:00:00:09';
const present = (vm = {}): HostedStory => {
  const host = new HostedStory(vm);
  host.port();
  host.qemu(RUNNING);
  return host;
};
const waiting = (): HostedStory => {
  const host = present();
  host.qemu({ migration: 'wait-unplug' });
  return host;
};
const migrating = (): HostedStory => {
  const host = waiting();
  host.qemu({ migration: 'active' });
  return host;
};
const ordered = (): HostedStory => {
  const host = present();
  host.guest();
  host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', episode: 'b-1', uri: 'tcp:b:1' });
  return host;
};
const overdue = (host: HostedStory): HostedStory => {
  const [timer, armedBy] = [...host.pair.timers].find(([id]) => id.includes('unplugLimit'))!;
  host.tell('timer.elapsed', { pair: MAC, timer, armedBy });
  return host;
};
const asked = (): HostedStory => {
  const host = present();
  host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
  return host;
};
const refuse = (host: HostedStory): HostedStory => {
  host.says('DEVICE_UNPLUG_GUEST_ERROR', { device: 'vf0' });
  return host;
};
const pause = (host: HostedStory): HostedStory => {
  host.qemu({ running: false });
  return host;
};
const qemu = (facts: Parameters<HostedStory['qemu']>[0], host = present()): HostedStory => {
  host.qemu(facts);
  return host;
};
const done = (host: HostedStory): HostedStory => {
  host.run();
  return host;
};

test.each<[string, () => HostedStory]>([
  ['unwatched none monitor.gone', () => new HostedStory()],
  ['unwatched none monitor.gone', () => qemu({ connected: false })],
  ['awaited none guest.awaited', () => qemu({ incoming: true })],
  ['absent standby primary.absent', () => qemu({ primary: false }, new HostedStory())],
  ['present primary primary.present', () => present()],
  ['preparing primary guest.preparing', () => ordered()],
  ['unplugRequested primary unplug.asked', () => asked()],
  ['unplugRequested primary unplug.overdue', () => overdue(asked())],
  ['unplugRequested primary unplug.refused', () => refuse(asked())],
  ['waitUnplug primary unplug.awaited', () => waiting()],
  ['waitUnplug primary unplug.overdue', () => overdue(waiting())],
  ['waitUnplug primary unplug.refused', () => pause(refuse(waiting()))],
  ['waitUnplug primary guest.paused', () => pause(overdue(waiting()))],
  ['hidden standby vf.hidden', () => migrating()],
  ['parked standby vf.parked', () => done(migrating())],
  ['cancelling standby migration.cancelling', () => qemu({ migration: 'cancelling' }, migrating())],
  ['returning standby primary.returning', () => qemu({ migration: 'failed' }, migrating())],
  ['departed none guest.departed', () => qemu({ migration: 'completed', running: false }, migrating())],
])('%s', (said, given) => {
  const { stage, datapath, because } = given().pair.shown;
  expect(`${stage} ${datapath} ${because}`).toBe(said);
});

describe('a finding', () => {
  /** Code, text, and whether it lasts, of all findings of this pair, but for failed effects. */
  const found = ({ story }: HostedStory): string[] =>
    story.findings
      .list(story.end)
      .map(({ code, mac, until_seq, text }) => `${mac === MAC ? '' : mac}${code}${until_seq === null ? '' : ' (over)'}: ${text}`);
  const later = (host: HostedStory, ms: number): HostedStory => {
    host.later(ms).tell('monitor.event', { pair: MAC, name: 'STOP', fields: {}, at_ns: null });
    return host;
  };

  test('unplugEndless: from the limit on, until the guest lets go', () => {
    expect(found(waiting())).toEqual([]);
    expect(found(overdue(waiting()))).toEqual(['unplugEndless: the guest has not let its primary go, and it lasts']);
    expect(found(overdue(asked()))).toEqual(['unplugEndless: the guest has not let its primary go, and it lasts']);
    expect(found(qemu({ migration: 'active' }, overdue(waiting())))).toEqual([
      expect.stringMatching(/^unplugEndless \(over\): the guest has not let its primary go, for [0-9.]+ ms$/),
    ]);
  });

  test('unplugRefused: and not both', () => {
    expect(found(refuse(waiting()))).toEqual(['unplugRefused: the guest refused the unplug, and it lasts']);
    expect(found(refuse(asked()))).toEqual(['unplugRefused: the guest refused the unplug, and it lasts']);
    expect(found(refuse(overdue(waiting())))).toEqual([
      expect.stringContaining('unplugEndless (over)'),
      'unplugRefused: the guest refused the unplug, and it lasts',
    ]);
    // Nobody asked.
    expect(found(refuse(present()))).toEqual([]);
  });

  test('a refusal, or a request, for another device says nothing of this pair', () => {
    const host = waiting();
    host.says('DEVICE_UNPLUG_GUEST_ERROR', { device: 'disk0' });
    host.says('DEVICE_UNPLUG_GUEST_ERROR');
    expect(host.pair.refused).toBe(false);
    const other = present();
    other.says('UNPLUG_PRIMARY', { 'device-id': 'vf1' });
    expect(other.stage).toBe('present');
    // Not even when the configuration has forgotten it.
    other.pair.vm = null;
    other.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
    expect(other.stage).toBe('present');
    // Asked again, it may let go this time.
    const again = refuse(asked());
    again.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
    expect(again.pair.shown.because).toBe('unplug.overdue');
  });

  test('guestPaused: while it cannot let go', () => {
    expect(found(pause(waiting()))).toEqual([
      'guestPaused: the guest is paused while its primary is to be unplugged, and it lasts',
    ]);
    expect(found(pause(present()))).toEqual([]);
  });

  test.each(['cancelled', 'failed'])('migrationNotDone: it was %s, as QEMU says', (status) => {
    const host = present();
    host.says('MIGRATION', { status });
    expect(found(host)).toEqual([`migrationNotDone (over): the migration was ${status}`]);
  });
  test('of a migration that is done, and of other events, nothing is said', () => {
    const host = present();
    host.says('MIGRATION', { status: 'completed' });
    host.says('STOP', { status: 'failed' });
    expect(found(host)).toEqual([]);
  });

  const portless = (): HostedStory => {
    const host = present();
    host.tell('port.facts', { pair: MAC, vf: null, pfEntry: null, tapEntry: null });
    return host;
  };
  test('vfMissing: QEMU is there, and the VF is not', () => {
    expect(found(portless())).toEqual(['vfMissing: there is no such VF, and it lasts']);
    expect(found(qemu({ connected: false }, portless()))).toEqual([expect.stringContaining('vfMissing (over)')]);
    expect(found(qemu({}, new HostedStory()))).toEqual([]);
  });

  test('vfMacForeign: a primary in its guest with another MAC, for longer than it takes to set it', () => {
    const host = present();
    host.port({ mac: OTHER });
    expect(found(later(host, 900))).toEqual([]);
    expect(found(later(host, 200))).toEqual([`vfMacForeign: the VF has MAC ${OTHER}, and it lasts`]);
    const parked = present();
    parked.port({ mac: PARKED });
    expect(found(later(parked, 1100))).toEqual([`vfMacForeign: the VF has MAC ${PARKED} (its parking MAC), and it lasts`]);
    expect(found(later(portless(), 1100))).toEqual(['vfMissing: there is no such VF, and it lasts']);
    const away = qemu({ primary: false });
    away.run();
    expect(found(later(away, 1100))).toEqual([]);
  });

  test('vfNotParked: hidden, and still with the MAC of the pair', () => {
    const host = migrating();
    host.done('failed');
    expect(found(later(host, 900)).filter((line) => line.startsWith('vfNotParked'))).toEqual([]);
    expect(found(later(host, 600))).toContain('vfNotParked: the hidden VF has the pair’s MAC, and it lasts');
    expect(found(later(done(migrating()), 1100))).toEqual([]);
    const foreign = qemu({ migration: 'active' });
    foreign.port({ mac: OTHER });
    expect(found(later(foreign, 1100))).toEqual([]);
  });

  test('wrongMac: what the guest sees on its primary', () => {
    const host = present({ readOnly: true });
    host.guest(PARKED);
    expect(found(host)).toEqual([`wrongMac: the guest sees MAC ${PARKED} on its primary, and it lasts`]);
    host.guest(MAC);
    expect(found(host)).toEqual([expect.stringContaining('wrongMac (over)')]);
    const away = present({ readOnly: true });
    away.guest(null);
    expect(found(away)).toEqual([]);
    const gone = qemu({ connected: false });
    gone.guest(PARKED);
    expect(found(gone)).toEqual([]);
  });

  test('guestSilent: a running guest whose service does not answer for a minute', () => {
    expect(found(later(present(), 59_000))).toEqual([]);
    expect(found(later(present(), 61_000))).toEqual([
      'guestSilent: no service of the guest answers on the channel, and it lasts',
    ]);
    const answering = present();
    answering.guest();
    expect(found(later(answering, 61_000))).toEqual([]);
    expect(found(later(pause(present()), 61_000))).toEqual([]);
    expect(found(later(qemu({ connected: false }), 61_000))).toEqual([]);
    const without = present();
    without.pair.vm = { mac: MAC, qmp: VM.qmp, standby: VM.standby, primary: VM.primary };
    without.qemu({});
    expect(found(later(without, 61_000)).filter((line) => !line.includes('(over)'))).toEqual([]);
  });
});

describe('a decision', () => {
  test('says its kind, its attempt, and what belongs to it', () => {
    const host = migrating();
    expect(host.decided).toMatchObject([
      { pair: MAC, kind: 'parkMac', mode: 'host', attempt: 1, master: null, standby: null, primary: null },
    ]);
    const { id } = host.decided[0]!;
    expect(id).toBe(`d${host.events.length - 1}.0`);
    expect(Object.keys(host.decided[0]!)).not.toContain('plan');
  });

  test('tellGuest: the word, and the migration by the name that all logs have', () => {
    const told = ordered().decided[0];
    expect(told).toMatchObject({ kind: 'tellGuest', plan: { word: 'prepare', episode: 'b-1' } });
  });

  test('startMigration: where to', () => {
    const host = present();
    host.tell('operator.commanded', { command: 'migrate', pair: MAC, by: 'test', uri: 'tcp:b:1' });
    expect(host.decided).toMatchObject([{ kind: 'startMigration', plan: { uri: 'tcp:b:1' } }]);
  });

  test('giveBack: what is owed, newest first', () => {
    const host = done(migrating());
    host.tell('operator.commanded', { command: 'restore', pair: null, by: 'test' });
    const owed = (): EventData<'obligation.opened'>[] => [...host.pair.obligations];
    const [oldest, newest] = owed();
    expect(host.decided.at(-1)).toMatchObject({ kind: 'giveBack', attempt: 1, plan: { obligation: newest!.id } });
    host.tell('obligation.closed', { id: newest!.id, pair: MAC, how: 'givenBack' });
    expect(owed()).toEqual([oldest]);
    host.done();
    expect(host.decided.at(-1)).toMatchObject({ kind: 'giveBack', plan: { obligation: oldest!.id } });
  });
});
