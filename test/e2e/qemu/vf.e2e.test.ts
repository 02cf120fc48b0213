// VFs on a real kernel: netdevsim's, in a guest with Debian's kernel that serves as a plain Linux. The product's own effects
// set and read back; `ip` is the judge.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { parkingOf } from '../../../src/machines/parking.ts';
import { kernel, PRODUCT, run } from './image.ts';
import { netdevsim } from './netdevsim.ts';
import { bootKernel, Vm } from './vm.ts';

const MAC = '52:54:00:11:22:33';
const PARKED = parkingOf(MAC);
const setup = inject('guests');
const full = inject('full');
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
let folder = '';
let vm: Vm;
let pf = '';

/** An initramfs of its own behind the guests': the module, and the performer in one file beside the product's native part. */
const initrd = async (): Promise<string> => {
  const root = join(folder, 'root');
  mkdirSync(join(root, PRODUCT), { recursive: true });
  cpSync(await netdevsim(await kernel()), join(root, 'opt/netdevsim'), { recursive: true });
  const source = join(ROOT, 'test/e2e/acting/host-performer.ts');
  const words = [source, '-o', join(root, PRODUCT, 'performer.mjs'), '--format', 'esm', '--platform', 'node'];
  await run(process.execPath, join(ROOT, 'node_modules/rolldown/bin/cli.mjs'), ...words, '--external', 'koffi');
  const both = join(folder, 'initrd');
  const pack = 'cd "$1" && { cat "$2"; find . | busybox cpio -o -H newc 2>/dev/null; } >"$3"';
  await run('sh', '-ec', pack, 'sh', root, setup.initrd, both);
  return both;
};

interface Performed {
  readonly outcome: { readonly result: string; readonly reason: string | null; readonly observed: boolean } | null;
  readonly facts: { readonly vf: object | null; readonly pfEntry: boolean | null };
  readonly owed: readonly string[];
  readonly settled: readonly string[];
}
const perform = async (kind: string, more: object = {}, obligation = ''): Promise<Performed> => {
  const policy = { mac: MAC, parking: PARKED, qmp: '/nowhere', standby: 's', primary: 'p', pf, vf: 1, ...more };
  const text = JSON.stringify(policy);
  const output = await vm.guest(`NODE_NO_WARNINGS=1 node ${PRODUCT}/performer.mjs /run/ledger '${text}' ${kind} ${obligation}`);
  return JSON.parse(output) as Performed;
};
/** What `ip` says of VF 1. */
const said = async (): Promise<string> => {
  const text = await vm.guest(`/sbin/ip -d link show ${pf}`);
  return text.split('\n').find((line) => line.trim().startsWith('vf 1')) ?? '';
};

beforeAll(async () => {
  if (!full) return;
  folder = mkdtempSync(join(tmpdir(), 'netkvm-vf-'));
  const boot = bootKernel(setup.kernel, await initrd(), 'nodrivers');
  vm = await Vm.start({ name: 'vf', folder, launcher: [], accelerator: setup.accelerator, boot, devices: [] });
  await vm.ready();
  await vm.guest('cd /opt/netdevsim && insmod psample.ko && insmod netdevsim.ko && echo "1 1" >/sys/bus/netdevsim/new_device');
  await vm.guest('sleep 1; echo 4 >/sys/bus/netdevsim/devices/netdevsim1/sriov_numvfs');
  pf = (await vm.guest('ls /sys/bus/netdevsim/devices/netdevsim1/net')).trim().split('\n')[0] ?? '';
}, 400_000);
afterAll(async () => {
  if (full) await vm.end();
  if (folder !== '') rmSync(folder, { recursive: true, force: true });
});

describe.runIf(full)('a VF of netdevsim', { timeout: 120_000 }, () => {
  test('is parked and restored; VLAN, spoof check and trust stay', async () => {
    await vm.guest(`/sbin/ip link set ${pf} vf 1 mac ${MAC} && /sbin/ip link set ${pf} vf 1 vlan 7 qos 3 && rm -f /run/ledger`);
    await vm.guest(`/sbin/ip link set ${pf} vf 1 spoofchk on && /sbin/ip link set ${pf} vf 1 trust on`);
    const kept = { vlan: 7, qos: 3, spoofchk: true, trust: true };
    expect(await perform('look')).toMatchObject({ facts: { vf: { mac: MAC, ...kept } } });
    expect(await perform('parkMac')).toMatchObject({
      outcome: { result: 'succeeded', observed: false },
      facts: { vf: { mac: PARKED, ...kept } },
      owed: ['vfMac'],
    });
    expect(await said()).toMatch(new RegExp(`${PARKED}.*vlan 7, qos 3.*spoof checking on.*trust on`));
    expect(await perform('restoreMac')).toMatchObject({
      facts: { vf: { mac: MAC, ...kept } },
      owed: [],
      settled: ['d1.0.vfMac givenBack'],
    });
    expect(await said()).toContain(MAC);
  });

  test('after a crash what is owed gives back the MAC that was there before', async () => {
    await vm.guest(`/sbin/ip link set ${pf} vf 1 mac 02:00:00:00:00:77 && rm -f /run/ledger`);
    await perform('restoreMac');
    expect(await said()).toContain(MAC);
    expect(await perform('giveBack', {}, 'd1.0.vfMac')).toMatchObject({ outcome: { result: 'succeeded' }, owed: [] });
    expect(await said()).toContain('02:00:00:00:00:77');
  });

  test('what the kernel refuses is refused with its words, and a VF that is not there too', async () => {
    await vm.guest('rm -f /run/ledger');
    const multicast = await perform('parkMac', { parking: '01:00:5e:00:00:01' });
    expect(multicast.outcome).toMatchObject({ result: 'failed', reason: expect.stringContaining('EINVAL') });
    expect(await said()).toContain('02:00:00:00:00:77');
    expect((await perform('parkMac', { vf: 9 })).outcome).toMatchObject({ result: 'refused', reason: 'there is no such VF' });
  });

  test('the physical function’s own table takes the forwarding entry and lets it go', async () => {
    await vm.guest(`rm -f /run/ledger; /sbin/ip link set ${pf} up`);
    const places = { tap: 'nothing', bridge: 'nothing' };
    const added = await perform('addForwarding', { bridge: 'b', pf });
    expect(added).toMatchObject({ outcome: { result: 'succeeded' }, facts: { pfEntry: true }, owed: ['forwarding'] });
    expect(await perform('removeForwarding', { bridge: 'b', pf })).toMatchObject({ facts: { pfEntry: false }, owed: [] });
    expect((await perform('addForwarding', places)).outcome).toMatchObject({ result: 'refused', reason: 'nothing is gone' });
  });
});
