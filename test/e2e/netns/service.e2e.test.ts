// The service on a real kernel, in namespaces that these tests make: a pair that lives, a disk that fills up, recording,
// and observing without privileges. Needs root and iproute2; where something is missing the test's name says what.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { replayFile } from '../../../replay/replay.ts';
import type { RecordedEvent } from '../../../src/events/envelope.ts';
import { cleanUp, eventsIn, folder, netkvm, NETKVM, Running, SOUND, until, verdictOn } from '../../unit/service.given.ts';
import { missing, probe, skipped } from './namespace.ts';

const MAC = '52:54:00:77:00:01';

const why = missing();
const noBond = why ?? probe('ip link add b0 type bond mode active-backup');
const noMount = why ?? probe('mount -t tmpfs -o size=1m tmpfs /mnt');

let namespaces = 0;
const made: string[] = [];
afterEach(async () => {
  await cleanUp();
  for (const name of made.splice(0)) execFileSync('ip', ['netns', 'del', name]);
});

interface Net {
  readonly launcher: readonly string[];
  readonly ip: (...words: string[]) => void;
}
const net = (): Net => {
  const name = `netkvm-service-${process.pid}-${(namespaces += 1)}`;
  execFileSync('ip', ['netns', 'add', name]);
  made.push(name);
  return { launcher: ['ip', 'netns', 'exec', name], ip: (...words) => void execFileSync('ip', ['-n', name, ...words]) };
};
/** Two veths with one MAC, whose other ends are up; one is to be the standby, the other the primary. */
const twins = ({ ip }: Net, ...names: string[]): void => {
  for (const name of names) {
    ip('link', 'add', name, 'address', MAC, 'type', 'veth', 'peer', 'name', `${name}far`);
    ip('link', 'set', `${name}far`, 'up');
  }
};
const PAIR = `[[pairs]]\nmac = "${MAC}"\nstandbyName = "stby"\nprimaryName = "prim"\n`;
const observe = (dir: string, at: Net, ...launcher: string[]): Running => {
  const config = join(dir, 'config.toml');
  writeFileSync(config, PAIR, { mode: 0o644 });
  return new Running(['run', '--observe', '--state-dir', join(dir, 'state'), '--config', config], [...at.launcher, ...launcher]);
};
/** Waits for the pair's next transitions, `stage datapath` each. */
const reaches = (service: Running, ...path: string[]): Promise<void> => {
  const seen = (): string =>
    service
      .all('transition')
      .map(({ stage, datapath }) => `${String(stage)} ${String(datapath)}`)
      .join(', ');
  return until(`${path.join(', ')}; so far ${seen()}`, () => seen() === path.join(', '));
};
const historyOf = async (file: string): Promise<string[]> => {
  const { report } = await replayFile(file);
  expect(report.divergence).toBe(null);
  const pair = report.pairs.find(({ mac }) => mac === MAC);
  return pair?.history.map(({ stage, datapath }) => `${stage} ${datapath}`) ?? [];
};

describe.skipIf(why !== null)(`live${skipped(why)}`, () => {
  test('a standby that the configuration names comes, carries, loses carrier, and goes', async () => {
    const at = net();
    const dir = folder();
    const service = observe(dir, at);
    await service.line('watching');
    twins(at, 'stby');
    await reaches(service, 'standalone none');
    at.ip('link', 'set', 'stby', 'up');
    await reaches(service, 'standalone none', 'standalone standby');
    at.ip('link', 'set', 'stbyfar', 'down');
    await reaches(service, 'standalone none', 'standalone standby', 'standalone none');
    at.ip('link', 'del', 'stby');
    await reaches(service, 'standalone none', 'standalone standby', 'standalone none', 'absent none');
    const { code, ms } = await service.stop();
    expect([code, ms < 1000]).toEqual([0, true]);
    expect(verdictOn(join(dir, 'state'))).toEqual(SOUND);
  });

  test('observing needs no privileges', async () => {
    const at = net();
    const dir = folder();
    chmodSync(dir, 0o755);
    chownSync(dir, 65534, 65534);
    const service = observe(dir, at, 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'env', `HOME=${dir}`);
    await service.line('watching');
    twins(at, 'stby');
    at.ip('link', 'set', 'stby', 'up');
    await service.line('transition', ({ stage, datapath }) => stage === 'standalone' && datapath === 'standby');
    expect((await service.stop()).code).toBe(0);
    expect(service.stderr).toBe('');
    expect(verdictOn(join(dir, 'state'))).toEqual(SOUND);
  });

  test('record and record --raw: files that replay to the same', async () => {
    const at = net();
    const dir = folder();
    const [events, raw, config] = [join(dir, 'events.jsonl'), join(dir, 'raw.jsonl'), join(dir, 'config.toml')];
    writeFileSync(config, PAIR);
    twins(at, 'stby');
    const both = [
      new Running(['record', '-o', events, '--config', config], at.launcher),
      new Running(['record', '--raw', '-o', raw, '--json'], at.launcher),
    ];
    // The raw file grows when the first survey is in; the other one has no sign but time.
    await until('the raw capture has begun', () => readFileSync(raw, { encoding: 'utf8', flag: 'a+' }).includes('"raw"'));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    for (const state of ['up', 'down']) {
      at.ip('link', 'set', 'stby', state);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const ended = await Promise.all(both.map((one) => one.stop('SIGINT')));
    expect(ended.map(({ code }) => code)).toEqual([0, 0]);
    expect(both[0]?.stderr).toMatch(/^[0-9]+ events recorded\n$/);
    expect(JSON.parse(both[1]?.stderr ?? '')).toMatchObject({ schemaVersion: 1, lines: expect.any(Number) });
    const expected = ['standalone none', 'standalone standby', 'standalone none'];
    expect(await historyOf(events)).toEqual(expected);
    const replay = await netkvm('replay', raw, '--json', '--config', config);
    expect(replay.status).toBe(0);
    const { pairs } = JSON.parse(replay.stdout) as { pairs: { history: { stage: string; datapath: string }[] }[] };
    expect(pairs[0]?.history.map(({ stage, datapath }) => `${stage} ${datapath}`)).toEqual(expected);
  });
});

describe.skipIf(noBond !== null)(`a pair in a bond${skipped(noBond)}`, () => {
  test('follows what the bond does, from the plug to the unplug', async () => {
    const at = net();
    const dir = folder();
    at.ip('link', 'add', 'bond', 'type', 'bond', 'mode', 'active-backup', 'miimon', '20');
    twins(at, 'stby');
    at.ip('link', 'set', 'stby', 'master', 'bond');
    at.ip('link', 'set', 'bond', 'up');
    const service = observe(dir, at);
    const rests = (...path: string[]): Promise<void> => {
      const last = (): string => {
        const line = service.all('transition').at(-1);
        return ['stage', 'datapath', 'because'].map((name) => String(line?.[name])).join(' ');
      };
      return until(path.join(' '), () => last() === path.join(' '));
    };
    await rests('fallback', 'standby', 'primary.absent');
    twins(at, 'prim');
    await rests('attaching', 'standby', 'primary.found');
    at.ip('link', 'set', 'prim', 'master', 'bond');
    await service.line('transition', ({ stage, datapath }) => stage === 'switching' && datapath === 'standby');
    // Two rounds of the bond's own look at its members.
    await new Promise((resolve) => setTimeout(resolve, 60));
    at.ip('link', 'set', 'bond', 'type', 'bond', 'active_slave', 'prim');
    await rests('onPrimary', 'primary', 'primary.carries');
    at.ip('link', 'set', 'primfar', 'down');
    await rests('fallback', 'standby', 'primary.noCarrier');
    at.ip('link', 'del', 'prim');
    await until('the log knows that it left', () => eventsIn(join(dir, 'state'), 'adapter.gone').length >= 2);
    const { stdout } = await netkvm('status', '--json', '--state-dir', join(dir, 'state'));
    expect(JSON.parse(stdout)).toMatchObject({ pairs: [{ mode: 'bond', stage: 'fallback', because: 'primary.absent' }] });
    expect((await service.stop()).code).toBe(0);
    expect(verdictOn(join(dir, 'state'))).toEqual(SOUND);
  });
});

describe.skipIf(noMount !== null)(`a disk that fills up${skipped(noMount)}`, () => {
  /** A service on a disk of one MiB that is full by now, and has been noticed to be. */
  const choked = async (dir: string) => {
    const launcher = ['unshare', '-mn', 'sh', '-c', `mount -t tmpfs -o size=1m tmpfs ${dir} && exec "$@"`, 'sh'];
    const service = new Running(['run', '--observe', '--state-dir', dir], launcher);
    await service.line('watching');
    // The service's own view of its disk and its network, from outside.
    const inside = `/proc/${service.pid}/root${dir}`;
    const ip = (...words: string[]): void => void execFileSync('nsenter', ['-t', String(service.pid), '-n', 'ip', ...words]);
    ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    expect(spawnSync('dd', ['if=/dev/zero', `of=${inside}/filler`, 'bs=512'], { stdio: 'ignore' }).status).toBe(1);
    let mtu = 1000;
    // The last page of the WAL may have room for some more.
    while (service.all('outage').length === 0 && mtu < 1400) {
      ip('link', 'set', 'v0', 'mtu', String((mtu += 1)));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(service.all('outage')).toMatchObject([{ level: 'error', reason: expect.stringContaining('full') }]);
    return { service, inside, ip, mtu };
  };

  test('memory takes over, and when there is room again the log has everything in its order', async () => {
    const dir = folder();
    const { service, inside, ip, mtu: last } = await choked(dir);
    let mtu = last;
    for (let more = 0; more < 20; more += 1) ip('link', 'set', 'v0', 'mtu', String((mtu += 1)));
    const words = ['-t', String(service.pid), '-m', process.execPath, NETKVM, 'status', '--state-dir', dir, '--json'];
    const status = spawnSync('nsenter', words, { encoding: 'utf8' });
    expect([status.status, (JSON.parse(status.stdout) as { service: object }).service]).toEqual([
      4,
      { running: true, pid: service.pid, outage: expect.stringContaining('full') },
    ]);
    rmSync(join(inside, 'filler'));
    await service.line('outageEnded', ({ lost }) => lost === 0);
    ip('link', 'set', 'v0', 'mtu', '1500');
    // SQLite would follow /proc/PID/root to our own root, so the log is looked at as a copy.
    const copy = (): string => {
      const to = folder();
      for (const name of ['netkvm.db', 'netkvm.db-wal']) copyFileSync(join(inside, name), join(to, name));
      return to;
    };
    await until('the last change is in the log', () => mtus(copy()).at(-1) === 1500);
    const left = copy();
    expect(mtus(left)).toEqual([...Array.from({ length: mtu - 1000 }, (_, index) => 1001 + index), 1500]);
    const [outage, ...others] = eventsIn(left, 'log.outage');
    expect([outage?.data, others]).toMatchObject([{ lost: 0, reason: expect.stringContaining('full') }, []]);
    expect(verdictOn(left)).toEqual(SOUND);
    const { code, ms } = await service.stop();
    expect([code, ms < 1000]).toEqual([0, true]);
  });

  test('and stays full: the service ends within a second and says what is lost', async () => {
    const { service } = await choked(folder());
    const { code, ms } = await service.stop();
    expect([code, ms < 1000]).toEqual([0, true]);
    expect(service.lines.slice(-2)).toMatchObject([
      { event: 'degraded', part: 'log', reason: expect.stringMatching(/^[0-9]+ events could not be written and are lost$/) },
      { event: 'stopped', reason: 'SIGTERM' },
    ]);
  });

  test('from the start: one line, exit code 8', async () => {
    const dir = folder();
    const fill = `dd if=/dev/zero of=${dir}/filler bs=512 2>/dev/null`;
    const launcher = ['unshare', '-mn', 'sh', '-c', `mount -t tmpfs -o size=64k tmpfs ${dir} && { ${fill}; exec "$@"; }`, 'sh'];
    const service = new Running(['run', '--observe', '--state-dir', dir], launcher);
    expect(await service.ended()).toEqual({ code: 8, signal: null });
    expect(service.lines).toEqual([]);
    expect(service.stderr).toMatch(/^netkvm: [^\n]*\[log\.unwritable\][^\n]*\n$/);
  });

  test('a folder that is mounted read-only: one line, exit code 8', async () => {
    const dir = folder();
    const mount = `mount -t tmpfs -o ro tmpfs ${dir}`;
    const service = new Running(
      ['run', '--observe', '--state-dir', dir],
      ['unshare', '-mn', 'sh', '-c', `${mount} && exec "$@"`, 'sh'],
    );
    expect(await service.ended()).toEqual({ code: 8, signal: null });
    expect(service.stderr).toMatch(/^netkvm: [^\n]*\[log\.unwritable\][^\n]*\n$/);
  });
});

const mtus = (dir: string): number[] =>
  (eventsIn(dir, 'adapter.changed') as (RecordedEvent & { type: 'adapter.changed' })[]).flatMap(({ data: { changed } }) =>
    changed.mtu === undefined ? [] : [changed.mtu],
  );
