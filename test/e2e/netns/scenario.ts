// Runs inside a network namespace that the test has made: changes the network with `ip`, lets the platform watch, and
// prints what the platform told beside what `ip` says at the end, as one line of JSON.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { promisify } from 'node:util';
import type { Adapter, Observation } from '../../../src/events/catalogue.ts';
import { observeEntry, readCapture } from '../../../src/adapters/linux/capture.ts';
import { CaptureWriter } from '../../../src/adapters/linux/capture-writer.ts';
import { Observer } from '../../../src/adapters/linux/observer.ts';
import { LinuxPlatform, type LinuxOptions } from '../../../src/adapters/linux/platform.ts';
import type { Sighting } from '../../../src/adapters/platform.ts';
import { believedAdapters, saidByIp, type Truth } from '../truth.ts';

const ip = (...parameters: string[]): string => execFileSync('ip', parameters, { encoding: 'utf8' });
const truth = (): Truth => saidByIp(ip('-d', '-j', 'link'), ip('-j', 'addr'));
const believed = (belief: Pick<Belief, 'adapters' | 'addresses'>) => ({
  adapters: believedAdapters(belief.adapters.values()),
  addresses: [...belief.addresses].toSorted(),
});
const QUIET_MS = 150;
const LIMIT_MS = 20_000;

/** The simplest fold there is: what a reader of the observations believes. */
class Belief {
  readonly adapters = new Map<number, Adapter>();
  readonly addresses = new Set<string>();
  readonly counts: Record<string, number> = {};
  first: string | undefined;
  last_ms = performance.now();

  take({ observations }: Sighting): void {
    this.last_ms = performance.now();
    for (const observation of observations) this.#one(observation);
  }
  #one({ type, data }: Observation): void {
    this.first ??= type;
    this.counts[type] = (this.counts[type] ?? 0) + 1;
    if (type === 'survey.taken') {
      this.adapters.clear();
      this.addresses.clear();
      for (const adapter of data.adapters) this.adapters.set(adapter.ifindex, adapter);
      for (const { ifindex, address } of data.addresses) this.addresses.add(`${ifindex} ${address}`);
    } else if (type === 'adapter.appeared') {
      if (this.adapters.has(data.ifindex)) throw new Error(`adapter ${data.ifindex} appeared twice`);
      this.adapters.set(data.ifindex, data);
    } else if (type === 'adapter.changed') {
      const known = this.adapters.get(data.ifindex);
      if (known === undefined) throw new Error(`adapter ${data.ifindex} changed and is not known`);
      this.adapters.set(data.ifindex, { ...known, ...data.changed });
    } else if (type === 'adapter.gone') {
      if (!this.adapters.delete(data.ifindex)) throw new Error(`adapter ${data.ifindex} went and was not known`);
    } else if (type === 'address.added') this.addresses.add(`${data.ifindex} ${data.address}`);
    else if (type === 'address.removed') this.addresses.delete(`${data.ifindex} ${data.address}`);
  }
}

const pause = promisify(setTimeout);
const batch = (name: string, commands: readonly string[]): string => {
  const file = `${process.env['NETKVM_SCRATCH'] ?? '.'}/${name}.txt`;
  writeFileSync(file, `${commands.join('\n')}\n`);
  return file;
};
const flaps = (count: number): string[] => Array.from({ length: count }, () => ['link set v0 down', 'link set v0 up']).flat();

type Change = (platform: LinuxPlatform) => Promise<void> | void;

/** Watches while `change` runs and until it has been quiet for a while. */
const watch = async (options: LinuxOptions, change: Change): Promise<object> => {
  const platform = new LinuxPlatform(options);
  const belief = new Belief();
  platform.sightings.subscribe((sighting) => belief.take(sighting));
  const until_ms = performance.now() + LIMIT_MS;
  while (belief.first === undefined && performance.now() < until_ms) await pause(5);
  await change(platform);
  while (performance.now() - belief.last_ms < QUIET_MS && performance.now() < until_ms) await pause(20);
  await pause(QUIET_MS);
  const { first, counts } = belief;
  const { tentative, ...said } = truth();
  await pause(50);
  const told = believed(belief);
  // A survey may have listed an address that is still tentative.
  const addresses = told.addresses.filter((address) => !tentative.includes(address));
  const result = { first, counts, told: { ...told, addresses }, truth: said };
  await platform.close();
  return result;
};

const DAD = '/proc/sys/net/ipv6/conf/default/accept_dad';
const veths = (): void => {
  // Without duplicate address detection nothing is left to happen a second after the last change.
  if (existsSync(DAD)) writeFileSync(DAD, '0');
  ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
  ip('link', 'set', 'v1', 'up');
};

const scenarios: Record<string, () => Promise<object>> = {
  life: () => {
    ip('link', 'set', 'lo', 'up');
    return watch({}, async () => {
      veths();
      ip('link', 'set', 'v0', 'address', '52:54:00:11:22:33');
      ip('link', 'set', 'v0', 'mtu', '1400');
      ip('link', 'set', 'v0', 'name', 'renamed');
      ip('link', 'set', 'renamed', 'up');
      ip('addr', 'add', '10.77.0.2/24', 'dev', 'renamed');
      ip('addr', 'add', 'fd00:77::2/64', 'dev', 'renamed', 'nodad');
      ip('addr', 'add', '10.77.0.9/24', 'dev', 'v1');
      ip('addr', 'del', '10.77.0.9/24', 'dev', 'v1');
      ip('link', 'add', 'short', 'type', 'veth', 'peer', 'name', 'lived');
      await pause(50);
      ip('link', 'del', 'short');
    });
  },
  master: () =>
    watch({}, () => {
      veths();
      ip('link', 'add', 'br0', 'type', 'bridge');
      ip('link', 'set', 'v0', 'master', 'br0');
      ip('link', 'set', 'v1', 'master', 'br0');
      // Leaving a bridge sends a DELLINK of the family AF_BRIDGE, which deletes nothing.
      ip('link', 'set', 'v1', 'nomaster');
      ip('link', 'set', 'br0', 'up');
    }),
  bond: () =>
    watch({}, async () => {
      ip('link', 'add', 'bond0', 'type', 'bond', 'mode', 'active-backup', 'miimon', '20');
      for (const name of ['s', 'p']) {
        ip('link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-peer`);
        ip('link', 'set', `${name}-peer`, 'up');
        ip('link', 'set', name, 'master', 'bond0');
      }
      ip('link', 'set', 'bond0', 'up');
      await pause(200);
      ip('link', 'set', 'bond0', 'type', 'bond', 'active_slave', 'p');
    }),
  survey: () => {
    veths();
    return watch({ surveyInterval_ms: 50 }, async (platform) => {
      ip('link', 'set', 'v0', 'up');
      platform.survey('asked');
      await pause(400);
    });
  },
  flaps: () => {
    veths();
    return watch({}, async () => {
      await promisify(execFile)('ip', ['-batch', batch('flaps', flaps(10_000))]);
      ip('link', 'set', 'v0', 'mtu', '1300');
    });
  },
  overrun: () => {
    veths();
    return watch({ receiveBuffer_bytes: 4096 }, () => {
      // Synchronous: this process does not read while the kernel sends.
      ip('-batch', batch('overrun', [...flaps(500), 'link add late type veth peer name later', 'link set v0 mtu 1300']));
    });
  },
  raw: async () => {
    veths();
    const stream = new PassThrough();
    const writer = new CaptureWriter(stream);
    const result = await watch({ surveyInterval_ms: 100 }, async (platform) => {
      platform.datagrams.subscribe((message) => writer.write(message));
      platform.survey('recording');
      ip('link', 'set', 'v0', 'up');
      await pause(300);
      ip('link', 'del', 'v0');
    });
    const observer = new Observer();
    const replayed = { adapters: new Map<number, Adapter>(), addresses: new Set<string>() };
    await Promise.all([
      writer.close(),
      (async () => {
        for await (const entry of readCapture(stream)) observeEntry(observer, entry);
      })(),
    ]);
    for (const adapter of observer.known().adapters) replayed.adapters.set(adapter.ifindex, adapter);
    for (const { ifindex, address } of observer.known().addresses) replayed.addresses.add(`${ifindex} ${address}`);
    return { ...result, replayed: believed(replayed), lines: writer.lines };
  },
  unprivileged: () => {
    veths();
    process.setgroups?.([]);
    process.setgid?.(65_534);
    process.setuid?.(65_534);
    return watch({}, () => undefined);
  },
  exit: async () => {
    new LinuxPlatform().sightings.subscribe();
    await pause(100);
    return {};
  },
};

const run = scenarios[process.argv[2] ?? ''];
if (run === undefined) throw new Error('no such scenario');
const result = await run();
process.stdout.write(`${JSON.stringify({ ...result, ended_ms: Date.now() })}\n`);
// A platform that is still open must not hold back a process that wants to leave.
if (process.argv[2] === 'exit') process.exit(0);
