// `netkvm host migrate`: the whole procedure over the control sockets of source and target. It only gives orders and looks;
// what is done, is done and recorded by the two agents. Whatever goes wrong, both are told to go back, also on Ctrl-C.
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Arguments, Io } from '../command.ts';
import { request } from '../control-client.ts';
import type { JsonObject } from '../control-lines.ts';
import type { HostedDocument } from '../hosting.ts';
import { interrupted } from '../interrupt.ts';

const LOOK_MS = 50;
/** How long a side may take to put everything back. */
const BACK_LIMIT_MS = 60_000;
/** How long the primary may take to be used again on the target, before the report says that it is not. */
const VERIFY_LIMIT_MS = 30_000;
const RESERVE_LIMIT_MS = 10_000;

/** How long an agent may take to be there again. */
const RESTART_LIMIT_MS = 15_000;

const isAway = (error: unknown): boolean => error instanceof NetkvmError && error.code === 'control.unreachable';
const refuse = (text: string): NetkvmError => new NetkvmError('command.refused', text);
const late = (text: string): NetkvmError => new NetkvmError('wait.timedOut', text);

/** One of the two agents, and the pair on its side. */
class Side {
  readonly name: 'source' | 'target';
  readonly #socket: string;
  readonly #mac: string;
  #isKnown = false;
  constructor(name: 'source' | 'target', socket: string, mac: string) {
    this.name = name;
    this.#socket = socket;
    this.#mac = mac;
  }

  async look(): Promise<HostedDocument & { readonly suggested: string; readonly effectsOn: boolean }> {
    const { pairs, episode, effects } = await this.#ask('hosted');
    const found = Array.isArray(pairs) ? (pairs as HostedDocument[]).find(({ mac }) => mac === this.#mac) : undefined;
    if (found === undefined) throw refuse(`the ${this.name} has no guest with the pair ${this.#mac}`);
    return { ...found, suggested: String(episode), effectsOn: effects === 'on' };
  }
  /** Asks an agent that may be started anew meanwhile: it goes on with what its log says. */
  async #ask(name: string, params: object = {}): Promise<JsonObject> {
    for (const end = performance.now() + RESTART_LIMIT_MS; ; await sleep(LOOK_MS)) {
      try {
        const answer = await request(this.#socket, name, params);
        this.#isKnown = true;
        return answer;
      } catch (error) {
        if (!isAway(error) || !this.#isKnown || performance.now() > end) throw error;
      }
    }
  }
  /** Where the agent died before it answered, its log says whether it was told: an order counts once. */
  async order(order: string, more: { readonly episode?: string; readonly uri?: string } = {}): Promise<void> {
    const params = { order, pair: this.#mac, by: 'netkvm host migrate', ...more };
    await request(this.#socket, 'order', params).catch(async (error: unknown) => {
      if (!isAway(error)) throw error;
      const { episode } = await this.look();
      if (more.episode === undefined || episode !== more.episode) await request(this.#socket, 'order', params);
    });
  }
  async progress(): Promise<JsonObject> {
    const { migration } = await this.#ask('progress', { pair: this.#mac });
    return typeof migration === 'object' && migration !== null ? (migration as JsonObject) : {};
  }
  /** Looks until `isThere`; null when that does not come in time. */
  async until(
    isThere: (pair: HostedDocument) => boolean,
    limit_ms: number,
    signal?: AbortSignal,
  ): Promise<HostedDocument | null> {
    for (const end = performance.now() + limit_ms; ; await sleep(LOOK_MS)) {
      signal?.throwIfAborted();
      const pair = await this.look();
      if (isThere(pair)) return pair;
      if (performance.now() > end) return null;
    }
  }
}

/** With its primary, or without it: also while one is on its way, right after another migration. */
const MAY_LEAVE: readonly string[] = ['present', 'absent', 'parked', 'hidden', 'returning'];

/** Why the guest cannot be migrated; checked before anything is touched. */
const hindranceOf = (source: Awaited<ReturnType<Side['look']>>, target: Awaited<ReturnType<Side['look']>>): string | null => {
  if (!source.effectsOn || !target.effectsOn) return `effects are not on at the ${source.effectsOn ? 'target' : 'source'}`;
  if (source.readOnly) return 'the source’s monitor is read-only';
  if (!MAY_LEAVE.includes(source.stage)) return `the source is in stage ${source.stage} (${source.because})`;
  if (source.order !== null) return 'another migration of this guest is under way';
  if (source.monitor?.running !== true) return 'the guest is paused: it could not let its primary go. Resume it first';
  if (target.stage !== 'awaited') return `the target’s QEMU does not wait for a guest: stage ${target.stage} (${target.because})`;
  if (target.port?.vf === null || target.port === null) return 'the target has no such VF';
  return null;
};

interface Report {
  readonly step: string;
  readonly at_ms: number;
  readonly [more: string]: unknown;
}

class Migration {
  readonly #source: Side;
  readonly #target: Side;
  readonly #say: (report: Report) => void;
  readonly #began = performance.now();
  readonly #signal: AbortSignal;
  readonly #limit_ms: number;
  /** What is to be undone if it goes wrong, the newest last. */
  readonly #undo: (() => Promise<void>)[] = [];

  constructor(source: Side, target: Side, limit_s: number, signal: AbortSignal, say: (report: Report) => void) {
    this.#source = source;
    this.#target = target;
    this.#limit_ms = limit_s * 1000;
    this.#signal = signal;
    this.#say = say;
  }

  #tell(step: string, more: object = {}): void {
    this.#say({ step, at_ms: Math.round(performance.now() - this.#began), ...more });
  }

  async run(uri: string, dryRun: boolean): Promise<number> {
    const [source, target] = await Promise.all([this.#source.look(), this.#target.look()]);
    const hindrance = hindranceOf(source, target);
    if (hindrance !== null) throw refuse(hindrance);
    const episode = source.suggested;
    this.#tell('checked', { episode, guest: source.guest?.stage ?? null, vf: target.port?.vf });
    if (dryRun) {
      const unplugs = source.monitor?.failover === true ? 'QEMU unplugs the primary' : 'the source unplugs the primary';
      const speaks = source.guest === null ? 'the guest is not told (no service answers)' : 'the guest moves its traffic';
      this.#tell('dry run', { plan: ['reserve the target’s VF', speaks, unplugs, 'park', `migrate to ${uri}`, 'verify'] });
      return EXIT.done;
    }
    try {
      await this.#reserve(episode);
      await this.#send(episode, uri);
    } catch (error) {
      await this.#back();
      throw error;
    }
    return this.#verify();
  }

  /** The VF on the target is as it must be before the guest arrives. */
  async #reserve(episode: string): Promise<void> {
    this.#undo.push(() => this.#released());
    await this.#target.order('reserve', { episode });
    const ready = await this.#target.until((pair) => pair.isReady, RESERVE_LIMIT_MS, this.#signal);
    if (ready === null)
      throw late(`the target is not ready for the guest: ${(await this.#target.look()).hindrance ?? 'no reason known'}`);
    this.#tell('reserved');
  }

  async #send(episode: string, uri: string): Promise<void> {
    this.#undo.push(() => this.#cancelled());
    await this.#source.order('migrate', { episode, uri });
    let last = '';
    const isOver = ({ stage, because, answer, order, monitor }: HostedDocument): boolean => {
      const now = `${stage} ${because}${answer === null ? '' : ` guest ${answer}`}`;
      if (now !== last) this.#tell('source', { stage, because, guest: answer });
      last = now;
      // Completed, and the guest still stops here.
      return stage === 'departed' || (order === null && monitor?.migration !== 'completed');
    };
    const end = await this.#source.until(isOver, this.#limit_ms, this.#signal);
    if (end === null) throw late(`the guest has not migrated after ${this.#limit_ms / 1000} s: ${last}`);
    if (end.stage !== 'departed') {
      const { status, 'error-desc': why } = await this.#source.progress();
      const known = [why, end.hindrance, status].find((one) => typeof one === 'string');
      throw refuse(`the migration was not done: ${known ?? 'no reason known'}`);
    }
    const { downtime, 'total-time': total } = await this.#source.progress();
    this.#tell('migrated', { downtime_ms: downtime, total_ms: total });
  }

  /** The guest runs on the target. That its primary is in use there may take a while, or not come at all: that is said. */
  async #verify(): Promise<number> {
    const runs = await this.#target.until(({ monitor }) => monitor?.running === true, BACK_LIMIT_MS);
    if (runs === null) throw late('the guest does not run on the target');
    const isUsed = ({ stage, mac, guest, hasChannel }: HostedDocument): boolean =>
      stage === 'present' && (!hasChannel || guest === null ? true : guest.primary === mac && guest.datapath === 'primary');
    const used = await this.#target.until(isUsed, VERIFY_LIMIT_MS);
    const { stage, because, guest, owed } = used ?? (await this.#target.look());
    this.#tell('verified', {
      stage,
      because,
      guest: guest?.datapath ?? null,
      findings: guest?.findings ?? [],
      owed,
      complete: used !== null,
    });
    return used === null ? EXIT.degraded : EXIT.done;
  }

  async #cancelled(): Promise<void> {
    await this.#source.order('cancel');
    const rests = ['present', 'absent', 'unwatched'];
    const back = await this.#source.until(
      ({ stage, pending, order }) => rests.includes(stage) && pending === null && order === null,
      BACK_LIMIT_MS,
    );
    this.#tell('source is back', { complete: back !== null, stage: (back ?? (await this.#source.look())).stage });
  }
  async #released(): Promise<void> {
    // Whatever went wrong came later: the guest is there, and needs its VF.
    if ((await this.#target.look()).monitor?.running === true) return;
    await this.#target.order('restore');
    const back = await this.#target.until(({ owed }) => owed.length === 0, RESERVE_LIMIT_MS);
    this.#tell('target is back', { complete: back !== null });
  }

  async #back(): Promise<void> {
    for (const undo of this.#undo.toReversed()) {
      await undo().catch((error: unknown) =>
        this.#tell('not undone', { reason: error instanceof Error ? error.message : String(error) }),
      );
    }
  }
}

const textOf = ({ step, at_ms, ...more }: Report): string =>
  `${String(at_ms).padStart(7)} ms  ${step.padEnd(14)} ${Object.entries(more)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ')}\n`;

export const migrate = async (args: Arguments, io: Io): Promise<number> => {
  const [source, target, pair, uri] = ['source', 'target', 'pair', 'uri'].map((name) => {
    const text = args.text(name);
    if (text === undefined) throw new NetkvmError('usage.command', `netkvm host migrate needs --${name}`);
    return text;
  }) as [string, string, string, string];
  const asJson = args.flag('json');
  const say = (report: Report): void =>
    void io.stdout.write(asJson ? `${JSON.stringify({ schemaVersion: 1, ...report })}\n` : textOf(report));
  const signal = interrupted();
  const migration = new Migration(
    new Side('source', source, pair),
    new Side('target', target, pair),
    args.number('timeout') ?? 600,
    signal,
    say,
  );
  try {
    return await migration.run(uri, args.flag('dry-run'));
  } catch (error) {
    if (signal.aborted && !(error instanceof NetkvmError)) throw refuse('interrupted; both sides were put back');
    throw error;
  }
};
