// What the hypervisors' side says that was wrong: an unplug that was refused or never ended, a migration that did not
// complete, clocks that contradict each other. Codes, causes and cures are in src/machines/reasons.ts.
import { FINDINGS, type FindingCode, type Severity } from '../../src/machines/reasons.ts';
import type { Placed } from './episodes.ts';
import { type Host, isEvent } from './host.ts';
import type { Losses } from './losses.ts';

interface HostFinding {
  readonly code: FindingCode;
  readonly severity: Severity;
  readonly at_ns: bigint;
  readonly until_ns: bigint | null;
  readonly by: string;
  readonly text: string;
}

/** QEMU looks every 250 ms; native hotplug takes 5 s. */
const WAIT_UNPLUG_LIMIT_NS = 15_000_000_000n;

const seconds = (ns: bigint): string => `${(Number(ns) / 1e9).toFixed(1)} s`;

const duration = (ns: bigint): string => `${(Number(ns) / 1e6).toFixed(1)} ms`;

const finding = (code: FindingCode, by: string, at_ns: bigint, until_ns: bigint | null, text: string): HostFinding => ({
  code,
  severity: FINDINGS[code].severity,
  at_ns,
  until_ns,
  by,
  text,
});

const ofHost = ({ name, events }: Host, end: bigint): HostFinding[] => {
  const out: HostFinding[] = [];
  let waiting: bigint | null = null;
  const waited = (until_ns: bigint | null): void => {
    if (waiting !== null && (until_ns ?? end) - waiting >= WAIT_UNPLUG_LIMIT_NS) {
      const how = until_ns === null ? 'and the capture ends in it' : `and then ended after ${seconds(until_ns - waiting)}`;
      out.push(
        finding('unplugEndless', name, waiting, until_ns, `the migration waited for the guest to let its primary go, ${how}`),
      );
    }
    waiting = null;
  };
  for (const event of events) {
    const { at_ns, fields } = event;
    const device = String(fields['device'] ?? fields['path'] ?? 'the primary');
    if (isEvent(event, 'DEVICE_UNPLUG_GUEST_ERROR'))
      out.push(finding('unplugRefused', name, at_ns, at_ns, `the guest refused to let ${device} go`));
    if (!isEvent(event, 'MIGRATION')) continue;
    const status = String(fields['status']);
    if (status === 'wait-unplug') waiting ??= at_ns;
    else waited(at_ns);
    if (status === 'failed' || status === 'cancelled')
      out.push(
        finding(
          'migrationNotDone',
          name,
          at_ns,
          at_ns,
          `the migration was ${status === 'failed' ? 'given up as failed' : 'cancelled'}`,
        ),
      );
  }
  waited(null);
  return out;
};

interface Files {
  readonly hosts: readonly Host[];
  readonly moved: readonly { readonly name: string; readonly by_ns: bigint }[];
  readonly placed: readonly Placed[];
  readonly losses: readonly Losses[];
}

export const hostFindings = ({ hosts, moved, placed, losses }: Files, end: bigint): HostFinding[] => {
  const out = hosts.flatMap((host) => ofHost(host, end));
  for (const { name, by_ns } of moved) {
    const at = hosts.find((host) => host.name === name)?.events[0]?.at_ns ?? end;
    out.push(
      finding(
        'clocksDisagree',
        name,
        at,
        at,
        `it resumed the guest before the source stopped it, so its times were moved by ${duration(by_ns)}, the least that makes sense`,
      ),
    );
  }
  if (hosts.length === 0 && placed.length > 0)
    for (const { name, holes } of losses) {
      const at = holes[0]?.from_ns ?? end;
      out.push(
        finding(
          'clocksDisagree',
          name,
          at,
          at,
          `${name}: without a capture of a monitor these losses are placed by the guest's own wall clock, which may be wrong`,
        ),
      );
    }
  for (const { guest, axis } of placed) {
    const first = axis.segments[0]?.until_ns ?? end;
    const text = (what: string): string => `${guest.name}: ${what}`;
    if (axis.contradiction_ns > 0n)
      out.push(
        finding(
          'clocksDisagree',
          guest.name,
          first,
          first,
          text(`what both sides saw contradicts one offset of their clocks by ${duration(axis.contradiction_ns)}`),
        ),
      );
    if (hosts.length > 0 && axis.segments.every(({ anchors }) => anchors === 0))
      out.push(
        finding(
          'clocksDisagree',
          guest.name,
          first,
          first,
          text('nothing that both sides saw was found, so it is placed by its own wall clock, which may be wrong'),
        ),
      );
  }
  return out;
};
