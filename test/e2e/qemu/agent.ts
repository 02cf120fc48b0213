// `netkvm host` beside one QEMU of the lab: a real process in the lab's network, with its own log. A bridge port stands in for
// the VF: a fixed entry in the switch's table is what a VF's MAC is in an embedded switch, whether or not a guest is there.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openReader } from '../../../src/adapters/log/sqlite.ts';
import type { RecordedEvent } from '../../../src/events/envelope.ts';
import { request } from '../../../src/host/control-client.ts';
import type { HostedDocument } from '../../../src/host/hosting.ts';
import { Story } from '../../../src/machines/story.ts';
import { parkingOf } from '../../../src/machines/parking.ts';
import { type Lab, MAC } from './lab.ts';
import { DIES_WITH_US, type Side, tap } from './network.ts';
import { until, type Vm } from './vm.ts';

const NETKVM = fileURLToPath(new URL('../../../src/host/netkvm.mjs', import.meta.url));
export const PARKED = parkingOf(MAC);
const BRIDGE: Readonly<Record<Side, string>> = { a: 'br0', b: 'br1' };

/** A command of the product in the lab's network. */
export class Command {
  output = '';
  readonly ended: Promise<{ readonly status: number | null; readonly output: string }>;
  readonly #child: ChildProcess;

  constructor(lab: Lab, ...words: readonly string[]) {
    const [program, ...rest] = [...DIES_WITH_US, ...lab.network.enter, process.execPath, NETKVM, ...words];
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.ended = once(child, 'close').then(() => ({ status: child.exitCode, output: this.output }));
  }

  /** When it has said this. */
  async says(text: string): Promise<void> {
    await until(`the command says ${text}, but: ${this.output}`, () => this.output.includes(text));
  }
  /** Ctrl-C. */
  interrupt(): void {
    this.#child.kill('SIGINT');
  }
}

export interface AgentOptions {
  /** More keys of the guest, and the policy. */
  readonly more?: string;
  readonly policy?: string;
  /** Whether it plugs the primary. */
  readonly plugs?: boolean;
}

export class Agent {
  readonly side: Side;
  readonly vm: Vm;
  readonly stateDir: string;
  readonly socket: string;
  readonly #lab: Lab;
  readonly #config: string;
  readonly #output: string;
  #process: ChildProcess | null = null;

  constructor(lab: Lab, side: Side, vm: Vm, { more = '', policy = 'effects = "on"', plugs = true }: AgentOptions = {}) {
    this.side = side;
    this.vm = vm;
    this.#lab = lab;
    this.stateDir = join(lab.folder, `agent-${vm.name}`);
    this.socket = join(this.stateDir, 'control.sock');
    this.#config = `${this.stateDir}.toml`;
    this.#output = `${this.stateDir}.jsonl`;
    const keys = {
      mac: MAC,
      qmp: lab.socket(vm.name, 'agent'),
      channel: lab.socket(vm.name, 'channel'),
      standby: 'standby',
      primary: 'primary',
      port: tap(side, 'primary'),
      tap: tap(side, 'standby'),
      bridge: BRIDGE[side],
      ...(plugs ? { plug: JSON.stringify(lab.card('primary')) } : {}),
    };
    const lines = Object.entries(keys).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    writeFileSync(this.#config, `[policy]\n${policy}\n[[vms]]\n${lines.join('\n')}\n${more}\n`);
  }

  /** The switch as it is when the guest runs here: the VF has the pair's MAC. */
  async giveMac(mac: string = MAC): Promise<void> {
    await this.#lab.network.run('bridge', 'fdb', 'replace', mac, 'dev', tap(this.side, 'primary'), 'master', 'static', 'sticky');
  }

  async start(): Promise<this> {
    const words = ['host', '--config', this.#config, '--state-dir', this.stateDir, '--json'];
    const [program, ...rest] = [...DIES_WITH_US, ...this.#lab.network.enter, process.execPath, NETKVM, ...words];
    this.#process = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = createWriteStream(this.#output, { flags: 'a' });
    this.#process.stdout?.pipe(output, { end: false });
    this.#process.stderr?.pipe(output, { end: false });
    await until(`the agent ${this.vm.name} answers`, () => {
      if (this.#process?.exitCode !== null) throw new Error(`the agent has ended:\n${this.said}`);
      return this.hosted().then(
        ({ monitor }) => monitor !== null,
        () => null,
      );
    });
    return this;
  }

  get said(): string {
    return readFileSync(this.#output, 'utf8');
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'close');
  }

  /** `kill -9`, and at once a new start. */
  async strike(): Promise<void> {
    await this.kill();
    await this.start();
  }
  /** The same as soon as it has said that it has decided this. */
  async strikeAt(kind: string): Promise<void> {
    await new Promise<void>((resolve) => {
      let torn = '';
      this.#process?.stdout?.on('data', (text) => {
        torn += String(text);
        if (!torn.includes(`"kind":"${kind}"`)) return;
        this.#process?.kill('SIGKILL');
        resolve();
      });
    });
    await this.kill();
    await this.start();
  }

  async hosted(): Promise<HostedDocument> {
    const { pairs } = await request(this.socket, 'hosted');
    const [pair] = pairs as HostedDocument[];
    if (pair === undefined) throw new Error('the agent has no pair');
    return pair;
  }

  order(order: string, more: object = {}): Promise<unknown> {
    return request(this.socket, 'order', { order, pair: MAC, by: 'test', ...more });
  }

  /** Waits until its pair is so. */
  async is(what: string, fits: (pair: HostedDocument) => boolean, limit_ms = 60_000): Promise<HostedDocument> {
    let last: unknown = null;
    const there = async (): Promise<HostedDocument | null> => {
      const pair = await this.hosted();
      last = pair;
      return fits(pair) ? pair : null;
    };
    return until(`${this.vm.name}: ${what}`, there, { limit_ms }).catch((cause: unknown) => {
      throw new Error(`${this.vm.name}: ${what}, but ${JSON.stringify(last)}\n${this.said.slice(-3000)}`, { cause });
    });
  }
  stage(...stages: readonly string[]): Promise<HostedDocument> {
    return this.is(stages.join(' or '), ({ stage, pending }) => stages.includes(stage) && pending === null);
  }

  /** Everything that its log has, and the fold of it. */
  log(): { readonly events: readonly RecordedEvent[]; readonly story: Story } {
    const story = new Story();
    const reader = openReader(this.stateDir);
    const events = [...reader.read(reader.first())];
    for (const event of events) story.tell(event);
    reader.close();
    return { events, story };
  }

  /** Fixed entries for the pair's two MACs in the switch: who gets what. */
  async entries(): Promise<Record<string, string>> {
    const text = await this.#lab.network.run('bridge', 'fdb', 'show', 'br', BRIDGE[this.side]);
    const found = text.split('\n').flatMap((line) => {
      const [, mac = '', port = ''] = /^(\S+) dev (\S+) .*master.* static/.exec(line) ?? [];
      return mac === MAC || mac === PARKED ? [[mac === MAC ? 'pair' : 'parked', port] as const] : [];
    });
    return Object.fromEntries(found);
  }
}
