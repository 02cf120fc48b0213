// `netkvm status`: where each pair is and why. The log says it; the service, if it runs, adds how it is itself.
import { plain } from '../../../replay/text.ts';
import { EXIT } from '../../events/errors.ts';
import type { HostedPair } from '../../machines/hosted-pair.ts';
import type { PairState } from '../../machines/pair-state.ts';
import { BECAUSE } from '../../machines/reasons.ts';
import type { Arrived } from '../../machines/roles.ts';
import type { Story } from '../../machines/story.ts';
import type { Run } from '../command.ts';
import type { JsonObject } from '../control-lines.ts';
import { type HostedDocument, hostedDocument } from '../hosting.ts';
import { configurationOf, openLogOf, pairOption, serviceState, tellLog } from '../look.ts';

const device = (adapter: Arrived | null) =>
  adapter && { name: adapter.facts.name, ifindex: adapter.facts.ifindex, pci: adapter.facts.pci, driver: adapter.facts.driver };

const pairOf = ({ mac, mode, shown, configuration, roles, pending, episode, obligations, hindrance, released }: PairState) => ({
  mac,
  mode,
  ...shown,
  effects: configuration.effects,
  standby: device(roles.standby),
  master: device(roles.master),
  primary: device(roles.primary),
  pending: pending && { id: pending.id, kind: pending.kind, attempt: pending.attempt },
  episode,
  /** What was changed and is owed; why the last effect did not take place; given back, and left alone until a reload. */
  owed: obligations.map(({ id, kind }) => ({ id, kind })),
  hindrance,
  released,
});

/** What is wrong now: pairs without a path, and findings that last. */
const troubles = (story: Story, pairs: readonly (PairState | HostedPair)[]) => {
  const open = story.findings.list(story.end).filter(({ until_seq, severity }) => until_seq === null && severity !== 'info');
  const wanted = new Set(pairs.map(({ mac }) => mac));
  return open.filter(({ mac }) => mac === null || wanted.has(mac));
};

const nameOf = (found: ReturnType<typeof device>): string => (found === null ? '-' : plain(found.name));

const lineOf = (pair: ReturnType<typeof pairOf>): string => `${placeOf(pair)}${effectsOf(pair)}`;
const effectsOf = ({
  effects,
  owed,
  hindrance,
  released,
}: Pick<ReturnType<typeof pairOf>, 'effects' | 'owed' | 'hindrance' | 'released'>): string =>
  [
    ...(hindrance === null ? [] : [`effects ${effects}: ${hindrance}`]),
    ...(owed.length === 0 ? [] : [`owed: ${owed.map(({ kind }) => kind).join(', ')}`]),
    ...(released ? ['given back, and left alone until a reload'] : []),
  ]
    .map((text) => `${' '.repeat(27)}${text}\n`)
    .join('');
const placeOf = ({ mac, mode, stage, datapath, because, standby, primary }: ReturnType<typeof pairOf>): string =>
  `${mac}  ${mode.padEnd(6)}  ${stage.padEnd(15)}  ${datapath.padEnd(7)}  standby ${nameOf(standby)}, primary ${nameOf(primary)}\n` +
  `${' '.repeat(27)}${because}: ${BECAUSE[because]}\n`;

const hostedLine = ({
  mac,
  stage,
  datapath,
  because,
  port,
  guest,
  owed,
  effects,
  hindrance,
  released,
}: HostedDocument): string => {
  const says = guest === null ? 'no service' : `${guest.stage}, ${guest.datapath}`;
  const head = `${mac}  host    ${stage.padEnd(15)}  ${datapath.padEnd(7)}  VF ${port?.vf?.mac ?? '-'}, guest ${says}\n`;
  return `${head}${' '.repeat(27)}${because}: ${BECAUSE[because]}\n${effectsOf({ effects, owed, hindrance, released })}`;
};

/** Where the copy on a server is: how far behind, and what went wrong last. */
const copyLine = ({ server, state, seq, lag_events, lag_ms, error }: JsonObject): string => {
  const failed = typeof error === 'object' && error !== null && 'text' in error ? `; ${String(error.text)}` : '';
  const lag = typeof lag_events === 'number' ? `, ${lag_events} events (${Math.round(Number(lag_ms) / 1000)} s) behind` : '';
  return `Copy on ${String(server)}: ${String(state)}, at event ${typeof seq === 'number' ? seq : '-'}${lag}${failed}\n`;
};

export const run: Run = async (args, io) => {
  const configuration = configurationOf(args);
  const wanted = pairOption(args);
  const reader = await openLogOf(configuration);
  try {
    const story = tellLog(reader);
    const service = await serviceState(configuration);
    const pid = service?.pid ?? null;
    const outage = service?.outage ?? null;
    const { pairs: own, hosted } = story.guest;
    const pairs = [...own.values()].filter(({ mac }) => wanted === null || mac === wanted);
    const hostedPairs = [...hosted.pairs.values()].filter(({ mac }) => wanted === null || mac === wanted);
    const wrong = troubles(story, [...pairs, ...hostedPairs]);
    const document = {
      schemaVersion: 1,
      service: { running: service !== null, pid, outage },
      forwarding: service?.forwarding ?? null,
      log: { path: reader.path, id: reader.logId, first: reader.first(), head: reader.head() },
      effects: story.guest.policy.effects,
      divergence: story.divergence,
      pairs: pairs.map(pairOf),
      ...(hosted.pairs.size === 0 ? {} : { hosted: hostedPairs.map(hostedDocument) }),
      findings: wrong.map(({ code, severity, mac, seq, text }) => ({ code, severity, mac, seq, text })),
    };
    if (args.flag('json')) io.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else {
      io.stdout.write(
        pid === null ? 'The service is not running; this is what the log says.\n' : `The service runs as pid ${pid}.\n`,
      );
      if (outage !== null) io.stdout.write(`It cannot write its log, so this may be out of date: ${outage}\n`);
      if (document.forwarding !== null) io.stdout.write(copyLine(document.forwarding));
      for (const pair of document.pairs) io.stdout.write(lineOf(pair));
      for (const pair of document.hosted ?? []) io.stdout.write(hostedLine(pair));
      if (pairs.length + hostedPairs.length === 0) io.stdout.write('No pair.\n');
      for (const { severity, code, mac, text } of wrong) io.stdout.write(`${severity} ${code} ${mac ?? ''}: ${text}\n`);
    }
    if (pid === null) return EXIT.notRunning;
    return wrong.length > 0 || outage !== null ? EXIT.degraded : EXIT.done;
  } finally {
    reader.close();
  }
};
