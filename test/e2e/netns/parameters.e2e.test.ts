// The commands about parameters on the real kernel, in a network namespace with veths and a tap that this test makes: what
// `ip` and /sys say before and after is the judge. Rings need a driver that has some: they are tried in a guest (QEMU).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { missing, skipped } from './namespace.ts';

const NETKVM = fileURLToPath(new URL('../../../src/host/netkvm.mjs', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'netkvm-parameters-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const MAC = '52:54:00:11:22:33';
const why = missing('ip tuntap add t0 mode tap');

/** Runs shell lines in a namespace with v0 and v1 of one MAC, w0 and w1 at their other ends, and the tap t0. */
const inside = (script: string) => {
  const made = [
    `ip link add v0 address ${MAC} type veth peer name w0`,
    `ip link add v1 address ${MAC} type veth peer name w1`,
    'ip tuntap add t0 mode tap',
    `netkvm() { '${process.execPath}' '${NETKVM}' "$@"; }`,
    // By exec, so that what is killed is the service, and no shell around it.
    `serve() { (exec '${process.execPath}' '${NETKVM}' run --observe --state-dir "$PWD/$1" >/dev/null 2>&1) & service=$!; }`,
    script,
  ];
  const { stdout, stderr, status } = spawnSync('unshare', ['-mn', 'sh', '-c', made.join('\n')], {
    encoding: 'utf8',
    cwd: scratch,
  });
  return { stdout, stderr, status };
};

describe.skipIf(why !== null)(`parameters on Linux${skipped(why)}`, () => {
  test('are written, and the system says so', () => {
    const { stdout, stderr } = inside(`
      netkvm setparam w0 mtu 1400; echo $?
      netkvm setparam w0 txQueue 0x20; echo $?
      netkvm setparam w0 rx-gro on; netkvm getparam w0 rx-gro
      netkvm setparam w0 RX-GRO off; netkvm getparam w0 rx-gro
      netkvm setparam t0 rxFrames 12; netkvm getparam t0 rxFrames
      ip -o link show w0`);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^0\n0\nrx-gro = on\nrx-gro = off\nrxFrames = 12\n[0-9]+: w0.* mtu 1400 .* qlen 32\\/);
  });

  test('have the kernel’s ranges, and are refused in its words', () => {
    const { stdout, stderr } = inside(`
      netkvm show paraminfo t0 mtu; netkvm netsh sh parami v0 rxChannels
      netkvm setparam t0 mtu 67; echo $?
      netkvm setparam v0 vlan-challenged on; echo $?
      netkvm setparam v0 highdma maybe; echo $?
      netkvm getparam t0 rxRing; echo $?
      netkvm restart t0; echo $?
      netkvm setparam t0 ? | head -1
      ip -o link show t0`);
    expect(stdout).toMatch(
      /^Parameter type: integer\n\tMin value: 68\n\tMax value: 65521\n\tValue increment: 1\nParameter type: integer\n\tMin value: 0\n\tMax value: [0-9]+\n/,
    );
    expect(stdout).toMatch(
      /\n2\n2\n2\n2\nRestarting device [0-9]\.\.\. failed\.\n9\nusage: netkvm setparam D P V .*\n[0-9]+: t0.* mtu 1500 /,
    );
    expect(stderr.split('\n').filter(Boolean)).toEqual([
      expect.stringContaining('mtu: "67" is not a whole number from 68 to 65521'),
      expect.stringContaining('vlan-challenged: the driver does not let it be changed'),
      expect.stringContaining('highdma: "maybe" is not one of off, on'),
      expect.stringContaining('there is no parameter "rxRing"'),
      expect.stringContaining('[parameter.refused]'),
    ]);
  });

  test('an MTU is held against the other device with the MAC', () => {
    const { stdout, stderr } = inside(`
      netkvm setparam v0 mtu 1400; echo $?
      netkvm setparam ${MAC} mtu 1400; echo $?
      netkvm setparam v0 mtu 1400 --both; echo $?
      netkvm setparam v0 mtu 1300 --force; echo $?
      for v in v0 v1; do ip -o link show $v; done`);
    expect(stdout).toMatch(/^9\n2\n0\n0\n[0-9]+: v0.* mtu 1300 .*\n[0-9]+: v1.* mtu 1400 /);
    expect(stderr).toContain('has the MTU 1500, this would be 1400; --both writes both');
    expect(stderr).toContain(`${MAC} is more than one device: `);
  });

  test('without the permission nothing is written, and that is told apart from a bad value', () => {
    const { stdout, stderr } = inside(`
      chmod 755 . ; setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all \
        sh -c '"$0" "$1" setparam w0 mtu 1400; echo $?; "$0" "$1" getparam w0 mtu' '${process.execPath}' '${NETKVM}'`);
    expect(stdout).toBe('8\nmtu = 1500\n');
    expect(stderr).toMatch(/^netkvm: mtu 1400: EPERM.* \[parameter.notPermitted\]/);
  });

  test('a running service records what was changed, and by whom', () => {
    const { stdout } = inside(`
      serve state
      for i in 1 2 3 4 5 6 7 8 9 10; do [ -S state/control.sock ] && break; sleep 0.3; done
      netkvm setparam w0 txQueue 77 --state-dir "$PWD/state"; echo $?
      kill $service; wait $service
      netkvm log export --state-dir "$PWD/state" | grep setParameter`);
    expect(stdout).toMatch(/^0\n.*"command":"setParameter".*"what":"txQueue of w0: 1000 → 77"/);
    expect(stdout).toContain('"by":"netkvm, uid 0"');
  });

  test('with no service running the command itself records it, where there is a log', () => {
    const { stdout, stderr } = inside(`
      netkvm setparam w0 txQueue 76 --state-dir "$PWD/alone"; echo $? $(ls -A | grep -c alone)
      serve alone
      for i in 1 2 3 4 5 6 7 8 9 10; do [ -S alone/control.sock ] && break; sleep 0.3; done
      kill $service; wait $service
      netkvm setparam w0 txQueue 77 --state-dir "$PWD/alone"; echo $?
      netkvm log verify --state-dir "$PWD/alone" >/dev/null; echo $?
      netkvm log export --state-dir "$PWD/alone" | tail -1
      chmod 0 alone/netkvm.db; mv alone/netkvm.db alone/x; mkdir alone/netkvm.db
      netkvm setparam w0 txQueue 78 --state-dir "$PWD/alone"; echo $?`);
    expect(stdout).toMatch(/^0 0\n0\n0\n.*"command":"setParameter".*"what":"txQueue of w0: 76 → 77".*\n0\n$/);
    expect(stderr).toMatch(/^netkvm: this was changed, but not recorded: .*netkvm\.db/);
  });

  test('under the original’s name: its lines, 87 with the help, and a question that changes nothing', () => {
    const { stdout, stderr } = inside(`
      co() { '${process.execPath}' '${NETKVM.replace('netkvm.mjs', 'netkvmco.mjs')}' "$@"; }
      co setparam idx=0 param=txQueue value=9 more words; echo $?
      co getparam 0 TXQUEUE; co setparam 0 txQueue x | head -2; co setparam 0 txQueue x >/dev/null 2>&1; echo $?
      co getparam 99 mtu | head -1; co setparam 0 txQueue ? | head -2; co show devices | grep -c MAC:
      co; co show; co show nothing | head -1; echo $?`);
    expect(stdout).toMatch(
      /^0\nTXQUEUE = 9\n\nUsage: setparam .*\n87\nDevice index is out of range\.\n\nUsage: setparam .*\n0\nCommands:\n\trestart/,
    );
    expect(stdout.split('Commands:')).toHaveLength(2);
    expect(stdout.split('possible values:')).toHaveLength(3);
    expect(stderr).toContain('netkvmco: txQueue: "x" is not a whole number');
  });

  test('a dump puts back what was changed, through a file and through a pipe', () => {
    const { stdout, stderr, status } = inside(`
      netkvm dump >before.txt
      netkvm setparam w0 mtu 1400 && netkvm setparam w0 rx-gro on && netkvm setparam t0 txQueue 7
      netkvm shell -f before.txt || exit 1
      netkvm dump | cmp - before.txt || exit 1
      netkvm shell <before.txt || exit 1
      netkvm netsh -f before.txt && grep -c '^setparam idx=' before.txt`);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(Number(stdout)).toBeGreaterThan(20);
  });

  test('a batch ends at its first failure, and an index that means another device is one', () => {
    writeFileSync(join(scratch, 'batch.txt'), '# a comment\r\nset w0 txQueue 9\r\nset w0 txQueue x\r\nset w0 txQueue 10\r\n');
    const { stdout, stderr } = inside(`
      netkvm shell -f batch.txt; echo $?; netkvm getparam w0 txQueue
      netkvm dump >dump.txt; ip link del v0; netkvm shell -f dump.txt; echo $?
      netkvm shell -f nowhere.txt; echo $?
      netkvm shell --json -f /dev/stdin <<'END' | wc -l
getparam 0 mtu
show devices
exit
show devices
END`);
    expect(stdout).toBe('2\ntxQueue = 9\n2\n9\n2\n');
    expect(stderr).toContain('batch.txt, line 3: txQueue: "x" is not a whole number');
    expect(stderr).toMatch(/dump.txt, line [0-9]+: index 0 meant [vw][01], and now means /);
    expect(stderr).toContain('nowhere.txt');
  });

  test('on a terminal it prompts, completes and goes on after a mistake', () => {
    // Key by key: what is pasted is not completed.
    const { stdout } = inside(`
      (sleep 1; printf 'getp w0 txQ'; sleep 0.3; printf '\\t'; sleep 0.3; printf '\\n'; printf 'nonsense\\n'; sleep 0.3; printf 'getp w0 mtu\\nexit\\n'; sleep 1) |
        script -qec "'${process.execPath}' '${NETKVM}' shell" /dev/null`);
    expect(stdout).toContain('netkvm> ');
    expect(stdout).toContain('txQueue = 1000');
    expect(stdout).toContain('mtu = 1500');
    expect(stdout).toContain('there is no command "nonsense"');
  });
});
