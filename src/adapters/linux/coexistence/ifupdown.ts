// ifupdown: it has no daemon, so a static address needs nothing. A DHCP client that it started for the standby would go on
// asking through a member that hears no answer while the primary is active; so it ends (without giving the lease up), and one
// for the bond goes on with the same lease. It runs as a unit of its own: it must outlive this service, and not be fenced in
// with it. Sources: ifup(8), dhclient(8), the words with which ifupdown's dhcp method starts dhclient, dhclient-script.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { command, isActive, type Neighbour, type Note, type Taken, textOr } from './neighbour.ts';

const LEASES = '/var/lib/dhcp';
/** Words of ifupdown's client that are about this one interface; the others are taken over as they are. */
const PATHS = { pid: '-pf', leases: '-lf' } as const;
const leasesOf = (bond: string): string => `/run/netkvm-dhclient.${bond}.leases`;
const pidOf = (name: string): string => `/run/dhclient.${name}.pid`;
const unitOf = (name: string): string => `netkvm-dhclient-${name}`;
/** Interface names go into a line of shell and the name of a unit; so does every word of the client's command line. */
const isPlain = (name: string): boolean => /^[\w.-]{1,15}$/.test(name);
const isWord = (word: string): boolean => /^[\w./=:-]+$/.test(word);

/** A script outside of the service's fences: as a unit of this name, killed when it is to end. */
const unit = async (signal: AbortSignal, name: string, ...script: readonly string[]): Promise<void> => {
  const kept = ['Restart=on-failure', 'RestartSec=5', 'KillSignal=SIGKILL', 'StandardError=null'].map(
    (one) => `--property=${one}`,
  );
  const what = [`--unit=${name}`, `--description=dhclient, in step with netkvm-failover`];
  await command(signal, 'systemd-run', '--quiet', '--collect', ...what, ...kept, '/bin/sh', '-c', script.join('\n'));
};

/** dhclient's words for another interface; `-d` because systemd looks after it. */
const wordsFor = (words: readonly string[], name: string, leases: string): string => {
  const [program = '', ...rest] = words;
  const own = rest.slice(0, -1).map((word, at) => {
    if (rest[at - 1] === PATHS.pid) return pidOf(name);
    return rest[at - 1] === PATHS.leases ? leases : word;
  });
  return [program, '-d', ...own.filter((word) => word !== '-d'), name].join(' ');
};
const renamed = (from: string, to: string): string => `sed 's/interface "${from}"/interface "${to}"/'`;

export class Ifupdown implements Neighbour {
  readonly name = 'dhclient';
  readonly #root: string;

  constructor(root = '/') {
    this.#root = root;
  }

  /** The words of the client that serves the standby. */
  look({ bond, standby: { name } }: Taken): Promise<Note | null> {
    if (!isPlain(name) || !isPlain(bond)) return Promise.resolve(null);
    const proc = join(this.#root, 'proc');
    const processes = existsSync(proc) ? readdirSync(proc).filter((entry) => /^[0-9]+$/.test(entry)) : [];
    for (const pid of processes) {
      const words = textOr(join(proc, pid, 'cmdline'))
        .split('\0')
        .filter(Boolean);
      if (!/(^|\/)dhclient$/.test(words[0] ?? '') || words.at(-1) !== name || words.includes('-6')) continue;
      const leases = words[words.indexOf(PATHS.leases) + 1];
      if (!words.includes(PATHS.leases) || leases?.startsWith(`${LEASES}/`) !== true || !words.every(isWord)) continue;
      return Promise.resolve({ words: words.join(' '), leases });
    }
    return Promise.resolve(null);
  }

  async before(): Promise<void> {}

  async after({ bond, standby: { name } }: Taken, { words = '', leases = '' }: Note, signal: AbortSignal): Promise<void> {
    if (await isActive(signal, unitOf(bond))) return;
    await unit(
      signal,
      unitOf(bond),
      // Not by a signal that it answers by giving the lease up.
      `[ ! -e ${pidOf(name)} ] || { kill -KILL $(cat ${pidOf(name)}); rm -f ${pidOf(name)}; }`,
      `[ -e ${leasesOf(bond)} ] || ${renamed(name, bond)} ${leases} >${leasesOf(bond)}`,
      // It adds the address that is there already in vain, so that its time would run out before the first renewal.
      `ip -4 -o address show dev ${bond} scope global dynamic | while read -r _ _ _ cidr _; do`,
      `ip address change "$cidr" dev ${bond} valid_lft forever preferred_lft forever; done`,
      `exec ${wordsFor(words.split(' '), bond, leasesOf(bond))}`,
    );
  }

  async release({ bond, standby: { name } }: Taken, { words = '', leases = '' }: Note, signal: AbortSignal): Promise<void> {
    if (!existsSync(join(this.#root, leasesOf(bond)))) return;
    await command(signal, 'systemctl', 'stop', unitOf(bond)).catch(() => null);
    await unit(
      signal,
      unitOf(name),
      `[ ! -e ${leasesOf(bond)} ] || ${renamed(bond, name)} ${leasesOf(bond)} >>${leases}`,
      `rm -f ${pidOf(bond)} ${leasesOf(bond)}`,
      `[ -e /sys/class/net/${name} ] || exit 0`,
      `exec ${wordsFor(words.split(' '), name, leases)}`,
    );
  }
}
