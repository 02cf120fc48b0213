// One guest with one failover pair, and what a hypervisor does to it: plug, unplug, cut the link, migrate. Source and
// destination of a migration have the same devices at the same addresses; the guest is wherever `vm` says.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Image } from './image.ts';
import { CARDS, type Card, Network, type Side, tap } from './network.ts';
import { type Accelerator, bootKernel, Vm } from './vm.ts';

export const MAC = '52:54:00:11:22:33';
export const FOREIGN_MAC = '52:54:00:99:99:99';
export const PRIMARIES = ['e1000e', 'vmxnet3'] as const;
export type PrimaryModel = (typeof PRIMARIES)[number];

export interface Setup extends Image {
  readonly accelerator: Accelerator;
}
export interface LabOptions {
  /** Whether the standby offers STANDBY, so that the guest's kernel pairs by itself and QEMU hides and replugs the primary. */
  readonly failover: boolean;
  readonly model: PrimaryModel;
  /** Whether the guest boots with its primary. */
  readonly withPrimary: boolean;
  /** Native PCIe hotplug, with five seconds between the button and the unplug, instead of ACPI. */
  readonly native?: boolean;
  /** Words for the guest's kernel. */
  readonly append?: string;
}

/** Where a guest finds its cards: root port and, behind it, the one function. */
export const PCI_OF: Readonly<Record<Card, string>> = {
  standby: '0000:01:00.0',
  primary: '0000:02:00.0',
  second: '0000:03:00.0',
};
const ROOT_PORTS: Readonly<Record<Card, string>> = { standby: 'port1', primary: 'port2', second: 'port3' };
/** Without it the guest does not see that QEMU cuts the link of an e1000e. A value a card, in the order in which they come. */
const SEES_LINKS = `e1000e.IntMode=${Array.from({ length: 32 }, () => 1).join(',')}`;
/** Slow enough that something can happen while the memory is copied. */
const SLOW_BYTES = 2 * 1024 * 1024;

export class Lab {
  readonly network: Network;
  readonly folder: string;
  readonly #setup: Setup;
  readonly #options: LabOptions;
  readonly #vms = new Set<Vm>();
  #vm: Vm | null = null;
  #side: Side = 'a';
  #count = 0;

  private constructor(network: Network, setup: Setup, options: LabOptions) {
    this.network = network;
    this.#setup = setup;
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), 'netkvm-lab-'));
  }

  /** A booted guest. Whoever gets it ends it. */
  static async boot(setup: Setup, options: LabOptions): Promise<Lab> {
    const lab = new Lab(await Network.make(), setup, options);
    try {
      lab.#vm = await lab.#start('a', options.withPrimary, false);
      await lab.vm.ready();
      return lab;
    } catch (error) {
      await lab.end();
      throw error;
    }
  }

  /** The QEMU that the guest is in. */
  get vm(): Vm {
    if (this.#vm === null) throw new Error('no guest has booted');
    return this.#vm;
  }

  /** Every QEMU so far, in the order of their starts. */
  get vms(): readonly Vm[] {
    return [...this.#vms];
  }

  /** The packet meter for the host's side. */
  get meter(): string {
    return this.#setup.meter;
  }

  get failover(): boolean {
    return this.#options.failover;
  }

  async #start(side: Side, withPrimary: boolean, incoming: boolean): Promise<Vm> {
    const { failover, native, append = '' } = this.#options;
    const { accelerator, kernel, initrd } = this.#setup;
    const ports = CARDS.map((card, at) => {
      const number = at + 1;
      return { driver: 'pcie-root-port', id: ROOT_PORTS[card], chassis: number, slot: number, addr: `0x${number + 3}` };
    });
    const standby = { driver: 'virtio-net-pci', id: 'standby', netdev: 'standby', mac: MAC, bus: ROOT_PORTS.standby, failover };
    const name = `${side}${(this.#count += 1)}`;
    const socket = (id: 'agent' | 'channel'): string[] => [
      '-chardev',
      `socket,id=${id},path=${this.socket(name, id)},server=on,wait=off`,
    ];
    const vm = await Vm.start({
      name,
      folder: this.folder,
      launcher: ['setpriv', '--pdeathsig', 'KILL', '--', ...this.network.enter],
      accelerator,
      boot: bootKernel(kernel, initrd, `${SEES_LINKS} ${append}`),
      devices: [
        { driver: 'virtserialport', chardev: 'channel', name: 'org.netkvm.failover.0' },
        ...ports,
        standby,
        ...(withPrimary ? [this.card('primary')] : []),
      ],
      more: [
        ...socket('agent').concat('-mon', 'agent,mode=control', socket('channel')),
        ...CARDS.flatMap((card) => ['-netdev', `tap,id=${card},ifname=${tap(side, card)},script=no,downscript=no`]),
        ...(native === true ? ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'] : []),
      ],
      incoming,
    });
    this.#vms.add(vm);
    return vm;
  }

  /** What a hypervisor's agent connects to: a monitor of its own (`agent`), and the channel to the guest (`channel`). */
  socket(vm: string, id: 'agent' | 'channel'): string {
    return join(this.folder, `${vm}.${id}`);
  }

  /** The arguments of device_add for a card. */
  card(card: Card, mac: string = MAC): object {
    const { failover, model } = this.#options;
    // QEMU allows one primary to a standby; a second one with the same MAC comes without its knowledge.
    const paired = failover && card === 'primary' ? { failover_pair_id: 'standby' } : {};
    return { driver: model, id: card, netdev: card, mac, bus: ROOT_PORTS[card], romfile: '', ...paired };
  }

  async plug(card: Card = 'primary', mac: string = MAC): Promise<void> {
    await this.vm.execute('device_add', this.card(card, mac));
  }

  /** Asks for the unplug; `wait` for the guest to let it go. */
  async unplug(card: Card = 'primary', wait = true): Promise<void> {
    const left = this.vm.next('DEVICE_DELETED', ({ device }) => device === card);
    await this.vm.execute('device_del', { id: card });
    if (wait) await left;
  }

  async link(up: boolean, card: Card = 'primary'): Promise<void> {
    await this.vm.execute('set_link', { name: card, up });
  }

  /** The other QEMU, waiting for the guest. A paired primary waits there, too, hidden until the guest has arrived. */
  async destination(): Promise<Vm> {
    return this.#start(this.#side === 'a' ? 'b' : 'a', this.#options.failover, true);
  }

  /** Begins to migrate; resolves when the migration has the status `wanted`. */
  async beginMigration(to: Vm, wanted: 'wait-unplug' | 'active'): Promise<void> {
    await this.vm.execute('migrate-set-parameters', { 'max-bandwidth': SLOW_BYTES });
    const reached = this.#status(wanted);
    await this.vm.execute('migrate', { uri: to.migrationUri });
    await reached;
  }

  #status(...wanted: readonly string[]): Promise<unknown> {
    return this.vm.next('MIGRATION', ({ status }) => wanted.includes(String(status)));
  }

  async cancelMigration(to: Vm): Promise<void> {
    const cancelled = this.#status('cancelled');
    await this.vm.execute('migrate_cancel');
    await cancelled;
    await to.end();
  }

  /** The destination dies in the middle. */
  async failMigration(to: Vm): Promise<void> {
    const failed = this.#status('failed');
    await to.kill();
    await failed;
  }

  /** A whole live migration; `meanwhile` runs while the guest is on its way. Returns how long the guest stood, by both QEMUs. */
  async migrate(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<{ readonly downtime_ms: number }> {
    const from = this.vm;
    const to = await this.destination();
    await from.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 });
    const over = this.#status('completed', 'failed');
    const resumed = to.next('RESUME');
    await from.execute('migrate', { uri: to.migrationUri });
    await meanwhile();
    await over;
    const { status } = (await from.execute('query-migrate')) as { status: string };
    if (status !== 'completed') throw new Error(`migration: ${status}`);
    const { at_ns: to_ns } = await resumed;
    const from_ns = from.events.findLast(({ name }) => name === 'STOP')?.at_ns;
    if (to_ns === null || from_ns == null) throw new Error('migration: QEMU does not say when the guest stood');
    await this.arrived(to);
    return { downtime_ms: Number(to_ns - from_ns) / 1e6 };
  }

  /** The guest is in another QEMU now; the one that it came from ends. */
  async arrived(to: Vm): Promise<void> {
    const from = this.vm;
    this.#vm = to;
    this.#side = this.#side === 'a' ? 'b' : 'a';
    await from.end();
  }

  get side(): Side {
    return this.#side;
  }

  async end(): Promise<void> {
    for (const vm of this.#vms) await vm.end();
    this.network.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
