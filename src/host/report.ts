// What a user is told of anything that was thrown, and the exit code that follows from it.
import { EXIT, NetkvmError } from '../events/errors.ts';
import type { Io } from './command.ts';

/** The lines and the exit code for anything that was thrown. */
export const report = (error: unknown, io: Pick<Io, 'stderr'>): number => {
  if (error instanceof NetkvmError) {
    // One line, whatever a file name or a message of the system holds.
    io.stderr.write(`netkvm: ${error.line.replaceAll(/\p{Cc}+/gu, ' ')}\n`);
    return error.exit;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  io.stderr.write(`netkvm: internal fault, please report it with this:\n${stack}\n`);
  return EXIT.fault;
};
