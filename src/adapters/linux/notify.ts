// What the service tells systemd: sd_notify(3) as the plain datagram that it is, because Node has no datagram sockets in the
// Unix family and libsystemd need not be there. Nothing here ever fails the service: a message that cannot be sent is not.
import { checked, libc } from './libc.ts';

const AF_UNIX = 1;
/** SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, socket(2). */
const DATAGRAM = 2 | 0o2000000 | 0o4000;
/** A longer status is cut. */
const STATUS_BYTES = 1024;

export interface Notify {
  /** Within this time `WATCHDOG=1` must come again, sd_watchdog_enabled(3); null when nobody waits for it. */
  readonly watchdog_ms: number | null;
  /** Sends one assignment after the other; false when systemd did not take them. */
  send(...assignments: string[]): boolean;
}

/** sockaddr_un, unix(7); a leading `@` is the abstract namespace. Null for what sd_notify does not take either. */
const addressOf = (path: string): Uint8Array | null => {
  const bytes = Buffer.from(path);
  if (!/^[@/]/.test(path) || bytes.length > 107) return null;
  const address = new Uint8Array(2 + bytes.length + (path.startsWith('@') ? 0 : 1));
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(bytes, 2);
  if (path.startsWith('@')) address[2] = 0;
  return address;
};

const watchdogOf = (env: NodeJS.ProcessEnv): number | null => {
  const pid = env['WATCHDOG_PID'];
  const usec = Number(env['WATCHDOG_USEC']);
  const ours = pid === undefined || pid === String(process.pid);
  return ours && Number.isSafeInteger(usec) && usec > 0 ? usec / 1000 : null;
};

/** One line each: what holds a line break would be two assignments. */
const clean = (assignment: string): string =>
  Buffer.from(assignment.replaceAll(/\p{Cc}+/gu, ' '))
    .subarray(0, STATUS_BYTES)
    .toString();

/** The connection to the service manager; null when this process was not started by one that listens. */
export const openNotify = (env: NodeJS.ProcessEnv = process.env): Notify | null => {
  const address = addressOf(env['NOTIFY_SOCKET'] ?? '');
  if (address === null) return null;
  const fd = checked(libc().socket(AF_UNIX, DATAGRAM, 0), 'socket(AF_UNIX)');
  return {
    watchdog_ms: watchdogOf(env),
    send: (...assignments) => {
      const bytes = Buffer.from(assignments.map(clean).join('\n'));
      return libc().sendto(fd, bytes, bytes.length, 0, address, address.length) === bytes.length;
    },
  };
};
