// The wire of the control socket, the same for both sides: JSON Lines with a limit. Bytes come in as they like; whole
// lines go out, each at most so long, and a longer one is noticed before it is in memory.

/** Limits of one control socket. Every one of them can be made smaller by a test. */
export const CONTROL_LIMITS = {
  /** Bytes of a request line. */
  line_bytes: 65_536,
  clients: 16,
  /** Requests that a client may send ahead of their answers. */
  pending: 16,
  /** How long a client may take to read one answer (until then it gets no other, so memory holds at most one). */
  unread_ms: 10_000,
  /** How long a client may be silent between requests. */
  idle_ms: 60_000,
  /** Requests that are not understood, before the client is dropped. */
  garbage: 8,
} as const;
export type ControlLimits = { readonly [K in keyof typeof CONTROL_LIMITS]: number };

/** Bytes of an answer line that a client takes. */
export const ANSWER_BYTES_MAX = 16_777_216;

/**
 * Cuts bytes into lines. Returns false from `push` when a line is longer than `limit_bytes`; nothing more may be pushed
 * after that. Lines are raw bytes without their newline.
 */
export const lineCutter = (limit_bytes: number, onLine: (line: Buffer) => void) => {
  let held: Buffer[] = [];
  let length = 0;
  return {
    push(chunk: Buffer): boolean {
      let from = 0;
      for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
        if (length + end - from > limit_bytes) return false;
        onLine(Buffer.concat([...held, chunk.subarray(from, end)]));
        [held, length, from] = [[], 0, end + 1];
      }
      length += chunk.length - from;
      if (from < chunk.length) held.push(chunk.subarray(from));
      return length <= limit_bytes;
    },
    /** What came after the last newline. */
    rest: (): Buffer => Buffer.concat(held),
  };
};

export type JsonObject = Readonly<Record<string, unknown>>;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A line as a JSON object; null when it is anything else. */
export const parseObject = (line: Buffer): JsonObject | null => {
  try {
    const value: unknown = JSON.parse(utf8.decode(line));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch {
    return null;
  }
};
