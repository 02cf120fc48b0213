// A quick judge of mutants, in one process: Stryker's own mutants of the named files, all in the code at once and switched on
// one after the other, before the tests that Stryker would run (files.ts), at a tenth of what Stryker needs. What fails, or
// does not end, is killed; what survives is printed as ranges, for a look and for Stryker's --mutate.
// `ROOM=events node test/mutation/quick.ts FILE…`
//
// It works in a copy of the project that it makes (and takes away), since it writes the mutants into it. What runs while a
// file is loaded cannot be switched on later (whole functions, tables): such a mutant is left out, as Stryker's ignoreStatic
// does, or gets a process of its own with `--static`. `--alone` gives one to every survivor as well: a test may have asked
// before the mutant was on.
import { spawn } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = ['package.json', 'src', 'replay', 'test', 'docs', 'README.md', 'ARCHITECTURE.md'];
/** Answers of the charts are remembered there. The judge forgets them, or a mutant would meet those of the others. */
const MEMORIES = { 'src/machines/chart-table.ts': 'reactions', 'src/machines/migration.ts': 'remembered' };
/** A judge that says nothing for so many seconds hangs in a loop that the mutant made. Counted, not measured: who is stopped waits. */
const SILENCE_SECONDS = 60;

const ENDLESS = 'it does not end';

interface Mutant {
  readonly id: string;
  readonly fileName: string;
  readonly mutatorName: string;
  readonly location: { readonly start: Place; readonly end: Place };
}
interface Place {
  readonly line: number;
  readonly column: number;
}

/** Stryker's instrumenter, which has no public door of its own. */
const instrument = async (names: readonly string[], dir: string): Promise<Mutant[]> => {
  const require = createRequire(createRequire(import.meta.url).resolve('@stryker-mutator/core'));
  const home = dirname(require.resolve('@stryker-mutator/instrumenter'));
  const load = async (path: string) => import(pathToFileURL(join(home, path)).href);
  const [{ Instrumenter }, { createParser }, { transform }, { print }] = await Promise.all(
    ['instrumenter.js', 'parsers/index.js', 'transformers/index.js', 'printers/index.js'].map(load),
  );
  const quiet = new Proxy({}, { get: () => () => {} });
  const files = names.map((name) => ({ name, content: readFileSync(join(ROOT, name), 'utf8'), mutate: true }));
  const options = { plugins: null, excludedMutations: [], ignorers: [], mutators: null, noHeader: false };
  const made = await new Instrumenter(quiet, createParser, print, transform).instrument(files, options);
  for (const { name, content } of made.files) writeFileSync(join(dir, name), content);
  return made.mutants as Mutant[];
};

/** Runs the judge, and gives what it said of each mutant; one that hangs in a loop that a mutant made is ended. */
const run = async (cwd: string, ...words: string[]): Promise<Map<string, string>> => {
  const said = new Map<string, string>();
  const child = spawn(process.execPath, ['test/mutation/quick-judge.ts', ...words], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let torn = '';
  let silent = 0;
  const watch = setInterval(() => {
    if ((silent += 1) === SILENCE_SECONDS) child.kill('SIGKILL');
  }, 1000);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    silent = 0;
    const lines = (torn + text).split('\n');
    torn = lines.pop() ?? '';
    for (const [id = '', killer = ''] of lines.map((line) => line.split('\t'))) said.set(id, killer);
  });
  await new Promise((resolve) => child.once('close', resolve));
  clearInterval(watch);
  return said;
};

/** What killed each mutant; nothing for a survivor. */
const judge = async (cwd: string, ids: readonly string[]): Promise<Map<string, string>> => {
  const killers = new Map<string, string>();
  for (let left = ids; left.length > 0; left = ids.filter((id) => !killers.has(id))) {
    writeFileSync(join(cwd, 'mutants.json'), JSON.stringify(left));
    for (const [id, killer] of await run(cwd)) killers.set(id, killer);
    const stuck = ids.find((id) => !killers.has(id));
    if (stuck !== undefined) killers.set(stuck, ENDLESS);
  }
  for (const [id, killer] of withStatic ? killers : [])
    if (killer === 'static' || (isAlone && killer === '')) killers.set(id, (await run(cwd, id)).get(id) ?? ENDLESS);
  return killers;
};

const rangeOf = ({ fileName, location: { start, end } }: Mutant): string =>
  `${fileName}:${start.line + 1}:${start.column}-${end.line + 1}:${end.column}`;

const isAlone = process.argv.includes('--alone');
const withStatic = isAlone || process.argv.includes('--static');
const names = process.argv.slice(2).filter((word) => !word.startsWith('--'));
if (names.length === 0) throw new Error('which files?');
const dir = mkdtempSync(join(tmpdir(), 'netkvm-mutants-'));
try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const mutants = await instrument(names, dir);
  for (const [name, memory] of Object.entries(MEMORIES))
    appendFileSync(join(dir, name), `((globalThis as any).memories ??= []).push(${memory});\n`);
  const killers = await judge(
    dir,
    mutants.map(({ id }) => id),
  );
  for (const name of names) {
    const own = mutants.filter(({ fileName }) => fileName === name);
    const judged = own.filter(({ id }) => killers.get(id) !== 'static');
    const left = judged.filter(({ id }) => (killers.get(id) ?? '') === '');
    const score = ((100 * (judged.length - left.length)) / judged.length).toFixed(1);
    const endless = judged.filter(({ id }) => killers.get(id) === ENDLESS);
    console.error(
      `${name}: ${own.length} mutants, ${own.length - judged.length} static ones left out, ${left.length} survived: ${score} % (${endless.length} did not end)`,
    );
    for (const mutant of left) console.log(rangeOf(mutant), mutant.mutatorName);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
