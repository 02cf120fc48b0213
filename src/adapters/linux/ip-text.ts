// IP addresses as text, from the bytes of an rtnetlink attribute.

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
