// Does anybody answer? A takeover is kept only if the gateway, or a target of the configuration, answers over the bond. On
// the link the kernel's own neighbour discovery asks (ARP, NDP) and says whether it was answered: that needs no socket of
// ours and no right but CAP_NET_ADMIN. A target behind a gateway is sent an ICMP echo; where that socket may not be
// opened, its gateway is asked instead. All of it over this link: at boot the primary may have routes of its own, and better ones.
// Sources: arp(7), rtnetlink(7), icmp(7); neigh_update and ip_route_output_key_hash_rcu in the kernel.
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRNO } from '../libc.ts';
import type { Conversation } from './conversation.ts';
import { echo } from './echo.ts';
import { add, AF, ask, NEIGHBOUR, type NeighbourEntry, readEntry, ROUTE, type RouteEntry } from './entries.ts';

const NUD = { incomplete: 0x01, reachable: 0x02, stale: 0x04, delay: 0x08, probe: 0x10, failed: 0x20, permanent: 0x80 } as const;
const NTF_USE = 0x01;
const LOOK_MS = 10;
/** The kernel asks once a second; after so long a neighbour that is still unresolved is asked anew. */
const ANEW_MS = 1000;

const familyOf = (address: string): number => (address.includes(':') ? AF.inet6 : AF.inet);

const neighbour = async (conversation: Conversation, dst: string, ifindex: number): Promise<NeighbourEntry | null> => {
  const { replies } = await conversation.ask(ask(NEIGHBOUR, { family: familyOf(dst), ifindex, dst }));
  const [entry] = replies.map((bytes) => readEntry(NEIGHBOUR, bytes, 0, bytes.length));
  return entry ?? null;
};

/** Makes the kernel ask now: a neighbour with a known hardware address directly, any other with a broadcast. */
const solicit = async (conversation: Conversation, dst: string, ifindex: number, known: NeighbourEntry | null): Promise<void> => {
  const base = { family: familyOf(dst), ifindex, type: 0, dst };
  const valid = known !== null && (known.state & (NUD.reachable | NUD.stale | NUD.delay | NUD.probe)) !== 0 ? known : null;
  const entry: NeighbourEntry =
    valid?.lladdr === undefined
      ? { ...base, state: 0, headFlags: NTF_USE }
      : { ...base, state: NUD.probe, headFlags: valid.headFlags & 0x80, lladdr: valid.lladdr };
  await conversation.tell(add(NEIGHBOUR, entry, 'replace'));
};

/** Whether a neighbour answers before `until_ms`. One that was entered by hand cannot be asked: null. */
const neighbourAnswers = async (
  conversation: Conversation,
  dst: string,
  ifindex: number,
  until_ms: number,
  signal: AbortSignal,
): Promise<boolean | null> => {
  let known = await neighbour(conversation, dst, ifindex);
  if (known !== null && (known.state & NUD.permanent) !== 0) return null;
  while (performance.now() < until_ms && !signal.aborted) {
    await solicit(conversation, dst, ifindex, known);
    const anew_ms = Math.min(until_ms, performance.now() + ANEW_MS);
    do {
      await sleep(LOOK_MS);
      known = await neighbour(conversation, dst, ifindex);
      if (known !== null && (known.state & NUD.reachable) !== 0) return true;
    } while (performance.now() < anew_ms && !signal.aborted);
  }
  return false;
};

/** How the kernel would send to this address over this link; null if it would not. */
const routeTo = async (conversation: Conversation, dst: string, oif: number): Promise<RouteEntry | null> => {
  const family = familyOf(dst);
  const dstLength = family === AF.inet ? 32 : 128;
  const { answers, replies } = await conversation.ask(ask(ROUTE, { family, dst, dstLength, oif }));
  if (answers[0]?.errno !== 0 && answers[0]?.errno !== ERRNO.EEXIST) return null;
  const [route] = replies.map((bytes) => readEntry(ROUTE, bytes, 0, bytes.length));
  return route ?? null;
};

const answersAt = async (
  conversation: Conversation,
  dst: string,
  ifindex: number,
  until_ms: number,
  signal: AbortSignal,
): Promise<boolean | null> => {
  if (dst.startsWith('fe80:')) return neighbourAnswers(conversation, dst, ifindex, until_ms, signal);
  while (performance.now() < until_ms && !signal.aborted) {
    const route = await routeTo(conversation, dst, ifindex);
    if (route?.oif === ifindex) {
      if (route.gateway === undefined) return neighbourAnswers(conversation, dst, ifindex, until_ms, signal);
      const answered = await echo(dst, ifindex, until_ms, signal);
      return answered ?? neighbourAnswers(conversation, route.gateway, ifindex, until_ms, signal);
    }
    await sleep(LOOK_MS);
  }
  return false;
};

/**
 * Whether one of the targets answers over this link within the limit. True as well where nobody can be asked: no targets,
 * or only such as were entered by hand.
 */
export const anyAnswers = async (
  conversation: Conversation,
  targets: readonly string[],
  ifindex: number,
  limit_ms: number,
  signal: AbortSignal,
): Promise<boolean> => {
  if (targets.length === 0) return true;
  const enough = new AbortController();
  const both = AbortSignal.any([signal, enough.signal]);
  const until_ms = performance.now() + limit_ms;
  const asked = targets.map(async (target) => {
    const answered = await answersAt(conversation, target, ifindex, until_ms, both);
    if (answered === true) enough.abort();
    return answered;
  });
  const answers = await Promise.all(asked);
  return answers.includes(true) || answers.every((answered) => answered === null);
};
