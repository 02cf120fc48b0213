// One pair in words. Everything said here is taken from the story: the facts as folded, the meanings as listed with the
// chart and the reasons; nothing is guessed.
import type { DecisionKind } from '../src/events/catalogue.ts';
import { pairChart } from '../src/machines/chart.ts';
import type { Entry } from '../src/machines/history.ts';
import type { HostedPair } from '../src/machines/hosted-pair.ts';
import { HOST_VIEW, type HostBit, hostFactsOf, migrationChart } from '../src/machines/migration.ts';
import type { PairState } from '../src/machines/pair-state.ts';
import type { Finding } from '../src/machines/findings.ts';
import { BECAUSE, type Because, FINDINGS, type FindingCode, SEVERITIES, type Severity } from '../src/machines/reasons.ts';
import type { Arrived, Mode } from '../src/machines/roles.ts';
import type { Story } from '../src/machines/story.ts';
import type { Attempt } from '../src/machines/tried.ts';
import { factsOf, VIEW_BITS } from '../src/machines/view.ts';
import { adviceOf, missingOf } from './missing.ts';
import { plain } from './text.ts';

export interface Explanation {
  readonly mac: string;
  readonly mode: Mode | 'host';
  readonly stage: string;
  readonly datapath: string;
  readonly because: Because;
  /** What the stage means, for an operator. */
  readonly meaning: string;
  readonly members: readonly { readonly role: string; readonly text: string }[];
  /** The facts that hold, as the chart sees them. */
  readonly facts: readonly string[];
  readonly effects: {
    readonly state: string;
    readonly under_way: string | null;
    /** Why the last one did not take place. */
    readonly hindrance: string | null;
    /** What was changed and is to be given back. */
    readonly owed: readonly string[];
    readonly released: boolean;
  };
  /** What was decided lately, and what became of it; oldest first. */
  readonly tried: readonly {
    readonly seq: number;
    readonly at_ns: string;
    readonly kind: DecisionKind;
    readonly attempt: number;
    /** null while it is under way. */
    readonly result: string | null;
    readonly reason: string | null;
  }[];
  /** What lacks until the primary carries, the first thing first. */
  readonly missing: readonly string[];
  /** What to do, the worst first. */
  readonly todo: readonly string[];
  /** The latest entries, oldest first. */
  readonly history: readonly Entry[];
  readonly findings: readonly {
    readonly code: FindingCode;
    readonly severity: Severity;
    readonly lasts: boolean;
    readonly text: string;
    readonly cause: string;
    readonly cure: string;
  }[];
}

const RECENT = 12;

const MODES: Readonly<Record<Explanation['mode'], string>> = {
  host: 'the guest and its hypervisor agree; this is the hypervisor’s side',
  kernel: 'the kernel’s net_failover switches; the service watches',
  bond: 'an active-backup bond carries the addresses',
  netkvm: 'the NETKVM driver and its protocol binding switch',
  none: 'nothing joins standby and primary',
};

const memberText = ({ facts }: Arrived): string => {
  const where = facts.pci ?? facts.device ?? 'no bus';
  const state = facts.up ? (facts.carrier ? 'up with carrier' : 'up without carrier') : 'down';
  const master = facts.master === null ? 'no master' : `enslaved to ifindex ${facts.master}`;
  return `${facts.name} (ifindex ${facts.ifindex}, ${where}, driver ${facts.driver ?? 'unknown'}, MTU ${facts.mtu}): ${state}, ${master}`;
};

interface Described {
  readonly description?: string;
}

/** The description of the innermost state that has one: `fallback/noCarrier` says more than `fallback`. */
const meaningOf = ({ configuration: { stage, leaf } }: PairState): string => {
  const states = pairChart.root.states['path']?.states ?? {};
  const outer = (states[stage] ?? states['failover']?.states[stage]) as
    (Described & { states: Record<string, Described> }) | undefined;
  return [outer?.description, leaf === stage ? undefined : outer?.states[leaf]?.description]
    .filter((part) => part !== undefined)
    .join(' ');
};

const membersOf = ({ roles: { standby, master, primary, surplus } }: PairState) => [
  ...(standby === null ? [] : [{ role: 'standby', text: memberText(standby) }]),
  ...(master === null ? [] : [{ role: 'master', text: memberText(master) }]),
  ...(primary === null ? [] : [{ role: 'primary', text: memberText(primary) }]),
  ...surplus.map((adapter) => ({ role: 'left alone', text: memberText(adapter) })),
];

const hostMeaningOf = ({ configuration: { stage, leaf } }: HostedPair): string => {
  const states = migrationChart.root.states['path']?.states as Record<string, Described & { states?: Record<string, Described> }>;
  const own = states[stage] ?? states['away']?.states?.[stage];
  const inner = leaf === stage ? undefined : states[stage]?.states?.[leaf];
  return [own?.description, inner?.description].filter((part) => part !== undefined).join(' ');
};

/** What the hypervisor's side knows: QEMU, the VF, and the guest's own word. */
const sidesOf = ({ vm, monitor, port, guest }: HostedPair) => {
  const migration = monitor?.migration === 'none' ? 'no migration' : `migration ${monitor?.migration}`;
  const state = monitor?.incoming === true ? 'waits for the guest' : monitor?.running === true ? 'runs' : 'is stopped';
  const qemu =
    monitor?.connected === true ? `${state}, ${migration}, ${monitor.primary ? 'has' : 'lacks'} the primary` : 'no answer';
  const { vf = null } = port ?? {};
  const where = vm?.port ?? `${vm?.pf ?? ''} VF ${vm?.vf ?? ''}`;
  return [
    { role: 'QEMU', text: qemu },
    { role: 'VF', text: `${where}: ${vf === null ? 'not there' : `MAC ${vf.mac}, VLAN ${vf.vlan}`}` },
    {
      role: 'guest',
      text: guest === null ? 'no service answers' : `${guest.stage}, datapath ${guest.datapath}, version ${guest.version}`,
    },
  ];
};

export const explainPair = (pair: PairState | HostedPair, story: Story): Explanation => {
  const isHost = pair.mode === 'host';
  const members = isHost ? sidesOf(pair) : membersOf(pair);
  const findings = story.findings.list(story.end).filter(({ mac }) => mac === null || mac === pair.mac);
  return {
    mac: pair.mac,
    mode: pair.mode,
    ...pair.shown,
    meaning: isHost ? hostMeaningOf(pair) : meaningOf(pair),
    members,
    facts: isHost ? hostFactsOf(pair.bits) : factsOf(pair.bits),
    effects: {
      state: pair.configuration.effects,
      hindrance: pair.hindrance,
      owed: pair.obligations.map(({ id, kind }) => `${kind} (${id})`),
      released: pair.released,
      under_way: pair.pending && `${pair.pending.kind} (${pair.pending.id}, attempt ${pair.pending.attempt})`,
    },
    tried: story.tried.list(pair.mac).slice(-RECENT).map(attemptOf),
    missing: isHost ? [] : missingOf(pair),
    todo: todoOf(pair, story, findings),
    history: story.history.of(pair.mac).slice(-RECENT),
    findings: findings.slice(-RECENT).map(({ code, severity, until_seq, text }) => ({
      code,
      severity,
      lasts: until_seq === null,
      text,
      cause: FINDINGS[code].cause,
      cure: FINDINGS[code].cure,
    })),
  };
};

const attemptOf = ({ decision: { kind, attempt }, at: { seq, at_ns }, outcome }: Attempt): Explanation['tried'][number] => ({
  seq,
  at_ns,
  kind,
  attempt,
  result: outcome?.result ?? null,
  reason: outcome?.reason ?? null,
});

/** The cures of what is wrong now, each once, then what else could be done. */
const todoOf = (pair: PairState | HostedPair, story: Story, findings: readonly Finding[]): string[] => {
  const wrong = findings.filter(({ until_seq, severity }) => until_seq === null && severity !== 'info');
  const worst = wrong.toSorted((a, b) => SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity));
  return [
    ...new Set([
      ...worst.map(({ code }) => FINDINGS[code].cure),
      ...(pair.mode === 'host' ? [] : adviceOf(pair, story.guest.policy)),
    ]),
  ];
};

const seconds = (ns: string): string => (Number(ns) / 1e9).toFixed(3);

const triedText = ({ seq, at_ns, kind, attempt, result, reason }: Explanation['tried'][number]): string => {
  const became = result === null ? 'is under way' : `${result}${reason === null ? '' : `: ${reason}`}`;
  return `    ${seconds(at_ns).padStart(12)} s  ${String(seq).padStart(7)}  ${kind} (attempt ${attempt}) ${became}`;
};

export const explanationText = (explanation: Explanation): string => {
  const { mac, mode, stage, datapath, because, meaning, members, facts, effects, history, findings } = explanation;
  const { tried, missing, todo } = explanation;
  const lines = [
    `${mac} is in stage ${stage}, datapath ${datapath}.`,
    `  ${meaning}`,
    `  Why: ${BECAUSE[because]} (${because})`,
    `  How it is switched: ${mode}, ${MODES[mode]}.`,
    ...members.map(({ role, text }) => `  ${role.padEnd(10)} ${text}`),
    ...(members.length === 0 ? ['  No member of it exists.'] : []),
    '  What holds:',
    ...facts.map(
      (fact) =>
        `    ${fact.padEnd(13)} ${mode === 'host' ? HOST_VIEW[fact as HostBit] : VIEW_BITS[fact as keyof typeof VIEW_BITS]}`,
    ),
    `  Effects: ${effects.state}${effects.under_way === null ? '' : `, ${effects.under_way}`}.`,
    ...(effects.hindrance === null ? [] : [`    Last: ${effects.hindrance}`]),
    ...(effects.owed.length === 0 ? [] : [`    Owed, until \`netkvm restore\`: ${effects.owed.join(', ')}`]),
    ...(effects.released ? ['    Given back, and left alone until a reload (SIGHUP) or a reboot.'] : []),
    ...(tried.length === 0 ? ['  Nothing was tried.'] : ['  What was tried:', ...tried.map(triedText)]),
    ...(missing.length === 0 ? [] : ['  What is missing until the primary carries:', ...missing.map((one) => `    ${one}`)]),
    '  How it came here:',
    ...history.map(
      (entry) =>
        `    ${seconds(entry.at_ns).padStart(12)} s  ${entry.stage.padEnd(15)} ${entry.datapath.padEnd(8)} ${entry.because}`,
    ),
  ];
  const [lasting, past] = [findings.filter(({ lasts }) => lasts), findings.filter(({ lasts }) => !lasts)];
  if (lasting.length > 0) lines.push('  What is wrong now:');
  for (const { severity, code, text, cause } of lasting) {
    lines.push(`    ${severity} ${code}: ${text}`, `      Cause: ${cause}`);
  }
  if (past.length > 0) lines.push('  What was seen before:');
  for (const { severity, code, text } of past) lines.push(`    ${severity} ${code}: ${text}`);
  if (findings.length === 0) lines.push('  Nothing is wrong.');
  if (todo.length > 0) lines.push('  What to do:', ...todo.map((one) => `    - ${one}`));
  return `${lines.map(plain).join('\n')}\n`;
};
