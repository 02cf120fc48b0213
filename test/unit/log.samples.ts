// Events for tests of the stores: valid, all different, made from a number so that a failure can be repeated.
import type { HappeningOf, Happening } from '../../src/events/catalogue.ts';
import type { NewEvent, RecordedEvent } from '../../src/events/envelope.ts';

const uuid = (n: number): string => `0198c2a1-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;

/** A new event around a happening; `n` makes its id and clocks. */
export const around = (n: number, happening: Happening, cause: number | null = null): NewEvent => ({
  id: uuid(n),
  mono_ns: String(1_996_055_042 + n * 1000),
  boot_ns: String(2_996_055_042 + n * 1000),
  wall_ns: String(1_795_329_753_263_217_569n + BigInt(n)),
  cause,
  episode: n % 3 === 0 ? `e${n}` : null,
  ...happening,
});

export const flap = (n: number): NewEvent =>
  around(n, { type: 'adapter.changed', data: { ifindex: 4, changed: { up: true, carrier: n % 2 === 0 } } });

export const flaps = (from: number, count: number): NewEvent[] => Array.from({ length: count }, (_, index) => flap(from + index));

export const checkpoint = (n: number): NewEvent =>
  around(n, { type: 'checkpoint.made', data: { state: { pairs: [], timers: [n], note: 'ü\u0000"' } } });

/** A survey of so many adapters: with thousands of them, a large event. */
export const survey = (n: number, adapters: number): NewEvent => {
  const data: HappeningOf<'survey.taken'>['data'] = { reason: 'start', adapters: [], functions: [], addresses: [] };
  for (let index = 1; index <= adapters; index++) {
    data.adapters.push({
      ifindex: index,
      name: `eth${index}`,
      mac: '52:54:00:11:22:33',
      permMac: null,
      bus: 'virtio',
      device: `virtio${index}`,
      pci: '0000:00:03.0',
      driver: 'virtio_net',
      mtu: 1500,
      up: true,
      carrier: true,
      master: null,
      kind: null,
      bond: null,
      slave: null,
      protocols: null,
    });
  }
  return around(n, { type: 'survey.taken', data });
};

const target = { ifindex: 4, mac: '52:54:00:11:22:33', device: 'virtio1', pci: '0000:00:03.0', arrival: 1 };
export const decision = (n: number, id: string, cause: number): NewEvent =>
  around(
    n,
    {
      type: 'decision.made',
      data: {
        id,
        pair: '52:54:00:11:22:33',
        kind: 'activateStandby',
        mode: 'bond',
        attempt: 1,
        master: null,
        standby: target,
        primary: null,
      },
    },
    cause,
  );
export const outcome = (n: number, id: string, cause: number): NewEvent =>
  around(
    n,
    {
      type: 'outcome.seen',
      data: { decision: id, pair: '52:54:00:11:22:33', result: 'succeeded', reason: null, observed: false },
    },
    cause,
  );

/** Events as a log would give them back, without a log. */
export const recorded = (events: readonly NewEvent[], from = 1, run = { logId: 'log-1', bootId: 'boot-1' }): RecordedEvent[] =>
  events.map((event, index) => ({ ...event, seq: from + index, ...run, v: 1 }));
