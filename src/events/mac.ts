// MAC addresses: one way to read them and one way to write them.

/** Six lower-case hexadecimal pairs joined by colons. */
export type Mac = string;

/** Reads `52:54:00:11:22:33`, `52-54-00-11-22-33` or `525400112233`; null for anything else. */
export const parseMac = (text: string): Mac | null => {
  const hex = text.replace(/^([0-9a-f]{2})([:-])((?:[0-9a-f]{2}\2){4}[0-9a-f]{2})$/i, (all) => all.replaceAll(/[:-]/g, ''));
  if (!/^[0-9a-f]{12}$/i.test(hex)) return null;
  return (hex.toLowerCase().match(/../g) ?? []).join(':');
};

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Six bytes as a MAC; null for another length and for the all-zero address, which means "none" in rtnetlink. */
export const macFromBytes = (bytes: Uint8Array): Mac | null =>
  bytes.length === 6 && bytes.some((byte) => byte !== 0) ? Array.from(bytes, (byte) => HEX[byte]).join(':') : null;
