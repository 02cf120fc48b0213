// The service as Windows runs it (`netkvm run --service`): under the service control manager instead of a terminal, with what
// matters of its lines in the event log. Control 128 asks it where the pairs are: the answer is an entry, too.
import { openEventLog, type EntryType } from '../adapters/windows/event-log.ts';
import { SERVICE_NAME } from '../adapters/windows/service.ts';
import { runUnderServiceManager, type Told } from '../adapters/windows/service-process.ts';
import { NetkvmError } from '../events/errors.ts';
import type { Level, LineName } from './lines.ts';

/** The control that the original service takes for "dump". */
export const DUMP_CONTROL = 128;

/** Lines that are entries although nothing is wrong. */
const TOLD: readonly LineName[] = ['started', 'stopped', 'recovered', 'outageEnded', 'reloaded'];
const TYPES: Readonly<Partial<Record<Level, EntryType>>> = { fatal: 'error', error: 'error', warn: 'warning' };

interface ServiceOptions {
  readonly told: Told;
  readonly until: AbortSignal;
  readonly also: (name: LineName, level: Level, text: string) => void;
  readonly onRunning: (status: () => string) => void;
  readonly json: boolean;
}

/** `runService` is `netkvm run` without a terminal. Errors: `service.refused` when nobody started this as a service. */
export const runAsService = (runService: (options: ServiceOptions) => Promise<number>): Promise<number> => {
  const enter = openEventLog(SERVICE_NAME);
  let status = (): string => 'not running yet';
  const also: ServiceOptions['also'] = (name, level, text) => {
    const type = TYPES[level] ?? (TOLD.includes(name) ? 'information' : null);
    if (type !== null) enter(type, text);
  };
  return runUnderServiceManager(SERVICE_NAME, {
    run: async (told, until) => {
      try {
        return await runService({ told, until, also, json: false, onRunning: (shows) => (status = shows) });
      } catch (error) {
        enter('error', error instanceof NetkvmError ? error.line : String(error instanceof Error ? error.stack : error));
        return error instanceof NetkvmError ? error.exit : 1;
      }
    },
    control: (code) => {
      if (code === DUMP_CONTROL) enter('information', status());
    },
    reload: () => void process.emit('SIGHUP'),
  });
};
