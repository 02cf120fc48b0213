// Puts this version on a Windows machine, goes back to the one before, or removes everything: what setup.cmd runs with the Node
// beside it. Each version lies in a folder of its own below %ProgramFiles%\netkvm-failover; the service is changed from one
// to the other only when all files are there, and goes back by itself when the new one does not start.
//   setup install [--take-over] | setup back | setup remove [--purge]
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('./', import.meta.url));
const home = join(process.env['ProgramFiles'] ?? 'C:\\Program Files', 'netkvm-failover');
const data = join(process.env['ProgramData'] ?? 'C:\\ProgramData', 'netkvm-failover');
/** One line each: the version in use, and the one before it. */
const record = join(home, 'versions.txt');
const TOOLS = ['netkvm', 'netkvmco', 'netkvmp'];

const versionOf = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
const say = (text) => process.stdout.write(`${text}\n`);
const versions = () => (existsSync(record) ? readFileSync(record, 'utf8').split(/\r?\n/).filter(Boolean) : []);

/** `netkvm WORDS` of an installed version; ends this program with its exit code when it fails. */
const netkvm = (version, words, onFailure = () => {}) => {
  const folder = join(home, version);
  const script = join(folder, 'src', 'host', 'netkvm.mjs');
  const { status, error } = spawnSync(join(folder, 'node.exe'), [script, ...words], { stdio: 'inherit', windowsHide: true });
  if (status === 0) return;
  if (error) say(`netkvm cannot be started: ${error.message}`);
  onFailure();
  process.exit(status ?? 1);
};

/** Written beside its place and moved there: whoever reads it meanwhile reads a whole one. */
const put = (path, text) => {
  writeFileSync(`${path}.new`, text, { flush: true });
  renameSync(`${path}.new`, path);
};

const use = (version, before) => {
  for (const tool of TOOLS)
    put(join(home, `${tool}.cmd`), `@"%~dp0${version}\\node.exe" "%~dp0${version}\\src\\host\\${tool}.mjs" %*\r\n`);
  put(record, [version, ...(before === undefined ? [] : [before])].map((line) => `${line}\r\n`).join(''));
};

const install = (words) => {
  const version = versionOf(here);
  const [current, before] = versions();
  const folder = join(home, version);
  const isNew = !existsSync(folder);
  if (isNew) {
    const draft = `${folder}.new`;
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft, { recursive: true });
    for (const name of readdirSync(here)) cpSync(join(here, name), join(draft, name), { recursive: true });
    renameSync(draft, folder);
  }
  netkvm(version, ['install', ...words], () => {
    if (isNew && version !== current) rmSync(folder, { recursive: true, force: true });
    say(current === undefined ? 'nothing was installed' : `version ${current} stays`);
  });
  use(version, current === version ? before : current);
  say(`version ${version} is in ${folder}`);
  // What is neither in use nor the way back goes.
  const kept = versions();
  for (const { name } of readdirSync(home, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    if (!kept.includes(name)) rmSync(join(home, name), { recursive: true, force: true });
};

const back = () => {
  const [current, before] = versions();
  if (before === undefined || !existsSync(join(home, before))) {
    say('there is no version to go back to');
    process.exit(1);
  }
  netkvm(before, ['install']);
  use(before, current);
  say(`version ${before} is in use again`);
};

const remove = (words) => {
  const [current] = versions();
  if (current !== undefined) netkvm(current, ['uninstall', ...words.filter((word) => word !== '--purge')]);
  if (!here.toLowerCase().startsWith(`${home}\\`.toLowerCase())) rmSync(home, { recursive: true, force: true });
  else {
    // A program that runs cannot be removed: this one ends first.
    const later = `ping -n 3 127.0.0.1 >nul & rmdir /s /q "${home}"`;
    spawn('cmd.exe', ['/d', '/s', '/c', `"${later}"`], {
      windowsVerbatimArguments: true,
      detached: true,
      stdio: 'ignore',
    }).unref();
  }
  if (words.includes('--purge')) rmSync(data, { recursive: true, force: true });
  say(words.includes('--purge') ? 'removed, with configuration and log' : `removed; configuration and log stay in ${data}`);
};

const [verb, ...words] = process.argv.slice(2);
if (process.platform !== 'win32') {
  say('setup is for Windows');
  process.exit(2);
} else if (verb === 'install') install(words);
else if (verb === 'back' && words.length === 0) back();
else if (verb === 'remove') remove(words);
else {
  say('usage: setup install [--take-over] | setup back | setup remove [--purge]');
  process.exit(2);
}
