// The self-contained page in a real Chromium: what is lit is what the fold says, it can be used without a mouse and without
// eyes, ten thousand events are no burden, and nothing in a log is more than text.
import { describe, expect, test } from 'vitest';
import { activeStates } from '../../../src/machines/chart-graph.ts';
import { momentAt } from '../../../src/host/inspector/page/moment.ts';
import { HOST_ACTOR } from '../../../src/host/inspector/protocol.ts';
import { Tracks } from '../../../src/host/inspector/page/tracks.ts';
import { duration } from '../../../src/host/inspector/page/words.ts';
import { Guest } from '../../../src/machines/guest.ts';
import { STEPS } from '../../../replay/timeline/document.ts';
import { MAC } from '../../given.ts';
import {
  documentOf,
  HOSTILE,
  hostileLog,
  hostLog,
  longLog,
  metered,
  migrated,
  recorded,
  RECORDING_NAMES,
} from '../../inspector.given.ts';
import { expectPosition, isFull, keepScreenshot, litStates, position, pulsedEdges, screen, violations } from './given.ts';

const { openFile } = screen();
const STEPPED = isFull ? RECORDING_NAMES : ['b-migration.jsonl', 'j-no-failover-userspace-bond.jsonl'];

describe('stepping', () => {
  test.each(STEPPED)('through %s lights what the fold says, at every event', async (name) => {
    const document = await recorded(name);
    const page = await openFile(document);
    await page.keyboard.press('Home');
    const guest = new Guest();
    const tracks = new Tracks();
    tracks.append(document.events);
    for (const [index, event] of document.events.entries()) {
      await expectPosition(page, index + 1);
      guest.apply(event);
      const pair = guest.pairs.get(MAC);
      // The root has no frame of its own.
      const lit = pair === undefined ? [] : activeStates(pair.configuration).slice(1);
      expect(await litStates(page), `event ${event.seq}`).toEqual(lit.toSorted());
      const { taken } = momentAt(tracks, MAC, index);
      const drawn = [...new Set(taken)].filter((edge) => edge.split(' ')[0] !== edge.split(' ')[1]);
      expect(await pulsedEdges(page), `event ${event.seq}`).toEqual(drawn.toSorted());
      const shown = pair?.shown ?? { stage: 'unknown', datapath: null };
      expect(await page.locator('.now .stage').textContent()).toBe(shown.stage);
      if (index < document.events.length - 1) await page.keyboard.press('ArrowRight');
    }
    await keepScreenshot(page, name.replace('.jsonl', ''));
  });
});

describe('a position', () => {
  test('has a link, which leads there again, and a wrong one leads nowhere bad', async () => {
    const document = await recorded('b-migration.jsonl');
    const page = await openFile(document, `#at=14&pair=${MAC}`);
    await expectPosition(page, 14);
    await page.keyboard.press('ArrowRight');
    await expectPosition(page, 15);
    await expect.poll(() => new URL(page.url()).hash).toBe(`#at=15&pair=${MAC}`);
    for (const hash of ['#at=x&pair=y', '#at=99999999', '#%%%', '#at=-4']) {
      const other = await openFile(document, hash);
      await expectPosition(other, 30);
    }
  });

  test('is found by finding, by lane, and by row', async () => {
    const page = await openFile(await recorded('b-migration.jsonl'));
    await page.locator('.finding', { hasText: 'inboundHole' }).first().click();
    await expectPosition(page, 13);
    const lanes = await page.locator('.lanes svg').boundingBox();
    await page.mouse.click((lanes?.x ?? 0) + 93, (lanes?.y ?? 0) + 100);
    await expectPosition(page, 1);
    await page.locator('#row-4').click();
    await expectPosition(page, 5);
    expect(await page.locator('.detail h2').textContent()).toContain('adapter.');
  });

  test('plays on by itself and stops at the end', async () => {
    const page = await openFile(await recorded('b-migration.jsonl'));
    await page.getByRole('button', { name: 'Play 10×' }).click();
    await expect.poll(() => position(page), { timeout: 15_000 }).toBe(30);
    await page.getByRole('button', { name: 'Play 10×' }).waitFor();
  });
});

describe('the hosts of a guest', () => {
  test('have lanes of their own, and tell what they did between two events of the guest', async () => {
    const page = await openFile(await migrated(), '#at=73');
    expect(await page.locator('.lanes .names').textContent()).toContain('qmp-A');
    expect(await page.locator('.lanes .runs').count()).toBe(2);
    const told = new Set<string>();
    await page.keyboard.press('Home');
    for (let step = 1; step <= 30; step += 1) {
      await expectPosition(page, step);
      for (const text of await page.locator('.detail .changes li:has(.host)').allTextContents()) told.add(text);
      await page.keyboard.press('ArrowRight');
    }
    expect([...told].join('\n')).toMatch(/qmp-A command migrate\b/);
    await keepScreenshot(page, 'hosts');
  });
});

describe('the log of a hypervisor', () => {
  test('shows its pairs as actors: what is lit is what the fold says, at every event', async () => {
    const events = hostLog();
    const page = await openFile(documentOf(events, 'host.jsonl'));
    await page.getByRole('button', { name: 'other actors' }).click();
    expect(await page.getByRole('navigation', { name: 'Actors' }).textContent()).toContain(`${HOST_ACTOR}${MAC}`);
    const happenings = page.locator('.happenings button');
    const guest = new Guest();
    const stages = new Set<string>();
    let shown = 0;
    for (const event of events) {
      const [pair] = guest.apply(event).hosted;
      if (pair === undefined) continue;
      await happenings.nth(shown).click();
      shown += 1;
      const lit = (await litStates(page)).map((id) => id.split('.').at(-1));
      expect(lit, `event ${event.seq}, ${event.type}`).toEqual(expect.arrayContaining(['path', 'effects', pair.shown.stage]));
      stages.add(pair.shown.stage);
    }
    expect([await happenings.count(), [...stages]]).toEqual([shown, expect.arrayContaining(['waitUnplug', 'parked', 'present'])]);
    expect(await violations(page)).toEqual([]);
    await keepScreenshot(page, 'hypervisor');
  });
});

describe('the figures of an episode', () => {
  test('are those of the timeline, and each step leads to its place', async () => {
    const document = await migrated();
    const page = await openFile(document, '#at=73');
    const figures = page.getByRole('region', { name: 'Figures' });
    expect(await figures.locator('h2').textContent()).toBe('Migration qmp-A → qmp-Bcompleted');
    const steps = await figures.locator('li button span:first-child').allTextContents();
    expect(steps.toSorted()).toEqual(STEPS.toSorted());
    expect(await figures.locator('li', { hasText: 'stopped' }).textContent()).toMatch(/stopped\+77\d msqmp-A/);
    const [episode] = document.timeline.episodes;
    expect(await figures.locator('.carried').textContent()).toContain(
      `standby ${duration(Number(episode?.carried_ns.standby) / 1e6)}`,
    );
    expect(await figures.locator('dl').textContent()).toMatch(/qmp-A clock.* to \+.* from \d+ events/);
    await figures.locator('li', { hasText: 'unplugged' }).locator('button').click();
    const gone = document.events.findIndex(({ mono_ns }) => mono_ns === episode?.steps.unplugged?.guest_ns);
    expect(document.events[gone]?.type).toBe('adapter.gone');
    expect(await page.locator('.detail h2').textContent()).toContain('adapter.gone');
  });

  test('of several: the one at the position, and the others by a button', async () => {
    const page = await openFile(await recorded('h-three-migrations.jsonl'));
    const figures = page.getByRole('region', { name: 'Figures' });
    expect(await figures.locator('.turn').textContent()).toContain('3 of 3');
    await figures.getByRole('button', { name: 'Previous episode' }).click();
    expect(await figures.locator('.turn').textContent()).toContain('2 of 3');
    await page.keyboard.press('Home');
    await expect.poll(() => figures.locator('.turn').textContent()).toContain('1 of 3');
    expect(await figures.getByRole('button', { name: 'Previous episode' }).isDisabled()).toBe(true);
  });
});

describe('losses that were recorded', () => {
  test('are plotted where they fell, and counted in the episode', async () => {
    const document = await metered();
    const page = await openFile(document, '#at=20');
    const holes = document.timeline.losses.flatMap((one) => one.holes);
    expect(await page.locator('.loss .hole').count()).toBe(holes.length);
    const most = Math.max(...holes.map(({ lost }) => lost));
    const longest = page.locator('.loss .hole', { hasText: `${most} packets lost on the way into the guest` });
    const [box, hatched] = [await longest.locator('rect').boundingBox(), await page.locator('.hatched').boundingBox()];
    // The inbound hole of the fold is where they went.
    expect(Math.abs((box?.x ?? 0) + (box?.width ?? 0) - (hatched?.x ?? 0) - (hatched?.width ?? 0))).toBeLessThan(12);
    const sum = (direction: string): number =>
      document.timeline.losses.filter((one) => one.direction === direction).reduce((total, { lost }) => total + lost, 0);
    expect(await page.locator('.lanes .names').textContent()).toContain(`Lost in: ${sum('in')}`);
    expect(await page.locator('.figures dl').textContent()).toContain(`packets lost${sum('in')} in, ${sum('out')} out`);
    await keepScreenshot(page, 'losses');
    expect(await violations(page)).toEqual([]);
  });

  test('are nowhere where nobody measured', async () => {
    const page = await openFile(await recorded('b-migration.jsonl'));
    expect(await page.locator('.loss').count()).toBe(0);
  });
});

describe('by keyboard alone', () => {
  test('everything is reached, and what has the focus shows it', async () => {
    const page = await openFile(await recorded('b-migration.jsonl'));
    const seen = new Set<string>();
    for (let tab = 0; tab < 60; tab += 1) {
      await page.keyboard.press('Tab');
      const [what, outline] = (await page.evaluate(`(() => {
        const element = document.activeElement;
        const style = getComputedStyle(element);
        const box = element.querySelector(':scope > rect');
        const shown = style.outlineStyle !== 'none' || (box !== null && getComputedStyle(box).strokeWidth === '2px');
        return [element === document.body ? 'body' : (element.getAttribute('aria-label') ?? element.textContent), shown];
      })()`)) as [string, boolean];
      if (what === 'body' || seen.has(what)) continue;
      seen.add(what);
      expect(outline, `${what} shows that it has the focus`).toBe(true);
    }
    for (const what of [
      'Next event',
      'Search events',
      'Position in the log',
      'changes only',
      'Events, arrow keys move',
      'Play 1×',
    ])
      expect([...seen]).toContain(what);
  });

  test('the chart tells what each state means', async () => {
    const page = await openFile(await recorded('b-migration.jsonl'));
    await page.locator('.chart [tabindex="0"]').focus();
    await page.keyboard.press('ArrowRight');
    const card = page.getByRole('tooltip');
    await card.waitFor();
    expect(await card.textContent()).toContain('→');
    await page.keyboard.press('Escape');
    expect(await card.count()).toBe(0);
    expect(await position(page)).toBe(30);
  });

  test('search, step, jump, find, zoom', async () => {
    const page = await openFile(await recorded('b-migration.jsonl'));
    await page.keyboard.press('/');
    await page.keyboard.type('ptpremoved');
    await expect.poll(() => page.locator('.rows [role=row]').count()).toBe(1);
    await page.keyboard.press('Tab');
    await page.locator('.rows').focus();
    await page.keyboard.press('Home');
    await expectPosition(page, 15);
    await page.locator('#search').fill('');
    await page.locator('.rows').focus();
    await page.keyboard.press('ArrowDown');
    await expectPosition(page, 16);
    await page.locator('.detail').focus();
    await page.keyboard.press('Home');
    await expectPosition(page, 1);
    await page.keyboard.press('f');
    await expectPosition(page, 13);
    await page.keyboard.press('PageDown');
    await expectPosition(page, 23);
    await page.keyboard.press('+');
    expect(await page.getByRole('button', { name: 'Show more events' }).isEnabled()).toBe(true);
    await page.keyboard.press('-');
  });
});

describe('for everybody', () => {
  test.each(['light', 'dark'] as const)('axe finds nothing against it in %s', async (colorScheme) => {
    const page = await openFile(await recorded('h-three-migrations.jsonl'), '#at=20', { colorScheme });
    await keepScreenshot(page, `three-migrations-${colorScheme}`);
    expect(await violations(page)).toEqual([]);
  });

  test('narrow windows scroll down, never sideways', async () => {
    for (const [width, height] of [
      [1024, 768],
      [800, 600],
      [420, 800],
    ] as const) {
      const page = await openFile(await recorded('b-migration.jsonl'), '', { viewport: { width, height } });
      const [room, needed] = (await page.evaluate('[innerWidth, document.documentElement.scrollWidth]')) as [number, number];
      await keepScreenshot(page, `migration-${width}`);
      expect(needed, `${width} px`).toBeLessThanOrEqual(room);
    }
  });
});

describe('ten thousand events', () => {
  test('are all there, while the page holds only those in view', async () => {
    const page = await openFile(documentOf(longLog(10_000)));
    await expectPosition(page, 10_000);
    expect(await page.locator('.rows [role=row]').count()).toBeLessThan(60);
    expect(await page.evaluate('document.querySelectorAll("*").length')).toBeLessThan(10_000);
    await page.locator('.rows').evaluate((rows) => {
      rows.scrollTop = 140_000;
    });
    await page.locator('.rows [role=row]', { hasText: '5003' }).first().click();
    await expect.poll(() => position(page)).toBeGreaterThan(4990);
    const from = await position(page);
    for (let step = 0; step < 20; step += 1) await page.keyboard.press('ArrowRight');
    await expectPosition(page, from + 20);
    await page.locator('#search').fill('appeared');
    await expect.poll(() => page.locator('.rows [role=row]').count()).toBe(3);
    await keepScreenshot(page, 'ten-thousand');
  });
});

describe('a hostile log', () => {
  // Without the page's own policy, so that only its handling of text is between the log and the browser.
  test.each([false, true])('is text (policy bypassed: %s)', async (bypassCSP) => {
    const document = { ...documentOf(hostileLog(), HOSTILE[1]), complaints: [HOSTILE[2]!] };
    const page = await openFile(document, '', { bypassCSP });
    await page.keyboard.press('Home');
    for (const [index, event] of document.events.entries()) {
      await expectPosition(page, index + 1);
      const data = await page.locator('.detail pre').textContent();
      expect(JSON.parse(data ?? '')).toEqual(event.data);
      await page.keyboard.press('ArrowRight');
    }
    expect(await page.locator('h1').textContent()).toContain(HOSTILE[1]);
    expect(await page.locator('script').count()).toBe(2);
    expect(await page.locator('#page :is(img, script, iframe, object)').count()).toBe(0);
  });
});
