// Any log as Chrome trace-event JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open: a row for each pair's stage,
// datapath and findings, its decisions until their outcomes, and every event as a point. Written piece by piece, so that a
// log may be larger than memory. Format: "Trace Event Format" (Google), the JSON object form.
import type { HappeningOf } from '../src/events/catalogue.ts';
import type { Foldable } from '../src/events/envelope.ts';
import type { Finding } from '../src/machines/findings.ts';
import type { Place, SettledEntry } from '../src/machines/history.ts';
import { BECAUSE } from '../src/machines/reasons.ts';
import { Story } from '../src/machines/story.ts';

/** `ts` and `dur` are microseconds, here with their nanoseconds as decimals. */
export type TraceEvent =
  | {
      readonly ph: 'M';
      readonly name: 'process_name' | 'thread_name';
      readonly pid: number;
      readonly tid: number;
      readonly args: { readonly name: string };
    }
  | {
      readonly ph: 'M';
      readonly name: 'thread_sort_index';
      readonly pid: number;
      readonly tid: number;
      readonly args: { readonly sort_index: number };
    }
  | (Timed & { readonly ph: 'X'; readonly dur: number })
  | (Timed & { readonly ph: 'i'; readonly s: 't' })
  | (Timed & { readonly ph: 'b' | 'e'; readonly id: string });
interface Timed {
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly args: Readonly<Record<string, unknown>>;
}

const PID = 1;
const EVENTS_TID = 1;
/** Rows of a pair, in their order on the screen. */
const ROWS = ['stage', 'datapath', 'decisions', 'findings'] as const;
type Row = (typeof ROWS)[number];
/** A clock that begins anew (another boot) goes on this long after where it was. */
const BOOT_GAP_US = 1_000_000;

export class Trace {
  readonly story: Story;
  readonly #put: (event: TraceEvent) => void;
  readonly #rows = new Map<string, number>();
  /** The state of each pair that has not ended yet. */
  readonly #states = new Map<string, { readonly entry: SettledEntry; readonly ts: number }>();
  readonly #decisions = new Map<string, { readonly name: string; readonly mac: string }>();
  #findings = 0;
  #zero_ns: bigint | null = null;
  #last_ns = 0n;
  #end_us = 0;
  /** What was before the last boot, in ns of the trace. */
  #shift_us = 0;

  /** `put` takes the events of the trace, in no particular order, which the format allows. */
  constructor(put: (event: TraceEvent) => void) {
    this.#put = put;
    this.story = new Story({ settled: (entry) => this.#settled(entry), found: (finding) => this.#found(finding) });
    put({ ph: 'M', name: 'process_name', pid: PID, tid: 0, args: { name: 'guest' } });
    this.#name(EVENTS_TID, 'events');
  }

  take(event: Foldable, place: Place) {
    const ns = BigInt(place.at_ns);
    if (this.#zero_ns === null) this.#zero_ns = ns;
    else if (ns < this.#last_ns) this.#reboot(ns);
    this.#last_ns = ns;
    const ts = this.#us(place.at_ns);
    const step = this.story.tell(event, place);
    this.#put({
      ph: 'i',
      s: 't',
      name: event.type,
      cat: 'event',
      pid: PID,
      tid: EVENTS_TID,
      ts,
      args: { seq: place.seq, ...argsOf(event) },
    });
    if (event.type === 'decision.made') this.#decided(event.data, ts);
    if (event.type === 'outcome.seen') this.#concluded(event.data, ts);
    this.#end_us = Math.max(this.#end_us, ts);
    return step;
  }

  /** The log has ended: what lasts, lasts until here. */
  end(): void {
    this.story.history.end();
    this.#close();
    for (const finding of this.story.findings.list(this.story.end)) if (finding.until_ns === null) this.#found(finding);
    for (const [id, { name, mac }] of this.#decisions)
      this.#put({
        ph: 'e',
        id,
        name,
        cat: 'decision',
        pid: PID,
        tid: this.#row(mac, 'decisions'),
        ts: this.#end_us,
        args: { result: 'none: the log ends' },
      });
  }

  #reboot(ns: bigint): void {
    this.#close();
    this.#shift_us = this.#end_us + BOOT_GAP_US;
    this.#zero_ns = ns;
  }

  /** States end where the next begins, and the last ones where the log (or this boot) does. */
  #close(): void {
    for (const { entry, ts } of this.#states.values()) this.#state(entry, ts, this.#end_us);
    this.#states.clear();
  }

  #us(at_ns: string): number {
    return this.#shift_us + Math.max(0, Number(BigInt(at_ns) - (this.#zero_ns ?? 0n))) / 1000;
  }

  #row(mac: string | null, row: Row): number {
    if (mac === null) return EVENTS_TID;
    const key = `${mac} ${row}`;
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const first = EVENTS_TID + 1 + this.#rows.size;
    for (const [index, name] of ROWS.entries()) {
      this.#rows.set(`${mac} ${name}`, first + index);
      this.#name(first + index, `${mac} ${name}`);
    }
    return this.#rows.get(key) ?? EVENTS_TID;
  }

  #name(tid: number, name: string): void {
    this.#put({ ph: 'M', name: 'thread_name', pid: PID, tid, args: { name } });
    this.#put({ ph: 'M', name: 'thread_sort_index', pid: PID, tid, args: { sort_index: tid } });
  }

  #settled(entry: SettledEntry): void {
    const before = this.#states.get(entry.mac);
    const ts = this.#us(entry.at_ns);
    if (before !== undefined) this.#state(before.entry, before.ts, ts);
    this.#states.set(entry.mac, { entry, ts });
  }

  #state({ mac, mode, seq, stage, datapath, because }: SettledEntry, ts: number, until: number): void {
    const span = { ph: 'X', cat: 'state', pid: PID, ts, dur: Math.max(0, until - ts) } as const;
    this.#put({ ...span, name: stage, tid: this.#row(mac, 'stage'), args: { seq, because, meaning: BECAUSE[because], mode } });
    this.#put({ ...span, name: datapath, tid: this.#row(mac, 'datapath'), args: { seq, stage } });
  }

  /** Findings may overlap without one being inside the other, which a row of plain spans cannot show. */
  #found({ code, severity, mac, seq, at_ns, until_ns, text }: Finding): void {
    this.#findings += 1;
    const from = this.#us(at_ns);
    const until = Math.max(from, until_ns === null ? this.#end_us : this.#us(until_ns));
    const span = { id: `f${this.#findings}`, name: code, cat: 'finding', pid: PID, tid: this.#row(mac, 'findings') } as const;
    this.#put({ ph: 'b', ...span, ts: from, args: { seq, severity, text } });
    this.#put({ ph: 'e', ...span, ts: until, args: {} });
  }

  #decided({ id, pair: mac, kind, attempt }: HappeningOf<'decision.made'>['data'], ts: number): void {
    this.#decisions.set(id, { name: kind, mac });
    this.#put({ ph: 'b', id, name: kind, cat: 'decision', pid: PID, tid: this.#row(mac, 'decisions'), ts, args: { attempt } });
  }

  #concluded({ decision: id, result, reason, observed }: HappeningOf<'outcome.seen'>['data'], ts: number): void {
    const decided = this.#decisions.get(id);
    if (decided === undefined) return;
    this.#decisions.delete(id);
    const tid = this.#row(decided.mac, 'decisions');
    this.#put({ ph: 'e', id, name: decided.name, cat: 'decision', pid: PID, tid, ts, args: { result, reason, observed } });
  }
}

/** What a click on a point shows: the event's data, but not what is a whole inventory. */
const argsOf = (event: Foldable): Readonly<Record<string, unknown>> => {
  switch (event.type) {
    case 'survey.taken': {
      const { reason, adapters, functions, addresses } = event.data;
      return { reason, adapters: adapters.length, functions: functions.length, addresses: addresses.length };
    }
    case 'checkpoint.made':
      return {};
    case 'obligation.opened': {
      const { id, pair, kind } = event.data;
      return { id, pair, kind };
    }
    default:
      return { data: event.data };
  }
};

/** The document around the events, piece by piece: `{"traceEvents":[…],…}`. */
export const traceWriter = (
  write: (text: string) => void,
): { readonly put: (event: TraceEvent) => void; readonly end: () => number } => {
  let events = 0;
  return {
    put: (event) => {
      write(`${events === 0 ? '{"displayTimeUnit":"ms","traceEvents":[\n' : ',\n'}${JSON.stringify(event)}`);
      events += 1;
    },
    end: () => {
      write('\n]}\n');
      return events;
    },
  };
};
