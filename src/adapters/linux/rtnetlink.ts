// From the bytes of one rtnetlink datagram to messages: links, addresses, and the marks around dumps. Pure: it reads a
// Uint8Array and nothing else. Whatever the bytes are, it never throws and never reads past a message's own end: what
// was readable before the damage is returned beside the description of the damage.
//
// Netlink uses the host's byte order; the targets (x86-64, arm64, riscv64) are little-endian, and so is this decoder.
// Sources: netlink(7), rtnetlink(7), linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
import { ipText } from './ip-text.ts';
import { readLink, type Header, type LinkMessage } from './link-message.ts';
import { align, attributeEnd, attributeType, ATTRIBUTE_BYTES, Damage, i32, need, text, u16, u32 } from './netlink-bytes.ts';

/** RTM_NEWADDR or RTM_DELADDR of AF_INET or AF_INET6; `address` is `10.77.0.2/24` or `fe80::1/64`. */
export interface AddressMessage extends Header {
  readonly kind: 'address';
  readonly gone: boolean;
  readonly ifindex: number;
  readonly address: string;
}

export type Message =
  | LinkMessage
  | AddressMessage
  /** NLMSG_DONE: the end of a dump; `errno` is 0, or why the dump stopped early. */
  | (Header & { readonly kind: 'done'; readonly errno: number })
  /** NLMSG_ERROR: the answer to a request; `errno` 0 is a plain acknowledgement. */
  | (Header & { readonly kind: 'error'; readonly errno: number; readonly text: string | null })
  /** NLMSG_OVERRUN: data was lost. */
  | (Header & { readonly kind: 'overrun' });

export interface Decoded {
  readonly messages: readonly Message[];
  /** What was wrong with the bytes after the last message, or null. */
  readonly failure: string | null;
}

const MSG = { error: 2, done: 3, overrun: 4, newLink: 16, delLink: 17, newAddr: 20, delAddr: 21 } as const;
const FLAG = { multi: 0x02, dumpInterrupted: 0x10, capped: 0x100, ackTlvs: 0x200 } as const;
const IFA = { address: 1, local: 2 } as const;
const AF = { inet: 2, inet6: 10 } as const;

const HEADER_BYTES = 16;

/** struct ifaddrmsg: family, prefix length, flags, scope, index (32). IFA_LOCAL is the own end of a point-to-point link. */
const readAddress = (header: Header, gone: boolean, bytes: Uint8Array, from: number, to: number): AddressMessage | null => {
  need(from, to, 8, 'an ifaddrmsg');
  const family = bytes[from];
  if (family !== AF.inet && family !== AF.inet6) return null;
  const prefix = bytes[from + 1] ?? 0;
  const ifindex = i32(bytes, from + 4);
  let own: string | null = null;
  let other: string | null = null;
  for (let at = from + 8, end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
    end = attributeEnd(bytes, at, to);
    const type = attributeType(bytes, at);
    if (type === IFA.local) own = ipText(bytes.subarray(at + ATTRIBUTE_BYTES, end));
    else if (type === IFA.address) other = ipText(bytes.subarray(at + ATTRIBUTE_BYTES, end));
  }
  const address = own ?? other;
  if (address === null || ifindex <= 0 || prefix > (family === AF.inet ? 32 : 128)) throw new Damage('an address is not one');
  return { kind: 'address', ...header, gone, ifindex, address: `${address}/${prefix}` };
};

/** struct nlmsgerr and its extended acknowledgement (NLMSGERR_ATTR_MSG = 1), netlink(7). */
export const readError = (
  flags: number,
  bytes: Uint8Array,
  from: number,
  to: number,
): { readonly errno: number; readonly text: string | null } => {
  need(from, to, 4, 'an nlmsgerr');
  const errno = 0 - i32(bytes, from);
  let message: string | null = null;
  if ((flags & FLAG.ackTlvs) !== 0) {
    need(from, to, 4 + HEADER_BYTES, 'an nlmsgerr');
    const quoted = (flags & FLAG.capped) !== 0 || errno === 0 ? HEADER_BYTES : u32(bytes, from + 4);
    if (quoted > to - from) throw new Damage('an nlmsgerr quotes more than it holds');
    for (let at = from + 4 + align(quoted), end; to - at >= ATTRIBUTE_BYTES; at = align(end)) {
      end = attributeEnd(bytes, at, to);
      if (attributeType(bytes, at) === 1) message = text(bytes, at + ATTRIBUTE_BYTES, end);
    }
  }
  return { errno, text: message };
};

const readMessage = (header: Header, flags: number, bytes: Uint8Array, start: number, to: number): Message | null => {
  const type = u16(bytes, start + 4);
  const from = start + HEADER_BYTES;
  switch (type) {
    case MSG.newLink:
    case MSG.delLink:
      return readLink(header, type === MSG.delLink, bytes, from, to);
    case MSG.newAddr:
    case MSG.delAddr:
      return readAddress(header, type === MSG.delAddr, bytes, from, to);
    case MSG.done:
      return { kind: 'done', ...header, errno: to - from >= 4 ? 0 - i32(bytes, from) : 0 };
    case MSG.error:
      return { kind: 'error', ...header, ...readError(flags, bytes, from, to) };
    case MSG.overrun:
      return { kind: 'overrun', ...header };
    default:
      return null;
  }
};

/** Reads every message of one datagram (struct nlmsghdr: length, type (16), flags (16), sequence, port; aligned to four). */
export const decodeRtnetlink = (bytes: Uint8Array): Decoded => {
  const messages: Message[] = [];
  let at = 0;
  try {
    if (bytes.length === 0) throw new Damage('an empty datagram');
    while (at < bytes.length) {
      const left = bytes.length - at;
      if (left < HEADER_BYTES) throw new Damage(`${left} bytes where a message header should be`);
      const length = u32(bytes, at);
      if (length < HEADER_BYTES || length > left)
        throw new Damage(`a message says it is ${length} bytes long, ${left} are there`);
      const flags = u16(bytes, at + 6);
      const header: Header = {
        seq: u32(bytes, at + 8),
        multi: (flags & FLAG.multi) !== 0,
        interrupted: (flags & FLAG.dumpInterrupted) !== 0,
      };
      const message = readMessage(header, flags, bytes, at, at + length);
      if (message !== null) messages.push(message);
      at += align(length);
    }
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    return { messages, failure: `byte ${at}: ${error.message}` };
  }
  return { messages, failure: null };
};
