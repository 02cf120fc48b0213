// A process that carries out decisions on the real kernel, one a line of its standard input, and prints an outcome a line:
// for tests in network namespaces and in virtual machines. Devices are given by name; obligations are kept in a file, as
// the log keeps them, so that another process may go on after this one was killed.
//
//   {"kind":"takeOver","standby":"eth0","plan":{"bond":"fo112233","probe":[],"confirm_ms":3000}}
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Adapter, Decision, Obligation, Target } from '../../../src/events/catalogue.ts';
import { LinuxPlatform } from '../../../src/adapters/linux/platform.ts';
import type { Ledger } from '../../../src/adapters/platform.ts';

interface Order {
  readonly kind: Decision['kind'];
  readonly pair?: string;
  readonly master?: string;
  readonly standby?: string;
  readonly primary?: string;
  readonly plan?: object;
  /** Milliseconds after which the effect is told to give up. */
  readonly abort_ms?: number;
}

const [, , ledgerFile = '/tmp/obligations.json'] = process.argv;
const open: Obligation[] = existsSync(ledgerFile) ? (JSON.parse(readFileSync(ledgerFile, 'utf8')) as Obligation[]) : [];
const save = (): void => writeFileSync(ledgerFile, JSON.stringify(open));

const adapters = new Map<number, Adapter>();
const platform = new LinuxPlatform();
const surveyed = new Promise<void>((resolve) => {
  platform.sightings.subscribe(({ observations }) => {
    for (const { type, data } of observations) {
      if (type === 'survey.taken') {
        adapters.clear();
        for (const adapter of data.adapters) adapters.set(adapter.ifindex, adapter);
        resolve();
      } else if (type === 'adapter.appeared') adapters.set(data.ifindex, data);
      else if (type === 'adapter.gone') adapters.delete(data.ifindex);
      else if (type === 'adapter.changed') {
        const known = adapters.get(data.ifindex);
        if (known !== undefined) adapters.set(data.ifindex, { ...known, ...data.changed });
      }
    }
  });
});
const targetOf = (name: string | undefined): Target | null => {
  const adapter = [...adapters.values()].find((one) => one.name === name);
  if (adapter === undefined) return null;
  const { ifindex, mac, device, pci } = adapter;
  return { ifindex, mac, device, pci, arrival: 1 };
};

let count = 0;
const settled: string[] = [];
const ledger = (id: string): Ledger => ({
  open,
  owe: ({ kind, device, before }) => {
    const there = open.find((one) => one.kind === kind && JSON.stringify(one.device) === JSON.stringify(device));
    if (there !== undefined) return Promise.resolve(there);
    const owed: Obligation = { id: `${id}.${kind}`, pair: 'x', kind, device, before };
    open.push(owed);
    save();
    return Promise.resolve(owed);
  },
  settle: (settledId, how) => {
    const at = open.findIndex((one) => one.id === settledId);
    if (at !== -1) open.splice(at, 1);
    settled.push(how);
    save();
  },
});

const carryOut = async ({
  kind,
  pair = '52:54:00:11:22:33',
  master,
  standby,
  primary,
  plan,
  abort_ms,
}: Order): Promise<object> => {
  const id = `d${process.pid}.${(count += 1)}`;
  const decision = {
    id,
    pair,
    kind,
    mode: 'bond',
    attempt: 1,
    master: targetOf(master),
    standby: targetOf(standby),
    primary: targetOf(primary),
    ...(kind === 'giveBack' ? { plan: { obligation: open[0]?.id ?? 'none' } } : plan === undefined ? {} : { plan }),
  } as Decision;
  const from = performance.now();
  const signal = abort_ms === undefined ? new AbortController().signal : AbortSignal.timeout(abort_ms);
  const outcome = await platform.perform(decision, signal, ledger(id));
  return {
    kind,
    ...outcome,
    took_ms: Math.round(10 * (performance.now() - from)) / 10,
    owed: open.length,
    settled: settled.splice(0),
  };
};

await surveyed;
process.stdout.write(`${JSON.stringify({ ready: process.pid })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue;
  process.stdout.write(`${JSON.stringify(await carryOut(JSON.parse(line) as Order))}\n`);
  await new Promise((resolve) => setTimeout(resolve, 20)); // What the kernel tells of it has been heard.
}
await platform.close();
