// The one file that owns the log lines: which there are, their level, their field names, and how each reads. As JSON they go
// through pino (loaded only then); on a terminal they are plain text, one line each:
//
//   12:34:56.789 52:54:00:11:22:33 fallback   standby  primary.absent  No primary with the pair's MAC exists.
//
// The journal gets the plain text with the priority in front instead of the time, which it knows itself, sd-daemon(3).
// The field names are an interface: add some, rename none.
import type { Decision, EventData } from '../events/catalogue.ts';
import { fstatSync } from 'node:fs';
import { BECAUSE, type Because, type Severity } from '../machines/reasons.ts';
import { lineWriter } from './line-writer.ts';
import { LOG_LEVELS, type LogLevel } from './settings.ts';

export type Level = Exclude<LogLevel, 'silent'>;

export interface Transition {
  readonly mac: string;
  readonly mode: string;
  readonly stage: string;
  readonly datapath: string;
  readonly because: Because;
  /** Guest's monotonic clock. */
  readonly at_ns: string;
  readonly seq: number;
  readonly previous: { readonly stage: string; readonly datapath: string } | null;
}

/** What each line is given; the first word of a readable line is the pair's MAC or `service`. */
export interface LineFields {
  started: {
    version: string;
    node: string;
    pid: number;
    platform: string;
    effects: string;
    stateDir: string;
    config: string | null;
  };
  watching: { adapters: number; pairs: number; after_ms: number; log: string; head: number };
  transition: Transition;
  finding: { mac: string | null; code: string; severity: Severity; seq: number; until_seq: number | null; text: string };
  /** `what` is the decision in words, `plan` its details. */
  decision: Pick<Decision, 'id' | 'pair' | 'kind' | 'mode' | 'attempt'> & { seq: number; what: string };
  outcome: EventData<'outcome.seen'> & { seq: number };
  gap: { source: string; reason: string; seq: number };
  clockJumped: EventData<'clock.jumped'> & { seq: number };
  /** The log cannot be written: memory takes over. */
  outage: { reason: string };
  outageEnded: { events: number; lost: number; after_ms: number };
  /** A part of the service does not work, the rest goes on. */
  degraded: { part: string; reason: string };
  recovered: { part: string };
  /** A damaged log was moved out of the way. */
  setAside: { path: string; to: string; reason: string };
  pruned: { events: number; first: number };
  reloaded: { config: string | null; changed: readonly string[] };
  reloadRefused: { reason: string };
  controlDropped: { reason: string };
  fault: { text: string };
  stopped: { reason: string; events: number; after_ms: number };
}
export type LineName = keyof LineFields;

interface LineKind<F> {
  readonly level: Level | ((fields: F) => Level);
  readonly text: (fields: F) => string;
  readonly mac?: (fields: F) => string | null;
}

const BY_SEVERITY: { readonly [K in Severity]: Level } = { info: 'info', warning: 'warn', error: 'error' };
const was = (previous: Transition['previous']): string =>
  previous === null ? '' : ` (was ${previous.stage}, ${previous.datapath})`;

const LINES: { readonly [K in LineName]: LineKind<LineFields[K]> } = {
  started: {
    level: 'info',
    text: ({ version, node, pid, platform, effects, config }) =>
      `started    version ${version}, Node ${node}, pid ${pid}, platform ${platform}, effects ${effects}, configuration ${config ?? 'none'}`,
  },
  watching: {
    level: 'info',
    text: ({ adapters, pairs, after_ms, log, head }) =>
      `watching   ${adapters} adapters, ${pairs} pairs, after ${Math.round(after_ms)} ms; log ${log} at ${head}`,
  },
  transition: {
    level: 'info',
    mac: ({ mac }) => mac,
    text: ({ stage, datapath, because, previous }) =>
      `${stage.padEnd(15)} ${datapath.padEnd(8)} ${because.padEnd(19)} ${BECAUSE[because]}${was(previous)}`,
  },
  finding: {
    level: ({ severity }) => BY_SEVERITY[severity],
    mac: ({ mac }) => mac,
    text: ({ severity, code, text }) => `finding    ${severity} ${code}: ${text}`,
  },
  decision: {
    level: 'info',
    mac: ({ pair }) => pair,
    text: ({ id, kind, attempt, mode, what }) => `decision   ${kind} (${id}, ${mode}, attempt ${attempt}): ${what}`,
  },
  outcome: {
    level: ({ result }) => (result === 'failed' || result === 'refused' ? 'warn' : 'info'),
    mac: ({ pair }) => pair,
    text: ({ decision, result, reason, observed }) =>
      `outcome    ${decision} ${result}${observed ? ', observed' : ''}${reason === null ? '' : `: ${reason}`}`,
  },
  gap: { level: 'warn', text: ({ source, reason }) => `gap        ${source}: ${reason}; everything is read anew` },
  clockJumped: { level: 'info', text: ({ kind, delta_ns }) => `clock      ${kind}, by ${Number(delta_ns) / 1e9} s` },
  outage: { level: 'error', text: ({ reason }) => `outage     the log cannot be written, memory takes over: ${reason}` },
  outageEnded: {
    level: 'warn',
    text: ({ events, lost, after_ms }) =>
      `outage     over after ${Math.round(after_ms)} ms: ${events} events written late, ${lost} lost`,
  },
  degraded: { level: 'warn', text: ({ part, reason }) => `degraded   ${part}: ${reason}` },
  recovered: { level: 'info', text: ({ part }) => `recovered  ${part}` },
  setAside: { level: 'error', text: ({ path, to, reason }) => `set aside  ${path} is now ${to}: ${reason}` },
  pruned: { level: 'info', text: ({ events, first }) => `pruned     ${events} events; the log begins at ${first}` },
  reloaded: {
    level: 'info',
    text: ({ config, changed }) =>
      `reloaded   ${config ?? 'no file'}: ${changed.length === 0 ? 'nothing changed' : changed.join(', ')}`,
  },
  reloadRefused: { level: 'error', text: ({ reason }) => `reload     refused, the old configuration holds: ${reason}` },
  controlDropped: { level: 'debug', text: ({ reason }) => `control    dropped a client: ${reason}` },
  fault: { level: 'error', text: ({ text }) => `fault      ${text}` },
  stopped: {
    level: 'info',
    text: ({ reason, events, after_ms }) => `stopped    ${reason}, ${events} events recorded in ${Math.round(after_ms / 1000)} s`,
  },
};
export const LINE_NAMES = Object.keys(LINES) as readonly LineName[];

/** One function a line. */
export type Lines = { readonly [K in LineName]: (fields: LineFields[K]) => void } & {
  /** Lines that were dropped because nobody read them. */
  readonly lost: () => number;
};

export interface LoggerOptions {
  readonly level: LogLevel;
  /** JSON instead of readable lines; unless given, JSON when the destination is neither a terminal nor the journal. */
  readonly json?: boolean;
  /** `device:inode` of the journal's stream, systemd.exec(5); $JOURNAL_STREAM unless given. */
  readonly journal?: string | undefined;
  /** File descriptor, 1 unless given; or, for tests, a function. */
  readonly destination?: number | ((text: string) => void);
  readonly now?: () => Date;
  /** Is told every line of level `info` or above, too: the event log of Windows. */
  readonly also?: (name: LineName, level: Level, text: string) => void;
}

/** Names of interfaces and texts of the system may hold anything: no control character reaches a terminal. */
const harmless = (text: string): string =>
  text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => `\\x${character.codePointAt(0)!.toString(16).padStart(2, '0')}`);

const clockOf = (date: Date): string =>
  [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':') +
  `.${String(date.getMilliseconds()).padStart(3, '0')}`;

/** What writes one line of either form. */
type Write = (level: Level, mac: string | null, name: LineName, fields: object, text: string) => void;

/** Priorities of syslog(3). */
const PRIORITY: { readonly [K in Level]: number } = { fatal: 2, error: 3, warn: 4, info: 6, debug: 7, trace: 7 };

/** Makes a readable line out of level, MAC and text. */
type Form = (level: Level, mac: string | null, text: string) => string;

const body = (mac: string | null, text: string): string => `${(mac ?? 'service').padEnd(17)} ${harmless(text)}\n`;
const terminalForm =
  (now: () => Date): Form =>
  (_level, mac, text) =>
    `${clockOf(now())} ${body(mac, text)}`;
const journalForm: Form = (level, mac, text) => `<${PRIORITY[level]}>${body(mac, text)}`;

const openReadable = (level: LogLevel, put: (text: string) => void, form: Form): Write => {
  const shown = LOG_LEVELS.slice(0, LOG_LEVELS.indexOf(level) + 1) as readonly LogLevel[];
  return (lineLevel, mac, _name, _fields, text) => {
    if (level !== 'silent' && shown.includes(lineLevel)) put(form(lineLevel, mac, text));
  };
};

/** Whether what is written there reaches the journal: a redirection inherits the variable, but not the stream. */
const isJournal = (destination: number, stream: string | undefined): boolean => {
  if (!stream) return false;
  const { dev, ino } = fstatSync(destination);
  return stream === `${dev}:${ino}`;
};

const openJson = async (level: LogLevel, put: (text: string) => void, now: () => Date): Promise<Write> => {
  const { pino } = await import('pino');
  const logger = pino(
    {
      level,
      // Neither pid nor host name in every line: `started` says them once.
      base: null,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${now().toISOString()}"`,
    },
    { write: put },
  );
  return (lineLevel, _mac, name, fields, text) => logger[lineLevel]({ event: name, ...fields }, text.replaceAll(/ {2,}/g, ' '));
};

/** Opens the lines. Writing is synchronous and never throws; see line-writer.ts for readers that do not read. */
export const openLogger = async (options: LoggerOptions): Promise<Lines> => {
  const { level, destination = 1, now = () => new Date() } = options;
  const isTerminal = destination === 1 ? process.stdout.isTTY : destination === 2 ? process.stderr.isTTY : false;
  const { journal = process.env['JOURNAL_STREAM'] } = options;
  const toJournal = typeof destination === 'number' && isJournal(destination, journal);
  const json = options.json ?? !(isTerminal || toJournal);
  const form = toJournal ? journalForm : terminalForm(now);
  const lostLine = (lines: number): string =>
    json
      ? `${JSON.stringify({ level: 'warn', time: now().toISOString(), event: 'linesLost', lines })}\n`
      : form('warn', null, `${lines} lines were lost: nobody read them`);
  const writer = typeof destination === 'number' ? lineWriter(destination, lostLine) : { write: destination, lost: () => 0 };
  const write = await (json ? openJson(level, writer.write, now) : openReadable(level, writer.write, form));
  const lineOf = <K extends LineName>(name: K): ((fields: LineFields[K]) => void) => {
    const kind = LINES[name];
    return (fields) => {
      const lineLevel = typeof kind.level === 'function' ? kind.level(fields) : kind.level;
      const [mac, text] = [kind.mac?.(fields) ?? null, kind.text(fields)];
      write(lineLevel, mac, name, fields, text);
      if (lineLevel !== 'debug' && lineLevel !== 'trace')
        options.also?.(name, lineLevel, `${mac ?? 'service'} ${harmless(text)}`);
    };
  };
  const all = Object.fromEntries(LINE_NAMES.map((name) => [name, lineOf(name)])) as {
    readonly [K in LineName]: (fields: LineFields[K]) => void;
  };
  return { ...all, lost: writer.lost };
};
