// The hypervisor's end of the channel to one guest: a unix socket that QEMU listens on, behind the guest's virtio port. It is
// connected again and again; a guest that says nothing for a while counts as one without the service.
import { createConnection, type Socket } from 'node:net';
import type { Observation } from '../../events/catalogue.ts';
import type { GuestWord } from '../../events/hosting.ts';
import { CHANNEL_LINE_BYTES, channelLine, guestSays, type HostSays } from '../../events/channel.ts';
import { LineCutter } from '../line-cutter.ts';

const RECONNECT_MS = 500;
const PING_MS = 2000;
/** So many pings without a word. */
const SILENCE_MS = 3 * PING_MS;
/** Lines that make no sense, between two that do, before the guest is left alone for a while. */
const GARBAGE_MAX = 32;
/** What the guest does not read is not piled up. */
const UNREAD_BYTES = 65_536;

const wordOf = ({ pair: _pair, ...guest }: GuestWord & { readonly pair: string }): GuestWord => guest;

export class Channel {
  readonly #path: string;
  readonly #mac: string;
  readonly #say: (observations: readonly Observation[]) => void;
  #socket: Socket | null = null;
  #guest: GuestWord | null = null;
  #lines = new LineCutter(CHANNEL_LINE_BYTES);
  #garbage = 0;
  #heard_ms = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(path: string, mac: string, say: (observations: readonly Observation[]) => void) {
    this.#path = path;
    this.#mac = mac;
    this.#say = say;
  }

  get guest(): GuestWord | null {
    return this.#guest;
  }

  open(): void {
    if (this.#closed) return;
    const socket = createConnection(this.#path);
    this.#socket = socket;
    this.#lines = new LineCutter(CHANNEL_LINE_BYTES);
    this.#garbage = 0;
    socket.on('connect', () => this.#ping('hello'));
    socket.on('data', (chunk) => this.#lines.push(chunk).forEach(({ bytes }) => this.#take(bytes)));
    socket.on('error', () => {});
    socket.on('close', () => {
      if (socket === this.#socket) this.#lost();
    });
  }

  #ping(say: 'hello' | 'ping'): void {
    clearTimeout(this.#timer);
    if (say === 'hello') this.#heard_ms = performance.now();
    else if (performance.now() - this.#heard_ms > SILENCE_MS) this.#see(null);
    this.tell({ say });
    this.#timer = setTimeout(() => this.#ping('ping'), PING_MS);
    this.#timer.unref();
  }

  #take(bytes: Uint8Array | null): void {
    const message = bytes === null ? null : guestSays(bytes);
    if (message === null) {
      this.#garbage += 1;
      if (this.#garbage >= GARBAGE_MAX) this.#socket?.destroy();
      return;
    }
    this.#garbage = 0;
    this.#heard_ms = performance.now();
    if (message.say !== 'state') {
      const { say: word, pair, episode, reason } = message;
      if (pair === this.#mac) this.#say([{ type: 'channel.heard', data: { pair, word, episode, reason } }]);
      return;
    }
    const mine = message.pairs.find(({ pair }) => pair === this.#mac);
    this.#see(mine === undefined ? null : wordOf(mine));
  }

  #see(guest: GuestWord | null): void {
    if (JSON.stringify(guest) === JSON.stringify(this.#guest)) return;
    this.#guest = guest;
    this.#say([{ type: 'channel.facts', data: { pair: this.#mac, guest } }]);
  }

  /** Whether it was given to QEMU; what the guest makes of it, it says itself. */
  tell(message: HostSays): boolean {
    const socket = this.#socket;
    if (socket === null || !socket.writable || socket.connecting || socket.writableLength > UNREAD_BYTES) return false;
    socket.write(channelLine(message));
    return true;
  }

  #lost(): void {
    clearTimeout(this.#timer);
    this.#socket = null;
    if (this.#closed) return;
    this.#see(null);
    this.#timer = setTimeout(() => this.open(), RECONNECT_MS);
    this.#timer.unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }
}
