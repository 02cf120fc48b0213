// A hypervisor's side of a migration: what QEMU's monitor said and was told, with the times of the host's clock.
import { readQmpCapture } from '../../src/adapters/qemu/qmp-capture.ts';
import type { QmpFields, QmpMessage } from '../../src/adapters/qemu/qmp.ts';
import type { History } from '../../src/adapters/log/history.ts';
import { complaintOf } from '../replay.ts';

export interface HostEvent {
  /** The host's realtime clock. */
  readonly at_ns: bigint;
  readonly line: number;
  readonly kind: 'event' | 'command' | 'error';
  readonly name: string;
  readonly fields: QmpFields;
}

export interface Host {
  readonly name: string;
  readonly file: string;
  /** In the order of time, at most EVENTS_MAX. */
  readonly events: readonly HostEvent[];
  /** Names of migrations that it holds; a capture of QEMU's monitor has none. */
  readonly migrations: readonly string[];
  readonly complaints: readonly string[];
  readonly damaged: boolean;
}

const EVENTS_MAX = 100_000;
const COMPLAINTS_MAX = 20;

interface Heard {
  readonly line: number;
  readonly read_ns: bigint | null;
  readonly message: QmpMessage;
}

/** Reads a capture of QEMU's monitor to its end. Errors of the file itself are thrown as they come. */
export const readHost = async (name: string, { name: file, chunks }: History<'qmp'>): Promise<Host> => {
  const heard: Heard[] = [];
  const complaints: string[] = [];
  let damaged = false;
  let dropped = 0;
  for await (const entry of readQmpCapture(chunks)) {
    if (entry.kind === 'damage') {
      if (complaints.length < COMPLAINTS_MAX) complaints.push(complaintOf(file, entry));
      damaged ||= !entry.torn;
    } else if (heard.length < EVENTS_MAX) heard.push(entry);
    else dropped += 1;
  }
  if (dropped > 0) complaints.push(`${file}: ${dropped} lines after the first ${EVENTS_MAX} are left out`);
  return { name, file, events: eventsOf(heard), migrations: [], complaints, damaged };
};

/**
 * QEMU stamps an event when it happens, the recorder when it reads the line. The stamp is the better time, on the recorder's
 * clock: the smallest difference of the two is what their clocks differ by.
 */
const clockDifference = (heard: readonly Heard[]): bigint => {
  let least: bigint | null = null;
  for (const { read_ns, message } of heard) {
    if (message.kind !== 'event' || message.at_ns === null || read_ns === null) continue;
    const difference = read_ns - message.at_ns;
    if (least === null || difference < least) least = difference;
  }
  return least ?? 0n;
};

const eventsOf = (heard: readonly Heard[]): HostEvent[] => {
  const difference = clockDifference(heard);
  const times = heard.map(({ read_ns, message }) =>
    message.kind === 'event' && message.at_ns !== null ? message.at_ns + difference : read_ns,
  );
  // A message without any time came before the next one that has one; at the end of a file, after the last.
  let next: bigint | null = null;
  for (let index = times.length - 1; index >= 0; index -= 1) next = times[index] ??= next;
  let last: bigint | null = null;
  const out: HostEvent[] = [];
  for (const [index, { line, message }] of heard.entries()) {
    const at_ns: bigint | null = times[index] ?? last;
    if (at_ns === null) continue;
    last = at_ns;
    const { kind } = message;
    if (kind === 'event' || kind === 'command') out.push({ at_ns, line, kind, name: message.name, fields: message.fields });
    if (kind === 'error') out.push({ at_ns, line, kind, name: message.name, fields: { desc: message.text } });
  }
  return out.toSorted((a, b) => (a.at_ns < b.at_ns ? -1 : a.at_ns > b.at_ns ? 1 : a.line - b.line));
};

/** What people look at first in an event's fields. */
const TELLING = ['status', 'device-id', 'device', 'id', 'uri', 'desc', 'name', 'pass', 'reason'] as const;

/** `MIGRATION wait-unplug`, `UNPLUG_PRIMARY vf0`, `device_add vf0`. */
export const labelOf = ({ name, fields }: Pick<HostEvent, 'name' | 'fields'>): string => {
  const telling = TELLING.find((key) => fields[key] !== undefined);
  return telling === undefined ? name : `${name} ${String(fields[telling])}`;
};

export const isEvent = (event: HostEvent, name: string, status?: string): boolean =>
  event.kind === 'event' && event.name === name && (status === undefined || event.fields['status'] === status);
export const isCommand = (event: HostEvent, name: string): boolean => event.kind === 'command' && event.name === name;

/**
 * Two hosts' clocks are taken to agree, until a target resumed the guest before its source stopped it: then the target's
 * times are moved by the least that brings cause before effect. `moved` says who was moved by how much.
 */
export const inOrder = (hosts: readonly Host[]): { hosts: Host[]; moved: { name: string; by_ns: bigint }[] } => {
  const moved: { name: string; by_ns: bigint }[] = [];
  const ordered = hosts.map((host) => {
    const resumed = host.events.find((event) => isEvent(event, 'RESUME'));
    const incoming = resumed && host.events.some((event) => isEvent(event, 'MIGRATION', 'active') && event.line < resumed.line);
    if (resumed === undefined || incoming !== true) return host;
    const distance = ({ at_ns }: HostEvent): bigint => (at_ns < resumed.at_ns ? resumed.at_ns - at_ns : at_ns - resumed.at_ns);
    const [stop] = hosts
      .flatMap((other) => (other === host ? [] : other.events.filter((event) => isEvent(event, 'STOP'))))
      .toSorted((a, b) => (distance(a) < distance(b) ? -1 : 1));
    if (stop === undefined || stop.at_ns <= resumed.at_ns) return host;
    const by_ns = stop.at_ns - resumed.at_ns + 1n;
    moved.push({ name: host.name, by_ns });
    return { ...host, events: host.events.map((event) => ({ ...event, at_ns: event.at_ns + by_ns })) };
  });
  return { hosts: ordered, moved };
};
