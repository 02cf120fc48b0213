// `npm start`: the main job, for a newcomer, in two acts and on logs of their own in the system's temporary folder. First the
// real service plays a recorded live migration at its recorded pace; then it steers a simulated guest through one, because
// in the recording the kernel did the switching. It ends by saying how to look at what was recorded.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readArguments } from './arguments.ts';
import { report } from './report.ts';
import { runService } from './commands/run.ts';

/** When the simulated migration is over and its last state has settled. */
const SIMULATED_MS = 9000;

const dir = mkdtempSync(join(tmpdir(), 'netkvm-'));
const recordings = fileURLToPath(new URL('../../replay/recordings/', import.meta.url));
const capture = join(recordings, 'raw/b-migration/guest.jsonl');
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const argumentsOf = (act: string, ...words: string[]) => {
  const request = readArguments(['run', ...words, '--state-dir', join(dir, act)]);
  if (request.kind !== 'command') throw new Error('run is no command');
  return request.args;
};

const sayHow = (): void => {
  for (const act of ['recorded', 'simulated']) {
    const state = join(dir, act);
    say(`\nThe log of the ${act} migration is ${join(state, 'netkvm.db')}. Look at it from another terminal:`);
    for (const command of ['status', 'explain', 'inspect', 'monitor --from 1', 'log verify', `log export -o ${state}.jsonl`])
      say(`  npm run -s netkvm -- ${command} --state-dir ${state}`);
  }
  say(`\nOr replay the capture itself, and look at another migration with both of its hosts and the packets that it lost:`);
  say(`  npm run -s netkvm -- replay ${capture}`);
  say(`  npm run -s netkvm -- inspect ${join(recordings, 'hosts/migration-with-losses')}/*.jsonl`);
  say('\nThe service stays up until Ctrl-C.');
};

const common = { json: false, endsOnHangup: true };
try {
  say('A live migration of a real guest, as its kernel told it, at its recorded pace (10 s). The kernel did the switching');
  say('there, so the service observes: no decisions, only what happened and why.\n');
  const played = new AbortController();
  const recorded = argumentsOf('recorded', '--platform', 'recording', '--recording', capture, '--observe');
  const onPlayed = () => played.abort('played to its end');
  process.exitCode = await runService(recorded, { ...common, onPlayed, until: played.signal });
  if (played.signal.aborted) {
    say('\nNow the service switches by itself: a simulated guest with a bond, through a live migration (9 s).\n');
    setTimeout(sayHow, SIMULATED_MS).unref();
    const simulated = argumentsOf('simulated', '--platform', 'simulated', '--scenario', 'failover');
    process.exitCode = await runService(simulated, common);
  }
} catch (error) {
  process.exitCode = report(error, process);
}
process.exit();
