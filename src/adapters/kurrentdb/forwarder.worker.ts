// The thread of the forwarder: runs it on what forwarding.ts hands over, passes on what it tells, and at the end gives it
// a moment to send what is left.
import { parentPort, workerData } from 'node:worker_threads';
import { setTimeout as pause } from 'node:timers/promises';
import { Forwarder, type ForwarderOptions } from './forwarder.ts';

const port = parentPort;
if (port === null) throw new Error('this file is the forwarder’s thread');

const forwarder = new Forwarder(workerData as ForwarderOptions, {
  told: (state) => port.postMessage({ state }),
  sent: (sent) => port.postMessage({ sent }),
  diverged: (logId) => port.postMessage({ diverged: logId }),
});
const stop = new AbortController();
/** How often the end looks whether all has been sent. */
const LOOK_MS = 5;

port.once('message', ({ drain_ms }: { drain_ms: number }) => {
  const until = performance.now() + drain_ms;
  const drain = async () => {
    while (!forwarder.isCurrent && performance.now() < until) await pause(LOOK_MS);
    stop.abort();
  };
  void drain();
});
await forwarder.run(stop.signal);
port.postMessage({ ended: true });
port.close();
process.exit();
