// Takes over a standby that is in use: a bond is made above it, and everything that stands on it comes to stand on the
// bond, without a gap that drops a connection. The order is what was measured to lose least:
//   1. the bond, with the same MAC; addresses on it, IPv6 without duplicate detection; routes with a worse metric
//   2. one datagram: standby down (its routes go), standby into the bond, neighbours, routes with their own metric
//   3. what is left on the standby goes
// Then somebody must answer over the bond, or everything is undone in reverse. Each step compares first: a takeover that
// an earlier process began is finished from what is found, with what that process wrote down before it began. Network managers
// are told before the bond is made and when it is kept (coexistence/).
import type { DecisionOf, Obligation } from '../../../events/catalogue.ts';
import type { Ledger, Outcome } from '../../platform.ts';
import type { Coexistence, Notes } from '../coexistence/coexistence.ts';
import type { LinkMessage } from '../link-message.ts';
import { type Before, type Placed, readBefore, recordable, shapeOf, takenOf } from './before.ts';
import type { Conversation } from './conversation.ts';
import { giveBack } from './give-back.ts';
import {
  addAddresses,
  addNeighbours,
  addRoutes,
  addRules,
  BUMP,
  type Ends,
  isEntered,
  isLinkLocal,
  ownRoutes,
  removeAddresses,
  removeRoutes,
  removeRules,
  type Standing,
} from './moving.ts';
import { anyAnswers } from './probe.ts';
import { createBond, setBond, setLink } from './requests.ts';
import {
  addressesOn,
  allLinks,
  ALREADY,
  gone,
  linkBy,
  linkOf,
  must,
  NOT_THERE,
  standingOn,
  Stop,
  SUCCEEDED,
  THERE,
} from './standing.ts';
import { AF } from './entries.ts';
import { followVlans } from './vlans.ts';

/**
 * How often the bond looks at the links of its members: one jiffy where HZ is 250. A lost carrier is nothing to be thought
 * over, so the kernel's own monitor may be first.
 */
export const MIIMON_MS = 4;
/** How long a member must have had its link before it counts as up. */
const UPDELAY_MS = 100;
const ACTIVE_BACKUP = 1;
type TakeOver = DecisionOf<'takeOver'>;
/** Kinds of link that cannot be moved to another lower device. */
const UNMOVABLE = new Set(['macvlan', 'macvtap', 'ipvlan', 'ipvtap']);

/** Throws Stop (refused) where something stands on the standby that could not be given back as it was. */
const look = async (conversation: Conversation, standby: LinkMessage, bond: string): Promise<Before> => {
  if ((standby.master ?? 0) !== 0) throw new Stop('refused', `${standby.name} belongs to another master`);
  const above = (await allLinks(conversation)).filter(({ lower }) => lower === standby.ifindex);
  const stuck = above.find(({ linkKind }) => UNMOVABLE.has(linkKind ?? ''));
  if (stuck !== undefined) throw new Stop('refused', `${stuck.name}, a ${stuck.linkKind}, stands on ${standby.name}`);
  const place = async (link: LinkMessage): Promise<Placed> => {
    const shape = shapeOf(link);
    const standing = await standingOn(conversation, shape);
    const shared = standing.routes.find(({ multipath, nexthop }) => multipath !== undefined || nexthop !== undefined);
    if (shared !== undefined)
      throw new Stop('refused', `a route over several links, or over a nexthop object, uses ${shape.name}`);
    return { link: shape, standing };
  };
  const vlans: Placed[] = [];
  for (const link of above) if (link.linkKind === 'vlan') vlans.push(await place(link));
  return { version: 1, bond, ...(await place(standby)), vlans };
};
/** What is recorded of it: neighbours that were learnt are learnt again. */
const lasting = (before: Before): Before => {
  const kept = ({ link, standing }: Placed): Placed => ({
    link,
    standing: { ...standing, neighbours: standing.neighbours.filter(isEntered) },
  });
  return recordable({ ...before, ...kept(before), vlans: before.vlans.map(kept) });
};

const gatewaysIn = ({ routes }: Standing): string[] => [
  ...new Set(routes.flatMap(({ dstLength, gateway }) => (dstLength === 0 && gateway !== undefined ? [gateway] : []))),
];

const refuseUnlessBond = ({ linkKind, bond }: LinkMessage, name: string): void => {
  if (linkKind !== 'bond' || bond?.mode !== ACTIVE_BACKUP)
    throw new Stop('refused', `${name} is there, and is no active-backup bond`);
};

/** The bond, made if it is not there. Throws Stop (refused) if the name belongs to something else. */
const bondFor = async (conversation: Conversation, { bond, link }: Before): Promise<LinkMessage> => {
  if ((await linkBy(conversation, bond)) === null)
    await must(conversation, 'make the bond', [
      createBond(bond, MIIMON_MS, { mtu: link.mtu, ...(link.mac === null ? {} : { mac: link.mac }) }),
    ]);
  const made = await linkBy(conversation, bond);
  if (made === null) throw gone(bond);
  refuseUnlessBond(made, bond);
  if (!made.up) await must(conversation, 'bond up', [setLink(made.ifindex, { up: true })]);
  return made;
};

/** Steps 1 to 3. */
const move = async (
  conversation: Conversation,
  bond: LinkMessage,
  standby: LinkMessage,
  { link, standing, bond: name }: Before,
): Promise<void> => {
  const ends: Ends = { from: link, to: { ifindex: bond.ifindex, name } };
  const { addresses, rules, neighbours } = standing;
  const routes = ownRoutes(standing);
  await must(conversation, 'addresses', addAddresses(addresses, ends), THERE);
  await must(conversation, 'routes', addRoutes(routes, bond.ifindex, BUMP), THERE);
  await must(conversation, 'rules', addRules(rules, ends), THERE);
  const enter =
    standby.master === bond.ifindex
      ? []
      : [setLink(link.ifindex, { up: false }), setLink(link.ifindex, { master: bond.ifindex })];
  const met = addNeighbours(neighbours, bond.ifindex);
  await must(conversation, 'enslave', [...enter, ...met, ...addRoutes(routes, bond.ifindex)], THERE);
  await must(conversation, 'tidy', removeRoutes(routes, bond.ifindex, BUMP), NOT_THERE);
  const left = await addressesOn(conversation, link.ifindex);
  await must(conversation, 'tidy', [...removeAddresses(left), ...removeRules(rules)], NOT_THERE);
};

/** What a process before us left to be done: the addresses that are still on the standby, or all of them. */
const rest = async (
  conversation: Conversation,
  bond: LinkMessage | null,
  before: Before,
  standby: LinkMessage,
): Promise<Before> => {
  const left = await standingOn(conversation, shapeOf(standby));
  const there = bond === null ? [] : await addressesOn(conversation, bond.ifindex);
  if (!there.some((entry) => !isLinkLocal(entry)))
    return { ...before, standing: { ...before.standing, neighbours: left.neighbours } };
  return { ...before, standing: { ...before.standing, addresses: left.addresses.filter(({ family }) => family === AF.inet) } };
};

interface Begun {
  readonly owed: Obligation;
  /** What is to be moved now. */
  readonly before: Before;
}

/** Looks, asks whether a takeover could be confirmed at all, and has it written down. Nothing is changed before that. */
const begin = async (
  conversation: Conversation,
  decision: TakeOver,
  link: LinkMessage,
  bond: LinkMessage | null,
  coexistence: Coexistence,
  signal: AbortSignal,
  ledger: Ledger,
): Promise<Begun> => {
  const { standby, plan } = decision;
  const earlier = ledger.open.filter(({ kind }) => kind === 'takeover');
  if (bond !== null) refuseUnlessBond(bond, plan.bond);
  if (bond !== null && earlier.length === 0) await refuseUnlessEmpty(conversation, bond, plan.bond);
  const found = await look(conversation, link, plan.bond);
  // Of a standby that was unplugged: its bond is there still, and what was told about it holds.
  const inherited = bond === null ? [] : earlier.map((owed) => readBefore(owed.before).told);
  const before = { ...found, told: Object.assign({}, await coexistence.look(takenOf(found)), ...inherited) as Notes };
  const targets = targetsOf(plan, before);
  const answered = await anyAnswers(conversation, targets, link.ifindex, plan.confirm_ms, signal);
  if (signal.aborted) throw new Stop('failed', 'interrupted before anything was changed');
  if (!answered)
    throw new Stop(
      'refused',
      `nobody answers over ${link.name} as it is, so a takeover could not be confirmed: ${targets.join(', ')}`,
    );
  const owed = await ledger.owe({ kind: 'takeover', device: standby, before: lasting(before) });
  for (const { id } of earlier) ledger.settle(id, 'gone'); // Of a standby that was unplugged: its bond serves this one.
  return { owed, before };
};

const targetsOf = ({ probe }: TakeOver['plan'], { standing }: Before): readonly string[] =>
  probe.length > 0 ? probe : gatewaysIn(standing);

const refuseUnlessEmpty = async (conversation: Conversation, bond: LinkMessage, name: string): Promise<void> => {
  const member = (await allLinks(conversation)).find(({ master }) => master === bond.ifindex);
  if (member !== undefined) throw new Stop('refused', `${name} is there already, with ${member.name} in it`);
};

export const takeOver = async (
  conversation: Conversation,
  coexistence: Coexistence,
  decision: TakeOver,
  signal: AbortSignal,
  ledger: Ledger,
): Promise<Outcome> => {
  const { standby, plan } = decision;
  const link = await linkOf(conversation, standby, 'the standby');
  const bond = await linkBy(conversation, plan.bond);
  const open = ledger.open.find(
    ({ kind, device }) => kind === 'takeover' && device?.ifindex === standby?.ifindex && device?.arrival === standby?.arrival,
  );
  if (open === undefined && bond !== null && link.master === bond.ifindex) return ALREADY;
  const { owed, before } =
    open === undefined
      ? await begin(conversation, decision, link, bond, coexistence, signal, ledger)
      : { owed: open, before: await rest(conversation, bond, readBefore(open.before), link) };
  const first = readBefore(owed.before);
  const tell = (step: 'before' | 'after' | 'release'): Promise<string[]> =>
    coexistence.tell(step, takenOf(first), first.told ?? {});
  const said = await tell('before');
  try {
    await carryOut(conversation, decision, link, before, targetsOf(plan, first), signal);
    said.push(...(await tell('after')));
    return { ...SUCCEEDED, reason: [...new Set(said)].join('; ') || null };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    try {
      await giveBack(conversation, first);
    } catch (failure) {
      throw new Stop(
        'failed',
        `${why}; and it could not be undone: ${failure instanceof Error ? failure.message : String(failure)}`,
      );
    }
    await tell('release');
    ledger.settle(owed.id, 'undone');
    throw new Stop(error instanceof Stop ? error.outcome.result : 'failed', `${why}; undone`);
  }
};

const carryOut = async (
  conversation: Conversation,
  { plan }: TakeOver,
  link: LinkMessage,
  before: Before,
  targets: readonly string[],
  signal: AbortSignal,
): Promise<void> => {
  const bond = await bondFor(conversation, before);
  await move(conversation, bond, link, before);
  await followVlans(conversation, before.vlans, bond.ifindex);
  await must(conversation, 'updelay', [setBond(bond.ifindex, { updelay_ms: UPDELAY_MS, allSlavesActive: false })]);
  await readBack(conversation, bond, before);
  const answered = await anyAnswers(conversation, targets, bond.ifindex, plan.confirm_ms, signal);
  if (signal.aborted) throw new Stop('failed', 'interrupted');
  if (!answered) throw new Stop('failed', `nobody answers over ${plan.bond} within ${plan.confirm_ms} ms: ${targets.join(', ')}`);
};

const readBack = async (conversation: Conversation, bond: LinkMessage, before: Before): Promise<void> => {
  const member = await linkBy(conversation, before.link.ifindex);
  if (member?.master !== bond.ifindex) throw new Stop('failed', 'the kernel agreed, but the standby is not in the bond');
  const there = new Set(
    (await addressesOn(conversation, bond.ifindex)).map(({ address, prefixLength }) => `${address}/${prefixLength}`),
  );
  const missing = before.standing.addresses.find(({ address, prefixLength }) => !there.has(`${address}/${prefixLength}`));
  if (missing !== undefined) throw new Stop('failed', `the kernel agreed, but ${missing.address} is not on ${before.bond}`);
};
