// `netkvm show devices | show parameters | show paraminfo | getparam | setparam | restart | dump`: one order, carried out and
// printed in the lines of the original tool, or as JSON. What is wrong with stored values goes to standard error.
import { NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { loadConfig } from '../config.ts';
import { request } from '../control-client.ts';
import { configurationOf } from '../look.ts';
import { ParameterSession, PLAIN, type Manner, type Telling } from '../parameters/orders.ts';
import { readOrder, type Verb } from '../parameters/words.ts';
import { systemParameters } from '../platforms.ts';

const mannerOf = (args: Arguments): Manner =>
  args.command === 'setparam'
    ? { ...PLAIN, apply: args.flag('apply'), both: args.flag('both'), force: args.flag('force') }
    : PLAIN;

/** How long the running service may take to record a change. */
const NOTE_LIMIT_MS = 2000;

/** Lets the running service record what was changed. Without one the next service sees what is there when it looks. */
const noteWith =
  (controlSocket: string, warn: (text: string) => void): NonNullable<Telling['changed']> =>
  async ({ command, device, what }) => {
    const by = `netkvm, uid ${process.geteuid?.() ?? 'unknown'}`;
    try {
      await request(controlSocket, 'note', { command, what, by, pair: device.mac }, { timeout_ms: NOTE_LIMIT_MS });
    } catch (error) {
      if (!(error instanceof NetkvmError)) throw error;
      if (error.code !== 'control.unreachable') warn(`the service did not record this: ${error.message}`);
    }
  };

/** `controlSocket` of the service that is to know; the configured one unless given. */
export const tellingOf = (io: Io, isSilent: boolean, controlSocket = defaultControlSocket()): Telling => {
  const warn = (text: string): void => void io.stderr.write(`netkvm: ${text}\n`);
  return {
    out: (text) => void (isSilent || io.stdout.write(text)),
    warn,
    ...(controlSocket === null ? {} : { changed: noteWith(controlSocket, warn) }),
  };
};

/** A configuration that cannot be read is no reason not to change a parameter. */
const defaultControlSocket = (): string | null => {
  try {
    return loadConfig().settings.controlSocket;
  } catch (error) {
    if (error instanceof NetkvmError) return null;
    throw error;
  }
};

export const run: Run = async (args, io) => {
  const asked = readOrder(args.command as Verb, args.positionals);
  if ('help' in asked) throw new NetkvmError('usage.command', 'a question is no argument');
  const json = args.flag('json');
  const changes = args.command === 'setparam' || args.command === 'restart';
  const telling = changes ? tellingOf(io, json, configurationOf(args).settings.controlSocket) : tellingOf(io, json);
  const store = await systemParameters();
  try {
    const { exit, document } = await new ParameterSession(store).perform(asked.order, mannerOf(args), telling);
    if (json) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...document }, null, 2)}\n`);
    return exit;
  } finally {
    await store.close();
  }
};
