// What tests of `netkvm host` beside real QEMUs share: a guest on its primary with an agent at its source, another one at a
// target, orders to both, and what is read from their logs. Source and target have a switch of their own each.
import { afterEach, expect } from 'vitest';
import type { RecordedEvent } from '../../../src/events/envelope.ts';
import { cleanUp, inProcess } from '../../unit/service.given.ts';
import { Agent, type AgentOptions, Command } from './agent.ts';
import { CONFIGURATION, Guest } from './guest.ts';
import { Lab, MAC, type Setup } from './lab.ts';
import type { Vm } from './vm.ts';

export interface Begun {
  readonly lab: Lab;
  readonly guest: Guest;
  readonly source: Agent;
}
export interface Begin extends Pick<AgentOptions, 'more' | 'policy'> {
  /** QEMU hides the primary, and the guest's kernel switches; else a bond that the service steers. */
  readonly failover: boolean;
  readonly native?: boolean;
  readonly service?: boolean;
}

/** For the top of a file of tests: what they begin ends with them. */
export const besideQemu = (setup: Setup) => {
  let lab: Lab | null = null;
  let agents: Agent[] = [];
  afterEach(async () => {
    for (const agent of agents) await agent.kill();
    agents = [];
    await lab?.end();
    lab = null;
    await cleanUp();
  });

  const agentAt = (beside: Lab, vm: Vm, options: AgentOptions): Agent => {
    const agent = new Agent(beside, vm.name.startsWith('a') ? 'a' : 'b', vm, options);
    agents.push(agent);
    return agent;
  };

  /** A guest on its primary, and the agent beside it. */
  const begin = async ({ failover, native = false, service = true, ...options }: Begin): Promise<Begun> => {
    const made = await Lab.boot(setup, { failover, model: 'vmxnet3', withPrimary: failover, native });
    lab = made;
    await made.network.part();
    const guest = new Guest(made);
    await guest.address();
    if (service) await guest.serve(CONFIGURATION[failover ? 'kernel' : 'bond']);
    if (!failover && service) await guest.takenOver();
    if (!failover) await made.plug();
    const source = agentAt(made, made.vm, options);
    await source.giveMac();
    await source.start();
    if (service) await guest.rests('onPrimary', 'primary');
    await source.stage('present');
    if (service) await source.is('the guest speaks', ({ guest: word }) => word?.datapath === 'primary');
    return { lab: made, guest, source };
  };
  /** The other QEMU, waiting, and the agent beside it. */
  const beginTarget = async (begun: Begun, options: AgentOptions = {}): Promise<{ readonly to: Vm; readonly target: Agent }> => {
    const to = await begun.lab.destination();
    const target = agentAt(begun.lab, to, options);
    await target.start();
    return { to, target };
  };
  return { begin, beginTarget };
};

/** `netkvm host migrate`. */
export const migrating = (lab: Lab, source: Agent, target: Agent, ...words: readonly string[]): Command => {
  const sides = ['--source', source.socket, '--target', target.socket];
  return new Command(lab, 'host', 'migrate', ...sides, '--pair', MAC, '--uri', target.vm.migrationUri, ...words);
};

export const kinds = (events: readonly RecordedEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'decision.made' ? [event.data.kind] : []));

/** The log folds to its own decisions. */
export const sound = async (agent: Agent): Promise<void> => {
  await agent.kill('SIGTERM');
  expect(agent.log().story.divergence).toBeNull();
  const verified = await inProcess('log', 'verify', '--state-dir', agent.stateDir);
  expect(verified.status).toBe(0);
};
