// The page as a file or an answer: the bundled HTML with a document in it and a policy that allows this script and this
// style and nothing else. Whatever a log holds stands in a data block in which no character can end the block.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { NetkvmError } from '../../events/errors.ts';
import type { InspectorDocument } from './document.ts';

const BUILT = new URL('inspector.html', import.meta.url);

let template: Promise<string> | null = null;

/** From the package the built page; from a checkout, where there are sources, one made now. */
const templateOf = (): Promise<string> => {
  const isCheckout = existsSync(new URL('page/main.tsx', import.meta.url));
  template ??= isCheckout ? import('./bundle.ts').then(({ bundlePage }) => bundlePage()) : readFile(BUILT, 'utf8');
  return template;
};

const hashOf = (html: string, element: 'style' | 'script'): string => {
  const content = new RegExp(`<${element}>([\\s\\S]*?)</${element}>`).exec(html)?.[1] ?? '';
  return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
};

/** The Content-Security-Policy of the page; a served one may talk to its own server. */
const policyOf = (html: string, served: boolean): string =>
  [
    `default-src 'none'`,
    `script-src ${hashOf(html, 'script')}`,
    `style-src ${hashOf(html, 'style')}`,
    'font-src data:',
    'img-src data:',
    `connect-src ${served ? `'self'` : `'none'`}`,
    `base-uri 'none'`,
    `form-action 'none'`,
  ].join('; ');

/** JSON in which no tag and no comment can begin. */
const harmless = (document: InspectorDocument): string => JSON.stringify(document).replaceAll('<', '\\u003c');

export interface Page {
  readonly html: string;
  /** For the answer's header; the page has it in itself, too. */
  readonly policy: string;
}

export const pageOf = async (document: InspectorDocument): Promise<Page> => {
  const html = await templateOf();
  const policy = policyOf(html, document.served);
  const parts: Readonly<Record<string, string>> = { policy, document: harmless(document) };
  return { html: html.replaceAll(/\s*%(policy|document)%\s*/g, (_, name: string) => parts[name] ?? ''), policy };
};

/** Writes a self-contained page. Throws `recording.unwritable`. */
export const writePage = async (path: string, document: InspectorDocument): Promise<void> => {
  const { html } = await pageOf(document);
  try {
    await writeFile(path, html);
  } catch (error) {
    throw new NetkvmError('recording.unwritable', `${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
};
