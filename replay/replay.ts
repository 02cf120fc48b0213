// Looking back: a recording is folded again and must give the decisions that it records; a raw capture is run again, its
// messages are the facts and timers fire on its own clock. Both are streamed, so a file may be larger than memory.
import { openHistory } from '../src/adapters/log/history.ts';
import { RecordingReader } from '../src/adapters/log/recording-reader.ts';
import { readCapture } from '../src/adapters/linux/capture.ts';
import type { Foldable } from '../src/events/envelope.ts';
import type { Policy } from '../src/events/catalogue.ts';
import { type Listener, Story } from '../src/machines/story.ts';
import { type Report, reportOf } from './report.ts';
import { Rerun } from './rerun.ts';

export interface Replayed {
  readonly report: Report;
  readonly story: Story;
  /** What was wrong with the file although it could be read: each is one line for the user. */
  readonly complaints: readonly string[];
  /** Whether a line inside the file was damaged; a torn last line is not. */
  readonly damaged: boolean;
}

export interface ReplayOptions extends Listener {
  /** Stop after the event (raw: the line) with this number. */
  readonly until?: number;
  /** Fold a raw capture under this policy instead of the default. */
  readonly policy?: Policy;
}

/** Replays a recording, re-runs a raw capture; `-` is standard input. Throws NetkvmError `recording.*`. */
export const replayFile = async (path: string, options: ReplayOptions = {}): Promise<Replayed> => {
  const history = await openHistory(path);
  return history.kind === 'recording' ? replayRecording(await RecordingReader.open(history), options) : rerun(history, options);
};

const replayRecording = async (reader: RecordingReader, options: ReplayOptions): Promise<Replayed> => {
  const story = new Story(options);
  let events = 0;
  for await (const page of reader.pages()) {
    for (const event of page) {
      if (options.until !== undefined && event.seq > options.until)
        return { report: reportOf(story, events), story, complaints: [], damaged: false };
      story.tell(event);
      events += 1;
    }
  }
  const complaints = reader.torn ? [`${reader.name}: ${TORN}`] : [];
  return { report: reportOf(story, events), story, complaints, damaged: false };
};

const TORN = 'the last line was cut and is set aside';
const DAMAGED = 'it is passed over and counts as a gap; get the original file for the whole story';

const rerun = async (history: Awaited<ReturnType<typeof openHistory>>, options: ReplayOptions): Promise<Replayed> => {
  const story = new Story(options);
  const run = new Rerun((event: Foldable, place) => story.tell(event, place), options.policy);
  const complaints: string[] = [];
  let damaged = false;
  for await (const entry of readCapture(history.chunks)) {
    if (entry.kind === 'damage') {
      if (complaints.length < 20)
        complaints.push(`${history.name}: line ${entry.line}: ${entry.damage}; ${entry.torn ? TORN : DAMAGED}`);
      damaged ||= !entry.torn;
      if (entry.torn) continue;
    } else if (options.until !== undefined && entry.n > options.until) break;
    run.take(entry);
  }
  return { report: reportOf(story, run.messages), story, complaints, damaged };
};
