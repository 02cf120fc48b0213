// From a fact to the decision that is carried out: fold, durable append to the embedded log, and on. Measured in the
// service's own recorder, without a copy of the log and with the real thread that makes one, while the server (the stand-in)
// is well, is away, is slow, refuses, or never answers. The way must be the same.
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connectionOf } from '../../src/adapters/kurrentdb/connection.ts';
import { Forwarding } from '../../src/adapters/kurrentdb/forwarding.ts';
import { openLog } from '../../src/adapters/log/sqlite.ts';
import type { Adapter, Decision, Happening } from '../../src/events/catalogue.ts';
import type { Clocks } from '../../src/events/envelope.ts';
import { openLogger } from '../../src/host/lines.ts';
import { Recorder } from '../../src/host/recorder.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import { Story } from '../../src/machines/story.ts';
import { startStandIn, type StandIn } from '../kurrentdb/stand-in.ts';
import { IDENTITY, inFolder } from './files.ts';
import { alternate, compare, type Measurement, quantile, type Row } from './measure.ts';
import { nobody } from './world.ts';

const MAC = '52:54:00:11:22:33';
const [BOND, STANDBY, PRIMARY] = [1, 2, 3];
const PAUSE_MS = 3;

const clocks = (): Clocks => {
  const ns = String(process.hrtime.bigint());
  return { mono_ns: ns, boot_ns: ns, wall_ns: String(BigInt(Date.now()) * 1_000_000n) };
};

const adapter = (ifindex: number, name: string, own: Partial<Adapter>): Happening => ({
  type: 'adapter.appeared',
  data: { ...nobody, ifindex, name, mac: MAC, ...own },
});
const bonded = (active: boolean) => ({ master: BOND, slave: { active, miiUp: true } });
const carrier = (on: boolean): Happening => ({ type: 'adapter.changed', data: { ifindex: PRIMARY, changed: { carrier: on } } });

/** A bond whose primary could carry, so that every return of its carrier asks for a decision. */
const pair: readonly Happening[] = [
  {
    type: 'configuration.applied',
    data: {
      policy: {
        ...defaultPolicy,
        effects: 'on',
        flapLimit: 1000,
        pairs: [{ mac: MAC, standbyName: 'standby', primaryName: 'primary' }],
      },
    },
  },
  adapter(BOND, 'bond', { kind: 'bond', bond: { mode: 1, activeSlave: STANDBY } }),
  adapter(STANDBY, 'standby', bonded(true)),
  adapter(PRIMARY, 'primary', { ...bonded(false), carrier: false }),
];

/** Microseconds from each return of the carrier to the decision's being handed on, in a log of its own. */
const decide = async (folder: string, count: number, server: string | null): Promise<number[]> => {
  const dir = join(folder, crypto.randomUUID());
  const { log } = openLog(dir, IDENTITY);
  const forwarding =
    server === null
      ? null
      : new Forwarding(
          { dir, connection: connectionOf(server, ''), vm: 'bench', retention: { days: 0, events: 0 } },
          { sent: (sent) => log.noteForwarded(sent), diverged: () => {}, failing: () => {} },
        );
  // By now the thread has loaded the client and met the server.
  if (forwarding !== null) await pause(1500);
  const lines = await openLogger({ level: 'silent', destination: () => {}, json: true });
  let decided: (decision: Decision) => void = () => {};
  const story = new Story({}, { entries: 1000, findings: 1000 });
  const recorder = new Recorder(
    log,
    story,
    lines,
    { now: clocks, after: () => () => {} },
    {
      folded: () => {},
      recorded: () => {},
      decided: (decision) => decided(decision),
      lost: ({ reason }) => {
        throw new Error(reason);
      },
    },
  );
  recorder.take(pair, clocks());
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    recorder.take([carrier(false)], clocks());
    await pause(PAUSE_MS);
    const handed = new Promise<Decision>((resolve) => (decided = resolve));
    const from = process.hrtime.bigint();
    recorder.take([carrier(true)], clocks());
    const { id } = await handed;
    times.push(Number(process.hrtime.bigint() - from) / 1000);
    const data = { decision: id, pair: MAC, result: 'refused', reason: null, observed: false } as const;
    recorder.take([{ type: 'outcome.seen', data }], clocks());
  }
  await recorder.close();
  await forwarding?.stop(0);
  log.close();
  return times;
};

const SERVERS: { readonly [name: string]: (standIn: StandIn) => Promise<string> } = {
  'a server that is well': async (standIn) => (await standIn.faults(), standIn.url),
  'a server that is away': async () => 'kurrentdb://127.0.0.1:1?tls=false',
  'a slow server (1 s an answer)': async (standIn) => (await standIn.faults({ delay_ms: 1000 }), standIn.url),
  'a server that refuses': async (standIn) => (await standIn.faults({ refuse: 'unavailable' }), standIn.url),
  'a server that never answers': async (standIn) => (await standIn.faults({ hang: true }), standIn.url),
};

export const undelayed: Measurement = ({ quick }) =>
  inFolder(async (folder) => {
    const standIn = await startStandIn({ projections: false });
    const count = quick ? 30 : 400;
    await decide(folder, count, null); // Warms up.
    const sides = {
      without: () => decide(folder, count, null),
      ...Object.fromEntries(
        Object.entries(SERVERS).map(([name, prepare]) => [name, async () => decide(folder, count, await prepare(standIn))]),
      ),
    };
    const { without = [], ...others } = (await alternate(quick ? 1 : 7, sides)) as { readonly [name: string]: number[][] };
    await standIn.close();
    const at = (part: number, rounds: number[][]) => rounds.map((times) => quantile(times, part));
    const rows = Object.entries(others).flatMap(([name, rounds]): Row[] =>
      [0.5, 0.99].map((part) =>
        compare({
          measurement: 'undelayed',
          what: `fact to durable decision, p${part * 100}, with a copy on ${name}`,
          unit: 'µs',
          better: 'lower',
          values: at(part, rounds),
          baseline: { what: 'without a copy', values: at(part, without) },
          ...(part === 0.5 ? { goal: { text: 'at most 1.15 × without', of: 'ratio', bound: 1.15 } as const } : {}),
        }),
      ),
    );
    return {
      rows,
      notes: [`Each round makes ${count} decisions in a log of its own, a few milliseconds apart; the disk is this machine's.`],
      skipped: null,
    };
  });
