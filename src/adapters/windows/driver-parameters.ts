// What a primary's driver is given by the machine: the parameters of the policy as its INF file offers them, written to the
// registry. They hold when the device starts again, so it is restarted, in the process that may hang (netcfg.child.ts). Only
// a primary is, that NETKVM has not started, while the standby carries: no parameter costs the path.
import type { Adapter, DecisionOf, Obligation, Parameters, Target } from '../../events/catalogue.ts';
import { FRAME_HEADER_BYTES, normalised, valueOf } from '../parameter-values.ts';
import type { Parameter, ParameterDevice, ParameterStore } from '../parameters.ts';
import type { Ledger, Outcome } from '../platform.ts';

/** How the reason of an outcome ends where the registry has what is wanted, and the device was not restarted for it. */
const NOT_RESTARTED = 'what the registry has holds when the device starts again';

type Store = Pick<ParameterStore, 'devices' | 'parameters' | 'write'>;
/** By the driver's names; null where nothing was stored. */
type Stored = Readonly<Record<string, string | null>>;
interface Wish {
  readonly parameter: Parameter;
  readonly value: string | null;
}

/** What these effects need of the guest. */
export interface Surroundings {
  readonly store: Store;
  /** The adapter of this device as it is now; undefined while it is away. */
  readonly adapter: (device: string) => Adapter | undefined;
  /** Whether NETKVM uses this adapter, or other protocols do. */
  readonly isInUse: (adapter: Adapter) => Promise<boolean>;
  /** Restarts the device; throws what the outcome says. True when that takes a reboot. */
  readonly restart: (device: string) => Promise<boolean>;
  /** Waits until it holds; false when the time for it is over. */
  readonly wait: (holds: () => boolean) => Promise<boolean>;
}

const done = (result: Outcome['result'], reason: string | null = null, observed = false): Outcome => ({
  result,
  reason,
  observed,
});

/** What is to be written for the policy's wishes, and what this driver cannot be given, in words. */
export const wishesFor = (
  { mtu, inf = {}, ...others }: Parameters,
  known: readonly Parameter[],
  mtuNow: number,
): { readonly wishes: readonly Wish[]; readonly cannot: readonly string[] } => {
  const wishes: Wish[] = [];
  const cannot = Object.keys(others).map((name) => `${name} is no parameter of Windows: its drivers name their own (inf)`);
  const wish = (parameter: Parameter, text: string): void => {
    try {
      wishes.push({ parameter, value: normalised(parameter, text) });
    } catch (error) {
      cannot.push((error as Error).message);
    }
  };
  if (mtu !== undefined && mtu !== mtuNow) {
    const frame = known.find(({ bears }) => bears === 'frame');
    if (frame === undefined) cannot.push('the driver has no *JumboPacket');
    else wish(frame, String(mtu + FRAME_HEADER_BYTES));
  }
  for (const [name, text] of Object.entries(inf)) {
    const found = known.find((one) => one.name.toLowerCase() === name.toLowerCase());
    if (found === undefined) cannot.push(`the driver has no ${name}`);
    else if (found.bears !== null) cannot.push(`${name} is a matter of the pair, not of the driver`);
    else wish(found, text);
  }
  return { wishes, cannot };
};

const deviceIn = async (store: Store, id: string): Promise<ParameterDevice | undefined> =>
  (await store.devices()).find((one) => one.id.toUpperCase() === id.toUpperCase());

const owedTo = ({ open }: Ledger, device: Target): Obligation | undefined =>
  open.find((one) => one.kind === 'driverParameters' && one.device?.device === device.device);

/** Null if it is not what `remember` writes. */
const storedOf = ({ before }: Obligation): Stored | null => {
  const isStored =
    typeof before === 'object' &&
    before !== null &&
    Object.values(before).every((value) => value === null || typeof value === 'string');
  return isStored ? (before as Stored) : null;
};

/** Writes what differs; what the driver does not have any more is passed over. True when anything was written. */
const writeBack = async (store: Store, device: ParameterDevice, before: Stored): Promise<boolean> => {
  let changed = false;
  for (const parameter of await store.parameters(device)) {
    const value = before[parameter.name];
    if (value === undefined || value === parameter.stored) continue;
    await store.write(device, parameter, value);
    changed = true;
  }
  return changed;
};

/** What was not written down when the device was first changed, and cannot be any more without mixing it with what we wrote. */
const unremembered = (target: Target, wishes: readonly Wish[], ledger: Ledger): string[] => {
  const owed = owedTo(ledger, target);
  const before = owed === undefined ? null : storedOf(owed);
  return before === null ? [] : wishes.map(({ parameter: { name } }) => name).filter((name) => !(name in before));
};

/** Gives the primary the parameters of the policy: compared, written, restarted, and its MTU read back. */
export const alignDriver = async (
  { primary, plan: { parameters } }: Pick<DecisionOf<'alignParameters'>, 'primary' | 'plan'>,
  adapter: Adapter,
  around: Surroundings,
  ledger: Ledger,
): Promise<Outcome> => {
  const id = adapter.device ?? '';
  const device = await deviceIn(around.store, id);
  if (device === undefined || primary === null) return done('void', 'the primary is gone');
  const { wishes, cannot } = wishesFor(parameters, await around.store.parameters(device), adapter.mtu);
  const refusal = cannot.length === 0 ? null : done('refused', cannot.join('; '));
  const news = wishes.filter(({ parameter, value }) => valueOf(parameter) !== value);
  // A process before this one may have written it, and died before the restart: the MTU tells.
  const isUnstarted = wishes.some(({ parameter }) => parameter.bears === 'frame');
  if (news.length === 0 && !isUnstarted) return refusal ?? done('succeeded', null, true);
  const unknown = unremembered(primary, news, ledger);
  if (unknown.length > 0)
    return done('refused', `${unknown.join(', ')}: new in the policy since this device was changed; netkvm restore comes first`);
  const before: Stored = Object.fromEntries(news.map(({ parameter: { name, stored } }) => [name, stored]));
  if (news.length > 0 && owedTo(ledger, primary) === undefined)
    await ledger.owe({ kind: 'driverParameters', device: primary, before });
  for (const { parameter, value } of news) await around.store.write(device, parameter, value);
  if (await around.restart(id)) return done('refused', `reboot required: ${NOT_RESTARTED}`);
  const { mtu } = parameters;
  const isThere = (): boolean => {
    const now = around.adapter(id);
    return now !== undefined && (!isUnstarted || now.mtu === mtu);
  };
  if (await around.wait(isThere)) return refusal ?? done('succeeded');
  const now = around.adapter(id);
  return done('failed', now === undefined ? 'the device did not come back' : `restarted, its MTU is ${now.mtu}, not ${mtu}`);
};

/** What was stored is stored again. A device that is in use is not restarted for it. */
export const giveDriverBack = async (owed: Obligation, around: Surroundings, ledger: Ledger): Promise<Outcome> => {
  const id = owed.device?.device ?? '';
  const device = await deviceIn(around.store, id);
  if (device === undefined) return done('void', 'the device is away');
  const before = storedOf(owed);
  if (before === null) return done('refused', 'what is remembered cannot be read');
  const changed = await writeBack(around.store, device, before);
  const adapter = around.adapter(id);
  const isLeft = changed && (adapter === undefined || (await around.isInUse(adapter)));
  const needsReboot = changed && !isLeft && (await around.restart(id));
  ledger.settle(owed.id, 'givenBack');
  return done('succeeded', isLeft || needsReboot ? NOT_RESTARTED : null, !changed);
};
