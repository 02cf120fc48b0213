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
  ];
};
const possible = (plan: Parameters, { rings, channels, features }: Now): Plan => {
  const out: Plan = { ...plan };
  if (out.rxRing !== undefined && out.rxRing > (rings.rx?.max ?? 0)) delete out.rxRing;
  if (out.txRing !== undefined && out.txRing > (rings.tx?.max ?? 0)) delete out.txRing;
  if (out.channels !== undefined && out.channels > (channels.combined?.max ?? 0)) delete out.channels;
  const changeable = Object.entries(plan.features ?? {}).filter(([name]) => features.get(name)?.changeable === true);
  delete out.features;
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

/** Gives the primary the parameters of the policy. */
export const alignParameters = async (
  conversation: Conversation,
  ethtool: Ethtool,
  { primary, plan: { parameters } }: DecisionOf<'alignParameters'>,
  ledger: Ledger,
): Promise<Outcome> => {
  const now = await look(conversation, ethtool, await linkOf(conversation, primary, 'the primary'));
  const wanted = differing(parameters, valuesNow(parameters, now));
  if (isEmpty(wanted)) return ALREADY;
  const cannot = impossible(wanted, now);
  const plan = possible(wanted, now);
  if (!isEmpty(plan)) {
    await ledger.owe({ kind: 'parameters', device: primary, before: valuesNow(parameters, now) });
    await apply(conversation, ethtool, plan, now);
    const after = await look(conversation, ethtool, await linkOf(conversation, primary, 'the primary'));
    const left = differing(plan, valuesNow(plan, after));
    if (!isEmpty(left)) throw new Stop('failed', `the kernel agreed, but did not follow: ${JSON.stringify(left)}`);
  }
  if (cannot.length > 0) throw new Stop('refused', cannot.join('; '));
  return SUCCEEDED;
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
