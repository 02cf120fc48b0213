// Our own chart, drawn in the geometry that `npm run docs` computed.
import { chartGraph, type ChartState } from '../../../machines/chart-graph.ts';
import GEOMETRY from '../chart-geometry.json' with { type: 'json' };
import { layoutFrom } from '../chart-layout.ts';
import { Drawing } from './Drawing.tsx';
import { drawnChart } from './drawn.ts';
import type { Moment } from './moment.ts';

const CHART = drawnChart(chartGraph(), layoutFrom(GEOMETRY));

export const Chart = ({ moment }: { readonly moment: Moment }) => {
  const { active, taken, pair, index } = moment;
  const noteOf = ({ id }: ChartState): string => {
    if (!active.has(id)) return '';
    const isPath = pair !== undefined && !CHART.parents.has(id) && id.includes('.path.');
    return isPath ? `active, because ${pair.shown.because}` : 'active';
  };
  return <Drawing chart={CHART} active={active} taken={taken} step={index} noteOf={noteOf} />;
};
