// What the control socket of the hypervisor's side answers besides what every service does: how its pairs are, and the
// orders that `netkvm host migrate` gives to source and target.
import type { HypervisorPlatform } from '../adapters/hypervisor/platform.ts';
import { NetkvmError } from '../events/errors.ts';
import { parseMac } from '../events/mac.ts';
import type { HostedPair } from '../machines/hosted-pair.ts';
import { HOST_BIT, type HostBit } from '../machines/migration.ts';
import type { Handlers } from './control.ts';
import type { JsonObject } from './control-lines.ts';
import type { Service } from './service.ts';

const ORDERS = ['prepare', 'migrate', 'reserve', 'cancel', 'restore'] as const;

/** Whether a guest may arrive: what its VF must have when it is plugged, or until then, it has. */
const isReady = ({ bits }: HostedPair): boolean => {
  const has = (name: HostBit): boolean => (bits & HOST_BIT[name]) !== 0;
  return has('incoming') && has(has('onStandby') ? 'vfParked' : 'vfOurs');
};

/** A pair as the other side of the socket sees it. */
export const hostedDocument = (pair: HostedPair) => {
  const { mac, mode, vm, shown, monitor, port, guest, order, pending, obligations, hindrance, released, reserved } = pair;
  const { stage, datapath, because } = shown;
  return {
    mac,
    mode,
    stage,
    datapath,
    because,
    effects: pair.configuration.effects,
    readOnly: vm?.readOnly === true,
    hasChannel: vm?.channel !== undefined,
    hasPlug: vm?.plug !== undefined,
    monitor,
    port,
    guest,
    answer: pair.answer,
    order,
    episode: pair.joined,
    pending: pending && { id: pending.id, kind: pending.kind, attempt: pending.attempt },
    isReady: isReady(pair),
    owed: obligations.map(({ id, kind }) => ({ id, kind })),
    hindrance,
    released,
    reserved,
  };
};
export type HostedDocument = ReturnType<typeof hostedDocument>;

const unknown = (text: string): NetkvmError => new NetkvmError('control.request', text);

const pairIn = (service: Service, { pair }: JsonObject): HostedPair => {
  const mac = typeof pair === 'string' ? parseMac(pair) : null;
  const found = mac === null ? undefined : service.story.guest.hosted.pairs.get(mac);
  if (found === undefined) throw new NetkvmError('command.refused', `there is no guest with the pair ${mac ?? 'that was named'}`);
  return found;
};
const textIn = (params: JsonObject, name: string): string | undefined => {
  const value = params[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value.length > 256) throw unknown(`${name} is a text of at most 256 characters`);
  return value;
};

/** Why an order is not taken; null when it is. */
const refusal = (order: (typeof ORDERS)[number], service: Service, { monitor, vm, mac }: HostedPair): string | null => {
  if (order === 'restore') return null;
  if (service.policy.effects !== 'on') return `${mac}: effects are not on here`;
  if (order === 'reserve' || order === 'prepare') return null;
  if (vm?.readOnly === true) return `${mac}: the monitor is read-only here`;
  return order === 'migrate' && monitor?.connected !== true ? `${mac}: no QEMU answers` : null;
};

export const hostHandlers = (service: Service, platform: HypervisorPlatform): Handlers => {
  const obey = (order: (typeof ORDERS)[number], params: JsonObject): Promise<object> => {
    const pair = pairIn(service, params);
    const why = refusal(order, service, pair);
    if (why !== null) return Promise.reject(new NetkvmError('command.refused', why));
    const [episode, uri, by] = ['episode', 'uri', 'by'].map((name) => textIn(params, name));
    if (order === 'migrate' && uri === undefined) return Promise.reject(unknown('migrate needs a uri'));
    service.obey(order, pair.mac, by ?? 'control socket', {
      ...(episode === undefined ? {} : { episode }),
      ...(uri === undefined ? {} : { uri }),
    });
    return Promise.resolve({ seq: service.seq, pair: hostedDocument(pair) });
  };
  return {
    hosted: () => {
      const { guest } = service.story;
      const { bootId, policy } = guest;
      // A name for a migration that no other log has: this boot, and where this log is.
      const episode = `${(bootId ?? '').slice(0, 8)}-${service.seq + 1}`;
      return Promise.resolve({ episode, effects: policy.effects, pairs: [...guest.hosted.pairs.values()].map(hostedDocument) });
    },
    progress: async (params) => ({ migration: await platform.progress(pairIn(service, params).mac) }),
    order: (params) => {
      const order = ORDERS.find((one) => one === params['order']);
      return order === undefined ? Promise.reject(unknown(`order is one of ${ORDERS.join(', ')}`)) : obey(order, params);
    },
    // The requests of `netkvm prepare` and `netkvm restore`.
    prepare: (params) => obey('prepare', params),
    restore: (params) => {
      if (typeof params['pair'] === 'string') return obey('restore', params);
      service.obey('restore', null, textIn(params, 'by') ?? 'control socket');
      return Promise.resolve({ seq: service.seq });
    },
  };
};
