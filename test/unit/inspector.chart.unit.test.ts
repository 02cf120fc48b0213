// The chart as it is drawn: the graph says what the chart says, every state and edge has a place, and what is lit and pulsed
// follows from the fold.
import { describe, expect, test } from 'vitest';
import type { Box } from '../../src/host/inspector/chart-curves.ts';
import { layoutOf, OURS } from '../../src/host/inspector/chart-layout.ts';
import { activeStates, chartGraph, type ChartGraph, takenEdges } from '../../src/machines/chart-graph.ts';
import { askChart, configurationOf, initialConfiguration } from '../../src/machines/chart-table.ts';
import { BIT } from '../../src/machines/view.ts';

const graph = chartGraph();

/** What is wrong with a drawing: siblings that overlap, children outside their parents, edges without a curve. */
const troublesOf = (drawn: ChartGraph): string[] => {
  const { boxes, curves, width, height } = layoutOf(drawn, OURS);
  const isApart = (a: Box, b: Box): boolean =>
    a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
  const isWithin = (a: Box, b: Box): boolean =>
    a.x >= b.x && a.y >= b.y && a.x + a.width <= b.x + b.width && a.y + a.height <= b.y + b.height;
  const inner = drawn.states.filter(({ parent }) => parent !== null);
  const boxOf = (id: string | null): Box => (id === drawn.states[0]?.id ? { x: 0, y: 0, width, height } : boxes.get(id ?? '')!);
  return [
    ...inner.filter(({ id, parent }) => !isWithin(boxOf(id), boxOf(parent))).map(({ id }) => `${id} is outside its parent`),
    ...inner.flatMap((one) =>
      inner
        .filter((other) => other.parent === one.parent && other.id > one.id && !isApart(boxOf(one.id), boxOf(other.id)))
        .map((other) => `${one.id} lies on ${other.id}`),
    ),
    ...drawn.edges
      .filter(({ id, source, target }) => source !== target && !curves.some(({ edge }) => edge === id))
      .map(({ id }) => `${id} is not drawn`),
    ...curves
      .filter(({ path }) => !/^M-?[\d.]+ -?[\d.]+C(-?[\d.]+ ?){6}$/.test(path))
      .map(({ edge, path }) => `${edge}: ${path}`),
  ];
};

describe('the drawing', () => {
  test('has a place for every state and edge of the chart', () => {
    expect(troublesOf(graph)).toEqual([]);
  });

  test('has a place for a state that nobody has arranged', () => {
    const more = ['one', 'two', 'three', 'four', 'five'].map((key) => ({
      ...graph.states.find(({ key: known }) => known === 'switching')!,
      id: `pair.path.failover.${key}`,
      key,
    }));
    expect(troublesOf({ states: [...graph.states, ...more], edges: graph.edges })).toEqual([]);
  });
});

describe('the graph', () => {
  test('has every state once, a parent before its children, and says in which one its parent begins', () => {
    expect(graph.states[0]).toEqual({
      id: 'pair',
      key: 'pair',
      parent: null,
      kind: 'parallel',
      initial: false,
      description: null,
    });
    const absent = graph.states.find(({ id }) => id === 'pair.path.absent');
    expect(absent).toMatchObject({ key: 'absent', parent: 'pair.path', kind: 'atomic', initial: true });
    expect(absent?.description).toContain('No standby with this MAC.');
    const first = graph.states.filter(({ initial }) => initial).map(({ key }) => key);
    expect(first).toEqual(['absent', 'sorting', 'noPrimary', 'free', 'retrying']);
    const places = new Map(graph.states.map(({ id }, place) => [id, place]));
    expect(places.size).toBe(graph.states.length);
    for (const { id, parent } of graph.states.slice(1)) expect(places.get(parent ?? '')).toBeLessThan(places.get(id) ?? 0);
  });

  test('has an edge for all ways from one state to another, and for those that stay', () => {
    const edge = (source: string, target: string) => graph.edges.find(({ id }) => id === `pair.${source} pair.${target}`);
    expect(edge('path.absent', 'path.failover')).toEqual({
      id: 'pair.path.absent pair.path.failover',
      source: 'pair.path.absent',
      target: 'pair.path.failover',
      ways: [{ trigger: 'always', guard: 'ours', actions: [] }],
    });
    const [flapping, unjoined] = ['path.failover.fallback.flapping', 'path.failover.fallback.unjoined'];
    expect(edge(flapping, flapping)?.ways).toEqual([{ trigger: 'after flapHold', guard: null, actions: ['forgetFlaps'] }]);
    expect(edge(unjoined, unjoined)?.ways).toEqual([{ trigger: 'after blockedRetry', guard: null, actions: ['forgetPause'] }]);
    expect(edge('effects.blocked.waiting', 'effects.free')?.ways).toEqual([
      { trigger: 'facts', guard: null, actions: [] },
      { trigger: 'after blockedRetry', guard: null, actions: ['forgetAttempts'] },
    ]);
  });

  test('says what is lit, and which edges a step takes, in order', () => {
    expect(activeStates(initialConfiguration)).toEqual([
      'pair',
      'pair.path',
      'pair.path.absent',
      'pair.effects',
      'pair.effects.free',
    ]);
    const found = BIT.standby | BIT.ours | BIT.compatible | BIT.attachable | BIT.primary;
    expect(takenEdges(initialConfiguration, 'facts', found)).toEqual([
      'pair.path.absent pair.path.failover',
      'pair.path.failover.sorting pair.path.failover.attaching',
    ]);
    expect(takenEdges(initialConfiguration, 'facts', 0)).toEqual([]);
  });

  test('names the guards and decisions of the chart', () => {
    const ways = graph.edges.find(({ id }) => id === 'pair.effects.free pair.effects.pending')?.ways ?? [];
    expect(ways).toContainEqual({ trigger: 'act', guard: 'wantsHold', actions: ['decide holdLink'] });
    const after = graph.edges.flatMap((edge) => edge.ways).map(({ trigger }) => trigger);
    expect(after).toContain('after grace');
  });

  test('says of each step which edges it took: from what was active to what is', () => {
    const known = graph.edges.map(({ id }) => id);
    const events = ['facts', 'act', 'outcome.failed'];
    for (let walk = 0; walk < 300; walk += 1) {
      // Any view will do: multiplying by an odd number visits them all.
      const bits = (walk * 40_503) % 2 ** Object.keys(BIT).length;
      const event = events[walk % events.length]!;
      const from =
        walk % 2 === 0 ? initialConfiguration : configurationOf('{"path":{"failover":"switching"},"effects":"pending"}');
      const { to } = askChart(from, event, bits);
      const taken = takenEdges(from, event, bits);
      const [first, last] = [taken.slice(0, 1), taken.slice(-1)].map((edges) => edges.map((edge) => edge.split(' ')));
      const what = `${from.value} ${event} ${bits}`;
      expect(known, what).toEqual(expect.arrayContaining(taken));
      expect(taken.length === 0 && from.value !== to.value, what).toBe(false);
      expect(activeStates(from), what).toEqual(expect.arrayContaining((first ?? []).map(([source]) => source)));
      expect(activeStates(to), what).toEqual(expect.arrayContaining((last ?? []).map(([, target]) => target)));
    }
  });
});
