// Entries in the Windows event log (Application), for those who look there first: that the service started and ended, and
// what is wrong. Bounded: an unquiet hour does not push other programs' entries out. The texts are ours, so the source
// points to a message file that every Windows has, with `%1` as its message for the numbers 1 to 1000. Source: winbase.h.
import koffi from 'koffi';
import { ACCESS, createKey, withKey } from './registry.ts';
import { checked, type Handle, load, once, using, wide } from './win32.ts';

const SOURCES = 'SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application';
const MESSAGE_FILE = '%SystemRoot%\\System32\\EventCreate.exe';
const EXPANDABLE = 2;
const TYPES = { error: 1, warning: 2, information: 4 } as const;
export type EntryType = keyof typeof TYPES;
const TEXT_CHARS_MAX = 8000;
/** Entries that one hour may have. */
const HOURLY = 120;
const HOUR_MS = 3_600_000;

const advapi32 = once(() => {
  const library = load('advapi32.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    register: func<(server: null, source: string) => Handle>('intptr_t __stdcall RegisterEventSourceW(str16, str16)'),
    report: func<
      (
        log: Handle,
        type: number,
        category: 0,
        id: number,
        user: null,
        count: number,
        bytes: 0,
        texts: Buffer,
        data: null,
      ) => number
    >('int __stdcall ReportEventW(intptr_t, uint16_t, uint16_t, uint32_t, void *, uint16_t, uint32_t, uint8_t *, void *)'),
    deregister: func<(log: Handle) => number>('int __stdcall DeregisterEventSource(intptr_t)'),
  };
});

/** Lets the viewer show the texts of this source. */
export const defineEventSource = (source: string): void =>
  using(
    createKey(`${SOURCES}\\${source}`),
    (key) => key.close(),
    (key) => {
      key.set('EventMessageFile', { type: EXPANDABLE, data: wide(MESSAGE_FILE) });
      key.setNumber('TypesSupported', TYPES.error | TYPES.warning | TYPES.information);
    },
  );
export const removeEventSource = (source: string): void => void withKey(SOURCES, (key) => key.removeTree(source), ACCESS.all);

/** One event id for each type, 1 to 4, so that an administrator can filter. */
export const reportEvent = (source: string, type: EntryType, text: string): void => {
  const { register, report, deregister } = advapi32();
  using(checked(register(null, source), 'opening the event log'), deregister, (log) => {
    const words = wide(text.slice(0, TEXT_CHARS_MAX));
    const texts = Buffer.alloc(8);
    texts.writeBigUInt64LE(koffi.address(words), 0);
    checked(report(log, TYPES[type], 0, TYPES[type], null, 1, 0, texts, null), 'writing to the event log');
  });
};

/** Writes entries, and never fails: at most so many an hour, the last of which says that others are left out. */
export const openEventLog = (source: string, now: () => number = () => performance.now()) => {
  let since_ms = now();
  let entries = 0;
  return (type: EntryType, text: string): void => {
    if (now() - since_ms > HOUR_MS) [since_ms, entries] = [now(), 0];
    entries += 1;
    if (entries > HOURLY) return;
    try {
      reportEvent(source, type, entries === HOURLY ? `${text}\nMore entries of this hour are left out.` : text);
    } catch {
      // An event log that is full or broken is no reason to do worse.
    }
  };
};
