// The stand-in in a thread of its own (a log that waits for its server holds up the thread it is used in) or, run as a
// program for the measurements, in a process of its own: `node stand-in.worker.ts [--no-projections]` prints its port.
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Groups } from './groups.ts';
import { Node, NO_FAULTS, type Cluster, type Faults, type Security } from './server.ts';
import { Store } from './store.ts';

export interface StandInOptions {
  readonly nodes: number;
  readonly security: Security | null;
  readonly projections: boolean;
}
export type StandInCommand =
  | { readonly do: 'faults'; readonly node: number; readonly faults: Partial<Faults> }
  | { readonly do: 'stop' | 'start' | 'restart'; readonly node: number }
  | { readonly do: 'lead'; readonly node: number }
  | { readonly do: 'calls'; readonly node: number };

const run = async ({ nodes, security, projections }: StandInOptions) => {
  const store = new Store(projections);
  const groups = new Groups(store);
  const cluster: Cluster = { leader: 0, ports: [] };
  const all = Array.from({ length: nodes }, (_, index) => new Node(store, groups, security, cluster, index));
  const ports = await Promise.all(all.map((node) => node.start()));
  const obey = async (command: StandInCommand): Promise<unknown> => {
    const node = all[command.node];
    if (node === undefined) throw new RangeError(`no node ${command.node}`);
    switch (command.do) {
      case 'faults':
        node.faults = { ...NO_FAULTS, ...command.faults };
        return null;
      case 'stop':
        node.stop();
        return null;
      case 'start':
        return node.start();
      case 'restart':
        return node.restart();
      case 'lead': {
        const before = all[cluster.leader];
        cluster.leader = command.node;
        await before?.restart();
        return null;
      }
      case 'calls':
        return Object.fromEntries(node.calls);
    }
  };
  return { ports, obey };
};

if (isMainThread) {
  const { ports } = await run({ nodes: 1, security: null, projections: !process.argv.includes('--no-projections') });
  process.stdout.write(`${ports[0]}\n`);
  process.stdin.on('end', () => process.exit()).resume();
} else {
  const { ports, obey } = await run(workerData as StandInOptions);
  parentPort?.on('message', ({ id, command }: { id: number; command: StandInCommand }) => {
    void obey(command).then(
      (result) => parentPort?.postMessage({ id, result }),
      (error: unknown) => parentPort?.postMessage({ id, error: String(error) }),
    );
  });
  parentPort?.postMessage({ ports });
}
