// `netkvm record`: what this system says, into a file, without a service. Raw: the datagrams as the kernel sent them, with
// the dumps that the platform asks for. Otherwise the service itself runs, observing, on a log of its own that becomes the
// recording.
import { accessSync, constants, createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { CaptureWriter } from '../../adapters/linux/capture-writer.ts';
import { LinuxPlatform } from '../../adapters/linux/platform.ts';
import { writeRecording } from '../../adapters/log/recording-writer.ts';
import { openLog } from '../../adapters/log/sqlite.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { type Configuration, loadConfig } from '../config.ts';
import { interrupted } from '../interrupt.ts';
import { openLogger } from '../lines.ts';
import { hostFacts, machineId } from '../machine-facts.ts';
import { Service } from '../service.ts';
import { headerFor } from './log.ts';
import { packageVersion } from './version.ts';

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve());
  });

const unwritable = (path: string, { message }: Error): NetkvmError =>
  new NetkvmError('recording.unwritable', `${path}: ${message}`);

/** Says before anything is recorded that it could not be kept: after an hour it would be too late. */
const mustBeWritable = (path: string): void => {
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(path, error as Error);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw unwritable(path, new Error('a folder has this name'));
};

const fileStream = (path: string): Promise<Writable> =>
  new Promise((resolve, reject) => {
    const stream = createWriteStream(path, { mode: 0o600 });
    stream.once('open', () => resolve(stream));
    stream.once('error', (error) => reject(unwritable(path, error)));
  });

const recordRaw = async (platform: LinuxPlatform, args: Arguments, io: Io, until: AbortSignal): Promise<number> => {
  const path = args.text('output');
  const stream = path === undefined ? (io.stdout as Writable) : await fileStream(path);
  let failure: Error | null = null;
  const broken = new AbortController();
  stream.on('error', (error) => {
    failure = error;
    broken.abort();
  });
  const writer = new CaptureWriter(stream);
  const raw = platform.datagrams.subscribe((message) => writer.write(message));
  const sightings = platform.sightings.subscribe();
  await aborted(AbortSignal.any([until, broken.signal]));
  sightings.unsubscribe();
  raw.unsubscribe();
  await platform.close();
  if (failure === null && path !== undefined) await writer.close().catch((error: Error) => (failure = error));
  if (failure !== null) throw unwritable(path ?? 'output', failure);
  return writer.lines;
};

const recordEvents = async (
  platform: LinuxPlatform,
  configuration: Configuration,
  args: Arguments,
  io: Io,
  until: AbortSignal,
) => {
  const dir = mkdtempSync(join(tmpdir(), 'netkvm-record-'));
  let kept = false;
  try {
    const identity = { bootId: platform.bootId(), machineId: machineId() };
    const opened = openLog(dir, identity);
    const lines = await openLogger({ level: 'warn', destination: 2 });
    const policy = { ...configuration.policy, effects: 'off' as const };
    const { settings } = configuration;
    const service = new Service({ platform, opened, settings, policy, lines, version: packageVersion(), host: hostFacts() });
    service.start();
    await aborted(until);
    await service.stop('recorded');
    const { log } = openLog(dir, identity);
    const [first] = log.read(1);
    if (first === undefined) throw new NetkvmError('recording.empty', 'nothing was recorded');
    const target = args.text('output') ?? (io.stdout as Writable);
    try {
      return await writeRecording(target, headerFor(first, log.head()), log.read(1));
    } catch (error) {
      kept = true;
      if (!(error instanceof NetkvmError)) throw error;
      throw new NetkvmError(error.code, `${error.message}; what was recorded is kept as the log in ${dir}`, { cause: error });
    } finally {
      log.close();
    }
  } finally {
    if (!kept) rmSync(dir, { recursive: true, force: true });
  }
};

export const run: Run = async (args, io) => {
  if (process.platform !== 'linux')
    throw new NetkvmError('platform.unsupported', `there is no adapter for ${process.platform} yet`);
  const configuration = loadConfig(args.text('config'));
  const { receiveBuffer_bytes, survey_ms } = configuration.settings;
  const output = args.text('output');
  if (output !== undefined) mustBeWritable(output);
  const seconds = args.number('seconds');
  const stop = interrupted();
  const until = seconds === undefined ? stop : AbortSignal.any([stop, AbortSignal.timeout(seconds * 1000)]);
  const platform = new LinuxPlatform({ receiveBuffer_bytes, surveyInterval_ms: survey_ms });
  const count = args.flag('raw')
    ? await recordRaw(platform, args, io, until)
    : await recordEvents(platform, configuration, args, io, until);
  const what = args.flag('raw') ? 'lines' : 'events';
  if (args.flag('json')) io.stderr.write(`${JSON.stringify({ schemaVersion: 1, [what]: count })}\n`);
  else io.stderr.write(`${count} ${what} recorded\n`);
  return EXIT.done;
};
