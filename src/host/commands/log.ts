// `netkvm log export|verify|prune`: the log as a file, whether it is whole, and how much of it is kept.
import { MACHINE_VERSION } from '../../machines/guest.ts';
import { openHistory } from '../../adapters/log/history.ts';
import { RecordingReader } from '../../adapters/log/recording-reader.ts';
import { writeRecording } from '../../adapters/log/recording-writer.ts';
import { Tally, verifyLog, type Verdict } from '../../adapters/log/verify.ts';
import { type RecordedEvent, SCHEMA_VERSION } from '../../events/envelope.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { LogReader } from '../../events/log.ts';
import { FORMAT, FORMAT_VERSION, type RecordingHeader } from '../../events/recording.ts';
import { Story } from '../../machines/story.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { request } from '../control-client.ts';
import { configurationOf, openLogOf, servicePid } from '../look.ts';
import { bootId, hostFacts, machineId } from '../machine-facts.ts';
import { tellSound } from '../salvage.ts';
import { openWriter } from '../service-log.ts';

/** The header of a recording that begins with `first`. */
export const headerFor = (first: RecordedEvent, last: number): RecordingHeader => ({
  format: FORMAT,
  version: FORMAT_VERSION,
  schema: SCHEMA_VERSION,
  machineVersion: MACHINE_VERSION,
  logId: first.logId,
  bootId: first.bootId,
  host: first.type === 'service.started' ? first.data.host : hostFacts(),
  clocks: { mono_ns: first.mono_ns, boot_ns: first.boot_ns, wall_ns: first.wall_ns },
  last,
});

/** Events from the newest checkpoint at or below `from` on: what comes later cannot be folded without it. */
const segmentOf = (reader: LogReader, from: number): number => {
  let start = reader.first();
  for (const page of reader.fold(start)) {
    for (const { seq, type } of page) {
      if (seq > from) return start;
      if (type === 'checkpoint.made') start = seq;
    }
  }
  return start;
};

const upTo = function* (events: Iterable<RecordedEvent>, last: number): Generator<RecordedEvent> {
  for (const event of events) {
    if (event.seq > last) return;
    yield event;
  }
};

const exportLog = async (args: Arguments, io: Io): Promise<number> => {
  if (args.flag('trace')) return (await import('./log-trace.ts')).exportTrace(args, io, segmentOf);
  if (args.positionals.length > 0) throw new NetkvmError('usage.command', 'netkvm log export takes a FILE only with --trace');
  const reader = await openLogOf(configurationOf(args));
  try {
    const start = segmentOf(reader, args.number('from') ?? 0);
    const last = reader.head();
    const [first] = reader.read(start);
    if (first === undefined) throw new NetkvmError('recording.empty', `${reader.path}: the log has no event`);
    const target = args.text('output') ?? (io.stdout as NodeJS.WritableStream & import('node:stream').Writable);
    const options = { pseudonyms: args.flag('pseudonyms') };
    const events = await writeRecording(target, headerFor(first, last), upTo(reader.read(start), last), options);
    const summary = { schemaVersion: 1, events, first: start, last };
    if (args.flag('json')) io.stderr.write(`${JSON.stringify(summary)}\n`);
    else if (typeof target === 'string') io.stdout.write(`${events} events (${start} to ${last}) written to ${target}\n`);
    return EXIT.done;
  } finally {
    reader.close();
  }
};

/** The rules between events, and then whether folding gives the recorded decisions. */
const verdictOfFile = async (path: string): Promise<{ verdict: Verdict; story: Story }> => {
  const reader = await RecordingReader.open(await openHistory(path));
  const tally = new Tally();
  const story = new Story();
  for await (const page of reader.pages()) {
    for (const event of page) {
      const text = tally.add(event);
      if (text !== null) return { verdict: tally.verdict({ seq: event.seq, text }), story };
      tellSound(story, event, path);
    }
  }
  return { verdict: tally.verdict(null), story };
};

const verdictOfLog = (reader: LogReader): { verdict: Verdict; story: Story } => {
  const verdict = verifyLog(reader);
  const story = new Story();
  if (verdict.problem === null)
    for (const page of reader.fold(reader.first())) for (const event of page) tellSound(story, event, reader.path);
  return { verdict, story };
};

const verify = async (args: Arguments, io: Io): Promise<number> => {
  const [path] = args.positionals;
  const reader = path === undefined ? await openLogOf(configurationOf(args)) : null;
  try {
    const { verdict, story } = reader === null ? await verdictOfFile(path ?? '-') : verdictOfLog(reader);
    const name = reader?.path ?? path;
    const { divergence } = story;
    const { events, first, last, decisions, outcomes } = verdict;
    if (args.flag('json')) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, name, ...verdict, divergence })}\n`);
    else if (verdict.problem === null && divergence === null)
      io.stdout.write(
        `${name}: ${events} events (${first} to ${last}), ${decisions} decisions, ${outcomes} outcomes: all is well\n`,
      );
    if (verdict.problem !== null)
      throw new NetkvmError('log.damaged', `${name}: event ${verdict.problem.seq}: ${verdict.problem.text}`);
    if (divergence !== null) throw new NetkvmError('replay.diverged', `${name}: at event ${divergence.seq}`);
    return EXIT.done;
  } finally {
    reader?.close();
  }
};

const prune = async (args: Arguments, io: Io): Promise<number> => {
  const configuration = configurationOf(args);
  const keep = args.number('keep') ?? configuration.settings.retentionEvents;
  const { controlSocket } = configuration.settings;
  let events: number;
  if ((await servicePid(configuration)) !== null)
    ({ events } = (await request(controlSocket, 'prune', { keep })) as { events: number });
  else {
    (await openLogOf(configuration)).close(); // A log that does not exist is an error here, not a reason to make one.
    const { settings } = configuration;
    const { log, setAside } = await openWriter(settings, { bootId: bootId(), machineId: machineId() });
    if (setAside !== null) io.stderr.write(`netkvm: ${log.path} was damaged (${setAside.reason}) and is now ${setAside.path}\n`);
    try {
      events = log.prune(log.head() - keep);
    } finally {
      log.close();
    }
  }
  io.stdout.write(args.flag('json') ? `${JSON.stringify({ schemaVersion: 1, events })}\n` : `${events} events dropped\n`);
  return EXIT.done;
};

export const run: Run = (args, io) => {
  switch (args.command) {
    case 'log export':
      return exportLog(args, io);
    case 'log verify':
      return verify(args, io);
    default:
      return prune(args, io);
  }
};
