// ifupdown: it has no daemon, so a static address needs nothing. A DHCP client that it started for the standby would go on
// asking through a member that hears no answer while the primary is active; so it ends (without giving the lease up), and one
// for the bond goes on with the same lease. It runs as a unit of its own: it must outlive this service, and not be fenced in
// with it. DHCP and DHCPv6 have a client each. Sources: ifup(8), dhclient(8), the words with which ifupdown's dhcp methods start
// dhclient, dhclient-script.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { command, isActive, type Neighbour, type Note, type Taken, textOr } from './neighbour.ts';

export type Family = 4 | 6;
const LEASES = '/var/lib/dhcp';
/** Words of ifupdown's client that are about this one interface; the others are taken over as they are. */
const PATHS = { pid: '-pf', leases: '-lf' } as const;
/** What files and units are called, as ifupdown calls its own. */
const CLIENT = { 4: 'dhclient', 6: 'dhclient6' } as const;
/** Interface names go into a line of shell and the name of a unit; so does every word of the client's command line. */
const isPlain = (name: string): boolean => /^[\w.-]{1,15}$/.test(name);
const isWord = (word: string): boolean => /^[\w./=:-]+$/.test(word);
/** Where the interface stands among a client's words: last, but for `-e NAME=VALUE`; -1 when not at all. */
const placeOf = (name: string, words: readonly string[]): number => {
  let at = words.length - 1;
  while (words[at - 1] === '-e') at -= 2;
  return words[at] === name ? at : -1;
};

/** A script outside of the service's fences: as a unit of this name, killed when it is to end. */
const unit = async (signal: AbortSignal, name: string, ...script: readonly string[]): Promise<void> => {
  const kept = ['Restart=on-failure', 'RestartSec=5', 'KillSignal=SIGKILL', 'StandardError=null'].map(
    (one) => `--property=${one}`,
  );
  const what = [`--unit=${name}`, `--description=dhclient, in step with netkvm-failover`];
  await command(signal, 'systemd-run', '--quiet', '--collect', ...what, ...kept, '/bin/sh', '-c', script.join('\n'));
};
const renamed = (from: string, to: string): string => `sed 's/interface "${from}"/interface "${to}"/'`;

/** ifupdown's client for one family of addresses. */
export class Ifupdown implements Neighbour {
  readonly name: string;
  readonly #root: string;
  readonly #family: Family;
  readonly #client: string;

  constructor(root: string, family: Family) {
    this.#root = root;
    this.#family = family;
    this.#client = CLIENT[family];
    this.name = family === 4 ? 'dhclient' : 'dhclient -6';
  }

  /** The words of the client that serves the standby. */
  look({ bond, standby: { name } }: Taken): Promise<Note | null> {
    if (!isPlain(name) || !isPlain(bond)) return Promise.resolve(null);
    for (const { words } of this.#clientsOf(name)) {
      const leases = words[words.indexOf(PATHS.leases) + 1];
      if (!words.includes(PATHS.leases) || leases?.startsWith(`${LEASES}/`) !== true || !words.every(isWord)) continue;
      return Promise.resolve({ words: words.join(' '), leases });
    }
    return Promise.resolve(null);
  }

  async before(): Promise<void> {}

  async after({ bond, standby: { name } }: Taken, { words = '', leases = '' }: Note, signal: AbortSignal): Promise<void> {
    if (await isActive(signal, this.#unit(bond))) return;
    const own = this.#leases(bond);
    const ends = [...this.#clientsOf(name).map(({ pid }) => `kill -KILL ${pid}`), `rm -f ${this.#pid(name)}`];
    // It adds the address that is there already in vain, so that its time would run out before the first renewal.
    const keep = [
      `ip -4 -o address show dev ${bond} scope global dynamic | while read -r _ _ _ cidr _; do`,
      `ip address change "$cidr" dev ${bond} valid_lft forever preferred_lft forever; done`,
    ];
    await unit(
      signal,
      this.#unit(bond),
      // Not by a signal that it answers by giving the lease up. It may not have written its pid down yet. All this once, and not
      // when systemd starts the client again.
      `[ -e ${own} ] || { ${ends.join('; ')}; ${renamed(name, bond)} ${leases} >${own}; }`,
      ...(this.#family === 4 ? keep : []),
      `exec ${this.#wordsFor(words, name, bond, own)}`,
    );
  }

  async release({ bond, standby: { name } }: Taken, { words = '', leases = '' }: Note, signal: AbortSignal): Promise<void> {
    const own = this.#leases(bond);
    if (!existsSync(join(this.#root, own))) return;
    await command(signal, 'systemctl', 'stop', this.#unit(bond)).catch(() => null);
    await unit(
      signal,
      this.#unit(name),
      `[ ! -e ${own} ] || ${renamed(bond, name)} ${own} >>${leases}`,
      `rm -f ${this.#pid(bond)} ${own}`,
      `[ -e /sys/class/net/${name} ] || exit 0`,
      `exec ${this.#wordsFor(words, name, name, leases)}`,
    );
  }

  /** Its processes that serve this interface. */
  #clientsOf(name: string): { readonly pid: string; readonly words: readonly string[] }[] {
    const proc = join(this.#root, 'proc');
    const pids = existsSync(proc) ? readdirSync(proc).filter((entry) => /^[0-9]+$/.test(entry)) : [];
    return pids
      .map((pid) => ({
        pid,
        words: textOr(join(proc, pid, 'cmdline'))
          .split('\0')
          .filter(Boolean),
      }))
      .filter(({ words }) => /(^|\/)dhclient$/.test(words[0] ?? '') && placeOf(name, words) > 0)
      .filter(({ words }) => words.includes('-6') === (this.#family === 6));
  }

  /** The words of `from`’s client for another interface; `-d` because systemd looks after it. */
  #wordsFor(text: string, from: string, name: string, leases: string): string {
    const [program = '', ...words] = text.split(' ').filter((word) => word !== '-d');
    const place = placeOf(from, words);
    const own = words.map((word, at) => {
      if (at === place) return name;
      if (words[at - 1] === PATHS.pid) return this.#pid(name);
      return words[at - 1] === PATHS.leases ? leases : word;
    });
    return [program, '-d', ...own].join(' ');
  }

  #leases(bond: string): string {
    return `/run/netkvm-${this.#client}.${bond}.leases`;
  }
  #pid(name: string): string {
    return `/run/${this.#client}.${name}.pid`;
  }
  #unit(name: string): string {
    return `netkvm-${this.#client}-${name}`;
  }
}
