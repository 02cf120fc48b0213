// A timeline for the page: its hosts on the guest's own clock, and the figures of its episodes.
import type { TimelineDocument } from '../../../replay/timeline/document.ts';
import type { HostLane, InspectedTimeline } from './document.ts';

const minus = (at_ns: string, offset_ns: string): string => (BigInt(at_ns) - BigInt(offset_ns)).toString();

export const inspectedTimelineOf = (document: TimelineDocument): InspectedTimeline => ({
  hosts: hostLanesOf(document),
  segments: document.guests[0]?.segments ?? [],
  episodes: document.episodes,
  losses: document.losses,
});

/** The hosts' lanes for the first guest of a timeline. */
const hostLanesOf = ({ hosts, guests, lanes }: TimelineDocument): HostLane[] => {
  const segments = guests[0]?.segments ?? [];
  const order = ['source', 'host', 'target'];
  const sorted = hosts.toSorted((one, other) => order.indexOf(one.role) - order.indexOf(other.role));
  return sorted.map(({ name, role }) => {
    const own = segments.filter(({ host }) => host === name);
    const widths = own.map(({ low_ns, high_ns }) =>
      low_ns === null || high_ns === null ? null : BigInt(high_ns) - BigInt(low_ns),
    );
    const widest = widths.reduce((one, other) => (one === null || other === null ? null : one > other ? one : other), 0n);
    return {
      name,
      role,
      uncertainty_ns: widest === null ? null : widest.toString(),
      running: own.map(({ from_ns, until_ns, offset_ns }) => ({
        from_ns: from_ns === null ? null : minus(from_ns, offset_ns),
        until_ns: until_ns === null ? null : minus(until_ns, offset_ns),
      })),
      items: lanes
        .filter(({ id }) => id === `host:${name}`)
        .flatMap(({ items }) => items)
        .flatMap(({ guest_ns, label, text, tone, line }) =>
          guest_ns === null ? [] : [{ at_ns: guest_ns, label, text, tone, line }],
        ),
    };
  });
};
