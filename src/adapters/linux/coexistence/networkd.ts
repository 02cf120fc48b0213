// systemd-networkd: the bond gets the configuration that the standby has, and the members get none. Seen with version 252:
// a member's DHCP client goes on without being able to renew (its requests go out of a slave by unicast), and the address on
// the bond ends with the lease; with these files the bond's own client asks for the same address under the same client id,
// and renews it. Sources: systemd.network(5), networkctl(1).
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { command, drop, isActive, type Neighbour, type Note, put, type Taken, textOr, valueOf } from './neighbour.ts';

export const NETWORKD = 'systemd-networkd';
/** Folders of configuration, the first wins; drop-ins of one file may lie in any of them. */
const FOLDERS = ['etc/systemd/network', 'run/systemd/network', 'usr/local/lib/systemd/network', 'usr/lib/systemd/network'];
/** Early in the order of names, in which the first file that matches is taken. */
const PREFIX = '00-netkvm';
/** Sections that say which link is meant, or are about the device itself, which the service takes care of. */
const NOT_FOR_THE_BOND = /^\[(Match|Link|SR-IOV)\]/i;

/** A configuration that has it ask for a lease of IPv4. */
const ASKS = /^\s*DHCP\s*=\s*(yes|true|on|1|both|ipv4|v4)\s*$/im;
/** How long a lease that is being written is waited for, and how often it is looked for. */
const [LEASE_LIMIT_MS, LOOK_MS] = [5000, 100];

/** Each section with its header, as text. */
const sectionsOf = (text: string): string[] => text.split(/^(?=\[)/m).filter((section) => section.startsWith('['));

/** The file's text followed by its drop-ins, systemd.network(5): sections of one name add up. */
const withDropIns = (root: string, file: string): string => {
  const name = file.slice(file.lastIndexOf('/') + 1);
  const dropIns = new Map<string, string>();
  for (const folder of FOLDERS) {
    const path = join(root, folder, `${name}.d`);
    if (!existsSync(path)) continue;
    for (const one of readdirSync(path)) if (one.endsWith('.conf') && !dropIns.has(one)) dropIns.set(one, join(path, one));
  }
  const paths = [join(root, file), ...[...dropIns.keys()].toSorted().map((one) => dropIns.get(one)!)];
  return paths.map((path) => textOr(path)).join('\n');
};

/** `ff` + IAID + DUID, RFC 4361: the IAID is made from the interface's name, so the bond must be told it. */
const iaidOf = (lease: string): number | null => {
  const iaid = /^ff([0-9a-f]{8})/i.exec(valueOf(lease, 'CLIENTID') ?? '')?.[1];
  return iaid === undefined ? null : Number.parseInt(iaid, 16);
};

interface Origin {
  readonly bond: string;
  /** The standby's file, its text with all drop-ins, and its lease as networkd keeps it. */
  readonly file: string;
  readonly text: string;
  readonly lease: string;
}

/** The .network file of the bond. */
export const networkFor = ({ bond, file, text, lease }: Origin): string => {
  const iaid = iaidOf(lease);
  const parts = [
    `# Written by netkvm-failover from ${file}; removed when the bond is given back.`,
    `[Match]\nName=${bond}`,
    ...sectionsOf(text).filter((section) => !NOT_FOR_THE_BOND.test(section)),
    // What was moved to the bond stays until the client has renewed it.
    '[Network]\nKeepConfiguration=yes',
    ...(iaid === null ? [] : [`[DHCPv4]\nIAID=${iaid}`, `[DHCPv6]\nIAID=${iaid}`]),
  ];
  return `${parts.map((part) => part.trimEnd()).join('\n\n')}\n`;
};

/** Where the file of this name goes. */
export const fileOf = (root: string, name: string): string => join(root, 'run/systemd/network', `${PREFIX}-${name}.network`);
export const reload = async (signal: AbortSignal): Promise<void> => {
  await command(signal, 'networkctl', 'reload');
};

export class Networkd implements Neighbour {
  readonly name = NETWORKD;
  readonly #root: string;

  constructor(root = '/') {
    this.#root = root;
  }

  /** It may want the next primary even where it has nothing to do with the standby. What it says of links outlives it. */
  async look({ standby: { ifindex } }: Taken, signal: AbortSignal): Promise<Note | null> {
    if (this.#stateOf(ifindex) === '' || !(await isActive(signal, NETWORKD))) return null;
    const { file, text } = this.#originOf(ifindex);
    if (file !== null && !file.includes(PREFIX) && ASKS.test(text)) await this.#leased(ifindex, signal);
    return {};
  }

  /** At boot the address is there a moment before the lease is written down. Where there will be none, only time is lost. */
  async #leased(ifindex: number, signal: AbortSignal): Promise<void> {
    const end_ms = performance.now() + LEASE_LIMIT_MS;
    while (this.#leaseOf(ifindex) === '' && performance.now() < end_ms) await sleep(LOOK_MS, null, { signal });
  }

  async before({ bond, standby }: Taken, _note: Note, signal: AbortSignal): Promise<void> {
    const { file, text } = this.#originOf(standby.ifindex);
    // After a restart of the service the standby is a member already, and the bond's file is there.
    if (file === null || file.includes(PREFIX)) return;
    const own = networkFor({ bond, file, text, lease: this.#leaseOf(standby.ifindex) });
    if (put(fileOf(this.#root, bond), own)) await reload(signal);
  }

  async after({ bond, mac }: Taken, _note: Note, signal: AbortSignal): Promise<void> {
    const text = `# Members of ${bond}, which netkvm-failover steers.\n[Match]\nMACAddress=${mac}\nType=ether\n\n[Link]\nUnmanaged=yes\n`;
    if (put(fileOf(this.#root, `${bond}-members`), text)) await reload(signal);
  }

  async release({ bond }: Taken, _note: Note, signal: AbortSignal): Promise<void> {
    const gone = [bond, `${bond}-members`].map((name) => drop(fileOf(this.#root, name)));
    if (gone.includes(true)) await reload(signal);
  }

  /** The file that it took for a link, and its text with all drop-ins. */
  #originOf(ifindex: number): { readonly file: string | null; readonly text: string } {
    const file = valueOf(this.#stateOf(ifindex), 'NETWORK_FILE');
    return { file, text: file === null ? '' : withDropIns(this.#root, file) };
  }

  #leaseOf(ifindex: number): string {
    return textOr(join(this.#root, 'run/systemd/netif/leases', String(ifindex)));
  }

  /** What networkd says of a link that it knows. */
  #stateOf(ifindex: number): string {
    return textOr(join(this.#root, 'run/systemd/netif/links', String(ifindex)));
  }
}
