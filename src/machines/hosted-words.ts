// What the fold of the hypervisor's side says: the reason for a stage, the path that goes with it, and its decisions; and what it
// takes from events and effects that no fact shows.
import type { Decision, EventData, HostKind } from '../events/catalogue.ts';
import type { HostedPair } from './hosted-pair.ts';
import { wordFor } from './hosted-view.ts';
import type { Because } from './reasons.ts';
import type { Datapath, HostStage } from './stages.ts';

/** Events whose meaning no question to QEMU would bring. */
export const hear = (pair: HostedPair, { name, fields }: EventData<'monitor.event'>): boolean => {
  const device = fields['device-id'] ?? fields['device'];
  const ours = device === pair.vm?.primary;
  if (name === 'UNPLUG_PRIMARY' && ours) Object.assign(pair, { asked: true, refused: false });
  else if (name === 'DEVICE_UNPLUG_GUEST_ERROR' && ours) pair.refused = true;
  else return false;
  return true;
};

/** Whether the guest transmits on its standby, as it was told to: its answer may have been lost. */
export const hasMoved = ({ answer, told, guest }: HostedPair): boolean =>
  answer === null && told?.word === 'prepare' && guest?.episode === told.episode && guest.datapath === 'standby';

/** What is done, and no fact shows. */
export const remember = (pair: HostedPair, decision: Decision): void => {
  if (decision.kind === 'tellGuest') pair.told = decision.plan;
  if (decision.kind === 'unplugPrimary') pair.asked = true;
  if (decision.kind === 'startMigration' && pair.order !== null) pair.order = { ...pair.order, started: true };
};

export const DATAPATH: Readonly<Record<HostStage, Datapath>> = {
  unwatched: 'none',
  awaited: 'none',
  absent: 'standby',
  present: 'primary',
  preparing: 'primary',
  unplugRequested: 'primary',
  waitUnplug: 'primary',
  hidden: 'standby',
  parked: 'standby',
  cancelling: 'standby',
  returning: 'standby',
  departed: 'none',
};

export const becauseOf = ({ configuration: { stage, leaf }, refused, monitor }: HostedPair): Because => {
  switch (stage) {
    case 'unwatched':
      return 'monitor.gone';
    case 'awaited':
      return 'guest.awaited';
    case 'absent':
      return 'primary.absent';
    case 'present':
      return 'primary.present';
    case 'preparing':
      return 'guest.preparing';
    case 'unplugRequested':
    case 'waitUnplug':
      if (refused) return 'unplug.refused';
      if (monitor?.running === false) return 'guest.paused';
      if (leaf === 'overdue') return 'unplug.overdue';
      return stage === 'waitUnplug' ? 'unplug.awaited' : 'unplug.asked';
    case 'hidden':
      return 'vf.hidden';
    case 'parked':
      return 'vf.parked';
    case 'cancelling':
      return 'migration.cancelling';
    case 'returning':
      return 'primary.returning';
    case 'departed':
      return 'guest.departed';
  }
};

export const decide = (pair: HostedPair, kind: HostKind | 'giveBack', id: string): Decision => {
  const head = { id, pair: pair.mac };
  const rest = { mode: 'host' as const, attempt: pair.attempts + 1, master: null, standby: null, primary: null };
  switch (kind) {
    case 'giveBack':
      return { ...head, kind, ...rest, plan: { obligation: pair.obligations.at(-1)?.id ?? '' } };
    case 'tellGuest':
      return {
        ...head,
        kind,
        ...rest,
        plan: { word: wordFor(pair) ?? 'arriving', episode: pair.joined ?? pair.guest?.episode ?? '' },
      };
    case 'startMigration':
      return { ...head, kind, ...rest, plan: { uri: pair.order?.uri ?? '' } };
    case 'parkMac':
    case 'restoreMac':
    case 'addForwarding':
    case 'removeForwarding':
    case 'unplugPrimary':
    case 'plugPrimary':
    case 'cancelMigration':
      return { ...head, kind, ...rest };
  }
};
