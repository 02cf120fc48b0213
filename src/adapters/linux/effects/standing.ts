// Where effects look before and after they act: links, and what stands on them, asked of the kernel anew each time. And how
// they end early: a Stop carries the outcome. Sources: rtnetlink(7).
import type { Target } from '../../../events/catalogue.ts';
import type { Outcome } from '../../platform.ts';
import { ERRNO } from '../libc.ts';
import type { LinkMessage } from '../link-message.ts';
import { decodeRtnetlink } from '../rtnetlink.ts';
import { type Answer, answerText, type Conversation } from './conversation.ts';
import {
  ADDRESS,
  type AddressEntry,
  dump,
  NEIGHBOUR,
  type NeighbourEntry,
  readEntry,
  ROUTE,
  type RouteEntry,
  RULE,
  type RuleEntry,
} from './entries.ts';
import type { Standing } from './moving.ts';
import { getLink, getLinks } from './requests.ts';

export const SUCCEEDED: Outcome = { result: 'succeeded', reason: null, observed: false };
/** What was wanted is the case already. */
export const ALREADY: Outcome = { result: 'succeeded', reason: null, observed: true };

/** The end of an effect before its end. */
export class Stop extends Error {
  readonly outcome: Outcome;
  /** The kernel refused for lack of a permission. */
  readonly isDenied: boolean;
  constructor(result: Outcome['result'], reason: string, isDenied = false) {
    super(reason);
    this.outcome = { result, reason, observed: false };
    this.isDenied = isDenied;
  }
}
export const gone = (what: string): Stop => new Stop('void', `${what} is gone`);

/** What an answer means for the effect: EPERM and EACCES are refusals, what is no longer there makes it void. */
export const stopOf = (what: string, answer: Answer): Stop => {
  const { EPERM, EACCES, EOPNOTSUPP, ENODEV } = ERRNO;
  const isDenied = answer.errno === EPERM || answer.errno === EACCES;
  const result = isDenied || answer.errno === EOPNOTSUPP ? 'refused' : answer.errno === ENODEV ? 'void' : 'failed';
  return new Stop(result, `${what}: ${answerText(answer)}`, isDenied);
};

type Fine = readonly (number | undefined)[];
/** It is there already. */
export const THERE: Fine = [ERRNO.EEXIST];
/** It is no longer there, or the link is not. */
export const NOT_THERE: Fine = [ERRNO.ENOENT, ERRNO.ESRCH, ERRNO.EADDRNOTAVAIL, ERRNO.ENODEV];

/** Sends one datagram; throws Stop for the first request that the kernel refuses, unless its errno is among `fine`. */
export const must = async (
  conversation: Conversation,
  what: string,
  requests: readonly Uint8Array[],
  fine: Fine = [],
): Promise<void> => {
  if (requests.length === 0) return;
  const answers = await conversation.tell(...requests);
  const bad = answers.find(({ errno }) => errno !== 0 && !fine.includes(errno));
  if (bad !== undefined) throw stopOf(what, bad);
};

export const linksIn = (replies: readonly Uint8Array[]): LinkMessage[] =>
  replies.flatMap((bytes) =>
    decodeRtnetlink(bytes).messages.filter((message) => message.kind === 'link' && !message.gone),
  ) as LinkMessage[];

/** A link by its index or name, or null. Throws Stop if the kernel does not say. */
export const linkBy = async (conversation: Conversation, which: number | string): Promise<LinkMessage | null> => {
  const { answers, replies } = await conversation.ask(getLink(which));
  const [answer] = answers;
  if (answer === undefined || answer.errno === ERRNO.ENODEV) return null;
  if (answer.errno !== 0) throw stopOf(`looking at ${which}`, answer);
  return linksIn(replies)[0] ?? null;
};

/** Whether this link is the device that a decision names: an index is used again after a replug. */
const isThat = (link: LinkMessage, { mac, device }: Target): boolean => {
  if (device !== null && link.parentDevice !== undefined) return link.parentDevice === device;
  return mac === null || link.mac === mac || link.permMac === mac;
};

/** The link that a decision names. Throws Stop (void) if it is gone or its index means another device by now. */
export const linkOf = async (conversation: Conversation, target: Target | null, what: string): Promise<LinkMessage> => {
  const link = target === null ? null : await linkBy(conversation, target.ifindex);
  if (target === null || link === null || !isThat(link, target)) throw gone(what);
  return link;
};

const ATTEMPTS = 3;
/** A dump; one that changed while it was made is made again. */
const dumped = async (conversation: Conversation, request: () => Uint8Array, what: string): Promise<readonly Uint8Array[]> => {
  for (let attempt = 1; ; attempt += 1) {
    const { answers, replies, whole } = await conversation.ask(request());
    const bad = answers.find(({ errno }) => errno !== 0);
    if (bad !== undefined) throw stopOf(what, bad);
    if (whole || attempt === ATTEMPTS) return replies;
  }
};

export const allLinks = async (conversation: Conversation): Promise<LinkMessage[]> =>
  linksIn(await dumped(conversation, getLinks, 'listing links'));

const notNull = <T>(value: T | null): value is T => value !== null;

export const addressesOn = async (conversation: Conversation, ifindex: number): Promise<AddressEntry[]> => {
  const replies = await dumped(conversation, () => dump(ADDRESS, { ifindex }), 'listing addresses');
  const entries = replies.map((bytes) => readEntry(ADDRESS, bytes, 0, bytes.length)).filter(notNull);
  return entries.filter((entry) => entry.ifindex === ifindex);
};

const RTM_F_CLONED = 0x200;
/** Every route that leaves through this link, the local ones that the kernel makes excepted; those over many links, too. */
export const routesOver = async (conversation: Conversation, ifindex: number): Promise<RouteEntry[]> => {
  const replies = await dumped(conversation, () => dump(ROUTE, { oif: ifindex }), 'listing routes');
  const entries = replies.map((bytes) => readEntry(ROUTE, bytes, 0, bytes.length)).filter(notNull);
  return entries.filter(
    (entry) =>
      (entry.headFlags & RTM_F_CLONED) === 0 &&
      (entry.oif === ifindex || (entry.multipath !== undefined && nexthops(entry.multipath).includes(ifindex))),
  );
};

/** struct rtnexthop: length (16), flags, hops, ifindex. */
const nexthops = (hex: string): number[] => {
  const bytes = Buffer.from(hex, 'hex');
  const found: number[] = [];
  for (let at = 0; at + 8 <= bytes.length; at += Math.max(8, (bytes.readUInt16LE(at) + 3) & ~3))
    found.push(bytes.readInt32LE(at + 4));
  return found;
};

export const rulesNaming = async (conversation: Conversation, name: string): Promise<RuleEntry[]> => {
  const replies = await dumped(conversation, () => dump(RULE), 'listing rules');
  const entries = replies.map((bytes) => readEntry(RULE, bytes, 0, bytes.length)).filter(notNull);
  return entries.filter(({ iifName, oifName }) => iifName === name || oifName === name);
};

export const neighboursOn = async (conversation: Conversation, ifindex: number): Promise<NeighbourEntry[]> => {
  const replies = await dumped(conversation, () => dump(NEIGHBOUR, { filter: ifindex }), 'listing neighbours');
  const entries = replies.map((bytes) => readEntry(NEIGHBOUR, bytes, 0, bytes.length)).filter(notNull);
  return entries.filter((entry) => entry.ifindex === ifindex);
};

/** Everything that stands on a link. */
export const standingOn = async (
  conversation: Conversation,
  { ifindex, name }: { ifindex: number; name: string },
): Promise<Standing> => ({
  addresses: await addressesOn(conversation, ifindex),
  routes: await routesOver(conversation, ifindex),
  rules: await rulesNaming(conversation, name),
  neighbours: await neighboursOn(conversation, ifindex),
});
