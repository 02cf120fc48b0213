// `npm start`: the main job, for a newcomer. The real service, on a log of its own in the system's temporary folder, plays a
// recorded live migration at its recorded pace, and then says how to look at what it recorded.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readArguments } from './arguments.ts';
import { report } from './cli.ts';
import { runService } from './commands/run.ts';

const dir = mkdtempSync(join(tmpdir(), 'netkvm-'));
const capture = fileURLToPath(new URL('../../replay/recordings/raw/b-migration/guest.jsonl', import.meta.url));
const say = (text: string): void => void process.stdout.write(`${text}\n`);

say('A live migration of a real guest, as its kernel told it, played through the service at its recorded pace (10 s).');
say('The kernel did the switching in this recording, so the service observes: no decisions, only what happened and why.\n');
const words = ['run', '--platform', 'recording', '--recording', capture, '--state-dir', dir, '--observe'];
const request = readArguments(words);
if (request.kind !== 'command') throw new Error('run is no command');
try {
  process.exitCode = await runService(request.args, {
    json: false,
    endsOnHangup: true,
    onPlayed: () => {
      say(`\nThe log is ${join(dir, 'netkvm.db')}. Look at it from another terminal:`);
      for (const command of [
        'status',
        'explain',
        'monitor --from 1',
        'log verify',
        `log export -o ${join(dir, 'migration.jsonl')}`,
      ])
        say(`  npm run -s netkvm -- ${command} --state-dir ${dir}`);
      say(`  npm run -s netkvm -- replay ${capture}`);
      say('\nThe service stays up until Ctrl-C.');
    },
  });
} catch (error) {
  process.exitCode = report(error, process);
}
process.exit();
