// From a link message to an adapter, and from two readings of an adapter to what changed. Pure.
//
// What the absence of an attribute means (rtnl_fill_ifinfo, net/core/rtnetlink.c): a message with name and MTU was made
// whole, so that no IFLA_MASTER means no master and no IFLA_LINKINFO means a plain device. A message without them (the
// wireless extensions send such) is partial: what it does not carry stays as it was, and it announces no new adapter.
import type { Adapter, AdapterChange } from '../../events/catalogue.ts';
import type { LinkMessage } from './link-message.ts';
import type { Atlas } from './whereabouts.ts';

/** Null for a partial message about an adapter that is not known. */
export const adapterOf = (message: LinkMessage, known: Adapter | undefined, atlas: Atlas): Adapter | null => {
  const { ifindex, name, mtu, up } = message;
  if (message.parentDevice !== undefined) atlas.kernelNamesParents();
  if (name === undefined || mtu === undefined) return known === undefined ? null : amended(message, known);
  const where = atlas.locate(ifindex, message.parentBus ?? null, message.parentDevice ?? null);
  return {
    ifindex,
    name,
    mac: message.mac ?? null,
    permMac: message.permMac ?? null,
    bus: where.bus,
    device: where.device,
    pci: where.pci,
    driver: where.driver,
    mtu,
    up,
    carrier: message.carrier ?? message.lowerUp,
    master: message.master ?? null,
    kind: message.linkKind ?? null,
    bond: bondOf(message) ?? null,
    slave: message.slave ?? null,
    protocols: null,
  };
};

const bondOf = ({ bond }: LinkMessage): Adapter['bond'] | undefined => bond && { mode: bond.mode, activeSlave: bond.activeSlave };

const amended = (message: LinkMessage, known: Adapter): Adapter => ({
  ...known,
  up: message.up,
  name: message.name ?? known.name,
  mac: message.mac === undefined ? known.mac : message.mac,
  permMac: message.permMac ?? known.permMac,
  mtu: message.mtu ?? known.mtu,
  carrier: message.carrier ?? known.carrier,
  master: message.master ?? known.master,
  bond: bondOf(message) ?? known.bond,
  slave: message.slave ?? known.slave,
});

/** Whether one index now belongs to another device: the message of its removal was lost. */
export const isAnother = (known: Adapter, next: Adapter): boolean =>
  differ(known.device, next.device) || differ(known.permMac, next.permMac) || known.kind !== next.kind;

const differ = (one: string | null, other: string | null): boolean => one !== null && other !== null && one !== other;

/** The fields in which two readings of one adapter differ; null if there are none. */
export const changesOf = (known: Adapter, next: Adapter): AdapterChange | null => {
  const changed: AdapterChange = {};
  if (known.name !== next.name) changed.name = next.name;
  if (known.mac !== next.mac) changed.mac = next.mac;
  if (known.permMac !== next.permMac) changed.permMac = next.permMac;
  if (known.bus !== next.bus) changed.bus = next.bus;
  if (known.device !== next.device) changed.device = next.device;
  if (known.pci !== next.pci) changed.pci = next.pci;
  if (known.driver !== next.driver) changed.driver = next.driver;
  if (known.mtu !== next.mtu) changed.mtu = next.mtu;
  if (known.up !== next.up) changed.up = next.up;
  if (known.carrier !== next.carrier) changed.carrier = next.carrier;
  if (known.master !== next.master) changed.master = next.master;
  if (known.kind !== next.kind) changed.kind = next.kind;
  if (known.bond?.mode !== next.bond?.mode || known.bond?.activeSlave !== next.bond?.activeSlave) changed.bond = next.bond;
  if (known.slave?.active !== next.slave?.active || known.slave?.miiUp !== next.slave?.miiUp) changed.slave = next.slave;
  return Object.keys(changed).length === 0 ? null : changed;
};
