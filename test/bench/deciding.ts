// From the kernel's message to the folded decision, without the disk, beside a C program that only receives the message.
// In a namespace of our own a link is set down and up again; the time is that from the request to set it up (one clock for
// all processes) until the receiver has the message, or the decision. Half of it is the kernel's and the same for both.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { inFolder } from './files.ts';
import { alternate, compare, type Measurement, quantile } from './measure.ts';

const SOURCE = fileURLToPath(new URL('receive.c', import.meta.url));
const WATCHER = fileURLToPath(new URL('watcher.ts', import.meta.url));
/** Both receivers sleep again before the next message comes. */
const PAUSE_US = 3000;
const LIMIT_MS = 60_000;
/** Changes at the start of a round that do not count: a process that has just been started is still compiling. */
const UNCOUNTED = 100;

/** Why this cannot be measured here, null when it can. */
export const namespaceMissing = (): string | null => {
  if (process.platform !== 'linux') return 'this is not Linux';
  if (process.getuid?.() !== 0) return 'it needs root, for a network namespace';
  const { error, status, stderr } = spawnSync('unshare', ['-n', 'ip', 'link', 'add', 'v0', 'type', 'veth'], { encoding: 'utf8' });
  if (error === undefined && status === 0) return null;
  return `no veth in a new network namespace: ${stderr?.trim() || String(error)}`;
};

/** Runs `work` in a new network namespace with a veth pair v0 and v1, and removes it. */
const inNamespace = async <T>(work: (namespace: string) => Promise<T>): Promise<T> => {
  const namespace = `netkvm-bench-${process.pid}`;
  const ip = (...words: string[]): void => void execFileSync('ip', words);
  ip('netns', 'add', namespace);
  try {
    ip('-n', namespace, 'link', 'add', 'v0', 'address', '52:54:00:11:22:33', 'type', 'veth', 'peer', 'name', 'v1');
    const setting = '/proc/sys/net/ipv6/conf/v0/disable_ipv6';
    if (existsSync('/proc/sys/net/ipv6')) ip('netns', 'exec', namespace, 'sh', '-c', `echo 1 > ${setting}`);
    ip('-n', namespace, 'link', 'set', 'v1', 'up');
    return await work(namespace);
  } finally {
    ip('netns', 'del', namespace);
  }
};

/** Numbers that a program prints after its word `ready` (or from the start). */
const numbers = (child: ChildProcess, isReady: () => void): Promise<bigint[]> => {
  const found: bigint[] = [];
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    if (line === 'ready') isReady();
    else found.push(BigInt(line));
  });
  return once(child, 'close').then(([code]) => {
    isReady();
    if (code !== 0) throw new Error(`a receiver ended with ${String(code)}`);
    return found;
  });
};

const start = (namespace: string, ...command: string[]): ChildProcess =>
  spawn('ip', ['netns', 'exec', namespace, ...command], { stdio: ['ignore', 'pipe', 'inherit'], timeout: LIMIT_MS });

/** Microseconds from each request to what `receiver` printed for it. */
const delays = async (namespace: string, receiver: string[], toggle: string[]): Promise<number[]> => {
  const child = start(namespace, ...receiver);
  let arrived: Promise<bigint[]> = Promise.resolve([]);
  await new Promise<void>((resolve) => {
    arrived = numbers(child, resolve);
    arrived.catch(() => {});
  });
  const sent = await numbers(start(namespace, ...toggle), () => {});
  const seen = await arrived;
  if (seen.length !== sent.length) throw new Error(`${sent.length} changes, ${seen.length} were received`);
  return seen.map((at, index) => Number(at - (sent[index] as bigint)) / 1000);
};

export const deciding: Measurement = ({ quick }) => {
  const skipped = namespaceMissing() ?? (spawnSync('gcc', ['--version']).status === 0 ? null : 'there is no gcc');
  if (skipped !== null) return { rows: [], notes: [], skipped };
  return inFolder((folder) =>
    inNamespace(async (namespace) => {
      const program = join(folder, 'receive');
      execFileSync('gcc', ['-O2', '-o', program, SOURCE]);
      const link = execFileSync('ip', ['-n', namespace, '-j', 'link', 'show', 'v0'], { encoding: 'utf8' });
      const [{ ifindex } = { ifindex: 0 }] = JSON.parse(link) as { ifindex: number }[];
      const uncounted = quick ? 30 : UNCOUNTED;
      const count = String(uncounted + (quick ? 50 : 500));
      const toggle = [program, 'toggle', String(ifindex), count, String(PAUSE_US)];
      const node = [process.execPath, WATCHER, 'v0', count];
      const rounds = await alternate(quick ? 1 : 7, {
        node: () => delays(namespace, node, toggle),
        bare: () => delays(namespace, [program, 'watch', String(ifindex), count], toggle),
      });
      const at = (part: number, times: number[][]): number[] => times.map((round) => quantile(round.slice(uncounted), part));
      const row = (name: string, part: number, goal?: Parameters<typeof compare>[0]['goal']) =>
        compare({
          measurement: 'deciding',
          what: `kernel message to folded decision, ${name}`,
          unit: 'µs',
          better: 'lower',
          values: at(part, rounds.node),
          baseline: { what: 'C program that only receives', values: at(part, rounds.bare) },
          ...(goal === undefined ? {} : { goal }),
        });
      return {
        rows: [row('p50', 0.5, { text: 'at most 3 × the C program', of: 'ratio', bound: 3 }), row('p99', 0.99)],
        notes: [
          `Each round sets a veth up ${count} times (the first ${uncounted} do not count), a few milliseconds apart; both figures include the kernel’s part, from the request to the message.`,
        ],
        skipped: null,
      };
    }),
  );
};
