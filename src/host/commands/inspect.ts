// `netkvm inspect`: the inspector's page in a browser, of a file or live of the log. Prints the URL and serves until Ctrl-C.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Run } from '../command.ts';
import { readDocument } from '../inspector/read.ts';
import { openInspector } from '../inspector/server.ts';
import { subjectOfFile, subjectOfLog } from '../inspector/subjects.ts';
import { interrupted } from '../interrupt.ts';
import { configurationOf } from '../look.ts';

/** A browser's Origin header: scheme, host and port, nothing behind them. */
const originOf = (text: string): string => {
  if (URL.canParse(text) && new URL(text).origin === text) return text;
  throw new NetkvmError('usage.value', `--origin ${JSON.stringify(text)} is not an origin such as http://localhost:5173`);
};

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

const feedUrlOf = (text: string): string => {
  if (URL.canParse(text)) {
    const { protocol, hostname } = new URL(text);
    if (protocol === 'ws:' && LOOPBACK.includes(hostname)) return text;
  }
  throw new NetkvmError(
    'usage.value',
    `--feed ${JSON.stringify(text)} is not a ws:// URL of this machine such as ws://localhost:8080`,
  );
};

export const run: Run = async (args, io) => {
  const paths = args.positionals;
  const origin = args.text('origin');
  const origins = origin === undefined ? [] : [originOf(origin)];
  const feed = args.text('feed');
  const feedUrl = feed === undefined ? null : feedUrlOf(feed);
  const signal = interrupted();
  const subject =
    paths.length === 0 ? subjectOfLog(configurationOf(args)) : subjectOfFile(await readDocument(paths, { served: true }));
  // A missing log is said now, not when the page is opened.
  await subject.head();
  const onTrouble = (text: string): void => void io.stderr.write(`netkvm: ${text.replaceAll(/\p{Cc}+/gu, ' ')}\n`);
  const inspector = await openInspector({ subject, port: args.number('port') ?? 0, origins, onTrouble });
  try {
    if (feedUrl !== null) await inspector.feed(feedUrl);
    const { url, socketUrl } = inspector;
    io.stdout.write(
      args.flag('json')
        ? `${JSON.stringify({ schemaVersion: 1, url, socketUrl })}\n`
        : `${url}\n\nOnly this machine can open it, and only with this URL. For xstate inspectors and receivers:\n${socketUrl}\nCtrl-C ends it.\n`,
    );
    if (!signal.aborted) await new Promise<void>((done) => signal.addEventListener('abort', () => done()));
    return EXIT.done;
  } finally {
    await inspector.close();
  }
};
