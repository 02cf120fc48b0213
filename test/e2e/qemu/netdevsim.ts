// The kernel's simulated network card with VFs. Debian builds none, so it is made of Debian's own source against the headers of
// the guests' kernel, once, and kept: the download is 150 MB.
import { join } from 'node:path';
import { CACHE, type Kernel, kept, run } from './image.ts';

const BUILD = `cd "$1"; release=$2; version=$3; major=$4
apt-get -qq download "linux-source-$major=$version" "linux-headers-$release" "linux-headers-\${release%-amd64}-common" "linux-kbuild-$major" linux-compiler-gcc-12-x86
for package in linux-headers-*.deb linux-kbuild-*.deb linux-compiler-*.deb; do dpkg -x "$package" .; done
dpkg-deb --fsys-tarfile linux-source-*.deb | tar xO "./usr/src/linux-source-$major.tar.xz" | tar xJ --wildcards '*/drivers/net/netdevsim/*'
rm ./*.deb
headers=$PWD/usr/src/linux-headers-$release
grep -rl /usr/src/ "$headers/Makefile" "$headers/.kernelvariables" | xargs sed -i "s#/usr/src/#$PWD/usr/src/#g"
make -s -C "$headers" M="$PWD/$(echo linux-source-*/drivers/net/netdevsim)" CONFIG_NETDEVSIM=m modules >build.log 2>&1
cp linux-source-*/drivers/net/netdevsim/netdevsim.ko .
rm -r linux-source-* usr`;

/** A folder with netdevsim.ko, and with psample.ko that it needs. Errors: what the build said. */
export const netdevsim = ({ release, root }: Kernel): Promise<string> =>
  kept(join(CACHE, `netdevsim-${release}`), async (folder) => {
    const [, major = ''] = /^(\d+\.\d+)/.exec(release) ?? [];
    const [, exact = ''] = /^Version: (\S+)/m.exec(await run('apt-cache', 'show', `linux-headers-${release}`)) ?? [];
    await run('sh', '-ec', BUILD, 'sh', folder, release, exact, major);
    await run('sh', '-ec', 'cp "$1"/lib/modules/"$2"/kernel/net/psample/psample.ko "$3"', 'sh', root, release, folder);
  });
