// The log that the service writes: embedded, with or without a copy on a KurrentDB server, or on such a server itself. What
// is configured is checked before anything is opened; nothing of KurrentDB is loaded unless it is configured.
import { hostname } from 'node:os';
import { type Connection, connectionOf } from '../adapters/kurrentdb/connection.ts';
import { type OpenedLog, openLog } from '../adapters/log/sqlite.ts';
import type { Identity, SqliteLog } from '../adapters/log/writer.ts';
import { NetkvmError } from '../events/errors.ts';
import type { Lines } from './lines.ts';
import type { LogPlace, Settings } from './settings.ts';

/** How long the end of the service waits for the copy to get the last events. */
const DRAIN_MS = 300;

/** Opens the log as its one writer, without a copy. Throws `log.*`, `config.*`, `kurrentdb.*`. */
export const openWriter = async (place: LogPlace, identity: Identity): Promise<OpenedLog> =>
  place.log === '' ? openLog(place.stateDir, identity) : (await import('./remote.ts')).openRemoteLog(place, identity.bootId);

export interface Copying {
  status(head: number): object;
  stop(): Promise<void>;
}

export interface ServiceLog {
  readonly opened: OpenedLog;
  /** A damaged database can be set aside; what a server has is not ours to move. */
  readonly reopen?: (distrust: string) => OpenedLog;
  readonly copying: Copying | null;
}

/** Throws `log.*`, `config.*`, `kurrentdb.*`. */
export const openServiceLog = async (settings: Settings, identity: Identity, lines: Lines): Promise<ServiceLog> => {
  const connection = copiedTo(settings);
  if (settings.log !== '') return { opened: await openWriter(settings, identity), copying: null };
  let opened: OpenedLog<SqliteLog> = openLog(settings.stateDir, identity);
  const copying = connection === null ? null : await copy(connection, settings, () => opened.log, lines);
  return { opened, reopen: (distrust) => (opened = openLog(settings.stateDir, identity, distrust)), copying };
};

const copiedTo = ({ forwardTo, credentialsFile, log }: Settings): Connection | null => {
  if (forwardTo === '') return null;
  if (log === '') return connectionOf(forwardTo, credentialsFile);
  throw new NetkvmError('config.value', 'forwardTo copies the embedded log; with log = "kurrentdb://…" there is nothing to copy');
};

/** `log` is the one that is written now: after damage it is another than at the start. */
const copy = async (connection: Connection, settings: Settings, log: () => SqliteLog, lines: Lines): Promise<Copying> => {
  const { Forwarding } = await import('../adapters/kurrentdb/forwarding.ts');
  const retention = { days: settings.forwardedDays, events: settings.forwardedEvents };
  const forwarding = new Forwarding(
    { dir: settings.stateDir, connection, vm: hostname(), retention },
    {
      sent: (forwarded) => log().noteForwarded(forwarded),
      diverged: (logId) => {
        const present = log();
        if (present.logId !== logId) return;
        present.renew();
        const reason = `the server has log ${logId} with other events; this log is now ${present.logId}`;
        lines.degraded({ part: 'kurrentdb', reason });
      },
      failing: (reason) => {
        if (reason === null) lines.recovered({ part: 'kurrentdb' });
        else lines.degraded({ part: 'kurrentdb', reason });
      },
    },
  );
  return { status: (head) => forwarding.status(head), stop: () => forwarding.stop(DRAIN_MS) };
};
