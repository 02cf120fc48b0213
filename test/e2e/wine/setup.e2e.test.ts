// The zip as it is delivered, with the Node that is in it, under Wine: installed, upgraded, gone back, removed. A version whose
// service does not come up leaves the one before it running. With --full only: it builds what is shipped.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unzipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LAB, missing, Wine } from './lab.ts';

const lacks = missing() ?? (process.env['NETKVM_WINE'] === 'full' ? null : 'with --full only');
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const HOME = 'C:\\Program Files\\netkvm-failover';
let wine: Wine;
let version: string;

/** Builds the zip for a processor; its files by their names below the top folder. */
const build = (cpu: string): ReadonlyMap<string, Uint8Array> => {
  const output = join(LAB, `netkvm-${cpu}.zip`);
  execFileSync(process.execPath, [join(ROOT, 'packaging/zip.ts'), '--arch', cpu, '--output', output], {
    cwd: ROOT,
    stdio: 'ignore',
  });
  const files = Object.entries(unzipSync(readFileSync(output)));
  return new Map(files.map(([path, bytes]) => [path.replace(/^[^/]+\//, ''), bytes]));
};
/** Machine of a PE file's header: IMAGE_FILE_MACHINE_AMD64, _ARM64 (winnt.h). */
const machineOf = (bytes: Uint8Array | undefined): number => {
  const file = Buffer.from(bytes ?? []);
  return file.readUInt16LE(file.readUInt32LE(0x3c) + 4);
};

/** Unpacks the zip as another version, after `change`. */
const unpack = (as: string, change: (folder: string) => void = () => {}): void => {
  const folder = wine.path(`unpacked/${as}`);
  rmSync(folder, { recursive: true, force: true });
  for (const [path, bytes] of Object.entries(unzipSync(readFileSync(join(LAB, 'netkvm-x64.zip'))))) {
    const place = join(folder, path.replace(/^[^/]+\//, ''));
    mkdirSync(dirname(place), { recursive: true });
    writeFileSync(place, bytes);
  }
  const manifest = join(folder, 'package.json');
  const text = readFileSync(manifest, 'utf8');
  version = (JSON.parse(text) as { version: string }).version;
  writeFileSync(manifest, text.replace(`"version": "${version}"`, `"version": "${as}"`));
  change(folder);
};
const setup = async (as: string, ...words: string[]) => {
  const { code, stdout, stderr } = await wine.run('cmd', ['/c', `C:\\unpacked\\${as}\\setup.cmd`, ...words], {
    limit_ms: 240_000,
  });
  return { code, text: (stdout + stderr).replaceAll('\r', '') };
};
/** A tool by the name under which it was installed. */
const tool = (name: string, ...words: string[]) => wine.run('cmd', ['/c', `${HOME}\\${name}.cmd`, ...words]);
const service = async () =>
  (JSON.parse((await tool('netkvm', 'query', '--json')).stdout) as { service: Record<string, unknown> }).service;
const installed = () =>
  readdirSync(wine.path('Program Files/netkvm-failover'), { withFileTypes: true }).flatMap((one) =>
    one.isDirectory() ? [one.name] : [],
  );

beforeAll(async () => {
  if (lacks !== null) return;
  build('x64');
  wine = await Wine.start();
  unpack('1.0.0');
  unpack('1.0.1');
  // The command line works, the service ends before it has begun.
  unpack('1.0.2', (folder) => {
    const [run = ''] = readdirSync(join(folder, 'dist')).filter((name) => /^windows-service-.*\.js$/.test(name));
    writeFileSync(join(folder, 'dist', run), 'throw new Error("broken");');
  });
}, 240_000);
afterAll(() => wine?.stop());

describe.skipIf(lacks !== null)('the zip', () => {
  test('installs the service, and the tools under their names', async () => {
    const { code, text } = await setup('1.0.0', 'install');
    expect(text).toMatch(
      /made the service netkvm-failover\nstarted it\n[^]*version 1\.0\.0 is in C:\\Program Files\\netkvm-failover\\1\.0\.0\n$/,
    );
    expect(code).toBe(0);
    expect(await service()).toMatchObject({ state: 'running', current: true, enabled: true });
    expect((await tool('netkvmco', 'show')).stdout).toContain('possible values:');
    expect((await tool('netkvmco', 'setparam', '?')).code).toBe(87);
    expect((await tool('netkvmp')).stdout).toBe('i(nstall)|u(ninstall)|q(uery)\n');
  });

  test('is upgraded in place, and goes back', async () => {
    expect((await setup('1.0.1', 'install')).text).toMatch(/changed the service netkvm-failover\nstopped it\nstarted it\n/);
    expect((await service())['definition']).toContain('\\1.0.1\\node.exe');
    expect(installed()).toEqual(['1.0.0', '1.0.1']);
    expect(await setup('1.0.1', 'back')).toMatchObject({
      code: 0,
      text: expect.stringContaining('version 1.0.0 is in use again'),
    });
    expect((await service())['definition']).toContain('\\1.0.0\\node.exe');
    expect(await service()).toMatchObject({ state: 'running', current: true });
  });

  test('a version whose service does not come up leaves the one before it running', async () => {
    const { code, text } = await setup('1.0.2', 'install');
    expect(code).toBe(9);
    expect(text).toContain('What was there before is back');
    expect(text).toContain('version 1.0.0 stays\n');
    expect(installed()).toEqual(['1.0.0', '1.0.1']);
    expect(await service()).toMatchObject({ state: 'running', current: true });
  });

  test('is removed; the log stays unless it is purged', async () => {
    expect((await setup('1.0.0', 'remove')).code).toBe(0);
    expect(existsSync(wine.path('Program Files/netkvm-failover'))).toBe(false);
    expect(existsSync(wine.path('ProgramData/netkvm-failover/state/netkvm.db'))).toBe(true);
    expect((await wine.run('sc', ['query', 'netkvm-failover'])).stdout).not.toContain('RUNNING');
    expect((await setup('1.0.0', 'remove', '--purge')).code).toBe(0);
    expect(existsSync(wine.path('ProgramData/netkvm-failover'))).toBe(false);
  });

  test('is for one processor; the one for arm64 has the same files, with programs that cannot be run here', () => {
    const zips = { x64: build('x64'), arm64: build('arm64') };
    for (const [cpu, machine] of [
      ['x64', 0x8664],
      ['arm64', 0xaa64],
    ] as const) {
      const koffi = [...zips[cpu].keys()].filter((path) => path.endsWith('koffi.node'));
      expect(koffi).toHaveLength(1);
      for (const path of ['node.exe', koffi[0]!]) expect(machineOf(zips[cpu].get(path)), `${cpu} ${path}`).toBe(machine);
    }
    const names = (zip: ReadonlyMap<string, Uint8Array>): string[] =>
      [...zip.keys()].map((path) => path.replaceAll('arm64', 'x64')).toSorted();
    expect(names(zips.arm64)).toEqual(names(zips.x64));
  });
});
