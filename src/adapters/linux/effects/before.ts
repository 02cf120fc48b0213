// What a takeover writes down before it changes anything, and how that is read again, perhaps by a later process. The log
// holds it as plain JSON: it is checked like any other input. Pure.
import { BEFORE_CHARS_MAX } from '../../../events/catalogue.ts';
import type { LinkMessage } from '../link-message.ts';
import { align, attributeEnd, attributeType, ATTRIBUTE_BYTES } from '../netlink-bytes.ts';
import { hex, unhex } from './entries.ts';
import type { Notes } from '../coexistence/coexistence.ts';
import type { Taken } from '../coexistence/neighbour.ts';
import type { Standing } from './moving.ts';
import { Stop } from './standing.ts';

/** A link as it can be made again. */
export interface Shape {
  readonly ifindex: number;
  readonly name: string;
  readonly mac: string | null;
  readonly mtu: number;
  readonly up: boolean;
  readonly queueLength: number;
  /** IFLA_INFO_DATA of a VLAN, hexadecimal. */
  readonly vlan: string | null;
}
export interface Placed {
  readonly link: Shape;
  readonly standing: Standing;
}
export interface Before extends Placed {
  readonly version: 1;
  /** Name of the bond. */
  readonly bond: string;
  readonly vlans: readonly Placed[];
  /** Network managers that were told (coexistence/), and what they need to be told again. */
  readonly told?: Notes;
}

/** What network managers need to know of it. */
export const takenOf = ({ bond, link: { mac, name, ifindex } }: Before): Taken => ({
  bond,
  mac: mac ?? '',
  standby: { name, ifindex },
});

export const shapeOf = ({ ifindex, name, mac, mtu, up, queueLength, vlan }: LinkMessage): Shape => {
  if (name === undefined || mtu === undefined) throw new Stop('failed', `link ${ifindex} does not say its name and MTU`);
  return { ifindex, name, mac: mac ?? null, mtu, up, queueLength: queueLength ?? 0, vlan: vlan === undefined ? null : hex(vlan) };
};
export const vlanData = ({ vlan, name }: Shape): Uint8Array => {
  if (vlan === null) throw new Stop('failed', `${name} is no VLAN`);
  return settable(unhex(vlan));
};

const IFLA_VLAN_FLAGS = 2;
/** VLAN_FLAG_REORDER_HDR, _GVRP, _LOOSE_BINDING, _MVRP: those that every kernel knows. */
const FLAGS_KNOWN = 0xf;
/** The kernel tells flags with a mask of all ones, and refuses that mask when it is told it (vlan_dev_change_flags). */
const settable = (data: Uint8Array): Uint8Array => {
  for (let at = 0, end; data.length - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(data, at, data.length);
    if (attributeType(data, at) !== IFLA_VLAN_FLAGS || end - at !== 12) continue;
    data.set(Uint8Array.of((data[at + 4] ?? 0) | FLAGS_KNOWN, 0, 0, 0), at + 8);
  }
  return data;
};

/** Throws Stop (refused) for more than the log takes: what cannot be recorded is not changed. */
export const recordable = (before: Before): Before => {
  const { length } = JSON.stringify(before);
  if (length <= BEFORE_CHARS_MAX) return before;
  throw new Stop(
    'refused',
    `too much stands on ${before.link.name} to be recorded: ${length} characters, at most ${BEFORE_CHARS_MAX}`,
  );
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isEntries = (value: unknown): boolean => Array.isArray(value) && value.every(isObject);
const isPlaced = (value: unknown): value is Placed => {
  if (!isObject(value) || !isObject(value['link']) || !isObject(value['standing'])) return false;
  const { link, standing } = value;
  return (
    ['ifindex', 'mtu', 'queueLength'].every((name) => Number.isInteger(link[name])) &&
    typeof link['name'] === 'string' &&
    typeof link['up'] === 'boolean' &&
    ['mac', 'vlan'].every((name) => link[name] === null || typeof link[name] === 'string') &&
    ['addresses', 'routes', 'rules', 'neighbours'].every((name) => isEntries(standing[name]))
  );
};

const isNotes = (value: unknown): boolean =>
  isObject(value) &&
  Object.values(value).every((note) => isObject(note) && Object.values(note).every((text) => typeof text === 'string'));

/** Throws Stop (refused) if it is not what a takeover of this version writes. */
export const readBefore = (value: unknown): Before => {
  const isOurs = isPlaced(value) && isObject(value) && value['version'] === 1 && typeof value['bond'] === 'string';
  const fine = isOurs && (value['told'] === undefined || isNotes(value['told']));
  if (fine && Array.isArray(value['vlans']) && value['vlans'].every(isPlaced)) return value as unknown as Before;
  throw new Stop('refused', 'what was before the takeover cannot be read: give the addresses back by hand');
};
