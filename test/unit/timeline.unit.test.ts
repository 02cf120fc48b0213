// Guests and hypervisors on one axis. The captures carry the truth: host_ns is when a guest's line reached the host, on the
// clock of the monitor's lines, so that the estimated offset can be held against it.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../src/host/cli.ts';
import { type Timeline, timelineOf } from '../../replay/timeline/timeline.ts';
import { timelineDocumentText } from '../../replay/timeline/text.ts';
import { STEPS } from '../../replay/timeline/document.ts';
import { reportOf } from '../../replay/report.ts';
import { timelineText } from '../../replay/text.ts';
import { Story } from '../../src/machines/story.ts';
import { appeared, changed, MAC, trio } from '../given.ts';
import { RECORDINGS } from '../recordings.ts';

const raw = (name: string, file: string): string => join(RECORDINGS, 'raw', name, file);
const B = [raw('b-migration', 'guest.jsonl'), raw('b-migration', 'qmp-A.jsonl'), raw('b-migration', 'qmp-B.jsonl')];
const ms = (ns: string): number => Number(ns) / 1e6;

/** The least of host_ns - t_ns over the lines that came by one QEMU: the true offset plus the quickest delivery. */
const trueOffsets = (name: string): Map<string, bigint> => {
  const least = new Map<string, bigint>();
  for (const line of readFileSync(raw(name, 'guest.jsonl'), 'utf8').trim().split('\n')) {
    const [, guest = '', host = '', via = ''] = /"t_ns":(\d+).*"host_ns":(\d+),"via":"(\w)"/.exec(line) ?? [];
    const offset = BigInt(host) - BigInt(guest);
    const known = least.get(`qmp-${via}`);
    if (known === undefined || offset < known) least.set(`qmp-${via}`, offset);
  }
  return least;
};

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'netkvm-timeline-'));
});
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, lines: readonly object[]): string => {
  const path = join(dir, name);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
};
/** A capture of a monitor, made by hand: seconds, and what was said. */
const monitor = (name: string, said: readonly (readonly [s: number, event: string, data?: object])[]): string =>
  file(
    name,
    said.map(([s, event, data = {}]) => ({
      t_ns: Math.round(s * 1e9),
      dir: 'event',
      qmp: { event, data, timestamp: { seconds: Math.floor(s), microseconds: Math.round((s % 1) * 1e6) } },
    })),
  );
const migration = (status: string) => ['MIGRATION', { status }] as const;

describe('the clock', () => {
  test.each(['a-boot-with-vf', 'b-migration', 'd-vf-hotplug-later', 'f-vf-del-and-add'])(
    'of %s is found to a few milliseconds, within its bounds',
    async (name) => {
      const hosts = name === 'b-migration' ? B.slice(1) : [raw(name, 'qmp-A.jsonl')];
      const { document, complaints } = await timelineOf([raw(name, 'guest.jsonl'), ...hosts]);
      expect(complaints).toEqual([]);
      const zero = BigInt(document.axis.zero_ns);
      const segments = document.guests[0]?.segments ?? [];
      expect(segments.map(({ host }) => host)).toEqual(name === 'b-migration' ? ['qmp-A', 'qmp-B'] : ['qmp-A']);
      for (const { host, offset_ns, low_ns, high_ns, anchors } of segments) {
        const truth = trueOffsets(name).get(host) as bigint;
        const error = Number(truth - (BigInt(offset_ns) + zero)) / 1e6;
        expect(anchors).toBeGreaterThan(0);
        expect(Math.abs(error), `error of ${host} in ms`).toBeLessThan(5);
        // The truth holds a delivery, of a fraction of a millisecond.
        expect(error).toBeGreaterThanOrEqual(ms(low_ns as string));
        expect(error).toBeLessThanOrEqual(ms(high_ns as string));
      }
    },
  );

  test('needs no host clock but the events’ own', async () => {
    const plain = B.slice(1).map((path, index) =>
      file(
        `plain-${index}.jsonl`,
        readFileSync(path, 'utf8')
          .trim()
          .split('\n')
          .flatMap((line) => {
            const { qmp } = JSON.parse(line) as { qmp?: object };
            return qmp === undefined ? [] : [qmp];
          }),
      ),
    );
    const { document } = await timelineOf([B[0] as string, ...plain]);
    const [one, other] = [document.episodes[0], (await timelineOf(B)).document.episodes[0]];
    const steps = ({ steps: told }: (typeof document.episodes)[number]) =>
      STEPS.map((name) => ms(told[name]?.at_ns ?? '0') - ms(told.asked?.at_ns ?? '0'));
    expect(one && steps(one).map((at) => Math.round(at / 10))).toEqual(other && steps(other).map((at) => Math.round(at / 10)));
  });

  test('of a target that is behind its source is moved so that cause comes before effect, and it is said', async () => {
    const shifted = readFileSync(B[2] as string, 'utf8')
      .trim()
      .split('\n')
      .map((line) => {
        const value = JSON.parse(line) as { t_ns: number; qmp?: { timestamp?: { microseconds: number; seconds: number } } };
        const { timestamp } = value.qmp ?? {};
        if (timestamp !== undefined) timestamp.seconds -= 1;
        return { ...value, t_ns: value.t_ns - 1e9 };
      });
    const { document } = await timelineOf([B[0] as string, B[1] as string, file('behind.jsonl', shifted)]);
    expect(document.findings.filter(({ code }) => code === 'clocksDisagree')).toMatchObject([
      { by: 'behind', text: expect.stringMatching(/moved by 98\d\.\d ms/) as string },
    ]);
    expect(document.episodes[0]).toMatchObject({ ending: 'completed', target: 'behind' });
  });

  test('of a guest that shares nothing with the hosts is its own, and that is said', async () => {
    const { document } = await timelineOf([raw('g-vf-link-down-up', 'guest.jsonl'), monitor('other.jsonl', [[1, 'RTC_CHANGE']])]);
    expect(document.guests[0]?.segments).toMatchObject([{ anchors: 0, low_ns: null, high_ns: null }]);
    expect(document.findings.map(({ code }) => code)).toContain('clocksDisagree');
  });
});

describe('a real migration', () => {
  let timeline: Timeline;
  beforeAll(async () => {
    timeline = await timelineOf(B);
  });

  test('has its figures', () => {
    const { episodes } = timeline.document;
    expect(episodes).toHaveLength(1);
    const [{ steps, carried_ns, stopped_ns, ...episode }] = episodes as [(typeof episodes)[number]];
    const lost = { in: null, out: null };
    expect(episode).toEqual({ guest: 'guest', mac: MAC, source: 'qmp-A', target: 'qmp-B', ending: 'completed', lost });
    const order = STEPS.map((name) => ms(steps[name]?.at_ns as string));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    // The monitor's own figures: total 785 ms, downtime 15 ms from STOP to the end of the copy.
    expect(ms(steps.stopped?.at_ns as string) - ms(steps.requested?.at_ns as string)).toBeCloseTo(771, -1);
    expect(ms(stopped_ns)).toBeGreaterThan(15);
    expect(ms(stopped_ns)).toBeLessThan(25);
    // By the guest's clock alone: primary gone at 7423 ms, another at 8315, carrier at 11142, with less than 20 ms stopped.
    expect(ms(carried_ns.standby)).toBeCloseTo(11142.3 - 7414.7, 0);
    expect(ms(steps.carrier?.at_ns as string) - ms(steps.unplugged?.at_ns as string) - ms(stopped_ns)).toBeCloseTo(
      11142.3 - 7423,
      -1,
    );
    const all = ms(carried_ns.none) + ms(carried_ns.standby) + ms(carried_ns.primary) + ms(stopped_ns);
    expect(all).toBeCloseTo(ms(steps.carrier?.at_ns as string) - ms(steps.requested?.at_ns as string), 3);
  });

  test('has lanes that a page can draw', () => {
    const { lanes } = timeline.document;
    expect(lanes.map(({ id }) => id)).toEqual([
      'host:qmp-A',
      'running:qmp-A',
      'host:qmp-B',
      'running:qmp-B',
      `guest:${MAC}:primary`,
      `guest:${MAC}:stage`,
      `guest:${MAC}:datapath`,
    ]);
    for (const { items } of lanes) {
      const at = items.map(({ at_ns }) => BigInt(at_ns));
      expect(at).toEqual(at.toSorted((a, b) => (a < b ? -1 : 1)));
      for (const { at_ns, until_ns } of items) expect(BigInt(until_ns ?? at_ns)).toBeGreaterThanOrEqual(BigInt(at_ns));
    }
    // STOP and RESUME are one instant of the guest's clock.
    const of = (label: string) => lanes.flatMap(({ items }) => items).find((item) => item.label === label)?.guest_ns;
    expect(of('STOP')).toBe(of('RESUME'));
  });

  test('is told in words', () => {
    const text = timelineDocumentText(timeline.document);
    expect(text).toMatch(/Migration from qmp-A to qmp-B, completed: 52:54:00:11:22:33 in guest/);
    expect(text).toMatch(/stopped +\+0\.77\d\d s {2}qmp-A/);
    expect(text).toMatch(/10\.\d+ s {2}qmp-A +UNPLUG_PRIMARY device-id=vf0/);
  });

  test('by the command line, as text and as JSON', async () => {
    const out = { text: '' };
    const io = {
      stdin: process.stdin,
      stdout: { write: (text: string) => (out.text += text) },
      stderr: process.stderr,
    } as unknown as Parameters<typeof runCli>[1];
    expect(await runCli(['timeline', ...B, '--json'], io)).toBe(0);
    expect(JSON.parse(out.text)).toEqual(timeline.document);
  });
});

describe('what hosts alone can say (made by hand)', () => {
  test('an unplug that never comes', async () => {
    const path = monitor('endless.jsonl', [
      [10, ...migration('setup')],
      [10.01, 'UNPLUG_PRIMARY', { 'device-id': 'vf0' }],
      [10.02, ...migration('wait-unplug')],
      [60, 'BALLOON_CHANGE'],
    ]);
    const { document } = await timelineOf([path]);
    expect(document.findings).toMatchObject([{ code: 'unplugEndless', until_ns: null, severity: 'error' }]);
  });

  test('an unplug that was refused, and a migration that was cancelled', async () => {
    const path = monitor('refused.jsonl', [
      [10, ...migration('setup')],
      [10.02, ...migration('wait-unplug')],
      [11, 'DEVICE_UNPLUG_GUEST_ERROR', { device: 'vf0', path: '/machine/peripheral/vf0' }],
      [12, ...migration('cancelling')],
      [12.5, ...migration('cancelled')],
    ]);
    const { document } = await timelineOf([path]);
    expect(document.findings.map(({ code, text }) => [code, text])).toEqual([
      ['unplugRefused', 'the guest refused to let vf0 go'],
      ['migrationNotDone', 'the migration was cancelled'],
    ]);
  });
});

describe('recorded in the lab, with both hosts', () => {
  const lab = async (name: string): Promise<Timeline['document']> => {
    const folder = join(RECORDINGS, 'hosts', name);
    const { document, complaints } = await timelineOf(readdirSync(folder).map((one) => join(folder, one)));
    expect(complaints).toEqual([]);
    return document;
  };
  const found = ({ findings }: Timeline['document'], code: string) => findings.filter((one) => one.code === code);

  test('losses fall where the fold says that everything is dropped', async () => {
    const document = await lab('migration-with-losses');
    const [episode] = document.episodes;
    expect(episode).toMatchObject({ ending: 'completed', source: 'qmp-a1', target: 'qmp-b2' });
    const into = document.losses.find(({ direction }) => direction === 'in');
    expect(episode?.lost).toEqual({
      in: into?.lost,
      out: document.losses.find(({ direction }) => direction === 'out')?.lost,
    });
    const [longest] = (into?.holes ?? []).toSorted((one, other) => other.lost - one.lost);
    const [hole] = found(document, 'inboundHole');
    const inside =
      Math.min(ms(longest?.until_ns ?? '0'), ms(hole?.until_ns ?? '0')) -
      Math.max(ms(longest?.from_ns ?? '0'), ms(hole?.at_ns ?? '0'));
    expect(longest?.lost).toBeGreaterThan(1000);
    expect(inside / (ms(longest?.until_ns ?? '0') - ms(longest?.from_ns ?? '0'))).toBeGreaterThan(0.8);
  });

  test('a migration that was cancelled while the unplug was awaited: the primary left all the same, and came back', async () => {
    const document = await lab('cancelled-in-wait-unplug');
    expect(document.episodes).toMatchObject([{ ending: 'cancelled', source: 'qmp-a1', target: null }]);
    const steps = document.episodes[0]?.steps ?? {};
    expect(Object.keys(steps)).toEqual(['requested', 'asked', 'signalled', 'unplugged', 'returned', 'attached', 'carrier']);
    // Native hotplug: five seconds from the button to the unplug, long after it was cancelled.
    expect(ms(steps.unplugged?.at_ns ?? '0') - ms(steps.requested?.at_ns ?? '0')).toBeGreaterThan(5000);
    expect(found(document, 'migrationNotDone').map(({ by, text }) => [by, text])).toEqual([
      ['qmp-b2', 'the migration was given up as failed'],
      ['qmp-a1', 'the migration was cancelled'],
    ]);
  });

  test('a destination that died', async () => {
    const document = await lab('destination-dies');
    expect(document.episodes).toMatchObject([{ ending: 'failed', source: 'qmp-a1', target: null }]);
    const steps = document.episodes[0]?.steps ?? {};
    expect(Object.keys(steps)).toContain('active');
    expect(Object.keys(steps)).not.toContain('resumed');
    expect(found(document, 'migrationNotDone')).toMatchObject([{ by: 'qmp-a1' }]);
  });
});

describe('files as they come', () => {
  test('without a host: episodes from the guest’s own signs', async () => {
    const { document } = await timelineOf([raw('h-three-migrations', 'guest.jsonl')]);
    expect(document.axis.host).toBeNull();
    expect(document.episodes.map(({ ending, source }) => [ending, source])).toEqual([
      ['none', null],
      ['none', null],
      ['none', null],
    ]);
    for (const { steps } of document.episodes)
      expect(Object.keys(steps)).toEqual(['signalled', 'unplugged', 'returned', 'attached', 'carrier']);
  });

  test('a recording instead of a raw capture', async () => {
    const [{ document }, { document: ofRaw }] = await Promise.all([
      timelineOf([join(RECORDINGS, 'b-migration.jsonl'), ...B.slice(1)]),
      timelineOf(B),
    ]);
    expect(document.episodes[0]?.carried_ns).toEqual(ofRaw.episodes[0]?.carried_ns);
  });

  test('a damaged line is said, with exit code 7', async () => {
    const damaged = join(dir, 'damaged.jsonl');
    writeFileSync(
      damaged,
      readFileSync(B[1] as string, 'utf8').replace('{"t_ns":1795329759519522198', '!{"t_ns":1795329759519522198'),
    );
    const { complaints, damaged: is, document } = await timelineOf([B[0] as string, damaged, B[2] as string]);
    expect(complaints).toEqual([
      `${damaged}: line 12: not a line of JSON; it is passed over and counts as a gap; get the original file for the whole story`,
    ]);
    expect(is).toBe(true);
    expect(document.episodes).toHaveLength(1);
  });

  test('hostile texts reach a terminal as one line of plain text', async () => {
    const path = monitor('hostile.jsonl', [[10, 'X', { id: '\u001b[31mred\nnew line\u202e' }]]);
    const text = timelineDocumentText((await timelineOf([path])).document);
    expect(text.split('\u001b').concat(text.split('\u202e'))).toHaveLength(2);
    expect(text.split('\n').filter((line) => line.includes('new line'))).toHaveLength(1);
  });

  test('and so do those of a replay', () => {
    const story = new Story();
    const hostile = { ...trio.primary, name: '\u001b[31mred\nnew line' };
    const happenings = [
      ...[trio.master, trio.standby, hostile].map(appeared),
      ...[false, true].map((carrier) => changed(4, { carrier })),
    ];
    for (const [index, one] of happenings.entries()) story.tell({ ...one, seq: index + 1, mono_ns: `${index}000000000` });
    story.history.end();
    const text = timelineText(reportOf(story, happenings.length));
    expect(text).toContain('[31mred new line');
    expect(text).not.toContain('\u001b');
  });
});
