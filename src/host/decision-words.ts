// A decision in words, for the log line that says what is (or, in a dry run, would be) done: its devices by the names that
// they have now.
import type { Decision, Parameters, Target } from '../events/catalogue.ts';

type NameOf = (ifindex: number) => string | undefined;

const parametersText = ({ features, inf, ...numbers }: Parameters): string =>
  [
    ...Object.entries(numbers).map(([name, value]) => `${name} ${value}`),
    ...Object.entries(features ?? {}).map(([name, on]) => `${name} ${on ? 'on' : 'off'}`),
    ...Object.entries(inf ?? {}).map(([name, value]) => `${name} ${value}`),
  ].join(', ');

/** What the decision asks for, as an order. */
export const wordsOf = (decision: Decision, nameOf: NameOf): string => {
  const named = (target: Target | null): string =>
    (target && (nameOf(target.ifindex) ?? `ifindex ${target.ifindex}`)) ?? 'nothing';
  const [master, standby, primary] = [named(decision.master), named(decision.standby), named(decision.primary)];
  const isBond = decision.mode === 'bond';
  switch (decision.kind) {
    case 'holdLink':
      return `hold the link of ${standby} down`;
    case 'releaseLink':
      return `release the link of ${standby}`;
    case 'bindPrimary':
      return isBond ? `enslave ${primary} to ${master}` : `bind ${primary} to the failover protocol alone`;
    case 'unbindPrimary':
      return isBond ? `release ${primary} from ${master}` : `unbind ${primary} from every protocol`;
    case 'activatePrimary':
      return `make ${primary} the active member of ${master}`;
    case 'activateStandby':
      return `make ${standby} the active member of ${master}`;
    case 'takeOver': {
      const { bond, probe, confirm_ms } = decision.plan;
      const probes = probe.length === 0 ? 'the default gateway' : probe.join(' or ');
      return `make the bond ${bond} of ${standby}, move its addresses there, and undo it unless ${probes} answers in ${confirm_ms} ms`;
    }
    case 'giveBack':
      return `give back what was changed (${decision.plan.obligation})`;
    case 'moveAddresses':
      return `move the addresses of ${[standby, primary].filter((name) => name !== 'nothing').join(' and ')} to ${master}`;
    case 'alignParameters':
      return `give ${primary} its parameters: ${parametersText(decision.plan.parameters)}`;
    case 'tuneStandby': {
      const { stage, parameters } = decision.plan;
      const text = parametersText(parameters);
      return text === '' ? `give ${standby} back the parameters that it had` : `give ${standby} what it has in ${stage}: ${text}`;
    }
    case 'parkMac':
      return 'give the hidden VF its parking MAC';
    case 'restoreMac':
      return 'give the VF the pair’s MAC';
    case 'addForwarding':
      return 'add forwarding entries for the pair’s MAC';
    case 'removeForwarding':
      return 'remove the forwarding entries for the pair’s MAC';
    case 'tellGuest':
      return decision.plan.word === 'prepare'
        ? 'tell the guest that its primary is about to leave'
        : 'tell the guest that a primary is coming';
    case 'unplugPrimary':
      return 'unplug the primary';
    case 'plugPrimary':
      return 'plug the primary';
    case 'startMigration':
      return `send the guest to ${decision.plan.uri}`;
    case 'cancelMigration':
      return 'cancel the migration';
  }
};
