// What tests in the browser share: one Chromium for a file of tests, pages that report their own faults, and words for what
// is read from a page.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { InspectorDocument } from '../../../src/host/inspector/document.ts';
import { writePage } from '../../../src/host/inspector/html.ts';

export const CHROMIUM = '/usr/bin/chromium';
export const isFull = process.env['NETKVM_BROWSER'] === 'full';
const ARTEFACTS = fileURLToPath(new URL('../../../artefacts/browser/', import.meta.url));

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface Screen {
  /** A page whose faults and console errors fail the test. */
  readonly open: (url: string, options?: BrowserContextOptions) => Promise<Page>;
  /** The self-contained page of a document, as a file. */
  readonly openFile: (document: InspectorDocument, hash?: string, options?: BrowserContextOptions) => Promise<Page>;
}

/** For the top of a file of tests. */
export const screen = (): Screen => {
  let browser: Browser;
  const folder = mkdtempSync(join(tmpdir(), 'netkvm-browser-'));
  const pages: Page[] = [];
  const faults: string[] = [];
  let files = 0;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.context().close();
    expect(faults.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const open = async (url: string, options: BrowserContextOptions = {}): Promise<Page> => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce', ...options });
    const page = await context.newPage();
    pages.push(page);
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
      // A lost connection is what some tests are about; the browser reports it by itself.
      if (message.type() === 'error' && !message.text().includes('ERR_')) faults.push(message.text());
    });
    await page.goto(url);
    await page.locator('main').waitFor();
    return page;
  };
  return {
    open,
    openFile: async (document, hash = '', options = {}) => {
      files += 1;
      const path = join(folder, `${files}.html`);
      await writePage(path, document);
      return open(pathToFileURL(path).href + hash, options);
    },
  };
};

export const keepScreenshot = async (page: Page, name: string): Promise<void> => {
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTEFACTS, `${name}.png`) });
};

/** Ids of the states that are lit, sorted. */
export const litStates = async (page: Page): Promise<string[]> =>
  (
    await page
      .locator('.chart [data-active]')
      .evaluateAll((states) => states.map((state) => state.getAttribute('data-state') ?? ''))
  ).toSorted();

/** Ids of the edges that are pulsed, sorted. */
export const pulsedEdges = async (page: Page): Promise<string[]> =>
  (
    await page.locator('.edges path.taken').evaluateAll((edges) => edges.map((edge) => edge.getAttribute('data-edge') ?? ''))
  ).toSorted();

/** From 1: where the slider stands. */
export const position = async (page: Page): Promise<number> =>
  Number(await page.locator('[data-slider]').getAttribute('aria-valuenow'));

export const expectPosition = async (page: Page, at: number): Promise<void> => {
  await expect.poll(() => position(page), { interval: 5 }).toBe(at);
};

/** Violations of the rules that axe knows (WCAG 2.2 A and AA, and good practice), one line each. */
export const violations = async (page: Page): Promise<string[]> => {
  await page.evaluate(axe.source);
  const found = (await page.evaluate('axe.run()')) as {
    violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[];
  };
  return found.violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 120)} ${failureSummary ?? ''}`).join('\n')}`,
  );
};
