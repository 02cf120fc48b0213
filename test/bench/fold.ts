// How fast events are folded: the Guest with its look-up table beside a reducer written by hand for the same job, and
// beside plain xstate. Before anything is timed, reducer and Guest are compared after every event.
import { transition } from 'xstate';
import type { Foldable } from '../../src/events/envelope.ts';
import { pairChart } from '../../src/machines/chart.ts';
import { askChart, configurationOf } from '../../src/machines/chart-table.ts';
import { Guest } from '../../src/machines/guest.ts';
import { BIT, unpackView } from '../../src/machines/view.ts';
import { alternate, compare, type Measurement, seconds } from './measure.ts';
import { Reducer } from './reducer.ts';
import { story } from './world.ts';

const stateOfGuest = (guest: Guest): string =>
  [...guest.pairs.values()]
    .map(({ mac, configuration, shown, timers, episode }) => {
      const armed = [...timers].map(([timer, armedBy]) => `${timer.split('.').at(-1)} ${armedBy}`).join();
      return `${mac} ${configuration.leaf} ${shown.stage} ${shown.datapath} ${shown.because} [${armed}] ${episode}`;
    })
    .join('\n');
const stateOfReducer = (reducer: Reducer): string =>
  [...reducer.pairs.values()]
    .map(({ mac, state, stage, datapath, because, armedBy, episode }) => {
      return `${mac} ${state} ${stage} ${datapath} ${because} [${armedBy === 0 ? '' : `${state} ${armedBy}`}] ${episode}`;
    })
    .join('\n');

/** The yardstick must do the same job. Returns the states that the events lead to, to show that they are worth folding. */
const checkAlike = (events: readonly Foldable[]): string[] => {
  const [guest, reducer, states] = [new Guest(), new Reducer(), new Set<string>()];
  for (const event of events) {
    const changes = guest.apply(event).changes.length;
    const same = reducer.apply(event).changes.length === changes;
    const [mine, theirs] = [stateOfGuest(guest), stateOfReducer(reducer)];
    if (!same || mine !== theirs)
      throw new Error(`reducer and fold differ at ${event.seq} ${JSON.stringify(event)}:\n${mine}\n${theirs}`);
    if (changes > 0) for (const { configuration } of guest.pairs.values()) states.add(configuration.leaf);
  }
  return [...states];
};

/** The bare loop: the chart's transition function on four prepared snapshots of a flap, nothing around it. */
const bareLoop = (count: number): number => {
  const { standby, ours, compatible, primary, bound, carrier, standbyReady, viaPrimary, viaStandby } = BIT;
  const common = standby | ours | compatible | primary | bound | standbyReady;
  const snapshots = [
    ['onPrimary', common | viaStandby],
    ['{"fallback":"noCarrier"}', common | carrier | viaPrimary],
  ].map(([leaf, bits]) => {
    const path = String(leaf).startsWith('{') ? String(leaf) : `"${String(leaf)}"`;
    const { value } = configurationOf(`{"path":{"failover":${path}},"effects":"free"}`);
    return pairChart.resolveState({
      value: JSON.parse(value),
      context: { view: unpackView(Number(bits)) },
    });
  });
  return seconds(() => {
    for (let index = 0; index < count; index += 1) {
      const snapshot = snapshots[index % 2];
      if (snapshot === undefined) return;
      const [next] = transition(pairChart, snapshot, { type: 'facts' });
      if (next === snapshot) throw new Error('nothing happened');
    }
  });
};

export const fold: Measurement = async ({ quick }) => {
  const count = quick ? 50_000 : 1_000_000;
  const fewer = quick ? 500 : 10_000;
  const compared = quick ? 5000 : 50_000;
  const events = [...story(count)];
  const states = checkAlike(events.slice(0, compared));
  const guestRate = (): number => {
    const guest = new Guest();
    return (
      count /
      seconds(() => {
        for (const event of events) guest.apply(event);
      })
    );
  };
  const reducerRate = (): number => {
    const reducer = new Reducer();
    return (
      count /
      seconds(() => {
        for (const event of events) reducer.apply(event);
      })
    );
  };
  const plainRate = (): number => {
    const guest = new Guest(askChart);
    return (
      fewer /
      seconds(() => {
        for (let index = 0; index < fewer; index += 1) guest.apply(events[index] as Foldable);
      })
    );
  };
  // Once unseen: the compiler has its say, and the table is filled.
  guestRate();
  reducerRate();
  const one = await alternate(quick ? 2 : 9, { guest: guestRate, reducer: reducerRate });
  const two = await alternate(quick ? 1 : 5, { guest: guestRate, plain: plainRate, bare: () => fewer / bareLoop(fewer) });
  const common = { measurement: 'fold', unit: 'events/s', better: 'higher' } as const;
  return {
    rows: [
      compare({
        ...common,
        what: `fold of ${count.toLocaleString('en')} events`,
        values: one.guest,
        baseline: { what: 'reducer written by hand', values: one.reducer },
        goal: { text: 'at least 0.5 × the reducer', of: 'ratio', bound: 0.5 },
      }),
      compare({
        ...common,
        what: 'the same fold',
        values: two.guest,
        baseline: { what: `plain xstate as the chart (${fewer.toLocaleString('en')} events)`, values: two.plain },
      }),
      compare({
        ...common,
        what: 'the same fold',
        values: two.guest,
        baseline: { what: 'bare loop of xstate’s transition on one pair', values: two.bare },
      }),
    ],
    notes: [
      'Four pairs (two net_failover trios, two bonds): flaps, migrations, signs, counters, addresses, surveys, timers.',
      `The reducer gives the same states, reasons, timers and episodes after each of ${compared.toLocaleString('en')} events; they pass through ${states.toSorted().join(', ')}.`,
    ],
    skipped: null,
  };
};
