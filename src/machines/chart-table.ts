// The chart as a lookup table that fills itself. What a transition does depends on three things only: the configuration
// it starts from, the event, and the packed view. So each combination is asked of xstate once (the oracle) and then
// remembered; a fold over a million events asks some dozens of times. A test walks both and compares every step.
import { transition } from 'xstate';
import type { DecisionKind } from '../events/catalogue.ts';
import { pairChart } from './chart.ts';
import { type Stage, STAGES } from './stages.ts';
import { unpackView, VIEW_BITS } from './view.ts';

export type EffectsState = 'free' | 'pending' | 'blocked';

/** A timer of the chart: `xstate.after.<delay>.<state>`, the event that its firing sends. */
export type TimerId = string;

/** What a transition asks for, in the order in which xstate gave it. */
export type Request =
  | { readonly op: 'arm'; readonly timer: TimerId; readonly delay: DelayName }
  | { readonly op: 'cancel'; readonly timer: TimerId }
  | { readonly op: 'decide'; readonly kind: DecisionKind }
  | { readonly op: 'forgetSign' | 'forgetFlaps' | 'forgetAttempts' | 'forgetPause' };

export type DelayName = 'grace' | 'attachLimit' | 'switchLimit' | 'detachLimit' | 'flapHold' | 'retryDelay' | 'blockedRetry';

export interface Reaction {
  readonly to: Configuration;
  readonly requests: readonly Request[];
}

/** One configuration of the chart (a state value), interned: the same value is always the same object. */
export interface Configuration {
  readonly id: number;
  /** xstate's state value as JSON: what a checkpoint keeps. */
  readonly value: string;
  readonly stage: Stage;
  /** The innermost state of the path: a stage, or the kind of fallback. */
  readonly leaf: string;
  readonly effects: EffectsState;
}

const configurations = new Map<string, Configuration>();
const events = new Map<string, number>();
const reactions = new Map<number, Reaction>();

const innermost = (value: unknown): string[] =>
  typeof value === 'string' ? [value] : Object.entries(value as object).flatMap(([name, inner]) => [name, ...innermost(inner)]);

/** The interned configuration for a state value in JSON. */
export const configurationOf = (value: string): Configuration => {
  const known = configurations.get(value);
  if (known !== undefined) return known;
  const { path, effects } = JSON.parse(value) as { path: unknown; effects: unknown };
  const names = innermost(path);
  const configuration: Configuration = {
    id: configurations.size,
    value,
    stage: names.find((name): name is Stage => (STAGES as readonly string[]).includes(name)) ?? 'absent',
    leaf: names.at(-1) ?? 'absent',
    effects: innermost(effects)[0] as EffectsState,
  };
  configurations.set(value, configuration);
  return configuration;
};

/** Where every pair begins. */
export const initialConfiguration = configurationOf('{"path":"absent","effects":"free"}');

/** The delay that a timer is named after. */
export const delayOf = (timer: TimerId) => timer.split('.')[2] as DelayName;

const requestOf = (action: { type: string; params?: unknown }): Request => {
  const params = action.params as { id: string; sendId: string; kind: DecisionKind };
  switch (action.type) {
    case 'xstate.raise':
      return { op: 'arm', timer: params.id, delay: delayOf(params.id) };
    case 'xstate.cancel':
      return { op: 'cancel', timer: params.sendId };
    case 'decide':
      return { op: 'decide', kind: params.kind };
    case 'forgetSign':
    case 'forgetFlaps':
    case 'forgetAttempts':
    case 'forgetPause':
      return { op: action.type };
    default:
      throw new Error(`the chart has an action that the fold does not know: ${action.type}`);
  }
};

/** Asks xstate itself. Slow (it builds an actor each time); the source of every entry in the table. */
export const askChart = (from: Configuration, event: string, bits: number): Reaction => {
  const snapshot = pairChart.resolveState({ value: JSON.parse(from.value), context: { view: unpackView(bits) } });
  // Timer events have generated names that the chart's event type does not list.
  const [next, actions] = transition(pairChart, snapshot, { type: event } as { type: 'facts' });
  return { to: configurationOf(JSON.stringify(next.value)), requests: actions.map(requestOf) };
};

const VIEW_SPAN = 2 ** Object.keys(VIEW_BITS).length;
const EVENT_SPAN = 64;

/** What the chart does with `event` in `from`, given the facts in `bits`. */
export const react = (from: Configuration, event: string, bits: number): Reaction => {
  let number = events.get(event);
  if (number === undefined) {
    number = events.size;
    if (number >= EVENT_SPAN) throw new Error(`the chart has more than ${EVENT_SPAN} kinds of event`);
    events.set(event, number);
  }
  const key = (from.id * EVENT_SPAN + number) * VIEW_SPAN + bits;
  let reaction = reactions.get(key);
  if (reaction === undefined) {
    reaction = askChart(from, event, bits);
    reactions.set(key, reaction);
  }
  return reaction;
};
