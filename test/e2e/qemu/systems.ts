// The three ways to fail over that are measured beside each other, and how each of them is brought to life in a guest.
import { CONFIGURATION, type Guest } from './guest.ts';
import { MAC } from './lab.ts';
import { GUEST } from './network.ts';

export const SYSTEMS = ['net_failover', 'scripted bond', 'netkvm'] as const;
export type System = (typeof SYSTEMS)[number];

const IP = '/sbin/ip';

/** The bond as manuals have it: the kernel polls the links and prefers the primary. eth0 is the only card so far. */
const BOND = [
  'link add bond0 type bond mode active-backup miimon 20',
  `link set bond0 address ${MAC}`,
  'link set eth0 master bond0',
  'link set bond0 up',
  `addr add ${GUEST.v4}/24 dev bond0`,
  `addr add ${GUEST.v6}/64 dev bond0 nodad`,
];
/** What a udev rule would run. busybox `uevent` starts it for every event of the kernel, as udevd does for those that match. */
const RULE = `#!/bin/sh
[ "$ACTION $SUBSYSTEM" = 'add net' ] || exit 0
[ "$INTERFACE" = bond0 ] && exit 0
[ "$(cat /sys/class/net/$INTERFACE/address)" = ${MAC} ] || exit 0
${IP} link set $INTERFACE down
${IP} link set $INTERFACE master bond0
${IP} link set bond0 type bond primary $INTERFACE
`;

/** Our service, scheduled before the work that takes a primary away: a sign of that is a race (docs/configuration.md). */
export const STEERED = `[service]\nrealtimePriority = 20\n\n${CONFIGURATION.bond}`;

/** Brings the system to life in a guest that has its standby only (net_failover: with the kernel's pair). */
export const bringUp = async (system: System, guest: Guest, more = ''): Promise<void> => {
  if (system === 'net_failover') return guest.address();
  if (system === 'netkvm') {
    await guest.address();
    await guest.serve(`${STEERED}\n${more}`);
    await guest.takenOver();
    return guest.rests('fallback', 'standby');
  }
  await guest.sh(BOND.map((line) => `${IP} ${line}`).join(' && '));
  await guest.sh(`cat >/run/rule <<'END'\n${RULE}END\nchmod +x /run/rule; (uevent /run/rule >/run/rule.log 2>&1 </dev/null &)`);
};
