// What `ip` says of the network beside what a reader of our events believes, in one shape, so that a test can compare them.
import type { Adapter } from '../../src/events/catalogue.ts';

interface IpLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly master?: string;
  readonly linkinfo?: {
    info_kind?: string;
    info_data?: { mode?: string; active_slave?: string };
    info_slave_kind?: string;
    info_slave_data?: { state?: string };
  };
}
interface IpAddress {
  readonly ifindex: number;
  readonly addr_info: readonly { local: string; prefixlen: number; tentative?: boolean }[];
}
export interface Row {
  readonly ifindex: number;
  readonly name: string;
  readonly mac: string | null;
  readonly mtu: number;
  readonly up: boolean;
  /** null while it is down: it means nothing then, and `ip` does not show it. */
  readonly carrier: boolean | null;
  readonly master: number | null;
  readonly kind: string | null;
  readonly activeSlave: number | null;
  readonly slave: string | null;
}
export interface Truth {
  readonly adapters: Row[];
  readonly addresses: string[];
  /** Addresses that the kernel announces only when duplicate address detection has ended. */
  readonly tentative: string[];
}

const byIndex = (a: Row, b: Row): number => a.ifindex - b.ifindex;

/** From `ip -d -j link` and `ip -j addr`. */
export const saidByIp = (linksAsJson: string, addressesAsJson: string): Truth => {
  const links = JSON.parse(linksAsJson) as IpLink[];
  const indexOf = new Map(links.map(({ ifname, ifindex }) => [ifname, ifindex]));
  const adapters = links.map(({ ifindex, ifname, address, mtu, flags, master, linkinfo }) => ({
    ifindex,
    name: ifname,
    mac: address === '00:00:00:00:00:00' ? null : address,
    mtu,
    up: flags.includes('UP'),
    carrier: flags.includes('UP') ? flags.includes('LOWER_UP') : null,
    master: master === undefined ? null : (indexOf.get(master) ?? null),
    kind: linkinfo?.info_kind ?? null,
    activeSlave: indexOf.get(linkinfo?.info_data?.active_slave ?? '') ?? null,
    slave: linkinfo?.info_slave_kind === 'bond' ? (linkinfo.info_slave_data?.state?.toLowerCase() ?? null) : null,
  }));
  const all = (JSON.parse(addressesAsJson) as IpAddress[]).flatMap(({ ifindex, addr_info }) =>
    addr_info.map(({ local, prefixlen, tentative }) => ({
      address: `${ifindex} ${local}/${prefixlen}`,
      tentative: tentative === true,
    })),
  );
  const addresses = (tentative: boolean): string[] =>
    all.flatMap((one) => (one.tentative === tentative ? [one.address] : [])).toSorted();
  return { adapters: adapters.toSorted(byIndex), addresses: addresses(false), tentative: addresses(true) };
};

export const believedAdapters = (adapters: Iterable<Adapter>): Row[] =>
  [...adapters]
    .map(({ ifindex, name, mac, mtu, up, carrier, master, kind, bond, slave }) => ({
      ifindex,
      name,
      mac,
      mtu,
      up,
      carrier: up ? carrier : null,
      master,
      kind,
      activeSlave: bond?.activeSlave ?? null,
      slave: slave === null ? null : slave.active ? 'active' : 'backup',
    }))
    .toSorted(byIndex);
