// The other process in the tests of the log: `node log.child.ts <task> <dir>`. What it has to say goes to standard output,
// one JSON value a line, written before it goes on.
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import { NetkvmError } from '../../src/events/errors.ts';
import { flap, flaps } from './log.samples.ts';

const [, , task = '', dir = ''] = process.argv;
const me = { bootId: 'boot-1', machineId: 'machine-1' };
const say = (value: unknown) => writeSync(1, `${JSON.stringify(value)}\n`);

const attempt = (work: () => unknown): string => {
  try {
    work();
    return 'done';
  } catch (error) {
    if (error instanceof NetkvmError) return error.line;
    throw error;
  }
};

/** Appends until the disk is full; returns the head. */
const fill = (log: ReturnType<typeof openLog>['log']): string => {
  for (;;) {
    const line = attempt(() => log.append(flaps(log.head() + 1, 500), log.head()));
    if (line !== 'done') return line;
  }
};

switch (task) {
  case 'hold': {
    const { log } = openLog(dir, me);
    log.append([flap(1)], log.head());
    say('holding');
    setInterval(() => undefined, 1000);
    break;
  }
  case 'open':
    say(attempt(() => openLog(dir, me)));
    break;
  case 'append': {
    // Says what is acknowledged, as soon as it is.
    const { log } = openLog(dir, me);
    for (;;) {
      const head = log.head();
      const count = 1 + (head % 7);
      log.append(flaps(head + 1, count), head);
      say(head + count);
    }
  }
  case 'follow':
    try {
      for await (const { seq } of openReader(dir).follow(1, new AbortController().signal)) say(seq);
    } catch (error) {
      say(error instanceof NetkvmError ? error.line : String(error));
    }
    break;
  case 'full': {
    const ballast = join(dir, 'ballast');
    writeFileSync(ballast, Buffer.alloc(1_000_000));
    const { log } = openLog(dir, me);
    const refused = fill(log);
    const full = { head: log.head(), readable: [...log.read(1)].length };
    rmSync(ballast);
    const again = attempt(() => log.append(flaps(log.head() + 1, 100), log.head()));
    const after = log.head();
    log.close();
    const reader = openReader(dir);
    say({ refused, full, again, after, verdict: verifyLog(reader) });
    reader.close();
    break;
  }
  case 'full-at-start': {
    openLog(dir, me).log.close();
    try {
      writeFileSync(join(dir, 'ballast'), Buffer.alloc(100_000_000));
    } catch {
      // That was the purpose.
    }
    const refused = attempt(() => openLog(join(dir), me).log.append([flap(1)], 0));
    const elsewhere = attempt(() => openLog(join(dir, 'new'), me));
    rmSync(join(dir, 'ballast'));
    say({
      refused,
      elsewhere,
      after: attempt(() => {
        openLog(join(dir, 'new'), me).log.close();
      }),
    });
    break;
  }
  case 'read-only': {
    const { log } = openLog(dir, me);
    log.append(flaps(1, 10), 0);
    log.close();
    execFileSync('mount', ['-o', 'remount,ro', dir]);
    const writer = attempt(() => openLog(dir, me));
    const fresh = attempt(() => openLog(join(dir, 'new'), me));
    const reader = openReader(dir);
    say({ writer, fresh, readable: [...reader.read(1)].length });
    break;
  }
  default:
    throw new Error(`no task ${task}`);
}
