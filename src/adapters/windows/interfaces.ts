// The system's table of network interfaces (GetIfTable2): which exist, their MACs, MTUs and carriers. It lists a VF also when
// nothing is bound to it, which GetAdaptersAddresses does not. Source: MIB_IF_ROW2, netioapi.h (64-bit layout).
import koffi from 'koffi';
import type { EventData } from '../../events/catalogue.ts';
import { checkedCode, guidText, load, once, type Pointer, using, wideAt } from './win32.ts';

const ROW_BYTES = 1352;
/** NumEntries, then padding to eight bytes. */
const TABLE_HEAD_BYTES = 8;
const ROWS_MAX = 16_384;
const AT = {
  index: 8,
  guid: 12,
  alias: 28,
  macLength: 1056,
  mac: 1060,
  permMac: 1092,
  mtu: 1124,
  type: 1128,
  flags: 1152,
  adminStatus: 1160,
  mediaState: 1164,
  inUnicast: 1216,
  inOther: 1224,
  inDiscards: 1232,
  outUnicast: 1288,
  outOther: 1296,
  outDiscards: 1304,
} as const;
const ALIAS_BYTES = 514;
const IF_TYPE_ETHERNET_CSMACD = 6;
const IF_ADMIN_STATUS_UP = 1;
const MEDIA_CONNECTED = 1;
/** FilterInterface: a layer above another interface, with its MAC. */
const FLAG_FILTER = 0x2;
const MAC_BYTES = 6;

export interface Interface {
  readonly ifindex: number;
  /** In lower case and braces; NetCfgInstanceId of the device. */
  readonly guid: string;
  readonly alias: string;
  readonly mac: string | null;
  readonly permMac: string | null;
  readonly mtu: number;
  readonly up: boolean;
  readonly carrier: boolean;
  /** Frames since it came up, in decimal. */
  readonly counters: Counters;
}
export type Counters = Omit<EventData<'counters.sampled'>, 'ifindex'>;

const macAt = (row: Buffer, at: number): string | null => {
  if (row.readUInt32LE(AT.macLength) !== MAC_BYTES) return null;
  const bytes = row.subarray(at, at + MAC_BYTES);
  return bytes.every((byte) => byte === 0) ? null : (bytes.toString('hex').match(/../g) ?? []).join(':');
};

const countersAt = (row: Buffer): Counters => {
  const count = (...places: readonly number[]): string =>
    String(places.map((at) => row.readBigUInt64LE(at)).reduce((sum, frames) => sum + frames, 0n));
  return {
    rxPackets: count(AT.inUnicast, AT.inOther),
    rxDropped: count(AT.inDiscards),
    txPackets: count(AT.outUnicast, AT.outOther),
    txDropped: count(AT.outDiscards),
  };
};

/** One MIB_IF_ROW2; null for what is no Ethernet adapter. */
export const decodeRow = (row: Buffer): Interface | null => {
  if (row.readUInt32LE(AT.type) !== IF_TYPE_ETHERNET_CSMACD || (row.readUInt8(AT.flags) & FLAG_FILTER) !== 0) return null;
  return {
    ifindex: row.readUInt32LE(AT.index),
    guid: guidText(row, AT.guid),
    alias: wideAt(row, AT.alias, ALIAS_BYTES),
    mac: macAt(row, AT.mac),
    permMac: macAt(row, AT.permMac),
    mtu: row.readUInt32LE(AT.mtu),
    up: row.readUInt32LE(AT.adminStatus) === IF_ADMIN_STATUS_UP,
    carrier: row.readUInt32LE(AT.mediaState) === MEDIA_CONNECTED,
    counters: countersAt(row),
  };
};

const iphlpapi = once(() => {
  const library = load('iphlpapi.dll');
  return {
    getTable: library.func('uint32_t __stdcall GetIfTable2(_Out_ void **)') as (out: [Pointer]) => number,
    free: library.func('void __stdcall FreeMibTable(void *)') as (table: Pointer) => void,
    row: koffi.array('uint8_t', ROW_BYTES, 'Typed'),
  };
});

/** All Ethernet adapters, in the system's order. Errors: Win32Error. */
export const interfaces = (): Interface[] => {
  const { getTable, free, row } = iphlpapi();
  const out: [Pointer] = [null];
  checkedCode(getTable(out), 'GetIfTable2');
  return using(out[0], free, (table) => {
    const count = Math.min(koffi.decode(table, 'uint32_t') as number, ROWS_MAX);
    return Array.from({ length: count }, (_, at) => {
      const bytes = koffi.decode(table, TABLE_HEAD_BYTES + at * ROW_BYTES, row) as Uint8Array;
      return decodeRow(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    }).filter((one) => one !== null);
  });
};
