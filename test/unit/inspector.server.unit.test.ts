// The inspector's server as a stranger meets it: who is answered and who is not, what cannot break out of the page, what is
// sent to whom, and how much of anything it takes.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type InspectedEvent, NO_TIMELINE } from '../../src/host/inspector/document.ts';
import { pageOf, writePage } from '../../src/host/inspector/html.ts';
import { type Inspector, type InspectorOptions, openInspector } from '../../src/host/inspector/server.ts';
import type { Subject } from '../../src/host/inspector/subject.ts';
import { subjectOfFile } from '../../src/host/inspector/subjects.ts';
import { documentOf, HOSTILE, hostileLog, longLog, recorded } from '../inspector.given.ts';

const open: Inspector[] = [];
const sockets: WebSocket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate();
  await Promise.all(open.splice(0).map((inspector) => inspector.close()));
});

const serve = async (options: Partial<InspectorOptions> = {}): Promise<Inspector> => {
  const subject = options.subject ?? subjectOfFile(await recorded('b-migration.jsonl', true));
  const inspector = await openInspector({ port: 0, ...options, subject });
  open.push(inspector);
  return inspector;
};

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** fetch() would not let a test forge Host and Origin. */
const ask = (
  url: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> =>
  new Promise((done, failed) => {
    const asked = httpRequest(url, { method, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        done({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts).toString('utf8') }),
      );
      response.on('error', failed);
    });
    asked.on('error', failed);
    asked.end();
  });

/** Reads a stream of events until `enough`, then hangs up. */
const follow = (url: string, enough: (text: string) => boolean, headers: Record<string, string> = {}): Promise<string> =>
  new Promise((done, failed) => {
    const asked = httpRequest(url, { headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
        if (enough(text)) asked.destroy();
      });
      response.on('close', () => done(text));
      response.on('error', () => {});
    });
    asked.on('error', failed);
    asked.end();
  });

/** Connects; gives the messages that come, or null when the server does not want to. */
const connect = (url: string, origin?: string): Promise<{ readonly socket: WebSocket; readonly messages: unknown[] } | null> =>
  new Promise((done) => {
    const socket = new WebSocket(url, origin === undefined ? {} : { origin });
    const messages: unknown[] = [];
    sockets.push(socket);
    socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString('utf8'))));
    socket.on('open', () => done({ socket, messages }));
    socket.on('error', () => done(null));
  });

const until = async (holds: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 300 && !holds(); tries += 1) await new Promise((done) => setTimeout(done, 10));
  expect(holds()).toBe(true);
};

/** A log that grows when the test says so. */
const growing = (events: InspectedEvent[]): Subject & { grow(more: readonly InspectedEvent[]): void } => {
  const waiting = new Set<() => void>();
  return {
    grow: (more) => {
      events.push(...more);
      for (const wake of waiting) wake();
    },
    document: () =>
      Promise.resolve({
        schemaVersion: 1,
        source: { kind: 'live', name: 'netkvm.db' },
        served: true,
        complaints: [],
        events: [],
        timeline: NO_TIMELINE,
      }),
    head: () => Promise.resolve(events.length === 0 ? null : `made/${events.length}`),
    async *events(after, signal) {
      let next = after === null ? 0 : Number(after.split('/')[1]);
      while (!signal.aborted) {
        for (let event = events[next]; event !== undefined; event = events[next]) {
          next += 1;
          yield { id: `made/${event.seq}`, event };
        }
        await new Promise<void>((wake) => {
          waiting.add(wake);
          signal.addEventListener('abort', () => wake());
        });
      }
    },
  };
};

describe('who is answered', () => {
  test('whoever has the word, on the loopback device, by name or by address', async () => {
    const { url } = await serve();
    expect(new URL(url).hostname).toBe('127.0.0.1');
    expect((await ask(url)).status).toBe(200);
    const port = new URL(url).port;
    expect((await ask(url, { headers: { Host: `localhost:${port}` } })).status).toBe(200);
    expect((await ask(url, { headers: { Origin: `http://127.0.0.1:${port}` } })).status).toBe(200);
  });

  test.each([
    ['no word', (url: string) => [new URL('/', url).href, {}] as const],
    ['a wrong word', (url: string) => [url.replace(/.\/$/, '~/'), {}] as const],
    ['a foreign name, as DNS rebinding has it', (url: string) => [url, { Host: 'evil.example' }] as const],
    ['a foreign name with our port', (url: string) => [url, { Host: `evil.example:${new URL(url).port}` }] as const],
    ['a page of another origin', (url: string) => [url, { Origin: 'http://evil.example' }] as const],
    ['a page without origin', (url: string) => [`${url}events`, { Origin: 'null' }] as const],
  ])('not %s', async (_, forge) => {
    const { url } = await serve({ origins: ['http://localhost:5173'] });
    const [target, headers] = forge(url);
    const { status, body } = await ask(target, { headers });
    expect(status).toBe(403);
    expect(body).not.toContain('<');
  });

  test('an origin that was allowed may use the socket, not the page', async () => {
    const { url, socketUrl } = await serve({ origins: ['http://localhost:5173'] });
    expect((await ask(url, { headers: { Origin: 'http://localhost:5173' } })).status).toBe(403);
    expect(await connect(socketUrl, 'http://localhost:5173')).not.toBeNull();
    expect(await connect(socketUrl, 'http://evil.example')).toBeNull();
    expect(await connect(socketUrl.replace(/\/[^/]+\/xstate/, '/wrong/xstate'))).toBeNull();
    expect(await connect(socketUrl.replace(/xstate$/, 'events'))).toBeNull();
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('%s is refused: it is read-only', async (method) => {
    const { url } = await serve();
    expect((await ask(url, { method })).status).toBe(405);
  });

  test('there is nothing besides the page and its streams', async () => {
    const { url } = await serve();
    for (const path of ['x', '../', '%2e%2e/%2e%2e/etc/passwd', 'events/x']) {
      expect([403, 404]).toContain((await ask(url + path)).status);
    }
  });

  test('the port is said to be taken when it is', async () => {
    const { url } = await serve();
    await expect(serve({ port: Number(new URL(url).port) })).rejects.toMatchObject({ code: 'inspect.unusable' });
  });
});

describe('the page', () => {
  test('allows its own script and style, by hash, and nothing else', async () => {
    const { url } = await serve();
    const { headers, body } = await ask(url);
    const policy = String(headers['content-security-policy']);
    for (const element of ['script', 'style'] as const) {
      const [, content = ''] = new RegExp(`<${element}>([\\s\\S]*?)</${element}>`).exec(body) ?? [];
      expect(policy).toContain(`${element}-src 'sha256-${createHash('sha256').update(content).digest('base64')}'`);
    }
    expect(policy).toContain(`default-src 'none'`);
    expect(policy).toContain(`frame-ancestors 'none'`);
    expect(policy).not.toContain('unsafe');
    expect(headers['referrer-policy']).toBe('no-referrer');
    expect(headers['cache-control']).toBe('no-store');
  });

  test('names no other server', async () => {
    const { html } = await pageOf(documentOf([]));
    // Namespaces of SVG and the like are names, not addresses; xstate's messages link to its documentation.
    const urls = [...html.matchAll(/https?:\/\/[^\s"'`)\\]+/g)].map(([found]) => found);
    expect(
      urls.filter((found) => !/^https?:\/\/(www\.w3\.org|stately\.ai|xstate\.js\.org|json-schema\.org)/.test(found)),
    ).toEqual([]);
    expect(html).not.toMatch(/<(link|script|img|iframe)[^>]+(src|href)="(?!data:)/);
    expect(html).toContain(`connect-src 'none'`);
  });

  test('has at most 150 KB without data, compressed', async () => {
    const { html } = await pageOf(documentOf([]));
    expect(gzipSync(html).length).toBeLessThan(150_000);
  });

  test('holds hostile texts without letting one end its block', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'netkvm-page-'));
    try {
      const path = join(folder, 'page.html');
      const document = documentOf(hostileLog(), HOSTILE[1]);
      await writePage(path, document);
      const html = readFileSync(path, 'utf8');
      const [plain] = [(await pageOf(documentOf([]))).html];
      expect(html.split('<script').length).toBe(plain.split('<script').length);
      const [, data = ''] = /<script type="application\/json" id="document">([\s\S]*?)<\/script>/.exec(html) ?? [];
      expect(JSON.parse(data)).toEqual(document);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('that cannot be written is said', async () => {
    await expect(writePage('/proc/nothing/page.html', documentOf([]))).rejects.toMatchObject({ code: 'recording.unwritable' });
  });
});

describe('the stream', () => {
  test('begins with what there is, goes on with what comes, and resumes behind what was seen', async () => {
    const log = longLog(30);
    const subject = growing(log.slice(0, 10));
    const { url } = await serve({ subject });
    const first = follow(`${url}events`, (text) => text.includes('id: made/20\n'));
    setTimeout(() => subject.grow(log.slice(10, 20)), 50);
    const seqs = [...(await first).matchAll(/^id: made\/(\d+)$/gm)].map(([, seq]) => Number(seq));
    expect(seqs).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    subject.grow(log.slice(20));
    const second = await follow(`${url}events`, (text) => text.includes('id: made/30\n'), { 'Last-Event-ID': 'made/20' });
    expect(second).not.toContain('id: made/20\n');
    expect(second).toContain('id: made/21\n');
  });

  test('is given to so many pages and no more', async () => {
    const { url } = await serve({ subject: growing([]), limits: { pages: 2 } });
    const pages = [1, 2].map(() => follow(`${url}events`, () => false));
    await until(() => true);
    await new Promise((done) => setTimeout(done, 100));
    expect((await ask(`${url}events`)).status).toBe(503);
    expect((await ask(url)).status).toBe(200);
    await open.splice(0)[0]?.close();
    await Promise.all(pages);
  });
});

describe('the socket for the xstate protocol', () => {
  test('gives a late joiner the chart and the present state, then what comes', async () => {
    const log = longLog(20);
    const subject = growing(log.slice(0, 15));
    const { socketUrl } = await serve({ subject });
    const late = await connect(socketUrl);
    await until(() => late?.messages.length === 1);
    expect(late?.messages[0]).toMatchObject({ type: '@xstate.actor', snapshot: { context: { stage: 'onPrimary' } } });
    subject.grow(log.slice(15, 16));
    await until(() => late?.messages.length === 3);
    expect(late?.messages.slice(1)).toMatchObject([
      {
        type: '@xstate.event',
        event: { type: 'adapter.changed' },
        createdAt: String(BigInt(log[15]?.wall_ns ?? 0) / 1_000_000n),
      },
      { type: '@xstate.snapshot', snapshot: { context: { stage: 'fallback' } } },
    ]);
  });

  test('relays the actors of others, and remembers them for pages and receivers that come later', async () => {
    const { url, socketUrl } = await serve({ subject: growing([]) });
    const sender = await connect(socketUrl);
    const base = { sessionId: 'x:1', createdAt: '1790000000000', id: null, _version: '0.7.2', rootId: 'x:1' };
    sender?.socket.send(JSON.stringify({ ...base, type: '@xstate.actor', name: 'other', snapshot: {} }));
    sender?.socket.send(JSON.stringify({ ...base, type: '@xstate.snapshot', event: { type: 'E' }, snapshot: { value: 'b' } }));
    const text = await follow(`${url}events`, (seen) => seen.split('event: actor').length > 2);
    expect(text).toContain('"name":"other"');
    const receiver = await connect(socketUrl);
    await until(() => receiver?.messages.length === 2);
    expect(receiver?.messages).toMatchObject([{ type: '@xstate.actor' }, { type: '@xstate.snapshot', snapshot: { value: 'b' } }]);
    expect(sender?.messages).toEqual([]);
  });

  test('drops who sends something else, too much, or is one too many', async () => {
    const { socketUrl } = await serve({ subject: growing([]), limits: { peers: 3 } });
    const closed: number[] = [];
    for (const message of ['hello', Buffer.from('{}'), `"${'x'.repeat(1_100_000)}"`]) {
      const peer = await connect(socketUrl);
      peer?.socket.on('close', (code) => closed.push(code));
      peer?.socket.send(message);
    }
    await until(() => closed.length === 3);
    expect(closed.toSorted((a, b) => a - b)).toEqual([1003, 1007, 1009]);
    expect([await connect(socketUrl), await connect(socketUrl), await connect(socketUrl)]).not.toContain(null);
    expect(await connect(socketUrl)).toBeNull();
  });

  test('says that a receiver elsewhere does not answer', async () => {
    const inspector = await serve();
    await expect(inspector.feed('ws://127.0.0.1:9/')).rejects.toMatchObject({ code: 'inspect.feed' });
  });
});
