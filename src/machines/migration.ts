// The life cycle of one pair as its hypervisor sees it, through migrations. Like the guest's chart (chart.ts) it has two
// regions: `path` follows from facts and time alone, `effects` has at most one decision under way. What decides everything
// here: the VF is parked only when its primary is really hidden, and has the pair's MAC again before it is plugged.
import { and, not, or, setup, stateIn, transition } from 'xstate';
import type { HostKind } from '../events/catalogue.ts';
import { HOST_STAGES, type HostStage } from './stages.ts';

export const HOST_VIEW = {
  watched: 'QEMU answers on its monitor.',
  incoming: 'The guest has not arrived yet: this is the target of a migration.',
  departed: 'The guest has migrated away.',
  ending: 'The migration is being cancelled: QEMU plugs the primary again in a moment.',
  hidden: 'The guest has let its primary go.',
  waiting: 'The migration waits for the unplug of the primary.',
  asked: 'The guest was asked to let its primary go.',
  plugged: 'The primary’s device exists in QEMU.',
  returning: 'The primary was plugged, or stays after all; the guest has not shown yet that it uses it.',
  ordered: 'An operator has ordered the guest to migrate, or to be prepared for it.',
  prepared: 'The guest has moved its traffic, or will not, or cannot be asked.',
  refused: 'The guest refused the unplug.',
  vfOurs: 'The VF has the pair’s MAC.',
  vfParked: 'The VF has its parking MAC.',
  onStandby: 'What is sent to the guest has to go to its standby, until it carries on its primary.',
  unparked: 'The VF has to be parked for that, and is not.',
  misplaced: 'The VF lacks the pair’s MAC, and it is ours to give.',
  unforwarded: 'Forwarding entries are configured, and at least one is missing.',
  forwarded: 'Forwarding entries of ours are in place.',
  untold: 'There is a word that the guest has not been told.',
  unplugging: 'The primary is to be unplugged by us.',
  ready: 'Everything is ready for the migration that was ordered.',
  cancelOrdered: 'An operator wants the migration cancelled that is going on.',
  cancels: 'The policy wants a migration cancelled whose unplug is overdue.',
  plugging: 'The primary is to be plugged by us.',
  mayAct: 'Effects are on.',
  restoring: 'An operator wants back what was changed, and something is still owed.',
  exhausted: 'The effect that is wanted was tried as often as the limit allows, and no fact has changed since.',
} as const;
export type HostBit = keyof typeof HOST_VIEW;
export type HostView = Readonly<Record<HostBit, boolean>>;

const names = Object.keys(HOST_VIEW) as HostBit[];
export const HOST_BIT = Object.fromEntries(names.map((name, place) => [name, 1 << place])) as Readonly<Record<HostBit, number>>;
const unpack = (bits: number): HostView =>
  Object.fromEntries(names.map((name) => [name, (bits & HOST_BIT[name]) !== 0])) as HostView;
export const hostFactsOf = (bits: number): HostBit[] => names.filter((name) => (bits & HOST_BIT[name]) !== 0);

/** Where the facts put the pair; `away` is hidden or parked. */
type Place = Exclude<HostStage, 'hidden' | 'parked'> | 'away';
const placeOf = (view: HostView): Place => {
  if (!view.watched) return 'unwatched';
  if (view.incoming) return 'awaited';
  if (view.departed) return 'departed';
  if (view.ending) return 'cancelling';
  if (view.hidden) return 'away';
  if (view.waiting) return 'waitUnplug';
  if (view.asked && view.plugged) return 'unplugRequested';
  if (view.returning) return 'returning';
  if (!view.plugged) return 'absent';
  return view.ordered && !view.prepared ? 'preparing' : 'present';
};

export const HOST_EVENTS = ['facts', 'act', 'outcome.succeeded', 'outcome.failed', 'outcome.refused', 'outcome.void'] as const;
export type HostDelay = 'unplugLimit' | 'prepareLimit' | 'returnLimit' | 'retryDelay' | 'blockedRetry';
/** Delays are looked up in the policy when a timer is armed (hosted.ts): here they are names. */
const named = (): number => 0;

interface Context {
  readonly view: HostView;
}
const typing: { context: Context; events: { readonly type: (typeof HOST_EVENTS)[number] }; input: Context } = Object.create(null);
const away = stateIn({ path: 'away' });
const overdue = or([stateIn({ path: { waitUnplug: 'overdue' } }), stateIn({ path: { unplugRequested: 'overdue' } })]);

export const migrationChart = setup({
  types: typing,
  guards: {
    isUnwatched: ({ context: { view } }) => placeOf(view) === 'unwatched',
    isAwaited: ({ context: { view } }) => placeOf(view) === 'awaited',
    isDeparted: ({ context: { view } }) => placeOf(view) === 'departed',
    isCancelling: ({ context: { view } }) => placeOf(view) === 'cancelling',
    isAway: ({ context: { view } }) => placeOf(view) === 'away',
    isWaiting: ({ context: { view } }) => placeOf(view) === 'waitUnplug',
    isAsked: ({ context: { view } }) => placeOf(view) === 'unplugRequested',
    isReturning: ({ context: { view } }) => placeOf(view) === 'returning',
    isAbsent: ({ context: { view } }) => placeOf(view) === 'absent',
    isPreparing: ({ context: { view } }) => placeOf(view) === 'preparing',
    isPresent: ({ context: { view } }) => placeOf(view) === 'present',
    parked: ({ context: { view } }) => view.vfParked,
    refused: ({ context: { view } }) => view.refused,
    exhausted: ({ context: { view } }) => view.exhausted,

    // What the facts call for, in the order of the region `effects`: first what a primary needs that comes back.
    wantsBack: ({ context: { view } }) => view.restoring,
    wantsUnforward: and([not(away), ({ context: { view } }) => view.mayAct && view.forwarded && !view.onStandby]),
    wantsRestore: and([
      not(or([away, stateIn({ path: 'departed' })])),
      ({ context: { view } }) => view.mayAct && view.watched && view.misplaced && !view.forwarded && !view.onStandby,
    ]),
    wantsPark: or([
      and([away, ({ context: { view } }) => view.mayAct && view.vfOurs]),
      ({ context: { view } }) => view.mayAct && view.unparked,
    ]),
    // Not before the guest has arrived: until then it is elsewhere, and what others send to it goes there.
    wantsForward: and([
      or([away, ({ context: { view } }) => view.onStandby && !view.incoming]),
      ({ context: { view } }) => view.mayAct && view.vfParked && view.unforwarded,
    ]),
    wantsTell: ({ context: { view } }) => view.mayAct && view.untold,
    wantsUnplug: ({ context: { view } }) => view.mayAct && view.unplugging,
    wantsMigration: ({ context: { view } }) => view.mayAct && view.ready,
    wantsCancel: and([
      or([overdue, ({ context: { view } }) => view.cancelOrdered]),
      ({ context: { view } }) => view.mayAct && (view.cancels || view.cancelOrdered),
    ]),
    wantsPlug: ({ context: { view } }) => view.mayAct && view.plugging && (view.onStandby || (view.vfOurs && !view.forwarded)),
  },
  actions: {
    decide: (_, _params: { kind: HostKind | 'giveBack' }) => {},
    /** The guest did not answer: what was ordered goes on without it. */
    goOn: () => {},
    /** QEMU tells nobody that it plugged the primary again: after a while it is taken for granted. */
    assumeBack: () => {},
    forgetAttempts: () => {},
  },
  delays: { unplugLimit: named, prepareLimit: named, returnLimit: named, retryDelay: named, blockedRetry: named },
}).createMachine({
  id: 'migration',
  type: 'parallel',
  options: { maxIterations: 50 },
  context: ({ input }) => input,
  states: {
    path: {
      initial: 'unwatched',
      states: {
        sorting: {
          description: 'Passed through at once: the facts say which stage it is.',
          always: [
            { guard: 'isUnwatched', target: 'unwatched' },
            { guard: 'isAwaited', target: 'awaited' },
            { guard: 'isDeparted', target: 'departed' },
            { guard: 'isCancelling', target: 'cancelling' },
            { guard: 'isAway', target: 'away' },
            { guard: 'isWaiting', target: 'waitUnplug' },
            { guard: 'isAsked', target: 'unplugRequested' },
            { guard: 'isReturning', target: 'returning' },
            { guard: 'isAbsent', target: 'absent' },
            { guard: 'isPreparing', target: 'preparing' },
            { guard: 'isPresent', target: 'present' },
          ],
        },
        unwatched: {
          description: 'No QEMU answers: nothing is known of the guest.',
          always: { guard: not('isUnwatched'), target: 'sorting' },
        },
        awaited: {
          description:
            'The target of a migration. Where QEMU plugs the primary the VF must have the pair’s MAC before the guest arrives.',
          always: { guard: not('isAwaited'), target: 'sorting' },
        },
        absent: {
          description: 'The guest has no primary, and none was unplugged: it may not have booted so far.',
          always: { guard: not('isAbsent'), target: 'sorting' },
        },
        present: {
          description: 'The primary is in the guest.',
          always: { guard: not('isPresent'), target: 'sorting' },
        },
        preparing: {
          description: 'The guest was told that its primary is about to leave; its answer is awaited.',
          always: { guard: not('isPreparing'), target: 'sorting' },
          after: { prepareLimit: { actions: 'goOn' } },
        },
        unplugRequested: {
          description: 'The guest was asked to let its primary go. It still has it.',
          initial: 'inTime',
          always: { guard: not('isAsked'), target: 'sorting' },
          states: {
            inTime: {
              description: 'Not for long.',
              always: { guard: 'refused', target: 'overdue' },
              after: { unplugLimit: 'overdue' },
            },
            overdue: { description: 'The guest refused, or has not answered in time.' },
          },
        },
        waitUnplug: {
          description: 'The migration waits until the guest has let its primary go, by itself without limit.',
          initial: 'inTime',
          always: { guard: not('isWaiting'), target: 'sorting' },
          states: {
            inTime: {
              description: 'Not for long.',
              always: { guard: 'refused', target: 'overdue' },
              after: { unplugLimit: 'overdue' },
            },
            overdue: { description: 'The guest refused, or has not answered in time.' },
          },
        },
        away: {
          description: 'The primary is really hidden from the guest.',
          initial: 'hidden',
          always: { guard: not('isAway'), target: 'sorting' },
          states: {
            hidden: {
              description: 'The VF still has a MAC that its physical function may take for the guest’s.',
              always: { guard: 'parked', target: 'parked' },
            },
            parked: {
              description: 'The VF has its parking MAC.',
              always: { guard: not('parked'), target: 'hidden' },
            },
          },
        },
        cancelling: {
          description: 'The migration is being cancelled. The primary comes back as soon as QEMU is done.',
          always: { guard: not('isCancelling'), target: 'sorting' },
        },
        returning: {
          description: 'The primary was plugged again, and the guest has not shown so far that it uses it.',
          always: { guard: not('isReturning'), target: 'sorting' },
          after: { returnLimit: { actions: 'assumeBack' } },
        },
        departed: {
          description: 'The guest runs elsewhere. The VF stays parked: with the pair’s MAC it would take the guest’s frames.',
          always: { guard: not('isDeparted'), target: 'sorting' },
        },
      },
    },
    effects: {
      initial: 'free',
      states: {
        free: {
          description: 'Nothing is under way.',
          on: {
            act: [
              { guard: 'exhausted', target: 'blocked.waiting' },
              { guard: 'wantsBack', target: 'pending', actions: { type: 'decide', params: { kind: 'giveBack' } } },
              { guard: 'wantsUnforward', target: 'pending', actions: { type: 'decide', params: { kind: 'removeForwarding' } } },
              { guard: 'wantsRestore', target: 'pending', actions: { type: 'decide', params: { kind: 'restoreMac' } } },
              { guard: 'wantsPark', target: 'pending', actions: { type: 'decide', params: { kind: 'parkMac' } } },
              { guard: 'wantsForward', target: 'pending', actions: { type: 'decide', params: { kind: 'addForwarding' } } },
              { guard: 'wantsCancel', target: 'pending', actions: { type: 'decide', params: { kind: 'cancelMigration' } } },
              { guard: 'wantsTell', target: 'pending', actions: { type: 'decide', params: { kind: 'tellGuest' } } },
              { guard: 'wantsUnplug', target: 'pending', actions: { type: 'decide', params: { kind: 'unplugPrimary' } } },
              { guard: 'wantsMigration', target: 'pending', actions: { type: 'decide', params: { kind: 'startMigration' } } },
              { guard: 'wantsPlug', target: 'pending', actions: { type: 'decide', params: { kind: 'plugPrimary' } } },
            ],
          },
        },
        pending: {
          description: 'One decision is being carried out; its outcome is awaited.',
          on: {
            'outcome.succeeded': 'free',
            'outcome.failed': 'blocked.retrying',
            'outcome.refused': 'blocked.waiting',
            'outcome.void': 'blocked.waiting',
          },
        },
        blocked: {
          description: 'The last effect failed or was refused.',
          initial: 'retrying',
          states: {
            retrying: {
              description: 'It is tried again after a short pause, or when a fact has changed.',
              on: { facts: '#migration.effects.free' },
              after: { retryDelay: '#migration.effects.free' },
            },
            waiting: {
              description: 'It waits for a fact to change.',
              on: { facts: '#migration.effects.free' },
              after: { blockedRetry: { target: '#migration.effects.free', actions: 'forgetAttempts' } },
            },
          },
        },
      },
    },
  },
});

// What xstate answers, remembered: it depends on configuration, event and view alone (as in chart-table.ts).

export interface HostConfiguration {
  /** xstate's state value as JSON. */
  readonly value: string;
  readonly stage: HostStage;
  readonly leaf: string;
  readonly effects: 'free' | 'pending' | 'blocked';
}
export type HostRequest =
  | { readonly op: 'arm'; readonly timer: string; readonly delay: HostDelay }
  | { readonly op: 'cancel'; readonly timer: string }
  | { readonly op: 'decide'; readonly kind: HostKind | 'giveBack' }
  | { readonly op: 'goOn' | 'assumeBack' | 'forgetAttempts' };
export interface HostReaction {
  readonly to: HostConfiguration;
  readonly requests: readonly HostRequest[];
}

const namesIn = (value: unknown): string[] =>
  typeof value === 'string' ? [value] : Object.entries(value as object).flatMap(([name, inner]) => [name, ...namesIn(inner)]);

const configurations = new Map<string, HostConfiguration>();
export const hostConfigurationOf = (value: string): HostConfiguration => {
  let found = configurations.get(value);
  if (found === undefined) {
    const { path, effects } = JSON.parse(value) as { path: unknown; effects: unknown };
    const inner = namesIn(path);
    const stage = inner.findLast((name): name is HostStage => (HOST_STAGES as readonly string[]).includes(name)) ?? 'unwatched';
    found = { value, stage, leaf: inner.at(-1) ?? stage, effects: namesIn(effects)[0] as HostConfiguration['effects'] };
    configurations.set(value, found);
  }
  return found;
};
export const initialHostConfiguration = hostConfigurationOf('{"path":"unwatched","effects":"free"}');
export const hostDelayOf = (timer: string): HostDelay => timer.split('.')[2] as HostDelay;

const requestOf = (action: { type: string; params?: unknown }): HostRequest => {
  const params = action.params as { id: string; sendId: string; kind: HostKind };
  switch (action.type) {
    case 'xstate.raise':
      return { op: 'arm', timer: params.id, delay: hostDelayOf(params.id) };
    case 'xstate.cancel':
      return { op: 'cancel', timer: params.sendId };
    case 'decide':
      return { op: 'decide', kind: params.kind };
    case 'goOn':
    case 'assumeBack':
    case 'forgetAttempts':
      return { op: action.type };
    default:
      throw new Error(`the chart has an action that the fold does not know: ${action.type}`);
  }
};

/** Asks xstate itself. */
export const askMigration = (from: HostConfiguration, event: string, bits: number): HostReaction => {
  const snapshot = migrationChart.resolveState({ value: JSON.parse(from.value), context: { view: unpack(bits) } });
  // Timer events have generated names that the chart's event type does not list.
  const [next, actions] = transition(migrationChart, snapshot, { type: event } as { type: 'facts' });
  return { to: hostConfigurationOf(JSON.stringify(next.value)), requests: actions.map(requestOf) };
};

const remembered = new Map<string, HostReaction>();
export const reactHost = (from: HostConfiguration, event: string, bits: number): HostReaction => {
  const key = `${bits} ${event} ${from.value}`;
  let reaction = remembered.get(key);
  if (reaction === undefined) {
    reaction = askMigration(from, event, bits);
    remembered.set(key, reaction);
  }
  return reaction;
};
