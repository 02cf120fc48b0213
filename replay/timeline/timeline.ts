// `netkvm timeline`: reads files of guests, hypervisors and packet meters, puts them on one axis, and makes the document.
import { openAny } from '../../src/adapters/log/history.ts';
import { DATAPATHS, type Datapath } from '../../src/machines/stages.ts';
import type { TellOptions } from '../replay.ts';
import { axisOf, cuesOf, onAxis, onGuest, type Running, runningOf } from './clock.ts';
import { type Episode, type LossFigures, STEPS, type StepName, type TimelineDocument } from './document.ts';
import { type EpisodeFigures, episodesOf, type Placed } from './episodes.ts';
import { type Guest, readLog } from './guest.ts';
import { type Host, isCommand, inOrder, isEvent, readHost } from './host.ts';
import { hostFindings } from './host-findings.ts';
import { lanesOf } from './lanes.ts';
import { type Losses, lossesOf } from './losses.ts';

export interface Timeline {
  readonly document: TimelineDocument;
  readonly complaints: readonly string[];
  readonly damaged: boolean;
}

/** Reads recordings, raw captures, QMP captures and losses, in any order. Throws NetkvmError `recording.*`. */
export const timelineOf = async (paths: readonly string[], options: TellOptions = {}): Promise<Timeline> => {
  const hosts: Host[] = [];
  const guests: Guest[] = [];
  const losses: Losses[] = [];
  const names = namesOf(paths);
  for (const [index, path] of paths.entries()) {
    const { kind, ...history } = await openAny(path);
    const name = names[index] ?? path;
    if (kind === 'qmp') hosts.push(await readHost(name, { ...history, kind }));
    else if (kind === 'losses') losses.push(await lossesOf(name, { ...history, kind }));
    else {
      const log = await readLog(name, { ...history, kind }, options);
      if ('events' in log) hosts.push(log);
      else guests.push(log);
    }
  }
  const files = [...guests, ...hosts, ...losses];
  return {
    document: documentOf(hosts, guests, losses),
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

const documentOf = (given: readonly Host[], guests: readonly Guest[], losses: readonly Losses[]): TimelineDocument => {
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
  // A meter runs beside the others; alone it has the axis for itself.
  if (times.length === 0) times.push(...losses.flatMap(({ holes }) => holes.flatMap((hole) => [hole.from_ns, hole.until_ns])));
  const zero = times.reduce((a, b) => (a < b ? a : b), times[0] ?? 0n);
  const end = times.reduce((a, b) => (a > b ? a : b), times[0] ?? 0n);
  const since = (at_ns: bigint): string => (at_ns - zero).toString();
  const episodes = placed.flatMap(({ guest, axis }) => episodesOf({ hosts, guest, axis, losses }, end + 1n));
  const ofHosts = hostFindings({ hosts, moved, placed, losses }, end);
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
    episodes: episodes.map((episode) => episodeOf(episode, placed, since)),
    losses: losses.map((one) => lossFiguresOf(one, placed[0], since)),
    migrations: migrationsOf([...given, ...guests]),
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

const migrationsOf = (logs: readonly Pick<Host, 'name' | 'migrations'>[]): TimelineDocument['migrations'] => {
  const names = new Set(logs.flatMap(({ migrations }) => migrations));
  return [...names].map((name) => ({
    name,
    by: logs.filter(({ migrations }) => migrations.includes(name)).map((log) => log.name),
  }));
};

type Since = (at_ns: bigint) => string;

const episodeOf = (episode: EpisodeFigures, placed: readonly Placed[], since: Since): Episode => {
  const { guest, mac, source, target, ending, steps, carried_ns, stopped_ns, lost } = episode;
  const axis = placed.find((one) => one.guest.name === guest)?.axis ?? { segments: [], contradiction_ns: 0n };
  const told: Partial<Record<StepName, { at_ns: string; guest_ns: string; by: string }>> = {};
  for (const name of STEPS) {
    const step = steps[name];
    if (step !== undefined)
      told[name] = { at_ns: since(step.at_ns), guest_ns: onGuest(axis, step.at_ns).toString(), by: step.by };
  }
  const carried = Object.fromEntries(DATAPATHS.map((path) => [path, carried_ns[path].toString()])) as Record<Datapath, string>;
  return { guest, mac, source, target, ending, steps: told, carried_ns: carried, stopped_ns: stopped_ns.toString(), lost };
};

const lossFiguresOf = ({ holes, ...rest }: Losses, placed: Placed | undefined, since: Since): LossFigures => {
  const { name, file, direction, period_us, lost, received } = rest;
  const figures = holes.map((hole) => ({
    from_ns: since(hole.from_ns),
    until_ns: since(hole.until_ns),
    guest:
      placed === undefined
        ? null
        : {
            from_ns: onGuest(placed.axis, hole.from_ns).toString(),
            until_ns: onGuest(placed.axis, hole.until_ns).toString(),
          },
    lost: hole.lost,
  }));
  return { name, file, direction, period_us, lost, received, holes: figures };
};
