// `netkvm doctor`: looks at this machine and this installation, changes nothing, and says what to do about each trouble.
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Run } from '../command.ts';
import { loadConfig, type Configuration } from '../config.ts';
import { type Check, type Checks, runChecks } from '../doctor-checks.ts';

/** A log up to this size is read whole. */
const THOROUGH_BYTES = 268_435_456;

/** The configuration and what is to be said of it; with a broken one the other checks run on what the command line gives. */
const configured = (args: Arguments): { configuration: Configuration; check: Check } => {
  const overrides = { 'service.stateDir': args.text('state-dir') };
  const name = 'configuration';
  try {
    const configuration = loadConfig(args.text('config'), overrides);
    const text = configuration.file === null ? 'no file, the defaults hold' : `${configuration.file} is valid`;
    return { configuration, check: { name, result: 'ok', text, todo: null } };
  } catch (error) {
    if (!(error instanceof NetkvmError) || error.code === 'usage.value') throw error;
    const check: Check = { name, result: 'failed', text: error.message, todo: 'Mend it; `netkvm config check` reads it again.' };
    return { configuration: loadConfig(null, overrides), check };
  }
};

const readable = (checks: readonly Check[]): string =>
  checks
    .map(
      ({ name, result, text, todo }) =>
        `${result.padEnd(8)} ${name.padEnd(14)} ${text}${todo === null ? '' : `\n${' '.repeat(24)}-> ${todo}`}\n`,
    )
    .join('');

const checksHere = async (): Promise<Checks> => {
  if (process.platform === 'linux') return (await import('../doctor-linux.ts')).linuxChecks();
  if (process.platform === 'win32') return (await import('../doctor-windows.ts')).windowsChecks();
  throw new NetkvmError('platform.unsupported', `netkvm doctor knows nothing about ${process.platform}`);
};

export const run: Run = async (args, io) => {
  const there = await checksHere();
  const { configuration, check } = configured(args);
  const checks = [check, ...(await runChecks(there, { configuration, thorough_bytes: THOROUGH_BYTES }))];
  const healthy = checks.every(({ result }) => result !== 'failed');
  io.stdout.write(args.flag('json') ? `${JSON.stringify({ schemaVersion: 1, healthy, checks }, null, 2)}\n` : readable(checks));
  return healthy ? EXIT.done : EXIT.degraded;
};
