// Addresses that appear on a member of the bond (a DHCP client that renewed its lease, a person) belong on the bond, with
// the lifetimes that they have, and the routes that came with them too. Link-local addresses stay: they belong to the link.
import type { Decision } from '../../../events/catalogue.ts';
import type { Outcome } from '../../platform.ts';
import type { LinkMessage } from '../link-message.ts';
import { shapeOf } from './before.ts';
import type { Conversation } from './conversation.ts';
import { addAddresses, addRoutes, impliedRoutes, isLinkLocal, ownRoutes, removeAddresses, removeRoutes } from './moving.ts';
import { addressesOn, ALREADY, linkBy, linkOf, must, NOT_THERE, standingOn, Stop, SUCCEEDED, THERE } from './standing.ts';

export const moveAddresses = async (conversation: Conversation, { master, standby, primary }: Decision): Promise<Outcome> => {
  const bond = await linkOf(conversation, master, 'the bond');
  let moved = 0;
  for (const target of [standby, primary]) {
    const member = target === null ? null : await linkBy(conversation, target.ifindex);
    if (member?.master === bond.ifindex) moved += await moveFrom(conversation, member, bond);
  }
  return moved === 0 ? ALREADY : SUCCEEDED;
};

const moveFrom = async (conversation: Conversation, member: LinkMessage, bond: LinkMessage): Promise<number> => {
  const [from, to] = [shapeOf(member), shapeOf(bond)];
  const standing = await standingOn(conversation, from);
  const addresses = standing.addresses.filter((entry) => !isLinkLocal(entry));
  const routes = ownRoutes(standing);
  if (addresses.length === 0 && routes.length === 0) return 0;
  await must(conversation, 'addresses', addAddresses(addresses, { from, to }), THERE);
  // The member's own routes go before the bond has the same ones: two with one metric cannot be.
  const requests = [...removeRoutes(routes, from.ifindex), ...addRoutes(routes, to.ifindex)];
  await must(conversation, 'routes', requests, [...THERE, ...NOT_THERE]);
  const left = impliedRoutes(standing.routes, addresses);
  await must(conversation, 'tidy', [...removeAddresses(addresses), ...removeRoutes(left, from.ifindex)], NOT_THERE);
  const stays = (await addressesOn(conversation, from.ifindex)).find((entry) => !isLinkLocal(entry));
  if (stays !== undefined) throw new Stop('failed', `the kernel agreed, but ${stays.address} is still on ${from.name}`);
  return addresses.length + routes.length;
};
