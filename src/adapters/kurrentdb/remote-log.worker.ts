// The thread of a remote log: answers what remote-log.ts asks, one question after the other, and tells of new events.
import { type MessagePort, workerData } from 'node:worker_threads';
import { NetkvmError } from '../../events/errors.ts';
import { type Question, type RemoteOptions, RemoteStream } from './remote-stream.ts';

export interface RemoteThread {
  readonly options: RemoteOptions;
  /** Questions come and answers go here; news of appends go to `news`. */
  readonly port: MessagePort;
  readonly news: MessagePort;
  /** One counter, raised and notified with every answer. */
  readonly answered: Int32Array;
}
export type Asked = { readonly id: number; readonly question: Question } | { readonly watch: number } | { readonly close: true };

const { options, port, news, answered } = workerData as RemoteThread;
const stream = new RemoteStream(options);
const stop = new AbortController();
let before: Promise<unknown> = Promise.resolve();

const answer = async (id: number, question: Question): Promise<void> => {
  try {
    port.postMessage({ id, result: await stream.answer(question) });
  } catch (error) {
    const code = error instanceof NetkvmError ? error.code : 'kurrentdb.unreachable';
    port.postMessage({ id, code, text: error instanceof Error ? error.message : String(error) });
  }
  Atomics.add(answered, 0, 1);
  Atomics.notify(answered, 0);
};

port.on('message', (asked: Asked) => {
  if ('question' in asked) before = before.then(() => answer(asked.id, asked.question));
  else if ('watch' in asked) void stream.watch(asked.watch, (head) => news.postMessage(head), stop.signal);
  else {
    stop.abort();
    void stream.close().then(() => process.exit());
  }
});
