// What an operator may ask of the running service over its control socket, and when the answer is no. What follows from a
// request is recorded and folded like everything else; the asker follows the log to see what becomes of it.
import type { EventData, Policy } from '../events/catalogue.ts';
import { NetkvmError } from '../events/errors.ts';
import { parseMac } from '../events/mac.ts';
import type { Guest } from '../machines/guest.ts';
import type { PairState } from '../machines/pair-state.ts';
import { BIT } from '../machines/view.ts';
import type { Handlers } from './control.ts';
import type { JsonObject } from './control-lines.ts';

export type Order = EventData<'operator.commanded'>['command'];

interface Obeying {
  readonly story: { readonly guest: Pick<Guest, 'pairs'> };
  readonly seq: number;
  /** Records the order; what follows from it is the fold's. */
  obey(command: Order, pair: string | null, by: string, more?: { readonly what?: string }): void;
}

/** What a command has done by itself, and the service only records. */
const NOTED = ['setParameter', 'restartDevice'] as const;
const NOTE_CHARS_MAX = 1024;

const refuse = (text: string): NetkvmError => new NetkvmError('command.refused', text);
const byOf = ({ by }: JsonObject): string => (typeof by === 'string' ? by.slice(0, 256) : 'control socket');

/** The pair that is meant, null for all. */
const pairOf = ({ pair }: JsonObject): string | null => {
  if (pair === undefined || pair === null) return null;
  const mac = typeof pair === 'string' ? parseMac(pair) : null;
  if (mac === null) throw new NetkvmError('control.request', 'pair is a MAC, or is left out');
  return mac;
};

const meant = (pairs: ReadonlyMap<string, PairState>, mac: string | null): PairState[] => {
  if (mac !== null && !pairs.has(mac)) throw refuse(`there is no pair ${mac}`);
  return [...pairs.values()].filter((pair) => mac === null || pair.mac === mac);
};

/** Why this pair’s traffic cannot be moved before its primary leaves; null when it can. */
export const whyNotPrepared = ({ mac, mode, bits, shown, released }: PairState): string | null => {
  if (shown.datapath === 'standby') return null;
  if (mode === 'kernel') return `${mac}: the kernel’s net_failover switches when the primary leaves, and not before`;
  if (released) return `${mac}: it was given back, and is left alone until a reload`;
  return (bits & BIT.mayAct) === 0 ? `${mac}: effects are not on for this pair` : null;
};

/** `policy` is the one that holds now. */
export const operatorHandlers = (service: Obeying, policy: () => Policy): Handlers => ({
  restore: (params) => {
    const mac = pairOf(params);
    if (policy().effects === 'dryRun')
      return Promise.reject(refuse('the service runs dry: it changes nothing, and gives nothing back'));
    meant(service.story.guest.pairs, mac);
    service.obey('restore', mac, byOf(params));
    return Promise.resolve({ seq: service.seq });
  },
  note: (params) => {
    const { command, what } = params;
    const noted = NOTED.find((name) => name === command);
    if (noted === undefined || typeof what !== 'string')
      throw new NetkvmError('control.request', `note needs command (${NOTED.join(', ')}) and what`);
    service.obey(noted, pairOf(params), byOf(params), { what: what.slice(0, NOTE_CHARS_MAX) });
    return Promise.resolve({ seq: service.seq });
  },
  prepare: (params) => {
    const mac = pairOf(params);
    const pairs = meant(service.story.guest.pairs, mac).filter((pair) => (pair.bits & BIT.primary) !== 0);
    const reasons = pairs.map(whyNotPrepared);
    const [first] = reasons.filter((reason) => reason !== null);
    if (first !== undefined && reasons.every((reason) => reason !== null)) return Promise.reject(refuse(first));
    const able = pairs.filter((_, place) => reasons[place] === null).map((pair) => pair.mac);
    for (const one of able) service.obey('prepare', one, byOf(params));
    return Promise.resolve({ seq: service.seq, pairs: able });
  },
});
