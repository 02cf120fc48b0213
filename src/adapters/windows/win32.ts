// Win32 through koffi, what all files of this folder need: libraries that are loaded at first use (so that importing a file
// on another operating system does no harm), errors with number and text, handles that are closed on every path, GUIDs and
// wide strings. Only 64-bit Windows. Sources: errhandlingapi.h, winbase.h, handleapi.h, guiddef.h.
import koffi from 'koffi';
import { NetkvmError } from '../../events/errors.ts';

export type Library = ReturnType<typeof koffi.load>;
/** A HANDLE, HKEY or SC_HANDLE: koffi gives a plain number where it can. */
export type Handle = number | bigint;
/** Address of something that lives outside of JavaScript. */
export type Pointer = unknown;
/** A call that may be made here, or in a thread of libuv's pool; there GetLastError() is lost, so take only what returns its error. */
export interface Async<A extends readonly unknown[], R = number> {
  (...args: A): R;
  async(...args: [...A, done: (error: Error | null, result: R) => void]): void;
}

/** INVALID_HANDLE_VALUE. */
export const isInvalid = (handle: Handle): boolean => BigInt(handle) === -1n;
export const ERROR = {
  success: 0,
  fileNotFound: 2,
  pathNotFound: 3,
  accessDenied: 5,
  invalidHandle: 6,
  notSupported: 50,
  invalidParameter: 87,
  insufficientBuffer: 122,
  moreData: 234,
  noMoreItems: 259,
  elevationRequired: 740,
  serviceDoesNotExist: 1060,
} as const;

/** Makes a table of functions when it is first asked for. */
export const once = <T>(make: () => T): (() => T) => {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
};

const libraries = new Map<string, Library>();
/** The same library each time, whatever else of this name is loaded meanwhile. */
export const load = (name: string): Library => {
  try {
    const library = libraries.get(name) ?? koffi.load(name);
    libraries.set(name, library);
    return library;
  } catch (error) {
    throw new NetkvmError('platform.unsupported', `${name} cannot be loaded: ${(error as Error).message}`, { cause: error });
  }
};

const kernel32 = once(() => {
  const library = load('kernel32.dll');
  return {
    GetLastError: library.func('uint32_t __stdcall GetLastError()') as () => number,
    CloseHandle: library.func('int __stdcall CloseHandle(intptr_t)') as (handle: Handle) => number,
    FormatMessageW: library.func(
      'uint32_t __stdcall FormatMessageW(uint32_t, void *, uint32_t, uint32_t, uint16_t *, uint32_t, void *)',
    ) as (flags: number, source: null, code: number, language: number, into: Uint16Array, size: number, args: null) => number,
  };
});

/** Of the last call in this thread. Ask at once: the next call may change it. */
export const lastError = (): number => kernel32().GetLastError();

const FORMAT_MESSAGE_IGNORE_INSERTS = 0x200;
const FORMAT_MESSAGE_FROM_SYSTEM = 0x1000;

/** The system's words for an error number or HRESULT, without the number; empty when it has none. */
export const errorText = (code: number): string => {
  const into = new Uint16Array(512);
  const flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
  const length = kernel32().FormatMessageW(flags, null, code >>> 0, 0, into, into.length, null);
  return decodeWide(into, length).trim().replace(/\.$/, '');
};

const E_ACCESSDENIED = 0x80070005;
const isDenied = (code: number): boolean =>
  code === ERROR.accessDenied || code === ERROR.elevationRequired || code === E_ACCESSDENIED;
/** Decimal as `net helpmsg` takes it, or hexadecimal for an HRESULT or NTSTATUS. */
const numberText = (code: number): string => (code < 0x10000 ? String(code) : `0x${code.toString(16).padStart(8, '0')}`);

/** What Windows refused: `windows.notPermitted` for a lack of rights, else `windows.refused`. */
export class Win32Error extends NetkvmError {
  /** Error number (winerror.h), HRESULT or NTSTATUS, unsigned. */
  readonly number: number;
  constructor(operation: string, number: number) {
    const code = number >>> 0;
    const text = errorText(code);
    const what = `${operation} failed: ${text === '' ? 'error' : text} (${numberText(code)})`;
    super(isDenied(code) ? 'windows.notPermitted' : 'windows.refused', what);
    this.number = code;
  }
  get isDenied(): boolean {
    return isDenied(this.number);
  }
}

/** For calls that return FALSE or 0 and leave their error behind. */
export const checked = <T extends number | bigint>(result: T, operation: string): T => {
  if (!result) throw new Win32Error(operation, lastError());
  return result;
};

/** For calls that return their error (registry, iphlpapi, cfgmgr32). */
export const checkedCode = (code: number, operation: string): void => {
  if (code !== ERROR.success) throw new Win32Error(operation, code);
};

export const closeHandle = (handle: Handle): void => void kernel32().CloseHandle(handle);

/** Uses something and gives it back, also when `use` throws or its promise rejects. */
export const using = <H, T>(held: H, release: (held: H) => void, use: (held: H) => T): T => {
  let later = false;
  try {
    const result = use(held);
    if (!(result instanceof Promise)) return result;
    later = true;
    return result.finally(() => release(held)) as T;
  } finally {
    if (!later) release(held);
  }
};

// Strings and GUIDs.

/** UTF-16 with its closing zero. */
export const wide = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf16le');

/** `length` characters, or up to the first zero. */
export const decodeWide = (from: Uint16Array, length?: number): string => {
  const end = length ?? from.indexOf(0);
  const units = from.subarray(0, end === -1 ? from.length : end);
  return Buffer.from(units.buffer, units.byteOffset, units.byteLength).toString('utf16le');
};

/** UTF-16 of at most `bytes` bytes at `at`, up to the first zero. */
export const wideAt = (from: Buffer, at: number, bytes: number): string => {
  const text = from.toString('utf16le', at, at + bytes);
  const end = text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
};

/** `{4d36e972-e325-11ce-bfc1-08002be10318}`, with or without braces, as the 16 bytes of a GUID. */
export const guidBytes = (text: string): Buffer => {
  const parts = /^\{?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\}?$/i.exec(text);
  if (parts === null) throw new Error(`${text} is no GUID`);
  const bytes = Buffer.from(parts.slice(1).join(''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
};

/** In lower case and braces, as the registry has it but for the case. */
export const guidText = (from: Buffer, at = 0): string => {
  const bytes = Buffer.from(from.subarray(at, at + 16));
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  const hex = bytes.toString('hex');
  return `{${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}}`;
};
