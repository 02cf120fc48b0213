// A platform that plays a file: a raw capture's messages, or a recording's observations, at their own pace or faster. Its
// clocks are those of the file, and so are its timers: what the service records is what it would have recorded then.
import { Observable, Subject } from 'rxjs';
import { type Observation, OBSERVATIONS } from '../events/catalogue.ts';
import type { Clocks } from '../events/envelope.ts';
import { CaptureReader, observeEntry } from './linux/capture.ts';
import { Observer } from './linux/observer.ts';
import { type History, openHistory } from './log/history.ts';
import { RecordingReader } from './log/recording-reader.ts';
import { type Outcome, type Platform, realTimer, type Sighting } from './platform.ts';

const isObservation = (event: { type: string }): event is Observation => (OBSERVATIONS as readonly string[]).includes(event.type);

async function* sightingsOf(history: History): AsyncGenerator<Sighting> {
  if (history.kind === 'recording') {
    for await (const page of (await RecordingReader.open(history)).pages()) {
      for (const event of page) {
        const { mono_ns, boot_ns, wall_ns } = event;
        if (isObservation(event)) yield { at: { mono_ns, boot_ns, wall_ns }, observations: [event] };
      }
    }
    return;
  }
  const observer = new Observer();
  const reader = new CaptureReader();
  for await (const chunk of history.chunks) {
    for (const entry of reader.push(chunk)) {
      const observations = observeEntry(observer, entry);
      if (entry.kind === 'damage' || observations.length === 0) continue;
      yield { at: { mono_ns: entry.mono_ns, boot_ns: entry.mono_ns, wall_ns: entry.wall_ns }, observations };
    }
  }
}

const shifted = ({ mono_ns, boot_ns, wall_ns }: Clocks, by_ns: bigint): Clocks => {
  const plus = (ns: string): string => (BigInt(ns) + by_ns).toString();
  return { mono_ns: plus(mono_ns), boot_ns: plus(boot_ns), wall_ns: plus(wall_ns) };
};

/** An observation as a happening of its own, without the envelope that a recorded event brings along. */
const bare = ({ type, data }: Observation): Observation => ({ type, data }) as Observation;

export class PlaybackPlatform implements Platform {
  readonly name = 'recording';
  readonly sightings: Observable<Sighting>;
  readonly #out = new Subject<Sighting>();
  readonly #source: AsyncGenerator<Sighting>;
  readonly #speed: number;
  #next: Sighting | null;
  #origin: { file: Clocks; real_ns: bigint };
  #closed = false;
  #started = false;
  /** As fast as possible: the file's own time, and what is to happen on it. */
  #time: Clocks;
  readonly #due = new Set<{ readonly at_ns: bigint; readonly act: () => void }>();

  private constructor(source: AsyncGenerator<Sighting>, first: Sighting | null, speed: number) {
    this.#source = source;
    this.#next = first;
    this.#speed = speed;
    const zero = { mono_ns: '0', boot_ns: '0', wall_ns: '0' };
    this.#time = first?.at ?? zero;
    this.#origin = { file: first?.at ?? zero, real_ns: process.hrtime.bigint() };
    this.sightings = new Observable((subscriber) => {
      const subscription = this.#out.subscribe(subscriber);
      if (!this.#started) {
        this.#started = true;
        this.#origin = { file: this.#origin.file, real_ns: process.hrtime.bigint() };
        setImmediate(() => void this.#play());
      }
      return subscription;
    });
  }

  /** Opens a raw capture or a recording; `speed` 0 plays as fast as it can be read. Throws `recording.*`. */
  static async open(path: string, speed = 1): Promise<PlaybackPlatform> {
    const source = sightingsOf(await openHistory(path));
    const first = await source.next();
    return new PlaybackPlatform(source, first.done === true ? null : first.value, speed);
  }

  /** There is nothing to survey: the file is all there is. */
  survey(): void {}

  perform(): Promise<Outcome> {
    return Promise.resolve({ result: 'refused', reason: 'a recording cannot be acted upon', observed: false });
  }

  now(): Clocks {
    const { file, real_ns } = this.#origin;
    if (this.#speed === 0) return this.#time;
    const passed = BigInt(Math.round(Number(process.hrtime.bigint() - real_ns) * this.#speed));
    return shifted(file, passed);
  }

  after(delay_ms: number, act: () => void): () => void {
    if (this.#speed > 0) return realTimer(delay_ms / this.#speed, act);
    const timer = { at_ns: BigInt(this.#time.mono_ns) + BigInt(Math.round(delay_ms * 1e6)), act };
    this.#due.add(timer);
    return () => this.#due.delete(timer);
  }

  bootId(): string {
    return 'playback';
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#out.complete();
    await this.#source.return(undefined);
  }

  async #play(): Promise<void> {
    try {
      while (this.#next !== null && !this.#closed) {
        await this.#until(this.#next.at);
        if (this.#closed) return;
        this.#elapse(this.#next.at);
        this.#out.next({ at: this.#next.at, observations: this.#next.observations.map(bare) });
        const { value, done } = await this.#source.next();
        this.#next = done === true ? null : value;
      }
      this.#out.complete();
    } catch (error) {
      this.#out.error(error);
    }
  }

  /** Lets the file's time pass up to `at`, firing what is due on the way; what is due after its end never comes. */
  #elapse(at: Clocks): void {
    if (this.#speed > 0) return;
    for (;;) {
      const [next] = [...this.#due].toSorted((a, b) => Number(a.at_ns - b.at_ns));
      if (next === undefined || next.at_ns > BigInt(at.mono_ns)) break;
      this.#due.delete(next);
      const passed = next.at_ns - BigInt(this.#time.mono_ns);
      if (passed > 0n) this.#time = shifted(this.#time, passed);
      next.act();
    }
    this.#time = at;
  }

  #until({ mono_ns }: Clocks): Promise<void> {
    if (this.#speed === 0) return Promise.resolve();
    const wait_ms = Number(BigInt(mono_ns) - BigInt(this.now().mono_ns)) / 1e6 / this.#speed;
    return wait_ms <= 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, wait_ms));
  }
}
