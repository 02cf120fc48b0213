// Linux as a platform: hears the kernel's messages, and tells what changed. One turn reads what has arrived, up to a
// bound, and gives one sighting; the rest waits in the kernel's buffer. When that overflows, the kernel says so, the gap is
// reported, and a survey follows. Observing needs no privileges; what acts is in effects/.
import { readFileSync } from 'node:fs';
import { Observable, Subject } from 'rxjs';
import type { Decision, Observation } from '../../events/catalogue.ts';
import type { Clocks } from '../../events/envelope.ts';
import { type Ledger, type Outcome, type Platform, realTimer, type Sighting } from '../platform.ts';
import type { RawMessage } from './capture-writer.ts';
import { ClockWatch, readClocks } from './clocks.ts';
import { LinuxEffects } from './effects/effects.ts';
import { deviceInSlot, KernelLog } from './kernel-log.ts';
import { NetlinkSockets, RECEIVE_BUFFER_BYTES } from './netlink.ts';
import { Observer, type Source } from './observer.ts';
import { Surveyor, SURVEY_INTERVAL_MS } from './surveyor.ts';
import { readInventory } from './sysfs.ts';

export interface LinuxOptions {
  readonly receiveBuffer_bytes?: number;
  readonly surveyInterval_ms?: number;
  /** Where sysfs is mounted. */
  readonly sysfs?: string;
  /** The kernel's log, read for early signs. */
  readonly kernelLog?: string;
}

/** Datagrams a turn reads of each socket before others get a turn. */
const TURN_LIMIT = 256;
/** What may be held back until the first survey, which must be the first thing that a subscriber sees. */
const EARLY_LIMIT = 256;
const TICK_MS = 1000;
const SOURCES: readonly Source[] = ['uevent', 'rtnetlink'];

const now_ms = (): number => Math.floor(performance.now());
const isSurvey = ({ type }: Observation): boolean => type === 'survey.taken';
/** What a survey does not repeat, and must not be lost while the first one is made. */
const outlivesSurvey = ({ type }: Observation): boolean =>
  type === 'announce.seen' || type === 'gap.seen' || type === 'departure.signalled' || type === 'clock.jumped';

export class LinuxPlatform implements Platform {
  readonly name = 'linux';
  /** Hot; the first subscription starts it. Each subscriber sees a survey first. */
  readonly sightings: Observable<Sighting>;
  /** Every datagram as received, dump replies and receive errors included, before anything is decoded. */
  readonly datagrams: Observable<RawMessage>;
  readonly #out = new Subject<Sighting>();
  readonly #raw = new Subject<RawMessage>();
  readonly #sockets: NetlinkSockets;
  readonly #observer = new Observer();
  readonly #effects = new LinuxEffects((ifindex) => this.#observer.adapter(ifindex));
  readonly #surveyor: Surveyor;
  readonly #clocks = new ClockWatch();
  readonly #sysfs: string;
  readonly #kernelLog: KernelLog | null;
  #early: Observation[] | null = [];
  #started = false;
  #closing: (() => void) | null = null;
  #closed: Promise<void> | null = null;
  #bootId: string | null = null;
  #turns = 0;

  /** Throws `platform.netlink` if the kernel refuses a socket. */
  constructor({
    receiveBuffer_bytes = RECEIVE_BUFFER_BYTES,
    surveyInterval_ms = SURVEY_INTERVAL_MS,
    sysfs = '/sys',
    kernelLog = '/dev/kmsg',
  }: LinuxOptions = {}) {
    this.#sockets = new NetlinkSockets(receiveBuffer_bytes);
    this.#surveyor = new Surveyor(this.#sockets, this.#observer, (adapters) => readInventory(adapters, sysfs), surveyInterval_ms);
    this.#sysfs = sysfs;
    this.#kernelLog = KernelLog.open(kernelLog);
    if (this.#kernelLog !== null) this.#sockets.watch(this.#kernelLog.fd);
    this.datagrams = this.#raw.asObservable();
    this.sightings = new Observable<Sighting>((subscriber) => {
      let surveyed = false;
      const subscription = this.#out.subscribe({
        next: (sighting) => {
          surveyed ||= sighting.observations.some(isSurvey);
          if (surveyed) subscriber.next(sighting);
        },
        complete: () => subscriber.complete(),
      });
      this.survey(this.#started ? 'subscribed' : 'started');
      this.#start();
      return subscription;
    });
  }

  survey(reason: string): void {
    this.#surveyor.want(reason.slice(0, 256));
    this.#sockets.wake();
  }

  perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    return this.#effects.perform(decision, signal, ledger);
  }

  resume(pairs: readonly string[]): void {
    this.#effects.resume(pairs);
  }

  now(): Clocks {
    return readClocks();
  }

  after(delay_ms: number, act: () => void): () => void {
    return realTimer(delay_ms, act);
  }

  /** /proc/sys/kernel/random/boot_id, random(4). */
  bootId(): string {
    this.#bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return this.#bootId;
  }

  turns(): number {
    return this.#turns;
  }

  close(): Promise<void> {
    this.#closed ??= new Promise<void>((resolve) => {
      this.#closing = () => {
        this.#sockets.close();
        this.#kernelLog?.close();
        this.#out.complete();
        this.#raw.complete();
        resolve();
      };
      if (this.#started) this.#sockets.wake();
      else this.#closing();
    }).then(() => this.#effects.close());
    return this.#closed;
  }

  #start(): void {
    if (this.#started || this.#closed !== null) return;
    this.#started = true;
    // Not at once: whoever subscribes may not be ready for a sighting before subscribe() has returned.
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    if (this.#closing !== null) {
      this.#closing();
      return;
    }
    this.#turns += 1;
    const { at, jumps } = this.#clocks.look();
    const observations: Observation[] = [...jumps];
    if (jumps.some(({ data }) => data.kind === 'suspended')) this.#surveyor.want('suspended');
    if (this.#sockets.watched) observations.push(...this.#readKernelLog());
    const drained = this.#drain(at, observations);
    const time_ms = now_ms();
    if (observations.some((one) => this.#observer.movesPath(one))) this.#surveyor.follow(time_ms);
    observations.push(...this.#surveyor.step(time_ms, drained));
    this.#tell(at, observations);
    if (drained) this.#sockets.wait(Math.min(TICK_MS, this.#surveyor.pause(time_ms)), () => this.#turn());
    else setImmediate(() => this.#turn());
  }

  #readKernelLog(): Observation[] {
    const devices = (this.#kernelLog?.read() ?? []).map((slot) => deviceInSlot(slot, this.#sysfs));
    return devices.flatMap((device) => (device === null ? [] : this.#observer.slotPoweringOff(device)));
  }

  /** Reads one datagram of each socket by turns, which keeps the two streams in their order. True when both are empty. */
  #drain(at: Clocks, observations: Observation[]): boolean {
    for (let round = 0; round < TURN_LIMIT; round += 1) {
      let any = false;
      for (const source of SOURCES) any = this.#receive(source, at, observations) || any;
      if (!any) return true;
    }
    return false;
  }

  #receive(source: Source, at: Clocks, observations: Observation[]): boolean {
    const received = this.#sockets.receive(source);
    if (received.kind === 'empty') return false;
    if (received.kind === 'error') {
      if (this.#raw.observed) this.#raw.next({ source, at, error: received.error });
      this.#noteLoss(this.#observer.lost(source, received.error), observations);
      return true;
    }
    const { bytes, pid } = received;
    if (this.#raw.observed) this.#raw.next({ source, at, pid, bytes });
    // Only the kernel speaks with port 0; root processes may send into these groups, too.
    if (pid === 0)
      this.#noteLoss(source === 'rtnetlink' ? this.#observer.rtnetlink(bytes) : this.#observer.uevent(bytes), observations);
    return true;
  }

  #noteLoss(heard: readonly Observation[], observations: Observation[]): void {
    for (const observation of heard) {
      if (observation.type === 'gap.seen') this.#surveyor.want('gap');
      observations.push(observation);
    }
  }

  #tell(at: Clocks, observations: Observation[]): void {
    if (observations.length === 0) return;
    if (this.#early === null) {
      this.#out.next({ at, observations });
      return;
    }
    const survey = observations.findIndex(isSurvey);
    this.#early.push(...observations.filter(outlivesSurvey).slice(0, EARLY_LIMIT - this.#early.length));
    if (survey === -1) return;
    const first = observations.slice(survey).filter((one) => !outlivesSurvey(one));
    const early = this.#early;
    this.#early = null;
    this.#out.next({ at, observations: [...first, ...early] });
  }
}
