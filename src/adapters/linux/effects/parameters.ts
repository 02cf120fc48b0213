// The parameters of a device: compared with what the policy wants, changed one after the other, read back. What the driver
// does not have, or has a narrower range for, is refused by name, and what was changed until then stays owed. A member's
// MTU is its master's: there it is set, and the kernel takes it back everywhere if one member refuses it.
import type { DecisionOf, Obligation, Parameters, Target } from '../../../events/catalogue.ts';
import type { Ledger, Outcome } from '../../platform.ts';
import type { LinkMessage } from '../link-message.ts';
import type { Conversation } from './conversation.ts';
import type { Ethtool, Feature, Sizes } from './ethtool.ts';
import { setLink } from './requests.ts';
import { ALREADY, linkBy, linkOf, must, Stop, SUCCEEDED } from './standing.ts';

type Plan = { -readonly [K in keyof Parameters]: Parameters[K] };
interface Now {
  readonly link: LinkMessage;
  /** Whose MTU counts: the master's, if there is one. */
  readonly mtuLink: LinkMessage;
  readonly rings: Sizes<'rx' | 'tx'>;
  readonly channels: Sizes<'combined'>;
  readonly features: ReadonlyMap<string, Feature>;
}

const look = async (conversation: Conversation, ethtool: Ethtool, link: LinkMessage): Promise<Now> => ({
  link,
  mtuLink: ((link.master ?? 0) === 0 ? null : await linkBy(conversation, link.master ?? 0)) ?? link,
  rings: await ethtool.rings(link.ifindex),
  channels: await ethtool.channels(link.ifindex),
  features: await ethtool.features(link.ifindex),
});

/** Of the values that are wanted, what they are now. What the device does not have is missing. */
const valuesNow = (wanted: Parameters, { link, mtuLink, rings, channels, features }: Now): Plan => {
  const now: Plan = {};
  if (wanted.mtu !== undefined && mtuLink.mtu !== undefined) now.mtu = mtuLink.mtu;
  if (wanted.txQueue !== undefined && link.queueLength !== undefined) now.txQueue = link.queueLength;
  if (wanted.rxRing !== undefined && rings.rx !== undefined) now.rxRing = rings.rx.now;
  if (wanted.txRing !== undefined && rings.tx !== undefined) now.txRing = rings.tx.now;
  if (wanted.channels !== undefined && channels.combined !== undefined) now.channels = channels.combined.now;
  if (wanted.features !== undefined) {
    const named = Object.keys(wanted.features).flatMap((name) => {
      const feature = features.get(name);
      return feature === undefined ? [] : [[name, feature.active] as const];
    });
    now.features = Object.fromEntries(named);
  }
  return now;
};

/** What is wanted and is not so. */
const differing = (wanted: Parameters, now: Parameters): Plan => {
  const out: Plan = {};
  for (const name of ['mtu', 'txQueue', 'rxRing', 'txRing', 'channels'] as const) {
    const value = wanted[name];
    if (value !== undefined && value !== now[name]) out[name] = value;
  }
  const features = Object.entries(wanted.features ?? {}).filter(([name, on]) => now.features?.[name] !== on);
  if (features.length > 0) out.features = Object.fromEntries(features);
  if (wanted.inf !== undefined) out.inf = wanted.inf;
  return out;
};
const isEmpty = (plan: Parameters): boolean => Object.keys(plan).length === 0;

/** What the device cannot be given, in words. */
const impossible = (plan: Parameters, { rings, channels, features }: Now): string[] => {
  const size = (name: string, value: number | undefined, range: { readonly max: number } | undefined): string[] => {
    if (value === undefined) return [];
    if (range === undefined) return [`the driver has no ${name}`];
    return value > range.max ? [`${name} ${value} is more than the driver's ${range.max}`] : [];
  };
  return [
    ...size('rxRing', plan.rxRing, rings.rx),
    ...size('txRing', plan.txRing, rings.tx),
    ...size('channels', plan.channels, channels.combined),
    ...Object.keys(plan.features ?? {}).flatMap((name) => {
      const feature = features.get(name);
      return feature?.changeable === true ? [] : [`the driver does not let feature ${name} be changed`];
    }),
    ...Object.keys(plan.inf ?? {}).map((name) => `${name} is a parameter of Windows drivers`),
  ];
};
const possible = (plan: Parameters, { rings, channels, features }: Now): Plan => {
  const { features: wanted = {}, ...rest } = plan;
  const out: Plan = rest;
  delete out.inf;
  if (out.rxRing !== undefined && out.rxRing > (rings.rx?.max ?? 0)) delete out.rxRing;
  if (out.txRing !== undefined && out.txRing > (rings.tx?.max ?? 0)) delete out.txRing;
  if (out.channels !== undefined && out.channels > (channels.combined?.max ?? 0)) delete out.channels;
  const changeable = Object.entries(wanted).filter(([name]) => features.get(name)?.changeable === true);
  return changeable.length === 0 ? out : { ...out, features: Object.fromEntries(changeable) };
};

const apply = async (conversation: Conversation, ethtool: Ethtool, plan: Parameters, { link, mtuLink }: Now): Promise<void> => {
  const { mtu, txQueue, rxRing, txRing, channels, features } = plan;
  if (mtu !== undefined) await must(conversation, `mtu ${mtu}`, [setLink(mtuLink.ifindex, { mtu })]);
  if (txQueue !== undefined) await must(conversation, `txQueue ${txQueue}`, [setLink(link.ifindex, { queueLength: txQueue })]);
  if (rxRing !== undefined || txRing !== undefined)
    await ethtool.setRings(link.ifindex, {
      ...(rxRing === undefined ? {} : { rx: rxRing }),
      ...(txRing === undefined ? {} : { tx: txRing }),
    });
  if (channels !== undefined) await ethtool.setChannels(link.ifindex, { combined: channels });
  if (features !== undefined) await ethtool.setFeatures(link.ifindex, new Map(Object.entries(features)));
};

/** All that either names; what `second` says counts. */
const merged = (first: Parameters, second: Parameters): Plan => {
  const features = { ...first.features, ...second.features };
  return { ...first, ...second, ...(isEmpty(features) ? {} : { features }) };
};

/** Whether `known` has a value for everything that `names` has one for. */
const covers = (known: Parameters, names: Parameters): boolean =>
  Object.keys(names).every((name) => name in known) &&
  Object.keys(names.features ?? {}).every((name) => name in (known.features ?? {}));

/**
 * What the device had before anything was changed, written down if it was not yet; `names` is all that may be changed. Where
 * the policy has come to name more than was written down, the device is first given back what is known.
 */
const remembered = async (
  conversation: Conversation,
  ethtool: Ethtool,
  { device, names, ledger }: { readonly device: Target | null; readonly names: Parameters; readonly ledger: Ledger },
): Promise<Parameters> => {
  const see = async (): Promise<Now> => look(conversation, ethtool, await linkOf(conversation, device, 'the device'));
  const owed = openOn(ledger, device);
  let now = valuesNow(names, await see());
  if (owed !== undefined) {
    const before = readParameters(owed);
    if (covers(before, now)) return before;
    await giveParametersBack(conversation, ethtool, { device, before });
    ledger.settle(owed.id, 'givenBack');
    now = valuesNow(names, await see());
  }
  await ledger.owe({ kind: 'parameters', device, before: now });
  return now;
};
const openOn = ({ open }: Ledger, device: Target | null): Obligation | undefined =>
  open.find(
    (one) => one.kind === 'parameters' && one.device?.ifindex === device?.ifindex && one.device?.arrival === device?.arrival,
  );

/** Changes what differs from `wanted`, and reads it back. What cannot be is refused by name, after the rest was done. */
const give = async (
  conversation: Conversation,
  ethtool: Ethtool,
  { device, wanted, which }: { readonly device: Target | null; readonly wanted: Parameters; readonly which: string },
): Promise<Outcome> => {
  const now = await look(conversation, ethtool, await linkOf(conversation, device, which));
  const asked = differing(wanted, valuesNow(wanted, now));
  if (isEmpty(asked)) return ALREADY;
  const plan = possible(asked, now);
  if (!isEmpty(plan)) {
    await apply(conversation, ethtool, plan, now);
    const after = await look(conversation, ethtool, await linkOf(conversation, device, which));
    const left = differing(plan, valuesNow(plan, after));
    if (!isEmpty(left)) throw new Stop('failed', `the kernel agreed, but did not follow: ${JSON.stringify(left)}`);
  }
  const cannot = impossible(asked, now);
  if (cannot.length > 0) throw new Stop('refused', cannot.join('; '));
  return SUCCEEDED;
};

/**
 * Gives the standby what it has in this stage, and back what it had for another one. When nothing is wanted for this stage,
 * nothing is owed any more afterwards.
 */
export const tuneStandby = async (
  conversation: Conversation,
  ethtool: Ethtool,
  { standby: device, plan: { parameters, elsewhere } }: DecisionOf<'tuneStandby'>,
  ledger: Ledger,
): Promise<Outcome> => {
  const which = 'the standby';
  const now = await look(conversation, ethtool, await linkOf(conversation, device, which));
  const isNews = !isEmpty(possible(differing(parameters, valuesNow(parameters, now)), now));
  // What is so already, or cannot be, is not worth an obligation.
  if (openOn(ledger, device) === undefined && !isNews)
    return await give(conversation, ethtool, { device, wanted: parameters, which });
  const before = await remembered(conversation, ethtool, { device, names: merged(elsewhere, parameters), ledger });
  const outcome = await give(conversation, ethtool, { device, wanted: merged(before, parameters), which });
  const owed = openOn(ledger, device);
  if (owed !== undefined && isEmpty(parameters)) ledger.settle(owed.id, 'givenBack');
  return outcome;
};

/** Gives the primary the parameters of the policy. */
export const alignParameters = async (
  conversation: Conversation,
  ethtool: Ethtool,
  { primary, plan: { parameters } }: DecisionOf<'alignParameters'>,
  ledger: Ledger,
): Promise<Outcome> => {
  const which = 'the primary';
  const now = await look(conversation, ethtool, await linkOf(conversation, primary, which));
  if (!isEmpty(possible(differing(parameters, valuesNow(parameters, now)), now)))
    await remembered(conversation, ethtool, { device: primary, names: parameters, ledger });
  return give(conversation, ethtool, { device: primary, wanted: parameters, which });
};

/** Puts back what was written down; a device that is gone is owed nothing. */
export const giveParametersBack = async (
  conversation: Conversation,
  ethtool: Ethtool,
  { device, before }: { readonly device: Target | null; readonly before: Parameters },
): Promise<void> => {
  const now = await look(conversation, ethtool, await linkOf(conversation, device, 'the device'));
  await apply(conversation, ethtool, possible(differing(before, valuesNow(before, now)), now), now);
};

const NUMBERS = ['mtu', 'txQueue', 'rxRing', 'txRing', 'channels'];
/** Throws Stop (refused) if it is not what alignParameters writes. */
export const readParameters = ({ before }: Pick<Obligation, 'before'>): Parameters => {
  const fine =
    typeof before === 'object' &&
    before !== null &&
    Object.entries(before).every(([name, value]) => {
      if (NUMBERS.includes(name)) return Number.isInteger(value);
      return (
        name === 'features' &&
        typeof value === 'object' &&
        value !== null &&
        Object.values(value).every((on) => typeof on === 'boolean')
      );
    });
  if (!fine) throw new Stop('refused', 'the parameters that were before cannot be read: give them back by hand');
  return before;
};
