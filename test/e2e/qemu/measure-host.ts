// `npm run test:qemu -- --measure-host`: what a migration costs with `netkvm host` and without it, in one run and in turn: QEMU
// alone, the kernel documentation's script (net_failover.rst), and an order to our agents. The switch takes the pair's MAC from
// the port alone that has it. One guest goes there and back, under a UDP stream both ways. Figures are for reading.
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import type { RecordedEvent } from '../../../src/events/envelope.ts';
import { machine } from '../../bench/page.ts';
import { Agent, Command } from './agent.ts';
import { Guest } from './guest.ts';
import { Lab, MAC, type Setup } from './lab.ts';
import { holesIn, lostIn, now_ns, type Window } from './measure.ts';
import { GUEST, HOST, type Side, tap } from './network.ts';
import { bringUp } from './systems.ts';
import { pause, type Vm } from './vm.ts';

const WAYS = ['QEMU alone', 'documented script', 'netkvm host'] as const;
type Way = (typeof WAYS)[number];
/** What of the migration's time was spent waiting for the agent, by its own log. */
const STEPS = ['order to word', 'answer to unplug', 'unplugged to migrate'] as const;
type Waited = Readonly<Record<(typeof STEPS)[number], number>>;

interface Run {
  readonly way: Way;
  /** From the order, or the request to unplug, until the guest runs on the target. */
  readonly took_ms: number;
  /** Of it: QEMU’s own part, from `migrate` on. */
  readonly sent_ms: number;
  readonly downtime_ms: number;
  readonly lost: { readonly in: number; readonly out: number };
  readonly waited: Waited | null;
}
const RATE = 1000;
const PORT = '7007';
const GUEST_FILE = '/run/meter.jsonl';
/** No turn is begun after it. */
const LIMIT_MS = 330_000;
const SETTLE_MS = 1500;
const RETURN_MS = 2500;
const FAST = { 'max-bandwidth': 2 ** 40 };
const other = (side: Side): Side => (side === 'a' ? 'b' : 'a');

const ms = (ns: bigint): number => Number(ns) / 1e6;
const at = (event: RecordedEvent | undefined): number => ms(BigInt(event?.mono_ns ?? 0));

const outcomeIn = (events: readonly RecordedEvent[], kind: string): RecordedEvent | undefined => {
  const decision = events.find((one) => one.type === 'decision.made' && one.data.kind === kind);
  const id = decision?.type === 'decision.made' ? decision.data.id : '';
  return events.find((one) => one.type === 'outcome.seen' && one.data.decision === id);
};

/** From the source's log: what the migration waited for. */
const waitedIn = (events: readonly RecordedEvent[]): Waited => {
  const ordered = events.find((one) => one.type === 'operator.commanded');
  const told = outcomeIn(events, 'tellGuest');
  // It answers, or is seen to have moved.
  const prepared = events.find(
    (one) =>
      one.seq > (told?.seq ?? Infinity) &&
      (one.type === 'channel.heard' || (one.type === 'channel.facts' && one.data.guest?.datapath === 'standby')),
  );
  const gone = events.find((one) => one.type === 'monitor.event' && one.data.name === 'DEVICE_DELETED');
  return {
    'order to word': at(told) - at(ordered),
    'answer to unplug': at(outcomeIn(events, 'unplugPrimary')) - at(prepared),
    'unplugged to migrate': at(outcomeIn(events, 'startMigration')) - at(gone),
  };
};

interface Moved {
  readonly from_ns: bigint;
  readonly migrate_ns: bigint;
  readonly waited: Waited | null;
}

class Bench {
  readonly lab: Lab;
  readonly guest: Guest;
  readonly #windows: (Window & Omit<Run, 'lost'>)[] = [];

  constructor(lab: Lab) {
    this.lab = lab;
    this.guest = new Guest(lab);
  }

  async begin(): Promise<void> {
    await this.lab.network.part();
    await bringUp('netkvm', this.guest);
    await this.#fdb('replace', MAC, 'primary', this.lab.side, 'sticky');
    await this.lab.plug();
    await this.#onPrimary();
    await this.guest.reaches();
  }
  async #onPrimary(): Promise<void> {
    await pause(RETURN_MS);
    await this.guest.rests('onPrimary', 'primary');
  }
  /** An entry that is gone is gone. */
  async #fdb(verb: 'replace' | 'del', mac: string, card: 'primary' | 'standby', side: Side, ...more: string[]): Promise<void> {
    const words = ['bridge', 'fdb', verb, mac, 'dev', tap(side, card), 'master', ...(verb === 'del' ? [] : ['static', ...more])];
    await this.lab.network.run(...words).catch((error: unknown) => {
      if (verb !== 'del') throw error;
    });
  }

  /** By hand: unplug, migrate, plug. `parks` moves the entries in the order that the kernel's documentation has them in. */
  async #byHand(to: Vm, parks: boolean): Promise<Moved> {
    const { lab } = this;
    const [from, there] = [lab.side, other(lab.side)];
    const from_ns = now_ns();
    if (parks) await this.#fdb('replace', MAC, 'standby', there);
    await lab.unplug();
    if (parks) {
      await this.#fdb('del', MAC, 'primary', from);
      await this.#fdb('replace', MAC, 'standby', from);
    }
    const [over, resumed] = [lab.vm.next('MIGRATION', ({ status }) => status === 'completed'), to.next('RESUME')];
    const migrate_ns = now_ns();
    await lab.vm.execute('migrate', { uri: to.migrationUri });
    await Promise.all([over, resumed]);
    await this.#fdb('del', MAC, 'primary', from);
    await this.#fdb('del', MAC, 'standby', from);
    await this.#fdb('del', MAC, 'standby', there);
    await this.#fdb('replace', MAC, 'primary', there, 'sticky');
    await to.execute('device_add', lab.card('primary'));
    return { from_ns, migrate_ns, waited: null };
  }

  async #byAgents(to: Vm): Promise<Moved> {
    const { lab } = this;
    const [source, target] = [new Agent(lab, lab.side, lab.vm), new Agent(lab, other(lab.side), to)];
    try {
      await Promise.all([source.start(), target.start()]);
      await source.is('the guest speaks', ({ guest }) => guest?.datapath === 'primary');
      await pause(SETTLE_MS);
      const sides = ['--source', source.socket, '--target', target.socket, '--pair', MAC, '--uri', to.migrationUri];
      const { status, output } = await new Command(lab, 'host', 'migrate', ...sides).ended;
      if (status !== 0) throw new Error(`netkvm host migrate: ${output}`);
      await source.is('its entries are gone', ({ stage, pending }) => stage === 'departed' && pending === null);
      const { events } = source.log();
      const ordered = events.find((one) => one.type === 'operator.commanded');
      const migrate = outcomeIn(events, 'startMigration');
      return { from_ns: BigInt(ordered?.wall_ns ?? 0), migrate_ns: BigInt(migrate?.wall_ns ?? 0), waited: waitedIn(events) };
    } finally {
      // What they leave behind is what the next way begins with: the parked port of the source is given back.
      await Promise.all([source.kill('SIGTERM'), target.kill('SIGTERM')]);
    }
  }

  async run(way: Way): Promise<void> {
    const { lab } = this;
    const to = await lab.destination();
    await lab.vm.execute('migrate-set-parameters', FAST);
    const from = lab.vm;
    const begins_ns = now_ns();
    const resumed = to.next('RESUME');
    const { from_ns, migrate_ns, waited } =
      way === 'netkvm host' ? await this.#byAgents(to) : await this.#byHand(to, way !== 'QEMU alone');
    const { at_ns: resumed_ns } = await resumed;
    const stopped_ns = from.events.findLast(({ name }) => name === 'STOP')?.at_ns;
    if (resumed_ns === null || stopped_ns == null) throw new Error('QEMU does not say when the guest stood');
    await lab.arrived(to);
    await this.#onPrimary();
    await pause(SETTLE_MS);
    const [took_ms, sent_ms, downtime_ms] = [from_ns, migrate_ns, stopped_ns].map((since_ns) => ms(resumed_ns - since_ns)) as [
      number,
      number,
      number,
    ];
    this.#windows.push({
      operation: 'migration',
      from_ns: begins_ns,
      to_ns: now_ns(),
      way,
      took_ms,
      sent_ms,
      downtime_ms,
      waited,
    });
  }

  /** All of them in turn, `runs` times, under the stream. */
  async measure(runs: number, say: (line: string) => void): Promise<Run[]> {
    const { lab, guest } = this;
    const file = join(lab.folder, 'meter.jsonl');
    const period_us = String(1e6 / RATE);
    const ends_ms = performance.now() + LIMIT_MS;
    await guest.sh(`(meter udp ${GUEST.v4} ${HOST.v4} ${PORT} ${period_us} ${GUEST_FILE} >/run/meter.err 2>&1 </dev/null &)`);
    const meter = lab.network.start(lab.meter, 'udp', HOST.v4, GUEST.v4, PORT, period_us, file);
    try {
      await pause(2 * SETTLE_MS);
      for (let turn = 0; turn < runs && performance.now() < ends_ms; turn += 1) {
        for (const way of WAYS) {
          await this.run(way);
          say(`${way}: ${Math.round(this.#windows.at(-1)?.took_ms ?? 0)} ms`);
        }
      }
    } catch (error) {
      say(`ended early: ${error instanceof Error ? error.message : String(error)}`);
    }
    try {
      const [inside, outside] = [holesIn(await guest.sh(`cat ${GUEST_FILE}`)), holesIn(readFileSync(file, 'utf8'))];
      return this.#windows.map((window) => ({
        ...window,
        lost: { in: lostIn(inside, 'sent_ns', window), out: lostIn(outside, 'at_ns', window) },
      }));
    } finally {
      meter.kill('SIGTERM');
    }
  }
}

const spread = (values: readonly number[]): readonly [min: number, median: number, max: number] => {
  const sorted = values.toSorted((a, b) => a - b).map(Math.round);
  return [sorted[0] ?? 0, sorted[sorted.length >> 1] ?? 0, sorted.at(-1) ?? 0];
};
const text = (values: readonly number[]): string => (values.length === 0 ? '' : spread(values).join(' / '));
const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** The page of these runs. */
const pageOf = (runs: readonly Run[], load: readonly [number, number], accelerator: string): string => {
  const of = (way: Way, value: (run: Run) => number): number[] => runs.filter((run) => run.way === way).map(value);
  const beyond =
    (direction: 'in' | 'out') =>
    ({ lost, downtime_ms }: Run): number =>
      Math.max(0, lost[direction] - (downtime_ms / 1000) * RATE);
  const row = (what: string, value: (run: Run) => number, goal: string): string =>
    line([what, ...WAYS.map((way) => text(of(way, value))), goal]);
  const added = spread(of('netkvm host', ({ took_ms }) => took_ms))[1] - spread(of('QEMU alone', ({ took_ms }) => took_ms))[1];
  const waited = runs.flatMap((run) => run.waited ?? []);
  const sums = waited.map((one) => STEPS.reduce((sum, step) => sum + one[step], 0));
  const { cpu, cores, kernel, node } = machine(load);
  const when = new Date().toISOString().slice(0, 16).replace('T', ', ');
  return `${[
    '# A migration with its hosts',
    '<!-- Written by `npm run test:qemu -- --measure-host`. -->',
    `${when} UTC, QEMU with ${accelerator.split(',')[0] ?? ''}, two of them on one machine; host: Linux ${kernel}, ${cpu}, ${cores} cores, load ${load[0].toFixed(1)} at the beginning, at most ${load[1].toFixed(1)}; Node ${node}.`,
    `One guest with a bond that the service steers goes there and back, ${of('QEMU alone', () => 0).length} times each way in turn. Its primary is a vmxnet3, which the host unplugs before the migration and plugs after it. The switch takes the pair’s MAC to the port alone that has it. “QEMU alone”: the VF has its MAC until the guest has left, and on the target when it is plugged. “Documented script”: the order of the kernel’s net_failover.rst, by hand. “netkvm host”: \`netkvm host migrate\`. A UDP stream of ${RATE} packets a second runs each way; lost packets are those of the whole migration, until the primary is in use again, without those of the guest’s own downtime. Each figure is minimum / median / maximum.`,
    [
      line(['', ...WAYS, 'goal']),
      line(['---', '---', '---', '---', '---']),
      row('packets lost, in', beyond('in'), '0'),
      row('packets lost, out', beyond('out'), '0'),
      row('from the request until the guest runs there, ms', ({ took_ms }) => took_ms, ''),
      row('of it before `migrate`, ms', ({ took_ms, sent_ms }) => took_ms - sent_ms, ''),
      row('of it from `migrate` on, ms', ({ sent_ms }) => sent_ms, ''),
      row('the guest’s own downtime, ms', ({ downtime_ms }) => downtime_ms, ''),
    ].join('\n'),
    `Added to the median of QEMU alone: ${added} ms (goal: at most 50). What is before \`migrate\` includes the guest’s move to its standby, which nobody waits for without the agent, and the guest letting its primary go. What of it was spent in the agent, by its own log:`,
    [
      line(['waited for the agent, ms', 'min / median / max']),
      line(['---', '---']),
      ...STEPS.map((step) => line([step, text(waited.map((one) => one[step]))])),
      line(['all of them', text(sums)]),
    ].join('\n'),
  ].join('\n\n')}\n`;
};

export const measureHost = async (setup: Setup, runs: number, say: (line: string) => void): Promise<string> => {
  const first = loadavg()[0] ?? 0;
  const lab = await Lab.boot(setup, { failover: false, model: 'vmxnet3', withPrimary: false });
  try {
    const bench = new Bench(lab);
    await bench.begin();
    const measured = await bench.measure(runs, say);
    return pageOf(measured, [first, Math.max(first, loadavg()[0] ?? 0)], setup.accelerator);
  } finally {
    await lab.end();
  }
};
