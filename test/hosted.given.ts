// A hypervisor's log for tests: the fold of one hosted pair, told what QEMU, the VF and the guest say.
import type { Decision, EventData, Happening } from '../src/events/catalogue.ts';
import type { VmPolicy } from '../src/events/hosting.ts';
import type { Foldable } from '../src/events/envelope.ts';
import { defaultPolicy } from '../src/machines/policy.ts';
import { parkingOf } from '../src/machines/parking.ts';
import type { HostedPair, Monitor } from '../src/machines/hosted-pair.ts';
import type { Step } from '../src/machines/step.ts';
import { Story } from '../src/machines/story.ts';

export const MAC = '52:54:00:11:22:33';
export const VM: VmPolicy = {
  mac: MAC,
  qmp: '/run/vm.qmp',
  standby: 'net0',
  primary: 'vf0',
  pf: 'ens1',
  vf: 3,
  tap: 'vnet0',
  bridge: 'br0',
  channel: '/run/vm.failover',
  // A configuration that was read always says it.
  parking: parkingOf(MAC),
  plug: '{"driver":"vfio-pci","id":"vf0"}',
};
/** The same with a port in place of a VF. */
export const PORT = { pf: undefined, vf: undefined, port: 'vf0' };
export const PARKED = parkingOf(VM.mac);

export const RUNNING: Monitor = {
  connected: true,
  running: true,
  incoming: false,
  migration: 'none',
  primary: true,
  failover: true,
};

const vmWith = (vm: object): VmPolicy =>
  Object.fromEntries(Object.entries({ ...VM, ...vm }).filter(([, value]) => value !== undefined)) as unknown as VmPolicy;

export class HostedStory {
  readonly story = new Story();
  readonly decided: Decision[] = [];
  /** Everything that was told, for a second fold. */
  readonly events: Foldable[] = [];
  /** What each event led to. */
  readonly steps: Step[] = [];
  #monitor = RUNNING;
  #port = { vf: { mac: MAC, vlan: 7, qos: 0, spoofchk: true, trust: false }, pfEntry: false, tapEntry: false };
  #at = 1;

  constructor(vm: Partial<Record<keyof VmPolicy, unknown>> = {}, policy: Partial<typeof defaultPolicy> = {}) {
    this.tell('service.started', {
      version: '0',
      machineVersion: 1,
      bootId: 'b00710af-1',
      vmGeneration: null,
      platform: 'hypervisor',
      host: {},
    });
    this.tell('configuration.applied', { policy: { ...defaultPolicy, effects: 'on', ...policy, vms: [vmWith(vm)] } });
  }

  get pair(): HostedPair {
    const pair = this.story.guest.hosted.pairs.get(MAC);
    if (pair === undefined) throw new Error('no pair');
    return pair;
  }
  get stage(): string {
    return this.pair.shown.stage;
  }

  tell<T extends Happening['type']>(type: T, data: EventData<T>): Decision[] {
    const event = { type, data, seq: this.events.length + 1, mono_ns: String((this.#at += 1_000_000)) } as Foldable;
    this.events.push(event);
    const step = this.story.tell(event);
    this.steps.push(step);
    const { decisions } = step;
    for (const decision of decisions) {
      this.decided.push(decision);
      this.tell('decision.made', decision);
    }
    return [...decisions];
  }

  /** Time passes. */
  later(ms: number): this {
    this.#at += ms * 1_000_000;
    return this;
  }

  qemu(facts: Partial<Monitor>): Decision[] {
    this.#monitor = { ...this.#monitor, ...facts };
    return this.tell('monitor.facts', { pair: MAC, ...this.#monitor });
  }
  says(name: string, fields: EventData<'monitor.event'>['fields'] = {}): Decision[] {
    return this.tell('monitor.event', { pair: MAC, name, fields, at_ns: null });
  }
  port(facts: { mac?: string; pfEntry?: boolean; tapEntry?: boolean } = {}): Decision[] {
    const { mac = this.#port.vf.mac, ...entries } = facts;
    this.#port = { ...this.#port, ...entries, vf: { ...this.#port.vf, mac } };
    return this.tell('port.facts', { pair: MAC, ...this.#port });
  }
  guest(primary: string | null = MAC, datapath = 'primary', episode: string | null = null): Decision[] {
    const guest = { version: '0', stage: 'onPrimary', datapath, primary, episode, findings: [] };
    return this.tell('channel.facts', { pair: MAC, guest });
  }

  /** Carries out the decision that is under way, as the platform would. */
  done(result: EventData<'outcome.seen'>['result'] = 'succeeded'): Decision[] {
    const { pending } = this.pair;
    if (pending === null) throw new Error('nothing is pending');
    if (result === 'succeeded') this.#effect(pending);
    return this.tell('outcome.seen', { decision: pending.id, pair: MAC, result, reason: null, observed: false });
  }

  #effect({ kind, id }: Decision): void {
    const owe = (what: 'vfMac' | 'forwarding' | 'unplugged'): void => {
      if (!this.pair.obligations.some((one) => one.kind === what))
        this.tell('obligation.opened', { id: `${id}.${what}`, pair: MAC, kind: what, device: null, before: {} });
    };
    const settle = (what: string): void => {
      const open = this.pair.obligations.find((one) => one.kind === what);
      if (open !== undefined) this.tell('obligation.closed', { id: open.id, pair: MAC, how: 'givenBack' });
    };
    switch (kind) {
      case 'parkMac':
        owe('vfMac');
        this.port({ mac: PARKED });
        break;
      case 'restoreMac':
        this.port({ mac: MAC });
        settle('vfMac');
        break;
      case 'addForwarding':
        owe('forwarding');
        this.port({ pfEntry: true, tapEntry: true });
        break;
      case 'removeForwarding':
        this.port({ pfEntry: false, tapEntry: false });
        settle('forwarding');
        break;
      case 'unplugPrimary':
        owe('unplugged');
        break;
      case 'plugPrimary':
        this.qemu({ primary: true });
        settle('unplugged');
        break;
      default:
        break;
    }
  }

  /** Carries everything out until nothing is pending; the kinds in their order. */
  run(): string[] {
    const kinds: string[] = [];
    while (this.pair.pending !== null) {
      // As the service does: what facts have overtaken since it was decided is not carried out.
      const overtaken = this.pair.attempts === 0;
      if (!overtaken) kinds.push(this.pair.pending.kind);
      this.done(overtaken ? 'void' : 'succeeded');
      if (kinds.length > 20) throw new Error(`no end: ${kinds.join(' ')}`);
    }
    return kinds;
  }
}
