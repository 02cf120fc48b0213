// How long it takes from the kernel's message to the effect: a primary appears until it is in the bond, and a primary loses
// its carrier until the bond transmits elsewhere. Measured inside the guest by a process that hears the kernel before
// everybody else; with one pair and with many. The other pairs are veths in bonds of their own, and at rest.
import { Guest } from './guest.ts';
import { Lab, type PrimaryModel, type Setup } from './lab.ts';
import { bringUp, type System } from './systems.ts';
import { pause } from './vm.ts';

export const REACTIONS = ['a primary appears', 'its carrier is lost'] as const;
export type Reaction = (typeof REACTIONS)[number];
export interface Timing {
  readonly system: System;
  readonly model: PrimaryModel;
  readonly pairs: number;
  readonly reaction: Reaction;
  readonly us: number;
}

const FILE = '/run/links.jsonl';
const PAUSE_MS = 2500;
const MORE_MS_PER_PAIR = 30;

interface Said {
  readonly at_ns: string;
  readonly uevent?: string;
  readonly link?: string;
  readonly ifindex?: number;
  readonly gone?: boolean;
  readonly carrier?: number;
  readonly master?: number;
  readonly active?: number;
}

/** Pairs beside the one that is measured: `ip` commands that make them, and their part of the configuration. */
const others = (count: number): { readonly batch: string; readonly configuration: string } => {
  const numbers = Array.from({ length: count }, (_, at) => at + 1);
  const mac = (at: number): string =>
    `52:54:01:00:${(at >> 8).toString(16).padStart(2, '0')}:${(at & 255).toString(16).padStart(2, '0')}`;
  const lines = numbers.flatMap((at) => [
    `link add b${at} type bond mode active-backup miimon 100`,
    `link set b${at} address ${mac(at)} up`,
    ...['s', 'p'].flatMap((role) => [
      `link add ${role}${at} address ${mac(at)} type veth peer name ${role}${at}far`,
      `link set ${role}${at}far up`,
      `link set ${role}${at} master b${at}`,
    ]),
  ]);
  const tables = numbers.map((at) => `[[pairs]]\nmac = "${mac(at)}"\nstandbyName = "s${at}"\nprimaryName = "p${at}"\n`);
  return { batch: lines.join('\n'), configuration: tables.join('\n') };
};

const parsed = (text: string): Said[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Said);

/** Microseconds from the first message that fits to the first one after it that shows the effect; null for none. */
const between = (said: readonly Said[], begins: (one: Said) => boolean, done: (one: Said) => boolean): number | null => {
  const from = said.findIndex(begins);
  const to = said.findIndex((one, at) => from >= 0 && at >= from && done(one));
  return to < 0 ? null : Number((BigInt(said[to]?.at_ns ?? 0) - BigInt(said[from]?.at_ns ?? 0)) / 1000n);
};

/** The kernel's reports of one plug, or of one cut of the link. */
const reactionIn = (said: readonly Said[], reaction: Reaction): number | null => {
  const ofPair = ({ link = '' }: Said): boolean => /^(eth[1-9]|enp)/.test(link);
  if (reaction === 'a primary appears')
    return between(
      said,
      (one) => ofPair(one) && one.gone === false,
      (one) => ofPair(one) && (one.master ?? 0) > 0,
    );
  const primary = said.find((one) => ofPair(one) && (one.master ?? 0) > 0);
  const lost = (one: Said): boolean => one.ifindex === primary?.ifindex && one.carrier === 0;
  const moved = (one: Said): boolean =>
    one.ifindex === primary?.master && (one.active ?? 0) > 0 && one.active !== primary?.ifindex;
  return between(said, lost, moved);
};

export interface TimingTask extends Pick<Timing, 'system' | 'model' | 'pairs'> {
  readonly runs: number;
}

export const timing = async (setup: Setup, { system, model, pairs, runs }: TimingTask): Promise<Timing[]> => {
  const lab = await Lab.boot(setup, { failover: false, model, withPrimary: false });
  try {
    const guest = new Guest(lab);
    const { batch, configuration } = others(pairs - 1);
    await guest.sh(`cat >/run/batch <<'END'\n${batch}\nEND\nmodprobe veth && /sbin/ip -batch /run/batch`);
    await bringUp(system, guest, configuration);
    await pause(PAUSE_MS + pairs * MORE_MS_PER_PAIR);
    const found: Timing[] = [];
    const heard = async (reaction: Reaction, work: () => Promise<void>): Promise<void> => {
      await guest.sh(`(meter links ${FILE} >/dev/null 2>&1 </dev/null &)`);
      await work();
      await pause(PAUSE_MS);
      const us = reactionIn(parsed(await guest.sh(`kill $(pidof meter); cat ${FILE}`)), reaction);
      if (us !== null) found.push({ system, model, pairs, reaction, us });
    };
    for (let run = 0; run < runs; run += 1) {
      await heard('a primary appears', () => lab.plug());
      // An e1000e needs its time to get carrier, and the bond to take it.
      await pause(PAUSE_MS);
      await heard('its carrier is lost', () => lab.link(false));
      await lab.link(true);
      await pause(PAUSE_MS);
      await lab.unplug();
      await pause(PAUSE_MS);
    }
    return found;
  } finally {
    await lab.end();
  }
};
