// What was wrong, or worth knowing, as spans and points on the log: derived from the fold after every event, never
// stored. Codes, severities, causes and cures are in reasons.ts.
import type { EventType, PciFunction } from '../events/catalogue.ts';
import type { Foldable } from '../events/envelope.ts';
import { type Clue, Clues } from './clues.ts';
import type { Guest } from './guest.ts';
import { hostedClues } from './hosted-clues.ts';
import type { Step } from './step.ts';
import type { Place } from './history.ts';
import type { PairState } from './pair-state.ts';
import { FINDINGS, type FindingCode, type Severity } from './reasons.ts';
import { type Arrived, enslavedTo, type Identity, identityOf, isSame } from './roles.ts';
import { BIT } from './view.ts';

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** The pair, null for what concerns the whole guest. */
  readonly mac: string | null;
  readonly seq: number;
  readonly at_ns: string;
  /** Where it ended; null while it lasts. A point ends where it begins. */
  readonly until_seq: number | null;
  readonly until_ns: string | null;
  readonly text: string;
}

/** A condition that lasts; it becomes a finding when it has lasted for `after_ms`. */
interface Span {
  readonly from: Place;
  readonly after_ms: number;
  readonly text: (ms: number | null) => string;
}

interface Watch {
  readonly spans: Map<FindingCode, Span>;
  hadPath: boolean;
  /** Arrival of the primary that left last and has not returned; null when none is missing. */
  leftAt: Place | null;
  announcedSinceLeft: boolean;
  announcedAt: Place | null;
  hadPrimary: Identity | null;
  flapped: boolean;
}

/** What may give a network function an adapter, or take it away. */
const MOVES_FUNCTIONS: ReadonlySet<EventType> = new Set<EventType>([
  'pci.added',
  'pci.bound',
  'pci.unbound',
  'pci.removed',
  'adapter.appeared',
  'adapter.gone',
  'survey.taken',
]);
/** One order to announce is carried out in several rounds (QEMU: five within a second); they are one finding. */
const ANNOUNCE_ROUNDS_MS = 1500;

const msBetween = (from_ns: string, to_ns: string): number => (Number(to_ns) - Number(from_ns)) / 1e6;
const rounded = (ms: number): string => (ms < 10 ? ms.toFixed(1) : Math.round(ms).toString());
const lasting = (ms: number | null): string => (ms === null ? 'and it lasts' : `for ${rounded(ms)} ms`);
const nameOf = (adapter: Arrived | null): string =>
  adapter === null ? 'none' : `${adapter.facts.name}${adapter.facts.pci === null ? '' : ` (${adapter.facts.pci})`}`;

/** What lasts, and so has a beginning and an end. */
type LastingCode =
  | 'noPath'
  | 'inboundHole'
  | 'carrierLost'
  | 'mtuMismatch'
  | 'secondPrimary'
  | 'secondStandby'
  | 'attachFailed'
  | 'noAdapter'
  | 'wrongMaster'
  | 'obligationOpen';

/** The MTU that a primary should have: the master’s, or the standby’s where nothing joins them. */
const referenceMtu = ({ roles: { master, standby } }: PairState): number | undefined => (master ?? standby)?.facts.mtu;

/** Members that another device than the pair’s has taken. */
const strangers = ({ mode, roles: { standby, master, primary } }: PairState): Arrived[] =>
  [standby, primary].filter(
    (one): one is Arrived => one !== null && one.facts.master !== null && (mode === 'none' || !enslavedTo(one, master)),
  );
/** The words for a span, with the names that hold when it begins. */
const describe = (code: LastingCode, pair: PairState, orphans: readonly PciFunction[]): Span['text'] => {
  const { standby, primary, rival, surplus } = pair.roles;
  const name = nameOf(primary);
  switch (code) {
    case 'noPath':
      return (ms) => `no path ${lasting(ms)}`;
    case 'inboundHole':
      return (ms) =>
        `everything that arrived on the standby was dropped ${lasting(ms)}: ${name} is registered, but does not carry`;
    case 'wrongMaster': {
      const names = strangers(pair).map(nameOf).join(', ');
      return (ms) => `${names} is enslaved to another device, ${lasting(ms)}`;
    }
    case 'obligationOpen': {
      const owed = pair.obligations.map(({ kind, id }) => `${kind} (${id})`).join(', ');
      return (ms) => `owed, with effects off: ${owed}, ${lasting(ms)}`;
    }
    case 'carrierLost':
      return (ms) => `${name} did not carry ${lasting(ms)}`;
    case 'mtuMismatch': {
      const mtus = `${name} has MTU ${primary?.facts.mtu}, the pair ${referenceMtu(pair)}`;
      return (ms) => `${mtus}, ${lasting(ms)}`;
    }
    case 'secondPrimary': {
      const names = surplus.map(nameOf).join(', ');
      return (ms) => `${names} has this MAC too, beside ${name}, ${lasting(ms)}`;
    }
    case 'secondStandby': {
      const names = `${nameOf(standby)} and ${nameOf(rival)}`;
      return (ms) => `${names} are both standbys with this MAC, ${lasting(ms)}`;
    }
    case 'noAdapter': {
      const names = orphans.map(({ address, driver }) => `${address} (${driver ?? 'no driver'})`).join(', ');
      return (ms) => `${names} shows no adapter, ${lasting(ms)}`;
    }
    case 'attachFailed': {
      const verb = pair.mode === 'netkvm' ? 'bound' : 'enslaved';
      return (ms) => `${name} is not ${verb}, ${lasting(ms)}`;
    }
  }
};

export class Findings {
  readonly #list: Finding[] = [];
  readonly #watches = new Map<string, Watch>();
  readonly #clues = new Clues();
  readonly #limit: number;
  readonly #found: (finding: Finding) => void;
  #dropped = 0;

  /** Keeps the newest `limit` findings that have ended, and all that last; `found` is told of each as it begins or ends. */
  constructor(limit = 10_000, found: (finding: Finding) => void = () => {}) {
    this.#limit = limit;
    this.#found = found;
  }

  /** To be called after `guest.apply(event)`; `place` is what the user knows the event by. */
  note(event: Foldable, guest: Guest, step: Step, place: Place): void {
    this.#noteEvent(event, guest, place);
    for (const pair of step.touched) this.#notePair(pair, guest, place);
    for (const clue of this.#clues.note(event, step.touched, guest, place)) this.#follow(clue, place);
    // What QEMU says may change nothing of a pair, and be worth knowing.
    if (step.hosted.length > 0 || event.type === 'monitor.event')
      for (const clue of hostedClues(event, step.hosted)) this.#follow(clue, place);
    if (MOVES_FUNCTIONS.has(event.type)) this.#orphans(guest, place);
  }

  /** All findings in the order of their beginning; those that last at `end` are open (until_seq null). */
  list(end: Place): Finding[] {
    const open = [...this.#watches].flatMap(([mac, { spans }]) =>
      [...spans].flatMap(([code, span]) => {
        const ms = msBetween(span.from.at_ns, end.at_ns);
        return ms >= span.after_ms ? [this.#finding(code, mac, span.from, null, span.text(null))] : [];
      }),
    );
    return [...this.#list, ...open].toSorted((a, b) => a.seq - b.seq || Number(a.at_ns) - Number(b.at_ns));
  }

  /** How many findings were dropped because of the limit. */
  get dropped(): number {
    return this.#dropped;
  }

  #finding(code: FindingCode, mac: string | null, from: Place, until: Place | null, text: string): Finding {
    return {
      code,
      severity: FINDINGS[code].severity,
      mac,
      seq: from.seq,
      at_ns: from.at_ns,
      until_seq: until?.seq ?? null,
      until_ns: until?.at_ns ?? null,
      text,
    };
  }

  #keep(finding: Finding): void {
    this.#list.push(finding);
    if (this.#list.length > this.#limit) {
      this.#list.shift();
      this.#dropped += 1;
    }
    this.#found(finding);
  }

  #point(code: FindingCode, mac: string | null, place: Place, text: string): void {
    this.#keep(this.#finding(code, mac, place, place, text));
  }

  /** Begins or ends the span of `code` according to whether the condition holds. */
  #span(
    watch: Watch,
    pair: PairState,
    code: LastingCode,
    holds: boolean,
    place: Place,
    after_ms: number,
    orphans: readonly PciFunction[] = [],
  ): void {
    this.#hold(watch, pair.mac, code, holds, place, after_ms, () => describe(code, pair, orphans));
  }

  #hold(
    watch: Watch,
    mac: string,
    code: FindingCode,
    holds: boolean,
    place: Place,
    after_ms: number,
    words: () => Span['text'],
  ): void {
    const open = watch.spans.get(code);
    if (holds) {
      if (open === undefined) watch.spans.set(code, { from: place, after_ms, text: words() });
      return;
    }
    if (open === undefined) return;
    watch.spans.delete(code);
    const ms = msBetween(open.from.at_ns, place.at_ns);
    if (ms >= open.after_ms) this.#keep(this.#finding(code, mac, open.from, place, open.text(ms)));
  }

  #follow({ code, mac, holds, after_ms, text }: Clue, place: Place): void {
    if (holds === 'point' || mac === null) this.#point(code, mac, place, text(''));
    else this.#hold(this.#watch(mac), mac, code, holds, place, after_ms, () => (ms) => text(lasting(ms)));
  }

  #noteEvent(event: Foldable, guest: Guest, place: Place): void {
    switch (event.type) {
      case 'gap.seen':
        this.#point('gap', null, place, `${event.data.source}: ${event.data.reason}`);
        return;
      case 'clock.jumped':
        this.#point('clockJumped', null, place, `clock ${event.data.kind} by ${rounded(Number(event.data.delta_ns) / 1e6)} ms`);
        return;
      case 'announce.seen':
        for (const pair of guest.pairs.values()) {
          if (pair.roles.standby?.facts.ifindex === event.data.ifindex) this.#announce(pair, place);
        }
        return;
      case 'adapter.appeared':
        this.#foreign(guest.adapters.get(event.data.ifindex), guest, place);
        return;
      case 'outcome.seen':
        if (event.data.result === 'failed' || event.data.result === 'refused') {
          const { decision, pair, result, reason } = event.data;
          this.#point('effectFailed', pair, place, `decision ${decision} ${result}: ${reason ?? 'no reason given'}`);
        }
        return;
      default:
        return;
    }
  }

  #announce(pair: PairState, place: Place): void {
    const watch = this.#watch(pair.mac);
    watch.announcedSinceLeft = true;
    const again = watch.announcedAt !== null && msBetween(watch.announcedAt.at_ns, place.at_ns) < ANNOUNCE_ROUNDS_MS;
    watch.announcedAt = place;
    if (again) return;
    this.#point('announceSeen', pair.mac, place, `${nameOf(pair.roles.standby)} was told to announce its address`);
  }

  /** Functions that no adapter belongs to, for pairs that lack their primary: a driver may be missing. */
  #orphans(guest: Guest, place: Place): void {
    const places = new Set([...guest.adapters.values()].map(({ facts }) => facts.pci));
    const orphans = [...guest.inventory.functions.values()].filter(({ address }) => !places.has(address));
    for (const pair of guest.pairs.values()) {
      const lacking = pair.mode !== 'none' && (pair.bits & BIT.ours) !== 0 && (pair.bits & BIT.primary) === 0;
      const isMissed = lacking && orphans.length > 0;
      this.#span(this.#watch(pair.mac), pair, 'noAdapter', isMissed, place, guest.policy.attachLimit_ms, orphans);
    }
  }

  /** A network function with a MAC of its own came while a pair lacked its primary. */
  #foreign(adapter: Arrived | undefined, guest: Guest, place: Place): void {
    if (adapter === undefined || adapter.facts.bus !== 'pci' || adapter.facts.kind !== null) return;
    const mac = adapter.facts.permMac ?? adapter.facts.mac;
    for (const pair of guest.pairs.values()) {
      const lacking = pair.mode !== 'none' && (pair.bits & BIT.primary) === 0;
      if (!lacking || mac === pair.mac || mac === null || guest.pairs.has(mac)) continue;
      if (this.#clues.wasAt(pair.mac, adapter.facts.pci)) continue; // That one is worse: wrongMac.
      this.#point('foreignMac', pair.mac, place, `${nameOf(adapter)} came with MAC ${mac} while this pair lacked its primary`);
    }
  }

  #watch(mac: string): Watch {
    let watch = this.#watches.get(mac);
    if (watch === undefined) {
      watch = {
        spans: new Map(),
        hadPath: false,
        leftAt: null,
        announcedSinceLeft: false,
        announcedAt: null,
        hadPrimary: null,
        flapped: false,
      };
      this.#watches.set(mac, watch);
    }
    return watch;
  }

  #notePair(pair: PairState, guest: Guest, place: Place): void {
    const watch = this.#watch(pair.mac);
    const { settle_ms, flapLimit, attachLimit_ms } = guest.policy;
    const { mode, roles, shown, bits } = pair;
    const { standby, master, primary, rival, surplus } = roles;
    const onPath = shown.datapath !== 'none';
    const ours = (bits & BIT.ours) !== 0;
    const present = (bits & BIT.primary) !== 0;
    const bound = (bits & BIT.bound) !== 0;

    this.#returns(pair, watch, place);
    const masterUp = mode === 'netkvm' || master === null ? standby?.facts.up === true : master.facts.up;
    this.#span(watch, pair, 'noPath', !onPath && ours && (watch.hadPath || masterUp), place, settle_ms);
    watch.hadPath ||= onPath;
    const hole = mode === 'kernel' && bound && shown.datapath === 'standby';
    this.#span(watch, pair, 'inboundHole', hole, place, settle_ms);
    this.#span(watch, pair, 'carrierLost', pair.configuration.leaf === 'noCarrier' && present, place, settle_ms);
    const mtu = referenceMtu(pair);
    const mismatch = ours && primary !== null && mtu !== undefined && primary.facts.mtu !== mtu;
    this.#span(watch, pair, 'mtuMismatch', mismatch, place, settle_ms);
    this.#span(watch, pair, 'secondPrimary', surplus.length > 0, place, settle_ms);
    this.#span(watch, pair, 'secondStandby', rival !== null, place, settle_ms);
    // The kernel enslaves while it registers a device: one that came without a master will never get one.
    const patience_ms = mode === 'kernel' ? settle_ms : attachLimit_ms;
    this.#span(watch, pair, 'attachFailed', ours && present && !bound, place, patience_ms);

    this.#span(watch, pair, 'wrongMaster', (ours || pair.named !== null) && strangers(pair).length > 0, place, settle_ms);
    const unattended = pair.obligations.length > 0 && (pair.named === null || guest.policy.effects === 'off');
    this.#span(watch, pair, 'obligationOpen', unattended && !pair.released, place, attachLimit_ms);

    const flapping = pair.losses.length >= flapLimit;
    if (flapping && !watch.flapped) {
      const text = `${nameOf(primary)} lost its carrier ${pair.losses.length} times within the window`;
      this.#point('flapping', pair.mac, place, text);
    }
    watch.flapped = flapping;
  }

  /** Whether a primary left, and whether one came back. */
  #returns(pair: PairState, watch: Watch, place: Place): void {
    const { primary } = pair.roles;
    if (isSame(primary, watch.hadPrimary)) return;
    if (primary === null) {
      watch.leftAt = place;
      watch.announcedSinceLeft = false;
      watch.announcedAt = null;
    } else if (watch.leftAt !== null) {
      const away = rounded(msBetween(watch.leftAt.at_ns, place.at_ns));
      const how = watch.announcedSinceLeft ? 'with an announce since (migrated)' : 'without an announce since (not migrated)';
      this.#point('primaryReturned', pair.mac, place, `${nameOf(primary)} is back after ${away} ms, ${how}`);
      watch.leftAt = null;
    }
    watch.hadPrimary = identityOf(primary);
  }
}
