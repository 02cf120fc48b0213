// The other side of the control socket: what `netkvm status`, `monitor` and `wait` use to ask a running service.
import { createConnection, type Socket } from 'node:net';
import { ERRORS, NetkvmError, type ErrorCode } from '../events/errors.ts';
import { ANSWER_BYTES_MAX, lineCutter, parseObject, type JsonObject } from './control-lines.ts';

const unreachable = (path: string, why: string, cause?: unknown): NetkvmError =>
  new NetkvmError('control.unreachable', `${path}: ${why}`, { cause });

/** The service's refusal as the error it was over there, where this version knows its code. */
const refusal = (error: unknown): NetkvmError => {
  const { code, text } = (typeof error === 'object' && error !== null ? error : {}) as JsonObject;
  const known = typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'control.request';
  return new NetkvmError(known, typeof text === 'string' ? text : 'the service refused the request');
};

/** Sends one request and yields what comes back, until the service or `signal` ends it. */
async function* exchange(path: string, request: string, params: object, signal: AbortSignal): AsyncGenerator<JsonObject> {
  const socket: Socket = createConnection({ path, signal });
  const lines: Buffer[] = [];
  const cutter = lineCutter(ANSWER_BYTES_MAX, (line) => lines.push(line));
  try {
    socket.write(`${JSON.stringify({ id: 1, request, params })}\n`);
    for await (const chunk of socket) {
      if (!cutter.push(chunk as Buffer)) throw unreachable(path, 'its answer is too long');
      for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
        const message = parseObject(line);
        if (message === null) throw unreachable(path, 'its answer is not JSON');
        if (message['error'] !== undefined) throw refusal(message['error']);
        yield message;
      }
    }
  } catch (error) {
    if (error instanceof NetkvmError || signal.aborted) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'no service listens there' : code === 'ECONNREFUSED' ? 'its service is dead' : (code ?? String(error));
    throw unreachable(path, why, error);
  } finally {
    socket.destroy();
  }
}

/**
 * Asks the service for one answer, within `timeout_ms` (5000 unless given). Errors: `control.unreachable`, or the code with
 * which the service refused.
 */
export const request = async (
  path: string,
  name: string,
  params: object = {},
  { timeout_ms = 5000 }: { readonly timeout_ms?: number } = {},
): Promise<JsonObject> => {
  const limit = AbortSignal.timeout(timeout_ms);
  try {
    for await (const { result } of exchange(path, name, params, limit)) {
      if (typeof result === 'object' && result !== null) return result as JsonObject;
      throw unreachable(path, 'its answer has no result');
    }
  } catch (error) {
    if (limit.aborted) throw unreachable(path, `no answer within ${timeout_ms} ms`, error);
    throw error;
  }
  throw unreachable(path, 'it hung up without an answer');
};

/**
 * Streams a subscription's items until it ends or `signal` aborts (which is no error). A service that goes away in between
 * is `control.unreachable`.
 */
export async function* subscribe(path: string, name: string, params: object, signal: AbortSignal): AsyncGenerator<JsonObject> {
  try {
    for await (const message of exchange(path, name, params, signal)) {
      if (message['end'] === true) return;
      yield (message['item'] ?? {}) as JsonObject;
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  if (!signal.aborted) throw unreachable(path, 'it hung up');
}

/** Whether a service listens at `path`, and its pid when it says so within `timeout_ms`. */
export const ping = async (
  path: string,
  timeout_ms: number,
): Promise<{ readonly alive: boolean; readonly pid: number | null }> => {
  try {
    const { pid } = await request(path, 'ping', {}, { timeout_ms });
    return { alive: true, pid: typeof pid === 'number' ? pid : null };
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    return { alive: code !== 'ENOENT' && code !== 'ECONNREFUSED', pid: null };
  }
};
