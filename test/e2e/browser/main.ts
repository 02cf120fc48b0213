// `npm run test:browser`: the inspector in a real Chromium, Debian's. Screenshots are kept in artefacts/browser/.
//   npm run test:browser -- [--full] [--only TEXT]
// --full steps through every recording instead of two.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CHROMIUM } from './given.ts';

const VITEST = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));
const options = { full: { type: 'boolean', default: false }, only: { type: 'string' } } as const;
const { full, only } = parseArgs({ options }).values;
if (existsSync(CHROMIUM)) {
  const words = ['run', '--project', 'browser', '--reporter=verbose', ...(only === undefined ? [] : ['-t', only])];
  const env = { ...process.env, ...(full ? { NETKVM_BROWSER: 'full' } : {}) };
  const tests = spawn(process.execPath, [VITEST, ...words], { env, stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve) => tests.once('close', (status) => resolve(status ?? 1)));
} else {
  process.stderr.write(`test:browser cannot run here: ${CHROMIUM} is missing (apt-get install chromium)\n`);
  process.exitCode = 1;
}
