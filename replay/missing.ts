// What a pair lacks on its way to its primary, and what could be done about it beyond the findings: from the facts that the
// chart sees, in the order in which they are needed.
import type { Policy } from '../src/events/catalogue.ts';
import type { PairState } from '../src/machines/pair-state.ts';
import { unpackView } from '../src/machines/view.ts';

const nameOf = ({ roles: { primary } }: PairState): string => primary?.facts.name ?? 'the primary';

/** What is missing until the primary carries, the first thing first; empty when it does. */
export const missingOf = (pair: PairState): string[] => {
  const { mac, mode, bits, roles, shown } = pair;
  const view = unpackView(bits);
  if (shown.datapath === 'primary') return [];
  const name = nameOf(pair);
  const netkvm = mode === 'netkvm';
  const missing: string[] = [];
  if (!view.standby) missing.push(`a virtio NIC with MAC ${mac}`);
  else if (!view.ours)
    missing.push(
      netkvm
        ? 'the STANDBY feature of the NIC (failover=on in QEMU)'
        : 'the STANDBY feature of the NIC (failover=on in QEMU), or an active-backup bond above it',
    );
  if (!view.primary) missing.push(`a primary: a network function with MAC ${mac}`);
  else {
    if (!view.compatible)
      missing.push(`one MTU: ${name} has ${roles.primary?.facts.mtu}, the pair ${(roles.master ?? roles.standby)?.facts.mtu}`);
    if (!view.attachable) missing.push('the failover protocol (VIOPROT)');
    if (!view.bound)
      missing.push(netkvm ? `the failover protocol bound to ${name}, and nothing else` : `${name} enslaved to the pair’s master`);
    if (!view.carrier) missing.push(roles.primary?.facts.up === false ? `${name} set up` : `carrier on ${name}`);
  }
  if (roles.master?.facts.up === false) missing.push(`the master ${roles.master.facts.name} set up`);
  if (view.held && view.bound) missing.push('the standby’s link released');
  if (view.primary && view.bound && view.carrier && roles.master?.facts.up === true && mode === 'bond')
    missing.push(`${name} as the active member of the bond`);
  return missing;
};

/** What an operator can do that no finding says. */
export const adviceOf = (pair: PairState, policy: Policy): string[] => {
  const { mode, mac, configuration, pending } = pair;
  const driven = mode === 'netkvm' || mode === 'bond';
  const advice: string[] = [];
  if (missingOf(pair).length > 0 && driven && unpackView(pair.bits).primary) {
    if (policy.effects === 'off')
      advice.push('The service only observes: with effects = "on" and this pair listed under [[pairs]] it would act.');
    else if (policy.effects === 'dryRun')
      advice.push('This is a dry run: what was decided is not carried out. Set effects = "on" to act.');
    else if (pair.named === null) advice.push(`Effects are on, but this pair is not listed: add [[pairs]] mac = "${mac}".`);
  }
  if (configuration.effects === 'blocked')
    advice.push(
      `Effects for this pair are blocked after ${policy.retryLimit} attempts or a refusal; they are tried again after ${policy.blockedRetry_ms / 1000} s, or when a fact changes.`,
    );
  if (pending !== null) advice.push(`Wait: ${pending.kind} is under way, for at most ${policy.effectLimit_ms / 1000} s.`);
  return advice;
};
