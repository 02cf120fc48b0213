// The lanes of a timeline: what each host said and when it ran the guest, and each pair's stage, datapath and primaries.
import { BECAUSE } from '../../src/machines/reasons.ts';
import { type Axis, onAxis, onGuest, type Running } from './clock.ts';
import type { Lane, LaneItem } from './document.ts';
import { pathSpans, type Placed } from './episodes.ts';
import { type Guest, type MarkKind } from './guest.ts';
import { type Host, type HostEvent, labelOf } from './host.ts';

type Since = (at_ns: bigint) => string;

const TONES: Readonly<Record<string, LaneItem['tone']>> = {
  'MIGRATION completed': 'good',
  RESUME: 'good',
  'MIGRATION failed': 'bad',
  'MIGRATION cancelled': 'bad',
  DEVICE_UNPLUG_GUEST_ERROR: 'bad',
  STOP: 'idle',
};

const hostText = ({ kind, name, fields }: HostEvent): string => {
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${String(value)}`);
  return [kind === 'command' ? `command ${name}` : name, ...rest].join(' ').slice(0, 400);
};

const MARK_WORDS: Readonly<Record<MarkKind, string>> = {
  signalled: 'is about to leave',
  left: 'is gone',
  came: 'is there',
  attached: 'is bound or enslaved',
};

export const lanesOf = (
  hosts: readonly Host[],
  running: readonly Running[],
  placed: readonly Placed[],
  since: Since,
  end: bigint,
): Lane[] => {
  const first: Axis | undefined = placed[0]?.axis;
  const item = (at_ns: bigint, until_ns: bigint | null, rest: Partial<LaneItem> & { label: string }): LaneItem => ({
    at_ns: since(at_ns),
    until_ns: until_ns === null ? null : since(until_ns),
    guest_ns: first === undefined ? null : onGuest(first, at_ns).toString(),
    text: rest.label,
    tone: 'plain',
    seq: null,
    line: null,
    ...rest,
  });
  const ofHost = ({ name, events }: Host): Lane[] => {
    const spans = running.filter(({ host }) => host === name);
    const said = events.map((event) => {
      const label = labelOf(event);
      const tone = TONES[label] ?? TONES[event.name] ?? (event.kind === 'error' ? 'bad' : 'plain');
      return item(event.at_ns, null, { label, text: hostText(event), tone, line: event.line });
    });
    const ran = spans.map(({ from_ns, until_ns }) =>
      item(from_ns ?? events[0]?.at_ns ?? end, until_ns ?? end, { label: 'runs the guest', tone: 'good' }),
    );
    return [
      { id: `host:${name}`, title: name, group: 'host', items: said },
      ...(ran.length === 0
        ? []
        : [{ id: `running:${name}`, title: `${name} runs the guest`, group: 'host' as const, items: ran }]),
    ];
  };
  return [
    ...hosts.flatMap(ofHost),
    ...placed.flatMap((one) => [...one.guest.story.guest.pairs.keys()].flatMap((mac) => ofPair(one, mac, item))),
  ];
};

type Item = (at_ns: bigint, until_ns: bigint | null, rest: Partial<LaneItem> & { label: string }) => LaneItem;

const ofPair = ({ guest, axis }: Placed, mac: string, item: Item): Lane[] => {
  const entries = guest.story.history.of(mac).filter(({ seq }) => seq >= guest.first_seq);
  const spans = pathSpans({ guest, axis }, mac);
  const stages = entries.map(({ seq, stage, because }, index) => {
    const { from_ns, until_ns } = spans[index] ?? { from_ns: 0n, until_ns: 0n };
    return item(from_ns, until_ns, { label: stage, text: `${stage}: ${BECAUSE[because]}`, seq });
  });
  const paths = entries.map(({ seq, datapath, because }, index) => {
    const { from_ns, until_ns } = spans[index] ?? { from_ns: 0n, until_ns: 0n };
    const tone = datapath === 'primary' ? 'good' : datapath === 'none' ? 'bad' : 'plain';
    return item(from_ns, until_ns, { label: datapath, text: `${datapath}: ${BECAUSE[because]}`, tone, seq });
  });
  const primaries = guest.marks
    .filter((mark) => mark.mac === mac)
    .map(({ kind, at_ns, seq, text }) =>
      item(onAxis(axis, at_ns), null, { label: kind, text: `${text} ${MARK_WORDS[kind]}`, seq }),
    );
  const lane = (kind: string, title: string, items: LaneItem[]): Lane => ({
    id: `${guest.name}:${mac}:${kind}`,
    title: `${title} of ${mac}${titleOf(guest)}`,
    group: 'guest',
    items,
  });
  return [lane('primary', 'primary', primaries), lane('stage', 'stage', stages), lane('datapath', 'datapath', paths)];
};

const titleOf = ({ name }: Guest): string => ` in ${name}`;
