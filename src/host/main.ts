#!/usr/bin/env node
// The entry of the command line. It imports nothing before the version of Node is known to be good; the rest of the
// process's business is here, too: broken pipes, unexpected rejections, and ending only when all output has been written.
// (An older Node cannot even load this file from source: netkvm.mjs beside it says so in one line.)
import type { Io } from './command.ts';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

/** Waits until what was written so far has left the process, or the reader is gone. */
const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((done) => {
    if (stream.destroyed || !stream.writable) done();
    else stream.write('', () => done());
  });

const main = async (): Promise<void> => {
  const [{ runCli }, { report }] = await Promise.all([import('./cli.ts'), import('./report.ts')]);
  const io: Io = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr };
  const fault = (error: unknown): void => {
    process.exit(report(error, io));
  };
  process.on('uncaughtException', fault);
  process.on('unhandledRejection', fault);
  process.exitCode = await runCli(process.argv.slice(2), io);
  await flushed(process.stdout);
  await flushed(process.stderr);
  // A timer or socket that a command left behind must not keep the process.
  process.exit();
};

process.title = 'netkvm';
// `netkvm monitor | head` is not an error: the reader has what it wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
process.stderr.on('error', () => {});
if (major > 22 || (major === 22 && minor >= 18)) {
  await main();
} else {
  process.stderr.write(`netkvm needs Node 22.18 or newer; this is ${process.version} (${process.execPath}) [node.version]\n`);
  process.exitCode = 2;
}
