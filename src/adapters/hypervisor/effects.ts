// The effects of the hypervisor's side, one function each: compare, write down what is owed, act, read back.
import type { Decision, Obligation, ObligationKind } from '../../events/catalogue.ts';
import type { VmPolicy } from '../../events/hosting.ts';
import { ALREADY, Stop, SUCCEEDED } from '../linux/effects/standing.ts';
import type { Ledger, Outcome } from '../platform.ts';
import { QmpError } from '../qemu/monitor.ts';
import { isObject } from '../qemu/qmp.ts';
import type { Channel } from './channel.ts';
import type { Place, Port } from './port.ts';
import type { Qemu } from './qemu.ts';

export interface Hosting {
  readonly vm: VmPolicy;
  readonly qemu: Qemu;
  readonly port: Port;
  readonly channel: Channel | null;
}

/** Never throws. */
export const carryOut = async (decision: Decision, hosting: Hosting, signal: AbortSignal, ledger: Ledger): Promise<Outcome> => {
  try {
    if (signal.aborted) throw new Stop('failed', 'interrupted before it began');
    return await act(decision, hosting, ledger);
  } catch (error) {
    if (error instanceof Stop) return error.outcome;
    const reason = error instanceof Error ? error.message : String(error);
    // What QEMU itself refuses it will refuse again.
    const refused = error instanceof QmpError && error.refusal !== null;
    return { result: refused ? 'refused' : 'failed', reason, observed: false };
  }
};

const act = (decision: Decision, hosting: Hosting, ledger: Ledger): Promise<Outcome> => {
  const { vm, qemu } = hosting;
  switch (decision.kind) {
    case 'parkMac':
      return setMac(hosting, ledger, vm.parking ?? '');
    case 'restoreMac':
      return setMac(hosting, ledger, vm.mac);
    case 'addForwarding':
      return addForwarding(hosting, ledger);
    case 'removeForwarding':
      return removeForwarding(hosting, ledger);
    case 'tellGuest': {
      const { word, episode } = decision.plan;
      if (hosting.channel?.tell({ say: word, pair: vm.mac, episode }) !== true)
        throw new Stop('failed', 'nobody listens on the channel');
      return Promise.resolve(SUCCEEDED);
    }
    case 'unplugPrimary':
      return unplug(hosting, ledger);
    case 'plugPrimary':
      return plug(hosting, ledger);
    case 'startMigration':
      return qemu.execute('migrate', { uri: decision.plan.uri }).then(() => SUCCEEDED);
    case 'cancelMigration':
      return qemu.execute('migrate_cancel').then(() => SUCCEEDED);
    case 'giveBack':
      return giveBack(hosting, ledger, decision.plan.obligation);
    default:
      throw new Stop('refused', 'this is for a guest to do');
  }
};

const find = (ledger: Ledger, kind: ObligationKind): Obligation | undefined => ledger.open.find((one) => one.kind === kind);

/** The VF's MAC. What it was before is owed; with the pair's MAC it is given back, where that was it. */
const setMac = async ({ vm, port }: Hosting, ledger: Ledger, wanted: string): Promise<Outcome> => {
  const { vf } = await port.read();
  if (vf === null) throw new Stop('refused', 'there is no such VF');
  const owed = vf.mac === wanted ? find(ledger, 'vfMac') : await ledger.owe({ kind: 'vfMac', device: null, before: vf });
  if (vf.mac !== wanted) await port.setMac(wanted);
  if (owed !== undefined && wanted === vm.mac && macBefore(owed) === wanted) ledger.settle(owed.id, 'givenBack');
  return vf.mac === wanted ? ALREADY : SUCCEEDED;
};
const macBefore = ({ before }: Obligation): string =>
  isObject(before) && typeof before['mac'] === 'string' ? before['mac'] : '';

/** Only what is missing is added, and only what was added is removed again. */
const addForwarding = async ({ port }: Hosting, ledger: Ledger): Promise<Outcome> => {
  const { pfEntry, tapEntry } = await port.read();
  const missing = port.places.filter(({ on }) => (on === 'pf' ? pfEntry : tapEntry) === false);
  if (missing.length === 0) return ALREADY;
  await ledger.owe({ kind: 'forwarding', device: null, before: { places: missing } });
  await port.add(missing);
  const after = await port.read();
  const lacks = missing.filter(({ on }) => (on === 'pf' ? after.pfEntry : after.tapEntry) !== true);
  if (lacks.length > 0)
    throw new Stop('failed', `the kernel agreed, but ${lacks.map(({ iface }) => iface).join(', ')} has no entry`);
  return SUCCEEDED;
};

const placesOf = ({ before }: Obligation): Place[] => {
  const places = isObject(before) && Array.isArray(before['places']) ? before['places'] : [];
  return places.filter(
    (one): one is Place =>
      isObject(one) &&
      typeof one['iface'] === 'string' &&
      (one['table'] === 'self' || one['table'] === 'master') &&
      (one['on'] === 'pf' || one['on'] === 'tap'),
  );
};

const removeForwarding = async ({ port }: Hosting, ledger: Ledger): Promise<Outcome> => {
  const owed = find(ledger, 'forwarding');
  if (owed === undefined) return ALREADY;
  await port.remove(placesOf(owed));
  ledger.settle(owed.id, 'givenBack');
  return SUCCEEDED;
};

/** Asks the guest; that it has let the primary go is a fact that follows. */
const unplug = async ({ vm, qemu }: Hosting, ledger: Ledger): Promise<Outcome> => {
  if (!qemu.facts.primary) return ALREADY;
  await ledger.owe({ kind: 'unplugged', device: null, before: { id: vm.primary } });
  await qemu.execute('device_del', { id: vm.primary });
  return SUCCEEDED;
};

const plug = async ({ vm, qemu }: Hosting, ledger: Ledger): Promise<Outcome> => {
  if (!qemu.facts.primary) {
    const device: unknown = vm.plug === undefined ? null : JSON.parse(vm.plug);
    if (!isObject(device)) throw new Stop('refused', 'the configuration does not say how the primary is plugged (plug)');
    await qemu.execute('device_add', device);
    qemu.plugged();
  }
  const owed = find(ledger, 'unplugged');
  if (owed !== undefined) ledger.settle(owed.id, 'givenBack');
  return SUCCEEDED;
};

const giveBack = async (hosting: Hosting, ledger: Ledger, id: string): Promise<Outcome> => {
  const owed = ledger.open.find((one) => one.id === id);
  if (owed === undefined) return ALREADY;
  switch (owed.kind) {
    case 'forwarding':
      return removeForwarding(hosting, ledger);
    case 'unplugged':
      return plug(hosting, ledger);
    case 'vfMac': {
      const { vf } = await hosting.port.read();
      if (vf !== null && vf.mac !== macBefore(owed)) await hosting.port.setMac(macBefore(owed));
      ledger.settle(owed.id, vf === null ? 'gone' : 'givenBack');
      return SUCCEEDED;
    }
    default:
      throw new Stop('refused', `${owed.kind} is not a hypervisor's to give back`);
  }
};
