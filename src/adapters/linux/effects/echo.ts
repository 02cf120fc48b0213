// One ICMP echo after the other to a target over a link, until one is answered: with the socket that the kernel has for that
// (net.ipv4.ping_group_range), else with a raw one (CAP_NET_RAW). Sources: icmp(7), icmp6 in RFC 4443, linux/icmp.h, socket(7).
import { setTimeout as sleep } from 'node:timers/promises';
import { ipBytes } from '../ip-text.ts';
import { libc } from '../libc.ts';
import { u16 } from '../netlink-bytes.ts';

const AF = { 4: 2, 16: 10 } as const;
const SOCK = { dgram: 2, raw: 3, nonblockCloexec: 0o4000 | 0o2000000 } as const;
const IPPROTO = { 4: 1, 16: 58 } as const;
const REQUEST = { 4: 8, 16: 128 } as const;
const REPLY = { 4: 0, 16: 129 } as const;
const [SOL_SOCKET, SO_BINDTOIFINDEX] = [1, 62];
const MSG_DONTWAIT = 0x40;
const LOOK_MS = 10;
const REPEAT_MS = 500;
const PACKET_BYTES = 16;

const checksum = (bytes: Uint8Array): number => {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
};

/** Type, code, checksum, identifier, sequence, eight bytes to know our own by. */
const request = (size: 4 | 16, own: Uint8Array): Uint8Array => {
  const packet = new Uint8Array(PACKET_BYTES);
  packet[0] = REQUEST[size];
  packet.set(own, 8);
  const sum = checksum(packet); // The kernel fills in that of ICMPv6.
  packet.set([sum >> 8, sum & 0xff], 2);
  return packet;
};

/** struct sockaddr_in or sockaddr_in6, the port being zero. */
const socketAddress = (bytes: Uint8Array, size: 4 | 16): Uint8Array => {
  const address = new Uint8Array(size === 4 ? 16 : 28);
  address[0] = AF[size];
  address.set(bytes, size === 4 ? 4 : 8);
  return address;
};

const openSocket = (size: 4 | 16): number | null => {
  for (const kind of [SOCK.dgram, SOCK.raw]) {
    const fd = libc().socket(AF[size], kind | SOCK.nonblockCloexec, IPPROTO[size]);
    if (fd >= 0) return fd;
  }
  return null;
};

/** A raw IPv4 socket gives the packet with its IP header. */
const isReply = (bytes: Uint8Array, size: 4 | 16, own: Uint8Array): boolean => {
  const from = size === 4 && (bytes[0] ?? 0) >> 4 === 4 ? 4 * ((bytes[0] ?? 0) & 0xf) : 0;
  return (
    bytes[from] === REPLY[size] && u16(bytes, from + 8) === u16(own, 0) && own.every((byte, at) => bytes[from + 8 + at] === byte)
  );
};

/** Whether the target answers before `until_ms` (performance.now); null if no socket may be opened for asking. */
export const echo = async (target: string, ifindex: number, until_ms: number, signal: AbortSignal): Promise<boolean | null> => {
  const ip = ipBytes(target);
  if (ip === null) return false;
  const size = ip.length === 4 ? 4 : 16;
  const fd = openSocket(size);
  if (fd === null) return null;
  // Linux 5.0; an older one sends where its routes say.
  libc().setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, new Uint8Array(Int32Array.of(ifindex).buffer), 4);
  const own = crypto.getRandomValues(new Uint8Array(8));
  const packet = request(size, own);
  const address = socketAddress(ip, size);
  const buffer = new Uint8Array(2048);
  try {
    for (let next_ms = 0; performance.now() < until_ms && !signal.aborted;) {
      if (performance.now() >= next_ms) {
        libc().sendto(fd, packet, packet.length, MSG_DONTWAIT, address, address.length);
        next_ms = performance.now() + REPEAT_MS;
      }
      const length = libc().recvfrom(fd, buffer, buffer.length, MSG_DONTWAIT, null, null);
      if (length > 0 && isReply(buffer.subarray(0, length), size, own)) return true;
      if (length < 0) await sleep(LOOK_MS);
    }
    return false;
  } finally {
    libc().close(fd);
  }
};
