// Logs for tests of the inspector: a recorded one as the page gets it, a long one, and one full of hostile texts.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Happening } from '../src/events/catalogue.ts';
import { type InspectedEvent, type InspectorDocument, NO_TIMELINE } from '../src/host/inspector/document.ts';
import { readDocument } from '../src/host/inspector/read.ts';
import { appeared, changed, trio } from './given.ts';
import { HostedStory, MAC, RUNNING } from './hosted.given.ts';

const RECORDINGS = fileURLToPath(new URL('../replay/recordings/', import.meta.url));
export const RECORDING_NAMES = readdirSync(RECORDINGS).filter((name) => name.endsWith('.jsonl'));

export const recorded = (name: string, served = false): Promise<InspectorDocument> =>
  readDocument([`${RECORDINGS}${name}`], { served });

/** The recorded migration as its guest and both of its hosts saw it. */
export const migrated = (): Promise<InspectorDocument> =>
  readDocument(
    ['guest', 'qmp-A', 'qmp-B'].map((name) => `${RECORDINGS}raw/b-migration/${name}.jsonl`),
    { served: false },
  );

/** A migration in the lab with packets both ways: its guest, its hosts, and what was lost. */
export const metered = (): Promise<InspectorDocument> =>
  readDocument(
    ['guest', 'qmp-a1', 'qmp-b2', 'lost-in', 'lost-out'].map((name) => `${RECORDINGS}hosts/migration-with-losses/${name}.jsonl`),
    { served: false },
  );

/** Happenings a quarter of a second apart, as the page gets events. */
export const eventsOf = (happenings: readonly Happening[]): InspectedEvent[] =>
  happenings.map((happening, index) => ({
    ...happening,
    seq: index + 1,
    id: `00000000-0000-4000-8000-${String(index + 1).padStart(12, '0')}`,
    cause: null,
    episode: null,
    mono_ns: String((index + 1) * 250_000_000),
    boot_ns: String((index + 1) * 250_000_000),
    wall_ns: String(1_790_000_000_000_000_000n + BigInt(index + 1) * 250_000_000n),
    logId: 'made',
  }));

export const documentOf = (events: readonly InspectedEvent[], name = 'made.jsonl', served = false): InspectorDocument => ({
  schemaVersion: 1,
  source: { kind: 'recording', name },
  served,
  complaints: [],
  events,
  timeline: NO_TIMELINE,
});

/** A hypervisor's log: parked while the guest is sent, and back when that is cancelled. */
export const hostLog = (): InspectedEvent[] => {
  const host = new HostedStory();
  host.port();
  host.qemu(RUNNING);
  host.guest();
  host.says('UNPLUG_PRIMARY', { 'device-id': 'vf0' });
  for (const migration of ['wait-unplug', 'active', 'cancelling', 'cancelled']) {
    host.qemu({ migration });
    host.run();
  }
  host.guest(MAC);
  host.run();
  return eventsOf(host.events);
};

/** A pair whose primary loses and gets its carrier, over and over. */
export const longLog = (length: number): InspectedEvent[] => {
  const first = [appeared(trio.master), appeared(trio.standby), appeared(trio.primary)];
  const flaps = Array.from({ length: length - first.length }, (_, index) => changed(4, { carrier: index % 2 === 1 }));
  return eventsOf([...first, ...flaps]);
};

/** What somebody might name an interface (IFNAMSIZ allows most of it), or write into any other text of a log. */
export const HOSTILE = [
  '<script>hurt()</script>',
  '</script><script>hurt()</script>',
  '<img src=x onerror=hurt()>',
  '"><svg onload=hurt()>',
  '<!-- <script>',
  ']]>\u2028\u2029\u202Eevil\u0000',
  "';hurt();//",
  '${hurt()}',
  '__proto__',
];

export const hostileLog = (): InspectedEvent[] =>
  eventsOf([
    ...HOSTILE.flatMap((text, index): Happening[] => [
      appeared({ ...trio.standby, ifindex: 100 + index, name: text, device: text, driver: text, master: null }),
      { type: 'gap.seen', data: { source: text, reason: text } },
    ]),
    {
      type: 'outcome.seen',
      data: { decision: HOSTILE[0]!, pair: '52:54:00:11:22:33', result: 'failed', reason: HOSTILE[2]!, observed: false },
    },
  ]);
