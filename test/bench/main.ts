// `npm run bench`: measures, and says which goals are met. Figures are for reading: nothing here fails because of one.
//   npm run bench -- [NAME…] [--quick] [--json] [--write]
// What needs a KurrentDB server (a stand-in) is a set of its own, `npm run bench -- kurrentdb`, with a page of its own.
// Each measurement runs in a process of its own, so that none inherits the heap or the compiled code of another.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { appending } from './appending.ts';
import { deciding } from './deciding.ts';
import { fold } from './fold.ts';
import { forwarding } from './forwarding.ts';
import type { Measurement, Result } from './measure.ts';
import { type Document, machine, page, report } from './page.ts';
import { outage } from './outage.ts';
import { processes } from './processes.ts';
import { reading } from './reading.ts';
import { undelayed } from './undelayed.ts';

const ALONE = { fold, reading, appending, deciding, processes };
const WITH_SERVER = { forwarding, undelayed, outage };
const MEASUREMENTS: { readonly [name: string]: Measurement } = { ...ALONE, ...WITH_SERVER };
const KURRENTDB = 'kurrentdb';
const NAMES = [...Object.keys(MEASUREMENTS), KURRENTDB];
const pageOf = (name: string): string => fileURLToPath(new URL(`../../docs/${name}.md`, import.meta.url));
const MOST_OUTPUT_BYTES = 16 * 1024 * 1024;

const usage = (problem: string): never => {
  process.stderr.write(`${problem}\nnpm run bench -- [NAME…] [--quick] [--json] [--write]\nNAME: ${NAMES.join(', ')}\n`);
  process.exit(2);
};

const FLAG = { type: 'boolean', default: false } as const;
const parsed = () => {
  try {
    return parseArgs({ allowPositionals: true, options: { quick: FLAG, json: FLAG, write: FLAG, child: FLAG } });
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
};
const { values, positionals } = parsed();
const { quick, json, write, child } = values;
for (const name of positionals) if (!NAMES.includes(name)) usage(`there is no measurement ${name}`);
const isServerSet = positionals.length === 1 && positionals[0] === KURRENTDB;
if (write && (quick || !(isServerSet || positionals.length === 0))) usage('--write needs a whole run');
const wanted = isServerSet ? Object.keys(WITH_SERVER) : positionals.length === 0 ? Object.keys(ALONE) : positionals;

/** Runs one measurement in a process of its own. */
const run = async (name: string): Promise<Result> => {
  const script = fileURLToPath(import.meta.url);
  const words = ['--expose-gc', '--no-warnings', script, '--child', name, ...(quick ? ['--quick'] : [])];
  const { stdout } = await promisify(execFile)(process.execPath, words, { maxBuffer: MOST_OUTPUT_BYTES });
  return JSON.parse(stdout) as Result;
};

const measureAll = async (): Promise<void> => {
  const loads = loadavg().slice(0, 1);
  const measurements: Record<string, Result> = {};
  for (const name of wanted) {
    const result = await run(name);
    measurements[name] = result;
    loads.push(loadavg()[0] ?? 0);
    if (!json) process.stdout.write(`${report(name, result)}\n`);
  }
  const date = new Date().toISOString().slice(0, 10);
  const document: Document = { schemaVersion: 1, date, quick, machine: machine(loads), measurements };
  if (quick && !json) process.stdout.write('A quick run: too short to judge the goals by.\n');
  if (json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  if (write) writeFileSync(pageOf(isServerSet ? 'bench-kurrentdb' : 'bench'), page(document, isServerSet ? KURRENTDB : ''));
};

if (child) process.stdout.write(JSON.stringify(await MEASUREMENTS[positionals[0] ?? '']?.({ quick })));
else await measureAll();
