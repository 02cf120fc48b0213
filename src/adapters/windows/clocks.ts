// The clocks of Windows: the monotonic one stands still while the machine sleeps (QueryUnbiasedInterruptTime), the boot-time
// one does not (GetTickCount64), and the wall clock is Node's. Their resolution is a few milliseconds, so that order comes
// from sequence numbers alone, as everywhere. Sources: realtimeapiset.h, sysinfoapi.h, NtQuerySystemInformation (winternl.h).
import type { HappeningOf } from '../../events/catalogue.ts';
import type { Clocks } from '../../events/envelope.ts';
import { withKey } from './registry.ts';
import { load, once } from './win32.ts';

const SYSTEM_TIME_OF_DAY = 3;

const native = once(() => {
  const [kernel32, ntdll] = [load('kernel32.dll'), load('ntdll.dll')];
  return {
    unbiased: kernel32.func('int __stdcall QueryUnbiasedInterruptTime(uint64_t *)') as (into: BigUint64Array) => number,
    ticks: kernel32.func('uint64_t __stdcall GetTickCount64()') as () => number | bigint,
    information: ntdll.func('uint32_t __stdcall NtQuerySystemInformation(int, uint8_t *, uint32_t, void *)') as (
      kind: number,
      into: Buffer,
      bytes: number,
      length: null,
    ) => number,
  };
});

interface Reading {
  /** All in nanoseconds. */
  readonly mono: bigint;
  readonly boot: bigint;
  readonly wall: bigint;
}

const into = new BigUint64Array(1);
const reading = (): Reading => {
  native().unbiased(into);
  return { mono: (into[0] ?? 0n) * 100n, boot: BigInt(native().ticks()) * 1_000_000n, wall: BigInt(Date.now()) * 1_000_000n };
};
const clocksOf = ({ mono, boot, wall }: Reading): Clocks => ({ mono_ns: `${mono}`, boot_ns: `${boot}`, wall_ns: `${wall}` });

export const readClocks = (): Clocks => clocksOf(reading());

/** Ticks come every 16 ms; what is more than this has been slept. */
const SLEPT_NS = 1_000_000_000n;
const STEPPED_NS = 1_000_000_000n;

export class ClockWatch {
  #last = reading();

  /** Reads the clocks, and says whether they jumped since the last reading. */
  look(): { at: Clocks; jumps: readonly HappeningOf<'clock.jumped'>[] } {
    const [before, after] = [this.#last, reading()];
    this.#last = after;
    const slept = after.boot - before.boot - (after.mono - before.mono);
    const stepped = after.wall - before.wall - (after.boot - before.boot);
    const jumps: HappeningOf<'clock.jumped'>[] = [];
    if (slept > SLEPT_NS) jumps.push({ type: 'clock.jumped', data: { kind: 'suspended', delta_ns: `${slept}` } });
    if (stepped > STEPPED_NS || stepped < -STEPPED_NS)
      jumps.push({ type: 'clock.jumped', data: { kind: 'stepped', delta_ns: `${stepped}` } });
    return { at: clocksOf(after), jumps };
  }
}

/**
 * Windows has no id of a boot, so this is the instant of it: BootTime without BootTimeBias, which follows steps of the wall
 * clock (SYSTEM_TIMEOFDAY_INFORMATION: both in 100 ns, at 0 and 32).
 */
export const bootId = (): string => {
  const bytes = Buffer.alloc(48);
  native().information(SYSTEM_TIME_OF_DAY, bytes, bytes.length, null);
  return `boot-${(bytes.readBigInt64LE(0) - bytes.readBigInt64LE(32)) / 10_000_000n}`;
};

/** What sysprep gives every machine anew; null where it is missing. */
export const machineGuid = (): string | null => withKey('SOFTWARE\\Microsoft\\Cryptography', (key) => key.text('MachineGuid'));
