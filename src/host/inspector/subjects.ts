// What the inspector may show: a file, which is read once, or the log of this machine, which is followed as it grows. The
// log is only read, so the service does not notice.
import type { LogReader } from '../../events/log.ts';
import type { Configuration } from '../config.ts';
import { openLogOf } from '../look.ts';
import { type InspectorDocument, NO_TIMELINE } from './document.ts';
import type { Subject } from './subject.ts';

/** Of a longer log only what follows the newest checkpoint is shown. */
const EVENTS_SHOWN = 50_000;

export const subjectOfFile = (document: InspectorDocument): Subject => {
  const idOf = (seq: number): string => `file/${seq}`;
  return {
    document: () => Promise.resolve(document),
    async *events(after) {
      // The page has them all; a receiver of the xstate protocol asks for all.
      if (after !== null) return;
      for (const event of document.events) yield { id: idOf(event.seq), event };
    },
    head: () => {
      const last = document.events.at(-1);
      return Promise.resolve(last === undefined ? null : idOf(last.seq));
    },
  };
};

/** Where what is shown begins. */
const startOf = (reader: LogReader): number => {
  const [first, head] = [reader.first(), reader.head()];
  return head - first < EVENTS_SHOWN ? first : Math.max(first, reader.checkpoint());
};

/** The log that the configuration names, in its folder or on a server. */
export const subjectOfLog = (configuration: Configuration): Subject => {
  const look = async <T>(at: (reader: LogReader) => T): Promise<T> => {
    const reader = await openLogOf(configuration);
    try {
      return at(reader);
    } finally {
      reader.close();
    }
  };
  return {
    document: async () => ({
      schemaVersion: 1,
      source: { kind: 'live', name: await look(({ path }) => path) },
      served: true,
      complaints: [],
      events: [],
      timeline: NO_TIMELINE,
    }),
    // Opened anew for each client: a log that was set aside is followed by the one that took its place.
    async *events(after, signal) {
      const reader = await openLogOf(configuration);
      try {
        const [logId, seq] = after?.split('/') ?? [];
        const from = logId === reader.logId ? Number(seq) + 1 : startOf(reader);
        for await (const event of reader.follow(Number.isSafeInteger(from) ? from : startOf(reader), signal))
          yield { id: `${event.logId}/${event.seq}`, event };
      } finally {
        reader.close();
      }
    },
    head: () => look((reader) => (reader.head() === 0 ? null : `${reader.logId}/${reader.head()}`)),
  };
};
