// VLANs above a link follow it to another one. The kernel cannot move one, so that each is made anew above the other link,
// under a name for the time being, and takes name, addresses, routes, rules and neighbours of the old one, which goes in
// the same datagram. Sources: ip-link(8), register_vlan_dev and dev_change_name in the kernel (an up link keeps its name).
import { type Placed, vlanData } from './before.ts';
import type { Conversation } from './conversation.ts';
import { addAddresses, addNeighbours, addRoutes, ownRoutes } from './moving.ts';
import { createVlan, deleteLink, setLink } from './requests.ts';
import { gone, linkBy, must, THERE } from './standing.ts';

/** What a process that died half way leaves behind is found by this name. */
const temporaryName = (ifindex: number): string => `nk${ifindex.toString(36)}`;

const follow = async (conversation: Conversation, { link, standing }: Placed, lower: number): Promise<void> => {
  const old = await linkBy(conversation, link.name);
  if (old !== null && old.lower === lower) return;
  const temporary = temporaryName(link.ifindex);
  if ((await linkBy(conversation, temporary)) === null) {
    const { mtu, mac } = link;
    await must(conversation, `make ${link.name}`, [
      createVlan(temporary, lower, vlanData(link), { mtu, ...(mac === null ? {} : { mac }) }),
    ]);
  }
  const made = await linkBy(conversation, temporary);
  if (made === null) throw gone(temporary);
  const ends = { from: link, to: { ifindex: made.ifindex, name: link.name } };
  const routes = ownRoutes(standing);
  const requests = [
    ...(old === null ? [] : [deleteLink(old.ifindex)]),
    setLink(made.ifindex, { name: link.name, up: link.up }),
    ...addAddresses(standing.addresses, ends),
    ...addNeighbours(standing.neighbours, made.ifindex),
    ...(link.up ? addRoutes(routes, made.ifindex) : []),
  ];
  await must(conversation, `move ${link.name}`, requests, THERE);
};

/** Brings VLANs, as they were recorded, above the link `lower`. Those that are there already stay as they are. */
export const followVlans = async (conversation: Conversation, vlans: readonly Placed[], lower: number): Promise<void> => {
  for (const vlan of vlans) await follow(conversation, vlan, lower);
};
