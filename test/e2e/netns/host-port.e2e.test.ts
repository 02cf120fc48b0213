// The hypervisor's effects on the real kernel: a bridge, taps, and a physical function whose own table takes entries, in a
// network namespace. What `bridge fdb` says before and after is the judge. VFs are tried on
// netdevsim's (test/e2e/qemu/vf.e2e.test.ts).
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parkingOf } from '../../../src/machines/parking.ts';
import { missing, skipped } from './namespace.ts';

const PERFORMER = fileURLToPath(new URL('../acting/host-performer.ts', import.meta.url));
const why = missing('ip link add b0 type bridge', 'ip tuntap add t0 mode tap', 'bridge fdb show br b0');
const MAC = '52:54:00:11:22:33';
const PARKED = parkingOf(MAC);
const VM = { mac: MAC, parking: PARKED, qmp: '/nowhere', standby: 's', primary: 'p' };
const STOOD = { ...VM, port: 'vf0', tap: 'tap', bridge: 'br7' };

let namespace = '';
let scratch = '';
let count = 0;
const run = (...words: string[]): string => execFileSync('ip', ['netns', 'exec', namespace, ...words], { encoding: 'utf8' });
const perform = (kind: string, vm: object = STOOD, obligation = '') =>
  JSON.parse(run(process.execPath, PERFORMER, join(scratch, 'ledger'), JSON.stringify(vm), kind, obligation)) as {
    outcome: { result: string; reason: string | null; observed: boolean } | null;
    facts: { vf: { mac: string } | null; pfEntry: boolean | null; tapEntry: boolean | null };
    owed: string[];
    settled: string[];
  };
/** Fixed entries of the two MACs: `MAC dev PORT`. */
const entries = (): string[] =>
  run('bridge', 'fdb', 'show')
    .split('\n')
    .filter((line) => line.includes(MAC) || line.includes(PARKED))
    .map((line) => line.replace(/ vlan \d+/, '').trim())
    .toSorted();

beforeEach(() => {
  if (why !== null) return;
  scratch = mkdtempSync(join(tmpdir(), 'netkvm-port-'));
  namespace = `netkvm-port-${process.pid}-${(count += 1)}`;
  execFileSync('ip', ['netns', 'add', namespace]);
  run('ip', 'link', 'add', 'br7', 'type', 'bridge');
  for (const name of ['vf0', 'tap']) {
    run('ip', 'tuntap', 'add', name, 'mode', 'tap');
    run('ip', 'link', 'set', name, 'master', 'br7', 'up');
  }
  // An Ethernet device keeps a table of its own, as a physical function does (ndo_dflt_fdb_add).
  run('ip', 'link', 'add', 'pf', 'type', 'veth', 'peer', 'name', 'wire');
  run('bridge', 'fdb', 'replace', MAC, 'dev', 'vf0', 'master', 'static', 'sticky');
});
afterEach(() => {
  if (why !== null) return;
  execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(scratch, { recursive: true, force: true });
});

describe.skipIf(why !== null)(`on a real bridge${skipped(why)}`, () => {
  test('parked, forwarded, and everything given back in reverse', () => {
    const before = entries();
    expect(perform('parkMac')).toMatchObject({
      outcome: { result: 'succeeded' },
      facts: { vf: { mac: PARKED } },
      owed: ['vfMac'],
    });
    expect(perform('addForwarding')).toMatchObject({ facts: { tapEntry: true, pfEntry: null }, owed: ['vfMac', 'forwarding'] });
    expect(entries()).toEqual([`${MAC} dev tap master br7 static`, `${PARKED} dev vf0 sticky master br7 static`]);
    expect(perform('removeForwarding')).toMatchObject({ facts: { tapEntry: false }, settled: ['d1.0.forwarding givenBack'] });
    expect(perform('restoreMac')).toMatchObject({ facts: { vf: { mac: MAC } }, owed: [], settled: ['d1.0.vfMac givenBack'] });
    expect(entries()).toEqual(before);
  });

  test('again changes nothing and says so', () => {
    perform('parkMac');
    expect(perform('parkMac').outcome).toMatchObject({ result: 'succeeded', observed: true });
    expect(perform('removeForwarding').outcome).toMatchObject({ result: 'succeeded', observed: true });
  });

  test('an entry that was there before is neither added nor taken away', () => {
    perform('parkMac');
    run('bridge', 'fdb', 'replace', MAC, 'dev', 'tap', 'master', 'static');
    expect(perform('addForwarding')).toMatchObject({ outcome: { observed: true }, owed: ['vfMac'] });
    perform('removeForwarding');
    expect(entries()).toContain(`${MAC} dev tap master br7 static`);
  });

  test('the physical function gets its own entry before the tap, and only ours goes', () => {
    const vm = { ...VM, pf: 'pf', vf: 0, tap: 'tap', bridge: 'br7' };
    run('bridge', 'fdb', 'del', MAC, 'dev', 'vf0', 'master');
    expect(perform('addForwarding', vm)).toMatchObject({ facts: { pfEntry: true, tapEntry: true } });
    expect(entries()).toEqual([`${MAC} dev pf self permanent`, `${MAC} dev tap master br7 static`]);
    expect(perform('removeForwarding', vm)).toMatchObject({ outcome: { result: 'succeeded', reason: null } });
    expect(entries()).toEqual([]);
  });

  test('an entry that the bridge has moved to where the guest is now is taken away there', () => {
    perform('parkMac');
    perform('addForwarding');
    run('ip', 'link', 'set', 'wire', 'master', 'br7');
    run('bridge', 'fdb', 'replace', MAC, 'dev', 'wire', 'master', 'static');
    expect(entries()).toContain(`${MAC} dev wire master br7 static`);
    perform('removeForwarding');
    expect(entries()).toEqual([`${PARKED} dev vf0 sticky master br7 static`]);
  });

  test('a port to which the bridge has moved the entry has the pair’s MAC, until the entry is taken away', () => {
    perform('parkMac');
    perform('addForwarding');
    run('bridge', 'fdb', 'replace', MAC, 'dev', 'vf0', 'master', 'static');
    expect(perform('look').facts).toMatchObject({ vf: { mac: MAC }, tapEntry: false });
    expect(perform('removeForwarding').facts).toMatchObject({ vf: { mac: PARKED }, tapEntry: false });
    expect(perform('restoreMac').owed).toEqual([]);
    expect(entries()).toEqual([`${MAC} dev vf0 sticky master br7 static`]);
  });

  test('after a crash in the middle what is owed says what to give back', () => {
    perform('parkMac');
    perform('addForwarding');
    expect(perform('giveBack', STOOD, 'd1.0.forwarding').settled).toEqual(['d1.0.forwarding givenBack']);
    expect(perform('giveBack', STOOD, 'd1.0.vfMac')).toMatchObject({ owed: [], facts: { vf: { mac: MAC } } });
  });

  test('no such VF, and an interface that is gone, are refusals that owe nothing', () => {
    const vm = { ...VM, pf: 'pf', vf: 7 };
    expect(perform('parkMac', vm)).toMatchObject({ outcome: { result: 'refused', reason: 'there is no such VF' }, owed: [] });
    expect(perform('parkMac', { ...VM, pf: 'nowhere', vf: 0 })).toMatchObject({ outcome: { result: 'refused' }, owed: [] });
  });
});
