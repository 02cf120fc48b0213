// The ground under the rtnetlink decoder: reads from a stretch of a datagram, each checked against the stretch. A message
// and an attribute are stretches of their own, so that a length that lies cannot reach into a neighbour. Plain arithmetic
// on bytes, because messages are rare: what runs once a second runs cold, and objects and closures cost the most then.
//
// Netlink uses the host's byte order; the targets (x86-64, arm64, riscv64) are little-endian, and so are these reads.
// Source: netlink(7), linux/netlink.h (struct nlattr: length, type, payload, padded to four bytes).
import { macFromBytes } from '../../events/mac.ts';

/** The bytes contradict the format; caught once a datagram, by the decoder. */
export class Damage extends Error {}

export const align = (length: number): number => (length + 3) & ~3;

/** Unchecked: the caller has looked at the length. A byte that is not there reads as 0. */
export const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
export const i32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) | (u16(bytes, at + 2) << 16);
export const u32 = (bytes: Uint8Array, at: number): number => i32(bytes, at) >>> 0;
export const u64 = (bytes: Uint8Array, at: number): string =>
  ((BigInt(u32(bytes, at + 4)) << 32n) | BigInt(u32(bytes, at))).toString();

/** Throws unless `length` bytes lie between `from` and `to`. */
export const need = (from: number, to: number, length: number, what: string): void => {
  if (to - from < length) throw new Damage(`${what} has ${to - from} bytes and needs ${length}`);
};

/** Where the attribute at `at` ends, which must be within the stretch that ends at `to`. */
export const attributeEnd = (bytes: Uint8Array, at: number, to: number): number => {
  const length = u16(bytes, at);
  if (length < 4) throw new Damage(`an attribute says it is ${length} bytes long`);
  if (length > to - at) throw new Damage(`an attribute of ${length} bytes runs past the end, ${to - at} bytes away`);
  return at + length;
};
/** NLA_TYPE_MASK: the two bits above are flags. */
export const attributeType = (bytes: Uint8Array, at: number): number => u16(bytes, at + 2) & 0x3fff;
/** The bytes that an attribute's header takes, and that the last one may leave over. */
export const ATTRIBUTE_BYTES = 4;

const LONGEST_NAME = 256;
const utf8 = new TextDecoder('utf-8');
/** A string up to its NUL. Names are nearly always ASCII, for which this is faster than a TextDecoder. */
export const text = (bytes: Uint8Array, from: number, to: number): string => {
  const end = Math.min(to, from + LONGEST_NAME);
  let ascii = '';
  for (let at = from; at < end; at += 1) {
    const code = bytes[at] ?? 0;
    if (code === 0) return ascii;
    if (code > 126) return (utf8.decode(bytes.subarray(from, end)).split('\0', 1)[0] ?? '').slice(0, LONGEST_NAME);
    ascii += String.fromCharCode(code);
  }
  return ascii;
};

/** The same few MACs come again in every message. */
const macs = new Map<number, string | null>();
const MACS_LIMIT = 1024;
/** Null for an address of another length than six bytes, or all zero. */
export const mac = (bytes: Uint8Array, from: number, to: number): string | null => {
  if (to - from !== 6) return null;
  const key = u16(bytes, from) * 2 ** 32 + u32(bytes, from + 2);
  let known = macs.get(key);
  if (known === undefined) {
    known = macFromBytes(bytes.subarray(from, to));
    if (macs.size >= MACS_LIMIT) macs.clear();
    macs.set(key, known);
  }
  return known;
};
