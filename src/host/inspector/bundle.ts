// Makes the page's one HTML file from its sources: rolldown bundles and shrinks the script, the style and the typeface go in
// as text. In a checkout it runs when the page is asked for; `npm run build` runs it once for the package.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { rolldown } from 'rolldown';

const here = (name: string): URL => new URL(`page/${name}`, import.meta.url);

const script = async (): Promise<string> => {
  const bundle = await rolldown({
    input: here('main.tsx').pathname,
    platform: 'browser',
    transform: { jsx: { runtime: 'automatic', importSource: 'preact' }, define: { 'process.env.NODE_ENV': '"production"' } },
    logLevel: 'silent',
  });
  const { output } = await bundle.generate({ format: 'iife', minify: true });
  await bundle.close();
  // The text of a script element ends at its end tag, wherever that stands.
  return output[0].code.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
};

const style = async (): Promise<string> => {
  const font = createRequire(import.meta.url).resolve('@fontsource-variable/inter/files/inter-latin-wght-normal.woff2');
  const data = (await readFile(font)).toString('base64');
  return (await readFile(here('style.css'), 'utf8')).replace('%inter%', `data:font/woff2;base64,${data}`);
};

/** The page with its script and style, and with %policy% and %document% still to be filled in. */
export const bundlePage = async (): Promise<string> => {
  const parts: Readonly<Record<string, string>> = { style: await style(), script: await script() };
  const template = await readFile(here('page.html'), 'utf8');
  return template.replaceAll(/\s*%(style|script)%\s*/g, (_, name: string) => parts[name] ?? '');
};
