// Gives back what a takeover changed: everything that stands on the bond comes to stand on the standby again, and the bond
// goes. What stands there now counts (a DHCP client may have renewed a lease), not what stood there before; only where the
// bond is gone, or was never finished, what was written down is put back. The primary is released first: a bond that loses
// its last member takes another MAC, so the standby leaves last. Addresses are on the standby before it leaves, IPv4 ones
// stay through it. Whatever is found done is left as it is, so that a giving back that was interrupted can be repeated.
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRNO } from '../libc.ts';
import type { LinkMessage } from '../link-message.ts';
import { type Before, type Placed, shapeOf } from './before.ts';
import type { Conversation } from './conversation.ts';
import { AF } from './entries.ts';
import {
  addAddresses,
  addNeighbours,
  addRoutes,
  addRules,
  BUMP,
  isLinkLocal,
  ownRoutes,
  removeRoutes,
  removeRules,
  type Standing,
} from './moving.ts';
import { deleteLink, type LinkChange, setBond, setLink } from './requests.ts';
import { addressesOn, allLinks, gone, linkBy, must, NOT_THERE, standingOn, Stop, THERE } from './standing.ts';
import { followVlans } from './vlans.ts';

const ACTIVE_LIMIT_MS = 500;
const LOOK_MS = 5;
const NOTHING: Standing = { addresses: [], routes: [], rules: [], neighbours: [] };

/** Throws Stop, `void` if the standby is gone, in which case the bond is gone as well. */
export const giveBack = async (conversation: Conversation, before: Before): Promise<void> => {
  const named = await linkBy(conversation, before.bond);
  const bond = named?.linkKind === 'bond' ? named : null;
  const links = await allLinks(conversation);
  const standby = links.find(
    ({ ifindex, mac, permMac }) => ifindex === before.link.ifindex && (mac === before.link.mac || permMac === before.link.mac),
  );
  const members = bond === null ? [] : links.filter(({ master }) => master === bond.ifindex);
  if (standby === undefined) {
    if (bond !== null && members.length === 0) await must(conversation, 'remove the bond', [deleteLink(bond.ifindex)], NOT_THERE);
    throw gone(before.link.name);
  }
  if (bond === null) await putBack(conversation, standby, before);
  else {
    await releaseOthers(conversation, bond, standby, members);
    const vlans = await vlansAbove(conversation, bond, links);
    await moveBack(conversation, bond, standby, await standingToMove(conversation, bond, before));
    await followVlans(conversation, vlans.length > 0 ? vlans : before.vlans, standby.ifindex);
    await must(conversation, 'remove the bond', [deleteLink(bond.ifindex)], NOT_THERE);
  }
  await reshape(conversation, before);
  await readBack(conversation, before);
};

/** Of a bond that nothing came to stand on yet, what was written down is the truth. */
const standingToMove = async (conversation: Conversation, bond: LinkMessage, before: Before): Promise<Standing> => {
  const now = await standingOn(conversation, { ifindex: bond.ifindex, name: before.bond });
  return now.addresses.some((entry) => !isLinkLocal(entry)) ? now : { ...before.standing, neighbours: now.neighbours };
};

const vlansAbove = async (
  conversation: Conversation,
  { ifindex }: LinkMessage,
  links: readonly LinkMessage[],
): Promise<Placed[]> => {
  const out: Placed[] = [];
  for (const link of links) {
    if (link.lower !== ifindex || link.linkKind !== 'vlan') continue;
    const shape = shapeOf(link);
    out.push({ link: shape, standing: await standingOn(conversation, shape) });
  }
  return out;
};

/** The standby carries alone before the others leave. */
const releaseOthers = async (
  conversation: Conversation,
  bond: LinkMessage,
  standby: LinkMessage,
  members: readonly LinkMessage[],
): Promise<void> => {
  const others = members.filter(({ ifindex }) => ifindex !== standby.ifindex);
  if (others.length === 0) return;
  if (standby.master === bond.ifindex && bond.bond?.activeSlave !== standby.ifindex) {
    const until_ms = performance.now() + ACTIVE_LIMIT_MS;
    const requests = [setBond(bond.ifindex, { allSlavesActive: true }), setBond(bond.ifindex, { activeSlave: standby.ifindex })];
    while ((await conversation.tell(...requests))[1]?.errno === ERRNO.EINVAL && performance.now() < until_ms)
      await sleep(LOOK_MS);
  }
  await must(
    conversation,
    'release',
    others.map(({ ifindex }) => setLink(ifindex, { master: null })),
    NOT_THERE,
  );
};

/**
 * The standby leaves the bond (which takes it down), comes up, and has everything, in one datagram. Its routes are worse
 * than the bond's until the bond is down: two equal ones cannot be.
 */
const moveBack = async (
  conversation: Conversation,
  bond: LinkMessage,
  standby: LinkMessage,
  standing: Standing,
): Promise<void> => {
  const to = { ifindex: standby.ifindex, name: shapeOf(standby).name };
  const ends = { from: { ifindex: bond.ifindex, name: shapeOf(bond).name }, to };
  const { addresses, rules, neighbours } = standing;
  const routes = ownRoutes(standing);
  const v4 = addresses.filter(({ family }) => family === AF.inet);
  const v6 = addresses.filter(({ family }) => family === AF.inet6);
  await must(conversation, 'addresses', addAddresses(v4, ends), THERE);
  await must(conversation, 'rules', addRules(rules, ends), THERE);
  const leave = standby.master === bond.ifindex ? [setLink(to.ifindex, { master: null })] : [];
  const swap = [
    ...leave,
    setLink(to.ifindex, { up: true }),
    ...addAddresses(v6, ends),
    ...addRoutes(routes, to.ifindex, BUMP),
    setLink(bond.ifindex, { up: false }),
    ...addRoutes(routes, to.ifindex),
    ...addNeighbours(neighbours, to.ifindex),
  ];
  await must(conversation, 'leave the bond', swap, THERE);
  await must(conversation, 'tidy', [...removeRoutes(routes, to.ifindex, BUMP), ...removeRules(rules)], NOT_THERE);
};

/** Without a bond: what was written down, unless other addresses stand there by now. */
const putBack = async (conversation: Conversation, standby: LinkMessage, { link, standing, vlans }: Before): Promise<void> => {
  const there = await addressesOn(conversation, standby.ifindex);
  const { addresses, rules, neighbours } = there.some((entry) => !isLinkLocal(entry)) ? NOTHING : standing;
  const ends = { from: link, to: { ifindex: standby.ifindex, name: shapeOf(standby).name } };
  const requests = [
    ...((standby.master ?? 0) === 0 ? [] : [setLink(standby.ifindex, { master: null })]),
    ...(link.up ? [setLink(standby.ifindex, { up: true })] : []),
    ...addAddresses(addresses, ends),
    ...addRules(rules, ends),
    ...(link.up ? addRoutes(ownRoutes(standing), standby.ifindex) : []),
    ...addNeighbours(neighbours, standby.ifindex),
  ];
  await must(conversation, 'put back', requests, THERE);
  await followVlans(conversation, vlans, standby.ifindex);
};

/** Name, MAC, MTU and queue as they were. */
const reshape = async (conversation: Conversation, { link }: Before): Promise<void> => {
  const now = await linkBy(conversation, link.ifindex);
  if (now === null) throw gone(link.name);
  const change: LinkChange = {
    ...(now.mtu === link.mtu ? {} : { mtu: link.mtu }),
    ...(now.mac === link.mac || link.mac === null ? {} : { mac: link.mac }),
    ...(now.queueLength === link.queueLength ? {} : { queueLength: link.queueLength }),
    ...(now.up === link.up ? {} : { up: link.up }),
  };
  if (Object.keys(change).length > 0) await must(conversation, `restore ${link.name}`, [setLink(link.ifindex, change)]);
};

const readBack = async (conversation: Conversation, { link, bond }: Before): Promise<void> => {
  const now = await linkBy(conversation, link.ifindex);
  if (now === null) throw gone(link.name);
  if ((now.master ?? 0) !== 0) throw new Stop('failed', `the kernel agreed, but ${link.name} still has a master`);
  if (now.up !== link.up) throw new Stop('failed', `the kernel agreed, but ${link.name} is ${now.up ? 'up' : 'down'}`);
  if ((await linkBy(conversation, bond))?.linkKind === 'bond')
    throw new Stop('failed', `the kernel agreed, but ${bond} is still there`);
};
