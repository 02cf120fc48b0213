// COM by hand, as much as INetCfg needs: calls through the table of an interface, references that are released on every path,
// strings that the server allocated. Only for a process of its own (netcfg.child.ts). Sources: unknwn.h, objbase.h.
import koffi from 'koffi';
import { guidBytes, load, once, type Pointer, using, Win32Error } from './win32.ts';

const ole32 = once(() => {
  const library = load('ole32.dll');
  return {
    initialize: library.func('int32_t __stdcall CoInitializeEx(void *, uint32_t)') as (reserved: null, model: number) => number,
    create: library.func(
      'int32_t __stdcall CoCreateInstance(const uint8_t *, void *, uint32_t, const uint8_t *, _Out_ void **)',
    ) as (clsid: Buffer, outer: null, context: number, iid: Buffer, out: [Pointer]) => number,
    free: library.func('void __stdcall CoTaskMemFree(void *)') as (memory: Pointer) => void,
  };
});

const COINIT_APARTMENTTHREADED = 2;
const CLSCTX_INPROC_SERVER = 1;
const POINTER_BYTES = 8;
export const S_OK = 0;
export const S_FALSE = 1;

export const isFailure = (result: number): boolean => result >> 31 !== 0;
export const checkedResult = (result: number, operation: string): number => {
  if (isFailure(result)) throw new Win32Error(operation, result);
  return result;
};

const prototypes = new Map<string, ReturnType<typeof koffi.proto>>();
const prototype = (parameters: string): ReturnType<typeof koffi.proto> => {
  let known = prototypes.get(parameters);
  if (known === undefined) {
    const all = parameters === '' ? 'void *self' : `void *self, ${parameters}`;
    known = koffi.proto(`int32_t __stdcall ComCall${prototypes.size}(${all})`);
    prototypes.set(parameters, known);
  }
  return known;
};

/** Calls the method in `slot` of an interface's table; `parameters` are its types in koffi's words, without the object itself. */
export const invoke = (object: Pointer, slot: number, parameters = '', ...values: readonly unknown[]): number => {
  const table: unknown = koffi.decode(object, 'void *');
  const method: unknown = koffi.decode(table, slot * POINTER_BYTES, 'void *');
  return koffi.call(method, prototype(parameters), object, ...values) as number;
};

export const release = (object: Pointer): void => void invoke(object, 2);

/** What a method gives in its last parameter: an interface, used and released. `values` are those of the parameters before. */
export const withOut = <T>(
  operation: string,
  object: Pointer,
  slot: number,
  parameters: string,
  values: readonly unknown[],
  use: (found: Pointer) => T,
): T => {
  const out: [Pointer] = [null];
  const all = parameters === '' ? '_Out_ void **out' : `${parameters}, _Out_ void **out`;
  checkedResult(invoke(object, slot, all, ...values, out), operation);
  if (out[0] === null) throw new Error(`${operation} gave nothing`);
  return using(out[0], release, use);
};

export const withInterface = <T>(object: Pointer, iid: string, use: (found: Pointer) => T): T =>
  withOut(`asking for interface ${iid}`, object, 0, 'const uint8_t *iid', [guidBytes(iid)], use);

export const withInstance = <T>(clsid: string, iid: string, use: (created: Pointer) => T): T => {
  const { create } = ole32();
  const out: [Pointer] = [null];
  checkedResult(create(guidBytes(clsid), null, CLSCTX_INPROC_SERVER, guidBytes(iid), out), `making ${clsid}`);
  return using(out[0], release, use);
};

/** Once in the thread that uses COM. */
export const initializeCom = (): void => {
  checkedResult(ole32().initialize(null, COINIT_APARTMENTTHREADED), 'CoInitializeEx');
};

/** A string that the server allocated: read and freed. */
const taken = (text: Pointer): string | null => {
  if (text === null) return null;
  return using(text, ole32().free, () => koffi.decode(text, 'char16_t', -1) as string);
};

/** What a method gives as a string in its only parameter. */
export const stringOf = (operation: string, object: Pointer, slot: number): string => {
  const out: [Pointer] = [null];
  checkedResult(invoke(object, slot, '_Out_ void **text', out), operation);
  return taken(out[0]) ?? '';
};

/** Calls a method whose last parameter may name somebody; gives its result and that name. */
export const withName = (
  object: Pointer,
  slot: number,
  parameters: string,
  values: readonly unknown[],
): { readonly result: number; readonly name: string | null } => {
  const out: [Pointer] = [null];
  const result = invoke(object, slot, `${parameters}, _Out_ void **name`, ...values, out);
  return { result, name: taken(out[0]) };
};

/** What no enumeration of ours reaches. */
const ITEMS_MAX = 65_536;

/** Each item of an IEnum…, released after its turn. */
export const forEach = (enumeration: Pointer, use: (item: Pointer) => void): void => {
  for (let at = 0; at < ITEMS_MAX; at += 1) {
    const [out, got]: [[Pointer], [number]] = [[null], [0]];
    const result = invoke(enumeration, 3, 'uint32_t n, _Out_ void **out, _Out_ uint32_t *got', 1, out, got);
    checkedResult(result, 'an enumeration');
    if (result !== S_OK || got[0] === 0 || out[0] === null) return;
    using(out[0], release, use);
  }
};
