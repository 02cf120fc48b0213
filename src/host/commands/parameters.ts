// `netkvm show devices | show parameters | show paraminfo | getparam | setparam | restart | dump`: one order, carried out and
// printed in the lines of the original tool, or as JSON. What is wrong with stored values goes to standard error.
import { NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io, Run } from '../command.ts';
import { ParameterSession, PLAIN, type Manner } from '../parameters/orders.ts';
import { readOrder, type Verb } from '../parameters/words.ts';
import { systemParameters } from '../platforms.ts';

const mannerOf = (args: Arguments): Manner =>
  args.command === 'setparam'
    ? { ...PLAIN, apply: args.flag('apply'), both: args.flag('both'), force: args.flag('force') }
    : PLAIN;

export const tellingOf = (io: Io, isSilent: boolean) => ({
  out: (text: string): void => void (isSilent || io.stdout.write(text)),
  warn: (text: string): void => void io.stderr.write(`netkvm: ${text}\n`),
});

export const run: Run = async (args, io) => {
  const asked = readOrder(args.command as Verb, args.positionals);
  if ('help' in asked) throw new NetkvmError('usage.command', 'a question is no argument');
  const json = args.flag('json');
  const store = await systemParameters();
  try {
    const { exit, document } = await new ParameterSession(store).perform(asked.order, mannerOf(args), tellingOf(io, json));
    if (json) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...document }, null, 2)}\n`);
    return exit;
  } finally {
    await store.close();
  }
};
