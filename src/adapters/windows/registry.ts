// The registry below HKEY_LOCAL_MACHINE: open, read, write, enumerate. A key is closed on every path (withKey). A missing key
// or value is null, anything else that the system refuses is a Win32Error. Source: winreg.h.
import { checkedCode, decodeWide, ERROR, type Handle, load, once, using, wide, Win32Error } from './win32.ts';

const HKEY_LOCAL_MACHINE = 0x80000002n;
export const ACCESS = { read: 0x20019, write: 0x20006, all: 0xf003f } as const;
export const TYPE = { text: 1, expandable: 2, binary: 3, number: 4, texts: 7 } as const;

export interface RegistryValue {
  /** REG_SZ, REG_DWORD, …: see TYPE; others are possible. */
  readonly type: number;
  readonly data: Buffer;
}

const advapi32 = once(() => {
  const library = load('advapi32.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    open: func<(root: Handle, path: string, options: number, access: number, out: [Handle]) => number>(
      'int32_t __stdcall RegOpenKeyExW(intptr_t, str16, uint32_t, uint32_t, _Out_ intptr_t *)',
    ),
    create: func<
      (
        root: Handle,
        path: string,
        z: 0,
        cls: null,
        options: 0,
        access: number,
        security: null,
        out: [Handle],
        did: null,
      ) => number
    >(
      'int32_t __stdcall RegCreateKeyExW(intptr_t, str16, uint32_t, str16, uint32_t, uint32_t, void *, _Out_ intptr_t *, void *)',
    ),
    close: func<(key: Handle) => number>('int32_t __stdcall RegCloseKey(intptr_t)'),
    query: func<
      (key: Handle, name: string, z: null, type: [number] | null, data: Buffer | null, size: [number] | null) => number
    >('int32_t __stdcall RegQueryValueExW(intptr_t, str16, void *, _Out_ uint32_t *, uint8_t *, _Inout_ uint32_t *)'),
    set: func<(key: Handle, name: string, z: 0, type: number, data: Buffer, size: number) => number>(
      'int32_t __stdcall RegSetValueExW(intptr_t, str16, uint32_t, uint32_t, const uint8_t *, uint32_t)',
    ),
    remove: func<(key: Handle, name: string) => number>('int32_t __stdcall RegDeleteValueW(intptr_t, str16)'),
    removeTree: func<(key: Handle, path: string) => number>('int32_t __stdcall RegDeleteTreeW(intptr_t, str16)'),
    enumKey: func<(key: Handle, at: number, name: Uint16Array, size: [number], a: null, b: null, c: null, d: null) => number>(
      'int32_t __stdcall RegEnumKeyExW(intptr_t, uint32_t, uint16_t *, _Inout_ uint32_t *, void *, void *, void *, void *)',
    ),
    enumValue: func<(key: Handle, at: number, name: Uint16Array, size: [number], a: null, b: null, c: null, d: null) => number>(
      'int32_t __stdcall RegEnumValueW(intptr_t, uint32_t, uint16_t *, _Inout_ uint32_t *, void *, void *, void *, void *)',
    ),
    notify: func<(key: Handle, subtree: number, filter: number, event: Handle, asynchronous: number) => number>(
      'int32_t __stdcall RegNotifyChangeKeyValue(intptr_t, int, uint32_t, intptr_t, int)',
    ),
  };
});

/** Longest name of a key, and of a value, in characters with the closing zero. */
const KEY_NAME_MAX = 256;
const VALUE_NAME_MAX = 16_384;
/** More entries than any key of ours has: an enumeration ends somewhere. */
const ENTRIES_MAX = 65_536;
/** REG_NOTIFY_CHANGE_NAME, REG_NOTIFY_CHANGE_LAST_SET. */
const NOTIFY_FILTER = 0x1 | 0x4;

const isMissing = (code: number): boolean => code === ERROR.fileNotFound || code === ERROR.pathNotFound;

/** An open key. `path` is only for messages. */
export class RegistryKey {
  readonly handle: Handle;
  readonly path: string;
  constructor(handle: Handle, path: string) {
    this.handle = handle;
    this.path = path;
  }

  close(): void {
    advapi32().close(this.handle);
  }

  value(name: string): RegistryValue | null {
    const { query } = advapi32();
    // The value may grow between asking for its size and reading it.
    for (let size = 512; ;) {
      const [data, type, length] = [Buffer.alloc(size), [0] as [number], [size] as [number]];
      const code = query(this.handle, name, null, type, data, length);
      if (isMissing(code)) return null;
      if (code === ERROR.moreData) size = Math.max(length[0], size * 2);
      else {
        checkedCode(code, `reading ${name} of ${this.path}`);
        return { type: type[0], data: data.subarray(0, length[0]) };
      }
    }
  }

  /** A REG_SZ or REG_EXPAND_SZ as it is written; null when it is missing or something else. */
  text(name: string): string | null {
    const value = this.value(name);
    return value === null || (value.type !== TYPE.text && value.type !== TYPE.expandable) ? null : textOf(value);
  }

  /** A REG_DWORD. */
  number(name: string): number | null {
    const value = this.value(name);
    return value?.type === TYPE.number && value.data.length === 4 ? value.data.readUInt32LE() : null;
  }

  set(name: string, { type, data }: RegistryValue): void {
    checkedCode(advapi32().set(this.handle, name, 0, type, data, data.length), `writing ${name} of ${this.path}`);
  }
  setText(name: string, text: string): void {
    this.set(name, { type: TYPE.text, data: wide(text) });
  }
  setNumber(name: string, number: number): void {
    const data = Buffer.alloc(4);
    data.writeUInt32LE(number >>> 0);
    this.set(name, { type: TYPE.number, data });
  }

  /** A value that is missing already is no error. */
  remove(name: string): void {
    const code = advapi32().remove(this.handle, name);
    if (!isMissing(code)) checkedCode(code, `removing ${name} of ${this.path}`);
  }
  /** A key with all that is below it. */
  removeTree(path: string): void {
    const code = advapi32().removeTree(this.handle, path);
    if (!isMissing(code)) checkedCode(code, `removing ${this.path}\\${path}`);
  }

  /** Names in the order in which the registry has them. */
  subkeys(): string[] {
    return this.#names(advapi32().enumKey, KEY_NAME_MAX);
  }
  values(): string[] {
    return this.#names(advapi32().enumValue, VALUE_NAME_MAX);
  }

  #names(next: ReturnType<typeof advapi32>['enumKey'], max: number): string[] {
    const found: string[] = [];
    const name = new Uint16Array(max);
    for (let at = 0; at < ENTRIES_MAX; at += 1) {
      const length: [number] = [max];
      const code = next(this.handle, at, name, length, null, null, null, null);
      if (code === ERROR.noMoreItems) break;
      checkedCode(code, `listing ${this.path}`);
      found.push(decodeWide(name, length[0]));
    }
    return found;
  }

  /** Sets `event` at the next change of a name or value here or below; to be asked for again after each. */
  notify(event: Handle): void {
    checkedCode(advapi32().notify(this.handle, 1, NOTIFY_FILTER, event, 1), `watching ${this.path}`);
  }
}

/** A REG_SZ without its closing zero, which not everybody writes. */
export const textOf = ({ data }: RegistryValue): string => {
  const text = data.toString('utf16le');
  const end = text.indexOf('\0');
  return end === -1 ? text : text.slice(0, end);
};

/** Null when there is no such key. The caller closes it. */
export const openKey = (path: string, access: number = ACCESS.read): RegistryKey | null => {
  const out: [Handle] = [0n];
  const code = advapi32().open(HKEY_LOCAL_MACHINE, path, 0, access, out);
  if (isMissing(code)) return null;
  if (code !== ERROR.success) throw new Win32Error(`opening ${path}`, code);
  return new RegistryKey(out[0], path);
};

/** Opens a key, or makes it; the caller closes it. */
export const createKey = (path: string, access: number = ACCESS.all): RegistryKey => {
  const out: [Handle] = [0n];
  checkedCode(advapi32().create(HKEY_LOCAL_MACHINE, path, 0, null, 0, access, null, out, null), `making ${path}`);
  return new RegistryKey(out[0], path);
};

/** Uses a key and closes it; null when it does not exist. */
export const withKey = <T>(path: string, use: (key: RegistryKey) => T, access: number = ACCESS.read): T | null => {
  const key = openKey(path, access);
  return key === null ? null : using(key, () => key.close(), use);
};
