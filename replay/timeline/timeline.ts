// `netkvm timeline`: guests and their hypervisors on one axis. The document that is made here is what --json prints and what
// the page's lanes show; its shape is a promise to scripts. Times are nanoseconds since the axis' zero, as decimal text.
import { type History, openAny } from '../../src/adapters/log/history.ts';
import { DATAPATHS, type Datapath } from '../../src/machines/stages.ts';
import type { FindingCode, Severity } from '../../src/machines/reasons.ts';
import { type Axis, axisOf, cuesOf, onAxis, type Running, runningOf } from './clock.ts';
import { type Ending, type EpisodeFigures, episodesOf, STEPS, type StepName } from './episodes.ts';
import { type Guest, readGuest } from './guest.ts';
import { type Host, isCommand, inOrder, isEvent, readHost } from './host.ts';
import { hostFindings } from './host-findings.ts';
import { lanesOf } from './lanes.ts';

export interface SegmentFigures {
  readonly host: string;
  /** null: open. */
  readonly from_ns: string | null;
  readonly until_ns: string | null;
  /** Axis = guest's CLOCK_MONOTONIC + this; the true one lies between offset + low and offset + high, null where unbounded. */
  readonly offset_ns: string;
  readonly low_ns: string | null;
  readonly high_ns: string | null;
  /** Events that both sides saw; 0: the guest's own wall clock was used. */
  readonly anchors: number;
}

export interface LaneItem {
  readonly at_ns: string;
  /** null: a point. */
  readonly until_ns: string | null;
  /** The same instant on the first guest's CLOCK_MONOTONIC; null without a guest. */
  readonly guest_ns: string | null;
  readonly label: string;
  readonly text: string;
  readonly tone: 'plain' | 'good' | 'bad' | 'idle';
  /** Number of the guest's event, or line of the host's file. */
  readonly seq: number | null;
  readonly line: number | null;
}
export interface Lane {
  readonly id: string;
  readonly title: string;
  readonly group: 'host' | 'guest';
  readonly items: readonly LaneItem[];
}

export interface Episode {
  readonly guest: string;
  readonly mac: string;
  readonly source: string | null;
  readonly target: string | null;
  readonly ending: Ending;
  readonly steps: Readonly<Partial<Record<StepName, { readonly at_ns: string; readonly by: string }>>>;
  readonly carried_ns: Readonly<Record<Datapath, string>>;
  readonly stopped_ns: string;
}

export interface TimelineFinding {
  readonly code: FindingCode;
  readonly severity: Severity;
  readonly at_ns: string;
  readonly until_ns: string | null;
  readonly by: string;
  readonly text: string;
}

export interface TimelineDocument {
  readonly schemaVersion: 1;
  /** Zero on the first host's realtime clock (without a host: on the first guest's). */
  readonly axis: { readonly zero_ns: string; readonly end_ns: string; readonly host: string | null };
  readonly hosts: readonly { readonly name: string; readonly file: string; readonly role: 'source' | 'target' | 'host' }[];
  readonly guests: readonly { readonly name: string; readonly file: string; readonly segments: readonly SegmentFigures[] }[];
  readonly lanes: readonly Lane[];
  readonly episodes: readonly Episode[];
  readonly findings: readonly TimelineFinding[];
}

export interface Timeline {
  readonly document: TimelineDocument;
  readonly complaints: readonly string[];
  readonly damaged: boolean;
}

/** A guest with its place on the axis. */
export interface Placed {
  readonly guest: Guest;
  readonly axis: Axis;
}

/** Reads recordings, raw captures and QMP captures, in any order. Throws NetkvmError `recording.*`. */
export const timelineOf = async (paths: readonly string[]): Promise<Timeline> => {
  const hosts: Host[] = [];
  const guests: Guest[] = [];
  const names = namesOf(paths);
  for (const [index, path] of paths.entries()) {
    const history = await openAny(path);
    const name = names[index] ?? path;
    if (history.kind === 'qmp') hosts.push(await readHost(name, { ...history, kind: 'qmp' }));
    else guests.push(await readGuest(name, history as History));
  }
  const files = [...guests, ...hosts];
  return {
    document: documentOf(hosts, guests),
    complaints: files.flatMap(({ complaints }) => complaints),
    damaged: files.some(({ damaged }) => damaged),
  };
};

/** `b-migration/qmp-A.jsonl` is `qmp-A`; two of one name get their folder as well, two of one path a number. */
const namesOf = (paths: readonly string[]): string[] => {
  const short = paths.map((path) => {
    const parts = path.split(/[/\\]/);
    return { base: (parts.at(-1) ?? path).replace(/\.jsonl$/, ''), folder: parts.at(-2) ?? '' };
  });
  const once = short.map(({ base, folder }) =>
    short.filter((other) => other.base === base).length > 1 && folder !== '' ? `${folder}/${base}` : base,
  );
  return once.map((name, index) => {
    const before = once.slice(0, index).filter((other) => other === name).length;
    return before === 0 ? name : `${name}#${before + 1}`;
  });
};

const roleOf = ({ events }: Host): 'source' | 'target' | 'host' => {
  if (events.some((event) => isCommand(event, 'migrate') || isEvent(event, 'MIGRATION', 'setup'))) return 'source';
  const incoming = events.some((event) => isCommand(event, 'migrate-incoming') || isEvent(event, 'MIGRATION', 'active'));
  return incoming ? 'target' : 'host';
};

const documentOf = (given: readonly Host[], guests: readonly Guest[]): TimelineDocument => {
  const { hosts, moved } = inOrder(given);
  const running: Running[] = runningOf(hosts);
  const cues = cuesOf(hosts);
  const placed: Placed[] = guests.map((guest) => ({
    guest,
    axis: axisOf(running, cues, guest.sights, guest.wall_ns, guest.last_ns),
  }));
  const times = [
    ...hosts.flatMap(({ events }) => [events[0], events.at(-1)].flatMap((event) => (event === undefined ? [] : [event.at_ns]))),
    ...placed.flatMap(({ guest, axis }) => [onAxis(axis, guest.first_ns), onAxis(axis, guest.last_ns)]),
  ];
  const zero = times.reduce((a, b) => (a < b ? a : b), times[0] ?? 0n);
  const end = times.reduce((a, b) => (a > b ? a : b), times[0] ?? 0n);
  const since = (at_ns: bigint): string => (at_ns - zero).toString();
  const episodes = placed.flatMap(({ guest, axis }) => episodesOf({ hosts, guest, axis }, end + 1n));
  const ofHosts = hostFindings(hosts, moved, placed, end);
  const ofGuests = placed.flatMap(({ guest, axis }) =>
    guest.story.findings
      .list(guest.story.end)
      .filter(({ seq }) => seq >= guest.first_seq)
      .map(({ code, severity, mac, at_ns, until_ns, text }) => ({
        code,
        severity,
        at_ns: onAxis(axis, BigInt(at_ns)),
        until_ns: until_ns === null ? null : onAxis(axis, BigInt(until_ns)),
        by: guest.name,
        text: mac === null ? text : `${mac}: ${text}`,
      })),
  );
  const findings = [...ofHosts, ...ofGuests].toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : a.at_ns > b.at_ns ? 1 : 0));
  return {
    schemaVersion: 1,
    axis: { zero_ns: zero.toString(), end_ns: since(end), host: hosts[0]?.name ?? null },
    hosts: hosts.map((host) => ({ name: host.name, file: host.file, role: roleOf(host) })),
    guests: placed.map(({ guest, axis }) => ({
      name: guest.name,
      file: guest.file,
      segments: axis.segments.map(({ host, from_ns, until_ns, offset_ns, low_ns, high_ns, anchors }) => ({
        host,
        from_ns: from_ns === null ? null : since(from_ns),
        until_ns: until_ns === null ? null : since(until_ns),
        offset_ns: (offset_ns - zero).toString(),
        low_ns: low_ns === null ? null : (low_ns - offset_ns).toString(),
        high_ns: high_ns === null ? null : (high_ns - offset_ns).toString(),
        anchors,
      })),
    })),
    lanes: lanesOf(hosts, running, placed, since, end),
    episodes: episodes.map((episode) => episodeOf(episode, since)),
    findings: findings.map(({ code, severity, at_ns, until_ns, by, text }) => ({
      code,
      severity,
      at_ns: since(at_ns),
      until_ns: until_ns === null ? null : since(until_ns),
      by,
      text,
    })),
  };
};

const episodeOf = (episode: EpisodeFigures, since: (at_ns: bigint) => string): Episode => {
  const { guest, mac, source, target, ending, steps, carried_ns, stopped_ns } = episode;
  const told: Partial<Record<StepName, { at_ns: string; by: string }>> = {};
  for (const name of STEPS) {
    const step = steps[name];
    if (step !== undefined) told[name] = { at_ns: since(step.at_ns), by: step.by };
  }
  const carried = Object.fromEntries(DATAPATHS.map((path) => [path, carried_ns[path].toString()])) as Record<Datapath, string>;
  return { guest, mac, source, target, ending, steps: told, carried_ns: carried, stopped_ns: stopped_ns.toString() };
};
