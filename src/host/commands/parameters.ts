// `netkvm show devices | show parameters | show paraminfo | getparam | setparam | restart | dump`: one order, carried out and
// printed in the lines of the original tool, or as JSON. What is wrong with stored values goes to standard error.
import { randomUUID } from 'node:crypto';
import type { HappeningOf } from '../../events/catalogue.ts';
import { NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { type Configuration, loadConfig } from '../config.ts';
import { request } from '../control-client.ts';
import { configurationOf, openLogOf } from '../look.ts';
import { bootId, machineId } from '../machine-facts.ts';
import { ParameterSession, PLAIN, type Manner, type Telling } from '../parameters/orders.ts';
import { readOrder, type Verb } from '../parameters/words.ts';
import { systemClocks, systemParameters } from '../platforms.ts';
import { openWriter } from '../service-log.ts';

const mannerOf = (args: Arguments): Manner =>
  args.command === 'setparam'
    ? { ...PLAIN, apply: args.flag('apply'), both: args.flag('both'), force: args.flag('force') }
    : PLAIN;

/** How long the running service may take to record a change. */
const NOTE_LIMIT_MS = 2000;

type Note = HappeningOf<'operator.commanded'>['data'];

/** Writes it into the log as its one writer. Where no service ever ran there is no log, and none is begun for this. */
const recordAlone = async (configuration: Configuration, note: Note): Promise<void> => {
  (await openLogOf(configuration)).close();
  const { log } = await openWriter(configuration.settings, { bootId: bootId(), machineId: machineId() });
  try {
    const clocks = await systemClocks();
    log.append([{ id: randomUUID(), ...clocks, cause: null, episode: null, type: 'operator.commanded', data: note }], log.head());
  } finally {
    log.close();
  }
};

/** Records what was changed: the running service does it, and without one this process. */
const noteWith =
  (configuration: Configuration, warn: (text: string) => void): NonNullable<Telling['changed']> =>
  async ({ command, device, what }) => {
    const by = `netkvm, uid ${process.geteuid?.() ?? 'unknown'}`;
    const note: Note = { command, what, by, pair: device.mac };
    try {
      await request(configuration.settings.controlSocket, 'note', note, { timeout_ms: NOTE_LIMIT_MS }).catch((error: unknown) => {
        if (!(error instanceof NetkvmError) || error.code !== 'control.unreachable') throw error;
        return recordAlone(configuration, note);
      });
    } catch (error) {
      if (!(error instanceof NetkvmError)) throw error;
      if (error.code !== 'log.missing') warn(`this was changed, but not recorded: ${error.message}`);
    }
  };

/** `configuration` says where the service and its log are; the default one unless given. */
export const tellingOf = (io: Io, isSilent: boolean, configuration = defaultConfiguration()): Telling => {
  const warn = (text: string): void => void io.stderr.write(`netkvm: ${text}\n`);
  return {
    out: (text) => void (isSilent || io.stdout.write(text)),
    warn,
    ...(configuration === null ? {} : { changed: noteWith(configuration, warn) }),
  };
};

/** A configuration that cannot be read is no reason not to change a parameter. */
const defaultConfiguration = (): Configuration | null => {
  try {
    return loadConfig();
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
  const telling = changes ? tellingOf(io, json, configurationOf(args)) : tellingOf(io, json);
  const store = await systemParameters();
  try {
    const { exit, document } = await new ParameterSession(store).perform(asked.order, mannerOf(args), telling);
    if (json) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...document }, null, 2)}\n`);
    return exit;
  } finally {
    await store.close();
  }
};
