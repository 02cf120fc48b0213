// An outage of a million events: what the service's process takes of memory meanwhile, with and without a copy, how fast the
// copy catches up, and how fast and in how much memory those events are then read from the server and counted. Each in a
// process of its own (outage.process.ts); the server is the stand-in, in a thread of this one.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openReader } from '../../src/adapters/log/sqlite.ts';
import { startStandIn, type StandIn } from '../kurrentdb/stand-in.ts';
import { inFolder } from './files.ts';
import { compare, type Measurement, type Row } from './measure.ts';

const PROCESS = fileURLToPath(new URL('outage.process.ts', import.meta.url));

export type Role = 'without' | 'with' | 'append' | 'read' | 'stats';
/** What outage.process.ts prints, a line each: rates in events/s, memory (VmRSS) in MiB. */
export interface Figures {
  readonly early?: number;
  readonly late?: number;
  readonly rate?: number;
  readonly most?: number;
}

const child = (role: Role, folder: string, count: number, url: string) => {
  const words = ['--no-warnings', PROCESS, role, folder, String(count), url];
  const running: ChildProcess = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: running.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  return {
    next: async (): Promise<Figures> => {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the process for ${role} ended`);
      return JSON.parse(value) as Figures;
    },
    go: () => void running.stdin?.write('go\n'),
  };
};

interface Round {
  readonly without: Figures;
  readonly outage: Figures;
  readonly caught: Figures;
  readonly appended: Figures;
  readonly read: Figures;
  readonly counted: Figures;
}

const round = async (standIn: StandIn, folder: string, count: number): Promise<Round> => {
  const alone = child('without', join(folder, 'without'), count, standIn.url);
  const without = await alone.next();
  await standIn.faults({ refuse: 'unavailable' });
  const dir = join(folder, 'with');
  const copying = child('with', dir, count, standIn.url);
  const outage = await copying.next();
  await standIn.faults();
  copying.go();
  const caught = await copying.next();
  const reader = openReader(dir);
  const { logId } = reader;
  reader.close();
  const appended = await child('append', dir, count, standIn.url).next();
  const read = await child('read', logId, count, standIn.url).next();
  const counted = await child('stats', logId, count, standIn.url).next();
  return { without, outage, caught, appended, read, counted };
};

export const outage: Measurement = async ({ quick }) => {
  const count = quick ? 10_000 : 1_000_000;
  const rounds: Round[] = [];
  for (let index = 0; index < (quick ? 1 : 2); index++) {
    // A new one for each round: it keeps everything in memory.
    const standIn = await startStandIn({ projections: false, heap_MiB: 8192 });
    rounds.push(await inFolder((folder) => round(standIn, folder, count)));
    await standIn.close();
  }
  const of = (pick: (one: Round) => number | undefined) => rounds.map((one) => pick(one) ?? NaN);
  const events = count.toLocaleString('en');
  const row = (
    what: string,
    unit: 'MiB' | 'events/s',
    values: number[],
    baseline?: { what: string; values: number[] },
    goal?: Parameters<typeof compare>[0]['goal'],
  ): Row =>
    compare({
      measurement: 'outage',
      what,
      unit,
      better: unit === 'MiB' ? 'lower' : 'higher',
      values,
      ...(baseline === undefined ? {} : { baseline }),
      ...(goal === undefined ? {} : { goal }),
    });
  const growth = ({ early = NaN, late = NaN }: Figures) => late - early;
  return {
    rows: [
      row(
        `memory after an outage of ${events} events`,
        'MiB',
        of(({ outage: { late } }) => late),
        {
          what: 'the same without a copy',
          values: of(({ without: { late } }) => late),
        },
      ),
      row(
        'its growth in the last nine tenths of the outage',
        'MiB',
        of(({ outage: during }) => growth(during)),
        { what: 'the same without a copy', values: of(({ without }) => growth(without)) },
        { text: 'at most 1.2 × without a copy', of: 'ratio', bound: 1.2 },
      ),
      row(
        `catching up ${events} events`,
        'events/s',
        of(({ caught: { rate } }) => rate),
        {
          what: 'the client alone, the same events, prepared',
          values: of(({ appended: { rate } }) => rate),
        },
      ),
      row(
        'the most memory while catching up',
        'MiB',
        of(({ caught: { most } }) => most),
      ),
      row(
        `fleet stats over ${events} events on the server`,
        'events/s',
        of(({ counted: { rate } }) => rate),
        {
          what: 'the client alone, reading them',
          values: of(({ read: { rate } }) => rate),
        },
      ),
      row(
        'the most memory meanwhile',
        'MiB',
        of(({ counted: { most } }) => most),
        {
          what: 'the client alone, reading them',
          values: of(({ read: { most } }) => most),
        },
      ),
    ],
    notes: [
      'VmRSS of the whole process. The client and its native library are some 60 MiB of it, and what V8 has not yet collected much of the rest.',
    ],
    skipped: null,
  };
};
