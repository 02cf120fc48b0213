// Netlink datagrams for tests, byte by byte as linux/netlink.h and linux/if_link.h lay them out.
import { readFileSync } from 'node:fs';
import { CaptureReader, type CaptureEntry } from '../../src/adapters/linux/capture.ts';

type Captured = Extract<CaptureEntry, { kind: 'datagram' }>;

const bytesOf = (length: number, fill: (view: DataView) => void): Uint8Array => {
  const bytes = new Uint8Array(length);
  fill(new DataView(bytes.buffer));
  return bytes;
};
export const joined = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
export const u8 = (value: number): Uint8Array => Uint8Array.of(value);
export const u32 = (value: number): Uint8Array => bytesOf(4, (view) => view.setUint32(0, value, true));
export const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
export const mac = (value: string): Uint8Array => Uint8Array.from(value.split(':'), (pair) => Number.parseInt(pair, 16));

export const attribute = (type: number, ...payload: readonly Uint8Array[]): Uint8Array => {
  const body = joined(...payload);
  const header = bytesOf(4, (view) => {
    view.setUint16(0, 4 + body.length, true);
    view.setUint16(2, type, true);
  });
  return joined(header, body, new Uint8Array((4 - (body.length % 4)) % 4));
};

export const message = (type: number, flags: number, seq: number, ...body: readonly Uint8Array[]): Uint8Array => {
  const payload = joined(...body);
  const header = bytesOf(16, (view) => {
    view.setUint32(0, 16 + payload.length, true);
    view.setUint16(4, type, true);
    view.setUint16(6, flags, true);
    view.setUint32(8, seq, true);
  });
  return joined(header, payload);
};

export const MULTI = 0x2;
export const DUMP_INTR = 0x10;
export interface LinkOptions {
  readonly gone?: boolean;
  readonly flags?: number;
  readonly seq?: number;
  readonly family?: number;
  readonly up?: boolean;
}
export const link = (ifindex: number, options: LinkOptions, ...attributes: readonly Uint8Array[]): Uint8Array => {
  const head = bytesOf(16, (view) => {
    view.setUint8(0, options.family ?? 0);
    view.setInt32(4, ifindex, true);
    view.setUint32(8, options.up === true ? 1 : 0, true);
  });
  return message(options.gone === true ? 17 : 16, options.flags ?? 0, options.seq ?? 0, head, ...attributes);
};
/** Name and MTU: what makes a link message whole. */
export const named = (name: string, mtu = 1500): Uint8Array => joined(attribute(3, text(name)), attribute(4, u32(mtu)));
export const parent = (bus: string, device: string): Uint8Array => joined(attribute(57, text(bus)), attribute(56, text(device)));

export const address = (ifindex: number, ip: readonly number[], prefix: number, options: LinkOptions = {}): Uint8Array => {
  const head = bytesOf(8, (view) => {
    view.setUint8(0, ip.length === 4 ? 2 : 10);
    view.setUint8(1, prefix);
    view.setInt32(4, ifindex, true);
  });
  const body = [head, attribute(1, Uint8Array.from(ip))];
  return message(options.gone === true ? 21 : 20, options.flags ?? 0, options.seq ?? 0, ...body);
};
export const done = (seq: number, flags = MULTI): Uint8Array => message(3, flags, seq, u32(0));

export const uevent = (action: string, path: string, fields: Readonly<Record<string, string>>): Uint8Array => {
  const pairs = Object.entries({ ACTION: action, DEVPATH: path, ...fields, SEQNUM: '1' });
  return new TextEncoder().encode([`${action}@${path}`, ...pairs.map(([key, value]) => `${key}=${value}`), ''].join('\0'));
};

const root = new URL('../../', import.meta.url);
export const SCENARIOS = ['a-boot-with-vf', 'b-migration', 'd-vf-hotplug-later', 'f-vf-del-and-add'] as const;
export const readText = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/** The datagrams of a capture in this repository. */
export const datagrams = (path: string): Captured[] => {
  const reader = new CaptureReader();
  const entries = [...reader.push(readFileSync(new URL(path, root))), ...reader.end()];
  return entries.filter((entry) => entry.kind === 'datagram');
};
export const recorded = (scenario: string): Captured[] => datagrams(`replay/recordings/raw/${scenario}/guest.jsonl`);
