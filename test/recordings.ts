// `npm run recordings`: makes replay/recordings/ from the raw captures below it: a recording of each, and the report that
// replaying the capture must give. Everything is derived from the captures, so that a second run changes nothing unless the
// machine or a format has changed; the difference is then what to look at before committing it.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CaptureReader } from '../src/adapters/linux/capture.ts';
import { writeRecording } from '../src/adapters/log/recording-writer.ts';
import { type Clocks, type RecordedEvent, SCHEMA_VERSION } from '../src/events/envelope.ts';
import { FORMAT, FORMAT_VERSION } from '../src/events/recording.ts';
import { MACHINE_VERSION } from '../src/machines/guest.ts';
import { Story } from '../src/machines/story.ts';
import { replayFile } from '../replay/replay.ts';
import { Rerun } from '../replay/rerun.ts';
import { lifeNames, LIVES, toldOf } from './lives.ts';
import { record, simulate } from './simulation/simulate.ts';

export const RECORDINGS = fileURLToPath(new URL('../replay/recordings/', import.meta.url));
export const captureNames = (): string[] => readdirSync(`${RECORDINGS}raw`).toSorted();

/** The same name gives the same UUID: a recording that is made again has the same ids. */
const idOf = (name: string): string => {
  const hex = createHash('sha256').update(name).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

/** The events that a service would have recorded in this guest. */
const eventsOf = (name: string): RecordedEvent[] => {
  const events: RecordedEvent[] = [];
  const story = new Story();
  let ahead = { mono: 0n, wall: 0n };
  const run = new Rerun((event) => {
    const step = story.tell(event);
    const mono_ns = event.mono_ns;
    const wall_ns = (ahead.wall + BigInt(mono_ns) - ahead.mono).toString();
    const clocks: Clocks = { mono_ns, boot_ns: mono_ns, wall_ns };
    const cause = event.type === 'timer.elapsed' ? event.data.armedBy : null;
    const frame = {
      id: idOf(`${name} ${event.seq}`),
      cause,
      episode: step.episode,
      logId: idOf(name),
      bootId: name,
      v: SCHEMA_VERSION,
    };
    events.push({ ...event, ...clocks, ...frame });
    return step;
  });
  for (const entry of new CaptureReader().push(readFileSync(`${RECORDINGS}raw/${name}/guest.jsonl`))) {
    if (entry.kind !== 'damage') ahead = { mono: BigInt(entry.mono_ns), wall: BigInt(entry.wall_ns) };
    run.take(entry);
  }
  return events;
};

/** The version of the machine that a recording was made with: it is kept with it. */
export const versionOf = (path: string): number =>
  (JSON.parse(readFileSync(path, 'utf8').split('\n', 1)[0]!) as { machineVersion: number }).machineVersion;

export const makeRecording = async (name: string, target: string, machineVersion: number): Promise<void> => {
  const events = eventsOf(name);
  const [first] = events;
  if (first === undefined) throw new Error(`${name} gives no event`);
  const { mono_ns, boot_ns, wall_ns, logId, bootId } = first;
  const header = {
    format: FORMAT,
    version: FORMAT_VERSION,
    schema: SCHEMA_VERSION,
    machineVersion,
    logId,
    bootId,
    host: { capture: name },
    clocks: { mono_ns, boot_ns, wall_ns },
    last: events.length,
  } as const;
  await writeRecording(target, header, events);
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const name of captureNames()) {
    const path = `${RECORDINGS}${name}.jsonl`;
    await makeRecording(name, path, existsSync(path) ? versionOf(path) : MACHINE_VERSION);
    const { report } = await replayFile(`${RECORDINGS}raw/${name}/guest.jsonl`);
    writeFileSync(`${RECORDINGS}raw/${name}/expected.json`, `${JSON.stringify(report, null, 1)}\n`);
  }
  for (const name of lifeNames()) {
    // A machine that decides otherwise needs a new version, and lives of its own: from the same scenarios and seeds.
    if (versionOf(`${LIVES}${name}.jsonl`) !== MACHINE_VERSION) {
      const [, scenario = '', seed = ''] = /^(.*)-([0-9]+)$/.exec(name) ?? [];
      await record(await simulate(scenario, Number(seed)), scenario, Number(seed), LIVES);
    }
    writeFileSync(`${LIVES}${name}.txt`, `${(await toldOf(name)).join('\n')}\n`);
  }
}
