// An event log in memory that can fail as a disk does: refuse for a while, take an append and not say so, or end with the
// process in the middle of one. What was acknowledged stays. It keeps text, so that a reader gets what was written and
// not what an object has become since.
import type { Foldable, NewEvent, RecordedEvent } from '../../src/events/envelope.ts';
import { SCHEMA_VERSION } from '../../src/events/envelope.ts';
import { eventProblem } from '../../src/events/check.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import type { EventLog } from '../../src/events/log.ts';

export const LOG_FAULTS = ['logRefused', 'logUnanswered', 'commitLost', 'commitUnanswered', 'logCut', 'logSetAside'] as const;
export type LogFault = (typeof LOG_FAULTS)[number];

const unwritable = (reason: string): NetkvmError => new NetkvmError('log.unwritable', `the simulated log ${reason}`);

/** What lies on the disk. */
export class SimulatedDisk {
  readonly #lines: string[] = [];
  readonly #ids: string[] = [];
  readonly #types: string[] = [];
  /** Where appends end. */
  readonly #ends = new Set<number>();
  readonly #decisions = new Set<string>();
  readonly #concluded = new Set<string>();
  readonly #owed = new Map<string, { pair: string; kind: string }>();
  #logs = 1;
  bootId = 'boot-1';
  refuses = false;
  /** What befalls the next append. */
  next: 'logUnanswered' | 'commitLost' | 'commitUnanswered' | null = null;
  readonly seen = new Map<LogFault, number>();
  /** Told when the process ends in the middle of an append. */
  died: () => void = () => {};

  get logId(): string {
    return `00000000-0000-4000-8000-${String(this.#logs).padStart(12, '0')}`;
  }
  get head(): number {
    return this.#lines.length;
  }
  has(decision: string): boolean {
    return this.#decisions.has(decision);
  }
  isConcluded(decision: string): boolean {
    return this.#concluded.has(decision);
  }
  at(seq: number): RecordedEvent {
    return JSON.parse(this.#lines[seq - 1] as string) as RecordedEvent;
  }
  checkpoint(): number {
    return this.#types.lastIndexOf('checkpoint.made') + 1;
  }
  all(): RecordedEvent[] {
    return this.#lines.map((line) => JSON.parse(line) as RecordedEvent);
  }

  isRepetition(events: readonly NewEvent[], expected: number): boolean {
    return events.every(({ id }, index) => this.#ids[expected + index] === id);
  }

  /**
   * Cuts the disk at this share of its bytes. An append is whole or not there, as SQLite's log recovers it: what is left
   * ends with the last one that was written before the cut.
   */
  cutAt(share: number): void {
    const left = share * this.#lines.reduce((sum, { length }) => sum + length, 0);
    let [bytes, head] = [0, 0];
    for (const [index, { length }] of this.#lines.entries()) {
      bytes += length;
      if (bytes > left) break;
      if (this.#ends.has(index + 1)) head = index + 1;
    }
    this.note('logCut');
    this.cut(head);
  }

  /** The database cannot be read any more: it is set aside, and a new log begins. */
  setAside(): void {
    this.note('logSetAside');
    this.cut(0);
    this.#logs += 1;
  }

  write(events: readonly RecordedEvent[]): void {
    for (const event of events) {
      this.#lines.push(JSON.stringify(event));
      this.#ids.push(event.id);
      this.#types.push(event.type);
      this.#notice(event);
    }
    this.#ends.add(this.#lines.length);
  }

  /** For tests of the checks: changes the first event of a type. */
  tamper(type: string, change: (data: object) => object): void {
    const at = this.#types.indexOf(type);
    if (at < 0) return;
    const event = JSON.parse(this.#lines[at] as string) as { data: object };
    this.#lines[at] = JSON.stringify({ ...event, data: change(event.data) });
  }
  /** Forgets everything after `head`. */
  cut(head: number): void {
    for (const list of [this.#lines, this.#ids, this.#types]) list.length = head;
    for (const end of this.#ends) if (end > head) this.#ends.delete(end);
    this.#decisions.clear();
    this.#concluded.clear();
    this.#owed.clear();
    for (const event of this.all()) this.#notice(event);
  }

  #notice(event: RecordedEvent): void {
    if (event.type === 'decision.made') this.#decisions.add(event.data.id);
    if (event.type === 'outcome.seen') this.#concluded.add(event.data.decision);
    if (event.type === 'obligation.opened') this.#owed.set(event.data.id, event.data);
    if (event.type === 'obligation.closed') this.#owed.delete(event.data.id);
  }

  /** Whether the disk says that something of this kind is owed to the pair. */
  owes(pair: string, kind: string): boolean {
    return [...this.#owed.values()].some((one) => one.pair === pair && one.kind === kind);
  }

  note(fault: LogFault): void {
    this.seen.set(fault, (this.seen.get(fault) ?? 0) + 1);
  }
}

/** The log as one process has it open; the next process has another. */
export class MemoryLog implements EventLog {
  readonly path = 'memory';
  readonly #disk: SimulatedDisk;
  isOpen = true;

  constructor(disk: SimulatedDisk) {
    this.#disk = disk;
  }

  get logId(): string {
    return this.#disk.logId;
  }
  head(): number {
    return this.#disk.head;
  }
  first(): number {
    return 1;
  }
  checkpoint(): number {
    return this.#disk.checkpoint();
  }

  *read(from: number): Iterable<RecordedEvent> {
    for (let seq = from; seq <= this.#disk.head; seq += 1) yield this.#disk.at(seq);
  }

  *fold(from: number): Iterable<readonly Foldable[]> {
    const events = [...this.read(Math.max(1, from))];
    if (events.length > 0) yield events.map(({ type, data, seq, mono_ns }) => ({ type, data, seq, mono_ns }) as Foldable);
  }

  // eslint-disable-next-line require-yield
  async *follow(): AsyncIterable<RecordedEvent> {
    await Promise.reject(new Error('nobody follows a log in memory'));
  }

  append(events: readonly NewEvent[], expected: number): RecordedEvent[] {
    const disk = this.#disk;
    if (!this.isOpen) throw unwritable('is closed');
    if (disk.refuses) {
      disk.note('logRefused');
      throw unwritable('refuses');
    }
    if (expected !== disk.head) {
      if (events.length > 0 && disk.isRepetition(events, expected))
        return events.map((_, index) => disk.at(expected + index + 1));
      throw new NetkvmError('log.conflict', `expected ${expected}, the head is ${disk.head}`);
    }
    const { logId, bootId } = disk;
    const recorded = events.map((event, index): RecordedEvent => {
      const seq = expected + index + 1;
      const problem = eventProblem(event, seq);
      if (problem !== null) throw new Error(`event ${index + 1} is not valid: ${problem}`);
      return { ...event, seq, logId, bootId, v: SCHEMA_VERSION };
    });
    const fault = events.length === 0 ? null : disk.next;
    if (fault !== null) {
      disk.next = null;
      disk.note(fault);
    }
    if (fault !== 'commitLost') disk.write(recorded);
    if (fault === 'commitLost' || fault === 'commitUnanswered') disk.died();
    if (fault !== null) throw unwritable('did not answer');
    return recorded;
  }

  prune(): number {
    return 0;
  }
  close(): void {
    this.isOpen = false;
  }
}
