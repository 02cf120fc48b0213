// What can go wrong between the world and its controller, by name, with how often it does. Coverage counts each kind.
import type { Random } from './random.ts';

export const HINT_FAULTS = ['hintLost', 'hintDoubled', 'hintDelayed', 'hintReordered'] as const;
export const EFFECT_FAULTS = [
  /** Nothing happens, and the system says so. */
  'effectFailed',
  /** Nothing happens: access denied. */
  'effectRefused',
  /** Nothing happens, and no answer comes. */
  'effectHung',
  /** It happens, but after its time limit, and nobody is told. */
  'effectLate',
  /** It happens, and the system says that it failed. */
  'effectDenied',
  /** The system says that it happened, and it did not. */
  'effectPretended',
] as const;
export type HintFault = (typeof HINT_FAULTS)[number];
export type EffectFault = (typeof EFFECT_FAULTS)[number];
export type Fault = HintFault | EffectFault;

/** Probability of each kind, for every hint or effect. */
export type Rates = { readonly [K in Fault]: number };

const all = (hint: number, effect: number): Rates => ({
  hintLost: hint,
  hintDoubled: hint,
  hintDelayed: hint,
  hintReordered: hint,
  effectFailed: effect,
  effectRefused: effect,
  effectHung: effect,
  effectLate: effect,
  effectDenied: effect,
  effectPretended: effect,
});

export const NO_FAULTS = all(0, 0);
/** How badly a run goes, from nothing to one in five. */
export const LEVELS: Readonly<Record<string, Rates>> = { none: NO_FAULTS, some: all(0.02, 0.02), many: all(0.1, 0.08) };

export class Faults {
  readonly seen = new Map<Fault, number>();
  rates: Rates;
  readonly #random: Random;
  readonly #forced = new Set<Fault>();

  constructor(rates: Rates, random: Random) {
    this.rates = rates;
    this.#random = random;
  }

  /** The next hint or effect meets this fault, whatever chance says. */
  force(kind: Fault): void {
    this.#forced.add(kind);
  }

  /** At most one fault out of `kinds`, null for none. */
  draw<K extends Fault>(kinds: readonly K[]): K | null {
    for (const kind of kinds) {
      if (!this.#forced.delete(kind) && !this.#random.chance(this.rates[kind])) continue;
      this.seen.set(kind, (this.seen.get(kind) ?? 0) + 1);
      return kind;
    }
    return null;
  }

  delay_ms(most: number): number {
    return this.#random.between(1, most);
  }
}
