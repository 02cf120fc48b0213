// Real death: `netkvm run` with effects on, in a network namespace whose links flap and whose primary comes and goes, killed
// with SIGKILL at random moments, again and again on the same log. Thirty lives in `npm test`, three hundred in
// `npm run test:death`.
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { Random } from '../../../src/adapters/simulated/random.ts';
import { request } from '../../../src/host/control-client.ts';
import { replayFile } from '../../../replay/replay.ts';
import type { HappeningOf } from '../../../src/events/catalogue.ts';
import { Guest } from '../../../src/machines/guest.ts';
import { cleanUp, eventsIn, folder, netkvm, pause, Running, SOUND, until, verdictOn } from '../../unit/service.given.ts';
import { missing, skipped } from './namespace.ts';

const MAC = '52:54:00:77:00:01';
const LIVES = Number(process.env['NETKVM_LIVES'] ?? (process.env['NETKVM_FULL'] === undefined ? 30 : 300));
const SEED = Number(process.env['NETKVM_SEED'] ?? Date.now() % 1_000_000);
const HOOK = fileURLToPath(new URL('bridge-bond.hook.ts', import.meta.url));
const why = missing('ip link add br0 type bridge');

const CONFIG = `[policy]
effects = "on"
retryDelay_ms = 50
attachLimit_ms = 1000
blockedRetry_ms = 1000
effectLimit_ms = 2000
[service]
survey_ms = 1000
checkpointEvents = 500
[[pairs]]
mac = "${MAC}"
standbyName = "stby"
primaryName = "prim"
parameters = { mtu = 1500, txQueue = 500 }
standbyParameters.fallback = { txQueue = 700 }
`;

let name = '';
afterEach(async () => {
  await cleanUp();
  if (name !== '') execFileSync('ip', ['netns', 'del', name]);
  name = '';
});

/** Several commands of iproute2 at once; what makes no sense at the moment does nothing. */
const batch = (...lines: string[]): Promise<void> =>
  new Promise((resolve) => {
    const child = spawn('ip', ['-n', name, '-force', '-batch', '-'], { stdio: ['pipe', 'ignore', 'ignore'] });
    child.once('close', () => resolve());
    child.stdin.end(`${lines.join('\n')}\n`);
  });
const plug = (name_: string): string[] => [
  `link add ${name_} address ${MAC} type veth peer name ${name_}far`,
  `link set ${name_}far up`,
];

/** What happens to the guest at some moment of a life. */
const stir = (random: Random): string[] => {
  switch (random.between(0, 5)) {
    case 0:
      return ['link del prim'];
    case 1:
    case 2:
      return plug('prim');
    case 3:
      return Array.from({ length: random.between(1, 6) }, (_, flap) => `link set primfar ${flap % 2 === 0 ? 'down' : 'up'}`);
    case 4:
      return [`link set stbyfar ${random.chance(0.5) ? 'down' : 'up'}`];
    default:
      return [`link set prim ${random.pick(['down', 'up', 'nomaster'])}`];
  }
};

describe.skipIf(why !== null)(`killed again and again${skipped(why)}`, () => {
  test(
    `${LIVES} lives, seed ${SEED}`,
    async () => {
      const random = new Random(SEED, 'death');
      name = `netkvm-death-${process.pid}`;
      execFileSync('ip', ['netns', 'add', name]);
      const dir = folder();
      const [config, journal, state] = [join(dir, 'config.toml'), join(dir, 'journal'), join(dir, 'state')];
      writeFileSync(config, CONFIG);
      appendFileSync(journal, '');
      await batch('link add br0 mtu 1500 type bridge', ...plug('stby'), 'link set stby up master br0', 'link set br0 up');
      const live = (): Running =>
        new Running(
          ['run', '--json', '--state-dir', state, '--config', config],
          ['ip', 'netns', 'exec', name, 'env', `NETKVM_JOURNAL=${journal}`, `NODE_OPTIONS=--import=${HOOK}`],
        );

      let acted = 0;
      for (let life = 0; life < LIVES; life += 1) {
        const service = live();
        // Some die while they start, some as soon as an effect begins.
        if (random.chance(0.8)) await service.line('watching', () => true, 60_000);
        const begun = random.chance(0.4) ? statSync(journal).size : Infinity;
        const end_ms = performance.now() + random.between(0, begun === Infinity ? 600 : 2000);
        if (random.chance(0.7)) await batch('link del prim', ...plug('prim'));
        while (performance.now() < end_ms && statSync(journal).size <= begun) {
          await batch(...stir(random));
          if (random.chance(0.2)) void request(join(state, 'control.sock'), 'survey', {}).catch(() => {});
          if (random.chance(0.1) && service.all('watching').length > 0) service.child.kill('SIGHUP');
          await pause(random.between(0, 60));
        }
        service.child.kill('SIGKILL');
        expect((await service.ended()).signal, service.stderr).toBe('SIGKILL');
        if (existsSync(join(state, 'netkvm.db'))) acted = checkJournal(state, journal);
      }

      // A last life is left in peace: everything that was open comes to its end, and traffic flows over the primary.
      await batch('link set stbyfar up', 'link set stby up master br0', 'link set br0 up', 'link del prim', ...plug('prim'));
      const last = live();
      const reached = (): boolean => {
        const line = last.all('transition').at(-1);
        return line?.['stage'] === 'onPrimary' && line['datapath'] === 'primary';
      };
      await until('the primary carries', reached, 60_000);
      await until('nothing is open', () => openDecisions(state).length === 0, 60_000);
      // The standby has what it had before the first life, whatever stage the lives ended in.
      await until('the standby has its parameters back', () => txQueue('stby') === 1000, 60_000);
      await until('only the primary is owed something', () => openObligations(state).length === 1, 60_000);
      // The primary has its parameters, and gives them back: what was found, not what an earlier life had set.
      expect(txQueue('prim')).toBe(500);
      const restored = await netkvm('restore', '--state-dir', state, '--config', config);
      expect([restored.status, restored.stderr]).toEqual([0, '']);
      expect([txQueue('prim'), openObligations(state)]).toEqual([1000, []]);
      expect((await last.stop()).code, last.stderr).toBe(0);

      expect(verdictOn(state)).toEqual(SOUND);
      expect((await netkvm('log', 'verify', '--state-dir', state)).status).toBe(0);
      acted = checkJournal(state, journal);
      // It was killed in the middle of things, or it would prove nothing.
      const outcomes = eventsIn(state, 'outcome.seen').map(({ data }) => data as HappeningOf<'outcome.seen'>['data']);
      expect(acted).toBeGreaterThan(LIVES / 2);
      expect(outcomes.map(({ result }) => result)).toContain('succeeded');
      expect(outcomes.filter(({ reason }) => reason?.startsWith('the service ended') === true).length).toBeGreaterThan(0);
      expect(eventsIn(state, 'service.started').length).toBeGreaterThan(LIVES / 2);

      const exported = join(dir, 'export.jsonl');
      expect((await netkvm('log', 'export', '--state-dir', state, '-o', exported)).status).toBe(0);
      const { report, complaints } = await replayFile(exported);
      expect([report.divergence, complaints]).toEqual([null, []]);
    },
    LIVES * 10_000 + 180_000,
  );
});

/** Transmit queue length of a link, as `ip` says. */
const txQueue = (link_: 'stby' | 'prim'): number => {
  const [link] = JSON.parse(execFileSync('ip', ['-n', name, '-j', 'link', 'show', link_], { encoding: 'utf8' })) as {
    txqlen: number;
  }[];
  return link?.txqlen ?? 0;
};

/** What the fold says is owed: what a primary was given is gone with it. */
const openObligations = (state: string): string[] => {
  const guest = new Guest();
  for (const event of eventsIn(state)) guest.apply(event);
  return [...guest.pairs.values()].flatMap(({ obligations }) => obligations.map(({ id }) => id));
};

/** Decisions without an outcome. */
const openDecisions = (state: string): string[] => {
  const concluded = new Set(eventsIn(state, 'outcome.seen').map(({ data }) => (data as { decision: string }).decision));
  return eventsIn(state, 'decision.made').flatMap(({ data }) => {
    const { id } = data as { id: string };
    return concluded.has(id) ? [] : [id];
  });
};

/**
 * Every effect was begun once, for a decision that is in the log: an effect is passed on when its append was acknowledged,
 * so an acknowledged append that is lost shows here. Returns how many there were.
 */
const checkJournal = (state: string, journal: string): number => {
  const begun = readFileSync(journal, 'utf8').split('\n').filter(Boolean);
  const kinds = new Map(
    eventsIn(state, 'decision.made').map(({ data }) => {
      const { id, kind } = data as HappeningOf<'decision.made'>['data'];
      return [id, kind] as const;
    }),
  );
  expect(begun.filter((line, at) => begun.indexOf(line) !== at)).toEqual([]);
  expect(begun.filter((line) => `${line.split(' ')[0]} ${kinds.get(line.split(' ')[0] ?? '')}` !== line)).toEqual([]);
  return begun.length;
};
