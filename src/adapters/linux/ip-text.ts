// IP addresses as text, from the bytes of an rtnetlink attribute.
import { isIP } from 'node:net';

/** Four bytes as dotted decimals, sixteen as RFC 5952 says; null for another length. */
export const ipText = (bytes: Uint8Array): string | null => {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return null;
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
  const { start, length } = longestZeros(groups);
  // A single zero group is written out; of equally long runs the first is shortened.
  return length < 2 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
};

const hex = (groups: number[]): string => groups.map((group) => group.toString(16)).join(':');

const longestZeros = (groups: number[]): { start: number; length: number } => {
  let best = { start: 0, length: 0 };
  let start = 0;
  groups.forEach((group, index) => {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  });
  return best;
};

/** The bytes of an IP address; null for a text that is none. `::ffff:10.0.0.1` is read, `fe80::1%eth0` is not. */
export const ipBytes = (text: string): Uint8Array | null => {
  switch (isIP(text)) {
    case 4:
      return Uint8Array.from(text.split('.'), Number);
    case 6:
      return text.includes('%') ? null : v6Bytes(text);
    default:
      return null;
  }
};

const v6Bytes = (text: string): Uint8Array => {
  const dotted = /(?<=:)[0-9.]+$/.exec(text)?.[0];
  const tail = dotted?.includes('.') === true ? Uint8Array.from(dotted.split('.'), Number) : null;
  const hexadecimal = tail === null ? text : text.slice(0, -(dotted?.length ?? 0)).replace(/(?<!:):$/, '');
  const [left = [], right] = hexadecimal.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const out = new Uint8Array(16);
  const put = (groups: string[], at: number): void =>
    groups.forEach((group, index) => {
      const value = Number.parseInt(group, 16);
      out.set([value >> 8, value & 0xff], at + 2 * index);
    });
  const end = 16 - (tail?.length ?? 0);
  put(left, 0);
  if (right !== undefined) put(right, end - 2 * right.length);
  if (tail !== null) out.set(tail, end);
  return out;
};
