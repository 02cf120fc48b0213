// `npm run test:wine`: the Windows side as win32 under Wine. Sets up what it needs; see lab.ts for what the machine must have.
//   npm run test:wine -- [--full] [NAME…]     NAME: part of a test file's name
// Without --full it is a smoke run of about two minutes; --full also runs the unit suites inside Wine.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { missing } from './lab.ts';

const lacks = missing();
if (lacks !== null) {
  process.stderr.write(`test:wine cannot run here: ${lacks}\n`);
  process.exit(1);
}
const words = process.argv.slice(2);
const env = { ...process.env, ...(words.includes('--full') ? { NETKVM_WINE: 'full' } : {}) };
const vitest = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));
const names = words.filter((word) => word !== '--full');
const { status } = spawnSync(process.execPath, [vitest, 'run', '--project', 'wine', '--reporter=verbose', ...names], {
  env,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
