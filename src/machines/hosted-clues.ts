// What is wrong with a hosted pair, asked after every event that touched it. Findings (findings.ts) keeps the spans.
import type { Foldable } from '../events/envelope.ts';
import type { Clue } from './clues.ts';
import type { HostedPair } from './hosted-pair.ts';
import { HOST_BIT } from './migration.ts';
import type { FindingCode } from './reasons.ts';

/** A guest that boots has no service yet. */
const SILENT_MS = 60_000;
/** A VF is parked within milliseconds; who parks it by hand needs longer. */
const UNPARKED_MS = 1000;

export function* hostedClues(event: Foldable, touched: readonly HostedPair[]): Generator<Clue> {
  for (const pair of touched) yield* lasting(pair);
  if (event.type !== 'monitor.event' || event.data.name !== 'MIGRATION') return;
  const { pair, fields } = event.data;
  const status = String(fields['status']);
  if (status === 'cancelled' || status === 'failed')
    yield { code: 'migrationNotDone', mac: pair, holds: 'point', after_ms: 0, text: () => `the migration was ${status}` };
}

function* lasting(pair: HostedPair): Generator<Clue> {
  const { mac, vm, monitor, port, guest, refused, shown } = pair;
  const { stage, because } = shown;
  const say = (code: FindingCode, holds: boolean, what: string, after_ms = 0): Clue => ({
    code,
    mac,
    holds,
    after_ms,
    text: (span) => `${what}, ${span}`,
  });
  const watched = stage !== 'unwatched';
  const leaving = stage === 'waitUnplug' || stage === 'unplugRequested';
  const vf = port?.vf ?? null;
  yield say(
    'unplugEndless',
    leaving && pair.configuration.leaf === 'overdue' && !refused,
    'the guest has not let its primary go',
  );
  yield say('unplugRefused', leaving && refused, 'the guest refused the unplug');
  yield say('guestPaused', because === 'guest.paused', 'the guest is paused while its primary is to be unplugged');
  yield say('vfMissing', watched && port !== null && vf === null, 'there is no such VF');
  const foreign = stage === 'present' && vf !== null && vf.mac !== mac && (pair.bits & HOST_BIT.onStandby) === 0;
  yield say(
    'vfMacForeign',
    foreign,
    `the VF has MAC ${vf?.mac ?? ''}${vf?.mac === vm?.parking ? ' (its parking MAC)' : ''}`,
    1000,
  );
  yield say('vfNotParked', stage === 'hidden' && vf?.mac === mac, 'the hidden VF has the pair’s MAC', UNPARKED_MS);
  const saw = guest?.primary ?? null;
  yield say('wrongMac', watched && saw !== null && saw !== mac, `the guest sees MAC ${saw ?? ''} on its primary`);
  const silent = watched && vm?.channel !== undefined && guest === null && monitor?.running === true;
  yield say('guestSilent', silent, 'no service of the guest answers on the channel', SILENT_MS);
}
