// Carries out one effect of the hypervisor's side on the real kernel, without QEMU and without the machine, and prints what
// came of it: `host-performer.ts LEDGER VM KIND [OBLIGATION]`. The ledger is a file, so that it survives a `kill -9`.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { carryOut } from '../../../src/adapters/hypervisor/effects.ts';
import { Port } from '../../../src/adapters/hypervisor/port.ts';
import { Qemu } from '../../../src/adapters/hypervisor/qemu.ts';
import { Conversation } from '../../../src/adapters/linux/effects/conversation.ts';
import type { Ledger } from '../../../src/adapters/platform.ts';
import type { Decision, Obligation } from '../../../src/events/catalogue.ts';
import type { VmPolicy } from '../../../src/events/hosting.ts';

const [file = '', text = '', kind = '', obligation = ''] = process.argv.slice(2);
const vm = JSON.parse(text) as VmPolicy;
const readOwed = (): Obligation[] => (existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Obligation[]) : []);
const settled: string[] = [];
const ledger: Ledger = {
  get open() {
    return readOwed();
  },
  owe: ({ kind: what, device, before }) => {
    const open = readOwed();
    const known = open.find((one) => one.kind === what);
    const owed: Obligation = known ?? { id: `d1.0.${what}`, pair: vm.mac, kind: what, device, before };
    if (known === undefined) writeFileSync(file, JSON.stringify([...open, owed]));
    return Promise.resolve(owed);
  },
  settle: (id, how) => {
    settled.push(`${id} ${how}`);
    writeFileSync(file, JSON.stringify(readOwed().filter((one) => one.id !== id)));
  },
};

const conversation = new Conversation('route');
const port = new Port(vm, conversation);
const hosting = { vm, port, channel: null, qemu: new Qemu(vm, () => {}) };
const head = { id: 'd1.0', pair: vm.mac, mode: 'host', attempt: 1, master: null, standby: null, primary: null };
const decision = { ...head, kind, ...(kind === 'giveBack' ? { plan: { obligation } } : {}) } as Decision;
const outcome = kind === 'look' ? null : await carryOut(decision, hosting, new AbortController().signal, ledger);
const facts = await port.read().catch((error: unknown) => String(error));
process.stdout.write(`${JSON.stringify({ outcome, facts, owed: readOwed().map(({ kind: what }) => what), settled })}\n`);
await conversation.close();
