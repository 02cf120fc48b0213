// Looking back: a recording is folded again and must give the decisions that it records; a raw capture is run again, its
// messages are the facts and timers fire on its own clock. Both are streamed, so a file may be larger than memory.
import { type History, openHistory } from '../src/adapters/log/history.ts';
import { RecordingReader } from '../src/adapters/log/recording-reader.ts';
import { readCapture } from '../src/adapters/linux/capture.ts';
import type { Foldable } from '../src/events/envelope.ts';
import { NetkvmError } from '../src/events/errors.ts';
import type { Policy } from '../src/events/catalogue.ts';
import type { Step } from '../src/machines/step.ts';
import type { Place } from '../src/machines/history.ts';
import { MACHINE_VERSION } from '../src/machines/guest.ts';
import { type Listener, Story } from '../src/machines/story.ts';
import { type Report, reportOf } from './report.ts';
import { Rerun } from './rerun.ts';

/** What reading a file to its end gave. */
export interface Told {
  /** Folded events; of a raw capture its messages. */
  readonly events: number;
  /** What was wrong with the file although it could be read: each is one line for the user. */
  readonly complaints: readonly string[];
  /** Whether a line inside the file was damaged; a torn last line is not. */
  readonly damaged: boolean;
  /** Of the machine that recorded it; null for a raw capture. */
  readonly machineVersion: number | null;
}

export interface Replayed extends Omit<Told, 'events'> {
  readonly report: Report;
  readonly story: Story;
}

export interface TellOptions {
  /** Stop after the event (raw: the line) with this number. */
  readonly until?: number;
  /** Fold a raw capture under this policy instead of the default. */
  readonly policy?: Policy;
}
export type ReplayOptions = TellOptions & Listener;

/** Takes one event; `place` is what a user knows it by, `wall_ns` the guest's realtime clock. */
export type Tell = (event: Foldable, place: Place, wall_ns: string) => Step;

/** Replays a recording, re-runs a raw capture; `-` is standard input. Throws NetkvmError `recording.*`. */
export const replayFile = async (path: string, options: ReplayOptions = {}): Promise<Replayed> => {
  const story = new Story(options);
  const told = await tellFile(path, (event, place) => story.tell(event, place), options);
  const { events, damaged, machineVersion } = told;
  const isOther = story.divergence !== null && machineVersion !== null && machineVersion !== MACHINE_VERSION;
  const versions = `it was recorded by machine version ${machineVersion}, and is folded by version ${MACHINE_VERSION}`;
  const complaints = isOther ? [...told.complaints, versions] : told.complaints;
  return { report: reportOf(story, events), story, complaints, damaged, machineVersion };
};

/** Tells a file's events one after the other. Throws NetkvmError `recording.*`. */
export const tellFile = async (path: string, tell: Tell, options: TellOptions = {}): Promise<Told> =>
  tellHistory(await openHistory(path), tell, options);

export const tellHistory = async (history: History, tell: Tell, options: TellOptions = {}): Promise<Told> =>
  history.kind === 'recording'
    ? tellRecording(await RecordingReader.open(history), tell, options)
    : rerun(history, tell, options);

const tellRecording = async (reader: RecordingReader, tell: Tell, { until = Infinity }: TellOptions): Promise<Told> => {
  const { machineVersion } = reader.header;
  let events = 0;
  for await (const page of reader.pages()) {
    for (const event of page) {
      if (event.seq > until) return { events, complaints: [], damaged: false, machineVersion };
      try {
        tell(event, { seq: event.seq, at_ns: event.mono_ns }, event.wall_ns);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new NetkvmError('recording.line', `${reader.name}: event ${event.seq} cannot be folded: ${reason}`, {
          cause: error,
        });
      }
      events += 1;
    }
  }
  return { events, complaints: reader.torn ? [`${reader.name}: ${TORN}`] : [], damaged: false, machineVersion };
};

const TORN = 'the last line was cut and is set aside';
const DAMAGED = 'it is passed over and counts as a gap; get the original file for the whole story';
const COMPLAINTS_MAX = 20;

/** What to say of a damaged line. */
export const complaintOf = (name: string, { line, damage, torn }: { line: number; damage: string; torn: boolean }): string =>
  `${name}: line ${line}: ${damage}; ${torn ? TORN : DAMAGED}`;

const rerun = async (history: History, tell: Tell, { until = Infinity, policy }: TellOptions): Promise<Told> => {
  let wall_ns = '0';
  const run = new Rerun((event, place) => tell(event, place, wall_ns), policy);
  const complaints: string[] = [];
  let damaged = false;
  for await (const entry of readCapture(history.chunks)) {
    if (entry.kind === 'damage') {
      if (complaints.length < COMPLAINTS_MAX) complaints.push(complaintOf(history.name, entry));
      damaged ||= !entry.torn;
      if (entry.torn) continue;
    } else {
      if (entry.n > until) break;
      ({ wall_ns } = entry);
    }
    run.take(entry);
  }
  return { events: run.messages, complaints, damaged, machineVersion: null };
};
