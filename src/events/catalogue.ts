// What can happen, in one list: every event type with its meaning and the schema of its data. Nothing else in the
// project names an event type that is not here; docs/events.md is compared with this list by a test.
//
// Units: *_ns are nanoseconds as decimal strings (they outgrow a JavaScript number after 104 days of uptime), *_ms are
// milliseconds as numbers. A MAC is six lower-case hexadecimal pairs. A PCI address is `domain:bus:device.function`.
import { Type, type Static, type TSchema } from 'typebox';
import { GuestWordSchema, MonitorFields, PortFields, VmSchema, WORDS_TO_GUEST } from './hosting.ts';
import { Closed, Int, MacText, Ns, Nullable, OneOf, Short, Text } from './schemas.ts';

/** Fields of an adapter that can change while it exists (rtnetlink IFLA_*, GetIfTable2 MIB_IF_ROW2). */
const changeable = {
  /** Interface name (IFLA_IFNAME) or alias. A label only: it changes under udev. */
  name: Short,
  /** Current MAC (IFLA_ADDRESS). */
  mac: Nullable(MacText),
  /** Permanent MAC (IFLA_PERM_ADDRESS, MIB_IF_ROW2.PermanentPhysicalAddress). */
  permMac: Nullable(MacText),
  /** Bus of the parent device (IFLA_PARENT_DEV_BUS_NAME): `pci`, `virtio`, … */
  bus: Nullable(Short),
  /** Parent device on that bus (IFLA_PARENT_DEV_NAME), or the device instance id on Windows. */
  device: Nullable(Short),
  /** Address of the PCI function that carries the adapter. */
  pci: Nullable(Short),
  driver: Nullable(Short),
  mtu: Int,
  /** Administratively up (IFF_UP). */
  up: Type.Boolean(),
  /** IFLA_CARRIER = 1. Says nothing while the adapter is down. */
  carrier: Type.Boolean(),
  /** ifindex of the master (IFLA_MASTER). */
  master: Nullable(Int),
  /** Kind of a virtual device (IFLA_INFO_KIND): `bond`, `vlan`, `veth`, … */
  kind: Nullable(Short),
  /** Bond masters: mode (1 is active-backup) and ifindex of the active slave (IFLA_BOND_*). */
  bond: Nullable(Type.Object({ mode: Int, activeSlave: Nullable(Int) }, Closed)),
  /** Members of a bond: IFLA_BOND_SLAVE_STATE is active (`active: true`) or backup; MII link status is up. */
  slave: Nullable(Type.Object({ active: Type.Boolean(), miiUp: Type.Boolean() }, Closed)),
  /** Windows: which protocols are bound above the adapter (INetCfg). */
  protocols: Nullable(Type.Record(Short, Type.Boolean())),
};
export const AdapterFields = Type.Object(changeable, Closed);
export const AdapterSchema = Type.Object({ ifindex: Int, ...changeable }, Closed);
export type Adapter = Static<typeof AdapterSchema>;
export type AdapterChange = Partial<Omit<Adapter, 'ifindex'>>;

/** A PCI function of the network class (0x02xxxx). */
export const PciFunctionSchema = Type.Object(
  {
    address: Short,
    /** `vendor:device`, four hexadecimal digits each. */
    id: Nullable(Short),
    driver: Nullable(Short),
  },
  Closed,
);
export type PciFunction = Static<typeof PciFunctionSchema>;

/** One record of IOCTL_NETKVMD_QUERY_ADAPTERS (virtio-win NetKVM/Common/netkvmd.h). */
export const DriverFactsSchema = Type.Object(
  {
    mac: MacText,
    virtio: Type.Boolean(),
    isStandby: Type.Boolean(),
    virtioLink: Type.Boolean(),
    suppressLink: Type.Boolean(),
    started: Type.Boolean(),
    hasVf: Type.Boolean(),
    vfIfIndex: Int,
    vfLink: Type.Boolean(),
  },
  Closed,
);
export type DriverFacts = Static<typeof DriverFactsSchema>;

const AddressSchema = Type.Object({ ifindex: Int, address: Short }, Closed);
export type Address = Static<typeof AddressSchema>;

export const EFFECT_MODES = ['off', 'dryRun', 'on'] as const;

/** What a pair is to be: `auto` takes what is there; `bond` makes a bond where nothing joins the two; `kernel` is watched and tuned. */
export const PAIR_MODES = ['auto', 'kernel', 'bond'] as const;

const parameters = {
  mtu: Type.Optional(Int),
  /** IFLA_TXQLEN. */
  txQueue: Type.Optional(Int),
  /** ETHTOOL_A_RINGS_RX, ETHTOOL_A_RINGS_TX. */
  rxRing: Type.Optional(Int),
  txRing: Type.Optional(Int),
  /** ETHTOOL_A_CHANNELS_COMBINED_COUNT. */
  channels: Type.Optional(Int),
  /** By the kernel's names (`ethtool -k`, linux/netdev_features.h strings): `tx-tcp-segmentation`, `rx-gro`, … */
  features: Type.Optional(Type.Record(Short, Type.Boolean(), { maxProperties: 64 })),
  /** Windows: by the names that the driver's INF file gives them (Ndi\\Params). */
  inf: Type.Optional(Type.Record(Short, Short, { maxProperties: 64 })),
};
/** Parameters of a network device. What is not named is left as it is. */
export const ParametersSchema = Type.Object(parameters, Closed);
export type Parameters = Static<typeof ParametersSchema>;
/** The same as a policy asks for them: the MTU may be whatever the standby has. */
const WishedSchema = Type.Object({ ...parameters, mtu: Type.Optional(Type.Union([Int, Type.Literal('standby')])) }, Closed);
export type Wished = Static<typeof WishedSchema>;

/** The stages in which a pair rests; in the others it is on its way, and what its standby has is left alone. */
export const TUNED_STAGES = ['fallback', 'onPrimary'] as const;
export type TunedStage = (typeof TUNED_STAGES)[number];

/** The part of the configuration that the fold depends on. Defaults and meanings: src/machines/policy.ts. */
export const PolicySchema = Type.Object(
  {
    effects: OneOf(EFFECT_MODES),
    expectPrimary: Type.Boolean(),
    grace_ms: Int,
    attachLimit_ms: Int,
    switchLimit_ms: Int,
    detachLimit_ms: Int,
    retryDelay_ms: Int,
    retryLimit: Int,
    effectLimit_ms: Int,
    blockedRetry_ms: Int,
    flapLimit: Int,
    flapWindow_ms: Int,
    flapHold_ms: Int,
    settle_ms: Int,
    /** The pairs that effects may touch, and how to recognise members that no bus tells (namespaces, tests). */
    pairs: Type.Array(
      Type.Object(
        {
          mac: MacText,
          standbyName: Type.Optional(Short),
          primaryName: Type.Optional(Short),
          mode: Type.Optional(OneOf(PAIR_MODES)),
          /** Name of the bond that a takeover makes. */
          bond: Type.Optional(Short),
          /** IP addresses of which one must answer after a takeover; the default gateways unless given. */
          probe: Type.Optional(Type.Array(Short, { maxItems: 8 })),
          confirm_ms: Type.Optional(Int),
          /** What every new primary is given before it carries. */
          parameters: Type.Optional(WishedSchema),
          /** What the standby has while the pair is in this stage. */
          standbyParameters: Type.Optional(
            Type.Object({ fallback: Type.Optional(ParametersSchema), onPrimary: Type.Optional(ParametersSchema) }, Closed),
          ),
        },
        Closed,
      ),
      { maxItems: 256 },
    ),
    /** The hypervisor's side: the guests whose pairs it looks after. A guest's own log has none. */
    vms: Type.Optional(Type.Array(VmSchema, { maxItems: 256 })),
  },
  Closed,
);
export type Policy = Static<typeof PolicySchema>;

/**
 * The kinds of effect, and what becomes of one whose outcome a crash took away. `repeatable` ones compare, act and read
 * back, so they are simply wanted again from fresh facts; what was done `atMostOnce` is void, and is done again only if a
 * fresh survey calls for it.
 */
export const EFFECT_KINDS = {
  holdLink: 'repeatable',
  releaseLink: 'repeatable',
  bindPrimary: 'repeatable',
  unbindPrimary: 'repeatable',
  activatePrimary: 'repeatable',
  activateStandby: 'repeatable',
  /** Makes the bond, moves what the standby carries onto it, enslaves the standby; undone unless a probe answers in time. */
  takeOver: 'repeatable',
  /** Gives back what one open obligation says. */
  giveBack: 'repeatable',
  /** Addresses that appeared on a member go to the bond. */
  moveAddresses: 'repeatable',
  /** Gives a new primary the parameters of the policy. */
  alignParameters: 'repeatable',
  /** Gives the standby what the policy says for this stage, and takes back what it says for others. */
  tuneStandby: 'repeatable',
  /** The hypervisor's: gives the hidden VF its parking MAC, and the pair's MAC before the primary is plugged. */
  parkMac: 'repeatable',
  restoreMac: 'repeatable',
  /** Forwarding entries for the pair's MAC on PF and tap, while the VF is hidden. */
  addForwarding: 'repeatable',
  removeForwarding: 'repeatable',
  /** A word to the guest, over its channel. */
  tellGuest: 'repeatable',
  unplugPrimary: 'repeatable',
  plugPrimary: 'repeatable',
  startMigration: 'atMostOnce',
  cancelMigration: 'repeatable',
} as const satisfies Record<string, 'repeatable' | 'atMostOnce'>;
export type DecisionKind = keyof typeof EFFECT_KINDS;
export const DECISION_KINDS = Object.keys(EFFECT_KINDS) as DecisionKind[];
/** Kinds whose decision says everything by its kind and its devices. */
export const PLAIN_KINDS = [
  'holdLink',
  'releaseLink',
  'bindPrimary',
  'unbindPrimary',
  'activatePrimary',
  'activateStandby',
  'moveAddresses',
] as const satisfies readonly DecisionKind[];

/** What the hypervisor's side decides. Its decisions name no adapter of a guest. */
export const HOST_KINDS = [
  'parkMac',
  'restoreMac',
  'addForwarding',
  'removeForwarding',
  'tellGuest',
  'unplugPrimary',
  'plugPrimary',
  'startMigration',
  'cancelMigration',
] as const satisfies readonly DecisionKind[];
export type HostKind = (typeof HOST_KINDS)[number];
const HOST_PLAIN_KINDS = [
  'parkMac',
  'restoreMac',
  'addForwarding',
  'removeForwarding',
  'unplugPrimary',
  'plugPrimary',
  'cancelMigration',
] as const satisfies readonly HostKind[];
/** An adapter as a decision names it: never by ifindex alone (an ifindex is used again after a replug). */
const TargetSchema = Type.Object(
  { ifindex: Int, mac: Nullable(MacText), device: Nullable(Short), pci: Nullable(Short), arrival: Int },
  Closed,
);
export type Target = Static<typeof TargetSchema>;

const decided = <K extends DecisionKind>(kinds: readonly K[]) => ({
  /** `d<seq of the cause>.<ordinal>` */
  id: Type.String({ pattern: '^d[0-9]+[.][0-9]+$' }),
  pair: MacText,
  kind: OneOf(kinds),
  mode: OneOf(['netkvm', 'bond', 'kernel', 'host'] as const),
  attempt: Int,
  master: Nullable(TargetSchema),
  standby: Nullable(TargetSchema),
  primary: Nullable(TargetSchema),
});
const planned = <const K extends DecisionKind, P extends TSchema>(kind: K, plan: P) =>
  Type.Object({ ...decided([kind]), plan }, Closed);

export const DecisionSchema = Type.Union([
  Type.Object(decided(PLAIN_KINDS), Closed),
  planned('takeOver', Type.Object({ bond: Short, probe: Type.Array(Short, { maxItems: 8 }), confirm_ms: Int }, Closed)),
  /** Id of the open obligation; the platform is handed the obligation itself (adapters/platform.ts, Ledger). */
  planned('giveBack', Type.Object({ obligation: Short }, Closed)),
  planned('alignParameters', Type.Object({ parameters: ParametersSchema }, Closed)),
  /** `elsewhere`: what other stages ask for, so that all that may be changed is written down at once. */
  planned(
    'tuneStandby',
    Type.Object({ stage: OneOf(TUNED_STAGES), parameters: ParametersSchema, elsewhere: ParametersSchema }, Closed),
  ),
  Type.Object(decided(HOST_PLAIN_KINDS), Closed),
  /** `episode` names the migration in the logs of source, target and guest. */
  planned('tellGuest', Type.Object({ word: OneOf(WORDS_TO_GUEST), episode: Short }, Closed)),
  planned('startMigration', Type.Object({ uri: Short }, Closed)),
]);
export type Decision = Static<typeof DecisionSchema>;
export type DecisionOf<K extends DecisionKind> = Extract<Decision, { kind: K }>;
/** Whether it is for a hypervisor to carry out. */
export const isHosts = (decision: Decision): decision is DecisionOf<HostKind> =>
  (HOST_KINDS as readonly DecisionKind[]).includes(decision.kind);

/**
 * Whatever is changed is owed until it is given back: bonds, parameters of a device, bindings and parameters that a driver has
 * in the registry (Windows), files of the service; on a hypervisor the VF's MAC, forwarding entries, and a primary that was
 * unplugged.
 */
export const OBLIGATION_KINDS = [
  'takeover',
  'parameters',
  'bindings',
  'driverParameters',
  'service',
  'vfMac',
  'forwarding',
  'unplugged',
] as const;
export type ObligationKind = (typeof OBLIGATION_KINDS)[number];
/** Characters that `before` of an obligation may take as JSON. */
export const BEFORE_CHARS_MAX = 65_536;

const ObligationSchema = Type.Object(
  {
    /** `<decision>.<kind>` */
    id: Short,
    pair: MacText,
    kind: OneOf(OBLIGATION_KINDS),
    /** The device instance that was changed, null where it is none. */
    device: Nullable(TargetSchema),
    /** What it was before, as the platform wrote it down for itself: plain JSON. */
    before: Type.Unknown(),
  },
  Closed,
);
export type Obligation = Static<typeof ObligationSchema>;

/** `undone`: an attempt that failed put everything back itself; `gone`: the device is no more, so nothing is owed to it. */
export const SETTLEMENTS = ['givenBack', 'undone', 'gone'] as const;
export type Settlement = (typeof SETTLEMENTS)[number];

/** How the reason of an outcome begins where somebody else holds a lock that the effect needs (INetCfg); who it is follows. */
export const LOCK_HELD = 'the write lock is held by ';

/** In the reason of an outcome, between a network manager's name and why it was not told of a bond. */
export const NOT_TOLD = ' was not told: ';

export const OUTCOMES = ['succeeded', 'failed', 'refused', 'void'] as const;

const define = <D extends TSchema>(meaning: string, data: D) => ({ meaning, data });

export const catalogue = {
  // Observations: what an adapter of the outside world saw.
  'adapter.appeared': define('A network adapter exists that was not known before.', AdapterSchema),
  'adapter.changed': define(
    'Some fields of a known adapter have new values.',
    Type.Object({ ifindex: Int, changed: Type.Partial(AdapterFields, Closed) }, Closed),
  ),
  'adapter.gone': define('A known adapter no longer exists.', Type.Object({ ifindex: Int }, Closed)),
  'pci.added': define('A PCI function of the network class was plugged in.', PciFunctionSchema),
  'pci.bound': define('A driver took a PCI function.', Type.Object({ address: Short, driver: Nullable(Short) }, Closed)),
  'pci.unbound': define('The driver let a PCI function go.', Type.Object({ address: Short }, Closed)),
  'pci.removed': define('A PCI function was unplugged.', Type.Object({ address: Short }, Closed)),
  'driver.facts': define('NETKVM reports this record for a MAC.', DriverFactsSchema),
  'driver.gone': define('NETKVM no longer reports a record for a MAC.', Type.Object({ mac: MacText }, Closed)),
  'protocol.installed': define('The failover protocol is installed.', Type.Object({ name: Short }, Closed)),
  'protocol.removed': define('The failover protocol is not installed.', Type.Object({ name: Short }, Closed)),
  'controller.seen': define(
    'Another program that switches the same pairs was found running (the driver package’s own service), or has ended.',
    Type.Object({ name: Short, running: Type.Boolean() }, Closed),
  ),
  'address.added': define('An adapter got an IP address.', AddressSchema),
  'address.removed': define('An adapter lost an IP address.', AddressSchema),
  'counters.sampled': define(
    'Packet counters of an adapter (IFLA_STATS64, MIB_IF_ROW2).',
    Type.Object({ ifindex: Int, rxPackets: Ns, rxDropped: Ns, txPackets: Ns, txDropped: Ns }, Closed),
  ),
  'announce.seen': define(
    'An adapter was told to announce its address: the guest was migrated, or asked to announce.',
    Type.Object({ ifindex: Int }, Closed),
  ),
  'departure.signalled': define(
    'A sign that a PCI function is about to leave; not yet a fact.',
    Type.Object({ address: Short, sign: OneOf(['ptpRemoved', 'slotPowerOff', 'prepare', 'unbound'] as const) }, Closed),
  ),
  // What the hypervisor's side sees of one pair.
  'monitor.facts': define(
    'What QEMU answers when it is asked how it is.',
    Type.Object({ pair: MacText, ...MonitorFields }, Closed),
  ),
  'monitor.event': define(
    'QEMU says on its monitor that something happened. A hint: what is the case follows as monitor.facts.',
    Type.Object(
      {
        pair: MacText,
        name: Short,
        fields: Type.Record(Short, Type.Union([Text, Type.Number(), Type.Boolean()]), { maxProperties: 64 }),
        /** QEMU's own time for it: the host's realtime clock. */
        at_ns: Nullable(Ns),
      },
      Closed,
    ),
  ),
  'port.facts': define(
    'The primary’s VF as its physical function has it, and the forwarding entries for the pair’s MAC.',
    Type.Object({ pair: MacText, ...PortFields }, Closed),
  ),
  'channel.facts': define(
    'Whether the guest’s service answers on the channel, and what it says of itself.',
    Type.Object({ pair: MacText, guest: Nullable(GuestWordSchema) }, Closed),
  ),
  'channel.heard': define(
    'An answer of the guest to a word of its hypervisor; or, in the guest, that word.',
    Type.Object(
      {
        pair: MacText,
        word: OneOf(['prepared', 'refused', ...WORDS_TO_GUEST] as const),
        episode: Short,
        reason: Nullable(Text),
      },
      Closed,
    ),
  ),
  'gap.seen': define(
    'Messages were lost or could not be read; a survey follows where one can be made.',
    Type.Object({ source: Short, reason: Text }, Closed),
  ),
  'survey.taken': define(
    'Everything that exists, read anew. What it does not list does not exist.',
    Type.Object(
      {
        reason: Short,
        adapters: Type.Array(AdapterSchema, { maxItems: 65_536 }),
        functions: Type.Array(PciFunctionSchema, { maxItems: 65_536 }),
        addresses: Type.Array(AddressSchema, { maxItems: 65_536 }),
        /** Windows: NETKVM's records. Where this is missing nothing is said of them. */
        records: Type.Optional(Type.Array(DriverFactsSchema, { maxItems: 256 })),
      },
      Closed,
    ),
  ),
  'clock.jumped': define(
    'The wall clock and the monotonic clock disagree: suspend, migration or a step.',
    Type.Object({ kind: OneOf(['suspended', 'stepped'] as const), delta_ns: Ns }, Closed),
  ),

  // The service's own life.
  'service.started': define(
    'The service began to watch.',
    Type.Object(
      {
        version: Short,
        machineVersion: Int,
        bootId: Short,
        vmGeneration: Nullable(Short),
        platform: Short,
        host: Type.Record(Short, Text),
      },
      Closed,
    ),
  ),
  'service.stopped': define('The service ended on purpose.', Type.Object({ reason: Short }, Closed)),
  'configuration.applied': define('This policy holds from here on.', Type.Object({ policy: PolicySchema }, Closed)),
  'checkpoint.made': define(
    'The folded state at this point; folding up to it must equal it.',
    Type.Object({ state: Type.Unknown() }, Closed),
  ),
  'log.outage': define(
    'The log could not be written for a while; lost counts events that memory could not hold.',
    Type.Object({ since_ns: Ns, events: Int, lost: Int, reason: Text }, Closed),
  ),
  'timer.elapsed': define(
    'A timer that a transition handed out has fired; armedBy is the sequence number of its arming.',
    Type.Object({ pair: MacText, timer: Short, armedBy: Int }, Closed),
  ),
  'operator.commanded': define(
    'An operator asked for something.',
    Type.Object(
      {
        command: OneOf([
          'survey',
          'reload',
          'restore',
          'prepare',
          'reserve',
          'migrate',
          'cancel',
          'setParameter',
          'restartDevice',
        ] as const),
        pair: Nullable(MacText),
        by: Short,
        /** What was changed, in words: for `setParameter` and `restartDevice`, which are done when they are recorded. */
        what: Type.Optional(Text),
        /** The migration that it belongs to, by the name that it has in all logs. */
        episode: Type.Optional(Short),
        /** Where `migrate` sends the guest (QEMU’s URI). */
        uri: Type.Optional(Short),
      },
      Closed,
    ),
  ),

  // What was decided, and what came of it.
  'decision.made': define('The machine wants an effect.', DecisionSchema),
  'outcome.seen': define(
    'What became of a decision; exactly one for each.',
    Type.Object(
      { decision: Short, pair: MacText, result: OneOf(OUTCOMES), reason: Nullable(Text), observed: Type.Boolean() },
      Closed,
    ),
  ),
  'obligation.opened': define(
    'Something is about to be changed, and this is what it was. It is owed until the obligation is closed.',
    ObligationSchema,
  ),
  'obligation.closed': define(
    'What was owed has been given back, or there is nothing left to give it back to.',
    Type.Object({ id: Short, pair: MacText, how: OneOf(SETTLEMENTS) }, Closed),
  ),
} as const;

export type EventType = keyof typeof catalogue;
export type EventData<T extends EventType> = Static<(typeof catalogue)[T]['data']>;
export const eventTypes = Object.keys(catalogue) as EventType[];

/** An event as a type and its data, before it has an envelope. */
export type Happening = { [T in EventType]: { type: T; data: EventData<T> } }[EventType];
export type HappeningOf<T extends EventType> = Extract<Happening, { type: T }>;

/** Happenings that come from outside: the only ones a platform adapter may emit. */
export const OBSERVATIONS = [
  'adapter.appeared',
  'adapter.changed',
  'adapter.gone',
  'pci.added',
  'pci.bound',
  'pci.unbound',
  'pci.removed',
  'driver.facts',
  'driver.gone',
  'protocol.installed',
  'protocol.removed',
  'controller.seen',
  'address.added',
  'address.removed',
  'counters.sampled',
  'announce.seen',
  'departure.signalled',
  'monitor.facts',
  'monitor.event',
  'port.facts',
  'channel.facts',
  'channel.heard',
  'gap.seen',
  'survey.taken',
  'clock.jumped',
] as const satisfies readonly EventType[];
export type Observation = HappeningOf<(typeof OBSERVATIONS)[number]>;
