// What the tests in Wine are written with: a guest whose cards are veths in the prefix's network, and the service in it.
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Command, Nic, Request } from './guest.child.ts';
import { LAB, NETKVM, PROJECT, type Result, Wine, winPath } from './lab.ts';

export const MAC = '52:54:00:00:00:01';
const LIMIT_MS = 30_000;
export const HERE = join(PROJECT, 'test/e2e/wine');
/** Loaded first (node --import), this gives a process what Wine lacks (src/evdouble.c). */
export const EVENTS = `file:///${winPath(join(HERE, 'events.mjs')).replaceAll('\\', '/')}`;
export const CHILD = fileURLToPath(new URL('guest.child.ts', import.meta.url));

export const standby: Nic = {
  alias: 'virtio0',
  id: 'PCI\\VEN_1AF4&DEV_1041',
  instance: '3&13c0b0c5&0&18',
  driver: '0007',
  service: 'netkvm',
  slot: 3,
  kind: 'virtio',
  standby: true,
};
/** A VF at its place; another number is another instance in another place. */
export const vf = (number = 0): Nic => ({
  alias: `vf${number}`,
  id: 'PCI\\VEN_8086&DEV_1889',
  instance: `3&11583659&0&${10 + number}`,
  driver: String(8 + number).padStart(4, '0'),
  service: 'iavf',
  slot: 10 + number,
  kind: 'vf',
  standby: false,
});

interface Report {
  readonly crashes: number;
  readonly announced: number;
  readonly live: number;
  readonly links: readonly { readonly mac: string; readonly on: boolean; readonly found: boolean }[];
}

/** The guest: what is done to it, and what is the case in it. */
export class Guest {
  readonly wine: Wine;
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string) => void)[] = [];
  #stderr = '';

  private constructor(wine: Wine) {
    this.wine = wine;
    this.#child = wine.spawnNode(['--import', EVENTS, join(HERE, 'guest.child.ts')]);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#waiting.shift()?.(line));
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()));
    this.#child.once('close', () => {
      for (const answer of this.#waiting.splice(0))
        answer(JSON.stringify({ ok: false, text: `the guest has ended: ${this.#stderr}` }));
    });
  }

  static async start(): Promise<Guest> {
    const wine = await Wine.start();
    await wine.run('regsvr32', ['/s', 'C:\\windows\\system32\\netcfgdouble.dll']);
    // An interface that an earlier run has left in the registry cannot be registered again.
    await wine.run('reg', [
      'delete',
      'HKLM\\SYSTEM\\CurrentControlSet\\Control\\DeviceClasses\\{cac88484-7515-4c03-82e6-71a87abac361}',
      '/f',
    ]);
    await wine.startDriver('netkvmd');
    await wine.startDriver('labpnp');
    return new Guest(wine);
  }

  stop(): void {
    this.#child.kill('SIGKILL');
    this.wine.stop();
  }

  async ask(request: Request): Promise<unknown> {
    const line = await new Promise<string>((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    });
    const reply = JSON.parse(line) as { ok: true; value: unknown } | { ok: false; text: string };
    if (!reply.ok) throw new Error(`${request.op}: ${reply.text}`);
    return reply.value;
  }

  command(command: Command): Promise<unknown> {
    return this.ask({ op: 'command', command });
  }
  async report(): Promise<Report> {
    return (await this.ask({ op: 'report' })) as Report;
  }
  async bindings(nic: Nic): Promise<Record<string, boolean>> {
    return ((await this.ask({ op: 'bindings', nic })) as { protocols: Record<string, boolean> }).protocols;
  }
  async changes(nic: Nic): Promise<Record<string, number>> {
    return ((await this.ask({ op: 'bindings', nic })) as { changes: Record<string, number> }).changes;
  }
  script(values: Readonly<Record<string, string | number | null>>): Promise<unknown> {
    return this.ask({ op: 'script', values });
  }
  async restarts(): Promise<number> {
    return (await this.ask({ op: 'restarts' })) as number;
  }
  async stored(nic: Nic, name: string): Promise<string | null> {
    return (await this.ask({ op: 'stored', nic, name })) as string | null;
  }
  setProtocol(installed: boolean): Promise<unknown> {
    return this.ask({ op: 'protocol', installed });
  }

  /** No cards, no bindings, nothing scripted. */
  async reset(): Promise<void> {
    for (const nic of [vf(0), vf(1), standby]) {
      await this.ask({ op: 'leave', nic }).catch(() => {});
      this.#unwire(nic);
    }
    await this.ask({ op: 'reset' });
  }

  #wire({ alias }: Nic, mac: string, mtu: number): void {
    this.wine.ip('link', 'add', alias, 'address', mac, 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', `${alias}p`);
    for (const name of [alias, `${alias}p`]) this.wine.ip('link', 'set', name, 'up');
  }
  #unwire({ alias }: Nic): void {
    try {
      this.wine.ip('link', 'del', alias);
    } catch {
      // It was not there.
    }
  }

  async plug(nic: Nic, { mac = MAC, mtu = 1500 }: { mac?: string; mtu?: number } = {}): Promise<void> {
    this.#wire(nic, mac, mtu);
    await this.ask({ op: 'arrive', nic });
  }
  /** As many pairs as are asked for, present when the service starts. The first is the one that effects may touch. */
  async crowd(count: number): Promise<{ readonly standby: Nic; readonly primary: Nic }[]> {
    const pairs = Array.from({ length: count }, (_, at) => {
      const place = { slot: at % 32, driver: String(1000 + at) };
      return {
        mac: at === 0 ? MAC : `52:54:02:00:00:${at.toString(16).padStart(2, '0')}`,
        standby: { ...standby, ...place, alias: `s${at}`, instance: `3&13c0b0c5&0&${100 + at}` },
        primary: { ...vf(), ...place, alias: `p${at}`, instance: `3&11583659&0&${100 + at}`, driver: String(2000 + at) },
      };
    });
    const lines = pairs.flatMap(({ mac, standby: one, primary }) =>
      [one, primary].flatMap(({ alias }) => [
        `link add ${alias} address ${mac} type veth peer name ${alias}p`,
        `link set ${alias} up`,
        `link set ${alias}p up`,
      ]),
    );
    const batch = join(LAB, 'crowd.txt');
    writeFileSync(batch, `${lines.join('\n')}\n`);
    this.wine.ip('-batch', batch);
    await this.ask({ op: 'present', nics: pairs.flatMap(({ standby: one, primary }) => [one, primary]) });
    return pairs;
  }
  async unplug(nic: Nic): Promise<void> {
    await this.ask({ op: 'leave', nic });
    this.#unwire(nic);
  }
  /** The cable of a VF: the carrier of its interface, and what NDIS tells the driver of it. */
  async cable(nic: Nic, on: boolean): Promise<void> {
    this.wine.ip('link', 'set', `${nic.alias}p`, on ? 'up' : 'down');
    await this.command({ op: 'oper', index: this.ifindex(nic), a: on ? 1 : 0 });
  }
  ifindex({ alias }: Nic): number {
    return Number(this.wine.read(`/sys/class/net/${alias}/ifindex`));
  }
}

type Line = Readonly<Record<string, unknown>> & { readonly event: string };

interface Options {
  /** Lines of the configuration’s [service], [policy], and of its pair. */
  readonly settings?: string;
  readonly policy?: string;
  readonly pair?: string;
  readonly dir?: string;
  readonly storm?: number;
  /** By the Node that has doubles of system libraries beside it: devices can be restarted. */
  readonly doubles?: boolean;
}

/** `netkvm run` in the guest, with effects on for the pair. */
export class Service {
  readonly lines: Line[] = [];
  readonly dir: string;
  readonly #guest: Guest;
  readonly #child: ChildProcess;
  readonly #config: string;
  readonly #pipe: string;
  readonly ended: Promise<number>;
  stderr = '';
  #wake: () => void = () => {};

  constructor(guest: Guest, { settings = '', policy = '', pair = '', dir, storm, doubles = false }: Options = {}) {
    this.#guest = guest;
    mkdirSync(join(LAB, 'state'), { recursive: true });
    this.dir = dir ?? mkdtempSync(join(LAB, 'state/run-'));
    this.#config = join(this.dir, 'config.toml');
    this.#pipe = `\\\\.\\pipe\\netkvm-test-${basename(this.dir)}`;
    writeFileSync(
      this.#config,
      `[service]\ncontrolSocket = '${this.#pipe}'\n${settings}\n[policy]\neffects = "on"\n${policy}\n[[pairs]]\nmac = "${MAC}"\n${pair}\n`,
    );
    const words = ['run', '--json', '--config', this.#config, '--state-dir', this.dir];
    const env = storm === undefined ? {} : { EVDOUBLE_STORM: String(storm) };
    const start = ['--import', EVENTS, NETKVM];
    const command = [...start, ...words];
    this.#child = doubles ? guest.wine.spawnNodeWithDoubles(command, { env }) : guest.wine.spawnNode(command, { env });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      if (line.startsWith('{')) this.lines.push(JSON.parse(line) as Line);
      this.#wake();
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = new Promise((resolve) => this.#child.once('close', (code) => resolve(code ?? 255)));
  }

  /** The first line that fits, from line `from` on. */
  async line(fits: (line: Line) => boolean, from = 0, limit_ms = LIMIT_MS): Promise<Line> {
    const until = performance.now() + limit_ms;
    for (;;) {
      const found = this.lines.slice(from).find(fits);
      if (found !== undefined) return found;
      const left = until - performance.now();
      if (left <= 0) throw new Error(`not seen in ${limit_ms} ms; the last lines:\n${this.tail()}\n${this.stderr}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 500));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
  tail(): string {
    return this.lines
      .slice(-40)
      .map(({ time, msg }) => `${String(time).slice(11, 23)} ${String(msg)}`)
      .join('\n');
  }
  /** Waits until the pair is in this stage and on this path, and every decision has its outcome. */
  async is(stage: string, datapath: string, from = 0): Promise<void> {
    await this.line((line) => line.event === 'transition' && line['stage'] === stage && line['datapath'] === datapath, from);
    await this.line(() => this.#open.length === 0);
  }
  /** Waits until these kinds of decision have been carried out, one after the other. */
  async did(...kinds: readonly string[]): Promise<void> {
    await this.line(() => {
      const rest = [...kinds];
      for (const kind of this.acts) if (kind === rest[0]) rest.shift();
      return rest.length === 0;
    });
  }
  get #open(): Line[] {
    const concluded = new Set(this.lines.filter(({ event }) => event === 'outcome').map((line) => line['decision']));
    return this.lines.filter(({ event, id }) => event === 'decision' && !concluded.has(id));
  }
  /** Codes of what is the matter now. */
  async findings(): Promise<string[]> {
    const { stdout } = await this.netkvm('status', '--json');
    return (JSON.parse(stdout) as { findings: { code: string }[] }).findings.map(({ code }) => code);
  }
  /** Kinds of the decisions that were carried out, in their order. */
  get acts(): string[] {
    const done = new Set(
      this.lines.filter(({ event, result }) => event === 'outcome' && result === 'succeeded').map((line) => line['decision']),
    );
    return this.lines.filter(({ event, id }) => event === 'decision' && done.has(id)).map((line) => String(line['kind']));
  }

  netkvm(...words: string[]): Promise<Result> {
    return this.#guest.wine.netkvm([...words, '--config', this.#config, '--state-dir', this.dir]);
  }
  /** As the service manager ends it: Windows has no signals. */
  async stop(): Promise<number> {
    const code = `require('node:net').connect(${JSON.stringify(this.#pipe)}).end('{"id":1,"request":"stop"}\\n').resume()`;
    await this.#guest.wine.node(['-e', code]);
    return this.ended;
  }
  /** Without any warning. */
  kill(): Promise<number> {
    this.#child.kill('SIGKILL');
    return this.ended;
  }
  forget(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
