// The figures of each time that a primary left: when it was asked to, when it was gone, how long the guest stood still, when
// the next primary came and when it carried; and how long each path carried. An episode begins with what the host did, or,
// where no host was recorded, with the first sign in the guest.
import { type Datapath, DATAPATHS } from '../../src/machines/stages.ts';
import { type Axis, onAxis } from './clock.ts';
import { DIRECTIONS, type Direction, type Ending, STEPS, type StepName } from './document.ts';
import type { Guest, Mark, MarkKind } from './guest.ts';
import { type Host, type HostEvent, isCommand, isEvent } from './host.ts';
import type { Losses } from './losses.ts';

export interface EpisodeFigures {
  readonly guest: string;
  readonly mac: string;
  readonly source: string | null;
  readonly target: string | null;
  /** How the migration ended; `none` where there was none. */
  readonly ending: Ending;
  readonly steps: Readonly<Partial<Record<StepName, { readonly at_ns: bigint; readonly by: string }>>>;
  /** From the first step to the last: how long each path carried while the guest ran, and how long it stood still. */
  readonly carried_ns: Readonly<Record<Datapath, bigint>>;
  readonly stopped_ns: bigint;
  /** Packets that were missing in that time; null where nobody measured. */
  readonly lost: Readonly<Record<Direction, number | null>>;
}

interface Span {
  readonly from_ns: bigint;
  readonly until_ns: bigint;
}
type Step = { readonly at_ns: bigint; readonly by: string };

const isOrder = (event: HostEvent): boolean =>
  isCommand(event, 'migrate') ||
  isCommand(event, 'device_del') ||
  isEvent(event, 'UNPLUG_PRIMARY') ||
  isEvent(event, 'MIGRATION', 'setup');
const ENDINGS: Readonly<Record<string, Ending>> = { completed: 'completed', cancelled: 'cancelled', failed: 'failed' };

interface Order extends Step {
  readonly host: Host;
  readonly ends_ns: bigint | null;
  readonly ending: Ending;
}

/** Migrations and removals that a host began, each with its end. What belongs to one that is under way is no other. */
const ordersOf = (host: Host): Order[] => {
  const orders: { at_ns: bigint; migrates: boolean; ends_ns: bigint | null; ending: Ending }[] = [];
  for (const event of host.events) {
    const last = orders.at(-1);
    const status = event.name === 'MIGRATION' && event.kind === 'event' ? String(event.fields['status']) : '';
    const ending = ENDINGS[status];
    if (last !== undefined && last.ending === 'unfinished') {
      if (event.kind === 'event' && event.name === 'DEVICE_DELETED' && !last.migrates)
        Object.assign(last, { ending: 'none', ends_ns: event.at_ns });
      else if (ending !== undefined && last.migrates) Object.assign(last, { ending, ends_ns: event.at_ns });
      if (isOrder(event) && isCommand(event, 'migrate') && !last.migrates) last.ending = 'none';
      else continue;
    }
    if (isOrder(event))
      orders.push({ at_ns: event.at_ns, migrates: !isCommand(event, 'device_del'), ends_ns: null, ending: 'unfinished' });
  }
  return orders.map(({ at_ns, ends_ns, ending, migrates }) => ({
    host,
    at_ns,
    by: host.name,
    ends_ns,
    ending: migrates ? ending : 'none',
  }));
};

/** A removal in the guest this long after an order is still its. QEMU waits without limit; an episode does not. */
const EARLY_NS = 50_000_000n;

/** A guest with its place on the axis. */
export interface Placed {
  readonly guest: Guest;
  readonly axis: Axis;
}
interface Look extends Placed {
  readonly hosts: readonly Host[];
  readonly losses: readonly Losses[];
}

const firstIn = (list: readonly Step[], { from_ns, until_ns }: Span): Step | undefined =>
  list.find(({ at_ns }) => at_ns >= from_ns && at_ns < until_ns);

const hostSteps = (hosts: readonly Host[], wanted: (event: HostEvent) => boolean): Step[] =>
  hosts
    .flatMap(({ name, events }) => events.filter(wanted).map(({ at_ns }) => ({ at_ns, by: name })))
    .toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : 1));

/** Where the datapath of a pair was, on the axis; the end of the log ends the last. */
export const pathSpans = ({ guest, axis }: Placed, mac: string): (Span & { datapath: Datapath })[] => {
  const entries = guest.story.history.of(mac).filter(({ seq }) => seq >= guest.first_seq);
  return entries.map(({ at_ns, datapath }, index) => ({
    datapath,
    from_ns: onAxis(axis, BigInt(at_ns)),
    until_ns: onAxis(axis, BigInt(entries[index + 1]?.at_ns ?? guest.last_ns)),
  }));
};

const overlap = (a: Span, b: Span): bigint => {
  const [from, until] = [a.from_ns > b.from_ns ? a.from_ns : b.from_ns, a.until_ns < b.until_ns ? a.until_ns : b.until_ns];
  return until > from ? until - from : 0n;
};

const lostIn = (losses: readonly Losses[], direction: Direction, { from_ns, until_ns }: Span): number | null => {
  const measured = losses.filter((one) => one.direction === direction);
  if (measured.length === 0) return null;
  const holes = measured.flatMap((one) => one.holes).filter((hole) => hole.from_ns <= until_ns && hole.until_ns >= from_ns);
  return holes.reduce((sum, { lost }) => sum + lost, 0);
};

/** Spans of the axis in which the guest stood still. */
export const pausesOf = ({ segments }: Axis): Span[] =>
  segments.flatMap(({ until_ns }, index) => {
    const next_ns = segments[index + 1]?.from_ns ?? null;
    return until_ns === null || next_ns === null ? [] : [{ from_ns: until_ns, until_ns: next_ns }];
  });

const episodeIn = (look: Look, mac: string, span: Span, order: Order | null): EpisodeFigures | null => {
  const { hosts, guest, axis, losses } = look;
  const marks = (kind: MarkKind, after = span.from_ns): Step | undefined =>
    firstIn(stepsOf(guest.marks, axis, kind, mac, guest.name), { ...span, from_ns: after });
  const on = (wanted: (event: HostEvent) => boolean): Step | undefined => firstIn(hostSteps(hosts, wanted), span);
  const unplugged = marks('left');
  const returned = unplugged && marks('came', unplugged.at_ns);
  const attached = returned && marks('attached', returned.at_ns);
  const paths = pathSpans(look, mac);
  const carries =
    attached &&
    paths.find(({ datapath, from_ns }) => datapath === 'primary' && from_ns >= attached.at_ns && from_ns < span.until_ns);
  const source = order?.host.name ?? null;
  const resumed = on((event) => isEvent(event, 'RESUME'));
  const steps: Partial<Record<StepName, Step>> = {};
  const found: Record<StepName, Step | undefined> = {
    requested: order === null ? undefined : { at_ns: order.at_ns, by: order.by },
    asked: on((event) => isEvent(event, 'UNPLUG_PRIMARY')),
    signalled: marks('signalled'),
    unplugged,
    active:
      order === null
        ? undefined
        : firstIn(
            hostSteps([order.host], (event) => isEvent(event, 'MIGRATION', 'active')),
            span,
          ),
    stopped: on((event) => isEvent(event, 'STOP')),
    resumed,
    returned,
    attached,
    carrier: carries && { at_ns: carries.from_ns, by: guest.name },
  };
  for (const name of STEPS) if (found[name] !== undefined) steps[name] = found[name];
  const times = Object.values(steps).map(({ at_ns }) => at_ns);
  if (order === null && unplugged === undefined) return null;
  const whole: Span = { from_ns: times.reduce((a, b) => (a < b ? a : b)), until_ns: carries?.from_ns ?? span.until_ns };
  const pauses = pausesOf(axis);
  const carried_ns = Object.fromEntries(DATAPATHS.map((datapath) => [datapath, 0n])) as Record<Datapath, bigint>;
  for (const { datapath, ...path } of paths) {
    const running = {
      from_ns: path.from_ns > whole.from_ns ? path.from_ns : whole.from_ns,
      until_ns: path.until_ns < whole.until_ns ? path.until_ns : whole.until_ns,
    };
    const stood = pauses.reduce((sum, pause) => sum + overlap(pause, running), 0n);
    carried_ns[datapath] += overlap(path, whole) - stood;
  }
  return {
    guest: guest.name,
    mac,
    source,
    target: order?.ending === 'completed' ? (resumed?.by ?? null) : null,
    ending: order?.ending ?? 'none',
    steps,
    carried_ns,
    stopped_ns: pauses.reduce((sum, pause) => sum + overlap(pause, whole), 0n),
    lost: Object.fromEntries(DIRECTIONS.map((one) => [one, lostIn(losses, one, whole)])) as Record<Direction, number | null>,
  };
};

const stepsOf = (marks: readonly Mark[], axis: Axis, kind: MarkKind, mac: string, by: string): Step[] =>
  marks.filter((mark) => mark.kind === kind && mark.mac === mac).map(({ at_ns }) => ({ at_ns: onAxis(axis, at_ns), by }));

/** The episodes of every pair of a guest, in their order. `end_ns` is the end of the axis. */
export const episodesOf = (look: Look, end_ns: bigint): EpisodeFigures[] => {
  const { hosts, guest, axis } = look;
  const orders = hosts.flatMap(ordersOf).toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : 1));
  const out: EpisodeFigures[] = [];
  for (const mac of guest.story.guest.pairs.keys()) {
    const left = [
      ...stepsOf(guest.marks, axis, 'signalled', mac, guest.name),
      ...stepsOf(guest.marks, axis, 'left', mac, guest.name),
    ];
    // What happens in the guest alone begins an episode, too, unless an order is still without its unplug.
    const starts: { at_ns: bigint; order: Order | null }[] = orders.map((order) => ({ at_ns: order.at_ns, order }));
    for (const { at_ns } of left.toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : 1))) {
      const before = starts
        .filter((start) => start.at_ns <= at_ns + EARLY_NS)
        .toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : 1))
        .at(-1);
      const came = stepsOf(guest.marks, axis, 'came', mac, guest.name);
      const over = before !== undefined && came.some((step) => step.at_ns > before.at_ns && step.at_ns < at_ns);
      if (before === undefined || over) starts.push({ at_ns, order: null });
    }
    starts.sort((a, b) => (a.at_ns < b.at_ns ? -1 : 1));
    for (const [index, { at_ns, order }] of starts.entries()) {
      const episode = episodeIn(look, mac, { from_ns: at_ns, until_ns: starts[index + 1]?.at_ns ?? end_ns }, order);
      if (episode !== null) out.push(episode);
    }
  }
  return out;
};
