// Machines of other programs: drawn like ours, and the edges that are pulsed are those that xstate itself says it took, over
// random walks through a machine with every way of naming a target. Whatever a definition holds, something sane comes of it.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createActor, createMachine, SimulatedClock } from 'xstate';
import { FOREIGN, layoutOf } from '../../src/host/inspector/chart-layout.ts';
import { drawnChart } from '../../src/host/inspector/page/drawn.ts';
import { activeIn, foreignGraph, takenIn } from '../../src/host/inspector/page/foreign.ts';

const config = {
  id: 'player',
  initial: 'idle',
  on: { RESET: '.idle', 'media.*': '.playing' },
  states: {
    idle: { on: { START: 'loading', JUMP: '#player.playing.sound.loud' } },
    loading: { always: [{ guard: 'never', target: 'idle' }, { target: 'choosing' }], on: { START: 'idle' } },
    choosing: { initial: 'first', states: { first: { always: '#chosen' }, second: { id: 'chosen' } }, on: { START: 'playing' } },
    playing: {
      type: 'parallel',
      states: {
        film: { initial: 'on', states: { on: { on: { FLIP: 'off' } }, off: { on: { FLIP: 'on', STOP: '#player.done' } } } },
        sound: {
          initial: 'low',
          states: { low: { on: { FLIP: 'loud', LOUDER: 'loud' } }, loud: { on: { FLIP: 'low' }, after: { 500: 'low' } } },
        },
      },
      on: { START: 'idle', FLIP: '#player.done' },
    },
    done: { on: { START: { target: 'idle', actions: 'log' } } },
  },
} as const;
const EVENTS = ['RESET', 'START', 'JUMP', 'FLIP', 'STOP', 'LOUDER', 'media.play', 'media.other', 'nothing', 'wait'] as const;

interface TransitionLike {
  readonly source: { readonly path: readonly string[] };
  readonly target?: readonly { readonly path: readonly string[] }[];
}
const idOf = ({ path }: { readonly path: readonly string[] }): string => path.map((key) => `.${key}`).join('');

const graphOf = (definition: object) => {
  const graph = foreignGraph(JSON.parse(JSON.stringify(definition)) as Record<string, unknown>, 'machine');
  if (graph === null) throw new Error('no graph');
  return drawnChart(graph, layoutOf(graph, FOREIGN));
};

describe('the edges that were taken', () => {
  const chart = graphOf(config);
  const machine = createMachine(config).provide({ guards: { never: () => false }, actions: { log: () => {} } });

  test('are those that xstate took', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...EVENTS), { minLength: 1, maxLength: 12 }), (walk) => {
        const clock = new SimulatedClock();
        let truth: string[] = [];
        let type = '';
        const actor = createActor(machine, {
          clock,
          inspect: (told) => {
            if (told.type === '@xstate.event') ({ type } = told.event);
            if (told.type === '@xstate.microstep') {
              const { _transitions: transitions } = told;
              truth.push(
                ...(transitions as unknown as TransitionLike[]).flatMap(({ source, target }) =>
                  (target ?? []).map((to) => JSON.stringify([idOf(source), idOf(to)])),
                ),
              );
            }
          },
        });
        actor.start();
        for (const event of walk) {
          const before = activeIn(actor.getSnapshot().value);
          truth = [];
          if (event === 'wait') clock.increment(500);
          else actor.send({ type: event });
          const after = activeIn(actor.getSnapshot().value);
          const taken = takenIn(chart, before, type, after);
          // An edge back to where the machine is already changes nothing that could be seen.
          const visible = truth.some((edge) => !before.has((JSON.parse(edge) as string[])[1] ?? '')) ? truth : [];
          const expected = visible.filter((edge) => {
            const [source, target = ''] = JSON.parse(edge) as string[];
            return source !== target && (!before.has(target) || !after.has(target));
          });
          expect([...taken].toSorted(), `${JSON.stringify([...before])} ${type}`).toEqual([...new Set(expected)].toSorted());
          for (const edge of taken) seen.add(edge);
        }
        actor.stop();
      }),
      { numRuns: 300 },
    );
    expect(seen.size).toBeGreaterThan(12);
  });
});

describe('a definition', () => {
  test('has a place for every state, within the frame of its machine', () => {
    const { drawn, layout } = graphOf(config);
    expect(drawn.map(({ id }) => id)).toContain('.playing.sound.loud');
    for (const { id } of drawn) expect(layout.boxes.get(id)?.width, id).toBeGreaterThan(0);
    expect(layout.curves.length).toBeGreaterThan(12);
  });

  test('that loops for ever without events is walked once', () => {
    const states = Object.fromEntries(
      Array.from({ length: 60 }, (_, at) => [
        `s${at}`,
        { always: Array.from({ length: 60 }, (__, to) => `s${to}`), on: { GO: 's1' } },
      ]),
    );
    const chart = graphOf({ initial: 's0', states });
    expect(takenIn(chart, activeIn('s0'), 'GO', activeIn('s59'))).toEqual(['[".s0",".s1"]', '[".s1",".s59"]']);
  });

  test('of any shape gives a graph or nothing, in bounds', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.string(), (states, key) => {
        const graph = foreignGraph({ states, on: states, invoke: states }, key);
        if (graph === null) return;
        expect(graph.states.length).toBeLessThanOrEqual(201);
        const { width, height } = layoutOf(graph, FOREIGN);
        expect(Number.isFinite(width) && Number.isFinite(height)).toBe(true);
      }),
    );
  });
});
