// A guest's side of a migration: its story, what happened to its primaries, and what it saw of things that its hypervisor
// saw, too. Times are the guest's CLOCK_MONOTONIC.
import type { History as File } from '../../src/adapters/log/history.ts';
import type { Foldable } from '../../src/events/envelope.ts';
import type { Place } from '../../src/machines/history.ts';
import type { PairState } from '../../src/machines/pair-state.ts';
import { type Identity, identityOf, isSame } from '../../src/machines/roles.ts';
import type { Step } from '../../src/machines/step.ts';
import { Story } from '../../src/machines/story.ts';
import { BIT } from '../../src/machines/view.ts';
import { tellHistory, type TellOptions } from '../replay.ts';
import type { Host } from './host.ts';
import { HostLog } from './host-log.ts';

/** What a hypervisor sees the other side of. */
export type SightKind = 'standbyAppeared' | 'standbyUp' | 'functionAdded' | 'functionRemoved' | 'primaryLeaving' | 'announced';
export interface Sight {
  readonly kind: SightKind;
  readonly at_ns: bigint;
  readonly seq: number;
}

/** What became of a pair's primary: a first sign of leaving, its end, its arrival, and when it was bound or enslaved. */
export type MarkKind = 'signalled' | 'left' | 'came' | 'attached';
export interface Mark extends Omit<Sight, 'kind'> {
  readonly kind: MarkKind;
  readonly mac: string;
  /** Name and place of the primary. */
  readonly text: string;
}

export interface Guest {
  readonly name: string;
  readonly file: string;
  readonly story: Story;
  readonly sights: readonly Sight[];
  readonly marks: readonly Mark[];
  /** Number of the first event since the last boot. */
  readonly first_seq: number;
  readonly first_ns: bigint;
  readonly last_ns: bigint;
  /** What the guest itself takes for the time, minus its monotonic clock; as wrong as its wall clock is. */
  readonly wall_ns: bigint;
  /** Names of migrations that its hypervisor spoke of. */
  readonly migrations: readonly string[];
  readonly complaints: readonly string[];
  readonly damaged: boolean;
}

const KEPT_MAX = 100_000;
/** An order to announce is carried out in rounds; they are one. */
const ROUNDS_NS = 1_500_000_000n;

interface Seen {
  primary: Identity | null;
  attached: boolean;
  text: string;
}

class Watcher {
  readonly story = new Story();
  readonly sights: Sight[] = [];
  readonly marks: Mark[] = [];
  first: Place | null = null;
  wall_ns = 0n;
  dropped = 0;
  reboots = 0;
  readonly #seen = new Map<string, Seen>();
  #announced = -ROUNDS_NS;

  take(event: Foldable, place: Place, wall_ns: string) {
    // A guest's clock begins anew when it boots: what was before has no place on an axis with what came after.
    if (this.first !== null && BigInt(place.at_ns) < BigInt(this.story.end.at_ns)) this.#restart();
    if (this.first === null) {
      this.first = place;
      this.wall_ns = BigInt(wall_ns) - BigInt(place.at_ns);
    }
    const leaving = this.#isLeaving(event);
    const step = this.story.tell(event, place);
    this.#see(event, place, leaving);
    for (const pair of step.touched) this.#mark(pair, place);
    return step;
  }

  #restart(): void {
    this.first = null;
    this.reboots += 1;
    this.sights.length = 0;
    this.marks.length = 0;
    this.#seen.clear();
    this.#announced = -ROUNDS_NS;
  }

  /** Asked before the event is folded, while the primary that it speaks of is still one. */
  #isLeaving(event: Foldable): PairState | null {
    const { pairs } = this.story.guest;
    const found = (holds: (pair: PairState) => boolean): PairState | null => [...pairs.values()].find(holds) ?? null;
    switch (event.type) {
      case 'departure.signalled':
      case 'pci.unbound':
        return found(({ roles: { primary } }) => primary?.facts.pci === event.data.address);
      case 'adapter.gone':
        return found(({ roles: { primary } }) => primary?.facts.ifindex === event.data.ifindex);
      default:
        return null;
    }
  }

  #see(event: Foldable, place: Place, leaving: PairState | null): void {
    const at_ns = BigInt(place.at_ns);
    const saw = (kind: SightKind): void => this.#keep(this.sights, { kind, at_ns, seq: place.seq });
    if (leaving !== null) {
      saw('primaryLeaving');
      if (event.type === 'departure.signalled') {
        const { mac, roles } = leaving;
        this.#keep(this.marks, { kind: 'signalled', mac, at_ns, seq: place.seq, text: `${nameOf(roles)}: ${event.data.sign}` });
      }
    }
    switch (event.type) {
      case 'adapter.appeared':
        if (event.data.bus === 'virtio') saw('standbyAppeared');
        return;
      case 'adapter.changed':
        if (event.data.changed.up === true && this.#isVirtio(event.data.ifindex)) saw('standbyUp');
        return;
      case 'pci.added':
        saw('functionAdded');
        return;
      case 'pci.removed':
        saw('functionRemoved');
        return;
      case 'announce.seen':
        if (at_ns - this.#announced >= ROUNDS_NS) saw('announced');
        this.#announced = at_ns;
        return;
      default:
        return;
    }
  }

  #isVirtio(ifindex: number): boolean {
    return this.story.guest.adapters.get(ifindex)?.facts.bus === 'virtio';
  }

  #mark({ mac, roles, bits }: PairState, place: Place): void {
    const before = this.#seen.get(mac) ?? { primary: null, attached: false, text: '' };
    const at_ns = BigInt(place.at_ns);
    const mark = (kind: MarkKind, text: string): void => this.#keep(this.marks, { kind, mac, at_ns, seq: place.seq, text });
    const text = nameOf(roles);
    const attached = (bits & BIT.bound) !== 0;
    if (!isSame(roles.primary, before.primary)) {
      if (before.primary !== null) mark('left', before.text);
      if (roles.primary !== null) mark('came', text);
    }
    if (attached && (!before.attached || !isSame(roles.primary, before.primary))) mark('attached', text);
    this.#seen.set(mac, { primary: identityOf(roles.primary), attached, text });
  }

  #keep<T>(list: T[], item: T): void {
    if (list.length < KEPT_MAX) list.push(item);
    else this.dropped += 1;
  }
}

const nameOf = ({ primary }: PairState['roles']): string =>
  primary === null ? 'no primary' : `${primary.facts.name}${primary.facts.pci === null ? '' : ` at ${primary.facts.pci}`}`;

/**
 * Reads a recording or a raw capture to its end: a guest's, or that of a hypervisor's side. Throws NetkvmError `recording.*`.
 */
export const readLog = async (name: string, file: File, options: TellOptions): Promise<Guest | Host> => {
  const watcher = new Watcher();
  const hostLog = new HostLog();
  const take = (event: Foldable, place: Place, wall_ns: string): Step => {
    hostLog.note(event, place.seq, wall_ns);
    return watcher.take(event, place, wall_ns);
  };
  const { complaints, damaged } = await tellHistory(file, take, options);
  const migrations = [...hostLog.migrations];
  if (hostLog.isHost) {
    const events = hostLog.events.toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : a.at_ns > b.at_ns ? 1 : a.line - b.line));
    return { name, file: file.name, events, migrations, complaints, damaged };
  }
  const { story, sights, marks, first, wall_ns, dropped, reboots } = watcher;
  story.history.end();
  const told = [
    ...(dropped > 0 ? [`${file.name}: ${dropped} sights are left out`] : []),
    ...(reboots > 0 ? [`${file.name}: the guest's clock began anew ${reboots} times; only what came after is shown`] : []),
  ];
  const [first_ns, last_ns] = [BigInt(first?.at_ns ?? '0'), BigInt(story.end.at_ns)];
  return {
    name,
    file: file.name,
    story,
    sights,
    marks,
    first_seq: first?.seq ?? 0,
    first_ns,
    last_ns,
    wall_ns,
    migrations,
    complaints: [...complaints, ...told],
    damaged,
  };
};
