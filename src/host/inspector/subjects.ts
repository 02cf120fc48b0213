// What the inspector may show: a file, which is read once, or the log of this machine, which is followed as it grows. The
// log is only read, so the service does not notice.
import type { SqliteReader } from '../../adapters/log/reader.ts';
import type { Configuration } from '../config.ts';
import { openReader } from '../../adapters/log/sqlite.ts';
import type { InspectorDocument } from './document.ts';
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
      return last === undefined ? null : idOf(last.seq);
    },
  };
};

/** Where what is shown begins. */
const startOf = (reader: SqliteReader): number => {
  const [first, head] = [reader.first(), reader.head()];
  return head - first < EVENTS_SHOWN ? first : Math.max(first, reader.checkpoint());
};

export const subjectOfLog = ({ settings: { stateDir } }: Configuration): Subject => {
  const look = <T>(at: (reader: SqliteReader) => T): T => {
    const reader = openReader(stateDir);
    try {
      return at(reader);
    } finally {
      reader.close();
    }
  };
  return {
    document: () => {
      const name = look(({ path }) => path);
      return Promise.resolve({
        schemaVersion: 1,
        source: { kind: 'live', name },
        served: true,
        complaints: [],
        events: [],
        hosts: [],
      });
    },
    // Opened anew for each client: a log that was set aside is followed by the one that took its place.
    async *events(after, signal) {
      const reader = openReader(stateDir);
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
