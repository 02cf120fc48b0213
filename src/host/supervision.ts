// What the service manager hears of a running service: that it is ready, where the pairs are, that it still works, that it
// ends. The watchdog is fed only while the loop that reads the system turns: a process that merely lives is no service.
import type { Datapath, HostStage, Stage } from '../machines/stages.ts';

/** What a service manager takes (adapters/linux/notify.ts, adapters/windows/service-process.ts). */
export interface Told {
  readonly watchdog_ms: number | null;
  send(...assignments: string[]): boolean;
}

/** Pairs that the status names; of more it gives the number. */
const NAMED = 4;
/** Feeds within the watchdog's limit: half of them may be late. */
const FEEDS = 4;

export interface Shown {
  readonly mac: string;
  readonly stage: Stage | HostStage;
  readonly datapath: Datapath;
}

/** `2 pairs: 52:54:00:11:22:33 onPrimary, …`. */
export const statusText = (pairs: readonly Shown[]): string => {
  if (pairs.length === 0) return 'watching; no pair';
  const named = pairs.slice(0, NAMED).map(({ mac, stage, datapath }) => `${mac} ${stage} (${datapath})`);
  const more = pairs.length > NAMED ? `, and ${pairs.length - NAMED} more` : '';
  return `${pairs.length} ${pairs.length === 1 ? 'pair' : 'pairs'}: ${named.join(', ')}${more}`;
};

export class Supervision {
  readonly #told: Told | null;
  readonly #turns: () => number | undefined;
  #timer: NodeJS.Timeout | null = null;
  #fed = -1;
  #ready = false;
  #status = '';

  /** `turns` is the count of the platform's loop, undefined for a platform without one. */
  constructor(told: Told | null, turns: () => number | undefined) {
    this.#told = told;
    this.#turns = turns;
  }

  /** The service knows the world, and where the pairs are; the first time it is ready. */
  shows(pairs: readonly Shown[]): void {
    const status = statusText(pairs);
    if (this.#ready && status === this.#status) return;
    this.#status = status;
    this.#told?.send(...(this.#ready ? [] : ['READY=1']), `STATUS=${status}`);
    if (this.#ready) return;
    this.#ready = true;
    const limit_ms = this.#told?.watchdog_ms ?? null;
    if (limit_ms === null) return;
    this.#timer = setInterval(() => this.#feed(), limit_ms / FEEDS);
    this.#timer.unref();
  }

  ends(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#told?.send('STOPPING=1', 'STATUS=ending');
  }

  #feed(): void {
    const turns = this.#turns();
    if (turns === this.#fed && turns !== undefined) return;
    this.#fed = turns ?? -1;
    this.#told?.send('WATCHDOG=1');
  }
}
