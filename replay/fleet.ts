// The logs of a fleet, told from their copies on a server. Of a log that lacks something (retention on either side took it,
// or a record cannot be read) what follows is told from the next checkpoint on, as if it began there: a fold that goes on
// over a hole would say what never was. Memory holds one log's story at a time, or, for what many logs append, the states
// of those that were heard of last.
import type { Fleet, LogThere } from '../src/adapters/kurrentdb/fleet.ts';
import type { FleetEvent } from '../src/adapters/kurrentdb/mapping.ts';
import type { RecordedEvent } from '../src/events/envelope.ts';
import { Guest } from '../src/machines/guest.ts';
import type { Step } from '../src/machines/step.ts';

/** What is said of one log at most. */
const COMPLAINTS_MAX = 20;
/** Logs whose state is kept while the fleet is followed; that of another one is folded again from its newest checkpoint. */
export const FOLDS_MAX = 1000;

export type Reader = Pick<Fleet, 'events' | 'checkpointBefore'>;

/** Where an event stands in its log: whether it can be told, and whether a new stretch without holes begins with it. */
class Stretch {
  last = 0;
  #broken = false;

  /** The fold did not take the last event: what follows is as good as behind a hole. */
  breakOff(): void {
    this.#broken = true;
  }

  takes({ seq, type }: RecordedEvent): 'next' | 'begin' | 'repeated' | 'behindHole' {
    if (this.last > 0 && seq <= this.last) return 'repeated';
    const isNext = this.last > 0 && seq === this.last + 1 && !this.#broken;
    if (!isNext && seq !== 1 && type !== 'checkpoint.made') return 'behindHole';
    this.last = seq;
    this.#broken = false;
    return isNext ? 'next' : 'begin';
  }
}

export interface LogTold {
  /** Events that were told and are new, that is: in the range that was asked for. */
  readonly events: number;
  readonly complaints: readonly string[];
  /** Whether something is missing or unreadable that retention does not explain. */
  readonly damaged: boolean;
}

/** Takes an event; one that is not `fresh` came before the range that was asked for. */
export type TakeFresh = (event: RecordedEvent, fresh: boolean) => void;

/**
 * Tells one log, from the newest checkpoint before `log.first` on. `begin` is called for each stretch without holes, and
 * what it returns gets that stretch's events. Throws `kurrentdb.*`.
 */
export const tellLog = async (reader: Reader, log: LogThere, begin: (first: FleetEvent) => TakeFresh): Promise<LogTold> => {
  const stretch = new Stretch();
  const complaints: string[] = [];
  const complain = (text: string) => void (complaints.length < COMPLAINTS_MAX && complaints.push(`${nameOf(log)}: ${text}`));
  let [events, passed, damaged] = [0, 0, false];
  let take: TakeFresh | null = null;
  for await (const page of reader.events(log, await reader.checkpointBefore(log, log.first), log.last))
    for (const seen of page) {
      if (typeof seen === 'string') {
        complain(seen);
        damaged = true;
        continue;
      }
      const { last } = stretch;
      const place = stretch.takes(seen.event);
      if (place === 'begin') {
        const missing = seen.event.seq - last - 1;
        if (take !== null && missing > 0)
          complain(`events ${last + 1} to ${seen.event.seq - 1} are missing; told anew from there`);
        else if (passed > 0) complain(`${passed} events before its first checkpoint are passed over`);
        take = begin(seen);
        passed = 0;
      } else if (place === 'behindHole') passed += 1;
      if (take === null || place === 'behindHole' || place === 'repeated') continue;
      const fresh = seen.revision >= log.first;
      try {
        take(seen.event, fresh);
      } catch (error) {
        complain(`event ${seen.event.seq} cannot be folded: ${error instanceof Error ? error.message : String(error)}`);
        stretch.breakOff();
        damaged = true;
        continue;
      }
      if (fresh) events += 1;
    }
  if (take === null) complain('it holds neither its beginning nor a checkpoint: nothing can be told of it');
  else if (passed > 0) {
    complain(
      `${passed} events after event ${stretch.last} cannot be told: one before them is missing, and no checkpoint follows`,
    );
    damaged = true;
  }
  return { events, complaints, damaged };
};

export const nameOf = ({ logId, vm }: Pick<LogThere, 'logId' | 'vm'>): string => (vm === '' ? logId : `${vm} ${logId}`);

/** The states of many logs, whose events come mixed. */
export class Folds {
  readonly #reader: Reader;
  readonly #limit: number;
  /** Those heard of last are at the end. */
  readonly #folds = new Map<string, { guest: Guest; readonly stretch: Stretch }>();

  constructor(reader: Reader, limit = FOLDS_MAX) {
    this.#reader = reader;
    this.#limit = limit;
  }

  get size(): number {
    return this.#folds.size;
  }

  /**
   * Folds one event; `repeated` where it was folded before, null where it cannot be told what it changes. Throws
   * `kurrentdb.*`.
   */
  async take({ event, logId, revision }: FleetEvent): Promise<Step | 'repeated' | null> {
    const fold = this.#folds.get(logId) ?? (await this.#foldUpTo(logId, revision));
    this.#folds.delete(logId);
    this.#folds.set(logId, fold);
    for (const oldest of this.#folds.keys()) {
      if (this.#folds.size <= this.#limit) break;
      this.#folds.delete(oldest);
    }
    return tell(fold, event);
  }

  async #foldUpTo(logId: string, revision: bigint) {
    const fold = { guest: new Guest(), stretch: new Stretch() };
    if (revision === 0n) return fold;
    const from = await this.#reader.checkpointBefore({ logId }, revision);
    for await (const page of this.#reader.events({ logId }, from, revision - 1n))
      for (const seen of page) if (typeof seen !== 'string') tell(fold, seen.event);
    return fold;
  }
}

const tell = (fold: { guest: Guest; readonly stretch: Stretch }, event: RecordedEvent): Step | 'repeated' | null => {
  const place = fold.stretch.takes(event);
  if (place === 'behindHole') return null;
  if (place === 'repeated') return place;
  if (place === 'begin') fold.guest = new Guest();
  try {
    return fold.guest.apply(event);
  } catch {
    fold.stretch.breakOff();
    return null;
  }
};
