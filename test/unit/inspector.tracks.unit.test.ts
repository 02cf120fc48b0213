// What the page works out of a log, without a browser: positions are folds, lanes tell what the events told.
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Happening } from '../../src/events/catalogue.ts';
import type { InspectedEvent } from '../../src/host/inspector/document.ts';
import { ActorBook } from '../../src/host/inspector/page/actors.ts';
import { axisOf } from '../../src/host/inspector/page/axis.ts';
import { datapathSpans, effectSpans, findingSpans, laneOf, marksOf, presenceSpans } from '../../src/host/inspector/page/lanes.ts';
import { momentAt } from '../../src/host/inspector/page/moment.ts';
import { Tracks } from '../../src/host/inspector/page/tracks.ts';
import { duration, summary, wallClock } from '../../src/host/inspector/page/words.ts';
import { readDocument } from '../../src/host/inspector/read.ts';
import { PairActors, parseInspection } from '../../src/host/inspector/protocol.ts';
import { activeStates } from '../../src/machines/chart-graph.ts';
import { Guest } from '../../src/machines/guest.ts';
import { Story } from '../../src/machines/story.ts';
import { acting, appeared, bonded, changed, MAC } from '../given.ts';
import { HostedStory } from '../hosted.given.ts';
import { eventsOf, longLog, recorded, RECORDING_NAMES } from '../inspector.given.ts';

const tracksOf = (events: readonly InspectedEvent[]): Tracks => {
  const tracks = new Tracks();
  tracks.append(events);
  return tracks;
};

describe('every position', () => {
  test.each(RECORDING_NAMES)('of %s is what the fold says there', async (name) => {
    const { events } = await recorded(name);
    const tracks = tracksOf(events);
    const guest = new Guest();
    for (const [index, event] of events.entries()) {
      guest.apply(event);
      for (const [mac, pair] of guest.pairs) {
        const moment = momentAt(tracks, mac, index);
        expect([...moment.active].toSorted()).toEqual(activeStates(pair.configuration).toSorted());
        expect(moment.pair?.shown).toEqual(pair.shown);
        expect(tracks.pointAt(mac, index)?.configuration).toBe(pair.configuration);
        expect([...moment.active]).toEqual(expect.arrayContaining(moment.taken.slice(-1).map((edge) => edge.split(' ')[1])));
      }
    }
  });

  test('behind many snapshots is the same as without any', () => {
    const events = longLog(1500);
    const tracks = tracksOf(events);
    expect(tracks.keyframes.length).toBeGreaterThan(3);
    const guest = new Guest();
    for (const [index, event] of events.entries()) {
      guest.apply(event);
      if (index % 97 !== 0 && index % 256 > 1) continue;
      expect(momentAt(tracks, MAC, index).pair?.shown).toEqual(guest.pairs.get(MAC)?.shown);
    }
  });
});

describe('lanes', () => {
  test('show the datapath, the carrier and the findings of the recorded migration', async () => {
    const { events } = await recorded('b-migration.jsonl');
    const tracks = tracksOf(events);
    const whole = [0, events.length - 1] as const;
    const track = tracks.pairs.get(MAC);
    expect(datapathSpans(track, whole).map(({ kind }) => kind)).toEqual(['none', 'standby', 'primary', 'standby', 'primary']);
    expect(presenceSpans(track, whole, 'primary').map(({ kind }) => kind)).toEqual([
      'present',
      'carrying',
      'present',
      'present',
      'carrying',
    ]);
    const story = new Story();
    for (const event of events) story.tell(event);
    const found = findingSpans(tracks, tracks.findings, MAC, whole);
    expect(found.map(({ finding }) => finding)).toEqual(story.findings.list(story.end));
    for (const { finding, from } of found) expect(events[from]?.seq).toBe(finding.seq);
  });

  test('have a mark for every event that concerns the pair, and never two on one pixel', async () => {
    const { events } = await recorded('h-three-migrations.jsonl');
    const tracks = tracksOf(events);
    const marks = marksOf(tracks, MAC, [0, events.length - 1], (index) => Math.floor(index / 3) * 3);
    expect(marks.reduce((sum, { count }) => sum + count, 0)).toBe(tracks.rows.filter((row) => laneOf(row, MAC) !== null).length);
    expect(new Set(marks.map(({ lane, index }) => `${lane} ${Math.floor(index / 3)}`)).size).toBe(marks.length);
  });

  test('join decisions with their outcomes', () => {
    // A bond whose primary carries, but is not active: the chart decides, and this world does as it is told.
    const guest = new Guest();
    const happenings: Happening[] = [];
    const queue: Happening[] = [
      acting(),
      appeared(bonded.bond),
      appeared(bonded.standby),
      appeared({ ...bonded.primary, up: true, carrier: true, master: 9, slave: { active: false, miiUp: true } }),
    ];
    for (let happening = queue.shift(); happening !== undefined; happening = queue.shift()) {
      happenings.push(happening);
      const { decisions } = guest.apply(eventsOf(happenings).at(-1)!);
      for (const decision of decisions) {
        queue.push({ type: 'decision.made', data: decision }, changed(9, { name: 'bond9' }));
        queue.push({
          type: 'outcome.seen',
          data: { decision: decision.id, pair: MAC, result: 'refused', reason: 'not today', observed: false },
        });
      }
    }
    const tracks = tracksOf(eventsOf(happenings));
    const spans = effectSpans(tracks.pairs.get(MAC), [0, happenings.length - 1]);
    expect(spans.length).toBeGreaterThan(0);
    for (const { from, to, kind, label } of spans) {
      expect([happenings[from]?.type, happenings[to]?.type]).toEqual(['decision.made', 'outcome.seen']);
      expect([kind, label]).toEqual(['refused', 'activatePrimary: refused']);
    }
  });
});

describe('the axis', () => {
  test('keeps the order, fits its width, and gives a long gap less room than its share', () => {
    const times = [0, 1, 2, 3, 3_600_000, 3_600_001];
    const { xOf, indexAt, gaps } = axisOf(times, 0, 5, 600);
    const xs = times.map((_, index) => xOf(index));
    expect(xs).toEqual(xs.toSorted((a, b) => a - b));
    expect([xs[0], xs[5]]).toEqual([0, 600]);
    expect(gaps).toHaveLength(1);
    expect(gaps[0]?.ms).toBe(3_599_997);
    // The burst before the hour is still legible.
    expect(xs[3]! - xs[0]!).toBeGreaterThan(40);
    for (const [index, x] of xs.entries()) expect(indexAt(x)).toBe(index);
  });
});

describe('hosts', () => {
  const file = (name: string) => fileURLToPath(new URL(`../../replay/recordings/raw/b-migration/${name}.jsonl`, import.meta.url));

  test('of a migration stand on the guest’s clock: the source until it stops, the target from then on', async () => {
    const {
      events,
      timeline: { hosts },
    } = await readDocument([file('qmp-B'), file('guest'), file('qmp-A')], { served: false });
    expect(hosts.map(({ name, role }) => [name, role])).toEqual([
      ['qmp-A', 'source'],
      ['qmp-B', 'target'],
    ]);
    const [source, target] = hosts;
    expect([source?.running.length, target?.running.length]).toEqual([1, 1]);
    // The guest's clock stands still in between (kvmclock), up to what is known of it.
    expect(Number(target?.running[0]?.from_ns) - Number(source?.running[0]?.until_ns)).toBeLessThan(
      Number(target?.uncertainty_ns),
    );
    const unplugged = events.find(({ type }) => type === 'pci.removed');
    const asked = source?.items.find(({ label }) => label.startsWith('migrate unix'));
    expect(Number(asked?.at_ns)).toBeLessThan(Number(unplugged?.mono_ns));
  });

  test('are those of one guest', async () => {
    const refused = expect.objectContaining({ code: 'usage.value' });
    await expect(readDocument([file('qmp-A'), file('qmp-B')], { served: false })).rejects.toEqual(refused);
    await expect(readDocument([file('guest'), file('guest')], { served: false })).rejects.toEqual(refused);
  });

  test('have their events between those of the guest', () => {
    const { xAt, xOf } = axisOf([0, 10, 1000, 1010], 0, 3, 300);
    for (const [index, ms] of [0, 10, 1000, 1010].entries()) expect(xAt(ms)).toBeCloseTo(xOf(index));
    expect(xAt(500)).toBeGreaterThan(xOf(1));
    expect(xAt(500)).toBeLessThan(xOf(2));
    expect([xAt(-1), xAt(1011)]).toEqual([null, null]);
  });
});

describe('words', () => {
  test.each([
    [0.42, '0.42 ms'],
    [12, '12 ms'],
    [3200, '3.20 s'],
    [245_000, '4 min 5 s'],
    [7_380_000, '2 h 3 min'],
  ])('%d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

  test('every recorded event has some, and a wall clock', async () => {
    for (const name of RECORDING_NAMES) {
      const tracks = tracksOf((await recorded(name)).events);
      for (const row of tracks.rows) {
        expect(summary(row).length).toBeGreaterThan(0);
        expect(wallClock(row.event)).toMatch(/^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC$/);
      }
    }
  });
});

test('a hypervisor’s log shows its pair with the chart of a migration, at every event', () => {
  const host = new HostedStory();
  host.port();
  host.qemu({});
  host.qemu({ migration: 'active' });
  const tracks = new Tracks();
  tracks.append(host.events);
  const book = new ActorBook();
  book.follow(tracks);
  book.follow(tracks);
  const [actor] = [...book.actors.values()];
  expect(book.size).toBe(1);
  expect(actor?.chart?.drawn.map(({ id }) => id)).toContain('.path.away.hidden');
  expect(actor?.happenings.at(-1)?.snapshot?.value).toEqual({ path: { away: 'hidden' }, effects: 'pending' });
});

describe('the xstate protocol', () => {
  test('our pairs as actors: the chart first, then each event with its own time', async () => {
    const { events } = await recorded('b-migration.jsonl');
    const actors = new PairActors();
    const messages = events.flatMap((event) => actors.take(event));
    expect(messages[0]).toMatchObject({ type: '@xstate.actor', sessionId: MAC, name: `pair ${MAC}` });
    expect(messages.filter(({ type }) => type === '@xstate.actor')).toHaveLength(1);
    const first = messages[0];
    const definition = JSON.parse(first?.type === '@xstate.actor' ? (first.definition ?? '') : '') as { states: object };
    expect(Object.keys(definition.states)).toEqual(['path', 'effects']);
    const last = events.findLast(({ type }) => type === 'adapter.changed');
    expect(messages.at(-1)?.createdAt).toBe(String(BigInt(last?.wall_ns ?? '0') / 1_000_000n));
    for (const message of messages) expect(parseInspection(JSON.stringify(message))).not.toBeNull();
  });

  test.each([
    ['no object', '[]'],
    ['no JSON', '{'],
    ['another type', '{"type":"@xstate.other","sessionId":"x","createdAt":"1"}'],
    ['no session', '{"type":"@xstate.event","createdAt":"1","event":{"type":"a"}}'],
    ['an event that is none', '{"type":"@xstate.event","sessionId":"x","createdAt":"1","event":7}'],
    ['a name that is none', '{"type":"@xstate.actor","sessionId":"x","createdAt":"1","name":{},"snapshot":{}}'],
  ])('is not %s', (_, text) => expect(parseInspection(text)).toBeNull());

  test('an actor of another program is kept with its chart, within limits', () => {
    const book = new ActorBook();
    const base = { sessionId: 'x:0', createdAt: '1790000000000', id: null, _version: '0.7.2', rootId: 'x:0' };
    const definition = JSON.stringify({
      id: 'light',
      initial: 'red',
      states: {
        red: { on: { NEXT: 'green' }, after: { 500: { target: 'green', guard: 'late' } } },
        green: { type: 'parallel', states: { a: {} } },
      },
    });
    book.take({ ...base, type: '@xstate.actor', name: 'light', definition, snapshot: { value: 'red' } });
    book.take({ ...base, type: '@xstate.event', event: { type: 'NEXT' } });
    book.take({ ...base, type: '@xstate.snapshot', event: { type: 'NEXT' }, snapshot: { value: { green: { a: {} } } } });
    const actor = book.actors.get('x:0');
    expect(actor?.chart?.drawn.map(({ id }) => id)).toEqual(['', '.red', '.green', '.green.a']);
    expect([...(actor?.chart?.edges.values() ?? [])].flatMap(({ target, ways }) => ways.map((way) => [target, way]))).toEqual([
      ['.green', { trigger: 'NEXT', guard: null, actions: [] }],
      ['.green', { trigger: 'after 500', guard: 'late', actions: [] }],
    ]);
    expect(actor?.happenings).toHaveLength(1);
    for (let index = 0; index < 5000; index += 1)
      book.take({ ...base, sessionId: `y:${index}`, type: '@xstate.event', event: { type: 'E' } });
    expect(book.size).toBe(64);
    for (let index = 0; index < 5000; index += 1) book.take({ ...base, type: '@xstate.event', event: { type: `E${index}` } });
    expect(actor?.happenings).toHaveLength(2000);
    book.take({ ...base, type: '@xstate.actor', name: 'deep', definition: '{'.repeat(50), snapshot: {} });
    expect(book.actors.get('x:0')?.chart).toBeNull();
  });
});
