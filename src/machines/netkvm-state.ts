// The state that the original Windows service derives from a NETKVM record: a pure function of seven facts. The service
// keeps it as a table of 128 rows (virtio-win NetKVM/ProtocolService, m_TargetStates); this rule gives the same rows.

export const NETKVM_STATES = [
  'absent',
  'standalone',
  'aloneInactive',
  'aloneActive',
  'boundInactive',
  'boundInitial',
  'boundActive',
  'unknown',
] as const;
export type NetkvmState = (typeof NETKVM_STATES)[number];

/** The seven facts of a NETKVM record (virtio-win NetKVM/Common/netkvmd.h). */
export interface NetkvmFacts {
  /** A virtio adapter with this MAC exists. */
  readonly virtio: boolean;
  /** It negotiated VIRTIO_NET_F_STANDBY. */
  readonly isStandby: boolean;
  /** Its link is up at the device, before suppression. */
  readonly virtioLink: boolean;
  /** The driver holds its link down. */
  readonly suppressLink: boolean;
  /** Traffic flows over the VF. */
  readonly started: boolean;
  /** A VF with this MAC is bound to the failover protocol. */
  readonly hasVf: boolean;
  /** That VF is operational. */
  readonly vfLink: boolean;
}

/** Sorts one record into the original's eight states; combinations that cannot be are `unknown`. */
export const netkvmState = (facts: NetkvmFacts): NetkvmState => {
  const { virtio, isStandby, virtioLink, suppressLink, started, hasVf, vfLink } = facts;
  if (vfLink && !hasVf) return 'unknown';
  if (!virtio && isStandby) return 'unknown';
  if (virtio && !isStandby) return 'standalone';
  if (!virtio) {
    const loneVf = hasVf && !virtioLink && !suppressLink && (!started || vfLink);
    return loneVf ? 'absent' : 'unknown';
  }
  if (!hasVf) return virtioLink ? 'aloneActive' : 'aloneInactive';
  if (!vfLink) return virtioLink && suppressLink && started ? 'boundInactive' : 'aloneInactive';
  if (!virtioLink) return 'boundInactive';
  return suppressLink && !started ? 'boundInitial' : 'boundActive';
};
