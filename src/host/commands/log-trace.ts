// `netkvm log export --trace [FILE]`: the log, or a recording or raw capture, as Chrome trace-event JSON for Perfetto. A file
// appears whole or not at all.
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { tellFile } from '../../../replay/replay.ts';
import { Trace, traceWriter } from '../../../replay/trace.ts';
import { rename } from '../../adapters/log/files.ts';
import type { LogReader } from '../../events/log.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io } from '../command.ts';
import { configurationOf, openLogOf } from '../look.ts';

/** Characters that are held back before they are written. */
const BLOCK = 65_536;

type StartOf = (reader: LogReader, from: number) => number;

interface Sink {
  readonly write: (text: string) => void;
  readonly done: () => void;
  readonly drop: () => void;
}

const fileSink = (path: string): Sink => {
  const part = `${path}.part`;
  const orRefuse = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      throw new NetkvmError('recording.unwritable', `${path}: ${(error as Error).message}`, { cause: error });
    }
  };
  const file = orRefuse(() => openSync(part, 'w', 0o600));
  let held = '';
  const flush = (): void => {
    // One call may write less than it was given.
    for (let bytes = Buffer.from(held); bytes.length > 0;) bytes = bytes.subarray(writeSync(file, bytes));
    held = '';
  };
  return {
    write: (text) => {
      held += text;
      if (held.length >= BLOCK) orRefuse(flush);
    },
    done: () =>
      orRefuse(() => {
        flush();
        closeSync(file);
        rename(part, path);
      }),
    drop: () => rmSync(part, { force: true }),
  };
};

const streamSink = (stream: NodeJS.WritableStream): Sink => ({
  write: (text) => void stream.write(text),
  done: () => {},
  drop: () => {},
});

const tellLog = async (args: Arguments, trace: Trace, startOf: StartOf): Promise<void> => {
  const reader = await openLogOf(configurationOf(args));
  try {
    for (const page of reader.fold(startOf(reader, args.number('from') ?? 0)))
      for (const event of page) trace.take(event, { seq: event.seq, at_ns: event.mono_ns });
  } finally {
    reader.close();
  }
};

/** `startOf` gives the event from which a log can be folded so that it has the wanted one. */
export const exportTrace = async (args: Arguments, io: Io, startOf: StartOf): Promise<number> => {
  const [path] = args.positionals;
  const target = args.text('output');
  const sink = target === undefined ? streamSink(io.stdout) : fileSink(target);
  try {
    const document = traceWriter(sink.write);
    const trace = new Trace(document.put);
    let damaged = false;
    if (path === undefined) await tellLog(args, trace, startOf);
    else {
      const told = await tellFile(path, (event, place) => trace.take(event, place));
      for (const complaint of told.complaints) io.stderr.write(`netkvm: ${complaint}\n`);
      ({ damaged } = told);
    }
    trace.end();
    const events = document.end();
    sink.done();
    if (args.flag('json')) io.stderr.write(`${JSON.stringify({ schemaVersion: 1, events })}\n`);
    else if (target !== undefined) io.stdout.write(`${events} trace events written to ${target}: open it at ui.perfetto.dev\n`);
    return damaged ? EXIT.damaged : EXIT.done;
  } catch (error) {
    sink.drop();
    throw error;
  }
};
