// `npm run test:qemu`: the service in a real guest. Sets up what it needs and cleans up behind itself; root, Linux x64.
//   npm run test:qemu -- [--full] [--only TEXT] [--seed N]
// --full runs the whole matrix, about an hour where there is no KVM, and writes its result to docs/qemu-matrix.md.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { missing } from './image.ts';
import { matrixPage, type Results } from './matrix-page.ts';

const VITEST = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));
const PAGE = fileURLToPath(new URL('../../../docs/qemu-matrix.md', import.meta.url));
const USAGE = 'npm run test:qemu -- [--full] [--only TEXT] [--seed N]';

const parsed = () => {
  const options = { full: { type: 'boolean', default: false }, only: { type: 'string' }, seed: { type: 'string' } } as const;
  try {
    const { values } = parseArgs({ options });
    if (values.seed !== undefined && !/^[0-9]{1,10}$/.test(values.seed)) throw new Error('--seed is a number');
    return values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    return process.exit(2);
  }
};
const { full, only, seed } = parsed();
const lacks = missing();
if (lacks !== null) {
  process.stderr.write(`test:qemu cannot run here: ${lacks}\n`);
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), 'netkvm-results-'));
const results = join(folder, 'results.json');
const words = ['run', '--project', 'qemu', '--reporter=verbose', '--reporter=json', `--outputFile.json=${results}`];
const env = { ...process.env, ...(full ? { NETKVM_QEMU: 'full' } : {}), ...(seed === undefined ? {} : { NETKVM_SEED: seed }) };
const tests = spawn(process.execPath, [VITEST, ...words, ...(only === undefined ? [] : ['-t', only])], { env, stdio: 'inherit' });
const code = await new Promise<number>((resolve) => tests.once('close', (status) => resolve(status ?? 1)));
if (full && only === undefined) writeFileSync(PAGE, matrixPage(JSON.parse(readFileSync(results, 'utf8')) as Results));
rmSync(folder, { recursive: true, force: true });
process.exitCode = code;
