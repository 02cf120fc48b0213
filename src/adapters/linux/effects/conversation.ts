// Requests to the kernel and its answers, on a netlink socket of their own. Sending happens in a thread of libuv's pool:
// the kernel carries a request out inside the call, and waits there for a lock (RTNL) that a driver may hold for long. So
// the loop goes on meanwhile, and a request that hangs ends as an error after a deadline; until the kernel has let it go
// nothing else is sent. One exchange at a time, in order. Sources: netlink(7), linux/netlink.h.
import { NetkvmError } from '../../../events/errors.ts';
import { checked, ERRNO, errno, errnoName, libc, refused } from '../libc.ts';
import { align, Damage, u16, u32 } from '../netlink-bytes.ts';
import { readError } from '../rtnetlink.ts';
import { joined, numbered } from './requests.ts';

const AF_NETLINK = 16;
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000;
const PROTOCOL = { route: 0, generic: 16 } as const;
const SOL_NETLINK = 270;
const OPTION = { capAck: 10, extAck: 11, strictChecks: 12 } as const;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const POLLIN = 0x1;
const NLMSG = { error: 2, done: 3 } as const;
const NLM_F_DUMP_INTR = 0x10;
const HEADER_BYTES = 16;
const DATAGRAM_BYTES = 256 * 1024;
/** Datagrams that one answer may take: some ten million routes. */
const ANSWER_DATAGRAMS = 4096;
/** The answers of so many requests fit into a receive buffer of the default size. */
const BATCH = 64;
const WAITING_LIMIT = 256;

/** What the kernel says to one request. `errno` 0 is yes; `text` is its own explanation (NLMSGERR_ATTR_MSG). */
export interface Answer {
  readonly errno: number;
  readonly text: string | null;
}
/** One message of a reply: its bytes from the header on. */
export type Reply = Uint8Array;

export interface Told {
  readonly answers: readonly Answer[];
  readonly replies: readonly Reply[];
  /** False if the dump changed while it was made (NLM_F_DUMP_INTR). */
  readonly whole: boolean;
}

export class Conversation {
  /** How long one exchange may take. */
  static readonly LIMIT_MS = 5000;
  readonly #libc = libc();
  readonly #fd: number;
  readonly #limit_ms: number;
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  readonly #sender = new Uint8Array(12);
  readonly #senderLength = Uint32Array.of(12);
  readonly #pollFd = new Uint8Array(8);
  #seq = 0;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** A call that outlived its deadline. */
  #stuck = false;
  #closed = false;

  /** Throws `platform.netlink` if the kernel refuses a socket. */
  constructor(protocol: keyof typeof PROTOCOL, limit_ms = Conversation.LIMIT_MS) {
    this.#limit_ms = limit_ms;
    this.#fd = checked(this.#libc.socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, PROTOCOL[protocol]), `${protocol} socket`);
    const one = Uint32Array.of(1);
    // Without them errors are bare numbers, and a dump tells of everything: older kernels know less of them.
    for (const option of [OPTION.capAck, OPTION.extAck, OPTION.strictChecks])
      this.#libc.setsockopt(this.#fd, SOL_NETLINK, option, one, 4);
    const address = new Uint8Array(12);
    address[0] = AF_NETLINK;
    if (this.#libc.bind(this.#fd, address, address.length) < 0) {
      const code = errno();
      this.#libc.close(this.#fd);
      throw refused(`${protocol} bind`, code);
    }
    const poll = new DataView(this.#pollFd.buffer);
    poll.setInt32(0, this.#fd, true);
    poll.setInt16(4, POLLIN, true);
  }

  /**
   * Sends requests, as many as fit in one datagram, and gives the kernel's answer to each in their order. A request that
   * fails does not stop those behind it. Rejects with `platform.netlink` when the exchange itself fails or takes too long.
   */
  async tell(...requests: readonly Uint8Array[]): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (let from = 0; from < requests.length; from += BATCH) {
      const batch = requests.slice(from, from + BATCH);
      answers.push(...(await this.#inTurn(() => this.#exchange(batch, null))));
    }
    return answers;
  }

  /** One datagram of at most 64 requests, one of which may be a dump: the answers, and the messages of their replies. */
  async ask(...requests: readonly Uint8Array[]): Promise<Told> {
    if (requests.length > BATCH) throw new RangeError(`${requests.length} requests in one datagram`);
    const collected: Collected = { replies: [], whole: true };
    const answers = await this.#inTurn(() => this.#exchange(requests, collected));
    return { answers, ...collected };
  }

  /** When no exchange is under way. */
  async close(): Promise<void> {
    await this.#last;
    if (this.#closed || this.#stuck) return; // A thread must not read a number that already means another file.
    this.#closed = true;
    this.#libc.close(this.#fd);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING_LIMIT)
      return Promise.reject(new NetkvmError('platform.netlink', 'too many requests are waiting.'));
    this.#waiting += 1;
    const turn = this.#last.then(async () => {
      try {
        if (this.#closed) throw new NetkvmError('platform.netlink', 'the socket is closed.');
        if (this.#stuck) throw new NetkvmError('platform.netlink', 'the kernel has not yet let go of an earlier request.');
        return await work();
      } finally {
        this.#waiting -= 1;
      }
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #exchange(requests: readonly Uint8Array[], collected: Collected | null): Promise<Answer[]> {
    const first = this.#seq + 1;
    const datagram = joined(requests.map((request) => numbered(request, (this.#seq += 1))));
    const until_ms = performance.now() + this.#limit_ms;
    const sent = await this.#within(until_ms, (done) => this.#libc.send.async(this.#fd, datagram, datagram.length, 0, done));
    if (sent.result < 0) throw refused('send', sent.errno);
    const answers = new Map<number, Answer>();
    for (let datagrams = 0; answers.size < requests.length; datagrams += 1) {
      if (datagrams > ANSWER_DATAGRAMS) throw new NetkvmError('platform.netlink', 'the kernel’s answer has no end.');
      const bytes = await this.#receive(until_ms, collected !== null);
      for (const { seq, answer } of readAnswers(bytes, first, this.#seq, collected)) answers.set(seq - first, answer);
    }
    return requests.map((_, index) => answers.get(index) ?? { errno: 0, text: null });
  }

  /** The next datagram of the kernel, a view on the buffer. A dump goes on inside the call, and may wait there. */
  async #receive(until_ms: number, mayWait: boolean): Promise<Uint8Array> {
    for (;;) {
      this.#senderLength[0] = this.#sender.length;
      const args = [this.#fd, this.#buffer, DATAGRAM_BYTES, MSG_DONTWAIT | MSG_TRUNC, this.#sender, this.#senderLength] as const;
      const got = mayWait
        ? await this.#within(until_ms, (done) => this.#libc.recvfrom.async(...args, done))
        : { result: this.#libc.recvfrom(...args), errno: errno() };
      if (got.result > DATAGRAM_BYTES) throw new NetkvmError('platform.netlink', `an answer of ${got.result} bytes.`);
      const fromKernel = u32(this.#sender, 4) === 0;
      if (got.result >= 0 && fromKernel) return this.#buffer.subarray(0, got.result);
      if (got.result < 0 && got.errno !== ERRNO.EAGAIN && got.errno !== ERRNO.EINTR) throw refused('receive', got.errno);
      if (got.result >= 0) continue;
      const left_ms = Math.ceil(until_ms - performance.now());
      if (left_ms <= 0) throw new NetkvmError('platform.netlink', `no answer within ${this.#limit_ms} ms.`);
      await this.#within(until_ms + 1000, (done) => this.#libc.poll.async(this.#pollFd, 1, left_ms, done));
    }
  }

  /** A call in a thread, with a deadline; a thread that has not come back by then has the socket until it does. */
  #within(until_ms: number, call: (done: (error: Error | null, result: number) => void) => void): Promise<Called> {
    const { promise, resolve, reject } = Promise.withResolvers<Called>();
    const timer = setTimeout(
      () => {
        this.#stuck = true;
        reject(new NetkvmError('platform.netlink', `the kernel did not answer within ${this.#limit_ms} ms.`));
      },
      Math.max(1, until_ms - performance.now()),
    );
    call((error, result) => {
      const code = errno();
      clearTimeout(timer);
      this.#stuck = false;
      if (error === null) resolve({ result, errno: code });
      else reject(error);
    });
    return promise;
  }
}

interface Called {
  readonly result: number;
  readonly errno: number;
}
interface Collected {
  readonly replies: Reply[];
  whole: boolean;
}

/**
 * Reads the answers in one datagram to the requests numbered `first` to `last`: acknowledgements and ends of dumps. Other
 * messages are replies, and copied. Late answers to earlier requests are dropped. Throws `platform.netlink` for damage.
 */
export const readAnswers = (
  bytes: Uint8Array,
  first: number,
  last: number,
  collected: { readonly replies: Reply[]; whole: boolean } | null,
): { seq: number; answer: Answer }[] => {
  const answers: { seq: number; answer: Answer }[] = [];
  try {
    for (let at = 0; at < bytes.length;) {
      const length = u32(bytes, at);
      if (length < HEADER_BYTES || length > bytes.length - at) throw new Damage(`a message of ${length} bytes`);
      const type = u16(bytes, at + 4);
      const flags = u16(bytes, at + 6);
      const seq = u32(bytes, at + 8);
      if (seq >= first && seq <= last) {
        if (collected !== null && (flags & NLM_F_DUMP_INTR) !== 0) collected.whole = false;
        if (type === NLMSG.error || type === NLMSG.done)
          answers.push({ seq, answer: readAnswer(type, flags, bytes, at + HEADER_BYTES, at + length) });
        else collected?.replies.push(bytes.slice(at, at + length));
      }
      at += align(length);
    }
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    throw new NetkvmError('platform.netlink', `the kernel’s answer cannot be read: ${error.message}.`, { cause: error });
  }
  return answers;
};

/** NLMSG_DONE holds the errno of a dump that stopped early, and nothing or zero otherwise. */
const readAnswer = (type: number, flags: number, bytes: Uint8Array, from: number, to: number): Answer => {
  if (type === NLMSG.error) return readError(flags, bytes, from, to);
  return { errno: to - from >= 4 ? 0 - (u32(bytes, from) | 0) : 0, text: null };
};

/** `EPERM: the kernel's own words`. */
export const answerText = ({ errno: code, text }: Answer): string => errnoName(code) + (text === null ? '' : `: ${text}`);
