// The two netlink sockets of the kernel's announcements, as system calls: links and addresses (NETLINK_ROUTE), devices and
// drivers (NETLINK_KOBJECT_UEVENT). Reading never blocks; waiting does, in a thread of libuv's pool, with an eventfd to
// end it. Needs no privileges, but only root may have the large receive buffer.
// Sources: netlink(7), rtnetlink(7), socket(7), linux/netlink.h, linux/rtnetlink.h.
import type { Source } from './observer.ts';
import { calm, urge } from './priority.ts';
import { checked, ERRNO, errno, errnoName, libc, refused } from './libc.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const PROTOCOL = { rtnetlink: 0, uevent: 15 } as const;
/** RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR; the kernel's own uevents are group 1, udev's are group 2. */
const GROUPS = { rtnetlink: 0x1 | 0x10 | 0x100, uevent: 0x1 } as const;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const POLLIN = 0x1;
const RTM_GETLINK = 18;
const RTM_GETADDR = 22;
const NLM_F_REQUEST_DUMP = 0x301;

/** Room for thousands of messages while this process is busy or not scheduled. */
export const RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;
/** The kernel's dump replies have at most 32 KiB, a notification some 2 KiB (more for a PF with many VFs). */
const DATAGRAM_BYTES = 256 * 1024;
/** poll(2) returns at least this often: timers of the caller ride on it, and a process that exits waits for it. */
const LONGEST_WAIT_MS = 1000;
const PAUSE_MS = 100;

export type Received =
  /** `bytes` is a view on a buffer that the next call overwrites; `pid` 0 is the kernel. */
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array; readonly pid: number }
  | { readonly kind: 'error'; readonly error: string }
  | { readonly kind: 'empty' };
const EMPTY: Received = { kind: 'empty' };

export class NetlinkSockets {
  readonly #libc = libc();
  readonly #fds: { readonly [S in Source]: number };
  readonly #wakeFd: number;
  /** Four struct pollfd: descriptor (32 bits; one that is -1 is passed over), events (16), what happened (16). */
  readonly #pollFds = new Uint8Array(32);
  readonly #polled = new DataView(this.#pollFds.buffer);
  readonly #word = new Uint8Array(8);
  /** Whether a socket may have something to read: saves the calls that would only say no. */
  readonly #ready = { uevent: true, rtnetlink: true };
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  readonly #sender = new Uint8Array(12);
  readonly #senderView = new DataView(this.#sender.buffer);
  /** In: the room for the sender's address; the kernel writes its length here. */
  readonly #senderLength = Uint32Array.of(12);
  readonly #onExit = (): void => this.wake();
  #seq = 0;
  #waiting = false;
  #closed = false;

  /** Throws `platform.netlink` if the kernel refuses a socket. `receiveBuffer_bytes` is small in tests of overrun only. */
  constructor(receiveBuffer_bytes = RECEIVE_BUFFER_BYTES) {
    const opened: number[] = [];
    const keep = (fd: number): number => {
      opened.push(fd);
      return fd;
    };
    try {
      this.#fds = {
        uevent: keep(this.#open('uevent', receiveBuffer_bytes)),
        rtnetlink: keep(this.#open('rtnetlink', receiveBuffer_bytes)),
      };
      this.#wakeFd = keep(checked(this.#libc.eventfd(0, SOCK_NONBLOCK | SOCK_CLOEXEC), 'eventfd'));
    } catch (error) {
      for (const fd of opened) this.#libc.close(fd);
      throw error;
    }
    [this.#fds.uevent, this.#fds.rtnetlink, this.#wakeFd, -1].forEach((fd, index) => {
      this.#polled.setInt32(index * 8, fd, true);
      this.#polled.setInt16(index * 8 + 4, POLLIN, true);
    });
    // At exit Node waits for the threads of its pool: end the wait, or leaving takes up to a second.
    process.on('exit', this.#onExit);
  }

  #open(source: Source, receiveBuffer_bytes: number): number {
    const fd = checked(
      this.#libc.socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, PROTOCOL[source]),
      `${source} socket`,
    );
    const option = new Uint8Array(4);
    const value = new DataView(option.buffer);
    value.setInt32(0, receiveBuffer_bytes, true);
    // Without root: as much as net.core.rmem_max allows. An overrun then comes earlier, and is seen as one.
    if (this.#libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, option, 4) < 0)
      this.#libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, option, 4);
    value.setInt32(0, 1, true);
    this.#libc.setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, option, 4); // Linux 4.12; only makes errors readable.
    const address = new Uint8Array(12); // struct sockaddr_nl: family, pad, port (0: the kernel chooses), groups.
    const fields = new DataView(address.buffer);
    fields.setUint16(0, AF_NETLINK, true);
    fields.setUint32(8, GROUPS[source], true);
    if (this.#libc.bind(fd, address, address.length) < 0) {
      const code = errno();
      this.#libc.close(fd);
      throw refused(`${source} bind`, code);
    }
    return fd;
  }

  /** One more file that ends a wait when it can be read; `watched` then says so. */
  watch(fd: number): void {
    this.#polled.setInt32(24, fd, true);
  }
  watched = false;

  /** The next datagram, if there is one. MSG_TRUNC makes the kernel tell the length of one that did not fit. */
  receive(source: Source): Received {
    if (!this.#ready[source]) return EMPTY;
    this.#senderLength[0] = this.#sender.length;
    const flags = MSG_DONTWAIT | MSG_TRUNC;
    const length = this.#libc.recvfrom(this.#fds[source], this.#buffer, DATAGRAM_BYTES, flags, this.#sender, this.#senderLength);
    if (length < 0) {
      const code = errno();
      if (code !== ERRNO.EAGAIN && code !== ERRNO.EINTR) return { kind: 'error', error: errnoName(code) };
      this.#ready[source] = false;
      return EMPTY;
    }
    if (length > DATAGRAM_BYTES) return { kind: 'error', error: `a datagram of ${length} bytes` };
    return { kind: 'datagram', bytes: this.#buffer.subarray(0, length), pid: this.#senderView.getUint32(4, true) };
  }

  /**
   * Asks the kernel for every link or address; returns the sequence number that the replies will carry, or the errno as a
   * negative number. One dump at a time: the kernel refuses a second one on the same socket with EBUSY.
   */
  requestDump(part: 'links' | 'addresses'): number {
    const body = part === 'links' ? 16 : 8; // struct ifinfomsg, struct ifaddrmsg; all zero: every family, every index.
    const bytes = new Uint8Array(16 + body);
    const header = new DataView(bytes.buffer);
    this.#seq += 1;
    header.setUint32(0, bytes.length, true);
    header.setUint16(4, part === 'links' ? RTM_GETLINK : RTM_GETADDR, true);
    header.setUint16(6, NLM_F_REQUEST_DUMP, true);
    header.setUint32(8, this.#seq, true);
    this.#ready.rtnetlink = true; // The first replies are there when send returns.
    return this.#libc.send(this.#fds.rtnetlink, bytes, bytes.length, MSG_DONTWAIT) < 0 ? -errno() : this.#seq;
  }

  /**
   * Calls back when there is something to read, after `wake`, or when the time is over; one wait at a time. It takes one
   * of libuv's four threads for as long as it waits (UV_THREADPOOL_SIZE): a second platform in the process takes another.
   */
  wait(timeout_ms: number, ready: () => void): void {
    if (this.#waiting || this.#closed) throw new Error('a wait is under way, or the sockets are closed');
    this.#waiting = true;
    urge();
    this.#libc.poll.async(this.#pollFds, 4, Math.min(Math.max(timeout_ms, 0), LONGEST_WAIT_MS), (_error, count) => {
      this.#waiting = false;
      if (count < 0)
        setTimeout(ready, PAUSE_MS); // A signal (EINTR), or no memory: not in a tight loop.
      else {
        if (this.#happened(0)) this.#ready.uevent = true;
        else calm();
        if (this.#happened(1)) this.#ready.rtnetlink = true;
        this.watched = this.#happened(3);
        if (this.#happened(2)) this.#libc.read(this.#wakeFd, this.#word, 8);
        ready();
      }
    });
  }

  #happened(index: number): boolean {
    return this.#polled.getInt16(index * 8 + 6, true) !== 0;
  }

  /** Ends a wait early, or the next one. */
  wake(): void {
    if (this.#closed) return;
    const one = new Uint8Array(8);
    one[0] = 1;
    this.#libc.write(this.#wakeFd, one, 8);
  }

  /** Only when no wait is under way: a thread must not poll a number that already means another file. */
  close(): void {
    if (this.#waiting) throw new Error('a wait is under way');
    if (this.#closed) return;
    this.#closed = true;
    process.off('exit', this.#onExit);
    for (const fd of [this.#fds.uevent, this.#fds.rtnetlink, this.#wakeFd]) this.#libc.close(fd);
  }
}
