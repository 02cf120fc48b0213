// Who is who: which adapters with one MAC are the standby, its master and its primary, and how the pair is switched.
// A pure function of the adapters; it knows the three Linux situations (net_failover trio, active-backup bond, unpaired)
// and leaves NETKVM's to the driver's own record.
import type { Adapter, Policy } from '../events/catalogue.ts';

export const MODES = ['netkvm', 'kernel', 'bond', 'none'] as const;
export type Mode = (typeof MODES)[number];

/** An adapter with the sequence number of the event in which it appeared; with its ifindex that is its identity. */
export interface Arrived {
  readonly facts: Adapter;
  readonly arrival: number;
  /** IP addresses with their prefix lengths, in the order in which they were seen. */
  readonly addresses: Set<string>;
}

/** A device carries when IFF_UP and IFLA_CARRIER = 1 (a device that is down may still claim carrier). */
export const carries = (adapter: Arrived | null): boolean => adapter !== null && adapter.facts.up && adapter.facts.carrier;

export const enslavedTo = (member: Arrived | null, master: Arrived | null): boolean =>
  member !== null && master !== null && member.facts.master === master.facts.ifindex;

export interface Identity {
  readonly ifindex: number;
  readonly arrival: number;
}
export const identityOf = (adapter: Arrived | null): Identity | null =>
  adapter && { ifindex: adapter.facts.ifindex, arrival: adapter.arrival };
export const isSame = (adapter: Arrived | null, identity: Identity | null): boolean =>
  adapter?.facts.ifindex === identity?.ifindex && adapter?.arrival === identity?.arrival;

export interface Roles {
  readonly mode: Mode;
  readonly standby: Arrived | null;
  readonly master: Arrived | null;
  readonly primary: Arrived | null;
  /** A second standby with this MAC: which of the two a command would reach is not sure, so nothing is done. */
  readonly rival: Arrived | null;
  /** Further adapters that could be the primary: they are left alone and reported. */
  readonly surplus: readonly Arrived[];
}

export type NamedPair = Policy['pairs'][number];
type Lookup = (ifindex: number) => Arrived | undefined;

const ACTIVE_BACKUP = 1;

/** A net_failover master shares the virtio device with the standby that it enslaves (drivers/net/net_failover.c). */
const isFailoverMaster = (candidate: Arrived, members: readonly Arrived[]): boolean =>
  members.some(({ facts }) => facts.master === candidate.facts.ifindex && facts.device === candidate.facts.device);

/** Could be a standby: the paravirtual NIC itself, or the adapter that the configuration names. */
const isParavirtual = ({ facts }: Arrived, named: NamedPair | null): boolean =>
  named?.standbyName === undefined ? facts.bus === 'virtio' : facts.name === named.standbyName;

/** Could be a primary: a real device on a bus, or the adapter that the configuration names. Never a VLAN or a bridge. */
const couldBePrimary = ({ facts }: Arrived, named: NamedPair | null): boolean =>
  named?.primaryName === undefined
    ? facts.kind === null && facts.bus !== null && facts.bus !== 'virtio'
    : facts.name === named.primaryName;

const modeOf = (standby: Arrived, master: Arrived | null): Mode => {
  if (master === null) return 'none';
  if (master.facts.kind === 'bond') return master.facts.bond?.mode === ACTIVE_BACKUP ? 'bond' : 'none';
  return master.facts.device === standby.facts.device && master.facts.bus === 'virtio' ? 'kernel' : 'none';
};

/** Whether `members` (all adapters with one MAC) contain a standby at all: only then is there a pair. */
export const hasStandby = (members: readonly Arrived[], named: NamedPair | null): boolean =>
  members.some((member) => isParavirtual(member, named));

/**
 * Sorts the adapters with one MAC into roles. `current` is the present primary: it stays the primary
 * while it exists and no other one is enslaved, so that a second one never takes its place by accident.
 */
export const rolesOf = (
  members: readonly Arrived[],
  lookup: Lookup,
  named: NamedPair | null,
  current: Identity | null,
): Roles => {
  const [standby = null, rival = null] = members.filter(
    (member) => isParavirtual(member, named) && !isFailoverMaster(member, members),
  );
  const master = standby?.facts.master == null ? null : (lookup(standby.facts.master) ?? null);
  const candidates = members
    .filter((member) => member !== standby && member !== rival && member !== master && couldBePrimary(member, named))
    .toSorted((a, b) => a.arrival - b.arrival);
  const enslaved = candidates.find(({ facts }) => master !== null && facts.master === master.facts.ifindex);
  const primary = enslaved ?? candidates.find((candidate) => isSame(candidate, current)) ?? candidates[0] ?? null;
  return {
    mode: standby === null ? 'none' : modeOf(standby, master),
    standby,
    master,
    primary,
    rival,
    surplus: candidates.filter((candidate) => candidate !== primary),
  };
};
