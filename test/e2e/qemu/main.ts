// `npm run test:qemu`: the service in a real guest. Sets up what it needs and cleans up behind itself; root, Linux x64.
//   npm run test:qemu -- [--full] [--only TEXT] [--seed N]
//   npm run test:qemu -- --measure [--quick]
//   npm run test:qemu -- --measure-host [--quick]
// --full runs the whole matrix, about an hour where there is no KVM, and writes its result to docs/qemu-matrix.md; --measure
// takes about half an hour on a machine with nothing else to do, and writes docs/failover-measured.md; --measure-host six
// minutes, and docs/host-measured.md. With --only the result
// of a part joins the kept results of earlier parts.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { missing } from './image.ts';
import { Kept } from './kept.ts';
import { matrixPage, type Results, type Verdict, verdictsIn } from './matrix-page.ts';
import { measureAll } from './measure-all.ts';
import { measureHost } from './measure-host.ts';
import { prepare } from './setup.ts';

const VITEST = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));
const PAGE = fileURLToPath(new URL('../../../docs/qemu-matrix.md', import.meta.url));
const MEASURED = fileURLToPath(new URL('../../../docs/failover-measured.md', import.meta.url));
const HOST_MEASURED = fileURLToPath(new URL('../../../docs/host-measured.md', import.meta.url));
const USAGE =
  'npm run test:qemu -- [--full] [--only TEXT] [--seed N] | --measure [--quick] [--only TEXT] | --measure-host [--quick]';

const parsed = () => {
  const [flag, word] = [{ type: 'boolean', default: false } as const, { type: 'string' } as const];
  const options = { full: flag, measure: flag, 'measure-host': flag, quick: flag, only: word, seed: word };
  try {
    const { values } = parseArgs({ options });
    if (values.seed !== undefined && !/^[0-9]{1,10}$/.test(values.seed)) throw new Error('--seed is a number');
    return values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    return process.exit(2);
  }
};
const { full, measure, 'measure-host': ofHosts, quick, only, seed } = parsed();
const lacks = missing();
if (lacks !== null) {
  process.stderr.write(`test:qemu cannot run here: ${lacks}\n`);
  process.exit(1);
}

const runTests = async (folder: string): Promise<number> => {
  const results = join(folder, 'results.json');
  const words = ['run', '--project', 'qemu', '--reporter=verbose', '--reporter=json', `--outputFile.json=${results}`];
  const env = { ...process.env, ...(full ? { NETKVM_QEMU: 'full' } : {}), ...(seed === undefined ? {} : { NETKVM_SEED: seed }) };
  const tests = spawn(process.execPath, [VITEST, ...words, ...(only === undefined ? [] : ['-t', only])], {
    env,
    stdio: 'inherit',
  });
  const code = await new Promise<number>((resolve) => tests.once('close', (status) => resolve(status ?? 1)));
  if (full) writeFileSync(PAGE, pageWith(JSON.parse(readFileSync(results, 'utf8')) as Results));
  return code;
};

/** A part joins what is kept of others. */
const pageWith = (results: Results): string => {
  const kept = new Kept<Verdict>('matrix');
  if (only === undefined) kept.forget();
  kept.keep(verdictsIn(results, { at: new Date().toISOString(), load: loadavg()[0] ?? 0 }));
  return matrixPage(kept.all());
};

/** A quick run is for looking at and not for the page; a part joins what is kept of others. */
const runMeasurements = async (folder: string): Promise<number> => {
  const page = await measureAll(folder, { quick, only }, (line) => process.stdout.write(`${line}\n`));
  if (quick) process.stdout.write(page);
  else writeFileSync(MEASURED, page);
  return 0;
};

const runHostMeasurement = async (folder: string): Promise<number> => {
  const page = await measureHost(await prepare(folder), quick ? 1 : 5, (line) => process.stdout.write(`${line}\n`));
  if (quick) process.stdout.write(page);
  else writeFileSync(HOST_MEASURED, page);
  return 0;
};

const folder = mkdtempSync(join(tmpdir(), 'netkvm-results-'));
try {
  process.exitCode = await (ofHosts ? runHostMeasurement(folder) : measure ? runMeasurements(folder) : runTests(folder));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
