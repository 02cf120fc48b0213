// The realisable views: every combination of the view's facts that one pair can show, each with a world (adapters, driver
// record, policy) that shows it. The worlds are enumerated blindly and shown to the fold itself; REALISABLE says in one
// sentence each what they all have in common. The model test proves that the two descriptions are the same set, and so
// that neither leaves a view out.
//
// A world is `torn` when its facts were read at different moments (NETKVM's record and the adapters come separately): the
// chart must stand it, but it does not last. Liveness is asked for worlds that can last.
import type { Adapter, DriverFacts, Happening, Policy } from '../../src/events/catalogue.ts';
import type { Mode } from '../../src/machines/roles.ts';
import { BIT, unpackView, VIEW_BITS, type View } from '../../src/machines/view.ts';
import { acting, adapter, MAC, policy, surveyed, Teller } from '../given.ts';

export interface World {
  readonly mode: Mode;
  readonly told: readonly Happening[];
  readonly policy: Policy;
  /** The packed view. */
  readonly bits: number;
  readonly torn: boolean;
}

const implies = (one: boolean, other: boolean): boolean => !one || other;
type Rule = readonly [why: string, holds: (view: View) => boolean];

/** True of every pair, however it is switched. */
const ALWAYS: readonly Rule[] = [
  ['a guest transmits over one path', ({ viaPrimary, viaStandby }) => !(viaPrimary && viaStandby)],
  ['what is bound to nothing else is attached', (view) => implies(view.bound, view.attached)],
  ['only what exists is attached', (view) => implies(view.attached, view.primary)],
  ['only two can differ in MTU', (view) => implies(!view.compatible, view.primary)],
  ['a sign names an existing primary', (view) => implies(view.leaving, view.primary)],
  [
    'attempts are counted where something may be decided',
    (view) => implies(view.exhausted, view.mayAct || view.takingOver || view.untuned || view.restoring || view.mistuned),
  ],
  [
    'what an operator wants back is not touched otherwise',
    (view) => implies(view.restoring, !view.mayAct && !view.takingOver && !view.untuned && !view.strayed && !view.mistuned),
  ],
  ['addresses are looked after when a takeover has come to its end', ({ takingOver, strayed }) => !(takingOver && strayed)],
  [
    'a primary that stays and does not carry gets its parameters',
    (view) => implies(view.untuned, view.primary && !view.leaving && !view.viaPrimary),
  ],
  [
    'only a standby can be tuned, and not while its primary flaps',
    (view) => implies(view.mistuned, view.standby && !view.flapping),
  ],
];

/** True where rtnetlink tells everything and no driver holds a link down. */
const ON_LINUX: readonly Rule[] = [
  ['nothing is held', ({ held, holds }) => !held && !holds],
  ['no protocol can be missing', ({ attachable }) => attachable],
  ['attached and bound both mean enslaved', ({ attached, bound }) => attached === bound],
  ['carrier belongs to an existing primary', (view) => implies(view.carrier, view.primary)],
  ['losses are forgotten with the primary', (view) => implies(view.flapping, view.primary)],
  ['only an existing standby is transmitted over', (view) => implies(view.viaStandby || view.standbyReady, view.standby)],
  ['only an enslaved primary with carrier transmits', (view) => implies(view.viaPrimary, view.bound && view.carrier)],
  ['only an enslaved primary with carrier may become active', (view) => implies(view.eligible, view.bound && view.carrier)],
];

export const REALISABLE: Readonly<Record<Mode, readonly Rule[]>> = {
  none: [
    ...ALWAYS,
    ...ON_LINUX,
    ['what has no master that we know is ours if a bond is configured', (view) => view.ours === view.unjoined && !view.mayAct],
    ['a bond is configured for a standby that exists', (view) => implies(view.unjoined, view.standby)],
    ['only what is to be in a bond is taken over', (view) => implies(view.takingOver, view.unjoined)],
    [
      'there is no bond to move or prepare anything for',
      (view) => !view.strayed && !view.untuned && !view.eligible && !view.mistuned,
    ],
    ['nobody asks for equal MTUs', ({ compatible }) => compatible],
    ['only the standby counts, whatever its master', (view) => !view.viaPrimary && implies(view.standbyReady, view.viaStandby)],
    ['enslaved to the standby’s master, so there is a standby', (view) => implies(view.bound, view.standby)],
    [
      'an enslaved primary with carrier has a master that is up, and so has the standby',
      (view) => implies(view.bound && view.carrier && view.viaStandby, view.standbyReady),
    ],
  ],
  kernel: [
    ...ALWAYS,
    ...ON_LINUX,
    ['the trio has a standby and is observed only', ({ standby, ours, mayAct }) => standby && ours && !mayAct],
    ['only a ready standby is transmitted over', (view) => implies(view.viaStandby, view.standbyReady)],
    ['the kernel does not rest from flapping', ({ flapping }) => !flapping],
    ['net_failover is no bond', (view) => !view.unjoined && !view.takingOver && !view.strayed && !view.eligible],
    ['what the kernel has enslaved gets its parameters', (view) => implies(view.untuned, view.bound)],
    ['an enslaved primary has taken the master’s MTU', (view) => implies(!view.compatible, !view.bound)],
    ['the kernel itself takes the primary', (view) => implies(view.bound && view.carrier, view.viaPrimary)],
    ['else the standby', (view) => implies(view.standbyReady && !view.viaPrimary, view.viaStandby)],
  ],
  bond: [
    ...ALWAYS,
    ...ON_LINUX,
    ['the bond has a standby', ({ standby, ours }) => standby && ours],
    ['only a ready standby is transmitted over', (view) => implies(view.viaStandby, view.standbyReady)],
    ['a bond sets its members’ MTU itself', ({ compatible }) => compatible],
    ['the bond joins them', ({ unjoined }) => !unjoined],
    [
      'only a bond that is steered is looked after',
      (view) => implies(view.takingOver || view.strayed || view.untuned || view.mistuned, view.mayAct),
    ],
    ['a standby is tuned when its takeover has come to its end', ({ takingOver, mistuned }) => !(takingOver && mistuned)],
    ['a primary gets its parameters before it is enslaved', (view) => implies(view.untuned, !view.bound)],
  ],
  netkvm: [
    ...ALWAYS,
    ['the driver holds links', ({ holds }) => holds],
    [
      'there is no bond on Windows, and no standby is restarted there',
      (view) => !view.unjoined && !view.takingOver && !view.strayed && !view.eligible && !view.mistuned,
    ],
    [
      'a primary is restarted for its parameters while the standby carries',
      (view) => implies(view.untuned, view.viaStandby && view.attachable),
    ],
    ['only a ready standby is transmitted over', (view) => implies(view.viaStandby, view.standbyReady)],
    ['a held link is no path', (view) => implies(view.held, !view.viaPrimary && !view.viaStandby)],
    [
      'where no adapter says otherwise the driver transmits over the VF whose link it reports, or is not started',
      (view) => implies(!view.primary && view.carrier && view.standbyReady && !view.held, view.viaPrimary || view.viaStandby),
    ],
    [
      'without an adapter carrier is the VF link that the driver transmits over',
      (view) => implies(!view.primary && view.viaPrimary, view.carrier),
    ],
  ],
};

/** Facts that the fold remembers itself; they are added to what a world shows. */
const MEMORIES = ['leaving', 'flapping', 'exhausted', 'takingOver', 'untuned', 'strayed', 'restoring', 'mistuned'] as const;
const OWN = MEMORIES.reduce((sum, name) => sum | BIT[name], 0);

const seen = new Map<number, View>();
const viewOf = (bits: number): View => {
  const view = seen.get(bits) ?? unpackView(bits);
  seen.set(bits, view);
  return view;
};

/** Every view that the rules of a mode allow. What the rules say of one fact alone is found first: it halves the search. */
export const viewsByRule = (mode: Mode): number[] => {
  const rules = REALISABLE[mode].map(([, holds]) => holds);
  const names = Object.keys(VIEW_BITS) as (keyof View)[];
  const fixed = FIXED[mode];
  let found = [0];
  for (const name of names) {
    const values = name in fixed ? [fixed[name] === true] : both;
    found = found.flatMap((bits) => values.map((value) => (value ? bits | BIT[name] : bits)));
  }
  return found.filter((bits) => rules.every((holds) => holds(viewOf(bits)))).toSorted((a, b) => a - b);
};
const both = [false, true] as const;

/** Facts that are the same in every view of a mode; the rules above say why. */
const FIXED: Readonly<Record<Mode, Partial<View>>> = {
  none: {
    held: false,
    holds: false,
    mayAct: false,
    strayed: false,
    untuned: false,
    viaPrimary: false,
    mistuned: false,
    attachable: true,
    eligible: false,
  },
  kernel: {
    held: false,
    holds: false,
    mayAct: false,
    unjoined: false,
    takingOver: false,
    strayed: false,
    attachable: true,
    eligible: false,
  },
  bond: { held: false, holds: false, unjoined: false, standby: true, ours: true, compatible: true, attachable: true },
  netkvm: { holds: true, unjoined: false, takingOver: false, strayed: false, mistuned: false, eligible: false },
};

/** Every value of each field, combined. */
const combine = <T extends object>(fields: { readonly [K in keyof T]: readonly T[K][] }): T[] =>
  (Object.keys(fields) as (keyof T)[]).reduce<T[]>(
    (all, name) => all.flatMap((one) => fields[name].map((value) => ({ ...one, [name]: value }))),
    [{} as T],
  );
const virtio = { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0' };
const vf = { bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0' };

interface LinuxFields {
  readonly master: 'none' | 'bond' | 'failover' | 'bridge';
  readonly masterUp: boolean;
  readonly standby: 'none' | 'dead' | 'ready';
  readonly primary: 'none' | 'dead' | 'ready';
  readonly enslaved: boolean;
  /** The bond's monitor has seen the primary's link. */
  readonly seen: boolean;
  readonly mtu: 1500 | 9000;
  readonly active: 'nobody' | 'standby' | 'primary';
}

const linuxAdapters = (at: LinuxFields): Adapter[] | null => {
  if (at.master === 'none' && (at.enslaved || at.masterUp)) return null;
  if (at.primary === 'none' && (at.enslaved || at.mtu === 9000 || at.active === 'primary')) return null;
  if (at.standby === 'none' && at.active === 'standby') return null;
  if (at.master !== 'bond' && at.active !== 'nobody') return null;
  if (at.seen && (at.master !== 'bond' || !at.enslaved)) return null;
  if (at.active === 'primary' && !at.enslaved) return null;
  const member = (name: 'standby' | 'primary') => ({
    up: true,
    carrier: at[name] === 'ready',
    slave:
      at.master === 'bond' ? { active: at.active === name, miiUp: name === 'primary' ? at.seen : at.standby === 'ready' } : null,
  });
  const master = at.master === 'none' ? null : 9;
  const masters: Adapter[] =
    at.master === 'none'
      ? []
      : at.master === 'failover'
        ? [adapter(9, { ...virtio, up: at.masterUp })]
        : [
            adapter(9, {
              kind: at.master,
              permMac: null,
              up: at.masterUp,
              bond: at.master === 'bond' ? { mode: 1, activeSlave: null } : null,
            }),
          ];
  return [
    ...masters,
    ...(at.standby === 'none' ? [] : [adapter(2, { ...virtio, master, ...member('standby') })]),
    ...(at.primary === 'none'
      ? []
      : [adapter(4, { ...vf, mtu: at.mtu, master: at.enslaved ? master : null, ...member('primary') })]),
  ];
};

const linuxWorlds = () =>
  combine<LinuxFields>({
    master: ['none', 'bond', 'failover', 'bridge'],
    masterUp: both,
    standby: ['none', 'dead', 'ready'],
    primary: ['none', 'dead', 'ready'],
    enslaved: both,
    seen: both,
    mtu: [1500, 9000],
    active: ['nobody', 'standby', 'primary'],
  }).flatMap((fields) => {
    const adapters = linuxAdapters(fields);
    return adapters === null ? [] : [{ told: [surveyed(...adapters)], torn: false }];
  });

interface NetkvmFields extends Omit<DriverFacts, 'mac' | 'vfIfIndex'> {
  readonly vf: 'none' | 'dead' | 'ready';
  readonly mtu: 1500 | 9000;
  readonly others: boolean;
  readonly missing: boolean;
}

/** What the driver and the system say when both have come to rest (virtio-win NetKVM, ParaNdis_Protocol.cpp). */
const lasts = (at: NetkvmFields): boolean =>
  implies(at.isStandby, at.virtio) &&
  implies(at.suppressLink, at.isStandby) &&
  implies(at.virtioLink || at.started, at.virtio) &&
  // The record speaks of a VF that exists, is bound to the protocol, and has the link that the system sees.
  implies(at.hasVf, at.vf !== 'none' && !at.missing) &&
  at.vfLink === (at.hasVf && at.vf === 'ready') &&
  // Detaching stops it. It is started by SET_LINK on, which clears the suppression, and only for an equal MTU.
  implies(at.started, at.hasVf && !at.suppressLink && at.mtu === 1500);

const netkvmWorlds = () =>
  combine<NetkvmFields>({
    virtio: both,
    isStandby: both,
    virtioLink: both,
    suppressLink: both,
    started: both,
    hasVf: both,
    vfLink: both,
    vf: ['none', 'dead', 'ready'],
    mtu: [1500, 9000],
    others: both,
    missing: both,
  }).flatMap((fields) => {
    const { vf: primary, mtu, others, missing, ...record } = fields;
    if (primary === 'none' && (others || mtu === 9000)) return [];
    const protocols = { vioprot: true, ms_tcpip: others };
    const carrier = { up: true, carrier: primary === 'ready' };
    const adapters = [
      adapter(2, { ...virtio, up: true }),
      ...(primary === 'none' ? [] : [adapter(4, { ...vf, ...carrier, mtu, protocols })]),
    ];
    const told: Happening[] = [
      surveyed(...adapters),
      { type: 'driver.facts', data: { mac: MAC, vfIfIndex: 4, ...record } },
      { type: missing ? 'protocol.removed' : 'protocol.installed', data: { name: 'vioprot' } },
    ];
    return [{ told, torn: !lasts(fields) }];
  });

/** Whether the fold can remember these facts of its own together with what the world shows. */
const ownFits = (mode: Mode, bits: number): boolean => REALISABLE[mode].every(([, holds]) => holds(viewOf(bits)));

/** A bond is configured, and parameters for its primary, and for its standby in one stage. */
const wishes = { parameters: { rxRing: 1024 }, standbyParameters: { fallback: { rxRing: 1024 } } };
const asBond: Partial<Policy> = { pairs: [{ mac: MAC, mode: 'bond', ...wishes }] };
const settingsOf = (expectPrimary: boolean): Happening[] => [
  policy({ expectPrimary }),
  acting({ expectPrimary }),
  policy({ expectPrimary, ...asBond }),
  acting({ expectPrimary, ...asBond }),
];

/** One world for every view; one that can last where there is one. */
export const allWorlds = (): World[] => {
  const found = new Map<string, World>();
  for (const { told, torn } of [...linuxWorlds(), ...netkvmWorlds()]) {
    for (const settings of both.flatMap(settingsOf)) {
      const teller = new Teller();
      // A pair is made when its standby is first seen, and stays when that leaves.
      const whole = [settings, surveyed(adapter(2, virtio)), ...told];
      teller.tell(...whole);
      const { mode, bits, named } = teller.pair;
      const [base, natural] = [bits & ~OWN, bits & OWN];
      const configured = named?.mode === 'bond' ? OWN : OWN & ~(BIT.takingOver | BIT.untuned | BIT.mistuned);
      const possible = mode === 'netkvm' ? configured & ~(BIT.takingOver | BIT.strayed | BIT.mistuned) : configured;
      for (let own = possible; own >= 0; own = own === 0 ? -1 : (own - 1) & possible) {
        const key = `${mode}${base | own}`;
        // What the world itself shows is taken as it is, so that a rule which forbids it is found out.
        if ((own !== natural && !ownFits(mode, base | own)) || found.get(key)?.torn === false) continue;
        found.set(key, { mode, told: whole, policy: teller.guest.policy, bits: base | own, torn });
      }
    }
  }
  return [...found.values()];
};
