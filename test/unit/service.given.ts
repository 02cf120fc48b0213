// What tests of the service share: the command line as real processes, folders that go away, and a small outside world
// with a bond in it whose effects the test controls.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Observable, Subject } from 'rxjs';
import { openLog, openReader } from '../../src/adapters/log/sqlite.ts';
import { verifyLog } from '../../src/adapters/log/verify.ts';
import { type Ledger, type Outcome, type Platform, realTimer, type Sighting } from '../../src/adapters/platform.ts';
import type { Adapter, Address, Decision, EventType, Observation, Policy } from '../../src/events/catalogue.ts';
import type { Clocks, RecordedEvent } from '../../src/events/envelope.ts';
import { runCli } from '../../src/host/cli.ts';
import { loadConfig } from '../../src/host/config.ts';
import { type Lines, openLogger } from '../../src/host/lines.ts';
import { Service, type ServiceOptions } from '../../src/host/service.ts';
import { defaultPolicy } from '../../src/machines/policy.ts';
import { Story } from '../../src/machines/story.ts';
import { bonded, changed, gone, MAC } from '../given.ts';

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
export const NETKVM = fromRoot('src/host/netkvm.mjs');
export const MIGRATION = fromRoot('replay/recordings/raw/b-migration/guest.jsonl');

const isWindows = process.platform === 'win32';
/** The reason that a service gives that was stopped by `stop()`. */
export const STOPPED_BY = isWindows ? 'control socket' : 'SIGTERM';
/** Where a service answers whose log is in this folder. */
export const socketOf = (dir: string): string => loadConfig(null, { 'service.stateDir': dir }).settings.controlSocket;

const folders: string[] = [];
export const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), 'netkvm-test-'));
  folders.push(made);
  return made;
};
const ends: (() => Promise<void> | void)[] = [];

/** For afterEach: ends what a test left running, and removes its folders. */
export const cleanUp = async (): Promise<void> => {
  for (const end of ends.splice(0)) await end();
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
};

/** Processes start slowly under Wine. */
const LIMIT_MS = isWindows ? 60_000 : 10_000;
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const until = async (what: string, holds: () => boolean, limit_ms = LIMIT_MS): Promise<void> => {
  for (const end = performance.now() + limit_ms; !holds(); await pause(5))
    if (performance.now() > end) throw new Error(`not in time: ${what}`);
};

// Processes.

export interface Ended {
  readonly status: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}
export const ENV = { ...process.env, NODE_NO_WARNINGS: '1' };

/** One command to its end. */
export const netkvm = (...words: string[]): Promise<Ended> =>
  new Promise((resolve) => {
    execFile(process.execPath, [NETKVM, ...words], { env: ENV, timeout: 2 * LIMIT_MS }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : (error.code ?? null), stdout, stderr });
    });
  });

/** The same in this process, for what ends before anything begins: a hundred times faster. */
export const inProcess = async (...words: string[]): Promise<Ended> => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const status = await runCli(words, { stdin: process.stdin, stdout, stderr });
  return { status, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') };
};

type Line = { readonly event: string; readonly [field: string]: unknown };

/** A process that runs until it is told to stop; its standard output is JSON, a document a line. */
export class Running {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  stderr = '';
  readonly #ended: Promise<{ code: number | null; signal: string | null }>;
  readonly #words: readonly string[];

  /** `launcher` are words before the interpreter, such as `ip netns exec NAME`; they must exec. */
  constructor(words: readonly string[], launcher: readonly string[] = []) {
    this.#words = words;
    const [command = '', ...rest] = [...launcher, process.execPath, NETKVM, ...words];
    this.child = spawn(command, rest, { env: ENV, stdio: ['ignore', 'pipe', 'pipe'] });
    let torn = '';
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (torn + text).split('\n');
      torn = parts.pop() ?? '';
      for (const part of parts) this.lines.push(JSON.parse(part) as Line);
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })));
    ends.push(async () => {
      if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
      await this.#ended;
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }
  ended(): Promise<{ code: number | null; signal: string | null }> {
    return this.#ended;
  }
  all(event: string): Line[] {
    return this.lines.filter((line) => line.event === event);
  }
  async line(event: string, fits: (line: Line) => boolean = () => true, limit_ms = LIMIT_MS): Promise<Line> {
    const find = (): Line | undefined => this.lines.find((line) => line.event === event && fits(line));
    try {
      await until(`a line ${event}`, () => find() !== undefined || this.child.exitCode !== null, limit_ms);
      const found = find();
      if (found !== undefined) return found;
    } catch {
      // Below.
    }
    throw new Error(`no line ${event}; exit code ${this.child.exitCode}\n${JSON.stringify(this.lines)}\n${this.stderr}`);
  }
  /** Sends the signal; how the process ended, and after how long. Windows has no SIGTERM: there it is asked to stop. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<{ code: number | null; signal: string | null; ms: number }> {
    const from = performance.now();
    const dir = this.#words[this.#words.indexOf('--state-dir') + 1] ?? '';
    if (signal === 'SIGTERM' && isWindows) createConnection(socketOf(dir)).end('{"id":1,"request":"stop"}\n').resume();
    else this.child.kill(signal);
    const end = await this.#ended;
    return { ...end, ms: performance.now() - from };
  }
}

/** The service in the background, playing a recorded migration unless told otherwise. */
export const daemon = (dir: string, ...words: string[]): Running =>
  new Running(['run', '--state-dir', dir, '--platform', 'recording', '--recording', MIGRATION, '--speed', '0', ...words]);

// Logs.

export const eventsIn = (dir: string, ...types: EventType[]): RecordedEvent[] => {
  const reader = openReader(dir);
  const events = [...reader.read(reader.first())];
  reader.close();
  return types.length === 0 ? events : events.filter(({ type }) => types.includes(type));
};

/** What is wrong with a log: rules between events, and whether folding gives its decisions. `open` counts open decisions. */
export const verdictOn = (dir: string): object => {
  const reader = openReader(dir);
  const { problem, open, first, last } = verifyLog(reader);
  const story = new Story();
  for (const page of reader.fold(reader.first())) for (const event of page) story.tell(event);
  const holes = last - first + 1 - [...reader.read(reader.first())].length;
  reader.close();
  return { problem, open, holes, divergence: story.divergence };
};
export const SOUND = { problem: null, open: 0, holes: 0, divergence: null };

// A world in this process.

type Perform = (decision: Decision, signal: AbortSignal, ledger: Ledger) => Promise<Outcome>;
export const succeeded: Outcome = { result: 'succeeded', reason: null, observed: false };

const clocks = (): Clocks => {
  const mono_ns = process.hrtime.bigint().toString();
  return { mono_ns, boot_ns: mono_ns, wall_ns: (BigInt(Date.now()) * 1_000_000n).toString() };
};

/** An outside world with a bond, its standby and a primary that is not enslaved yet. */
export class World implements Platform {
  readonly name = 'world';
  readonly adapters = new Map<number, Adapter>();
  readonly performed: Decision[] = [];
  readonly signals: AbortSignal[] = [];
  readonly addresses: Address[] = [];
  perform: Perform;
  closing: () => Promise<void> = () => Promise.resolve();
  readonly #out = new Subject<Sighting>();
  readonly sightings = new Observable<Sighting>((subscriber) => {
    const subscription = this.#out.subscribe(subscriber);
    setImmediate(() => this.survey('started'));
    return subscription;
  });

  constructor(act?: Perform, adapters: readonly Adapter[] = Object.values(bonded)) {
    for (const one of adapters) this.adapters.set(one.ifindex, one);
    this.perform = (decision, signal, ledger) => {
      this.performed.push(decision);
      this.signals.push(signal);
      return (act ?? ((what) => this.obey(what)))(decision, signal, ledger);
    };
  }

  get kinds(): string[] {
    return this.performed.map(({ kind }) => kind);
  }
  now(): Clocks {
    return clocks();
  }
  after(delay_ms: number, act: () => void): () => void {
    return realTimer(delay_ms, act);
  }
  bootId(): string {
    return 'boot';
  }
  close(): Promise<void> {
    return this.closing();
  }
  survey(reason: string): void {
    const adapters = [...this.adapters.values()].map((one) => ({ ...one }));
    this.#out.next({
      at: clocks(),
      observations: [{ type: 'survey.taken', data: { reason, adapters, functions: [], addresses: [...this.addresses] } }],
    });
  }
  see(...observations: Observation[]): void {
    this.#out.next({ at: clocks(), observations });
  }
  fail(error: Error): void {
    this.#out.error(error);
  }
  change(ifindex: number, change: Partial<Adapter>): void {
    this.adapters.set(ifindex, { ...this.adapters.get(ifindex)!, ...change });
    this.see(changed(ifindex, change) as Observation);
  }
  remove(ifindex: number): void {
    this.adapters.delete(ifindex);
    this.see(gone(ifindex) as Observation);
  }

  /** Does what a kernel would do. */
  obey({ kind }: Decision): Promise<Outcome> {
    const active = { active: true, miiUp: true };
    const backup = { active: false, miiUp: true };
    if (kind === 'bindPrimary') this.change(4, { master: 9, up: true, carrier: true, slave: backup });
    if (kind === 'activatePrimary') {
      this.change(2, { slave: backup });
      this.change(4, { slave: active });
    }
    if (kind === 'activateStandby') {
      if (this.adapters.has(4)) this.change(4, { slave: backup });
      this.change(2, { slave: active });
    }
    return Promise.resolve(succeeded);
  }
}

export const ACTING: Policy = {
  ...defaultPolicy,
  effects: 'on',
  pairs: [{ mac: MAC }],
  retryDelay_ms: 10,
  effectLimit_ms: 100,
  retryLimit: 3,
};

export interface Started {
  readonly service: Service;
  readonly opened: ReturnType<typeof openLog>;
  /** Every log line, parsed. */
  readonly lines: Line[];
  readonly stage: () => string | undefined;
  readonly ended: (Error | null)[];
}

const IDENTITY = { bootId: 'boot', machineId: 'machine' };

/** A service on the log in `dir`, started. */
export const serve = async (dir: string, world: World, options: Partial<ServiceOptions> = {}): Promise<Started> => {
  const opened = openLog(dir, IDENTITY);
  const said: Line[] = [];
  const destination = (text: string): void => void said.push(JSON.parse(text) as Line);
  const lines: Lines = await openLogger({ level: 'debug', json: true, destination });
  const service = new Service({
    platform: world,
    opened,
    reopen: (distrust) => openLog(dir, IDENTITY, distrust),
    settings: { checkpointEvents: 20_000, retentionEvents: 1_000_000, retentionDays: 90 },
    policy: ACTING,
    lines,
    version: '0',
    host: {},
    ...options,
  });
  const ended: (Error | null)[] = [];
  service.start((error) => ended.push(error));
  ends.unshift(() => service.stop('cleaned up'));
  return { service, opened, lines: said, ended, stage: () => service.story.guest.pairs.get(MAC)?.shown.stage };
};
