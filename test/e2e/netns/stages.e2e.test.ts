// Parameters by stage, with the whole service on a real kernel: a pair of veths comes and goes between its standby and its
// primary, and `ip` and `ethtool` say which parameters hold. Two ports of a bridge stand in for the bond (bridge-bond.ts).
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { cleanUp, eventsIn, folder, netkvm, Running, SOUND, until, verdictOn } from '../../unit/service.given.ts';
import { missing, skipped } from './namespace.ts';

const MAC = '52:54:00:77:00:02';
const HOOK = fileURLToPath(new URL('bridge-bond.hook.ts', import.meta.url));
const why = missing('ip link add br0 type bridge', 'ethtool -k lo');
const LIMIT_MS = 20_000;

let name = '';
afterEach(async () => {
  await cleanUp();
  if (name !== '') execFileSync('ip', ['netns', 'del', name]);
  name = '';
});
const ip = (...words: string[]): string => execFileSync('ip', ['-n', name, ...words], { encoding: 'utf8' });
const plug = (link: string): void => {
  ip('link', 'add', link, 'address', MAC, 'type', 'veth', 'peer', 'name', `${link}far`);
  ip('link', 'set', `${link}far`, 'up');
};
/** What the standby has, as the tools say. */
const standing = (): { queue: number; checksum: string } => {
  const [link] = JSON.parse(ip('-j', 'link', 'show', 'stby')) as [{ txqlen: number }];
  const { stdout } = spawnSync('ip', ['netns', 'exec', name, 'ethtool', '-k', 'stby'], { encoding: 'utf8' });
  return { queue: link.txqlen, checksum: /tx-checksum-ip-generic: (\w+)/.exec(stdout)?.[1] ?? '' };
};
const plain = { queue: 1000, checksum: 'on' };

/** The service, with these lines for its pair; the standby is there, and carries. */
const started = (lines: string) => {
  name = `netkvm-stages-${process.pid}`;
  execFileSync('ip', ['netns', 'add', name]);
  const dir = folder();
  const [config, state] = [join(dir, 'config.toml'), join(dir, 'state')];
  const pair = `[[pairs]]\nmac = "${MAC}"\nstandbyName = "stby"\nprimaryName = "prim"\n${lines}\n`;
  writeFileSync(config, `[policy]\neffects = "on"\nattachLimit_ms = 2000\n${pair}`);
  ip('link', 'add', 'br0', 'mtu', '1500', 'type', 'bridge');
  plug('stby');
  ip('link', 'set', 'stby', 'up', 'master', 'br0');
  ip('link', 'set', 'br0', 'up');
  const service = new Running(
    ['run', '--json', '--state-dir', state, '--config', config],
    ['ip', 'netns', 'exec', name, 'env', `NODE_OPTIONS=--import=${HOOK}`],
  );
  const is = (stage: string): Promise<void> =>
    until(stage, () => service.all('transition').at(-1)?.['stage'] === stage, LIMIT_MS);
  const has = (wanted: object): Promise<void> =>
    until(JSON.stringify(wanted), () => JSON.stringify(standing()) === JSON.stringify(wanted), LIMIT_MS);
  const restore = () => netkvm('restore', '--state-dir', state, '--config', config);
  return { service, state, is, has, restore };
};
/** The stages that the standby was tuned for, each with what became of it. */
const tunings = (state: string): [stage: string, result: string | undefined][] => {
  const outcomes = new Map(
    eventsIn(state, 'outcome.seen').map(({ data }) => {
      const { decision, result } = data as { decision: string; result: string };
      return [decision, result];
    }),
  );
  return eventsIn(state, 'decision.made').flatMap(({ data }) => {
    const { id, kind, plan } = data as { id: string; kind: string; plan: { stage: string } };
    return kind === 'tuneStandby' ? [[plan.stage, outcomes.get(id)]] : [];
  });
};

describe.skipIf(why !== null)(`parameters by stage${skipped(why)}`, () => {
  test('hold while the pair is in the stage, and what was there comes back with the next one, and by restore', async () => {
    const { service, state, is, has, restore } = started(
      'standbyParameters.fallback = { txQueue = 5000 }\nstandbyParameters.onPrimary = { features = { "tx-checksum-ip-generic" = false } }',
    );
    await is('fallback');
    await has({ ...plain, queue: 5000 });
    plug('prim');
    await is('onPrimary');
    await has({ ...plain, checksum: 'off' });
    ip('link', 'del', 'prim');
    await is('fallback');
    await has({ ...plain, queue: 5000 });
    await until('the outcomes', () => tunings(state).every(([, result]) => result !== undefined), LIMIT_MS);
    expect(tunings(state)).toEqual([
      ['fallback', 'succeeded'],
      ['onPrimary', 'succeeded'],
      ['fallback', 'succeeded'],
    ]);
    expect(eventsIn(state, 'obligation.opened').map(({ data }) => (data as { before: unknown }).before)).toEqual([
      { txQueue: 1000, features: { 'tx-checksum-ip-generic': true } },
    ]);
    const { status, stderr } = await restore();
    expect([status, stderr, standing()]).toEqual([0, '', plain]);
    expect((await service.stop()).code, service.stderr).toBe(0);
    expect(verdictOn(state)).toEqual(SOUND);
  });

  test('a stage that asks for nothing owes nothing, and one that asks for the impossible delays no switch', async () => {
    const { service, state, is, has } = started('standbyParameters.fallback = { txQueue = 5000, rxRing = 64 }');
    await is('fallback');
    await has({ ...plain, queue: 5000 });
    const outcome = await service.line('outcome', ({ result }) => result === 'refused');
    expect(outcome['reason']).toBe('the driver has no rxRing');
    plug('prim');
    await is('onPrimary');
    await has(plain);
    await until('nothing is owed', () => eventsIn(state, 'obligation.closed').length === 1, LIMIT_MS);
    expect((await service.stop()).code, service.stderr).toBe(0);
    expect(verdictOn(state)).toEqual(SOUND);
  });
});
