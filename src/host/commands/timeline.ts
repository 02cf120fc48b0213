// `netkvm timeline FILE…`: guests' logs and captures of QEMU's monitor on one axis, with the figures of each episode.
import { timelineOf } from '../../../replay/timeline/timeline.ts';
import { timelineDocumentText } from '../../../replay/timeline/text.ts';
import { EXIT } from '../../events/errors.ts';
import type { Run } from '../command.ts';

export const run: Run = async (args, io) => {
  const { document, complaints, damaged } = await timelineOf(args.positionals);
  const html = args.text('html');
  if (html !== undefined) {
    const [{ readDocument }, { writePage }] = await Promise.all([import('../inspector/read.ts'), import('../inspector/html.ts')]);
    await writePage(html, await readDocument(args.positionals, { served: false }));
  }
  io.stdout.write(args.flag('json') ? `${JSON.stringify(document)}\n` : timelineDocumentText(document));
  for (const complaint of complaints) io.stderr.write(`netkvm: ${complaint}\n`);
  return damaged ? EXIT.damaged : EXIT.done;
};
