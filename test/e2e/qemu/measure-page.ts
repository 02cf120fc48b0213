// The measurements as a page for docs/: packets lost, and reaction times; nothing here measures.
import { machine } from '../../bench/page.ts';
import { type Made, madeWhen } from './kept.ts';
import type { PrimaryModel } from './lab.ts';
import { type Measured, type Operation, OPERATIONS, type Sample } from './measure.ts';
import { type System, SYSTEMS } from './systems.ts';
import { REACTIONS, type Timing } from './timing.ts';

/** Most packets that may be lost at 1,000/s, into the guest and out of it; in a migration on top of the guest’s downtime. */
const goalOf = (operation: Operation, model: PrimaryModel): readonly [number, number] | null => {
  switch (operation) {
    case 'nothing':
    case 'plug':
    case 'unplug, prepared':
    case 'unplug, native hotplug':
      return [0, 0];
    case 'unplug':
      // An e1000e has a PTP clock, whose removal announces its own.
      return model === 'e1000e' ? [2, 2] : [15, 15];
    case 'link down for 3 s':
      return [10, 10];
    case 'migration':
      return [3, 3];
    case 'takeover':
      return [6, 2];
  }
};

interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}
const spread = (values: readonly number[]): Spread | null => {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, median, max] = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)];
  return min === undefined || median === undefined || max === undefined ? null : { min, median, max };
};
const text = (of: Spread | null): string => (of === null ? '' : `${of.min} / ${of.median} / ${of.max}`);
const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => '---'), ...rows].map(line).join('\n');

type Direction = 'in' | 'out';
/** Lost packets; in a migration without those that the guest’s own downtime costs. */
const lost = ({ lost: packets, downtime }: Sample, direction: Direction): number =>
  Math.max(0, packets[direction] - (downtime ?? 0));

const verdict = (of: Spread | null, goal: number): string =>
  of === null ? 'not measured' : of.max <= goal ? 'met' : of.median <= goal ? 'met in the median' : '**not met**';

/** One row an operation and direction: each system, then the goal for ours. */
const rowsOf = (samples: readonly Sample[], model: PrimaryModel, rate: number): string[][] =>
  OPERATIONS.flatMap((operation) =>
    (['in', 'out'] as const).flatMap((direction, at) => {
      const of = (system: System): Spread | null =>
        spread(samples.filter((one) => one.system === system && one.operation === operation).map((one) => lost(one, direction)));
      const found = SYSTEMS.map(of);
      if (found.every((one) => one === null)) return [];
      const goal = ((goalOf(operation, model)?.[at] ?? 0) * rate) / 1000;
      return [[`${operation}, ${direction}`, ...found.map(text), `≤ ${goal}`, verdict(of('netkvm'), goal)]];
    }),
  );

const sections = (samples: readonly Sample[]): string[] => {
  const kinds = new Map(samples.map(({ model, rate }) => [`${model}, ${rate.toLocaleString('en')}/s`, { model, rate }]));
  return [...kinds].map(([title, { model, rate }]) => {
    const mine = samples.filter((one) => one.model === model && one.rate === rate);
    return `## ${title}\n\n${table(['packets lost', ...SYSTEMS, 'goal', ''], rowsOf(mine, model, rate))}`;
  });
};

const reactions = (timings: readonly Timing[]): string => {
  const kinds = new Map(timings.map(({ model, pairs }) => [`${model}, ${pairs}`, { model, pairs }]));
  const rows = [...kinds.values()].flatMap(({ model, pairs }) =>
    REACTIONS.map((reaction) => {
      const of = (system: System): string => {
        const mine = timings.filter((one) => one.system === system && one.pairs === pairs && one.model === model);
        return text(spread(mine.filter((one) => one.reaction === reaction).map(({ us }) => Math.round(us / 100) / 10)));
      };
      return [`${reaction}, ${model}`, String(pairs), of('scripted bond'), of('netkvm')];
    }),
  );
  return table(['from the kernel’s message to the effect, ms', 'pairs', 'scripted bond', 'netkvm'], rows);
};

/** What is known of one guest. */
export interface Guests extends Made, Measured {
  readonly timings: readonly Timing[];
}

/** What the figures alone do not say; true of the runs that this page shows. */
const REASONS = [
  '## Where a goal is not met',
  '- **Link down**: nothing announces it. The bond’s own monitor, which looks at every jiffy (4 ms), leaves the primary; the script’s looks every 20 ms. An e1000e is told of the loss by its driver only a timer tick and some work later: the 5 to 9 ms that are lost outwards, too. The rest is the monitor’s tick and the announcement.\n- **The largest figure of a row** is mostly the first of its kind in the life of the process, whose code is compiled then: an unplug of vmxnet3 cost 33, 11 and 15 packets in this order.\n- **A sign is a race** that is won with real-time priority only, which the service takes while a primary with a PTP clock carries. On a disk the durable append is part of that race; here the log is in memory.\n- **Migration**: after RESUME the switch learns from the first frame that the guest sends where it is now.',
];

/** What could not be measured, and why. */
const missingIn = (names: readonly string[], found: Readonly<Record<string, Guests>>): string[] =>
  names.flatMap((name) => {
    const guest = found[name];
    if (guest === undefined) return [`${name}: not run`];
    const [why = ''] = guest.failure?.split('\n') ?? [];
    return guest.failure === null ? [] : [`${name}, from here on: ${why}`];
  });

/** `names` are those of all guests, in the order in which they are shown. */
export const measuredPage = (names: readonly string[], found: Readonly<Record<string, Guests>>, accelerator: string): string => {
  const guests = names.flatMap((name) => found[name] ?? []);
  const { cpu, cores, kernel, node, load } = machine(guests.map((guest) => guest.load));
  const missing = missingIn(names, found);
  return (
    [
      '# Packets lost in a failover',
      '<!-- Written by `npm run test:qemu -- --measure`. -->',
      `${madeWhen(guests)}, QEMU with ${accelerator.split(',')[0] ?? ''}, one virtual CPU; host: Linux ${kernel}, ${cpu}, ${cores} cores, load ${load[0]} at the beginning, at most ${load[1]}; Node ${node} on both sides.`,
      'The same guest, the same bridge: the kernel’s net_failover; an active-backup bond (miimon 20) with a script that enslaves new primaries, as a udev rule would; and a bond that this service steers, with `realtimePriority = 20` and its log in the guest’s memory. A UDP stream runs both ways all the time. Each figure is minimum / median / maximum of packets lost, from the beginning of the operation until traffic has been on its final path for a while; “in” is towards the guest. In a migration the packets of the guest’s own downtime, from STOP to RESUME, are taken off. Goals are given for 1,000 packets a second; at 10,000 the same silence loses ten times as many.',
      ...sections(guests.flatMap(({ samples }) => samples)),
      ...REASONS,
      '## Reaction times',
      'Heard inside the guest by a process that the kernel tells first. The script sees no carrier: there the bond’s own polling reacts. With more pairs, the others are at rest.',
      reactions(guests.flatMap(({ timings }) => timings)),
      ...(missing.length === 0 ? [] : [`Not measured:\n\n${missing.map((one) => `- ${one}`).join('\n')}`]),
    ].join('\n\n') + '\n'
  );
};
