// One QEMU: started, driven and ended by this process. It knows nothing of what it boots but one thing: a guest that runs
// `take-commands` answers `guest(…)`. The rest is what QEMU says on its monitor.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { filter, firstValueFrom, timeout } from 'rxjs';
import { Monitor, type QmpEvent } from '../../../src/adapters/qemu/monitor.ts';

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is neither false nor nothing. Emulated guests on a busy machine are slow: limits are generous. */
export const until = async <T>(
  what: string,
  ask: () => T | Promise<T>,
  { limit_ms = 60_000, every_ms = 20 } = {},
): Promise<NonNullable<T>> => {
  for (const end = performance.now() + limit_ms; ; await pause(every_ms)) {
    const answer = await ask();
    if (answer !== false && answer !== null && answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`not in ${limit_ms} ms: ${what}`);
  }
};

export type Accelerator = 'kvm' | 'tcg,thread=multi';

export interface VmOptions {
  /** Sockets and the console's text go into `folder` under this name. */
  readonly name: string;
  readonly folder: string;
  /** Words before `qemu-system-x86_64`. */
  readonly launcher: readonly string[];
  readonly accelerator: Accelerator;
  /** What to boot: `-kernel …`, or a disk image. */
  readonly boot: readonly string[];
  /** Devices in JSON form: in the other form QEMU keeps the id for itself, and a later `device_add` of it fails. */
  readonly devices: readonly object[];
  /** More arguments: `-netdev`, `-global`. */
  readonly more?: readonly string[];
  readonly memory_MiB?: number;
  /** Waits for a migration to `socket(name, 'migration')` instead of booting. */
  readonly incoming?: boolean;
}

/** Words that boot a kernel with an initramfs. */
export const bootKernel = (kernel: string, initrd: string, append = ''): string[] =>
  ['-kernel', kernel, '-initrd', initrd].concat('-append', `console=ttyS0 quiet loglevel=6 panic=-1 ${append}`);

const READY = 0;
const GUEST_LIMIT_MS = 60_000;
const QUIT_LIMIT_MS = 3000;
const MOST_OUTPUT_BYTES = 64 * 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly output: Buffer;
}

export class Vm {
  readonly name: string;
  readonly events: QmpEvent[] = [];
  /** What was said over the monitor, each a line of a capture that `netkvm timeline` reads. */
  readonly said: string[] = [];
  stderr = '';
  readonly #options: VmOptions;
  readonly #process: ChildProcess;
  readonly #gone: Promise<unknown>;
  #monitor: Monitor | null = null;
  #port: Socket | null = null;
  #torn = '';
  #last = READY;
  #queue: Promise<unknown> = Promise.resolve();
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #ready: Promise<void>;

  private constructor(options: VmOptions) {
    this.#options = options;
    this.name = options.name;
    const [program = '', ...words] = [...options.launcher, 'qemu-system-x86_64', ...this.#arguments()];
    this.#process = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr = (this.stderr + text).slice(-4096)));
    this.#gone = once(this.#process, 'close');
    this.#ready = this.#awaitReady();
  }

  #awaitReady(): Promise<void> {
    return new Promise((resolve) => this.#answers.set(READY, () => resolve()));
  }

  /** Starts a QEMU and connects to it; the guest is not ready yet. Errors: with what QEMU wrote to standard error. */
  static async start(options: VmOptions): Promise<Vm> {
    const vm = new Vm(options);
    try {
      await vm.#connect();
    } catch (error) {
      await vm.end();
      throw new Error(`QEMU ${vm.name} does not start: ${vm.stderr.trim()}`, { cause: error });
    }
    return vm;
  }

  #arguments(): string[] {
    const { name, accelerator, boot, devices, more = [], memory_MiB = 768, incoming } = this.#options;
    const socket = (id: string): string[] => ['-chardev', `socket,id=${id},path=${this.#path(id)},server=on,wait=off`];
    const ports = [
      { driver: 'virtio-serial-pci', id: 'serial', addr: '0x3' },
      { driver: 'virtserialport', chardev: 'commands', name: 'commands' },
    ];
    return [
      ['-name', name, '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ['-M', 'q35', '-accel', accelerator, '-cpu', 'max', '-smp', '1', '-m', String(memory_MiB)],
      boot,
      ['-chardev', `file,id=console,path=${this.#path('console')}`, '-serial', 'chardev:console'],
      [...socket('monitor'), '-mon', 'monitor,mode=control', ...socket('commands')],
      more,
      [...ports, ...devices].flatMap((device) => ['-device', JSON.stringify(device)]),
      incoming === true ? ['-incoming', this.migrationUri] : [],
    ].flat();
  }

  async #connect(): Promise<void> {
    const connected = <T>(connect: () => Promise<T>): Promise<NonNullable<T>> =>
      until(`QEMU ${this.name} listens`, () => {
        if (this.ended) throw new Error('it has ended');
        return connect().catch(() => null);
      });
    this.#monitor = await connected(() => Monitor.connect(this.#path('monitor')));
    this.#monitor.events.subscribe((event) => {
      this.events.push(event);
      const us = (event.at_ns ?? 0n) / 1000n;
      const timestamp = { seconds: Number(us / 1_000_000n), microseconds: Number(us % 1_000_000n) };
      this.#keep('event', { event: event.name, data: event.fields, timestamp });
    });
    this.#port = await connected(async () => {
      const port = createConnection(this.#path('commands'));
      await once(port, 'connect');
      return port;
    });
    this.#port.setEncoding('latin1').on('data', (text) => this.#hear(String(text)));
    this.#port.on('error', () => {});
    await this.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  }

  #path(what: string): string {
    return join(this.#options.folder, `${this.name}.${what}`);
  }

  get migrationUri(): string {
    return `unix:${this.#path('migration')}`;
  }

  /** What the guest's kernel wrote. */
  get console(): string {
    try {
      return readFileSync(this.#path('console'), 'latin1');
    } catch {
      return '';
    }
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get ended(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  execute(command: string, parameters: object = {}): Promise<unknown> {
    if (this.#monitor === null) throw new Error('no monitor');
    this.#keep('out', { execute: command, arguments: parameters });
    return this.#monitor.execute(command, parameters, GUEST_LIMIT_MS);
  }

  #keep(dir: 'event' | 'out', qmp: object): void {
    const now_ns = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
    this.said.push(`{"t_ns":${now_ns},"dir":"${dir}","qmp":${JSON.stringify(qmp)}}`);
  }

  /** The next event with this name that fits. Ask before doing what leads to it. */
  next(
    wantedName: string,
    fits: (fields: QmpEvent['fields']) => boolean = () => true,
    limit_ms = GUEST_LIMIT_MS,
  ): Promise<QmpEvent> {
    if (this.#monitor === null) throw new Error('no monitor');
    const wanted = filter(({ name, fields }: QmpEvent) => name === wantedName && fits(fields));
    const found = firstValueFrom(this.#monitor.events.pipe(wanted, timeout({ first: limit_ms }))).catch((cause: unknown) => {
      throw new Error(
        `QEMU ${this.name}: no event ${wantedName}; last ${this.events
          .slice(-5)
          .map(({ name }) => name)
          .join(', ')}`,
        { cause },
      );
    });
    // Whoever fails before awaiting it has another error to show.
    found.catch(() => {});
    return found;
  }

  /** When the guest has booted and takes commands. */
  async ready(limit_ms = GUEST_LIMIT_MS): Promise<void> {
    const late = pause(limit_ms).then(() => 'not in time');
    const why = await Promise.race([this.#ready, late, this.#gone.then(() => 'QEMU has ended')]);
    if (typeof why === 'string') throw new Error(`the guest ${this.name} does not boot: ${why}\n${this.console.slice(-2000)}`);
  }

  /** The guest goes down by this command and boots again, from the same disk; resolves when it takes commands. */
  async reboot(command: string, limit_ms = GUEST_LIMIT_MS): Promise<void> {
    await this.execute('set-action', { reboot: 'reset' });
    const reset = this.next('RESET', ({ guest }) => guest === true, limit_ms);
    this.#ready = this.#awaitReady();
    await this.guest(command);
    await reset;
    this.#torn = '';
    await this.ready(limit_ms);
    await this.execute('set-action', { reboot: 'shutdown' });
  }

  /** Runs a shell command in the guest; what it wrote to both outputs. Errors: when its status is not 0. */
  async guestBytes(command: string, limit_ms = GUEST_LIMIT_MS): Promise<Buffer> {
    const mine = this.#queue.then(() => this.#ask(command, limit_ms));
    this.#queue = mine.catch(() => {});
    const { status, output } = await mine;
    if (status !== 0) throw new Error(`in the guest, status ${status}: ${command}\n${output.toString()}`);
    return output;
  }

  async guest(command: string, limit_ms = GUEST_LIMIT_MS): Promise<string> {
    return (await this.guestBytes(command, limit_ms)).toString();
  }

  #ask(command: string, limit_ms: number): Promise<Answer> {
    const number = (this.#last += 1);
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.#answers.delete(number);
        reject(new Error(`the guest ${this.name} does not answer: ${command}\n${this.console.slice(-2000)}`));
      }, limit_ms);
      this.#answers.set(number, (answer) => {
        clearTimeout(limit);
        resolve(answer);
      });
      this.#port?.write(`${number} ${Buffer.from(command).toString('base64')}\n`);
    });
  }

  #hear(text: string): void {
    const lines = (this.#torn + text).split('\n');
    this.#torn = (lines.pop() ?? '').slice(-MOST_OUTPUT_BYTES);
    for (const line of lines) {
      const [number, status, output = ''] = line.split(' ');
      const answer = this.#answers.get(Number(number));
      this.#answers.delete(Number(number));
      answer?.({ status: Number(status), output: Buffer.from(output, 'base64') });
    }
  }

  /** Ends it at once, as a power cut would. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#gone;
  }

  /** Ends it in any case. */
  async end(): Promise<void> {
    if (!this.ended) {
      this.#monitor?.execute('quit').catch(() => {});
      await Promise.race([this.#gone, pause(this.#monitor === null ? 0 : QUIT_LIMIT_MS)]);
      if (!this.ended) this.#process.kill('SIGKILL');
    }
    await this.#gone;
    this.#monitor?.close();
    this.#port?.destroy();
  }
}

/** Where KVM works, a guest boots in a second. */
const TRIAL_LIMIT_MS = 4000;

/** KVM where a guest boots with it: /dev/kvm alone says little, in nested machines above all. */
export const chooseAccelerator = async (options: Omit<VmOptions, 'accelerator' | 'devices'>): Promise<Accelerator> => {
  let vm: Vm | null = null;
  try {
    vm = await Vm.start({ ...options, accelerator: 'kvm', devices: [] });
    await vm.ready(TRIAL_LIMIT_MS);
    return 'kvm';
  } catch {
    return 'tcg,thread=multi';
  } finally {
    await vm?.end();
  }
};
