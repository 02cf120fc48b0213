// Words for tests of the fold: a small world of adapters, and a teller that numbers events and keeps the time.
import type { Adapter, AdapterChange, Happening, Policy } from '../src/events/catalogue.ts';
import type { Foldable } from '../src/events/envelope.ts';
import { Guest } from '../src/machines/guest.ts';
import type { Step } from '../src/machines/step.ts';
import { defaultPolicy } from '../src/machines/policy.ts';

export const MAC = '52:54:00:11:22:33';

export const adapter = (ifindex: number, over: AdapterChange = {}): Adapter => ({
  ifindex,
  name: `eth${ifindex}`,
  mac: MAC,
  permMac: MAC,
  bus: null,
  device: null,
  pci: null,
  driver: null,
  mtu: 1500,
  up: false,
  carrier: false,
  master: null,
  kind: null,
  bond: null,
  slave: null,
  protocols: null,
  ...over,
});

const virtio = { bus: 'virtio', device: 'virtio1', pci: '0000:01:00.0', driver: 'virtio_net' };

/** A net_failover master, its standby, and a primary, as they look when all is well. */
export const trio = {
  master: adapter(2, { ...virtio, up: true, carrier: true }),
  standby: adapter(3, { ...virtio, up: true, carrier: true, master: 2 }),
  primary: adapter(4, {
    bus: 'pci',
    device: '0000:02:00.0',
    pci: '0000:02:00.0',
    driver: 'e1000e',
    up: true,
    carrier: true,
    master: 2,
  }),
};

/** An active-backup bond of a plain virtio NIC and a PCI NIC. */
export const bonded = {
  bond: adapter(9, { kind: 'bond', permMac: null, up: true, carrier: true, bond: { mode: 1, activeSlave: 2 } }),
  standby: adapter(2, { ...virtio, up: true, carrier: true, master: 9, slave: { active: true, miiUp: true } }),
  primary: adapter(4, { bus: 'pci', device: '0000:02:00.0', pci: '0000:02:00.0', driver: 'e1000e' }),
};

export const policy = (over: Partial<Policy>): Happening => ({
  type: 'configuration.applied',
  data: { policy: { ...defaultPolicy, ...over } },
});
export const acting = (over: Partial<Policy> = {}): Happening => policy({ effects: 'on', pairs: [{ mac: MAC }], ...over });

export const appeared = (data: Adapter): Happening => ({ type: 'adapter.appeared', data });
export const changed = (ifindex: number, change: AdapterChange): Happening => ({
  type: 'adapter.changed',
  data: { ifindex, changed: change },
});
export const gone = (ifindex: number): Happening => ({ type: 'adapter.gone', data: { ifindex } });

export const surveyed = (...adapters: Adapter[]): Happening => ({
  type: 'survey.taken',
  data: { reason: 'test', adapters, functions: [], addresses: [] },
});

/** Folds happenings one after the other; decisions are recorded at once, as the service does. */
export class Teller {
  seq = 0;
  now_ms = 1000;
  steps: Step[] = [];
  readonly timers = new Map<string, { armedBy: number; due_ms: number; pair: string }>();
  readonly guest: Guest;

  constructor(guest = new Guest()) {
    this.guest = guest;
  }

  tell(...happenings: Happening[]): Step {
    let last: Step | undefined;
    for (const happening of happenings) {
      this.seq += 1;
      const event: Foldable = { ...happening, seq: this.seq, mono_ns: String(Math.round(this.now_ms * 1e6)) };
      last = this.guest.apply(event);
      this.steps.push(last);
      for (const request of last.timers) {
        if (request.op === 'cancel') this.timers.delete(request.timer);
        else this.timers.set(request.timer, { ...request, due_ms: this.now_ms + request.delay_ms });
      }
      for (const decision of last.decisions) this.tell({ type: 'decision.made', data: decision });
    }
    if (last === undefined) throw new Error('nothing told');
    return last;
  }

  /** Lets time pass, firing what is due on the way. */
  wait(ms: number): void {
    const until = this.now_ms + ms;
    for (;;) {
      const [next] = [...this.timers].filter(([, { due_ms }]) => due_ms <= until).toSorted((a, b) => a[1].due_ms - b[1].due_ms);
      if (next === undefined) break;
      const [timer, { pair, armedBy, due_ms }] = next;
      this.now_ms = due_ms;
      this.timers.delete(timer);
      this.tell({ type: 'timer.elapsed', data: { pair, timer, armedBy } });
    }
    this.now_ms = until;
  }

  conclude(result: 'succeeded' | 'failed' | 'refused' | 'void', reason: string | null = null): Step {
    const pending = this.pair.pending;
    if (pending === null) throw new Error('no decision is under way');
    const data = { decision: pending.id, pair: pending.pair, result, reason, observed: false };
    return this.tell({ type: 'outcome.seen', data });
  }

  get pair() {
    const pair = this.guest.pairs.get(MAC);
    if (pair === undefined) throw new Error('there is no pair');
    return pair;
  }
  /** `stage/leaf datapath because` of the pair, for short assertions. */
  get state(): string {
    const { configuration, shown } = this.pair;
    return `${shown.stage}${configuration.leaf === shown.stage ? '' : `/${configuration.leaf}`} ${shown.datapath} ${shown.because}`;
  }
  get decided(): string[] {
    return this.steps.flatMap(({ decisions }) => decisions.map(({ kind }) => kind));
  }
}
