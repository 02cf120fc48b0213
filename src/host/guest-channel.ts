// The guest's side of the channel to its hypervisor: says how the pairs are, and moves traffic to the standby when it is told
// that the primary is about to leave, by the same order as `netkvm prepare`. It answers when the facts say that it is done.
import type { Take, VirtioPort } from '../adapters/virtio-port.ts';
import type { GuestWord } from '../events/hosting.ts';
import { CHANNEL_LINE_BYTES, CHANNEL_NAME, channelLine, type GuestSays, hostSays, type HostSays } from '../events/channel.ts';
import { NetkvmError } from '../events/errors.ts';
import type { PairState } from '../machines/pair-state.ts';
import { whyNotPrepared } from './operator.ts';
import type { Service } from './service.ts';

/** How long the traffic may take to move; the hypervisor does not wait longer than it wants (prepareLimit_ms). */
const MOVE_LIMIT_MS = 5000;
/** Changes of state are told so soon. */
const TELL_MS = 100;
const FINDINGS_MAX = 32;

type Open = (name: string, line_bytes: number, take: Take) => VirtioPort;

export class GuestChannel {
  readonly #service: Service;
  readonly #version: string;
  readonly #port: VirtioPort;
  readonly #timer: NodeJS.Timeout;
  /** Where each pair's primary was last: what is there now is in its place, whatever its MAC. */
  readonly #places = new Map<string, string>();
  readonly #episodes = new Map<string, string>();
  #told = '';
  #isHeard = false;

  constructor(service: Service, version: string, open: Open) {
    this.#service = service;
    this.#version = version;
    this.#port = open(CHANNEL_NAME, CHANNEL_LINE_BYTES, (line) => this.#take(line));
    this.#timer = setInterval(() => {
      if (this.#isHeard) void this.#tell(false);
    }, TELL_MS);
    this.#timer.unref();
  }

  async #take(line: Uint8Array): Promise<void> {
    const message = hostSays(line);
    if (message === null) return;
    this.#isHeard = true;
    switch (message.say) {
      case 'hello':
      case 'ping':
        return this.#tell(true);
      case 'prepare':
        return this.#prepare(message);
      case 'arriving':
        this.#note(message);
        return this.#tell(false);
    }
  }

  #note({ say, pair, episode }: Extract<HostSays, { pair: string }>): void {
    this.#episodes.set(pair, episode);
    this.#service.note([{ type: 'channel.heard', data: { pair, word: say, episode, reason: null } }]);
  }

  async #prepare(message: Extract<HostSays, { pair: string }>): Promise<void> {
    const { pair, episode } = message;
    this.#note(message);
    const reason = await this.#move(pair, episode).catch((error: unknown) =>
      error instanceof NetkvmError ? error.message : String(error),
    );
    await this.#say({ say: reason === null ? 'prepared' : 'refused', pair, episode, reason });
    await this.#tell(false);
  }

  /** Why the traffic did not move; null when the standby carries it. */
  async #move(mac: string, episode: string): Promise<string | null> {
    const pair = this.#service.story.guest.pairs.get(mac);
    if (pair === undefined) return 'this guest has no such pair';
    const why = whyNotPrepared(pair);
    if (why !== null) return why;
    if (pair.shown.datapath !== 'standby') this.#service.obey('prepare', mac, 'hypervisor', { episode });
    const isMoved = await this.#service.until(({ guest }) => guest.pairs.get(mac)?.shown.datapath === 'standby', MOVE_LIMIT_MS);
    return isMoved ? null : `the standby does not carry after ${MOVE_LIMIT_MS} ms`;
  }

  #wordOf(pair: PairState): GuestWord & { pair: string } {
    const { mac, shown, roles } = pair;
    const { story } = this.#service;
    const { primary } = roles;
    if (primary?.facts.pci != null) this.#places.set(mac, primary.facts.pci);
    const place = this.#places.get(mac);
    const there =
      primary ??
      [...story.guest.adapters.values()].find(({ facts }) => place !== undefined && facts.pci === place && facts.kind === null);
    const open = story.findings.list(story.end).filter((one) => one.until_seq === null && (one.mac === mac || one.mac === null));
    return {
      pair: mac,
      version: this.#version,
      stage: shown.stage,
      datapath: shown.datapath,
      primary: there?.facts.permMac ?? there?.facts.mac ?? null,
      episode: this.#episodes.get(mac) ?? null,
      findings: [...new Set(open.map(({ code }) => code))].slice(0, FINDINGS_MAX),
    };
  }

  /** The state of every pair, when it is asked for or has changed. */
  async #tell(always: boolean): Promise<void> {
    const pairs = [...this.#service.story.guest.pairs.values()].map((pair) => this.#wordOf(pair));
    const text = JSON.stringify(pairs);
    if (!always && text === this.#told) return;
    this.#told = text;
    await this.#say({ say: 'state', pairs });
  }

  async #say(message: GuestSays): Promise<void> {
    await this.#port.write(channelLine(message));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#port.close();
  }
}
