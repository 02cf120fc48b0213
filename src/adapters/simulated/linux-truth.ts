// Which way frames really go in the simulated Linux guest, whatever anybody has been told of it.
import type { Truth } from './kernel.ts';
import { carriesNow, globalsOf, type Link } from './link.ts';

export const truthOf = (mac: string, links: readonly Link[]): Truth => {
  const standby = links.find(({ card, role, permMac }) => role === 'card' && card?.kind === 'virtio' && permMac === mac);
  const primaries = links.filter(({ card, permMac }) => card?.kind === 'vf' && permMac === mac);
  const master = standby?.master ?? null;
  const enslaved = primaries.filter((primary) => master !== null && primary.master === master);
  const wrong: string[] = [];
  if (standby === undefined) return { mac, datapath: 'none', standbyWorks: false, primaryWorks: false, wrong };
  if (master === null) {
    const works = carriesNow(standby);
    return { mac, datapath: works ? 'standby' : 'none', standbyWorks: works, primaryWorks: false, wrong };
  }
  const standbyWorks = master.up && carriesNow(standby);
  // Enslaving sets a member up; one that was set down afterwards was meant to be, and so was one that is in something else.
  const isFree = ({ master: other, up }: Link): boolean => other === null || (other === master && up);
  const fits = (primary: Link): boolean =>
    primary.cable && !primary.leaving && isFree(primary) && (primary.card?.mtuMax ?? 0) >= master.mtu;
  if (master.role === 'bond') {
    const active = [standby, ...enslaved].find((link) => link === master.bond?.active);
    const carries = master.up && active !== undefined && carriesNow(active);
    const datapath = !carries ? 'none' : active === standby ? 'standby' : 'primary';
    // Of two primaries one is too much: that is reported (secondPrimary), and what somebody does with them is not touched; nor
    // is a member of the bond with another MAC of its own.
    const ours = primaries.length > 1 ? [standby] : [standby, ...enslaved];
    const strayed = ours.some((slave) => globalsOf(slave).length > 0);
    if (strayed && master.addresses.size > 0) wrong.push('a member of the bond has addresses of its own');
    return { mac, datapath, standbyWorks, primaryWorks: master.up && primaries.length > 0 && primaries.every(fits), wrong };
  }
  const primaryWorks = master.up && enslaved.some(carriesNow);
  return { mac, datapath: primaryWorks ? 'primary' : standbyWorks ? 'standby' : 'none', standbyWorks, primaryWorks, wrong };
};
