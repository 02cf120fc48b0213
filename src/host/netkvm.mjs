#!/usr/bin/env node
// Starts the command line under any Node: plain JavaScript that an old one can read, so that it can say in one line what
// is missing. From a checkout it runs the TypeScript source; in an installed package, where there is none, the built file.
// Being no TypeScript, it can also switch on Node's compile cache before the first file has to be compiled: a short command
// from source takes 50 ms instead of 120.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** Whoever can write the cache decides what we run, so it lies in a folder of our own or there is none. */
const useCompileCache = () => {
  const uid = process.geteuid?.();
  if (uid === undefined) return;
  const own = process.env['XDG_CACHE_HOME'];
  const base = uid === 0 ? '/var/cache' : own && isAbsolute(own) ? own : join(homedir(), '.cache');
  const folder = join(base, 'netkvm-failover');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid: owner, mode } = statSync(folder);
    if (owner === uid && (mode & 0o077) === 0) nodeModule.enableCompileCache(folder);
  } catch {
    // A read-only system, or no home: slower, not worse.
  }
};

// Waiting for the kernel, and a request that it does not let go, each take a thread of libuv's pool for as long as they last.
process.env['UV_THREADPOOL_SIZE'] ??= '8';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > 22 || (major === 22 && minor >= 18)) {
  useCompileCache();
  const source = new URL('main.ts', import.meta.url);
  await import(existsSync(source) ? source.href : new URL('../../dist/main.js', import.meta.url).href);
} else {
  process.stderr.write(`netkvm needs Node 22.18 or newer; this is ${process.version} (${process.execPath}) [node.version]\n`);
  process.exitCode = 2;
}
