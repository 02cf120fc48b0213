// A Debian with a systemd of its own, in a container that this test makes and ends: a bare tree from Debian's packages, a copy
// of it for each container, systemd-nspawn around it, and nsenter for commands. It has no network and no kernel of its own.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';

/** What a bare Debian lacks to be a system that boots. */
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'iproute2'];
const BOOT_LIMIT_MS = 60_000;
const COMMAND_LIMIT_MS = 90_000;

/** What must be there to run these tests; null when all is. */
export const missing = (): string | null => {
  if (process.geteuid?.() !== 0) return 'containers need root';
  const lacks = ['mmdebstrap', 'systemd-nspawn', 'nsenter', 'dpkg-deb'].filter(
    (tool) => !['/usr/bin', '/usr/sbin'].some((folder) => existsSync(join(folder, tool))),
  );
  return lacks.length === 0 ? null : `install mmdebstrap, systemd-container and util-linux: no ${lacks.join(', ')}`;
};

/** A bare Debian 12 at `path`, from the mirror that this system uses. */
export const makeTree = (path: string, more: readonly string[] = []): void => {
  const include = `--include=${[...PACKAGES, ...more].join(',')}`;
  execFileSync('mmdebstrap', ['--quiet', '--variant=minbase', include, 'bookworm', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  // Each container is a machine of its own.
  rmSync(join(path, 'etc/machine-id'), { force: true });
};

export interface Ran {
  readonly code: number;
  readonly output: string;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Container {
  readonly root: string;
  readonly #process: ChildProcess;
  readonly #gone: Promise<unknown>;
  #leader = 0;

  private constructor(root: string) {
    this.root = root;
    const log = openSync(`${root}.log`, 'w');
    const words = ['--quiet', '--directory', root, '--boot', '--private-network', '--register=no', '--keep-unit'];
    this.#process = spawn('systemd-nspawn', words, { stdio: ['ignore', log, log] });
    this.#gone = once(this.#process, 'exit');
  }

  /** Boots a copy of the tree. Errors: with the end of what the container wrote. */
  static async boot(tree: string, root: string, prepare: (root: string) => void = () => {}): Promise<Container> {
    mkdirSync(root, { recursive: true });
    execFileSync('cp', ['-a', `${tree}/.`, root]);
    prepare(root);
    const container = new Container(root);
    try {
      await container.#ready();
      return container;
    } catch (error) {
      await container.end();
      throw new Error(`${basename(root)} does not boot: ${readFileSync(`${root}.log`, 'utf8').slice(-2000)}`, { cause: error });
    }
  }

  async #ready(): Promise<void> {
    for (const end = performance.now() + BOOT_LIMIT_MS; ; await pause(100)) {
      if (this.#process.exitCode !== null) throw new Error('it has ended');
      if (performance.now() > end) throw new Error('not in time');
      const { pid } = this.#process;
      const [leader] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
      if (!leader) continue;
      this.#leader = Number(leader);
      if (
        existsSync(`/proc/${leader}/root/run/systemd/private`) &&
        (await this.run('systemctl is-system-running')).output !== 'starting\n'
      )
        return;
    }
  }

  /** Runs a line of shell in the container; both outputs together. */
  run(line: string, limit_ms = COMMAND_LIMIT_MS): Promise<Ran> {
    const words = ['--target', String(this.#leader), '--all', '/bin/sh', '-c', `exec 2>&1; ${line}`];
    const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/root' };
    return new Promise((resolve) => {
      execFile('nsenter', words, { env, timeout: limit_ms, maxBuffer: 1 << 24 }, (error, output) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, output });
      });
    });
  }

  /** The output of a line that must succeed. */
  async output(line: string): Promise<string> {
    const { code, output } = await this.run(line);
    if (code !== 0) throw new Error(`${line}: exit ${code}\n${output}`);
    return output.trim();
  }

  async end(): Promise<void> {
    // The container’s systemd ends with the process that holds its namespaces.
    this.#process.kill('SIGKILL');
    await this.#gone;
    rmSync(this.root, { recursive: true, force: true });
  }
}
