// The life cycle of one pair as a statechart: the same for every operating system. Two regions run side by side.
//   path     what is the case: the stage. It follows from facts and from timers, never from what we wished.
//   effects  what is being done about it: at most one decision is under way for a pair.
// All transitions between stages are eventless and guarded by facts (level-triggered): the event `facts` only says that
// the view has changed. Guards, actions and delays are named, so that the chart can be drawn, read and looked up.
import { and, not, or, setup, stateIn } from 'xstate';
import type { DecisionKind } from '../events/catalogue.ts';
import type { View } from './view.ts';

export interface ChartContext {
  readonly view: View;
}

/**
 * `facts`: the view changed. `act`: the path has come to rest, so what is wanted may be decided (both regions would
 * otherwise move in one step, and a decision would follow from the stage that is just being left). `outcome.*`: what
 * became of the decision that is under way.
 */
export const CHART_EVENTS = ['facts', 'act', 'outcome.succeeded', 'outcome.failed', 'outcome.refused', 'outcome.void'] as const;
export type ChartEvent = { readonly type: (typeof CHART_EVENTS)[number] };

const typing: { context: ChartContext; events: ChartEvent; input: ChartContext } = Object.create(null);

/** Delays are looked up in the policy when a timer is armed (guest.ts): here they are names. */
const named = (): number => 0;

const isBoundLate = (view: View): boolean =>
  view.mayAct && view.holds && view.primary && view.bound && view.carrier && view.attachable && !view.held && !view.viaPrimary;

const attaching = stateIn({ path: { failover: 'attaching' } });
const switching = stateIn({ path: { failover: 'switching' } });
const onPrimary = stateIn({ path: { failover: 'onPrimary' } });
const detaching = stateIn({ path: { failover: 'detaching' } });
const fallback = stateIn({ path: { failover: 'fallback' } });
const fallbackWith = (reason: string) => stateIn({ path: { failover: { fallback: reason } } });

export const pairChart = setup({
  types: typing,
  guards: {
    noStandby: ({ context: { view } }) => !view.standby,
    notOurs: ({ context: { view } }) => !view.ours,
    ours: ({ context: { view } }) => view.standby && view.ours,
    unpaired: ({ context: { view } }) => view.standby && !view.ours,
    noPrimary: ({ context: { view } }) => !view.primary,
    primaryFound: ({ context: { view } }) => view.primary,
    // Where the standby is held while the primary is bound, a primary without carrier would mean no path at all.
    primaryUsable: ({ context: { view } }) => view.primary && view.attachable && (!view.holds || view.carrier),
    unattachable: ({ context: { view } }) => view.primary && !view.attachable && !view.attached,
    attachable: ({ context: { view } }) => view.attachable,
    deadWhileHeld: ({ context: { view } }) => view.holds && !view.carrier,
    incompatible: ({ context: { view } }) => view.primary && !view.compatible,
    nowCompatible: ({ context: { view } }) => view.compatible,
    bound: ({ context: { view } }) => view.primary && view.bound,
    // A primary that came, bound as it was left, while the standby was live: it carries only after off and on.
    boundLate: ({ context: { view } }) => isBoundLate(view),
    boundInTime: ({ context: { view } }) => view.primary && view.bound && !isBoundLate(view),
    unbound: ({ context: { view } }) => !view.bound,
    // Another one has taken the place of the one without carrier. One that is not enslaved never gets carrier.
    notBoundYet: ({ context: { view } }) => view.primary && !view.holds && !view.bound && view.compatible,
    carrierBack: ({ context: { view } }) => view.carrier && !view.flapping && (view.bound || view.attachable),
    carries: ({ context: { view } }) => view.primary && view.viaPrimary && !view.leaving,
    leaving: ({ context: { view } }) => view.primary && view.leaving,
    departed: ({ context: { view } }) => !view.primary || view.leaving || (!view.viaPrimary && !view.bound),
    carrierLost: ({ context: { view } }) => !view.viaPrimary,
    secured: ({ context: { view } }) => view.viaStandby,
    securedButPresent: ({ context: { view } }) => view.viaStandby && view.primary && view.leaving,
    staysAfterAll: ({ context: { view } }) => view.primary && !view.leaving,
    staysBound: ({ context: { view } }) => view.primary && view.bound && !view.leaving,
    flapping: ({ context: { view } }) => view.primary && view.flapping,
    notFlapping: ({ context: { view } }) => !view.flapping,
    heldAndExpected: ({ context: { view } }) => view.held && view.expected,
    held: ({ context: { view } }) => view.held,
    notHeld: ({ context: { view } }) => !view.held,
    mayAct: ({ context: { view } }) => view.mayAct,
    exhausted: ({ context: { view } }) => view.exhausted,
    unjoined: ({ context: { view } }) => view.unjoined,
    joined: ({ context: { view } }) => !view.unjoined,
    noLongerJoined: and([not(fallbackWith('unjoined')), ({ context: { view } }) => view.unjoined]),

    // What the facts call for. At most one of these becomes a decision at a time, in the order of the region `effects`.
    wantsBack: ({ context: { view } }) => view.restoring,
    wantsTakeOver: ({ context: { view } }) => view.takingOver,
    // Before it is enslaved to a bond, or as soon as the kernel has enslaved it: while it does not carry.
    // On Windows also where the MTU is what keeps it from being paired.
    wantsParameters: and([or([attaching, switching, fallbackWith('incompatible')]), ({ context: { view } }) => view.untuned]),
    wantsAddresses: ({ context: { view } }) => view.strayed,
    // Last of all: no parameter is worth a moment without a path.
    wantsTuning: and([or([fallback, onPrimary]), ({ context: { view } }) => view.mistuned]),
    wantsHold: and([attaching, ({ context: { view } }) => view.mayAct && view.holds && !view.held && !view.viaPrimary]),
    wantsBind: and([
      or([attaching, and([onPrimary, ({ context: { view } }) => view.holds])]),
      // A primary that was started with other protocols still bound loses them without being held again.
      ({ context: { view } }) => view.mayAct && (!view.holds || view.held || view.viaPrimary) && !view.bound,
    ]),
    wantsUnbind: and([
      or([detaching, fallbackWith('noCarrier'), fallbackWith('incompatible'), fallbackWith('flapping')]),
      ({ context: { view } }) => view.mayAct && view.holds && view.attached,
    ]),
    wantsRelease: and([
      or([switching, fallback]),
      ({ context: { view } }) => view.mayAct && view.held && (!view.attached || view.compatible),
    ]),
    wantsPrimary: and([switching, ({ context: { view } }) => view.mayAct && view.eligible && !view.viaPrimary]),
    wantsStandby: and([
      or([detaching, fallback]),
      ({ context: { view } }) => view.mayAct && !view.holds && !view.viaStandby && view.standbyReady,
    ]),
  },
  actions: {
    /** Emits a decision of this kind. */
    decide: (_, _params: { kind: DecisionKind }) => {},
    /** A sign of departure that no fact confirmed is forgotten. */
    forgetSign: () => {},
    /** The carrier losses counted so far are forgotten. */
    forgetFlaps: () => {},
    /** A takeover that failed a while ago may be tried again. */
    forgetPause: () => {},
    /** The attempts counted so far are forgotten: an effect may be tried anew. */
    forgetAttempts: () => {},
  },
  delays: {
    grace: named,
    attachLimit: named,
    switchLimit: named,
    detachLimit: named,
    flapHold: named,
    retryDelay: named,
    blockedRetry: named,
  },
}).createMachine({
  id: 'pair',
  type: 'parallel',
  // A chart whose guards send it round in circles must fail, not hang.
  options: { maxIterations: 50 },
  context: ({ input }) => input,
  states: {
    path: {
      initial: 'absent',
      states: {
        absent: {
          description: 'No standby with this MAC. A lone primary keeps all its protocols.',
          always: [
            { guard: 'ours', target: 'failover' },
            { guard: 'unpaired', target: 'standalone' },
          ],
        },
        standalone: {
          description: 'The NIC has no STANDBY feature and is in no bond of ours: not ours to fail over.',
          always: [
            { guard: 'noStandby', target: 'absent' },
            { guard: 'ours', target: 'failover' },
          ],
        },
        failover: {
          description: 'A pair that is ours to fail over.',
          initial: 'sorting',
          always: [
            { guard: 'noStandby', target: 'absent' },
            { guard: 'notOurs', target: 'standalone' },
          ],
          states: {
            sorting: {
              description: 'Passed through at once: the facts say which stage it is.',
              always: [
                { guard: 'carries', target: 'onPrimary' },
                { guard: 'unjoined', target: 'fallback.unjoined' },
                { guard: 'leaving', target: 'detaching' },
                { guard: 'incompatible', target: 'fallback.incompatible' },
                { guard: 'flapping', target: 'fallback.flapping' },
                { guard: 'boundInTime', target: 'switching' },
                { guard: 'primaryUsable', target: 'attaching' },
                { guard: 'heldAndExpected', target: 'awaitingPrimary' },
                { guard: 'unattachable', target: 'fallback.unattachable' },
                { guard: 'primaryFound', target: 'fallback.noCarrier' },
                { target: 'fallback' },
              ],
            },
            awaitingPrimary: {
              description: 'The standby’s link is held down until its primary comes or the grace time ends.',
              always: [
                { guard: 'primaryUsable', target: 'sorting' },
                { guard: 'bound', target: 'sorting' },
                { guard: 'incompatible', target: 'sorting' },
                { guard: 'notHeld', target: 'fallback' },
              ],
              after: {
                grace: [{ guard: 'unattachable', target: 'fallback.unattachable' }, { target: 'fallback.noCarrier' }],
              },
            },
            fallback: {
              description: 'The standby carries, or would carry, the traffic.',
              initial: 'noPrimary',
              always: { guard: 'noLongerJoined', target: '.unjoined' },
              states: {
                noPrimary: {
                  description: 'There is no primary.',
                  always: { guard: 'primaryFound', target: '#pair.path.failover.sorting' },
                },
                incompatible: {
                  description: 'The primary cannot be paired: its MTU differs.',
                  always: [
                    { guard: 'noPrimary', target: 'noPrimary' },
                    { guard: 'nowCompatible', target: '#pair.path.failover.sorting' },
                  ],
                },
                unattachable: {
                  description: 'The primary is there, but the failover protocol that it would be bound to is not.',
                  always: [
                    { guard: 'noPrimary', target: 'noPrimary' },
                    { guard: 'carries', target: '#pair.path.failover.onPrimary' },
                    { guard: 'attachable', target: '#pair.path.failover.sorting' },
                  ],
                },
                notAttached: {
                  description: 'The primary is there, but was not bound or enslaved in time.',
                  always: [
                    { guard: 'noPrimary', target: 'noPrimary' },
                    { guard: 'carries', target: '#pair.path.failover.onPrimary' },
                    { guard: 'leaving', target: '#pair.path.failover.sorting' },
                    { guard: 'boundInTime', target: '#pair.path.failover.sorting' },
                  ],
                  // Armed again where nothing may be done yet: effects may be turned on later.
                  after: {
                    blockedRetry: [
                      { guard: 'mayAct', target: '#pair.path.failover.sorting' },
                      { target: 'notAttached', reenter: true },
                    ],
                  },
                },
                noCarrier: {
                  description: 'The primary is bound, but does not carry.',
                  always: [
                    { guard: 'noPrimary', target: 'noPrimary' },
                    { guard: 'carries', target: '#pair.path.failover.onPrimary' },
                    { guard: 'flapping', target: 'flapping' },
                    { guard: 'notBoundYet', target: '#pair.path.failover.sorting' },
                    { guard: 'carrierBack', target: '#pair.path.failover.sorting' },
                  ],
                },
                flapping: {
                  description: 'The primary’s carrier comes and goes; it is left alone for a while.',
                  always: [
                    { guard: 'noPrimary', target: 'noPrimary' },
                    { guard: 'carries', target: '#pair.path.failover.onPrimary' },
                    { guard: 'notFlapping', target: '#pair.path.failover.sorting' },
                  ],
                  after: { flapHold: { actions: 'forgetFlaps' } },
                },
                unjoined: {
                  description: 'The bond that the configuration asks for is not there yet.',
                  always: { guard: 'joined', target: '#pair.path.failover.sorting' },
                  after: { blockedRetry: { target: 'unjoined', reenter: true, actions: 'forgetPause' } },
                },
                departing: {
                  description: 'The primary is about to leave and traffic has already moved; it is not used again until then.',
                  always: [
                    { guard: 'noPrimary', target: 'noPrimary' },
                    { guard: 'carries', target: '#pair.path.failover.onPrimary' },
                    { guard: 'staysAfterAll', target: '#pair.path.failover.sorting' },
                  ],
                  after: { detachLimit: { actions: 'forgetSign' } },
                },
              },
            },
            attaching: {
              description: 'A primary was found and is being bound or enslaved.',
              always: [
                { guard: 'noPrimary', target: 'fallback' },
                { guard: 'unjoined', target: 'fallback.unjoined' },
                { guard: 'carries', target: 'onPrimary' },
                { guard: 'leaving', target: 'detaching' },
                { guard: 'incompatible', target: 'fallback.incompatible' },
                { guard: 'boundInTime', target: 'switching' },
                // The failover protocol was uninstalled: a standby that carries must not be held for what cannot come.
                { guard: 'unattachable', target: 'fallback.unattachable' },
              ],
              // Refused (access, reboot required): the old path is kept, and not held back for what will not come soon.
              on: { 'outcome.refused': { guard: 'held', target: 'fallback.notAttached' } },
              after: { attachLimit: 'fallback.notAttached' },
            },
            switching: {
              description: 'The primary is bound or enslaved, but does not carry yet.',
              always: [
                { guard: 'noPrimary', target: 'fallback' },
                { guard: 'carries', target: 'onPrimary' },
                { guard: 'leaving', target: 'detaching' },
                { guard: 'incompatible', target: 'fallback.incompatible' },
                { guard: 'unbound', target: 'attaching' },
                { guard: 'deadWhileHeld', target: 'fallback.noCarrier' },
              ],
              after: { switchLimit: 'fallback.noCarrier' },
            },
            onPrimary: {
              description: 'The primary carries the traffic.',
              always: [
                { guard: 'departed', target: 'detaching' },
                { guard: 'incompatible', target: 'fallback.incompatible' },
                { guard: 'carrierLost', target: 'fallback.noCarrier' },
              ],
            },
            detaching: {
              description: 'The primary is going, or gone: the standby must take over.',
              always: [
                { guard: 'securedButPresent', target: 'fallback.departing' },
                { guard: 'secured', target: 'sorting' },
                { guard: 'carries', target: 'onPrimary' },
                { guard: 'staysBound', target: 'sorting' },
              ],
              after: {
                detachLimit: [
                  { guard: 'noPrimary', target: 'fallback' },
                  // Passing through `sorting` arms the limit again: what does not stay bound must not wait for ever.
                  { guard: 'leaving', target: 'sorting', actions: 'forgetSign' },
                  { target: 'sorting' },
                ],
              },
            },
          },
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
              { guard: 'wantsTakeOver', target: 'pending', actions: { type: 'decide', params: { kind: 'takeOver' } } },
              { guard: 'wantsParameters', target: 'pending', actions: { type: 'decide', params: { kind: 'alignParameters' } } },
              { guard: 'wantsHold', target: 'pending', actions: { type: 'decide', params: { kind: 'holdLink' } } },
              { guard: 'wantsBind', target: 'pending', actions: { type: 'decide', params: { kind: 'bindPrimary' } } },
              { guard: 'wantsUnbind', target: 'pending', actions: { type: 'decide', params: { kind: 'unbindPrimary' } } },
              { guard: 'wantsRelease', target: 'pending', actions: { type: 'decide', params: { kind: 'releaseLink' } } },
              { guard: 'wantsPrimary', target: 'pending', actions: { type: 'decide', params: { kind: 'activatePrimary' } } },
              { guard: 'wantsStandby', target: 'pending', actions: { type: 'decide', params: { kind: 'activateStandby' } } },
              { guard: 'wantsAddresses', target: 'pending', actions: { type: 'decide', params: { kind: 'moveAddresses' } } },
              { guard: 'wantsTuning', target: 'pending', actions: { type: 'decide', params: { kind: 'tuneStandby' } } },
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
              description: 'It is tried again after a short pause.',
              after: { retryDelay: '#pair.effects.free' },
            },
            waiting: {
              description: 'It waits for a fact to change (access, lock, reboot, dry run).',
              on: { facts: '#pair.effects.free' },
              after: { blockedRetry: { target: '#pair.effects.free', actions: 'forgetAttempts' } },
            },
          },
        },
      },
    },
  },
});
