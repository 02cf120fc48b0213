// `node test/e2e/qemu/record.ts FOLDER [CASE…]`: makes recordings of real migrations as replay/recordings/hosts/ holds them: what
// our service recorded in the guest, what was said over each QEMU's monitor, and which packets were lost. For looking back
// at cases that cannot be made up; root, Linux x64.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LOSSES_FORMAT, LOSSES_VERSION } from '../../../src/events/recording.ts';
import { inProcess } from '../../unit/service.given.ts';
import { CONFIGURATION, Guest } from './guest.ts';
import { Lab, type LabOptions } from './lab.ts';
import { GUEST, HOST } from './network.ts';
import { prepare } from './setup.ts';
import { pause } from './vm.ts';

const SETTLE_MS = 1500;
const METER = { port: '7007', period_us: 1000, file: '/run/meter.jsonl' } as const;

interface Case {
  readonly options?: Partial<LabOptions>;
  /** Whether packets are sent both ways all the time. */
  readonly metered?: true;
  readonly act: (lab: Lab) => Promise<unknown>;
}

const CASES: Readonly<Record<string, Case>> = {
  'migration-with-losses': { metered: true, act: (lab) => lab.migrate() },
  'cancelled-in-wait-unplug': {
    options: { native: true },
    act: async (lab) => {
      const to = await lab.destination();
      await lab.beginMigration(to, 'wait-unplug');
      await lab.cancelMigration(to);
    },
  },
  'destination-dies': {
    act: async (lab) => {
      const to = await lab.destination();
      await lab.beginMigration(to, 'active');
      await pause(SETTLE_MS);
      await lab.failMigration(to);
    },
  },
};

/** A file of a meter, as adapters/losses.ts reads it. */
const lossFile = (direction: 'in' | 'out', lines: string): string =>
  `${JSON.stringify({ format: LOSSES_FORMAT, version: LOSSES_VERSION, direction, period_us: METER.period_us })}\n${lines}`;

/** Packets both ways while `act` runs; what was lost on the way into the guest, and out of it. */
const metered = async (lab: Lab, guest: Guest, act: () => Promise<unknown>): Promise<Record<'in' | 'out', string>> => {
  const { port, period_us, file } = METER;
  const outside = join(lab.folder, 'meter.jsonl');
  await guest.sh(`(meter udp ${GUEST.v4} ${HOST.v4} ${port} ${period_us} ${file} >/run/meter.err 2>&1 </dev/null &)`);
  const meter = lab.network.start(lab.meter, 'udp', HOST.v4, GUEST.v4, port, String(period_us), outside);
  await pause(2 * SETTLE_MS);
  await act();
  await pause(SETTLE_MS);
  const ended = new Promise((resolve) => meter.once('close', resolve));
  meter.kill('SIGTERM');
  await ended;
  const inside = await guest.sh(`killall meter; sleep 1; cat ${file}`);
  return { in: lossFile('in', inside), out: lossFile('out', readFileSync(outside, 'utf8')) };
};

const record = async (
  name: string,
  { options, metered: isMetered, act }: Case,
  target: string,
  folder: string,
): Promise<void> => {
  const lab = await Lab.boot(await prepare(folder), { failover: true, withPrimary: true, model: 'e1000e', ...options });
  try {
    const guest = new Guest(lab);
    await guest.address();
    await guest.serve(CONFIGURATION.kernel);
    await guest.rests('onPrimary', 'primary');
    await guest.reaches();
    const whole = async (): Promise<void> => {
      await act(lab);
      await pause(SETTLE_MS);
      await guest.rests('onPrimary', 'primary');
    };
    const losses = isMetered === true ? await metered(lab, guest, whole) : (await whole(), null);
    await guest.stop();
    const log = await guest.pull();
    mkdirSync(join(target, name), { recursive: true });
    const keep = (file: string, text: string): void => writeFileSync(join(target, name, `${file}.jsonl`), text);
    const exported = await inProcess('log', 'export', '--state-dir', log, '-o', join(target, name, 'guest.jsonl'));
    if (exported.status !== 0) throw new Error(exported.stderr);
    for (const vm of lab.vms) keep(`qmp-${vm.name}`, `${vm.said.join('\n')}\n`);
    for (const direction of ['in', 'out'] as const) if (losses !== null) keep(`lost-${direction}`, losses[direction]);
  } finally {
    await lab.end();
  }
};

const [target, ...wanted] = process.argv.slice(2);
if (target === undefined || wanted.some((name) => !(name in CASES))) {
  process.stderr.write(`node test/e2e/qemu/record.ts FOLDER [${Object.keys(CASES).join('|')}]…\n`);
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), 'netkvm-record-'));
try {
  for (const [name, one] of Object.entries(CASES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    await record(name, one, target, folder);
    process.stdout.write(`${name}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
