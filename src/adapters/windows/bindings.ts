// INetCfg from the outside: a child process that makes the calls, started at the first request and ended when it is idle. A
// call that does not come back by its deadline ends with its process; the next request gets a new one. One at a time.
import { type ChildProcess, fork } from 'node:child_process';
import type { Answer, Request } from './netcfg.ts';

/** Beside this file in the source, and under the same name in the folder that is shipped (rolldown.config.ts). */
const childFile = (): URL => new URL(`./netcfg.child.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);

const IDLE_MS = 60_000;
/** Requests that may wait for their turn. */
const WAITING_MAX = 64;

const failed = (text: string): Answer => ({ ok: false, why: 'failed', text });

export class NetCfg {
  #child: ChildProcess | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #count = 0;
  #idle: NodeJS.Timeout | null = null;
  #closed = false;

  /** Never rejects. `signal` ends the call with its process, like the deadline. */
  ask(request: Request, deadline_ms: number, signal?: AbortSignal): Promise<Answer> {
    if (this.#closed) return Promise.resolve(failed('the adapter is closed'));
    if (this.#waiting >= WAITING_MAX) return Promise.resolve(failed(`${WAITING_MAX} requests to INetCfg are waiting already`));
    this.#waiting += 1;
    const mine = this.#last.then(() => {
      this.#waiting -= 1;
      return this.#closed || signal?.aborted === true
        ? failed('interrupted before it began')
        : this.#ask(request, deadline_ms, signal);
    });
    this.#last = mine;
    return mine;
  }

  close(): void {
    this.#closed = true;
    this.#end();
  }

  #end(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    this.#child?.kill();
    this.#child = null;
  }

  #open(): ChildProcess {
    if (this.#child !== null) return this.#child;
    const child = fork(childFile(), {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      windowsHide: true,
    });
    const gone = (): void => {
      if (this.#child === child) this.#child = null;
    };
    child.once('exit', gone);
    child.once('error', gone);
    child.unref();
    child.channel?.unref();
    this.#child = child;
    return child;
  }

  #ask(request: Request, deadline_ms: number, signal?: AbortSignal): Promise<Answer> {
    if (this.#idle !== null) clearTimeout(this.#idle);
    const child = this.#open();
    this.#count += 1;
    const id = this.#count;
    return new Promise<Answer>((resolve) => {
      const settle = (answer: Answer): void => {
        clearTimeout(timer);
        child.off('message', hear);
        child.off('exit', died);
        child.off('error', died);
        signal?.removeEventListener('abort', abort);
        this.#idle = setTimeout(() => this.#end(), IDLE_MS);
        this.#idle.unref();
        resolve(answer);
      };
      const give = (text: string): void => {
        this.#end();
        settle(failed(text));
      };
      const hear = (message: { id: number; answer: Answer }): void => {
        if (message.id === id) settle(message.answer);
      };
      const died = (): void => settle(failed('the process that calls INetCfg has ended'));
      const abort = (): void => give('interrupted');
      const timer = setTimeout(() => give(`timeout: INetCfg did not answer ${request.op} in ${deadline_ms} ms`), deadline_ms);
      child.on('message', hear);
      child.once('exit', died);
      child.once('error', died);
      signal?.addEventListener('abort', abort);
      child.send({ id, request }, (error) => {
        if (error !== null) died();
      });
    });
  }
}
