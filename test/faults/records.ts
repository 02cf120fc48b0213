// Faults 53 to 60: clocks, snapshots, the log, replay.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeRecording } from '../../src/adapters/log/recording-writer.ts';
import { databaseIn, openLog } from '../../src/adapters/log/sqlite.ts';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import { at, migration } from '../../src/adapters/simulated/script.ts';
import type { RecordedEvent } from '../../src/events/envelope.ts';
import { SCHEMA_VERSION } from '../../src/events/envelope.ts';
import { FORMAT, FORMAT_VERSION } from '../../src/events/recording.ts';
import { MACHINE_VERSION } from '../../src/machines/guest.ts';
import { replayFile } from '../../replay/replay.ts';
import { bondOnly, cli, type Fault, inFolder, live, plug, standby, trioOnly, truths } from './given.ts';

const ON_PRIMARY = 'onPrimary primary primary.carries';
const migrated = [...bondOnly, plug(1000), at(8000, { do: 'migrate', how: migration({ primary: { carrierDelay_ms: 200 } }) })];

/** Writes events as a recording of that machine version. */
const write = async (path: string, events: readonly RecordedEvent[], machineVersion = MACHINE_VERSION): Promise<void> => {
  const [{ mono_ns, boot_ns, wall_ns, logId, bootId } = { mono_ns: '0', boot_ns: '0', wall_ns: '0', logId: '', bootId: '' }] =
    events;
  const versions = { format: FORMAT, version: FORMAT_VERSION, schema: SCHEMA_VERSION, machineVersion } as const;
  await writeRecording(path, { ...versions, logId, bootId, host: {}, clocks: { mono_ns, boot_ns, wall_ns } }, events);
};

export const RECORD_FAULTS: readonly Fault[] = [
  {
    number: 53,
    name: 'clock-jump',
    scenario:
      'The wall clock is set back by an hour, and the guest is suspended for ten minutes, in the grace time and in a migration.',
    expectation: 'Order and timers go by sequence number and monotonic time: the same states at the same moments.',
    state: 'holds',
    check: async () => {
      const jumps = [2000, 8100].flatMap((when) => [
        at(when, { do: 'step', ms: -3_600_000 }),
        at(when + 10, { do: 'suspend', ms: 600_000 }),
      ]);
      for (const told of [{ system: 'windows' as const, actions: [...standby, plug(20_000)] }, { actions: migrated }]) {
        const calm = await live({ ...told, until_ms: 60_000 });
        const life = await live({ ...told, actions: [...told.actions, ...jumps], until_ms: 60_000 });
        deepEqual([life.decided, life.path()], [calm.decided, calm.path()]);
        const later = life.events
          .slice(1)
          .map(({ mono_ns, wall_ns }, before) => [mono_ns, wall_ns, life.events[before]] as const);
        ok(later.every(([mono_ns, , before]) => BigInt(mono_ns) >= BigInt(before?.mono_ns ?? 0)));
        ok(later.some(([, wall_ns, before]) => BigInt(wall_ns) < BigInt(before?.wall_ns ?? 0)));
        equal(life.all('clock.jumped').length, 4);
      }
    },
  },
  {
    number: 54,
    name: 'snapshot-restored',
    scenario:
      'The log is newer than the facts (a primary that it knows is not there), older (its end is missing), or of another boot.',
    expectation: 'A start with its boot id is recorded, effects wait for the first look, and the facts win.',
    state: 'holds',
    missing: 'the VM generation id, which is recorded as unknown',
    check: async () => {
      const down = at(8000, { do: 'kill', when: 'now', down_ms: 2000 });
      const newer = await live({
        actions: [...bondOnly, plug(1000), down, at(8500, { do: 'remove', id: 'primary' })],
        until_ms: 60_000,
      });
      ok(newer.end.startsWith('fallback standby'));
      for (const setAside of [false, true]) {
        const cut = at(8000, { do: 'logCut', at: 0.4, setAside, down_ms: 100 });
        const older = await live({ actions: [...bondOnly, plug(1000), cut], until_ms: 60_000 });
        deepEqual([older.end, older.decided.filter((text) => text.startsWith('bindPrimary')).length < 2], [ON_PRIMARY, true]);
      }
      const boots = await live({ actions: [...trioOnly, plug(1000), at(8000, { do: 'reboot' })], until_ms: 60_000 });
      deepEqual(
        boots.all('service.started').map(({ data }) => data.bootId),
        ['boot-1', 'boot-2'],
      );
    },
  },
  {
    number: 55,
    name: 'reset-during-the-unplug',
    scenario: 'The guest is reset while the primary is leaving; the primary is plugged in again later.',
    expectation: 'The removal is complete with the reset, and the new primary is taken.',
    state: 'modelled: host',
    check: async () => {
      const reset = [at(8000, { do: 'remove', id: 'primary' }), at(8030, { do: 'reboot' })] as const;
      const up = at(14_000, { do: 'masterUp', id: 'standby', on: true });
      const life = await live({ actions: [...trioOnly, plug(1000), ...reset, up, plug(16_000)], until_ms: 60_000 });
      ok(life.at(15_000).startsWith('fallback standby'));
      equal(life.end, ON_PRIMARY);
    },
  },
  {
    number: 56,
    name: 'hibernation',
    scenario: 'The primary goes while the guest sleeps, and nobody says so.',
    expectation: 'The clocks tell of the sleep, and everything is read anew.',
    state: 'holds',
    check: async () => {
      const asleep = [
        at(8000, { do: 'fault', fault: 'hintLost' }),
        at(8000, { do: 'remove', id: 'primary', surprise: true }),
        at(8001, { do: 'suspend', ms: 3_600_000 }),
      ] as const;
      for (const told of [{ system: 'windows' as const, before: standby }, { before: bondOnly }]) {
        const life = await live({ ...told, actions: [...told.before, plug(1000), ...asleep], until_ms: 20_000 });
        ok(life.at(8500).startsWith('fallback standby'));
        ok(life.all('survey.taken').some(({ data: { reason } }) => reason === 'suspended'));
      }
    },
  },
  {
    number: 57,
    name: 'log-full-or-torn',
    scenario: 'The log refuses for 20 s during a migration; a database is cut and flipped; the last line of a recording is torn.',
    expectation: 'Traffic moves all the same, and the events are written later; the tail is set aside, what is whole is read.',
    state: 'holds',
    check: async () => {
      const found = {};
      const outage = at(7990, { do: 'logOutage', ms: 20_000 });
      const life = await live({ actions: [...migrated, outage], looks: truths(found, 8100, 100_000), until_ms: 101_000 });
      deepEqual([found, life.all('log.outage').map(({ data }) => data.lost)], [{ 8100: 'standby', 100000: 'primary' }, [0]]);
      await inFolder(async (dir) => {
        const me = { bootId: 'boot', machineId: 'machine' };
        const { log } = openLog(dir, me);
        const events = life.events.map(({ seq: _seq, logId: _log, bootId: _boot, v: _v, ...event }) => event);
        log.append(events, 0);
        log.close();
        truncateSync(databaseIn(dir), 5000);
        const again = openLog(dir, me);
        deepEqual([again.setAside === null, again.log.head(), verifyLog(again.log).problem], [false, 0, null]);
        again.log.close();
        const path = join(dir, 'recording.jsonl');
        await write(path, life.events);
        appendFileSync(path, '{"seq":');
        const { report, complaints } = await replayFile(path);
        deepEqual([report.events, report.divergence, complaints.length], [life.events.length, null, 1]);
        const bytes = readFileSync(path);
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
        writeFileSync(path, bytes);
        equal((await cli('replay', path)).code, 7);
      });
    },
  },
  {
    number: 58,
    name: 'other-machine-version',
    scenario: 'A recording of another version of the machine, which decided differently, is replayed.',
    expectation: 'The versions are named, and the first difference with its number; nothing is carried out.',
    state: 'holds',
    check: async () => {
      const life = await live({ actions: migrated, until_ms: 20_000 });
      await inFolder(async (dir) => {
        const path = join(dir, 'other.jsonl');
        const other = life.events.map((event) =>
          event.type === 'decision.made' && event.data.kind === 'activateStandby'
            ? { ...event, data: { ...event.data, attempt: 7 } }
            : event,
        );
        await write(path, other, MACHINE_VERSION + 1);
        const { code, err } = await cli('replay', path);
        const first = other.find(({ type, data }) => type === 'decision.made' && 'attempt' in data && data.attempt === 7);
        equal(code, 7);
        match(err, new RegExp(`machine version ${MACHINE_VERSION + 1}.*${MACHINE_VERSION}`));
        match(err, new RegExp(`at event ${first?.seq} `));
      });
    },
  },
  {
    number: 59,
    name: 'host-and-guest-disagree',
    scenario: 'The host thinks that it has removed the primary; the guest still has it.',
    expectation: 'The guest acts on its own facts: it stays on the primary.',
    state: 'modelled: host',
    missing: 'showing both, and the host acting on its own facts',
    check: async () => {
      const stuck = at(7000, { do: 'stick', id: 'primary', on: true });
      const actions = [...bondOnly, plug(1000), stuck, at(8000, { do: 'remove', id: 'primary' })];
      const life = await live({ actions, until_ms: 60_000 });
      deepEqual([life.end, life.decided.length], [ON_PRIMARY, 2]);
    },
  },
  {
    number: 60,
    name: 'driver-upgrade',
    scenario: 'The primary’s driver is exchanged: it leaves and is back after 1.5 s.',
    expectation: 'The standby carries meanwhile; it is told as a return, and not as an error.',
    state: 'holds',
    check: async () => {
      const actions = [...bondOnly, plug(1000), at(8000, { do: 'remove', id: 'primary', surprise: true }), plug(9500)];
      const life = await live({ actions, until_ms: 30_000 });
      deepEqual([life.end, life.findings('error'), life.findings('info')], [ON_PRIMARY, [], ['primaryReturned']]);
    },
  },
];
