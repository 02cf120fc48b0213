// Two tellings of one thing side by side: the same log by another policy, or two logs of one migration. Where they part first,
// which decisions changed, how long each state lasted in either. In words and as one document, whose shape is a promise.
import type { DecisionKind } from '../src/events/catalogue.ts';
import type { Entry, Place } from '../src/machines/history.ts';
import { BECAUSE } from '../src/machines/reasons.ts';
import type { Story } from '../src/machines/story.ts';
import type { Deviation } from './otherwise.ts';

export interface StateDuration {
  readonly stage: string;
  readonly datapath: string;
  readonly one_ns: string;
  readonly other_ns: string;
}

export interface PairDifference {
  readonly mac: string;
  /** Until where the other telling is certain; null: to the end. */
  readonly certain_until: Place | null;
  /** The first state that is another, or begins at another time. */
  readonly first: { readonly one: Entry | null; readonly other: Entry | null; readonly text: string } | null;
  readonly decisions: readonly DecisionDifference[];
  /** States of which one telling has more time than the other. */
  readonly durations: readonly StateDuration[];
}
export interface DecisionDifference {
  readonly change: Deviation['change'];
  readonly kind: DecisionKind;
  readonly one: Place | null;
  readonly other: Place | null;
  /** Positive: later in the other telling. */
  readonly difference_ns: string | null;
  readonly text: string;
}

export interface Comparison {
  readonly schemaVersion: 1;
  readonly one: string;
  readonly other: string;
  readonly same: boolean;
  /** Parameters of the policy that were changed, with what the log had. */
  readonly policy: readonly { readonly key: string; readonly one: unknown; readonly other: unknown }[];
  readonly pairs: readonly PairDifference[];
}

/** Times that differ by less are the same: two services read the same message at different microseconds. */
const SAME_NS = 1_000_000;

const seconds = (ns: number): string =>
  Math.abs(ns) >= 1e9 ? `${(Math.abs(ns) / 1e9).toFixed(1)} s` : `${(Math.abs(ns) / 1e6).toFixed(1)} ms`;

/** What goes on while a decision is not made yet. */
const MEANWHILE: Readonly<Partial<Record<DecisionKind, string>>> = {
  releaseLink: 'the standby would have stayed down',
  holdLink: 'the standby’s link would have stayed up',
  bindPrimary: 'the primary would have stayed unbound',
  unbindPrimary: 'the primary would have stayed bound',
  activatePrimary: 'traffic would have stayed on the standby',
  activateStandby: 'traffic would have stayed on the primary',
};

export const deviationText = ({ change, recorded, made }: Deviation): string => {
  const difference = recorded === null || made === null ? 0 : Number(made.at.at_ns) - Number(recorded.at.at_ns);
  const meanwhile = recorded === null ? undefined : MEANWHILE[recorded.kind];
  switch (change) {
    case 'later':
    case 'earlier': {
      const how = change === 'later' ? 'longer' : 'less long';
      const felt = meanwhile === undefined ? '' : `: ${meanwhile} ${seconds(difference)} ${how}`;
      return `${recorded?.kind} would have been decided ${seconds(difference)} ${change}${felt}`;
    }
    case 'instead':
      return `${made?.kind} would have been decided instead of ${recorded?.kind}`;
    case 'new':
      return `${made?.kind} would have been decided, which was not; what would have come of it was never recorded`;
    case 'never':
      return `${recorded?.kind} would not have been decided, as far as the facts before it say; what followed from it says nothing of a world without it`;
  }
};

const decisionOf = (deviation: Deviation): DecisionDifference => {
  const { change, recorded, made } = deviation;
  const [one, other] = [recorded?.at ?? null, made?.at ?? null];
  const difference_ns = one === null || other === null ? null : (BigInt(other.at_ns) - BigInt(one.at_ns)).toString();
  const kind = (recorded ?? made)?.kind as DecisionKind;
  return { change, kind, one, other, difference_ns, text: deviationText(deviation) };
};

interface Line {
  readonly entries: readonly Entry[];
  /** Where the telling ends. */
  readonly end_ns: number;
  /** What its times are told from. */
  readonly zero_ns: number;
}

const isSameState = (one: Entry, other: Entry): boolean => one.stage === other.stage && one.datapath === other.datapath;
const since = ({ zero_ns }: Line, { at_ns }: Entry): number => Number(at_ns) - zero_ns;

const stateText = ({ stage, datapath, because }: Entry): string =>
  `${stage} over ${datapath} (${BECAUSE[because].replace(/\.$/, '')})`;

const firstDifference = (one: Line, other: Line): PairDifference['first'] => {
  const count = Math.max(one.entries.length, other.entries.length);
  for (let index = 0; index < count; index += 1) {
    const [mine, theirs] = [one.entries[index] ?? null, other.entries[index] ?? null];
    if (mine !== null && theirs !== null && isSameState(mine, theirs)) {
      const late = since(other, theirs) - since(one, mine);
      if (Math.abs(late) < SAME_NS) continue;
      const text = `${stateText(mine)} would have begun ${seconds(late)} ${late > 0 ? 'later' : 'earlier'}`;
      return { one: mine, other: theirs, text };
    }
    const text =
      mine === null && theirs !== null
        ? `${stateText(theirs)} would have followed, where nothing did`
        : mine !== null && theirs === null
          ? `${stateText(mine)} would not have come`
          : `${stateText(theirs as Entry)} instead of ${stateText(mine as Entry)}`;
    return { one: mine, other: theirs, text };
  }
  return null;
};

const durationsOf = ({ entries, end_ns }: Line): Map<string, { stage: string; datapath: string; ns: number }> => {
  const sums = new Map<string, { stage: string; datapath: string; ns: number }>();
  for (const [index, { stage, datapath, at_ns }] of entries.entries()) {
    const until = Math.min(end_ns, Number(entries[index + 1]?.at_ns ?? end_ns));
    const known = sums.get(`${stage} ${datapath}`) ?? { stage, datapath, ns: 0 };
    known.ns += Math.max(0, until - Number(at_ns));
    sums.set(`${stage} ${datapath}`, known);
  }
  return sums;
};

const durationDifferences = (one: Line, other: Line): StateDuration[] => {
  const [mine, theirs] = [durationsOf(one), durationsOf(other)];
  return [...new Set([...mine.keys(), ...theirs.keys()])].flatMap((key) => {
    const [a, b] = [mine.get(key)?.ns ?? 0, theirs.get(key)?.ns ?? 0];
    const { stage, datapath } = (mine.get(key) ?? theirs.get(key)) as { stage: string; datapath: string };
    return Math.abs(a - b) < SAME_NS ? [] : [{ stage, datapath, one_ns: String(Math.round(a)), other_ns: String(Math.round(b)) }];
  });
};

const lineOf = (story: Story, mac: string, until: Place | null, isOwnZero: boolean): Line => {
  const end_ns = Number(until?.at_ns ?? story.end.at_ns);
  const entries = story.history.of(mac).filter(({ at_ns }) => until === null || Number(at_ns) < end_ns);
  return { entries, end_ns, zero_ns: isOwnZero ? Number(entries[0]?.at_ns ?? 0) : 0 };
};

/** The same log by another policy. A recorded telling is `one`. */
export const comparePair = (mac: string, one: Story, other: Story, deviation: Deviation | null): PairDifference => {
  const at = deviation === null ? null : [deviation.recorded?.at, deviation.made?.at].filter((place) => place !== undefined);
  const until = at?.toSorted((a, b) => Number(a.at_ns) - Number(b.at_ns))[0] ?? null;
  const [mine, theirs] = [lineOf(one, mac, until, false), lineOf(other, mac, until, false)];
  return {
    mac,
    certain_until: until,
    first: firstDifference(mine, theirs),
    decisions: deviation === null ? [] : [decisionOf(deviation)],
    durations: durationDifferences(mine, theirs),
  };
};

/** Two logs, each with its own clock: times are told from a pair's first state. */
export const compareLogs = (mac: string, one: Story, other: Story): PairDifference => {
  const [mine, theirs] = [lineOf(one, mac, null, true), lineOf(other, mac, null, true)];
  return {
    mac,
    certain_until: null,
    first: firstDifference(mine, theirs),
    decisions: decisionDifferences(mac, one, other, mine, theirs),
    durations: durationDifferences(mine, theirs),
  };
};

const decisionDifferences = (mac: string, one: Story, other: Story, mine: Line, theirs: Line): DecisionDifference[] => {
  const of = (story: Story, { zero_ns }: Line) =>
    story.tried.list(mac).map(({ decision: { kind }, at }) => ({ kind, at, since: Number(at.at_ns) - zero_ns }));
  const [a, b] = [of(one, mine), of(other, theirs)];
  const out: DecisionDifference[] = [];
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const [left, right] = [a[index], b[index]];
    if (left !== undefined && right !== undefined && left.kind === right.kind) {
      const late = right.since - left.since;
      if (Math.abs(late) < SAME_NS) continue;
      const change = late > 0 ? 'later' : 'earlier';
      out.push({
        change,
        kind: left.kind,
        one: left.at,
        other: right.at,
        difference_ns: String(Math.round(late)),
        text: `${left.kind} was decided ${seconds(late)} ${change}`,
      });
      continue;
    }
    // From the first that is another on, one by one says nothing any more.
    const text = `${right === undefined ? 'nothing' : right.kind} was decided instead of ${left === undefined ? 'nothing' : left.kind}`;
    const change = left === undefined ? 'new' : right === undefined ? 'never' : 'instead';
    out.push({
      change,
      kind: (left ?? right)?.kind as DecisionKind,
      one: left?.at ?? null,
      other: right?.at ?? null,
      difference_ns: null,
      text,
    });
    break;
  }
  return out;
};

export const isSame = ({ first, decisions, durations }: PairDifference): boolean =>
  first === null && decisions.length === 0 && durations.length === 0;

const at = (place: { readonly at_ns: string; readonly seq: number } | null): string =>
  place === null ? 'nowhere' : `${(Number(place.at_ns) / 1e9).toFixed(3)} s (event ${place.seq})`;

export const comparisonText = ({ one, other, same, policy, pairs }: Comparison): string => {
  const lines = [`${one}, compared with ${other}`];
  for (const { key, one: was, other: is } of policy)
    lines.push(`  ${key}: ${JSON.stringify(was)} in the log, ${JSON.stringify(is)} in the other`);
  if (same) lines.push('No difference: the same states at the same times, and the same decisions.');
  for (const { mac, certain_until, first, decisions, durations } of pairs.filter((pair) => !isSame(pair))) {
    lines.push('', mac);
    if (first !== null) lines.push(`  First difference at ${at(first.one ?? first.other)}: ${first.text}`);
    for (const { one: was, other: is, text } of decisions) lines.push(`  Decision at ${at(was ?? is)}: ${text}`);
    for (const { stage, datapath, one_ns, other_ns } of durations)
      lines.push(`  ${stage} over ${datapath}: ${seconds(Number(other_ns))} instead of ${seconds(Number(one_ns))}`);
    if (certain_until !== null)
      lines.push(
        `  Nothing is said of what comes after ${at(certain_until)}: the log’s facts there may follow from what was decided.`,
      );
  }
  return `${lines.join('\n').replaceAll(/[^\P{C}\n]+/gu, ' ')}\n`;
};
