// How what stands on one link comes to stand on another: the requests, from what was read. Pure.
//
// The kernel makes some things by itself (the route to an address's own network, local and multicast routes): those are
// left out, they follow the address. Metrics are kept; while both links have a route, the new one's is worse by BUMP, so
// that the old one is used until it goes. Sources: rtnetlink(7), ip-route(8); inet6_addr_add, fib_magic in the kernel.
import { ipBytes } from '../ip-text.ts';
import {
  add,
  ADDRESS,
  type AddressEntry,
  AF,
  NEIGHBOUR,
  type NeighbourEntry,
  remove,
  ROUTE,
  type RouteEntry,
  RULE,
  type RuleEntry,
} from './entries.ts';

const without = <T extends object, K extends keyof T>(entry: T, ...names: readonly K[]): Omit<T, K> =>
  Object.fromEntries(Object.entries(entry).filter(([name]) => !names.includes(name as K))) as Omit<T, K>;

/** What stands on a link. */
export interface Standing {
  readonly addresses: readonly AddressEntry[];
  readonly routes: readonly RouteEntry[];
  readonly rules: readonly RuleEntry[];
  readonly neighbours: readonly NeighbourEntry[];
}

const IFA_F = { nodad: 0x02, noPrefixRoute: 0x200 } as const;
/** The flags that an address keeps: HOMEADDRESS (0x10), MANAGETEMPADDR (0x100), NOPREFIXROUTE, MCAUTOJOIN (0x400). */
const KEPT = { [AF.inet]: 0x600, [AF.inet6]: 0x710 };
const FOREVER = 0xffffffff;
const RTPROT = { kernel: 2, ra: 9 } as const;
const RTN_UNICAST = 1;
const RT_TABLE_LOCAL = 255;
const RTNH_F_ONLINK = 4;
const NUD = { reachable: 0x02, stale: 0x04, delay: 0x08, probe: 0x10, permanent: 0x80 } as const;
const NTF_PROXY = 0x08;
const NTF_KEPT = NTF_PROXY | 0x80;
const USER_HZ = 100;
export const BUMP = 1000;

export const flagsOf = ({ flags, headFlags }: AddressEntry): number => flags ?? headFlags;
/** fe80::/10. */
export const isLinkLocal = ({ family, scope }: AddressEntry): boolean => family === AF.inet6 && scope === 253;

/** The lifetimes go along; an IPv6 address needs no second check that nobody else has it. */
const moved = (entry: AddressEntry, ifindex: number, label: string | undefined): AddressEntry => {
  const [preferred = FOREVER, valid = FOREVER] = entry.cacheInfo ?? [];
  const family = entry.family === AF.inet6 ? AF.inet6 : AF.inet;
  const flags = (flagsOf(entry) & KEPT[family]) | (family === AF.inet6 ? IFA_F.nodad : 0);
  return {
    ...without(entry, 'cacheInfo', 'label'),
    ifindex,
    headFlags: 0,
    flags,
    ...(label === undefined ? {} : { label }),
    ...(valid === FOREVER && preferred === FOREVER ? {} : { cacheInfo: [preferred, valid, 0, 0] }),
  };
};

/** `eth0:1` becomes `bond:1`; a label that would be too long is left to the kernel. */
const labelOf = ({ label }: AddressEntry, from: string, to: string): string | undefined => {
  if (label === undefined || label === from || !label.startsWith(from)) return undefined;
  const renamed = to + label.slice(from.length);
  return renamed.length <= 15 ? renamed : undefined;
};

export interface Ends {
  readonly from: { readonly ifindex: number; readonly name: string };
  readonly to: { readonly ifindex: number; readonly name: string };
}

/** Adds or renews addresses on the other link. */
export const addAddresses = (addresses: readonly AddressEntry[], { from, to }: Ends): Uint8Array[] =>
  addresses.map((entry) => add(ADDRESS, moved(entry, to.ifindex, labelOf(entry, from.name, to.name)), 'replace'));
export const removeAddresses = (addresses: readonly AddressEntry[]): Uint8Array[] =>
  addresses.map(({ family, prefixLength, headFlags, scope, ifindex, address, local }) =>
    remove(ADDRESS, {
      family,
      prefixLength,
      headFlags,
      scope,
      ifindex,
      ...(address === undefined ? {} : { address }),
      ...(local === undefined ? {} : { local }),
    }),
  );

/** The network of an address, in one spelling. */
const network = (address: string, length: number): string => {
  const bytes = ipBytes(address) ?? new Uint8Array();
  const masked = Array.from(bytes, (byte, at) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * at))) & 0xff);
  return `${masked.join('.')}/${length}`;
};

/** The networks to which the kernel made routes by itself. */
const impliedBy = (addresses: readonly AddressEntry[]): ReadonlySet<string> =>
  new Set(
    addresses
      .filter((entry) => (flagsOf(entry) & IFA_F.noPrefixRoute) === 0)
      .map(({ address, prefixLength }) => network(address ?? '', prefixLength)),
  );
const isImplied = ({ protocol, dst, dstLength }: RouteEntry, implied: ReadonlySet<string>): boolean =>
  protocol === RTPROT.kernel && dst !== undefined && implied.has(network(dst, dstLength));

/** The routes that do not come by themselves with the addresses. */
export const ownRoutes = ({ routes, addresses }: Pick<Standing, 'routes' | 'addresses'>): RouteEntry[] => {
  const implied = impliedBy(addresses);
  return routes.filter((route) => route.type === RTN_UNICAST && tableOf(route) !== RT_TABLE_LOCAL && !isImplied(route, implied));
};
/** The routes that came by themselves with these addresses: those of IPv6 may outlive them until they expire. */
export const impliedRoutes = (routes: readonly RouteEntry[], addresses: readonly AddressEntry[]): RouteEntry[] => {
  const implied = impliedBy(addresses);
  return routes.filter((route) => route.type === RTN_UNICAST && tableOf(route) !== RT_TABLE_LOCAL && isImplied(route, implied));
};
export const tableOf = ({ table, headTable }: RouteEntry): number => table ?? headTable;

/**
 * A route over another link. One that a router announced gets a metric of its own: the kernel learns the announced one
 * anew, and could not add it beside one that is equal.
 */
const routeOver = (route: RouteEntry, oif: number, bump: number): RouteEntry => {
  const { cacheInfo, priority } = route;
  const expires = cacheInfo?.[2] ?? 0;
  const initial = route.family === AF.inet6 ? 1024 : 0;
  const metric = (priority ?? initial) + bump + (route.protocol === RTPROT.ra ? 1 : 0);
  return {
    ...without(route, 'cacheInfo', 'priority'),
    headFlags: route.headFlags & RTNH_F_ONLINK,
    oif,
    ...(metric === 0 ? {} : { priority: metric }),
    ...(expires > 0 && expires < 2 ** 31 ? { expires: Math.ceil(expires / USER_HZ) } : {}),
  };
};
export const addRoutes = (routes: readonly RouteEntry[], oif: number, bump = 0): Uint8Array[] =>
  orderly(routes).map((route) => add(ROUTE, routeOver(route, oif, bump), 'exclusive'));
export const removeRoutes = (routes: readonly RouteEntry[], oif: number, bump = 0): Uint8Array[] =>
  routes.map((route) => remove(ROUTE, without(routeOver(route, oif, bump), 'metrics', 'expires', 'pref')));
/** Routes to a network first, those that go through a gateway in it after them. */
const orderly = (routes: readonly RouteEntry[]): RouteEntry[] => [
  ...routes.filter(({ gateway, via }) => gateway === undefined && via === undefined),
  ...routes.filter(({ gateway, via }) => gateway !== undefined || via !== undefined),
];

const renamed = (rule: RuleEntry, from: string, to: string): RuleEntry => ({
  ...rule,
  headFlags: 0,
  ...(rule.iifName === from ? { iifName: to } : {}),
  ...(rule.oifName === from ? { oifName: to } : {}),
});
export const addRules = (rules: readonly RuleEntry[], { from, to }: Ends): Uint8Array[] =>
  rules.map((rule) => add(RULE, renamed(rule, from.name, to.name), 'exclusive'));
export const removeRules = (rules: readonly RuleEntry[]): Uint8Array[] => rules.map((rule) => remove(RULE, rule));

const LIVE = NUD.reachable | NUD.stale | NUD.delay | NUD.probe;
const NEIGHBOURS_MAX = 1024;
/** Neighbours whose hardware address is known, those in use first: without them the first packets wait for an answer. */
export const addNeighbours = (neighbours: readonly NeighbourEntry[], ifindex: number): Uint8Array[] =>
  neighbours
    .filter(
      ({ state, lladdr, headFlags }) =>
        (headFlags & NTF_PROXY) !== 0 || ((state & (LIVE | NUD.permanent)) !== 0 && lladdr !== undefined),
    )
    .toSorted((a, b) => rank(a) - rank(b))
    .slice(0, NEIGHBOURS_MAX)
    .map(({ family, state, headFlags, dst, lladdr }) =>
      add(
        NEIGHBOUR,
        {
          family,
          ifindex,
          state: (state & NUD.permanent) !== 0 ? NUD.permanent : NUD.stale,
          headFlags: headFlags & NTF_KEPT,
          type: 0,
          ...(dst === undefined ? {} : { dst }),
          ...(lladdr === undefined ? {} : { lladdr }),
        },
        'replace',
      ),
    );
const rank = ({ state }: NeighbourEntry): number => ((state & (NUD.reachable | NUD.permanent)) !== 0 ? 0 : 1);
/** Those that somebody entered by hand; the others are learnt again. */
export const isEntered = ({ state, headFlags }: NeighbourEntry): boolean =>
  (state & NUD.permanent) !== 0 || (headFlags & NTF_PROXY) !== 0;
