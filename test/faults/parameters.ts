// Faults 61 to 64, and the part of 19 to 21 that lies with setparam: parameters that are wrong already, and commands that
// could mean another device. The store is a table; the real ones are tried in network namespaces and on a registry.
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import type { Parameter, ParameterDevice, ParameterStore } from '../../src/adapters/parameters.ts';
import { type InfKey, readInfParameter } from '../../src/adapters/windows/inf-parameter.ts';
import { readArguments } from '../../src/host/arguments.ts';
import { COMMANDS } from '../../src/host/commands.ts';
import { ParameterSession, PLAIN } from '../../src/host/parameters/orders.ts';
import { cutWords, readWords } from '../../src/host/parameters/words.ts';
import { MAC } from '../given.ts';
import type { Fault } from './given.ts';

const KEYS: readonly InfKey[] = [
  {
    name: '*RSS',
    values: { type: 'enum', Default: '1', ParamDesc: 'Receive Side Scaling' },
    choices: [
      { value: '0', meaning: 'Disabled' },
      { value: '1', meaning: 'Enabled' },
    ],
  },
  { name: 'Odd', values: { type: 'multi', Default: '1', ParamDesc: 'Nobody knows' }, choices: [] },
  { name: 'Wide', values: { type: 'dword', Default: '5', min: '1', max: '9', ParamDesc: 'A number' }, choices: [] },
  { name: '*JumboPacket', values: { type: 'long', Default: '1514', min: '590', max: '65500' }, choices: [] },
  { name: 'NetworkAddress', values: { type: 'edit', Optional: '1', ParamDesc: 'Assign MAC' }, choices: [] },
];
const device = (id: string, mac: string): ParameterDevice => {
  const names = { id, name: `Net ${id}`, description: 'Red Hat VirtIO Ethernet Adapter', location: '', busNumber: 0, key: id };
  return { ...names, mac, mtu: 1500, master: null };
};

/** A registry with a pair and a third NIC. */
export class Registry implements ParameterStore {
  readonly needsRestart = true;
  list = [device('PCI\\A', MAC), device('PCI\\B', MAC), device('PCI\\C', '52:54:00:00:00:09')];
  readonly stored = new Map<string, string | null>();
  readonly restarted: string[] = [];
  devices = () => Promise.resolve(this.list);
  parameters = ({ id }: ParameterDevice): Promise<Parameter[]> =>
    Promise.resolve(KEYS.map((key) => readInfParameter(key, this.stored.get(`${id} ${key.name}`) ?? null)));
  write = ({ id }: ParameterDevice, { name }: Parameter, value: string | null) => {
    this.stored.set(`${id} ${name}`, value);
    return Promise.resolve();
  };
  restart = ({ id }: ParameterDevice) => {
    this.restarted.push(id);
    return Promise.resolve('done' as const);
  };
  close = () => Promise.resolve();
}

/** Says an order to a session, and gives what it said; a refusal rejects. */
export const ordered = async (session: ParameterSession, line: string): Promise<string> => {
  const asked = readWords(cutWords(line));
  if (!('order' in asked)) return asked.help;
  let text = '';
  const out = (more: string): void => void (text += more);
  await session.perform(asked.order, PLAIN, { out, warn: (more) => out(`warning: ${more}\n`) });
  return text;
};

export const PARAMETER_FAULTS: readonly Fault[] = [
  {
    number: 61,
    name: 'invalid-parameter',
    scenario: 'A parameter in the registry is already invalid.',
    expectation: 'It is shown as invalid and spoils nothing else, and setparam repairs it.',
    state: 'holds',
    check: async () => {
      const registry = new Registry();
      const session = new ParameterSession(registry);
      registry.stored.set('PCI\\A *RSS', '7');
      match(await ordered(session, 'getparam 0 *RSS'), /^\*RSS = 7\nwarning: .*"7" is not one of 0 \(Disabled\), 1 \(Enabled\)/);
      match(await ordered(session, 'show parameters 0'), /NetworkAddress/);
      equal(await ordered(session, 'setparam 0 *RSS 0'), '');
      deepEqual([registry.stored.get('PCI\\A *RSS'), await ordered(session, 'getparam 0 *RSS')], ['0', '*RSS = 0\n']);
    },
  },
  {
    number: 62,
    name: 'unknown-parameter-type',
    scenario: 'A parameter has a type that is not known (multi), or one that the original tool did not know (dword, word).',
    expectation: 'The unknown one is marked and never written; dword and word are numbers; the rest is listed.',
    state: 'holds',
    check: async () => {
      const registry = new Registry();
      const session = new ParameterSession(registry);
      equal(await ordered(session, 'show paraminfo 0 Odd'), 'Parameter type: UNKNOWN\n');
      const listed = await ordered(session, 'show parameters 0');
      for (const { name } of KEYS) ok(listed.includes(`${name}\n`), name);
      await rejects(ordered(session, 'setparam 0 Odd 2'), /the type "multi" is none of ours/);
      await rejects(ordered(session, 'setparam 0 Wide 10'), /from 1 to 9/);
      equal(registry.stored.size, 0);
      await ordered(session, 'setparam 0 Wide 9');
      equal(registry.stored.get('PCI\\A Wide'), '9');
    },
  },
  {
    number: 63,
    name: 'index-shift',
    scenario: 'A device goes between listing and commanding, so that an index means another one.',
    expectation: 'An index that was shown must mean the same device, or nothing is done; a MAC, name or instance id names it.',
    state: 'holds',
    missing: 'between two runs of the program nobody remembers what an index meant',
    check: async () => {
      const registry = new Registry();
      const session = new ParameterSession(registry);
      await ordered(session, 'show devices');
      registry.list = registry.list.slice(1);
      await rejects(ordered(session, 'restart 0'), /index 0 meant PCI\\A, and now means PCI\\B/);
      await rejects(ordered(session, 'setparam 0 *RSS 0'), /meant/);
      deepEqual([registry.restarted, registry.stored.size], [[], 0]);
      await ordered(session, 'restart PCI\\C');
      await ordered(session, 'restart 52-54-00-00-00-09');
      deepEqual(registry.restarted, ['PCI\\C', 'PCI\\C']);
    },
  },
  {
    number: 64,
    name: 'question-mark',
    scenario: '“?” after a command, as in “restart ?”.',
    expectation: 'Help, whatever the command; never taken for a device.',
    state: 'holds',
    check: async () => {
      for (const { name, verbatim } of COMMANDS) {
        if (verbatim !== true) equal(readArguments([...name.split(' '), '?']).kind, 'help', name);
      }
      const registry = new Registry();
      const session = new ParameterSession(registry);
      for (const line of ['restart ?', 'setparam ?', 'setparam 0 *RSS ?', 'show parameters ?'])
        match(await ordered(session, line), /Usage|usage/, line);
      deepEqual([registry.restarted, registry.stored.size], [[], 0]);
    },
  },
];
