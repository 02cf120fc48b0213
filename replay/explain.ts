// One pair in words. Everything said here is taken from the story: the facts as folded, the meanings as listed with the
// chart and the reasons; nothing is guessed.
import { pairChart } from '../src/machines/chart.ts';
import type { Entry } from '../src/machines/history.ts';
import type { PairState } from '../src/machines/pair.ts';
import { BECAUSE, type Because, FINDINGS, type FindingCode, type Severity } from '../src/machines/reasons.ts';
import type { Arrived, Mode } from '../src/machines/roles.ts';
import type { Story } from '../src/machines/story.ts';
import { factsOf, VIEW_BITS } from '../src/machines/view.ts';

export interface Explanation {
  readonly mac: string;
  readonly mode: Mode;
  readonly stage: string;
  readonly datapath: string;
  readonly because: Because;
  /** What the stage means, for an operator. */
  readonly meaning: string;
  readonly members: readonly { readonly role: string; readonly text: string }[];
  /** The facts that hold, as the chart sees them. */
  readonly facts: readonly string[];
  readonly effects: { readonly state: string; readonly under_way: string | null };
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

const MODES: Readonly<Record<Mode, string>> = {
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

export const explainPair = (pair: PairState, story: Story): Explanation => {
  const { standby, master, primary, surplus } = pair.roles;
  const members = [
    ...(standby === null ? [] : [{ role: 'standby', text: memberText(standby) }]),
    ...(master === null ? [] : [{ role: 'master', text: memberText(master) }]),
    ...(primary === null ? [] : [{ role: 'primary', text: memberText(primary) }]),
    ...surplus.map((adapter) => ({ role: 'left alone', text: memberText(adapter) })),
  ];
  const findings = story.findings.list(story.end).filter(({ mac }) => mac === null || mac === pair.mac);
  return {
    mac: pair.mac,
    mode: pair.mode,
    ...pair.shown,
    meaning: meaningOf(pair),
    members,
    facts: factsOf(pair.bits),
    effects: {
      state: pair.configuration.effects,
      under_way: pair.pending && `${pair.pending.kind} (${pair.pending.id}, attempt ${pair.pending.attempt})`,
    },
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

const seconds = (ns: string): string => (Number(ns) / 1e9).toFixed(3);

export const explanationText = (explanation: Explanation): string => {
  const { mac, mode, stage, datapath, because, meaning, members, facts, effects, history, findings } = explanation;
  const lines = [
    `${mac} is in stage ${stage}, datapath ${datapath}.`,
    `  ${meaning}`,
    `  Why: ${BECAUSE[because]} (${because})`,
    `  How it is switched: ${mode}, ${MODES[mode]}.`,
    ...members.map(({ role, text }) => `  ${role.padEnd(10)} ${text}`),
    ...(members.length === 0 ? ['  No member of it exists.'] : []),
    '  What holds:',
    ...facts.map((fact) => `    ${fact.padEnd(13)} ${VIEW_BITS[fact as keyof typeof VIEW_BITS]}`),
    `  Effects: ${effects.state}${effects.under_way === null ? '' : `, ${effects.under_way}`}.`,
    '  How it came here:',
    ...history.map(
      (entry) =>
        `    ${seconds(entry.at_ns).padStart(12)} s  ${entry.stage.padEnd(15)} ${entry.datapath.padEnd(8)} ${entry.because}`,
    ),
  ];
  const [lasting, past] = [findings.filter(({ lasts }) => lasts), findings.filter(({ lasts }) => !lasts)];
  if (lasting.length > 0) lines.push('  What is wrong now:');
  for (const { severity, code, text, cause, cure } of lasting) {
    lines.push(`    ${severity} ${code}: ${text}`, `      Cause: ${cause}`, `      To do: ${cure}`);
  }
  if (past.length > 0) lines.push('  What was seen before:');
  for (const { severity, code, text } of past) lines.push(`    ${severity} ${code}: ${text}`);
  if (findings.length === 0) lines.push('  Nothing is wrong.');
  return `${lines.join('\n')}\n`;
};
