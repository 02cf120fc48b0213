// A quick first judge of mutants, in one process: Stryker's own mutants of the fold, all in the code at once and switched on
// one after the other, against the recorded lives and captures and what they are known to tell (test/unit/lives.unit and
// captures.unit ask the same). What differs, throws, or does not end is killed, at about a tenth of what a run of Stryker
// costs; what survives here is left to Stryker: `node test/mutation/quick.ts FILE…` prints the ranges for its --mutate.
//
// It works in a copy of the project that it makes (and takes away), since it writes the mutants into it. The chart itself is
// read once by xstate when it is loaded, and the table remembers its answers: chart.ts and chart-table.ts are Stryker's alone.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = ['package.json', 'src', 'replay', 'test'];

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

const rangeOf = ({ fileName, location: { start, end } }: Mutant): string =>
  `${fileName}:${start.line + 1}:${start.column}-${end.line + 1}:${end.column}`;

const names = process.argv.slice(2);
if (names.length === 0) throw new Error('which files?');
const dir = mkdtempSync(join(tmpdir(), 'netkvm-mutants-'));
try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  const mutants = await instrument(names, dir);
  writeFileSync(join(dir, 'mutants.json'), JSON.stringify(mutants.map(({ id }) => id)));
  const { status, stdout } = spawnSync(process.execPath, ['test/mutation/quick-judge.ts'], {
    cwd: dir,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`the judge ended with ${status}`);
  const survivors = new Set(JSON.parse(stdout) as string[]);
  for (const name of names) {
    const own = mutants.filter(({ fileName }) => fileName === name);
    const left = own.filter(({ id }) => survivors.has(id));
    console.error(`${name}: ${own.length} mutants, ${own.length - left.length} killed here, ${left.length} left`);
    for (const mutant of left) console.log(rangeOf(mutant), mutant.mutatorName);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
