// A flood: the service watches a network namespace in which links flap as fast as the kernel can tell of it, tens of
// thousands of hints in a few seconds. It must read many of them in one turn, must not grow with their number, and must know
// in the end what is the case, whether messages were lost on the way or not.
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { Random } from '../../../src/adapters/simulated/random.ts';
import { Guest } from '../../../src/machines/guest.ts';
import { cleanUp, eventsIn, folder, Running, SOUND, until, verdictOn } from '../../unit/service.given.ts';
import { missing, skipped } from './namespace.ts';

const MAC = '52:54:00:77:00:02';
const SEED = Number(process.env['NETKVM_SEED'] ?? Date.now() % 1_000_000);
const LINKS = 6;
const HINTS = 24_000;
/** What the service may need beside what it had before, whatever happens: MiB. */
const GROWTH_MAX = 128;
const why = missing();

const CONFIG = `[[pairs]]
mac = "${MAC}"
standbyName = "link0"
primaryName = "link1"
`;

let name = '';
afterEach(async () => {
  await cleanUp();
  if (name !== '') execFileSync('ip', ['netns', 'del', name]);
  name = '';
});

const batch = (lines: readonly string[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn('ip', ['-n', name, '-batch', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (words += text));
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(words))));
    child.stdin.end(`${lines.join('\n')}\n`);
  });

/** Every line changes something, so that the kernel tells of it at least once. */
const flood = (random: Random): string[] => {
  const up = Array.from({ length: LINKS }, () => true);
  const mtu = Array.from({ length: LINKS }, () => 1500);
  return Array.from({ length: HINTS }, () => {
    const link = random.between(0, LINKS - 1);
    if (random.chance(0.2)) {
      mtu[link] = mtu[link] === 1500 ? 1400 : 1500;
      return `link set link${link} mtu ${mtu[link]}`;
    }
    up[link] = !up[link];
    return `link set link${link} ${up[link] ? 'up' : 'down'}`;
  });
};
const atRest = Array.from({ length: LINKS }, (_, link) => [`link set link${link} up`, `link set link${link} mtu 1500`]).flat();

interface Said {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
}
/** What is the case, as `ip` says. */
const truth = (): string[] => {
  const links = JSON.parse(execFileSync('ip', ['-n', name, '-j', 'link'], { encoding: 'utf8' })) as Said[];
  return links
    .map(({ ifname, flags, mtu }) => `${ifname} ${flags.includes('UP')} ${flags.includes('LOWER_UP')} ${mtu}`)
    .toSorted();
};
/** What the log folds to. */
const folded = (state: string): string[] => {
  const guest = new Guest();
  for (const event of eventsIn(state)) guest.apply(event);
  return [...guest.adapters.values()]
    .map(({ facts }) => `${facts.name} ${facts.up} ${facts.up && facts.carrier} ${facts.mtu}`)
    .toSorted();
};
/** Resident memory of a process in MiB: now, and at its highest (proc_pid_status(5)). */
const memory = (pid: number): { now: number; peak: number } => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  return { now: of('VmRSS'), peak: of('VmHWM') };
};

describe.skipIf(why !== null)(`a flood of hints${skipped(why)}`, () => {
  test(`twice ${HINTS}, seed ${SEED}`, async () => {
    const random = new Random(SEED, 'flood');
    name = `netkvm-flood-${process.pid}`;
    execFileSync('ip', ['netns', 'add', name]);
    const dir = folder();
    const [config, state] = [join(dir, 'config.toml'), join(dir, 'state')];
    writeFileSync(config, CONFIG);
    await batch(
      Array.from({ length: LINKS }, (_, link) => [
        `link add link${link} ${link < 2 ? `address ${MAC} ` : ''}type veth peer name far${link}`,
        `link set far${link} up`,
        `link set link${link} up`,
      ]).flat(),
    );
    const service = new Running(
      ['run', '--observe', '--json', '--state-dir', state, '--config', config],
      ['ip', 'netns', 'exec', name],
    );
    await service.line('watching');
    const before = memory(service.pid);
    const peaks: number[] = [];
    for (const part of [1, 2]) {
      await batch([...flood(random), ...atRest]);
      const expected = truth();
      await until(`the log tells what is the case (${part})`, () => folded(state).join() === expected.join(), 20_000);
      peaks.push(memory(service.pid).peak);
    }
    expect((await service.stop()).code, service.stderr).toBe(0);

    const changes = eventsIn(state, 'adapter.changed');
    const gaps = eventsIn(state, 'gap.seen').length;
    // Either all of it was heard, or what was lost is said to be.
    expect(changes.length > 2 * HINTS || gaps > 0).toBe(true);
    const turns = new Set(changes.map(({ mono_ns }) => mono_ns)).size;
    expect(changes.length).toBeGreaterThan(3 * turns);
    const [first = 0, second = 0] = peaks;
    expect(first - before.now).toBeLessThan(GROWTH_MAX);
    // As much again needs no more.
    expect(second - first).toBeLessThan(GROWTH_MAX / 4);
    expect(verdictOn(state)).toEqual(SOUND);
    if (process.env['NETKVM_VERBOSE'] !== undefined)
      console.log({ before, peaks, changes: changes.length, turns, gaps, hints: 2 * HINTS });
  }, 90_000);
});
