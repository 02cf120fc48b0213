// The disk of the machines: a bare tree from Debian's packages, with what the ways of managing a network need; a small
// initramfs that finds it; a unit that takes the commands of vm.ts. The Debian package lies beside it, not installed.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addModules, kernel, missing as missingForQemu, PACK, shell } from '../qemu/image.ts';
import { makeTree, missing as missingForTree } from '../systemd/container.ts';

const PACKAGES = ['udev', 'kmod', 'ifupdown', 'isc-dhcp-client', 'network-manager', 'polkitd'];
const DISK_MODULES = ['virtio_pci', 'virtio_blk', 'ext4', 'crc32c_generic', 'crc32c_intel'];
const GUEST_MODULES = ['virtio_pci', 'virtio_console', 'virtio_net', 'net_failover', 'e1000e', 'bonding', '8021q'];
const HERE = fileURLToPath(new URL('.', import.meta.url));

/** What is to be installed before this can run; null when nothing is. */
export const missing = (): string | null => {
  const tools = { mke2fs: 'e2fsprogs', dnsmasq: 'dnsmasq-base' };
  const lacks = Object.entries(tools).filter(
    ([tool]) => !['/usr/sbin', '/sbin'].some((folder) => existsSync(join(folder, tool))),
  );
  const packages = lacks.map(([, owner]) => owner);
  return missingForTree() ?? missingForQemu() ?? (packages.length === 0 ? null : `install ${packages.join(', ')}`);
};

/** A word of the kernel's command line: lines of shell, in base64, that are run once on the disk before its system boots. */
const BEGIN = 'begin=';
export const beginWith = (script: string): string => BEGIN + Buffer.from(script).toString('base64');

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
modprobe -a ${DISK_MODULES.join(' ')}
for try in $(seq 500); do [ -e /dev/vda ] && break; sleep 0.02; done
mount -t ext4 /dev/vda /root || exec sh
for word in $(cat /proc/cmdline); do case $word in ${BEGIN}*)
  [ -e /root/etc/begun ] || echo "\${word#*=}" | base64 -d | SYSTEMD_OFFLINE=1 chroot /root /bin/sh -e && touch /root/etc/begun
esac; done
mount --move /dev /root/dev; umount /sys; umount /proc
exec switch_root /root /lib/systemd/systemd
`;

const UNIT = `[Unit]
Description=Takes the commands of the test
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service
[Service]
ExecStartPre=-/sbin/modprobe -a ${GUEST_MODULES[1]}
ExecStart=/usr/local/bin/take-commands
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
Restart=always
[Install]
WantedBy=sysinit.target
`;

export interface Disk {
  readonly file: string;
  readonly kernel: string;
  readonly initrd: string;
}

/** A tree with everything that the three ways of managing a network need; none of them is started by itself. */
const makeMachineTree = async (tree: string): Promise<void> => {
  makeTree(tree, PACKAGES);
  const from = await kernel();
  await addModules(tree, from, GUEST_MODULES);
  // kmod reads another form of the index than busybox writes.
  execFileSync('chroot', [tree, 'depmod', from.release]);
  copyFileSync(join(HERE, '../qemu/take-commands'), join(tree, 'usr/local/bin/take-commands'));
  chmodSync(join(tree, 'usr/local/bin/take-commands'), 0o755);
  const units = join(tree, 'etc/systemd/system');
  writeFileSync(join(units, 'take-commands.service'), UNIT);
  mkdirSync(join(units, 'sysinit.target.wants'), { recursive: true });
  symlinkSync('../take-commands.service', join(units, 'sysinit.target.wants/take-commands.service'));
  // Not a first boot, at which systemd enables whatever there is.
  writeFileSync(join(tree, 'etc/machine-id'), 'b'.repeat(32));
  // The managers of networks, and what only costs time: a test starts the manager that it is about.
  for (const name of ['NetworkManager', 'networking'])
    rmSync(join(units, 'multi-user.target.wants', `${name}.service`), { force: true });
  rmSync(join(units, 'network-online.target.wants'), { recursive: true, force: true });
  for (const name of ['apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_all.timer', 'e2scrub_reap.service', 'getty.target'])
    symlinkSync('/dev/null', join(units, name));
  writeFileSync(join(tree, 'etc/hostname'), 'guest\n');
  writeFileSync(join(tree, 'etc/network/interfaces'), 'auto lo\niface lo inet loopback\n');
  rmSync(join(tree, 'etc/resolv.conf'), { force: true });
};

/** A disk from a tree, in `folder`. */
const makeDisk = async (tree: string, folder: string): Promise<Disk> => {
  const from = await kernel();
  mkdirSync(folder);
  const file = join(folder, 'disk.img');
  execFileSync('truncate', ['-s', '2500M', file]);
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', tree, file], {
    env: { ...process.env, PATH: '/usr/sbin:/sbin:/usr/bin:/bin' },
  });
  const small = mkdtempSync(join(folder, 'initrd-'));
  for (const name of ['bin', 'root', 'proc', 'sys', 'dev']) mkdirSync(join(small, name));
  await shell('cp "$(command -v busybox)" "$1/bin/"', small);
  await addModules(small, from, DISK_MODULES);
  writeFileSync(join(small, 'init'), INIT, { mode: 0o755 });
  const initrd = join(folder, 'initrd');
  await shell(PACK, small, initrd);
  rmSync(small, { recursive: true });
  return { file, kernel: from.file, initrd };
};

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const MAC = '52:54:00:11:22:33';
/** Emulated, every step takes long. */
export const CONFIG = `[policy]\neffects = "on"\neffectLimit_ms = 60000\n[[pairs]]\nmac = "${MAC}"\nmode = "bond"\n`;

/** The same package, but newer. */
const makeNewer = (deb: string, to: string, folder: string): void => {
  execFileSync('dpkg-deb', ['-R', deb, folder]);
  const control = join(folder, 'DEBIAN/control');
  writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: .*$/m, '$&+newer'));
  execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', folder, to], { stdio: 'ignore' });
  rmSync(folder, { recursive: true });
};

/** The machines' disk: a bare system with /mnt/netkvm.deb and /mnt/newer.deb. */
export const makeMachineDisk = async (work: string): Promise<Disk> => {
  const tree = join(work, 'tree');
  await makeMachineTree(tree);
  const deb = join(tree, 'mnt/netkvm.deb');
  execFileSync(process.execPath, [join(ROOT, 'packaging/deb.ts'), '--output', deb], { cwd: ROOT, stdio: 'ignore' });
  makeNewer(deb, join(tree, 'mnt/newer.deb'), join(work, 'newer'));
  const disk = await makeDisk(tree, join(work, 'disk'));
  rmSync(tree, { recursive: true });
  return disk;
};
