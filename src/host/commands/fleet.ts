// `netkvm fleet replay|stats|explain|export|follow`: what many guests have copied to a KurrentDB server, or one of them.
// All but `follow` first list the logs that are asked for and then read one after the other, so that memory holds one.
import { once } from 'node:events';
import { join } from 'node:path';
import { type Connection, connectionOf } from '../../adapters/kurrentdb/connection.ts';
import { CATEGORY_STREAM, Fleet, type LogThere, type Place, type Seen, type Source } from '../../adapters/kurrentdb/fleet.ts';
import { streamOf } from '../../adapters/kurrentdb/mapping.ts';
import { makeFolder } from '../../adapters/log/files.ts';
import { writeRecording } from '../../adapters/log/recording-writer.ts';
import type { RecordedEvent } from '../../events/envelope.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import { Story } from '../../machines/story.ts';
import { explainPair, explanationText } from '../../../replay/explain.ts';
import { Folds, type LogTold, nameOf, tellLog } from '../../../replay/fleet.ts';
import { type Report, reportOf } from '../../../replay/report.ts';
import { Counted } from '../../../replay/counted.ts';
import { Stats, statisticsText } from '../../../replay/stats.ts';
import { timelineText } from '../../../replay/text.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { loadConfig } from '../config.ts';
import { interrupted } from '../interrupt.ts';
import { pairOption } from '../look.ts';
import { readPlace, writePlace } from '../place-file.ts';
import { headerFor } from './log.ts';
import { lineOf } from './monitor.ts';

/** What a log's story keeps, the newest of it: a bound for memory, far above what one log holds. */
const STORY = { entries: 10_000, findings: 10_000 };
/** How often a follower writes its checkpoint. */
const PLACE_EVERY_MS = 1000;

const connectionFor = (args: Arguments): Connection => {
  const { settings } = loadConfig(args.text('config'));
  const server = args.text('server') ?? (settings.forwardTo === '' ? settings.log : settings.forwardTo);
  if (server === '')
    throw new NetkvmError('usage.command', `netkvm ${args.command} needs --server URL: the configuration names no server`);
  return connectionOf(server, args.text('credentials') ?? settings.credentialsFile);
};

const sourceFor = (args: Arguments): Source => {
  const log = args.text('log');
  if (log === undefined) return args.flag('category') ? CATEGORY_STREAM : '$all';
  if (/^[\w-]{1,64}$/.test(log)) return streamOf(log) as Source;
  throw new NetkvmError(
    'usage.value',
    `--log ${JSON.stringify(log)} is not the id of a log; \`netkvm fleet stats --json\` names them`,
  );
};

/** A slow reader of the output is waited for. */
const print = async ({ stdout }: Io, text: string): Promise<void> => {
  if (!stdout.write(text)) await once(stdout, 'drain');
};

/** Reads the logs that are asked for, one after the other; returns the exit code. */
const eachLog = async (
  args: Arguments,
  io: Io,
  read: (fleet: Fleet, log: LogThere) => Promise<LogTold>,
  file: string | null = args.text('checkpoint') ?? null,
): Promise<number> => {
  const source = sourceFor(args);
  const from = file === null ? null : readPlace(file, source);
  const connection = connectionFor(args);
  const fleet = await Fleet.open(connection, source);
  try {
    const { logs, place } = await fleet.logs(from);
    const vm = args.text('vm');
    const wanted = logs.filter((log) => vm === undefined || log.vm === vm);
    if (wanted.length === 0 && from === null)
      throw new NetkvmError('log.missing', `${connection.name}: ${source} has no such log`);
    let damaged = false;
    for (const log of wanted) {
      const told = await read(fleet, log);
      for (const complaint of told.complaints) io.stderr.write(`netkvm: ${complaint}\n`);
      damaged ||= told.damaged;
    }
    if (file !== null && place !== null) writePlace(file, place);
    return damaged ? EXIT.damaged : EXIT.done;
  } finally {
    await fleet.close();
  }
};

/** Tells a log, a new part for each stretch without holes; `done` gets each but the last, which is returned. */
const stretches = async <P>(
  fleet: Fleet,
  log: LogThere,
  begin: () => P,
  tell: (part: P, event: RecordedEvent, fresh: boolean) => void,
  done: (part: P) => void,
): Promise<LogTold & { readonly last: P | null }> => {
  let last: P | null = null;
  const told = await tellLog(fleet, log, () => {
    if (last !== null) done(last);
    const part = begin();
    last = part;
    return (event, fresh) => tell(part, event, fresh);
  });
  return { ...told, last };
};

interface Part {
  readonly story: Story;
  /** Number of the first event that is new, and how many are. */
  first: number;
  events: number;
}
const beginStory = (): Part => ({ story: new Story({}, STORY), first: 0, events: 0 });
const tellStory = (part: Part, event: RecordedEvent, fresh: boolean): void => {
  part.story.tell(event);
  if (!fresh) return;
  if (part.events === 0) part.first = event.seq;
  part.events += 1;
};

/** Of the whole report what a pair has to do with, and what is new. */
const partOfReport = (report: Report, first: number, pair: string | null): Report => ({
  ...report,
  pairs: report.pairs
    .filter(({ mac }) => pair === null || mac === pair)
    .map((one) => ({ ...one, history: one.history.filter(({ seq }) => seq >= first) })),
  findings: report.findings.filter(
    ({ until_seq, text }) => (until_seq === null || until_seq >= first) && (pair === null || text.startsWith(pair)),
  ),
});

const replay = (args: Arguments, io: Io): Promise<number> => {
  const pair = pairOption(args);
  return eachLog(args, io, async (fleet, log) => {
    const texts: string[] = [];
    const complaints: string[] = [];
    const write = ({ story, first, events }: Part) => {
      const report = partOfReport(reportOf(story, events), first, pair);
      if (pair !== null && report.pairs.length === 0) return;
      const { logId, vm } = log;
      const text = `${nameOf(log)}: ${timelineText(report)}\n`;
      texts.push(args.flag('json') ? `${JSON.stringify({ ...report, log: logId, vm })}\n` : text);
      const { divergence } = report;
      if (divergence !== null) complaints.push(`${nameOf(log)}: at event ${divergence.seq} the fold gives another decision`);
    };
    const { last, ...told } = await stretches(fleet, log, beginStory, tellStory, write);
    if (last !== null) write(last);
    await print(io, texts.join(''));
    return { ...told, complaints: [...told.complaints, ...complaints], damaged: told.damaged || complaints.length > 0 };
  });
};

const explain = (args: Arguments, io: Io): Promise<number> => {
  const pair = pairOption(args);
  const read = async (fleet: Fleet, log: LogThere): Promise<LogTold> => {
    const { last, ...told } = await stretches(fleet, log, beginStory, tellStory, () => {});
    if (last === null) return told;
    const { story } = last;
    story.history.end();
    const pairs = [...story.guest.pairs.values()]
      .filter(({ mac }) => pair === null || mac === pair)
      .map((one) => explainPair(one, story));
    const { logId, vm } = log;
    const document = { schemaVersion: 1, log: logId, vm, seq: story.end.seq, pairs };
    if (args.flag('json')) await print(io, `${JSON.stringify(document)}\n`);
    else for (const one of pairs) await print(io, `${nameOf(log)}: ${explanationText(one)}\n`);
    return told;
  };
  return eachLog(args, io, read, null);
};

/** What logs can be counted by. */
const GROUPS = {
  vm: (log: LogThere) => log.vm,
  kernel: (_: LogThere, { kernel }: Counted) => kernel,
  driver: (_: LogThere, { drivers }: Counted) => [...drivers].toSorted().join(' + '),
} as const satisfies Record<string, (log: LogThere, counted: Counted) => string>;

interface Counting {
  readonly counted: Counted;
  events: number;
}
const count = (part: Counting, event: RecordedEvent, fresh: boolean): void => {
  part.counted.take(event, { seq: event.seq, at_ns: event.mono_ns }, fresh);
  if (fresh) part.events += 1;
};

const stats = async (args: Arguments, io: Io): Promise<number> => {
  const by = args.text('by') as keyof typeof GROUPS | undefined;
  const pair = pairOption(args);
  const begin = (): Counting => ({ counted: new Counted(pair), events: 0 });
  const groups = new Map<string, Stats>(by === undefined ? [['', new Stats()]] : []);
  const exit = await eachLog(args, io, async (fleet, log) => {
    const add = ({ counted, events }: Counting, damaged: boolean) => {
      if (pair !== null && counted.pairs === 0) return;
      const name = by === undefined ? '' : GROUPS[by](log, counted) || 'unknown';
      const group = groups.get(name) ?? new Stats();
      groups.set(name, group);
      group.add(nameOf(log), counted, events, damaged);
    };
    const { last, ...told } = await stretches(fleet, log, begin, count, (part) => add(part, false));
    if (last !== null) add(last, told.damaged);
    return told;
  });
  const documents = [...groups].map(([name, group]) => ({ name, ...group.document() }));
  if (!args.flag('json')) {
    for (const { name, ...table } of documents)
      await print(
        io,
        `${by === undefined ? '' : `${by} ${name}: `}${statisticsText(table)}
`,
      );
    return exit;
  }
  const document = by === undefined ? groups.get('')?.document() : { schemaVersion: 1, by, groups: documents };
  await print(
    io,
    `${JSON.stringify(document)}
`,
  );
  return exit;
};

/** A name that every file system takes; the log's id makes it the only one. */
const fileOf = ({ vm, logId }: LogThere): string => `${vm.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 64)}-${logId}.jsonl`;

/** A recording of what is whole of a log: the last stretch without holes. */
const exportOne = async (
  fleet: Fleet,
  log: LogThere,
  path: string,
  pseudonyms: boolean,
): Promise<LogTold & { written: number }> => {
  let start: { first: RecordedEvent; revision: bigint } | null = null;
  let last = 0;
  const whole = { ...log, first: 0n };
  const told = await tellLog(fleet, whole, ({ event, revision }) => {
    start = { first: event, revision };
    return ({ seq }) => void (last = seq);
  });
  if (start === null) return { ...told, written: 0 };
  const { first, revision } = start as { first: RecordedEvent; revision: bigint };
  const events = async function* () {
    let next = first.seq;
    for await (const page of fleet.events(log, revision, log.last))
      for (const seen of page) {
        if (typeof seen === 'string' || seen.event.seq > last) return;
        if (seen.event.seq < next) continue;
        if (seen.event.seq > next) throw new NetkvmError('log.damaged', `${nameOf(log)}: event ${next} went while it was read`);
        next += 1;
        yield seen.event;
      }
  };
  const header = headerFor(first, last);
  const host = first.type === 'service.started' ? header.host : { name: log.vm };
  return { ...told, written: await writeRecording(path, { ...header, host }, events(), { pseudonyms }) };
};

const exportAll = (args: Arguments, io: Io): Promise<number> => {
  const dir = args.text('output');
  if (dir === undefined) throw new NetkvmError('usage.command', 'netkvm fleet export needs -o DIR');
  return eachLog(args, io, async (fleet, log) => {
    makeFolder(dir);
    const path = join(dir, fileOf(log));
    const { written, ...told } = await exportOne(fleet, log, path, args.flag('pseudonyms'));
    const { logId, vm } = log;
    if (args.flag('json'))
      await print(io, `${JSON.stringify({ schemaVersion: 1, log: logId, vm, events: written, file: path })}\n`);
    else await print(io, `${nameOf(log)}: ${written} events written to ${path}\n`);
    return told;
  });
};

const follow = async (args: Arguments, io: Io): Promise<number> => {
  const [source, file, group, vm, pair] = [
    sourceFor(args),
    args.text('checkpoint'),
    args.text('group'),
    args.text('vm'),
    pairOption(args),
  ];
  const from = args.text('from') === 'start' ? 'start' : 'end';
  const place = file === undefined ? null : readPlace(file, source);
  const fleet = await Fleet.open(connectionFor(args), source);
  const folds = new Folds(fleet);
  const show = async ({ seen }: Seen): Promise<void> => {
    if (typeof seen === 'string') return void io.stderr.write(`netkvm: ${seen}\n`);
    if (vm !== undefined && seen.vm !== vm) return;
    const step = await folds.take(seen);
    if (step === 'repeated' || (pair !== null && step?.touched.some(({ mac }) => mac === pair) !== true)) return;
    const { event, logId, revision } = seen;
    const changes = (step?.changes ?? []).map(({ pair: { mac, shown } }) => ({ pair: mac, ...shown }));
    const document = { schemaVersion: 1, log: logId, vm: seen.vm, revision: Number(revision), ...event, changes };
    await print(
      io,
      args.flag('json') ? `${JSON.stringify(document)}\n` : `${nameOf(seen).slice(0, 24).padEnd(24)} ${lineOf(event, step)}`,
    );
  };
  const news = {
    lost: (reason: string | null) =>
      void io.stderr.write(`netkvm: ${reason === null ? 'the server is back' : `${reason}; it is waited for`}\n`),
  };
  const signal = interrupted();
  const events = group === undefined ? fleet.follow(place ?? from, signal, news) : fleet.share(group, from, signal, news);
  let [at, kept]: [Place | null, number] = [null, performance.now()];
  try {
    for await (const seen of events) {
      await show(seen);
      at = seen.place;
      if (file === undefined || performance.now() - kept < PLACE_EVERY_MS) continue;
      writePlace(file, at);
      kept = performance.now();
    }
    return EXIT.done;
  } finally {
    if (file !== undefined && at !== null) writePlace(file, at);
    await fleet.close();
  }
};

export const run: Run = (args, io) => {
  switch (args.command) {
    case 'fleet replay':
      return replay(args, io);
    case 'fleet stats':
      return stats(args, io);
    case 'fleet explain':
      return explain(args, io);
    case 'fleet export':
      return exportAll(args, io);
    default:
      return follow(args, io);
  }
};
