// A Debian with its own systemd and Debian's kernel in a virtual machine: what a container cannot be, since a bond needs a
// kernel with that module. Its network is a bridge with a DHCP server, whose log says who asked for what.
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST, Network, tap } from '../qemu/network.ts';
import { until, Vm } from '../qemu/vm.ts';
import { type Disk, MAC } from './disk.ts';

export const STANDBY = 'enp1s0';
export const BOND = 'fo112233';
/** The lease, and when its holder is told to renew it: the server takes nothing below two minutes for the one. */
export const LEASE = { all_s: 120, renew_s: 10 } as const;

const PORTS = { standby: { id: 'port1', at: 4 }, primary: { id: 'port2', at: 5 } } as const;

const dhcpServer = (folder: string): string[] => [
  ...'--keep-in-foreground --conf-file=/dev/null --no-hosts --no-resolv --port=0 --user=root --pid-file='.split(' '),
  ...'--interface=br0 --bind-interfaces --log-dhcp'.split(' '),
  `--log-facility=${join(folder, 'dhcp.log')}`,
  `--dhcp-leasefile=${join(folder, 'leases')}`,
  `--dhcp-range=10.77.0.50,10.77.0.60,255.255.255.0,${LEASE.all_s}`,
  `--dhcp-option=option:router,${HOST.v4}`,
  `--dhcp-option=option:dns-server,${HOST.v4}`,
  `--dhcp-option=option:T1,${LEASE.renew_s}`,
];
const NATIVE = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];
const nic = (card: keyof typeof PORTS): string[] => [
  '-netdev',
  `tap,id=${card},ifname=${tap('a', card)},script=no,downscript=no`,
];

export class Machine {
  readonly vm: Vm;
  readonly network: Network;
  readonly #folder: string;
  readonly #server: ChildProcess;

  private constructor(vm: Vm, network: Network, folder: string, server: ChildProcess) {
    this.vm = vm;
    this.network = network;
    this.#folder = folder;
    this.#server = server;
  }

  /** A booted guest with one standby, which nobody has configured; what it writes on the disk is forgotten. `native`: PCIe hotplug. */
  static async boot({ file, kernel: vmlinux, initrd }: Disk, { native = false } = {}): Promise<Machine> {
    const folder = mkdtempSync(join(tmpdir(), 'netkvm-machine-'));
    const network = await Network.make();
    let vm: Vm | null = null;
    try {
      const server = network.start('dnsmasq', ...dhcpServer(folder));
      const append = 'console=ttyS0 loglevel=4 panic=-1 systemd.show_status=0 e1000e.IntMode=1';
      const drive = ['-drive', `if=none,id=disk,file=${file},format=raw,cache=unsafe,snapshot=on`];
      vm = await Vm.start({
        name: 'debian',
        folder,
        launcher: ['setpriv', '--pdeathsig', 'KILL', '--', ...network.enter],
        accelerator: 'tcg,thread=multi',
        boot: ['-kernel', vmlinux, '-initrd', initrd, '-append', append],
        devices: [
          ...Object.values(PORTS).map(({ id, at }) => ({ driver: 'pcie-root-port', id, chassis: at, slot: at, addr: `0x${at}` })),
          { driver: 'virtio-blk-pci', drive: 'disk', addr: '0x8' },
          { driver: 'virtio-rng-pci', addr: '0x9' },
          { driver: 'virtio-net-pci', id: 'standby', netdev: 'standby', mac: MAC, bus: PORTS.standby.id, romfile: '' },
        ],
        more: [drive, nic('standby'), nic('primary'), native ? NATIVE : []].flat(),
      });
      await vm.ready(180_000);
      const machine = new Machine(vm, network, folder, server);
      await machine.until('the system is up', 'systemctl is-system-running --wait | grep -v starting');
      return machine;
    } catch (error) {
      await vm?.end();
      network.end();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** The output of a line of shell that must succeed. */
  async output(line: string, limit_ms = 120_000): Promise<string> {
    return (await this.vm.guest(line, limit_ms)).trim();
  }

  /** Both outputs and, at the end, `exit N`. */
  run(line: string, limit_ms = 120_000): Promise<string> {
    return this.output(`{ ${line}\n} 2>&1; echo "exit $?"`, limit_ms);
  }

  /** Asks again and again until the line succeeds; its output. */
  until(what: string, line: string, limit_ms = 120_000): Promise<string> {
    return until(
      what,
      () =>
        this.vm.guest(line, limit_ms).then(
          (text) => text.trim() || 'yes',
          () => null,
        ),
      { limit_ms, every_ms: 500 },
    );
  }

  /** The lines of the DHCP server, oldest first. */
  asked(): string[] {
    const path = join(this.#folder, 'dhcp.log');
    const all = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
    return all.flatMap((line) => /DHCP[A-Z]+\(br0\).*/.exec(line)?.[0] ?? []);
  }

  async plug(): Promise<void> {
    await this.vm.execute('device_add', {
      driver: 'e1000e',
      id: 'primary',
      netdev: 'primary',
      mac: MAC,
      bus: PORTS.primary.id,
      romfile: '',
    });
  }

  async unplug(): Promise<void> {
    const left = this.vm.next('DEVICE_DELETED', ({ device }) => device === 'primary');
    await this.vm.execute('device_del', { id: 'primary' });
    await left;
  }

  async end(): Promise<void> {
    await this.vm.end();
    this.#server.kill('SIGKILL');
    this.network.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
