// The hypervisor's side in the catalogue: what its configuration says of a guest, what it sees of QEMU, VF and guest, and what it
// tells the guest.
import { Type, type Static } from 'typebox';
import { Closed, Int, MacText, Nullable, OneOf, Short } from './schemas.ts';

/** What becomes of a migration whose unplug does not come, or is refused. */
export const OVERDUE_ACTIONS = ['alarm', 'cancel'] as const;

/** One pair as its hypervisor knows it. Keys, defaults and meanings: src/host/settings.ts (VM_KEYS). */
export const VmSchema = Type.Object(
  {
    mac: MacText,
    /** Path of a QMP socket that nobody else uses. */
    qmp: Short,
    /** QEMU's ids of the two devices. */
    standby: Short,
    primary: Short,
    /** The physical function and the number of its VF; or a bridge port that stands in for a VF. */
    pf: Type.Optional(Short),
    vf: Type.Optional(Int),
    port: Type.Optional(Short),
    tap: Type.Optional(Short),
    bridge: Type.Optional(Short),
    /** Path of the socket behind the guest's port `org.netkvm.failover.0`. */
    channel: Type.Optional(Short),
    /** The MAC that the VF has while it is hidden. */
    parking: Type.Optional(MacText),
    /** Arguments of `device_add` for the primary, as JSON. */
    plug: Type.Optional(Type.String({ maxLength: 2048 })),
    /** The monitor is only listened to: nothing is plugged, unplugged, migrated or cancelled. */
    readOnly: Type.Optional(Type.Boolean()),
    onOverdue: Type.Optional(OneOf(OVERDUE_ACTIONS)),
    unplugLimit_ms: Type.Optional(Int),
    prepareLimit_ms: Type.Optional(Int),
    returnLimit_ms: Type.Optional(Int),
  },
  Closed,
);
export type VmPolicy = Static<typeof VmSchema>;

/** What the hypervisor tells its guest: the primary is about to leave; a new one is coming, or it stays after all. */
export const WORDS_TO_GUEST = ['prepare', 'arriving'] as const;
export type WordToGuest = (typeof WORDS_TO_GUEST)[number];

export const MonitorFields = {
  connected: Type.Boolean(),
  /** query-status: the guest’s CPUs run. */
  running: Type.Boolean(),
  /** query-status `inmigrate`: the guest has not arrived yet. */
  incoming: Type.Boolean(),
  /** query-migrate, as the source of a migration; `none` where there was none. */
  migration: Short,
  /** Whether the primary’s device exists in this QEMU (a hidden one still does). */
  primary: Type.Boolean(),
  /** Whether the standby offers STANDBY, so that QEMU itself hides the primary and plugs it again. */
  failover: Type.Boolean(),
};
const VfSchema = Type.Object(
  {
    mac: MacText,
    vlan: Int,
    qos: Int,
    /** Null where the driver does not say. */
    spoofchk: Nullable(Type.Boolean()),
    trust: Nullable(Type.Boolean()),
  },
  Closed,
);
export type VfFacts = Static<typeof VfSchema>;
export const PortFields = {
  /** Null: there is no such VF. */
  vf: Nullable(VfSchema),
  /** Whether the pair’s MAC is forwarded by an entry of its own. Null: none is configured there. */
  pfEntry: Nullable(Type.Boolean()),
  tapEntry: Nullable(Type.Boolean()),
};
/** What the guest’s service says of the pair (events/channel.ts). */
export const GuestWordSchema = Type.Object(
  {
    version: Short,
    stage: Short,
    datapath: Short,
    /** MAC of the function in the primary’s place, null where there is none. */
    primary: Nullable(MacText),
    /** The migration that its hypervisor spoke of last. */
    episode: Nullable(Short),
    /** Codes of the findings that last. */
    findings: Type.Array(Short, { maxItems: 32 }),
  },
  Closed,
);
export type GuestWord = Static<typeof GuestWordSchema>;
