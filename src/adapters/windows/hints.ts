// Hints that something has changed: devices that arrive and leave (CM_Register_Notification), interfaces that change
// (NotifyIpInterfaceChange), and the parts of the registry where bindings and drivers' parameters are kept.
//
// No JavaScript runs on a foreign thread: a notification does nothing but set an event, so that a storm of them is one
// hint, and nothing piles up while this process is busy (more than 256 callbacks that wait for JavaScript would end it).
// NotifyIpInterfaceChange hands its context over first, so SetEvent itself is its callback. CM_Register_Notification hands
// it over second: a few machine instructions pass it on. Sources: cfgmgr32.h, netioapi.h, synchapi.h.
import koffi from 'koffi';
import type { RegistryKey } from './registry.ts';
import { openKey } from './registry.ts';
import {
  type Async,
  checked,
  checkedCode,
  closeHandle,
  guidBytes,
  type Handle,
  load,
  once,
  type Pointer,
  Win32Error,
} from './win32.ts';

const NET_INTERFACE = 'cac88484-7515-4c03-82e6-71a87abac361';
/** Where INetCfg writes what it has applied, where drivers keep their parameters, and where device interfaces come and go. */
const WATCHED = [
  'SYSTEM\\CurrentControlSet\\Control\\Network',
  'SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e972-e325-11ce-bfc1-08002be10318}',
  `SYSTEM\\CurrentControlSet\\Control\\DeviceClasses\\{${NET_INTERFACE}}`,
] as const;
/** CM_NOTIFY_FILTER: size, flags, type 0 (device interface), reserved, then the class. */
const FILTER_BYTES = 416;
const FILTER_GUID_AT = 16;
const WAIT_TIMEOUT = 258;
const WAIT_LIMIT_MS = 60_000;
const MEM_COMMIT_RESERVE = 0x3000;
const PAGE_READWRITE = 0x04;
const PAGE_EXECUTE_READ = 0x20;

const native = once(() => {
  const kernel32 = load('kernel32.dll');
  const func = <F>(signature: string): F => kernel32.func(signature) as unknown as F;
  return {
    createEvent: func<(security: null, manual: number, initial: number, name: null) => Handle>(
      'intptr_t __stdcall CreateEventW(void *, int, int, str16)',
    ),
    setEvent: func<(event: Handle) => number>('int __stdcall SetEvent(intptr_t)'),
    wait: func<Async<[event: Handle, ms: number]>>('uint32_t __stdcall WaitForSingleObject(intptr_t, uint32_t)'),
    waitAny: func<Async<[count: number, events: BigInt64Array, all: 0, ms: number]>>(
      'uint32_t __stdcall WaitForMultipleObjects(uint32_t, int64_t *, int, uint32_t)',
    ),
    module: func<(name: string) => Handle>('intptr_t __stdcall GetModuleHandleW(str16)'),
    address: func<(module: Handle, name: string) => Handle>('intptr_t __stdcall GetProcAddress(intptr_t, str)'),
    allocate: func<(at: null, bytes: number, how: number, protection: number) => Pointer>(
      'void *__stdcall VirtualAlloc(void *, size_t, uint32_t, uint32_t)',
    ),
    protect: func<(at: Pointer, bytes: number, protection: number, before: [number]) => number>(
      'int __stdcall VirtualProtect(void *, size_t, uint32_t, _Out_ uint32_t *)',
    ),
  };
});

const addressOf = (module: string, name: string): bigint => {
  const { module: find, address } = native();
  return BigInt(checked(address(checked(find(module), module), name), name));
};

/**
 * x64 code that calls SetEvent with its second argument and returns 0: mov rcx,rdx; sub rsp,40; mov rax,SetEvent; call rax;
 * xor eax,eax; add rsp,40; ret. Made once, kept for the life of the process.
 */
const setSecond = once((): Pointer => {
  const code = Buffer.from('4889d14883ec2848b80000000000000000ffd031c04883c428c3', 'hex');
  code.writeBigInt64LE(addressOf('kernel32.dll', 'SetEvent'), 9);
  const { allocate, protect } = native();
  const memory = allocate(null, code.length, MEM_COMMIT_RESERVE, PAGE_READWRITE);
  if (memory === null) throw new Error('VirtualAlloc failed');
  koffi.encode(memory, koffi.array('uint8_t', code.length), [...code]);
  checked(protect(memory, code.length, PAGE_EXECUTE_READ, [0]), 'VirtualProtect');
  return memory;
});

interface Source {
  readonly name: string;
  /** Registers `event`; the result undoes it. */
  readonly open: (event: Handle) => () => void;
}

const deviceChanges: Source = {
  name: 'CM_Register_Notification',
  open: (event) => {
    if (process.arch !== 'x64') throw new Error(`not written for ${process.arch}`);
    const library = load('cfgmgr32.dll');
    const register = library.func(
      'uint32_t __stdcall CM_Register_Notification(const uint8_t *, intptr_t, void *, _Out_ intptr_t *)',
    ) as (filter: Buffer, context: Handle, callback: Pointer, out: [Handle]) => number;
    const unregister = library.func('uint32_t __stdcall CM_Unregister_Notification(intptr_t)') as (handle: Handle) => number;
    const filter = Buffer.alloc(FILTER_BYTES);
    filter.writeUInt32LE(FILTER_BYTES);
    guidBytes(NET_INTERFACE).copy(filter, FILTER_GUID_AT);
    const out: [Handle] = [0];
    const result = register(filter, event, setSecond(), out);
    if (result !== 0) throw new Error(`CONFIGRET ${result}`);
    return () => void unregister(out[0]);
  },
};

const interfaceChanges: Source = {
  name: 'NotifyIpInterfaceChange',
  open: (event) => {
    const library = load('iphlpapi.dll');
    const notify = library.func(
      'uint32_t __stdcall NotifyIpInterfaceChange(uint16_t, intptr_t, intptr_t, uint8_t, _Out_ intptr_t *)',
    ) as (family: number, callback: Handle, context: Handle, initial: number, out: [Handle]) => number;
    const cancel = library.func('uint32_t __stdcall CancelMibChangeNotify2(intptr_t)') as (handle: Handle) => number;
    const out: [Handle] = [0];
    checkedCode(notify(0, addressOf('kernel32.dll', 'SetEvent'), event, 0, out), 'NotifyIpInterfaceChange');
    return () => void cancel(out[0]);
  },
};

/** What is known when a wait ends: whether bindings or parameters may have changed, too. */
export interface Heard {
  readonly any: boolean;
  readonly registry: boolean;
}

export class Hints {
  readonly #event: Handle;
  readonly #undo: (() => void)[] = [];
  readonly #keys: { readonly key: RegistryKey; readonly event: Handle }[] = [];
  /** Sources that this system does not have, with the reason. */
  readonly lacking: { readonly name: string; readonly reason: string }[] = [];
  #waiting: Promise<Heard> | null = null;
  #closed = false;

  constructor() {
    this.#event = this.#newEvent();
    for (const source of [deviceChanges, interfaceChanges]) {
      this.#tolerate(source.name, () => this.#undo.push(source.open(this.#event)));
    }
    for (const path of WATCHED) {
      this.#tolerate(`registry ${path}`, () => {
        const key = openKey(path);
        if (key === null) return;
        const event = this.#newEvent();
        this.#keys.push({ key, event });
        key.notify(event);
      });
    }
  }

  /** Resolves at the next hint, or after a minute. Uses a thread of the pool as long as it waits. */
  wait(): Promise<Heard> {
    this.#waiting ??= this.#wait().finally(() => {
      this.#waiting = null;
    });
    return this.#waiting;
  }

  /** Ends a wait that is under way. */
  wake(): void {
    if (!this.#closed) native().setEvent(this.#event);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.wake();
    this.#closed = true;
    await this.#waiting;
    for (const undo of this.#undo) undo();
    for (const { key, event } of this.#keys) {
      key.close();
      closeHandle(event);
    }
    closeHandle(this.#event);
  }

  #newEvent(): Handle {
    return checked(native().createEvent(null, 0, 0, null), 'CreateEvent');
  }

  #tolerate(name: string, open: () => void): void {
    try {
      open();
    } catch (error) {
      this.lacking.push({ name, reason: error instanceof Win32Error || error instanceof Error ? error.message : String(error) });
    }
  }

  async #wait(): Promise<Heard> {
    if (this.#closed) return { any: false, registry: false };
    const events = new BigInt64Array([this.#event, ...this.#keys.map(({ event }) => event)].map(BigInt));
    const first = await new Promise<number>((resolve, reject) => {
      native().waitAny.async(events.length, events, 0, WAIT_LIMIT_MS, (error, result) =>
        error === null ? resolve(result) : reject(error),
      );
    });
    if (first === WAIT_TIMEOUT || this.#closed) return { any: false, registry: false };
    if (first >= events.length) throw new Error(`waiting for hints failed (${first})`);
    // The wait has taken back one event only; the keys are watched once for each time they are asked to be.
    const changed = this.#keys.filter(({ event }, at) => first === at + 1 || native().wait(event, 0) === 0);
    for (const { key, event } of changed) this.#tolerate(`registry ${key.path}`, () => key.notify(event));
    return { any: true, registry: changed.length > 0 };
  }
}
