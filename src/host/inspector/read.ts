// What the page is given of a file: a recording's events as they are, a raw capture's as its re-run gives them, with the
// number of the line that each came from.
import { readCapture } from '../../adapters/linux/capture.ts';
import { openAny, openHistory } from '../../adapters/log/history.ts';
import { RecordingReader } from '../../adapters/log/recording-reader.ts';
import type { Policy } from '../../events/catalogue.ts';
import { NetkvmError } from '../../events/errors.ts';
import { timelineOf } from '../../../replay/timeline/timeline.ts';
import { Rerun } from '../../../replay/rerun.ts';
import { Guest } from '../../machines/guest.ts';
import { type InspectedEvent, type InspectorDocument, NO_TIMELINE } from './document.ts';
import { inspectedTimelineOf } from './timeline.ts';

/** A page with more events would be too large for a browser to open at once. */
export const EVENTS_MAX = 200_000;

interface ReadOptions {
  /** Stop after the event (raw: the line) with this number. */
  readonly until?: number | undefined;
  /** Fold a raw capture under this policy. */
  readonly policy?: Policy | undefined;
  readonly served: boolean;
}

const tooLong = (name: string): NetkvmError =>
  new NetkvmError('inspect.tooLong', `${name}: more than ${EVENTS_MAX.toLocaleString('en')} events`);

const base = (path: string): string => path.split(/[\\/]/).at(-1) ?? path;

/** One guest's events, without the timeline. Throws `recording.*` and `inspect.tooLong`. */
const readEvents = async (path: string, options: ReadOptions): Promise<InspectorDocument> => {
  const { until = Infinity, policy, served } = options;
  const history = await openHistory(path);
  const events: InspectedEvent[] = [];
  const complaints: string[] = [];
  const take = (event: InspectedEvent): void => {
    if (events.length >= EVENTS_MAX) throw tooLong(history.name);
    events.push(event);
  };
  const name = path === '-' ? history.name : base(path);
  if (history.kind === 'recording') {
    const reader = await RecordingReader.open(history);
    for await (const page of reader.pages()) {
      for (const event of page) if (event.seq <= until) take(event);
      if ((page.at(-1)?.seq ?? 0) > until) break;
    }
    if (reader.torn) complaints.push('The last line was cut and is set aside.');
    return { schemaVersion: 1, source: { kind: 'recording', name }, served, complaints, events, timeline: NO_TIMELINE };
  }
  const guest = new Guest();
  /** The wall clock's lead over the monotonic one, as the newest line has it. */
  let lead_ns = 0n;
  const run = new Rerun((event, { seq }) => {
    take({ ...event, line: seq, wall_ns: (BigInt(event.mono_ns) + lead_ns).toString() });
    return guest.apply(event);
  }, policy);
  for await (const entry of readCapture(history.chunks)) {
    if (entry.kind === 'damage') {
      if (complaints.length < 20) complaints.push(`Line ${entry.line}: ${entry.damage}`);
      if (entry.torn) continue;
    } else if (entry.n > until) break;
    else lead_ns = BigInt(entry.wall_ns) - BigInt(entry.mono_ns);
    run.take(entry);
  }
  return { schemaVersion: 1, source: { kind: 'raw', name }, served, complaints, events, timeline: NO_TIMELINE };
};

/** The one file of a guest among captures of its hosts' monitors and losses of its packets. */
const guestAmong = async (paths: readonly string[]): Promise<string> => {
  const guests: string[] = [];
  for (const path of paths) {
    const { kind, chunks } = await openAny(path);
    // Only its first line was wanted.
    await chunks[Symbol.asyncIterator]().return?.();
    if (kind === 'recording' || kind === 'raw') guests.push(path);
  }
  const [guest, second] = guests;
  if (guest !== undefined && second === undefined) return guest;
  throw new NetkvmError('usage.value', `the page shows one guest with its hosts; ${guests.length} of these files are of guests`);
};

/**
 * A guest's recording or raw capture, with captures of its hosts' monitors and losses of its packets beside it, in any order.
 * `-` alone is standard input; it is read once, so that the figures of its episodes are missing. Throws `recording.*`,
 * `inspect.tooLong`, and `usage.value` unless exactly one of the files is of a guest.
 */
export const readDocument = async (paths: readonly string[], options: ReadOptions): Promise<InspectorDocument> => {
  const [only = ''] = paths;
  const document = await readEvents(paths.length === 1 ? only : await guestAmong(paths), options);
  if (only === '-') return document;
  const { until, policy } = options;
  const told = { ...(until === undefined ? {} : { until }), ...(policy === undefined ? {} : { policy }) };
  const { document: timeline, complaints } = await timelineOf(paths, told);
  return {
    ...document,
    complaints: [...new Set([...document.complaints, ...(paths.length === 1 ? [] : complaints)])],
    timeline: inspectedTimelineOf(timeline),
  };
};
