// The part of quick.ts that runs among the mutants: runs every judging test once without any, and then with each mutant those
// that go through it, until one fails. Prints a line for each mutant: its number, and the test that killed it or nothing.
// Given a mutant's number it judges that one alone, from the loading of the files on.
import { readFileSync, writeFileSync, writeSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { filesFor } from './files.ts';

interface Switches {
  activeMutant?: string;
  hitCount?: number;
  hitLimit?: number;
  currentTestId?: string;
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> };
}
// What Stryker’s instrumented code looks at.
// oxlint-disable-next-line no-underscore-dangle -- its name, not ours
const switches = ((globalThis as { __stryker__?: Switches }).__stryker__ ??= {});
/** Counted, not measured: who is stopped waits. */
const TEST_SECONDS = 20;
/** Said of a mutant that only runs while its file is loaded. */
const STATIC = 'static';

const runner = new URL('runner.ts', import.meta.url).href;
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'vitest' ? { url: runner, shortCircuit: true } : next(specifier, context),
});
const { collected } = await import('./runner.ts');
const files = filesFor(process.env['ROOM']).map((file) => new URL(`../../${file}`, import.meta.url).href);

const passes = async ({ run, before, after }: (typeof collected)[number]): Promise<unknown> => {
  switches.hitCount = 0;
  for (const memory of (globalThis as { memories?: Map<unknown, unknown>[] }).memories ?? []) memory.clear();
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise((resolve) => {
    let seconds = 0;
    timer = setInterval(() => {
      if ((seconds += 1) === TEST_SECONDS) resolve('it does not end');
    }, 1000);
  });
  const whole = async (): Promise<null> => {
    try {
      for (const act of before) await act();
      await run();
    } finally {
      for (const act of after) await act();
    }
    return null;
  };
  try {
    return await Promise.race([whole().catch((error: unknown) => error ?? 'failed'), limit]);
  } finally {
    clearInterval(timer);
  }
};
process.on('unhandledRejection', () => {});
process.on('uncaughtException', () => {});

const verdict = (id: string, killer: string): void => void writeSync(1, `${id}\t${killer.replaceAll(/\s+/g, ' ')}\n`);

/** A mutant that runs while its file is loaded: on from the beginning, and a file of tests after the other. */
const judgeStatic = async (id: string): Promise<void> => {
  const failing = new Set(JSON.parse(readFileSync('failing.json', 'utf8')) as string[]);
  switches.activeMutant = id;
  for (const file of files) {
    const from = collected.length;
    try {
      await import(file);
    } catch {
      return verdict(id, `loading ${file.split('/').at(-1)}`);
    }
    for (const one of collected.slice(from))
      if (!failing.has(one.name) && (await passes(one)) !== null) return verdict(id, one.name);
  }
  verdict(id, '');
};

const judgeAll = async (ids: readonly string[]): Promise<void> => {
  for (const file of files) await import(file);
  const hits = new Map<(typeof collected)[number], Readonly<Record<string, number>>>();
  const failing: string[] = [];
  for (const [at, one] of collected.entries()) {
    switches.currentTestId = String(at);
    const problem = await passes(one);
    if (problem === null) hits.set(one, { ...switches.mutantCoverage?.perTest[String(at)] });
    else failing.push(one.name);
  }
  delete switches.currentTestId;
  writeFileSync('failing.json', JSON.stringify(failing));
  for (const name of failing) process.stderr.write(`left out, since it fails without a mutant: ${name}\n`);
  for (const id of ids) {
    switches.activeMutant = id;
    let [killer, isReached] = ['', false];
    for (const [one, seen] of hits) {
      const times = seen[id] ?? 0;
      if (times === 0) continue;
      isReached = true;
      switches.hitLimit = times * 100 + 10_000;
      if ((await passes(one)) === null) continue;
      killer = one.name;
      break;
    }
    const isStatic = !isReached && (switches.mutantCoverage?.static[id] ?? 0) > 0;
    verdict(id, isStatic ? STATIC : killer);
  }
};

const [mutant] = process.argv.slice(2);
if (mutant === undefined) await judgeAll(JSON.parse(readFileSync('mutants.json', 'utf8')) as string[]);
else await judgeStatic(mutant);
process.exit(0);
