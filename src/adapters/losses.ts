// Reads what a packet meter found missing, JSON Lines: first who measured what, then a line for each hole, at last the totals.
//   {"format":"netkvm-losses","version":1,"direction":"in","period_us":1000}
//   {"lost":3,"silence_us":4012,"at_ns":"1795329759519522198","sent_ns":"1795329759519400000"}
//   {"end":true,"received":61234,"lost":3}
// A stream of numbered packets goes to the guest (`in`, the meter that finds them missing is inside) or comes from it (`out`).
// `at_ns` is the clock of who received the packet behind the hole, `sent_ns` that of who sent it, both realtime; one of the two
// is the host's. The meter of test/e2e/qemu writes such files; anything that counts packets can.
import { isNanoseconds } from '../events/check.ts';
import { LOSSES_VERSION } from '../events/recording.ts';
import { NetkvmError } from '../events/errors.ts';
import { type CutLine, LineCutter } from './line-cutter.ts';

export interface MeteredHole {
  readonly lost: number;
  /** The hole on the host's clock. */
  readonly from_ns: bigint;
  readonly until_ns: bigint;
}

export interface Metered {
  readonly direction: 'in' | 'out';
  readonly period_us: number;
  /** In the order of time, the first HOLES_MAX. */
  readonly holes: readonly MeteredHole[];
  readonly lost: number;
  /** Packets that arrived; null where the meter did not come to its end. */
  readonly received: number | null;
  /** Lines that say nothing. */
  readonly damage: readonly { readonly line: number; readonly damage: string; readonly torn: boolean }[];
}

export const HOLES_MAX = 100_000;
const DAMAGE_MAX = 20;
const utf8 = new TextDecoder('utf-8', { fatal: true });

type Fields = Readonly<Record<string, unknown>>;
const fieldsOf = (bytes: Uint8Array | null): Fields | null => {
  try {
    const value: unknown = bytes === null ? null : JSON.parse(utf8.decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null;
  } catch {
    return null;
  }
};
const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

type Header = Pick<Metered, 'direction' | 'period_us'>;
const headerOf = (fields: Fields | null, name: string): Header => {
  const { version, direction, period_us } = fields ?? {};
  if (isCount(version) && version > LOSSES_VERSION)
    throw new NetkvmError('recording.newer', `${name}: losses of version ${version}, this program knows ${LOSSES_VERSION}`);
  if ((direction !== 'in' && direction !== 'out') || !isCount(period_us) || period_us === 0)
    throw new NetkvmError('recording.line', `${name}: line 1: losses without a direction ("in" or "out") and a period_us`);
  return { direction, period_us };
};

/** A hole lasts as long as what is missing took to send (in), or as long as nothing came (out): both the host's time. */
const holeOf = ({ lost, silence_us, at_ns, sent_ns }: Fields, { direction, period_us }: Header): MeteredHole | null => {
  if (!isCount(lost) || !isCount(silence_us) || !isNanoseconds(at_ns) || !isNanoseconds(sent_ns)) return null;
  const until_ns = BigInt(direction === 'in' ? sent_ns : at_ns);
  return { lost, until_ns, from_ns: until_ns - 1000n * BigInt(direction === 'in' ? lost * period_us : silence_us) };
};

/** Reads the file of a meter to its end. Throws `recording.newer` and `recording.line` (no header). */
export const readLosses = async (name: string, chunks: AsyncIterable<Uint8Array>): Promise<Metered> => {
  const lines = new LineCutter();
  const holes: MeteredHole[] = [];
  const damage: { line: number; damage: string; torn: boolean }[] = [];
  let header: Header | null = null;
  let lost = 0;
  let received: number | null = null;
  const take = ({ line, bytes, unfinished: torn }: CutLine): void => {
    const fields = fieldsOf(bytes);
    if (header === null) {
      header = headerOf(fields, name);
      return;
    }
    const hole = fields === null ? null : holeOf(fields, header);
    if (hole !== null) {
      lost += hole.lost;
      if (holes.length < HOLES_MAX) holes.push(hole);
    } else if (fields?.['end'] === true && isCount(fields['received'])) received = fields['received'];
    else if (damage.length < DAMAGE_MAX) damage.push({ line, damage: 'neither a hole nor totals', torn });
  };
  for await (const chunk of chunks) lines.push(chunk).forEach(take);
  lines.end().forEach(take);
  const { direction, period_us } = header ?? headerOf(null, name);
  const sorted = holes.toSorted((a, b) => (a.from_ns < b.from_ns ? -1 : 1));
  return { direction, period_us, holes: sorted, lost, received, damage };
};
