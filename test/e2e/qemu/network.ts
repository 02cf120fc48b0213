// The host's side of the guests' network: a namespace with a learning bridge and a tap for every network card that a guest
// can have. A process holds the namespace, so that nothing is left of it when the test dies, however it dies.
import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { run } from './image.ts';
import { until } from './vm.ts';

/** The host's end; guests are .2 and ::2. */
export const HOST = { v4: '10.77.0.1', v6: 'fd00:77::1' } as const;
export const GUEST = { v4: '10.77.0.2', v6: 'fd00:77::2' } as const;

/** The network cards of a guest. Two guests can exist at a time: the source `a` and the destination `b`. */
export const CARDS = ['standby', 'primary', 'second'] as const;
export type Card = (typeof CARDS)[number];
export type Side = 'a' | 'b';
export const tap = (side: Side, card: Card): string => `${side}-${card}`;

/** Words before a command that is to die with this process. */
export const DIES_WITH_US = ['setpriv', '--pdeathsig', 'KILL', '--'] as const;

const namespaceOf = (pid: number | 'self'): string => {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
};

export class Network {
  /** Words before a command that is to run in the namespace. */
  readonly enter: readonly string[];
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
    this.enter = ['nsenter', '-t', String(holder.pid), '-n', '--'];
  }

  static async make(): Promise<Network> {
    const [program, ...words] = [...DIES_WITH_US, 'unshare', '-n', 'sleep', 'infinity'];
    const holder = spawn(program, words, { stdio: 'ignore' });
    const network = new Network(holder);
    try {
      const ours = namespaceOf('self');
      await until('a network namespace', () => !['', ours].includes(namespaceOf(holder.pid ?? 0)));
      await network.#furnish();
    } catch (error) {
      network.end();
      throw error;
    }
    return network;
  }

  async #furnish(): Promise<void> {
    const lines = [
      'link set lo up',
      'link add br0 type bridge stp_state 0 forward_delay 0',
      'link set br0 up',
      `addr add ${HOST.v4}/24 dev br0`,
      `addr add ${HOST.v6}/64 dev br0 nodad`,
      ...(['a', 'b'] as const).flatMap((side) =>
        CARDS.map((card) => tap(side, card)).flatMap((name) => [
          `tuntap add ${name} mode tap`,
          `link set ${name} addrgenmode none`,
          `link set ${name} master br0 up`,
        ]),
      ),
    ];
    for (const line of lines) await this.run('ip', ...line.split(' '));
  }

  /** The target gets a switch of its own, and a wire between the two: a port's fixed entries are then one host's alone. */
  async part(): Promise<void> {
    const lines = [
      'link add br1 type bridge stp_state 0 forward_delay 0',
      'link set br1 up',
      'link add wire0 type veth peer name wire1',
      'link set wire0 master br0 up',
      'link set wire1 master br1 up',
      ...CARDS.map((card) => `link set ${tap('b', card)} master br1`),
    ];
    for (const line of lines) await this.run('ip', ...line.split(' '));
  }

  /** A command in the namespace, to its end. */
  run(...words: readonly string[]): Promise<string> {
    const [program = '', ...rest] = [...this.enter, ...words];
    return run(program, ...rest);
  }

  /** A command in the namespace that goes on; it dies with this process. */
  start(...words: readonly string[]): ChildProcess {
    const [program, ...rest] = [...DIES_WITH_US, ...this.enter, ...words];
    return spawn(program, rest, { stdio: 'ignore' });
  }

  /** The namespace goes when the last process in it has gone. */
  end(): void {
    this.#holder.kill('SIGKILL');
  }
}
