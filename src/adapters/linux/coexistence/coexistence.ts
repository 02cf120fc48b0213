// The network managers of the guest and the bond: who manages the standby is told to leave the pair's members alone and to
// go on with the bond, so that addresses and the lease's renewal stay where the traffic is. Everything lies under /run and is
// written for a takeover only: a boot without the service is a boot before it was installed.
//
// Nothing here fails a takeover or waits long: what did not work is said, and the bond works without it until a lease ends.
import { readlinkSync } from 'node:fs';
import { NOT_TOLD } from '../../../events/catalogue.ts';
import { Ifupdown } from './ifupdown.ts';
import type { Neighbour, Note, Taken } from './neighbour.ts';
import { NetworkManager } from './network-manager.ts';
import { Networkd } from './networkd.ts';

/** What is to be remembered, by neighbour. */
export type Notes = Readonly<Record<string, Note>>;
type Step = 'before' | 'after' | 'release';

/** A step waits no longer than this for all of them; three make a takeover, one a giving back (src/host/effects.ts). */
const LIMIT_MS = 10_000;

/** In a network namespace of its own the service has no business with the managers of the system's. */
const isElsewhere = (): boolean => {
  try {
    return readlinkSync('/proc/1/ns/net') !== readlinkSync('/proc/self/ns/net');
  } catch {
    return false; // Not allowed to ask, as the service: then it is the system's.
  }
};

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Coexistence {
  readonly #neighbours: Readonly<Record<string, Neighbour>>;

  /** `root` is where /run and /etc are; `/` but in tests. */
  constructor(root = '/') {
    this.#neighbours = {
      networkd: new Networkd(root),
      networkManager: new NetworkManager(root),
      ifupdown: new Ifupdown(root, 4),
      ifupdown6: new Ifupdown(root, 6),
    };
    if (root === '/' && isElsewhere()) this.#neighbours = {};
  }

  /** Who has to do with this standby. Changes nothing. Whoever is there and does not answer will not be told. */
  async look(taken: Taken): Promise<Notes> {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const looks = Object.entries(this.#neighbours).map(async ([key, neighbour]) => {
      const note = await neighbour.look(taken, signal).catch((error: unknown) => ({ unheard: textOf(error) }));
      return note === null ? [] : [[key, note] as const];
    });
    return Object.fromEntries((await Promise.all(looks)).flat());
  }

  /** Tells everybody who is noted; says in a line for each who was told, and who did not listen and why. Never rejects. */
  tell(step: Step, taken: Taken, notes: Notes): Promise<string[]> {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const tells = Object.entries(notes).map(async ([key, note]) => {
      const neighbour = this.#neighbours[key];
      if (neighbour === undefined) return `${key}${NOT_TOLD}it is not known here`;
      if (note['unheard'] !== undefined) return `${neighbour.name}${NOT_TOLD}${note['unheard']}`;
      try {
        await neighbour[step](taken, note, signal);
        return `${neighbour.name} was told`;
      } catch (error) {
        return `${neighbour.name}${NOT_TOLD}${textOf(error)}`;
      }
    });
    return Promise.all(tells);
  }
}
