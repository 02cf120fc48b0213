// What the service manager does when a service ends by itself: started again after some time, so many times. Also when it ends
// with an error instead of a crash. Source: winsvc.h, SERVICE_FAILURE_ACTIONSW (64-bit layout).
import koffi from 'koffi';
import { ERROR, type Handle, lastError, load, once, Win32Error } from './win32.ts';

const INFO = { failureActions: 2, failureActionsFlag: 4 } as const;
const INVALID_LEVEL = 124;
const ANSWER_BYTES = 8192;
/** SC_ACTION: what, and after how many milliseconds. */
const ACTION_BYTES = 8;
const [NONE, RESTART] = [0, 1] as const;
const AT = { resetPeriod: 0, count: 24, actions: 32, end: 40 } as const;

export interface FailureActions {
  /** What is done after the first, second, … unexpected end, in milliseconds until a restart; nothing after the last. */
  readonly restarts_ms: readonly number[];
  /** After this long without one the count begins anew. */
  readonly resetAfter_s: number;
}

const advapi32 = once(() => {
  const library = load('advapi32.dll');
  const func = <F>(signature: string): F => library.func(signature) as unknown as F;
  return {
    change: func<(service: Handle, level: number, info: Buffer) => number>(
      'int __stdcall ChangeServiceConfig2W(intptr_t, uint32_t, uint8_t *)',
    ),
    query: func<(service: Handle, level: number, into: Buffer, size: number, needed: [number]) => number>(
      'int __stdcall QueryServiceConfig2W(intptr_t, uint32_t, uint8_t *, uint32_t, _Out_ uint32_t *)',
    ),
  };
});

/** `service` is open for SERVICE_CHANGE_CONFIG and SERVICE_START. */
export const setFailureActions = (service: Handle, { restarts_ms, resetAfter_s }: FailureActions): void => {
  const steps = [...restarts_ms.map((delay): [number, number] => [RESTART, delay]), [NONE, 0] as const];
  const actions = Buffer.alloc(ACTION_BYTES * steps.length);
  steps.forEach(([action, delay], at) => {
    actions.writeUInt32LE(action, ACTION_BYTES * at);
    actions.writeUInt32LE(delay, ACTION_BYTES * at + 4);
  });
  const info = Buffer.alloc(AT.end);
  info.writeUInt32LE(resetAfter_s, AT.resetPeriod);
  info.writeUInt32LE(steps.length, AT.count);
  info.writeBigUInt64LE(koffi.address(actions), AT.actions);
  const { change } = advapi32();
  if (change(service, INFO.failureActions, info) === 0) throw new Win32Error('setting what follows a failure', lastError());
  const flag = Buffer.alloc(4);
  flag.writeUInt32LE(1);
  if (change(service, INFO.failureActionsFlag, flag) !== 0) return;
  const code = lastError();
  // Wine 8 does not know the flag; every Windows since Vista does.
  if (code !== INVALID_LEVEL) throw new Win32Error('setting what follows a failure', code);
};

/** As they are set; null where the system keeps none (Wine 8). `service` is open for SERVICE_QUERY_CONFIG. */
export const failureActions = (service: Handle): FailureActions | null => {
  const info = Buffer.alloc(ANSWER_BYTES);
  if (advapi32().query(service, INFO.failureActions, info, info.length, [0]) === 0) {
    const code = lastError();
    if (code === INVALID_LEVEL || code === ERROR.notSupported) return null;
    throw new Win32Error('reading what follows a failure', code);
  }
  // The actions lie in the same answer, wherever it says.
  const from = info.readBigUInt64LE(AT.actions) - koffi.address(info);
  const count = from < BigInt(AT.end) || from > BigInt(info.length) ? 0 : info.readUInt32LE(AT.count);
  const places = Array.from({ length: count }, (_, at) => Number(from) + ACTION_BYTES * at);
  const known = places.filter((at) => at + ACTION_BYTES <= info.length);
  const restarts_ms = known.flatMap((at) => (info.readUInt32LE(at) === RESTART ? [info.readUInt32LE(at + 4)] : []));
  return { restarts_ms, resetAfter_s: info.readUInt32LE(AT.resetPeriod) };
};
