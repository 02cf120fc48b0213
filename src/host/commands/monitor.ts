// `netkvm monitor`: events as they are recorded, with what they changed. Follows the log, so it needs no running service;
// the log says when one starts.
import { once } from 'node:events';
import { EXIT } from '../../events/errors.ts';
import type { RecordedEvent } from '../../events/envelope.ts';
import type { Step } from '../../machines/step.ts';
import { Story } from '../../machines/story.ts';
import type { Run } from '../command.ts';
import { interrupted } from '../interrupt.ts';
import { configurationOf, openLogOf, pairOption } from '../look.ts';

const ELLIPSIS_AT = 140;

/** An event as a line, with the lines of what it changed; `step` is null where that is not known. */
export const lineOf = ({ seq, wall_ns, type, data }: RecordedEvent, step: Step | null): string => {
  const time = new Date(Number(BigInt(wall_ns) / 1_000_000n)).toISOString().slice(11, 23);
  const text = JSON.stringify(data);
  const short = text.length > ELLIPSIS_AT ? `${text.slice(0, ELLIPSIS_AT)}…` : text;
  const changes = (step?.changes ?? []).map(
    ({ pair: { mac, shown } }) => `\n${' '.repeat(22)}${mac} ${shown.stage} ${shown.datapath} ${shown.because}`,
  );
  return `${String(seq).padStart(8)} ${time} ${type.padEnd(20)} ${short}${changes.join('')}\n`;
};

export const run: Run = async (args, io) => {
  const configuration = configurationOf(args);
  const wanted = pairOption(args);
  const reader = await openLogOf(configuration);
  try {
    const from = args.number('from') ?? reader.head() + 1;
    const story = new Story();
    // What came before is folded, not shown: without it nobody could say what an event changed.
    for (const page of reader.fold(reader.first())) {
      for (const event of page) if (event.seq < from) story.tell(event);
      if ((page.at(-1)?.seq ?? 0) >= from) break;
    }
    for await (const event of reader.follow(Math.max(from, story.end.seq + 1), interrupted())) {
      const step = story.tell(event);
      if (wanted !== null && !step.touched.some(({ mac }) => mac === wanted)) continue;
      const line = args.flag('json') ? `${JSON.stringify({ schemaVersion: 1, ...event })}\n` : lineOf(event, step);
      // A slow reader is waited for, not remembered for.
      if (!io.stdout.write(line)) await once(io.stdout, 'drain');
    }
    return EXIT.done;
  } finally {
    reader.close();
  }
};
