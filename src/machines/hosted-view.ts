// What the migration chart sees of one hosted pair: yes-or-no facts from what QEMU, the VF and the guest say, from what was
// ordered, and from what is owed.
import type { ObligationKind, Policy } from '../events/catalogue.ts';
import type { WordToGuest } from '../events/hosting.ts';
import type { HostedPair } from './hosted-pair.ts';
import { HOST_BIT } from './migration.ts';
import { parkingOf } from './parking.ts';

/** query-migrate's status while a guest is being sent, after all primaries were let go (migration.c, qemu_savevm_wait_unplug). */
export const SENDING: ReadonlySet<string> = new Set([
  'active',
  'pre-switchover',
  'device',
  'postcopy-active',
  'postcopy-paused',
  'postcopy-recover',
  'colo',
]);
export const isMigrating = ({ monitor }: HostedPair): boolean =>
  monitor !== null && (SENDING.has(monitor.migration) || ['setup', 'wait-unplug', 'cancelling'].includes(monitor.migration));

/** What the guest should have been told by now; null where there is nothing to say. */
export const wordFor = (pair: HostedPair): WordToGuest | null => {
  const { told, monitor, order, asked, hidden, port, reserved } = pair;
  if (monitor === null || monitor.incoming || !monitor.connected) return null;
  if (hidden) return null;
  if (monitor.primary && (order !== null || asked)) return 'prepare';
  const isComing = told?.word === 'prepare' || (reserved && monitor.running);
  const isReady = port?.vf?.mac === pair.mac || isOnStandby(pair);
  return isComing && !isMigrating(pair) && isReady ? 'arriving' : null;
};

const owes = ({ obligations }: HostedPair, kind: ObligationKind): boolean => obligations.some((one) => one.kind === kind);

/** The MAC that the guest saw on its primary is not the pair's: it has to see it again. */
const sawWrongMac = (pair: HostedPair): boolean => {
  const { guest, mac, port } = pair;
  const isCertain = guest !== null && guest.primary !== null && guest.primary !== mac;
  return isCertain && (port?.vf?.mac === mac || isPluggedIntoPort(pair));
};

const isUnplugging = (pair: HostedPair): boolean => {
  const { monitor, vm, order, asked, hidden } = pair;
  if (monitor === null || !monitor.primary || asked || hidden || isMigrating(pair) || vm === null) return false;
  if (order !== null) return !monitor.failover && order.uri !== null && isPrepared(pair);
  return vm.plug !== undefined && sawWrongMac(pair);
};

/** Whoever cannot be asked is as prepared as it will be. */
const isPrepared = ({ guest, answer, monitor }: HostedPair): boolean =>
  guest === null || answer !== null || monitor?.primary !== true;

const isReady = (pair: HostedPair): boolean => {
  const { order, monitor } = pair;
  if (order === null || order.uri === null || order.started || monitor === null || isMigrating(pair)) return false;
  return monitor.failover ? isPrepared(pair) : !monitor.primary;
};

/** Nothing keeps a primary away that can be plugged. */
const mayComeBack = (pair: HostedPair): boolean => {
  const { monitor, vm, order } = pair;
  if (monitor === null || monitor.primary || monitor.incoming || order !== null || vm?.plug === undefined) return false;
  return !isMigrating(pair) && monitor.migration !== 'completed';
};
/** The primary was unplugged by us, and is to come back. */
export const isOwedBack = (pair: HostedPair): boolean => owes(pair, 'unplugged') && mayComeBack(pair);

const isPlugging = (pair: HostedPair): boolean =>
  isOwedBack(pair) || (pair.reserved && pair.monitor?.failover === false && mayComeBack(pair) && pair.monitor.running);

/** A port whose entry the guest does not see, behind which we plug and unplug the primary. */
export const isPluggedIntoPort = ({ vm, monitor }: HostedPair): boolean =>
  vm?.plug !== undefined && vm.port !== undefined && monitor?.failover === false;

/**
 * Whether what is sent to the guest has to go to its standby. A VF must have the pair's MAC when it is plugged, or the guest
 * sees another one; before that, on the target, it takes nothing that is meant for the guest. The entry of a port can wait
 * until the guest says that it carries there, and goes as soon as it says that it does not any more.
 */
export const isOnStandby = (pair: HostedPair): boolean => {
  const { vm, monitor, order, answer, reserved, returning } = pair;
  if (vm?.plug === undefined || monitor === null || !monitor.connected || monitor.failover) return false;
  if (monitor.incoming) return !monitor.primary;
  if (!isPluggedIntoPort(pair)) return false;
  if (monitor.primary) return returning || (order !== null && order.uri !== null && answer === 'prepared');
  return isOwedBack(pair) || (reserved && mayComeBack(pair));
};

/** Parked by us, or not yet what the primary needs that comes; who parked the port of a primary that is there, does not matter. */
const isMisplaced = (pair: HostedPair, isOurs: boolean, isParked: boolean): boolean => {
  if (isParked && (owes(pair, 'vfMac') || (isPluggedIntoPort(pair) && pair.monitor?.primary === true))) return true;
  return !isOurs && (pair.monitor?.incoming === true || isPlugging(pair));
};

const flag = (holds: boolean | undefined, bit: number): number => (holds === true ? bit : 0);

/** Computes the packed view anew. */
export const lookAtHosted = (pair: HostedPair, policy: Policy): number => {
  const { vm, monitor, port, order, released, obligations } = pair;
  const vf = port?.vf ?? null;
  const connected = monitor?.connected === true;
  const isOurs = vf?.mac === pair.mac;
  const isParked = vm !== null && vf?.mac === (vm.parking ?? parkingOf(vm.mac));
  const mayCommand = vm !== null && vm.readOnly !== true && connected && !monitor.incoming;
  const incoming = connected && monitor.incoming;
  const onStandby = isOnStandby(pair);
  const B = HOST_BIT;
  return (
    flag(connected, B.watched) |
    flag(incoming, B.incoming) |
    flag(connected && monitor.migration === 'completed' && !monitor.running, B.departed) |
    flag(connected && monitor.migration === 'cancelling', B.ending) |
    flag(pair.hidden, B.hidden) |
    flag(connected && monitor.migration === 'wait-unplug', B.waiting) |
    flag(pair.asked, B.asked) |
    flag(connected && monitor.primary, B.plugged) |
    flag(pair.returning, B.returning) |
    flag(order !== null, B.ordered) |
    flag(isPrepared(pair), B.prepared) |
    flag(pair.refused, B.refused) |
    flag(isOurs, B.vfOurs) |
    flag(isParked, B.vfParked) |
    flag(onStandby, B.onStandby) |
    flag(onStandby && vf !== null && !isParked && !pair.returning, B.unparked) |
    flag(vf !== null && isMisplaced(pair, isOurs, isParked), B.misplaced) |
    flag(port?.pfEntry === false || port?.tapEntry === false, B.unforwarded) |
    flag(owes(pair, 'forwarding'), B.forwarded) |
    flag(pair.guest !== null && wordFor(pair) !== null && wordFor(pair) !== pair.told?.word, B.untold) |
    flag(mayCommand && isUnplugging(pair), B.unplugging) |
    flag(mayCommand && isReady(pair), B.ready) |
    flag(mayCommand && pair.cancelOrdered && isMigrating(pair), B.cancelOrdered) |
    flag(mayCommand && vm.onOverdue === 'cancel' && isMigrating(pair), B.cancels) |
    flag(mayCommand && isPlugging(pair), B.plugging) |
    flag(vm !== null && policy.effects !== 'off' && !released, B.mayAct) |
    flag(released && policy.effects !== 'dryRun' && obligations.length > 0, B.restoring) |
    flag(pair.attempts >= policy.retryLimit, B.exhausted)
  );
};
