// The C library, through koffi: the few calls that Node has no API for. Loaded at first use, so that importing this file
// on another operating system does no harm. Sources: socket(2), recvfrom(2), poll(2), eventfd(2), clock_gettime(2).
import koffi from 'koffi';
import { NetkvmError } from '../../events/errors.ts';

type Bytes = Uint8Array | Uint32Array;
/** A call that may be made here, or in a thread of libuv's pool. */
interface Async<A extends readonly unknown[]> {
  (...args: A): number;
  async(...args: [...A, done: (error: Error | null, result: number) => void]): void;
}

export interface Libc {
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Bytes, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Bytes, length: number): number;
  readonly recvfrom: Async<
    [fd: number, into: Bytes, size: number, flags: number, address: Bytes | null, addressLength: Bytes | null]
  >;
  readonly send: Async<[fd: number, bytes: Bytes, size: number, flags: number]>;
  sendto(fd: number, bytes: Bytes, size: number, flags: number, address: Bytes, addressLength: number): number;
  lseek(fd: number, offset: number, whence: number): number;
  read(fd: number, into: Bytes, size: number): number;
  write(fd: number, bytes: Bytes, size: number): number;
  close(fd: number): number;
  eventfd(initial: number, flags: number): number;
  sched_setscheduler(task: number, policy: number, parameter: Bytes): number;
  clock_gettime(clock: number, into: Bytes): number;
  readonly poll: Async<[fds: Bytes, count: number, timeout_ms: number]>;
}

const open = (): ReturnType<typeof koffi.load> => {
  try {
    return koffi.load('libc.so.6');
  } catch {
    return koffi.load(null); // Another C library (musl) is part of the program itself.
  }
};

let loaded: Libc | undefined;
export const libc = (): Libc => {
  if (loaded !== undefined) return loaded;
  const library = open();
  loaded = {
    socket: library.func('int socket(int, int, int)'),
    bind: library.func('int bind(int, const void *, uint32_t)'),
    setsockopt: library.func('int setsockopt(int, int, int, const void *, uint32_t)'),
    recvfrom: library.func('int64_t recvfrom(int, void *, size_t, int, void *, void *)') as unknown as Libc['recvfrom'],
    send: library.func('int64_t send(int, const void *, size_t, int)') as unknown as Libc['send'],
    sendto: library.func('int64_t sendto(int, const void *, size_t, int, const void *, uint32_t)'),
    lseek: library.func('int64_t lseek(int, int64_t, int)'),
    read: library.func('int64_t read(int, void *, size_t)'),
    write: library.func('int64_t write(int, const void *, size_t)'),
    close: library.func('int close(int)'),
    eventfd: library.func('int eventfd(unsigned int, int)'),
    sched_setscheduler: library.func('int sched_setscheduler(int, int, const void *)'),
    clock_gettime: library.func('int clock_gettime(int, void *)'),
    poll: library.func('int poll(void *, uint64_t, int)') as unknown as Libc['poll'],
  };
  return loaded;
};

/** errno of the last call in this thread. Ask at once: the next call may change it. */
export const errno = (): number => koffi.errno();

const NAMES = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));
/** `ENOBUFS` and the like, or `errno 123`. */
export const errnoName = (code: number): string => NAMES.get(code) ?? `errno ${code}`;
export const ERRNO = koffi.os.errno;

export const refused = (operation: string, code: number): NetkvmError =>
  new NetkvmError('platform.netlink', `${operation} failed: ${errnoName(code)}.`);

/** Throws `platform.netlink` with the operation and errno if a call failed. */
export const checked = (result: number, operation: string): number => {
  if (result < 0) throw refused(operation, errno());
  return result;
};
