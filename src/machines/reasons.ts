// Every reason and every finding that a user can see, with what it means and what to do, in one list. docs/findings.md
// is generated from here; nothing else invents a code.

/** `because`: why a pair is in its stage. */
export const BECAUSE = {
  'standby.absent': 'No standby with this MAC exists.',
  'standby.unpaired':
    'The NIC has no STANDBY feature, is in no active-backup bond, and none is configured: nothing to fail over.',
  'primary.awaited': 'The standby’s link is held down until its primary appears.',
  'primary.absent': 'No primary with the pair’s MAC exists.',
  'primary.incompatible': 'The primary’s MTU differs from the standby’s.',
  'primary.found': 'A primary with the pair’s MAC is there and not bound or enslaved yet.',
  'primary.notAttached': 'A primary with the pair’s MAC is there, but was not bound or enslaved in time.',
  'primary.noCarrier': 'The primary is bound or enslaved, but is down or has no carrier.',
  'primary.notActive': 'The primary has carrier, but is not the active member of the bond.',
  'primary.flapping': 'The primary lost its carrier too often; it is left alone for a while.',
  'primary.leaving': 'A sign says that the primary is about to be unplugged.',
  'primary.unbound': 'The primary is still there, but was unbound or released.',
  'primary.carries': 'The primary is bound or enslaved, up, and has carrier.',
  'link.held': 'The primary is bound, and the standby’s link is still held down.',
  'bond.missing': 'The configuration asks for a bond, and nothing joins standby and primary yet.',
  'master.down': 'The master device is down, so no member can carry.',
  // On a hypervisor.
  'monitor.gone': 'No QEMU answers on the monitor’s socket.',
  'guest.awaited': 'The guest has not arrived yet.',
  'guest.departed': 'The guest has migrated to another host.',
  'guest.preparing': 'The guest was told that its primary is about to leave, and has not answered yet.',
  'guest.paused': 'The guest is paused, so it cannot let its primary go.',
  'primary.present': 'The primary is in the guest.',
  'primary.returning': 'The primary was plugged; the guest has not shown yet that it uses it.',
  'unplug.asked': 'The guest was asked to let its primary go, and still has it.',
  'unplug.awaited': 'The migration waits for the unplug of the primary.',
  'unplug.overdue': 'The guest has not let its primary go within unplugLimit_ms.',
  'unplug.refused': 'The guest refused to let its primary go.',
  'vf.hidden': 'The primary is hidden from the guest, and its VF does not have the parking MAC yet.',
  'vf.parked': 'The primary is hidden from the guest, and its VF has the parking MAC.',
  'migration.cancelling': 'The migration is being cancelled.',
} as const;
export type Because = keyof typeof BECAUSE;

export const SEVERITIES = ['info', 'warning', 'error'] as const;
export type Severity = (typeof SEVERITIES)[number];

interface FindingEntry {
  readonly severity: Severity;
  readonly meaning: string;
  readonly cause: string;
  readonly cure: string;
}

export const FINDINGS = {
  noPath: {
    severity: 'error',
    meaning: 'Neither standby nor primary carried: the guest had no network over this pair.',
    cause: 'Both members without carrier, the master down, or the standby’s link held down.',
    cure: 'Look at the stage and reason during the span; bring the standby up on the host.',
  },
  inboundHole: {
    severity: 'warning',
    meaning: 'Everything that arrived on the standby was dropped by the kernel.',
    cause: 'net_failover ignores frames on the standby while a primary is registered, also while that primary has no carrier.',
    cure: 'Use a primary that gets carrier at once, plug it later, or steer a bond instead of net_failover.',
  },
  carrierLost: {
    severity: 'warning',
    meaning: 'The primary lost its carrier (or was set down) while it stayed plugged.',
    cause: 'Link down on the physical port, the PF was reset, or someone set the interface down.',
    cure: 'Check the port on the host; the standby carries meanwhile.',
  },
  mtuMismatch: {
    severity: 'error',
    meaning: 'Primary and standby have different MTUs.',
    cause: 'The MTU was changed on one of them only, or the VF’s limit is lower.',
    cure: 'Set the same MTU on both (on Windows *JumboPacket), then plug the primary again.',
  },
  foreignMac: {
    severity: 'info',
    meaning: 'A network function with another MAC was plugged in while this pair lacked its primary.',
    cause: 'The host did not give the VF the pair’s MAC, or restored it too late after a cancelled migration.',
    cure: 'Set the VF’s MAC on the host to the pair’s MAC and plug the VF again, unless it is meant to be another NIC.',
  },
  secondPrimary: {
    severity: 'warning',
    meaning: 'Two primaries with the pair’s MAC exist; the second is left alone.',
    cause: 'Two VFs were given the same MAC on the host.',
    cure: 'Remove one. The second is not adopted by net_failover when the first leaves; plug it again then.',
  },
  secondStandby: {
    severity: 'error',
    meaning: 'Two paravirtual NICs have this MAC; nothing is done for the pair.',
    cause: 'The guest was given two standbys with one MAC; NETKVM obeys a command on the first that it finds.',
    cure: 'Give one of them another MAC on the host, or name the standby in the configuration.',
  },
  noAdapter: {
    severity: 'warning',
    meaning: 'A network function is there that shows no adapter, while this pair lacks its primary.',
    cause: 'The guest has no driver for it, or it was given to something else (VFIO, another network namespace).',
    cure: 'Install the driver of the VF in the guest, or give the function back; the standby carries meanwhile.',
  },
  attachFailed: {
    severity: 'error',
    meaning: 'A primary with the pair’s MAC is there, but is not bound or enslaved.',
    cause: 'The driver refused (MTU, VLANs, a primary was already present when it came), or nobody enslaves it.',
    cure: 'See the kernel log for “attempting to register as slave” or “unable to change mtu”; plug the primary again.',
  },
  announceSeen: {
    severity: 'info',
    meaning: 'The guest was told to announce its address: it was migrated, or asked to announce.',
    cause: 'The hypervisor sets the virtio announce bit after a migration.',
    cure: 'Nothing to do.',
  },
  primaryReturned: {
    severity: 'info',
    meaning: 'The primary came back after it had left.',
    cause: 'Replugged after a migration (with an announce), or after a cancelled one or by hand (without).',
    cure: 'Nothing to do.',
  },
  gap: {
    severity: 'warning',
    meaning: 'Messages were lost or unreadable; facts may have been missed until the next survey.',
    cause: 'The kernel’s receive buffer overflowed (ENOBUFS), or a datagram was damaged.',
    cure: 'A survey follows by itself on a live system; grant CAP_NET_ADMIN for a larger buffer.',
  },
  flapping: {
    severity: 'warning',
    meaning: 'The primary lost its carrier again and again within a short time.',
    cause: 'Bad cable or transceiver, or the PF is being reset.',
    cure: 'Check the physical port; see flapLimit and flapWindow_ms in the configuration.',
  },
  clockJumped: {
    severity: 'info',
    meaning: 'The guest was suspended, or its wall clock was stepped.',
    cause: 'Migration downtime, suspend and resume, or time synchronisation.',
    cure: 'Nothing to do: order comes from sequence numbers.',
  },
  effectFailed: {
    severity: 'error',
    meaning: 'An effect failed or was refused.',
    cause: 'The finding’s text has the system’s reason.',
    cure: 'Remove the reason; the service tries again by itself within its limits.',
  },
  wrongMaster: {
    severity: 'error',
    meaning: 'A member of the pair is enslaved to another device than the one that joins the pair.',
    cause: 'A bridge, a team or another bond took the standby or the primary.',
    cure: 'Take the member out of that device (`ip link set NAME nomaster`), and put the pair’s master into it instead.',
  },
  obligationOpen: {
    severity: 'warning',
    meaning: 'What the service changed is still in place, and effects are off for the pair.',
    cause: 'The pair was taken from the configuration, or effects were turned off, after something had been changed.',
    cure: 'Give it back with `netkvm restore`, or list the pair again.',
  },
  wrongMac: {
    severity: 'error',
    meaning: 'The function in the primary’s place has another MAC, so it is not paired.',
    cause: 'The host parked or reset the VF’s MAC for the migration and did not restore it before the VF was plugged again.',
    cure: 'Set the VF’s MAC on the host to the pair’s MAC, check it with `ip link show`, and plug the VF again.',
  },
  primaryMissing: {
    severity: 'warning',
    meaning: 'A primary left and did not come back.',
    cause: 'The target has no free VF, the VF could not be plugged after a migration, or it was taken away by hand.',
    cure: 'Plug a VF with the pair’s MAC on the host; the standby carries until then.',
  },
  doubleAddresses: {
    severity: 'warning',
    meaning: 'More than one device of the pair has IP addresses of one family.',
    cause: 'A DHCP client or network manager configures a member besides its master, or the primary before it was enslaved.',
    cure: 'Tell that program to leave the members alone; the addresses belong on the master (net_failover, bond) or the standby.',
  },
  nameGrabbed: {
    severity: 'error',
    meaning: 'A member has the IP addresses of the pair, and the master that carries the traffic has none.',
    cause:
      'A network manager configures the member: its configuration names it, or it has the name or MAC that the configuration means the master by.',
    cure: 'Match the master and leave the members out (Unmanaged=yes, unmanaged-devices); `netkvm doctor` names who configured what.',
  },
  managerNotTold: {
    severity: 'warning',
    meaning: 'A network manager of the guest did not listen when it was told of a bond, or that the bond is gone.',
    cause: 'The finding’s text has what it said: it does not answer, or the service may not speak to it.',
    cure: 'Tell it by hand before the lease ends (docs/service.md says what), or set static addresses.',
  },
  unplugNotDone: {
    severity: 'warning',
    meaning: 'A sign said that the primary is about to leave, and it is still there.',
    cause: 'The unplug was refused or cancelled, or the primary’s driver was only reset. The host may still wait for it.',
    cure: 'If a migration hangs in wait-unplug: see the guest’s kernel log for its hotplug slot, or cancel the migration.',
  },
  protocolMissing: {
    severity: 'error',
    meaning: 'The failover protocol (VIOPROT) is not installed, so the primary cannot be bound.',
    cause: 'It was never installed, or was removed: the driver alone cannot pair.',
    cure: 'Install vioprot.inf; the standby carries until then. A primary that was bound has its own protocols back, so that both may have addresses: disable one of the two if that is to stay.',
  },
  otherController: {
    severity: 'error',
    meaning: 'Another program switches the same pairs; while it runs, this service only observes.',
    cause: 'The driver package’s own service (netkvmp) is running: installing VIOPROT registers and starts it.',
    cure: 'Run `netkvm install --take-over`, which stops and disables it, or leave the pairs to it.',
  },
  lockHeld: {
    severity: 'warning',
    meaning: 'An effect could not be carried out because another program holds the lock that it needs.',
    cause: 'The network configuration (INetCfg) is open in another program; the finding names it where the system tells.',
    cure: 'Close that program. The service tries again by itself.',
  },
  nothingReturns: {
    severity: 'error',
    meaning: 'Frames leave over the path, and nothing at all comes back.',
    cause:
      'The host does not deliver to this member: a MAC filter or a stale forwarding entry still points to the other one, or a VLAN is missing.',
    cure: 'On the host: move the forwarding entry of the pair’s MAC to the member that carries (`bridge fdb`), check VF MAC and VLAN.',
  },
  logOutage: {
    severity: 'warning',
    meaning: 'The log could not be written for a while.',
    cause: 'Disk full, slow or failing; the finding’s text has the system’s reason.',
    cure: 'Make room. What is said to be lost is missing in this log: what happened meanwhile cannot be explained from it.',
  },
  unplugRefused: {
    severity: 'error',
    meaning: 'The guest refused to let the primary go (DEVICE_UNPLUG_GUEST_ERROR).',
    cause: 'The guest’s driver or hotplug slot said no: the slot’s power control failed, or the device is in use.',
    cure: 'Cancel the migration: the primary stays. Look at the guest’s kernel log for its hotplug slot before trying again.',
  },
  unplugEndless: {
    severity: 'error',
    meaning: 'The migration waits for the unplug of the primary, and it does not come.',
    cause: 'The guest is paused, still boots, has no hotplug driver, or its primary’s driver hangs. QEMU waits without limit.',
    cure: 'Resume the guest if it is paused, else cancel the migration; the cancellation itself waits up to 30 s.',
  },
  migrationNotDone: {
    severity: 'warning',
    meaning: 'A migration was cancelled, or failed.',
    cause: 'An operator, a limit of the management, or the target: its log says which.',
    cure: 'See that the primary came back, with the pair’s MAC: QEMU plugs it again without an event.',
  },
  guestPaused: {
    severity: 'error',
    meaning: 'The guest is paused while its primary is to be unplugged: it cannot let it go, and QEMU waits without limit.',
    cause: 'A management paused the guest before the migration.',
    cure: 'Resume the guest, or cancel the migration.',
  },
  vfMissing: {
    severity: 'error',
    meaning: 'The VF that the configuration names does not exist.',
    cause: 'Too few VFs were made on the physical function, or its name or the VF’s number is wrong.',
    cure: 'Make VFs (sriov_numvfs), or name another one. On a target the guest runs on its standby until then.',
  },
  vfMacForeign: {
    severity: 'error',
    meaning: 'The primary is in the guest, and its VF does not have the pair’s MAC.',
    cause: 'Somebody else set it, or the driver of the physical function ignored or lost the MAC that was set.',
    cure: 'Set the VF’s MAC to the pair’s MAC on the host. Some drivers take it only when the VF is bound anew.',
  },
  vfNotParked: {
    severity: 'warning',
    meaning: 'The primary is hidden, and its VF still has the pair’s MAC.',
    cause: 'Effects are off, or the driver refused the parking MAC.',
    cure: 'The physical function may drop what the guest sends through its tap: park the MAC by hand, or turn effects on.',
  },
  guestSilent: {
    severity: 'info',
    meaning: 'A channel is configured, and no service of the guest answers there.',
    cause: 'The service is not installed or not running in the guest, or its port has another name.',
    cure: 'Install it in the guest; without it the guest is not told before its primary leaves.',
  },
  clocksDisagree: {
    severity: 'warning',
    meaning: 'The clocks of guest and hosts could not be put on one axis without contradiction.',
    cause: 'The files are not of the same migration, a clock was stepped, or the hosts’ clocks differ.',
    cure: 'Check that the files belong together, and that the hosts keep their clocks with NTP or PTP.',
  },
} as const satisfies Record<string, FindingEntry>;
export type FindingCode = keyof typeof FINDINGS;
