// How things are written on the page: durations, times, and an event in a few words.
import type { InspectedEvent } from '../document.ts';
import type { Row } from './tracks.ts';

const digits = (number: number, places: number): string => number.toFixed(places);

/** `0.42 ms`, `12 ms`, `3.20 s`, `4 min 5 s`, `2 h 3 min` */
export const duration = (ms: number): string => {
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 10) return `${digits(ms, 2)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${digits(s, s < 10 ? 2 : 1)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

/** Seconds since the first event: `+4.512 s` */
export const since = (at_ms: number): string => `${at_ms < 0 ? '−' : '+'}${digits(Math.abs(at_ms) / 1000, 3)}`;

/** The wall clock in UTC, null where the event has none. */
export const wallClock = ({ wall_ns }: InspectedEvent): string | null => {
  if (wall_ns === undefined) return null;
  const date = new Date(Number(BigInt(wall_ns) / 1_000_000n));
  return Number.isNaN(date.getTime()) ? null : date.toISOString().replace('T', ' ').replace('Z', ' UTC');
};

/** `{active: true, miiUp: false}` reads `active, not miiUp`. */
const shown = (value: unknown): string => {
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .map(([name, inner]) => (inner === true ? name : inner === false ? `not ${name}` : `${name} ${String(inner)}`))
    .join(', ');
};

/** An event in a few words, for the table. */
export const summary = ({ event, subject }: Row): string => {
  switch (event.type) {
    case 'adapter.appeared':
      return `${event.data.name} · ${event.data.mac ?? 'no MAC'} · ${event.data.pci ?? event.data.device ?? event.data.kind ?? ''}`;
    case 'adapter.changed':
      return `${subject ?? `ifindex ${event.data.ifindex}`} · ${Object.entries(event.data.changed)
        .map(([name, value]) => `${name} ${shown(value)}`)
        .join(', ')}`;
    case 'adapter.gone':
    case 'announce.seen':
    case 'counters.sampled':
      return subject ?? `ifindex ${event.data.ifindex}`;
    case 'address.added':
    case 'address.removed':
      return `${subject ?? `ifindex ${event.data.ifindex}`} · ${event.data.address}`;
    case 'pci.added':
      return `${event.data.address} · ${event.data.id ?? ''}`;
    case 'pci.bound':
      return `${event.data.address} · ${event.data.driver ?? ''}`;
    case 'pci.unbound':
    case 'pci.removed':
      return event.data.address;
    case 'departure.signalled':
      return `${event.data.address} · ${event.data.sign}`;
    case 'monitor.event':
      return [event.data.name, ...Object.values(event.data.fields).map(String)].join(' · ');
    case 'monitor.facts': {
      const { connected, running, migration, primary } = event.data;
      if (!connected) return 'no monitor';
      return `${running ? 'running' : 'not running'} · migration ${migration} · ${primary ? 'primary there' : 'no primary'}`;
    }
    case 'port.facts':
      return event.data.vf === null ? 'no VF' : shown(event.data.vf);
    case 'channel.facts': {
      const { guest } = event.data;
      return guest === null ? 'nobody answers' : `${guest.stage} · ${guest.datapath}`;
    }
    case 'channel.heard':
      return [event.data.word, event.data.episode, event.data.reason].filter((part) => part !== null).join(' · ');
    case 'decision.made':
      return `${event.data.kind} · ${event.data.id} · attempt ${event.data.attempt}`;
    case 'outcome.seen':
      return [event.data.decision, event.data.result, event.data.reason].filter((part) => part !== null).join(' · ');
    case 'obligation.opened':
      return `${event.data.kind} · ${event.data.id}`;
    case 'obligation.closed':
      return `${event.data.id} · ${event.data.how}`;
    case 'timer.elapsed':
      return event.data.timer.split('.').slice(2).join('.');
    case 'gap.seen':
      return `${event.data.source} · ${event.data.reason}`;
    case 'survey.taken':
      return `${event.data.reason} · ${event.data.adapters.length} adapters, ${event.data.functions.length} functions`;
    case 'clock.jumped':
      return `${event.data.kind} · ${duration(Number(event.data.delta_ns) / 1e6)}`;
    case 'service.started':
      return `version ${event.data.version} · ${event.data.platform}`;
    case 'service.stopped':
      return event.data.reason;
    case 'configuration.applied':
      return `effects ${event.data.policy.effects} · ${event.data.policy.pairs.length} pairs listed`;
    case 'protocol.installed':
    case 'protocol.removed':
      return event.data.name;
    case 'controller.seen':
      return `${event.data.name} ${event.data.running ? 'runs' : 'does not run'}`;
    case 'log.outage':
      return `${event.data.events} events late, ${event.data.lost} lost · ${event.data.reason}`;
    case 'operator.commanded':
      return `${event.data.command} · ${event.data.by}${event.data.what === undefined ? '' : ` · ${event.data.what}`}`;
    case 'driver.facts':
      return Object.entries(event.data)
        .filter(([, value]) => value === true)
        .map(([name]) => name)
        .join(', ');
    case 'driver.gone':
      return event.data.mac;
    case 'checkpoint.made':
      return 'the folded state';
  }
};

/** One word of the kind of event, the part before the dot: the table's filter. */
export const kindOf = ({ type }: InspectedEvent): string => type.split('.')[0] ?? type;
