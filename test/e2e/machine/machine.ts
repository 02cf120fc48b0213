// A Debian with its own systemd and Debian's kernel in a virtual machine: what a container cannot be, since a bond needs a
// kernel with that module. Its network is a bridge with a DHCP server, whose log says who asked for what.
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST, Network, tap } from '../qemu/network.ts';
import { pause, until, Vm } from '../qemu/vm.ts';
import { beginWith, type Disk, MAC } from './disk.ts';

export const STANDBY = 'enp1s0';
export const BOND = 'fo112233';
/** The lease, and when its holder is told to renew it: the server takes nothing below two minutes for the one. IPv6: half of it. */
export const LEASE = { all_s: 120, renew_s: 10 } as const;

const BOOT_LIMIT_MS = 180_000;
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
  '--enable-ra',
  `--dhcp-range=fd00:77::50,fd00:77::60,64,${LEASE.all_s}`,
];
const NATIVE = ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'];
const nic = (card: keyof typeof PORTS): string[] => [
  '-netdev',
  `tap,id=${card},ifname=${tap('a', card)},script=no,downscript=no`,
];

/** How the network and its managers are, without what changes by itself: lifetimes, and what a process writes for itself. */
const STATE = `
echo '# links'; ip -d -o link
echo '# addresses'; ip -o address | sed 's/ *[\\].*//' | sort
echo '# routes'; ip -4 route show table all | sort; ip -6 route show table all | sed 's/ expires [0-9]*sec//' | sort
echo '# rules'; ip rule; ip -6 rule
echo '# settings'; for family in ipv4 ipv6; do
  grep -rs . /proc/sys/net/$family/conf --exclude=stable_secret --exclude=flush | sort
done
echo '# modules'; cut -d' ' -f1 /proc/modules | sort
echo '# managers'; for unit in systemd-networkd.service systemd-networkd.socket NetworkManager networking; do
  echo "$unit $(systemctl is-active $unit) $(systemctl is-enabled $unit)"
done
grep -lsa '^[^ ]*dhclient' /proc/[0-9]*/cmdline | while read -r one; do tr '\\0' ' ' <$one; echo; done | grep -v grep | sort
nmcli -t -f DEVICE,STATE,CONNECTION device 2>&1 | sort
networkctl --no-pager --no-legend list 2>&1
cat /run/network/ifstate
echo '# files'; find /etc/systemd/network /run/systemd/network /etc/NetworkManager /run/NetworkManager/conf.d /etc/network /run/network -type f | sort
cat /etc/resolv.conf
echo '# failed'; systemctl --failed --plain --no-legend
`;

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

  /**
   * A booted guest with one standby; what it writes on the disk is forgotten. `native`: PCIe hotplug; `begin`: lines of shell that
   * make the disk what it is to be before the first boot.
   */
  static async boot({ file, kernel: vmlinux, initrd }: Disk, { native = false, begin = '' } = {}): Promise<Machine> {
    const folder = mkdtempSync(join(tmpdir(), 'netkvm-machine-'));
    const network = await Network.make();
    let vm: Vm | null = null;
    try {
      const server = network.start('dnsmasq', ...dhcpServer(folder));
      const append = 'console=ttyS0 loglevel=4 panic=-1 systemd.show_status=0 e1000e.IntMode=1 ' + beginWith(begin);
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
      await vm.ready(BOOT_LIMIT_MS);
      const machine = new Machine(vm, network, folder, server);
      await machine.#up();
      return machine;
    } catch (error) {
      await vm?.end();
      network.end();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  #up(): Promise<string> {
    return this.until('the system is up', 'systemctl is-system-running --wait | grep -v starting');
  }

  /** What was written on the disk is there again, what lay below /run is not. */
  async reboot(): Promise<void> {
    await this.vm.reboot('systemctl reboot --no-block', BOOT_LIMIT_MS);
    await this.#up();
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

  /** The state of the network, when it has come to rest: the same twice. Errors: with what goes on changing. */
  async state(): Promise<string> {
    let last: readonly string[] = [];
    let news: readonly string[] = [];
    for (let times = 0; times < 6; times += 1, await pause(3000)) {
      const lines = (await this.run(STATE)).split('\n');
      news = lines.filter((line) => !last.includes(line));
      if (news.length === 0) return lines.join('\n');
      last = lines;
    }
    throw new Error(`the network does not come to rest:\n${news.join('\n')}`);
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
