// What the service costs when nothing happens: the time from starting the process to its line `watching`, its memory and its
// CPU while idle, beside an empty Node process and one that only imports the packages that the service imports.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { namespaceMissing } from './deciding.ts';
import { inFolder } from './files.ts';
import { alternate, compare, type Measurement, pause } from './measure.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ENTRY = join('src', 'host', 'netkvm.mjs');
const SOURCE = join(ROOT, ENTRY);
const isBuilt = existsSync(join(ROOT, 'dist', 'main.js'));
const LIMIT_MS = 20_000;
/** Processes are given this long to come to rest before their memory and CPU are read. */
const SETTLE_MS = 10_000;

const EMPTY = `console.log('watching'); setTimeout(() => {}, 1e9);`;
const PACKAGES = ['koffi', 'pino', 'rxjs', 'smol-toml', 'typebox', 'typebox/compile', 'xstate', 'node:sqlite', 'node:net'];
const IMPORTS = `await Promise.all(${JSON.stringify(PACKAGES)}.map((name) => import(name))); ${EMPTY}`;

/** The entry of the built package, laid out as npm installs it: without the source, which would go first. */
const installed = (folder: string): string => {
  const entry = join(folder, 'package', ENTRY);
  mkdirSync(join(entry, '..'), { recursive: true });
  copyFileSync(SOURCE, entry);
  symlinkSync(join(ROOT, 'dist'), join(folder, 'package', 'dist'));
  return entry;
};

/** A process that has said `watching`, and how long that took. */
interface Running {
  readonly child: ChildProcess;
  readonly ms: number;
}

const started = async (command: readonly string[], prefix: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Running> => {
  const [program = '', ...words] = [...prefix, process.execPath, ...command];
  const from = performance.now();
  const child = spawn(program, words, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const ms = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not watching after ${LIMIT_MS} ms: ${said}`)), LIMIT_MS);
    const take = (chunk: Buffer): void => {
      said += chunk.toString();
      if (!said.includes('watching')) return;
      clearTimeout(timer);
      resolve(performance.now() - from);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`ended with ${String(code)}: ${said}`));
    });
  }).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  return { child, ms };
};

const stop = async ({ child }: Running): Promise<void> => {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
};

const startTime = async (...start: Parameters<typeof started>): Promise<number> => {
  const running = await started(...start);
  await stop(running);
  return running.ms;
};

const kiB = (text: string, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
const memory = ({ child: { pid } }: Running): { rss: number; pss: number } => ({
  rss: kiB(readFileSync(`/proc/${pid}/status`, 'utf8'), 'VmRSS') / 1024,
  pss: kiB(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'), 'Pss') / 1024,
});
/** CPU time of all threads in ms: proc_pid_schedstat counts nanoseconds, where utime and stime count hundredths of a second. */
const cpu_ms = ({ child: { pid } }: Running): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6)
    .reduce((sum, one) => sum + one, 0);

interface Idle {
  readonly rss: number;
  readonly pss: number;
  /** Per cent of one core. */
  readonly cpu: number;
}

const idle = async (running: Running, settle_ms: number, span_ms: number): Promise<Idle> => {
  await pause(settle_ms);
  const [from, before] = [performance.now(), cpu_ms(running)];
  const { rss, pss } = memory(running);
  await pause(span_ms);
  const cpu = ((cpu_ms(running) - before) / (performance.now() - from)) * 100;
  await stop(running);
  return { rss, pss, cpu };
};

export const processes: Measurement = ({ quick }) => {
  if (process.platform !== 'linux') return { rows: [], notes: [], skipped: 'this is not Linux' };
  return inFolder(async (folder) => {
    const prefix = namespaceMissing() === null ? ['unshare', '-n'] : [];
    let folders = 0;
    const serviceOf = (entry: string): string[] => {
      folders += 1; // Each start makes its log anew.
      return [entry, 'run', '--observe', '--json', '--state-dir', join(folder, `${folders}`)];
    };
    const entry = isBuilt ? installed(folder) : SOURCE;
    const service = (): string[] => serviceOf(entry);
    const [empty, imports] = [EMPTY, IMPORTS].map((code) => ['--input-type=module', '-e', code]) as [string[], string[]];
    const sides = {
      service: () => startTime(service(), prefix),
      source: () => startTime(serviceOf(SOURCE), prefix),
      uncached: () => startTime(service(), prefix, { NODE_DISABLE_COMPILE_CACHE: '1' }),
      empty: () => startTime(empty, prefix),
      imports: () => startTime(imports, prefix),
    };
    if (!quick) await alternate(1, sides); // Fills the compile cache.
    const start = await alternate(quick ? 1 : 15, sides);
    const [settle_ms, span_ms] = quick ? [1000, 1000] : [SETTLE_MS, 20_000];
    const rest: { service: Idle; empty: Idle; imports: Idle }[] = [];
    for (let round = 0; round < (quick ? 1 : 3); round += 1) {
      const commands = { service: service(), empty, imports };
      // Idle processes do not disturb each other: they are measured at the same time.
      const all = await Promise.all(
        Object.entries(commands).map(async ([name, command]) => {
          return [name, await idle(await started(command, prefix), settle_ms, span_ms)] as const;
        }),
      );
      rest.push(Object.fromEntries(all) as (typeof rest)[number]);
    }
    const common = { measurement: 'processes', better: 'lower' } as const;
    const emptyNode = 'empty Node process';
    const withImports = 'Node process that imports the same packages';
    const from = isBuilt ? 'built package' : 'source, not built';
    const started_ms = { ...common, unit: 'ms', values: start.service, what: `start to \`watching\` (${from})` } as const;
    const resting = (what: string, unit: string, of: keyof Idle, text: string | null, bound: number) =>
      [
        { side: 'empty', name: emptyNode },
        { side: 'imports', name: withImports },
      ].map(({ side, name }, index) =>
        compare({
          ...common,
          what,
          unit,
          values: rest.map((round) => round.service[of]),
          baseline: { what: name, values: rest.map((round) => round[side as 'empty' | 'imports'][of]) },
          ...(text === null || index > 0 ? {} : { goal: { text, of: 'value', bound } }),
        }),
      );
    return {
      rows: [
        compare({
          ...started_ms,
          baseline: { what: emptyNode, values: start.empty },
          goal: { text: 'at most 150 ms', of: 'value', bound: 150 },
        }),
        compare({ ...started_ms, baseline: { what: withImports, values: start.imports } }),
        compare({
          ...started_ms,
          what: 'start without Node’s compile cache',
          values: start.uncached,
          baseline: { what: emptyNode, values: start.empty },
        }),
        compare({
          ...started_ms,
          what: 'start from source',
          values: start.source,
          baseline: { what: emptyNode, values: start.empty },
        }),
        ...resting('resident memory, idle (VmRSS)', 'MiB', 'rss', 'at most 80 MiB', 80),
        ...resting('its own share of it (Pss)', 'MiB', 'pss', null, 0),
        ...resting('CPU, idle', '% of a core', 'cpu', 'at most 0.2 %', 0.2),
      ],
      notes: [
        `The service observes ${prefix.length > 0 ? 'an empty network namespace' : 'this machine'}, with a new log at each start; from the start of the process until the reader has the line.`,
        `Idle: read ${settle_ms / 1000} s after the start, CPU over the ${span_ms / 1000} s after that (all threads). Pss shares pages among the processes that map them.`,
      ],
      skipped: null,
    };
  });
};
