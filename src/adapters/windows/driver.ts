// NETKVM's control device: what the driver knows of each MAC, and the one thing that it can be told. It exists from the first
// virtio adapter to the last. Sources: virtio-win NetKVM/Common/netkvmd.h (records, control codes), NtDeviceIoControlFile
// (winternl.h), which returns its status and so can be called in a thread of the pool: a driver may take its time.
import type { DriverFacts } from '../../events/catalogue.ts';
import { type Async, closeHandle, ERROR, type Handle, isInvalid, lastError, load, once, wide, Win32Error } from './win32.ts';

const PATH = '\\\\.\\NETKVMD';
/** CTL_CODE(FILE_DEVICE_NETWORK, function, METHOD_BUFFERED, FILE_READ_ACCESS). */
const codeOf = (call: number): number => (0x12 << 16) | (1 << 14) | (call << 2);
const QUERY_ADAPTERS = codeOf(0x801);
const SET_LINK = codeOf(0x802);
export const RECORD_BYTES = 64;
const RECORDS_MAX = 256;
const GENERIC_READ = 0x80000000;
const FILE_SHARE_READ_WRITE = 3;
const OPEN_EXISTING = 3;

const flag = (record: Buffer, at: number): boolean => record.readUInt8(at) !== 0;

/** Records of QUERY_ADAPTERS. Throws when the answer is not a whole number of them. */
export const decodeRecords = (bytes: Buffer): DriverFacts[] => {
  if (bytes.length % RECORD_BYTES !== 0)
    throw new Error(`NETKVMD answered ${bytes.length} bytes, which is no multiple of the ${RECORD_BYTES} of a record`);
  return Array.from({ length: bytes.length / RECORD_BYTES }, (_, at) => {
    const record = bytes.subarray(at * RECORD_BYTES, (at + 1) * RECORD_BYTES);
    return {
      mac: (record.toString('hex', 0, 6).match(/../g) ?? []).join(':'),
      virtio: flag(record, 6),
      isStandby: flag(record, 7),
      virtioLink: flag(record, 8),
      suppressLink: flag(record, 9),
      started: flag(record, 10),
      hasVf: flag(record, 11),
      vfIfIndex: record.readUInt32LE(12),
      vfLink: flag(record, 16),
    };
  });
};

/** Of several records with one MAC the driver takes the first that has a virtio adapter. */
export const recordOf = (records: readonly DriverFacts[], mac: string): DriverFacts | undefined =>
  records.find((record) => record.mac === mac && record.virtio) ?? records.find((record) => record.mac === mac);

export const encodeSetLink = (mac: string, on: boolean): Buffer =>
  Buffer.concat([Buffer.from(mac.replaceAll(':', ''), 'hex'), Buffer.from([on ? 1 : 0])]);

type Control = Async<
  [
    file: Handle,
    event: 0,
    apc: null,
    context: null,
    status: Buffer,
    code: number,
    input: Buffer,
    inputBytes: number,
    output: Buffer,
    outputBytes: number,
  ]
>;
const native = once(() => {
  const [kernel32, ntdll] = [load('kernel32.dll'), load('ntdll.dll')];
  return {
    open: kernel32.func(
      'intptr_t __stdcall CreateFileW(const uint8_t *, uint32_t, uint32_t, void *, uint32_t, uint32_t, intptr_t)',
    ) as (name: Buffer, access: number, share: number, security: null, how: number, flags: number, template: 0) => Handle,
    control: ntdll.func(
      'uint32_t __stdcall NtDeviceIoControlFile(intptr_t, intptr_t, void *, void *, uint8_t *, uint32_t, const uint8_t *, uint32_t, uint8_t *, uint32_t)',
    ) as Control,
    errorOf: ntdll.func('uint32_t __stdcall RtlNtStatusToDosError(uint32_t)') as (status: number) => number,
  };
});

/** The device is not there: no virtio adapter is, or its driver is not NETKVM, or it is just being restarted. */
export class NoDevice extends Win32Error {}

const call = (operation: string, code: number, input: Buffer, outputBytes: number): Promise<Buffer> => {
  const { open, control, errorOf } = native();
  const file = open(wide(PATH), GENERIC_READ, FILE_SHARE_READ_WRITE, null, OPEN_EXISTING, 0, 0);
  if (isInvalid(file)) {
    const error = lastError();
    const isMissing = error === ERROR.fileNotFound || error === ERROR.pathNotFound;
    return Promise.reject(new (isMissing ? NoDevice : Win32Error)(`opening ${PATH}`, error));
  }
  // IO_STATUS_BLOCK: status, then Information, the bytes that were written.
  const [status, output] = [Buffer.alloc(16), Buffer.alloc(outputBytes)];
  return new Promise<Buffer>((resolve, reject) => {
    control.async(file, 0, null, null, status, code, input, input.length, output, outputBytes, (fault, result) => {
      if (fault !== null) reject(fault);
      else if (result !== 0) reject(new Win32Error(operation, errorOf(result)));
      else resolve(output.subarray(0, Math.min(Number(status.readBigUInt64LE(8)), outputBytes)));
    });
  }).finally(() => closeHandle(file));
};

/** All records, at most 256. Errors: NoDevice, Win32Error, Error when the answer makes no sense. */
export const queryAdapters = async (): Promise<DriverFacts[]> =>
  decodeRecords(await call('QUERY_ADAPTERS of NETKVM', QUERY_ADAPTERS, Buffer.alloc(0), RECORDS_MAX * RECORD_BYTES));

/** Holds the link of the standby with this MAC down, or lets it go. The driver says yes to a MAC that it does not know. */
export const setLink = async (mac: string, on: boolean): Promise<void> => {
  await call('SET_LINK of NETKVM', SET_LINK, encodeSetLink(mac, on), 0);
};
