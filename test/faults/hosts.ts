// The hypervisor's part of faults 41 to 49: its fold, told what QEMU, the VF and the guest say. What each check asks for is
// asked again, in more ways, by test/unit/hosted.unit.test.ts; the real VFs and entries are tried in namespaces.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { HostedStory, MAC, PARKED, RUNNING } from '../hosted.given.ts';
import type { VmPolicy } from '../../src/events/hosting.ts';

const CANCELLING: Partial<VmPolicy> = { onOverdue: 'cancel' };
const kindsOf = (decisions: readonly { readonly kind: string }[]): string[] => decisions.map(({ kind }) => kind);
const codesOf = ({ story }: HostedStory): string[] => story.findings.list(story.end).map(({ code }) => code);

/** A migration that waits for the primary to leave. */
const waiting = (vm: Partial<VmPolicy> = {}): HostedStory => {
  const host = new HostedStory(vm);
  host.port();
  host.qemu(RUNNING);
  host.qemu({ migration: 'setup' });
  host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
  host.qemu({ migration: 'wait-unplug' });
  return host;
};
/** The primary is hidden, its VF parked, and its MAC forwarded to the standby. */
const parked = (): HostedStory => {
  const host = waiting();
  host.qemu({ migration: 'active' });
  deepEqual(host.run(), ['parkMac', 'addForwarding']);
  return host;
};
const elapse = (host: HostedStory, name: string): string[] => {
  const [timer, armedBy] = [...host.pair.timers].find(([id]) => id.includes(name)) ?? [];
  ok(timer !== undefined && armedBy !== undefined, `a timer ${name}`);
  return kindsOf(host.tell('timer.elapsed', { pair: MAC, timer, armedBy }));
};

/** 41: a paused guest is told at once, before any limit. */
export const pausedIsTold = (): void => {
  const host = waiting();
  host.qemu({ running: false });
  deepEqual([host.pair.shown.because, codesOf(host).includes('guestPaused'), host.decided], ['guest.paused', true, []]);
};

/** 42: an endless wait-unplug is an alarm, and by policy the end of the migration; the VF is not touched. */
export const endlessIsTold = (): void => {
  for (const [vm, expected] of [[{}, []] as const, [CANCELLING, ['cancelMigration']] as const]) {
    const host = waiting(vm);
    deepEqual(elapse(host, 'unplugLimit'), expected);
    ok(codesOf(host).includes('unplugEndless'));
    ok(host.decided.every(({ kind }) => kind === 'cancelMigration'));
  }
};

/** 43: a refusal does not wait for the limit. */
export const refusalCancels = (): void => {
  const host = waiting(CANCELLING);
  deepEqual(kindsOf(host.says('DEVICE_UNPLUG_GUEST_ERROR', { device: 'vf0' })), ['cancelMigration']);
  ok(codesOf(host).includes('unplugRefused'));
};

/** 44: the VF keeps its MAC until QEMU says that the primary is hidden. */
export const macStaysUntilHidden = (): void => {
  const host = waiting();
  deepEqual([host.stage, host.decided], ['waitUnplug', []]);
  deepEqual(kindsOf(host.qemu({ migration: 'active' })), ['parkMac']);
};

/** 45 and 46: what was done is taken back in reverse, and before the primary comes back. */
export const takenBackInReverse = (status: 'cancelling' | 'failed'): void => {
  const host = parked();
  host.qemu({ migration: status });
  deepEqual(host.run(), ['removeForwarding', 'restoreMac']);
  deepEqual(host.pair.obligations, []);
};

/** 47: a primary that came back with the parking MAC is plugged again, when its VF has the right one. */
export const wrongMacIsMended = (): void => {
  const host = parked();
  host.qemu({ migration: 'failed' });
  deepEqual(host.run(), ['removeForwarding', 'restoreMac']);
  deepEqual(kindsOf(host.guest(PARKED)), ['unplugPrimary']);
  ok(codesOf(host).includes('wrongMac'));
  host.done();
  host.qemu({ primary: false });
  host.guest(null);
  ok(host.run().includes('plugPrimary'));
  deepEqual(host.pair.obligations, []);
};

/** 48: a MAC that was not taken is asked for again; the VF’s own facts say when it is right. */
export const macIsReadBack = (): void => {
  const host = parked();
  host.qemu({ migration: 'failed' });
  equal(host.pair.pending?.kind, 'removeForwarding');
  host.done();
  equal(host.pair.pending?.kind, 'restoreMac');
  host.done('failed');
  equal(host.pair.pending, null);
  deepEqual(elapse(host, 'retryDelay'), ['restoreMac']);
  host.done();
  deepEqual([host.pair.obligations, host.pair.pending], [[], null]);
};

/** 49: the agent dies with entries in place; its next run removes them when the migration is over, and not before. */
export const staleEntriesGo = (): void => {
  const restarted = {
    version: '0',
    machineVersion: 1,
    bootId: 'b00710af-1',
    vmGeneration: null,
    platform: 'hypervisor',
    host: {},
  };
  for (const [migration, expected] of [
    ['completed', ['removeForwarding']],
    ['failed', ['removeForwarding', 'restoreMac']],
    ['active', []],
  ] as const) {
    const host = parked();
    host.tell('service.started', restarted);
    host.port();
    host.qemu({ migration, running: migration !== 'completed' });
    deepEqual(host.run(), expected, migration);
  }
};
