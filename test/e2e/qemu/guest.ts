// The guest from the inside: its addresses, the service in it, the log that is pulled out, and the judgement: what the log
// folds to must be what the guest's own `ip` and sysfs say, and the product's own commands must find the log sound.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openReader } from '../../../src/adapters/log/sqlite.ts';
import { Story } from '../../../src/machines/story.ts';
import { inProcess, SOUND, verdictOn } from '../../unit/service.given.ts';
import { believedAdapters, type Row, saidByIp } from '../truth.ts';
import { PRODUCT, run } from './image.ts';
import { type Lab, MAC, PCI_OF } from './lab.ts';
import { type Card, GUEST, HOST } from './network.ts';
import { until } from './vm.ts';

/** A service that watches the kernel's failover, and one that takes the standby into a bond. */
export const CONFIGURATION = {
  kernel: '[policy]\neffects = "off"',
  bond: `[policy]\neffects = "on"\n\n[[pairs]]\nmac = "${MAC}"\nmode = "bond"\nprobe = ["${HOST.v4}"]`,
} as const;

const STATE = '/var/netkvm';
const CONFIG = '/var/config.toml';
const OUTPUT = '/run/netkvm.jsonl';
const STDERR = '/run/netkvm.stderr';
const IP = '/sbin/ip';
/** The guest has one slow CPU, and whoever asks takes of it. */
const ASK_MS = 300;
/** A process that was killed in the middle of a line is not to spoil the next one's first. */
const START =
  `echo >>${OUTPUT}; : >>${STDERR}; (NODE_NO_WARNINGS=1 node ${PRODUCT}/src/host/netkvm.mjs run --config ${CONFIG} --state-dir ${STATE} --json ` +
  `>>${OUTPUT} 2>>${STDERR} </dev/null &)`;

export type Line = { readonly event: string; readonly [field: string]: unknown };
const parsed = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line);

/** What the guest says about a network device beside `ip`: its driver and PCI address, where it has them. */
const SYSFS = `for device in /sys/class/net/*/device; do
  echo "$(cat \${device%/device}/ifindex) $(basename "$(readlink -f $device/driver)") $(readlink -f $device)"
done`;
const PCI = /([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])(?:\/virtio[0-9]+)?$/;

/** Where a pair transmits, from the kernel's facts alone: README of the kernel's net_failover and bonding. */
const datapathOf = (rows: readonly Row[], virtio: ReadonlySet<number>): string => {
  const carries = (row: Row | undefined): boolean => row !== undefined && row.up && row.carrier === true;
  const members = rows.filter(({ mac, master }) => mac === MAC && master !== null);
  const master = rows.find(({ ifindex }) => ifindex === members[0]?.master);
  if (master === undefined) return carries(rows.find(({ ifindex }) => virtio.has(ifindex))) ? 'standby' : 'none';
  if (!master.up) return 'none';
  const standby = members.find(({ ifindex }) => virtio.has(ifindex));
  const primary = members.find(({ ifindex }) => !virtio.has(ifindex));
  if (master.kind === 'bond') {
    const active = members.find(({ ifindex }) => ifindex === master.activeSlave);
    return !carries(active) ? 'none' : active === standby ? 'standby' : 'primary';
  }
  return carries(primary) ? 'primary' : carries(standby) ? 'standby' : 'none';
};

export interface Place {
  readonly stage: string;
  readonly datapath: string;
}

export class Guest {
  readonly lab: Lab;
  #pulled = 0;
  /** Lines that were there when the service was last told to begin. */
  #served = 0;

  constructor(lab: Lab) {
    this.lab = lab;
  }

  sh(command: string): Promise<string> {
    return this.lab.vm.guest(command);
  }

  /** Gives the guest its addresses: on the master where the kernel made one, else on the standby. */
  async address(): Promise<void> {
    await until('a network card', () => this.sh(`${IP} -j link show | grep -c ${MAC}`).catch(() => null));
    const { adapters } = await this.#said();
    const ours = adapters.filter(({ mac }) => mac === MAC);
    const virtio = new Set(
      [...(await this.#drivers())].flatMap(([ifindex, { driver }]) => (driver === 'virtio_net' ? ifindex : [])),
    );
    const master = ours.find(({ ifindex }) => ours.some((other) => other.master === ifindex));
    const name = (master ?? ours.find(({ ifindex }) => virtio.has(ifindex)))?.name;
    if (name === undefined) throw new Error(`no standby: ${JSON.stringify(ours)}`);
    const commands = [
      `link set ${name} up`,
      `addr add ${GUEST.v4}/24 dev ${name}`,
      `addr add ${GUEST.v6}/64 dev ${name} nodad`,
      `route add default via ${HOST.v4} dev ${name}`,
    ];
    await this.sh(commands.map((command) => `${IP} ${command}`).join(' && '));
  }

  /** Starts the service with this configuration; resolves when it watches. */
  async serve(configuration: string): Promise<void> {
    this.#served = (await this.lines()).length;
    await this.sh(`cat >${CONFIG} <<'END'\n${configuration}\nEND\n${START}`);
    await this.#watching();
  }

  async #watching(): Promise<void> {
    const watches = async (): Promise<boolean> => {
      const stderr = await this.sh(`cat ${STDERR}`);
      if (stderr !== '') throw new Error(`the service in the guest: ${stderr}`);
      return (await this.#recent()).some(({ event }) => event === 'watching');
    };
    await until('the service watches', watches, { every_ms: ASK_MS });
  }

  /** `kill -9`, and at once a new start. */
  async strike(): Promise<void> {
    await this.sh(`kill -9 $(pidof node); ${START}`);
  }

  /** The same as soon as the service has said that it decided something; without that after some seconds. */
  async strikeInEffect(): Promise<void> {
    const decided = `grep -c '"event":"decision"' ${OUTPUT}`;
    await this.sh(`said=$(${decided}); for i in $(seq 150); do
      [ "$(${decided})" != "$said" ] && break; usleep 10000
    done; kill -9 $(pidof node); ${START}`);
  }

  /** What the service has written since it was last told to begin. */
  async #recent(): Promise<Line[]> {
    return (await this.lines()).slice(this.#served);
  }

  /** Every line that the service has written, over all its lives. */
  async lines(): Promise<Line[]> {
    return parsed(await this.sh(`cat ${OUTPUT} 2>/dev/null || true`));
  }

  /** The transitions of the pair so far. */
  async places(): Promise<Place[]> {
    return (await this.lines()).filter(({ event, mac }) => event === 'transition' && mac === MAC) as unknown as Place[];
  }

  /** Waits until the service has taken the standby into its bond. */
  async takenOver(): Promise<void> {
    const taken = async (): Promise<boolean> => {
      const lines = await this.#recent();
      const decided = lines.findLast(({ event, kind }) => event === 'decision' && kind === 'takeOver');
      return lines.some(
        ({ event, decision, result }) => event === 'outcome' && decision === decided?.['id'] && result === 'succeeded',
      );
    };
    await until('the standby is taken over', taken, { every_ms: ASK_MS });
  }

  /** Waits until the pair is there: by the service's own lines, now and then by its log (a killed one owes a line). */
  async rests(stage: string, datapath: string): Promise<void> {
    let round = 0;
    let last = 'nothing';
    const is = (place: Place | undefined): boolean => {
      if (place !== undefined) last = `${place.stage} ${place.datapath}`;
      return place?.stage === stage && place.datapath === datapath;
    };
    const there = async (): Promise<boolean> =>
      is((await this.places()).at(-1)) || ((round += 1) % 10 === 0 && is((await this.folded())?.pairs.get(MAC)?.shown));
    await until(`${stage} ${datapath}`, there, { every_ms: ASK_MS }).catch(async (cause: unknown) => {
      const story = await this.folded().catch(String);
      const said = await this.sh(`${IP} -br link; tail -n 15 ${OUTPUT}; dmesg | tail -n 15`);
      throw new Error(`${stage} ${datapath} was not reached, but ${last}\n${said}\n${typeof story}`, { cause });
    });
  }

  /** Waits until the log knows an adapter with this MAC at this place. */
  async appears(mac: string, card: Card): Promise<void> {
    await until(`the service sees the ${card}`, async () =>
      [...((await this.folded())?.adapters.values() ?? [])].some(({ facts }) => facts.mac === mac && facts.pci === PCI_OF[card]),
    );
  }

  /** The log as it is in this instant, out of the guest: the folder that it was written into. */
  async pull(): Promise<string> {
    // A process that is stopped leaves the files as a power cut would; SQLite reads that.
    const bytes = await this.lab.vm.guestBytes(
      `cd ${STATE} && killall -STOP node 2>/dev/null; tar c netkvm.db* 2>/dev/null; status=$?; killall -CONT node 2>/dev/null; exit $status`,
    );
    const folder = join(this.lab.folder, `log-${(this.#pulled += 1)}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'log.tar'), bytes);
    await run('tar', 'xf', join(folder, 'log.tar'), '-C', folder);
    return folder;
  }

  /** What the log folds to now; null when it cannot be read in this instant. */
  async folded(): Promise<Story['guest'] | null> {
    try {
      const story = new Story();
      const reader = openReader(await this.pull());
      for (const page of reader.fold(reader.first())) for (const event of page) story.tell(event);
      reader.close();
      return story.guest;
    } catch {
      return null;
    }
  }

  async #said() {
    const both = await this.sh(`${IP} -d -j link; echo; ${IP} -j addr`);
    const [links = '', addresses = ''] = both.split('\n').filter((line) => line.startsWith('['));
    return saidByIp(links, addresses);
  }

  async #drivers(): Promise<Map<number, { driver: string; pci: string | null }>> {
    const rows = (await this.sh(SYSFS)).trim().split('\n');
    return new Map(
      rows.map((row) => {
        const [ifindex = '', driver = '', path = ''] = row.split(' ');
        return [Number(ifindex), { driver, pci: PCI.exec(path)?.[1] ?? null }];
      }),
    );
  }

  /** Adapters with driver and PCI address, and the pair's datapath, as the kernel has them. */
  async #truth() {
    const [{ adapters }, drivers] = [await this.#said(), await this.#drivers()];
    const virtio = new Set<number>();
    for (const [ifindex, { driver }] of drivers) if (driver === 'virtio_net') virtio.add(ifindex);
    // The master of a kernel pair shows its standby's device as its own.
    for (const { master } of adapters) if (master !== null) virtio.delete(master);
    const rows = adapters.map((row) => {
      const { driver = null, pci = null } = drivers.get(row.ifindex) ?? {};
      return { ...row, driver, pci };
    });
    return { adapters: rows, datapath: datapathOf(adapters, virtio) };
  }

  async #belief() {
    const guest = await this.folded();
    if (guest === null) return null;
    const facts = [...guest.adapters.values()].map((adapter) => adapter.facts);
    const more = new Map(facts.map(({ ifindex, driver, pci }) => [ifindex, { driver, pci }]));
    const adapters = believedAdapters(facts).map((row) => ({ ...row, ...more.get(row.ifindex) }));
    return { adapters, datapath: guest.pairs.get(MAC)?.shown.datapath };
  }

  /** What the fold believes beside what the guest says, when both have come to agree, or after a minute. */
  async compared(): Promise<{ readonly truth: unknown; readonly belief: unknown }> {
    let both: { truth: unknown; belief: unknown } = { truth: null, belief: null };
    // The kernel may be a message ahead of the fold, and a service that was killed is only starting.
    const equal = async (): Promise<boolean> => {
      both = { truth: await this.#truth(), belief: await this.#belief() };
      return JSON.stringify(both.truth) === JSON.stringify(both.belief);
    };
    await until('the fold equals the guest', equal, { every_ms: 500 }).catch(() => {});
    return both;
  }

  /** A ping from the host, IPv4 and IPv6. */
  async reaches(): Promise<void> {
    for (const address of [GUEST.v4, GUEST.v6])
      await until(`${address} answers`, () =>
        this.lab.network.run('busybox', 'ping', '-c1', '-W1', address).then(Boolean, () => false),
      );
  }

  /** The service reads its configuration anew. */
  async reload(): Promise<void> {
    await this.sh('kill -HUP $(pidof node)');
  }

  /** One command of the product in the guest, to its end. */
  netkvm(...words: readonly string[]): Promise<string> {
    return this.sh(
      `NODE_NO_WARNINGS=1 node ${PRODUCT}/src/host/netkvm.mjs ${words.join(' ')} --config ${CONFIG} --state-dir ${STATE}`,
    );
  }

  /** Ends the service as its manager would. */
  async stop(): Promise<void> {
    await this.sh('kill $(pidof node)');
    await until(
      'the service ends',
      () =>
        this.sh('! pidof node').then(
          () => true,
          () => null,
        ),
      { every_ms: ASK_MS },
    );
  }

  /** The addresses of the pair that the guest has, each as often as it has it, and how many bonds there are. */
  async effects(): Promise<{ readonly addresses: readonly string[]; readonly bonds: number }> {
    const addresses = (await this.sh(`${IP} -o addr show scope global`)).split('\n').filter((line) => line.includes('inet'));
    const bonds = (await this.sh(`${IP} -br link show type bond`)).split('\n').filter((line) => line !== '');
    return { addresses: addresses.map((line) => line.split(/\s+/)[3] ?? ''), bonds: bonds.length };
  }

  /** Ends the service, pulls the log out, and lets the product’s own commands judge it; `IS_SOUND` is what to expect. */
  async ended(): Promise<object> {
    await this.stop();
    const stderr = await this.sh(`cat ${STDERR}`);
    const folder = await this.pull();
    const recording = join(folder, 'recording.jsonl');
    const verify = await inProcess('log', 'verify', '--state-dir', folder);
    const exported = await inProcess('log', 'export', '--state-dir', folder, '-o', recording);
    const replay = await inProcess('replay', recording, '--json');
    const { divergence = 'no report' } = JSON.parse(replay.stdout || '{}') as { divergence?: unknown };
    const statuses = [verify, exported, replay].map(({ status }) => status);
    return { stderr, log: verdictOn(folder), statuses, divergence };
  }
}
export const IS_SOUND = { stderr: '', log: SOUND, statuses: [0, 0, 0], divergence: null };
