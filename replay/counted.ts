// One log, counted as it is told: how long the paths were away, how long effects took, what was dropped, what was found. It
// keeps figures and not what they were made of, so that a log of any length takes little memory.
import type { EventData } from '../src/events/catalogue.ts';
import type { Foldable } from '../src/events/envelope.ts';
import type { Finding } from '../src/machines/findings.ts';
import type { FindingCode } from '../src/machines/reasons.ts';
import type { Entry, SettledEntry } from '../src/machines/history.ts';
import { Story } from '../src/machines/story.ts';

/** What is measured, in ns; docs/figures.md is made from this list. */
export const DURATIONS = {
  failover: 'From the primary’s path to the standby’s: how long there was none. Nothing between the two counts as 0.',
  failback: 'From a primary that is bound or enslaved to the moment when it carries.',
  away: 'From leaving the primary’s path until it is taken again.',
  noPath: 'Times without any path.',
  inboundHole: 'Times in which everything that arrived on the standby was dropped (net_failover).',
  effect: 'From a decision to its outcome, where that succeeded.',
} as const;
export type DurationName = keyof typeof DURATIONS;
export const DURATION_NAMES = Object.keys(DURATIONS) as DurationName[];

/** Durations kept of each kind: a bound for memory, far above what logs hold. */
export const KEPT_MAX = 1_000_000;
/** What a log's story keeps while it is counted: what was counted is not needed any more, however long the log is. */
const STORY = { entries: 1, findings: 16 };
/** Decisions without an outcome that are remembered: there is one for each pair, unless a log is damaged. */
const OPEN_MAX = 1000;
/** Drivers of primaries that are named of one log. */
const DRIVERS_MAX = 16;

type Add = (name: DurationName, ns: number) => void;

/** The durations of one pair, from one state that lasted to the next. */
class Path {
  #lost: { at: number; had: boolean } | null = null;
  #attached: number | null = null;
  #before: Entry | null = null;

  take(entry: Entry, add: Add): void {
    const at = Number(entry.at_ns);
    // A clock that ran backwards is that of another boot: what was before has no length.
    if (this.#before !== null && at < Number(this.#before.at_ns)) [this.#lost, this.#attached, this.#before] = [null, null, null];
    if (entry.datapath !== 'primary' && this.#before?.datapath === 'primary') this.#lost = { at, had: false };
    if (entry.datapath === 'standby' && this.#lost !== null && !this.#lost.had) {
      add('failover', at - this.#lost.at);
      this.#lost.had = true;
    }
    if (entry.stage === 'switching') this.#attached ??= at;
    else if (entry.stage !== 'onPrimary') this.#attached = null;
    if (entry.datapath === 'primary') {
      if (this.#lost !== null) add('away', at - this.#lost.at);
      if (this.#attached !== null) add('failback', at - this.#attached);
      [this.#lost, this.#attached] = [null, null];
    }
    this.#before = entry;
  }
}

export class Counted {
  readonly story = new Story({ settled: (entry) => this.#settled(entry), found: (finding) => this.#found(finding) }, STORY);
  readonly durations: Record<DurationName, number[]> = {
    failover: [],
    failback: [],
    away: [],
    noPath: [],
    inboundHole: [],
    effect: [],
  };
  readonly decisions: Map<string, { readonly kind: string; readonly result: string; readonly count: number }> = new Map();
  readonly findings: Map<FindingCode, { readonly count: number; readonly total_ns: number }> = new Map();
  readonly returns = { migrated: 0, other: 0 };
  samples = 0;
  rxDropped = 0n;
  txDropped = 0n;
  /** Release of the kernel that ran last, '' where the log does not say. */
  kernel = '';
  /** Drivers of the primaries. */
  readonly drivers = new Set<string>();
  readonly #pair: string | null;
  readonly #dropped = new Map<number, { readonly rx: bigint; readonly tx: bigint }>();
  readonly #paths = new Map<string, Path>();
  /** By id, until their outcome. */
  readonly #open = new Map<string, { readonly kind: string; readonly at_ns: string }>();
  #counts = true;

  /** Counts one pair, by its MAC, or all of them. */
  constructor(pair: string | null = null) {
    this.#pair = pair;
  }

  /** How many pairs it has; of those that count. */
  get pairs(): number {
    const { pairs } = this.story.guest;
    return this.#pair === null ? pairs.size : Number(pairs.has(this.#pair));
  }

  /** What ends with an event that does not count (`counts`) is told, because what comes later depends on it, and not counted. */
  take(event: Foldable, place: { seq: number; at_ns: string }, counts = true) {
    this.#counts = counts;
    this.#note(event, place.at_ns);
    const step = this.story.tell(event, place);
    for (const { pair } of step.changes) {
      if (!this.#isMeant(pair.mac)) continue;
      const driver = pair.mode === 'host' ? null : (pair.roles.primary?.facts.driver ?? null);
      if (driver !== null && this.drivers.size < DRIVERS_MAX) this.drivers.add(driver);
    }
    return step;
  }

  /** The end of the log: what lasts is counted as it is. */
  end(): void {
    const { story } = this;
    story.history.end();
    for (const finding of story.findings.list(story.end)) if (finding.until_seq === null) this.#found(finding);
    for (const { kind } of this.#open.values()) this.#count(kind, 'none');
    this.#open.clear();
  }

  #isMeant(mac: string | null): boolean {
    return this.#pair === null || mac === this.#pair;
  }

  #note(event: Foldable, at_ns: string): void {
    switch (event.type) {
      case 'counters.sampled':
        this.#sample(event.data);
        break;
      case 'adapter.gone':
        this.#dropped.delete(event.data.ifindex);
        break;
      case 'service.started':
        this.#dropped.clear();
        this.kernel = event.data.host['kernel'] ?? this.kernel;
        break;
      case 'decision.made':
        if (!this.#isMeant(event.data.pair)) break;
        this.#open.set(event.data.id, { kind: event.data.kind, at_ns });
        if (this.#open.size > OPEN_MAX) this.#forgetOldest();
        break;
      case 'outcome.seen':
        this.#conclude(event.data.decision, event.data.result, at_ns);
        break;
      default:
    }
  }

  #sample({ ifindex, rxDropped, txDropped }: EventData<'counters.sampled'>): void {
    const [rx, tx] = [BigInt(rxDropped), BigInt(txDropped)];
    const before = this.#dropped.get(ifindex);
    this.#dropped.set(ifindex, { rx, tx });
    if (!this.#counts || !this.#isMeant(this.story.guest.adapters.get(ifindex)?.facts.mac ?? null)) return;
    this.samples += 1;
    // The first sample has the time before the log in it; a smaller one is that of a counter that began anew.
    if (before === undefined || rx < before.rx || tx < before.tx) return;
    this.rxDropped += rx - before.rx;
    this.txDropped += tx - before.tx;
  }

  #conclude(id: string, result: string, at_ns: string): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    this.#count(open.kind, result);
    if (result === 'succeeded') this.#keep('effect', Number(at_ns) - Number(open.at_ns));
  }

  #forgetOldest(): void {
    for (const [id, { kind }] of this.#open) {
      this.#open.delete(id);
      this.#count(kind, 'none');
      return;
    }
  }

  #count(kind: string, result: string): void {
    if (!this.#counts) return;
    const key = `${kind} ${result}`;
    this.decisions.set(key, { kind, result, count: (this.decisions.get(key)?.count ?? 0) + 1 });
  }

  #settled(entry: SettledEntry): void {
    if (!this.#isMeant(entry.mac)) return;
    let path = this.#paths.get(entry.mac);
    if (path === undefined) this.#paths.set(entry.mac, (path = new Path()));
    path.take(entry, (name, ns) => this.#keep(name, ns));
  }

  #found({ code, mac, at_ns, until_ns, text }: Finding): void {
    if (!this.#counts || !this.#isMeant(mac)) return;
    const ns = Number(until_ns ?? this.story.end.at_ns) - Number(at_ns);
    const known = this.findings.get(code) ?? { count: 0, total_ns: 0 };
    this.findings.set(code, { count: known.count + 1, total_ns: known.total_ns + Math.max(0, ns) });
    if (code === 'noPath' || code === 'inboundHole') this.#keep(code, ns);
    if (code === 'primaryReturned') this.returns[text.endsWith('(migrated)') ? 'migrated' : 'other'] += 1;
  }

  #keep(name: DurationName, ns: number): void {
    const kept = this.durations[name];
    if (this.#counts && ns >= 0 && kept.length < KEPT_MAX) kept.push(ns);
  }
}
