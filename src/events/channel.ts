// What a hypervisor and the service in its guest say to each other over the virtio-serial port `org.netkvm.failover.0`: one
// JSON object a line, with the protocol's version in each. Neither side trusts the other: lines are bounded, fields are
// checked one by one, and what is not understood is passed over, so that a newer side can say more.
//
//   host   {"netkvm":1,"say":"hello"}, "ping", {"say":"prepare"|"arriving","pair":MAC,"episode":NAME}
//   guest  {"netkvm":1,"say":"state","pairs":[…]}, {"say":"prepared"|"refused","pair":MAC,"episode":NAME,"reason":TEXT}
//
// On Linux the port is /dev/virtio-ports/org.netkvm.failover.0 (or the /dev/vport… whose name sysfs tells), on Windows
// \\.\Global\org.netkvm.failover.0 (vioserial).
import { Compile } from 'typebox/compile';
import { Type } from 'typebox';
import { GuestWordSchema, type GuestWord, WORDS_TO_GUEST, type WordToGuest } from './hosting.ts';
import { parseMac } from './mac.ts';

export const CHANNEL_NAME = 'org.netkvm.failover.0';
export const CHANNEL_VERSION = 1;
/** A longer line is nothing that either side says. */
export const CHANNEL_LINE_BYTES = 8192;
/** Pairs of one guest. */
const PAIRS_MAX = 16;

export type HostSays =
  { readonly say: 'hello' | 'ping' } | { readonly say: WordToGuest; readonly pair: string; readonly episode: string };
export type GuestSays =
  | { readonly say: 'state'; readonly pairs: readonly (GuestWord & { readonly pair: string })[] }
  | {
      readonly say: 'prepared' | 'refused';
      readonly pair: string;
      readonly episode: string;
      readonly reason: string | null;
    };

/** A message as its line, with the newline. */
export const channelLine = (message: HostSays | GuestSays): string =>
  `${JSON.stringify({ netkvm: CHANNEL_VERSION, ...message })}\n`;

const utf8 = new TextDecoder('utf-8', { fatal: true });
const PairState = Type.Object({ ...GuestWordSchema.properties, pair: Type.String() });
let pairState: ReturnType<typeof Compile<typeof PairState>> | undefined;

type JsonObject = Readonly<Record<string, unknown>>;

const objectIn = (line: Uint8Array): JsonObject | null => {
  if (line.length > CHANNEL_LINE_BYTES) return null;
  try {
    // Nothing but an object has such a field.
    const value = JSON.parse(utf8.decode(line)) as JsonObject | null;
    return value?.['netkvm'] === CHANNEL_VERSION ? value : null;
  } catch {
    return null;
  }
};

const named = ({ pair, episode }: JsonObject): { pair: string; episode: string } | null => {
  const mac = typeof pair === 'string' ? parseMac(pair) : null;
  if (mac === null || typeof episode !== 'string' || !/^[\w.:-]{0,64}$/.test(episode)) return null;
  return { pair: mac, episode };
};

/** A line of the hypervisor, without its newline; null for what is not understood. Never throws. */
export const hostSays = (line: Uint8Array): HostSays | null => {
  const message = objectIn(line);
  if (message === null) return null;
  const { say } = message;
  if (say === 'hello' || say === 'ping') return { say };
  const word = WORDS_TO_GUEST.find((one) => one === say);
  const about = named(message);
  return word === undefined || about === null ? null : { say: word, ...about };
};

/** A newer guest may say more of a pair. */
const understood = ({ pair, version, stage, datapath, primary, episode, findings }: GuestWord & { pair: string }) => ({
  pair,
  version,
  stage,
  datapath,
  primary,
  episode,
  findings,
});

/** A line of the guest, without its newline; null for what is not understood. Never throws. */
export const guestSays = (line: Uint8Array): GuestSays | null => {
  const message = objectIn(line);
  if (message === null) return null;
  const { say, reason, pairs } = message;
  if (say === 'prepared' || say === 'refused') {
    const about = named(message);
    return about === null ? null : { say, ...about, reason: typeof reason === 'string' ? reason.slice(0, 1024) : null };
  }
  if (say !== 'state' || !Array.isArray(pairs)) return null;
  const known = (pairState ??= Compile(PairState));
  const told = pairs.slice(0, PAIRS_MAX).filter((one): one is GuestWord & { pair: string } => known.Check(one));
  return { say, pairs: told.map(understood) };
};
