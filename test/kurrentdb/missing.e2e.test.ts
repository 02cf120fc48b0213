// Without the client (an installation without optional packages), or without its native part (Windows arm64 has none), the
// program says so in one line, and a service that should copy its log runs on. No server is needed for that.
import { execFile, spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { newFolder, until } from './given.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The program in a folder of its own, with every package but @kurrent. */
const withoutClient = (): string[] => {
  const root = newFolder();
  for (const name of ['src', 'replay', 'package.json']) cpSync(join(ROOT, name), join(root, name), { recursive: true });
  mkdirSync(join(root, 'node_modules'));
  for (const name of readdirSync(join(ROOT, 'node_modules')))
    if (name !== '@kurrent' && !name.startsWith('.'))
      symlinkSync(join(ROOT, 'node_modules', name), join(root, 'node_modules', name));
  return [join(root, 'src/host/netkvm.mjs')];
};
/** The installed program, on a processor for which the client has no binary. */
const onWindowsArm = (): string[] => {
  // Only the client is to believe it, when it looks for its binary.
  const hook = join(newFolder(), 'hook.mjs');
  writeFileSync(
    hook,
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve(name, context, next) {
       if (name !== '@kurrent/bridge') return next(name, context);
       for (const [key, value] of [['platform', 'win32'], ['arch', 'arm64']]) Object.defineProperty(process, key, { value });
       return next(name, context);
     } });`,
  );
  return ['--import', hook, join(ROOT, 'src/host/netkvm.mjs')];
};

describe.each([
  ['without the client', withoutClient()],
  ['without its native part', onWindowsArm()],
])('%s', (_, program) => {
  const run = async (...words: string[]) => {
    const call = promisify(execFile)(process.execPath, ['--no-warnings', ...program, ...words], { timeout: 30_000 });
    return call.then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
  };
  const configured = (text: string) => {
    const dir = newFolder();
    const file = join(dir, 'config.toml');
    writeFileSync(file, `[service]\nstateDir = ${JSON.stringify(join(dir, 'state'))}\n${text}\n`);
    return file;
  };

  test('a command that needs it is one line and exit code 9', async () => {
    const { code, stderr } = await run('fleet', 'stats', '--server', 'kurrentdb://127.0.0.1:1?tls=false');
    expect([code, stderr]).toEqual([
      9,
      expect.stringMatching(/^netkvm: .*\[kurrentdb\.missing\] npm install @kurrent\/kurrentdb-client.*\n$/),
    ]);
  });

  test('a service whose log is to be there does not start', async () => {
    const { code, stderr } = await run(
      'run',
      '--platform',
      'simulated',
      '--config',
      configured('log = "kurrentdb://127.0.0.1:1?tls=false"'),
    );
    expect([code, stderr]).toEqual([9, expect.stringContaining('[kurrentdb.missing]')]);
  });

  test('a service that copies its log runs without the copy, and status says why', async () => {
    const file = configured('forwardTo = "kurrentdb://127.0.0.1:1?tls=false"');
    const child = spawn(process.execPath, [
      '--no-warnings',
      ...program,
      'run',
      '--platform',
      'simulated',
      '--config',
      file,
      '--json',
    ]);
    const forwarding = await until(async () => {
      const { stdout } = await run('status', '--config', file, '--json');
      const status =
        stdout === ''
          ? null
          : (JSON.parse(stdout) as { forwarding: { error: { code: string } | null } | null; log: { head: number } });
      return status?.forwarding?.error?.code === 'kurrentdb.missing' && status.log.head > 10 && status.forwarding;
    });
    expect(forwarding).toMatchObject({ state: 'waiting', seq: 0 });
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});
