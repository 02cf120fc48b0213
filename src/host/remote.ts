// The log on a KurrentDB server, where the configuration says `log = "kurrentdb://…"`. Loaded only then. The folder of the
// state still has the writer's lock and, with the machine's identity, makes the log id.
import { resolve } from 'node:path';
import { connectionOf } from '../adapters/kurrentdb/connection.ts';
import { RemoteLog, remoteLogId } from '../adapters/kurrentdb/remote-log.ts';
import { makeFolder } from '../adapters/log/files.ts';
import { takeLock, type WriterLock } from '../adapters/log/lock.ts';
import { guarded } from '../adapters/log/node-sqlite.ts';
import { bootId, machineId } from './machine-facts.ts';
import type { LogPlace } from './settings.ts';

const open = ({ log, credentialsFile, stateDir }: LogPlace, boot: string, lock: WriterLock | null): RemoteLog =>
  RemoteLog.open(connectionOf(log, credentialsFile), { logId: remoteLogId(machineId(), resolve(stateDir)), bootId: boot }, lock);

/** Throws `config.*`, `kurrentdb.*`. */
export const openRemoteReader = (settings: LogPlace): RemoteLog => open(settings, bootId(), null);

/** As its one writer. Throws `log.locked`, `config.*`, `kurrentdb.*`. */
export const openRemoteLog = (settings: LogPlace, boot: string) => {
  const dir = resolve(settings.stateDir);
  guarded(dir, () => makeFolder(dir));
  const lock = takeLock(dir);
  try {
    return { log: open(settings, boot, lock), setAside: null, unclean: lock.unclean };
  } catch (error) {
    lock.release(!lock.unclean);
    throw error;
  }
};
