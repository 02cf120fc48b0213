// What the pair's chart sees of the world: twenty-five yes-or-no facts, and nothing else. Guards read them by name; the fold
// keeps them packed in one integer, so that "did anything change?" is one comparison and a transition one table lookup.

export const VIEW_BITS = {
  standby: 'A standby with the pair’s MAC exists.',
  ours: 'The pair is ours to fail over: the STANDBY feature is in use, or a bond is there or configured.',
  held: 'The standby’s link is held down by its driver.',
  expected: 'A primary is expected, so a held standby waits for it.',
  primary: 'A primary with the pair’s MAC exists.',
  compatible: 'The primary may be paired (equal MTU).',
  bound: 'The primary is bound to the failover protocol and to nothing else (NETKVM), or enslaved.',
  attached: 'The driver has a primary for this MAC (NETKVM), whatever else is bound to it; or it is enslaved.',
  attachable: 'A primary can be attached: the failover protocol is not missing (NETKVM).',
  carrier: 'The primary (and its master, if it has one) is up and has carrier.',
  eligible: 'A primary with carrier may become the bond’s active member: the bond’s own monitor has seen its link.',
  standbyReady: 'The standby (and its master, if it has one) is up and has carrier.',
  viaPrimary: 'The guest transmits over the primary.',
  viaStandby: 'The guest transmits over the standby.',
  leaving: 'A sign says that the primary is about to leave.',
  flapping: 'The primary lost its carrier too often lately.',
  mayAct: 'Effects are on for this pair, and its mode is one that we drive.',
  holds: 'In this mode the standby’s link is held while the primary is bound (NETKVM).',
  exhausted: 'The effect that is wanted was tried as often as the limit allows, and no fact has changed since.',
  unjoined: 'A bond is configured for the pair, and nothing joins standby and primary yet.',
  takingOver: 'A takeover of the standby is wanted, or one was begun and has not come to its end.',
  untuned: 'The configured parameters were not given to this primary yet.',
  strayed: 'Addresses have appeared on a member of the bond that the service made.',
  restoring: 'An operator wants back what was changed, and something is still owed.',
  mistuned: 'The standby was not given the parameters that the policy has for this stage yet.',
} as const;

export type ViewBit = keyof typeof VIEW_BITS;
export type View = Readonly<Record<ViewBit, boolean>>;

const names = Object.keys(VIEW_BITS) as ViewBit[];

/** The place of each fact in a packed view. */
export const BIT = Object.fromEntries(names.map((name, place) => [name, 1 << place])) as Readonly<Record<ViewBit, number>>;

export const unpackView = (bits: number): View =>
  Object.fromEntries(names.map((name) => [name, (bits & BIT[name]) !== 0])) as View;

/** Names of the facts that hold, for people and for messages. */
export const factsOf = (bits: number): ViewBit[] => names.filter((name) => (bits & BIT[name]) !== 0);
