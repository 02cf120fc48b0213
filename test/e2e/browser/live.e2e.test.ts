// The served page: it follows the log of a running service, can be paused, survives its server, and shows actors of other
// programs; stock clients of @statelyai/inspect are the peers on both sides of the protocol, in Node and in the browser.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createWebSocketInspector, createWebSocketReceiver, type StatelyInspectionEvent } from '@statelyai/inspect';
import { createInspectorServer } from '@statelyai/inspect/server';
import { rolldown } from 'rolldown';
import { afterEach, describe, expect, test } from 'vitest';
import { createActor, createMachine } from 'xstate';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../../src/host/config.ts';
import { type Inspector, openInspector } from '../../../src/host/inspector/server.ts';
import { subjectOfFile, subjectOfLog } from '../../../src/host/inspector/subjects.ts';
import { MAC } from '../../given.ts';
import { recorded } from '../../inspector.given.ts';
import { cleanUp, folder, MIGRATION, Running, until } from '../../unit/service.given.ts';
import { keepScreenshot, position, pulsedEdges, screen, violations } from './given.ts';

const { open } = screen();
const inspectors: Inspector[] = [];
const servers: Server[] = [];
const stops: (() => void)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) stop();
  for (const server of servers.splice(0)) server.close();
  for (const inspector of inspectors.splice(0)) await inspector.close();
  await cleanUp();
});

const serve = async (options: Parameters<typeof openInspector>[0]): Promise<Inspector> => {
  const inspector = await openInspector(options);
  inspectors.push(inspector);
  return inspector;
};
const fileSubject = async () => subjectOfFile(await recorded('b-migration.jsonl', true));

const light = createMachine({
  id: 'light',
  initial: 'red',
  states: { red: { on: { NEXT: 'green' } }, green: { on: { NEXT: { target: 'red', guard: 'late' } } } },
});

describe('live', () => {
  test('follows the running service, is paused, and goes on', async () => {
    const dir = folder();
    const service = new Running([
      'run',
      '--state-dir',
      dir,
      '--platform',
      'recording',
      '--recording',
      MIGRATION,
      '--speed',
      '2',
      '--observe',
    ]);
    await service.line('started');
    const inspect = new Running(['inspect', '--state-dir', dir, '--json']);
    await until('a URL', () => inspect.lines.length > 0);
    const page = await open(String(inspect.lines[0]?.['url']));
    await page.getByText('Live', { exact: true }).waitFor();
    await expect.poll(() => position(page)).toBeGreaterThan(8);
    await page.getByRole('button', { name: 'Pause' }).click();
    const paused = await position(page);
    await page.getByRole('button', { name: /Follow \(\d+ newer\)/ }).waitFor();
    expect(await position(page)).toBe(paused);
    await page.getByRole('button', { name: /Follow/ }).click();
    await service.line('transition', ({ stage, seq }) => stage === 'onPrimary' && Number(seq) > 25);
    await expect.poll(() => page.locator('.now .stage').textContent(), { timeout: 10_000 }).toBe('onPrimary');
    await keepScreenshot(page, 'live');
    expect((await inspect.stop('SIGINT')).code).toBe(0);
    await page.getByText('Connection lost, trying again').waitFor();
  });

  test('takes up again, without a gap or a double, what came while its server was away', async () => {
    const dir = folder();
    const service = new Running([
      'run',
      '--state-dir',
      dir,
      '--platform',
      'recording',
      '--recording',
      MIGRATION,
      '--speed',
      '4',
      '--observe',
    ]);
    await service.line('watching');
    const subject = subjectOfLog(loadConfig(undefined, { 'service.stateDir': dir }));
    const first = await openInspector({ subject, port: 0, word: 'word' });
    const page = await open(first.url);
    await expect.poll(() => position(page)).toBeGreaterThan(5);
    await first.close();
    await page.getByText('Connection lost, trying again').waitFor();
    await service.line('transition', ({ stage, seq }) => stage === 'onPrimary' && Number(seq) > 25);
    await serve({ subject, port: Number(new URL(first.url).port), word: 'word' });
    await page.getByText('Live', { exact: true }).waitFor({ timeout: 15_000 });
    const reader = (await subject.head())?.split('/')[1];
    await expect.poll(() => position(page), { timeout: 10_000 }).toBe(Number(reader));
    const numbers = await page.locator('.rows [role=row] .number:first-child').allTextContents();
    expect(numbers.map(Number)).toEqual(numbers.map((_, index) => Number(numbers[0]) + index));
  });

  test('serves a file, too', async () => {
    const { url } = await serve({ subject: await fileSubject(), port: 0 });
    const page = await open(`${url}#at=14`);
    expect(await position(page)).toBe(14);
    expect(await page.locator('.now .stage').textContent()).toBe('onPrimary');
  });
});

/** Actors of others on the page, and what is lit of the one that is shown. */
describe('the xstate protocol', () => {
  test('a stock inspector in Node: its machine is drawn, followed, and looked back at', async () => {
    const { url, socketUrl } = await serve({ subject: await fileSubject(), port: 0 });
    const page = await open(url);
    const inspector = createWebSocketInspector({ url: socketUrl });
    stops.push(() => inspector.stop());
    const actor = createActor(light.provide({ guards: { late: () => true } }), { inspect: inspector.inspect });
    actor.start();
    await page.getByRole('button', { name: 'other actors' }).click();
    await page.locator('[data-state=".red"][data-active]').waitFor();
    expect(await pulsedEdges(page)).toEqual([]);
    actor.send({ type: 'NEXT' });
    await page.locator('[data-state=".green"][data-active]').waitFor();
    expect(await pulsedEdges(page)).toEqual(['[".red",".green"]']);
    expect(await page.locator('.leads').textContent()).toMatch(/NEXT \[late\] +→ red/);
    const box = await page.locator('[data-state=".green"] rect').boundingBox();
    expect(box?.height).toBeGreaterThan(20);
    await keepScreenshot(page, 'actor');
    expect(await violations(page)).toEqual([]);
    await page.locator('.happenings button').first().click();
    await page.locator('[data-state=".red"][data-active]').waitFor();
    expect(await pulsedEdges(page)).toEqual([]);
    // Who opens the page late sees the present state.
    const late = await open(url);
    await late.getByRole('button', { name: 'other actors' }).click();
    await late.locator('[data-state=".green"][data-active]').waitFor();
  });

  test('a stock receiver in Node: it gets our pair with its chart, and every event with its own time', async () => {
    const document = await recorded('b-migration.jsonl', true);
    const { socketUrl } = await serve({ subject: subjectOfFile(document), port: 0 });
    const received: StatelyInspectionEvent[] = [];
    const subscription = createWebSocketReceiver({ server: socketUrl }).subscribe((event) => received.push(event));
    stops.push(() => subscription.unsubscribe());
    const last = document.events.at(-1);
    const isLast = ({ type, createdAt }: StatelyInspectionEvent): boolean =>
      type === '@xstate.snapshot' && createdAt === String(BigInt(last?.wall_ns ?? 0) / 1_000_000n);
    await until('the last event', () => received.some(isLast));
    const [actor] = received;
    expect(actor).toMatchObject({ type: '@xstate.actor', sessionId: MAC });
    const definition = JSON.parse((actor as { definition?: string }).definition ?? '') as Parameters<typeof createMachine>[0];
    // The chart that was sent is a machine, and its states are those of the last snapshot.
    const machine = createMachine(definition);
    const { value } = (received.findLast(isLast) as { snapshot: unknown }).snapshot as {
      value: Parameters<typeof machine.resolveState>[0]['value'];
    };
    expect(machine.resolveState({ value, context: {} }).value).toMatchObject({ path: { failover: 'onPrimary' } });
  });

  test('a relay of theirs elsewhere: we feed it as an inspector does, so their viewer shows our pairs', async () => {
    const relay = createInspectorServer({ port: 18_765, autoOpen: false });
    stops.push(() => relay.stop());
    const received: StatelyInspectionEvent[] = [];
    createWebSocketReceiver({ server: 'ws://localhost:18765' }).subscribe((event) => received.push(event));
    const inspector = await serve({ subject: await fileSubject(), port: 0 });
    await inspector.feed('ws://localhost:18765');
    await expect
      .poll(() => received.filter(({ sessionId }) => sessionId === MAC).length, { timeout: 10_000 })
      .toBeGreaterThan(20);
  });

  test('stock clients in the browser, on a page of another origin that was allowed', async () => {
    const bundle = await rolldown({
      input: fileURLToPath(new URL('peer.ts', import.meta.url)),
      platform: 'browser',
      logLevel: 'silent',
    });
    const { output } = await bundle.generate({ format: 'iife' });
    const site = createServer((_, response) => {
      response.setHeader('Content-Type', 'text/html');
      response.end(`<main>peer</main><script>${output[0].code.replaceAll('</script', '<\\/script')}</script>`);
    });
    servers.push(site);
    await new Promise<void>((done) => site.listen(0, '127.0.0.1', done));
    const origin = `http://localhost:${(site.address() as AddressInfo).port}`;
    const { url, socketUrl } = await serve({ subject: await fileSubject(), port: 0, origins: [origin] });
    const peer = await open(`${origin}/?socket=${encodeURIComponent(socketUrl)}`);
    const page = await open(url);
    await page.getByRole('button', { name: 'other actors' }).click();
    await page.locator('[data-state=".shut"][data-active]').waitFor();
    await peer.evaluate('openDoor()');
    await page.locator('[data-state=".ajar"][data-active]').waitFor();
    expect(await pulsedEdges(page)).toEqual(['[".shut",".ajar"]']);
    await expect
      .poll(() => peer.evaluate(`received.filter(({ sessionId }) => sessionId === ${JSON.stringify(MAC)}).length`))
      .toBeGreaterThan(20);
  });
});
