// This process as a Windows service: it is told by the service control manager when to end, and tells it when it is ready.
// Only an explicit option leads here: a tool that runs in session 0 (an agent, SSH) is no service.
//
// The dispatcher blocks, so it runs in a thread of libuv's pool; its callbacks come from threads of its own, and koffi runs
// them here, one after the other, while those threads wait. They only note what was said. Source: winsvc.h.
import koffi from 'koffi';
import { NetkvmError } from '../../events/errors.ts';
import { SPECIFIC_ERROR } from './scm.ts';
import { type Async, type Handle, load, once, type Pointer, wide } from './win32.ts';

const STATE = { stopped: 1, starting: 2, stopping: 3, running: 4 } as const;
const CONTROL = { stop: 1, interrogate: 4, shutdown: 5, parametersChanged: 6 } as const;
const ACCEPTS = 0x1 | 0x4 | 0x8;
const SERVICE_WIN32_OWN_PROCESS = 0x10;
const ERROR_CALL_NOT_IMPLEMENTED = 120;
/** Of a state that lasts; told again and again with a rising check point. */
const WAIT_HINT_MS = 15_000;
const TELL_AGAIN_MS = 3000;
/** A start or an end that takes longer is given up by whoever waits for it. */
const TELL_LIMIT = 40;

/** What the service does, and what it does when it is told something. */
export interface Working {
  /** The service itself, until `signal` aborts; its exit code. `send` takes the words of sd_notify(3). */
  readonly run: (told: Told, signal: AbortSignal) => Promise<number>;
  /** A control between 128 and 255. */
  readonly control: (code: number) => void;
  /** The configuration is to be read again (SERVICE_CONTROL_PARAMCHANGE). */
  readonly reload: () => void;
}
/** The same as adapters/linux/notify.ts: the service speaks one language to every service manager. */
export interface Told {
  readonly watchdog_ms: null;
  send(...assignments: string[]): boolean;
}

const advapi32 = once(() => {
  const library = load('advapi32.dll');
  const main = koffi.pointer(koffi.proto('void __stdcall NetkvmServiceMain(uint32_t count, void *words)'));
  const handler = koffi.pointer(
    koffi.proto('uint32_t __stdcall NetkvmHandlerEx(uint32_t control, uint32_t type, void *data, void *context)'),
  );
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    main,
    handler,
    dispatch: func<Async<[Buffer]>>('int __stdcall StartServiceCtrlDispatcherW(uint8_t *)'),
    register: func<(name: string, handler: Pointer, context: null) => Handle>(
      'intptr_t __stdcall RegisterServiceCtrlHandlerExW(str16, void *, void *)',
    ),
    setStatus: func<(handle: Handle, status: Buffer) => number>('int __stdcall SetServiceStatus(intptr_t, uint8_t *)'),
  };
});

/** The state as SERVICE_STATUS: type, state, accepted, exit, specific exit, check point, hint. */
class Status {
  #handle: Handle = 0n;
  #state: number = STATE.starting;
  #checkPoint = 0;
  #timer: NodeJS.Timeout | null = null;

  registered(handle: Handle): void {
    this.#handle = handle;
    this.tell(STATE.starting);
  }

  tell(state: number, exit = 0): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#state = state;
    this.#checkPoint = 0;
    this.#send(exit);
    if (state !== STATE.starting && state !== STATE.stopping) return;
    this.#timer = setInterval(() => {
      if ((this.#checkPoint += 1) <= TELL_LIMIT) this.#send(0);
    }, TELL_AGAIN_MS);
  }

  #send(exit: number): void {
    if (!this.#handle) return;
    const status = Buffer.alloc(28);
    const lasts = this.#state === STATE.starting || this.#state === STATE.stopping;
    const fields = [
      SERVICE_WIN32_OWN_PROCESS,
      this.#state,
      this.#state === STATE.running ? ACCEPTS : 0,
      exit === 0 ? 0 : SPECIFIC_ERROR,
      exit,
      lasts ? this.#checkPoint : 0,
      lasts ? WAIT_HINT_MS : 0,
    ];
    fields.forEach((value, at) => status.writeUInt32LE(value >>> 0, 4 * at));
    advapi32().setStatus(this.#handle, status);
  }
}

/**
 * Runs as the service `name` until it is told to stop, or ends by itself; its exit code. Errors: `service.refused` when this
 * process was not started by the service control manager.
 */
export const runUnderServiceManager = async (name: string, working: Working): Promise<number> => {
  const { main, handler, dispatch, register } = advapi32();
  const status = new Status();
  const stopping = new AbortController();
  const began = Promise.withResolvers<number>();
  const told: Told = {
    watchdog_ms: null,
    send: (...assignments) => {
      if (assignments.includes('READY=1')) status.tell(STATE.running);
      if (assignments.includes('STOPPING=1')) status.tell(STATE.stopping);
      return true;
    },
  };
  const onControl = koffi.register((control: number): number => {
    if (control === CONTROL.stop || control === CONTROL.shutdown)
      setImmediate(() => stopping.abort(control === CONTROL.stop ? 'service stop' : 'system shutdown'));
    else if (control === CONTROL.parametersChanged) setImmediate(working.reload);
    else if (control >= 128) setImmediate(() => working.control(control));
    else if (control !== CONTROL.interrogate) return ERROR_CALL_NOT_IMPLEMENTED;
    return 0;
  }, handler);
  const onMain = koffi.register((): void => {
    status.registered(register(name, onControl, null));
    setImmediate(() => {
      working.run(told, stopping.signal).then(began.resolve, began.reject);
    });
  }, main);
  // SERVICE_TABLE_ENTRYW: name and function, then a pair of nulls.
  const words = wide(name);
  const table = Buffer.alloc(32);
  table.writeBigUInt64LE(koffi.address(words), 0);
  table.writeBigUInt64LE(onMain, 8);
  const dispatched = new Promise<number>((resolve, reject) => {
    dispatch.async(table, (error, result) => (error === null ? resolve(result) : reject(error)));
  });
  const refused = dispatched.then((result) => {
    if (result === 0) throw new NetkvmError('service.refused', 'the service control manager did not start this process.');
    return began.promise;
  });
  let exit = 1;
  try {
    exit = await Promise.race([began.promise, refused]);
    return exit;
  } finally {
    status.tell(STATE.stopped, exit);
  }
};
