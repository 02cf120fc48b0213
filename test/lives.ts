// Recorded lives of simulated guests in which much happens (faults, kills, takeovers, two pairs), and what the fold tells of
// each, event by event: a fold that tells them otherwise is another machine, and needs a new version (guest.ts). `npm run
// recordings` then makes and tells them anew; what differs is what to look at before committing it.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Decision } from '../src/events/catalogue.ts';
import { Story } from '../src/machines/story.ts';
import type { Step } from '../src/machines/step.ts';
import { tellFile } from '../replay/replay.ts';

export const LIVES = fileURLToPath(new URL('fixtures/lives/', import.meta.url));
export const lifeNames = (): string[] =>
  readdirSync(LIVES)
    .filter((name) => name.endsWith('.jsonl'))
    .map((name) => name.slice(0, -'.jsonl'.length))
    .toSorted();

const devices = ({ master, standby, primary }: Decision): string =>
  [master, standby, primary].map((target) => (target === null ? '-' : `${target.ifindex}@${target.arrival}`)).join(' ');

const linesOf = (seq: number, { changes, decisions, timers, episode, divergence }: Step): string[] => [
  ...changes.map(
    ({ pair: { mac, mode, shown, configuration }, before }) =>
      `${seq} ${mac} ${mode}: ${before.stage} -> ${shown.stage} ${shown.datapath} ${shown.because} (${configuration.leaf}, ${configuration.effects}), episode ${episode}`,
  ),
  ...decisions.map((one) =>
    `${seq} ${one.id} ${one.kind} ${one.attempt}: ${devices(one)} ${'plan' in one ? JSON.stringify(one.plan) : ''}`.trimEnd(),
  ),
  ...timers.map((timer) => `${seq} ${timer.op} ${timer.timer}${timer.op === 'arm' ? ` ${timer.delay_ms}` : ''}`),
  ...(divergence === null ? [] : [`${seq} DIVERGES ${JSON.stringify(divergence)}`]),
];

/** What the fold tells of the life, in lines; the last is its whole state. */
export const toldOf = async (name: string): Promise<string[]> => {
  const story = new Story();
  const lines: string[] = [];
  await tellFile(`${LIVES}${name}.jsonl`, (event, place) => {
    const step = story.tell(event, place);
    lines.push(...linesOf(event.seq, step));
    return step;
  });
  story.history.end();
  for (const { mac } of story.guest.pairs.values())
    for (const { seq, stage, datapath, because } of story.history.of(mac))
      lines.push(`history ${mac} ${seq}: ${stage} ${datapath} ${because}`);
  for (const { code, severity, mac, seq, until_seq, text } of story.findings.list(story.end))
    lines.push(`finding ${severity} ${code} ${mac} ${seq}-${until_seq}: ${text}`);
  for (const { decision, outcome } of story.tried.list())
    lines.push(`tried ${decision.id} ${outcome?.result} ${outcome?.reason} ${outcome?.at.seq}`);
  // The places of facts in a packed view are nobody’s business.
  const { pairs, ...rest } = story.guest.snapshot();
  return [...lines, JSON.stringify({ ...rest, pairs: pairs.map(({ bits: _, ...pair }) => pair) })];
};
