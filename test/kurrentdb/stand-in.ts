// Starts the stand-in (stand-in.worker.ts) and tells it what should go wrong.
import { Worker } from 'node:worker_threads';
import type { Faults } from './server.ts';
import type { StandInCommand, StandInOptions } from './stand-in.worker.ts';

export interface StandIn {
  readonly ports: readonly number[];
  /** Connection string of the first node. */
  readonly url: string;
  /** What goes wrong from now on; without an argument nothing does. */
  faults(faults?: Partial<Faults>, node?: number): Promise<void>;
  stop(node?: number): Promise<void>;
  start(node?: number): Promise<void>;
  restart(node?: number): Promise<void>;
  lead(node: number): Promise<void>;
  /** How often each method was called. */
  calls(node?: number): Promise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}

/** `heap_MiB`: what it keeps is in memory. */
export const startStandIn = async (options: Partial<StandInOptions> & { readonly heap_MiB?: number } = {}): Promise<StandIn> => {
  const { nodes = 1, security = null, projections = true, heap_MiB } = options;
  const worker = new Worker(new URL('stand-in.worker.ts', import.meta.url), {
    workerData: { nodes, security, projections },
    ...(heap_MiB === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: heap_MiB } }),
  });
  const waiting = new Map<number, { done: (value: unknown) => void; fail: (error: Error) => void }>();
  const { ports } = await new Promise<{ ports: number[] }>((done, fail) => {
    worker.once('message', done);
    worker.once('error', fail);
  });
  worker.on('message', ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
    const caller = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) caller?.done(result);
    else caller?.fail(new Error(error));
  });
  let last = 0;
  const tell = (command: StandInCommand): Promise<unknown> =>
    new Promise((done, fail) => {
      waiting.set(++last, { done, fail });
      worker.postMessage({ id: last, command });
    });
  return {
    ports,
    url: `kurrentdb://127.0.0.1:${ports[0]}?tls=${security !== null}`,
    faults: async (faults = {}, node = 0) => void (await tell({ do: 'faults', node, faults })),
    stop: async (node = 0) => void (await tell({ do: 'stop', node })),
    start: async (node = 0) => void (await tell({ do: 'start', node })),
    restart: async (node = 0) => void (await tell({ do: 'restart', node })),
    lead: async (node) => void (await tell({ do: 'lead', node })),
    calls: async (node = 0) => (await tell({ do: 'calls', node })) as Record<string, number>,
    close: async () => void (await worker.terminate()),
  };
};
