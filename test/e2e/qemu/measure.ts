// `npm run test:qemu -- --measure`: how many packets are lost, and for how long, when a primary goes and comes, in one run
// for the kernel's net_failover, for a bond with a script for new primaries, and for a bond that our service steers. A UDP stream runs
// both ways all the time; a packet counts as lost where its successors arrive and it does not. Figures are for reading:
// nothing here fails because of one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Guest } from './guest.ts';
import { Lab, type LabOptions, type PrimaryModel, type Setup } from './lab.ts';
import { GUEST, HOST } from './network.ts';
import { bringUp, STEERED, type System } from './systems.ts';
import { pause } from './vm.ts';

export const OPERATIONS = [
  'nothing',
  'unplug',
  'unplug, prepared',
  'unplug, native hotplug',
  'plug',
  'link down for 3 s',
  'migration',
  'takeover',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/** One operation, once: packets lost on the way into the guest and out of it. */
export interface Sample {
  readonly system: System;
  readonly model: PrimaryModel;
  readonly rate: number;
  readonly operation: Operation;
  readonly lost: { readonly in: number; readonly out: number };
  /** Packets of each direction that fell into the guest's own downtime in a migration. */
  readonly downtime: number | null;
}
export interface Measured {
  readonly samples: readonly Sample[];
  /** Why it ended early. */
  readonly failure: string | null;
}
const PORT = '7007';
const GUEST_FILE = '/run/meter.jsonl';
const SETTLE_MS = 1500;
const LINK_DOWN_MS = 3000;
/** QEMU announces the guest until then; a primary that is plugged earlier is announced, too. */
const ANNOUNCED_MS = 1500;
/** From the plug, or the link's return, to a primary that has carried for a while. */
const RETURN_MS: Readonly<Record<PrimaryModel, number>> = { vmxnet3: 2500, e1000e: 5000 };

export const now_ns = (): bigint => BigInt(Date.now()) * 1_000_000n;

interface Hole {
  readonly lost: number;
  readonly at_ns: string;
  readonly sent_ns: string;
}
export interface Window {
  readonly operation: Operation;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  readonly downtime_ms: number | null;
}

export const holesIn = (text: string): Hole[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{"lost"'))
    .map((line) => JSON.parse(line) as Hole);
/** `clock` names the field that holds the host's clock: only one clock can say what happened in a window. */
export const lostIn = (holes: readonly Hole[], clock: 'at_ns' | 'sent_ns', { from_ns, to_ns }: Window): number =>
  holes.filter((hole) => BigInt(hole[clock]) >= from_ns && BigInt(hole[clock]) <= to_ns).reduce((sum, { lost }) => sum + lost, 0);

/** One guest with one system in it, under one load. */
class Bench {
  readonly lab: Lab;
  readonly guest: Guest;
  readonly #system: System;
  readonly #model: PrimaryModel;
  readonly #windows: Window[] = [];

  private constructor(lab: Lab, system: System, model: PrimaryModel) {
    this.lab = lab;
    this.guest = new Guest(lab);
    this.#system = system;
    this.#model = model;
  }

  static async begin(setup: Setup, system: System, options: Omit<LabOptions, 'failover' | 'withPrimary'>): Promise<Bench> {
    const failover = system === 'net_failover';
    const lab = await Lab.boot(setup, { ...options, failover, withPrimary: failover });
    const bench = new Bench(lab, system, options.model);
    try {
      await bench.#begin();
      return bench;
    } catch (error) {
      await lab.end();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { guest, lab } = this;
    await bringUp(this.#system, guest);
    if (!lab.failover) await lab.plug();
    await this.#onPrimary();
    await guest.reaches();
  }

  async #onPrimary(): Promise<void> {
    await pause(RETURN_MS[this.#model]);
    if (this.#system === 'netkvm') await this.guest.rests('onPrimary', 'primary');
  }

  /** Does it, and remembers from when to when. */
  async #during(operation: Operation, work: () => Promise<number | null | void>): Promise<void> {
    const from_ns = now_ns();
    const downtime_ms = (await work()) ?? null;
    this.#windows.push({ operation, from_ns, to_ns: now_ns(), downtime_ms });
  }

  async #unplugAndPlug(operation: Operation, before: () => Promise<unknown> = () => Promise.resolve()): Promise<void> {
    await this.#during(operation, async () => {
      await before();
      await this.lab.unplug();
      await pause(SETTLE_MS);
    });
    await this.#during('plug', async () => {
      await this.lab.plug();
      await this.#onPrimary();
    });
  }

  async #migrate(): Promise<void> {
    const { lab } = this;
    await this.#during('migration', async () => {
      if (!lab.failover) {
        if (this.#system === 'netkvm') await this.guest.netkvm('prepare');
        await lab.unplug();
      }
      const { downtime_ms } = await lab.migrate();
      if (!lab.failover) {
        await pause(ANNOUNCED_MS);
        await lab.plug();
      }
      await this.#onPrimary();
      await pause(SETTLE_MS);
      return downtime_ms;
    });
  }

  async #linkDown(): Promise<void> {
    await this.#during('link down for 3 s', async () => {
      await this.lab.link(false);
      await pause(LINK_DOWN_MS);
      await this.lab.link(true);
      await this.#onPrimary();
    });
  }

  /** The service ends and gives everything back; a new one takes the running standby over when it is told to. */
  async #takeOver(): Promise<void> {
    await this.lab.unplug();
    await this.guest.stop();
    await this.guest.netkvm('restore');
    await this.guest.serve(STEERED);
    await pause(SETTLE_MS);
    await this.#during('takeover', async () => {
      await this.guest.reload();
      await this.guest.takenOver();
      await pause(SETTLE_MS);
    });
    await this.lab.plug();
    await this.#onPrimary();
  }

  async #round(native: boolean): Promise<void> {
    if (native) return this.#unplugAndPlug('unplug, native hotplug');
    await this.#during('nothing', () => pause(SETTLE_MS));
    await this.#unplugAndPlug('unplug');
    await this.#linkDown();
    await this.#migrate();
    if (this.#system !== 'netkvm') return;
    await this.#unplugAndPlug('unplug, prepared', () => this.guest.netkvm('prepare'));
    await this.#takeOver();
  }

  /** Why it did not come to its end; null if it did. */
  async #rounds(runs: number, native: boolean): Promise<string | null> {
    try {
      for (let run = 0; run < runs; run += 1) await this.#round(native);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** All rounds under a stream of `rate` packets a second each way; what came before a round that failed counts. */
  async measure(rate: number, runs: number, native: boolean): Promise<Measured> {
    const { lab, guest } = this;
    const file = join(lab.folder, 'meter.jsonl');
    const period_us = String(Math.round(1e6 / rate));
    await guest.sh(`(meter udp ${GUEST.v4} ${HOST.v4} ${PORT} ${period_us} ${GUEST_FILE} >/run/meter.err 2>&1 </dev/null &)`);
    const meter = lab.network.start(lab.meter, 'udp', HOST.v4, GUEST.v4, PORT, period_us, file);
    try {
      await pause(2 * SETTLE_MS);
      const failure = await this.#rounds(runs, native);
      const inside = holesIn(await guest.sh(`cat ${GUEST_FILE}`));
      const outside = holesIn(readFileSync(file, 'utf8'));
      const samples = this.#windows.map((window) => ({
        system: this.#system,
        model: this.#model,
        rate,
        operation: window.operation,
        lost: { in: lostIn(inside, 'sent_ns', window), out: lostIn(outside, 'at_ns', window) },
        downtime: window.downtime_ms === null ? null : Math.round((window.downtime_ms / 1000) * rate),
      }));
      return { samples, failure };
    } finally {
      meter.kill('SIGTERM');
    }
  }
}

/** What is measured in one guest. */
export interface Task extends Pick<Sample, 'system' | 'model' | 'rate'> {
  readonly native: boolean;
  readonly runs: number;
}

export const measure = async (setup: Setup, { system, model, rate, native, runs }: Task): Promise<Measured> => {
  const bench = await Bench.begin(setup, system, { model, native });
  try {
    return await bench.measure(rate, runs, native);
  } finally {
    await bench.lab.end();
  }
};
